/* SPDX-License-Identifier: MIT
 * Text on the wire: dots, line ends, limits, and every way that was found to
 * make one server see an end where another sees text. Each row is fed whole, a
 * byte at a time, and cut in two at every place.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/body.h"

struct result {
	struct buf out;
	size_t used;
	bool ended;
	enum body_fault fault;
	bool eightbit;
	uint64_t size;
};

static size_t feed(struct body_decoder *d, struct span s, size_t piece, struct buf *out)
{
	size_t i = 0;
	while (i < s.n && !d->ended) {
		size_t n = s.n - i < piece ? s.n - i : piece;
		char *copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, s.p + i, n);
		size_t used = body_decode(d, copy, n, out);
		free(copy);
		assert_true(used == n || d->ended);
		i += used;
	}
	return i;
}

/* FIRST bytes, then the others in pieces of PIECE. */
static struct result decode(struct span s, const struct body_limits *limits, bool dots,
    size_t first, size_t piece)
{
	struct result r = {0};
	struct body_decoder d;
	body_decoder_init(&d, limits, dots);
	r.used = feed(&d, (struct span){s.p, first}, first, &r.out);
	if (r.used == first)
		r.used +=
		    feed(&d, (struct span){s.p + first, s.n - first}, piece, &r.out);
	if (!dots)
		body_decoder_finish(&d, &r.out);
	r.ended = d.ended;
	r.fault = d.fault;
	r.eightbit = d.eightbit;
	r.size = d.size;
	return r;
}

static void check_same(struct result *r, struct span out, size_t used, bool ended,
    enum body_fault fault, struct span in)
{
	if (!span_equal(span_buf(&r->out), out) || r->used != used || r->ended != ended ||
	    r->fault != fault || r->size != r->out.len) {
		struct buf text = {0};
		text_escape(&text, in, 200);
		buf_add_text(&text, " -> ");
		text_escape(&text, span_buf(&r->out), 200);
		fail_msg("%s: used %zu, ended %d, fault %d", buf_text(&text), r->used,
		    r->ended, (int)r->fault);
	}
	buf_free(&r->out);
}

static void check_row(struct span in, const struct body_limits *limits, bool dots,
    struct span out, size_t used, bool ended, enum body_fault fault)
{
	for (size_t first = 0; first <= in.n; first++) {
		struct result r = decode(in, limits, dots, first, in.n + 1);
		check_same(&r, out, used, ended, fault, in);
	}
	struct result r = decode(in, limits, dots, 0, 1);
	check_same(&r, out, used, ended, fault, in);
}

#define END "\r\n.\r\n"

/* Fed as DATA. LEFT is what must not be used: it is behind the end. */
static const struct {
	const char *in;
	const char *left;
	const char *repaired; /* what comes out when bare newlines are repaired */
	const char
	    *strict; /* NULL: the same and no fault; else fault and this before it */
} texts[] = {
    {".\r\n", "", "", NULL},
    {".\r\n", "QUIT\r\n", "", NULL},
    {"\r\n.\r\n", "", "\r\n", NULL},
    {"a" END, "", "a\r\n", NULL},
    {"a" END, "b", "a\r\n", NULL},
    {"a\r\nb\r\n" END, ".\r\n", "a\r\nb\r\n\r\n", NULL},
    {"..\r\n.\r\n", "", ".\r\n", NULL},
    {"...\r\n.\r\n", "", "..\r\n", NULL},
    {".a" END, "", "a\r\n", NULL},
    {"a.b." END, "", "a.b.\r\n", NULL},
    {"a\r\n..b" END, "", "a\r\n.b\r\n", NULL},
    {"a\r\n. " END, "", "a\r\n \r\n", NULL},
    {"a\r\n.\t" END, "", "a\r\n\t\r\n", NULL},
    /* smuggling: SEC Consult 2023, CVE-2023-51764, -51765, -51766 */
    {"a\n.\nb" END, "", "a\r\n.\r\nb\r\n", "a"},
    {"a\n.\r\nb" END, "", "a\r\n.\r\nb\r\n", "a"},
    {"a\r\n.\nb" END, "", "a\r\n.\r\nb\r\n", "a\r\n."},
    {"a\r.\rb" END, "", "a\r\n.\r\nb\r\n", "a"},
    {"a\r.\r\nb" END, "", "a\r\n.\r\nb\r\n", "a"},
    {"a\r\n.\rb" END, "", "a\r\n.\r\nb\r\n", "a\r\n."},
    {"a\r\n.\r\r\nb" END, "", "a\r\n.\r\n\r\nb\r\n", "a\r\n."},
    {"a\r\n.\r\r\n.\r\n", "", "a\r\n.\r\n\r\n", "a\r\n."},
    {"a\n\r.\r\nb" END, "", "a\r\n\r\n.\r\nb\r\n", "a"},
    {"a\n\r\n.\r\n", "", "a\r\n\r\n", "a"},
    {"a\r\r\n.\r\n", "", "a\r\n\r\n", "a"},
    {"a\n\n.\n\n" END, "", "a\r\n\r\n.\r\n\r\n\r\n", "a"},
    {"a\r\n\n.\r\nb" END, "", "a\r\n\r\n.\r\nb\r\n", "a\r\n"},
    {"a\r\n\r.\r\nb" END, "", "a\r\n\r\n.\r\nb\r\n", "a\r\n"},
    {".\nb" END, "", ".\r\nb\r\n", "."},
    {".\rb" END, "", ".\r\nb\r\n", "."},
    {"\n.\r\nb" END, "", "\r\n.\r\nb\r\n", ""},
    {"\r.\r\nb" END, "", "\r\n.\r\nb\r\n", ""},
    {"a\n..b" END, "", "a\r\n..b\r\n", "a"},
    {"a\n.b" END, "", "a\r\n.b\r\n", "a"},
    {"a\nb\nc" END, "", "a\r\nb\r\nc\r\n", "a"},
    {"long plain line of text\nthen.\r\nrest" END, "",
	"long plain line of text\r\nthen.\r\nrest\r\n", "long plain line of text"},
};

static void data_ends_at_crlf_dot_crlf_only(void **state)
{
	(void)state;
	static const struct body_limits repair = {.repair_bare = true};
	static const struct body_limits strict = {.repair_bare = false};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct buf in = {0};
		size_t used = strlen(texts[i].in);
		buf_add_text(&in, texts[i].in);
		buf_add_text(&in, texts[i].left);
		check_row(span_buf(&in), &repair, true, span_text(texts[i].repaired),
		    used, true, BODY_FINE);
		const char *out = texts[i].strict ? texts[i].strict : texts[i].repaired;
		check_row(span_buf(&in), &strict, true, span_text(out), used, true,
		    texts[i].strict ? BODY_BARE_NEWLINE : BODY_FINE);
		buf_free(&in);
	}
}

/* None of these is an end, with or without repair. */
static void data_goes_on_without_an_end(void **state)
{
	(void)state;
	static const char *const rows[] = {"", ".", ".\r", "\r\n.", "\r\n.\r", "a\r\n",
	    "a\n.\n", "a\n.\r\n", "a\r\n.\n", "a\r.\r", "a\r\n.\r\r\n", "..\r\n", ".\n",
	    ".\n\r\n", ". \r\n", "a.\r\n", "a\r\n \r\n.", "\n\n.\n\n", "\r\r.\r\r"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int repair = 0; repair < 2; repair++) {
			struct body_limits limits = {.repair_bare = repair};
			for (size_t piece = 1; piece < 5; piece++) {
				struct result r =
				    decode(span_text(rows[i]), &limits, true, 0, piece);
				assert_false(r.ended);
				assert_int_equal(r.used, strlen(rows[i]));
				buf_free(&r.out);
			}
		}
	}
}

static void nul_is_a_fault_and_the_end_still_found(void **state)
{
	(void)state;
	static const struct body_limits repair = {.repair_bare = true};
	static const char in[] = "a\r\n\0.\r\nb\r\n.\r\nQUIT";
	check_row((struct span){in, sizeof(in) - 1}, &repair, true, span_text("a\r\n"),
	    sizeof(in) - 5, true, BODY_NUL);
	static const char dot[] = "a\r\n.\0\r\n.\r\n";
	check_row((struct span){dot, sizeof(dot) - 1}, &repair, true, span_text("a\r\n"),
	    sizeof(dot) - 1, true, BODY_NUL);
	check_row((struct span){"12345678\0\r\n", 11}, &repair, false,
	    span_text("12345678"), 11, false, BODY_NUL);
}

static void the_first_fault_stays(void **state)
{
	(void)state;
	static const struct body_limits limits = {.line = 5, .size = 100};
	static const char in[] = "a\nbbbbbbbbbbbb\0\r\n.\r\n";
	check_row((struct span){in, sizeof(in) - 1}, &limits, true, span_text("a"),
	    sizeof(in) - 1, true, BODY_BARE_NEWLINE);
	static const char line[] = "abcdef\nb\0\r\n.\r\n";
	check_row((struct span){line, sizeof(line) - 1}, &limits, true,
	    span_text("abcde"), sizeof(line) - 1, true, BODY_LONG_LINE);
}

static void limits_of_lines_and_sizes(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		uint64_t line, size;
		const char *out;
		enum body_fault fault;
	} rows[] = {
	    {"abcd" END, 4, 0, "abcd\r\n", BODY_FINE},
	    {"abcde" END, 4, 0, "abcd", BODY_LONG_LINE},
	    {"abcd\r\nabcde" END, 4, 0, "abcd\r\nabcd", BODY_LONG_LINE},
	    {"..abc" END, 4, 0, ".abc\r\n", BODY_FINE}, /* counted without the stuffing */
	    {"..abcd" END, 4, 0, ".abc", BODY_LONG_LINE},
	    {"abcd" END, 0, 6, "abcd\r\n", BODY_FINE},
	    {"abcd" END, 0, 5, "abcd", BODY_TOO_BIG},
	    {"abcd" END, 0, 4, "abcd", BODY_TOO_BIG},
	    {"abcd" END, 0, 3, "abc", BODY_TOO_BIG},
	    {"a\r\nb\r\nc" END, 0, 6, "a\r\nb\r\n", BODY_TOO_BIG},
	    {"a\r\nb\r\n\r\n" END, 0, 7, "a\r\nb\r\n", BODY_TOO_BIG},
	    {"abcdef" END, 4, 3, "abc", BODY_TOO_BIG},
	    {"abcdef" END, 3, 4, "abc", BODY_LONG_LINE},
	    {"abcdef" END, 3, 3, "abc", BODY_LONG_LINE},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct body_limits limits = {.line = rows[i].line, .size = rows[i].size};
		check_row(span_text(rows[i].in), &limits, true, span_text(rows[i].out),
		    strlen(rows[i].in), true, rows[i].fault);
	}
}

static void chunks_have_no_dots(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		const char *repaired;
		const char *strict; /* NULL: no fault */
	} rows[] = {
	    {"", "", NULL},
	    {"a", "a\r\n", NULL},
	    {"a\r\n", "a\r\n", NULL},
	    {"\r\n", "\r\n", NULL},
	    {".", ".\r\n", NULL},
	    {"a\r\n.\r\nQUIT\r\n", "a\r\n.\r\nQUIT\r\n", NULL},
	    {"..a\r\n", "..a\r\n", NULL},
	    {"a\r\n.", "a\r\n.\r\n", NULL},
	    {"a\r", "a\r\n", "a"},
	    {"a\r\n\r", "a\r\n\r\n", "a\r\n"},
	    {"a\n", "a\r\n", "a"},
	    {"a\nb", "a\r\nb\r\n", "a"},
	    {"a\r\n.\r", "a\r\n.\r\n", "a\r\n."},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const struct body_limits repair = {.repair_bare = true};
		static const struct body_limits strict = {.repair_bare = false};
		const char *out = rows[i].strict ? rows[i].strict : rows[i].repaired;
		check_row(span_text(rows[i].in), &repair, false,
		    span_text(rows[i].repaired), strlen(rows[i].in), false, BODY_FINE);
		check_row(span_text(rows[i].in), &strict, false, span_text(out),
		    strlen(rows[i].in), false,
		    rows[i].strict ? BODY_BARE_NEWLINE : BODY_FINE);
	}
}

static void eightbit_is_seen(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		bool eightbit;
	} rows[] = {
	    {"plain text of some length\r\n", false},
	    {"plain text of some length \xe9\x83\xb5\r\n", true},
	    {"\x80", true},
	    {"12345678\xff", true},
	    {"\x7f\r\n", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const struct body_limits limits = {0};
		for (size_t piece = 1; piece < 40; piece++) {
			struct result r =
			    decode(span_text(rows[i].in), &limits, false, 0, piece);
			assert_int_equal(r.eightbit, rows[i].eightbit);
			buf_free(&r.out);
		}
	}
}

static void encoder_stuffs_dots(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *wire;
	} rows[] = {
	    {"", ".\r\n"},
	    {"a\r\n", "a" END},
	    {"a", "a" END},
	    {".\r\n", ".." END},
	    {".", ".." END},
	    {"..\r\n", "..." END},
	    {"a.\r\n.b\r\n", "a.\r\n..b" END},
	    {"a\r\n.\r\nb\r\n", "a\r\n..\r\nb" END},
	    {"\r\n\r\n", "\r\n" END},
	    {"\r\n.", "\r\n.." END},
	    {"plain text\r\nof several\r\n.lines\r\n",
		"plain text\r\nof several\r\n..lines" END},
	    /* what must not be there never leaves as it is */
	    {"a\n.\nb", "a\r\n..\r\nb" END},
	    {"a\n.\r\nb", "a\r\n..\r\nb" END},
	    {"a\r.\rb", "a\r\n..\r\nb" END},
	    {"a\r\n.\r\r\nb", "a\r\n..\r\n\r\nb" END},
	    {"a\r", "a" END},
	    {"a\n", "a" END},
	    {"\r\r\n", "\r\n" END},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].text);
		for (size_t piece = 1; piece <= n + 1; piece++) {
			struct body_encoder e;
			struct buf out = {0};
			body_encoder_init(&e);
			for (size_t k = 0; k < n; k += piece)
				body_encode(&e, rows[i].text + k,
				    n - k < piece ? n - k : piece, &out);
			body_encode(&e, NULL, 0, &out);
			body_encoder_finish(&e, &out);
			assert_string_equal(buf_text(&out), rows[i].wire);
			buf_free(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(data_ends_at_crlf_dot_crlf_only),
	    cmocka_unit_test(data_goes_on_without_an_end),
	    cmocka_unit_test(nul_is_a_fault_and_the_end_still_found),
	    cmocka_unit_test(the_first_fault_stays),
	    cmocka_unit_test(limits_of_lines_and_sizes),
	    cmocka_unit_test(chunks_have_no_dots),
	    cmocka_unit_test(eightbit_is_seen),
	    cmocka_unit_test(encoder_stuffs_dots),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
