/* SPDX-License-Identifier: MIT
 * The loop's side of the spool: opening and closing it, notes, and what each
 * batch of the thread says about the whole.
 */
#include "queue/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define VERSION 2u /* one more whenever an older program could not read what is written */
#define SYNC_MS 1000
#define LAST_TRIES 3
#define SEGMENT_SIZE_MIN (64 << 10)
#define SEGMENT_SIZE_MAX (1 << 30)

/* ---- the end of a turn ---- */

/* A deferred call can not be taken back, so it holds this and not the spool. */
struct spool_later {
	struct spool *spool; /* NULL: closed meanwhile */
};

static void later(void *arg)
{
	struct spool_later *call = arg;
	struct spool *spool = call->spool;
	mem_free(call);
	if (!spool)
		return;
	spool->later = NULL;
	spool_write_notes(spool);
	carry_next(spool);
}

void spool_call_later(struct spool *spool)
{
	if (spool->later || spool->closing)
		return;
	spool->later = mem_zero(sizeof(*spool->later));
	spool->later->spool = spool;
	loop_defer(spool->loop, later, spool->later);
}

/* ---- tasks ---- */

void spool_task_init(struct spool *spool, struct spool_task *task, enum task_kind kind,
    void (*done)(struct job *job))
{
	*task = (struct spool_task){.spool = spool, .kind = kind, .job.done = done};
}

void spool_task_add(struct spool_task *task)
{
	if (!task->spool->recovered)
		bug("the spool is used before it was recovered");
	pool_add(task->spool->pool, &task->job);
}

static void tick_done(struct job *job)
{
	struct spool_task *task = (struct spool_task *)job;
	task->spool->ticking = false;
	spool_task_over(task);
}

static void tick(void *arg)
{
	struct spool *spool = arg;
	if (spool->ticking)
		return;
	spool->ticking = true;
	spool_task_init(spool, &spool->tick, TASK_TICK, tick_done);
	spool_task_add(&spool->tick);
}

void spool_begin(struct spool *spool)
{
	tick(spool); /* makes the first segments */
	spool_call_later(spool);
}

/* The thread writes to a new segment: those before it are closed. */
static void see_current(struct spool *spool, uint32_t current)
{
	uint32_t old = spool->current;
	if (current <= old)
		return;
	spool->current = current;
	for (uint32_t n = old + 1; n <= current; n++)
		segment_add(spool, n);
	spool_call_later(spool); /* perhaps the one just closed is empty */
}

static void see_full(struct spool *spool, bool full)
{
	if (spool->full == full)
		return;
	spool->full = full;
	carry_try_again(spool); /* emptying a segment may work now, or be needed */
	if (spool->reports.full)
		spool->reports.full(spool->reports.arg, full);
}

void spool_task_over(struct spool_task *task)
{
	struct spool *spool = task->spool;
	see_current(spool, task->current);
	see_full(spool, task->full);
	if (task->synced && !task->full)
		timer_stop(&spool->timer);
	else if (!timer_is_running(&spool->timer) && !spool->closing)
		timer_start(&spool->timer, SYNC_MS);
}

void spool_report(struct spool *spool, struct damage_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		spool->stats.damaged++;
		if (spool->reports.damage)
			spool->reports.damage(spool->reports.arg, &list->all[i]);
	}
	damage_list_free(list);
}

/* ---- notes ---- */

static void notes_done(struct job *job)
{
	struct note_task *task = (struct note_task *)job;
	struct spool *spool = task->task.spool;
	if (spool->notes_out == task)
		spool->notes_out = NULL;
	spool_task_over(&task->task);
	while (task->waits) {
		struct spool_wait *wait = task->waits;
		spool_await_cancel(wait);
		wait->fn(wait->arg);
	}
	mem_free(task->notes);
	mem_free(task);
}

void spool_write_notes(struct spool *spool)
{
	struct note_task *task = spool->notes;
	if (!task)
		return;
	spool->notes = NULL;
	spool->notes_out = task;
	spool_task_add(&task->task);
}

/* Those of this turn. */
static struct note_task *notes_of(struct spool *spool)
{
	if (!spool->notes) {
		spool->notes = mem_zero(sizeof(*spool->notes));
		spool_task_init(spool, &spool->notes->task, TASK_NOTES, notes_done);
	}
	return spool->notes;
}

void spool_note(struct spool *spool, const struct record_note *note)
{
	struct note_task *task = notes_of(spool);
	if (task->count == task->cap) {
		task->cap = task->cap ? task->cap * 2 : 4;
		task->notes = mem_resize(task->notes, task->cap, sizeof(*task->notes));
	}
	task->notes[task->count++] = *note;
	/* what only memory knows a kill -9 undoes: an idle thread gets it now */
	if (spool->closing || (spool->recovered && !spool->notes_out))
		spool_write_notes(spool);
	else
		spool_call_later(spool); /* with all others of this turn */
}

void spool_await_notes(struct spool *spool, struct spool_wait *wait, void (*fn)(void *arg),
    void *arg)
{
	wait->fn = fn;
	wait->arg = arg;
	wait->task = spool->notes || !spool->notes_out ? notes_of(spool) : spool->notes_out;
	DL_APPEND(wait->task->waits, wait);
	/* else it has been handed over, or will be at the end of this turn */
	if (!spool->notes_out)
		spool_write_notes(spool);
}

void spool_await_cancel(struct spool_wait *wait)
{
	if (wait->task)
		DL_DELETE(wait->task->waits, wait);
	wait->task = NULL;
}

void spool_note_result(struct spool *spool, uint64_t id, uint32_t recipient,
    enum spool_outcome outcome)
{
	struct record_note note = {.type = RECORD_RESULT, .id = id, .recipient = recipient,
		.outcome = outcome};
	spool_note(spool, &note);
}

void spool_note_state(struct spool *spool, uint64_t id, const struct spool_state *state)
{
	struct record_note note = {.type = RECORD_STATE, .id = id, .state = *state};
	if (note.state.due_ms < 0)
		note.state.due_ms = 0;
	spool_note(spool, &note);
}

void spool_note_end(struct spool *spool, uint64_t id, struct spool_place place)
{
	struct record_note note = {.type = RECORD_END, .id = id, .place = place};
	note.big = id_set_remove(&spool->bigs, id);
	id_set_remove(&spool->damaged, id);
	if (!spool_end_waits(spool, &note))
		spool_note(spool, &note);
	segment_message_gone(spool, place);
}

/* ---- append ---- */

static void append_done(struct job *job)
{
	struct spool_append *a = (struct spool_append *)job;
	struct spool *spool = a->task.spool;
	bool big = a->content && content_is_big(a->content);
	spool_task_over(&a->task);
	if (a->status == SPOOL_DONE) {
		segment_message_added(spool, a->place, a->length);
		spool->stats.appended++;
		if (big)
			id_set_add(&spool->bigs, a->id);
		if (a->content)
			content_taken(a->content);
	} else {
		spool_content_free(a->content);
	}
	a->content = NULL;
	a->done(a);
}

void spool_append(struct spool *spool, struct spool_append *append)
{
	spool_task_init(spool, &append->task, TASK_APPEND, append_done);
	spool_task_add(&append->task);
}

const char *spool_path(const struct spool *spool)
{
	return spool->conf.path;
}

bool spool_is_full(const struct spool *spool)
{
	return spool->full;
}

struct spool_stats spool_stats(const struct spool *spool)
{
	struct spool_stats stats = spool->stats;
	stats.segments = HASH_COUNT(spool->segments);
	stats.syncs = atomic_load(&spool->writer->syncs);
	for (const struct segment *s = spool->segments; s; s = s->hh.next) {
		stats.bytes += s->size ? s->size : (uint64_t)spool->conf.segment_size;
		stats.live_bytes += s->messages ? s->bytes / s->messages * s->live : 0;
	}
	return stats;
}

/* ---- open and close ---- */

static int check_folder(int fd, const char *path, struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return why_errno(why, WHY_LOCAL, errno, "spool folder %s", path);
	if (st.st_uid != geteuid())
		return why_set(why, WHY_LOCAL, "spool folder %s belongs to user %u, expected "
		    "user %u: chown it", path, (unsigned)st.st_uid, (unsigned)geteuid());
	if (st.st_mode & 077)
		return why_set(why, WHY_LOCAL, "spool folder %s has mode %03o, expected 700: "
		    "chmod it", path, (unsigned)st.st_mode & 0777);
	return 0;
}

/* Somebody else's is closed to us: that is what to say. */
static int not_opened(int parent, const char *path, int error, struct why *why)
{
	struct stat st;
	if (error == EACCES && fstatat(parent, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_uid != geteuid())
		return why_set(why, WHY_LOCAL, "spool folder %s belongs to user %u, expected "
		    "user %u: chown it", path, (unsigned)st.st_uid, (unsigned)geteuid());
	return why_errno(why, WHY_LOCAL, error, "spool folder %s can not be opened", path);
}

static int open_folder(int parent, const char *path, struct why *why)
{
	if (mkdirat(parent, path, 0700) != 0 && errno != EEXIST)
		return why_errno(why, WHY_LOCAL, errno, "spool folder %s can not be made", path);
	int fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return not_opened(parent, path, errno, why);
	if (check_folder(fd, path, why) == 0)
		return fd;
	close(fd);
	return -1;
}

static int lock_spool(struct spool *spool, struct why *why)
{
	char text[32] = "";
	spool->lock_fd = spool_io_open(spool->dir, "lock", O_RDWR | O_CREAT);
	if (spool->lock_fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s/lock", spool->conf.path);
	if (flock(spool->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		ssize_t n = spool_io_read(spool->lock_fd, text, sizeof(text) - 1, 0);
		uint64_t pid = 0;
		struct span digits = span_trim((struct span){text, n > 1 ? (size_t)n - 1 : 0});
		if (span_number(digits, INT32_MAX, &pid) && pid)
			return why_set(why, WHY_LOCAL, "spool %s is in use by process %u",
			    spool->conf.path, (unsigned)pid);
		return why_errno(why, WHY_LOCAL, errno, "spool %s is in use",
		    spool->conf.path);
	}
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(spool->lock_fd, 0) != 0 ||
	    spool_io_write_bytes(spool->lock_fd, text, (size_t)n, 0) != 0) {
		/* only the process number is missing then; the lock holds */
	}
	return 0;
}

static int write_version(struct spool *spool, struct why *why)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "relayd spool %u\n", VERSION);
	int fd = spool_io_open(spool->dir, "version.new", O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s/version.new", spool->conf.path);
	int result = spool_io_write_bytes(fd, text, (size_t)n, 0);
	if (result == 0)
		result = spool_io.fsync(fd);
	int error = errno;
	close(fd);
	if (result == 0) {
		result = spool_io.renameat(spool->dir, "version.new", spool->dir, "version");
		error = errno;
	}
	return result == 0 ? 0 :
	    why_errno(why, WHY_LOCAL, error, "%s/version", spool->conf.path);
}

static int check_version(struct spool *spool, struct why *why)
{
	char text[64];
	static const char start[] = "relayd spool ";
	int fd = spool_io_open(spool->dir, "version", O_RDONLY);
	if (fd < 0 && errno == ENOENT)
		return write_version(spool, why);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s/version", spool->conf.path);
	ssize_t n = spool_io_read(fd, text, sizeof(text), 0);
	close(fd);
	uint64_t version = 0;
	struct span s = {text, n > 0 ? (size_t)n : 0};
	if (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	if (!span_starts_nocase(s, start) ||
	    !span_number((struct span){s.p + sizeof(start) - 1, s.n - (sizeof(start) - 1)},
		UINT32_MAX, &version) || version == 0)
		return why_set(why, WHY_LOCAL, "%s/version can not be read, expected "
		    "\"relayd spool %u\"", spool->conf.path, VERSION);
	if (version > VERSION)
		return why_set(why, WHY_LOCAL, "spool %s has version %llu, this program knows "
		    "versions up to %u: start the newer program", spool->conf.path,
		    (unsigned long long)version, VERSION);
	return version < VERSION ? write_version(spool, why) : 0;
}

static int open_all(struct spool *spool, struct why *why)
{
	spool->dir = open_folder(AT_FDCWD, spool->conf.path, why);
	if (spool->dir < 0 || lock_spool(spool, why) != 0 || check_version(spool, why) != 0)
		return -1;
	spool->big_dir = open_folder(spool->dir, "big", why);
	if (spool->big_dir < 0)
		return -1;
	spool->damaged_dir = open_folder(spool->dir, "damaged", why);
	if (spool->damaged_dir < 0)
		return -1;
	if (spool_io.fsync(spool->dir) != 0)
		return why_errno(why, WHY_LOCAL, errno, "spool folder %s", spool->conf.path);
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void free_spool(struct spool *spool)
{
	if (spool->later)
		spool->later->spool = NULL;
	timer_stop(&spool->timer);
	timer_stop(&spool->carry_timer);
	if (spool->notes)
		mem_free(spool->notes->notes);
	mem_free(spool->notes);
	carry_free(spool->carry);
	segment_free_all(spool);
	id_set_free(&spool->bigs);
	id_set_free(&spool->damaged);
	spool_free_damage(spool);
	writer_free(spool->writer);
	close_fd(spool->damaged_dir);
	close_fd(spool->big_dir);
	close_fd(spool->dir);
	close_fd(spool->lock_fd); /* releases the lock, last */
	mem_free(spool->conf.path);
	mem_free(spool);
}

static void fix_conf(struct conf_spool *conf)
{
	if (conf->segment_size < SEGMENT_SIZE_MIN)
		conf->segment_size = SEGMENT_SIZE_MIN;
	if (conf->segment_size > SEGMENT_SIZE_MAX)
		conf->segment_size = SEGMENT_SIZE_MAX;
	conf->segment_size &= ~(int64_t)4095;
	conf->path = mem_text(conf->path);
}

struct spool *spool_open(struct loop *loop, const struct conf_spool *conf,
    const struct spool_reports *reports, struct why *why)
{
	struct spool *spool = mem_zero(sizeof(*spool));
	spool->loop = loop;
	spool->conf = *conf;
	spool->reports = *reports;
	fix_conf(&spool->conf);
	spool->dir = spool->lock_fd = spool->big_dir = spool->damaged_dir = -1;
	timer_init(&spool->timer, loop, tick, spool);
	timer_init(&spool->carry_timer, loop, carry_try_again, spool);
	if (open_all(spool, why) != 0) {
		free_spool(spool);
		return NULL;
	}
	spool->writer = writer_new(&spool->conf, spool->dir, spool->big_dir,
	    spool->damaged_dir);
	struct pool_options options = {.name = "spool", .threads = 1,
		.begin = writer_thread, .run_batch = writer_batch, .arg = spool->writer};
	spool->pool = pool_new(loop, &options);
	spool->writer->syncer = pool_side(spool->pool, "spool-sync");
	spool->writer->stock.side = pool_side(spool->pool, "spool-stock");
	options = (struct pool_options){.name = "spool-big", .threads = 1};
	spool->big_pool = pool_new(loop, &options);
	return spool;
}

/* What done calls of the last tasks noted has to be synced as well. */
static void last_done(struct job *job)
{
	struct spool_task *task = (struct spool_task *)job;
	struct spool *spool = task->spool;
	spool_task_over(task);
	if (!task->synced && ++spool->last_tries < LAST_TRIES)
		spool_task_add(task);
}

void spool_close(struct spool *spool)
{
	if (!spool)
		return;
	spool->closing = true;
	timer_stop(&spool->timer);
	timer_stop(&spool->carry_timer);
	if (spool->recovered) {
		spool_write_notes(spool);
		spool_task_init(spool, &spool->last, TASK_TICK, last_done);
		spool_task_add(&spool->last);
	}
	/* a body that is complete is appended; an append that fails drops its body */
	do {
		pool_drain(spool->big_pool);
		pool_drain(spool->pool);
	} while (pool_pending(spool->big_pool));
	pool_free(spool->big_pool);
	pool_free(spool->pool);
	free_spool(spool);
}
