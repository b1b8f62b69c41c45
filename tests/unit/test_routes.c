/* SPDX-License-Identifier: MIT
 * Which entry of `routes` fits a message? Smarthosts tell: mail that goes by one only has
 * its name for a destination, and what no entry fits has its domain.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"

static const char text[] =
    "hostname = \"relay.example.jp\";"
    "domains = ( { name = \"example.jp\"; }, { name = \"second.jp\"; } );"
    "smarthosts = ( { name = \"idn\"; host = \"192.0.2.1\"; },"
    " { name = \"from-idn\"; host = \"192.0.2.2\"; }, { name = \"first\"; host = \"192.0.2.3\"; },"
    " { name = \"second\"; host = \"192.0.2.4\"; }, { name = \"below\"; host = \"192.0.2.5\"; } );"
    "routes = ( { match = \"例え.jp\"; via = [ \"idn\" ]; },"
    " { match = \"*.xn--r8jz45g.jp\"; via = [ \"idn\" ]; },"
    " { match = \"*\"; sender = \"例え.jp\"; via = [ \"from-idn\" ]; },"
    " { match = \"*\"; sender = \"*.example.jp\"; via = [ \"below\" ]; },"
    " { match = \"*\"; sender = \"example.jp\"; via = [ \"first\" ]; },"
    " { match = \"*\"; sender = \"second.jp\"; via = [ \"second\" ]; } );";

static const struct {
	const char *sender;
	bool report;
	const char *domain; /* of ours that sends it */
	const char *recipient;
	const char *destination;
} table[] = {
    {"a@example.jp", false, "example.jp", "u@dest.test", "smarthost:first"},
    {"a@Second.JP", false, "second.jp", "u@dest.test", "smarthost:second"},
    {"a@third.jp", false, "", "u@Dest.test", "dest.test"},
    /* in whichever letters */
    {"a@example.jp", false, "example.jp", "u@例え.jp", "smarthost:idn"},
    {"a@example.jp", false, "example.jp", "u@xn--r8jz45g.jp", "smarthost:idn"},
    {"a@example.jp", false, "example.jp", "u@XN--R8JZ45G.jp", "smarthost:idn"},
    {"a@example.jp", false, "example.jp", "u@mail.例え.jp", "smarthost:idn"},
    {"a@例え.jp", false, "", "u@dest.test", "smarthost:from-idn"},
    {"a@xn--r8jz45g.jp", false, "", "u@dest.test", "smarthost:from-idn"},
    /* a report, by the route of mail of the one that it goes to */
    {"", true, "example.jp", "a@second.jp", "smarthost:second"},
    {"", true, "example.jp", "a@mail.example.jp", "smarthost:below"},
    {"", true, "", "a@例え.jp", "smarthost:idn"},
    /* a notice to somebody outside, and mail of others without a sender */
    {"", true, "second.jp", "admin@dest.test", "smarthost:second"},
    {"", true, "", "admin@dest.test", "smarthost:first"},
    {"", false, "second.jp", "u@example.jp", "smarthost:second"},
    {"", false, "", "u@dest.test", "smarthost:first"},
};

static char *unconst(const char *s)
{
	return (char *)(uintptr_t)s;
}

static void test_destination(void **state)
{
	struct conf_errors errors = {0};
	struct buf name = {0};
	(void)state;
	struct conf *conf = conf_parse(text, "t", &errors);
	if (!conf)
		fail_msg("%s", buf_text(&errors.text));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct envelope e = {.sender = unconst(table[i].sender), .report = table[i].report,
		    .domain = unconst(table[i].domain), .client = unconst("127.0.0.1")};
		route_destination(conf, &e, table[i].recipient, &name);
		if (strcmp(buf_text(&name), table[i].destination) != 0)
			fail_msg("row %zu: \"%s\" to %s goes to %s", i, table[i].sender,
			    table[i].recipient, buf_text(&name));
	}
	buf_free(&name);
	conf_free(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_destination),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
