/* SPDX-License-Identifier: MIT
 * Reports with any texts: the first byte chooses, then NUL ends each of sender,
 * address, host and reply; the rest is the message's header. What comes out has
 * the structure of a report whatever went in.
 */
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/mem.h"
#include "tests/unit/bounce_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *take_text(struct span *rest)
{
	const char *end = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
	size_t n = end ? (size_t)(end - rest->p) : rest->n;
	char *text = mem_copy(rest->p, n);
	n += end != NULL;
	rest->p += n;
	rest->n -= n;
	return text;
}

static void print_and_check(const struct bounce *b)
{
	struct buf out = {0};
	bounce_print(b, &out);
	const char *fault = bounce_check(b, span_buf(&out));
	if (fault)
		bug(fault);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	unsigned choice = data[0];
	struct span rest = {(const char *)data + 1, size - 1};
	char *texts[4];
	for (size_t i = 0; i < 4; i++)
		texts[i] = take_text(&rest);
	struct bounce_recipient r[2];
	for (size_t i = 0; i < 2; i++)
		r[i] = (struct bounce_recipient){
		    .address = texts[1],
		    .status = "5.0.0",
		    .mx = texts[2],
		    .answered = (choice & 4) != 0,
		    .code = choice & 4 ? 550 : 0,
		    .reply = texts[3],
		    .reason = "It is so.",
		};
	struct bounce b = {
	    .kind = choice & 1 ? BOUNCE_DELAYED : BOUNCE_FAILED,
	    .hostname = "relay.example.jp",
	    .from = "MAILER-DAEMON@example.jp",
	    .to = texts[0],
	    .id = "00000000000000aa",
	    .original_id = "00000000000000bb",
	    .recipients = r,
	    .recipient_count = choice & 8 ? 2 : 1,
	    .header = rest,
	    .smtputf8 = (choice & 2) != 0,
	};
	print_and_check(&b);
	for (size_t i = 0; i < 4; i++)
		mem_free(texts[i]);
	return 0;
}
