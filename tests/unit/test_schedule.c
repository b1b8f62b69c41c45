/* SPDX-License-Identifier: MIT
 * The schedule over days of a fake clock: the ladder, expiry and notice, turns
 * between destinations, windows, dead destinations, and what a million messages
 * cost. The administrator's part is in test_schedule_admin.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "schedule_kit.h"

/* ---- when ---- */

static void test_first_attempt_is_at_once(void **state)
{
	struct kit *kit = *state;
	kit_add_one(kit, 1, "a.test");
	assert_int_equal(kit->count[KIT_STARTED], 0); /* nothing is started inside */
	kit_run(kit, 1000);
	assert_int_equal(kit_note(kit, KIT_STARTED, 0)->at, 0);
	assert_int_equal(kit->count[KIT_ENDED], 1);
	assert_null(schedule_find(kit->schedule, 1));
}

/* Every gap is the ladder's step +-10 %, and the last step repeats. */
static void test_ladder(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	kit->took_ms = 0;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 2 * KIT_DAY);
	assert_true(kit->count[KIT_STARTED] > 20);
	bool jitter = false;
	for (size_t i = 1; i < kit->count[KIT_STARTED]; i++) {
		int64_t step = kit->ladder[i - 1 < 6 ? i - 1 : 6];
		int64_t gap =
		    kit_note(kit, KIT_STARTED, i)->at - kit_note(kit, KIT_STARTED, i - 1)->at;
		assert_in_range(gap, step * 9 / 10, step * 11 / 10);
		jitter |= gap != step;
	}
	assert_true(jitter);
}

static void test_a_named_time_is_kept(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	kit_land(kit, 1, KIT_DEFERRED, clock_steady_ms() + 310 * KIT_SECOND);
	kit_run(kit, KIT_HOUR);
	assert_int_equal(kit_note(kit, KIT_STARTED, 1)->at, 310 * KIT_SECOND);
}

/* "Try again in one second", for ever: a few times, then by the ladder. */
static void test_named_times_do_not_replace_the_ladder(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	for (size_t n = 1; n <= 8; n++) {
		kit_run(kit, n <= 6 ? 11 * KIT_SECOND : 3 * KIT_HOUR);
		assert_int_equal(kit->count[KIT_STARTED], n);
		kit_land(kit, 1, KIT_DEFERRED, clock_steady_ms() + 11 * KIT_SECOND);
	}
	struct message *m = schedule_find(kit->schedule, 1);
	assert_true(m->batches->try_ms - clock_steady_ms() > 100 * KIT_MINUTE);
}

static void test_state_of_the_spool_is_taken_on(void **state)
{
	struct kit *kit = *state;
	struct spool_state s = {.due_ms = clock_wall_ms() + 30 * KIT_MINUTE, .attempts = 4};
	kit->answer = kit_defers;
	kit->took_ms = 0;
	kit_add_state(kit, 1, "a.test", clock_wall_ms() - KIT_HOUR, &s);
	kit_run(kit, 2 * KIT_HOUR);
	assert_int_equal(kit_note(kit, KIT_STARTED, 0)->at, 30 * KIT_MINUTE);
	int64_t gap = kit_note(kit, KIT_STARTED, 1)->at - 30 * KIT_MINUTE;
	assert_in_range(gap, 36 * KIT_MINUTE, 44 * KIT_MINUTE); /* the fifth step: 40m */
}

/* Written under a clock that was years ahead: neither the attempt nor the end
 * may wait for that year. */
static void test_times_of_a_wrong_clock(void **state)
{
	struct kit *kit = *state;
	int64_t wrong = clock_wall_ms() + 3650 * KIT_DAY;
	struct spool_state s = {.due_ms = wrong + KIT_HOUR, .attempts = 1};
	kit->answer = kit_defers;
	kit_add_state(kit, 1, "a.test", wrong, &s);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit_note(kit, KIT_STARTED, 0)->at, 0);
	kit_run(kit, 5 * KIT_DAY + KIT_HOUR);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
}

/* ---- the end of a message's life ---- */

static void test_expires_exactly_at_its_time(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 5 * KIT_DAY - 1);
	assert_int_equal(kit->count[KIT_EXPIRED], 0);
	kit_run(kit, 1);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 0)->at, 5 * KIT_DAY);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

static void test_reports_have_their_own_lifetime(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	struct schedule_entry report = {.id = 1, .place = {1, 64}, .arrived_ms = clock_wall_ms(),
	    .size = 100, .report = true};
	schedule_add(kit->schedule, &report, (const char *const[]){"a.test"}, 1, NULL);
	kit_run(kit, 6 * KIT_DAY);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 0)->at, KIT_DAY);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
}

/* An attempt is under way when the time is over: it may still succeed, and if it
 * does not, the end comes at once and not at the next step of the ladder. */
static void test_end_during_an_attempt(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit->conf.lifetime = KIT_HOUR;
	schedule_set_conf(kit->schedule, &kit->conf);
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, KIT_HOUR + KIT_MINUTE);
	assert_int_equal(kit->count[KIT_EXPIRED], 0);
	kit_land(kit, 1, KIT_DEFERRED, 0);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 0)->at, KIT_HOUR + KIT_MINUTE);
}

/* A dead destination gets one attempt per pause; its other messages never have
 * their turn and still must come to their end, and their senders must hear of
 * the delay. */
static void test_end_behind_a_dead_destination(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_is_dead;
	for (uint64_t id = 1; id <= 500; id++)
		kit_add_one(kit, id, "dead.test");
	kit_run(kit, 4 * KIT_HOUR - 1);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_DELAYED], 500);
	kit_run(kit, 5 * KIT_DAY - 4 * KIT_HOUR - KIT_MINUTE);
	assert_int_equal(kit->count[KIT_EXPIRED], 0);
	kit_run(kit, 1 + KIT_SECOND);
	assert_int_equal(kit->count[KIT_EXPIRED], 500);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 500);
	assert_int_equal(kit->count[KIT_DELAYED], 500);
}

/* The disk is full: the report can not be queued. It is tried again by the
 * ladder, not in a circle; also when no notice was ever sent, and even when the
 * message was over before the daemon started. */
static void test_report_that_can_not_be_queued(void **state)
{
	struct kit *kit = *state;
	kit->report_fails = true;
	kit_add_state(kit, 1, "a.test", clock_wall_ms() - 6 * KIT_DAY, NULL);
	kit_run(kit, KIT_DAY);
	assert_int_equal(kit->count[KIT_STARTED], 0);
	assert_in_range(kit->count[KIT_EXPIRED], 14, 20);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
	kit->report_fails = false;
	kit_run(kit, 3 * KIT_HOUR);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

/* The daemon was down for a week: what it has is tried once more, and only then
 * goes back. */
static void test_last_chance_after_a_long_stop(void **state)
{
	struct kit *kit = *state;
	struct spool_state s = {.due_ms = clock_wall_ms() - 7 * KIT_DAY, .attempts = 9};
	kit->answer = kit_defers;
	kit_add_state(kit, 1, "a.test", clock_wall_ms() - 8 * KIT_DAY, &s);
	kit_run(kit, KIT_HOUR - 1);
	assert_int_equal(kit->count[KIT_STARTED], 1);
	assert_int_equal(kit->count[KIT_EXPIRED], 0);
	kit_run(kit, 1);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
	kit->answer = kit_delivers;
	kit_add_state(kit, 2, "b.test", clock_wall_ms() - 8 * KIT_DAY, &s);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 2);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
	assert_int_equal(kit->count[KIT_ENDED], 2);
}

/* Many end at once: reports are made a few at a time, and other mail flows. */
static void test_many_ends_at_once(void **state)
{
	struct kit *kit = *state;
	for (uint64_t id = 1; id <= 2000; id++)
		kit_add_state(kit, id, "dead.test", clock_wall_ms() - 6 * KIT_DAY, NULL);
	kit_add_one(kit, 9999, "b.test");
	kit_run(kit, 200);
	assert_int_equal(kit_note(kit, KIT_STARTED, 0)->id, 9999);
	assert_in_range(kit->most_running, 1, 33);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 2001);
}

static void test_expiry_does_not_need_a_connection(void **state)
{
	struct kit *kit = *state;
	kit->conf.connections = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
	kit->took_ms = -1;
	kit_add_one(kit, 1, "slow.test");
	kit_run(kit, 0);
	kit_add_state(kit, 2, "a.test", clock_wall_ms() - 6 * KIT_DAY, NULL);
	kit_run(kit, 0);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 0)->id, 2);
}

/* ---- the delay notice ---- */

static void test_notice_comes_once(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	kit_add(kit, 1, (const char *const[]){"a.test", "b.test", "c.test", NULL});
	kit_run(kit, 4 * KIT_DAY);
	assert_int_equal(kit->count[KIT_DELAYED], 1);
	assert_int_equal(kit_note(kit, KIT_DELAYED, 0)->at, 4 * KIT_HOUR);
}

static void test_notice_was_sent_before_the_restart(void **state)
{
	struct kit *kit = *state;
	struct spool_state s = {.due_ms = 0, .notified = true};
	kit->answer = kit_defers;
	kit_add_state(kit, 1, "a.test", clock_wall_ms() - KIT_HOUR, &s);
	kit_run(kit, KIT_DAY);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
}

/* relayd was down for a night: what it delivers now needs no notice. */
static void test_attempt_comes_before_the_notice(void **state)
{
	struct kit *kit = *state;
	struct spool_state s = {.due_ms = clock_wall_ms() - 7 * KIT_HOUR, .attempts = 3};
	kit_add_state(kit, 1, "a.test", clock_wall_ms() - 8 * KIT_HOUR, &s);
	kit_run(kit, KIT_HOUR);
	assert_int_equal(kit->count[KIT_ENDED], 1);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
}

static void test_no_notice_when_switched_off_or_too_late(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	kit->conf.lifetime = 2 * KIT_HOUR; /* over before the notice is due */
	schedule_set_conf(kit->schedule, &kit->conf);
	kit_add_one(kit, 1, "a.test");
	kit->conf.lifetime = 5 * KIT_DAY;
	kit->conf.delay_notice = 0;
	schedule_set_conf(kit->schedule, &kit->conf);
	kit_add_one(kit, 2, "b.test");
	kit_run(kit, KIT_DAY);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
}

/* ---- turns ---- */

/* 100,000 for one destination, then 1 for another: it is not behind them. */
static void test_one_among_a_hundred_thousand(void **state)
{
	struct kit *kit = *state;
	for (uint64_t id = 1; id <= 100000; id++)
		kit_add_one(kit, id, "big.test");
	kit_add_one(kit, 999999, "small.test");
	kit_run(kit, 0);
	assert_true(kit->count[KIT_STARTED] <= 3);
	assert_int_equal(kit_note(kit, KIT_STARTED, 1)->id, 999999);
	kit_run(kit, 10 * KIT_SECOND);
	assert_true(kit->most_running <= 21);
}

/* Three destinations and one slot: each has every third start. */
static void test_destinations_take_turns(void **state)
{
	static const char *const names[] = {"a.test", "b.test", "c.test"};
	struct kit *kit = *state;
	kit->conf.connections = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
	for (uint64_t id = 0; id < 300; id++)
		kit_add_one(kit, id, names[id / 100]);
	kit_run(kit, 9 * KIT_SECOND);
	size_t seen[3] = {0};
	for (size_t i = 0; i < 90; i++)
		seen[kit_note(kit, KIT_STARTED, i)->id / 100]++;
	/* but for the first ones, where new destinations and those that have
	 * answered take turns */
	for (int i = 0; i < 3; i++)
		assert_in_range(seen[i], 29, 31);
	assert_int_equal(kit->most_running, 1);
}

static void test_first_come_first_served(void **state)
{
	struct kit *kit = *state;
	kit->conf.window_max = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
	for (uint64_t id = 0; id < 50; id++)
		kit_add_one(kit, id, "a.test");
	kit_run(kit, KIT_MINUTE);
	for (size_t i = 0; i < 50; i++)
		assert_int_equal(kit_note(kit, KIT_STARTED, i)->id, i);
}

static void test_connections_are_limited(void **state)
{
	struct kit *kit = *state;
	char name[32];
	kit->took_ms = -1;
	for (uint64_t id = 0; id < 500; id++) {
		snprintf(name, sizeof(name), "d%u.test", (unsigned)id);
		kit_add_one(kit, id, name);
	}
	kit_run(kit, KIT_MINUTE);
	/* of 200; a quarter is kept for destinations that answer */
	assert_int_equal(kit->most_running, 150);
	kit_land(kit, 0, KIT_DELIVERED, 0);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 151);
}

/* ---- windows ---- */

static double window_of(const struct kit *kit, const char *name)
{
	struct destination_stats stats;
	assert_true(schedule_destination(kit->schedule, name, &stats));
	return stats.window;
}

static int64_t pause_left(const struct kit *kit, const char *name)
{
	struct destination_stats stats;
	assert_true(schedule_destination(kit->schedule, name, &stats));
	return stats.paused_until_ms ? stats.paused_until_ms - clock_steady_ms() : 0;
}

static void test_window_grows_to_its_limit(void **state)
{
	struct kit *kit = *state;
	for (uint64_t id = 0; id < 2000; id++)
		kit_add_one(kit, id, "a.test");
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 2);
	kit_run(kit, 300);
	assert_in_range(kit->most_running, 3, 6);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->most_running, 20);
	assert_true(window_of(kit, "a.test") <= 20);
	assert_int_equal(kit->count[KIT_ENDED], 2000);
}

static void test_window_halves_with_a_failure(void **state)
{
	struct kit *kit = *state;
	for (uint64_t id = 0; id < 3000; id++)
		kit_add_one(kit, id, "a.test");
	kit_run(kit, 10 * KIT_SECOND);
	assert_true(window_of(kit, "a.test") > 19);
	kit->took_ms = -1;
	kit_run(kit, KIT_SECOND);
	uint64_t id = kit->notes[kit->note_count - 1].id;
	kit_land(kit, id, KIT_DEAD, 0);
	assert_in_range((int64_t)window_of(kit, "a.test"), 9, 10);
	assert_int_equal(pause_left(kit, "a.test"), 0);
}

/* What says nothing about the destination changes nothing. */
static void test_neutral_leaves_the_window(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	kit_land(kit, 1, KIT_NOTHING, 0);
	assert_int_equal((int64_t)(10 * window_of(kit, "a.test")), 20);
	assert_int_equal(pause_left(kit, "a.test"), 0);
}

/* ---- dead destinations ---- */

static enum kit_answer only_dead_fails(struct kit *kit, const struct batch *batch)
{
	(void)kit;
	return destination_name(batch->destination)[0] == 'd' ? KIT_DEAD : KIT_DELIVERED;
}

static void test_dead_costs_others_nothing(void **state)
{
	struct kit *kit = *state;
	kit->answer = only_dead_fails;
	for (uint64_t id = 0; id < 10000; id++)
		kit_add_one(kit, id, "dead.test");
	kit_run(kit, KIT_DAY);
	/* two failures, then one for each pause: 2m 5m 10m 20m 40m 1h 2h 2h ... */
	assert_in_range(kit->count[KIT_STARTED], 12, 25);
	kit_add_one(kit, 20000, "alive.test");
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

/* A hundred destinations that take the connection and say nothing: one that
 * answers still has every fourth connection for itself. */
static void test_silent_ones_leave_room(void **state)
{
	struct kit *kit = *state;
	char name[32];
	kit->took_ms = -1;
	kit->conf.connections = 40;
	schedule_set_conf(kit->schedule, &kit->conf);
	kit_add_one(kit, 1, "good.example");
	kit_run(kit, 0);
	kit_land(kit, 1, KIT_DELIVERED, 0);
	for (uint64_t i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "silent%d.example", (int)(i / 2));
		kit_add_one(kit, 1000 + i, name);
	}
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(schedule_stats(kit->schedule).running, 30);
	for (uint64_t id = 2; id < 50; id++) {
		kit_add_one(kit, id, "good.example");
		kit_run(kit, 0);
		kit_land(kit, id, KIT_DELIVERED, 0);
	}
	/* once one of them answers it is no longer counted with the silent ones */
	kit_land(kit, 1000, KIT_DEFERRED, 0);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(schedule_stats(kit->schedule).running, 30 + 1);
}

static void test_pauses_get_longer_and_end_with_a_success(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_is_dead;
	kit->took_ms = 0;
	for (uint64_t id = 0; id < 50; id++)
		kit_add_one(kit, id, "dead.test");
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 2);
	for (size_t i = 0; i < 6; i++) {
		int64_t left = pause_left(kit, "dead.test");
		assert_in_range(left, kit->ladder[i] * 9 / 10 - 1, kit->ladder[i] * 11 / 10);
		kit_run(kit, left);
		assert_true(pause_left(kit, "dead.test") > 0);
	}
	kit->answer = kit_delivers;
	kit_run(kit, pause_left(kit, "dead.test"));
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit->count[KIT_ENDED], 50);
	assert_int_equal(pause_left(kit, "dead.test"), 0);
}

/* It dies while twenty attempts are under way: that is one pause, not twenty. */
static void test_one_death_is_one_pause(void **state)
{
	struct kit *kit = *state;
	for (uint64_t id = 0; id < 3000; id++)
		kit_add_one(kit, id, "dead.test");
	kit_run(kit, 10 * KIT_SECOND);
	kit->answer = kit_is_dead;
	kit_run(kit, KIT_SECOND);
	assert_in_range(pause_left(kit, "dead.test"), KIT_MINUTE, kit->ladder[0] * 11 / 10);
	/* that a slot of its way is free does not bring it back to life */
	schedule_unpace(kit->schedule, schedule_find(kit->schedule, 2999)->batches->destination);
	assert_in_range(pause_left(kit, "dead.test"), KIT_MINUTE, kit->ladder[0] * 11 / 10);
}

static void test_pause_is_kept_and_can_be_ended(void **state)
{
	struct kit *kit = *state;
	struct message *m = kit_add_one(kit, 1, "a.test");
	struct destination *d = m->batches->destination;
	schedule_pause(kit->schedule, d, clock_steady_ms() + KIT_HOUR);
	schedule_pause(kit->schedule, d, clock_steady_ms() + KIT_MINUTE); /* never shorter */
	kit_run(kit, KIT_HOUR - 1);
	assert_int_equal(kit->count[KIT_STARTED], 0);
	kit_run(kit, 1);
	assert_int_equal(kit->count[KIT_STARTED], 1);
	kit_add_one(kit, 2, "a.test");
	schedule_pause(kit->schedule, d, clock_steady_ms() + KIT_HOUR);
	schedule_unpace(kit->schedule, d);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 2);
}

static void test_destinations_are_forgotten(void **state)
{
	struct kit *kit = *state;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, KIT_MINUTE);
	assert_true(window_of(kit, "a.test") > 2); /* remembered for a while */
	kit_add_one(kit, 2, "a.test");
	kit_run(kit, 9 * KIT_MINUTE);
	assert_int_equal(schedule_stats(kit->schedule).destinations, 1);
	kit_run(kit, 2 * KIT_MINUTE);
	assert_int_equal(schedule_stats(kit->schedule).destinations, 0);
}

/* ---- size ---- */

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* Bytes of the heap in use. The sanitizer's allocator does not know of malloc's
 * own 8 bytes and its steps of 16, so they are added for two objects a message. */
static size_t heap_bytes(size_t messages)
{
	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes() + messages * 2 * 16;
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

static void test_a_million_messages(void **state)
{
	struct kit *kit = *state;
	const size_t count = 1000000;
	char name[32];
	struct spool_state s = {.due_ms = clock_wall_ms() + KIT_HOUR, .attempts = 1};
	size_t before = heap_bytes(0);
	for (uint64_t id = 1; id <= count; id++) {
		snprintf(name, sizeof(name), "d%u.test", (unsigned)(id % 1000));
		kit_add_state(kit, id * UINT64_C(0x9e3779b97f4a7c15), name, clock_wall_ms(), &s);
	}
	size_t each = (heap_bytes(count) - before) / count;
	print_message("%zu bytes a message\n", each);
	assert_true(each <= 300);
	assert_int_equal(schedule_stats(kit->schedule).waiting, count);
}

/* 10,000 destinations of one message, ended from the last to the first; what
 * looks for a batch in its message's list makes 50 million steps here. */
static void test_ten_thousand_destinations(void **state)
{
	enum { COUNT = 10000 };
	struct kit *kit = *state;
	char (*texts)[32] = mem_array(COUNT, sizeof(*texts));
	const char **names = mem_array(COUNT + 1, sizeof(*names));
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof(texts[i]), "d%05zu.test", i);
		names[i] = texts[i];
	}
	struct message *m = kit_add(kit, 1, names);
	size_t index = 0;
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		assert_int_equal(batch_recipient(b, 0), index++); /* in order */
	assert_int_equal(index, COUNT);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], COUNT);
	assert_int_equal(kit->count[KIT_ENDED], 1);
	mem_free(texts);
	mem_free(names);
}

/* Recipients of one destination are one batch, whatever stands between them. */
static void test_equal_destinations_are_one_batch(void **state)
{
	struct kit *kit = *state;
	struct message *m =
	    kit_add(kit, 1, (const char *const[]){"b.test", "a.test", "b.test", "a.test", NULL});
	assert_int_equal(m->pending, 4);
	assert_int_equal(m->recipient_count, 4);
	assert_int_equal(m->batches->count, 2);
	assert_int_equal(batch_recipient(m->batches, 0), 1);
	assert_int_equal(batch_recipient(m->batches, 1), 3);
	assert_int_equal(m->batches->next_of_message->count, 2);
	assert_null(m->batches->next_of_message->next_of_message);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 2);
}

static void note_incident(void *arg, unsigned incident)
{
	unsigned *seen = arg;
	seen[incident]++;
}

/* One message may wait for two providers, and for one with two of its destinations. */
static void test_each_waiting(void **state)
{
	struct kit *kit = *state;
	unsigned seen[9] = {0};
	kit->took_ms = -1;
	const struct message *m =
	    kit_add(kit, 1, (const char *const[]){"a.test", "b.test", "c.test", NULL});
	kit_run(kit, 0);
	for (struct batch *b = m->batches; b; b = b->next_of_message)
		b->incident = b == m->batches ? 7 : 8;
	for (int n = 0; n < 3; n++)
		kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
	kit_add_one(kit, 2, "d.test");
	schedule_each_waiting(kit->schedule, 10, note_incident, seen);
	assert_int_equal(seen[7], 1);
	assert_int_equal(seen[8], 1);
	schedule_each_waiting(kit->schedule, 0, note_incident, seen);
	assert_int_equal(seen[7], 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_first_attempt_is_at_once),
	    T(test_ladder),
	    T(test_a_named_time_is_kept),
	    T(test_named_times_do_not_replace_the_ladder),
	    T(test_state_of_the_spool_is_taken_on),
	    T(test_times_of_a_wrong_clock),
	    T(test_expires_exactly_at_its_time),
	    T(test_reports_have_their_own_lifetime),
	    T(test_end_during_an_attempt),
	    T(test_end_behind_a_dead_destination),
	    T(test_report_that_can_not_be_queued),
	    T(test_last_chance_after_a_long_stop),
	    T(test_many_ends_at_once),
	    T(test_expiry_does_not_need_a_connection),
	    T(test_notice_comes_once),
	    T(test_notice_was_sent_before_the_restart),
	    T(test_attempt_comes_before_the_notice),
	    T(test_no_notice_when_switched_off_or_too_late),
	    T(test_one_among_a_hundred_thousand),
	    T(test_destinations_take_turns),
	    T(test_first_come_first_served),
	    T(test_connections_are_limited),
	    T(test_window_grows_to_its_limit),
	    T(test_window_halves_with_a_failure),
	    T(test_neutral_leaves_the_window),
	    T(test_dead_costs_others_nothing),
	    T(test_silent_ones_leave_room),
	    T(test_pauses_get_longer_and_end_with_a_success),
	    T(test_one_death_is_one_pause),
	    T(test_pause_is_kept_and_can_be_ended),
	    T(test_destinations_are_forgotten),
	    T(test_a_million_messages),
	    T(test_ten_thousand_destinations),
	    T(test_equal_destinations_are_one_batch),
	    T(test_each_waiting),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
