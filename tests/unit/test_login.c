/* SPDX-License-Identifier: MIT
 * Guessing: bans, what ends them, who is not meant by them, and bounded memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "relayd/login_cache.h"
#include "relayd/login_throttle.h"

#define MINUTE 60000

static struct throttle *make(size_t max)
{
	struct throttle *t = throttle_new(max);
	throttle_set(t, &(struct throttle_limits){.failures = 5, .ban = 10 * MINUTE});
	return t;
}

/* A try that is judged at once. Result: was it? */
static bool guess(struct throttle *t, const char *client, const char *user, int64_t now, bool right)
{
	struct throttle_try try;
	if (throttle_begin(t, client, user, now, &try) != THROTTLE_GO)
		return false;
	throttle_end(t, &try, right, now);
	return true;
}

/* Guesses that were judged, of one a second for so many minutes. */
static int guesses(struct throttle *t, const char *client, const char *user, int64_t *now,
    int minutes)
{
	int n = 0;
	for (int i = 0; i < minutes * 60; i++, *now += 1000) {
		char name[32];
		char address[32];
		snprintf(name, sizeof(name), "%s%d", user ? "" : "u", user ? 0 : i);
		snprintf(address, sizeof(address), "10.0.%d.%d", i / 100 % 100, i % 100);
		n += guess(t, client ? client : address, user ? user : name, *now, false);
	}
	return n;
}

/* At most 10 a minute after five failures: one address and many users, one user
 * from a hundred addresses. It is 5, and then one in ten minutes. */
static void test_rate(void **state)
{
	(void)state;
	struct throttle *t = make(10000);
	int64_t now = 1000;
	assert_int_equal(guesses(t, "192.0.2.1", NULL, &now, 1), 5);
	assert_int_equal(guesses(t, "192.0.2.1", NULL, &now, 60), 6);
	assert_int_equal(guesses(t, NULL, "bob", &now, 1), 5);
	assert_int_equal(guesses(t, NULL, "bob", &now, 60), 6);
	throttle_free(t);
}

static void test_forgiven(void **state)
{
	(void)state;
	struct throttle *t = make(100);
	for (int i = 0; i < 4; i++)
		assert_true(guess(t, "192.0.2.1", "bob", i, false));
	/* quiet for as long as a ban: it begins anew */
	int64_t now = 3 + 10 * MINUTE;
	for (int i = 0; i < 5; i++)
		assert_true(guess(t, "192.0.2.1", "bob", now, false));
	assert_false(guess(t, "192.0.2.1", "bob", now + 10 * MINUTE - 1, false));
	/* one, and banned again */
	assert_true(guess(t, "192.0.2.1", "bob", now + 10 * MINUTE, false));
	assert_false(guess(t, "192.0.2.1", "bob", now + 10 * MINUTE, true));
	throttle_free(t);
}

static void test_known_here(void **state)
{
	(void)state;
	struct throttle *t = make(100);
	assert_true(guess(t, "192.0.2.1", "bob", 0, true));
	for (int i = 0; i < 5; i++)
		assert_true(guess(t, "192.0.2.1", "eve", 1, false)); /* a neighbour */
	assert_false(guess(t, "192.0.2.1", "eve", 2, true));
	assert_true(guess(t, "192.0.2.1", "bob", 2, true));
	/* guesses at bob from elsewhere */
	for (int i = 0; i < 5; i++)
		assert_true(guess(t, "198.51.100.1", "bob", 3, false));
	assert_false(guess(t, "203.0.113.1", "bob", 4, true));
	assert_true(guess(t, "192.0.2.1", "bob", 4, true));
	/* his own ones, from here, count too */
	for (int i = 0; i < 5; i++)
		assert_true(guess(t, "192.0.2.1", "bob", 5, false));
	assert_false(guess(t, "192.0.2.1", "bob", 6, true));
	throttle_free(t);
}

/* A login of one's own does not give an address new guesses. */
static void test_success_between(void **state)
{
	(void)state;
	struct throttle *t = make(100);
	for (int i = 0; i < 4; i++) {
		assert_true(guess(t, "192.0.2.1", "bob", i, false));
		assert_true(guess(t, "192.0.2.1", "eve", i, true));
	}
	assert_true(guess(t, "192.0.2.1", "bob", 5, false));
	assert_false(guess(t, "192.0.2.1", "al", 6, false));
	throttle_free(t);
}

static void test_network(void **state)
{
	(void)state;
	struct throttle *t = make(100);
	char address[40];
	for (int i = 0; i < 5; i++) {
		snprintf(address, sizeof(address), "2001:db8:0:1:%x::1", i);
		assert_true(guess(t, address, "a", i, false));
	}
	assert_false(guess(t, "2001:db8:0:1:ffff::", "b", 9, false));
	assert_true(guess(t, "2001:db8:0:2::1", "b", 9, false));
	throttle_free(t);
}

/* As if those under way would all fail. */
static void test_at_once(void **state)
{
	(void)state;
	struct throttle *t = make(100);
	struct throttle_try tries[5];
	struct throttle_try more;
	for (int i = 0; i < 5; i++)
		assert_int_equal(throttle_begin(t, "192.0.2.1", "bob", 0, &tries[i]), THROTTLE_GO);
	assert_int_equal(throttle_begin(t, "192.0.2.1", "al", 0, &more), THROTTLE_WAIT);
	assert_int_equal(throttle_end(t, &tries[0], false, 0), 1);
	assert_int_equal(throttle_begin(t, "192.0.2.1", "al", 0, &more), THROTTLE_WAIT);
	throttle_drop(t, &tries[1]);
	assert_int_equal(throttle_begin(t, "192.0.2.1", "al", 0, &more), THROTTLE_GO);
	for (int i = 2; i < 5; i++)
		throttle_end(t, &tries[i], false, 0);
	assert_int_equal(throttle_end(t, &more, false, 0), 5);
	assert_int_equal(throttle_begin(t, "192.0.2.1", "al", 1, &more), THROTTLE_BANNED);
	assert_int_equal(throttle_banned(t, 1), 1);
	assert_int_equal(throttle_banned(t, 10 * MINUTE), 0);
	throttle_free(t);
}

/* Made-up names push out made-up names, and never those that have logged in, nor
 * one with a try under way. */
static void test_bounded(void **state)
{
	(void)state;
	struct throttle *t = make(50);
	struct throttle_try held;
	char name[32];
	char address[32];
	assert_true(guess(t, "192.0.2.1", "bob", 0, true));
	assert_int_equal(throttle_begin(t, "192.0.2.9", "slow", 0, &held), THROTTLE_GO);
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		snprintf(address, sizeof(address), "10.0.%d.%d", i / 250, i % 250);
		assert_true(guess(t, address, name, i, false));
	}
	assert_true(throttle_size(t) <= 150);
	assert_int_equal(throttle_end(t, &held, false, 5000), 1);
	for (int i = 0; i < 5; i++)
		guess(t, "198.51.100.1", "bob", 5000, false);
	assert_true(guess(t, "192.0.2.1", "bob", 5000, true));
	throttle_free(t);
}

static void test_cache(void **state)
{
	(void)state;
	struct login_cache *c = login_cache_new(3);
	login_cache_add(c, "bob", "hash", "right", 100);
	assert_true(login_cache_holds(c, "bob", "hash", "right", 99));
	assert_false(login_cache_holds(c, "bob", "hash", "wrong", 99));
	assert_false(login_cache_holds(c, "bo", "bhash", "right", 99));
	assert_false(login_cache_holds(c, "bob", "other", "right", 99)); /* a new password */
	assert_false(login_cache_holds(c, "bob", "hash", "right", 100));
	login_cache_add(c, "bob", "hash", "right", 200);
	login_cache_add(c, "bob", "hash", "right", 300);
	login_cache_add(c, "b", "hash", "right", 300);
	login_cache_add(c, "c", "hash", "right", 300);
	assert_true(login_cache_holds(c, "bob", "hash", "right", 250));
	login_cache_add(c, "d", "hash", "right", 300); /* the oldest goes */
	assert_false(login_cache_holds(c, "bob", "hash", "right", 250));
	assert_true(login_cache_holds(c, "d", "hash", "right", 250));
	login_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rate),
	    cmocka_unit_test(test_forgiven),
	    cmocka_unit_test(test_known_here),
	    cmocka_unit_test(test_success_between),
	    cmocka_unit_test(test_network),
	    cmocka_unit_test(test_at_once),
	    cmocka_unit_test(test_bounded),
	    cmocka_unit_test(test_cache),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
