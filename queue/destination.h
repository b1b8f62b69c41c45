/* SPDX-License-Identifier: MIT
 * One destination: its ready batches, and how much it may be asked to take at
 * a time. The window opens by 1/window with each success and halves with each
 * failure; after as many failures in a row as the window is wide, the
 * destination pauses, longer each time. Used by schedule.c only.
 */
#ifndef QUEUE_DESTINATION_H
#define QUEUE_DESTINATION_H

#include "conf/conf.h"
#include "queue/message.h"
#include "queue/turn.h"

/* What is known of the hosts that take its mail. */
enum destination_hosts {
	HOSTS_UNKNOWN, /* to be looked up before anything starts */
	HOSTS_ASKED,
	HOSTS_KNOWN,   /* or known not to be had: `failure` */
};

struct destination {
	UT_hash_handle hh; /* by name */
	char *name;
	struct batch *ready[TURN_RANKS]; /* utlist, first come first */
	struct turn turn;
	struct batch *running;
	struct batch *held;
	size_t count[BATCH_HELD + 1]; /* of batches by state */
	double window;
	unsigned failures; /* in a row */
	unsigned pauses;   /* in a row, for the ladder */
	struct heap_node wake; /* end of a pause, or time to be forgotten */
	bool paused;
	bool dead;       /* it is paused since nobody answers */
	bool paced;      /* its way out keeps to a rate: only one batch asks at a time */
	unsigned asking; /* batches that are, see schedule_goes */
	bool answers; /* it did, the last time that it was asked */
	enum destination_hosts hosts;
	char *failure; /* why its hosts could not be looked up, the last time; NULL: they could */
	struct destination **ring; /* that it stands on; NULL: it may start nothing */
	struct destination *prev;
	struct destination *next;
};

struct destination *destination_new(const char *name, const struct conf_queue *conf);
void destination_free(struct destination *d);

/* The window within the limits of CONF. */
void destination_limit(struct destination *d, const struct conf_queue *conf);

size_t destination_batches(const struct destination *d); /* in all states */

/* May it start another batch? */
bool destination_may_start(const struct destination *d);

/* Feedback. failed: true when a pause is due now. */
void destination_worked(struct destination *d, const struct conf_queue *conf);
bool destination_failed(struct destination *d);

/* The rank of the best that is ready (queue/turn.h); TURN_RANKS: nothing is. */
unsigned destination_rank(const struct destination *d);

/* The ready batch whose turn it is; one is ready at least. */
struct batch *destination_next(struct destination *d);

/* The list of its destination that a batch is on by its state; NULL: on none. */
struct batch **destination_list(const struct batch *batch);

#endif
