/* SPDX-License-Identifier: MIT
 * The spool thread: from gathered records to records on disk. Records are
 * written in the order in which they were put, with few calls. The sync runs in
 * a side thread, so that what comes meanwhile, results above all, is written at
 * once: a process that is killed loses nothing that was written. Messages that
 * come meanwhile wait for the next sync, all of them together.
 *
 * A failed write or sync: whoever waited for a sync has failed, the segment is
 * closed where it was last synced and never synced again, and notes that were
 * not synced are written anew to the next segment. They say the same when they
 * stand in the log twice.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

bool writer_is_no_space(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* ---- who waits ---- */

void tasks_add(struct task_list *list, struct spool_task *task)
{
	task->job.next = NULL;
	if (list->last)
		list->last->next = &task->job;
	else
		list->first = &task->job;
	list->last = &task->job;
}

/* Append FROM to TO; FROM is empty then. */
static void move_tasks(struct task_list *to, struct task_list *from)
{
	if (!from->first)
		return;
	if (to->last)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	*from = (struct task_list){0};
}

void writer_wait_status(struct writer *w, enum spool_status *status)
{
	if (w->waiting_count == w->waiting_cap) {
		w->waiting_cap = w->waiting_cap ? w->waiting_cap * 2 : 64;
		w->waiting = mem_resize(w->waiting, w->waiting_cap, sizeof(*w->waiting));
	}
	w->waiting[w->waiting_count++] = status;
}

/* The first COUNT of those that wait have their STATUS now. */
static void settle_waiting(struct writer *w, size_t count, enum spool_status status)
{
	if (!count)
		return;
	for (size_t i = 0; i < count; i++)
		*w->waiting[i] = status;
	w->waiting_count -= count;
	memmove(w->waiting, w->waiting + count, w->waiting_count * sizeof(*w->waiting));
}

/* The first COUNT notes are on disk now; what an END leaves behind can go. */
static void forget_notes(struct writer *w, size_t count)
{
	if (!count)
		return;
	for (size_t i = 0; i < count; i++) {
		if (!w->notes[i].big)
			continue;
		w->unlink = mem_resize(w->unlink, w->unlink_count + 1, sizeof(*w->unlink));
		w->unlink[w->unlink_count++] = w->notes[i].id;
	}
	w->note_count -= count;
	w->note_put -= count;
	memmove(w->notes, w->notes + count, w->note_count * sizeof(*w->notes));
}

static void settle_all(struct writer *w, enum spool_status status)
{
	settle_waiting(w, w->waiting_count, status);
	move_tasks(&w->over, &w->syncing);
	move_tasks(&w->over, &w->unsynced);
}

/* ---- writing ---- */

void writer_drop_gathered(struct writer *w)
{
	for (size_t i = 0; i < w->temp_count; i++)
		mem_free(w->temps[i]);
	w->temp_count = 0;
	w->iov_count = 0;
	w->gathered = 0;
}

void writer_close_current(struct writer *w)
{
	writer_add_end(w, w->current.number, w->current.synced);
	close(w->current.fd);
	w->current.fd = -1;
}

static int give_up_segment(struct writer *w, int error)
{
	w->error = error;
	w->failures++;
	writer_drop_gathered(w);
	settle_all(w, writer_is_no_space(error) ? SPOOL_FULL : SPOOL_FAILED);
	w->note_put = 0;
	if (w->current.fd >= 0)
		writer_close_current(w);
	errno = error;
	return -1;
}

/* What a sync under way has still brought to disk counts. */
static int fail(struct writer *w, int error)
{
	return writer_end_sync(w) == 0 ? give_up_segment(w, error) : -1;
}

int writer_flush(struct writer *w)
{
	if (!w->iov_count)
		return 0;
	uint64_t from = w->current.at - w->gathered;
	if (spool_io_write(w->current.fd, w->iov, w->iov_count, from) != 0)
		return fail(w, errno);
	writer_drop_gathered(w);
	return 0;
}

/* ---- syncing ---- */

/* In the side thread. */
static void sync_current(void *arg)
{
	struct writer *w = arg;
	w->sync.error = spool_io.fdatasync(w->sync.fd) == 0 ? 0 : errno;
}

void writer_start_sync(struct writer *w)
{
	if (w->current.fd < 0 || w->current.at == w->current.synced) {
		settle_waiting(w, w->waiting_count, SPOOL_DONE);
		forget_notes(w, w->note_put);
		move_tasks(&w->over, &w->unsynced);
		return;
	}
	w->sync = (struct writer_sync){.under_way = true, .fd = w->current.fd,
		.to = w->current.at, .waiting = w->waiting_count, .notes = w->note_put};
	move_tasks(&w->syncing, &w->unsynced);
	side_start(w->syncer, sync_current, w);
}

int writer_end_sync(struct writer *w)
{
	if (!w->sync.under_way)
		return 0;
	side_wait(w->syncer);
	w->sync.under_way = false;
	if (w->sync.error)
		return give_up_segment(w, w->sync.error);
	atomic_fetch_add(&w->syncs, 1);
	w->current.synced = w->sync.to;
	settle_waiting(w, w->sync.waiting, SPOOL_DONE);
	forget_notes(w, w->sync.notes);
	move_tasks(&w->over, &w->syncing);
	return 0;
}

int writer_commit(struct writer *w)
{
	if (writer_flush(w) != 0 || writer_end_sync(w) != 0)
		return -1;
	writer_start_sync(w);
	return writer_end_sync(w);
}
