/* SPDX-License-Identifier: MIT
 * The spool thread: one batch is all tasks that waited while the last one was
 * synced. Records are gathered and written with few calls, one sync covers
 * them, and only then is anything DONE.
 *
 * A failed write or sync (fail): whoever waited for that sync has failed, the
 * segment is closed where it was last synced and never synced again, and notes
 * that were not synced are written anew to the next segment. They say the same
 * when they stand in the log twice.
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

static void drop_gathered(struct writer *w)
{
	for (size_t i = 0; i < w->temp_count; i++)
		mem_free(w->temps[i]);
	w->temp_count = 0;
	w->iov_count = 0;
	w->gathered = 0;
}

void *writer_thread(void *writer)
{
	return writer;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	drop_gathered(w);
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

/* ---- commit ---- */

static bool is_no_space(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

static void close_current(struct writer *w)
{
	writer_add_end(w, w->current.number, w->current.synced);
	close(w->current.fd);
	w->current.fd = -1;
}

static void settle_waiting(struct writer *w, enum spool_status status)
{
	for (size_t i = 0; i < w->waiting_count; i++)
		*w->waiting[i] = status;
	w->waiting_count = 0;
}

static int fail(struct writer *w, int error)
{
	w->error = error;
	w->failures++;
	drop_gathered(w);
	settle_waiting(w, is_no_space(error) ? SPOOL_FULL : SPOOL_FAILED);
	w->note_put = 0;
	if (w->current.fd >= 0)
		close_current(w);
	errno = error;
	return -1;
}

static int flush(struct writer *w)
{
	if (!w->iov_count)
		return 0;
	uint64_t from = w->current.at - w->gathered;
	if (spool_io_write(w->current.fd, w->iov, w->iov_count, from) != 0)
		return fail(w, errno);
	drop_gathered(w);
	return 0;
}

/* Notes that are on disk now; what an END leaves behind can go. */
static void forget_notes(struct writer *w)
{
	for (size_t i = 0; i < w->note_put; i++) {
		if (!w->notes[i].big)
			continue;
		w->unlink = mem_resize(w->unlink, w->unlink_count + 1, sizeof(*w->unlink));
		w->unlink[w->unlink_count++] = w->notes[i].id;
	}
	w->note_count -= w->note_put;
	if (w->note_count)
		memmove(w->notes, w->notes + w->note_put, w->note_count * sizeof(*w->notes));
	w->note_put = 0;
}

static int commit(struct writer *w)
{
	if (flush(w) != 0)
		return -1;
	if (w->current.fd >= 0 && w->current.at > w->current.synced) {
		if (spool_io.fdatasync(w->current.fd) != 0)
			return fail(w, errno);
		atomic_fetch_add(&w->syncs, 1);
		w->current.synced = w->current.at;
	}
	settle_waiting(w, SPOOL_DONE);
	forget_notes(w);
	return 0;
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
			if (!note && stock_fill(&w->stock, 2) != 0 &&
			    stock_ready(&w->stock) < 2)
				return -1; /* what is left here is for notes */
			if (commit(w) == 0)
				close_current(w);
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
	if ((w->iov_count + 4 > WRITER_IOV || w->gathered > GATHER_MAX) && flush(w) != 0 &&
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
	if (!r->status)
		return 0;
	if (w->waiting_count == w->waiting_cap) {
		w->waiting_cap = w->waiting_cap ? w->waiting_cap * 2 : 64;
		w->waiting = mem_resize(w->waiting, w->waiting_cap, sizeof(*w->waiting));
	}
	w->waiting[w->waiting_count++] = r->status;
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
	memcpy(w->notes + w->note_count, task->notes, task->count * sizeof(*w->notes));
	w->note_count = need;
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
	a->status = is_no_space(error) ? SPOOL_FULL : SPOOL_FAILED;
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
		refuse(w, a, w->stock.error ? w->stock.error : ENOSPC);
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

/* A task that is not about files of its own. Result: it needs a sync. */
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
	case TASK_CONTENT:
		content_work(w, (struct content_task *)task);
		return false;
	case TASK_CARRY:
		writer_copy(w, (struct carry *)task);
		return ((struct carry *)task)->item_count > 0;
	case TASK_DAMAGE:
		writer_damage(w, (struct damage_task *)task);
		return false;
	case TASK_RETIRE:
	case TASK_TICK:
		return true;
	}
	return false;
}

/* A segment goes only when nothing waits for a sync any more: what it alone
 * knew may be among it. */
static void retire(struct writer *w, struct retire_task *task)
{
	char name[SEGMENT_NAME];
	if (w->note_count > 0)
		return;
	int fd = spool_io_open(w->dir, segment_name(name, task->segment, SEGMENT_LOG), O_RDONLY);
	if (fd < 0)
		return;
	off_t size = lseek(fd, 0, SEEK_END);
	close(fd);
	if (size < 0 || stock_retire(&w->stock, task->segment, (uint64_t)size) != 0)
		return;
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

static void write_batch(struct writer *w, struct job *first)
{
	bool sync = false;
	w->failures = 0;
	put_notes(w); /* what an earlier batch could not write */
	for (struct job *job = first; job; job = job->next)
		sync |= begin_task(w, (struct spool_task *)job);
	for (;;) {
		put_notes(w);
		unsigned failures = w->failures;
		int result = sync ? commit(w) : flush(w);
		if (result == 0 && failures == w->failures)
			break;
		if (w->failures > FAILURES_MAX || w->note_count == 0)
			break;
	}
	/* the next segment says where the bad one ends, so that what has failed
	 * does not come back at the next start */
	if (w->failures && w->current.fd < 0 && begin_segment(w, 0, true) == 0)
		commit(w);
}

/* Would a message be refused now? Once one was, two unused segments have to be
 * there before it ends: one to write to, one left over for notes. */
static bool is_full(struct writer *w)
{
	if (w->refused && stock_fill(&w->stock, 2) == 0)
		w->refused = false;
	size_t want = w->current.fd >= 0 && !w->refused ? 1 : 2;
	return stock_is_short(&w->stock) ||
	    (w->stock.error && stock_ready(&w->stock) < want);
}

void writer_batch(struct job *first, void *writer)
{
	struct writer *w = writer;
	write_batch(w, first);
	for (struct job *job = first; job; job = job->next)
		end_task(w, (struct spool_task *)job);
	unlink_bigs(w);
	bool more = stock_step(&w->stock);
	bool full = is_full(w);
	for (struct job *job = first; job; job = job->next) {
		struct spool_task *task = (struct spool_task *)job;
		task->current = w->current.fd >= 0 ? w->current.number : 0;
		task->synced = w->note_count == 0;
		task->full = full;
		task->more = more;
	}
}
