/* SPDX-License-Identifier: MIT
 * The warm-up of a young source: how many messages an hour one provider gets
 * from it, by its age in days. Pure; the counting is in reputation.c.
 *
 * A budget counts messages that were tried, per path and hour (UTC). Normal mail may
 * use four fifths of it, bulk three, urgent mail all. A day's step is lost when a provider
 * says "slower" (at most one per day: the budget then stands still).
 */
#ifndef QUEUE_WARMUP_H
#define QUEUE_WARMUP_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/path.h"

struct warmup {
	bool on;
	unsigned day;    /* from 0 */
	unsigned budget; /* messages this hour */
	unsigned normal; /* of them for mail that is not urgent */
	unsigned bulk;   /* of them for bulk mail */
};

/* "2026-11-01" as ms since 1970 (midnight UTC). False: no such date. */
bool warmup_parse_date(const char *text, int64_t *ms) ATTR_MUST_CHECK;

/* What P's source may do now; SINCE is its date, "" for a warm one. */
struct warmup warmup_now(const struct reputation_options *options, const struct path *p,
    const char *since, int64_t now_ms);

/* How much of this hour's budget is used. */
unsigned warmup_used(const struct path *p, int64_t now_ms);

/* A transaction is over: count it. */
void warmup_count(struct path *p, int64_t now_ms);

/* It starts again when it was idle for too long. True: it did. */
bool warmup_restart(const struct reputation_options *options, struct path *p, int64_t now_ms);

/* The provider said "slower": a day back. */
void warmup_step_back(struct path *p, const struct warmup *warmup, int64_t now_ms);

#endif
