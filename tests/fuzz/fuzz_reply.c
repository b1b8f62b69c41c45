/* SPDX-License-Identifier: MIT
 * Replies of any lines (cut at \n): bounded memory, and what we print of them
 * is taken again with the same code and nothing hidden in it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_summary(const struct reply *reply, size_t max)
{
	struct buf out = {0};
	reply_summary(reply, &out, max);
	for (size_t i = 0; i < out.len; i++)
		if (out.data[i] < 32 || out.data[i] > 126)
			bug("a summary that is not plain");
	buf_free(&out);
}

/* Our wire form of it, line by line through the reader again. */
static void check_printed(const struct reply *reply)
{
	struct buf out = {0};
	struct reply again = {0};
	int result = 0;
	reply_print(reply, &out);
	for (const char *p = out.data; p < out.data + out.len;) {
		const char *end = memchr(p, '\n', (size_t)(out.data + out.len - p));
		if (!end || end == p || end[-1] != '\r' || result != 0)
			bug("not lines with CRLF");
		struct span line = {p, (size_t)(end - p) - 1};
		if (line.n > 500)
			bug("a line too long");
		result = reply_take_line(&again, line);
		p = end + 1;
	}
	if (result != 1 || again.code != reply->code || again.lines > REPLY_KEEP_LINES)
		bug("printed, it is another reply");
	reply_free(&again);
	buf_free(&out);
}

static void check_complete(const struct reply *reply)
{
	struct span text = span_buf(&reply->text);
	size_t lines = 1;
	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	if (lines != (reply->lines < REPLY_KEEP_LINES ? reply->lines : REPLY_KEEP_LINES))
		bug("lines were lost or made");
	if (text.n > REPLY_KEEP_LINES * (REPLY_KEEP_LINE + 1))
		bug("too much was kept");
	if (reply->enhanced.klass && reply->enhanced.klass != reply->code / 100)
		bug("the classes do not agree");
	check_printed(reply);
	check_summary(reply, 1000);
	check_summary(reply, 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply reply = {0};
	struct enhanced e = {0};
	struct span in = {(const char *)data, size};
	char text[12];
	size_t n = enhanced_parse(in, &e);
	if (n > size || (n && strlen(enhanced_text(&e, text)) > n))
		bug("bad enhanced code");
	while (in.n) {
		const char *end = memchr(in.p, '\n', in.n);
		struct span line = {in.p, end ? (size_t)(end - in.p) : in.n};
		size_t used = line.n + (end != NULL);
		int result = reply_take_line(&reply, line);
		if (reply.complete != (result == 1) && result >= 0)
			bug("complete or not");
		if (result == 1)
			check_complete(&reply);
		if (result < 0)
			reply_clear(&reply);
		in = (struct span){in.p + used, in.n - used};
	}
	reply_free(&reply);
	return 0;
}
