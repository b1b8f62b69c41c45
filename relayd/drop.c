/* SPDX-License-Identifier: MIT
 * Local users write here: nothing is followed, nothing is opened that could block, and
 * a name says nothing but this. A file's owner counts as the client.
 *
 *	tmp.*      relay-sendmail writes it; a day later it is what a killed one has left
 *	new.*      whole: to be taken in
 *	in.RUN.ID  on its way in as the message ID, since the run of relayd that is called
 *	           RUN; both are random: only the file's owner can find that name
 *	           out (by a descriptor that he has open), and all he can hide or
 *	           take back by it is his own
 *	bad.ID     set aside
 *
 * A file is renamed before it is read. One that can not be renamed could not be removed
 * either, and would be sent at each scan: it stays, and an error line tells of it once.
 *
 * What a crash leaves is an in.* of another run. Its message was appended, or not. It
 * enters the queue and its file is removed within one turn of the loop, so whatever was
 * appended before a kill has not been delivered yet: it is found by its ID in the queue
 * that was recovered, and the file is removed before the first delivery can begin. What
 * is not found there is taken in again. That is right for what was not appended; it
 * doubles a message whose file could not be removed, or whose removal a power cut has
 * undone: a duplicate is preferred to a loss.
 */
#include "relayd/drop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/daemon.h"
#include "relayd/drop_file.h"
#include "relayd/drop_return.h"

#define SCAN_MS 10000
#define FILES_PER_TURN 50     /* then the loop does other things first */
#define ENTRIES_PER_TURN 1000 /* looked at, ours or not */
#define GO_ON_MS 20
#define LINES_PER_SCAN 20     /* about files that were set aside; the rest is counted */
#define OWNER_TURN 200        /* messages of a user in a scan; more wait for the next one */
#define OWNERS 256            /* told apart by the end of their user id */
#define AT_A_TIME 8           /* messages of the folder on their way in */
#define MEMORY_SHARE 4        /* of spool.memory, behind which no other one is begun */
#define STALE_S (24 * 3600)
#define NAME_MAX_OURS 40      /* in.RUN.ID */
#define SHOWN_MAX 300         /* bytes of a name or a reason */

struct drop {
	struct daemon *daemon;
	char *path;
	int folder;
	uint64_t run;
	DIR *scan;      /* goes on in the next turn; NULL: from the start */
	unsigned aside; /* files set aside in this scan and those that led to it */
	size_t bad;      /* bad.*: as many are there */
	size_t bad_seen; /* in this scan so far */
	bool bad_made;   /* and it may have missed one */
	unsigned char taken[OWNERS]; /* in this scan */
	bool passed_over; /* somebody's turn was over */
	bool put_off;     /* a file stays for later: no hurry */
	bool waits;       /* why was said */
	bool stuck;       /* a file could not be renamed in this scan, */
	bool was_stuck;   /* nor in the one before, so that was said */
	struct timer timer;
	size_t pending;
	size_t bytes;     /* of these, each of which is in memory as a whole */
	struct one *ones; /* on their way in, and put back */
};

/* A file on its way in. */
struct one {
	struct drop *drop;
	uint64_t id;
	char *found;              /* the name that it had, for the log */
	char name[NAME_MAX_OURS]; /* that it has */
	char *reason;             /* it was refused; else NULL */
	char *to;                 /* who is told; else NULL */
	size_t bytes;             /* of its message, while it is on its way */
	bool later;               /* it waits for the next scan, and is not on its way */
	struct one *next;
};

/* ---- names ---- */

static bool parse_in(const char *name, uint64_t *run, uint64_t *id)
{
	struct span s = span_text(name);
	size_t hex = MESSAGE_ID_TEXT - 1;
	return s.n == 3 + hex + 1 + hex && strncmp(name, "in.", 3) == 0 && name[3 + hex] == '.' &&
	       message_id_parse((struct span){name + 3, hex}, run) &&
	       message_id_parse((struct span){name + 3 + hex + 1, hex}, id);
}

/* Only whole files: relay-sendmail gives the name "new.*" when all is written. */
static bool is_ready(const struct drop *drop, const char *name)
{
	uint64_t run;
	uint64_t id;
	return strncmp(name, "new.", 4) == 0 || (parse_in(name, &run, &id) && run != drop->run);
}

static bool is_set_aside(const char *name)
{
	return strncmp(name, "bad.", 4) == 0;
}

/* A file stays as it is: said once, not at each scan. */
static void note_stuck(struct drop *drop, const char *name, const struct why *why)
{
	struct buf shown = {0};
	text_escape(&shown, span_text(name), SHOWN_MAX);
	if (!drop->stuck && !drop->was_stuck)
		log_text(LOG_LEVEL_ERROR,
		    "drop: %s/%s can not be taken in, and waits: %s; look at its attributes "
		    "(lsattr), the folder's mode, and whether the file system is read-only or broken",
		    drop->path, buf_text(&shown), why->text);
	drop->stuck = true;
	buf_free(&shown);
}

/* 1: it is not there any more, since its owner has taken it back. */
static int rename_to(struct drop *drop, const char *from, const char *to)
{
	struct why why;
	if (renameat(drop->folder, from, drop->folder, to) == 0)
		return 0;
	if (errno == ENOENT)
		return 1;
	why_errno(&why, WHY_LOCAL, errno, "rename to %s", to);
	note_stuck(drop, from, &why);
	return -1;
}

/* What is done with. */
static void remove_file(struct drop *drop, const char *name)
{
	if (unlinkat(drop->folder, name, 0) == 0 || errno == ENOENT)
		return;
	log_text(LOG_LEVEL_ERROR,
	    "drop: %s/%s is done with and can not be removed: %s; remove it, else the next start "
	    "of relayd takes it in once more", drop->path, name, strerror(errno));
}

/* ---- a file's life ---- */

static struct one *one_new(struct drop *drop, const char *found)
{
	struct one *one = mem_zero(sizeof(*one));
	one->drop = drop;
	one->id = random_u64();
	one->found = mem_text(found);
	snprintf(one->name, sizeof(one->name), "in.%016" PRIx64 ".%016" PRIx64, drop->run, one->id);
	one->next = drop->ones;
	drop->ones = one;
	drop->pending++;
	return one;
}

static void end_way(struct one *one)
{
	one->drop->pending--;
	one->drop->bytes -= one->bytes;
	one->bytes = 0;
}

static void one_free(struct one *one)
{
	struct one **at = &one->drop->ones;
	while (*at != one)
		at = &(*at)->next;
	*at = one->next;
	if (!one->later)
		end_way(one);
	mem_free(one->found);
	mem_free(one->reason);
	mem_free(one->to);
	mem_free(one);
}

/* Not now: the next scan tries it again. Only then it gets its name back: this scan could
 * come upon that. */
static void put_back(struct one *one)
{
	one->later = one->drop->put_off = true;
	end_way(one);
}

static void release_put_back(struct drop *drop)
{
	char name[NAME_MAX_OURS];
	struct one *next;
	for (struct one *one = drop->ones; one; one = next) {
		next = one->next;
		if (!one->later)
			continue;
		snprintf(name, sizeof(name), "new.%016" PRIx64, one->id);
		if (rename_to(drop, one->name, name) >= 0)
			one_free(one);
	}
}

static void not_readable(struct one *one, const struct why *why)
{
	note_stuck(one->drop, one->found, why);
	put_back(one);
}

static void log_end_of(const struct one *one, const char *what, const char *value)
{
	char id[MESSAGE_ID_TEXT];
	struct log_line line;
	log_begin(&line, LOG_LEVEL_WARN, "drop");
	log_add_text(&line, "id", message_id_text(one->id, id));
	log_add_text(&line, "file", one->found);
	log_add_text(&line, what, value);
	log_add_text(&line, "refused", one->reason);
	log_end(&line);
}

static struct incident_cause cause_of(const char *help, const char *text)
{
	return (struct incident_cause){.source = "drop", .provider = "", .klass = VERDICT_OTHER,
	    .rule = "drop", .help = help, .text = text};
}

static void tell(struct drop *drop, const char *name, const char *reason)
{
	struct buf help = {0};
	struct buf text = {0};
	buf_addf(&help,
	    "programs left these messages in %s, and nobody can be told; "
	    "the log says why each bad.* was refused: mend that and do mv bad.X new.X there, or "
	    "remove it",
	    drop->path);
	buf_addf(&text, "%s: %s", name, reason);
	struct incident_cause cause = cause_of(buf_text(&help), buf_text(&text));
	incident_open(paths_reputation(drop->daemon->paths), &cause, clock_steady_ms());
	buf_free(&help);
	buf_free(&text);
}

/* What will never be taken, and can not be returned, is renamed, so that it is neither
 * lost nor tried for ever. */
static void set_aside(struct one *one)
{
	struct drop *drop = one->drop;
	char to[NAME_MAX_OURS];
	snprintf(to, sizeof(to), "bad.%016" PRIx64, one->id);
	if (rename_to(drop, one->name, to) == 0) {
		if (++drop->aside <= LINES_PER_SCAN)
			log_end_of(one, "renamed", to);
		drop->bad++;
		drop->bad_made = true;
		tell(drop, to, one->reason);
	}
	one_free(one);
}

/* A link, a pipe or the like has nothing to lose, and the sandbox lets nobody make one
 * under a new name. */
static bool remove_special(struct one *one)
{
	struct drop *drop = one->drop;
	struct stat st;
	struct why why;
	if (fstatat(drop->folder, one->found, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return false;
	if (unlinkat(drop->folder, one->found, 0) < 0) {
		why_errno(&why, WHY_LOCAL, errno, "not a plain file, unlink");
		note_stuck(drop, one->found, &why);
		return true;
	}
	one->reason = mem_text("not a plain file");
	if (++drop->aside <= LINES_PER_SCAN)
		log_end_of(one, "renamed", "");
	return true;
}

static void returned(void *arg, enum report_end end)
{
	struct one *one = arg;
	switch (end) {
	case REPORT_QUEUED:
		log_end_of(one, "returned", one->to);
		remove_file(one->drop, one->name);
		one_free(one);
		break;
	case REPORT_LATER:
		put_back(one);
		break;
	case REPORT_DROPPED:
		set_aside(one);
		break;
	}
}

/* The program that left it here does not hear of it any more. */
static void refuse(struct one *one, const struct drop_file *file, const struct reply *reply)
{
	struct daemon *daemon = one->drop->daemon;
	struct buf to = {0};
	struct buf reason = {0};
	bool known = drop_return_address(daemon->settings->conf, file, &to);
	reply_summary(reply, &reason, SHOWN_MAX);
	one->reason = buf_take(&reason, NULL);
	one->to = buf_take(&to, NULL);
	if (known)
		drop_return_send(daemon, one->id, file, reply, one->to, returned, one);
	else
		set_aside(one);
}

/* What it says is read once more, since intake has used it up. */
static void refused_by_intake(struct one *one, const struct reply *reply)
{
	struct drop *drop = one->drop;
	struct drop_file file;
	struct why why = {0};
	if (drop_file_read(drop->folder, one->name, drop->daemon->settings->conf, &file, &why) < 0)
		not_readable(one, &why);
	else
		refuse(one, &file, reply);
	drop_file_free(&file);
}

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct one *one = arg;
	(void)id;
	if (reply->code >= 500) {
		refused_by_intake(one, reply);
	} else if (reply->code >= 400) {
		put_back(one);
	} else {
		remove_file(one->drop, one->name);
		one_free(one);
	}
}

static void submit(struct one *one, struct drop_file *file)
{
	struct drop *drop = one->drop;
	struct buf client = {0};
	buf_addf(&client, "drop:%u", (unsigned)file->owner);
	file->envelope.client = buf_take(&client, NULL);
	file->envelope.user = mem_text("");
	drop->taken[file->owner % OWNERS]++;
	one->bytes = file->message.len;
	drop->bytes += one->bytes;
	struct intake_past past = {.id = one->id, .complete_ms = file->written_ms};
	intake_submit_past(
	    drop->daemon->intake, &past, &file->envelope, span_buf(&file->message), submitted, one);
}

static void take_file(struct drop *drop, const char *found)
{
	struct one *one = one_new(drop, found);
	struct drop_file file;
	struct why why = {0};
	if (remove_special(one) || rename_to(drop, found, one->name) != 0) {
		one_free(one);
		return;
	}
	if (drop_file_read(drop->folder, one->name, drop->daemon->settings->conf, &file, &why) < 0)
		not_readable(one, &why);
	else if (file.reply.code)
		refuse(one, &file, &file.reply);
	else
		submit(one, &file);
	drop_file_free(&file);
}

/* ---- the folder ---- */

/* What a relay-sendmail that was killed has left. */
static void remove_stale(struct drop *drop, const char *name)
{
	struct stat st;
	if (strncmp(name, "tmp.", 4) == 0 &&
	    fstatat(drop->folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    clock_wall_ms() / 1000 - st.st_mtime > STALE_S)
		unlinkat(drop->folder, name, 0);
}

/* The next scan begins at once, since there is more that may be taken. */
static bool goes_on(const struct drop *drop)
{
	return drop->passed_over && !drop->put_off;
}

static DIR *open_folder(const struct drop *drop)
{
	int fd = openat(drop->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

static bool begin_scan(struct drop *drop)
{
	release_put_back(drop);
	drop->scan = open_folder(drop);
	if (!goes_on(drop)) {
		drop->aside = 0;
		drop->was_stuck = drop->stuck;
		drop->stuck = false;
	}
	if (!drop->put_off)
		drop->waits = false;
	memset(drop->taken, 0, sizeof(drop->taken));
	drop->passed_over = drop->put_off = drop->bad_made = false;
	drop->bad_seen = 0;
	return drop->scan != NULL;
}

static bool end_scan(struct drop *drop)
{
	if (!goes_on(drop) && drop->aside > LINES_PER_SCAN)
		log_text(LOG_LEVEL_WARN, "drop: %u more files were set aside",
		    drop->aside - LINES_PER_SCAN);
	closedir(drop->scan);
	drop->scan = NULL;
	return goes_on(drop);
}

/* The end of the folder: what is set aside has been counted. */
static void note_count(struct drop *drop)
{
	struct incident_cause over = cause_of("", "");
	if (drop->bad_made)
		return;
	drop->bad = drop->bad_seen;
	if (drop->bad == 0)
		incident_end(paths_reputation(drop->daemon->paths), &over, clock_steady_ms());
}

static void wait_for(struct drop *drop, const char *reason)
{
	if (!drop->waits)
		log_text(LOG_LEVEL_WARN, "drop: files wait: %s", reason);
	drop->waits = drop->put_off = true;
}

/* The limits that a client meets at MAIL: that of all, */
static bool has_room(struct drop *drop)
{
	struct reply reply = {0};
	bool room = intake_has_room(drop->daemon->intake, drop->daemon->settings->conf, &reply);
	if (!room)
		wait_for(drop, buf_text(&reply.text));
	reply_free(&reply);
	return room;
}

/* and its own. One user's thousand messages shall not stand before another's one. */
static bool may_take(struct drop *drop, const char *name)
{
	struct stat st;
	if (fstatat(drop->folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false; /* it is gone */
	if (drop->taken[st.st_uid % OWNERS] >= OWNER_TURN) {
		drop->passed_over = true;
		return false;
	}
	if (listen_user_may_send(drop->daemon->listen, st.st_uid))
		return true;
	wait_for(drop, "a user has sent too many within a minute (limits.messages_per_minute)");
	return false;
}

/* One message is taken however large it is; the next one when there is memory for it. */
static bool is_busy(const struct drop *drop)
{
	uint64_t memory = (uint64_t)drop->daemon->settings->conf->spool.memory;
	return drop->pending >= AT_A_TIME || drop->bytes > memory / MEMORY_SHARE;
}

/* A turn goes on where the last one stopped, so that a thousand files that can not
 * be taken do not keep the one behind them out. True: there may be more. */
static bool scan_on(struct drop *drop)
{
	int files = 0;
	for (int n = 0; n < ENTRIES_PER_TURN && files < FILES_PER_TURN; n++) {
		if (is_busy(drop))
			return true;
		const struct dirent *entry = readdir(drop->scan);
		if (!entry) {
			note_count(drop);
			return false;
		}
		drop->bad_seen += is_set_aside(entry->d_name);
		if (!is_ready(drop, entry->d_name)) {
			remove_stale(drop, entry->d_name);
		} else if (!has_room(drop)) {
			return false;
		} else if (may_take(drop, entry->d_name)) {
			files++;
			take_file(drop, entry->d_name);
		}
	}
	return true;
}

static void scan(void *arg)
{
	struct drop *drop = arg;
	bool more = (drop->scan || begin_scan(drop)) && scan_on(drop);
	if (drop->scan && !more)
		more = end_scan(drop);
	timer_start(&drop->timer, more ? GO_ON_MS : SCAN_MS);
}

/* ---- the start ---- */

/* What an earlier run has appended and could not remove any more. */
static void settle_leftovers(struct drop *drop)
{
	DIR *dir = open_folder(drop);
	const struct dirent *entry;
	uint64_t run;
	uint64_t id;
	while (dir && (entry = readdir(dir))) {
		drop->bad += is_set_aside(entry->d_name);
		if (parse_in(entry->d_name, &run, &id) &&
		    deliver_message(drop->daemon->deliver, id))
			remove_file(drop, entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static int not_our_folder(const char *path, uid_t owner, struct why *why)
{
	return why_set(why, WHY_LOCAL,
	    "drop: %s belongs to user id %u, expected %u; do: chown %u %s", path, (unsigned)owner,
	    (unsigned)geteuid(), (unsigned)geteuid(), path);
}

static void not_opened(const char *path, int error, struct why *why)
{
	struct stat st;
	if (error == EACCES && lstat(path, &st) == 0 && st.st_uid != geteuid())
		not_our_folder(path, st.st_uid, why);
	else
		why_errno(why, WHY_LOCAL, error, "drop: %s", path);
}

/* Others may write here: only the sticky bit keeps them from each other's files,
 * and only its owner may remove them all. */
static int check_folder(int folder, const char *path, struct why *why)
{
	struct stat st;
	if (fstat(folder, &st) < 0)
		return why_errno(why, WHY_LOCAL, errno, "drop: %s", path);
	if (st.st_uid != geteuid())
		return not_our_folder(path, st.st_uid, why);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
		return why_set(why, WHY_LOCAL,
		    "drop: %s has mode %04o, so that users can replace each other's files; do: "
		    "chmod 1733 %s", path, (unsigned)st.st_mode & 07777, path);
	return 0;
}

struct drop *drop_new(struct daemon *daemon, struct why *why)
{
	const char *path = daemon->settings->conf->drop;
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0 || check_folder(folder, path, why) < 0) {
		if (folder < 0)
			not_opened(path, errno, why);
		else
			close(folder);
		return NULL;
	}
	struct drop *drop = mem_zero(sizeof(*drop));
	drop->daemon = daemon;
	drop->path = mem_text(path);
	drop->folder = folder;
	drop->run = random_u64();
	settle_leftovers(drop);
	timer_init(&drop->timer, daemon->loop, scan, drop);
	timer_start(&drop->timer, 0);
	return drop;
}

void drop_stop(struct drop *drop)
{
	timer_stop(&drop->timer);
}

void drop_free(struct drop *drop)
{
	if (!drop)
		return;
	drop_stop(drop);
	while (drop->ones)
		one_free(drop->ones);
	if (drop->scan)
		closedir(drop->scan);
	close(drop->folder);
	mem_free(drop->path);
	mem_free(drop);
}

size_t drop_set_aside(const struct drop *drop)
{
	return drop->bad;
}
