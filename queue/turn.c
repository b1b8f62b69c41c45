/* SPDX-License-Identifier: MIT */
#include "queue/turn.h"

#define CLAIM_SOON_MS 10000 /* who is sent away for longer does not stand at the door */
#define CLAIM_LATE_MS 2000  /* and may come so late */

unsigned turn_rank(enum conf_priority priority)
{
	switch (priority) {
	case CONF_PRIORITY_URGENT:
		return 0;
	case CONF_PRIORITY_NORMAL:
		return 1;
	case CONF_PRIORITY_BULK:
		return TURN_BULK;
	}
	return 1;
}

unsigned turn_take(struct turn *turn, unsigned waiting)
{
	unsigned best = TURN_RANKS;
	for (unsigned rank = 0; rank < TURN_RANKS; rank++) {
		if (!(waiting & 1u << rank))
			continue;
		if (best == TURN_RANKS || turn->passed[rank] >= TURN_PASSED_MAX)
			best = rank;
	}
	for (unsigned rank = best + 1; rank < TURN_RANKS; rank++)
		if (waiting & 1u << rank && turn->passed[rank] < TURN_PASSED_MAX)
			turn->passed[rank]++;
	if (best < TURN_RANKS)
		turn->passed[best] = 0;
	return best;
}

bool turn_claim_stops(const struct turn_claim *c, unsigned rank, int64_t now_ms)
{
	bool near = now_ms < c->until_ms && c->until_ms - now_ms <= CLAIM_SOON_MS + CLAIM_LATE_MS;
	return c->stands && near && rank > c->rank && c->passed < TURN_PASSED_MAX;
}

void turn_claim_wait(struct turn_claim *c, unsigned rank, int64_t at_ms, int64_t now_ms)
{
	if (rank >= TURN_BULK || at_ms - now_ms > CLAIM_SOON_MS)
		return;
	if (now_ms >= c->until_ms)
		*c = (struct turn_claim){0}; /* nobody came for it: what was counted is past */
	if (c->stands && rank > c->rank)
		return;
	c->stands = true;
	c->rank = rank;
	if (at_ms + CLAIM_LATE_MS > c->until_ms)
		c->until_ms = at_ms + CLAIM_LATE_MS;
}

void turn_claim_went(struct turn_claim *c, unsigned rank)
{
	if (rank == TURN_BULK)
		c->passed = 0;
	else if (c->passed < TURN_PASSED_MAX)
		c->passed++;
	if (rank <= c->rank)
		c->stands = false;
}
