/* SPDX-License-Identifier: MIT
 * What the administrator may do to paths and held sender domains, and the
 * views from which `relayctl reputation` makes its table.
 */
#include "queue/reputation_internal.h"

#include <sys/socket.h>

#include "queue/warmup.h"

typedef void path_fn(struct reputation *r, struct path *p, int64_t now_ms);
typedef void hold_fn(struct reputation *r, struct sender_hold *h, int64_t now_ms);

static bool is_name(const char *wanted, const char *name)
{
	return !wanted || span_is_nocase(span_text(wanted), name);
}

static bool each_path(struct reputation *r, const char *provider, const char *source,
    path_fn *fn, int64_t now_ms)
{
	bool any = false;
	struct path_provider *group = NULL;
	for (group = r->providers; group; group = group->hh.next)
		if (is_name(provider, group->name))
			break;
	for (struct path *p = group ? group->paths : NULL; p; p = p->next) {
		if (!is_name(source, p->source))
			continue;
		fn(r, p, now_ms);
		reputation_save_path(r, p, now_ms);
		any = true;
	}
	return any;
}

static bool each_hold(struct reputation *r, const char *provider, const char *domain,
    hold_fn *fn, int64_t now_ms)
{
	bool any = false;
	for (struct sender_hold *h = r->holds; h; h = h->hh.next) {
		if (!h->held || !is_name(provider, h->provider) || !is_name(domain, h->domain))
			continue;
		fn(r, h, now_ms);
		reputation_save_hold(r, h);
		any = true;
	}
	return any;
}

static void hold_path(struct reputation *r, struct path *p, int64_t now_ms)
{
	(void)now_ms;
	p->held = true;
	p->by_hand = true;
	p->probing = false; /* the result of one under way moves nothing */
	p->probe_ms = 0;
	p->slowed = false;
	p->until_ms = 0;
	p->allow = 0;
	incident_path_probed(r, p, 0, 0);
}

static void open_path(struct reputation *r, struct path *p, int64_t now_ms)
{
	if (p->held)
		path_reopen(p, now_ms);
	p->until_ms = 0;
	p->v6_until = 0;
	p->v6_trial = false;
	p->v6_incident = 0;
	p->silences = 0;
	p->incident = 0;
	incident_path_opened(r, p, 0);
	incident_path_opened(r, p, AF_INET6);
}

static void reset_path(struct reputation *r, struct path *p, int64_t now_ms)
{
	open_path(r, p, now_ms);
	path_reset(p, r->options.window_start);
}

static void probe_path(struct reputation *r, struct path *p, int64_t now_ms)
{
	if (p->held) {
		p->probe_ms = now_ms;
		p->probing = false;
		incident_path_probed(r, p, 0, now_ms);
	}
	if (p->v6_until) {
		p->v6_until = now_ms;
		p->v6_trial = false;
		incident_path_probed(r, p, AF_INET6, now_ms);
	}
}

static void open_hold(struct reputation *r, struct sender_hold *h, int64_t now_ms)
{
	incident_domain_opened(r, h);
	sender_hold_open(h, now_ms);
}

static void probe_hold(struct reputation *r, struct sender_hold *h, int64_t now_ms)
{
	h->until_ms = now_ms;
	h->probing = false;
	incident_set_probe(r, h->incident, now_ms);
}

bool reputation_hold(struct reputation *r, const char *provider, const char *source,
    int64_t now_ms)
{
	return each_path(r, provider, source, hold_path, now_ms);
}

bool reputation_open(struct reputation *r, const char *provider, const char *source,
    int64_t now_ms)
{
	bool any = each_path(r, provider, source, open_path, now_ms);
	return each_hold(r, provider, source, open_hold, now_ms) || any;
}

bool reputation_reset(struct reputation *r, const char *provider, const char *source,
    int64_t now_ms)
{
	bool any = each_path(r, provider, source, reset_path, now_ms);
	return each_hold(r, provider, source, open_hold, now_ms) || any;
}

bool reputation_probe_now(struct reputation *r, const char *provider, const char *source,
    int64_t now_ms)
{
	bool any = each_path(r, provider, source, probe_path, now_ms);
	return each_hold(r, provider, source, probe_hold, now_ms) || any;
}

/* ---- views ---- */

static enum wait_cause cause_of(const struct path *p, const struct permit *permit, int64_t now_ms)
{
	if (p->until_ms > now_ms)
		return WAIT_TROUBLE;
	if (permit->spread.first == 0)
		return WAIT_RATE;
	return permit->spread.grows ? WAIT_START : WAIT_BUDGET;
}

enum wait_cause reputation_wait_cause(struct reputation *r, const struct reputation_way *way,
    const struct permit *permit, int64_t now_ms, const char **last)
{
	const struct path *p = reputation_find_path(r, way->source, way->provider);
	*last = p ? p->last_reply : "";
	switch (permit->answer) {
	case PERMIT_DOMAIN_HELD:
		return WAIT_DOMAIN;
	case PERMIT_HELD:
		return p && p->by_hand ? WAIT_BY_HAND : WAIT_BLOCKED;
	case PERMIT_WAIT:
		return p ? cause_of(p, permit, now_ms) : WAIT_RATE;
	case PERMIT_GO:
	case PERMIT_PROBE:
		break;
	}
	return WAIT_NONE;
}

static enum path_state state_of(const struct path *p, bool warm)
{
	if (p->held)
		return PATH_HELD;
	if (p->slowed || p->allow)
		return PATH_SLOWED;
	return warm ? PATH_WARMING : PATH_OPEN;
}

static int64_t until_of(const struct path *p, int64_t now_ms)
{
	if (p->held)
		return p->probe_ms;
	if (p->until_ms > now_ms)
		return p->until_ms;
	return p->allow ? p->allow_ms + PATH_INTERVAL : 0;
}

static struct path_view view_of(const struct reputation *r, const struct path *p, int64_t now_ms)
{
	struct warmup w = warmup_now(&r->options, p, p->since, now_ms);
	struct path_view view = {
	    .source = p->source,
	    .provider = p->provider,
	    .state = state_of(p, w.on),
	    .ipv6_closed = p->v6_until != 0,
	    .window = p->window,
	    .per_minute = p->rate,
	    .warm_day = w.day,
	    .warm_days = w.on ? r->options.warmup_days : 0,
	    .budget_used = w.on ? warmup_used(p, now_ms) : 0,
	    .budget = w.budget,
	    .running = p->running,
	    .until_ms = until_of(p, now_ms),
	    .incident = p->incident,
	    .last_rule = p->last_rule,
	    .last_reply = p->last_reply,
	    .last_ms = p->last_ms,
	};
	return view;
}

void reputation_each(const struct reputation *r, int64_t now_ms,
    void (*fn)(void *arg, const struct path_view *view), void *arg)
{
	for (const struct path *p = r->paths; p; p = p->hh.next) {
		struct path_view view = view_of(r, p, now_ms);
		fn(arg, &view);
	}
}

/* Written down when a kind is new, and when its count has doubled. */
void reputation_unknown(struct reputation *r, const char *provider, enum verdict_stage stage,
    struct span reply, const struct verdict *verdict, int64_t now_ms)
{
	struct buf text = {0};
	unknown_mask(&text, reply);
	struct unknown *u = unknown_get(&r->unknown, provider, stage, buf_text(&text));
	u->klass = verdict->klass;
	u->scope = verdict->scope;
	u->action = verdict->action;
	u->count++;
	u->last_ms = now_ms;
	if (!u->first_ms)
		u->first_ms = now_ms;
	if ((u->count & (u->count - 1)) == 0)
		reputation_save_unknown(r, u);
	buf_free(&text);
}

void reputation_each_unknown(const struct reputation *r,
    void (*fn)(void *arg, const struct unknown *unknown), void *arg)
{
	for (const struct unknown *u = r->unknown; u; u = u->hh.next)
		fn(arg, u);
}

void reputation_each_domain(const struct reputation *r,
    void (*fn)(void *arg, const struct domain_view *view), void *arg)
{
	for (const struct sender_hold *h = r->holds; h; h = h->hh.next) {
		struct domain_view view = {h->domain, h->provider, h->until_ms, h->incident};
		if (h->held)
			fn(arg, &view);
	}
}
