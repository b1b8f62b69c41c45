/* SPDX-License-Identifier: MIT
 * Paths, providers and held sender domains by name; asking. One look-up in a
 * hash (two when any sender domain is held), no walk, no event.
 */
#include "queue/reputation_internal.h"

#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "queue/warmup.h"
#include "relayd/base/mem.h"

#define CROWD_STEP_MS 10
#define CROWD_MS 9000
#define EVICT_LOOK 64
#define FORGET_MS (2 * PATH_DAY)

const char *path_state_name(enum path_state state)
{
	static const char *const names[] = {"warming", "open", "slowed", "held"};
	return names[state];
}

static void bound_options(struct reputation_options *options)
{
	if (!(options->window_start >= 1))
		options->window_start = 1;
	if (options->ladder_count > PATH_LADDER)
		options->ladder_count = PATH_LADDER;
}

struct reputation *reputation_new(const struct reputation_options *options)
{
	struct reputation *r = mem_zero(sizeof(*r));
	r->options = *options;
	bound_options(&r->options);
	return r;
}

void reputation_set_options(struct reputation *r, const struct reputation_options *options)
{
	struct reputation_options was = r->options;
	r->options = *options;
	r->options.event = was.event;
	r->options.arg = was.arg;
	bound_options(&r->options);
}

/* ---- names ---- */

struct key {
	char text[REPUTATION_PROVIDER_MAX + REPUTATION_DOMAIN_MAX + 2];
	size_t n;
	size_t first; /* length of the first name */
};

/* FIRST TAB SECOND, both cut; providers and domains in lower case. */
static void key_make(struct key *key, const char *first, size_t first_max, const char *second)
{
	key->first = strnlen(first, first_max);
	size_t n = strnlen(second, REPUTATION_PROVIDER_MAX);
	memcpy(key->text, first, key->first);
	key->text[key->first] = '\t';
	memcpy(key->text + key->first + 1, second, n);
	key->n = key->first + 1 + n;
	text_lower(key->text + key->first + 1, n);
}

static void key_source(struct key *key, const char *source, const char *provider)
{
	key_make(key, source, REPUTATION_SOURCE_MAX, provider);
}

static void key_domain(struct key *key, const char *domain, const char *provider)
{
	key_make(key, domain, REPUTATION_DOMAIN_MAX, provider);
	text_lower(key->text, key->first);
}

static char *key_first(const struct key *key)
{
	return mem_copy(key->text, key->first);
}

static char *key_second(const struct key *key)
{
	return mem_copy(key->text + key->first + 1, key->n - key->first - 1);
}

/* ---- paths ---- */

static void path_unlink(struct reputation *r, struct path *p)
{
	HASH_DEL(r->paths, p);
	DL_DELETE2(r->oldest, p, older, newer);
	LL_DELETE(p->group->paths, p);
	if (!p->group->paths) {
		HASH_DEL(r->providers, p->group);
		mem_free(p->group->name);
		mem_free(p->group);
	}
}

static void path_free(struct path *p)
{
	mem_free(p->key);
	mem_free(p->source);
	mem_free(p->provider);
	mem_free(p->since);
	mem_free(p->last_rule);
	mem_free(p->last_reply);
	mem_free(p);
}

/* One has to go: one that nobody would miss, else the one longest unused. */
static void evict(struct reputation *r)
{
	struct path *victim = NULL;
	unsigned looked = 0;
	for (struct path *p = r->oldest; p && looked < EVICT_LOOK; p = p->newer, looked++) {
		if (path_is_plain(p)) {
			victim = p;
			break;
		}
		if (!victim && !p->running)
			victim = p;
	}
	if (!victim)
		victim = r->oldest;
	path_unlink(r, victim);
	path_free(victim);
}

static struct path_provider *get_provider(struct reputation *r, const char *name)
{
	struct path_provider *group;
	HASH_FIND_STR(r->providers, name, group);
	if (group)
		return group;
	group = mem_zero(sizeof(*group));
	group->name = mem_text(name);
	HASH_ADD_KEYPTR(hh, r->providers, group->name, strlen(group->name), group);
	return group;
}

static struct path *path_new(struct reputation *r, const struct key *key)
{
	if (HASH_COUNT(r->paths) >= REPUTATION_PATHS_MAX)
		evict(r);
	struct path *p = mem_zero(sizeof(*p));
	p->key = mem_copy(key->text, key->n);
	p->source = key_first(key);
	p->provider = key_second(key);
	p->since = mem_text("");
	path_reset(p, r->options.window_start);
	p->group = get_provider(r, p->provider);
	LL_PREPEND(p->group->paths, p);
	HASH_ADD_KEYPTR(hh, r->paths, p->key, key->n, p);
	DL_APPEND2(r->oldest, p, older, newer);
	return p;
}

static struct path *find(const struct reputation *r, const struct key *key)
{
	struct path *p;
	HASH_FIND(hh, r->paths, key->text, key->n, p);
	return p;
}

struct path *reputation_find_path(struct reputation *r, const char *source, const char *provider)
{
	struct key key;
	key_source(&key, source, provider);
	return find(r, &key);
}

struct path *reputation_get_path(struct reputation *r, const char *source, const char *provider)
{
	struct key key;
	key_source(&key, source, provider);
	struct path *p = find(r, &key);
	return p ? p : path_new(r, &key);
}

/* The same for asking: it is the most recently used one now. */
static struct path *path_of(struct reputation *r, const struct reputation_way *way)
{
	struct path *p = reputation_get_path(r, way->source, way->provider);
	if (p->newer) {
		DL_DELETE2(r->oldest, p, older, newer);
		DL_APPEND2(r->oldest, p, older, newer);
	}
	if (strcmp(p->since, way->since) != 0) {
		mem_free(p->since);
		p->since = mem_copy(way->since, strnlen(way->since, 10));
	}
	return p;
}

/* ---- sender domains ---- */

static void hold_free(struct reputation *r, struct sender_hold *h)
{
	HASH_DEL(r->holds, h);
	mem_free(h->key);
	mem_free(h->domain);
	mem_free(h->provider);
	mem_free(h);
}

struct sender_hold *reputation_find_hold(const struct reputation *r, const char *domain,
    const char *provider)
{
	struct key key;
	struct sender_hold *h;
	if (!r->holds || !*domain)
		return NULL;
	key_domain(&key, domain, provider);
	HASH_FIND(hh, r->holds, key.text, key.n, h);
	return h;
}

struct sender_hold *reputation_get_hold(struct reputation *r, const char *domain,
    const char *provider)
{
	struct sender_hold *h = reputation_find_hold(r, domain, provider);
	if (h)
		return h;
	if (HASH_COUNT(r->holds) >= SENDER_HOLDS_MAX) {
		h = r->holds;
		while (h && h->held)
			h = h->hh.next;
		hold_free(r, h ? h : r->holds);
	}
	struct key key;
	key_domain(&key, domain, provider);
	h = mem_zero(sizeof(*h));
	h->key = mem_copy(key.text, key.n);
	h->domain = key_first(&key);
	h->provider = key_second(&key);
	HASH_ADD_KEYPTR(hh, r->holds, h->key, key.n, h);
	return h;
}

void reputation_free(struct reputation *r)
{
	struct path *p;
	struct path *next;
	if (!r)
		return;
	DL_FOREACH_SAFE2 (r->oldest, p, next, newer) {
		path_unlink(r, p);
		path_free(p);
	}
	while (r->holds)
		hold_free(r, r->holds);
	incident_free_all(r);
	unknown_free_all(&r->unknown);
	mem_free(r);
}

/* ---- asking ---- */

static unsigned rank_of(const struct reputation_way *way)
{
	return turn_rank(way->urgent ? CONF_PRIORITY_URGENT
			 : way->bulk ? CONF_PRIORITY_BULK
				     : CONF_PRIORITY_NORMAL);
}

/* The hour's budget of a young source. */
static void ask_budget(const struct reputation *r, struct path *p,
    const struct reputation_way *way, int64_t now_ms, struct permit *permit)
{
	struct warmup w = warmup_now(&r->options, p, p->since, now_ms);
	if (!w.on)
		return;
	uint64_t used = (uint64_t)warmup_used(p, now_ms) + p->running;
	if (used < (way->urgent ? w.budget : way->bulk ? w.bulk : w.normal))
		return;
	permit->answer = PERMIT_WAIT;
	permit->at_ms = (now_ms / PATH_HOUR + 1) * PATH_HOUR;
	permit->spread = (struct permit_spread){PATH_HOUR, w.budget, false};
}

/* One that is more urgent stands at the door, and would find the place taken. */
static void ask_claim(const struct path *p, const struct reputation_way *way, int64_t now_ms,
    struct permit *permit)
{
	if (!turn_claim_stops(&p->claim, rank_of(way), now_ms))
		return;
	permit->answer = PERMIT_WAIT;
	permit->at_ms = now_ms + 1000;
}

/* Who has to wait for a moment asks again some milliseconds behind the one before him: a
 * thousand domains at one provider would all ask each second, for a few places. A crowd
 * so large that it would take longer asks more often, since longer waits are another
 * matter (they send mail the next way). What is urgent does not stand in that line. */
static void ask_behind_others(struct path *p, const struct reputation_way *way, int64_t now_ms,
    struct permit *permit)
{
	if (rank_of(way) == 0 || permit->at_ms - now_ms >= CROWD_MS)
		return;
	int64_t at_ms = p->crowd_ms + CROWD_STEP_MS;
	if (at_ms > now_ms + CROWD_MS)
		at_ms = now_ms + CROWD_MS;
	if (permit->at_ms < at_ms)
		permit->at_ms = at_ms;
	p->crowd_ms = permit->at_ms;
}

static void ask_family(struct path *p, const struct reputation_way *way, int64_t now_ms,
    struct permit *permit)
{
	bool trial;
	int family = path_family(p, way->family, now_ms, &trial);
	if (family < 0) {
		permit->answer = PERMIT_HELD;
		permit->at_ms = p->v6_until > now_ms ? p->v6_until : now_ms + PATH_MINUTE;
		permit->incident = p->v6_incident;
		return;
	}
	permit->family = family;
	if (trial) {
		p->v6_trial = true;
		p->v6_trial_ms = now_ms;
	}
}

/* Look at the one that nobody has asked for longest: it goes when nothing is
 * known of it that a new one would not have. Those of sources with a date tell
 * how long the source was idle, and stay. */
static void forget_idle(struct reputation *r, const struct path *but, int64_t now_ms)
{
	struct path *p = r->oldest;
	if (p == but || now_ms - p->sent_last_ms < FORGET_MS)
		return;
	if (path_is_plain(p) && !*p->since) {
		path_unlink(r, p);
		path_free(p);
		return;
	}
	DL_DELETE2(r->oldest, p, older, newer);
	DL_APPEND2(r->oldest, p, older, newer);
}

static bool is_yes(const struct permit *permit)
{
	return permit->answer == PERMIT_GO || permit->answer == PERMIT_PROBE;
}

struct permit reputation_ask(struct reputation *r, const struct reputation_way *way,
    int64_t now_ms)
{
	struct sender_hold *h = reputation_find_hold(r, way->sender_domain, way->provider);
	struct permit domain = {.answer = PERMIT_GO};
	if (h)
		domain = sender_hold_ask(h, now_ms);
	domain.family = way->family;
	if (domain.answer == PERMIT_DOMAIN_HELD)
		return domain;
	struct path *p = path_of(r, way);
	struct path_limits limits = path_limits(way->limits);
	forget_idle(r, p, now_ms);
	if (*p->since)
		warmup_restart(&r->options, p, now_ms);
	struct permit permit = path_ask(p, limits, now_ms);
	permit.family = way->family;
	if (permit.answer == PERMIT_GO)
		ask_budget(r, p, way, now_ms, &permit);
	if (permit.answer == PERMIT_GO)
		ask_claim(p, way, now_ms, &permit);
	if (is_yes(&permit))
		ask_family(p, way, now_ms, &permit);
	if (permit.answer == PERMIT_WAIT) {
		ask_behind_others(p, way, now_ms, &permit);
		turn_claim_wait(&p->claim, rank_of(way), permit.at_ms, now_ms);
	}
	if (!is_yes(&permit))
		return permit;
	turn_claim_went(&p->claim, rank_of(way));
	path_take(p, limits, permit.answer == PERMIT_PROBE, now_ms);
	if (permit.answer == PERMIT_PROBE)
		permit.stage = p->hold_stage;
	if (domain.answer == PERMIT_PROBE) {
		h->probing = true;
		h->probing_ms = now_ms;
		permit.answer = PERMIT_PROBE;
		if (domain.stage > permit.stage)
			permit.stage = domain.stage;
	}
	return permit;
}

void reputation_forget_turns(struct reputation *r, const struct reputation_way *way)
{
	struct path *p = reputation_find_path(r, way->source, way->provider);
	struct sender_hold *h = reputation_find_hold(r, way->sender_domain, way->provider);
	if (p)
		memset(p->turns, 0, sizeof(p->turns));
	if (h)
		memset(h->turns, 0, sizeof(h->turns));
}

int64_t reputation_turn(struct reputation *r, const struct reputation_way *way,
    const struct permit *permit)
{
	struct path *p = reputation_find_path(r, way->source, way->provider);
	struct sender_hold *h = reputation_find_hold(r, way->sender_domain, way->provider);
	bool domain = permit->answer == PERMIT_DOMAIN_HELD;
	unsigned rank = rank_of(way); /* a newsletter's line is not a password reset's */
	struct path_turns *turns = domain ? (h ? &h->turns[rank] : NULL)
				   : p	  ? &p->turns[rank]
					  : NULL;
	return turns ? path_turn(turns, permit->at_ms, permit->spread) : permit->at_ms;
}

void reputation_give_back(struct reputation *r, const struct reputation_way *way, bool probe)
{
	struct path *p = reputation_find_path(r, way->source, way->provider);
	struct sender_hold *h = reputation_find_hold(r, way->sender_domain, way->provider);
	if (p)
		path_give_back(p, probe && p->held);
	if (h && probe)
		h->probing = false;
}
