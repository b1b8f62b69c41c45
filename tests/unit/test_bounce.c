/* SPDX-License-Identifier: MIT
 * Reports: their structure by RFC 3464 and 6533, and that no text of others
 * (replies, addresses, header lines) changes it. Python's parser reads real
 * ones in the end-to-end tests.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "bounce_check.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define NOON INT64_C(1795262400000) /* Sat, 21 Nov 2026 12:00:00 */

static const char header[] = "From: a@example.jp\r\nTo: b@dest.test\r\nSubject: hello\r\n";

static struct bounce_recipient one(void)
{
	return (struct bounce_recipient){
	    .address = "b@dest.test",
	    .status = "5.1.1",
	    .mx = "mx.dest.test",
	    .answered = true,
	    .code = 550,
	    .reply = "5.1.1 no such user",
	    .reason = "There is no such mailbox. Check the address for typing errors.",
	    .last_attempt_ms = NOON - 1000,
	};
}

static struct bounce report(const struct bounce_recipient *recipients, size_t count)
{
	return (struct bounce){
	    .kind = BOUNCE_FAILED,
	    .hostname = "relay.example.jp",
	    .from = "MAILER-DAEMON@example.jp",
	    .to = "a@example.jp",
	    .id = "00000000000000aa",
	    .original_id = "00000000000000bb",
	    .now_ms = NOON,
	    .arrived_ms = NOON - 4 * 3600 * 1000,
	    .expires_ms = NOON + 5 * 24 * 3600 * (int64_t)1000,
	    .recipients = recipients,
	    .recipient_count = count,
	    .header = span_text(header),
	};
}

/* Print, check what always holds; the text, to be freed. */
static char *printed(const struct bounce *b)
{
	struct buf out = {0};
	bounce_print(b, &out);
	const char *fault = bounce_check(b, span_buf(&out));
	if (fault)
		fail_msg("%s in:\n%s", fault, buf_text(&out));
	return buf_take(&out, NULL);
}

static void assert_has(const char *text, const char *piece)
{
	if (!strstr(text, piece))
		fail_msg("no \"%s\" in:\n%s", piece, text);
}

static void assert_has_not(const char *text, const char *piece)
{
	if (strstr(text, piece))
		fail_msg("\"%s\" in:\n%s", piece, text);
}

static void test_failure(void **state)
{
	static const char *const pieces[] = {
	    "From: Mail delivery <MAILER-DAEMON@example.jp>\r\n",
	    "To: <a@example.jp>\r\n",
	    "Subject: Your message could not be delivered\r\n",
	    "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n",
	    "Message-ID: <00000000000000aa.report@relay.example.jp>\r\n",
	    "Auto-Submitted: auto-replied\r\n",
	    "MIME-Version: 1.0\r\n",
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"",
	    "Content-Type: text/plain; charset=us-ascii\r\n",
	    "There is no such mailbox.",
	    "The mail server mx.dest.test said (status 5.1.1):\r\n      550 5.1.1 no such user\r\n",
	    "Content-Type: message/delivery-status\r\n",
	    "Reporting-MTA: dns; relay.example.jp\r\n",
	    "X-Relayd-Queue-ID: 00000000000000bb\r\n",
	    "Arrival-Date: Sat, 21 Nov 2026 08:00:00 +0000\r\n",
	    "\r\nFinal-Recipient: rfc822; b@dest.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
	    "Remote-MTA: dns; mx.dest.test\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
	    "Last-Attempt-Date: Sat, 21 Nov 2026 11:59:59 +0000\r\n",
	    "Content-Type: text/rfc822-headers\r\n",
	    "\r\n\r\nFrom: a@example.jp\r\nTo: b@dest.test\r\nSubject: hello\r\n",
	};
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	char *text = printed(&b);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		assert_has(text, pieces[i]);
	assert_has_not(text, "Will-Retry-Until");
	mem_free(text);
}

/* Of a message that is damaged nothing is shown, and nothing else is claimed. */
static void test_unread(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	char *text = printed(&b);
	assert_has(text, "The header of your message is attached. Its number here is 00");
	mem_free(text);
	b.header = (struct span){0};
	text = printed(&b);
	assert_has(text, "nothing of it is attached.\r\nIts number here is 00000000000000bb.");
	assert_has_not(text, "The header of your message is attached");
	mem_free(text);
}

static void test_delay(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	b.kind = BOUNCE_DELAYED;
	char *text = printed(&b);
	assert_has(text, "Subject: Your message is delayed\r\n");
	assert_has(text, "Action: delayed\r\n");
	assert_has(text, "Will-Retry-Until: Thu, 26 Nov 2026 12:00:00 +0000\r\n");
	assert_has(text, "for 4 hours.\r\nIt will be tried for another 5 days.");
	mem_free(text);
}

static void test_durations(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} table[] = {{-5, "1 minute."}, {0, "1 minute."}, {119999, "1 minute."},
	    {120000, "2 minutes."}, {119 * 60000, "119 minutes."}, {120 * 60000, "2 hours."},
	    {47 * 3600000, "47 hours."}, {48 * 3600000, "2 days."}};
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	b.kind = BOUNCE_DELAYED;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		b.arrived_ms = b.now_ms - table[i].ms;
		char *text = printed(&b);
		assert_has(text, table[i].text);
		mem_free(text);
	}
}

/* Nobody answered: no Remote-MTA, and the reason is of our making. */
static void test_without_answer(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	r.mx = "";
	r.answered = false;
	r.code = 0;
	r.reply = "the domain dest.test does not exist";
	char *text = printed(&b);
	assert_has_not(text, "Remote-MTA");
	assert_has(text, "The reason (status 5.1.1):\r\n");
	assert_has(text, "Diagnostic-Code: x-relayd; the domain dest.test does not exist\r\n");
	mem_free(text);
	r.reply = "";
	text = printed(&b);
	assert_has_not(text, "Diagnostic-Code");
	mem_free(text);
}

/* A host was asked and said nothing of the kind: it is not quoted (RFC 3464 sections 2.3.5
 * and 2.3.6). */
static void test_finding_about_a_host(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	r.status = "4.4.7";
	r.stage = "connect";
	r.answered = false;
	r.code = 0;
	r.reply = "connect to 192.0.2.1 port 25: Connection refused";
	char *text = printed(&b);
	assert_has(text, "Delivery to mx.dest.test failed here (status 4.4.7, stage connect):\r\n"
			 "      connect to 192.0.2.1 port 25: Connection refused\r\n");
	assert_has(text, "Diagnostic-Code: x-relayd; connect to 192.0.2.1 port 25: Connection");
	assert_has(text, "Last-Attempt-Date: ");
	assert_has_not(text, "said (");
	assert_has_not(text, "Remote-MTA");
	mem_free(text);
}

/* RFC 3464 section 2.3.7: the time of the last attempt, and no other one. */
static void test_not_tried(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	r.mx = r.stage = "";
	r.answered = false;
	r.code = 0;
	r.reply = "not tried: mail to mx.dest.test is held";
	r.last_attempt_ms = 0;
	char *text = printed(&b);
	assert_has(text, "The reason (status 5.1.1):\r\n      not tried: mail");
	assert_has_not(text, "Last-Attempt-Date");
	mem_free(text);
}

static void test_many_recipients(void **state)
{
	enum { COUNT = 1000 };
	struct bounce_recipient *list = mem_array(COUNT, sizeof(*list));
	char reply[2001];
	(void)state;
	memset(reply, 0x80, 2000);
	reply[2000] = '\0';
	for (size_t i = 0; i < COUNT; i++) {
		list[i] = one();
		list[i].reply = reply;
	}
	struct bounce b = report(list, COUNT);
	char *text = printed(&b);
	/* a thousand hostile replies of 2000 bytes make no report of 10 MB */
	assert_true(strlen(text) < 2500000);
	mem_free(text);
	mem_free(list);
}

/* Replies that try to be something else; all are one reply to the checks. */
static const char *const replies[] = {
    "line one\nline two\nline three",
    "x\r\n--report-\r\nContent-Type: text/html\r\n\r\n<b>evil</b>",
    "x\r\n\r\nFinal-Recipient: rfc822; victim@dest.test\r\nAction: delivered",
    "\n\n\n",
    "   ",
    "\r",
    "tab\there \x1b[31mred\x07 \x7f",
    "\xe3\x83\xa1\xe3\x83\xbc\xe3\x83\xab \xff\xfe \xc3",
    "back\\slash \\x41",
    "%s%n%d",
};

static void test_hostile_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		for (int wide = 0; wide < 2; wide++) {
			struct bounce_recipient r = one();
			struct bounce b = report(&r, 1);
			r.reply = replies[i];
			r.mx = replies[i];
			b.smtputf8 = wide;
			mem_free(printed(&b));
		}
}

static void test_reply_of_several_lines(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	r.reply = "5.7.1 our system has detected\nthat this message is\nunwanted";
	char *text = printed(&b);
	assert_has(text, "      550 5.7.1 our system has detected\r\n      that this message is\r\n"
			 "      unwanted\r\n");
	assert_has(text, "Diagnostic-Code: smtp; 550 5.7.1 our system has detected that this message"
			 "\r\n is unwanted\r\n");
	mem_free(text);
}

/* Long words, long lines, 8-bit all along: every line stays under the limit. */
static void test_long_texts(void **state)
{
	static const char fill[] = {'x', ' ', '\x80', '\x01', '\\', '\t'};
	char *long_text = mem_zero(20001);
	(void)state;
	for (size_t i = 0; i < sizeof(fill); i++)
		for (int wide = 0; wide < 2; wide++) {
			struct bounce_recipient r = one();
			struct bounce b = report(&r, 1);
			memset(long_text, fill[i], 20000);
			r.address = r.mx = r.reply = r.reason = long_text;
			b.to = b.from = long_text;
			b.header = (struct span){long_text, 20000};
			b.smtputf8 = wide;
			if (fill[i] == '\x80' || fill[i] == '\x01' || fill[i] == '\t')
				r.reason = ""; /* it is a sentence of ours */
			mem_free(printed(&b));
		}
	mem_free(long_text);
}

/* A text is cut between characters, not within one. */
static void test_utf8_is_cut_between_characters(void **state)
{
	struct buf text = {0};
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	b.smtputf8 = true;
	for (int shift = 0; shift < 3; shift++) {
		buf_clear(&text);
		buf_add(&text, "xxx", (size_t)shift);
		for (int i = 0; i < 1000; i++)
			buf_add_text(&text, "\xe3\x83\xa1");
		r.reply = buf_text(&text);
		b.header = span_buf(&text);
		mem_free(printed(&b));
	}
	buf_free(&text);
}

static void test_utf8_address(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	r.address = "\xe7\x94\xa8\xe6\x88\xb6@dest.test";
	b.smtputf8 = true;
	b.header = span_text("Subject: \xe3\x83\xa1\r\n");
	char *text = printed(&b);
	assert_has(text, "report-type=global-delivery-status;");
	assert_has(text, "Content-Type: message/global-delivery-status\r\n"
			 "Content-Transfer-Encoding: 8bit\r\n");
	assert_has(text, "Final-Recipient: utf-8; \xe7\x94\xa8\xe6\x88\xb6@dest.test\r\n");
	assert_has(text, "Content-Type: message/global-headers\r\n");
	assert_has(text, "Subject: \xe3\x83\xa1\r\n");
	mem_free(text);
	/* an ASCII address keeps its type, RFC 6533 section 3 */
	r.address = "b@dest.test";
	text = printed(&b);
	assert_has(text, "Final-Recipient: rfc822; b@dest.test\r\n");
	mem_free(text);
	/* without SMTPUTF8 all is ASCII, whatever comes */
	b.smtputf8 = false;
	r.address = "\xe7\x94\xa8@dest.test";
	text = printed(&b);
	assert_has(text, "Final-Recipient: rfc822; \\xe7\\x94\\xa8@dest.test\r\n");
	assert_has(text, "Subject: =E3=83=A1\r\n");
	mem_free(text);
}

/* Backslashes belong to addresses and headers and come back as they were. */
static void test_quoted_address(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	r.address = "\"a\\\"b c\"@dest.test";
	b.header = span_text("Subject: C:\\x41\r\n\tand more\r\n");
	char *text = printed(&b);
	assert_has(text, "Final-Recipient: rfc822; \"a\\\"b c\"@dest.test\r\n");
	assert_has(text, "Subject: C:\\x41\r\n\tand more\r\n");
	mem_free(text);
}

/* RFC 6522 section 4: a header that is no 7-bit text comes back in quoted-printable, so that
 * it is the original one and a mail program shows it. */
static void test_encoded_header(void **state)
{
	static const char encoded[] = "\r\nContent-Transfer-Encoding: quoted-printable\r\n";
	static const char utf8[] = "Content-Type: text/rfc822-headers; charset=utf-8\r\n";
	static const struct {
		const char *header;
		const char *type;
		const char *body;
	} rows[] = {
	    {"Subject: S\xc3\xbcject utf8\r\n", utf8, "\r\n\r\nSubject: S=C3=BCject utf8\r\n"},
	    {"Subject: S\xfc = 1\r\n", "Content-Type: text/rfc822-headers\r\n",
		"\r\n\r\nSubject: S=FC =3D 1\r\n"},
	    {"Subject: \x1b$B$\"\x1b(B\r\nX: a \r\n", "Content-Type: text/rfc822-headers\r\n",
		"\r\n\r\nSubject: =1B$B$\"=1B(B\r\nX: a=20\r\n"},
	};
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		b.header = span_text(rows[i].header);
		char *text = printed(&b);
		assert_has(text, rows[i].type);
		assert_has(text, encoded);
		assert_has(text, rows[i].body);
		mem_free(text);
	}
	b.header = span_text(header);
	char *text = printed(&b);
	assert_has_not(text, "Content-Transfer-Encoding");
	mem_free(text);
	/* message/global-headers is UTF-8 */
	b.smtputf8 = true;
	b.header = span_text("Subject: S\xfc\r\n");
	text = printed(&b);
	assert_has(text,
	    "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n");
	mem_free(text);
}

/* What is too long to go back ends with a whole line. */
static void test_huge_header(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	struct buf text = {0};
	(void)state;
	while (text.len < 70000)
		buf_add_text(&text, "X: \xe3\x83\xa1\xe3\x83\xa1\r\n");
	b.header = (struct span){text.data, 65536};
	char *out = printed(&b);
	assert_has(out, "charset=utf-8");
	assert_has(out, "X: =E3=83=A1=E3=83=A1\r\n\r\n--report-");
	mem_free(out);
	buf_free(&text);
}

/* Header lines up to the limit of RFC 5322 come back whole. */
static void test_long_header_line(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	struct buf text = {0};
	(void)state;
	buf_add_text(&text, "References: ");
	while (text.len < 900)
		buf_add_text(&text, "<0123456789@example.jp> ");
	buf_add_text(&text, "end\r\n");
	b.header = span_buf(&text);
	char *out = printed(&b);
	assert_has(out, buf_text(&text));
	mem_free(out);
	buf_free(&text);
}

static void test_header_edges(void **state)
{
	static const char *const headers[] = {"", "\r\n", "\r\n\r\n", "no line end", "bare\nlf\n",
	    "--\r\n--report-\r\n", "X: a\r\n\r\nbody\r\n", "\r", "X: a\rY: b\r\n", " \r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct bounce_recipient r = one();
		struct bounce b = report(&r, 1);
		struct span parts[3];
		b.header = span_text(headers[i]);
		char *text = printed(&b);
		assert_int_equal(bounce_split(span_text(text), parts, 3), 3);
		/* one empty line behind the part's own header, one before the boundary */
		assert_int_equal(bounce_count(parts[2], "\r\n"), 2);
		mem_free(text);
	}
}

/* The boundary is another one each time, and long enough not to be guessed. */
static void test_boundary(void **state)
{
	struct bounce_recipient r = one();
	struct bounce b = report(&r, 1);
	(void)state;
	char *first = printed(&b);
	char *second = printed(&b);
	const char *one_mark = strstr(first, "boundary=\"");
	const char *other_mark = strstr(second, "boundary=\"");
	assert_non_null(one_mark);
	assert_non_null(other_mark);
	assert_true(strcspn(one_mark + 10, "\"") >= 32);
	assert_true(strncmp(one_mark, other_mark, 42) != 0);
	mem_free(first);
	mem_free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_failure),
	    cmocka_unit_test(test_unread),
	    cmocka_unit_test(test_delay),
	    cmocka_unit_test(test_durations),
	    cmocka_unit_test(test_without_answer),
	    cmocka_unit_test(test_finding_about_a_host),
	    cmocka_unit_test(test_not_tried),
	    cmocka_unit_test(test_many_recipients),
	    cmocka_unit_test(test_hostile_replies),
	    cmocka_unit_test(test_reply_of_several_lines),
	    cmocka_unit_test(test_long_texts),
	    cmocka_unit_test(test_utf8_is_cut_between_characters),
	    cmocka_unit_test(test_utf8_address),
	    cmocka_unit_test(test_quoted_address),
	    cmocka_unit_test(test_encoded_header),
	    cmocka_unit_test(test_huge_header),
	    cmocka_unit_test(test_long_header_line),
	    cmocka_unit_test(test_header_edges),
	    cmocka_unit_test(test_boundary),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
