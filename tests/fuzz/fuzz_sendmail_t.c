/* SPDX-License-Identifier: MIT
 * relay-sendmail with -t: any bytes as header section. Each recipient that comes
 * out fits between the <> of RCPT and breaks no line, no Bcc is left, there is one
 * From at least, and the same section comes out again when it goes in again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/sendmail_message.h"
#include "smtp/command.h"
#include "smtp/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_recipient(const char *text)
{
	struct buf line = {0};
	struct command command;
	struct command_rcpt rcpt;
	struct reply reply = {0};
	buf_addf(&line, "RCPT TO:<%s>", text);
	command_parse(span_buf(&line), &command);
	if (command.verb != COMMAND_RCPT ||
	    command_parse_rcpt(command.argument, true, true, &rcpt, &reply) != 0)
		bug("a recipient that our own server does not understand");
	if (!span_is(rcpt.to.text, text))
		bug("the server understands another recipient");
	reply_free(&reply);
	buf_free(&line);
}

static void check_section(const struct buf *out)
{
	struct header h;
	struct why why;
	if (out->len < 2 || memcmp(out->data + out->len - 2, "\r\n", 2) != 0)
		bug("no empty line at the end");
	if (header_parse(span_buf(out), &h, &why) < 0)
		bug("what was built can not be read");
	if (h.size != out->len - 2 || h.body_start != out->len)
		bug("the section ends early");
	if (header_count(&h, "Bcc") || header_count(&h, "Resent-Bcc"))
		bug("a Bcc is left");
	if (header_count(&h, "From") == 0)
		bug("no From");
	header_free(&h);
}

static void check_again(const struct buf *out, const struct sendmail_from *from)
{
	struct sendmail_report report = {0};
	struct buf again = {0};
	if (sendmail_header_build(span_buf(out), from, NULL, &again, &report) != EX_OK ||
	    !span_equal(span_buf(&again), span_buf(out)))
		bug("a second time gives something else");
	buf_free(&again);
	sendmail_report_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the first line also serves as the name of -F */
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	struct span first = {(const char *)data, end ? (size_t)(end - data) : size};
	char *name = span_dup(first);
	struct sendmail_from from = {.address = "me@example.jp", .name = name};
	struct sendmail_recipients to = {0};
	struct sendmail_report report = {0};
	struct buf out = {0};
	if (sendmail_header_build((struct span){(const char *)data, size}, &from, &to, &out,
		&report) == EX_OK) {
		sendmail_recipients_unique(&to);
		for (size_t i = 0; i < to.count; i++)
			check_recipient(to.list[i]);
		check_section(&out);
		check_again(&out, &from);
	} else if (report.status != EX_DATAERR || report.text.len == 0) {
		bug("refused without a reason");
	}
	sendmail_recipients_free(&to);
	sendmail_report_free(&report);
	buf_free(&out);
	mem_free(name);
	return 0;
}
