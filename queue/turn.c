/* SPDX-License-Identifier: MIT */
#include "queue/turn.h"

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
