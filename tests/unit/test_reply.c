/* SPDX-License-Identifier: MIT
 * Replies: what is sent, what is taken off the wire, and where it is cut.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "smtp/reply.h"

static const struct {
	const char *lines[4];
	int result; /* of the last line */
	unsigned code;
	const char *enhanced;
	const char *text;
} taken[] = {
    {{"250 ok"}, 1, 250, "", "ok"}, {{"250"}, 1, 250, "", ""}, {{"250 "}, 1, 250, "", ""},
    {{"250-"}, 0, 250, "", ""}, {{"250-a", "250-b", "250 c"}, 1, 250, "", "a\nb\nc"},
    {{"250-a", "250"}, 1, 250, "", "a\n"}, {{"354 go"}, 1, 354, "", "go"},
    {{"354 3.0.0 go"}, 1, 354, "", "3.0.0 go"}, {{"550 5.7.1 no"}, 1, 550, "5.7.1", "no"},
    {{"550 5.7.606   Access"}, 1, 550, "5.7.606", "Access"},
    {{"550 5.7.1"}, 1, 550, "5.7.1", ""},
    {{"550-5.7.1 a", "550-5.7.1 b", "550 5.7.1 c"}, 1, 550, "5.7.1", "a\nb\nc"},
    {{"550-first", "550 5.1.1 second"}, 1, 550, "5.1.1", "first\nsecond"},
    {{"550-5.7.1 a", "550 5.7.26 b"}, 1, 550, "5.7.1", "a\n5.7.26 b"},
    {{"550 4.7.1 class differs"}, 1, 550, "", "4.7.1 class differs"},
    {{"250 5.7.1 class differs"}, 1, 250, "", "5.7.1 class differs"},
    {{"550 5.7.1: text"}, 1, 550, "5.7.1", "5.7.1: text"},
    {{"550 5.7.1.9 is blocked"}, 1, 550, "", "5.7.1.9 is blocked"},
    {{"550 5.7.1000 x"}, 1, 550, "", "5.7.1000 x"}, {{"550 5.7"}, 1, 550, "", "5.7"},
    {{"550 5..1"}, 1, 550, "", "5..1"}, {{"250 a\nb"}, 1, 250, "", "a?b"},
    {{"599 x"}, 1, 599, "", "x"}, {{"200 x"}, 1, 200, "", "x"},
    {{"3/5 x"}, -1, 0, "", ""}, {{"550 5.7.1.x"}, 1, 550, "5.7.1", "5.7.1.x"},
    {{"550 5.7.1z"}, 1, 550, "", "5.7.1z"}, {{""}, -1, 0, "", ""},
    {{"25"}, -1, 0, "", ""}, {{"2x0 a"}, -1, 0, "", ""}, {{"250text"}, -1, 0, "", ""},
    {{"250\ttext"}, -1, 0, "", ""}, {{"2500 text"}, -1, 0, "", ""},
    {{" 250 text"}, -1, 0, "", ""}, {{"199 text"}, -1, 0, "", ""},
    {{"600 text"}, -1, 0, "", ""}, {{"000 text"}, -1, 0, "", ""},
    {{"HTTP/1.1 400 Bad Request"}, -1, 0, "", ""}, {{"250-a", "251 b"}, -1, 250, "", "a"},
    {{"550-type: mda", "550"}, 1, 550, "", "type: mda\n"}, /* CVE-2020-8794 */
};

static void lines_are_taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		struct reply reply = {0};
		int result = 0;
		char enhanced[12];
		for (size_t k = 0; k < 4 && taken[i].lines[k]; k++) {
			assert_int_equal(result, 0);
			result = reply_take_line(&reply, span_text(taken[i].lines[k]));
		}
		enhanced_text(&reply.enhanced, enhanced);
		if (result != taken[i].result || reply.code != taken[i].code ||
		    strcmp(enhanced, taken[i].enhanced) != 0 ||
		    strcmp(buf_text(&reply.text), taken[i].text) != 0)
			fail_msg("\"%s\": %d, %u %s \"%s\"", taken[i].lines[0], result,
			    reply.code, enhanced, buf_text(&reply.text));
		assert_int_equal(reply.complete, result == 1);
		reply_free(&reply);
	}
}

static void nul_in_a_line_is_a_byte(void **state)
{
	(void)state;
	struct reply reply = {0};
	assert_int_equal(reply_take_line(&reply, (struct span){"250 a\0b", 7}), 1);
	assert_int_equal(reply.text.len, 3);
	assert_int_equal(reply_take_line(&reply, (struct span){"25\0 a", 5}), -1);
	reply_free(&reply);
}

static void long_lines_are_cut(void **state)
{
	(void)state;
	char line[REPLY_LINE_MAX];
	struct reply reply = {0};
	memset(line, 'x', sizeof(line));
	memcpy(line, "250-", 4);
	assert_int_equal(reply_take_line(&reply, (struct span){line, sizeof(line)}), 0);
	assert_int_equal(reply.text.len, REPLY_KEEP_LINE);
	line[3] = ' ';
	assert_int_equal(
	    reply_take_line(&reply, (struct span){line, 4 + REPLY_KEEP_LINE}), 1);
	assert_int_equal(reply.text.len, 2 * REPLY_KEEP_LINE + 1);
	reply_free(&reply);
}

static void of_many_lines_the_last_is_kept(void **state)
{
	(void)state;
	struct reply reply = {0};
	for (unsigned i = 1; i < REPLY_LINES_MAX; i++)
		assert_int_equal(reply_take_line(&reply, span_text("550-x")), 0);
	assert_int_equal(reply_take_line(&reply, span_text("550 5.7.1 the end")), 1);
	assert_int_equal(reply.lines, REPLY_LINES_MAX);
	assert_int_equal(reply.enhanced.detail, 1);
	assert_int_equal(reply.text.len, 2 * (REPLY_KEEP_LINES - 1) + strlen("the end"));
	assert_string_equal(reply.text.data + reply.text.len - 9, "x\nthe end");
	reply_free(&reply);
}

static void too_many_lines_are_refused(void **state)
{
	(void)state;
	struct reply reply = {0};
	for (unsigned i = 0; i < REPLY_LINES_MAX; i++)
		assert_int_equal(reply_take_line(&reply, span_text("250-x")), 0);
	assert_int_equal(reply_take_line(&reply, span_text("250 x")), -1);
	reply_free(&reply);
}

static void next_reply_begins_after_a_complete_one(void **state)
{
	(void)state;
	struct reply reply = {0};
	assert_int_equal(reply_take_line(&reply, span_text("550 5.1.1 a")), 1);
	assert_int_equal(reply_take_line(&reply, span_text("250 b")), 1);
	assert_int_equal(reply.code, 250);
	assert_int_equal(reply.enhanced.klass, 0);
	assert_string_equal(buf_text(&reply.text), "b");
	reply_clear(&reply);
	assert_int_equal(reply.code, 0);
	assert_int_equal(reply.text.len, 0);
	assert_false(reply.complete);
	reply_free(&reply);
}

static const struct {
	unsigned code;
	const char *enhanced;
	const char *text;
	const char *wire;
	unsigned lines;
} set[] = {
    {250, "2.1.0", "Ok", "250 2.1.0 Ok\r\n", 1},
    {354, NULL, "Go ahead", "354 Go ahead\r\n", 1},
    {250, NULL, "a\nSIZE 1\nHELP", "250-a\r\n250-SIZE 1\r\n250 HELP\r\n", 3},
    {550, "5.7.1", "a\nb", "550-5.7.1 a\r\n550 5.7.1 b\r\n", 2},
    {550, "5.7.1", "", "550 5.7.1\r\n", 1},
    {220, NULL, "", "220 \r\n", 1},
    {200, NULL, "x", "200 x\r\n", 1},
    {599, NULL, "x", "599 x\r\n", 1},
    {451, "5.3.0", "x", "451 4.3.0 x\r\n", 1}, /* the class follows the code */
    {250, "nonsense", "x", "250 x\r\n", 1},
    {550, "5.1.1", "a\rb\x01\x7f\x1b[m", "550 5.1.1 a?b???[m\r\n", 1},
    {550, "5.1.1", "\xe9\x83\xb5", "550 5.1.1 \xe9\x83\xb5\r\n", 1},
};

static void replies_are_set_and_printed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++) {
		struct reply reply = {0};
		struct buf out = {0};
		reply_set(&reply, set[i].code, set[i].enhanced, "%s", set[i].text);
		reply_print(&reply, &out);
		assert_string_equal(buf_text(&out), set[i].wire);
		assert_int_equal(reply.lines, set[i].lines);
		assert_true(reply.complete);
		buf_free(&out);
		reply_free(&reply);
	}
}

static void what_others_said_prints_without_controls(void **state)
{
	(void)state;
	struct reply reply = {0};
	struct buf out = {0};
	assert_int_equal(reply_take_line(&reply, (struct span){"550 a\r\0\x1b", 8}), 1);
	reply_print(&reply, &out);
	assert_string_equal(buf_text(&out), "550 a???\r\n");
	buf_free(&out);
	reply_free(&reply);
}

static void printed_lines_are_cut_at_a_character(void **state)
{
	(void)state;
	struct reply reply = {0};
	struct buf out = {0};
	struct buf text = {0};
	for (int i = 0; i < 300; i++)
		buf_add_text(&text, "\xe9\x83\xb5");
	reply_set(&reply, 550, "5.1.1", "%s\nend", buf_text(&text));
	reply_print(&reply, &out);
	const char *end = strchr(out.data, '\r');
	size_t n = (size_t)(end - out.data);
	assert_true(n <= 500 && n > 497);
	assert_true(span_is_utf8((struct span){out.data, n}));
	assert_string_equal(end, "\r\n550 5.1.1 end\r\n");
	buf_free(&text);
	buf_free(&out);
	reply_free(&reply);
}

static void summaries(void **state)
{
	(void)state;
	static const struct {
		const char *lines[3];
		size_t max;
		const char *text;
	} rows[] = {
	    {{"550 5.7.1 no\x1b way"}, 100, "550 5.7.1 no\\x1b way"},
	    {{"250-a", "250-", "250 c"}, 100, "250 a /  / c"},
	    {{"250"}, 100, "250"},
	    {{"250 abcdef"}, 3, "250 abc..."},
	    {{"250-abc", "250 def"}, 3, "250 abc..."},
	    {{"250-abc", "250"}, 3, "250 abc / "},
	    {{"250-abc", "250 def"}, 4, "250 abc / d..."},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply reply = {0};
		struct buf out = {0};
		for (size_t k = 0; k < 3 && rows[i].lines[k]; k++)
			assert_true(
			    reply_take_line(&reply, span_text(rows[i].lines[k])) >= 0);
		reply_summary(&reply, &out, rows[i].max);
		assert_string_equal(buf_text(&out), rows[i].text);
		buf_free(&out);
		reply_free(&reply);
	}
}

static void enhanced_codes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t taken;
	} rows[] = {
	    {"5.7.1", 5},
	    {"2.0.0 ok", 5},
	    {"4.999.999", 9},
	    {"5.7.1.", 5},
	    {"5.7.1, x", 5},
	    {"", 0},
	    {"5", 0},
	    {"5.", 0},
	    {"5.7.", 0},
	    {"3.0.0", 0},
	    {"55.7.1", 0},
	    {"5.7.1a", 0},
	    {"5.7.1-2", 0},
	    {"5.7.1.2", 0},
	    {"x5.7.1", 0},
	    {"5.7.1234", 0},
	    {"05.7.1", 0},
	    {"5,7,1", 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct enhanced e = {9, 9, 9};
		char text[12];
		size_t n = enhanced_parse(span_text(rows[i].text), &e);
		if (n != rows[i].taken)
			fail_msg("\"%s\": %zu", rows[i].text, n);
		if (n)
			assert_memory_equal(enhanced_text(&e, text), rows[i].text, n);
		else
			assert_int_equal(e.klass, 9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_taken),
	    cmocka_unit_test(nul_in_a_line_is_a_byte),
	    cmocka_unit_test(long_lines_are_cut),
	    cmocka_unit_test(of_many_lines_the_last_is_kept),
	    cmocka_unit_test(too_many_lines_are_refused),
	    cmocka_unit_test(next_reply_begins_after_a_complete_one),
	    cmocka_unit_test(replies_are_set_and_printed),
	    cmocka_unit_test(what_others_said_prints_without_controls),
	    cmocka_unit_test(printed_lines_are_cut_at_a_character),
	    cmocka_unit_test(summaries),
	    cmocka_unit_test(enhanced_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
