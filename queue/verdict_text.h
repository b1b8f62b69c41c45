/* SPDX-License-Identifier: MIT
 * A reply as it was on the wire or stands in a log, made ready for verdict_judge:
 * "550-5.7.1 first\n550 5.7.1 second". For the examples of rules and for
 * `relayctl reputation explain`; what the client gets is taken apart by its own
 * parser, strictly.
 */
#ifndef QUEUE_VERDICT_TEXT_H
#define QUEUE_VERDICT_TEXT_H

#include "queue/verdict.h"

struct verdict_text {
	struct verdict_input input; /* its text is that of `text` */
	struct buf text;
};

/* Fill OUT from REPLY, of which PLAIN_MAX bytes are taken; stage and mx are the
 * caller's to set. Result: false when it does not begin with a code of 200 to 599;
 * code is 0 then and the text is REPLY. */
bool verdict_text_parse(struct verdict_text *out, struct span reply);
void verdict_text_clear(struct verdict_text *text);

#endif
