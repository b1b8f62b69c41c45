/* SPDX-License-Identifier: MIT
 * Who a message is counted for, by tables; and how urgent its header says it is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "exact.h"
#include "relayd/base/mem.h"
#include "relayd/brake_who.h"
#include "smtp/priority.h"

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static void check_who(const struct envelope *e, enum brake_kind kind, const char *expected)
{
	struct buf who = {0};
	assert_true(brake_who(e, kind, &who) == (expected[0] != '\0'));
	assert_string_equal(buf_text(&who), expected);
	if (expected[0]) {
		enum brake_kind back;
		assert_true(brake_who_is(e, expected));
		assert_true(brake_who_kind(expected, &back) && back == kind);
	}
	buf_free(&who);
}

static void test_who(void **state)
{
	static const struct {
		const char *user, *client, *script;
		const char *who[BRAKE_KINDS];
	} table[] = {
	    {"", "192.0.2.7", "", {"", "client:192.0.2.7", ""}},
	    {"web1", "192.0.2.7", "", {"login:web1", "client:192.0.2.7", ""}},
	    {"", "2001:db8:1:2:3:4:5:6", "", {"", "client:2001:db8:1:2::/64", ""}},
	    {"", "::1", "", {"", "client:::/64", ""}},
	    {"", "unix:33", "33:a.php", {"", "client:unix:33", "script:33:a.php@unix:33"}},
	    {"", "drop:33", "33:a.php", {"", "client:unix:33", "script:33:a.php@unix:33"}},
	    {"w", "192.0.2.7", "33:a.php",
		{"login:w", "client:192.0.2.7", "script:33:a.php@w"}},
	    {"", "2001:db8::9", "1:b.php",
		{"", "client:2001:db8::/64", "script:1:b.php@2001:db8::/64"}},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct envelope e = {.user = text(table[i].user), .client = text(table[i].client),
		    .script = text(table[i].script)};
		for (unsigned kind = 0; kind < BRAKE_KINDS; kind++)
			check_who(&e, (enum brake_kind)kind, table[i].who[kind]);
		assert_false(brake_who_is(&e, "login:other"));
		e.report = true; /* ours */
		for (unsigned kind = 0; kind < BRAKE_KINDS; kind++)
			check_who(&e, (enum brake_kind)kind, "");
	}
}

static void test_long_names(void **state)
{
	char user[300];
	struct envelope e = {.user = user};
	struct buf who = {0};
	(void)state;
	memset(user, 'u', sizeof(user) - 1);
	user[sizeof(user) - 1] = '\0';
	assert_true(brake_who(&e, BRAKE_LOGIN, &who));
	assert_int_equal(who.len, BRAKE_NAME_MAX);
	buf_free(&who);
}

static void test_script(void **state)
{
	static const char *const table[][2] = {
	    {" 33:mail.php", "33:mail.php"},
	    {" 1000:PHPMailer.php ", "1000:PHPMailer.php"},
	    {"33:a.php(7) : eval()'d code", "33:a.php"},
	    {"33:a.php(7) : eval()'d code(1) : eval()'d code", "33:a.php"},
	    {"33:a (1).php", "33:a_(1).php"},
	    {"33:$(x) `y`\"'\\\xc3\xa9", "33:_(x)__y______"},
	    {"33:(7) : eval()'d code", ""},
	    {"", ""},
	    {"mail.php", ""},
	    {"33", ""},
	    {"33:", ""},
	    {"33: ", ""},
	    {":mail.php", ""},
	    {"-1:mail.php", ""},
	    {"12345678901:mail.php", ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct buf script = {0};
		struct span s = exact(table[i][0]);
		assert_true(brake_script_parse(s, &script) == (table[i][1][0] != '\0'));
		assert_string_equal(buf_text(&script), table[i][1]);
		exact_free(s);
		buf_free(&script);
	}
}

static void test_codes(void **state)
{
	struct envelope e = {.user = text("w\x1b"), .client = text("unix:33")};
	struct buf out = {0};
	bool seen[8] = {false};
	(void)state;
	for (unsigned kind = 0; kind < BRAKE_KINDS; kind++) {
		assert_int_equal(brake_code((enum brake_kind)kind, BRAKE_FREE), 0);
		for (unsigned cause = BRAKE_RATE; cause <= BRAKE_UNKNOWN; cause++) {
			uint8_t code = brake_code((enum brake_kind)kind, (enum brake_cause)cause);
			assert_in_range(code, 1, 6);
			assert_false(seen[code]);
			seen[code] = true;
		}
	}
	brake_code_text(0, &e, &out);
	brake_code_text(7, &e, &out);
	assert_int_equal(out.len, 0);
	brake_code_text(brake_code(BRAKE_LOGIN, BRAKE_RATE), &e, &out);
	assert_string_equal(buf_text(&out), "login:w\\x1b has sent more than its messages per hour");
	buf_clear(&out);
	brake_code_text(brake_code(BRAKE_CLIENT, BRAKE_UNKNOWN), &e, &out);
	assert_string_equal(buf_text(&out),
	    "client:unix:33 writes to too many recipients that do not exist");
	buf_free(&out);
}

static void test_priority(void **state)
{
	enum { NORMAL = CONF_PRIORITY_NORMAL, URGENT = CONF_PRIORITY_URGENT, BULK = CONF_PRIORITY_BULK };
	static const struct {
		const char *header;
		int of_normal, of_urgent; /* what it makes of such a client */
	} table[] = {
	    {"Subject: x\r\n", NORMAL, URGENT},
	    {"Precedence: bulk\r\n", BULK, BULK},
	    {"precedence:\r\n LIST (of mine)\r\n", BULK, BULK},
	    {"Precedence: junk\r\n", BULK, BULK},
	    {"Precedence: first-class\r\n", NORMAL, URGENT},
	    {"Precedence: bulky\r\n", NORMAL, URGENT},
	    {"List-Id: x <x.test>\r\n", BULK, BULK},
	    {"List-Unsubscribe: <mailto:x@y>\r\n", BULK, BULK},
	    {"X-Relayd-Priority: urgent\r\n", URGENT, URGENT},
	    {"X-Relayd-Priority: Normal\r\nList-Id: <x>\r\n", NORMAL, NORMAL},
	    {"List-Id: <x>\r\nx-relayd-priority: URGENT\r\n", URGENT, URGENT},
	    {"X-Relayd-Priority: bulk\r\n", BULK, BULK},
	    {"X-Relayd-Priority: very\r\n", NORMAL, URGENT},
	    {"X-Relayd-Priority:\r\nPrecedence: bulk\r\n", BULK, BULK},
	    {"X-Priority: 1\r\nImportance: high\r\nPriority: urgent\r\n", NORMAL, URGENT},
	    {"Importance: low\r\n", NORMAL, URGENT},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct header header = {0};
		struct why why;
		struct span s = exact(table[i].header);
		assert_int_equal(header_parse(s, &header, &why), 0);
		assert_int_equal(priority_of(&header, CONF_PRIORITY_NORMAL), table[i].of_normal);
		assert_int_equal(priority_of(&header, CONF_PRIORITY_URGENT), table[i].of_urgent);
		assert_int_equal(priority_of(&header, CONF_PRIORITY_BULK), CONF_PRIORITY_BULK);
		header_free(&header);
		exact_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_who),
	    cmocka_unit_test(test_long_names),
	    cmocka_unit_test(test_script),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_priority),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
