/* SPDX-License-Identifier: MIT
 * What relay-sendmail has to say when something fails: the exit status that its
 * callers understand (sysexits.h) and lines for people. Nothing is printed here;
 * main does that once, at the end.
 */
#ifndef RELAYD_SENDMAIL_REPORT_H
#define RELAYD_SENDMAIL_REPORT_H

#include <sysexits.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "smtp/reply.h"

struct sendmail_report {
	int status;      /* EX_OK, or of the failures so far: see sendmail_fail */
	struct buf text; /* lines, each with its \n */
};

/* Add a line and its exit status. The first permanent status stays; EX_TEMPFAIL
 * gives way to a permanent one, since the caller must not try for ever. Texts
 * from outside are escaped by the caller. Result: the report's status. */
int sendmail_fail(struct sendmail_report *report, int status, const char *format, ...)
    ATTR_PRINTF(3, 4);

/* What a relay's refusal means to the caller: 4xx EX_TEMPFAIL, 5xx by its enhanced
 * code. RECIPIENT: it answered RCPT, where 550 alone means that there is nobody. */
int sendmail_reply_status(const struct reply *reply, bool recipient);

/* A word from outside, fit for a line of the report; valid until the next call. */
const char *sendmail_shown(struct span s);

void sendmail_report_free(struct sendmail_report *report);

#endif
