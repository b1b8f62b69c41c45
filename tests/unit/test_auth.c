/* SPDX-License-Identifier: MIT
 * SASL messages: choosing, making, taking apart, and what is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "smtp/auth.h"

static void test_choose(void **state)
{
	(void)state;
	static const struct {
		const char *list;
		enum auth_mechanism best;
	} rows[] = {
	    {"", AUTH_NONE},
	    {"   ", AUTH_NONE},
	    {"PLAIN", AUTH_PLAIN},
	    {"login", AUTH_LOGIN},
	    {"LOGIN PLAIN", AUTH_PLAIN},
	    {" CRAM-MD5\tLogin  XOAUTH2 ", AUTH_LOGIN},
	    {"PLAIN-CLIENTTOKEN XLOGIN", AUTH_NONE},
	    {"CRAM-MD5 plain", AUTH_PLAIN},
	    {"PLAINLOGIN", AUTH_NONE},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(auth_choose(span_text(rows[i].list)), rows[i].best);
}

static void test_plain(void **state)
{
	(void)state;
	struct buf out = {0};
	buf_add_text(&out, "AUTH PLAIN ");
	auth_plain(&out, "tim", "tanstaaftanstaaf"); /* RFC 4616 section 4 */
	assert_string_equal(buf_text(&out), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	buf_clear(&out);
	auth_plain(&out, "", "");
	assert_string_equal(buf_text(&out), "AAA=");
	buf_free(&out);
}

static void test_mask(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		const char *shown;
	} rows[] = {
	    {"", ""},
	    {"535 5.7.8 no", "535 5.7.8 no"},
	    {"535 wrong: tanstaaftanstaaf", "535 wrong: ***"},
	    {"535 tanstaaftanstaaftanstaaftanstaaf!", "535 ******!"},
	    {"501 AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm?", "501 AUTH PLAIN ***?"},
	    {"501 not base64: dGFuc3RhYWZ0YW5zdGFhZg==", "501 not base64: ***"},
	    {"501 cut off: dGFuc3RhYWZ0YW", "501 cut off: ***"},
	    {"501 cut off: tanstaaft", "501 cut off: ***"},
	    {"535 tim, tanstaa", "535 tim, tanstaa"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0};
		auth_mask(&out, span_text(rows[i].line), "tim", "tanstaaftanstaaf");
		assert_string_equal(buf_text(&out), rows[i].shown);
		buf_free(&out);
	}
}

/* A word of three letters is no secret, and may stand anywhere. */
static void test_mask_of_short_ones(void **state)
{
	(void)state;
	static const char *const passwords[] = {"", "a", "key"};
	for (size_t i = 0; i < sizeof(passwords) / sizeof(passwords[0]); i++) {
		struct buf out = {0};
		auth_mask(&out, span_text("535 a key"), "", passwords[i]);
		assert_string_equal(buf_text(&out), "535 a key");
		buf_free(&out);
	}
}

struct message {
	const char *text; /* with NULs */
	size_t len;
	const char *user; /* NULL: refused */
	const char *password;
};
#define MESSAGE(text, user, password) {text, sizeof(text) - 1, user, password}

static bool parse_plain(struct span base64, struct buf *user, struct buf *password)
{
	struct buf message = {0};
	assert_true(text_unbase64(&message, base64));
	bool fine = auth_split_plain(span_buf(&message), user, password);
	buf_free(&message);
	return fine;
}

static void test_parse(void **state)
{
	(void)state;
	static const struct message rows[] = {
	    MESSAGE("\0tim\0secret", "tim", "secret"),
	    MESSAGE("tim\0tim\0secret", "tim", "secret"),
	    MESSAGE("\0a\0 ", "a", " "),
	    MESSAGE("\0\303\251\0\303\251", "\303\251", "\303\251"),
	    MESSAGE("root\0tim\0secret", NULL, NULL), /* to act for somebody else */
	    MESSAGE("\0\0secret", NULL, NULL),
	    MESSAGE("\0tim\0", NULL, NULL),
	    MESSAGE("\0tim", NULL, NULL),
	    MESSAGE("tim", NULL, NULL),
	    MESSAGE("\0tim\0sec\0ret", NULL, NULL),
	    MESSAGE("\0tim\0secret\0", NULL, NULL),
	    MESSAGE("\0\0", NULL, NULL),
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf base64 = {0};
		struct buf user = {0};
		struct buf password = {0};
		text_base64(&base64, (struct span){rows[i].text, rows[i].len});
		bool fine = parse_plain(span_buf(&base64), &user, &password);
		assert_int_equal(fine, rows[i].user != NULL);
		assert_string_equal(buf_text(&user), rows[i].user ? rows[i].user : "");
		assert_string_equal(buf_text(&password), rows[i].user ? rows[i].password : "");
		buf_free(&base64);
		buf_free(&user);
		buf_free(&password);
	}
}

static void test_there_and_back(void **state)
{
	(void)state;
	for (size_t n = 1; n < 40; n++) {
		char name[41];
		memset(name, 'x', n);
		name[n] = '\0';
		struct buf base64 = {0};
		struct buf user = {0};
		struct buf password = {0};
		auth_plain(&base64, name, "pass word");
		assert_true(parse_plain(span_buf(&base64), &user, &password));
		assert_string_equal(buf_text(&user), name);
		assert_string_equal(buf_text(&password), "pass word");
		buf_free(&base64);
		buf_free(&user);
		buf_free(&password);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_choose),
	    cmocka_unit_test(test_plain),
	    cmocka_unit_test(test_mask),
	    cmocka_unit_test(test_mask_of_short_ones),
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test(test_there_and_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
