/* SPDX-License-Identifier: MIT
 * The stock of segments that nothing stands in yet: they are written out in
 * full ahead of need, so that a commit changes data blocks only. Used by the
 * spool thread (and by recovery, before that thread has work), which leaves the
 * making to a side thread: results of deliveries must not wait for it. While a
 * step is under way the stock is the side thread's; whoever has to have a segment
 * then waits for the end of the step.
 *
 * Names: N.new while it is being written out (worth nothing after a crash),
 * N.spare when ready, both counted on their own; SEQUENCE.log once it has a
 * sequence number and a head. A segment that is emptied becomes a .spare again
 * before its head is touched, so a log with a bad head is always damage.
 */
#ifndef QUEUE_STOCK_H
#define QUEUE_STOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/pool.h"

#define SEGMENT_NAME 40
enum segment_form { SEGMENT_LOG, SEGMENT_SPARE, SEGMENT_NEW };
const char *segment_name(char *buf, uint32_t number, enum segment_form form);
bool segment_parse_name(const char *name, uint32_t *number, enum segment_form *form)
    ATTR_MUST_CHECK;

/* A segment that is open for writing. */
struct log_file {
	int fd; /* -1: none */
	uint32_t number;
	uint64_t generation;
	uint64_t size;
	uint64_t at;     /* where the next record goes */
	uint64_t synced; /* all before it is on disk */
};

struct stock {
	int dir;
	uint64_t size;       /* of a segment */
	uint64_t free_space; /* leave that much */
	size_t wanted;       /* how many to keep ready */
	uint32_t last;       /* the highest sequence number ever used */
	uint32_t last_spare; /* the highest N of a .new or .spare */
	uint32_t *spares;
	size_t count;
	struct log_file next;   /* ready to be written to */
	struct log_file making; /* being written out; at: how far */
	int error;           /* why the last attempt to make one failed; 0 */
	/* the spool thread's, always */
	struct side *side;
	bool working;      /* a step was handed to it */
	size_t seen_ready; /* as it was then */
	int seen_error;
};

void stock_init(struct stock *s, int dir, uint64_t size, uint64_t free_space, size_t wanted);
void stock_clear(struct stock *s);
void stock_add_spare(struct stock *s, uint32_t number);

/* Segments that can be written to without more disk space, and why the last
 * attempt to make one failed (errno or 0); both as they were before a step that
 * is under way. */
size_t stock_ready(const struct stock *s);
int stock_error(const struct stock *s);

/* Is the disk as good as full? Any thread may ask. */
bool stock_is_short(const struct stock *s);

/* Begin a little work towards a full stock (a few MiB) in the side thread, unless
 * some is under way; its end wakes the spool thread. After a failure nothing is
 * begun unless AGAIN. */
void stock_step(struct stock *s, bool again);

/* Wait for the end of a step that is under way. */
void stock_wait(struct stock *s);

/* Have COUNT of them ready, now. */
int stock_fill(struct stock *s, size_t count) ATTR_MUST_CHECK;

/* Hand one over that has room for SIZE bytes. -1 with errno: none. */
int stock_take(struct stock *s, uint64_t size, struct log_file *out) ATTR_MUST_CHECK;

/* Segment NUMBER of SIZE bytes is empty: keep or remove it. -1: it may still be
 * there after a crash. */
int stock_retire(struct stock *s, uint32_t number, uint64_t size) ATTR_MUST_CHECK;

#endif
