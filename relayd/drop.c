/* SPDX-License-Identifier: MIT
 * A file in the drop folder is one transaction as a client would say it: MAIL,
 * RCPT lines, DATA, text with dots, the final dot. Its owner counts as the
 * client. Local users write here, so nothing is followed, nothing is opened
 * that could block, and a name says nothing.
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
#include "relayd/dsn.h"
#include "smtp/body.h"
#include "smtp/command.h"

#define SCAN_MS 10000
#define FILES_PER_TURN 50     /* then the loop does other things first */
#define ENTRIES_PER_TURN 1000 /* looked at, ours or not */
#define GO_ON_MS 20
#define LINES_PER_SCAN 20     /* about files that were set aside; the rest is counted */
#define OWNER_TURN 200        /* messages of a user in a scan; more wait for the next one */
#define OWNERS 256            /* told apart by the end of their user id */
#define AT_A_TIME 8           /* messages of the folder on their way in */
#define ENVELOPE_MAX (1 << 20)
#define STALE_S (24 * 3600)

struct drop {
	struct daemon *daemon;
	int folder;
	DIR *scan;      /* goes on in the next turn; NULL: from the start */
	unsigned aside; /* files set aside in this scan and those that led to it */
	unsigned char taken[OWNERS]; /* in this scan */
	bool passed_over; /* somebody's turn was over */
	bool put_off;     /* a file stays for later: no hurry */
	bool full;        /* there is no room for more, and that was said */
	struct timer timer;
	size_t pending;
	struct one *ones; /* on their way in */
};

/* A file on its way in. */
struct one {
	struct drop *drop;
	char *name;
	ino_t inode; /* what the name stood for */
	struct one *next;
};

/* ---- the end of a file ---- */

static bool is_pending(const struct drop *drop, const char *name)
{
	for (const struct one *one = drop->ones; one; one = one->next)
		if (strcmp(one->name, name) == 0)
			return true;
	return false;
}

static void one_free(struct one *one)
{
	struct one **at = &one->drop->ones;
	while (*at != one)
		at = &(*at)->next;
	*at = one->next;
	one->drop->pending--;
	mem_free(one->name);
	mem_free(one);
}

static void log_aside(struct drop *drop, const char *name, const char *to, const char *reason)
{
	struct log_line line;
	if (++drop->aside > LINES_PER_SCAN)
		return;
	log_begin(&line, LOG_LEVEL_WARN, "drop");
	log_add_text(&line, "file", name);
	log_add_text(&line, "renamed", to);
	log_add_text(&line, "refused", reason);
	log_end(&line);
}

/* What will never be taken is renamed, so that it is neither lost nor tried
 * for ever. The new name is ours: one made of the old one could be too long, or
 * that of somebody's earlier file. A link, a pipe or the like has nothing to lose
 * (and nobody here may make one under a new name). */
static void set_aside(struct drop *drop, const char *name, const char *reason)
{
	char to[32];
	struct stat st;
	if (fstatat(drop->folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		if (unlinkat(drop->folder, name, 0) == 0)
			log_aside(drop, name, "", reason);
		return;
	}
	snprintf(to, sizeof(to), "bad.%016" PRIx64, random_u64());
	if (renameat2(drop->folder, name, drop->folder, to, RENAME_NOREPLACE) == 0)
		log_aside(drop, name, to, reason);
}

/* Its owner may have put another file under that name since. */
static void remove_taken(const struct one *one)
{
	struct stat st;
	if (fstatat(one->drop->folder, one->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == one->inode)
		unlinkat(one->drop->folder, one->name, 0);
}

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct one *one = arg;
	(void)id;
	if (reply->code == 250) {
		remove_taken(one);
	} else if (reply->code >= 500) {
		struct buf text = {0};
		reply_summary(reply, &text, 200);
		set_aside(one->drop, one->name, buf_text(&text));
		buf_free(&text);
	} else { /* 4xx: it stays for the next scan */
		one->drop->put_off = true;
	}
	one_free(one);
}

/* ---- reading ---- */

/* The next line of S without its line end; false at its end. */
static bool next_line(struct span *s, struct span *line)
{
	const char *end = memchr(s->p, '\n', s->n);
	if (!end)
		return false;
	*line = (struct span){s->p, (size_t)(end - s->p)};
	s->n -= line->n + 1;
	s->p = end + 1;
	if (line->n && line->p[line->n - 1] == '\r')
		line->n--;
	return true;
}

static int parse_rcpt(const struct conf *conf, const struct command *c, struct envelope *e,
    struct reply *reply)
{
	struct command_rcpt rcpt;
	if (command_parse_rcpt(c->argument, e->smtputf8, true, &rcpt, reply) < 0 ||
	    intake_add_recipient(conf, e, &rcpt.to, reply) < 0)
		return -1;
	dsn_take_recipient(e, &rcpt);
	return 0;
}

/* The commands up to DATA. TEXT becomes what follows. */
static int parse_commands(struct span *text, const struct conf *conf, struct envelope *e,
    struct reply *reply)
{
	const struct conf_limits *limits = &conf->limits;
	struct command_offers offers = {.size = true, .eightbit = true, .smtputf8 = true,
	    .dsn = true, .max_size = (uint64_t)limits->message_size};
	struct command_mail mail;
	struct command c;
	struct span line;
	while (next_line(text, &line) && line.n <= (size_t)limits->command_line) {
		command_parse(line, &c);
		if (c.verb == COMMAND_DATA && e->sender && e->recipient_count)
			return 0;
		if (c.verb == COMMAND_MAIL && !e->sender) {
			if (command_parse_mail(c.argument, &offers, &mail, reply) < 0)
				return -1;
			e->sender = span_dup(mail.from.text);
			e->smtputf8 = mail.smtputf8;
			dsn_take_mail(e, &mail);
		} else if (c.verb == COMMAND_RCPT && e->sender &&
			   e->recipient_count < (size_t)limits->recipients) {
			if (parse_rcpt(conf, &c, e, reply) < 0)
				return -1;
		} else {
			break;
		}
	}
	reply_set(reply, 501, "5.5.2", "MAIL, RCPT lines and DATA are expected");
	return -1;
}

static int decode_text(struct span text, const struct conf_limits *limits, struct buf *out,
    struct reply *reply)
{
	struct body_limits body = {.size = (uint64_t)limits->message_size,
	    .line = (uint64_t)limits->text_line};
	struct body_decoder decoder;
	body_decoder_init(&decoder, &body, true);
	size_t used = body_decode(&decoder, text.p, text.n, out);
	if (decoder.ended && decoder.fault == BODY_FINE && used == text.n)
		return 0;
	reply_set(reply, 554, "5.6.0", "%s", decoder.ended ? "the text breaks a limit or a line end"
						      : "the file ends before its final dot");
	return -1;
}

/* We lack something; else the file itself is at fault: a link, a socket, a mode
 * that keeps us out. */
static bool may_pass(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR ||
	       error == EIO || error == ENOENT;
}

/* -1: WHY is set for good, or errno-like trouble that may pass (kind TEMP). */
static int read_file(struct drop *drop, const char *name, struct buf *content, struct stat *st,
    struct why *why)
{
	const struct conf_limits *limits = &drop->daemon->settings->conf->limits;
	int fd = openat(drop->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return why_errno(why, may_pass(errno) ? WHY_TEMP : WHY_PERM, errno, "open");
	int result = 0;
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_nlink != 1)
		result = why_set(why, WHY_PERM, "not a plain file with one name");
	else if (st->st_size > limits->message_size + ENVELOPE_MAX)
		result = why_set(why, WHY_PERM, "over limits.message_size");
	while (result == 0) {
		ssize_t n = read(fd, buf_room(content, 65536), 65536);
		if (n == 0)
			break;
		if (n < 0)
			result = why_errno(why, WHY_TEMP, errno, "read");
		else
			content->len += (size_t)n;
		if (content->len > (size_t)(limits->message_size + ENVELOPE_MAX))
			result = why_set(why, WHY_PERM, "it grows while it is read");
	}
	close(fd);
	return result;
}

static int parse_file(struct drop *drop, struct span content, struct envelope *e,
    struct buf *message, struct reply *reply)
{
	const struct conf *conf = drop->daemon->settings->conf;
	if (parse_commands(&content, conf, e, reply) < 0)
		return -1;
	return decode_text(content, &conf->limits, message, reply);
}

static void take_file(struct drop *drop, const char *name)
{
	struct buf content = {0};
	struct buf message = {0};
	struct envelope e = {0};
	struct reply reply = {0};
	struct stat st;
	struct why why = {0};
	if (read_file(drop, name, &content, &st, &why) < 0) {
		if (why.kind == WHY_PERM)
			set_aside(drop, name, why.text);
		else
			drop->put_off = true;
	} else if (parse_file(drop, span_buf(&content), &e, &message, &reply) < 0) {
		set_aside(drop, name, buf_text(&reply.text));
	} else {
		struct one *one = mem_zero(sizeof(*one));
		struct buf client = {0};
		buf_addf(&client, "drop:%u", (unsigned)st.st_uid);
		e.client = buf_take(&client, NULL);
		e.user = mem_text("");
		one->drop = drop;
		one->name = mem_text(name);
		one->inode = st.st_ino;
		one->next = drop->ones;
		drop->ones = one;
		drop->pending++;
		drop->taken[st.st_uid % OWNERS]++;
		intake_submit(drop->daemon->intake, &e, span_buf(&message), submitted, one);
	}
	envelope_free(&e);
	reply_free(&reply);
	buf_free(&content);
	buf_free(&message);
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

/* Only whole files: relay-sendmail gives the name "new.*" when all is written. */
static bool is_ready(const struct drop *drop, const char *name)
{
	return strncmp(name, "new.", 4) == 0 && !is_pending(drop, name);
}

/* One user's thousand messages shall not stand before another's one. */
static bool has_had_turn(struct drop *drop, const char *name)
{
	struct stat st;
	if (fstatat(drop->folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true; /* it is gone */
	if (drop->taken[st.st_uid % OWNERS] < OWNER_TURN)
		return false;
	drop->passed_over = true;
	return true;
}

/* The next scan begins at once, since there is more that may be taken. */
static bool goes_on(const struct drop *drop)
{
	return drop->passed_over && !drop->put_off;
}

static bool begin_scan(struct drop *drop)
{
	int fd = openat(drop->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	drop->scan = fd < 0 ? NULL : fdopendir(fd);
	if (!drop->scan && fd >= 0)
		close(fd);
	if (!goes_on(drop))
		drop->aside = 0;
	memset(drop->taken, 0, sizeof(drop->taken));
	drop->passed_over = drop->put_off = false;
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

/* The limits that a client meets at MAIL. */
static bool has_room(struct drop *drop)
{
	struct reply reply = {0};
	bool room = intake_has_room(drop->daemon->intake, drop->daemon->settings->conf, &reply);
	if (!room && !drop->full)
		log_text(LOG_LEVEL_WARN, "drop: files wait: %s", buf_text(&reply.text));
	drop->full = !room;
	drop->put_off |= !room;
	reply_free(&reply);
	return room;
}

/* A turn goes on where the last one stopped, so that a thousand files that can not
 * be taken do not keep the one behind them out. True: there may be more. */
static bool scan_on(struct drop *drop)
{
	int files = 0;
	for (int n = 0; n < ENTRIES_PER_TURN && files < FILES_PER_TURN; n++) {
		if (drop->pending >= AT_A_TIME)
			return true;
		if (!has_room(drop))
			return false;
		const struct dirent *entry = readdir(drop->scan);
		if (!entry)
			return false;
		if (!is_ready(drop, entry->d_name)) {
			remove_stale(drop, entry->d_name);
		} else if (!has_had_turn(drop, entry->d_name)) {
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
	drop->folder = folder;
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
	mem_free(drop);
}
