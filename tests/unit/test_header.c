/* SPDX-License-Identifier: MIT
 * The header section: where it ends, which fields it has, and what is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smtp/header.h"
#include "tests/unit/exact.h"

static const struct {
	const char *message;
	const char *fields; /* "name=value|" of each */
	size_t size;
	const char *body;
} rows[] = {
    {"A: 1\r\n\r\nbody", "A= 1|", 6, "body"},
    {"A: 1\r\nB:2\r\n\r\n", "A= 1|B=2|", 11, ""},
    {"A: 1\r\n", "A= 1|", 6, ""},
    {"A: 1\r\n\tmore\r\n even\r\nB:\r\n\r\nx", "A= 1\r\n\tmore\r\n even|B=|", 24, "x"},
    {"A: 1\r\n \r\nB: 2\r\n\r\nx", "A= 1\r\n |B= 2|", 15, "x"},
    {"A : 1\r\nB \t: 2\r\n\r\n", "A= 1|B= 2|", 15, ""},
    {"A::\r\n\r\n", "A=:|", 5, ""},
    {"A:\r\n\r\n", "A=|", 4, ""},
    {"X-Long_name.1!: v\r\n\r\n", "X-Long_name.1!= v|", 19, ""},
    {"Subject: \x1b$B$\x1b(B\r\n\r\n", "Subject= \x1b$B$\x1b(B|", 18, ""},
    {"Subject: \xe9\x83\xb5\x83\r\n\r\n", "Subject= \xe9\x83\xb5\x83|", 15, ""},
    /* no header, or one that ends early */
    {"", "", 0, ""},
    {"\r\nbody", "", 0, "body"},
    {"\r\n", "", 0, ""},
    {"hello\r\nA: 1\r\n\r\n", "", 0, "hello\r\nA: 1\r\n\r\n"},
    {" A: 1\r\n\r\n", "", 0, " A: 1\r\n\r\n"},
    {": 1\r\n\r\n", "", 0, ": 1\r\n\r\n"},
    {"A\r\n: 1\r\n", "", 0, "A\r\n: 1\r\n"},
    {"A", "", 0, "A"},
    {"A ", "", 0, "A "},
    {"A:", "", 0, "A:"},
    {"A:\n", "", 0, "A:\n"},
    {"A B: 1\r\n", "", 0, "A B: 1\r\n"},
    {"\xe9\x83\xb5: 1\r\n", "", 0, "\xe9\x83\xb5: 1\r\n"},
    {"A: 1\r\nhello\r\nB: 2\r\n", "A= 1|", 6, "hello\r\nB: 2\r\n"},
    {"A: 1", "", 0, "A: 1"},
    {"A: 1\r\nB: 2", "A= 1|", 6, "B: 2"},
    {"A: 1\r\n more", "A= 1|", 6, " more"},
    {"A: 1\r", "", 0, "A: 1\r"},
    {"A: 1\r\n\r", "A= 1|", 6, "\r"},
    /* mailbox files */
    {"From root Sat Nov 21\r\nA: 1\r\n\r\nx", "A= 1|", 28, "x"},
    {">From root\r\nA: 1\r\n\r\nx", "A= 1|", 18, "x"},
    {"From : a@b\r\n\r\nx", "From= a@b|", 12, "x"},
    {"From x\r\n\r\nbody", "", 0, "From x\r\n\r\nbody"},
    {"A: 1\r\nFrom root\r\nB: 2\r\n", "A= 1|", 6, "From root\r\nB: 2\r\n"},
};

static void sections_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span message = exact(rows[i].message);
		struct buf fields = {0};
		struct header h;
		struct why why = {0};
		assert_int_equal(header_parse(message, &h, &why), 0);
		for (size_t k = 0; k < h.count; k++) {
			const struct header_field *f = &h.fields[k];
			buf_add(&fields, f->name.p, f->name.n);
			buf_add_byte(&fields, '=');
			buf_add(&fields, f->value.p, f->value.n);
			buf_add_byte(&fields, '|');
			assert_ptr_equal(f->whole.p, f->name.p);
			assert_ptr_equal(
			    f->whole.p + f->whole.n, f->value.p + f->value.n + 2);
		}
		struct span body = {message.p + h.body_start, message.n - h.body_start};
		if (!span_is(span_buf(&fields), rows[i].fields) ||
		    h.size != rows[i].size || !span_is(body, rows[i].body))
			fail_msg("\"%s\": %s size %zu body at %zu", rows[i].message,
			    buf_text(&fields), h.size, h.body_start);
		buf_free(&fields);
		header_free(&h);
		exact_free(message);
	}
}

static void controls_are_refused(void **state)
{
	(void)state;
	static const unsigned char controls[] = {
	    0, 1, 7, 8, 0x0a, 0x0b, 0x0c, 0x0d, 0x1c, 0x1f};
	for (size_t i = 0; i < sizeof(controls); i++) {
		char message[] = "Good: 1\r\nBad: a b\r\n\r\n";
		struct header h;
		struct why why = {0};
		message[15] = (char)controls[i];
		assert_int_equal(
		    header_parse((struct span){message, sizeof(message) - 1}, &h, &why),
		    -1);
		assert_int_equal(why.kind, WHY_PERM);
		assert_non_null(strstr(why.text, "field Bad"));
		assert_null(h.fields);
	}
	struct header h;
	struct why why = {0};
	assert_int_equal(header_parse(span_text("A: 1\r\r\n\r\n"), &h, &why), -1);
	assert_int_equal(header_parse(span_text("A: 1\n\r\n"), &h, &why), -1);
	assert_int_equal(header_parse(span_text("A: 1\r\n b\nc\r\n"), &h, &why), -1);
	assert_int_equal(header_parse(span_text("A: 1\r\n\v\r\n"), &h, &why), 0);
	header_free(&h);
	assert_int_equal(header_parse(span_text("A: 1\r\n \v\r\n"), &h, &why), -1);
	assert_int_equal(header_parse(span_text("A: 1\r\n\t\f\r\n"), &h, &why), -1);
}

static void names_and_counts_are_bounded(void **state)
{
	(void)state;
	struct buf b = {0};
	struct header h;
	struct why why = {0};
	for (int i = 0; i < HEADER_NAME_MAX; i++)
		buf_add_byte(&b, 'x');
	buf_add_text(&b, ": 1\r\n");
	assert_int_equal(header_parse(span_buf(&b), &h, &why), 0);
	assert_int_equal(h.count, 1);
	header_free(&h);
	b.data[HEADER_NAME_MAX] = 'x';
	b.data[HEADER_NAME_MAX + 1] = ':';
	assert_int_equal(header_parse(span_buf(&b), &h, &why), -1);
	assert_non_null(strstr(why.text, "257"));
	buf_clear(&b);
	for (int i = 0; i < HEADER_FIELDS_MAX; i++)
		buf_addf(&b, "A: %d\r\n", i);
	assert_int_equal(header_parse(span_buf(&b), &h, &why), 0);
	assert_int_equal(h.count, HEADER_FIELDS_MAX);
	header_free(&h);
	buf_add_text(&b, "A:\r\n");
	assert_int_equal(header_parse(span_buf(&b), &h, &why), -1);
	assert_non_null(strstr(why.text, "2000"));
	buf_free(&b);
}

static void fields_are_found_by_name(void **state)
{
	(void)state;
	struct header h;
	assert_int_equal(
	    header_parse(
		span_text("To: a\r\nX: b\r\nTO: c\r\nTo-Do: d\r\n\r\n"), &h, NULL),
	    0);
	assert_int_equal(header_count(&h, "to"), 2);
	assert_int_equal(header_count(&h, "x"), 1);
	assert_int_equal(header_count(&h, "cc"), 0);
	assert_true(span_is(header_find(&h, "to", 0)->value, " a"));
	assert_true(span_is(header_find(&h, "to", 1)->value, " c"));
	assert_null(header_find(&h, "to", 2));
	assert_null(header_find(&h, "", 0));
	header_free(&h);
	assert_null(header_find(&h, "to", 0));
}

static void the_end_is_found_in_pieces(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t end;
	} ends[] = {
	    {"A: 1\r\n\r\nbody\r\n\r\n", 8},
	    {"\r\nbody", 2},
	    {"A: 1\r\n", 0},
	    {"", 0},
	    {"\r", 0},
	    {"\n", 0},
	    {"A\r\n\n", 0},
	    {"A\n\r\n", 0},
	    {"A\r\n\r\r\n", 0},
	    {"A\r\n \r\n\r\n", 8},
	    {"x\r\n\r\n", 5},
	};
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t n = strlen(ends[i].text);
		size_t from = 0;
		assert_int_equal(header_end(span_text(ends[i].text), &from), ends[i].end);
		from = 0;
		size_t end = 0;
		for (size_t k = 0; k <= n && !end; k++)
			end = header_end((struct span){ends[i].text, k}, &from);
		assert_int_equal(end, ends[i].end);
	}
}

static void values_unfold(void **state)
{
	(void)state;
	static const struct {
		const char *value, *text;
	} folds[] = {
	    {" a", "a"},
	    {"a\r\n b", "a b"},
	    {" a\r\n\tb \r\n c \t", "a\tb  c"},
	    {"", ""},
	    {"\r\n a", "a"},
	    {" \r\n \r\n ", ""},
	    {"a\rb\nc", "abc"},
	};
	for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); i++) {
		struct buf out = {0};
		buf_add_text(&out, " x ");
		header_unfold(span_text(folds[i].value), &out);
		assert_memory_equal(out.data, " x ", 3);
		assert_string_equal(out.data + 3, folds[i].text);
		assert_int_equal(out.len, 3 + strlen(folds[i].text));
		buf_free(&out);
	}
}

static void dates_in_several_zones(void **state)
{
	(void)state;
	static const struct {
		const char *zone;
		int64_t wall_ms;
		const char *text;
	} dates[] = {
	    {"UTC0", INT64_C(1795285516000), "Sat, 21 Nov 2026 18:25:16 +0000"},
	    {"UTC0", INT64_C(1795285516999), "Sat, 21 Nov 2026 18:25:16 +0000"},
	    {"JST-9", INT64_C(1795285516000), "Sun, 22 Nov 2026 03:25:16 +0900"},
	    {"NST3:30", INT64_C(1795285516000), "Sat, 21 Nov 2026 14:55:16 -0330"},
	    {"UTC0", 0, "Thu, 1 Jan 1970 00:00:00 +0000"},
	    {"UTC0", INT64_C(2147483648000), "Tue, 19 Jan 2038 03:14:08 +0000"},
	};
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		struct buf out = {0};
		setenv("TZ", dates[i].zone, 1);
		tzset();
		header_date(&out, dates[i].wall_ms);
		assert_string_equal(buf_text(&out), dates[i].text);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sections_are_cut),
	    cmocka_unit_test(controls_are_refused),
	    cmocka_unit_test(names_and_counts_are_bounded),
	    cmocka_unit_test(fields_are_found_by_name),
	    cmocka_unit_test(the_end_is_found_in_pieces),
	    cmocka_unit_test(values_unfold),
	    cmocka_unit_test(dates_in_several_zones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
