/* SPDX-License-Identifier: MIT
 * Domain names: which are names at all, which say nothing to the outside, and
 * how they are written in ASCII.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "smtp/address.h"

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define X63 X60 "xyz"

static const struct {
	const char *name;
	bool good;
} valid[] = {
    {"example.jp", true},
    {"a.b", true},
    {"EXAMPLE.JP", true},
    {"xn--fsq.jp", true},
    {"1.2.3.jp", true},
    {"3com.com", true},
    {"\xe4\xbe\x8b.jp", true},
    {X63 ".jp", true},
    {X63 "." X63 "." X63 "." X60 "x", true}, /* 253 */
    {X63 "." X63 "." X63 "." X60 "xy", false},
    {X63 "x.jp", false},
    {"", false},
    {".", false},
    {"jp", false},
    {"localhost", false},
    {"example.jp.", false},
    {".example.jp", false},
    {"a..jp", false},
    {"-a.jp", false},
    {"a-.jp", false},
    {"a.jp-", false},
    {"a_b.jp", false},
    {"a b.jp", false},
    {"192.0.2.1", false},
    {"a.123", false},
    {"[192.0.2.1]", false},
    {"a.jp/x", false},
    {"a\n.jp", false},
    {"\xe4\xbe.jp", false},
};

static void valid_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
		if (domain_is_valid(span_text(valid[i].name)) != valid[i].good)
			fail_msg("\"%s\"", valid[i].name);
	assert_false(domain_is_valid((struct span){"a\0b.jp", 6}));
}

static const struct {
	const char *name;
	bool broken;
} outside[] = {
    {"example.jp", false},
    {"example.com", false},
    {"www.example.com", false},
    {"test.example.jp", false},
    {"localhosting.co.jp", false},
    {"mylocalhost.jp", false},
    {"local.jp", false},
    {"notinvalid.org", false},
    {"example.jp.", false},
    {"", true},
    {".", true},
    {"web01", true},
    {"web01.", true},
    {"localhost", true},
    {"LOCALHOST", true},
    {"localhost.localdomain", true},
    {"localhost6.localdomain6", true},
    {"localhost.example.com", true},
    {"localhost4.example.com", true},
    {"localhost6.example.com", true},
    {"a.1x2", false},
    {"a.12", true},
    {"a.localhost", true},
    {"web.local", true},
    {"web.LOCAL.", true},
    {"web.internal", true},
    {"web.lan", true},
    {"home.arpa", true},
    {"x.home.arpa", true},
    {"ip6.arpa", false},
    {"x.invalid", true},
    {"x.test", true},
    {"x.example", true},
    {"x.corp", true},
    {"[192.0.2.1]", true},
    {"[IPv6:::1]", true},
    {"192.0.2.1", true},
};

static void names_that_say_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		if (domain_is_broken(span_text(outside[i].name)) != outside[i].broken)
			fail_msg("\"%s\"", outside[i].name);
}

static const struct {
	const char *name;
	const char *ascii; /* NULL: it can not be written so */
} written[] = {
    {"Example.JP", "example.jp"},
    {"web01", "web01"},
    {"a_b.example.jp", "a_b.example.jp"},
    {"XN--FSQ.jp", "xn--fsq.jp"},
    {"ab--cd.jp", "ab--cd.jp"},
    {"\xe4\xbe\x8b.jp", "xn--fsq.jp"},
    {"\xe4\xbe\x8b.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88", "xn--fsq.xn--zckzah"},
    {"B\xc3\xbc"
     "cher.de",
	"xn--bcher-kva.de"},
    {"bu\xcc\x88"
     "cher.de",
	"xn--bcher-kva.de"}, /* u and a combining diaeresis: NFC */
    {"stra\xc3\x9f"
     "e.de",
	"xn--strae-oqa.de"}, /* not strasse.de: not transitional */
    {X63 "." X63 "." X63 "." X60 "x", X63 "." X63 "." X63 "." X60 "x"},
    {"", NULL},
    {".", NULL},
    {"example.jp.", NULL},
    {"a..jp", NULL},
    {"-a.jp", NULL},
    {"a b.jp", NULL},
    {"[192.0.2.1]", NULL},
    {"\xe4\xbe.jp", NULL},
    {"\xff.jp", NULL},
    {"\xe2\x80\x8b.jp", NULL}, /* zero width space: nothing is left of the label */
    {X63 "x.jp", NULL},
    {X63 "." X63 "." X63 "." X63, NULL},
};

static void names_in_ascii(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
		struct buf out = {0};
		buf_add_text(&out, "KEPT ");
		bool good = domain_to_ascii(span_text(written[i].name), &out);
		assert_memory_equal(out.data, "KEPT ", 5);
		const char *expected = written[i].ascii ? written[i].ascii : "";
		if (good != (written[i].ascii != NULL) ||
		    strcmp(out.data + 5, expected) != 0)
			fail_msg("\"%s\": %d \"%s\"", written[i].name, good, out.data);
		buf_free(&out);
	}
	struct buf out = {0};
	assert_false(domain_to_ascii((struct span){"\xe4\xbe\x8b\0.jp", 7}, &out));
	assert_false(domain_to_ascii((struct span){"a\0.jp", 5}, &out));
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

static void scanning_stops_behind_the_name(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
	    {"a.b>", 3},
	    {"a.b.>", 3},
	    {"a.b", 3},
	    {"a_b", 3},
	    {"a.b:c", 3},
	    {"", 0},
	    {".", 0},
	    {"..", 0},
	    {"a..b", 0},
	    {"-a", 0},
	    {"a-", 0},
	    {"a-.b", 0},
	    {">", 0},
	    {"a,b", 1},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (domain_scan(span_text(rows[i].text)) != rows[i].n)
			fail_msg("\"%s\": %zu", rows[i].text,
			    domain_scan(span_text(rows[i].text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(valid_names),
	    cmocka_unit_test(names_that_say_nothing),
	    cmocka_unit_test(names_in_ascii),
	    cmocka_unit_test(scanning_stops_behind_the_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
