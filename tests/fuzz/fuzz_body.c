/* SPDX-License-Identifier: MIT
 * The text machines against themselves: however the same bytes are cut into
 * pieces, output and state are the same; what comes out holds no bare newline;
 * and what is stuffed and taken apart again is what it was.
 *
 * Input: one byte of options, two of limits, one that seeds the cuts, the text.
 */
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/mem.h"
#include "smtp/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t decode(
    struct body_decoder *d, struct span s, uint32_t cuts, struct buf *out)
{
	size_t i = 0;
	while (i < s.n && !d->ended) {
		size_t n = s.n - i;
		if (cuts) {
			cuts = cuts * 1664525 + 1013904223;
			size_t most = cuts >> 24 & 7 ? 1 + (cuts >> 28) : 200;
			n = n < most ? n : most;
		}
		size_t used = body_decode(d, s.p + i, n, out);
		if (used != n && !d->ended)
			bug("stopped without an end");
		i += used;
	}
	if (!d->dots)
		body_decoder_finish(d, out);
	return i;
}

static void check_same(const struct body_decoder *a, const struct body_decoder *b)
{
	if (a->state != b->state || a->size != b->size || a->line_len != b->line_len ||
	    a->fault != b->fault || a->ended != b->ended || a->eightbit != b->eightbit)
		bug("state depends on the cuts");
}

static void check_lines(struct span s, bool whole)
{
	for (size_t i = 0; i < s.n; i++) {
		bool behind_cr = i && s.p[i - 1] == '\r';
		if (!s.p[i] || (s.p[i] == '\n') != behind_cr)
			bug("a NUL or a bare newline came out");
	}
	if (s.n && s.p[s.n - 1] == '\r')
		bug("a CR came out alone");
	if (whole && s.n && s.p[s.n - 1] != '\n')
		bug("the last line has no end");
}

static void encode(struct span s, size_t piece, struct buf *out)
{
	struct body_encoder e;
	body_encoder_init(&e);
	for (size_t i = 0; i < s.n; i += piece)
		body_encode(&e, s.p + i, s.n - i < piece ? s.n - i : piece, out);
	body_encoder_finish(&e, out);
}

/* TEXT is stuffed whole and in pieces, and must come back (IS_TEXT: unchanged). */
static void check_round_trip(struct span text, size_t piece, bool is_text)
{
	static const struct body_limits none = {0};
	struct buf wire = {0};
	struct buf again = {0};
	struct buf back = {0};
	struct body_decoder d;
	encode(text, text.n + 1, &wire);
	encode(text, piece, &again);
	if (!span_equal(span_buf(&wire), span_buf(&again)))
		bug("stuffing depends on the cuts");
	body_decoder_init(&d, &none, true);
	size_t used = decode(&d, span_buf(&wire), 0, &back);
	if (d.fault == BODY_BARE_NEWLINE)
		bug("stuffed text holds a bare newline");
	if (!d.ended || used != wire.len)
		bug("stuffed text ends elsewhere");
	if (is_text && !span_equal(span_buf(&back), text))
		bug("stuffed text does not come back");
	buf_free(&wire);
	buf_free(&again);
	buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	struct body_limits limits = {
	    .size = data[1], .line = data[2], .repair_bare = data[0] & 1};
	struct span in = {(const char *)data + 4, size - 4};
	struct body_decoder whole;
	struct body_decoder cut;
	struct buf a = {0};
	struct buf b = {0};
	body_decoder_init(&whole, &limits, data[0] & 2);
	body_decoder_init(&cut, &limits, data[0] & 2);

	size_t used = decode(&whole, in, 0, &a);
	if (decode(&cut, in, data[3] + 1u, &b) != used)
		bug("the end depends on the cuts");
	check_same(&whole, &cut);
	if (!span_equal(span_buf(&a), span_buf(&b)))
		bug("the text depends on the cuts");
	if (a.len != whole.size || (limits.size && a.len > limits.size))
		bug("the size is wrong");
	bool whole_text = whole.fault == BODY_FINE && (whole.ended || !whole.dots);
	check_lines(span_buf(&a), whole_text);
	if (whole_text)
		check_round_trip(span_buf(&a), data[3] % 9 + 1u, true);
	check_round_trip(in, data[3] % 9 + 1u, false);
	buf_free(&a);
	buf_free(&b);
	return 0;
}
