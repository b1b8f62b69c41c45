/* SPDX-License-Identifier: MIT
 * Going through the records of a segment, intact or not. The bytes come from a
 * function, so that tests and the fuzzer walk over memory.
 *
 * Bytes that are wrong are damage, bytes that can not be read just now need not be:
 * walk.error tells one from the other.
 */
#ifndef QUEUE_WALK_H
#define QUEUE_WALK_H

#include <sys/types.h>

#include "queue/record.h"

struct walk_source {
	/* As pread: fewer than N bytes only at the end; -1 with errno: can not be read. */
	ssize_t (*read)(void *arg, uint64_t offset, void *to, size_t n);
	void *arg;
	uint64_t size;
};

struct walk {
	struct walk_source source;
	uint64_t generation;
	uint64_t at;    /* where the next record would stand */
	uint64_t end;   /* where the records end; known: exactly there */
	bool end_known;
	struct buf bytes;
	/* the record that was found, or the bad region */
	struct record record;
	struct span meta;
	uint64_t from;
	uint64_t to;
	/* of the last call: 0, or the errno with which some of what it had to look at could
	 * not be read, so that it may be in order whatever the result says */
	int error;
};

enum walk_step {
	WALK_RECORD, /* record and meta, at [from, to) */
	WALK_BAD,    /* [from, to) is no record, but one stands at `to` (or a known end) */
	WALK_END,    /* no intact record from `at` on */
};

/* The segment's own record at offset 0. False: none there; errno says what could not be
 * read, 0: nothing. */
bool walk_read_segment(const struct walk_source *source, struct record *head) ATTR_MUST_CHECK;

/* The generation of segment NUMBER, from that one or, should it be damaged, from the
 * first record behind it. False: it can not be told, or it is another segment; errno says
 * what could not be read, 0: nothing. */
bool walk_generation(const struct walk_source *source, uint32_t number, uint64_t *generation)
    ATTR_MUST_CHECK;

/* Begin at offset AT. KNOWN_END 0: not known, look for records up to the end
 * of the source. */
void walk_init(struct walk *w, const struct walk_source *source, uint64_t generation,
    uint64_t at, uint64_t known_end);
enum walk_step walk_next(struct walk *w);
void walk_clear(struct walk *w);

/* Is an intact record (head and meta; right generation) at OFFSET? Fills
 * record, meta, from, to. */
bool walk_record_at(struct walk *w, uint64_t offset) ATTR_MUST_CHECK;

/* Does the content here of the record just found have the right CRC? */
bool walk_content_is_good(struct walk *w) ATTR_MUST_CHECK;

/* Read N bytes at OFFSET, zeros where nothing can be read. Result: 0, or the errno of
 * what could not be read; the end of the source is none. */
int walk_read_anyway(const struct walk_source *source, uint64_t offset, char *to, size_t n);

#endif
