/* SPDX-License-Identifier: MIT
 * The schedule itself, shared by schedule.c (time, turns, moves) and
 * schedule_admin.c (what an administrator wants and asks).
 */
#ifndef QUEUE_SCHEDULE_INTERNAL_H
#define QUEUE_SCHEDULE_INTERNAL_H

#include "queue/destination.h"
#include "queue/schedule.h"

struct schedule {
	struct loop *loop;
	struct conf_queue conf; /* the ladder belongs to the configuration */
	struct schedule_handler handler;
	struct message *messages;         /* uthash */
	struct destination *destinations; /* uthash */
	/* rings (utlist), by the rank of the best that is ready */
	struct destination *unknown[TURN_RANKS];   /* to be looked up first */
	struct destination *failed[TURN_RANKS];    /* the same, and in vain the last time */
	struct destination *answering[TURN_RANKS]; /* may start something, and answers */
	struct destination *doubtful[TURN_RANKS];  /* the same, new or silent */
	struct turn turn;
	struct turn look_up_turn;
	size_t looking;                   /* look-ups under way, */
	size_t looking_again;             /* and those of them that were in vain */
	size_t by_path;                   /* batches that wait for a way out */
	size_t bulk_running;              /* attempts at bulk mail */
	size_t doubtful_running;          /* attempts at such */
	bool doubtful_turn;
	struct batch *expired;            /* utlist: EXPIRED batches */
	size_t expiring;                  /* of those RUNNING, handed out for their report */
	struct heap due;                  /* WAITING and READY batches */
	struct heap wake;                 /* destinations */
	struct timer timer;
	size_t count[BATCH_HELD + 1];
	bool stopped;
};

/* Set the one timer to what comes next; at the end of everything that changes
 * when that is. */
void schedule_arm(struct schedule *s);

/* The only way from one state to another. */
void schedule_move(struct schedule *s, struct batch *batch, enum batch_state state);

/* On the ring or not, as the destination's window and lists say. */
void schedule_update_turn(struct schedule *s, struct destination *d);

/* The pause is over, or the time to be forgotten has come: D may be gone then. */
void schedule_wake(struct schedule *s, struct destination *d);

/* The batch is done with: freed, and its message with the last one. */
void schedule_unlink(struct schedule *s, struct batch *batch);
void schedule_end_if_done(struct schedule *s, struct message *m);

#endif
