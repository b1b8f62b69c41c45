/* SPDX-License-Identifier: MIT
 * Reports to the sender: a failure, or a delay. Builds the message
 * (queue/bounce.h), gives it to intake, tells when it is safe on disk.
 */
#ifndef RELAYD_REPORT_H
#define RELAYD_REPORT_H

#include "queue/bounce.h"
#include "relayd/intake.h"

struct report {
	enum bounce_kind kind;
	uint64_t message_id;             /* of the message reported on */
	const struct envelope *envelope; /* of it */
	struct span header;              /* of it, as stored */
	int64_t expires_ms;
	const struct bounce_recipient *recipients;
	size_t recipient_count;
};

/* Send it to the envelope sender. DONE (never inside) says whether it is in the
 * queue; until then nothing of REPORT needs to stay. Call it only for a message
 * with a sender: nothing answers <> (RFC 5321 section 4.5.5). */
typedef void report_done(void *arg, bool queued);
void report_send(struct intake *intake, const struct conf *conf, const struct report *report,
    report_done *done, void *arg);

#endif
