/* SPDX-License-Identifier: MIT
 * The warm-up: dates, budgets by age, the reserve for urgent mail, what moves
 * its day, and that the counts survive.
 */
#include "tests/unit/reputation_kit.h"

#include "queue/warmup.h"

static const struct {
	const char *text;
	int64_t day; /* since 1970; -1: no date */
} dates[] = {
    {"1970-01-01", 0},
    {"2000-02-29", 11016},
    {"2026-11-21", 20778},
    {"2024-12-31", 20088},
    {"9999-12-31", 2932896},
    {"", -1},
    {"2026-11-2", -1},
    {"2026-11-211", -1},
    {"2026-13-01", -1},
    {"2026-00-01", -1},
    {"2026-01-32", -1},
    {"2026-01-00", -1},
    {"2026/01/01", -1},
    {"-026-01-01", -1},
    {"20a6-01-01", -1},
};

static void test_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		int64_t ms = 0;
		bool well = warmup_parse_date(dates[i].text, &ms);
		if (well != (dates[i].day >= 0) || (well && ms != dates[i].day * DAY))
			fail_msg("\"%s\": %d, day %d", dates[i].text, well, (int)(ms / DAY));
	}
}

static struct reputation_way young(void)
{
	struct reputation_way way = paths_way("ip1", "google");
	way.since = "2026-11-21"; /* T0 */
	return way;
}

/* One transaction that must be allowed. */
static void deliver(struct paths *kit, const struct reputation_way *way, int64_t now_ms)
{
	paths_send(kit, way, NULL, VERDICT_STAGE_END, "250 ok", now_ms);
}

static void test_budgets(void **state)
{
	static const unsigned budgets[] = {20, 28, 39, 55, 77, 108, 151, 211, 295, 413, 579, 810};
	struct paths *kit = *state;
	struct reputation_way way = young();
	struct path_view view;
	deliver(kit, &way, T0);
	for (unsigned day = 0; day < 12; day++) {
		assert_true(paths_view(kit, "ip1", "google", T0 + day * DAY, &view));
		assert_int_equal(view.state, PATH_WARMING);
		assert_int_equal(view.warm_day, day);
		assert_int_equal(view.warm_days, 30);
		assert_int_equal(view.budget, budgets[day]);
	}
	assert_true(paths_view(kit, "ip1", "google", T0 + 30 * DAY, &view));
	assert_int_equal(view.warm_days, 0);
	assert_int_equal(view.budget, 0);
	assert_int_equal(view.state, PATH_OPEN);
}

/* Bulk mail has three fifths of it, normal mail four, urgent mail all; then the next
 * hour, where a newsletter's long line is not one for urgent mail. */
static void test_budget_and_reserve(void **state)
{
	struct paths *kit = *state;
	struct reputation_way bulk = young();
	struct reputation_way normal = young();
	struct reputation_way urgent = young();
	struct reputation_way other = young();
	int64_t now = T0 + 10 * MINUTE;
	urgent.urgent = true;
	bulk.bulk = true;
	other.provider = "yahoo";
	for (int i = 0; i < 12; i++)
		deliver(kit, &bulk, now);
	struct permit no = paths_ask(kit, &bulk, now, PERMIT_WAIT);
	assert_int_equal(no.at_ms, T0 + HOUR);
	for (int i = 0; i < 500; i++)
		assert_true(reputation_turn(kit->r, &bulk, &no) >= T0 + HOUR);
	assert_true(reputation_turn(kit->r, &bulk, &no) > T0 + 10 * HOUR);
	for (int i = 0; i < 4; i++)
		deliver(kit, &normal, now);
	assert_int_equal(paths_ask(kit, &normal, now, PERMIT_WAIT).at_ms, T0 + HOUR);
	for (int i = 0; i < 4; i++)
		deliver(kit, &urgent, now);
	no = paths_ask(kit, &urgent, now, PERMIT_WAIT);
	assert_int_equal(reputation_turn(kit->r, &urgent, &no), T0 + HOUR);
	deliver(kit, &other, now); /* per provider */
	for (int i = 0; i < 12; i++)
		deliver(kit, &bulk, T0 + HOUR);
	paths_ask(kit, &bulk, T0 + HOUR, PERMIT_WAIT);
}

/* What runs counts as used, what was not tried does not. */
static void test_running_counts(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = young();
	for (int i = 0; i < 15; i++)
		deliver(kit, &way, T0);
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_ask(kit, &way, T0, PERMIT_WAIT);
	reputation_give_back(kit->r, &way, false);
	paths_ask(kit, &way, T0, PERMIT_GO);
}

static void test_counts_survive(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = young();
	struct path_view view;
	int64_t now = T0 + 6 * DAY;
	for (int i = 0; i < 43; i++)
		deliver(kit, &way, now + i);
	for (int how = 0; how < 2; how++) {
		if (how)
			paths_crash(kit);
		else
			paths_restart(kit);
		assert_true(paths_view(kit, "ip1", "google", now, &view));
		assert_int_equal(view.warm_day, 6);
		assert_int_equal(view.budget_used, 43);
		assert_int_equal(view.budget, 151);
	}
}

/* "Slower" takes a day back, and not more than one a day. */
static void test_step_back(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = young();
	struct path_view view;
	int64_t now = T0 + 6 * DAY;
	paths_send(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "421 4.7.0 slow", now);
	assert_true(paths_view(kit, "ip1", "google", now, &view));
	assert_int_equal(view.warm_day, 5);
	paths_send(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "421 4.7.0 slow", now + 2 * HOUR);
	assert_true(paths_view(kit, "ip1", "google", now + 2 * HOUR, &view));
	assert_int_equal(view.warm_day, 5);
	paths_crash(kit);
	paths_send(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "421 4.7.0 slow", now + DAY);
	assert_true(paths_view(kit, "ip1", "google", now + DAY, &view));
	assert_int_equal(view.warm_day, 5);
	assert_true(paths_view(kit, "ip1", "google", now + 2 * DAY, &view));
	assert_int_equal(view.warm_day, 6);
}

static void test_idle_days_start_again(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = young();
	struct path_view view;
	int64_t now = T0 + 100 * DAY;
	deliver(kit, &way, now);
	assert_int_equal(paths_state(kit, "ip1", "google", now), PATH_OPEN);
	now += 29 * DAY;
	deliver(kit, &way, now);
	assert_int_equal(paths_state(kit, "ip1", "google", now), PATH_OPEN);
	paths_restart(kit);
	now += 30 * DAY;
	deliver(kit, &way, now);
	assert_true(paths_view(kit, "ip1", "google", now, &view));
	assert_int_equal(view.state, PATH_WARMING);
	assert_int_equal(view.warm_day, 0);
	assert_int_equal(view.budget, 20);
	paths_crash(kit);
	assert_true(paths_view(kit, "ip1", "google", now + 3 * DAY, &view));
	assert_int_equal(view.warm_day, 3);
}

/* A clock that was a year fast for a while: neither idle nor young for that. */
static void test_idle_by_a_wrong_clock(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = young();
	int64_t now = T0 + 40 * DAY;
	deliver(kit, &way, now);
	deliver(kit, &way, now + 365 * DAY);
	assert_int_equal(paths_state(kit, "ip1", "google", now + 365 * DAY), PATH_WARMING);
	paths_restart(kit);
	deliver(kit, &way, now + HOUR);
	assert_int_equal(paths_state(kit, "ip1", "google", now + HOUR), PATH_OPEN);
	/* a little back is no mistake of a year */
	now += 60 * DAY;
	deliver(kit, &way, now);
	deliver(kit, &way, now - 5 * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "google", now), PATH_WARMING);
}

/* Without a date a source is warm, however long it was idle. */
static void test_no_date(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	for (int i = 0; i < 1000; i++)
		deliver(kit, &way, T0);
	deliver(kit, &way, T0 + 400 * DAY);
	assert_int_equal(paths_state(kit, "ip1", "google", T0 + 400 * DAY), PATH_OPEN);
	way.since = "yesterday";
	deliver(kit, &way, T0 + 400 * DAY);
	way.since = "2099-01-01"; /* not yet */
	deliver(kit, &way, T0 + 400 * DAY);
	assert_int_equal(paths_state(kit, "ip1", "google", T0 + 400 * DAY), PATH_WARMING);
}

/* Numbers that a configuration may hold: they do not wrap. */
static void test_extreme_options(void **state)
{
	(void)state;
	struct reputation_options options = {.warmup_start = 1e18, .warmup_growth = 1e18,
	    .warmup_days = 4000000000U, .idle_days = 4000000000U};
	struct path p = {0};
	struct warmup w = warmup_now(&options, &p, "1970-01-01", T0);
	assert_true(w.on && w.budget == 1000000000 && w.normal == 800000000 && w.bulk == 600000000);
	options.warmup_start = 0;
	options.warmup_growth = 0;
	w = warmup_now(&options, &p, "1970-01-01", T0);
	assert_true(w.on && w.budget == 1 && w.normal == 1 && w.bulk == 1);
	assert_false(warmup_restart(&options, &p, T0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, paths_setup, paths_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_dates),
	    TEST(test_budgets),
	    TEST(test_budget_and_reserve),
	    TEST(test_running_counts),
	    TEST(test_counts_survive),
	    TEST(test_step_back),
	    TEST(test_idle_days_start_again),
	    TEST(test_idle_by_a_wrong_clock),
	    TEST(test_no_date),
	    cmocka_unit_test(test_extreme_options),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
