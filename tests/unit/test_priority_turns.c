/* SPDX-License-Identifier: MIT
 * Urgent before normal before bulk: within a destination, between destinations
 * when connections are short, after a hold; and bulk mail is not starved.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "queue/turn.h"
#include "relayd/base/clock.h"
#include "schedule_kit.h"

#define URGENT 900000u

static void one_at_a_time(struct kit *kit)
{
	kit->conf.window_max = 1;
	kit->conf.window_start = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
}

static void add(struct kit *kit, uint64_t id, const char *name, enum conf_priority priority)
{
	kit->priority = priority;
	kit_add_one(kit, id, name);
}

/* ---- the rule itself ---- */

static void test_turn(void **state)
{
	struct turn turn = {{0}};
	(void)state;
	assert_int_equal(turn_rank(CONF_PRIORITY_URGENT), 0);
	assert_int_equal(turn_rank(CONF_PRIORITY_NORMAL), 1);
	assert_int_equal(turn_rank(CONF_PRIORITY_BULK), 2);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(turn_take(&turn, 4), 2); /* alone */
	assert_int_equal(turn_take(&turn, 5), 0); /* nothing was passed over yet */
	for (unsigned i = 1; i < 9; i++)
		assert_int_equal(turn_take(&turn, 5), 0);
	assert_int_equal(turn_take(&turn, 5), 2); /* the tenth */
	assert_int_equal(turn_take(&turn, 5), 0);
}

static void test_turn_shares(void **state)
{
	struct turn turn = {{0}};
	unsigned got[TURN_RANKS] = {0};
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		got[turn_take(&turn, 7)]++;
	assert_in_range(got[0], 780, 820);
	assert_in_range(got[1], 90, 110);
	assert_in_range(got[2], 90, 110);
}

/* One that waits at the door for a moment is not overtaken by lesser ones, but for
 * every tenth time; one that is sent away for long claims nothing. */
static void test_claim(void **state)
{
	const int64_t now = 1000000;
	struct turn_claim c = {0};
	(void)state;
	turn_claim_wait(&c, 0, now + 60000, now);
	assert_false(turn_claim_stops(&c, 2, now));
	turn_claim_wait(&c, 2, now + 1000, now); /* bulk never does */
	assert_false(turn_claim_stops(&c, 2, now));
	turn_claim_wait(&c, 1, now + 1000, now);
	assert_true(turn_claim_stops(&c, 2, now));
	assert_false(turn_claim_stops(&c, 1, now));
	turn_claim_wait(&c, 0, now + 1000, now);
	turn_claim_wait(&c, 1, now + 1000, now); /* behind the urgent one */
	assert_true(turn_claim_stops(&c, 1, now));
	assert_false(turn_claim_stops(&c, 0, now));
	assert_true(turn_claim_stops(&c, 2, now + 2999));
	assert_false(turn_claim_stops(&c, 2, now + 3000)); /* it did not come */
	turn_claim_went(&c, 0);
	assert_false(turn_claim_stops(&c, 2, now));
	for (unsigned i = 0; i < 9; i++) {
		turn_claim_wait(&c, 0, now + 1000, now);
		turn_claim_went(&c, 0);
	}
	turn_claim_wait(&c, 0, now + 1000, now);
	assert_false(turn_claim_stops(&c, 2, now)); /* bulk mail's turn */
	turn_claim_went(&c, 2);
	assert_true(turn_claim_stops(&c, 2, now));
	assert_false(turn_claim_stops(&c, 2, 0)); /* the clock was set back */
}

/* ---- one destination ---- */

/* 500 newsletters wait for a receiver that takes one at a time: the password reset
 * that comes then is the next. */
static void test_urgent_is_next(void **state)
{
	struct kit *kit = *state;
	one_at_a_time(kit);
	for (uint64_t id = 1; id <= 500; id++)
		add(kit, id, "slow.test", CONF_PRIORITY_BULK);
	kit_run(kit, 5 * KIT_SECOND);
	size_t before = kit->count[KIT_STARTED];
	assert_in_range(before, 40, 60);
	add(kit, URGENT, "slow.test", CONF_PRIORITY_URGENT);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit_note(kit, KIT_STARTED, before)->id, URGENT);
}

static void test_order_within(void **state)
{
	static const enum conf_priority priorities[] = {CONF_PRIORITY_BULK, CONF_PRIORITY_NORMAL,
	    CONF_PRIORITY_URGENT};
	struct kit *kit = *state;
	one_at_a_time(kit);
	kit->took_ms = -1;
	add(kit, 1, "a.test", CONF_PRIORITY_BULK);
	kit_run(kit, 0); /* it occupies the slot */
	for (uint64_t id = 0; id < 9; id++)
		add(kit, 10 + id, "a.test", priorities[id % 3]);
	kit->took_ms = 10;
	kit_land(kit, 1, KIT_DELIVERED, 0);
	kit_run(kit, KIT_SECOND);
	static const uint64_t order[] = {12, 15, 18, 11, 14, 17, 10, 13, 16};
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(kit_note(kit, KIT_STARTED, i + 1)->id, order[i]);
}

/* Urgent mail without end: every tenth start is bulk mail's all the same. */
static void test_bulk_is_not_starved(void **state)
{
	struct kit *kit = *state;
	one_at_a_time(kit);
	for (uint64_t id = 1; id <= 20; id++)
		add(kit, id, "a.test", CONF_PRIORITY_BULK);
	for (uint64_t id = 0; id < 400; id++)
		add(kit, URGENT + id, "a.test", CONF_PRIORITY_URGENT);
	kit_run(kit, 10 * KIT_SECOND);
	size_t bulk = 0;
	size_t all = kit->count[KIT_STARTED];
	for (size_t i = 0; i < all; i++)
		bulk += kit_note(kit, KIT_STARTED, i)->id < URGENT;
	assert_in_range(all, 80, 110);
	assert_in_range(bulk, all / 10 - 1, all / 10 + 1);
}

/* What was put off all together comes back in the right order. */
static void test_order_after_a_wait(void **state)
{
	struct kit *kit = *state;
	one_at_a_time(kit);
	kit->took_ms = -1;
	add(kit, 1, "a.test", CONF_PRIORITY_BULK);
	kit_run(kit, 0);
	kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, false);
	kit_run(kit, KIT_MINUTE);
	add(kit, 2, "a.test", CONF_PRIORITY_URGENT);
	kit_run(kit, 0);
	kit_put_off(kit, 2, clock_steady_ms() + KIT_HOUR - KIT_MINUTE, false);
	kit->took_ms = 10;
	schedule_resume(kit->schedule);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit_note(kit, KIT_STARTED, 2)->id, 2);
	assert_int_equal(kit_note(kit, KIT_STARTED, 3)->id, 1);
}

/* ---- between destinations ---- */

/* A newsletter to a thousand domains, two connections: the urgent message to yet
 * another one is not at the end of the row. */
static void test_urgent_among_many_destinations(void **state)
{
	struct kit *kit = *state;
	kit->conf.connections = 2;
	schedule_set_conf(kit->schedule, &kit->conf);
	for (uint64_t id = 1; id <= 1000; id++) {
		char name[32];
		snprintf(name, sizeof(name), "d%u.test", (unsigned)id);
		add(kit, id, name, CONF_PRIORITY_BULK);
	}
	kit_run(kit, KIT_SECOND);
	size_t before = kit->count[KIT_STARTED];
	assert_in_range(before, 5, 30);
	add(kit, URGENT, "other.test", CONF_PRIORITY_URGENT);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit_note(kit, KIT_STARTED, before)->id, URGENT);
}

/* A newsletter whose receivers all hang leaves an eighth of the connections. */
static void test_bulk_leaves_room(void **state)
{
	struct kit *kit = *state;
	kit->conf.connections = 16;
	kit->took_ms = 0;
	schedule_set_conf(kit->schedule, &kit->conf);
	for (uint64_t id = 1; id <= 40; id++) {
		char name[32];
		snprintf(name, sizeof(name), "d%u.test", (unsigned)id);
		add(kit, id, name, CONF_PRIORITY_BULK);
	}
	kit_run(kit, 0); /* now all have answered */
	kit->took_ms = -1;
	for (uint64_t id = 1; id <= 40; id++) {
		char name[32];
		snprintf(name, sizeof(name), "d%u.test", (unsigned)id);
		add(kit, 100 + id, name, CONF_PRIORITY_BULK);
	}
	kit_run(kit, KIT_SECOND);
	assert_int_equal(schedule_stats(kit->schedule).running, 14);
	add(kit, URGENT, "d1.test", CONF_PRIORITY_URGENT);
	add(kit, URGENT + 1, "d2.test", CONF_PRIORITY_NORMAL);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(schedule_stats(kit->schedule).running, 16);
	/* and the counts come out even */
	for (uint64_t id = 101; id <= 114; id++)
		kit_land(kit, id, KIT_DELIVERED, 0);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(schedule_stats(kit->schedule).running, 16);
}

/* The state of the spool brings the hold and its reason back. */
static void test_state_of_the_brake(void **state)
{
	struct kit *kit = *state;
	struct spool_state held = {.held = true, .brake = 3};
	struct message *m = kit_add_state(kit, 1, "a.test", clock_wall_ms(), &held);
	assert_true(m->held && m->brake == 3 && !m->cleared);
	kit_run(kit, KIT_DAY);
	assert_int_equal(kit->count[KIT_STARTED], 0);
	schedule_release(kit->schedule, m);
	assert_true(!m->held && m->brake == 0 && m->cleared);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_turn),
	    cmocka_unit_test(test_turn_shares),
	    cmocka_unit_test(test_claim),
	    TEST(test_urgent_is_next),
	    TEST(test_order_within),
	    TEST(test_bulk_is_not_starved),
	    TEST(test_order_after_a_wait),
	    TEST(test_urgent_among_many_destinations),
	    TEST(test_bulk_leaves_room),
	    TEST(test_state_of_the_brake),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
