/* SPDX-License-Identifier: MIT
 * What an administrator does to messages in each state, what a reload changes,
 * and the ends: deletion from within, stop, schedule_free in mid-flight.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "schedule_kit.h"

/* Message 1 in the state that is wanted; attempts are ended by hand. */
static struct message *bring_into(struct kit *kit, enum batch_state state)
{
	struct message *m;
	kit->took_ms = -1;
	if (state == BATCH_EXPIRED) {
		/* all hands that report ends are busy */
		for (uint64_t id = 100; id < 140; id++)
			kit_add_state(kit, id, "busy.test", clock_wall_ms() - 6 * KIT_DAY, NULL);
		kit_run(kit, 0);
		m = kit_add_state(kit, 1, "a.test", clock_wall_ms() - 6 * KIT_DAY, NULL);
		kit_run(kit, 0);
	} else {
		m = kit_add_one(kit, 1, "a.test");
		if (state == BATCH_READY)
			schedule_pause(kit->schedule, m->batches->destination,
			    clock_steady_ms() + KIT_DAY);
		if (state == BATCH_HELD)
			schedule_hold(kit->schedule, m);
		kit_run(kit, 0);
		if (state == BATCH_WAITING)
			kit_land(kit, 1, KIT_DEFERRED, clock_steady_ms() + KIT_HOUR);
	}
	assert_int_equal(m->batches->state, state);
	return m;
}

static const enum batch_state all_states[] = {
    BATCH_WAITING, BATCH_READY, BATCH_EXPIRED, BATCH_RUNNING, BATCH_HELD};

/* Run CHECK with a fresh kit for every state. */
static void in_every_state(void (*check)(struct kit *kit, struct message *m, enum batch_state was))
{
	for (size_t i = 0; i < sizeof(all_states) / sizeof(all_states[0]); i++) {
		struct kit *kit = mem_zero(sizeof(*kit));
		kit_init(kit);
		check(kit, bring_into(kit, all_states[i]), all_states[i]);
		kit_clear(kit);
		mem_free(kit);
	}
}

static void check_hold(struct kit *kit, struct message *m, enum batch_state was)
{
	schedule_hold(kit->schedule, m);
	assert_true(m->held);
	if (was == BATCH_RUNNING) {
		assert_int_equal(m->batches->state, BATCH_RUNNING);
		kit_land(kit, 1, KIT_DEFERRED, 0);
	}
	assert_int_equal(m->batches->state, BATCH_HELD);
	size_t started = kit->count[KIT_STARTED];
	/* neither tried nor ended nor complained about, however long */
	kit_run(kit, 10 * KIT_DAY);
	assert_int_equal(kit->count[KIT_STARTED], started);
	assert_int_equal(kit->count[KIT_DELAYED], 0);
	assert_ptr_equal(schedule_find(kit->schedule, 1), m);
	/* released after its time was over, it gets its attempt all the same */
	kit->took_ms = 0;
	schedule_release(kit->schedule, m);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], started + 1);
	assert_null(schedule_find(kit->schedule, 1));
}

static void test_hold_and_release(void **state)
{
	(void)state;
	in_every_state(check_hold);
}

static void test_release_of_what_is_not_held_changes_nothing(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	struct message *m = kit_add_one(kit, 1, "a.test");
	int64_t expires = m->expires_ms;
	kit_run(kit, 5 * KIT_DAY - KIT_HOUR);
	schedule_release(kit->schedule, m);
	assert_true(m->expires_ms == expires);
	kit_run(kit, KIT_HOUR);
	assert_int_equal(kit->count[KIT_EXPIRED], 1);
}

static void test_hold_and_release_while_running(void **state)
{
	struct kit *kit = *state;
	struct message *m = bring_into(kit, BATCH_RUNNING);
	schedule_hold(kit->schedule, m);
	schedule_release(kit->schedule, m);
	kit_land(kit, 1, KIT_DEFERRED, 0);
	assert_int_equal(m->batches->state, BATCH_WAITING);
}

static void test_held_before_the_restart(void **state)
{
	struct kit *kit = *state;
	struct spool_state s = {.due_ms = 0, .held = true};
	kit_add_state(kit, 1, "a.test", clock_wall_ms() - 6 * KIT_DAY, &s);
	kit_run(kit, KIT_DAY);
	assert_int_equal(schedule_stats(kit->schedule).held, 1);
	assert_int_equal(kit->note_count, 0);
}

static void check_delete(struct kit *kit, struct message *m, enum batch_state was)
{
	schedule_delete(kit->schedule, m);
	if (was == BATCH_RUNNING) {
		assert_int_equal(kit->count[KIT_ENDED], 0);
		kit_land(kit, 1, KIT_DEFERRED, 0);
	}
	assert_int_equal(kit->count[KIT_ENDED], 1);
	assert_null(schedule_find(kit->schedule, 1));
}

static void test_delete(void **state)
{
	(void)state;
	in_every_state(check_delete);
}

/* Twice, and after a hold: still one end. */
static void test_delete_twice_while_running(void **state)
{
	struct kit *kit = *state;
	struct message *m = bring_into(kit, BATCH_RUNNING);
	schedule_delete(kit->schedule, m);
	schedule_hold(kit->schedule, m);
	schedule_delete(kit->schedule, m);
	schedule_retry(kit->schedule, m);
	kit_land(kit, 1, KIT_DELIVERED, 0);
	assert_int_equal(kit->count[KIT_ENDED], 1);
}

static void test_delete_with_one_of_three_running(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit->conf.connections = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
	struct message *m =
	    kit_add(kit, 1, (const char *const[]){"a.test", "b.test", "c.test", NULL});
	kit_run(kit, 0);
	schedule_delete(kit->schedule, m);
	assert_int_equal(m->pending, 1);
	kit_land(kit, 1, KIT_DEFERRED, 0);
	assert_int_equal(kit->count[KIT_ENDED], 1);
	assert_int_equal(schedule_stats(kit->schedule).messages, 0);
}

/* The handler deletes messages while the schedule is in the middle of its turn:
 * the one being started, and one that would be next. */
static void delete_within(struct kit *kit, struct batch *batch)
{
	uint64_t next = batch->message->id + 1;
	schedule_delete(kit->schedule, batch->message);
	if (schedule_find(kit->schedule, next))
		schedule_delete(kit->schedule, schedule_find(kit->schedule, next));
}

static void test_delete_from_within_start(void **state)
{
	struct kit *kit = *state;
	kit->on_start = delete_within;
	for (uint64_t id = 1; id <= 20; id++)
		kit_add_one(kit, id, "a.test");
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 10);
	assert_int_equal(kit->count[KIT_ENDED], 20);
}

static void stop_within(struct kit *kit, struct batch *batch)
{
	(void)batch;
	schedule_stop(kit->schedule);
}

static void test_stop_from_within_start(void **state)
{
	struct kit *kit = *state;
	kit->on_start = stop_within;
	for (uint64_t id = 1; id <= 20; id++)
		kit_add_one(kit, id, "a.test");
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 1);
	/* what was under way still ends, and a reload does not wake it up */
	assert_int_equal(kit->count[KIT_ENDED], 1);
	schedule_set_conf(kit->schedule, &kit->conf);
	kit_run(kit, KIT_DAY);
	assert_int_equal(kit->count[KIT_STARTED], 1);
}

static void check_retry(struct kit *kit, struct message *m, enum batch_state was)
{
	size_t started = kit->count[KIT_STARTED];
	schedule_retry(kit->schedule, m);
	kit_run(kit, 0);
	bool tried = was == BATCH_WAITING || was == BATCH_READY;
	assert_int_equal(kit->count[KIT_STARTED], started + tried);
	if (!tried)
		assert_int_equal(m->batches->state, was);
}

static void test_retry(void **state)
{
	(void)state;
	in_every_state(check_retry);
}

/* Its answers are there and only not written yet: what a retry asks for is not lost. */
static void test_retry_while_it_settles(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit->conf.window_start = 1; /* one failure makes a pause */
	schedule_set_conf(kit->schedule, &kit->conf);
	struct message *m = kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	m->batches->settling = true;
	assert_true(schedule_retry(kit->schedule, m));
	kit_land(kit, 1, KIT_DEAD, 0);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 2);
	/* once only, and not for one that is being tried */
	assert_false(schedule_retry(kit->schedule, m));
	kit_land(kit, 1, KIT_DEAD, 0);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 2);
}

/* `retry --all` must not turn the line around. */
static void test_retry_keeps_the_order(void **state)
{
	struct kit *kit = *state;
	kit->conf.window_max = 1;
	schedule_set_conf(kit->schedule, &kit->conf);
	for (uint64_t id = 1; id <= 10; id++)
		kit_add_one(kit, id, "a.test");
	for (uint64_t id = 1; id <= 5; id++)
		schedule_retry(kit->schedule, schedule_find(kit->schedule, id));
	kit_run(kit, KIT_MINUTE);
	for (uint64_t id = 1; id <= 10; id++)
		assert_int_equal(kit_note(kit, KIT_STARTED, id - 1)->id, id);
}

static void test_retry_ends_a_pause(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_is_dead;
	struct message *m = kit_add_one(kit, 1, "a.test");
	kit_add_one(kit, 2, "a.test");
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit->count[KIT_STARTED], 2);
	kit->answer = kit_delivers;
	schedule_retry(kit->schedule, m);
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit->count[KIT_STARTED], 3);
	assert_int_equal(kit_note(kit, KIT_STARTED, 2)->id, 1);
}

/* ---- reload ---- */

static void test_reload(void **state)
{
	static const int64_t quick[] = {KIT_MINUTE};
	struct kit *kit = *state;
	struct destination_stats stats;
	kit->took_ms = 10;
	for (uint64_t id = 1; id <= 5000; id++)
		kit_add_one(kit, id, "a.test");
	kit_run(kit, 2 * KIT_SECOND);
	assert_int_equal(kit->most_running, 20);
	int64_t ladder[] = {quick[0]};
	kit->conf.backoff = ladder;
	kit->conf.backoff_count = 1;
	kit->conf.window_max = 3;
	schedule_set_conf(kit->schedule, &kit->conf);
	assert_true(schedule_destination(kit->schedule, "a.test", &stats));
	assert_true(stats.window <= 3);
	kit_run(kit, KIT_SECOND);
	kit->most_running = 0;
	kit_run(kit, KIT_SECOND);
	assert_int_equal(kit->most_running, 3);
	int64_t due = schedule_backoff(kit->schedule, 9) - clock_steady_ms();
	assert_in_range(due, KIT_MINUTE * 9 / 10, KIT_MINUTE * 11 / 10);
	kit_run(kit, KIT_HOUR);
}

static void test_reload_changes_the_lifetime_of_new_mail_only(void **state)
{
	struct kit *kit = *state;
	kit->answer = kit_defers;
	kit_add_one(kit, 1, "a.test");
	kit->conf.lifetime = KIT_DAY;
	schedule_set_conf(kit->schedule, &kit->conf);
	kit_add_one(kit, 2, "a.test");
	kit_run(kit, 6 * KIT_DAY);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 0)->id, 2);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 0)->at, KIT_DAY);
	assert_int_equal(kit_note(kit, KIT_EXPIRED, 1)->at, 5 * KIT_DAY);
}

/* ---- questions ---- */

static void sum_up(void *arg, const struct destination_stats *stats)
{
	struct schedule_stats *sum = arg;
	sum->waiting += stats->waiting;
	sum->ready += stats->ready;
	sum->running += stats->running;
	sum->held += stats->held;
	sum->destinations++;
}

/* The counts of the whole are those of the destinations, whatever happens. */
static void assert_counts(const struct kit *kit, size_t messages)
{
	struct schedule_stats all = schedule_stats(kit->schedule);
	struct schedule_stats sum = {0};
	schedule_each_destination(kit->schedule, sum_up, &sum);
	assert_int_equal(all.waiting, sum.waiting);
	assert_int_equal(all.ready, sum.ready);
	assert_int_equal(all.running, sum.running);
	assert_int_equal(all.held, sum.held);
	assert_int_equal(all.destinations, sum.destinations);
	assert_int_equal(all.messages, messages);
	assert_int_equal(all.waiting + all.ready + all.running + all.held, messages);
}

static void test_counts(void **state)
{
	static const char *const names[] = {"a.test", "b.test", "c.test"};
	struct kit *kit = *state;
	kit->took_ms = -1;
	for (uint64_t id = 0; id < 30; id++)
		kit_add_one(kit, id, names[id % 3]);
	assert_counts(kit, 30);
	kit_run(kit, 0);
	assert_counts(kit, 30);
	schedule_hold(kit->schedule, schedule_find(kit->schedule, 20));
	kit_land(kit, 0, KIT_DELIVERED, 0);
	kit_land(kit, 1, KIT_DEFERRED, 0);
	kit_land(kit, 2, KIT_DEAD, 0);
	assert_counts(kit, 29);
	assert_int_equal(schedule_stats(kit->schedule).held, 1);
	assert_false(schedule_destination(kit->schedule, "d.test", &(struct destination_stats){0}));
}

static void test_walk_in_order(void **state)
{
	struct kit *kit = *state;
	uint64_t expected = 1;
	for (uint64_t id = 1; id <= 1000; id++)
		kit_add_one(kit, id, "a.test");
	schedule_delete(kit->schedule, schedule_find(kit->schedule, 500));
	for (const struct message *m = NULL; (m = schedule_next(kit->schedule, m));) {
		expected += expected == 500;
		assert_int_equal(m->id, expected++);
	}
	assert_int_equal(expected, 1001);
}

/* ---- put off: no way out was free ---- */

static void test_put_off_is_no_attempt(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	for (int n = 1; n <= 8; n++) {
		kit_run(kit, 20 * KIT_SECOND);
		assert_int_equal(kit->count[KIT_STARTED], n);
		kit_put_off(kit, 1, clock_steady_ms() + 20 * KIT_SECOND, false);
	}
	struct message *m = schedule_find(kit->schedule, 1);
	assert_int_equal(m->batches->attempts, 0);
	assert_int_equal(m->expires_ms, m->arrived_ms + 5 * KIT_DAY);
	struct destination_stats stats;
	assert_true(schedule_destination(kit->schedule, "a.test", &stats));
	assert_int_equal(stats.paused_until_ms, 0);
}

/* Time on a held path does not count, for three days; then it does. */
static void test_put_off_by_a_held_path(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	struct message *m = schedule_find(kit->schedule, 1);
	int64_t end = m->expires_ms;
	kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
	assert_int_equal(m->expires_ms, end + KIT_HOUR);
	for (int n = 0; n < 4; n++) {
		kit_run(kit, KIT_DAY);
		kit_put_off(kit, 1, clock_steady_ms() + KIT_DAY, true);
	}
	assert_int_equal(m->expires_ms, end + 3 * KIT_DAY);
}

/* Whoever brings it back sooner does not so lengthen its life. */
static void test_a_wait_that_is_cut_short(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	struct message *m = schedule_find(kit->schedule, 1);
	int64_t end = m->expires_ms;
	m->batches->incident = 7;
	for (int n = 0; n < 8; n++) {
		kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
		assert_int_equal(m->expires_ms, end + KIT_HOUR);
		if (n % 4 == 0)
			schedule_retry(kit->schedule, m);
		else if (n % 4 == 1)
			schedule_resume(kit->schedule);
		else if (n % 4 == 2)
			schedule_opened(kit->schedule, 7);
		else
			schedule_try_one(kit->schedule, 7, clock_steady_ms(), 1);
		kit_run(kit, 0);
		assert_int_equal(m->batches->state, BATCH_RUNNING);
		assert_int_equal(m->expires_ms, end);
	}
	kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
	schedule_try_one(kit->schedule, 7, clock_steady_ms() + 20 * KIT_MINUTE, 1);
	assert_int_equal(m->expires_ms, end + 20 * KIT_MINUTE);
	kit_run(kit, 20 * KIT_MINUTE + KIT_SECOND);
	assert_int_equal(m->batches->state, BATCH_RUNNING);
	assert_int_equal(m->expires_ms, end + 20 * KIT_MINUTE);
}

/* The rest of a list that a block has stopped waits for it from then on. */
static void test_a_list_that_a_block_has_stopped(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	struct message *m = kit_add(kit, 1, (const char *const[]){"a.test", "a.test", NULL});
	kit_run(kit, 0);
	int64_t end = m->expires_ms;
	schedule_recipient_done(kit->schedule, m->batches, 0);
	kit_land_as(kit, 1, SCHEDULE_PARTLY_HELD, clock_steady_ms() + KIT_DAY);
	assert_int_equal(m->expires_ms, end + KIT_DAY);
	assert_int_equal(m->batches->attempts, 0);
}

/* One message may wait for two providers. */
static void test_each_destination_has_its_block(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	struct message *m = kit_add(kit, 1, (const char *const[]){"a.test", "b.test", NULL});
	kit_run(kit, 0);
	m->batches->incident = 7;
	m->batches->next_of_message->incident = 8;
	for (int n = 0; n < 2; n++)
		kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
	assert_int_equal(schedule_waiting_for(kit->schedule, 7, 10), 1);
	assert_int_equal(schedule_waiting_for(kit->schedule, 8, 10), 1);
	assert_ptr_equal(schedule_try_one(kit->schedule, 7, clock_steady_ms(), 10), m);
	kit_run(kit, 0);
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		assert_int_equal(b->state, b->incident == 7 ? BATCH_RUNNING : BATCH_WAITING);
}

/* What a hold has added is in the spool's state, and a restart takes none of it away;
 * nor does it add more than the configuration allows now. */
static void test_put_off_and_restarted(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	kit_put_off(kit, 1, clock_steady_ms() + KIT_DAY, true);
	const struct message *m = schedule_find(kit->schedule, 1);
	assert_true(m->batches->blocked);
	struct spool_state s = {.extra_ms = schedule_extra(kit->schedule, m),
	    .due_ms = clock_steady_ms() + KIT_DAY};
	assert_int_equal(s.extra_ms, KIT_DAY);
	const struct message *again = kit_add_state(kit, 2, "b.test", m->arrived_ms, &s);
	assert_int_equal(again->expires_ms, m->expires_ms);
	s.extra_ms = 30 * KIT_DAY;
	again = kit_add_state(kit, 3, "c.test", m->arrived_ms, &s);
	assert_int_equal(again->expires_ms, m->arrived_ms + 8 * KIT_DAY);
	kit_run(kit, KIT_DAY);
	kit_land(kit, 1, KIT_DEFERRED, 0);
	assert_false(schedule_find(kit->schedule, 1)->batches->blocked);
}

/* One of those that wait is called for the time of a probe. */
static void test_try_one(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	for (uint64_t id = 1; id <= 3; id++) {
		kit_add_one(kit, id, "a.test");
		kit_run(kit, 0);
		schedule_find(kit->schedule, id)->batches->incident = id == 1 ? 7 : 8;
		kit_put_off(kit, id, clock_steady_ms() + KIT_DAY, true);
	}
	assert_int_equal(schedule_waiting_for(kit->schedule, 8, 100), 2);
	assert_int_equal(schedule_waiting_for(kit->schedule, 8, 2), 1);
	assert_null(schedule_try_one(kit->schedule, 9, 0, 100));
	assert_null(schedule_try_one(kit->schedule, 8, 0, 1));
	int64_t at = clock_steady_ms() + KIT_HOUR;
	assert_int_equal(schedule_try_one(kit->schedule, 8, at, 100)->id, 2);
	assert_int_equal(schedule_try_one(kit->schedule, 8, at + KIT_HOUR, 100)->id, 2);
	size_t before = kit->count[KIT_STARTED];
	kit_run(kit, KIT_HOUR - KIT_SECOND);
	assert_int_equal(kit->count[KIT_STARTED], before);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], before + 1);
}

/* A hundred at once, the others second by second. */
static void test_resumed_little_by_little(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	for (uint64_t id = 1; id <= 250; id++) {
		char name[16];
		snprintf(name, sizeof(name), "d%u.test", (unsigned)id);
		kit_add_one(kit, id, name);
	}
	for (uint64_t id = 1; id <= 250; id++) {
		kit_run(kit, 0);
		kit_put_off(kit, id, clock_steady_ms() + KIT_HOUR, true);
	}
	size_t before = kit->count[KIT_STARTED];
	schedule_resume(kit->schedule);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED] - before, 100);
}

/* One, two more in the next interval, four, ...; none later than its own time, and
 * nobody who waits for another block. */
static void test_opened_by_a_probe(void **state)
{
	static const int64_t latest[] = {0, 5, 8, 10, 12, 13, 14, 15}; /* minutes */
	struct kit *kit = *state;
	int64_t now = clock_steady_ms();
	kit->took_ms = -1;
	for (uint64_t id = 1; id <= 9; id++) {
		kit_add_one(kit, id, "a.test");
		kit_run(kit, 0);
		schedule_find(kit->schedule, id)->batches->incident = id == 9 ? 8 : 7;
		kit_put_off(kit, id, now + (id == 8 ? 1 : 24) * KIT_HOUR, true);
	}
	schedule_find(kit->schedule, 7)->batches->incident = 0; /* as after a restart */
	schedule_find(kit->schedule, 8)->batches->try_ms = now + KIT_MINUTE;
	schedule_opened(kit->schedule, 7);
	for (uint64_t id = 1; id <= 7; id++) {
		int64_t at = schedule_find(kit->schedule, id)->batches->try_ms - now;
		assert_in_range(at, 0, latest[id - 1] * KIT_MINUTE + KIT_SECOND);
		assert_true(id == 1 || at >= 5 * KIT_MINUTE);
	}
	assert_true(schedule_find(kit->schedule, 8)->batches->try_ms == now + KIT_MINUTE);
	assert_true(schedule_find(kit->schedule, 9)->batches->try_ms == now + KIT_DAY);
}

static void test_put_off_and_resumed(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_run(kit, 0);
	kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
	kit_add_one(kit, 2, "b.test");
	kit_run(kit, 0);
	kit_land(kit, 2, KIT_DEFERRED, clock_steady_ms() + KIT_HOUR);
	kit_run(kit, KIT_MINUTE);
	assert_int_equal(kit->count[KIT_STARTED], 2);
	schedule_resume(kit->schedule);
	kit_run(kit, 0);
	assert_int_equal(kit->count[KIT_STARTED], 3); /* what was tried keeps its time */
	assert_int_equal(kit_note(kit, KIT_STARTED, 2)->id, 1);
}

static void test_put_off_while_held_or_deleted(void **state)
{
	struct kit *kit = *state;
	kit->took_ms = -1;
	kit_add_one(kit, 1, "a.test");
	kit_add_one(kit, 2, "b.test");
	kit_run(kit, 0);
	schedule_hold(kit->schedule, schedule_find(kit->schedule, 1));
	schedule_delete(kit->schedule, schedule_find(kit->schedule, 2));
	kit_put_off(kit, 1, clock_steady_ms() + KIT_HOUR, true);
	kit_put_off(kit, 2, clock_steady_ms() + KIT_HOUR, true);
	assert_int_equal(schedule_stats(kit->schedule).held, 1);
	assert_null(schedule_find(kit->schedule, 2));
}

/* Everything at once; the sanitizer sees what is lost. */
static void test_free_with_everything_in_flight(void **state)
{
	struct kit *kit = *state;
	bring_into(kit, BATCH_EXPIRED);
	for (uint64_t id = 1000; id < 1100; id++)
		kit_add(kit, id, (const char *const[]){"a.test", "b.test", "a.test", "c.test", NULL});
	kit_run(kit, 0);
	kit_land(kit, 1000, KIT_DEFERRED, 0);
	schedule_hold(kit->schedule, schedule_find(kit->schedule, 1050));
	struct schedule_stats stats = schedule_stats(kit->schedule);
	assert_true(stats.running && stats.ready && stats.waiting && stats.held);
}

#define T(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

/* What goes elsewhere is due there at once, with the attempts it has had; deleted by
 * hand meanwhile it is gone. */
static void test_recipients_go_where_they_belong_now(void **state)
{
	struct kit *kit = *state;
	static const char *const old[] = {"smarthost:x", "smarthost:x", "smarthost:x", NULL};
	static const char *const now[] = {"a.test", "b.test", "a.test"};
	struct destination_stats stats;
	kit->took_ms = -1;
	struct message *m = kit_add(kit, 1, old);
	kit_run(kit, 10);
	kit_land(kit, 1, KIT_DEFERRED, clock_steady_ms() + KIT_SECOND);
	kit_run(kit, 2 * KIT_SECOND);
	kit_reroute(kit, 1, now);
	assert_int_equal(m->pending, 3);
	kit_run(kit, 10);
	assert_true(schedule_destination(kit->schedule, "a.test", &stats));
	assert_int_equal(stats.running, 1);
	assert_true(schedule_destination(kit->schedule, "b.test", &stats));
	assert_int_equal(stats.running, 1);
	assert_int_equal(schedule_stats(kit->schedule).running, 2);
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		assert_int_equal(b->attempts, 1);
	kit_land(kit, 1, KIT_DELIVERED, 0);
	kit_land(kit, 1, KIT_DELIVERED, 0);
	assert_int_equal(kit->count[KIT_ENDED], 1);
	m = kit_add(kit, 2, old);
	kit_run(kit, 10);
	schedule_delete(kit->schedule, m);
	kit_reroute(kit, 2, now);
	assert_int_equal(kit->count[KIT_ENDED], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_hold_and_release),
	    T(test_release_of_what_is_not_held_changes_nothing),
	    T(test_hold_and_release_while_running),
	    T(test_held_before_the_restart),
	    T(test_delete),
	    T(test_delete_twice_while_running),
	    T(test_delete_with_one_of_three_running),
	    T(test_delete_from_within_start),
	    T(test_stop_from_within_start),
	    T(test_retry),
	    T(test_retry_while_it_settles),
	    T(test_retry_keeps_the_order),
	    T(test_retry_ends_a_pause),
	    T(test_reload),
	    T(test_reload_changes_the_lifetime_of_new_mail_only),
	    T(test_counts),
	    T(test_walk_in_order),
	    T(test_put_off_is_no_attempt),
	    T(test_put_off_by_a_held_path),
	    T(test_a_wait_that_is_cut_short),
	    T(test_a_list_that_a_block_has_stopped),
	    T(test_each_destination_has_its_block),
	    T(test_put_off_and_restarted),
	    T(test_put_off_and_resumed),
	    T(test_opened_by_a_probe),
	    T(test_resumed_little_by_little),
	    T(test_try_one),
	    T(test_put_off_while_held_or_deleted),
	    T(test_recipients_go_where_they_belong_now),
	    T(test_free_with_everything_in_flight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
