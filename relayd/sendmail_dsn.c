/* SPDX-License-Identifier: MIT
 * Values are judged by the parser that will read them at the other end.
 */
#include "relayd/sendmail_dsn.h"

#include "smtp/command.h"
#include "smtp/xtext.h"

#define VALUE_MAX 64

/* Letters and commas: no value can bring another parameter along. */
static bool is_list(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		int c = text_lower_byte(s.p[i]);
		if ((c < 'a' || c > 'z') && c != ',')
			return false;
	}
	return s.n > 0 && s.n <= VALUE_MAX;
}

static void set(struct buf *to, const char *value)
{
	buf_clear(to);
	buf_add_text(to, value);
}

bool sendmail_dsn_notify(struct sendmail_dsn *dsn, const char *value)
{
	struct command_rcpt rcpt;
	struct reply reply = {0};
	struct buf line = {0};
	bool good = is_list(span_text(value));
	if (good) {
		buf_addf(&line, "TO:<a> NOTIFY=%s", value);
		good = command_parse_rcpt(span_buf(&line), false, true, &rcpt, &reply) == 0;
	}
	if (good)
		set(&dsn->notify, value);
	reply_free(&reply);
	buf_free(&line);
	return good;
}

bool sendmail_dsn_ret(struct sendmail_dsn *dsn, const char *value)
{
	struct span s = span_text(value);
	if (!span_is_nocase(s, "full") && !span_is_nocase(s, "hdrs"))
		return false;
	set(&dsn->ret, value);
	return true;
}

bool sendmail_dsn_envid(struct sendmail_dsn *dsn, const char *value)
{
	struct buf xtext = {0};
	struct span s = span_text(value);
	if (s.n <= XTEXT_ENVID_MAX)
		xtext_encode(s, &xtext);
	bool good = xtext.len <= XTEXT_ENVID_MAX && xtext_is_valid(span_buf(&xtext), false);
	if (good)
		set(&dsn->envid, buf_text(&xtext));
	buf_free(&xtext);
	return good;
}

static void print(struct buf *out, const char *name, const struct buf *value)
{
	if (value->len)
		buf_addf(out, " %s=%s", name, buf_text(value));
}

void sendmail_dsn_print_mail(const struct sendmail_dsn *dsn, struct buf *out)
{
	print(out, "RET", &dsn->ret);
	print(out, "ENVID", &dsn->envid);
}

void sendmail_dsn_print_rcpt(const struct sendmail_dsn *dsn, struct buf *out)
{
	print(out, "NOTIFY", &dsn->notify);
}

void sendmail_dsn_free(struct sendmail_dsn *dsn)
{
	buf_free(&dsn->notify);
	buf_free(&dsn->ret);
	buf_free(&dsn->envid);
}
