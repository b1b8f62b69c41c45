/* SPDX-License-Identifier: MIT
 * How a message gets out: who is next (queue/schedule), by which route, to
 * which host, in which dialogue, and what the answers mean for each recipient.
 * Owns the queue in memory.
 */
#ifndef RELAYD_DELIVER_H
#define RELAYD_DELIVER_H

#include "queue/schedule.h"
#include "queue/spool.h"
#include "queue/verdict.h"
#include "relayd/history.h"
#include "relayd/intake.h"
#include "relayd/paths.h"
#include "relayd/settings.h"
#include "relayd/stats.h"
#include "relayd/tls_reports.h"
#include "smtp/dns.h"
#include "smtp/sts_find.h"

struct deliver;

struct deliver_options {
	struct loop *loop;
	struct spool *spool;
	struct dns *dns;
	struct sts *sts; /* NULL: nobody asks for policies */
	struct tls_reports *reports; /* NULL: nobody counts */
	struct intake *intake; /* for reports */
	struct stats *stats;
	struct paths *paths;
	struct brake_watch *brake; /* NULL: none */
};

struct deliver *deliver_new(const struct deliver_options *options, struct settings *settings);
void deliver_free(struct deliver *deliver);
void deliver_set_settings(struct deliver *deliver, struct settings *settings);

/* A message that is in the spool joins the queue. DONE: a bit per recipient
 * that has its result already, NULL for none; STATE: NULL for a new one. */
void deliver_add(struct deliver *deliver, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t size, const struct spool_state *state,
    const unsigned char *done);

/* The spool's questions (queue/spool.h). */
bool deliver_is_live(struct deliver *deliver, uint64_t id, struct spool_live *now,
    struct buf *done);
void deliver_moved(struct deliver *deliver, uint64_t id, struct spool_place place);
void deliver_lost(struct deliver *deliver, uint64_t id);
uint64_t *deliver_standing(const struct deliver *deliver, uint32_t segment, size_t *count);

/* For the control commands: the queue itself, a message of it (NULL: it is not there, or
 * is over but for what the disk has to do), and the last answers. */
struct schedule *deliver_schedule(struct deliver *deliver);
struct message *deliver_message(struct deliver *deliver, uint64_t id);
const struct history *deliver_history(const struct deliver *deliver);

/* Administrator: like schedule_*, and noted in the spool. */
void deliver_hold(struct deliver *deliver, struct message *message, bool hold);
void deliver_delete(struct deliver *deliver, struct message *message);

/* The first message that waits for what INCIDENT is about is tried at AT_MS at the
 * latest, whatever its turn was; noted in the spool. */
void deliver_try_one(struct deliver *deliver, unsigned incident, int64_t at_ms);

/* Stop: no new attempts; those under way are cut where that is safe (before the
 * final dot) and otherwise waited for. */
void deliver_shut(struct deliver *deliver);
size_t deliver_running(const struct deliver *deliver);

#endif
