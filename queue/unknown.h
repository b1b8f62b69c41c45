/* SPDX-License-Identifier: MIT
 * Replies that no rule knew: a bounded table of their kinds, so that rules can be
 * written for them. Two replies are of one kind when they differ in numbers, names of
 * mailboxes and the like only. Kept and stored by the reputation.
 */
#ifndef QUEUE_UNKNOWN_H
#define QUEUE_UNKNOWN_H

#include "queue/verdict.h"
#include "relayd/base/hash.h"

#define UNKNOWN_MAX 300       /* kinds; the one not seen for longest goes */
#define UNKNOWN_TEXT_MAX 240  /* bytes of a kind's text, before escaping */

struct unknown {
	UT_hash_handle hh; /* by key, the one seen last at the end */
	char *key;
	char *text;     /* masked, escaped, cut */
	char *provider;
	enum verdict_stage stage;
	enum verdict_class klass; /* as what it was judged, */
	enum verdict_scope scope; /* the last time */
	enum verdict_action action;
	uint64_t count;
	int64_t first_ms;
	int64_t last_ms;
};

/* Append the kind of REPLY ("550 5.7.1 text"): digits, addresses and identifiers are
 * masked but for the codes in front; one line of plain ASCII, cut. Pure. */
void unknown_mask(struct buf *out, struct span reply);

/* The entry of that name in TABLE, made if need be. */
struct unknown *unknown_get(struct unknown **table, const char *provider,
    enum verdict_stage stage, const char *text);
void unknown_free_all(struct unknown **table);

#endif
