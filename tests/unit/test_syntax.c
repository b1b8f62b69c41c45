/* SPDX-License-Identifier: MIT
 * The kinds of text that the configuration holds: what is taken and in which form it is
 * written down, and what is said of the rest.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "conf/syntax.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define X31 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X30 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X63 X31 "x" X31
#define X64 X63 "x"
#define NAME253 X63 "." X63 "." X63 "." X31 X30
#define NAME255 X63 "." X63 "." X63 "." X63
/* letters that are none of ASCII's */
#define TEN "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4"

struct row {
	const struct syntax *syntax;
	const char *text;
	const char *written; /* NULL: it is refused */
	const char *said;    /* then */
};

/* What stands in OUT before it stays, and is all there is after a mistake. */
static void judge(const struct row *row, struct span text)
{
	struct buf out = {0};
	struct why why = {0};
	buf_add_text(&out, "before ");
	int result = row->syntax->parse(text, &out, &why);
	const char *said = result < 0 ? why.text : "nothing";
	if ((result == 0) != (row->written != NULL) || (result < 0 && strcmp(said, row->said) != 0))
		fail_msg("%s %s: said \"%s\"", row->syntax->word, row->text, said);
	struct span written = {out.data + 7, out.len - 7};
	assert_memory_equal(out.data, "before ", 7);
	assert_true(span_is(written, row->written ? row->written : ""));
	buf_free(&out);
}

static void judge_all(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		judge(&rows[i], span_text(rows[i].text));
}

#define NOT_A_NAME "is not a host name, expected letters, digits, hyphens and dots"
#define HYPHEN "has a hyphen beside a dot or at an end, which no host name has"
#define DOT "has a dot too many, expected \"example.org\""

static void hosts(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {&syntax_host, "Relay.EXAMPLE.org", "relay.example.org", NULL},
	    {&syntax_host, "a", "a", NULL},
	    {&syntax_host, "1.a-b.x9", "1.a-b.x9", NULL},
	    {&syntax_host, NAME253, NAME253, NULL},
	    {&syntax_host, NAME255, NULL, "is 255 characters long, expected at most 253"},
	    {&syntax_host, X64 ".org", NULL,
		"has a part of 64 characters between dots, expected at most 63"},
	    {&syntax_host, "a..b", NULL, DOT},
	    {&syntax_host, ".b", NULL, DOT},
	    {&syntax_host, "a_b.org", NULL, NOT_A_NAME},
	    {&syntax_host, "a.b/c", NULL, NOT_A_NAME},
	    {&syntax_host, "a[b", NULL, NOT_A_NAME},
	    {&syntax_host, "-a.org", NULL, HYPHEN},
	    {&syntax_host, "a.b-", NULL, HYPHEN},
	    {&syntax_host, "a.99999999999999999999", "a.99999999999999999999", NULL},
	    {&syntax_host, "a.1", NULL,
		"ends in a number, expected a host name like \"relay.example.org\""},
	    {&syntax_host, NAME255 NAME255 NAME255 NAME255, NULL, "is too long for a host name"},
	    /* U-labels */
	    {&syntax_host,
		"B\xc3\xbc"
		"cher.example",
		"xn--bcher-kva.example", NULL},
	    {&syntax_host, "\xe4\xbe\x8b.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88",
		"xn--fsq.xn--zckzah", NULL},
	    {&syntax_host, "\xc3\xbc.1", NULL,
		"ends in a number, expected a host name like \"relay.example.org\""},
	    {&syntax_host, "\xc3\xbc_b.example", NULL, NOT_A_NAME},
	};
	struct buf out = {0};
	struct why why = {0};
	judge_all(rows, COUNT(rows));
	/* why, the library says in its own words */
	assert_int_equal(syntax_host.parse(span_text(TEN TEN TEN TEN TEN TEN TEN), &out, &why), -1);
	assert_int_equal(strncmp(why.text, "is not an international host name (", 35), 0);
	assert_int_equal(out.len, 0);
}

#define LOCAL                                                                                      \
	"expected at most 64 letters, digits, dots and hyphens before the @, without quotes "      \
	"and spaces"

static void mail_addresses(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {&syntax_mail, "Bounce@Example.ORG", "Bounce@example.org", NULL},
	    {&syntax_mail, "a.b+c=d@example.org", "a.b+c=d@example.org", NULL},
	    {&syntax_mail, "!#$%&'*+-/=?^_`{|}~@a", "!#$%&'*+-/=?^_`{|}~@a", NULL},
	    {&syntax_mail, X64 "@a", X64 "@a", NULL},
	    {&syntax_mail, "admin", NULL,
		"has no @, expected an address like \"bounce@example.org\""},
	    {&syntax_mail, "@example.org", NULL, LOCAL},
	    {&syntax_mail, X64 "x@a", NULL, LOCAL},
	    {&syntax_mail, ".a@a", NULL, LOCAL},
	    {&syntax_mail, "a.@a", NULL, LOCAL},
	    {&syntax_mail, "a..b@a", NULL, LOCAL},
	    {&syntax_mail, "a@b@a", NULL, LOCAL},
	    {&syntax_mail, "\"a b\"@a", NULL, LOCAL},
	    {&syntax_mail, "\xc3\xbc@a", NULL, LOCAL},
	    {&syntax_mail, "a@", NULL, "has no domain behind the @"},
	    {&syntax_mail, "a@b_c", NULL, "the domain: " NOT_A_NAME},
	    {&syntax_mail, "a@[192.0.2.1]", NULL, "the domain: " NOT_A_NAME},
	    {&syntax_mail, "a@\xc3\xbc.example", "a@xn--tda.example", NULL},
	};
	judge_all(rows, COUNT(rows));
	judge(&(struct row){&syntax_mail, "a NUL", NULL, LOCAL}, (struct span){"a\0b@a", 5});
}

#define NAME "expected up to 63 letters, digits, \"-\", \"_\" and \".\", a letter or digit first"
#define PATTERN "expected \"*\", \"example.org\" or \"*.example.org\""

static void names_and_patterns(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {&syntax_name, "Ip_1.a-b", "Ip_1.a-b", NULL},
	    {&syntax_name, X63, X63, NULL},
	    {&syntax_name, X64, NULL, NAME},
	    {&syntax_name, "-a", NULL, NAME},
	    {&syntax_name, "a b", NULL, NAME},
	    {&syntax_label, "S1.2026", "s1.2026", NULL},
	    {&syntax_label, "2026", "2026", NULL},
	    {&syntax_label, "a_b", NULL, NOT_A_NAME},
	    {&syntax_label, "a.", NULL, DOT},
	    {&syntax_pattern, "*", "*", NULL},
	    {&syntax_pattern, "*.Example.org", "*.example.org", NULL},
	    {&syntax_pattern, "Example.org", "example.org", NULL},
	    {&syntax_pattern, "*.", NULL, PATTERN},
	    {&syntax_pattern, "*.*.org", NULL, PATTERN},
	    {&syntax_pattern, "**", NULL, PATTERN},
	};
	judge_all(rows, COUNT(rows));
}

#define DATE "expected a date like \"2026-11-01\""

static void dates(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {&syntax_date, "1970-01-01", "1970-01-01", NULL},
	    {&syntax_date, "9999-12-31", "9999-12-31", NULL},
	    {&syntax_date, "2024-02-29", "2024-02-29", NULL},
	    {&syntax_date, "2000-02-29", "2000-02-29", NULL},
	    {&syntax_date, "2100-02-29", NULL, "that month has no day 29"},
	    {&syntax_date, "2026-04-31", NULL, "that month has no day 31"},
	    {&syntax_date, "1969-12-31", NULL, DATE},
	    {&syntax_date, "2026-00-01", NULL, DATE},
	    {&syntax_date, "2026-13-01", NULL, DATE},
	    {&syntax_date, "2026-01-00", NULL, DATE},
	    {&syntax_date, "2026-01-32", NULL, DATE},
	    {&syntax_date, "2026/01-01", NULL, DATE},
	    {&syntax_date, "2026-01/01", NULL, DATE},
	    {&syntax_date, "20x6-01-01", NULL, DATE},
	    {&syntax_date, "2026-x1-01", NULL, DATE},
	    {&syntax_date, "2026-01-0x", NULL, DATE},
	    {&syntax_date, "2026-01-011", NULL, DATE},
	};
	judge_all(rows, COUNT(rows));
}

#define ADDRESS                                                                                    \
	"expected a numeric IPv4 or IPv6 address without brackets and port (\"0.0.0.0\" and "      \
	"\"::\" are all of them), or the absolute path of a Unix socket"
#define SERVER "expected a numeric address, with a port if it is not 53: \"127.0.0.1@5353\""
#define PEER                                                                                       \
	"expected a host name or a numeric address without brackets; the port is a key of its "    \
	"own"

static void paths_and_addresses(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {&syntax_path, "/var/spool/x y", "/var/spool/x y", NULL},
	    {&syntax_path, "var", NULL, "expected an absolute path (\"/...\")"},
	    {&syntax_socket, "/" X31 X63, "/" X31 X63, NULL},
	    {&syntax_socket, "/" X63 X63, NULL,
		"is 127 bytes long, the path of a Unix socket has at most 107"},
	    {&syntax_socket, "a.sock", NULL, "expected an absolute path (\"/...\")"},
	    {&syntax_listen, "/run/a.sock", "/run/a.sock", NULL},
	    {&syntax_listen, "::", "::", NULL},
	    {&syntax_listen, "127.0.0.1:25", NULL, ADDRESS},
	    {&syntax_listen, "2001:db8:0000:0000:0000:0000:0000:0000:0000:0001", NULL, ADDRESS},
	    {&syntax_peer, "192.0.2.1", "192.0.2.1", NULL},
	    {&syntax_peer, "Smart.Example", "smart.example", NULL},
	    {&syntax_peer, "smart.example:587", NULL, PEER},
	    {&syntax_peer, "[192.0.2.1]", NULL, PEER},
	    {&syntax_server, "::1@5353", "::1@5353", NULL},
	    {&syntax_server, "::1@", NULL, SERVER},
	    {&syntax_server, "::1@65536", NULL, SERVER},
	    {&syntax_server, "one.test", NULL, SERVER},
	    {&syntax_ipv4, "192.0.2.10", "192.0.2.10", NULL},
	    {&syntax_ipv6, "2001:db8::10", "2001:db8::10", NULL},
	    {&syntax_network, "10.0.0.0/8", "10.0.0.0/8", NULL},
	    {&syntax_network, "10.0.0.0/", NULL, "expected a number from 0 to 32 behind the slash"},
	    {&syntax_network, "a/8", NULL,
		"expected a network like \"192.0.2.0/24\", \"2001:db8::/32\" or one address"},
	    {&syntax_trusted, "2001:db8::/32", "2001:db8::/32", NULL},
	    {&syntax_balancer, "a", NULL,
		"expected a network like \"192.0.2.0/24\", \"2001:db8::/32\" or one address"},
	};
	judge_all(rows, COUNT(rows));
}

/* What holds for any text, whatever its kind. */
static void clean_texts(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf text = {0};
	assert_int_equal(syntax_clean(span_text("a \xc2\xa0\xc3\x9f\xe4\xbe\x8b"), &why), 0);
	assert_int_equal(syntax_clean(span_text("a\x1f"), &why), -1);
	assert_string_equal(
	    why.text, "holds a control character at byte 2, expected a line of text");
	assert_int_equal(syntax_clean(span_text("ab\x7f"), &why), -1);
	assert_non_null(strstr(why.text, "at byte 3"));
	assert_int_equal(syntax_clean(span_text("\xc2\x9f"), &why), -1);
	assert_non_null(strstr(why.text, "at byte 1"));
	assert_int_equal(syntax_clean(span_text("\xc2"), &why), -1);
	assert_string_equal(why.text, "is not valid UTF-8");
	for (int i = 0; i < 4096; i++)
		buf_add_byte(&text, 'x');
	assert_int_equal(syntax_clean(span_buf(&text), &why), 0);
	buf_add_byte(&text, 'x');
	assert_int_equal(syntax_clean(span_buf(&text), &why), -1);
	assert_string_equal(why.text, "is 4097 bytes long, expected at most 4096");
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts),
	    cmocka_unit_test(mail_addresses),
	    cmocka_unit_test(names_and_patterns),
	    cmocka_unit_test(dates),
	    cmocka_unit_test(paths_and_addresses),
	    cmocka_unit_test(clean_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
