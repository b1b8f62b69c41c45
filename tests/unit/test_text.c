/* SPDX-License-Identifier: MIT
 * Tables for the pure questions about bytes: numbers, names, escaping, UTF-8,
 * base64.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/base/text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* A literal that may hold NULs. */
#define BYTES(literal)                                                                   \
	{                                                                                \
		literal, sizeof(literal) - 1                                             \
	}

static void assert_span(struct span s, const char *text)
{
	assert_int_equal(s.n, strlen(text));
	assert_memory_equal(s.p, text, s.n);
}

static void test_span(void **state)
{
	(void)state;
	assert_span(span_text(NULL), "");
	assert_non_null(span_text(NULL).p);
	struct buf empty = {0};
	assert_span(span_buf(&empty), "");
	assert_span(span_trim(span_text(" \t a b\t ")), "a b");
	assert_span(span_trim(span_text(" \t ")), "");
	assert_span(span_trim(span_text("\r\n")), "\r\n");
	struct span rest = span_text("a,,b");
	assert_span(span_cut(&rest, ','), "a");
	assert_span(span_cut(&rest, ','), "");
	assert_span(rest, "b");
	assert_span(span_cut(&rest, ','), "b");
	assert_int_equal(rest.n, 0);
	assert_span(span_cut(&rest, ','), "");
	rest = (struct span){NULL, 0};
	assert_int_equal(span_cut(&rest, ',').n, 0);
	char *copy = span_dup((struct span){"abcdef", 3});
	assert_string_equal(copy, "abc");
	mem_free(copy);
}

static void test_equal(void **state)
{
	static const struct {
		struct span a;
		struct span b;
		bool exact;
		bool folded;
	} rows[] = {
	    {BYTES(""), BYTES(""), true, true},
	    {{NULL, 0}, BYTES(""), true, true},
	    {BYTES("a"), BYTES(""), false, false},
	    {BYTES("Ab"), BYTES("aB"), false, true},
	    {BYTES("a\0b"), BYTES("a\0B"), false, true},
	    {BYTES("a\0b"), BYTES("a\0c"), false, false},
	    {BYTES("@"), BYTES("`"), false, false},
	    {BYTES("["), BYTES("{"), false, false},
	    {BYTES("\xc4"), BYTES("\xe4"), false, false}, /* no locale */
	    {BYTES("K"), BYTES("\xe2\x84\xaa"), false, false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(span_equal(rows[i].a, rows[i].b), rows[i].exact);
		assert_int_equal(span_equal_nocase(rows[i].a, rows[i].b), rows[i].folded);
	}
	assert_true(span_is(span_text("EHLO"), "EHLO"));
	assert_false(span_is(span_text("EHLO"), "ehlo"));
	assert_true(span_is_nocase(span_text("EHLO"), "ehlo"));
	assert_false(span_is_nocase((struct span)BYTES("EHLO\0"), "EHLO"));
	assert_true(span_starts_nocase(span_text("MAIL from:<>"), "mail FROM:"));
	assert_false(span_starts_nocase(span_text("MAIL"), "MAIL FROM:"));
	assert_true(span_starts_nocase(span_text(""), ""));
	char text[] = "A[Z\xc4z";
	text_lower(text, 5);
	assert_string_equal(text, "a[z\xc4z");
}

static void test_find(void **state)
{
	static const struct {
		struct span s;
		const char *needle;
		int at; /* -1: absent */
	} rows[] = {
	    {BYTES("one Two"), "two", 4},
	    {BYTES("aab"), "ab", 1},
	    {BYTES("ab"), "abc", -1},
	    {BYTES(""), "a", -1},
	    {BYTES(""), "", 0},
	    {BYTES("a\0RBL"), "rbl", 2},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *found = span_find_nocase(rows[i].s, rows[i].needle);
		assert_int_equal(found ? found - rows[i].s.p : -1, rows[i].at);
	}
}

static void test_number(void **state)
{
	static const struct {
		struct span s;
		uint64_t max;
		bool ok;
		uint64_t value;
	} rows[] = {
	    {BYTES("0"), 0, true, 0},
	    {BYTES("1"), 0, false, 0},
	    {BYTES("007"), 9, true, 7},
	    {BYTES("10"), 9, false, 0},
	    {BYTES("65535"), 65535, true, 65535},
	    {BYTES("65536"), 65535, false, 0},
	    {BYTES("18446744073709551615"), UINT64_MAX, true, UINT64_MAX},
	    {BYTES("18446744073709551616"), UINT64_MAX, false, 0},
	    {BYTES("99999999999999999999999"), UINT64_MAX, false, 0},
	    {BYTES(""), 9, false, 0},
	    {BYTES("-1"), 9, false, 0},
	    {BYTES("+1"), 9, false, 0},
	    {BYTES(" 1"), 9, false, 0},
	    {BYTES("1\0"), 9, false, 0},
	    {BYTES("0x1"), 99, false, 0},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t value = 4711;
		assert_int_equal(span_number(rows[i].s, rows[i].max, &value), rows[i].ok);
		assert_true(value == (rows[i].ok ? rows[i].value : 4711));
	}
}

static void test_under(void **state)
{
	static const struct {
		const char *domain;
		const char *parent;
		bool under;
	} rows[] = {
	    {"example.jp", "example.jp", true},
	    {"a.Example.JP", "example.jp", true},
	    {"a.b.example.jp", "example.jp", true},
	    {"badexample.jp", "example.jp", false},
	    {"example.jp", "a.example.jp", false},
	    {"example.jp", "", false},
	    {"", "", false},
	    {"", "jp", false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(
		    span_is_under(span_text(rows[i].domain), span_text(rows[i].parent)),
		    rows[i].under);
}

static void test_escape(void **state)
{
	static const struct {
		struct span s;
		size_t max;
		const char *plain;
		const char *utf8;
	} rows[] = {
	    {BYTES("plain ~"), 99, "plain ~", "plain ~"},
	    {BYTES("a\r\nb\0c\x7f"), 99, "a\\x0d\\x0ab\\x00c\\x7f",
		"a\\x0d\\x0ab\\x00c\\x7f"},
	    {BYTES("\\x41"), 99, "\\x5cx41", "\\x5cx41"},
	    {BYTES("\x1b[2J"), 99, "\\x1b[2J", "\\x1b[2J"},
	    {BYTES("\xe6\x97\xa5"), 99, "\\xe6\\x97\\xa5", "\xe6\x97\xa5"},
	    {BYTES("\xc2\x9b"
		   "2J"),
		99, "\\xc2\\x9b2J", "\\xc2\\x9b2J"},
	    {BYTES("\xc2\xa0"), 99, "\\xc2\\xa0", "\xc2\xa0"},
	    {BYTES("\xc0\x80"), 99, "\\xc0\\x80", "\\xc0\\x80"},
	    {BYTES("\xe6\x97"), 99, "\\xe6\\x97", "\\xe6\\x97"},
	    {BYTES("abcd"), 3, "abc...", "abc..."},
	    {BYTES("abc"), 3, "abc", "abc"},
	    {BYTES("a\xe6\x97\xa5"), 3, "a\\xe6\\x97...", "a\\xe6\\x97..."},
	    {BYTES(""), 3, "", ""},
	    {BYTES("a"), 0, "...", "..."},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf b = {0};
		text_escape(&b, rows[i].s, rows[i].max);
		assert_string_equal(buf_text(&b), rows[i].plain);
		buf_clear(&b);
		text_escape_utf8(&b, rows[i].s, rows[i].max);
		assert_string_equal(buf_text(&b), rows[i].utf8);
		assert_true(span_is_utf8(span_buf(&b)));
		buf_free(&b);
	}
}

static void test_utf8(void **state)
{
	static const struct {
		struct span s;
		bool ok;
	} rows[] = {
	    {BYTES(""), true},
	    {BYTES("\0ascii\x7f"), true},
	    {BYTES("\x80"), false},
	    {BYTES("\xc1\xbf"), false}, /* overlong */
	    {BYTES("\xc2\x80"), true},
	    {BYTES("\xdf\xbf"), true},
	    {BYTES("\xc2"), false},
	    {BYTES("\xc2"
		   "A"),
		false},
	    {BYTES("\xe0\x9f\xbf"), false},
	    {BYTES("\xe0\xa0\x80"), true},
	    {BYTES("\xed\x9f\xbf"), true},
	    {BYTES("\xed\xa0\x80"), false}, /* surrogate */
	    {BYTES("\xee\x80\x80"), true},
	    {BYTES("\xef\xbf\xbf"), true},
	    {BYTES("\xf0\x8f\xbf\xbf"), false},
	    {BYTES("\xf0\x90\x80\x80"), true},
	    {BYTES("\xf4\x8f\xbf\xbf"), true},
	    {BYTES("\xf4\x90\x80\x80"), false}, /* beyond U+10FFFF */
	    {BYTES("\xf5\x80\x80\x80"), false},
	    {BYTES("\xff"), false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (span_is_utf8(rows[i].s) != rows[i].ok)
			fail_msg("row %zu", i);
	assert_true(span_is_ascii((struct span)BYTES("\0\x7f")));
	assert_false(span_is_ascii((struct span)BYTES("a\x80")));
}

static void test_base64(void **state)
{
	static const struct {
		const char *plain;
		const char *code;
	} rows[] = {
	    {"", ""},
	    {"f", "Zg=="},
	    {"fo", "Zm8="},
	    {"foo", "Zm9v"},
	    {"foob", "Zm9vYg=="},
	    {"fooba", "Zm9vYmE="},
	    {"foobar", "Zm9vYmFy"},
	    {"\xfb\xff\xbf", "+/+/"},
	};
	static const struct span bad[] = {BYTES("Z"), BYTES("Zg"), BYTES("Zg="),
	    BYTES("===="), BYTES("Z==="), BYTES("Zh=="), BYTES("Zm9="), BYTES("Zg==Zg=="),
	    BYTES("Zm9v\r\n\r\n"), BYTES("Zm\0v"), BYTES("Zm-_"), BYTES("Zm=v"),
	    BYTES("Zm9vZg=a"), BYTES("    "), BYTES("Zm9vZm9\xff")};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf b = {0};
		text_base64(&b, span_text(rows[i].plain));
		assert_string_equal(buf_text(&b), rows[i].code);
		buf_clear(&b);
		assert_true(text_unbase64(&b, span_text(rows[i].code)));
		assert_string_equal(buf_text(&b), rows[i].plain);
		buf_free(&b);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct buf b = {0};
		buf_add_text(&b, "kept");
		assert_false(text_unbase64(&b, bad[i]));
		assert_int_equal(b.len, 4);
		assert_string_equal(buf_text(&b), "kept"); /* the NUL is back too */
		buf_free(&b);
	}
	struct buf none = {0};
	assert_false(text_unbase64(&none, span_text("====")));
	assert_string_equal(buf_text(&none), "");
	buf_free(&none);
}

static void test_quoted(void **state)
{
	static const struct {
		const char *plain;
		const char *code;
	} rows[] = {
	    {"", "\r\n"},
	    {"a b\tc", "a b\tc\r\n"},
	    {"a=b", "a=3Db\r\n"},
	    {"end ", "end=20\r\n"},
	    {"end\t", "end=09\r\n"},
	    {"\xc3\xbc\x1b\x7f\r", "=C3=BC=1B=7F=0D\r\n"},
#define TEN "0123456789"
#define SEVENTY TEN TEN TEN TEN TEN TEN TEN
	    {SEVENTY "012345", SEVENTY "012345\r\n"},
	    {SEVENTY "0123456", SEVENTY "01234=\r\n56\r\n"},
	    {SEVENTY "0123=", SEVENTY "0123=\r\n=3D\r\n"},
	    {SEVENTY "012==", SEVENTY "012=\r\n=3D=3D\r\n"},
	    {SEVENTY "012=", SEVENTY "012=3D\r\n"},
	    {SEVENTY "01234  ", SEVENTY "01234=\r\n =20\r\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};
		text_quoted_line(&b, span_text(rows[i].plain));
		assert_string_equal(buf_text(&b), rows[i].code);
		buf_free(&b);
	}
}

static void test_base64_round(void **state)
{
	(void)state;
	random_fix(1);
	for (size_t n = 0; n < 300; n++) {
		char bytes[300];
		struct buf code = {0};
		struct buf back = {0};
		random_bytes(bytes, n);
		text_base64(&code, (struct span){bytes, n});
		assert_int_equal(code.len, (n + 2) / 3 * 4);
		assert_true(text_unbase64(&back, span_buf(&code)));
		assert_true(span_equal(span_buf(&back), (struct span){bytes, n}));
		buf_free(&code);
		buf_free(&back);
	}
}

static void test_hex(void **state)
{
	(void)state;
	struct buf b = {0};
	text_hex(&b, (struct span)BYTES("\0\x0f\xa0\xff"));
	assert_string_equal(buf_text(&b), "000fa0ff");
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_span),
	    cmocka_unit_test(test_equal),
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_number),
	    cmocka_unit_test(test_under),
	    cmocka_unit_test(test_escape),
	    cmocka_unit_test(test_utf8),
	    cmocka_unit_test(test_quoted),
	    cmocka_unit_test(test_base64),
	    cmocka_unit_test(test_base64_round),
	    cmocka_unit_test(test_hex),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
