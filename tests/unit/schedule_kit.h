/* SPDX-License-Identifier: MIT
 * A schedule whose attempts are played: how long they take and how they end is
 * decided by the test, time is the fake clock's, and what happened is noted.
 */
#ifndef TESTS_UNIT_SCHEDULE_KIT_H
#define TESTS_UNIT_SCHEDULE_KIT_H

#include "queue/schedule.h"

#define KIT_NOTES 4096
#define KIT_SECOND ((int64_t)1000)
#define KIT_MINUTE (60 * KIT_SECOND)
#define KIT_HOUR (60 * KIT_MINUTE)
#define KIT_DAY (24 * KIT_HOUR)

enum kit_answer {
	KIT_DELIVERED, /* all recipients done */
	KIT_DEFERRED,  /* the destination answered: not now */
	KIT_DEAD,      /* nobody answered */
	KIT_NOTHING,   /* recipients stay, and it says nothing of the destination */
};

enum kit_event { KIT_STARTED, KIT_EXPIRED, KIT_DELAYED, KIT_ENDED };

struct kit_note {
	enum kit_event event;
	int64_t at; /* ms since the kit was made */
	uint64_t id;
};

struct kit_flight;

struct kit {
	struct loop *loop;
	struct schedule *schedule;
	struct conf_queue conf;
	int64_t ladder[8];
	int64_t began;
	/* the play */
	enum kit_answer (*answer)(struct kit *kit, const struct batch *batch);
	void (*on_start)(struct kit *kit, struct batch *batch); /* NULL: nothing */
	bool (*look_up)(struct kit *kit, struct destination *destination); /* NULL: nothing to */
	enum conf_priority priority; /* of the messages that are added */
	int64_t took_ms;    /* an attempt; under 0: the test ends it with kit_land */
	bool report_fails;  /* an expired batch can not be reported */
	/* what happened */
	size_t count[KIT_ENDED + 1];
	struct kit_note notes[KIT_NOTES]; /* the first of them */
	size_t note_count;
	size_t most_running;
	struct kit_flight *flights;
};

void kit_init(struct kit *kit);
void kit_clear(struct kit *kit);
/* The same for cmocka: one on the heap for each test. */
int kit_setup(void **state);
int kit_teardown(void **state);

int64_t kit_now(const struct kit *kit); /* ms since kit_init */
void kit_run(struct kit *kit, int64_t ms);

/* A message with one recipient at each of the names (NULL ends them). */
struct message *kit_add(struct kit *kit, uint64_t id, const char *const *names);
struct message *kit_add_one(struct kit *kit, uint64_t id, const char *name);
struct message *kit_add_state(struct kit *kit, uint64_t id, const char *name, int64_t arrived_ms,
    const struct spool_state *state);

/* End the flight of message ID by hand. */
void kit_land(struct kit *kit, uint64_t id, enum kit_answer answer, int64_t due_ms);

/* The same, with that for feedback; its recipients stay. */
void kit_land_as(struct kit *kit, uint64_t id, enum schedule_feedback feedback, int64_t due_ms);
/* The same, but it was not tried at all. */
void kit_put_off(struct kit *kit, uint64_t id, int64_t due_ms, bool held);
/* Nor will it be there: NAMES[i] is where recipient i belongs. */
void kit_reroute(struct kit *kit, uint64_t id, const char *const *names);

/* The Nth note of that kind; fails the test when there is none. */
const struct kit_note *kit_note(const struct kit *kit, enum kit_event event, size_t n);

enum kit_answer kit_delivers(struct kit *kit, const struct batch *batch);
enum kit_answer kit_defers(struct kit *kit, const struct batch *batch);
enum kit_answer kit_is_dead(struct kit *kit, const struct batch *batch);

#endif
