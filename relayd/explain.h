/* SPDX-License-Identifier: MIT
 * Verdicts in words: what a refusal means and what the reader can do, for
 * reports to senders and for `relayctl why`.
 */
#ifndef RELAYD_EXPLAIN_H
#define RELAYD_EXPLAIN_H

#include "queue/verdict.h"

/* A sentence or two for the sender of a message. */
const char *explain_failure(enum verdict_class klass);

/* The same for what the message is, when it is us who found that the receiver can not
 * take it: an enhanced code that the client puts in front (smtp/client.h). NULL: none. */
const char *explain_form(const char *status);

/* As explain_failure, for the administrator of the relay: what to do about it. */
const char *explain_remedy(enum verdict_class klass);

#endif
