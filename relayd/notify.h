/* SPDX-License-Identifier: MIT
 * Telling the administrator of an incident: notify.command gets it as JSON on its
 * standard input, notify.mail gets a message. Nothing here waits: the helper process
 * runs the command (helper.h), a few at a time, and kills it when it takes too long.
 */
#ifndef RELAYD_NOTIFY_H
#define RELAYD_NOTIFY_H

#include <jansson.h>

#include "queue/reputation.h"
#include "relayd/base/loop.h"
#include "relayd/helper.h"
#include "relayd/intake.h"

struct notify;

/* TOLD is called once for each incident, perhaps inside notify_incident: somebody
 * knows of it, or (OK is false: too many commands run, no room in the queue) nobody
 * could be told now and the caller may try again later. */
struct notify_options {
	struct loop *loop;
	struct intake *intake;
	struct helper *helper; /* stays the caller's, and outlives the notify */
	void (*told)(void *arg, unsigned number, bool ok);
	void *arg;
};

struct notify *notify_new(const struct notify_options *options);
/* Commands that still run are the helper's. */
void notify_free(struct notify *notify);

/* RAN: the command has run for it already, when the mail could not be queued. Result: it
 * has, or there is none to run; what is left is the mail. */
bool notify_incident(struct notify *notify, const struct conf *conf,
    const struct incident *incident, bool ran) ATTR_MUST_CHECK;

/* All of an incident; its texts are plain ASCII, escaped. */
json_t *notify_json(const struct incident *incident);

#endif
