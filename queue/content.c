/* SPDX-License-Identifier: MIT
 * Bodies on their way in. A small one stays in memory; once it has big_message
 * bytes it goes to big/ID in pieces, synced when it is complete and named in
 * the log only after that. A thread of their own writes these files: a long
 * write or sync holds up neither the log nor results of deliveries.
 *
 * While tasks are under way that thread owns fd, written, crc and error; the
 * loop reads them when the task that finishes the file is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "queue/crc32c.h"
#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define PIECE (256u << 10)
#define WAITING_MAX (1u << 20) /* bytes on their way to the disk */
#define CROWDED_MIN 16384      /* less is not worth a file, whatever memory says */

struct spool_content {
	struct spool *spool;
	uint64_t id;
	void (*writable)(void *arg);
	void *arg;
	spool_content_done *done;
	void *done_arg;
	struct buf mem;  /* all of a small one; the next piece of a big one */
	uint64_t size;
	uint64_t waiting; /* bytes that the thread has */
	unsigned refs;    /* tasks under way and a deferred call */
	bool big;
	bool paused;
	bool freed;
	bool kept; /* the log names it: the file stays */
	/* the thread's */
	int fd;
	uint64_t written;
	uint32_t crc;
	int error;
};

const char *big_name(char *buf, uint64_t id)
{
	snprintf(buf, BIG_NAME, "%016llx", (unsigned long long)id);
	return buf;
}

struct spool_content *spool_content_new(struct spool *spool, uint64_t id,
    void (*writable)(void *arg), void *arg)
{
	struct spool_content *c = mem_zero(sizeof(*c));
	c->spool = spool;
	c->id = id;
	c->writable = writable;
	c->arg = arg;
	c->fd = -1;
	return c;
}

static void destroy(struct spool_content *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->spool->gathered -= c->mem.len;
	buf_free(&c->mem);
	mem_free(c);
}

/* ---- tasks ---- */

static void finished(struct spool_content *c)
{
	struct why why = {0};
	enum spool_status status = SPOOL_DONE;
	if (c->error) {
		status = writer_is_no_space(c->error) ? SPOOL_FULL : SPOOL_FAILED;
		why_errno(&why, WHY_LOCAL, c->error, "spool file big/%016llx can not be written",
		    (unsigned long long)c->id);
	}
	c->done(c->done_arg, status, &why);
}

static void on_done(struct job *job)
{
	struct content_task *task = (struct content_task *)job;
	struct spool_content *c = task->content;
	c->refs--;
	c->waiting -= task->bytes.len;
	c->spool->gathered -= task->bytes.len;
	buf_free(&task->bytes);
	enum content_work work = task->work;
	mem_free(task);
	if (c->freed) {
		if (c->refs == 0)
			destroy(c);
	} else if (work == CONTENT_FINISH) {
		finished(c);
	} else if (c->paused && c->waiting <= WAITING_MAX / 2) {
		c->paused = false;
		c->writable(c->arg);
	}
}

static int write_piece(struct spool_content *c, const struct buf *bytes)
{
	char name[BIG_NAME];
	if (c->fd < 0) {
		c->fd = spool_io_open(c->spool->big_dir, big_name(name, c->id),
		    O_RDWR | O_CREAT | O_EXCL);
		if (c->fd < 0)
			return -1;
	}
	if (stock_is_short(&c->spool->writer->stock)) {
		errno = ENOSPC;
		return -1;
	}
	if (spool_io_write_bytes(c->fd, bytes->data, bytes->len, c->written) != 0)
		return -1;
	c->crc = crc32c(c->crc, bytes->data, bytes->len);
	c->written += bytes->len;
	return 0;
}

static void remove_file(struct spool_content *c)
{
	char name[BIG_NAME];
	if (c->fd < 0)
		return;
	close(c->fd);
	c->fd = -1;
	spool_io.unlinkat(c->spool->big_dir, big_name(name, c->id), 0);
}

static void work_on(struct job *job, void *thread_state)
{
	struct content_task *task = (struct content_task *)job;
	struct spool_content *c = task->content;
	(void)thread_state;
	if (task->work == CONTENT_DROP) {
		remove_file(c);
		return;
	}
	if (!c->error && task->bytes.len && write_piece(c, &task->bytes) != 0)
		c->error = errno;
	if (task->work == CONTENT_FINISH && !c->error &&
	    (spool_io.fsync(c->fd) != 0 || spool_io.fsync(c->spool->big_dir) != 0))
		c->error = errno;
	if (c->error)
		remove_file(c); /* what was written of it is worth nothing */
}

/* Give the thread WORK with the bytes that were gathered. */
static void hand_over(struct spool_content *c, enum content_work work)
{
	struct content_task *task = mem_zero(sizeof(*task));
	task->job = (struct job){.run = work_on, .done = on_done};
	task->content = c;
	task->work = work;
	task->bytes = c->mem;
	c->mem = (struct buf){0};
	c->waiting += task->bytes.len;
	c->refs++;
	pool_add(c->spool->big_pool, &task->job);
}

/* ---- the loop's side ---- */

/* Small ones stay in memory while there is some for all of them. */
static bool is_crowded(const struct spool_content *c)
{
	int64_t memory = c->spool->conf.memory;
	return memory && c->spool->gathered > (uint64_t)memory && c->size >= CROWDED_MIN;
}

bool spool_content_add(struct spool_content *c, struct span piece)
{
	buf_add(&c->mem, piece.p, piece.n);
	c->size += piece.n;
	c->spool->gathered += piece.n;
	if (c->size >= (uint64_t)c->spool->conf.big_message || is_crowded(c))
		c->big = true;
	bool crowded = is_crowded(c);
	if (c->big && c->mem.len >= (crowded ? CROWDED_MIN : PIECE))
		hand_over(c, CONTENT_PIECE);
	if (c->waiting > (crowded ? CROWDED_MIN : WAITING_MAX))
		c->paused = true;
	return !c->paused;
}

uint64_t spool_content_size(const struct spool_content *c)
{
	return c->size;
}

ssize_t spool_content_read(void *content, uint64_t offset, char *to, size_t n)
{
	struct spool_content *c = content;
	if (offset >= c->size)
		return 0;
	if (n > c->size - offset)
		n = (size_t)(c->size - offset);
	if (c->big)
		return spool_io_read(c->fd, to, n, offset);
	memcpy(to, c->mem.data + offset, n);
	return (ssize_t)n;
}

static void small_finished(void *arg)
{
	struct spool_content *c = arg;
	c->refs--;
	if (!c->freed)
		finished(c);
	else if (c->refs == 0)
		destroy(c);
}

void spool_content_finish(struct spool_content *c, spool_content_done *done, void *arg)
{
	c->done = done;
	c->done_arg = arg;
	c->paused = false; /* nobody waits to write any more */
	if (c->big) {
		hand_over(c, CONTENT_FINISH);
		return;
	}
	c->refs++;
	loop_defer(c->spool->loop, small_finished, c);
}

void spool_content_free(struct spool_content *c)
{
	if (!c)
		return;
	c->freed = true;
	if (c->big && !c->kept) {
		c->spool->gathered -= c->mem.len;
		buf_clear(&c->mem);
		hand_over(c, CONTENT_DROP);
	} else if (c->refs == 0) {
		destroy(c);
	}
}

/* ---- for an append ---- */

bool content_is_big(const struct spool_content *c)
{
	return c->big;
}

struct span content_memory(const struct spool_content *c)
{
	return span_buf(&c->mem);
}

uint32_t content_crc(const struct spool_content *c)
{
	return c->crc;
}

void content_taken(struct spool_content *c)
{
	c->kept = true;
	spool_content_free(c);
}
