/* SPDX-License-Identifier: MIT
 * A verdict without any rule: from code, enhanced code and stage alone. On the
 * safe side: what may be about our IP, network or name holds the path and never
 * becomes a verdict about a recipient.
 */
#ifndef QUEUE_VERDICT_STRUCTURE_H
#define QUEUE_VERDICT_STRUCTURE_H

#include "queue/verdict.h"

/* rule is "structure", known is false; wait_ms is what the text names. */
struct verdict verdict_by_structure(const struct verdict_input *input);

#endif
