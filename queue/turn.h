/* SPDX-License-Identifier: MIT
 * Whose turn is it among urgent, normal and bulk mail that wait for the same thing?
 * The better one's, but every tenth turn is for one that was passed over nine
 * times: a newsletter is late behind a flood of urgent mail, and still goes. Pure.
 */
#ifndef QUEUE_TURN_H
#define QUEUE_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

/* Ranks: 0 urgent, 1 normal, 2 bulk. */
#define TURN_RANKS 3u
#define TURN_BULK 2u
#define TURN_PASSED_MAX 9u

struct turn {
	uint8_t passed[TURN_RANKS]; /* times in a row, while it waited */
};

unsigned turn_rank(enum conf_priority priority);

/* The rank that goes now. WAITING: bit N is set when rank N waits; not 0. */
unsigned turn_take(struct turn *turn, unsigned waiting);

/* The same for what has no list of those who wait, but is asked by one after the
 * other (a path): one that has to wait for a moment claims what becomes free next,
 * and lesser ones that ask meanwhile have to wait, too. */
struct turn_claim {
	bool stands;
	unsigned rank;    /* of the one that waits */
	int64_t until_ms; /* it will ask again before that, or has given up */
	unsigned passed;  /* times in a row that others went before bulk mail */
};

/* Has one of RANK to give way now? */
bool turn_claim_stops(const struct turn_claim *claim, unsigned rank, int64_t now_ms);
/* One of RANK was told to ask again at AT_MS; it went. */
void turn_claim_wait(struct turn_claim *claim, unsigned rank, int64_t at_ms, int64_t now_ms);
void turn_claim_went(struct turn_claim *claim, unsigned rank);

#endif
