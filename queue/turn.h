/* SPDX-License-Identifier: MIT
 * Whose turn is it among urgent, normal and bulk mail that wait for the same thing?
 * The better one's, but every tenth turn is for one that was passed over nine
 * times: a newsletter is late behind a flood of urgent mail, and still goes. Pure.
 */
#ifndef QUEUE_TURN_H
#define QUEUE_TURN_H

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

#endif
