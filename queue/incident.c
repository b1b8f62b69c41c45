/* SPDX-License-Identifier: MIT
 * Incidents: what the administrator is told. One per (source, provider, class),
 * found by its number (for people) or its key (for verdicts). Their texts are
 * kept raw and escaped where they are printed, but for replies, which come from
 * the network and are escaped and cut at once.
 */
#include "queue/reputation_internal.h"

#include <string.h>

#include "relayd/base/mem.h"

#define QUIET_MS PATH_DAY /* back after that: it is news again */

void reputation_on_incident(struct reputation *r,
    void (*fn)(void *arg, const struct incident *incident), void *arg)
{
	r->on_incident = fn;
	r->on_incident_arg = arg;
}

/* ---- the table ---- */

void incident_reply_clear(struct incident_reply *reply)
{
	mem_free(reply->text);
	mem_free(reply->domain);
	memset(reply, 0, sizeof(*reply));
}

static void entry_free(struct reputation *r, struct incident_entry *e)
{
	HASH_DEL(r->by_number, e);
	if (e->key)
		HASH_DELETE(hk, r->by_key, e);
	for (size_t i = 0; i < e->incident.reply_count; i++)
		incident_reply_clear(&e->incident.replies[i]);
	mem_free(e->incident.source);
	mem_free(e->incident.provider);
	mem_free(e->incident.rule);
	mem_free(e->incident.help);
	mem_free(e->incident.sender_domain);
	mem_free(e->incident.asked_of);
	mem_free(e->key);
	mem_free(e);
}

void incident_free_all(struct reputation *r)
{
	while (r->by_number)
		entry_free(r, r->by_number);
}

/* The oldest closed one has to go, else the oldest. */
static void evict(struct reputation *r)
{
	struct incident_entry *e = r->by_number;
	while (e && e->incident.open)
		e = e->hh.next;
	entry_free(r, e ? e : r->by_number);
}

struct incident_entry *incident_entry_find(const struct reputation *r, unsigned number)
{
	struct incident_entry *e;
	HASH_FIND(hh, r->by_number, &number, sizeof(number), e);
	return e;
}

struct incident_entry *incident_entry_get(struct reputation *r, unsigned number)
{
	struct incident_entry *e = incident_entry_find(r, number);
	if (e)
		return e;
	if (HASH_COUNT(r->by_number) >= INCIDENTS_MAX)
		evict(r);
	e = mem_zero(sizeof(*e));
	e->incident.number = number;
	e->incident.source = mem_text("");
	e->incident.provider = mem_text("");
	e->incident.rule = mem_text("");
	e->incident.help = mem_text("");
	e->incident.sender_domain = mem_text("");
	e->incident.asked_of = mem_text("");
	HASH_ADD(hh, r->by_number, incident.number, sizeof(e->incident.number), e);
	if (number > r->last_number)
		r->last_number = number;
	return e;
}

/* A sender's domain is the same matter for all sources. */
static void print_key(struct buf *key, const char *source, const char *provider,
    const char *domain, enum verdict_class klass, unsigned family)
{
	buf_add_text(key, *domain ? "" : source);
	size_t n = key->len;
	buf_addf(key, "\t%s\t%s\t%u\t%u", provider, domain, (unsigned)klass, family);
	text_lower(key->data + n, key->len - n);
}

static struct incident_entry *find_key(const struct reputation *r, const struct buf *key)
{
	struct incident_entry *e;
	HASH_FIND(hk, r->by_key, key->data, key->len, e);
	return e;
}

void incident_entry_named(struct reputation *r, struct incident_entry *e)
{
	const struct incident *i = &e->incident;
	struct buf key = {0};
	print_key(&key, i->source, i->provider, i->sender_domain, i->klass, i->family);
	struct incident_entry *same = find_key(r, &key);
	if (same == e) {
		buf_free(&key);
		return;
	}
	if (same) /* a line of an older number for the same matter: the newer one counts */
		entry_free(r, same);
	if (e->key)
		HASH_DELETE(hk, r->by_key, e);
	mem_free(e->key);
	size_t n;
	e->key = buf_take(&key, &n);
	HASH_ADD_KEYPTR(hk, r->by_key, e->key, n, e);
}

/* ---- a verdict ---- */

static void set_text(char **text, const char *value, size_t max)
{
	if (strcmp(*text, value) == 0)
		return;
	mem_free(*text);
	*text = mem_copy(value, strnlen(value, max));
}

static struct incident_entry *entry_new(struct reputation *r, const struct incident_about *about,
    int64_t now_ms)
{
	struct incident_entry *e = incident_entry_get(r, r->last_number + 1);
	struct incident *i = &e->incident;
	set_text(&i->source, about->source, REPUTATION_SOURCE_MAX);
	set_text(&i->provider, about->provider, REPUTATION_PROVIDER_MAX);
	set_text(&i->sender_domain, about->sender_domain, REPUTATION_DOMAIN_MAX);
	i->klass = about->klass;
	i->family = about->family;
	i->first_ms = now_ms;
	i->last_ms = now_ms;
	incident_entry_named(r, e);
	return e;
}

static bool is_there(const struct incident *i, const struct incident_reply *reply)
{
	for (size_t n = 0; n < i->reply_count; n++)
		if (i->replies[n].when_ms == reply->when_ms &&
		    strcmp(i->replies[n].text, reply->text) == 0 &&
		    strcmp(i->replies[n].domain, reply->domain) == 0)
			return true;
	return false;
}

bool incident_add_reply(struct incident *i, const struct incident_reply *reply)
{
	if (is_there(i, reply))
		return false; /* replayed twice, or several recipients at once */
	if (i->reply_count == INCIDENT_REPLIES)
		incident_reply_clear(&i->replies[INCIDENT_REPLIES - 1]);
	else
		i->reply_count++;
	memmove(&i->replies[1], &i->replies[0],
	    sizeof(i->replies[0]) * (i->reply_count - 1));
	i->replies[0] = *reply;
	return true;
}

static void add_reply(struct incident *i, const struct reputation_report *report, int64_t now_ms)
{
	struct buf text = {0};
	text_escape(&text, span_text(report->reply), INCIDENT_REPLY_MAX);
	struct incident_reply reply = {
	    .when_ms = now_ms,
	    .text = mem_text(buf_text(&text)),
	    .domain = mem_copy(report->recipient_domain,
		strnlen(report->recipient_domain, REPUTATION_DOMAIN_MAX)),
	    .stage = report->stage,
	};
	if (!incident_add_reply(i, &reply))
		incident_reply_clear(&reply);
	buf_free(&text);
}

static struct incident_entry *find_about(const struct reputation *r,
    const struct incident_about *about)
{
	struct buf key = {0};
	char *source = mem_copy(about->source, strnlen(about->source, REPUTATION_SOURCE_MAX));
	char *provider =
	    mem_copy(about->provider, strnlen(about->provider, REPUTATION_PROVIDER_MAX));
	print_key(&key, source, provider, about->sender_domain, about->klass, about->family);
	struct incident_entry *e = find_key(r, &key);
	buf_free(&key);
	mem_free(source);
	mem_free(provider);
	return e;
}

/* Nor is it news when the clock was set back by less. */
static bool was_quiet(const struct incident *i, int64_t now_ms)
{
	return now_ms - i->last_ms >= QUIET_MS || i->last_ms - now_ms >= QUIET_MS;
}

unsigned incident_meet(struct reputation *r, const struct incident_about *about,
    const struct reputation_report *report, int64_t now_ms)
{
	struct incident_entry *e = find_about(r, about);
	if (!e)
		e = entry_new(r, about, now_ms);
	struct incident *i = &e->incident;
	if (!i->open && was_quiet(i, now_ms))
		i->noticed = false;
	if (!i->open)
		i->asked_ms = 0; /* another listing, another request */
	i->open = true;
	i->last_ms = now_ms;
	i->next_probe_ms = about->next_probe_ms;
	set_text(&i->rule, about->rule, 64);
	set_text(&i->help, about->help, 500);
	if (!report->message_id || report->message_id != e->last_message)
		i->met++;
	e->last_message = report->message_id;
	add_reply(i, report, now_ms);
	reputation_save_incident(r, i);
	reputation_save_reply(r, i);
	unsigned number = i->number;
	if (!i->noticed && r->on_incident)
		r->on_incident(r->on_incident_arg, i);
	return number;
}

void incident_set_probe(struct reputation *r, unsigned number, int64_t probe_ms)
{
	struct incident_entry *e = incident_entry_find(r, number);
	if (!e || e->incident.next_probe_ms == probe_ms)
		return;
	e->incident.next_probe_ms = probe_ms;
	reputation_save_incident(r, &e->incident);
}

/* ---- closing ---- */

static void close_it(struct reputation *r, struct incident *i)
{
	i->open = false;
	i->next_probe_ms = 0;
	reputation_save_incident(r, i);
}

static bool is_of_path(const struct incident *i, const struct path *p, unsigned family)
{
	return i->open && !*i->sender_domain && i->family == family &&
	       span_is(span_text(i->source), p->source) &&
	       span_is_nocase(span_text(i->provider), p->provider);
}

void incident_path_opened(struct reputation *r, const struct path *p, unsigned family)
{
	for (struct incident_entry *e = r->by_number; e; e = e->hh.next)
		if (is_of_path(&e->incident, p, family))
			close_it(r, &e->incident);
}

void incident_path_probed(
    struct reputation *r, const struct path *p, unsigned family, int64_t probe_ms)
{
	for (struct incident_entry *e = r->by_number; e; e = e->hh.next)
		if (is_of_path(&e->incident, p, family))
			incident_set_probe(r, e->incident.number, probe_ms);
}

void incident_domain_opened(struct reputation *r, const struct sender_hold *h)
{
	for (struct incident_entry *e = r->by_number; e; e = e->hh.next) {
		struct incident *i = &e->incident;
		if (i->open && span_is_nocase(span_text(i->sender_domain), h->domain) &&
		    span_is_nocase(span_text(i->provider), h->provider))
			close_it(r, i);
	}
}

bool incident_close(struct reputation *r, unsigned number, int64_t now_ms)
{
	struct incident_entry *e = incident_entry_find(r, number);
	if (!e)
		return false;
	e->incident.last_ms = now_ms;
	if (e->incident.open)
		close_it(r, &e->incident);
	return true;
}

/* ---- those without a path ---- */

static struct incident_about about_cause(const struct incident_cause *cause)
{
	return (struct incident_about){
	    .source = cause->source,
	    .provider = cause->provider,
	    .sender_domain = "",
	    .klass = cause->klass,
	    .rule = cause->rule,
	    .help = cause->help,
	};
}

unsigned incident_open(struct reputation *r, const struct incident_cause *cause, int64_t now_ms)
{
	struct incident_about about = about_cause(cause);
	struct incident_entry *e = find_about(r, &about);
	struct reputation_report report = {
	    .reply = cause->text,
	    .recipient_domain = "",
	    .message_id = cause->message_id,
	};
	if (!e || !e->incident.open || !e->incident.noticed ||
	    now_ms - e->incident.last_ms >= REPUTATION_SAVE_MS || now_ms < e->incident.last_ms)
		return incident_meet(r, &about, &report, now_ms);
	if (!cause->message_id || cause->message_id != e->last_message)
		e->incident.met++;
	e->last_message = cause->message_id;
	return e->incident.number;
}

bool incident_end(struct reputation *r, const struct incident_cause *cause, int64_t now_ms)
{
	struct incident_about about = about_cause(cause);
	struct incident_entry *e = find_about(r, &about);
	return e && e->incident.open && incident_close(r, e->incident.number, now_ms);
}

/* ---- the administrator's side ---- */

void incident_noticed(struct reputation *r, unsigned number)
{
	struct incident_entry *e = incident_entry_find(r, number);
	if (!e || e->incident.noticed)
		return;
	e->incident.noticed = true;
	reputation_save_incident(r, &e->incident);
}

bool incident_asked(struct reputation *r, unsigned number, const char *of, int64_t wait_ms,
    int64_t now_ms)
{
	struct incident_entry *e = incident_entry_find(r, number);
	if (!e)
		return false;
	struct incident *i = &e->incident;
	struct path *p = reputation_find_path(r, i->source, i->provider);
	i->asked_ms = now_ms;
	set_text(&i->asked_of, of, 300);
	if (p && p->held && !p->by_hand && p->incident == number) {
		p->probe_ms = now_ms + (wait_ms < PATH_WAIT_LIMIT ? wait_ms : PATH_WAIT_LIMIT);
		i->next_probe_ms = p->probe_ms;
		reputation_save_path(r, p, now_ms);
	}
	reputation_save_incident(r, i);
	return true;
}

void incident_rerouted(struct reputation *r, const struct reputation_way *way)
{
	const struct path *p = reputation_find_path(r, way->source, way->provider);
	struct incident_entry *e = p ? incident_entry_find(r, p->incident) : NULL;
	if (!e)
		return;
	e->incident.rerouted++;
	reputation_save_counts(r, &e->incident);
}

const struct incident *incident_find(const struct reputation *r, unsigned number)
{
	struct incident_entry *e = incident_entry_find(r, number);
	return e ? &e->incident : NULL;
}

void incident_each(const struct reputation *r,
    void (*fn)(void *arg, const struct incident *incident), void *arg)
{
	for (struct incident_entry *e = r->by_number; e; e = e->hh.next)
		fn(arg, &e->incident);
}
