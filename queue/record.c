/* SPDX-License-Identifier: MIT
 * The format of record.h. Whatever is read is checked as if a stranger had
 * written it: a spool may have been damaged, restored or edited.
 */
#include "queue/record.h"

#include <string.h>

#include "queue/crc32c.h"

static void store32(unsigned char *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(n >> (8 * i));
}

static void store64(unsigned char *p, uint64_t n)
{
	store32(p, (uint32_t)n);
	store32(p + 4, (uint32_t)(n >> 32));
}

uint32_t record_get32(const void *bytes)
{
	const unsigned char *p = bytes;
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

uint64_t record_get64(const void *bytes)
{
	const unsigned char *p = bytes;
	return (uint64_t)record_get32(p) | (uint64_t)record_get32(p + 4) << 32;
}

void record_put32(struct buf *b, uint32_t n)
{
	unsigned char bytes[4];
	store32(bytes, n);
	buf_add(b, bytes, sizeof(bytes));
}

void record_put64(struct buf *b, uint64_t n)
{
	unsigned char bytes[8];
	store64(bytes, n);
	buf_add(b, bytes, sizeof(bytes));
}

void record_write_head(const struct record *r, unsigned char out[RECORD_HEAD])
{
	memset(out, 0, RECORD_HEAD);
	store32(out, RECORD_MAGIC);
	out[4] = r->type;
	out[5] = r->flags;
	store64(out + 8, r->generation);
	store64(out + 16, r->id);
	store32(out + 24, r->batch);
	store32(out + 28, r->meta_size);
	store32(out + 32, r->here);
	store32(out + 36, r->content_crc);
	store64(out + 40, r->size);
	store32(out + 48, r->big_crc);
	store32(out + 52, r->meta_crc);
	store32(out + 56, r->at);
	store32(out + 60, crc32c(0, out, 60));
}

/* Only a MESSAGE has content; a part of it elsewhere needs the flag. */
static bool is_plausible(const struct record *r)
{
	if (r->type < RECORD_SEGMENT || r->type > RECORD_END)
		return false;
	if (r->meta_size > RECORD_META_MAX || r->size < r->here)
		return false;
	if (r->type != RECORD_MESSAGE)
		return r->size == 0 && r->flags == 0;
	if (r->flags & ~RECORD_BIG)
		return false;
	return r->flags & RECORD_BIG || r->size == r->here;
}

bool record_read_head(struct record *r, const unsigned char in[RECORD_HEAD])
{
	if (record_get32(in) != RECORD_MAGIC || record_get32(in + 60) != crc32c(0, in, 60))
		return false;
	r->type = in[4];
	r->flags = in[5];
	r->generation = record_get64(in + 8);
	r->id = record_get64(in + 16);
	r->batch = record_get32(in + 24);
	r->meta_size = record_get32(in + 28);
	r->here = record_get32(in + 32);
	r->content_crc = record_get32(in + 36);
	r->size = record_get64(in + 40);
	r->big_crc = record_get32(in + 48);
	r->meta_crc = record_get32(in + 52);
	r->at = record_get32(in + 56);
	return is_plausible(r);
}

uint64_t record_length(const struct record *r)
{
	return ((uint64_t)RECORD_HEAD + r->meta_size + r->here + 7) & ~(uint64_t)7;
}

/* ---- state: 16 bytes ---- */

#define STATE_SIZE 16u
#define STATE_HELD 1u
#define STATE_NOTIFIED 2u
#define STATE_CLEARED 4u
#define STATE_BY_PATH 8u
#define STATE_BRAKE 4u /* the place of its three bits */
#define STATE_ALL \
	(STATE_HELD | STATE_NOTIFIED | STATE_CLEARED | STATE_BY_PATH | 7u << STATE_BRAKE)
#define STATE_EXTRA_SHIFT 8 /* minutes of extra life, in the flags' upper bytes */
#define MINUTE_MS 60000

static void write_state(const struct spool_state *state, struct buf *meta)
{
	record_put64(meta, (uint64_t)state->due_ms);
	record_put32(meta, state->attempts);
	uint32_t extra = (uint32_t)((state->extra_ms + MINUTE_MS - 1) / MINUTE_MS);
	record_put32(meta, (state->held ? STATE_HELD : 0) |
	    (state->notified ? STATE_NOTIFIED : 0) | (state->cleared ? STATE_CLEARED : 0) |
	    (state->by_path ? STATE_BY_PATH : 0) | (state->brake & 7u) << STATE_BRAKE | extra << STATE_EXTRA_SHIFT);
}

static bool read_state(struct spool_state *state, const char *p)
{
	uint32_t flags = record_get32(p + 12);
	state->due_ms = (int64_t)record_get64(p);
	state->attempts = record_get32(p + 8);
	state->held = flags & STATE_HELD;
	state->notified = flags & STATE_NOTIFIED;
	state->cleared = flags & STATE_CLEARED;
	state->by_path = flags & STATE_BY_PATH;
	state->brake = flags >> STATE_BRAKE & 7u;
	state->extra_ms = (int64_t)(flags >> STATE_EXTRA_SHIFT) * MINUTE_MS;
	flags &= (1u << STATE_EXTRA_SHIFT) - 1;
	return state->due_ms >= 0 && (flags & ~STATE_ALL) == 0;
}

uint16_t record_state_mark(const struct spool_state *state)
{
	struct buf stored = {0};
	write_state(state, &stored);
	uint32_t crc = crc32c(0, stored.data, stored.len);
	buf_free(&stored);
	return (uint16_t)(crc ^ crc >> 16);
}

/* ---- notes ---- */

void record_write_note(const struct record_note *note, struct buf *meta)
{
	if (note->type == RECORD_STATE) {
		write_state(&note->state, meta);
	} else if (note->type == RECORD_END) {
		record_put32(meta, note->place.segment);
		record_put32(meta, note->place.offset);
	} else {
		record_put32(meta, note->recipient);
		record_put32(meta, note->outcome);
	}
}

bool record_read_note(struct record_note *note, const struct record *r, struct span meta)
{
	*note = (struct record_note){.type = r->type, .id = r->id};
	if (r->type == RECORD_STATE)
		return meta.n == STATE_SIZE && read_state(&note->state, meta.p);
	if (meta.n != 8)
		return false;
	uint32_t first = record_get32(meta.p);
	uint32_t second = record_get32(meta.p + 4);
	if (r->type == RECORD_END) {
		note->place = (struct spool_place){first, second};
		return true;
	}
	note->recipient = first;
	note->outcome = (enum spool_outcome)second;
	return r->type == RECORD_RESULT && first < ENVELOPE_RECIPIENTS_MAX &&
	    second >= SPOOL_DELIVERED && second <= SPOOL_DELETED;
}

/* ---- message ---- */

#define DONE_MAX (ENVELOPE_RECIPIENTS_MAX / 8)

void record_write_message(const struct record_message *m, struct buf *meta)
{
	write_state(&m->state, meta);
	record_put32(meta, (uint32_t)m->done.n);
	if (m->done.n)
		buf_add(meta, m->done.p, m->done.n);
	buf_add(meta, m->envelope.p, m->envelope.n);
}

bool record_read_message(struct record_message *m, struct span meta)
{
	if (meta.n < STATE_SIZE + 4 || !read_state(&m->state, meta.p))
		return false;
	uint32_t done = record_get32(meta.p + STATE_SIZE);
	size_t left = meta.n - STATE_SIZE - 4;
	if (done > left || done > DONE_MAX)
		return false;
	m->done = (struct span){meta.p + STATE_SIZE + 4, done};
	m->envelope = (struct span){m->done.p + done, left - done};
	return true;
}

/* ---- closed segments ---- */

void record_write_closed(const struct spool_place *ends, size_t count, struct buf *meta)
{
	for (size_t i = 0; i < count; i++) {
		record_put32(meta, ends[i].segment);
		record_put32(meta, ends[i].offset);
	}
}

size_t record_closed_count(struct span meta)
{
	return meta.n / 8;
}

struct spool_place record_closed_get(struct span meta, size_t i)
{
	const char *p = meta.p + i * 8;
	return (struct spool_place){record_get32(p), record_get32(p + 4)};
}

/* ---- bits ---- */

bool record_bit(struct span bits, uint32_t i)
{
	return i / 8 < bits.n && ((unsigned char)bits.p[i / 8] >> (i % 8) & 1);
}

void record_set_bit(struct buf *bits, uint32_t i)
{
	size_t need = (size_t)i / 8 + 1;
	if (bits->len < need) {
		size_t more = need - bits->len;
		memset(buf_room(bits, more), 0, more);
		bits->len = need;
	}
	bits->data[i / 8] = (char)((unsigned char)bits->data[i / 8] | 1u << (i % 8));
}
