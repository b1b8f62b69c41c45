/* SPDX-License-Identifier: MIT
 * What the history says of recipients that were not tried, since no way was free: the
 * limit or the trouble, in words that stand in reports to the sender as well.
 */
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/deliver_internal.h"

static enum verdict_class class_of(enum wait_cause cause)
{
	if (cause == WAIT_BLOCKED || cause == WAIT_DOMAIN)
		return VERDICT_REPUTATION;
	return cause == WAIT_TROUBLE ? VERDICT_SERVER_BUSY : VERDICT_OTHER;
}

/* LAST is told where it is the reason. */
static void print_cause(
    enum wait_cause cause, const struct reputation_way *path, const char *last, struct buf *out)
{
	static const char *const forms[] = {
	    [WAIT_NONE] = "has to wait",
	    [WAIT_BY_HAND] = "is held by the administrator of this mail server",
	    [WAIT_BLOCKED] = "is held, since mail of this mail server was refused there",
	    [WAIT_DOMAIN] = "is held, since mail of the sender's domain was refused there",
	    [WAIT_TROUBLE] = "pauses after trouble there",
	    [WAIT_START] = "goes little by little, since it was refused there before",
	    [WAIT_BUDGET] = ("has to wait: this mail server limits what it sends in an hour from "
			     "an address that is new"),
	    [WAIT_RATE] = "has to wait: this mail server limits what it sends there at a time",
	    [WAIT_UNKNOWN] = "has to wait",
	};
	const char *name = path->provider;
	bool smarthost = route_is_smarthost(name);
	buf_addf(out, "not tried: mail %s %s %s", smarthost ? "by the smarthost" : "to",
	    smarthost ? strchr(name, ':') + 1 : name, forms[cause]);
	if (*last && (cause == WAIT_TROUBLE || cause == WAIT_BLOCKED))
		buf_addf(out, ". What was met last: %s", last);
}

bool waiting_is_untried(const struct history_entry *last)
{
	return strcmp(last->stage, "path") == 0;
}

void waiting_note(
    const struct attempt *a, const struct reputation_way *path, const struct permit *permit)
{
	struct history *history = a->deliver->history;
	int64_t now = clock_steady_ms();
	const char *last;
	enum wait_cause cause = reputation_wait_cause(
	    paths_reputation(a->deliver->options.paths), path, permit, now, &last);
	struct buf text = {0};
	print_cause(cause, path, last, &text);
	for (size_t i = 0; i < a->tried_count; i++) {
		const struct history_entry *known = history_find(history, a->id, a->tried[i].index);
		struct history_entry entry = {
		    .when_ms = now,
		    .stage = "path",
		    .klass = class_of(cause),
		    .mx = "",
		    .text = buf_text(&text),
		};
		if (a->tried[i].state != TRIED_OPEN && a->tried[i].state != TRIED_LATER)
			continue;
		/* where something was said about it, that says more */
		if (known && !waiting_is_untried(known))
			entry = *known;
		entry.waits = cause;
		entry.provider = path->provider;
		history_note(history, a->id, a->tried[i].index, &entry);
	}
	buf_free(&text);
}
