/* SPDX-License-Identifier: MIT
 * Look-ups before attempts: what is new or was silent is looked up first, that takes no
 * connection, and it ends well whatever happens to the mail meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "schedule_kit.h"

#define ASKED_MAX 8000

static struct destination *asked[ASKED_MAX];
static size_t asked_count;

static bool note_look_up(struct kit *kit, struct destination *destination)
{
	(void)kit;
	assert_true(asked_count < ASKED_MAX);
	asked[asked_count++] = destination;
	return true;
}

static int start(void **state)
{
	struct kit *kit = mem_zero(sizeof(*kit));
	kit_init(kit);
	kit->look_up = note_look_up;
	asked_count = 0;
	*state = kit;
	return 0;
}

static int end(void **state)
{
	kit_clear(*state);
	mem_free(*state);
	return 0;
}

static void answer(struct kit *kit, size_t n, const char *failure)
{
	assert_true(n < asked_count);
	schedule_known(kit->schedule, asked[n], failure);
}

static void test_before_the_first_attempt(void **state)
{
	struct kit *kit = *state;
	kit_add_one(kit, 1, "a.test");
	kit_add_one(kit, 2, "a.test");
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(asked_count, 1); /* once for both */
	assert_string_equal(destination_name(asked[0]), "a.test");
	assert_int_equal(kit->count[KIT_STARTED], 0);
	answer(kit, 0, NULL);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 2);
	/* it has answered: nothing to look up before the next one */
	kit_add_one(kit, 3, "a.test");
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 3);
	assert_int_equal(asked_count, 1);
}

static void test_nothing_to_look_up(void **state)
{
	struct kit *kit = *state;
	kit->look_up = NULL;
	kit_add_one(kit, 1, "smarthost:a");
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

/* An attempt there is nevertheless: it says so to people, and has its place on the ladder. */
static void test_a_failure_is_an_attempt(void **state)
{
	struct kit *kit = *state;
	char failure[] = "nobody answers";
	kit->answer = kit_is_dead;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	answer(kit, 0, failure);
	failure[0] = '\0';
	assert_string_equal(destination_failure(asked[0]), "nobody answers");
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 1);
	/* before the next one it is looked up anew */
	kit_run(kit, 2 * KIT_MINUTE);
	assert_int_equal(asked_count, 2);
	assert_int_equal(kit->count[KIT_STARTED], 1);
	kit->answer = kit_delivers;
	answer(kit, 1, NULL);
	assert_null(destination_failure(asked[1]));
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

static void test_takes_no_connection(void **state)
{
	struct kit *kit = *state;
	kit->conf.connections = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
	for (uint64_t i = 1; i <= 100; i++) {
		char name[32];
		snprintf(name, sizeof(name), "d%d.test", (int)i);
		kit_add_one(kit, i, name);
	}
	kit_run(kit, 0);
	assert_int_equal(asked_count, 100);
	assert_int_equal(schedule_stats(kit->schedule).running, 0);
	answer(kit, 99, NULL);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit_note(kit, KIT_ENDED, 0)->id, 100);
}

/* What is bounded in memory is bounded in number; whose turn comes next, as ever. */
static void test_are_limited(void **state)
{
	struct kit *kit = *state;
	for (uint64_t i = 1; i <= 7000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "d%d.test", (int)i);
		kit_add_one(kit, i, name);
	}
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(asked_count, 4000);
	kit->priority = CONF_PRIORITY_URGENT;
	kit_add_one(kit, 7001, "urgent.test");
	answer(kit, 0, NULL);
	kit_run(kit, 0);
	assert_int_equal(asked_count, 4001);
	assert_string_equal(destination_name(asked[4000]), "urgent.test");
}

/* What was in vain the last time gives way to what is new. */
static void test_in_vain(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_is_dead;
	for (uint64_t i = 1; i <= 1000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "dead%d.test", (int)i);
		kit_add_one(kit, i, name);
	}
	kit_run(kit, 0);
	assert_int_equal(asked_count, 1000);
	for (size_t i = 0; i < 1000; i++)
		answer(kit, i, "nobody answers");
	kit_run(kit, KIT_HOUR);
	assert_int_equal(kit->count[KIT_STARTED], 1000);
	assert_int_equal(asked_count, 1200);
	kit_add_one(kit, 1001, "new.test");
	kit_run(kit, 0);
	assert_int_equal(asked_count, 1201);
	assert_string_equal(destination_name(asked[1200]), "new.test");
	/* one after the other they all have their turn */
	for (size_t i = 1000; i < asked_count; i++) {
		answer(kit, i, "nobody answers");
		kit_run(kit, 0);
	}
	assert_true(asked_count >= 2001);
}

/* The mail goes while its destination is looked up, and later the destination does. */
static void test_deleted_meanwhile(void **state)
{
	struct kit *kit = *state;
	struct message *m = kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	schedule_delete(kit->schedule, m);
	kit_run(kit, KIT_HOUR);
	assert_int_equal(schedule_stats(kit->schedule).destinations, 1);
	answer(kit, 0, "nobody answers");
	kit_run(kit, KIT_HOUR);
	assert_int_equal(schedule_stats(kit->schedule).destinations, 0);
}

/* What has run out of time is reported without an answer, and what is held waits. */
static void test_expired_and_held_meanwhile(void **state)
{
	struct kit *kit = *state;
	kit_add_one(kit, 1, "a.test");
	struct message *held = kit_add_one(kit, 2, "a.test");
	kit_run(kit, 0);
	schedule_hold(kit->schedule, held);
	kit_run(kit, 6 * KIT_DAY);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
	assert_int_equal(kit_note(kit, KIT_ENDED, 0)->id, 1);
	answer(kit, 0, NULL);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 0);
	schedule_release(kit->schedule, held);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_ENDED], 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_before_the_first_attempt),
	    T(test_nothing_to_look_up),
	    T(test_a_failure_is_an_attempt),
	    T(test_takes_no_connection),
	    T(test_are_limited),
	    T(test_in_vain),
	    T(test_deleted_meanwhile),
	    T(test_expired_and_held_meanwhile),
	};
	return cmocka_run_group_tests_name("schedule_look_up", tests, NULL, NULL);
}
