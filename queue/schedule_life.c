/* SPDX-License-Identifier: MIT */
#include "queue/schedule_life.h"

#include "queue/schedule_internal.h"
#include "relayd/base/clock.h"

#define LAST_CHANCE_MS (3600 * 1000) /* for what ran out of time while we were down */

/* Without what waiting for a held path has added. */
static int64_t usual_end(const struct schedule *s, const struct message *m)
{
	return m->arrived_ms + (m->report ? s->conf.bounce_lifetime : s->conf.lifetime);
}

/* Result: by how much it ends later, at most WAIT_MS. */
static int64_t prolong(const struct schedule *s, struct message *m, int64_t wait_ms)
{
	int64_t last = usual_end(s, m) + s->conf.hold_max;
	int64_t before = m->expires_ms;
	int64_t end = before + (wait_ms > 0 ? wait_ms : 0);
	if (end > last)
		end = last;
	if (end > before)
		m->expires_ms = end;
	return m->expires_ms - before;
}

int64_t schedule_extra(const struct schedule *s, const struct message *m)
{
	int64_t extra = m->expires_ms - usual_end(s, m);
	return extra > 0 ? extra : 0;
}

void life_begin(const struct schedule *s, struct message *m, int64_t arrived_ms,
    const struct spool_state *state)
{
	int64_t now = clock_steady_ms();
	m->arrived_ms = arrived_ms < now ? arrived_ms : now; /* the clock may have been wrong */
	m->expires_ms = usual_end(s, m);
	if (state)
		prolong(s, m, state->extra_ms);
	/* our own absence bounces nothing: an attempt first */
	if (state && m->expires_ms < now + LAST_CHANCE_MS)
		m->expires_ms = now + LAST_CHANCE_MS;
}

void life_add_wait(const struct schedule *s, struct batch *batch, int64_t until_ms)
{
	int64_t wait = until_ms - clock_steady_ms();
	batch->added_ms =
	    (uint32_t)prolong(s, batch->message, wait < UINT32_MAX ? wait : UINT32_MAX);
}

void life_cut_wait(struct batch *batch, int64_t at_ms)
{
	int64_t saved = batch->try_ms - at_ms;
	uint32_t back = saved < batch->added_ms ? (uint32_t)saved : batch->added_ms;
	if (saved <= 0)
		return;
	batch->added_ms -= back;
	batch->message->expires_ms -= back;
}
