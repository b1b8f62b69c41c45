/* SPDX-License-Identifier: MIT
 * A sender's domain that one provider does not want (SPF, DKIM, DMARC, the
 * domain's reputation): its mail to that provider waits, whatever the source,
 * until a probe goes well or the administrator has mended it. Pure.
 */
#ifndef QUEUE_SENDER_HOLD_H
#define QUEUE_SENDER_HOLD_H

#include "queue/path.h"
#include "relayd/base/hash.h"

#define SENDER_HOLDS_MAX 10000

struct sender_hold {
	UT_hash_handle hh; /* by key: domain TAB provider */
	char *key;
	char *domain;
	char *provider;
	bool held;
	unsigned step;
	int64_t ladder[PATH_LADDER]; /* ends with the first 0 */
	int64_t until_ms;
	int64_t opened_ms;
	enum verdict_stage stage; /* how far a probe has to get */
	unsigned incident;
	/* not stored */
	bool probing;
	int64_t probing_ms;
	struct path_turns turns[TURN_RANKS]; /* of those who wait, by rank */
};

/* GO (not held), PROBE or DOMAIN_HELD. Takes nothing. */
struct permit sender_hold_ask(struct sender_hold *h, int64_t now_ms);

/* A verdict about the domain. SLOW ones hold it for the time they name. */
void sender_hold_refused(struct sender_hold *h, const struct verdict *verdict,
    enum verdict_stage stage, bool probe, int64_t now_ms);

/* The probe went well, or the administrator says so / it said nothing. */
void sender_hold_open(struct sender_hold *h, int64_t now_ms);
void sender_hold_again(struct sender_hold *h, int64_t now_ms);

#endif
