/* SPDX-License-Identifier: MIT
 * The plain form of replies, and phrases found in it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "queue/words.h"
#include "relayd/base/mem.h"

static const struct {
	const char *text;
	const char *plain;
	unsigned marks;
} forms[] = {
    {"", "", 0},
    {"  User   Unknown\t\r\n ", "user unknown", 0},
    {"<a.b@example.net>: User unknown", "user unknown", PLAIN_ADDRESS},
    {"RCPT TO:<a@example.net> User unknown", "rcpt to user unknown", PLAIN_ADDRESS},
    {"user 'a@example.net' is over-quota!", "user is over quota", PLAIN_ADDRESS},
    {"Client host [192.0.2.1] blocked", "client host blocked", PLAIN_IP},
    {"from 192.0.2.1:25, IP=192.0.2.1.", "from 25 ip", PLAIN_IP},
    {"5.7.1 is no address, nor is 1.2.3.4.5", "5.7.1 is no address nor is 1.2.3.4.5", 0},
    {"[IPv6:2001:db8::1] and 2001:db8::2", "ipv6 and", PLAIN_IP6},
    {"wait 00:05:00 bad: cafe:", "wait 00 05 00 bad cafe", 0},
    {"(#5.1.1 - chkuser)", "5.1.1 chkuser", 0},
    {"doesn't, doesn\xe2\x80\x99t", "doesn't doesn't", 0},
    {"Bo\xc3\xaete d\xc3\xa9sactiv\xc3\xa9\x65 \xc3\x9c\x62\x65r", "boite desactivee uber", 0},
    {"Bo\xeete pleine", "boite pleine", 0},
    {"\xc5\xbc\xc4\x85 \xc5\xbe\xc5\xbf\xc4\x80", "za zsa", 0},
    {"\xd0\x9f\xd0\xaf\xd0\xb0", "\xd0\xbf\xd1\x8f\xd0\xb0", 0},
    {"no\xc2\xa0such user", "no such user", 0},
    {"E-Mail e-mail pre-mail me-mail", "email email pre mail me mail", 0},
    {"BAD_RECIPIENT DT:SPM [TSS04]", "bad recipient dt spm tss04", 0},
    {"\xe7\x94\xa8\xe6\x88\xb7\xe4\xb8\x8d", "\xe7\x94\xa8\xe6\x88\xb7\xe4\xb8\x8d", 0},
    {"@ a@ @b", "a b", 0},
};

static void test_forms(void **state)
{
	static struct plain plain;
	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		plain_make(&plain, span_text(forms[i].text));
		assert_string_equal(plain.text, forms[i].plain);
		assert_int_equal(plain.n, strlen(forms[i].plain));
		assert_int_equal(plain.marks, forms[i].marks);
	}
}

static void test_long(void **state)
{
	static struct plain plain;
	static char text[4 * PLAIN_MAX];
	(void)state;
	memset(text, 'a', sizeof(text));
	plain_make(&plain, (struct span){text, sizeof(text)});
	assert_int_equal(plain.n, PLAIN_MAX);
	memset(text, ' ', sizeof(text));
	plain_make(&plain, (struct span){text, sizeof(text)});
	assert_int_equal(plain.n, 0);
	memset(text, '\0', sizeof(text));
	plain_make(&plain, (struct span){text, sizeof(text)});
	assert_int_equal(plain.n, 0);
}

static const struct {
	const char *phrase;
	const char *text;
	bool found;
} searches[] = {
    {"user unknown", "550 User unknown", true},
    {"user unknown", "USER  \n UNKNOWN", true},
    {"user unknown", "superuser unknown", false},
    {"user unknown", "user unknowns", false},
    {"*user unknown", "superuser unknown", true},
    {"user unknown*", "user unknowns", true},
    {"greylist*", "Greylisting in action", true},
    {"*spamhaus*", "see https://www.spamhaus.org/query", true},
    {"spam", "see https://help.example.org/spam/x", false},
    {"spam", "this is spam: https://help.example.org/", true},
    {"spam", "mail.spam.example.org said", false},
    {"user unknown", "<a@example.net> user <b@example.net> unknown", true},
    {"no-such-user", "NO_SUCH_USER", true},
    {"@ip", "from 192.0.2.1", true},
    {"@ip", "from 2001:db8::1", false},
    {"@ip6", "from 2001:db8::1", true},
    {"@address", "a@example.net", true},
    {"@address", "a at example.net", false},
    {"utilisateur d\xc3\xa9sactiv\xc3\xa9", "Utilisateur desactive", true},
    {"\xe7\x94\xa8\xe6\x88\xb7", "\xe8\xaf\xa5\xe7\x94\xa8\xe6\x88\xb7\xe4\xb8\x8d", true},
    {"a", "b c a", true},
    {"b c", "a b c d", true},
    {"c d", "b c d e", true},
    {"over quota", "over quot", false},
};
#define SEARCHES (sizeof(searches) / sizeof(searches[0]))

static void test_each(void **state)
{
	static struct plain plain;
	struct words_set found;
	struct why why;
	unsigned number;
	(void)state;
	for (size_t i = 0; i < SEARCHES; i++) {
		struct words *words = words_new();
		assert_int_equal(words_add(words, span_text(searches[i].phrase), &number, &why), 0);
		assert_int_equal(words_build(words, &why), 0);
		plain_make(&plain, span_text(searches[i].text));
		words_find(words, &plain, &found);
		if (words_has(&found, number) != searches[i].found)
			fail_msg("\"%s\" in \"%s\"", searches[i].phrase, searches[i].text);
		words_free(words);
	}
}

/* The same with all phrases in one automaton: they must not disturb each other. */
static void test_together(void **state)
{
	static struct plain plain;
	struct words *words = words_new();
	struct words_set found;
	struct why why;
	unsigned numbers[SEARCHES];
	(void)state;
	for (size_t i = 0; i < SEARCHES; i++)
		assert_int_equal(
		    words_add(words, span_text(searches[i].phrase), &numbers[i], &why), 0);
	assert_int_equal(numbers[0], numbers[1]);
	assert_int_not_equal(numbers[0], numbers[4]);
	assert_int_equal(words_build(words, &why), 0);
	for (size_t i = 0; i < SEARCHES; i++) {
		plain_make(&plain, span_text(searches[i].text));
		words_find(words, &plain, &found);
		assert_int_equal(words_has(&found, numbers[i]), searches[i].found);
	}
	words_free(words);
}

static void test_refused(void **state)
{
	char text[WORDS_PHRASE + 2];
	struct words *words = words_new();
	struct why why;
	unsigned number;
	(void)state;
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(words_add(words, span_text(text), &number, &why), -1);
	assert_int_equal(words_add(words, span_text(""), &number, &why), -1);
	assert_int_equal(words_add(words, span_text("*"), &number, &why), -1);
	assert_int_equal(words_add(words, span_text("**"), &number, &why), -1);
	assert_int_equal(words_add(words, span_text("192.0.2.1"), &number, &why), -1);
	assert_int_equal(words_add(words, span_text("a*b"), &number, &why), -1);
	assert_non_null(strstr(why.text, "a * within"));
	words_free(words);
}

/* "a", "aa", ... would all be found at each byte of "aaaa..." */
static void test_nested(void **state)
{
	char text[40];
	struct words *words = words_new();
	struct why why;
	unsigned number;
	(void)state;
	for (size_t n = 1; n <= 30; n++) {
		text[0] = '*';
		memset(text + 1, 'a', n);
		text[n + 1] = '*';
		text[n + 2] = '\0';
		assert_int_equal(words_add(words, span_text(text), &number, &why), 0);
	}
	assert_int_equal(words_build(words, &why), -1);
	words_free(words);
}

static void test_too_many(void **state)
{
	char text[32];
	struct words *words = words_new();
	struct why why;
	unsigned number, added = 0;
	(void)state;
	for (unsigned i = 0; i < 2 * WORDS_MAX; i++) {
		snprintf(text, sizeof(text), "w%ux", i);
		if (words_add(words, span_text(text), &number, &why) < 0)
			break;
		added++;
	}
	assert_true(added > 1000 && added <= WORDS_MAX);
	assert_int_equal(words_build(words, &why), 0);
	words_free(words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms),
	    cmocka_unit_test(test_long),
	    cmocka_unit_test(test_each),
	    cmocka_unit_test(test_together),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_nested),
	    cmocka_unit_test(test_too_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
