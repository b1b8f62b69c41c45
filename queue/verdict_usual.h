/* SPDX-License-Identifier: MIT
 * What usually follows from a class of verdicts, where a rule says nothing else.
 */
#ifndef QUEUE_VERDICT_USUAL_H
#define QUEUE_VERDICT_USUAL_H

#include "queue/verdict.h"

enum verdict_scope verdict_usual_scope(enum verdict_class klass);

/* For a reply with CODE at STAGE whose class and scope are known. A verdict about
 * our IP never ends a message; one about a recipient suppresses it only for a 5xx
 * to RCPT (or at a stage nobody knows). */
enum verdict_action verdict_usual_action(enum verdict_class klass, enum verdict_scope scope,
    unsigned code, enum verdict_stage stage);

#endif
