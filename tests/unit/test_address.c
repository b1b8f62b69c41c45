/* SPDX-License-Identifier: MIT
 * Paths, bare addresses and domain names, good and hostile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "smtp/address.h"
#include "tests/unit/exact.h"

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define BAD (-1)

static void check_span(const char *of, struct span s, const char *text)
{
	if (!span_is(s, text))
		fail_msg("%s: \"%.*s\" instead of \"%s\"", of, (int)s.n, s.p, text);
}

static const struct {
	const char *path;
	int form;
	const char *text;
	const char *rest; /* behind the path */
} paths[] = {
    {"<>", ADDRESS_NULL, "", ""},
    {"<> SIZE=1", ADDRESS_NULL, "", " SIZE=1"},
    {"<a@b>", ADDRESS_DOMAIN, "a@b", ""},
    {"<a@localhost>", ADDRESS_DOMAIN, "a@localhost", ""},
    {"<a@web01>x", ADDRESS_DOMAIN, "a@web01", "x"},
    {"<user@example.jp>", ADDRESS_DOMAIN, "user@example.jp", ""},
    {"<user@example.jp.>", ADDRESS_DOMAIN, "user@example.jp", ""},
    {"<user@my_host.example.jp>", ADDRESS_DOMAIN, "user@my_host.example.jp", ""},
    {"<postmaster>", ADDRESS_LOCAL, "postmaster", ""},
    {"<\"post master\">", ADDRESS_LOCAL, "\"post master\"", ""},
    {"<a.b+c=d!e#f$g%h&i'j*k/l?m^n_o`p{q|r}s~t@b>", ADDRESS_DOMAIN,
	"a.b+c=d!e#f$g%h&i'j*k/l?m^n_o`p{q|r}s~t@b", ""},
    {"<a..b.@docomo.ne.jp>", ADDRESS_DOMAIN, "a..b.@docomo.ne.jp", ""},
    {"<.a@docomo.ne.jp>", ADDRESS_DOMAIN, ".a@docomo.ne.jp", ""},
    {"<\"a b\"@c>", ADDRESS_DOMAIN, "\"a b\"@c", ""},
    {"<\"a@b\"@c>", ADDRESS_DOMAIN, "\"a@b\"@c", ""},
    {"<\"a>b\"@c>", ADDRESS_DOMAIN, "\"a>b\"@c", ""},
    {"<\"a\\\"b\"@c>", ADDRESS_DOMAIN, "\"a\\\"b\"@c", ""},
    {"<\"a\\\\\"@c>", ADDRESS_DOMAIN, "\"a\\\\\"@c", ""},
    {"<\"\"@c>", ADDRESS_DOMAIN, "\"\"@c", ""},
    {"<@x,@y:a@b>", ADDRESS_DOMAIN, "a@b", ""},
    {"<@x.example,@[192.0.2.1]:a@b>", ADDRESS_DOMAIN, "a@b", ""},
    {"<@[IPv6:::1]:a@b>", ADDRESS_DOMAIN, "a@b", ""},
    {"<a@[192.0.2.1]>", ADDRESS_LITERAL, "a@[192.0.2.1]", ""},
    {"<a@[IPv6:2001:db8::1]>", ADDRESS_LITERAL, "a@[IPv6:2001:db8::1]", ""},
    {"<a@[ipv6:::ffff:192.0.2.1]>", ADDRESS_LITERAL, "a@[ipv6:::ffff:192.0.2.1]", ""},
    {"<a@[x400:abc]>", ADDRESS_LITERAL, "a@[x400:abc]", ""},
    {"<\xe9\x83\xb5@\xe4\xbe\x8b.jp>", ADDRESS_DOMAIN, "\xe9\x83\xb5@\xe4\xbe\x8b.jp", ""},
    {"<" X60 "wxyz@b>", ADDRESS_DOMAIN, X60 "wxyz@b", ""},
    {"<" X60 "vwxyz@b>", ADDRESS_DOMAIN, X60 "vwxyz@b", ""},
    {"<srs0=" X60 X60 X60 X60 "=x@b>", ADDRESS_DOMAIN, "srs0=" X60 X60 X60 X60 "=x@b", ""},
    {"<a@" X60 "xyz.jp>", ADDRESS_DOMAIN, "a@" X60 "xyz.jp", ""},
    /* lenient only */
    {"a@b", BAD, "", ""},
    {"postmaster", BAD, "", ""},
    /* never */
    {"", BAD, "", ""},
    {"<", BAD, "", ""},
    {"< >", BAD, "", ""},
    {"< a@b>", BAD, "", ""},
    {"<a@b >", BAD, "", ""},
    {"<a b@c>", BAD, "", ""},
    {"<a@b", BAD, "", ""},
    {"<a@>", BAD, "", ""},
    {"<@b>", BAD, "", ""},
    {"<@>", BAD, "", ""},
    {"<a@b@c>", BAD, "", ""},
    {"<a@@b>", BAD, "", ""},
    {"<<a@b>>", BAD, "", ""},
    {"<a@b,c@d>", BAD, "", ""},
    {"<a(x)@b>", BAD, "", ""},
    {"<;cmd;@b>", BAD, "", ""}, /* CVE-2020-7247 */
    {"<a\\@b>", BAD, "", ""},
    {"<\"a\\\"@b>", BAD, "", ""},
    {"<\"a\\", BAD, "", ""},
    {"<\"a", BAD, "", ""},
    {"<\"", BAD, "", ""},
    {"<\"a\"b@c>", BAD, "", ""},
    {"<a\"b\"@c>", BAD, "", ""},
    {"<\"a\".b@c>", BAD, "", ""},
    {"<\"a\nb\"@c>", BAD, "", ""},
    {"<\"a\\\nb\"@c>", BAD, "", ""},
    {"<\"a\tb\"@c>", BAD, "", ""},
    {"<a\r@b>", BAD, "", ""},
    {"<a\x1b@b>", BAD, "", ""},
    {"<a\x7f@b>", BAD, "", ""},
    {"<a@b\x7f>", BAD, "", ""},
    {"<a@b..c>", BAD, "", ""},
    {"<a@.b>", BAD, "", ""},
    {"<a@b..>", BAD, "", ""},
    {"<a@.>", BAD, "", ""},
    {"<a@-b.c>", BAD, "", ""},
    {"<a@b-.c>", BAD, "", ""},
    {"<a@b.c->", BAD, "", ""},
    {"<a@b.-c>", BAD, "", ""},
    {"<a@b.-.>", BAD, "", ""},
    {"<a@b/c>", BAD, "", ""},
    {"<a@" X60 "wxyz.jp>", BAD, "", ""},
    {"<a@jp." X60 "wxyz>", BAD, "", ""},
    {"<@x,y:a@b>", BAD, "", ""},
    {"<@x,:a@b>", BAD, "", ""},
    {"<@:a@b>", BAD, "", ""},
    {"<@x:>", BAD, "", ""},
    {"<@x a@b>", BAD, "", ""},
    {"<@x:@y:a@b>", BAD, "", ""},
    {"<a@[192.0.2]>", BAD, "", ""},
    {"<a@[192.0.2.256]>", BAD, "", ""},
    {"<a@[192.0.2.1>", BAD, "", ""},
    {"<a@[]>", BAD, "", ""},
    {"<a@[", BAD, "", ""},
    {"<a@[[192.0.2.1]]>", BAD, "", ""},
    {"<a@[192.0.2.1].>", BAD, "", ""},
    {"<a@[192.0.2.1]b>", BAD, "", ""},
    {"<a@[2001:db8::1]>", BAD, "", ""},
    {"<a@[IPv6:fe80::1%eth0]>", BAD, "", ""},
    {"<a@[IPv6:192.0.2.1]>", BAD, "", ""},
    {"<a@[x400:]>", BAD, "", ""},
    {"<a@[x-:y]>", BAD, "", ""},
    {"<a@[x:y z]>", BAD, "", ""},
    {"<a@[x/y:z]>", BAD, "", ""},
    {"<a@[x-y:z]>", ADDRESS_LITERAL, "a@[x-y:z]", ""},
    {"<a@[x:y\\z]>", ADDRESS_LITERAL, "a@[x:y\\z]", ""},
    {"<\xff@b>", BAD, "", ""},
    {"<a\xc0\x80@b>", BAD, "", ""},
    {"<a\xed\xa0\x80@b>", BAD, "", ""},
    {"<a\xc2\x85@b>", BAD, "", ""}, /* NEL, a C1 control */
    {"<a@\xe4\xbe.jp>", BAD, "", ""},
};

static void paths_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct span s = exact(paths[i].path);
		struct address a = {0};
		size_t used = 12345;
		bool good = address_parse_path(s, false, &a, &used);
		if (good != (paths[i].form != BAD) ||
		    (good && (int)a.form != paths[i].form))
			fail_msg("%s: %d, form %d", paths[i].path, good, (int)a.form);
		if (!good) {
			assert_int_equal(used, 12345);
			exact_free(s);
			continue;
		}
		check_span(paths[i].path, a.text, paths[i].text);
		check_span(
		    paths[i].path, (struct span){s.p + used, s.n - used}, paths[i].rest);
		assert_int_equal(a.utf8, !span_is_ascii(a.text));
		exact_free(s);
	}
}

static void parts_of_an_address(void **state)
{
	(void)state;
	static const struct {
		const char *text, *local, *domain;
	} rows[] = {
	    {"<a.b@example.jp.>", "a.b", "example.jp"},
	    {"<@x:\"a@b\"@[192.0.2.1]>", "\"a@b\"", "[192.0.2.1]"},
	    {"<root>", "root", ""},
	    {"<>", "", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address a;
		size_t used;
		assert_true(
		    address_parse_path(span_text(rows[i].text), false, &a, &used));
		check_span(rows[i].text, a.local, rows[i].local);
		check_span(rows[i].text, a.domain, rows[i].domain);
	}
}

static void lenient_paths_end_at_a_blank(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		size_t used; /* 0: refused */
	} rows[] = {
	    {"a@b", 3},
	    {"a@b SIZE=1", 3},
	    {"a@b\tx", 3},
	    {"root", 4},
	    {"@x:a@b", 6},
	    {"<a@b>", 5},
	    {"a@b.", 4},
	    {"a@b>", 0},
	    {"a@b,c@d", 0},
	    {"", 0},
	    {" a@b", 0},
	    {"a@b@c", 0},
	    {"@b", 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address a;
		size_t used = 0;
		struct span path = exact(rows[i].path);
		bool good = address_parse_path(path, true, &a, &used);
		exact_free(path);
		if (good != (rows[i].used > 0) || used != rows[i].used)
			fail_msg("\"%s\": %d, %zu", rows[i].path, good, used);
	}
}

static void nul_never_passes(void **state)
{
	(void)state;
	struct address a;
	size_t used;
	assert_false(address_parse_path((struct span){"<a\0b@c>", 7}, true, &a, &used));
	assert_false(address_parse_path((struct span){"<\"\0\"@c>", 7}, true, &a, &used));
	assert_false(
	    address_parse_path((struct span){"<\"\\\0\"@c>", 8}, true, &a, &used));
	assert_false(address_parse_path((struct span){"<a@b\0c>", 7}, true, &a, &used));
	assert_false(
	    address_parse_path((struct span){"<a@[192.0.2.1\0]>", 16}, true, &a, &used));
	assert_false(
	    address_parse_path((struct span){"<a@[x:y\0]>", 10}, true, &a, &used));
}

/* RFC 5321 section 4.5.3.1: what is promised must fit, and as much more of the local part
 * as the whole has room for. One more must not. */
static void lengths_at_their_limits(void **state)
{
	(void)state;
	struct buf b = {0};
	struct address a;
	while (b.len < ADDRESS_MAX - 2)
		buf_add_byte(&b, 'a');
	assert_true(address_parse(span_buf(&b), &a));
	buf_add_text(&b, "@b");
	assert_true(address_parse(span_buf(&b), &a));
	assert_int_equal(a.local.n, ADDRESS_MAX - 2);
	buf_add_byte(&b, 'b');
	assert_false(address_parse(span_buf(&b), &a));
	buf_clear(&b);
	buf_add_text(&b, X60 "wxyz@");
	while (b.len < ADDRESS_MAX - 10)
		buf_add_text(&b, X10 "x.");
	while (b.len < ADDRESS_MAX)
		buf_add_byte(&b, 'y');
	assert_int_equal(b.len, ADDRESS_MAX);
	assert_true(address_parse(span_buf(&b), &a));
	buf_add_byte(&b, 'z');
	assert_false(address_parse(span_buf(&b), &a));
	buf_free(&b);
}

static void bare_addresses(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
	    {"a@b", true},
	    {"root", true},
	    {"a@b.", true},
	    {"\"a\".b@c", true},
	    {"a.\"b\".c@d", true},
	    {"\"a\".\"b\"@c", true},
	    {"", false},
	    {"<a@b>", false},
	    {"<>", false},
	    {"a@b c", false},
	    {" a@b", false},
	    {"@x:a@b", false},
	    {"\"a\"\"b\"@c", false},
	    {"a\"b\"@c", false},
	    {"a.\"b@c", false},
	    {"\"a\"b@c", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address a;
		struct span text = exact(rows[i].text);
		if (address_parse(text, &a) != rows[i].good)
			fail_msg("\"%s\"", rows[i].text);
		exact_free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths_parse),
	    cmocka_unit_test(parts_of_an_address),
	    cmocka_unit_test(lenient_paths_end_at_a_blank),
	    cmocka_unit_test(nul_never_passes),
	    cmocka_unit_test(lengths_at_their_limits),
	    cmocka_unit_test(bare_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
