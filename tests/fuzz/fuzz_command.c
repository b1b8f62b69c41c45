/* SPDX-License-Identifier: MIT
 * Command lines of any bytes, with all that can be offered and with nothing. A
 * refusal is one clean line with a 5xx code, and never says back what came.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/command.h"
#include "smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct span part, struct span whole)
{
	if (part.p < whole.p || part.n > whole.n ||
	    (size_t)(part.p - whole.p) > whole.n - part.n)
		bug("a view outside of the line");
}

static void check_refusal(struct reply *reply)
{
	struct buf out = {0};
	if (!reply->complete || reply->lines != 1 || reply->code < 500 ||
	    reply->code > 599 || reply->enhanced.klass != 5)
		bug("not a refusal");
	reply_print(reply, &out);
	if (out.len < 3 || memchr(out.data, '\n', out.len) != out.data + out.len - 1)
		bug("not one line");
	buf_free(&out);
	reply_free(reply);
}

/* What was taken decodes to one line without controls, and back again. */
static void check_xtext(struct span value)
{
	struct buf plain = {0};
	struct buf again = {0};
	struct buf twice = {0};
	if (!xtext_decode(value, &plain))
		bug("xtext that can not be decoded was taken");
	for (size_t i = 0; i < plain.len; i++)
		if ((unsigned char)plain.data[i] < 32 || (unsigned char)plain.data[i] > 126)
			bug("a control byte came out of xtext");
	xtext_encode(span_buf(&plain), &again);
	if (!xtext_is_valid(span_buf(&again), false) || !xtext_decode(span_buf(&again), &twice) ||
	    !span_equal(span_buf(&twice), span_buf(&plain)))
		bug("xtext there and back is something else");
	buf_free(&plain);
	buf_free(&again);
	buf_free(&twice);
}

static void check_orcpt(struct span orcpt)
{
	struct buf safe = {0};
	const char *semicolon = memchr(orcpt.p, ';', orcpt.n);
	if (!semicolon || orcpt.n > XTEXT_ORCPT_MAX)
		bug("an ORCPT that is none");
	xtext_print_orcpt(orcpt, &safe);
	for (size_t i = 0; i < safe.len; i++)
		if (safe.data[i] < 33 || safe.data[i] > 126)
			bug("an ORCPT that can not be sent");
	if (span_is_ascii(orcpt))
		check_xtext((struct span){semicolon + 1,
		    orcpt.n - (size_t)(semicolon + 1 - orcpt.p)});
	buf_free(&safe);
}

static void check_mail(struct span argument, const struct command_offers *offers)
{
	struct command_mail mail;
	struct reply reply = {0};
	if (command_parse_mail(argument, offers, &mail, &reply) < 0) {
		check_refusal(&reply);
		return;
	}
	check_within(mail.from.text, argument);
	if ((mail.from.utf8 && !mail.smtputf8) || (mail.smtputf8 && !offers->smtputf8))
		bug("UTF-8 that was not asked for");
	if (!offers->dsn && (mail.envid.n || mail.ret != COMMAND_RET_NONE))
		bug("reports that were not offered");
	if (mail.envid.n) {
		check_within(mail.envid, argument);
		check_xtext(mail.envid);
	}
}

static void check_rcpt(struct span argument, bool smtputf8, bool dsn)
{
	struct command_rcpt rcpt;
	struct reply reply = {0};
	if (command_parse_rcpt(argument, smtputf8, dsn, &rcpt, &reply) < 0) {
		check_refusal(&reply);
		return;
	}
	check_within(rcpt.to.text, argument);
	if (rcpt.to.form == ADDRESS_NULL || (rcpt.to.utf8 && !smtputf8))
		bug("a recipient that nobody can be");
	if (!dsn && (rcpt.notify || rcpt.orcpt.n))
		bug("reports that were not offered");
	if (rcpt.notify & COMMAND_NOTIFY_NEVER && rcpt.notify != COMMAND_NOTIFY_NEVER)
		bug("NEVER with others");
	if (rcpt.orcpt.n) {
		check_within(rcpt.orcpt, argument);
		check_orcpt(rcpt.orcpt);
	}
}

static void check_bdat(struct span argument)
{
	struct command_bdat bdat;
	struct reply reply = {0};
	if (command_parse_bdat(argument, &bdat, &reply) < 0)
		check_refusal(&reply);
	else if (bdat.size > UINT64_C(1) << 40)
		bug("a chunk too big");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct command_offers all = {true, true, true, true, true, true, 1000};
	static const struct command_offers none = {0};
	struct span line = {(const char *)data, size};
	struct command c;
	command_parse(line, &c);
	check_within(c.argument, line);
	bool known = c.verb != COMMAND_UNKNOWN && c.verb != COMMAND_FOREIGN;
	for (size_t i = 0; i < size && known; i++)
		if ((data[i] < 32 && data[i] != '\t') || data[i] == 127)
			bug("a control byte passed");
	check_mail(c.argument, &all);
	check_mail(c.argument, &none);
	check_rcpt(c.argument, false, false);
	check_rcpt(c.argument, false, true);
	check_rcpt(c.argument, true, true);
	check_bdat(c.argument);
	(void)command_helo_is_valid(c.argument);
	return 0;
}
