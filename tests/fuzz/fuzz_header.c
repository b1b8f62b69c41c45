/* SPDX-License-Identifier: MIT
 * Header sections of any bytes: the fields lie in the message one behind the
 * other, hold no line end of their own, and the end is where it is however
 * many bytes have come.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_field(const struct header_field *f)
{
	struct buf text = {0};
	if (f->name.n == 0 || f->name.n > HEADER_NAME_MAX || f->name.p != f->whole.p)
		bug("bad name");
	if (f->value.p <= f->name.p ||
	    f->value.p + f->value.n + 2 != f->whole.p + f->whole.n)
		bug("bad value");
	if (memcmp(f->value.p + f->value.n, "\r\n", 2) != 0)
		bug("a field without an end");
	header_unfold(f->value, &text);
	if (text.len > f->value.n)
		bug("unfolding made it longer");
	for (size_t i = 0; i < text.len; i++)
		if (memchr("\r\n\v\f", text.data[i], 5))
			bug("a control byte in a value");
	buf_free(&text);
}

static void check_end(struct span s, size_t most)
{
	size_t all = 0;
	size_t from = 0;
	size_t end = header_end(s, &all);
	size_t found = 0;
	for (size_t n = 0; n <= s.n && n < most && !found; n++)
		found = header_end((struct span){s.p, n}, &from);
	if (found != end && (found || end < most))
		bug("the end depends on the cuts");
	if (end && (end < 2 || memcmp(s.p + end - 2, "\r\n", 2) != 0))
		bug("not an end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span message = {(const char *)data, size};
	struct header h;
	struct why why = {0};
	check_end(message, 500);
	if (header_parse(message, &h, &why) < 0) {
		if (why.kind != WHY_PERM || !why.text[0])
			bug("refused without a reason");
		return 0;
	}
	const char *at = h.count ? h.fields[0].whole.p : message.p;
	for (size_t i = 0; i < h.count; i++) {
		check_field(&h.fields[i]);
		if (h.fields[i].whole.p != at)
			bug("a gap between fields");
		at += h.fields[i].whole.n;
	}
	if (at != message.p + h.size || h.body_start < h.size || h.body_start > message.n)
		bug("bad size");
	header_free(&h);
	return 0;
}
