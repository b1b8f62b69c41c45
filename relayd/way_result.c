/* SPDX-License-Identifier: MIT
 * What the hosts of a way have said comes together here: the worst of it is what its path
 * hears, and it decides whether the next way is worth a try.
 */
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/deliver_internal.h"

/* The greater, the more it says about the path. */
enum weight { WEIGHT_NONE, WEIGHT_OWN, WEIGHT_RETRY, WEIGHT_SLOW, WEIGHT_DOMAIN, WEIGHT_HOLD };

static enum weight weight(const struct verdict *v)
{
	if (v->scope == VERDICT_SCOPE_RECIPIENT || v->scope == VERDICT_SCOPE_MESSAGE)
		return WEIGHT_OWN;
	if (v->action == VERDICT_HOLD)
		return WEIGHT_HOLD;
	if (v->action == VERDICT_HOLD_DOMAIN)
		return WEIGHT_DOMAIN;
	return v->action == VERDICT_SLOW ? WEIGHT_SLOW : WEIGHT_RETRY;
}

/* Reset, timeout or close before a recipient was named. */
static bool is_silence(enum verdict_stage stage, const struct client_result *result)
{
	return !result->reply && result->why->kind == WHY_TEMP &&
	       (stage == VERDICT_STAGE_CONNECT || stage == VERDICT_STAGE_BANNER ||
		   stage == VERDICT_STAGE_EHLO || stage == VERDICT_STAGE_MAIL);
}

bool way_has_spoken(enum verdict_stage stage, const struct client_result *result)
{
	return result->reply || stage > VERDICT_STAGE_MAIL || result->why->kind == WHY_PERM;
}

bool way_is_ours(const struct client_result *result)
{
	return !result->reply && result->why->kind == WHY_LOCAL;
}

void way_note(struct attempt *a, const struct tried *t, enum verdict_stage stage,
    const struct client_result *result)
{
	struct way_result *r = &a->way.result;
	bool spoken = way_has_spoken(stage, result);
	if (spoken || !r->answers)
		r->family = a->hosts[a->host].address.addr.ss_family;
	r->answers += spoken;
	r->silences += is_silence(stage, result);
	r->ours += way_is_ours(result);
	if (t->state == TRIED_DELIVERED) {
		r->delivered++;
		return;
	}
	if (weight(&t->verdict) <= r->weight)
		return;
	r->weight = weight(&t->verdict);
	r->worst = t->verdict;
	r->stage = stage;
	buf_clear(&r->reply);
	if (t->answered)
		buf_addf(&r->reply, "%u %s%s", t->code, t->status, t->status[0] ? " " : "");
	buf_add(&r->reply, t->text.data, t->text.len);
	for (char *p = r->reply.data; p && p < r->reply.data + r->reply.len; p++)
		if (*p == '\0')
			*p = ' '; /* it goes on as a string */
}

static bool was_silent(const struct way_result *r)
{
	return r->silences > 0 && r->answers == 0;
}

void way_report(struct attempt *a)
{
	struct way *w = &a->way;
	struct way_result *r = &w->result;
	/* where others went, nothing is left of one that was refused for its own sake, or of a
	 * host that is dead or busy */
	bool good = r->weight == WEIGHT_NONE || (r->weight <= WEIGHT_RETRY && r->delivered);
	const char *at = strrchr(a->tried[0].address, '@');
	struct reputation_report report = {
	    .verdict = good || was_silent(r) ? NULL : &r->worst,
	    .stage = good ? VERDICT_STAGE_END : r->stage,
	    .reply = buf_text(&r->reply),
	    .recipient_domain = at ? at + 1 : "",
	    .message_id = a->id,
	    .delivered = r->delivered,
	    .family = r->family,
	    .probe = w->probe,
	    .silence = was_silent(r),
	};
	w->taken = false;
	unsigned incident =
	    reputation_report(way_reputation(a), &w->path, &report, clock_steady_ms());
	if (!w->incident)
		w->incident = incident;
	if (r->answers) /* others may wait for this turn */
		schedule_unpace(a->deliver->schedule, a->batch->destination);
}

/* A message that is refused for good, and by its rule still not given up: our address
 * may have had a share in it. */
static bool is_doubted(const struct tried *t)
{
	return t->code >= 500 && t->verdict.scope == VERDICT_SCOPE_MESSAGE &&
	       t->verdict.action == VERDICT_RETRY;
}

/* This machine can not go that way at all: a source whose address is not here, a smarthost
 * whose name has none. */
static bool is_no_way(const struct way *w)
{
	return w->unresolved || (w->result.ours && w->result.answers == 0);
}

/* A block or silence by this way may be none by the next one, and what a smarthost has
 * against our account nobody else has. All else, greylisting above all, is no reason to come
 * from elsewhere. */
bool way_may_switch(const struct attempt *a, const struct tried *t)
{
	if (t->state != TRIED_LATER || t->rests)
		return false;
	const struct verdict *v = &t->verdict;
	bool about_us = v->scope == VERDICT_SCOPE_IP || v->scope == VERDICT_SCOPE_US;
	return (v->action == VERDICT_HOLD && about_us) || is_doubted(t) || is_no_way(&a->way) ||
	       was_silent(&a->way.result);
}
