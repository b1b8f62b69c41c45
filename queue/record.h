/* SPDX-License-Identifier: MIT
 * The records of a segment as bytes: pure encoding and decoding, no files. A
 * record is a head of 64 bytes, a meta part (all that start-up has to know) and
 * content, padded with zeros to 8 bytes. Each of the three has its CRC, so that
 * start-up need not read content.
 *
 * The head: (numbers little-endian)
 *	 0 magic          4 type       5 flags      6 zero (2)
 *	 8 generation (8)             16 id (8)
 *	24 batch         28 meta bytes 32 content bytes here  36 CRC of content here
 *	40 size of all content (8)    48 CRC of the big file   52 CRC of meta
 *	56 offset of this head (4; 0: as older programs wrote it)
 *	60 CRC of bytes 0-59
 *
 * `batch` says up to which offset the segment was synced when the record was
 * written: an intact record tells a torn tail (never acknowledged) from damage.
 * The offset tells a block that was written in the wrong place: a head there would
 * hide what stands behind it, as far as its lengths say.
 * The generation is random, so that no message text can pretend to be a record.
 */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/spool.h"

#define RECORD_MAGIC 0x4c59a752u
#define RECORD_HEAD 64u
#define RECORD_START 4096u /* the first record behind that of the segment itself */
#define RECORD_META_MAX (512u << 20)

enum record_type {
	RECORD_SEGMENT = 1, /* at offset 0; id: the sequence number */
	RECORD_CLOSED = 2,  /* first in a segment: which segments are closed and where they end */
	RECORD_MESSAGE = 3,
	RECORD_RESULT = 4,
	RECORD_STATE = 5,
	RECORD_END = 6,
};

#define RECORD_BIG 1u /* flag: the body is in big/ID */

struct record {
	uint8_t type;
	uint8_t flags;
	uint64_t generation;
	uint64_t id;
	uint32_t batch;
	uint32_t meta_size;
	uint32_t here;        /* content bytes behind the meta part */
	uint32_t content_crc; /* of those */
	uint64_t size;        /* of the content with the big file */
	uint32_t big_crc;
	uint32_t meta_crc;
	uint32_t at; /* where it stands; 0: not said */
};

void record_write_head(const struct record *r, unsigned char out[RECORD_HEAD]);

/* False: not a record (magic, CRC, a type or lengths that can not be). */
bool record_read_head(struct record *r, const unsigned char in[RECORD_HEAD]) ATTR_MUST_CHECK;

/* Bytes from its head to the next record. */
uint64_t record_length(const struct record *r);

/* RESULT, STATE and END. */
struct record_note {
	enum record_type type;
	uint64_t id;
	uint32_t recipient;        /* RESULT */
	enum spool_outcome outcome; /* RESULT */
	struct spool_state state;  /* STATE */
	struct spool_place place;  /* END: of its MESSAGE */
	bool big;                  /* END, in memory only: big/ID can go */
};
void record_write_note(const struct record_note *note, struct buf *meta);
bool record_read_note(struct record_note *note, const struct record *r, struct span meta)
    ATTR_MUST_CHECK;

/* The same for states that are stored alike, nearly always another for others. */
uint16_t record_state_mark(const struct spool_state *state);

/* The meta part of a MESSAGE. */
struct record_message {
	struct spool_state state;
	struct span done;     /* bits of recipients; shorter than needed: the rest is 0 */
	struct span envelope; /* its stored form */
};
void record_write_message(const struct record_message *m, struct buf *meta);
bool record_read_message(struct record_message *m, struct span meta) ATTR_MUST_CHECK;

/* The meta part of CLOSED: pairs of sequence number and end. */
void record_write_closed(const struct spool_place *ends, size_t count, struct buf *meta);
size_t record_closed_count(struct span meta);
struct spool_place record_closed_get(struct span meta, size_t i);

/* Bits, as in the done maps. */
bool record_bit(struct span bits, uint32_t i);
void record_set_bit(struct buf *bits, uint32_t i); /* grows */

/* Numbers, little-endian; for whoever writes fields of their own. */
void record_put32(struct buf *b, uint32_t n);
void record_put64(struct buf *b, uint64_t n);
uint32_t record_get32(const void *p);
uint64_t record_get64(const void *p);

#endif
