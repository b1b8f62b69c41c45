/* SPDX-License-Identifier: MIT
 * Submission fix-up: what is added, removed and kept, the forms of the
 * Received field, and that no word of a client can break a line.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "relayd/base/random.h"
#include "smtp/fixup.h"

static struct fixup plain(void)
{
	struct fixup f = {.hostname = "relay.example.jp",
	    .id = "5f3a9c01",
	    .domain = "example.jp",
	    .protocol = "ESMTPSA",
	    .wall_ms = 1790000000000,
	    .complete_ms = 1789990000000};
	return f;
}

/* The result for TEXT; free it. */
static char *run(const struct fixup *f, const char *text)
{
	struct header h;
	struct why why = {0};
	struct buf out = {0};
	if (header_parse(span_text(text), &h, &why) != 0)
		fail_msg("the test's header can not be parsed: %s", why.text);
	random_fix(1);
	fixup_header(f, &h, &out);
	header_free(&h);
	return buf_take(&out, NULL);
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in:\n%s", part, text);
}

static void has_date(const char *text, const char *before, int64_t wall_ms)
{
	struct buf part = {0};
	buf_add_text(&part, before);
	header_date(&part, wall_ms);
	buf_add_text(&part, "\r\n");
	has(text, buf_text(&part));
	buf_free(&part);
}

static void has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("there is '%s' in:\n%s", part, text);
}

/* Every line ends in CRLF, none holds another control byte or is too long. */
static void check_lines(const char *text)
{
	const char *line = text;
	while (*line) {
		const char *end = strstr(line, "\r\n");
		if (!end)
			fail_msg("the last line has no end:\n%s", text);
		if (end == line || end - line > 998)
			fail_msg("a line of %zu bytes:\n%s", (size_t)(end - line), text);
		for (const char *p = line; p < end; p++)
			if (*p == '\r' || *p == '\n' || *p == '\x7f')
				fail_msg("control byte in:\n%s", text);
		line = end + 2;
	}
}

static void test_added(void **state)
{
	(void)state;
	struct fixup f = plain();
	char *text = run(&f, "Subject: hi\r\n\r\nbody\r\n");
	check_lines(text);
	assert_ptr_equal(strstr(text, "Received: by relay.example.jp (relayd)\r\n"
				      "\twith ESMTPSA id 5f3a9c01;\r\n\t"),
	    text);
	has_date(text, "\r\nSubject: hi\r\nDate: ", f.complete_ms);
	has_date(text, ";\r\n\t", f.wall_ms);
	has(text, "\r\nMessage-ID: <5f3a9c01.");
	has(text, "@example.jp>\r\n");
	has_not(text, "From:");
	has_not(text, "body");
	free(text);
}

static void test_nothing_there(void **state)
{
	(void)state;
	struct fixup f = plain();
	f.domain = NULL;
	f.from = span_text("a@example.jp");
	char *text = run(&f, "\r\nonly a body\r\n");
	check_lines(text);
	has(text, "\r\nFrom: a@example.jp\r\nDate: ");
	has(text, "@relay.example.jp>\r\n");
	free(text);
}

static void test_kept(void **state)
{
	(void)state;
	struct fixup f = plain();
	char *text = run(&f, "X-A:  odd \t spacing\r\nfrom: a@example.jp\r\nDATE: when it suits\r\n"
			     "message-id:<1@x>\r\nX-A: again\r\n\tfolded\r\n\r\n");
	check_lines(text);
	const char *rest = strstr(text, "X-A:");
	assert_non_null(rest);
	assert_string_equal(rest, "X-A:  odd \t spacing\r\nfrom: a@example.jp\r\n"
				  "DATE: when it suits\r\nmessage-id:<1@x>\r\n"
				  "X-A: again\r\n\tfolded\r\n");
	free(text);
}

static void test_blanks_before_colons(void **state)
{
	(void)state;
	struct fixup f = plain();
	char *text = run(&f, "X-A : 1\r\nX-B\t: 2\r\nX-C \t :\r\n 3\r\ndate : 4\r\n"
			     "Message-ID\t:<5@x>\r\nBcc\t: secret@example.jp\r\n");
	has(text, "\r\nX-A: 1\r\nX-B: 2\r\nX-C:\r\n 3\r\ndate: 4\r\nMessage-ID:<5@x>\r\n");
	has_not(text, "secret");
	free(text);
}

static void test_removed(void **state)
{
	(void)state;
	struct fixup f = plain();
	char *text = run(&f, "Return-Path: <x@y>\r\nBCC: secret@example.jp,\r\n two@example.jp\r\n"
			     "To: a@b.org\r\nResent-bcc : s3@example.jp\r\nbcc:\r\n"
			     "X-Bcc: stays\r\nDate: \r\n \r\nMessage-ID:\r\n");
	check_lines(text);
	has_not(text, "Return-Path");
	has_not(text, "secret");
	has_not(text, "two@");
	has_not(text, "s3@");
	has(text, "\r\nTo: a@b.org\r\nX-Bcc: stays\r\nDate: ");
	has_not(text, "Date: \r\n");
	has(text, "Message-ID: <5f3a9c01.");
	free(text);
}

static void test_received_shown(void **state)
{
	(void)state;
	struct fixup f = plain();
	f.client = "192.0.2.7";
	f.helo = span_text("web01.example.jp");
	f.recipient = "user@gmail.com";
	char *text = run(&f, "");
	assert_ptr_equal(strstr(text, "Received: from web01.example.jp ([192.0.2.7])\r\n"
				      "\tby relay.example.jp (relayd)\r\n"
				      "\twith ESMTPSA id 5f3a9c01\r\n"
				      "\tfor <user@gmail.com>;\r\n\t"),
	    text);
	check_lines(text);
	free(text);
	f.client = "2001:db8::7";
	f.helo = span_text("");
	text = run(&f, "");
	has(text, "from unknown ([IPv6:2001:db8::7])\r\n");
	free(text);
	f.client = "unix";
	text = run(&f, "");
	has(text, "from unknown (unix)\r\n");
	free(text);
}

static void test_received_hidden(void **state)
{
	(void)state;
	struct fixup f = plain();
	f.helo = span_text("secret-host.local");
	char *text = run(&f, "");
	has_not(text, "secret-host");
	has_not(text, "from");
	free(text);
}

/* HELO and recipient as injection would have them. */
static void test_hostile_words(void **state)
{
	(void)state;
	static const char helo[] = "x) by evil (\r\nBcc: a@b\r\n\r\n\0\x1b;";
	struct fixup f = plain();
	f.client = "192.0.2.7";
	f.helo = (struct span){helo, sizeof(helo) - 1};
	f.recipient = "a@b>\r\nX: y";
	char *text = run(&f, "");
	check_lines(text);
	has(text, "from x??by?evil????Bcc:?a?b??????? ([192.0.2.7])\r\n");
	has_not(text, "for <");
	free(text);
	char big[5000];
	memset(big, 'h', sizeof(big));
	f.helo = (struct span){big, sizeof(big)};
	big[4999] = '\0';
	f.recipient = big;
	text = run(&f, "");
	check_lines(text);
	has_not(text, "for <");
	assert_true(strlen(text) < 500);
	free(text);
}

static void test_from_replaced(void **state)
{
	(void)state;
	struct fixup f = plain();
	f.from = span_text("\x1b$B%7\x1b(B <bounce@example.jp>");
	char *text = run(&f, "To: a@b.org\r\nfrom:  Shop\r\n <root@web01>\r\nSubject: x\r\n"
			     "FROM: second@web01\r\n");
	check_lines(text);
	has(text, "To: a@b.org\r\nFrom: \x1b$B%7\x1b(B <bounce@example.jp>\r\nSubject: x\r\nDate");
	has_not(text, "web01");
	free(text);
}

static void test_from_folded(void **state)
{
	(void)state;
	struct fixup f = plain();
	f.from = span_text("\"A display name of many words that does not fit in a line of"
			   " seventy-eight  bytes\" <bounce@example.jp>");
	char *text = run(&f, "From: x\r\n");
	check_lines(text);
	has(text, "\r\nFrom: \"A display name of many words that does not fit in a line of\r\n"
		  " seventy-eight  bytes\" <bounce@example.jp>\r\n");
	free(text);
}

static void test_from_hostile(void **state)
{
	(void)state;
	struct fixup f = plain();
	char big[6000];
	memset(big, 'x', sizeof(big));
	memset(big + 3000, ' ', 2000);
	memcpy(big + 5990, "a\r\nBcc: x\n", 10);
	f.from = (struct span){big, sizeof(big)};
	char *text = run(&f, "From: x\r\n");
	check_lines(text);
	has_not(text, "\nBcc");
	for (const char *p = text; (p = strstr(p, "\r\n")) != NULL && p[2]; p += 2)
		if (p[2] == ' ' && strspn(p + 2, " \t") == strcspn(p + 2, "\r"))
			fail_msg("a line of white space only:\n%s", text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_added),
	    cmocka_unit_test(test_nothing_there),
	    cmocka_unit_test(test_kept),
	    cmocka_unit_test(test_blanks_before_colons),
	    cmocka_unit_test(test_removed),
	    cmocka_unit_test(test_received_shown),
	    cmocka_unit_test(test_received_hidden),
	    cmocka_unit_test(test_hostile_words),
	    cmocka_unit_test(test_from_replaced),
	    cmocka_unit_test(test_from_folded),
	    cmocka_unit_test(test_from_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
