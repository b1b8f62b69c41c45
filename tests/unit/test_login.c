/* SPDX-License-Identifier: MIT
 * Guessing: bans, what ends them, who is not meant by them, and bounded memory. Then
 * the way of a try, on the fake clock.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/login.h"
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

/* ---- the way of a try ---- */

/* The password is "secret-of-scrypt". */
#define USER "bob:$7$CU..../....sPVDpuDnagxx5Gf68W.Wh/$ciJ7x1QedqID3l7Olqv3XKBhbm0h7U5Zc/G4/TUs6T9\n"
#define RIGHT "secret-of-scrypt"

struct place {
	char folder[40];
	char users[60];
	struct loop *loop;
	struct stats stats;
	struct settings settings;
	struct login *login;
};

static void write_users(const struct place *p, const char *text)
{
	FILE *file = fopen(p->users, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(p->users, 0600);
}

static void place_open(struct place *p, const char *auth)
{
	struct conf_errors errors = {0};
	struct buf text = {0};
	*p = (struct place){.folder = "/tmp/test_login.XXXXXX", .settings = {.refs = 1}};
	clock_fake(1800000000000);
	assert_non_null(mkdtemp(p->folder));
	snprintf(p->users, sizeof(p->users), "%s/users", p->folder);
	write_users(p, USER);
	buf_addf(&text, "hostname = \"relay.example\"; users = \"%s\"; auth = { %s };"
			"listen = ( { address = \"127.0.0.1\"; port = 2525; auth = true; } );",
	    p->users, auth);
	p->settings.conf = conf_parse(buf_text(&text), "FILE", &errors);
	assert_string_equal(buf_text(&errors.text), "");
	p->loop = loop_new();
	p->login = login_new(p->loop, &p->stats, &p->settings);
	buf_free(&text);
	conf_errors_free(&errors);
}

static void place_close(struct place *p)
{
	login_free(p->login);
	loop_free(p->loop);
	conf_free(p->settings.conf);
	unlink(p->users);
	rmdir(p->folder);
}

struct outcome {
	enum server_login verdict;
	int calls;
	int64_t after_ms;
};

static void judged(void *arg, enum server_login verdict)
{
	struct outcome *o = arg;
	o->verdict = verdict;
	o->calls++;
	o->after_ms = clock_mono_ms() - o->after_ms;
}

static struct login_try *start(struct place *p, const char *user, const char *password,
    struct outcome *o)
{
	struct server_claim claim = {.mechanism = "PLAIN", .user = user, .password = password};
	*o = (struct outcome){.after_ms = clock_mono_ms()};
	struct login_try *try = login_begin(p->login, &claim, "192.0.2.1", judged, o);
	assert_int_equal(o->calls, 0); /* never inside of it */
	return try;
}

static void wait_for(struct place *p, const struct outcome *o)
{
	while (!o->calls)
		assert_true(loop_turn(p->loop, true));
}

static struct outcome run(struct place *p, const char *user, const char *password)
{
	struct outcome o;
	start(p, user, password, &o);
	wait_for(p, &o);
	return o;
}

/* One second more for each failure, whoever it was; then the ban. */
static void test_delay(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, "failures = 7;");
	for (int i = 1; i <= 7; i++) {
		struct outcome o = run(&p, i % 2 ? "bob" : "nobody", "wrong");
		assert_int_equal(o.verdict, SERVER_LOGIN_REFUSED);
		assert_int_equal(o.after_ms, (i < 5 ? i : 5) * 1000);
	}
	struct outcome o = run(&p, "bob", RIGHT);
	assert_int_equal(o.verdict, SERVER_LOGIN_LATER);
	assert_int_equal(o.after_ms, 1000);
	clock_advance(600 * 1000);
	o = run(&p, "bob", RIGHT);
	assert_int_equal(o.verdict, SERVER_LOGIN_OK);
	assert_int_equal(o.after_ms, 0);
	assert_int_equal(p.stats.logins_failed, 7);
	assert_int_equal(p.stats.logins_put_off, 1);
	assert_int_equal(p.stats.logins, 1);
	place_close(&p);
}

static void test_not_hashed_again(void **state)
{
	(void)state;
	struct place p;
	struct outcome o;
	struct outcome other;
	place_open(&p, "");
	assert_int_equal(run(&p, "bob", RIGHT).verdict, SERVER_LOGIN_OK);
	start(&p, "bob", RIGHT, &o);
	assert_int_equal(login_counts(p.login).hashing, 0);
	start(&p, "bob", "wrong", &other);
	assert_int_equal(login_counts(p.login).hashing, 1);
	wait_for(&p, &o);
	wait_for(&p, &other);
	assert_int_equal(o.verdict, SERVER_LOGIN_OK);
	assert_int_equal(other.verdict, SERVER_LOGIN_REFUSED);
	clock_advance(60 * 1000);
	start(&p, "bob", RIGHT, &o);
	assert_int_equal(login_counts(p.login).hashing, 1);
	wait_for(&p, &o);
	/* one who is no longer there is not let in from memory */
	write_users(&p, "");
	assert_int_equal(run(&p, "bob", RIGHT).verdict, SERVER_LOGIN_REFUSED);
	assert_int_equal(login_counts(p.login).users, 0);
	place_close(&p);
}

/* While no descriptor is left the users of before are taken, and those of now soon after. */
static void test_no_descriptors(void **state)
{
	(void)state;
	struct place p;
	struct rlimit before;
	place_open(&p, "");
	assert_int_equal(run(&p, "bob", RIGHT).verdict, SERVER_LOGIN_OK);
	write_users(&p, "");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	const struct rlimit none = {0, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(run(&p, "bob", RIGHT).verdict, SERVER_LOGIN_OK);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	clock_advance(10 * 1000);
	assert_int_equal(run(&p, "bob", RIGHT).verdict, SERVER_LOGIN_REFUSED);
	place_close(&p);
}

/* What a mechanism has judged counts for those who are there. */
static void test_proved(void **state)
{
	(void)state;
	struct place p;
	static const struct {
		const char *user;
		bool proved;
		enum server_login verdict;
	} rows[] = {
	    {"bob", true, SERVER_LOGIN_OK},
	    {"bob", false, SERVER_LOGIN_REFUSED},
	    {"nobody", true, SERVER_LOGIN_REFUSED},
	};
	place_open(&p, "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct server_claim claim = {"SCRAM-SHA-256", rows[i].user, NULL, rows[i].proved};
		struct outcome o = {0};
		login_begin(p.login, &claim, "192.0.2.1", judged, &o);
		wait_for(&p, &o);
		assert_int_equal(o.verdict, rows[i].verdict);
	}
	place_close(&p);
}

/* Nobody is told, but it counts; and an end in the middle leaves nothing behind. */
static void test_cancel(void **state)
{
	(void)state;
	struct place p;
	struct outcome o[8];
	place_open(&p, "workers = 1; queue = 2;");
	for (int i = 0; i < 3; i++)
		login_cancel(start(&p, "nobody", "wrong", &o[i]));
	while (p.stats.logins_failed < 2)
		assert_true(loop_turn(p.loop, true));
	assert_int_equal(p.stats.logins_put_off, 1); /* the third: two waited */
	for (int i = 3; i < 8; i++)
		start(&p, "nobody", "wrong", &o[i]);
	place_close(&p);
	for (int i = 0; i < 8; i++)
		assert_int_equal(o[i].calls, 0);
}

/* An end waits for the hashes that are being made, and not for those behind them. */
static void test_end(void **state)
{
	(void)state;
	struct place p;
	struct outcome o[50];
	place_open(&p, "failures = 100; queue = 100; workers = 1;");
	for (int i = 0; i < 50; i++)
		start(&p, "bob", "wrong", &o[i]);
	assert_int_equal(login_counts(p.login).hashing, 50);
	place_close(&p);
	assert_int_equal(p.stats.logins_failed, 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(o[i].calls, 0);
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
	    cmocka_unit_test(test_delay),
	    cmocka_unit_test(test_not_hashed_again),
	    cmocka_unit_test(test_no_descriptors),
	    cmocka_unit_test(test_proved),
	    cmocka_unit_test(test_cancel),
	    cmocka_unit_test(test_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
