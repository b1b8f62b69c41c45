/* SPDX-License-Identifier: MIT
 * relay-sendmail's pure parts: the command lines of real callers, messages as
 * programs write them, recipients of -t, From, exit statuses.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/sendmail_message.h"
#include "relayd/sendmail_options.h"
#include "relayd/sendmail_submit.h"

#define WORDS_MAX 40

/* ---- command lines ---- */

struct line {
	const char *words; /* separated by '|' */
	const char *result; /* see describe() */
};

/* The words of a line, in COPY. */
static int split(char *copy, char **argv)
{
	int argc = 0;
	for (char *at = copy; at && argc < WORDS_MAX - 1; argc++) {
		argv[argc] = at;
		at = strchr(at, '|');
		if (at)
			*at++ = '\0';
	}
	argv[argc] = NULL;
	return argc;
}

static void describe(const struct sendmail_options *o, struct buf *out)
{
	static const char *const modes[] = {"send", "smtp", "list", "flush", "nothing", "help",
	    "version"};
	buf_addf(out, "%s%s%s%s", modes[o->mode], o->header_recipients ? " t" : "",
	    o->ignore_dots ? " i" : "", o->verbose ? " v" : "");
	if (o->sender)
		buf_addf(out, " f=%s", o->sender);
	if (o->name)
		buf_addf(out, " F=%s", o->name);
	if (o->mode == SENDMAIL_FLUSH)
		buf_addf(out, " %c=%s", o->flush, o->flush_what);
	sendmail_dsn_print_mail(&o->dsn, out);
	sendmail_dsn_print_rcpt(&o->dsn, out);
	for (size_t i = 0; i < o->recipient_count; i++)
		buf_addf(out, " %s", o->recipients[i]);
}

static void check_line(const struct line *l)
{
	char *copy = mem_text(l->words);
	char *argv[WORDS_MAX];
	struct sendmail_options options;
	struct sendmail_report report = {0};
	struct buf text = {0};
	if (sendmail_options_parse(&options, split(copy, argv), argv, &report) == EX_OK)
		describe(&options, &text);
	else
		buf_addf(&text, "%d", report.status);
	if ((report.status == EX_OK) != (report.text.len == 0))
		fail_msg("%s: status %d, said: %s", l->words, report.status, buf_text(&report.text));
	if (strcmp(buf_text(&text), l->result) != 0)
		fail_msg("%s\n  gave     %s\n  expected %s\n  said: %s", l->words, buf_text(&text),
		    l->result, buf_text(&report.text));
	buf_free(&text);
	sendmail_options_free(&options);
	sendmail_report_free(&report);
	mem_free(copy);
}

/* -N, -R, -V; the last one of each counts. */
static void test_what_is_asked_of_reports(void **state)
{
	static const struct line lines[] = {
	    {"sendmail|-N|never|a@b.jp", "send NOTIFY=never a@b.jp"},
	    {"sendmail|-Nfailure,DELAY|-Rhdrs|-Vx1|a@b.jp",
		"send RET=hdrs ENVID=x1 NOTIFY=failure,DELAY a@b.jp"},
	    {"sendmail|-Nnever|-N|success|-R|FULL|a@b.jp", "send RET=FULL NOTIFY=success a@b.jp"},
	    {"sendmail|-V|a +=b|a@b.jp", "send ENVID=a+20+2B+3Db a@b.jp"},
	    {"sendmail|-N|often|a@b.jp", "64"},
	    {"sendmail|-N||a@b.jp", "64"},
	    {"sendmail|-N|never,delay|a@b.jp", "64"},
	    {"sendmail|-N|never ORCPT=x;y|a@b.jp", "64"},
	    {"sendmail|-N|never\r\nRSET|a@b.jp", "64"},
	    {"sendmail|-R|half|a@b.jp", "64"},
	    {"sendmail|-R|full SIZE=1|a@b.jp", "64"},
	    {"sendmail|-V||a@b.jp", "64"},
	    {"sendmail|-V|a\nb|a@b.jp", "64"},
	    {"sendmail|-V|\xc3\xa9|a@b.jp", "64"},
	    {"sendmail|-V|++++++++++++++++++++++++++++++++++|a@b.jp", "64"}, /* 102 as xtext */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_line(&lines[i]);
}

static void test_callers(void **state)
{
	static const struct line lines[] = {
	    {"sendmail|-FCronDaemon|-i|-B8BITMIME|-oem|user", "send i F=CronDaemon user"},
	    {"sendmail|-FAnacron|-odi|user", "send F=Anacron user"},
	    {"sendmail|-i|-B8BITMIME|user", "send i user"},
	    {"sendmail|-i|-t|-f|a@b.jp", "send t i f=a@b.jp"},
	    {"sendmail|-i|-f|a@b.jp|--|c@d.jp|e@f.jp", "send i f=a@b.jp c@d.jp e@f.jp"},
	    {"sendmail|-oem|-oi|-f|a@b.jp|--|c@d.jp", "send i f=a@b.jp c@d.jp"},
	    {"sendmail|-f|a@b.jp|-i|c@d.jp", "send i f=a@b.jp c@d.jp"},
	    {"sendmail|-t|-i|-fa@b.jp", "send t i f=a@b.jp"},
	    {"sendmail|-ti", "send t i"},
	    {"sendmail|-oi|-fa@b.jp|-t", "send t i f=a@b.jp"},
	    {"sendmail|-t", "send t"},
	    {"sendmail|-f|<fail2ban@b.jp>|root@b.jp", "send f=<fail2ban@b.jp> root@b.jp"},
	    {"sendmail|-f||x@y.jp", "send f= x@y.jp"},
	    {"sendmail|-r|<>|x@y.jp", "send f=<> x@y.jp"},
	    {"sendmail|-t|-i|-f|a@x.jp|-F|Full Name|-oi;|touch|f",
		"send t i f=a@x.jp F=Full Name touch f"},
	    {"/usr/sbin/sendmail|-bm|-v|x@y.jp", "send v x@y.jp"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_line(&lines[i]);
}

static void test_modes(void **state)
{
	static const struct line lines[] = {
	    {"sendmail|-bs", "smtp"},
	    {"sendmail|-bp", "list"},
	    {"/usr/bin/mailq", "list"},
	    {"newaliases", "nothing"},
	    {"sendmail|-bi", "nothing"},
	    {"sendmail|-I", "nothing"},
	    {"sendmail|-q30m", "nothing"},
	    {"sendmail|-q", "flush f="},
	    {"sendmail|-qf", "flush f="},
	    {"sendmail|-qIab12", "flush I=ab12"},
	    {"sendmail|-qRexample.jp", "flush R=example.jp"},
	    {"sendmail|--help", "help"},
	    {"sendmail|--version", "version"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_line(&lines[i]);
}

static void test_ignored_options(void **state)
{
	static const struct line lines[] = {
	    {"sendmail|-X|/tmp/x|-C|/tmp/c|-O|QueueDirectory=/tmp|-oQ/tmp|-o|X|a@b.jp",
		"send a@b.jp"},
	    {"sendmail|-X/tmp/x|-C/tmp/c|-OQueueDirectory=/tmp|a@b.jp", "send a@b.jp"},
	    {"sendmail|-d|-d0.1|-E|-Jx|-Qwhy|a@b.jp", "send a@b.jp"},
	    {"sendmail|-Am|-Ac|-A|m|-L|tag|-M|x|-p|smtp|-h|3|a@b.jp",
		"send a@b.jp"},
	    {"sendmail|-cGmnsSTUx|-em|-e|q|-D|/tmp/log|a@b.jp", "send a@b.jp"},
	    {"sendmail|-OIgnoreDots=True|-O|ignoredots|a@b.jp", "send i a@b.jp"},
	    {"sendmail|-oi=no|a@b.jp", "send a@b.jp"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_line(&lines[i]);
}

static void test_wrong_usage(void **state)
{
	static const struct line lines[] = {
	    {"sendmail", "64"},
	    {"sendmail|-i", "64"},
	    {"sendmail|-f", "64"},
	    {"sendmail|-Z|a@b.jp", "64"},
	    {"sendmail|-iZ|a@b.jp", "64"},
	    {"sendmail|--hidden|a@b.jp", "64"},
	    {"sendmail|-|a@b.jp", "64"},
	    {"sendmail|-bd", "64"},
	    {"sendmail|-bd|-q30m", "64"},
	    {"sendmail|-bt", "64"},
	    {"sendmail|-bh", "64"},
	    {"sendmail|-bv|a@b.jp", "64"},
	    {"sendmail|-bss", "64"},
	    {"sendmail|-b||a@b.jp", "64"},
	    {"sendmail|-be|${run{x}}", "64"},
	    {"sendmail|-qX", "64"},
	    {"sendmail|-qI", "64"},
	    {"sendmail|a@b.jp|-X/tmp/x", "64"},
	    {"sendmail|a@b.jp|-f|c@d.jp", "64"},
	    {"sendmail|a@b.jp|--|c@d.jp", "64"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_line(&lines[i]);
	check_line(&(struct line){"sendmail|--|-x@b.jp", "send -x@b.jp"});
}

static void test_no_arguments_at_all(void **state)
{
	char *argv[] = {NULL};
	struct sendmail_options options;
	struct sendmail_report report = {0};
	(void)state;
	assert_int_equal(sendmail_options_parse(&options, 0, argv, &report), EX_USAGE);
	sendmail_report_free(&report);
}

/* ---- messages ---- */

/* Read what is in TEXT; head and body joined, with the empty line as "~". */
static char *read_text(struct span text, bool dots, int *status)
{
	FILE *file = tmpfile();
	struct sendmail_message m = {0};
	struct sendmail_report report = {0};
	struct buf out = {0};
	assert_non_null(file);
	assert_int_equal(fwrite(text.p, 1, text.n, file), text.n);
	assert_int_equal(fflush(file), 0);
	rewind(file);
	*status = sendmail_message_read(&m, fileno(file), dots, &report);
	fclose(file);
	buf_add(&out, m.head.data, m.head.len);
	buf_add_byte(&out, '~');
	char *body = mem_zero((size_t)m.body.size + 1);
	struct why why;
	int64_t n;
	for (uint64_t at = 0;
	     (n = sendmail_store_read(&m.body, at, body + at, (size_t)(m.body.size - at), &why)) > 0;
	     at += (uint64_t)n)
		;
	assert_int_equal(n, 0);
	buf_add(&out, body, (size_t)m.body.size);
	mem_free(body);
	sendmail_message_free(&m);
	sendmail_report_free(&report);
	return buf_take(&out, NULL);
}

static void check_text(const char *text, bool dots, const char *expected)
{
	int status;
	char *got = read_text(span_text(text), dots, &status);
	assert_int_equal(status, EX_OK);
	if (strcmp(got, expected) != 0)
		fail_msg("'%s'\n gave '%s'\n expected '%s'", text, got, expected);
	mem_free(got);
}

static void test_line_ends(void **state)
{
	(void)state;
	check_text("To: a\n\nb\n", false, "To: a\r\n~b\r\n");
	check_text("To: a\r\n\r\nb\r\n", false, "To: a\r\n~b\r\n");
	check_text("To: a\r\nX: y\n\r\nline1\nline2\r\nline3\r\n", false,
	    "To: a\r\nX: y\r\n~line1\r\nline2\r\nline3\r\n");
	check_text("To: a\r\r\n\r\r\nb\r\r\n", false, "To: a\r\n~b\r\n");
	check_text("To: a\n\nb", false, "To: a\r\n~b\r\n");
	check_text("To: a\n\nb\r", false, "To: a\r\n~b\r\n");
	check_text("To: a\n\none\rtwo\n", false, "To: a\r\n~one\r\ntwo\r\n");
	check_text("", false, "~");
	check_text("\n", false, "~");
	check_text("\n\nx\n", false, "~\r\nx\r\n");
	check_text("To: a", false, "To: a\r\n~");
}

static void test_a_cr_makes_no_field(void **state)
{
	(void)state;
	check_text("Subject: a\rBcc: b@c.jp\r\n\r\nx\n", false, "Subject: a Bcc: b@c.jp\r\n~x\r\n");
}

static void test_a_text_without_header(void **state)
{
	(void)state;
	check_text("hello you\n\nmore\n", false, "~hello you\r\n\r\nmore\r\n");
	check_text("To: a\nhello you\n\nmore\n", false, "To: a\r\n~hello you\r\n\r\nmore\r\n");
	check_text("From www Mon Jan 1 00:00:00 2026\nTo: a\n\nx\n", false,
	    "From www Mon Jan 1 00:00:00 2026\r\nTo: a\r\n~x\r\n");
}

static void test_the_lone_dot(void **state)
{
	(void)state;
	check_text("To: a\n\nb\n.\nc\n", false, "To: a\r\n~b\r\n");
	check_text("To: a\n\nb\r\n.\r\nc\n", false, "To: a\r\n~b\r\n");
	check_text("To: a\n\nb\n.\nc\n", true, "To: a\r\n~b\r\n.\r\nc\r\n");
	check_text("To: a\n\nb\n..\n. \nx.\n", false, "To: a\r\n~b\r\n..\r\n. \r\nx.\r\n");
	check_text(".\nTo: a\n", false, "~");
	check_text("To: a\n\nb\n.", false, "To: a\r\n~b\r\n");
}

static void test_nul_becomes_a_space(void **state)
{
	int status;
	char *got = read_text((struct span){"To: a\0b\n\nc\0d\n", 13}, false, &status);
	(void)state;
	assert_int_equal(status, EX_OK);
	assert_string_equal(got, "To: a b\r\n~c d\r\n");
	mem_free(got);
}

/* Lines and a text longer than the pieces that are read, CRs on their borders. */
static void test_long_lines(void **state)
{
	static const size_t sizes[] = {65534, 65535, 65536, 65537, 131071, 3000000};
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf text = {0};
		int status;
		buf_add_text(&text, "To: a\n\n");
		for (size_t n = 0; n < sizes[i]; n++)
			buf_add_byte(&text, n == 0 ? '.' : 'x');
		buf_add_text(&text, "\r\n.x\n");
		char *got = read_text(span_buf(&text), false, &status);
		assert_int_equal(status, EX_OK);
		assert_int_equal(strlen(got), 7 + 1 + sizes[i] + 2 + 4);
		assert_int_equal(strspn(got + 9, "x"), sizes[i] - 1);
		assert_string_equal(got + 8 + sizes[i], "\r\n.x\r\n");
		mem_free(got);
		buf_free(&text);
	}
}

static void test_a_header_without_end(void **state)
{
	struct buf text = {0};
	int status;
	(void)state;
	while (text.len < 3u << 20)
		buf_add_text(&text, "X-Field: value\n");
	char *got = read_text(span_buf(&text), false, &status);
	assert_int_equal(status, EX_DATAERR);
	mem_free(got);
	buf_clear(&text);
	/* but a long text without any empty line is one */
	while (text.len < 3u << 20)
		buf_add_text(&text, "no field at all\n");
	got = read_text(span_buf(&text), false, &status);
	assert_int_equal(status, EX_OK);
	mem_free(got);
	buf_free(&text);
}

/* ---- header and recipients ---- */

struct rebuilt {
	const char *head;
	const char *to;   /* separated by spaces; "65": refused */
	const char *out;  /* NULL: not looked at */
};

static void check_header(const struct rebuilt *r, const char *name, const char *domain)
{
	struct sendmail_recipients to = {.domain = domain};
	struct sendmail_from from = {.address = "me@x.jp", .name = name};
	struct sendmail_report report = {0};
	struct buf out = {0};
	struct buf list = {0};
	if (sendmail_header_build(span_text(r->head), &from, &to, &out, &report) == EX_OK) {
		sendmail_recipients_unique(&to);
		for (size_t i = 0; i < to.count; i++)
			buf_addf(&list, "%s%s", i ? " " : "", to.list[i]);
	} else {
		buf_addf(&list, "%d", report.status);
		assert_true(report.text.len > 0);
	}
	if (strcmp(buf_text(&list), r->to) != 0)
		fail_msg("%s\ngave '%s', expected '%s' %s", r->head, buf_text(&list), r->to,
		    buf_text(&report.text));
	if (r->out && strcmp(buf_text(&out), r->out) != 0)
		fail_msg("%s\ngave\n%s\nexpected\n%s", r->head, buf_text(&out), r->out);
	sendmail_recipients_free(&to);
	sendmail_report_free(&report);
	buf_free(&out);
	buf_free(&list);
}

static void test_recipients_of_the_header(void **state)
{
	static const struct rebuilt cases[] = {
	    {"To: a@b.jp\r\nCc: c@d.jp\r\nBcc: e@f.jp\r\nFrom: x@y.jp\r\n", "a@b.jp c@d.jp e@f.jp",
		"To: a@b.jp\r\nCc: c@d.jp\r\nFrom: x@y.jp\r\n\r\n"},
	    {"TO: \"A, B\" <a@b.jp>,\r\n c@d.jp (x, y)\r\nto: e@f.jp\r\n", "a@b.jp c@d.jp e@f.jp",
		NULL},
	    {"To: a@b.jp\r\nCc: a@b.jp, c@d.jp, a@b.jp\r\n", "a@b.jp c@d.jp", NULL},
	    /* a domain has no case, a local part is its host's */
	    {"To: a@b.jp, a@b, ab, a\r\nCc: A <a@B.jp>, A@b.jp, a@B\r\n", "a@b.jp a@b ab a A@b.jp",
		NULL},
	    {"To: undisclosed-recipients:;\r\nBcc: a@b.jp\r\n", "a@b.jp", NULL},
	    {"To: friends: a@b.jp, c@d.jp;\r\n", "a@b.jp c@d.jp", NULL},
	    {"To: <>\r\nBcc:\r\n", "", NULL},
	    {"To: root\r\n", "root", NULL},
	    {"To: =?UTF-8?B?w5w=?= <a@b.jp>\r\n", "a@b.jp", NULL},
	    {"To: \xe6\x97\xa5\xe6\x9c\xac <a@b.jp>\r\n", "a@b.jp", NULL},
	    {"To: \xe6\x97\xa5@b.jp\r\n", "\xe6\x97\xa5@b.jp", NULL},
	    {"To: a@b.jp\r\nResent-To: c@d.jp\r\nResent-Bcc: e@f.jp\r\nBcc: g@h.jp\r\nFrom: x@y\r\n",
		"c@d.jp e@f.jp", "To: a@b.jp\r\nResent-To: c@d.jp\r\nFrom: x@y\r\n\r\n"},
	    {"To: a@b.jp\r\nResent-Cc:\r\n", "", NULL},
	    {"Subject: none\r\n", "", NULL},
	    {"", "", "From: me@x.jp\r\n\r\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_header(&cases[i], NULL, NULL);
	check_header(&(struct rebuilt){"To: root, a@b.jp\r\n", "root@own.jp a@b.jp", NULL}, NULL,
	    "own.jp");
}

static void test_recipients_that_are_none(void **state)
{
	static const struct rebuilt cases[] = {
	    {"To: a@b.jp\r\nCc: a@@b.jp\r\n", "65", NULL},
	    {"To: <a@b.jp\r\n", "65", NULL},
	    {"To: a@b.jp> RCPT TO:<c@d.jp\r\n", "65", NULL},
	    {"To: \"a b\".c@d.jp\r\n", "65", NULL},
	    {"To: a@b.jp\r\n\x01: x\r\n", "a@b.jp", NULL},
	    {"X: a\x01\r\nTo: a@b.jp\r\n", "65", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_header(&cases[i], NULL, NULL);
}

static void test_arguments(void **state)
{
	static const struct {
		const char *word;
		const char *to; /* NULL: refused */
	} cases[] = {
	    {"a@b.jp", "a@b.jp"}, {"<a@b.jp>", "a@b.jp"}, {"Name <a@b.jp>", "a@b.jp"},
	    {"a@b.jp,c@d.jp", "a@b.jp c@d.jp"}, {"root", "root"}, {"-x@b.jp", "-x@b.jp"},
	    {"a@b.jp\nRCPT TO:<c@d.jp>", NULL}, {"a@b.jp\r\n", NULL}, {"a@b.jp\r\n ,c@d.jp", NULL},
	    {"", NULL}, {"<>", NULL}, {"a@b.jp> SIZE=1", NULL}, {"a@b.jp\x7f", NULL},
	    {"a b@c.jp", NULL}, {"@b.jp", NULL}, {"a@", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sendmail_recipients to = {0};
		struct sendmail_report report = {0};
		struct buf list = {0};
		int status = sendmail_recipients_argument(&to, cases[i].word, &report);
		for (size_t n = 0; n < to.count; n++)
			buf_addf(&list, "%s%s", n ? " " : "", to.list[n]);
		if (cases[i].to ? status != EX_OK || strcmp(buf_text(&list), cases[i].to) != 0
				: status != EX_DATAERR)
			fail_msg("'%s': %d '%s'", cases[i].word, status, buf_text(&list));
		if (report.text.len && strchr(buf_text(&report.text), '\n')[1] != '\0')
			fail_msg("'%s' breaks the line of the report", cases[i].word);
		buf_free(&list);
		sendmail_recipients_free(&to);
		sendmail_report_free(&report);
	}
}

static void test_from(void **state)
{
	static const struct {
		const char *name;
		const char *from;
	} cases[] = {
	    {NULL, "me@x.jp"},
	    {"", "me@x.jp"},
	    {"  \n", "me@x.jp"},
	    {"Cron Daemon", "Cron Daemon <me@x.jp>"},
	    {"Doe, J. \"X\"", "\"Doe, J. \\\"X\\\"\" <me@x.jp>"},
	    {"a\r\nBcc: v@x.jp", "\"a  Bcc: v@x.jp\" <me@x.jp>"},
	    {"=?utf-8?q?x?=", "=?UTF-8?B?PT91dGYtOD9xP3g/PQ==?= <me@x.jp>"},
	    {"\xc3\x9c", "=?UTF-8?B?w5w=?= <me@x.jp>"},
	    {"\xfc latin", "me@x.jp"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sendmail_from from = {.address = "me@x.jp", .name = cases[i].name};
		struct buf out = {0};
		sendmail_from_print(&from, &out);
		assert_string_equal(buf_text(&out), cases[i].from);
		buf_free(&out);
	}
	/* only where there is none */
	check_header(&(struct rebuilt){"From: x@y.jp\r\n", "", "From: x@y.jp\r\n\r\n"}, "Name", NULL);
	check_header(&(struct rebuilt){"X: y\r\n", "", "X: y\r\nFrom: Name <me@x.jp>\r\n\r\n"},
	    "Name", NULL);
}

static void test_a_long_name_is_folded(void **state)
{
	struct buf name = {0};
	struct buf out = {0};
	(void)state;
	while (name.len < 2000)
		buf_add_text(&name, "\xe6\x97\xa5");
	struct sendmail_from from = {.address = "me@x.jp", .name = buf_text(&name)};
	sendmail_from_print(&from, &out);
	for (const char *line = buf_text(&out), *end; *line; line = end + (*end != '\0')) {
		end = strchrnul(line, '\n');
		assert_true(end - line <= 78);
	}
	assert_null(strstr(buf_text(&out), "\n=?"));
	buf_free(&name);
	buf_free(&out);
}

static void test_many_recipients(void **state)
{
	struct buf field = {0};
	struct sendmail_recipients to = {0};
	struct sendmail_report report = {0};
	(void)state;
	for (int i = 0; i < SENDMAIL_RECIPIENTS_MAX; i++)
		buf_addf(&field, "u%d@x.jp,", i % 5000);
	assert_int_equal(sendmail_recipients_add(&to, span_buf(&field), "To", &report), EX_OK);
	assert_int_equal(sendmail_recipients_argument(&to, "one@more.jp", &report), EX_DATAERR);
	sendmail_recipients_unique(&to);
	assert_int_equal(to.count, 5000);
	assert_string_equal(to.list[0], "u0@x.jp");
	assert_string_equal(to.list[4999], "u4999@x.jp");
	sendmail_recipients_free(&to);
	sendmail_report_free(&report);
	buf_free(&field);
}

/* ---- statuses ---- */

static void test_reply_status(void **state)
{
	static const struct {
		unsigned code;
		const char *enhanced;
		bool recipient;
		int status;
	} cases[] = {
	    {421, "4.3.2", false, EX_TEMPFAIL}, {452, NULL, true, EX_TEMPFAIL},
	    {550, "5.7.1", false, EX_NOPERM}, {535, "5.7.8", false, EX_NOPERM},
	    {550, "5.1.1", true, EX_NOUSER}, {501, "5.1.3", true, EX_NOUSER},
	    {550, NULL, true, EX_NOUSER}, {550, NULL, false, EX_UNAVAILABLE},
	    {554, "5.6.0", false, EX_DATAERR}, {500, "5.5.2", false, EX_DATAERR},
	    {552, "5.3.4", false, EX_DATAERR}, {554, "5.3.0", false, EX_UNAVAILABLE},
	    {502, "5.5.1", false, EX_UNAVAILABLE}, {550, "5.5.3", true, EX_DATAERR},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply reply = {0};
		reply_set(&reply, cases[i].code, cases[i].enhanced, "x");
		assert_int_equal(sendmail_reply_status(&reply, cases[i].recipient), cases[i].status);
		reply_free(&reply);
	}
}

static void test_permanent_goes_before_temporary(void **state)
{
	struct sendmail_report report = {0};
	(void)state;
	assert_int_equal(sendmail_fail(&report, EX_TEMPFAIL, "a"), EX_TEMPFAIL);
	assert_int_equal(sendmail_fail(&report, EX_NOUSER, "b"), EX_NOUSER);
	assert_int_equal(sendmail_fail(&report, EX_NOPERM, "c"), EX_NOUSER);
	assert_int_equal(sendmail_fail(&report, EX_TEMPFAIL, "d"), EX_NOUSER);
	assert_string_equal(buf_text(&report.text), "a\nb\nc\nd\n");
	sendmail_report_free(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_callers),
	    cmocka_unit_test(test_what_is_asked_of_reports),
	    cmocka_unit_test(test_modes),
	    cmocka_unit_test(test_ignored_options),
	    cmocka_unit_test(test_wrong_usage),
	    cmocka_unit_test(test_no_arguments_at_all),
	    cmocka_unit_test(test_line_ends),
	    cmocka_unit_test(test_a_cr_makes_no_field),
	    cmocka_unit_test(test_a_text_without_header),
	    cmocka_unit_test(test_the_lone_dot),
	    cmocka_unit_test(test_nul_becomes_a_space),
	    cmocka_unit_test(test_long_lines),
	    cmocka_unit_test(test_a_header_without_end),
	    cmocka_unit_test(test_recipients_of_the_header),
	    cmocka_unit_test(test_recipients_that_are_none),
	    cmocka_unit_test(test_arguments),
	    cmocka_unit_test(test_from),
	    cmocka_unit_test(test_a_long_name_is_folded),
	    cmocka_unit_test(test_many_recipients),
	    cmocka_unit_test(test_reply_status),
	    cmocka_unit_test(test_permanent_goes_before_temporary),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
