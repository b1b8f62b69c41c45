/* SPDX-License-Identifier: MIT
 * What an entry of clients makes of a From: that has to be repaired: an address that it
 * may send as, in the domain that signs.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "relayd/policy.h"

static struct conf_domain domains[] = {
    {.name = (char *)"example.jp", .return_path = (char *)"bounce@example.jp"},
    {.name = (char *)"other.org", .return_path = (char *)"bounce@other.org"},
};
static const struct conf conf = {.domains = domains, .domain_count = 2,
    .return_path = {.default_domain = (char *)"example.jp"}};

/* FROM: what leaves; NULL: the message is refused. */
static void expect_of(const char *envelope, const struct conf_client *entry, const char *header,
    const char *from, const char *domain)
{
	struct return_path result;
	struct address sender;
	struct header h;
	struct why why = {0};
	assert_true(address_parse(span_text(envelope), &sender));
	assert_int_equal(header_parse(span_text(header), &h, &why), 0);
	int decided = policy_decide(&conf, entry, &sender, &h, &result, &why);
	if (!from) {
		assert_int_equal(decided, -1);
	} else {
		if (decided != 0)
			fail_msg("refused: %s", why.text);
		assert_string_equal(buf_text(&result.from), from);
		assert_string_equal(result.domain->name, domain);
	}
	return_path_free(&result);
	header_free(&h);
}

static void expect(const struct conf_client *entry, const char *header, const char *from,
    const char *domain)
{
	expect_of("root@web01", entry, header, from, domain);
}

static void test_repaired_from(void **state)
{
	static char *shop[] = {(char *)"shop.example.jp"};
	static char *whole[] = {(char *)"example.jp"};
	static char *other[] = {(char *)"other.org"};
	static char *boss[] = {(char *)"boss@other.org", (char *)"shop@example.jp"};
	struct conf_client entry = {.name = (char *)"shop", .domains = shop, .domain_count = 1};
	(void)state;
	expect(&entry, "From: Cron <root@web01>\r\n", "Cron <postmaster@shop.example.jp>",
	    "example.jp");
	expect(&entry, "To: a@b.org\r\n", "postmaster@shop.example.jp", "example.jp");
	expect(&entry, "From: boss@example.jp\r\n", NULL, NULL);
	entry.domains = whole;
	expect(&entry, "From: root@web01\r\n", "bounce@example.jp", "example.jp");
	entry.domains = other;
	expect(&entry, "From: root@web01\r\n", "bounce@other.org", "other.org");
	entry.from = boss;
	entry.from_count = 2;
	expect(&entry, "From: root@web01\r\n", "boss@other.org", "other.org");
	entry.domain_count = 0;
	expect(&entry, "From: root@web01\r\n", "boss@other.org", "other.org");
	expect(&entry, "From: root@example.jp\r\n", NULL, NULL);
}

/* Without a From: the address that leaves is in the domain that signs, and ENTRY may use it. */
static void test_missing_from(void **state)
{
	static char *both[] = {(char *)"shop.example.jp", (char *)"other.org"};
	static char *from[] = {(char *)"boss@other.org", (char *)"shop@example.jp"};
	static const char *const none[] = {"To: a@b.org\r\n", "From:\r\n", "From: nobody:;\r\n"};
	const struct conf_client people = {.name = (char *)"shop", .from = from, .from_count = 2};
	const struct conf_client places = {.name = (char *)"shop", .domains = both, .domain_count = 2};
	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		expect_of("shop@example.jp", &people, none[i], "shop@example.jp", "example.jp");
		expect_of("www@example.jp", &people, none[i], "boss@other.org", "other.org");
		expect_of("web@other.org", &places, none[i], "web@other.org", "other.org");
		expect_of("web@example.jp", &places, none[i], NULL, NULL); /* for its sender */
	}
}

/* Where no domain is configured nothing has been mended: what others may read as another
 * address is refused to a client that may send as some only. */
static void test_bare_at(void **state)
{
	static char *shop[] = {(char *)"shop.jp"};
	const struct conf_client entry = {
	    .name = (char *)"shop", .domains = shop, .domain_count = 1};
	static const struct {
		const char *header;
		int decided;
	} rows[] = {
	    {"From: Tokyo <a@shop.jp>\r\n", 0},
	    {"From: \"ceo@other.jp\" <a@shop.jp>\r\n", 0},
	    {"From: ceo@other.jp <a@shop.jp>\r\n", -1},
	    {"From: Shop: ceo@other.jp <a@shop.jp>\r\n", -1},
	    {"From: ceo@other.jp: <a@shop.jp>\r\n", -1},
	    {"From: \x1b$B%7%g\x1b(B <a@shop.jp>\r\n", 0},
	    {"From: \x1b$B<c@other.jp>\x1b(B <a@shop.jp>\r\n", -1},
	};
	const struct conf none = {.return_path = {.default_domain = (char *)""}};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct return_path result;
		struct address sender;
		struct header h;
		struct why why = {0};
		assert_true(address_parse(span_text("a@shop.jp"), &sender));
		assert_int_equal(header_parse(span_text(rows[i].header), &h, &why), 0);
		if (policy_decide(&none, &entry, &sender, &h, &result, &why) != rows[i].decided)
			fail_msg("%s", rows[i].header);
		return_path_free(&result);
		header_free(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_repaired_from),
	    cmocka_unit_test(test_missing_from),
	    cmocka_unit_test(test_bare_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
