/* SPDX-License-Identifier: MIT
 * The spool thread: one batch is all tasks that waited. Their records are put
 * and written (spool_commit.c); tasks that need a sync are kept until one that
 * began after that has ended, and only then is anything DONE.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "queue/crc32c.h"
#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define GATHER_MAX (8u << 20) /* bytes in one write */
#define FAILURES_MAX 3        /* segments given up in one batch */

struct writer *writer_new(const struct conf_spool *conf, int dir, int big_dir, int damaged_dir)
{
	struct writer *w = mem_zero(sizeof(*w));
	w->dir = dir;
	w->big_dir = big_dir;
	w->damaged_dir = damaged_dir;
	w->current.fd = -1;
	size_t wanted = conf->spare_segments > 0 ? (size_t)conf->spare_segments : 1;
	stock_init(&w->stock, dir, (uint64_t)conf->segment_size, (uint64_t)conf->free_space,
	    wanted);
	return w;
}

void *writer_thread(void *writer)
{
	return writer;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	writer_drop_gathered(w);
	stock_clear(&w->stock);
	if (w->current.fd >= 0)
		close(w->current.fd);
	mem_free(w->ends);
	mem_free(w->notes);
	mem_free(w->waiting);
	mem_free(w->unlink);
	mem_free(w);
}

void writer_add_end(struct writer *w, uint32_t number, uint64_t end)
{
	w->ends = mem_resize(w->ends, w->end_count + 1, sizeof(*w->ends));
	w->ends[w->end_count++] = (struct spool_place){number, (uint32_t)end};
}

uint64_t writer_end_of(const struct writer *w, uint32_t number)
{
	for (size_t i = 0; i < w->end_count; i++)
		if (w->ends[i].segment == number)
			return w->ends[i].offset;
	return 0;
}

static void remove_end(struct writer *w, uint32_t number)
{
	for (size_t i = 0; i < w->end_count; i++)
		if (w->ends[i].segment == number) {
			w->ends[i] = w->ends[--w->end_count];
			return;
		}
}

/* ---- putting records ---- */

void writer_meta_begin(struct buf *meta)
{
	*meta = (struct buf){0};
	memset(buf_room(meta, RECORD_HEAD), 0, RECORD_HEAD);
	meta->len = RECORD_HEAD;
}

static void gather(struct writer *w, const void *p, size_t n)
{
	if (n)
		w->iov[w->iov_count++] = (struct iovec){(void *)(uintptr_t)p, n};
}

static void keep_temp(struct writer *w, void *temp)
{
	if (temp)
		w->temps[w->temp_count++] = temp;
}

static void seal(struct writer *w, struct writer_record *r)
{
	struct record *record = &r->record;
	record->generation = w->current.generation;
	record->batch = (uint32_t)w->current.synced;
	record->at = (uint32_t)w->current.at;
	record->meta_crc = crc32c(0, r->meta.data + RECORD_HEAD, record->meta_size);
	record->content_crc = crc32c(0, r->content[0].p, r->content[0].n);
	record->content_crc = crc32c(record->content_crc, r->content[1].p, r->content[1].n);
	record_write_head(record, (unsigned char *)r->meta.data);
}

/* There is room in the current segment: gather R. */
static void put_here(struct writer *w, struct writer_record *r, uint64_t length)
{
	static const char zeros[8];
	seal(w, r);
	if (r->place)
		*r->place = (struct spool_place){w->current.number, (uint32_t)w->current.at};
	size_t plain = r->meta.len + r->content[0].n + r->content[1].n;
	gather(w, r->meta.data, r->meta.len);
	gather(w, r->content[0].p, r->content[0].n);
	gather(w, r->content[1].p, r->content[1].n);
	gather(w, zeros, (size_t)(length - plain));
	keep_temp(w, buf_take(&r->meta, NULL));
	keep_temp(w, r->temp);
	w->gathered += (size_t)length;
	w->current.at += length;
}

static int begin_segment(struct writer *w, uint64_t need, bool note)
{
	stock_wait(&w->stock); /* so that what it says is true now */
	/* one has to be left over for notes */
	if (!note && stock_fill(&w->stock, 2) != 0 && stock_ready(&w->stock) < 2)
		return -1;
	struct writer_record r = {.record.type = RECORD_CLOSED};
	writer_meta_begin(&r.meta);
	record_write_closed(w->ends, w->end_count, &r.meta);
	r.record.meta_size = (uint32_t)(r.meta.len - RECORD_HEAD);
	uint64_t length = record_length(&r.record);
	if (stock_take(&w->stock, RECORD_START + length + need, &w->current) != 0) {
		buf_free(&r.meta);
		return -1;
	}
	put_here(w, &r, length);
	return 0;
}

static int make_room(struct writer *w, uint64_t need, bool note)
{
	while (w->failures <= FAILURES_MAX) {
		if (w->current.fd >= 0 && need <= w->current.size - w->current.at)
			return 0;
		if (w->current.fd >= 0) {
			stock_wait(&w->stock);
			if (!note && stock_fill(&w->stock, 2) != 0 &&
			    stock_ready(&w->stock) < 2)
				return -1; /* what is left here is for notes */
			if (writer_commit(w) == 0)
				writer_close_current(w);
			continue;
		}
		if (begin_segment(w, need, note) != 0)
			return -1;
	}
	errno = w->error;
	return -1;
}

static int put_checked(struct writer *w, struct writer_record *r)
{
	uint64_t length = record_length(&r->record);
	if (length > (3ull << 30) || r->record.meta_size > RECORD_META_MAX) {
		errno = EFBIG;
		return -1;
	}
	if ((w->iov_count + 4 > WRITER_IOV || w->gathered > GATHER_MAX) && writer_flush(w) != 0 &&
	    w->failures > FAILURES_MAX)
		return -1;
	if (make_room(w, length, r->note) != 0)
		return -1;
	put_here(w, r, length);
	return 0;
}

int writer_put(struct writer *w, struct writer_record *r)
{
	r->record.meta_size = (uint32_t)(r->meta.len - RECORD_HEAD);
	r->record.here = (uint32_t)(r->content[0].n + r->content[1].n);
	if (r->meta.len > UINT32_MAX || put_checked(w, r) != 0) {
		int error = r->meta.len > UINT32_MAX ? EFBIG : errno;
		buf_free(&r->meta);
		mem_free(r->temp);
		errno = error;
		return -1;
	}
	if (r->status)
		writer_wait_status(w, r->status);
	return 0;
}

/* ---- notes ---- */

static void push_notes(struct writer *w, const struct note_task *task)
{
	size_t need = w->note_count + task->count;
	if (need > w->note_cap) {
		w->note_cap = need * 2;
		w->notes = mem_resize(w->notes, w->note_cap, sizeof(*w->notes));
	}
	if (task->count)
		memcpy(w->notes + w->note_count, task->notes, task->count * sizeof(*w->notes));
	w->note_count = need;
	w->note_seen += task->count;
}

/* Write those that are not written; after a failure on the way that is all. */
static void put_notes(struct writer *w)
{
	while (w->note_put < w->note_count) {
		const struct record_note *note = &w->notes[w->note_put];
		struct writer_record r = {.note = true,
			.record = {.type = (uint8_t)note->type, .id = note->id}};
		writer_meta_begin(&r.meta);
		record_write_note(note, &r.meta);
		unsigned failures = w->failures;
		if (writer_put(w, &r) != 0)
			return; /* they wait for the next batch */
		/* a failure has put note_put back to 0: this one comes again */
		if (w->failures == failures)
			w->note_put++;
	}
}

/* ---- the tasks of a batch ---- */

static bool may_append(struct writer *w)
{
	if (stock_is_short(&w->stock))
		return false;
	size_t want = w->current.fd >= 0 ? 1 : 2;
	return stock_fill(&w->stock, want) == 0 || stock_ready(&w->stock) >= want;
}

static void refuse(struct writer *w, struct spool_append *a, int error)
{
	a->status = writer_is_no_space(error) ? SPOOL_FULL : SPOOL_FAILED;
	w->refused |= a->status == SPOOL_FULL;
	why_errno(&a->why, WHY_LOCAL, error, "the spool can not take message %016llx",
	    (unsigned long long)a->id);
}

static void append(struct writer *w, struct spool_append *a)
{
	a->status = SPOOL_FAILED;
	a->why = (struct why){0};
	if (envelope_check(a->envelope, &a->why) != 0)
		return;
	if (!may_append(w)) {
		refuse(w, a, stock_error(&w->stock) ? stock_error(&w->stock) : ENOSPC);
		return;
	}
	struct buf stored = {0};
	envelope_write(a->envelope, &stored);
	struct record_message m = {.envelope = span_buf(&stored), .state = a->state};
	struct writer_record r = {.status = &a->status, .place = &a->place,
		.record = {.type = RECORD_MESSAGE, .id = a->id}};
	writer_meta_begin(&r.meta);
	record_write_message(&m, &r.meta);
	buf_free(&stored);
	r.content[0] = a->head;
	r.record.size = a->head.n;
	if (a->content) {
		r.record.size += spool_content_size(a->content);
		if (content_is_big(a->content)) {
			r.record.flags = RECORD_BIG;
			r.record.big_crc = content_crc(a->content);
		} else {
			r.content[1] = content_memory(a->content);
		}
	}
	a->content_size = r.record.size;
	if (writer_put(w, &r) != 0)
		refuse(w, a, errno);
	else
		a->length = record_length(&r.record);
}

/* Result: it has to wait for a sync. */
static bool begin_task(struct writer *w, struct spool_task *task)
{
	switch ((enum task_kind)task->kind) {
	case TASK_APPEND:
		append(w, (struct spool_append *)task);
		return true;
	case TASK_NOTES:
		push_notes(w, (struct note_task *)task);
		put_notes(w);
		return false;
	case TASK_CARRY:
		writer_copy(w, (struct carry *)task);
		return ((struct carry *)task)->item_count > 0;
	case TASK_DAMAGE:
		writer_damage(w, (struct damage_task *)task);
		return false;
	case TASK_RETIRE:
		((struct retire_task *)task)->notes = w->note_seen;
		return true;
	case TASK_TICK:
		return true;
	}
	return false;
}

/* A segment goes only when all that was noted before is on disk: what it alone
 * knew is among that. */
static void retire(struct writer *w, struct retire_task *task)
{
	char name[SEGMENT_NAME];
	if (w->note_seen - w->note_count < task->notes)
		return;
	int fd = spool_io_open(w->dir, segment_name(name, task->segment, SEGMENT_LOG), O_RDONLY);
	if (fd >= 0) {
		off_t size = lseek(fd, 0, SEEK_END);
		close(fd);
		if (size < 0 || stock_retire(&w->stock, task->segment, (uint64_t)size) != 0)
			return;
	} else if (errno != ENOENT || spool_io.fsync(w->dir) != 0) {
		return; /* ENOENT: it has gone before, but for this sync */
	}
	remove_end(w, task->segment);
	task->retired = true;
}

static void end_task(struct writer *w, struct spool_task *task)
{
	if (task->kind == TASK_RETIRE)
		retire(w, (struct retire_task *)task);
	else if (task->kind == TASK_CARRY)
		writer_look(w, (struct carry *)task);
	else if (task->kind == TASK_APPEND) {
		struct spool_append *a = (struct spool_append *)task;
		if (a->status != SPOOL_DONE && a->why.kind == WHY_NONE)
			refuse(w, a, w->error);
	}
}

static void unlink_bigs(struct writer *w)
{
	char name[BIG_NAME];
	for (size_t i = 0; i < w->unlink_count; i++)
		spool_io.unlinkat(w->big_dir, big_name(name, w->unlink[i]), 0);
	w->unlink_count = 0;
}

/* A segment was given up. The next one has to say on disk where that ends before
 * anybody hears of what has failed, else it would come back at the next start. */
static void begin_anew(struct writer *w)
{
	unsigned before = 0;
	while (w->failures != before && w->failures <= FAILURES_MAX) {
		before = w->failures;
		put_notes(w);
		if (w->current.fd < 0 && begin_segment(w, 0, true) != 0)
			break;
		writer_commit(w);
	}
}

/* Have all of it written, and a sync under way if somebody waits for one. */
static void write_batch(struct writer *w, struct job *first)
{
	struct job *next;
	w->failures = 0;
	if (w->sync.under_way && !side_is_busy(w->syncer))
		writer_end_sync(w);
	put_notes(w); /* what an earlier batch could not write */
	for (struct job *job = first; job; job = next) {
		struct spool_task *task = (struct spool_task *)job;
		next = job->next;
		tasks_add(begin_task(w, task) ? &w->unsynced : &w->over, task);
	}
	writer_flush(w);
	if (w->failures)
		begin_anew(w);
	if (w->unsynced.first && !w->sync.under_way)
		writer_start_sync(w);
}

/* Would a message be refused now? Once one was, two unused segments have to be
 * there before it ends: one to write to, one left over for notes. */
static bool is_full(struct writer *w)
{
	if (w->refused && stock_fill(&w->stock, 2) == 0)
		w->refused = false;
	size_t want = w->current.fd >= 0 && !w->refused ? 1 : 2;
	return stock_is_short(&w->stock) ||
	    (stock_error(&w->stock) && stock_ready(&w->stock) < want);
}

struct job *writer_batch(struct job *first, void *writer)
{
	struct writer *w = writer;
	write_batch(w, first);
	struct job *over = w->over.first;
	w->over = (struct task_list){0};
	for (struct job *job = over; job; job = job->next)
		end_task(w, (struct spool_task *)job);
	unlink_bigs(w);
	stock_step(&w->stock, first != NULL);
	if (!over)
		return NULL;
	bool full = is_full(w);
	for (struct job *job = over; job; job = job->next) {
		struct spool_task *task = (struct spool_task *)job;
		task->current = w->current.fd >= 0 ? w->current.number : 0;
		task->synced = w->note_count == 0;
		task->full = full;
	}
	return over;
}
