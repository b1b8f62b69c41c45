/* SPDX-License-Identifier: MIT
 * Command lines and their arguments: what is taken, and the exact reply to
 * what is not (RFC 5321 section 4.1, RFC 1870, 3030, 3461, 4954, 6152, 6531).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "smtp/command.h"
#include "tests/unit/exact.h"

static const struct {
	const char *line;
	enum command_verb verb;
	const char *argument;
} lines[] = {
    {"EHLO example.jp", COMMAND_EHLO, "example.jp"},
    {"ehlo example.jp", COMMAND_EHLO, "example.jp"},
    {"HeLo x", COMMAND_HELO, "x"},
    {"MAIL FROM:<a@b> SIZE=1", COMMAND_MAIL, "FROM:<a@b> SIZE=1"},
    {"RCPT TO:<a@b>", COMMAND_RCPT, "TO:<a@b>"},
    {"RCPT\tTO:<a@b>", COMMAND_RCPT, "TO:<a@b>"},
    {"RCPT  TO:<a@b>", COMMAND_RCPT, " TO:<a@b>"},
    {"DATA", COMMAND_DATA, ""},
    {"DATA \t ", COMMAND_DATA, ""},
    {"DATA now", COMMAND_DATA, "now"},
    {"BDAT 1 LAST", COMMAND_BDAT, "1 LAST"},
    {"RSET", COMMAND_RSET, ""},
    {"NOOP x y ", COMMAND_NOOP, "x y"},
    {"VRFY root", COMMAND_VRFY, "root"},
    {"EXPN list", COMMAND_EXPN, "list"},
    {"HELP", COMMAND_HELP, ""},
    {"QUIT", COMMAND_QUIT, ""},
    {"STARTTLS", COMMAND_STARTTLS, ""},
    {"AUTH PLAIN =", COMMAND_AUTH, "PLAIN ="},
    {"", COMMAND_UNKNOWN, ""},
    {" DATA", COMMAND_UNKNOWN, "DATA"},
    {"DAT", COMMAND_UNKNOWN, ""},
    {"DATAX", COMMAND_UNKNOWN, ""},
    {"MAILFROM <a@b>", COMMAND_UNKNOWN, "<a@b>"},
    {"GETS x", COMMAND_UNKNOWN, "x"},
    {"GET / HTTP/1.1", COMMAND_FOREIGN, "/ HTTP/1.1"},
    {"get /", COMMAND_FOREIGN, "/"},
    {"POST / HTTP/1.1", COMMAND_FOREIGN, "/ HTTP/1.1"},
    {"OPTIONS * HTTP/1.1", COMMAND_FOREIGN, "* HTTP/1.1"},
    {"Host: localhost:25", COMMAND_FOREIGN, "localhost:25"},
    {"Host:localhost:25", COMMAND_FOREIGN, ""},
    {" X: y", COMMAND_FOREIGN, "X: y"},
    {"{\"a\": 1}", COMMAND_FOREIGN, "1}"},
    {"-----------------------------9051914041544843365972754266", COMMAND_FOREIGN, ""},
    {"\x16\x03\x01\x02", COMMAND_FOREIGN, "\x16\x03\x01\x02"},
    {"\xe9\x83\xb5", COMMAND_FOREIGN, ""},
    {"DATA\x01", COMMAND_UNKNOWN, "DATA\x01"},
    {"DATA\r", COMMAND_UNKNOWN, "DATA\r"},
    {"QUIT\x7f", COMMAND_UNKNOWN, "QUIT\x7f"},
    {"EHLO a\x1b[m", COMMAND_UNKNOWN, "EHLO a\x1b[m"},
};

static void lines_are_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct command c;
		struct span line = exact(lines[i].line);
		command_parse(line, &c);
		if (c.verb != lines[i].verb || !span_is(c.argument, lines[i].argument))
			fail_msg("\"%s\": %d \"%.*s\"", lines[i].line, (int)c.verb,
			    (int)c.argument.n, c.argument.p);
		exact_free(line);
	}
	struct command c;
	command_parse((struct span){"DATA\0", 5}, &c);
	assert_int_equal(c.verb, COMMAND_UNKNOWN);
	command_parse((struct span){"DATA \0", 6}, &c);
	assert_int_equal(c.verb, COMMAND_UNKNOWN);
}

static void check_reply(const char *argument, struct reply *reply, const char *expected)
{
	char text[32];
	char enhanced[12];
	snprintf(text, sizeof(text), "%u %s", reply->code,
	    enhanced_text(&reply->enhanced, enhanced));
	if (strcmp(text, expected) != 0)
		fail_msg("\"%s\": %s instead of %s", argument, text, expected);
	assert_true(reply->text.len > 0);
	reply_free(reply);
}

#define UTF8_PATH "<\xe9\x83\xb5@b>"

static const struct {
	const char *argument;
	const char *reply; /* NULL: good */
	const char *from;
	bool smtputf8;
} mails[] = {
    {"FROM:<a@b>", NULL, "a@b", false},
    {"from:<a@b>", NULL, "a@b", false},
    {"FROM: <a@b>", NULL, "a@b", false},
    {" FROM:  \t<a@b>", NULL, "a@b", false},
    {"FROM:<>", NULL, "", false},
    {"FROM:a@b", NULL, "a@b", false},
    {"FROM:a@b SIZE=7", NULL, "a@b", false},
    {"FROM:<apache>", NULL, "apache", false},
    {"FROM:postmaster", NULL, "postmaster", false},
    {"FROM:<a@b> size=1000", NULL, "a@b", false},
    {"FROM:<a@b>   SIZE=0  BODY=8bitmime ", NULL, "a@b", false},
    {"FROM:<a@b> BODY=7BIT", NULL, "a@b", false},
    {"FROM:<a@b> SMTPUTF8", NULL, "a@b", true},
    {"FROM:" UTF8_PATH " SMTPUTF8", NULL, "\xe9\x83\xb5@b", true},
    {"FROM:<a@b> AUTH=<>", NULL, "a@b", false},
    {"FROM:<a@b> AUTH=a+20+39+41+4F", NULL, "a@b", false},
    {"FROM:<a@b> AUTH=e+3Dmc2@example.com", NULL, "a@b", false},
    {"", "501 5.5.4", "", false},
    {"<a@b>", "501 5.5.4", "", false},
    {"FROM", "501 5.5.4", "", false},
    {"FROM:", "501 5.5.4", "", false},
    {"FROM: ", "501 5.5.4", "", false},
    {"FROM <a@b>", "501 5.5.4", "", false},
    {"TO:<a@b>", "501 5.5.4", "", false},
    {"FROM: SIZE=100", "501 5.1.7", "", false},
    {"FROM: SMTPUTF8", "501 5.1.7", "", false},
    {"FROM:apache", "501 5.1.7", "", false},
    {"FROM:<a@b", "501 5.1.7", "", false},
    {"FROM:<a@b>SIZE=1", "501 5.1.7", "", false},
    {"FROM:<a@b@c>", "501 5.1.7", "", false},
    {"FROM:<;cmd;>", "501 5.1.7", "", false},
    {"FROM:<\xff@b> SMTPUTF8", "501 5.1.7", "", false},
    {"FROM:" UTF8_PATH, "553 5.6.7", "", false},
    {"FROM:" UTF8_PATH " SIZE=1", "553 5.6.7", "", false},
    {"FROM:<a@b> SIZE=1001", "552 5.3.4", "", false},
    {"FROM:<a@b> SIZE=4294967297", "552 5.3.4", "", false},
    {"FROM:<a@b> SIZE=18446744073709551615", "552 5.3.4", "", false},
    {"FROM:<a@b> SIZE=18446744073709551616", "552 5.3.4", "", false},
    {"FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4", "", false},
    {"FROM:<a@b> SIZE=00000000000000001000", NULL, "a@b", false},
    {"FROM:<a@b> SIZE=00000000000000001001", "552 5.3.4", "", false},
    {"FROM:<a@b> SIZE=000000000000000000001", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=-1", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=+1", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=1K", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=0x1", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=1=2", "501 5.5.4", "", false},
    {"FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4", "", false},
    {"FROM:<a@b> SMTPUTF8 SMTPUTF8", "501 5.5.4", "", false},
    {"FROM:<a@b> BODY=7BIT body=8BITMIME", "501 5.5.4", "", false},
    {"FROM:<a@b> SMTPUTF8=1", "501 5.5.4", "", false},
    {"FROM:<a@b> BODY=9BIT", "501 5.5.4", "", false},
    {"FROM:<a@b> BODY", "501 5.5.4", "", false},
    {"FROM:<a@b> BODY=BINARYMIME", "555 5.5.4", "", false},
    {"FROM:<a@b> FOO=BAR", "555 5.5.4", "", false},
    {"FROM:<a@b> FOO", "555 5.5.4", "", false},
    {"FROM:<a@b> =1", "501 5.5.4", "", false},
    {"FROM:<a@b> -X=1", "501 5.5.4", "", false},
    {"FROM:<a@b> X_Y=1", "501 5.5.4", "", false},
    {"FROM:<a@b> <c@d>", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+0AInjected", "501 5.5.4", "", false}, /* CVE-2020-28021 */
    {"FROM:<a@b> AUTH=a+00", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+1F", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+4G", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+7F", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+3d", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a+3", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a=b", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=\xe9\x83\xb5", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH", "501 5.5.4", "", false},
    {"FROM:<a@b> AUTH=a AUTH=a", "501 5.5.4", "", false},
};

static void mail_arguments(void **state)
{
	(void)state;
	static const struct command_offers offers = {.size = true,
	    .eightbit = true,
	    .smtputf8 = true,
	    .auth = true,
	    .max_size = 1000};
	for (size_t i = 0; i < sizeof(mails) / sizeof(mails[0]); i++) {
		struct command_mail mail = {.ret = COMMAND_RET_FULL};
		struct reply reply = {0};
		struct span argument = exact(mails[i].argument);
		int result = command_parse_mail(argument, &offers, &mail, &reply);
		if (mails[i].reply) {
			exact_free(argument);
			assert_int_equal(result, -1);
			assert_int_equal(mail.ret, COMMAND_RET_FULL); /* nothing is set */
			check_reply(mails[i].argument, &reply, mails[i].reply);
			continue;
		}
		if (result != 0 || !span_is(mail.from.text, mails[i].from))
			fail_msg("\"%s\": %u %s", mails[i].argument, reply.code,
			    buf_text(&reply.text));
		assert_int_equal(mail.smtputf8, mails[i].smtputf8);
		exact_free(argument);
	}
}

static void what_is_not_offered_is_not_known(void **state)
{
	(void)state;
	static const char *const arguments[] = {"FROM:<a@b> SIZE=1",
	    "FROM:<a@b> BODY=8BITMIME", "FROM:<a@b> SMTPUTF8", "FROM:<a@b> AUTH=<>",
	    "FROM:<a@b> RET=FULL", "FROM:<a@b> ENVID=x"};
	static const struct command_offers none = {0};
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		struct command_mail mail;
		struct reply reply = {0};
		assert_int_equal(
		    command_parse_mail(span_text(arguments[i]), &none, &mail, &reply),
		    -1);
		check_reply(arguments[i], &reply, "555 5.5.4");
	}
}

static void a_size_without_limit(void **state)
{
	(void)state;
	static const struct command_offers offers = {.size = true};
	struct command_mail mail;
	struct reply reply = {0};
	assert_int_equal(command_parse_mail(span_text("FROM:<> SIZE=99999999999999999999"), &offers,
			     &mail, &reply),
	    0);
}

static void auth_parameter_is_bounded(void **state)
{
	(void)state;
	static const struct command_offers offers = {.auth = true};
	struct command_mail mail;
	struct reply reply = {0};
	struct buf b = {0};
	buf_add_text(&b, "FROM:<> AUTH=");
	for (int i = 0; i < 500; i++)
		buf_add_byte(&b, 'a');
	assert_int_equal(command_parse_mail(span_buf(&b), &offers, &mail, &reply), 0);
	buf_add_byte(&b, 'a');
	assert_int_equal(command_parse_mail(span_buf(&b), &offers, &mail, &reply), -1);
	check_reply("AUTH of 501", &reply, "501 5.5.4");
	buf_free(&b);
}

static void rcpt_arguments(void **state)
{
	(void)state;
	static const struct {
		const char *argument;
		bool smtputf8;
		const char *reply;
		const char *to;
	} rows[] = {
	    {"TO:<a@b>", false, NULL, "a@b"},
	    {"to: <a@b>", false, NULL, "a@b"},
	    {"TO:a@b", false, NULL, "a@b"},
	    {"TO:<postmaster>", false, NULL, "postmaster"},
	    {"TO:Postmaster", false, NULL, "Postmaster"},
	    {"TO: NOTIFY=NEVER", false, "501 5.1.3", ""},
	    {"TO:root", false, "501 5.1.3", ""},
	    {"TO:<@x,@y:a@b>", false, NULL, "a@b"},
	    {"TO:<a..b.@docomo.ne.jp>", false, NULL, "a..b.@docomo.ne.jp"},
	    {"TO:" UTF8_PATH, true, NULL, "\xe9\x83\xb5@b"},
	    {"TO:" UTF8_PATH, false, "553 5.6.7", ""},
	    {"", false, "501 5.5.4", ""},
	    {"TO", false, "501 5.5.4", ""},
	    {"TO:", false, "501 5.5.4", ""},
	    {"FROM:<a@b>", false, "501 5.5.4", ""},
	    {"TO:<>", false, "501 5.1.3", ""},
	    {"TO:<a@b>,<c@d>", false, "501 5.1.3", ""},
	    {"TO:<a@b,c@d>", false, "501 5.1.3", ""},
	    {"TO:<a@b@c>", false, "501 5.1.3", ""},
	    {"TO:<${run{x}}@localhost>", false, NULL,
		"${run{x}}@localhost"}, /* just bytes */
	    {"TO:<a@b> <c@d>", false, "501 5.5.4", ""},
	    {"TO:<a@b> NOTIFY=NEVER", false, "555 5.5.4", ""},
	    {"TO:<a@b> ORCPT=rfc822;a+0A", false, "555 5.5.4", ""},
	    {"TO:<a@b> SIZE=1", false, "555 5.5.4", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct command_rcpt rcpt;
		struct reply reply = {0};
		int result = command_parse_rcpt(
		    span_text(rows[i].argument), rows[i].smtputf8, false, &rcpt, &reply);
		if (rows[i].reply)
			check_reply(rows[i].argument, &reply, rows[i].reply);
		else if (result != 0 || !span_is(rcpt.to.text, rows[i].to))
			fail_msg("\"%s\": %u %s", rows[i].argument, reply.code,
			    buf_text(&reply.text));
		assert_int_equal(result, rows[i].reply ? -1 : 0);
	}
}

static const struct {
	const char *argument;
	const char *reply; /* NULL: good */
	enum command_ret ret;
	const char *envid;
} report_mails[] = {
    {"FROM:<a@b>", NULL, COMMAND_RET_NONE, ""},
    {"FROM:<a@b> RET=FULL", NULL, COMMAND_RET_FULL, ""},
    {"FROM:<> ret=hdrs ENVID=QQ314159", NULL, COMMAND_RET_HDRS, "QQ314159"},
    {"FROM:<a@b> ENVID=a+20b+2Bc+3D", NULL, COMMAND_RET_NONE, "a+20b+2Bc+3D"},
    {"FROM:<a@b> RET=", "501 5.5.4", 0, ""},
    {"FROM:<a@b> RET", "501 5.5.4", 0, ""},
    {"FROM:<a@b> RET=HEADERS", "501 5.5.4", 0, ""},
    {"FROM:<a@b> RET=FULL,HDRS", "501 5.5.4", 0, ""},
    {"FROM:<a@b> RET=FULL RET=FULL", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a ENVID=a", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+0AX-Evil:+20yes", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+0D", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+00", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+7F", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+E9", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+3d", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a+", "501 5.5.4", 0, ""},
    {"FROM:<a@b> ENVID=a=b", "501 5.5.4", 0, ""},
    {"FROM:<a@b> NOTIFY=NEVER", "555 5.5.4", 0, ""},
};

static void report_parameters_of_mail(void **state)
{
	(void)state;
	static const struct command_offers offers = {.dsn = true};
	for (size_t i = 0; i < sizeof(report_mails) / sizeof(report_mails[0]); i++) {
		struct command_mail mail;
		struct reply reply = {0};
		struct span argument = exact(report_mails[i].argument);
		int result = command_parse_mail(argument, &offers, &mail, &reply);
		if (report_mails[i].reply)
			check_reply(report_mails[i].argument, &reply, report_mails[i].reply);
		else if (result != 0 || !span_is(mail.envid, report_mails[i].envid) ||
			 mail.ret != report_mails[i].ret)
			fail_msg("\"%s\": %u", report_mails[i].argument, reply.code);
		assert_int_equal(result, report_mails[i].reply ? -1 : 0);
		exact_free(argument);
	}
}

#define S COMMAND_NOTIFY_SUCCESS
#define F COMMAND_NOTIFY_FAILURE
#define D COMMAND_NOTIFY_DELAY

static const struct {
	const char *argument;
	bool smtputf8;
	const char *reply; /* NULL: good */
	unsigned notify;
	const char *orcpt;
} report_rcpts[] = {
    {"TO:<a@b>", false, NULL, 0, ""},
    {"TO:<a@b> NOTIFY=NEVER", false, NULL, COMMAND_NOTIFY_NEVER, ""},
    {"TO:<a@b> notify=never", false, NULL, COMMAND_NOTIFY_NEVER, ""},
    {"TO:<a@b> NOTIFY=SUCCESS", false, NULL, S, ""},
    {"TO:<a@b> NOTIFY=failure,Delay,SUCCESS", false, NULL, S | F | D, ""},
    {"TO:<a@b> NOTIFY=DELAY,DELAY", false, NULL, D, ""},
    {"TO:<a@b> ORCPT=rfc822;a@b NOTIFY=DELAY", false, NULL, D, "rfc822;a@b"},
    {"TO:<a@b> ORCPT=RFC822;a+2Bb@c", false, NULL, 0, "RFC822;a+2Bb@c"},
    {"TO:<a@b> ORCPT=x400;/S=x", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=x400;/S+3Dx;y", false, NULL, 0, "x400;/S+3Dx;y"},
    {"TO:<a@b> ORCPT=utf-8;\\x{E9}@b", false, NULL, 0, "utf-8;\\x{E9}@b"},
    {"TO:<a@b> ORCPT=utf-8;\xc3\xa9@b", true, NULL, 0, "utf-8;\xc3\xa9@b"},
    {"TO:<a@b> ORCPT=utf-8;\xc3\xa9@b", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=utf-8;\xc3@b", true, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=utf-8;\xc2\x85@b", true, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;\xc3\xa9@b", true, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=,", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=DELAY,", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=,DELAY", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=ALWAYS", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=NEVER,DELAY", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=DELAY,NEVER", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=NEVER,NEVER", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> NOTIFY=DELAY; ORCPT=rfc822;a", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=a@b", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=;a@b", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc 822;a@b", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rf@822;a@b", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;a ORCPT=rfc822;a", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;a+0Ab", false, "501 5.5.4", 0, ""}, /* CVE-2020-28026 */
    {"TO:<a@b> ORCPT=rfc822;a+0D+0Ab", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;a+1B", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;a+E9", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> ORCPT=rfc822;a+4", false, "501 5.5.4", 0, ""},
    {"TO:<a@b> RET=FULL", false, "555 5.5.4", 0, ""},
};

static void report_parameters_of_rcpt(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(report_rcpts) / sizeof(report_rcpts[0]); i++) {
		struct command_rcpt rcpt;
		struct reply reply = {0};
		struct span argument = exact(report_rcpts[i].argument);
		int result = command_parse_rcpt(
		    argument, report_rcpts[i].smtputf8, true, &rcpt, &reply);
		if (report_rcpts[i].reply)
			check_reply(report_rcpts[i].argument, &reply, report_rcpts[i].reply);
		else if (result != 0 || !span_is(rcpt.orcpt, report_rcpts[i].orcpt) ||
			 rcpt.notify != report_rcpts[i].notify)
			fail_msg("\"%s\": %u %u", report_rcpts[i].argument, reply.code,
			    result ? 0 : rcpt.notify);
		assert_int_equal(result, report_rcpts[i].reply ? -1 : 0);
		exact_free(argument);
	}
}

/* RFC 3461 section 5.4. */
static void report_parameters_are_bounded(void **state)
{
	(void)state;
	static const struct command_offers offers = {.dsn = true};
	struct command_mail mail;
	struct command_rcpt rcpt;
	struct reply reply = {0};
	struct buf b = {0};
	buf_add_text(&b, "FROM:<> ENVID=");
	for (int i = 0; i < 100; i++)
		buf_add_byte(&b, 'a');
	assert_int_equal(command_parse_mail(span_buf(&b), &offers, &mail, &reply), 0);
	buf_add_byte(&b, 'a');
	assert_int_equal(command_parse_mail(span_buf(&b), &offers, &mail, &reply), -1);
	check_reply("ENVID of 101", &reply, "501 5.5.4");
	buf_clear(&b);
	buf_add_text(&b, "TO:<a@b> ORCPT=rfc822;");
	for (int i = 0; i < 493; i++)
		buf_add_byte(&b, 'a');
	assert_int_equal(command_parse_rcpt(span_buf(&b), false, true, &rcpt, &reply), 0);
	buf_add_byte(&b, 'a');
	assert_int_equal(command_parse_rcpt(span_buf(&b), false, true, &rcpt, &reply), -1);
	check_reply("ORCPT of 501", &reply, "501 5.5.4");
	buf_free(&b);
}

static void bdat_arguments(void **state)
{
	(void)state;
	static const struct {
		const char *argument;
		bool good;
		uint64_t size;
		bool last;
	} rows[] = {
	    {"0", true, 0, false},
	    {"0 LAST", true, 0, true},
	    {"1000 last", true, 1000, true},
	    {"1000   LAST", true, 1000, true},
	    {"1099511627776", true, UINT64_C(1) << 40, false},
	    {"1099511627777", false, 0, false},
	    {"18446744073709551624", false, 0, false}, /* 2^64 + 8 */
	    {"", false, 0, false},
	    {"LAST", false, 0, false},
	    {"-1", false, 0, false},
	    {"1x", false, 0, false},
	    {"1 LAS", false, 0, false},
	    {"1 LAST LAST", false, 0, false},
	    {"1 2", false, 0, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct command_bdat bdat = {0};
		struct reply reply = {0};
		int result =
		    command_parse_bdat(span_text(rows[i].argument), &bdat, &reply);
		if (result != (rows[i].good ? 0 : -1))
			fail_msg("\"%s\": %d", rows[i].argument, result);
		assert_true(bdat.size == rows[i].size);
		assert_int_equal(bdat.last, rows[i].last);
		if (!rows[i].good)
			check_reply(rows[i].argument, &reply, "501 5.5.4");
	}
}

static void helo_arguments(void **state)
{
	(void)state;
	static const struct {
		const char *argument;
		bool good;
	} rows[] = {
	    {"example.jp", true},
	    {"localhost", true},
	    {"MY_PC", true},
	    {"[192.0.2.1]", true},
	    {"[IPv6:::1]", true},
	    {"x.", true},
	    {"user's-pc", true},
	    {"", false},
	    {"a b", false},
	    {"a\tb", false},
	    {"a\x1b", false},
	    {"a\x7f", false},
	    {"a(b)", false},
	    {"a;b", false},
	    {"\xe4\xbe\x8b.jp", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (command_helo_is_valid(span_text(rows[i].argument)) != rows[i].good)
			fail_msg("\"%s\"", rows[i].argument);
	char text[256];
	memset(text, 'a', sizeof(text));
	assert_true(command_helo_is_valid((struct span){text, 255}));
	assert_false(command_helo_is_valid((struct span){text, 256}));
	assert_false(command_helo_is_valid((struct span){"a\0b", 3}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_split),
	    cmocka_unit_test(mail_arguments),
	    cmocka_unit_test(what_is_not_offered_is_not_known),
	    cmocka_unit_test(a_size_without_limit),
	    cmocka_unit_test(auth_parameter_is_bounded),
	    cmocka_unit_test(rcpt_arguments),
	    cmocka_unit_test(report_parameters_of_mail),
	    cmocka_unit_test(report_parameters_of_rcpt),
	    cmocka_unit_test(report_parameters_are_bounded),
	    cmocka_unit_test(bdat_arguments),
	    cmocka_unit_test(helo_arguments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
