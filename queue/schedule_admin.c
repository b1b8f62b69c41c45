/* SPDX-License-Identifier: MIT
 * The schedule's other side: holding, releasing and deleting by a person, the
 * reload, and answers to questions. Moves are schedule.c's.
 */
#include <string.h>

#include "queue/path.h"
#include "queue/schedule_internal.h"
#include "queue/schedule_life.h"
#include "relayd/base/clock.h"
#include "relayd/base/mem.h"

#define RESUMED_AT_ONCE 100 /* of those that waited for a way out, each second */
#define RESUME_STEP_MS 1000
#define RELEASED_MS (4 * 3600 * 1000) /* what was released lives so long at least */

/* A WAITING batch is tried at AT_MS, which is sooner than so far. */
static void try_sooner(struct schedule *s, struct batch *b, int64_t at_ms)
{
	life_cut_wait(b, at_ms);
	b->try_ms = at_ms;
	schedule_move(s, b, BATCH_WAITING);
}

/* ---- the administrator ---- */

void schedule_hold(struct schedule *s, struct message *m)
{
	m->held = true;
	for (struct batch *b = m->batches; b; b = b->next_of_message)
		if (b->state != BATCH_RUNNING && b->state != BATCH_HELD)
			schedule_move(s, b, BATCH_HELD);
	schedule_arm(s);
}

void schedule_release(struct schedule *s, struct message *m)
{
	int64_t least = clock_steady_ms() + RELEASED_MS;
	if (!m->held)
		return;
	m->held = false;
	m->cleared = true;
	m->brake = 0;
	if (m->expires_ms < least)
		m->expires_ms = least;
	for (struct batch *b = m->batches; b; b = b->next_of_message)
		if (b->state == BATCH_HELD) {
			b->expired = false;
			schedule_move(s, b, BATCH_WAITING);
		}
	schedule_arm(s);
}

bool schedule_retry(struct schedule *s, struct message *m)
{
	bool any = false;
	for (struct batch *b = m->batches; b; b = b->next_of_message) {
		b->again = b->settling;
		any = any || b->state != BATCH_RUNNING || b->settling;
		if (b->state != BATCH_WAITING && b->state != BATCH_READY)
			continue;
		if (b->state == BATCH_WAITING)
			try_sooner(s, b, clock_steady_ms());
		/* asked for by a person: the pause ends too */
		if (b->destination->paused)
			schedule_wake(s, b->destination);
	}
	schedule_arm(s);
	return any;
}

void schedule_resume(struct schedule *s)
{
	int64_t now = clock_steady_ms();
	int64_t woken = 0;
	for (struct message *m = s->messages; m; m = m->hh.next)
		for (struct batch *b = m->batches; b; b = b->next_of_message) {
			int64_t at = now + woken / RESUMED_AT_ONCE * RESUME_STEP_MS;
			if (!b->by_path || b->state != BATCH_WAITING || b->try_ms <= at)
				continue;
			try_sooner(s, b, at);
			woken++;
		}
	schedule_arm(s);
}

static bool waits_for(const struct batch *b, unsigned incident)
{
	if (b->state != BATCH_WAITING)
		return false;
	return b->incident == incident ? b->blocked || b->by_path : b->by_path && !b->incident;
}

void schedule_opened(struct schedule *s, unsigned incident)
{
	const struct permit_spread spread = {PATH_INTERVAL, 1, true};
	struct path_turns turns[TURN_RANKS] = {0}; /* a newsletter's line is its own */
	int64_t now = clock_steady_ms();
	for (struct message *m = s->messages; m; m = m->hh.next)
		for (struct batch *b = m->batches; b; b = b->next_of_message) {
			if (!waits_for(b, incident))
				continue;
			int64_t at = path_turn(&turns[turn_rank(m->priority)], now, spread);
			if (b->try_ms <= at)
				continue;
			try_sooner(s, b, at);
		}
	schedule_arm(s);
}

static struct batch *blocked_batch(const struct message *m, unsigned incident)
{
	for (struct batch *b = m->batches; b; b = b->next_of_message)
		if (b->blocked && b->incident == incident)
			return b;
	return NULL;
}

struct message *schedule_try_one(struct schedule *s, unsigned incident, int64_t at_ms,
    size_t looks)
{
	struct message *m = s->messages;
	struct batch *b = NULL;
	for (; m && looks && !b; m = b ? m : m->hh.next, looks--)
		b = blocked_batch(m, incident);
	if (!b)
		return NULL;
	if (b->state == BATCH_WAITING && b->try_ms > at_ms) {
		try_sooner(s, b, at_ms);
		schedule_arm(s);
	}
	return m;
}

size_t schedule_waiting_for(const struct schedule *s, unsigned incident, size_t looks)
{
	size_t n = 0;
	for (const struct message *m = s->messages; m && looks; m = m->hh.next, looks--)
		n += blocked_batch(m, incident) != NULL;
	return n;
}

void schedule_each_waiting(
    const struct schedule *s, size_t looks, void (*fn)(void *arg, unsigned incident), void *arg)
{
	for (const struct message *m = s->messages; m && looks; m = m->hh.next, looks--)
		for (const struct batch *b = m->batches; b; b = b->next_of_message)
			if (b->blocked && b->incident && blocked_batch(m, b->incident) == b)
				fn(arg, b->incident);
}

void schedule_unpace(struct schedule *s, struct destination *d)
{
	if (d->paused && !d->dead)
		schedule_wake(s, d);
	schedule_arm(s);
}

void schedule_delete(struct schedule *s, struct message *m)
{
	struct batch *next;
	for (struct batch *b = m->batches; b; b = next) {
		next = b->next_of_message;
		if (b->state == BATCH_RUNNING) {
			b->doomed = true;
			continue;
		}
		m->pending -= b->count;
		schedule_unlink(s, b);
	}
	schedule_end_if_done(s, m);
	schedule_arm(s);
}

void schedule_set_conf(struct schedule *s, const struct conf_queue *conf)
{
	struct destination *d;
	struct destination *next;
	s->conf = *conf;
	HASH_ITER (hh, s->destinations, d, next) {
		destination_limit(d, conf);
		schedule_update_turn(s, d);
	}
	schedule_arm(s);
}

void schedule_stop(struct schedule *s)
{
	s->stopped = true;
	schedule_arm(s);
}

/* ---- questions ---- */

bool schedule_waits_by_path(const struct schedule *s)
{
	return s->by_path > 0;
}

struct message *schedule_find(struct schedule *s, uint64_t id)
{
	struct message *m;
	HASH_FIND(hh, s->messages, &id, sizeof(id), m);
	return m;
}

struct message *schedule_next(struct schedule *s, const struct message *after)
{
	return after ? after->hh.next : s->messages;
}

struct schedule_stats schedule_stats(const struct schedule *s)
{
	return (struct schedule_stats){
	    .messages = HASH_COUNT(s->messages),
	    .waiting = s->count[BATCH_WAITING],
	    .ready = s->count[BATCH_READY] + s->count[BATCH_EXPIRED],
	    .running = s->count[BATCH_RUNNING],
	    .held = s->count[BATCH_HELD],
	    .destinations = HASH_COUNT(s->destinations),
	};
}

static void fill_stats(const struct destination *d, struct destination_stats *stats)
{
	*stats = (struct destination_stats){
	    .name = d->name,
	    .waiting = d->count[BATCH_WAITING],
	    .ready = d->count[BATCH_READY] + d->count[BATCH_EXPIRED],
	    .running = d->count[BATCH_RUNNING],
	    .held = d->count[BATCH_HELD],
	    .window = d->window,
	    .paused_until_ms = destination_paused_until(d),
	};
}

bool schedule_destination(struct schedule *s, const char *name, struct destination_stats *stats)
{
	struct destination *d;
	HASH_FIND_STR(s->destinations, name, d);
	if (d)
		fill_stats(d, stats);
	return d != NULL;
}

void schedule_each_destination(struct schedule *s,
    void (*fn)(void *arg, const struct destination_stats *stats), void *arg)
{
	struct destination *d;
	struct destination *next;
	HASH_ITER (hh, s->destinations, d, next) {
		struct destination_stats stats;
		fill_stats(d, &stats);
		fn(arg, &stats);
	}
}
