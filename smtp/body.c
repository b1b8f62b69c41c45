/* SPDX-License-Identifier: MIT
 * Text off the wire and onto it. Both directions run over whole plain lines
 * eight bytes at a time; a byte at a time is only for what is unusual: dots,
 * bare CR and LF, NUL, limits, and lines that the pieces cut through.
 */
#include "smtp/body.h"

#include <string.h>

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Nonzero when a byte of V is zero. */
static uint64_t has_zero(uint64_t v)
{
	return (v - ONES) & ~v & HIGHS;
}

/* Bytes at P before the first CR, LF or NUL, at most N. All bytes passed over
 * are or-ed into *BITS, whose bits over 127 so tell of 8-bit text. */
static size_t plain_run(const char *p, size_t n, uint64_t *bits)
{
	size_t i = 0;
	uint64_t seen = 0;
	for (; i + 8 <= n; i += 8) {
		uint64_t v;
		memcpy(&v, p + i, sizeof(v));
		if (has_zero(v) | has_zero(v ^ ONES * '\r') | has_zero(v ^ ONES * '\n'))
			break;
		seen |= v;
	}
	for (; i < n && p[i] != '\r' && p[i] != '\n' && p[i]; i++)
		seen |= (unsigned char)p[i];
	*bits |= seen;
	return i;
}

enum decode_state {
	DECODE_START,  /* behind CRLF, or at the very start: a dot here is special */
	DECODE_DOT,    /* behind that dot */
	DECODE_DOT_CR, /* behind dot and CR */
	DECODE_TEXT,   /* within a line, or behind a bare newline that was repaired */
	DECODE_CR,     /* behind a CR in text */
};

void body_decoder_init(
    struct body_decoder *d, const struct body_limits *limits, bool dots)
{
	*d = (struct body_decoder){
	    .limits = *limits, .dots = dots, .state = dots ? DECODE_START : DECODE_TEXT};
}

static void set_fault(struct body_decoder *d, enum body_fault fault)
{
	if (d->fault == BODY_FINE)
		d->fault = fault;
}

/* How many of N more bytes a limit leaves room for. */
static uint64_t room(uint64_t limit, uint64_t used, uint64_t n)
{
	uint64_t left = limit > used ? limit - used : 0;
	return limit == 0 || left > n ? n : left;
}

static void put_newline(struct body_decoder *d, struct buf *out)
{
	if (d->fault != BODY_FINE)
		return;
	if (room(d->limits.size, d->size, 2) < 2) {
		d->fault = BODY_TOO_BIG;
		return;
	}
	buf_add(out, "\r\n", 2);
	d->size += 2;
	d->line_len = 0;
}

/* Text without newlines. Up to a limit it is taken before the fault is set, so
 * that the result does not depend on where the pieces were cut. */
static void put_text(struct body_decoder *d, const char *p, size_t n, struct buf *out)
{
	if (d->fault != BODY_FINE || n == 0)
		return;
	uint64_t line = room(d->limits.line, d->line_len, n);
	uint64_t take = room(d->limits.size, d->size, line);
	if (line < n)
		d->fault = BODY_LONG_LINE;
	if (take < line)
		d->fault = BODY_TOO_BIG; /* that one is met first */
	uint64_t bits = 0;
	plain_run(p, (size_t)take,
	    &bits); /* of these bytes only, not of those behind the limit */
	d->eightbit = d->eightbit || (bits & HIGHS);
	buf_add(out, p, (size_t)take);
	d->size += take;
	d->line_len += take;
}

/* A CR or LF alone. What follows is a new line of text but not a place where the
 * text could end: in a line "." made this way the dot is data, and no dot is
 * taken off. */
static void put_bare(struct body_decoder *d, struct buf *out)
{
	d->state = DECODE_TEXT;
	if (d->limits.repair_bare)
		put_newline(d, out);
	else
		set_fault(d, BODY_BARE_NEWLINE);
}

static void put_crlf(struct body_decoder *d, struct buf *out)
{
	put_newline(d, out);
	d->state = d->dots ? DECODE_START : DECODE_TEXT;
}

static size_t take_text(struct body_decoder *d, const char *p, size_t n, struct buf *out)
{
	uint64_t bits = 0;
	size_t run = plain_run(p, n, &bits);
	put_text(d, p, run, out);
	d->state = DECODE_TEXT;
	if (run == n)
		return n;
	if (p[run] == '\r')
		d->state = DECODE_CR;
	else if (p[run] == '\n')
		put_bare(d, out);
	else
		set_fault(d, BODY_NUL);
	return run + 1;
}

/* One step of the machine over N > 0 bytes. Result: bytes used; 0 when the next
 * one is to be looked at again in the new state. */
static size_t step(struct body_decoder *d, const char *p, size_t n, struct buf *out)
{
	switch ((enum decode_state)d->state) {
	case DECODE_START:
		d->state = *p == '.' ? DECODE_DOT : DECODE_TEXT;
		return *p == '.';
	case DECODE_DOT:
		if (*p == '\r') {
			d->state = DECODE_DOT_CR;
			return 1;
		}
		d->state =
		    DECODE_TEXT; /* the dot was stuffing, unless it is all of a line */
		if (*p == '\n')
			put_text(d, ".", 1, out);
		return 0;
	case DECODE_DOT_CR:
		if (*p == '\n') {
			d->ended = true;
			return 1;
		}
		put_text(d, ".", 1, out);
		put_bare(d, out);
		return 0;
	case DECODE_TEXT:
		return take_text(d, p, n, out);
	case DECODE_CR:
		if (*p == '\n') {
			put_crlf(d, out);
			return 1;
		}
		put_bare(d, out);
		return 0;
	}
	return n;
}

/* Bytes of the longest run of whole lines at P that come out as they are. */
static size_t plain_lines(struct body_decoder *d, const char *p, size_t n)
{
	uint64_t fit = room(d->limits.size, d->size, n);
	uint64_t line_len = d->line_len;
	size_t done = 0;
	uint64_t bits = 0;
	while (done < n && !(d->dots && p[done] == '.')) {
		uint64_t line_bits = 0;
		size_t run = plain_run(p + done, n - done, &line_bits);
		size_t end = done + run + 2;
		if (end > fit || p[end - 2] != '\r' || p[end - 1] != '\n' ||
		    room(d->limits.line, line_len, run) < run)
			break;
		bits |= line_bits;
		line_len = 0;
		done = end;
	}
	d->eightbit = d->eightbit || (bits & HIGHS);
	return done;
}

/* The fast way: from the start of a line, lines without anything to decide. */
static size_t take_plain_lines(
    struct body_decoder *d, const char *p, size_t n, struct buf *out)
{
	bool at_start = d->state == DECODE_START || (!d->dots && d->state == DECODE_TEXT);
	if (!at_start || d->fault != BODY_FINE)
		return 0;
	size_t done = plain_lines(d, p, n);
	if (done) {
		buf_add(out, p, done);
		d->size += done;
		d->line_len = 0;
	}
	return done;
}

size_t body_decode(struct body_decoder *d, const char *p, size_t n, struct buf *out)
{
	size_t i = 0;
	while (i < n && !d->ended) {
		i += take_plain_lines(d, p + i, n - i, out);
		if (i < n)
			i += step(d, p + i, n - i, out);
	}
	return i;
}

void body_decoder_finish(struct body_decoder *d, struct buf *out)
{
	if (d->state == DECODE_CR)
		put_bare(d, out);
	if (d->line_len)
		put_newline(d, out);
}

enum encode_state {
	ENCODE_START, /* at the start of a line */
	ENCODE_TEXT,
	ENCODE_CR, /* behind a CR at the end of a piece; it is not written yet */
};

void body_encoder_init(struct body_encoder *e)
{
	e->state = ENCODE_START;
}

/* The CR or LF at P that no plain line ends with, of N bytes that are left. Text
 * should not hold a bare one, and a damaged spool must not make us send it: it
 * goes out as CRLF, and a dot behind it is stuffed. Result: bytes used. */
static size_t encode_odd(struct body_encoder *e, const char *p, size_t n, struct buf *out)
{
	if (*p == '\r' && n == 1) {
		e->state = ENCODE_CR; /* what it is, the next piece tells */
		return 1;
	}
	buf_add(out, "\r\n", 2);
	e->state = ENCODE_START;
	return 1;
}

void body_encode(struct body_encoder *e, const char *p, size_t n, struct buf *out)
{
	uint64_t bits = 0;
	size_t from = 0; /* what is looked at but not written */
	size_t i = 0;
	if (n && e->state == ENCODE_CR) {
		buf_add(out, "\r\n", 2);
		e->state = ENCODE_START;
		from = i = *p == '\n' ? 1 : 0;
	}
	while (i < n) {
		if (e->state == ENCODE_START && p[i] == '.') {
			buf_add(out, p + from, i - from);
			buf_add_byte(out, '.');
			from = i;
		}
		size_t run = plain_run(p + i, n - i, &bits);
		i += run;
		if (run)
			e->state = ENCODE_TEXT;
		if (i == n)
			break;
		if (p[i] == '\0') {
			e->state = ENCODE_TEXT; /* not ours to judge any more */
			i++;
		} else if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n') {
			e->state = ENCODE_START;
			i += 2;
		} else {
			buf_add(out, p + from, i - from);
			i += encode_odd(e, p + i, n - i, out);
			from = i;
		}
	}
	if (from < n)
		buf_add(out, p + from, n - from);
}

void body_encoder_finish(struct body_encoder *e, struct buf *out)
{
	if (e->state != ENCODE_START)
		buf_add(out, "\r\n", 2);
	e->state = ENCODE_START;
	buf_add(out, ".\r\n", 3);
}
