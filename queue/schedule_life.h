/* SPDX-License-Identifier: MIT
 * When does a message end? Its lifetime after it has arrived, and later by the time that
 * it waits for a path that is held: for each batch that does, to at most hold_max. A wait
 * adds its whole time when it begins, so that nothing expires in the middle of it, and
 * gives back what is left of it when it is cut short.
 */
#ifndef QUEUE_SCHEDULE_LIFE_H
#define QUEUE_SCHEDULE_LIFE_H

#include "queue/schedule.h"

/* The times of a message that joins the queue. STATE: from the spool, NULL for a new one. */
void life_begin(const struct schedule *schedule, struct message *message, int64_t arrived_ms,
    const struct spool_state *state);

/* BATCH begins to wait for a held path, until UNTIL_MS (steady clock). */
void life_add_wait(const struct schedule *schedule, struct batch *batch, int64_t until_ms);

/* What BATCH waits for, it waits for until AT_MS only (sooner than so far). */
void life_cut_wait(struct batch *batch, int64_t at_ms);

#endif
