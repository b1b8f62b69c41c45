/* SPDX-License-Identifier: MIT
 * The state as lines and back. Each line holds the whole of one thing as it is
 * now, so that replaying one twice, or a newer one after an older one, is the
 * same as replaying the last:
 *
 *	path    source= provider= ...      a path
 *	used    source= provider= hour= used=   of its budget, after each message
 *	domain  domain= provider= ...      a sender's domain at a provider
 *	incident number= ...               without its replies
 *	reply   number= when= stage= domain= text=   one more, newest last
 *	count   number= met= rerouted=
 *	unknown stage= provider= text= ...   a kind of reply that no rule knew
 *
 * Fields are separated by tabs, zeros are left out (queue/field.h).
 */
#include <string.h>

#include "queue/field.h"
#include "queue/reputation_internal.h"
#include "relayd/base/mem.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PATH(member) offsetof(struct path, member)
#define HOLD(member) offsetof(struct sender_hold, member)
#define INCIDENT(member) offsetof(struct incident, member)

static const struct field path_fields[] = {
    {"since", FIELD_TEXT, PATH(since), 10},
    {"window", FIELD_REAL, PATH(window), 1000},
    {"rate", FIELD_REAL, PATH(rate), 1000000},
    {"ceiling", FIELD_REAL, PATH(ceiling), 1000000},
    {"sent", FIELD_REAL, PATH(sent_ms), 1000000000000},
    {"refused", FIELD_TIME, PATH(refused_ms), 0},
    {"refusals", FIELD_COUNT, PATH(refusals), PATH_REFUSALS},
    {"turn", FIELD_TIME, PATH(turn_ms), 0},
    {"minute", FIELD_TIME, PATH(minute_slot), 0},
    {"counts", FIELD_LIST, PATH(minute), PATH_SLOTS},
    {"slowed", FIELD_FLAG, PATH(slowed), 0},
    {"until", FIELD_TIME, PATH(until_ms), 0},
    {"held", FIELD_FLAG, PATH(held), 0},
    {"by_hand", FIELD_FLAG, PATH(by_hand), 0},
    {"step", FIELD_COUNT, PATH(step), PATH_LADDER - 1},
    {"ladder", FIELD_LIST, PATH(ladder), PATH_LADDER},
    {"probe", FIELD_TIME, PATH(probe_ms), 0},
    {"class", FIELD_CLASS, PATH(hold_class), 0},
    {"stage", FIELD_STAGE, PATH(hold_stage), 0},
    {"allow", FIELD_COUNT, PATH(allow), PATH_ALLOW_MAX},
    {"allow_used", FIELD_COUNT, PATH(allow_used), PATH_ALLOW_MAX},
    {"allow_worked", FIELD_FLAG, PATH(allow_worked), 0},
    {"allow_from", FIELD_TIME, PATH(allow_ms), 0},
    {"v6_until", FIELD_TIME, PATH(v6_until), 0},
    {"v6_step", FIELD_COUNT, PATH(v6_step), PATH_LADDER - 1},
    {"v6_opened", FIELD_TIME, PATH(v6_opened_ms), 0},
    {"v6_incident", FIELD_COUNT, PATH(v6_incident), 4000000000},
    {"silences", FIELD_COUNT, PATH(silences), PATH_SILENCES},
    {"silent", FIELD_TIME, PATH(silent_ms), 0},
    {"silent_last", FIELD_TIME, PATH(silent_last_ms), 0},
    {"answered", FIELD_TIME, PATH(answered_ms), 0},
    {"warm_back", FIELD_COUNT, PATH(warm_back), 100000},
    {"warm_back_at", FIELD_TIME, PATH(warm_back_ms), 0},
    {"warm_from", FIELD_TIME, PATH(warm_from_ms), 0},
    {"hour", FIELD_TIME, PATH(used_hour), 0},
    {"used", FIELD_COUNT, PATH(used), 4000000000},
    {"sent_last", FIELD_TIME, PATH(sent_last_ms), 0},
    {"rule", FIELD_TEXT, PATH(last_rule), 64},
    {"reply", FIELD_TEXT, PATH(last_reply), 4 * INCIDENT_REPLY_MAX},
    {"last", FIELD_TIME, PATH(last_ms), 0},
    {"incident", FIELD_COUNT, PATH(incident), 4000000000},
};

static const struct field hold_fields[] = {
    {"held", FIELD_FLAG, HOLD(held), 0},
    {"step", FIELD_COUNT, HOLD(step), PATH_LADDER - 1},
    {"ladder", FIELD_LIST, HOLD(ladder), PATH_LADDER},
    {"until", FIELD_TIME, HOLD(until_ms), 0},
    {"opened", FIELD_TIME, HOLD(opened_ms), 0},
    {"stage", FIELD_STAGE, HOLD(stage), 0},
    {"incident", FIELD_COUNT, HOLD(incident), 4000000000},
};

static const struct field incident_fields[] = {
    {"source", FIELD_TEXT, INCIDENT(source), REPUTATION_SOURCE_MAX},
    {"provider", FIELD_TEXT, INCIDENT(provider), REPUTATION_PROVIDER_MAX},
    {"domain", FIELD_TEXT, INCIDENT(sender_domain), REPUTATION_DOMAIN_MAX},
    {"family", FIELD_COUNT, INCIDENT(family), 255},
    {"class", FIELD_CLASS, INCIDENT(klass), 0},
    {"rule", FIELD_TEXT, INCIDENT(rule), 64},
    {"help", FIELD_TEXT, INCIDENT(help), 500},
    {"first", FIELD_TIME, INCIDENT(first_ms), 0},
    {"last", FIELD_TIME, INCIDENT(last_ms), 0},
    {"probe", FIELD_TIME, INCIDENT(next_probe_ms), 0},
    {"met", FIELD_BIG, INCIDENT(met), 0},
    {"rerouted", FIELD_BIG, INCIDENT(rerouted), 0},
    {"asked", FIELD_TIME, INCIDENT(asked_ms), 0},
    {"asked_of", FIELD_TEXT, INCIDENT(asked_of), 300},
    {"open", FIELD_FLAG, INCIDENT(open), 0},
    {"noticed", FIELD_FLAG, INCIDENT(noticed), 0},
};

#define UNKNOWN(member) offsetof(struct unknown, member)

static const struct field unknown_fields[] = {
    {"class", FIELD_CLASS, UNKNOWN(klass), 0},
    {"scope", FIELD_COUNT, UNKNOWN(scope), VERDICT_SCOPE_US},
    {"action", FIELD_COUNT, UNKNOWN(action), VERDICT_SUPPRESS},
    {"count", FIELD_BIG, UNKNOWN(count), 0},
    {"first", FIELD_TIME, UNKNOWN(first_ms), 0},
    {"last", FIELD_TIME, UNKNOWN(last_ms), 0},
};

/* The names that say which thing a line is about, and the small lines. */
struct line {
	char *source;
	char *provider;
	char *domain;
	unsigned number;
	int64_t hour;
	unsigned used;
	uint64_t met;
	uint64_t rerouted;
	struct incident_reply reply;
};

#define LINE(member) offsetof(struct line, member)

static const struct field path_names[] = {
    {"source", FIELD_TEXT, LINE(source), REPUTATION_SOURCE_MAX},
    {"provider", FIELD_TEXT, LINE(provider), REPUTATION_PROVIDER_MAX},
    {"hour", FIELD_TIME, LINE(hour), 0},
    {"used", FIELD_COUNT, LINE(used), 4000000000},
};
static const struct field hold_names[] = {
    {"domain", FIELD_TEXT, LINE(domain), REPUTATION_DOMAIN_MAX},
    {"provider", FIELD_TEXT, LINE(provider), REPUTATION_PROVIDER_MAX},
};
static const struct field unknown_names[] = {
    {"stage", FIELD_STAGE, LINE(reply.stage), 0},
    {"provider", FIELD_TEXT, LINE(provider), 100},
    {"text", FIELD_TEXT, LINE(reply.text), 1000},
};
static const struct field number_names[] = {
    {"number", FIELD_COUNT, LINE(number), 4000000000},
    {"met", FIELD_BIG, LINE(met), 0},
    {"rerouted", FIELD_BIG, LINE(rerouted), 0},
};
static const struct field reply_names[] = {
    {"number", FIELD_COUNT, LINE(number), 4000000000},
    {"when", FIELD_TIME, LINE(reply.when_ms), 0},
    {"stage", FIELD_STAGE, LINE(reply.stage), 0},
    {"domain", FIELD_TEXT, LINE(reply.domain), REPUTATION_DOMAIN_MAX},
    {"text", FIELD_TEXT, LINE(reply.text), 4 * INCIDENT_REPLY_MAX},
};

/* ---- printing ---- */

static void print_path(struct buf *out, const struct path *p)
{
	struct line names = {.source = p->source, .provider = p->provider};
	buf_add_text(out, "path");
	field_print(out, path_names, 2, &names);
	field_print(out, path_fields, COUNT(path_fields), p);
}

static void print_used(struct buf *out, const struct path *p)
{
	struct line line = {.source = p->source, .provider = p->provider,
	    .hour = p->used_hour, .used = p->used};
	buf_add_text(out, "used");
	field_print(out, path_names, COUNT(path_names), &line);
}

static void print_hold(struct buf *out, const struct sender_hold *h)
{
	struct line names = {.domain = h->domain, .provider = h->provider};
	buf_add_text(out, "domain");
	field_print(out, hold_names, COUNT(hold_names), &names);
	field_print(out, hold_fields, COUNT(hold_fields), h);
}

static void print_incident(struct buf *out, const struct incident *i)
{
	buf_addf(out, "incident\tnumber=%u", i->number);
	field_print(out, incident_fields, COUNT(incident_fields), i);
}

static void print_reply(struct buf *out, const struct incident *i, size_t which)
{
	struct line line = {.number = i->number, .reply = i->replies[which]};
	buf_add_text(out, "reply");
	field_print(out, reply_names, COUNT(reply_names), &line);
}

static void print_unknown(struct buf *out, const struct unknown *u)
{
	struct line names = {.provider = u->provider,
	    .reply = {.stage = u->stage, .text = u->text}};
	buf_add_text(out, "unknown");
	field_print(out, unknown_names, COUNT(unknown_names), &names);
	field_print(out, unknown_fields, COUNT(unknown_fields), u);
}

static void write_out(struct reputation *r, struct buf *line)
{
	if (r->options.event)
		r->options.event(r->options.arg, buf_text(line));
	buf_free(line);
}

void reputation_save_path(struct reputation *r, struct path *p, int64_t now_ms)
{
	struct buf line = {0};
	p->saved_ms = now_ms;
	p->saved_mark = path_mark(p);
	print_path(&line, p);
	write_out(r, &line);
}

void reputation_save_used(struct reputation *r, const struct path *p)
{
	struct buf line = {0};
	print_used(&line, p);
	write_out(r, &line);
}

void reputation_save_hold(struct reputation *r, const struct sender_hold *h)
{
	struct buf line = {0};
	print_hold(&line, h);
	write_out(r, &line);
}

void reputation_save_incident(struct reputation *r, const struct incident *i)
{
	struct buf line = {0};
	print_incident(&line, i);
	write_out(r, &line);
}

void reputation_save_unknown(struct reputation *r, const struct unknown *u)
{
	struct buf line = {0};
	print_unknown(&line, u);
	write_out(r, &line);
}

void reputation_save_reply(struct reputation *r, const struct incident *i)
{
	struct buf line = {0};
	print_reply(&line, i, 0);
	write_out(r, &line);
}

void reputation_save_counts(struct reputation *r, const struct incident *i)
{
	struct buf line = {0};
	struct line count = {.number = i->number, .met = i->met, .rerouted = i->rerouted};
	buf_add_text(&line, "count");
	field_print(&line, number_names, COUNT(number_names), &count);
	write_out(r, &line);
}

struct dump {
	void (*line)(void *arg, const char *line);
	void *arg;
	struct buf text;
};

static void dump_line(struct dump *d)
{
	d->line(d->arg, buf_text(&d->text));
	buf_clear(&d->text);
}

static void dump_incident(struct dump *d, const struct incident *i)
{
	print_incident(&d->text, i);
	dump_line(d);
	for (size_t n = i->reply_count; n-- > 0;) {
		print_reply(&d->text, i, n);
		dump_line(d);
	}
}

void reputation_dump(const struct reputation *r, void (*line)(void *arg, const char *line),
    void *arg)
{
	struct dump d = {.line = line, .arg = arg};
	/* least recently used first, so that a replay has the same order */
	for (const struct path *p = r->oldest; p; p = p->newer) {
		print_path(&d.text, p);
		dump_line(&d);
	}
	for (const struct sender_hold *h = r->holds; h; h = h->hh.next) {
		print_hold(&d.text, h);
		dump_line(&d);
	}
	for (const struct incident_entry *e = r->by_number; e; e = e->hh.next)
		dump_incident(&d, &e->incident);
	for (const struct unknown *u = r->unknown; u; u = u->hh.next) {
		print_unknown(&d.text, u);
		dump_line(&d);
	}
	buf_free(&d.text);
}

/* ---- replaying ---- */

/* What no bound of a single field forbids, but would not work. */
static void mend_path(struct path *p)
{
	if (p->window < 1)
		p->window = 1;
	if (p->rate > 0 && p->rate < PATH_RATE_MIN)
		p->rate = PATH_RATE_MIN;
	if (p->rate > 0 && !(p->ceiling > 0))
		p->ceiling = p->rate;
	if (p->allow && !p->slowed)
		p->slowed = true;
	p->saved_mark = path_mark(p);
}

static bool replay_path(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, path_names, COUNT(path_names), names) || !*names->source ||
	    !*names->provider)
		return false;
	struct path *p = reputation_get_path(r, names->source, names->provider);
	bool well = field_parse(line, path_fields, COUNT(path_fields), p);
	mend_path(p);
	return well;
}

static bool replay_used(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, path_names, COUNT(path_names), names) || !*names->source ||
	    !*names->provider)
		return false;
	struct path *p = reputation_get_path(r, names->source, names->provider);
	p->used_hour = names->hour;
	p->used = names->used;
	return true;
}

static bool replay_hold(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, hold_names, COUNT(hold_names), names) || !*names->domain ||
	    !*names->provider)
		return false;
	struct sender_hold *h = reputation_get_hold(r, names->domain, names->provider);
	return field_parse(line, hold_fields, COUNT(hold_fields), h);
}

static bool replay_incident(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, number_names, 1, names) || !names->number)
		return false;
	struct incident_entry *e = incident_entry_get(r, names->number);
	bool well = field_parse(line, incident_fields, COUNT(incident_fields), &e->incident);
	incident_entry_named(r, e);
	return well;
}

static bool replay_reply(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, reply_names, COUNT(reply_names), names))
		return false;
	struct incident_entry *e = incident_entry_find(r, names->number);
	if (!e)
		return false;
	if (incident_add_reply(&e->incident, &names->reply))
		memset(&names->reply, 0, sizeof(names->reply)); /* taken over */
	return true;
}

static bool replay_count(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, number_names, COUNT(number_names), names))
		return false;
	struct incident_entry *e = incident_entry_find(r, names->number);
	if (!e)
		return false;
	e->incident.met = names->met;
	e->incident.rerouted = names->rerouted;
	return true;
}

static bool replay_unknown(struct reputation *r, struct span line, struct line *names)
{
	if (!field_parse(line, unknown_names, COUNT(unknown_names), names) || !*names->reply.text)
		return false;
	struct unknown *u =
	    unknown_get(&r->unknown, names->provider, names->reply.stage, names->reply.text);
	return field_parse(line, unknown_fields, COUNT(unknown_fields), u);
}

static const struct kind {
	const char *name;
	bool (*replay)(struct reputation *r, struct span line, struct line *names);
} kinds[] = {
    {"path", replay_path},
    {"used", replay_used},
    {"domain", replay_hold},
    {"incident", replay_incident},
    {"reply", replay_reply},
    {"count", replay_count},
    {"unknown", replay_unknown},
};

bool reputation_replay(struct reputation *r, struct span line)
{
	struct span rest = line;
	struct span name = span_cut(&rest, '\t');
	struct line names = {0};
	bool well = false;
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (span_is(name, kinds[i].name))
			well = kinds[i].replay(r, line, &names);
	mem_free(names.source);
	mem_free(names.provider);
	mem_free(names.domain);
	incident_reply_clear(&names.reply);
	return well;
}
