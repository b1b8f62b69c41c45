/* SPDX-License-Identifier: MIT
 * relayctl brake: who sends how much, whose mail is held, and letting go of one.
 * The list is copied when it is asked for.
 */
#include <stdio.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/brake_watch.h"
#include "relayd/control_internal.h"

/* "101/100", "101" where there is no limit. */
static json_t *of_limit(uint64_t count, int64_t limit)
{
	char text[64];
	if (limit)
		snprintf(text, sizeof(text), "%llu/%lld", (unsigned long long)count,
		    (long long)limit);
	else
		snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
	return json_string(text);
}

static void add_sender(void *arg, const struct brake_view *view)
{
	enum brake_kind kind = BRAKE_CLIENT;
	uint64_t share = view->recipients ? view->unknown * 100 / view->recipients : 0;
	int64_t held = (clock_steady_ms() - view->since_ms) / 1000;
	bool known = brake_who_kind(view->who, &kind);
	json_array_append_new(arg,
	    json_pack("{s:o,s:s,s:s,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "who",
		json_safe(span_text(view->who)), "kind", known ? brake_kind_name(kind) : "",
		"held", brake_cause_name(view->cause), "hour",
		of_limit(view->messages, view->limits.messages_per_hour), "unknown",
		of_limit(share, view->limits.unknown_share), "recipients",
		(json_int_t)view->recipients, "messages", (json_int_t)view->messages,
		"messages_limit", (json_int_t)view->limits.messages_per_hour,
		"unknown_recipients", (json_int_t)view->unknown, "unknown_share",
		(json_int_t)share, "unknown_limit", (json_int_t)view->limits.unknown_share,
		"since", view->since_ms ? json_integer(held > 0 ? held : 0) : json_null()));
}

void control_brake(struct request *r)
{
	r->list = json_array();
	brake_watch_each(r->daemon->brake, add_sender, r->list);
	request_list(r);
}

void control_brake_release(struct request *r)
{
	if (r->argc != 1) {
		request_misused(r, "give one sender, as relayctl brake lists it");
		return;
	}
	if (!brake_watch_release(r->daemon->brake, r->argv[0])) {
		request_fail(r, "nothing is known of a sender %s; see relayctl brake", r->argv[0]);
		return;
	}
	struct log_line line;
	control_log_change(&line, r->command, r->peer.uid);
	log_add_text(&line, "who", r->argv[0]);
	log_end(&line);
	request_ok(r);
	request_end(r);
}
