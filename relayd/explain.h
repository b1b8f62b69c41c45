/* SPDX-License-Identifier: MIT
 * Verdicts in words: what a refusal means and what the reader can do, for
 * reports to senders and for `relayctl why`.
 */
#ifndef RELAYD_EXPLAIN_H
#define RELAYD_EXPLAIN_H

#include "queue/reputation.h"
#include "queue/verdict.h"

/* A sentence or two for the sender of a message. */
const char *explain_failure(enum verdict_class klass);

/* The same where no reply of the receiver's says it, but what was found here at its host:
 * STATUS is the enhanced code that the client puts in front (smtp/client.h), "" none. */
const char *explain_finding(enum verdict_class klass, const char *status);

/* Of what is missing here, or demanded: no receiver's words or trouble. */
struct explain_own {
	const char *failure; /* as explain_failure */
	const char *so_far;  /* while it is tried, and what the administrator can do */
	const char *remedy;
};

/* For what was found at STAGE, with the enhanced code STATUS ("" none). NULL: that is the
 * receiver's. */
const struct explain_own *explain_own(enum verdict_stage stage, const char *status);

/* The enhanced code for "no route" (RFC 3463, X.3.5: not correctly configured). */
#define EXPLAIN_NO_ROUTE "4.3.5"

/* As explain_failure, for the administrator of the relay: what to do about it. */
const char *explain_remedy(enum verdict_class klass);

/* As explain_failure, while the message is still tried. */
const char *explain_so_far(enum verdict_class klass);

/* Both for trouble with our smarthost NAME before it was told of a message, which is the
 * administrator's to mend: STAGE at which CODE (0: nothing) was answered. Appended to
 * MEANING and REMEDY; false, and nothing is, where the answer speaks for itself. */
bool explain_smarthost(enum verdict_stage stage, unsigned code, const char *name,
    struct buf *meaning, struct buf *remedy);

/* Of mail that is not tried, for this server keeps it back: a name for programs, what that
 * means to the sender when its time is over, to the administrator meanwhile, and what that
 * one can do. */
const char *explain_wait_name(enum wait_cause cause); /* "by-hand" */
const char *explain_wait_failure(enum wait_cause cause);
const char *explain_wait_so_far(enum wait_cause cause);
const char *explain_wait_remedy(enum wait_cause cause);

#endif
