/* SPDX-License-Identifier: MIT
 * One path's arithmetic: window, rate, waits, the provider's own limits.
 */
#include "tests/unit/reputation_kit.h"

#include <string.h>

#include "queue/path.h"
#include "relayd/base/mem.h"

static const struct path_limits wide = {20, 0};

static int setup(void **state)
{
	struct path *p = mem_zero(sizeof(*p));
	path_reset(p, 2);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct path *p = *state;
	mem_free(p->last_rule);
	mem_free(p->last_reply);
	mem_free(p);
	return 0;
}

static bool is_near(double a, double b)
{
	return a > b * 0.999 && a < b * 1.001;
}

/* COUNT transactions at a time, all accepted. */
static void accept(struct path *p, struct path_limits limits, unsigned count, int64_t now_ms)
{
	for (unsigned i = 0; i < count; i++)
		path_take(p, limits, false, now_ms);
	for (unsigned i = 0; i < count; i++) {
		path_leave(p, false);
		path_worked(p, limits, now_ms);
	}
}

/* Those who wait come as a slow start lets them go, and never all at once. */
static void test_turns(void **state)
{
	static const struct permit_spread grows = {300000, 2, true};
	static const struct permit_spread even = {300000, 2, false};
	static const struct permit_spread none = {0, 0, false};
	struct path_turns t = {0};
	unsigned in[40] = {0};
	(void)state;
	assert_int_equal(path_turn(&t, T0, grows), T0); /* the probe */
	assert_int_equal(path_turn(&t, T0, grows), T0 + 150000);
	assert_int_equal(path_turn(&t, T0, grows), T0 + 300000);
	assert_int_equal(path_turn(&t, T0, grows), T0 + 375000);
	t.given = 0;
	for (unsigned i = 0; i < 100000; i++) {
		int64_t at = path_turn(&t, T0, grows);
		assert_in_range(at, T0, T0 + 39 * 300000);
		in[(at - T0) / 300000]++;
	}
	assert_int_equal(in[0], 2);
	assert_int_equal(in[9], 1024);
	assert_int_equal(in[15], 100000 - 65534);
	assert_int_equal(in[16], 0);
	/* another probe, other turns */
	assert_int_equal(path_turn(&t, T0 + HOUR, even), T0 + HOUR);
	for (int i = 0; i < 5; i++)
		path_turn(&t, T0 + HOUR, even);
	assert_int_equal(path_turn(&t, T0 + HOUR, even), T0 + HOUR + 3 * 300000);
	assert_int_equal(path_turn(&t, T0 + HOUR, none), T0 + HOUR);
}

static void test_window_grows_in_use_only(void **state)
{
	struct path *p = *state;
	accept(p, wide, 2, T0);
	assert_true(is_near(p->window, 2.5)); /* the second one ran alone */
	for (int i = 0; i < 1000; i++)
		accept(p, wide, 20, T0 + i);
	assert_true(is_near(p->window, 20));
	p->window = 10;
	accept(p, wide, 1, T0);
	assert_true(is_near(p->window, 10));
}

static void test_window_limits_what_runs(void **state)
{
	struct path *p = *state;
	static const struct path_limits narrow = {1, 0};
	assert_int_equal(path_ask(p, wide, T0).answer, PERMIT_GO);
	path_take(p, wide, false, T0);
	assert_int_equal(path_ask(p, narrow, T0).answer, PERMIT_WAIT);
	assert_int_equal(path_ask(p, wide, T0).answer, PERMIT_GO);
	path_take(p, wide, false, T0);
	struct permit permit = path_ask(p, wide, T0);
	assert_int_equal(permit.answer, PERMIT_WAIT);
	assert_true(permit.at_ms > T0 && permit.at_ms <= T0 + SECOND);
	path_give_back(p, false);
	assert_int_equal(path_ask(p, wide, T0).answer, PERMIT_GO);
}

static void test_provider_limits(void **state)
{
	struct path *p = *state;
	struct provider provider = {.id = "softbank", .connections = 2, .per_minute = 30};
	struct path_limits limits = path_limits(&provider);
	for (int i = 0; i < 100; i++)
		accept(p, limits, 2, T0 - HOUR + i * MINUTE);
	assert_true(is_near(p->window, 2));
	assert_int_equal(path_ask(p, limits, T0).answer, PERMIT_WAIT); /* its turn is due */
	int64_t now = T0 + HOUR;
	unsigned sent = 0;
	while (now < T0 + HOUR + 10 * MINUTE) {
		struct permit permit = path_ask(p, limits, now);
		if (permit.answer == PERMIT_GO) {
			accept(p, limits, 1, now);
			sent++;
		} else {
			assert_true(permit.at_ms > now);
			now = permit.at_ms;
		}
	}
	assert_in_range(sent, 300, 302);
	/* a learned limit below it counts, one above it does not */
	p->rate = 10;
	assert_true(is_near(path_rate(p, limits), 10));
	p->rate = 100;
	assert_true(is_near(path_rate(p, limits), 30));
	assert_true(is_near(path_limits(NULL).window, PATH_WINDOW_MAX));
}

static void test_minute(void **state)
{
	struct path *p = *state;
	for (int i = 0; i < 120; i++)
		path_accepted(p, T0 + i * SECOND);
	assert_in_range(path_minute(p, T0 + 119 * SECOND), 55, 60);
	assert_in_range(path_minute(p, T0 + 149 * SECOND), 25, 30);
	assert_int_equal(path_minute(p, T0 + 180 * SECOND), 0);
	path_accepted(p, T0 + HOUR);
	assert_int_equal(path_minute(p, T0 + HOUR), 1);
	path_accepted(p, T0); /* the clock was set back */
	assert_int_equal(path_minute(p, T0), 1);
}

static void test_a_refusal_cuts_once(void **state)
{
	struct path *p = *state;
	p->window = 12;
	for (int i = 0; i < 50; i++)
		path_accepted(p, T0 + i);
	assert_true(path_refused(p, wide, 0, T0 + SECOND));
	assert_true(is_near(p->window, 6));
	assert_true(is_near(p->ceiling, 50));
	assert_true(is_near(p->rate, 45));
	struct permit permit = path_ask(p, wide, T0 + SECOND);
	assert_int_equal(permit.answer, PERMIT_WAIT);
	assert_int_equal(permit.at_ms, T0 + SECOND + MINUTE);
	/* those that were under way: neither another cut nor growth */
	for (int i = 0; i < 5; i++)
		assert_false(path_refused(p, wide, 0, T0 + 2 * SECOND));
	path_worked(p, wide, T0 + 2 * SECOND);
	assert_true(is_near(p->window, 6));
	assert_true(is_near(p->rate, 45));
	assert_int_equal(p->refusals, 1);
	assert_int_equal(path_ask(p, wide, T0 + SECOND + MINUTE).answer, PERMIT_GO);
}

static void test_waits(void **state)
{
	static const int64_t waits[] = {MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE};
	struct path *p = *state;
	int64_t now = T0;
	for (size_t i = 0; i < 5; i++) {
		assert_true(path_refused(p, wide, 0, now));
		assert_int_equal(p->until_ms, now + waits[i]);
		now = p->until_ms;
	}
	assert_int_equal(p->refusals, PATH_REFUSALS);
	assert_true(p->rate >= PATH_RATE_MIN);
	path_worked(p, wide, now);
	assert_true(path_refused(p, wide, 0, now));
	assert_int_equal(p->until_ms, now + MINUTE);
	now = p->until_ms;
	assert_true(path_refused(p, wide, 3 * HOUR, now)); /* named */
	assert_int_equal(p->until_ms, now + 3 * HOUR);
	now = p->until_ms;
	assert_true(path_refused(p, wide, INT64_MAX, now)); /* absurd */
	assert_true(p->until_ms <= now + 30 * DAY);
}

/* Back to the ceiling within the time of the curve, flat there, then beyond. */
static void test_curve(void **state)
{
	struct path *p = *state;
	for (int i = 0; i < 100; i++)
		path_accepted(p, T0 + i);
	path_refused(p, wide, 0, T0 + 100);
	double before = p->rate;
	double at[5] = {0};
	int64_t now = p->until_ms;
	for (int64_t start = now; now < start + 85 * MINUTE;) {
		struct permit permit = path_ask(p, wide, now);
		if (permit.answer == PERMIT_GO)
			accept(p, wide, 1, now);
		else
			now = permit.at_ms;
		assert_true(p->rate >= before);
		before = p->rate;
		at[(now - start) / (20 * MINUTE)] = p->rate;
	}
	assert_true(at[0] > 98 && at[0] < 101);  /* 20 min: the ceiling */
	assert_true(at[1] > 105 && at[1] < 112); /* 40 min */
	assert_true(at[3] > 200);                /* 80 min */
	assert_false(p->slowed);
}

/* Little mail says nothing about a rate, so it does not raise it; and it does
 * not stay slowed for ever. */
static void test_idle_path_does_not_forget(void **state)
{
	struct path *p = *state;
	for (int i = 0; i < 100; i++)
		path_accepted(p, T0 + i);
	path_refused(p, wide, 0, T0 + 100);
	for (int64_t now = T0 + 10 * MINUTE; now < T0 + 6 * DAY; now += 10 * MINUTE)
		accept(p, wide, 1, now);
	assert_true(is_near(p->rate, 90));
	assert_false(p->slowed);
	accept(p, wide, 1, T0 + 8 * DAY);
	assert_true(!(p->rate > 0));
}

static void test_growth_beyond_all_limits_is_no_limit(void **state)
{
	struct path *p = *state;
	path_refused(p, wide, 0, T0);
	int64_t now = p->until_ms;
	for (unsigned i = 0; i < 4000000 && p->rate > 0; i++) {
		struct permit permit = path_ask(p, wide, now);
		if (permit.answer == PERMIT_GO)
			accept(p, wide, 1, now);
		else
			now = permit.at_ms;
	}
	assert_true(!(p->rate > 0));
	assert_true(now - T0 < DAY); /* from one a minute */
}

static void test_slow_start_without_success_stays(void **state)
{
	struct path *p = *state;
	path_reopen(p, T0);
	for (int i = 0; i < 20; i++) {
		int64_t now = T0 + i * PATH_INTERVAL;
		assert_int_equal(path_ask(p, wide, now).answer, PERMIT_GO);
		path_take(p, wide, false, now);
		path_leave(p, false);
		assert_int_equal(path_ask(p, wide, now).answer, PERMIT_WAIT);
	}
	assert_int_equal(p->allow, 1);
}

/* What is given back does not use up the slow start. */
static void test_slow_start_given_back(void **state)
{
	struct path *p = *state;
	path_reopen(p, T0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(path_ask(p, wide, T0).answer, PERMIT_GO);
		path_take(p, wide, false, T0);
		path_give_back(p, false);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_turns),
	    TEST(test_window_grows_in_use_only),
	    TEST(test_window_limits_what_runs),
	    TEST(test_provider_limits),
	    TEST(test_minute),
	    TEST(test_a_refusal_cuts_once),
	    TEST(test_waits),
	    TEST(test_curve),
	    TEST(test_idle_path_does_not_forget),
	    TEST(test_growth_beyond_all_limits_is_no_limit),
	    TEST(test_slow_start_without_success_stays),
	    TEST(test_slow_start_given_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
