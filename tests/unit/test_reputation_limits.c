/* SPDX-License-Identifier: MIT
 * The reputation against simulated receivers in simulated time: providers that
 * take N messages a minute from an IP, then answer 421, then 5xx for an hour when
 * that is ignored. The path must find the limit, stay under it and use it.
 */
#include "tests/unit/reputation_kit.h"

#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"

enum limiter { TOKEN_BUCKET, FIXED_WINDOW };

/* A provider. What it does is all that the path can learn from. */
struct receiver {
	enum limiter kind;
	double per_minute;
	double tokens; /* bucket */
	int64_t filled_ms;
	int64_t window;   /* fixed window: which minute, and how many in it */
	double in_window;
	unsigned ignored; /* 421s lately */
	int64_t ignored_ms;
	int64_t blocked_until;
};

enum receiver_says { TAKEN, TOO_FAST, BLOCKED };

static bool has_room(struct receiver *v, int64_t now_ms)
{
	if (v->kind == TOKEN_BUCKET) {
		v->tokens += (double)(now_ms - v->filled_ms) * v->per_minute / (double)MINUTE;
		v->filled_ms = now_ms;
		if (v->tokens > v->per_minute)
			v->tokens = v->per_minute;
		if (v->tokens < 1)
			return false;
		v->tokens -= 1;
		return true;
	}
	if (now_ms / MINUTE != v->window)
		v->in_window = 0;
	v->window = now_ms / MINUTE;
	return ++v->in_window <= v->per_minute;
}

/* Who goes on for twice the limit, or for 40 attempts, within ten minutes after
 * the first 421 is blocked for an hour. */
static enum receiver_says receiver_judge(struct receiver *v, int64_t now_ms)
{
	if (now_ms < v->blocked_until)
		return BLOCKED;
	if (has_room(v, now_ms))
		return TAKEN;
	if (now_ms - v->ignored_ms > 10 * MINUTE) {
		v->ignored = 0;
		v->ignored_ms = now_ms;
	}
	if (++v->ignored > (2 * v->per_minute < 40 ? 2 * v->per_minute : 40))
		v->blocked_until = now_ms + HOUR;
	return TOO_FAST;
}

/* ---- transactions under way ---- */

#define RUNNING_MAX 64
#define NONE INT64_MAX

struct run {
	struct paths *kit;
	struct receiver receiver;
	struct reputation_way way;
	int64_t latency_ms;
	int64_t ends[RUNNING_MAX]; /* when it ends, NONE: a free place */
	bool probes[RUNNING_MAX];
	enum receiver_says said[RUNNING_MAX];
	int64_t ask_ms; /* when to ask again */
	unsigned taken, deferred, blocked;
};

static void run_start(struct run *run, int64_t now_ms)
{
	struct permit permit = reputation_ask(run->kit->r, &run->way, now_ms);
	if (permit.answer != PERMIT_GO && permit.answer != PERMIT_PROBE) {
		assert_true(permit.at_ms > now_ms);
		run->ask_ms = permit.at_ms;
		return;
	}
	size_t i = 0;
	while (i < RUNNING_MAX && run->ends[i] != NONE)
		i++;
	assert_true(i < RUNNING_MAX);
	run->ends[i] = now_ms + run->latency_ms;
	run->probes[i] = permit.answer == PERMIT_PROBE;
	run->said[i] = receiver_judge(&run->receiver, now_ms);
	run->ask_ms = now_ms;
}

static void run_end(struct run *run, size_t i)
{
	int64_t now_ms = run->ends[i];
	const struct verdict *v = NULL;
	if (run->said[i] == TAKEN)
		run->taken++;
	else if (run->said[i] == TOO_FAST)
		run->deferred++, v = &paths_slow;
	else
		run->blocked++, v = &paths_blocked;
	run->ends[i] = NONE;
	paths_report(run->kit, &run->way, v, VERDICT_STAGE_MAIL,
	    v ? "421 4.7.0 too fast" : "250 ok", run->probes[i], now_ms);
	run->ask_ms = now_ms; /* a report may free a slot */
}

static size_t first_end(const struct run *run)
{
	size_t first = 0;
	for (size_t i = 1; i < RUNNING_MAX; i++)
		if (run->ends[i] < run->ends[first])
			first = i;
	return first;
}

/* As much mail as may go, from FROM to TO. */
static void run_until(struct run *run, int64_t from_ms, int64_t to_ms)
{
	run->taken = run->deferred = run->blocked = 0;
	if (run->ask_ms < from_ms)
		run->ask_ms = from_ms;
	for (;;) {
		size_t i = first_end(run);
		bool end = run->ends[i] <= run->ask_ms;
		if ((end ? run->ends[i] : run->ask_ms) >= to_ms)
			return;
		if (end)
			run_end(run, i);
		else
			run_start(run, run->ask_ms);
	}
}

static void run_init(struct run *run, struct paths *kit, enum limiter kind, double per_minute)
{
	memset(run, 0, sizeof(*run));
	run->kit = kit;
	run->receiver.kind = kind;
	run->receiver.per_minute = per_minute;
	run->receiver.tokens = per_minute;
	run->receiver.filled_ms = T0;
	run->way = paths_way("ip1", "provider");
	run->latency_ms = 300;
	for (size_t i = 0; i < RUNNING_MAX; i++)
		run->ends[i] = NONE;
}

static const struct limit {
	enum limiter kind;
	double per_minute;
	int64_t latency_ms;
	double deferred; /* at most, share of the attempts after ten minutes */
} limits[] = {
    {TOKEN_BUCKET, 10, 300, 0.02},
    {TOKEN_BUCKET, 60, 300, 0.02},
    {TOKEN_BUCKET, 300, 300, 0.02},
    {FIXED_WINDOW, 10, 300, 0.02},
    {FIXED_WINDOW, 60, 300, 0.02},
    {FIXED_WINDOW, 300, 300, 0.02},
    {TOKEN_BUCKET, 10, 5000, 0.02},
    {FIXED_WINDOW, 60, 5000, 0.02},
    {FIXED_WINDOW, 300, 3000, 0.02},
    {TOKEN_BUCKET, 1, 300, 0.06},
    {FIXED_WINDOW, 3, 300, 0.03},
};

static void check_limit(const struct limit *limit)
{
	struct paths kit;
	struct run run;
	char what[80];
	snprintf(what, sizeof(what), "%s, %.0f a minute, %d ms",
	    limit->kind == TOKEN_BUCKET ? "token bucket" : "fixed window", limit->per_minute,
	    (int)limit->latency_ms);
	paths_open(&kit);
	run_init(&run, &kit, limit->kind, limit->per_minute);
	run.latency_ms = limit->latency_ms;
	run_until(&run, T0, T0 + 10 * MINUTE);
	unsigned early = run.deferred;
	run_until(&run, T0 + 10 * MINUTE, T0 + 8 * HOUR + 10 * MINUTE);
	double attempts = run.taken + run.deferred + run.blocked;
	double share = (run.deferred + run.blocked) / attempts;
	double used = run.taken / (limit->per_minute * 60 * 8);
	print_message("%-34s first 10 min: %3u deferred; then %5.2f %% deferred, "
		      "%5.1f %% of the limit\n",
	    what, early, share * 100, used * 100);
	assert_int_equal(run.blocked, 0);
	if (share >= limit->deferred)
		fail_msg("%s: %.2f %% deferred", what, share * 100);
	if (used < 0.9)
		fail_msg("%s: only %.1f %% of the limit used", what, used * 100);
	paths_close(&kit);
}

static void test_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		check_limit(&limits[i]);
}

/* Without us: who sends as fast as he can is blocked, so the receiver's threat is
 * real and the figures above mean something. */
static void test_the_receiver_means_it(void **state)
{
	(void)state;
	struct receiver v = {.kind = TOKEN_BUCKET, .per_minute = 60, .tokens = 60,
	    .filled_ms = T0};
	unsigned says[3] = {0};
	for (int64_t now = T0; now < T0 + HOUR; now += 300)
		says[receiver_judge(&v, now)]++;
	assert_in_range(says[TAKEN], 60, 200);
	assert_in_range(says[TOO_FAST], 40, 42);
	assert_true(says[BLOCKED] > 10000);
}

/* Restarts every ten minutes: nothing has to be learnt again. */
static void test_restarts(void **state)
{
	struct paths kit;
	struct run run;
	unsigned taken = 0;
	unsigned deferred = 0;
	(void)state;
	paths_open(&kit);
	run_init(&run, &kit, FIXED_WINDOW, 60);
	run_until(&run, T0, T0 + 10 * MINUTE);
	for (int64_t now = T0 + 10 * MINUTE; now < T0 + 4 * HOUR; now += 10 * MINUTE) {
		for (size_t i = 0; i < RUNNING_MAX; i++)
			run.ends[i] = NONE; /* what runs is lost */
		if (now / (10 * MINUTE) % 2)
			paths_restart(&kit);
		else
			paths_crash(&kit);
		run_until(&run, now, now + 10 * MINUTE);
		taken += run.taken;
		deferred += run.deferred + run.blocked;
	}
	assert_true(deferred < taken / 50);
	assert_true(taken > 0.9 * 60 * 230);
	paths_close(&kit);
}

/* The provider changes its mind: a lower limit is found within minutes and without
 * a block, a higher one within hours. */
static void test_limit_moves(void **state)
{
	struct paths kit;
	struct run run;
	(void)state;
	paths_open(&kit);
	run_init(&run, &kit, TOKEN_BUCKET, 300);
	run_until(&run, T0, T0 + 2 * HOUR);
	run.receiver.per_minute = 60;
	run_until(&run, T0 + 2 * HOUR, T0 + 2 * HOUR + 30 * MINUTE);
	assert_int_equal(run.blocked, 0);
	run_until(&run, T0 + 2 * HOUR + 30 * MINUTE, T0 + 4 * HOUR);
	assert_int_equal(run.blocked, 0);
	assert_true(run.deferred * 50 < run.taken);
	assert_true(run.taken > 0.85 * 60 * 90);
	run.receiver.per_minute = 300;
	run_until(&run, T0 + 4 * HOUR, T0 + 6 * HOUR);
	run_until(&run, T0 + 6 * HOUR, T0 + 8 * HOUR);
	print_message("60 -> 300 a minute: %.0f %% used after two hours\n",
	    run.taken / 360.0);
	assert_true(run.taken > 0.85 * 300 * 120);
	paths_close(&kit);
}

/* The IP is blocked for five hours for reasons that nobody told us: few attempts
 * meanwhile, and full speed again soon after the end. */
static void test_block_and_recovery(void **state)
{
	struct paths kit;
	struct run run;
	(void)state;
	paths_open(&kit);
	run_init(&run, &kit, TOKEN_BUCKET, 300);
	run_until(&run, T0, T0 + HOUR);
	run.receiver.blocked_until = T0 + 6 * HOUR;
	run_until(&run, T0 + HOUR, T0 + 6 * HOUR);
	print_message("blocked for 5 h: %u attempts\n", run.blocked);
	assert_in_range(run.taken, 0, 5); /* those under way */
	assert_in_range(run.blocked, 1, 8);
	assert_non_null(incident_find(kit.r, 1));
	assert_null(incident_find(kit.r, 2));
	/* the next probe comes 4 h after the last one at the latest */
	run_until(&run, T0 + 6 * HOUR, T0 + 10 * HOUR + HOUR);
	assert_int_equal(run.blocked, 0);
	run_until(&run, T0 + 11 * HOUR, T0 + 12 * HOUR);
	assert_true(run.taken > 0.85 * 300 * 60);
	assert_int_equal(paths_state(&kit, "ip1", "provider", T0 + 12 * HOUR), PATH_OPEN);
	assert_false(incident_find(kit.r, 1)->open);
	paths_close(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_the_receiver_means_it),
	    cmocka_unit_test(test_restarts),
	    cmocka_unit_test(test_limit_moves),
	    cmocka_unit_test(test_block_and_recovery),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
