/* SPDX-License-Identifier: MIT
 * Which messages a queue command is about: ids, or what fits a recipient's
 * domain or address, a sender, who sent it, an age. Pure but for the ids, which the caller
 * fills in when none were named.
 */
#ifndef RELAYD_SELECTION_H
#define RELAYD_SELECTION_H

#include "queue/envelope.h"
#include "queue/message.h"

struct selection {
	const char *domain; /* of a recipient, or an address; NULL: any. Points into the words */
	const char *sender; /* an address or a domain; "" the sender of reports */
	const char *who;    /* a sender as the brake calls it (brake_who.h) */
	int64_t older_ms;   /* 0: any age */
	bool all;
	bool named;         /* the ids were given */
	uint64_t *ids;      /* the messages to look at, in order */
	size_t count;
	size_t at;
};

/* -1: WHY. Clear it in both cases. */
int selection_parse(struct selection *selection, const char *const *argv, size_t argc,
    struct why *why) ATTR_MUST_CHECK;
void selection_clear(struct selection *selection);

void selection_add(struct selection *selection, uint64_t id);

/* Does anything narrow it down? */
bool selection_is_empty(const struct selection *selection);

/* Can the message fit? Cheap: false spares the look at its envelope. */
bool selection_may_fit(const struct selection *selection, const struct message *message,
    int64_t now_ms);
/* Is RECIPIENT, one of BATCH, what its `domain` asks for? */
bool selection_names(const struct selection *selection, const struct batch *batch,
    const char *recipient);

bool selection_fits(const struct selection *selection, const struct message *message,
    const struct envelope *envelope, int64_t now_ms);

#endif
