/* SPDX-License-Identifier: MIT
 * Mailboxes of header fields: what programs and people write into From and To.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "smtp/address.h"
#include "tests/unit/exact.h"

static const struct {
	const char *field;
	const char *found; /* "display|address|spec|whole" of each, a line each; "BAD" at
	                      the end */
} rows[] = {
    {" a@b", "|a@b|a@b|a@b\n"},
    {" root", "|root|root|root\n"},
    {" <a@b>", "|a@b|a@b|<a@b>\n"},
    {" Jo Doe <a@b>", "Jo Doe|a@b|a@b|Jo Doe <a@b>\n"},
    {"Jo<a@b>", "Jo|a@b|a@b|Jo<a@b>\n"},
    {"\"Doe, Jo\" <a@b>", "\"Doe, Jo\"|a@b|a@b|\"Doe, Jo\" <a@b>\n"},
    {"\"a\\\" <x@y>\" <a@b>", "\"a\\\" <x@y>\"|a@b|a@b|\"a\\\" <x@y>\" <a@b>\n"},
    {"=?UTF-8?B?44GT?= <a@b>", "=?UTF-8?B?44GT?=|a@b|a@b|=?UTF-8?B?44GT?= <a@b>\n"},
    {"=?u?Q?x,_y?= <a@b>", "=?u?Q?x,_y?=|a@b|a@b|=?u?Q?x,_y?= <a@b>\n"},
    {"=?u*en?q?x:?= <a@b>", "=?u*en?q?x:?=|a@b|a@b|=?u*en?q?x:?= <a@b>\n"},
    {"=?u?Q?x@y?= <a@b>", "=?u?Q?x@y?=|a@b|a@b|=?u?Q?x@y?= <a@b>\n"},
    {"=?u?Q?x?_,?= <a@b>", "=?u?Q?x?_,?=|a@b|a@b|=?u?Q?x?_,?= <a@b>\n"},
    {"=?u=?u?Q?,?= <a@b>", "=?u=?u?Q?,?=|a@b|a@b|=?u=?u?Q?,?= <a@b>\n"},
    /* words in which others read an address are read as they do */
    {"=?u?q?<c@d>?= <a@b>", "BAD"},
    {"=?u?b?<c@d>,?= <a@b>", "=?u?b?|c@d|c@d|=?u?b?<c@d>\n?=|a@b|a@b|?= <a@b>\n"},
    {"=?u?b?c@d,?= <a@b>", "|=?u?b?c@d|=?u?b?c@d|=?u?b?c@d\n?=|a@b|a@b|?= <a@b>\n"},
    {"=?u?b?x;c@d?= <a@b>", "|=?u?b?x|=?u?b?x|=?u?b?x\nc@d?=|a@b|a@b|c@d?= <a@b>\n"},
    {"=?u?q?\"?= \"<c@d>\"", "BAD"},
    {"=?u?q?x(y)?= <a@b>", "=?u?q?x(y)?=|a@b|a@b|=?u?q?x(y)?= <a@b>\n"},
    {"=?u?q?(?= \"x) <c@d> \" <a@b>", "BAD"},
    {"=?u,?q?x?= <a@b>", "|=?u|=?u|=?u\n?q?x?=|a@b|a@b|?q?x?= <a@b>\n"},
    {"=??q?x,?= <a@b>", "|=??q?x|=??q?x|=??q?x\n?=|a@b|a@b|?= <a@b>\n"},
    {"=?u?x?x,?= <a@b>", "|=?u?x?x|=?u?x?x|=?u?x?x\n?=|a@b|a@b|?= <a@b>\n"},
    {"=?u?q?=?u?q?x,?= <a@b>", "=?u?q?=?u?q?x,?=|a@b|a@b|=?u?q?=?u?q?x,?= <a@b>\n"},
    {"[\" ]\"<c@d>\" <a@b>", "BAD"},
    {"\x1b(\"x\" <a@b>", "BAD"},
    {"\x1b$Bx y\x1b(B <a@b>", "BAD"},
    {"\x0exy\x0f <a@b>", "BAD"},
    {"=?u?Q?=41?= <a@b>", "=?u?Q?=41?=|a@b|a@b|=?u?Q?=41?= <a@b>\n"},
    {"=? <a@b>", "=?|a@b|a@b|=? <a@b>\n"},
    {"J. Doe <a@b>", "J. Doe|a@b|a@b|J. Doe <a@b>\n"},
    {"a@b <a@b>", "a@b|a@b|a@b|a@b <a@b>\n"},
    {"\xe9\x83\xb5 <a@b>", "\xe9\x83\xb5|a@b|a@b|\xe9\x83\xb5 <a@b>\n"},
    {"\x95\x5c\x83[ <a@b>", "\x95\x5c\x83[|a@b|a@b|\x95\x5c\x83[ <a@b>\n"}, /* Shift_JIS */
    {"\x1b$B<>\"\x1b(B <a@b>", "\x1b$B<>\"\x1b(B|a@b|a@b|\x1b$B<>\"\x1b(B <a@b>\n"},
    {"\"\x1b$B\"(\x1b(B\" <a@b>", "\"\x1b$B\"(\x1b(B\"|a@b|a@b|\"\x1b$B\"(\x1b(B\" <a@b>\n"},
    {"\x1b$(D\"!\x1b(B <a@b>", "\x1b$(D\"!\x1b(B|a@b|a@b|\x1b$(D\"!\x1b(B <a@b>\n"},
    {"\"\x1b$(D\"!\x1b(B\" <a@b>", "\"\x1b$(D\"!\x1b(B\"|a@b|a@b|\"\x1b$(D\"!\x1b(B\" <a@b>\n"},
    {"\x0e\"1<\x0f <a@b>", "\x0e\"1<\x0f|a@b|a@b|\x0e\"1<\x0f <a@b>\n"},
    {"\"\x0e\"1\x0f\" <a@b>", "\"\x0e\"1\x0f\"|a@b|a@b|\"\x0e\"1\x0f\" <a@b>\n"},
    {"x\x7f <a@b>", "x\x7f|a@b|a@b|x\x7f <a@b>\n"},
    /* Shift_JIS with a backslash before the closing quote, where nothing else is meant */
    {"\"\x95\x5c\" <a@b>", "\"\x95\x5c\"|a@b|a@b|\"\x95\x5c\" <a@b>\n"},
    {"\"\x83\x5c\x95\x5c\"<a@b>", "\"\x83\x5c\x95\x5c\"|a@b|a@b|\"\x83\x5c\x95\x5c\"<a@b>\n"},
    {"\"\x95\x5c\" <c@d>\" <a@b>", "\"\x95\x5c\" <c@d>\"|a@b|a@b|\"\x95\x5c\" <c@d>\" <a@b>\n"},
    {"[shop] x <a@b>", "[shop] x|a@b|a@b|[shop] x <a@b>\n"},
    {"\xe9\x83\xb5@\xe4\xbe\x8b.jp", "|\xe9\x83\xb5@\xe4\xbe\x8b.jp|\xe9\x83\xb5@\xe4\xbe\x8b.jp|"
				     "\xe9\x83\xb5@\xe4\xbe\x8b.jp\n"},
    /* comments and folds */
    {" a@b (Jo Doe)", "|a@b|a@b|a@b\n"},
    {"(x) a@b", "|a@b|a@b|a@b\n"},
    {"(a(b)c\\)) <a@b> (d)", "|a@b|a@b|<a@b>\n"},
    {"Jo (x) Doe <(y) a@b (z)>", "Jo (x) Doe|a@b|a@b|Jo (x) Doe <(y) a@b (z)>\n"},
    {"Jo\r\n Doe\r\n\t<a@b>\r\n ", "Jo\r\n Doe|a@b|a@b|Jo\r\n Doe\r\n\t<a@b>\n"},
    {"< a@b >", "|a@b|a@b|< a@b >\n"},
    /* lists and groups */
    {"a@b, c@d", "|a@b|a@b|a@b\n|c@d|c@d|c@d\n"},
    {"a@b,<c@d>,e f <g@h>", "|a@b|a@b|a@b\n|c@d|c@d|<c@d>\ne f|g@h|g@h|e f <g@h>\n"},
    {",, a@b,,", "|a@b|a@b|a@b\n"},
    {"undisclosed-recipients:;", ""},
    {"undisclosed-recipients: ;", ""},
    {"undisclosed-recipients:", ""},
    {"My group: a@b, Jo <c@d>; e@f", "|a@b|a@b|a@b\nJo|c@d|c@d|Jo <c@d>\n|e@f|e@f|e@f\n"},
    {"\"g\":a@b;,c@d", "|a@b|a@b|a@b\n|c@d|c@d|c@d\n"},
    {"", ""},
    {" ", ""},
    {",;,", ""},
    {"(only a comment)", ""},
    /* obsolete, literal, broken but repairable */
    {"<@x,@y:a@b>", "|a@b|@x,@y:a@b|<@x,@y:a@b>\n"},
    {"\"a\".b@c", "|\"a\".b@c|\"a\".b@c|\"a\".b@c\n"},
    {"\"a b\"@c", "|\"a b\"@c|\"a b\"@c|\"a b\"@c\n"},
    {"a@b.", "|a@b|a@b.|a@b.\n"},
    {"x <a@[IPv6:::1]>", "x|a@[IPv6:::1]|a@[IPv6:::1]|x <a@[IPv6:::1]>\n"},
    {"a@[192.0.2.1]", "|a@[192.0.2.1]|a@[192.0.2.1]|a@[192.0.2.1]\n"},
    {"apache <apache>", "apache|apache|apache|apache <apache>\n"},
    {"Jo <>", "Jo|||Jo <>\n"},
    {"<>, a@b", "|||<>\n|a@b|a@b|a@b\n"},
    {"a..b.@docomo.ne.jp", "|a..b.@docomo.ne.jp|a..b.@docomo.ne.jp|a..b.@docomo.ne.jp\n"},
    /* malformed: no guess is made, and nothing behind is read */
    {"Jo Doe", "BAD"},
    {"<a@b", "BAD"},
    {"x <a@b, <c@d>", "BAD"},
    {"<a@b, c@d>", "BAD"},
    {"<<a@b>>", "BAD"},
    {"<a@b> x", "BAD"},
    {"<a@b> <c@d>", "BAD"},
    {"<a@b>>", "BAD"},
    {"a@b>", "BAD"},
    {"<", "BAD"},
    {"x <", "BAD"},
    {">", "BAD"},
    {")", "BAD"},
    {"(a", "BAD"},
    {"a@b (x", "BAD"},
    {"<a@b> (x", "BAD"},
    {"(a\\", "BAD"},
    {"\"a", "BAD"},
    {"\"a\\", "BAD"},
    {"\"a\\\"", "BAD"},
    {"\"", "BAD"},
    {"a@b\"", "BAD"},
    {"\x1b$B<a@b>", "BAD"},
    {"\x1b", "BAD"},
    {"\x1b$", "BAD"},
    {"\x1b$A<\x1b(B <a@b>", "BAD"},
    {"\x1b$@<\x1b(B <a@b>", "\x1b$@<\x1b(B|a@b|a@b|\x1b$@<\x1b(B <a@b>\n"},
    {"=?u?Q?x", "|=?u?Q?x|=?u?Q?x|=?u?Q?x\n"},
    {"=?u?Q?x?", "|=?u?Q?x?|=?u?Q?x?|=?u?Q?x?\n"},
    {"=?u?Q?x?=,a@b", "|=?u?Q?x?=|=?u?Q?x?=|=?u?Q?x?=\n|a@b|a@b|a@b\n"},
    {"=?u?Q?,\t?= <a@b>", "|=?u?Q?|=?u?Q?|=?u?Q?\n?=|a@b|a@b|?= <a@b>\n"},
    {"=", "|=|=|=\n"},
    {"[a,b] <a@b>", "[a,b]|a@b|a@b|[a,b] <a@b>\n"},
    {"[]<a@b>", "[]|a@b|a@b|[]<a@b>\n"},
    {"\x1b[m <a@b>", "BAD"},
    {"\x1b$(D\"! <a@b>", "BAD"},
    {"\x0e\"1 <a@b>", "BAD"},
    {"x\x0f <a@b>", "BAD"},
    {"\"\xb1\x5c\" <a@b>", "BAD"},       /* half-width kana, of one byte */
    {"\"\xe3\x81\x82\\\" <a@b>", "BAD"}, /* UTF-8 */
    {"\"\x95\x5c\" <c@d>, \"x\" <a@b>", "BAD"},
    {"x\x07 <a@b>", "BAD"},
    {"\"x\\\x07\" <a@b>", "BAD"},
    {":", "BAD"},
    {": a@b", "BAD"},
    {"c@d: a@b", "BAD"},
    {"\"c@d\" (c@d) =?u?q?c@d?=: a@b", "|a@b|a@b|a@b\n"},
    {"a@@b", "BAD"},
    {"a@b@c", "BAD"},
    {"a @ b", "BAD"},
    {"a(x)@b", "BAD"},
    {"a b@c", "BAD"},
    {"a@b, c d, e@f", "|a@b|a@b|a@b\nBAD"},
    {"a@[192.0.2.1", "BAD"},
    {"[", "BAD"},
    {"\\", "BAD"},
    {"<mailto:a@b>", "BAD"},
    {"<\"a\r\n b\"@c>", "BAD"},
    {"=?u?Q?x y, <a@b>", "BAD"},
    {"=?u?Q?x,_<y>?= <a@b>", "|=?u?Q?x|=?u?Q?x|=?u?Q?x\nBAD"},
};

static void an_at_that_stands_bare_is_seen(void **state)
{
	static const struct {
		const char *phrase;
		bool bare;
	} phrases[] = {
	    {"", false},
	    {"x", false},
	    {"@", true},
	    {"c@d", true},
	    {"x \"c\"@d", true},
	    {"[c@d,]", true},
	    {"[\"c@d", true},
	    {"\xe5\x81@d", false}, /* not UTF-8 */
	    {"\xe3\x81\x82@d", true},
	    {"\"c@d\"", false},
	    {"x (c@d) [y] =?u?q?c@d?=", false},
	    {"=?u?q?c@d:?=", true},
	    {"(c@d", true},
	    {"\x82\xa0\x81@\x82\xa0", false}, /* Shift_JIS: a wide space */
	    {"\x82\xa0 @\x82\xa0", true},
	    {"\x1b$Bc@d!\x1b(B", false},
	    {"\x1b$B!!\x1b(B@", true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		struct span phrase = exact(phrases[i].phrase);
		if (mailbox_has_bare_at(phrase) != phrases[i].bare)
			fail_msg("\"%s\"", phrases[i].phrase);
		exact_free(phrase);
	}
}

static void japanese_is_read_as_bytes(void **state)
{
	static const char *const plain[][2] = {
	    {"<c@d.jp>", ""}, /* no shift: nothing to look for */
	    {"\x1b$B%7%g\x1b(B <a@b.jp>", "a@b.jp\na@b.jp\n"},
	    {"\x1b$B<c@d.jp>\x1b(B", "c@d.jp\nc@d.jp\n"},
	    {"\x0e<C@D.JP>\x0f", "C@D.JP\nC@D.JP\n"},
	    {"\"\x1b$B\"<c@d.jp>\x1b(B\"", "c@d.jp\nc@d.jp\n"},
	    {"\x1b(B \"x) <c@d.jp.>\"", "c@d.jp\nc@d.jp\n"},
	    {"\x1b$Bc@d.jp,\x1b(B", "\x1b$Bc@d.jp\n\x1b$Bc@d.jp\n"},
	    {"\x1b$B<c@(>)d(,).jp>\x1b(B", "c@d.jp\n"},
	    {"\x1b$B@(<c@d.jp>)x\x1b(B", "c@d.jp\n"},
	    {"\x1b$B<@x.jp,@y:c@d.jp>\x1b(B", "@x.jp\nc@d.jp\n@x.jp\nc@d.jp\n"},
	    {"\x1b$B<c@d.jp\x1b(B", ""},
	    {"\x1b$B3t<02q<R@P0.>&\x1b(B", ""}, /* a name: "R@P0." has no dot within */
	    {"\x1b$Bc@d.jp\x1b(B", ""},
	    {"\x1b$B<c@@d.jp>@(@(", "@d.jp\n@d.jp\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		struct span field = exact(plain[i][0]);
		struct buf lines = {0};
		struct address a;
		mailbox_plain(field, &lines);
		if (strcmp(buf_text(&lines), plain[i][1]) != 0)
			fail_msg("\"%s\": \"%s\"", plain[i][0], buf_text(&lines));
		struct span rest = span_buf(&lines);
		while (mailbox_plain_next(&rest, &a)) {
			assert_int_equal(a.form, ADDRESS_DOMAIN);
			assert_int_equal(a.local.n + 1 + a.domain.n, a.text.n);
		}
		assert_int_equal(rest.n, 0);
		buf_free(&lines);
		exact_free(field);
	}
}

static void add(struct buf *b, struct span s, const char *end)
{
	buf_add(b, s.p, s.n);
	buf_add_text(b, end);
}

static void fields_are_taken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span field = exact(rows[i].field);
		struct buf b = {0};
		struct mailbox m;
		enum mailbox_result result;
		size_t at = 0;
		while ((result = mailbox_next(field, &at, &m)) == MAILBOX_FOUND) {
			add(&b, m.display, "|");
			add(&b, m.address.text, "|");
			add(&b, m.spec, "|");
			add(&b, m.whole, "\n");
		}
		if (result == MAILBOX_BAD)
			buf_add_text(&b, "BAD");
		if (strcmp(buf_text(&b), rows[i].found) != 0)
			fail_msg("\"%s\": \"%s\"", rows[i].field, buf_text(&b));
		assert_int_equal(at, field.n);
		assert_int_equal(mailbox_next(field, &at, &m), MAILBOX_END);
		buf_free(&b);
		exact_free(field);
	}
}

static void nul_is_malformed(void **state)
{
	(void)state;
	static const char *const fields[] = {
	    "a\0b", "\"\0\"", "(\0)", "<\0>", "[\0]", "\"\\\0\""};
	static const size_t sizes[] = {3, 3, 3, 3, 3, 4};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t at = 0;
		struct mailbox m;
		if (mailbox_next((struct span){fields[i], sizes[i]}, &at, &m) !=
		    MAILBOX_BAD)
			fail_msg("field %zu", i);
	}
}

/* Names that only make sense in Shift_JIS, one behind the other: a second look at each
 * would take the square of their number. */
static void long_fields_are_not_looked_at_twice(void **state)
{
	(void)state;
	struct buf b = {0};
	struct mailbox m;
	size_t at = 0;
	for (int i = 0; i < 300000; i++)
		buf_add_text(&b, "\x95\x5c\"");
	buf_add_text(&b, "<a@b>");
	assert_int_equal(mailbox_next(span_buf(&b), &at, &m), MAILBOX_BAD);
	buf_free(&b);
}

static void deep_comments_take_no_stack(void **state)
{
	(void)state;
	struct buf b = {0};
	struct mailbox m;
	size_t at = 0;
	for (int i = 0; i < 100000; i++)
		buf_add_byte(&b, '(');
	assert_int_equal(mailbox_next(span_buf(&b), &at, &m), MAILBOX_BAD);
	for (int i = 0; i < 100000; i++)
		buf_add_byte(&b, ')');
	buf_add_text(&b, "a@b");
	at = 0;
	assert_int_equal(mailbox_next(span_buf(&b), &at, &m), MAILBOX_FOUND);
	assert_true(span_is(m.address.text, "a@b"));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_are_taken_apart),
	    cmocka_unit_test(an_at_that_stands_bare_is_seen),
	    cmocka_unit_test(japanese_is_read_as_bytes),
	    cmocka_unit_test(nul_is_malformed),
	    cmocka_unit_test(long_fields_are_not_looked_at_twice),
	    cmocka_unit_test(deep_comments_take_no_stack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
