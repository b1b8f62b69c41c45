/* SPDX-License-Identifier: MIT
 * Segments in stock: made, given a head, handed out, taken back. Everything is
 * synced before it is relied upon, and each failure leaves a file that the next
 * start removes or uses again.
 */
#include "queue/stock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "queue/record.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define STEP (4u << 20)  /* written out in one go, so that commits wait little */
#define PIECE (256u << 10)

static const char *const endings[] = {
	[SEGMENT_LOG] = "log",
	[SEGMENT_SPARE] = "spare",
	[SEGMENT_NEW] = "new",
};

const char *segment_name(char *buf, uint32_t number, enum segment_form form)
{
	snprintf(buf, SEGMENT_NAME, "%016x.%s", number, endings[form]);
	return buf;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool segment_parse_name(const char *name, uint32_t *number, enum segment_form *form)
{
	uint64_t value = 0;
	for (int i = 0; i < 16; i++) {
		int digit = hex_value(name[i]);
		if (digit < 0)
			return false;
		value = value << 4 | (uint64_t)digit;
	}
	if (name[16] != '.' || value == 0 || value > UINT32_MAX)
		return false;
	*number = (uint32_t)value;
	for (int i = SEGMENT_LOG; i <= SEGMENT_NEW; i++) {
		*form = (enum segment_form)i;
		if (strcmp(name + 17, endings[i]) == 0)
			return true;
	}
	return false;
}

void stock_init(struct stock *s, int dir, uint64_t size, uint64_t free_space, size_t wanted)
{
	*s = (struct stock){.dir = dir, .size = size, .free_space = free_space,
		.wanted = wanted, .next.fd = -1, .making.fd = -1};
}

static void drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

void stock_clear(struct stock *s)
{
	drop(s->next.fd);
	drop(s->making.fd);
	mem_free(s->spares);
	s->spares = NULL;
	s->count = 0;
	s->next.fd = -1;
	s->making.fd = -1;
}

void stock_add_spare(struct stock *s, uint32_t number)
{
	s->spares = mem_resize(s->spares, s->count + 1, sizeof(*s->spares));
	s->spares[s->count++] = number;
	if (number > s->last_spare)
		s->last_spare = number;
}

static size_t ready(const struct stock *s)
{
	return s->count + (s->next.fd >= 0);
}

size_t stock_ready(const struct stock *s)
{
	return s->working ? s->seen_ready : ready(s);
}

int stock_error(const struct stock *s)
{
	return s->working ? s->seen_error : s->error;
}

static bool lacks(const struct stock *s, uint64_t bytes)
{
	uint64_t left;
	return spool_io.free_space(s->dir, &left) == 0 && left < s->free_space + bytes;
}

bool stock_is_short(const struct stock *s)
{
	return lacks(s, 0);
}

/* ---- making ---- */

static void remove_name(struct stock *s, uint32_t number, enum segment_form form)
{
	char name[SEGMENT_NAME];
	int error = errno;
	spool_io.unlinkat(s->dir, segment_name(name, number, form), 0);
	errno = error;
}

static int begin_making(struct stock *s, uint64_t size)
{
	char name[SEGMENT_NAME];
	if (lacks(s, size)) {
		errno = ENOSPC;
		return -1;
	}
	struct log_file *m = &s->making;
	*m = (struct log_file){.fd = -1, .number = s->last_spare + 1, .size = size};
	m->fd = spool_io_open(s->dir, segment_name(name, m->number, SEGMENT_NEW),
	    O_RDWR | O_CREAT | O_EXCL);
	if (m->fd < 0)
		return -1;
	s->last_spare++;
	return 0;
}

/* One step; each is synced, so that the last one has little to wait for. */
static int write_out(struct log_file *m)
{
	char *zeros = mem_zero(PIECE);
	uint64_t stop = m->size - m->at < STEP ? m->size : m->at + STEP;
	int result = 0;
	while (m->at < stop && result == 0) {
		size_t n = stop - m->at < PIECE ? (size_t)(stop - m->at) : PIECE;
		result = spool_io_write_bytes(m->fd, zeros, n, m->at);
		m->at += n;
	}
	mem_free(zeros);
	if (result == 0)
		result = m->at < m->size ? spool_io.fdatasync(m->fd) : spool_io.fsync(m->fd);
	return result;
}

static int finish_making(struct stock *s)
{
	char from[SEGMENT_NAME];
	char to[SEGMENT_NAME];
	struct log_file *m = &s->making;
	if (spool_io.renameat(s->dir, segment_name(from, m->number, SEGMENT_NEW), s->dir,
		segment_name(to, m->number, SEGMENT_SPARE)) != 0)
		return -1;
	close(m->fd);
	m->fd = -1;
	if (m->size == s->size)
		stock_add_spare(s, m->number);
	return 0;
}

static int make_step(struct stock *s, uint64_t size)
{
	struct log_file *m = &s->making;
	if (m->fd < 0 && begin_making(s, size) != 0)
		return -1;
	if (write_out(m) == 0 && (m->at < m->size || finish_making(s) == 0))
		return 0;
	int error = errno;
	drop(m->fd);
	m->fd = -1;
	remove_name(s, m->number, SEGMENT_NEW);
	errno = error;
	return -1;
}

/* ---- handing out ---- */

/* The head, and zeros where the first record will stand: so that the next start can tell
 * a segment that was never written to from one that it can not read. */
static int write_head(struct log_file *f)
{
	char *page = mem_zero(RECORD_START + RECORD_HEAD);
	struct record head = {.type = RECORD_SEGMENT, .generation = f->generation,
		.id = f->number};
	record_write_head(&head, (unsigned char *)page);
	int result = spool_io_write_bytes(f->fd, page, RECORD_START + RECORD_HEAD, 0);
	mem_free(page);
	return result == 0 ? spool_io.fdatasync(f->fd) : -1;
}

/* Turn the spare OLD into a log under the next number. */
static int prepare(struct stock *s, uint32_t old, uint64_t size, struct log_file *f)
{
	char from[SEGMENT_NAME];
	char to[SEGMENT_NAME];
	uint64_t generation;
	/* base/random.h is the loop's; so few bytes are never cut short */
	if (getrandom(&generation, sizeof(generation), 0) != sizeof(generation))
		bug("the kernel gives no random bytes");
	*f = (struct log_file){.number = ++s->last, .generation = generation, .size = size,
		.at = RECORD_START, .synced = RECORD_START};
	f->fd = spool_io_open(s->dir, segment_name(from, old, SEGMENT_SPARE), O_RDWR);
	if (f->fd < 0) {
		int error = errno; /* too many descriptors, say: it is still good */
		s->last--;
		if (size == s->size)
			stock_add_spare(s, old);
		errno = error;
		return -1;
	}
	if (write_head(f) == 0 &&
	    spool_io.renameat(s->dir, from, s->dir,
		segment_name(to, f->number, SEGMENT_LOG)) == 0 &&
	    spool_io.fsync(s->dir) == 0)
		return 0;
	int error = errno;
	drop(f->fd);
	f->fd = -1;
	/* one of the two names is there; neither is worth anything */
	remove_name(s, old, SEGMENT_SPARE);
	remove_name(s, f->number, SEGMENT_LOG);
	errno = error;
	return -1;
}

static int prepare_next(struct stock *s)
{
	for (size_t tries = s->count; tries > 0 && s->next.fd < 0; tries--)
		if (prepare(s, s->spares[--s->count], s->size, &s->next) != 0)
			s->error = errno;
	return s->next.fd < 0 ? -1 : 0;
}

static void work(void *arg)
{
	struct stock *s = arg;
	prepare_next(s);
	if (ready(s) < s->wanted)
		s->error = make_step(s, s->size) == 0 ? 0 : errno;
}

void stock_step(struct stock *s, bool again)
{
	if (s->working && side_is_busy(s->side))
		return;
	s->working = false;
	bool enough = ready(s) >= s->wanted && (s->next.fd >= 0 || !s->count);
	if (enough || (s->error && !again))
		return;
	s->seen_ready = ready(s);
	s->seen_error = s->error;
	s->working = true;
	side_start(s->side, work, s);
}

void stock_wait(struct stock *s)
{
	if (s->working)
		side_wait(s->side);
	s->working = false;
}

int stock_fill(struct stock *s, size_t count)
{
	if (stock_ready(s) >= count)
		return 0;
	stock_wait(s);
	while (ready(s) < count) {
		if (make_step(s, s->size) != 0) {
			s->error = errno;
			return -1;
		}
	}
	s->error = 0;
	return 0;
}

/* Sequence numbers rise with use: the one that was prepared must not come behind
 * one with a higher number. Should this fail, it stays as an empty log that the
 * next start finds. */
static void unprepare(struct stock *s)
{
	char from[SEGMENT_NAME];
	char to[SEGMENT_NAME];
	if (s->next.fd < 0)
		return;
	close(s->next.fd);
	s->next.fd = -1;
	segment_name(from, s->next.number, SEGMENT_LOG);
	segment_name(to, s->last_spare + 1, SEGMENT_SPARE);
	if (spool_io.renameat(s->dir, from, s->dir, to) == 0 && spool_io.fsync(s->dir) == 0)
		stock_add_spare(s, s->last_spare + 1);
}

/* A record that no usual segment holds gets one of its own size. */
static int take_large(struct stock *s, uint64_t size, struct log_file *out)
{
	uint64_t whole = (size + PIECE - 1) / PIECE * PIECE;
	if (s->making.fd >= 0) {
		close(s->making.fd);
		s->making.fd = -1;
		remove_name(s, s->making.number, SEGMENT_NEW);
	}
	do
		if (make_step(s, whole) != 0)
			return -1;
	while (s->making.fd >= 0);
	unprepare(s);
	return prepare(s, s->making.number, whole, out);
}

int stock_take(struct stock *s, uint64_t size, struct log_file *out)
{
	out->fd = -1;
	stock_wait(s);
	if (size > s->size)
		return take_large(s, size, out);
	if (prepare_next(s) != 0 && (stock_fill(s, 1) != 0 || prepare_next(s) != 0)) {
		errno = s->error ? s->error : EIO;
		return -1;
	}
	*out = s->next;
	s->next.fd = -1;
	return 0;
}

int stock_retire(struct stock *s, uint32_t number, uint64_t size)
{
	char from[SEGMENT_NAME];
	char to[SEGMENT_NAME];
	stock_wait(s);
	bool keep = size == s->size && ready(s) < s->wanted;
	segment_name(from, number, SEGMENT_LOG);
	segment_name(to, s->last_spare + 1, SEGMENT_SPARE);
	int result = keep ? spool_io.renameat(s->dir, from, s->dir, to) :
			    spool_io.unlinkat(s->dir, from, 0);
	/* only once the name is gone for good may the rest forget about it */
	if (result != 0 || spool_io.fsync(s->dir) != 0)
		return -1;
	if (keep)
		stock_add_spare(s, s->last_spare + 1);
	return 0;
}
