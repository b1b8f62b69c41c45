/* SPDX-License-Identifier: MIT
 * Reports to the sender: a failure, a delay, a relayed message. Builds the message
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
	struct span content;             /* all of it, when that shall go back; else empty */
	bool too_much;                   /* it was asked for, and can not go back */
	int64_t expires_ms;
	const struct bounce_recipient *recipients;
	size_t recipient_count;
};

enum report_end {
	REPORT_QUEUED,
	REPORT_LATER,   /* no room at the moment: it can be tried again */
	REPORT_DROPPED, /* our own intake refuses it for good: it is logged and counted, and
	                   nobody will ever be told (RFC 5321 section 6.1 forbids a report
	                   on a report) */
};

/* Send it to the envelope sender. DONE (never inside) says what became of it; nothing
 * of REPORT needs to stay. Call it only for a message with a sender: nothing answers
 * <> (RFC 5321 section 4.5.5). */
typedef void report_done(void *arg, enum report_end end);
void report_send(struct intake *intake, const struct conf *conf, struct stats *stats,
    const struct report *report, report_done *done, void *arg);

#endif
