/* SPDX-License-Identifier: MIT
 * The arithmetic of a destination's window. Counts come from schedule.c, which
 * moves the batches; nothing here knows of time.
 */
#include "queue/destination.h"

#include "queue/schedule.h"
#include "relayd/base/mem.h"

struct destination *destination_new(const char *name, const struct conf_queue *conf)
{
	struct destination *d = mem_zero(sizeof(*d));
	d->name = mem_text(name);
	d->window = (double)conf->window_start;
	destination_limit(d, conf);
	heap_node_init(&d->wake);
	return d;
}

void destination_free(struct destination *d)
{
	mem_free(d->name);
	mem_free(d->failure);
	mem_free(d);
}

void destination_limit(struct destination *d, const struct conf_queue *conf)
{
	if (d->window > (double)conf->window_max)
		d->window = (double)conf->window_max;
}

size_t destination_batches(const struct destination *d)
{
	size_t sum = 0;
	for (size_t i = 0; i <= BATCH_HELD; i++)
		sum += d->count[i];
	return sum;
}

bool destination_may_start(const struct destination *d)
{
	return destination_rank(d) < TURN_RANKS && !d->paused && !(d->paced && d->asking) &&
	       (double)d->count[BATCH_RUNNING] + 1 <= d->window;
}

void destination_worked(struct destination *d, const struct conf_queue *conf)
{
	d->failures = 0;
	d->pauses = 0;
	d->window += 1 / d->window;
	destination_limit(d, conf);
}

bool destination_failed(struct destination *d)
{
	d->failures++;
	bool dead = (double)d->failures >= d->window;
	d->window = d->window > 2 ? d->window / 2 : 1;
	return dead;
}

unsigned destination_rank(const struct destination *d)
{
	unsigned rank = 0;
	while (rank < TURN_RANKS && !d->ready[rank])
		rank++;
	return rank;
}

struct batch *destination_next(struct destination *d)
{
	unsigned waiting = 0;
	for (unsigned rank = 0; rank < TURN_RANKS; rank++)
		waiting |= d->ready[rank] ? 1u << rank : 0;
	return d->ready[turn_take(&d->turn, waiting)];
}

struct batch **destination_list(const struct batch *batch)
{
	struct destination *d = batch->destination;
	switch ((enum batch_state)batch->state) {
	case BATCH_WAITING:
	case BATCH_EXPIRED:
		return NULL;
	case BATCH_READY:
		return &d->ready[turn_rank((enum conf_priority)batch->message->priority)];
	case BATCH_RUNNING:
		return &d->running;
	case BATCH_HELD:
		return &d->held;
	}
	return NULL;
}

const char *destination_name(const struct destination *d)
{
	return d->name;
}

const char *destination_failure(const struct destination *d)
{
	return d->failure;
}

int64_t destination_paused_until(const struct destination *d)
{
	return d->paused ? d->wake.key : 0;
}

bool destination_is_dead(const struct destination *d)
{
	return d->paused && d->dead;
}
