/* SPDX-License-Identifier: MIT
 * What came of a transaction, and how it moves the path, the sender's domain
 * and the incident. First its meaning is found, then one function per meaning
 * does it; a probe of a held path has a table of its own.
 */
#include "queue/reputation_internal.h"

#include <string.h>
#include <sys/socket.h>

#include "queue/warmup.h"
#include "relayd/base/mem.h"

enum meaning {
	MEANING_WORKED,   /* accepted */
	MEANING_ANSWERED, /* refused or put off, but not because of us */
	MEANING_NEUTRAL,  /* busy, broken: says nothing about us */
	MEANING_SILENT,
	MEANING_SLOW,
	MEANING_HOLD,
	MEANING_V6,     /* SLOW or HOLD, but for IPv6 only */
	MEANING_DOMAIN, /* about the sender's domain */
};

struct event {
	struct reputation *r;
	struct path *p;
	const struct reputation_way *way;
	const struct reputation_report *report;
	const struct verdict *verdict; /* NULL for WORKED and for silence without one */
	struct path_limits limits;
	enum meaning meaning;
	int64_t now_ms;
};

/* ---- what does it mean? ---- */

static bool is_move(const struct verdict *v)
{
	return v->action == VERDICT_HOLD || v->action == VERDICT_SLOW ||
	       v->action == VERDICT_HOLD_DOMAIN;
}

static bool is_about_domain(const struct verdict *v)
{
	return v->action == VERDICT_HOLD_DOMAIN || v->scope == VERDICT_SCOPE_SENDER_DOMAIN;
}

static bool is_about_one(const struct verdict *v)
{
	return v->scope == VERDICT_SCOPE_RECIPIENT || v->scope == VERDICT_SCOPE_MESSAGE;
}

/* "421" and a close before we could say a word, with a text that no rule knows,
 * is how some providers block; it counts like a reset. */
static bool is_mute_421(const struct reputation_report *report, const struct verdict *v)
{
	return !v->known && strncmp(report->reply, "421", 3) == 0 &&
	       report->stage >= VERDICT_STAGE_CONNECT && report->stage <= VERDICT_STAGE_EHLO;
}

static enum meaning meaning_of(const struct reputation_report *report, const struct verdict *v)
{
	if (v && is_move(v) && !is_about_one(v)) {
		if (is_about_domain(v))
			return MEANING_DOMAIN;
		if (v->family == AF_INET6)
			return MEANING_V6;
		return v->action == VERDICT_HOLD ? MEANING_HOLD : MEANING_SLOW;
	}
	if (report->silence || (v && is_mute_421(report, v)))
		return MEANING_SILENT;
	if (!v)
		return MEANING_WORKED;
	return report->stage >= VERDICT_STAGE_MAIL ? MEANING_ANSWERED : MEANING_NEUTRAL;
}

/* ---- incidents ---- */

static unsigned meet(const struct event *e, enum verdict_class klass, const char *rule,
    const char *domain, unsigned family, int64_t probe_ms)
{
	struct incident_about about = {
	    .source = e->way->source,
	    .provider = e->way->provider,
	    .sender_domain = domain,
	    .klass = klass,
	    .family = family,
	    .rule = rule,
	    .help = e->verdict ? e->verdict->help : "",
	    .next_probe_ms = probe_ms,
	};
	return incident_meet(e->r, &about, e->report, e->now_ms);
}

/* ---- the moves ---- */

static void hold(const struct event *e, enum verdict_class klass, const char *rule,
    enum verdict_stage stage, bool is_probe)
{
	const struct verdict *v = e->verdict;
	bool own = v && v->ladder && v->ladder_count && v->action == VERDICT_HOLD;
	/* a failing probe keeps the ladder of the hold, unless its rule has one */
	bool keep = is_probe && e->p->ladder[0];
	struct path_hold h = {
	    .ladder = own ? v->ladder : keep ? NULL : e->r->options.ladder,
	    .ladder_count = own ? v->ladder_count : keep ? 0 : e->r->options.ladder_count,
	    .wait_ms = v ? v->wait_ms : 0,
	    .klass = klass,
	    .stage = stage,
	    .is_probe = is_probe,
	};
	path_hold(e->p, &h, e->now_ms);
	e->p->incident = meet(e, klass, rule, "", 0, e->p->probe_ms);
}

static void slow(const struct event *e)
{
	const struct verdict *v = e->verdict;
	struct warmup w = warmup_now(&e->r->options, e->p, e->p->since, e->now_ms);
	if (!path_refused(e->p, e->limits, v->wait_ms, e->now_ms))
		return;
	warmup_step_back(e->p, &w, e->now_ms);
	if (e->p->refusals >= PATH_REFUSALS)
		hold(e, v->klass, v->rule, e->report->stage, false);
	else if (v->scope == VERDICT_SCOPE_IP && v->klass != VERDICT_RATE_LIMITED)
		e->p->incident = meet(e, v->klass, v->rule, "", 0, e->p->until_ms);
}

static unsigned close_v6(const struct event *e)
{
	path_close_v6(e->p, e->verdict, e->now_ms);
	e->p->v6_incident =
	    meet(e, e->verdict->klass, e->verdict->rule, "", AF_INET6, e->p->v6_until);
	return e->p->v6_incident;
}

/* A smarthost answers for itself, not for the provider behind it. */
static bool is_smarthost(const struct path *p)
{
	return strncmp(p->source, "smarthost:", 10) == 0;
}

/* Does only this source meet silence? Another one was answered since it began;
 * or, at a provider that is LISTED, somebody was not long before, and no other
 * source is silent as well, which would say that it is down for all. A small
 * host that answered an hour ago and is silent now is most likely just down. */
static bool is_only_ours(const struct path *p, bool listed)
{
	bool recent = listed && p->answered_ms && p->silent_ms - p->answered_ms <= PATH_RECENT;
	bool others_silent = false;
	for (const struct path *q = p->group->paths; q; q = q->next) {
		if (q == p || is_smarthost(q))
			continue;
		if (q->answered_ms >= p->silent_ms)
			return true;
		if (q->silences && q->silent_last_ms >= p->silent_ms)
			others_silent = true;
		if (listed && q->answered_ms && p->silent_ms - q->answered_ms <= PATH_RECENT)
			recent = true;
	}
	return recent && !others_silent;
}

static void silent(const struct event *e)
{
	struct path *p = e->p;
	if (p->held || !path_silent(p, e->now_ms))
		return;
	if (!is_smarthost(p) && is_only_ours(p, e->way->limits)) {
		hold(e, VERDICT_IP_BLOCKED, "silence", VERDICT_STAGE_BANNER, false);
		return;
	}
	/* Dead, or a block since the first day? The pause lets the caller try its
	 * next way, and that tells. */
	p->slowed = true;
	p->until_ms = e->now_ms + PATH_SILENCE_WAIT;
}

/* Q met silence while source E was answered: it is blocked. */
static void hold_silent(const struct event *e, struct path *q)
{
	struct reputation_way way = *e->way;
	struct reputation_report report = {.reply = "", .recipient_domain = "",
	    .stage = VERDICT_STAGE_CONNECT, .silence = true};
	struct event other = {.r = e->r, .p = q, .way = &way, .report = &report,
	    .now_ms = e->now_ms};
	way.source = q->source;
	hold(&other, VERDICT_IP_BLOCKED, "silence", VERDICT_STAGE_BANNER, false);
	reputation_save_path(e->r, q, e->now_ms);
}

static void answered(const struct event *e)
{
	path_answered(e->p, e->now_ms);
	if (is_smarthost(e->p))
		return;
	for (struct path *q = e->p->group->paths; q; q = q->next)
		if (q != e->p && !q->held && q->silences >= PATH_SILENCES &&
		    !is_smarthost(q) && e->now_ms - q->silent_last_ms <= PATH_RECENT)
			hold_silent(e, q);
}

/* ---- the probe of a held path ---- */

void reputation_on_opened(struct reputation *r, void (*fn)(void *arg, unsigned number),
    void *arg)
{
	r->on_opened = fn;
	r->on_opened_arg = arg;
}

static void tell_opened(const struct event *e, unsigned incident)
{
	if (e->r->on_opened && incident)
		e->r->on_opened(e->r->on_opened_arg, incident);
}

static void reopen(const struct event *e)
{
	unsigned incident = e->p->incident;
	path_answered(e->p, e->now_ms);
	path_reopen(e->p, e->now_ms);
	incident_path_opened(e->r, e->p, 0);
	e->p->incident = 0;
	tell_opened(e, incident);
}

/* How far did it get? */
static enum verdict_stage reached(const struct reputation_report *report)
{
	if (report->delivered || (!report->verdict && !report->stage))
		return VERDICT_STAGE_END;
	return report->stage;
}

static void probe_again(const struct event *e, int64_t after_ms)
{
	path_probe_again(e->p, after_ms, e->now_ms);
	incident_set_probe(e->r, e->p->incident, e->p->probe_ms);
}

static void probe_ended(const struct event *e)
{
	const struct verdict *v = e->verdict;
	bool far = reached(e->report) >= e->p->hold_stage;
	switch (e->meaning) {
	case MEANING_WORKED:
	case MEANING_DOMAIN:
		if (far)
			reopen(e);
		else
			probe_again(e, 0);
		return;
	case MEANING_ANSWERED:
		/* a temporary error that nobody understands may still be the block */
		if (far && (v->action != VERDICT_RETRY || v->known))
			reopen(e);
		else
			probe_again(e, 0);
		return;
	case MEANING_HOLD:
		hold(e, v->klass, v->rule, e->report->stage, true);
		return;
	case MEANING_SILENT:
		hold(e, e->p->hold_class, "silence", e->p->hold_stage, true);
		return;
	case MEANING_SLOW:
		probe_again(e, v->wait_ms);
		return;
	case MEANING_NEUTRAL:
	case MEANING_V6:
		probe_again(e, 0);
		return;
	}
}

/* ---- the sender's domain ---- */

static void domain_refused(const struct event *e, bool probe)
{
	if (!*e->way->sender_domain)
		return; /* no domain, no pair: the message alone waits */
	struct sender_hold *h =
	    reputation_get_hold(e->r, e->way->sender_domain, e->way->provider);
	sender_hold_refused(h, e->verdict, e->report->stage, probe, e->now_ms);
	if (e->verdict->action != VERDICT_SLOW)
		h->incident = meet(e, e->verdict->klass, e->verdict->rule,
		    e->way->sender_domain, 0, h->until_ms);
	h->probing = h->probing && !probe;
	reputation_save_hold(e->r, h);
}

/* A probe of a pair came back without a verdict about the domain. */
static void domain_probed(const struct event *e, struct sender_hold *h)
{
	h->probing = false;
	if ((e->meaning == MEANING_WORKED || e->meaning == MEANING_ANSWERED) &&
	    reached(e->report) >= h->stage) {
		unsigned incident = h->incident;
		incident_domain_opened(e->r, h);
		sender_hold_open(h, e->now_ms);
		tell_opened(e, incident);
	} else {
		sender_hold_again(h, e->now_ms);
		incident_set_probe(e->r, h->incident, h->until_ms);
	}
	reputation_save_hold(e->r, h);
}

static void report_domain(const struct event *e)
{
	struct sender_hold *h =
	    reputation_find_hold(e->r, e->way->sender_domain, e->way->provider);
	bool probe = e->report->probe && h && h->held && h->probing;
	if (e->meaning == MEANING_DOMAIN)
		domain_refused(e, probe);
	else if (probe)
		domain_probed(e, h);
}

/* ---- all together ---- */

static void remember(const struct event *e)
{
	struct path *p = e->p;
	if (e->meaning == MEANING_WORKED || e->meaning == MEANING_ANSWERED ||
	    e->meaning == MEANING_DOMAIN)
		return;
	struct buf reply = {0};
	text_escape(&reply, span_text(e->report->reply), INCIDENT_REPLY_MAX);
	mem_free(p->last_reply);
	p->last_reply = mem_text(buf_text(&reply));
	buf_free(&reply);
	const char *rule = e->verdict ? e->verdict->rule : "silence";
	mem_free(p->last_rule);
	p->last_rule = mem_copy(rule, strnlen(rule, 64));
	p->last_ms = e->now_ms;
}

static void move(const struct event *e)
{
	switch (e->meaning) {
	case MEANING_WORKED:
		path_worked(e->p, e->limits, e->now_ms);
		answered(e);
		return;
	case MEANING_ANSWERED:
	case MEANING_DOMAIN:
		answered(e);
		return;
	case MEANING_NEUTRAL:
		return;
	case MEANING_SILENT:
		silent(e);
		return;
	case MEANING_SLOW:
		slow(e);
		return;
	case MEANING_HOLD:
		if (!e->p->held)
			hold(e, e->verdict->klass, e->verdict->rule, e->report->stage, false);
		else if (!e->p->by_hand)
			meet(e, e->verdict->klass, e->verdict->rule, "", 0, e->p->probe_ms);
		return;
	case MEANING_V6:
		return; /* nothing but its family is meant */
	}
}

/* IPv6 was tried: how did it do? */
static void report_v6(const struct event *e)
{
	struct path *p = e->p;
	if (e->report->family != AF_INET6)
		return;
	p->v6_trial = false;
	if (!p->v6_until || e->now_ms < p->v6_until || e->meaning != MEANING_WORKED)
		return;
	unsigned incident = p->v6_incident;
	p->v6_until = 0;
	p->v6_opened_ms = e->now_ms;
	p->v6_incident = 0;
	incident_path_opened(e->r, p, AF_INET6);
	tell_opened(e, incident);
}

/* One about a path that was slowed and is open again. */
static void settle_incident(const struct event *e)
{
	struct path *p = e->p;
	if (!p->incident || p->held || p->slowed || p->allow)
		return;
	incident_path_opened(e->r, p, 0);
	p->incident = 0;
}

static void save(const struct event *e, bool warm)
{
	struct path *p = e->p;
	if (p->saved_mark != path_mark(p) || e->now_ms - p->saved_ms >= REPUTATION_SAVE_MS ||
	    e->now_ms < p->saved_ms)
		reputation_save_path(e->r, p, e->now_ms);
	else if (warm)
		reputation_save_used(e->r, p);
}

/* Of the domain, of IPv6, or of the path as a whole. */
static unsigned incident_of(const struct event *e, unsigned family)
{
	const struct sender_hold *h =
	    reputation_find_hold(e->r, e->way->sender_domain, e->way->provider);
	if (e->meaning == MEANING_DOMAIN)
		return h ? h->incident : 0;
	return e->meaning == MEANING_V6 ? family : e->p->incident;
}

unsigned reputation_report(struct reputation *r, const struct reputation_way *way,
    const struct reputation_report *report, int64_t now_ms)
{
	const struct verdict *v = report->verdict;
	struct event e = {
	    .r = r,
	    .p = reputation_get_path(r, way->source, way->provider),
	    .way = way,
	    .report = report,
	    .verdict = v && v->action != VERDICT_DELIVERED ? v : NULL,
	    .limits = path_limits(way->limits),
	    .now_ms = now_ms,
	};
	e.meaning = meaning_of(report, e.verdict);
	bool probe = report->probe && e.p->held && e.p->probing;
	path_leave(e.p, probe);
	e.p->sent_last_ms = now_ms;
	bool warm = warmup_now(&r->options, e.p, e.p->since, now_ms).on;
	if (warm)
		warmup_count(e.p, now_ms);
	if (report->delivered && e.meaning != MEANING_WORKED)
		path_accepted(e.p, now_ms);
	report_domain(&e);
	report_v6(&e);
	remember(&e);
	if (probe)
		probe_ended(&e);
	else
		move(&e);
	unsigned incident = incident_of(&e, e.meaning == MEANING_V6 ? close_v6(&e) : 0);
	settle_incident(&e);
	save(&e, warm);
	return incident;
}
