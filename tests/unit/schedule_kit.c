/* SPDX-License-Identifier: MIT
 * See schedule_kit.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "schedule_kit.h"

#define BEGAN INT64_C(1795000000000)

struct kit_flight {
	struct kit *kit;
	struct batch *batch;
	uint64_t id;
	bool expired;
	struct timer timer;
	struct kit_flight *prev;
	struct kit_flight *next;
};

enum kit_answer kit_delivers(struct kit *kit, const struct batch *batch)
{
	(void)kit;
	(void)batch;
	return KIT_DELIVERED;
}

enum kit_answer kit_defers(struct kit *kit, const struct batch *batch)
{
	(void)kit;
	(void)batch;
	return KIT_DEFERRED;
}

enum kit_answer kit_is_dead(struct kit *kit, const struct batch *batch)
{
	(void)kit;
	(void)batch;
	return KIT_DEAD;
}

static void note(struct kit *kit, enum kit_event event, uint64_t id)
{
	kit->count[event]++;
	if (kit->note_count < KIT_NOTES)
		kit->notes[kit->note_count++] = (struct kit_note){event, kit_now(kit), id};
}

static void land(struct kit_flight *flight, enum kit_answer answer, int64_t due_ms)
{
	static const enum schedule_feedback feedback[] = {
	    [KIT_DELIVERED] = SCHEDULE_WORKED,
	    [KIT_DEFERRED] = SCHEDULE_WORKED,
	    [KIT_DEAD] = SCHEDULE_FAILED,
	    [KIT_NOTHING] = SCHEDULE_NEUTRAL,
	};
	struct kit *kit = flight->kit;
	struct batch *batch = flight->batch;
	enum schedule_feedback how = flight->expired ? SCHEDULE_NEUTRAL : feedback[answer];
	timer_stop(&flight->timer);
	DL_DELETE(kit->flights, flight);
	mem_free(flight);
	while (answer == KIT_DELIVERED && batch->count)
		schedule_recipient_done(kit->schedule, batch, batch_recipient(batch, 0));
	schedule_finish(kit->schedule, batch, how, due_ms);
}

static void on_landing(void *arg)
{
	struct kit_flight *flight = arg;
	struct kit *kit = flight->kit;
	enum kit_answer answer;
	if (flight->expired)
		answer = kit->report_fails ? KIT_NOTHING : KIT_DELIVERED;
	else
		answer = kit->answer(kit, flight->batch);
	land(flight, answer, 0);
}

static void take_off(struct kit *kit, struct batch *batch, bool expired)
{
	struct kit_flight *flight = mem_zero(sizeof(*flight));
	struct schedule_stats stats = schedule_stats(kit->schedule);
	assert_int_equal(batch->state, BATCH_RUNNING);
	if (stats.running > kit->most_running)
		kit->most_running = stats.running;
	flight->kit = kit;
	flight->batch = batch;
	flight->id = batch->message->id;
	flight->expired = expired;
	timer_init(&flight->timer, kit->loop, on_landing, flight);
	DL_APPEND(kit->flights, flight);
	if (kit->took_ms >= 0)
		timer_start(&flight->timer, expired ? 0 : kit->took_ms);
}

static void on_start(void *arg, struct batch *batch)
{
	struct kit *kit = arg;
	note(kit, KIT_STARTED, batch->message->id);
	take_off(kit, batch, false);
	if (kit->on_start)
		kit->on_start(kit, batch);
}

static void on_expire(void *arg, struct batch *batch)
{
	note(arg, KIT_EXPIRED, batch->message->id);
	take_off(arg, batch, true);
}

static void on_delayed(void *arg, struct message *message)
{
	note(arg, KIT_DELAYED, message->id);
}

static void on_ended(void *arg, struct message *message)
{
	assert_int_equal(message->pending, 0);
	assert_null(message->batches);
	note(arg, KIT_ENDED, message->id);
}

static bool look_up(void *arg, struct destination *destination)
{
	struct kit *kit = arg;
	return kit->look_up && kit->look_up(kit, destination);
}

void kit_init(struct kit *kit)
{
	static const int64_t ladder[] = {2, 5, 10, 20, 40, 60, 120};
	const struct schedule_handler handler = {
	    look_up, on_start, on_expire, on_delayed, on_ended, kit};
	clock_fake(BEGAN);
	random_fix(7);
	*kit = (struct kit){.loop = loop_new(), .answer = kit_delivers, .took_ms = 100};
	kit->began = BEGAN;
	for (size_t i = 0; i < 7; i++)
		kit->ladder[i] = ladder[i] * KIT_MINUTE;
	kit->conf = (struct conf_queue){
	    .lifetime = 5 * KIT_DAY,
	    .hold_max = 3 * KIT_DAY,
	    .delay_notice = 4 * KIT_HOUR,
	    .bounce_lifetime = KIT_DAY,
	    .backoff = kit->ladder,
	    .backoff_count = 7,
	    .window_start = 2,
	    .window_max = 20,
	    .connections = 200,
	};
	kit->schedule = schedule_new(kit->loop, &kit->conf, &handler);
}

void kit_clear(struct kit *kit)
{
	while (kit->flights) {
		struct kit_flight *flight = kit->flights;
		timer_stop(&flight->timer);
		DL_DELETE(kit->flights, flight);
		mem_free(flight);
	}
	schedule_free(kit->schedule);
	loop_free(kit->loop);
}

int kit_setup(void **state)
{
	*state = mem_zero(sizeof(struct kit));
	kit_init(*state);
	return 0;
}

int kit_teardown(void **state)
{
	kit_clear(*state);
	mem_free(*state);
	return 0;
}

int64_t kit_now(const struct kit *kit)
{
	return clock_steady_ms() - kit->began;
}

static void on_alarm(void *arg)
{
	*(bool *)arg = true;
}

void kit_run(struct kit *kit, int64_t ms)
{
	struct timer alarm;
	bool over = false;
	timer_init(&alarm, kit->loop, on_alarm, &over);
	timer_start(&alarm, ms);
	while (!over)
		loop_turn(kit->loop, true);
	/* what else is due at this moment */
	for (int i = 0; i < 20; i++)
		loop_turn(kit->loop, false);
}

struct message *kit_add(struct kit *kit, uint64_t id, const char *const *names)
{
	size_t count = 0;
	while (names[count])
		count++;
	struct schedule_entry entry = {.id = id, .place = {1, 64}, .arrived_ms = clock_wall_ms(),
	    .size = 4096, .priority = kit->priority};
	return schedule_add(kit->schedule, &entry, names, count, NULL);
}

struct message *kit_add_one(struct kit *kit, uint64_t id, const char *name)
{
	return kit_add(kit, id, (const char *const[]){name, NULL});
}

struct message *kit_add_state(struct kit *kit, uint64_t id, const char *name, int64_t arrived_ms,
    const struct spool_state *state)
{
	struct schedule_entry entry = {.id = id, .place = {1, 64}, .arrived_ms = arrived_ms,
	    .size = 4096, .priority = kit->priority};
	return schedule_add(kit->schedule, &entry, &name, 1, state);
}

void kit_land(struct kit *kit, uint64_t id, enum kit_answer answer, int64_t due_ms)
{
	struct kit_flight *flight;
	DL_FOREACH (kit->flights, flight)
		if (flight->id == id) {
			land(flight, answer, due_ms);
			return;
		}
	fail_msg("message %u is not being tried", (unsigned)id);
}

/* The batch of the flight of message ID, which is over without an attempt. */
static struct batch *take_flight(struct kit *kit, uint64_t id)
{
	struct kit_flight *flight;
	DL_FOREACH (kit->flights, flight)
		if (flight->id == id) {
			struct batch *batch = flight->batch;
			DL_DELETE(kit->flights, flight);
			mem_free(flight);
			return batch;
		}
	fail_msg("message %u is not being tried", (unsigned)id);
	return NULL;
}

void kit_land_as(struct kit *kit, uint64_t id, enum schedule_feedback feedback, int64_t due_ms)
{
	schedule_finish(kit->schedule, take_flight(kit, id), feedback, due_ms);
}

void kit_put_off(struct kit *kit, uint64_t id, int64_t due_ms, bool held)
{
	schedule_put_off(kit->schedule, take_flight(kit, id), due_ms, held);
}

void kit_reroute(struct kit *kit, uint64_t id, const char *const *names)
{
	schedule_reroute(kit->schedule, take_flight(kit, id), names);
}

const struct kit_note *kit_note(const struct kit *kit, enum kit_event event, size_t n)
{
	for (size_t i = 0; i < kit->note_count; i++)
		if (kit->notes[i].event == event && n-- == 0)
			return &kit->notes[i];
	fail_msg("no such note");
	return NULL;
}
