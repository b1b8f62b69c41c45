/* SPDX-License-Identifier: MIT
 * Paths to providers and the incidents on them: lists, and what a person may change.
 * Lists are copied when they are asked for, since paths come and go while the reader
 * takes its time.
 */
#include <stdio.h>

#include "queue/unknown.h"
#include "relayd/base/clock.h"
#include "relayd/base/hash.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"
#include "relayd/delist.h"
#include "relayd/notify.h"

static struct reputation *reputation_of(const struct request *r)
{
	return paths_reputation(r->daemon->paths);
}

static json_t *text_json(const char *text)
{
	return json_safe(span_text(text));
}

static json_int_t seconds_to(int64_t at_ms)
{
	int64_t left = (at_ms - clock_steady_ms()) / 1000;
	return at_ms && left > 0 ? (json_int_t)left : 0;
}

/* ---- paths ---- */

static json_t *budget_json(const struct path_view *view)
{
	char text[96] = "";
	if (view->warm_days)
		snprintf(text, sizeof(text), "day %u of %u, %u of %u this hour", view->warm_day,
		    view->warm_days, view->budget_used, view->budget);
	return json_string(text);
}

#define WAITING_LOOKS 200000 /* messages looked at to count those that wait */

/* So many messages wait for one incident. */
struct waiting {
	unsigned incident;
	json_int_t messages;
	UT_hash_handle hh;
};

/* A list of paths; all incidents are counted in one walk through the queue. */
struct listing {
	json_t *rows;
	struct waiting *waiting;
};

static void count_one(void *arg, unsigned incident)
{
	struct listing *l = arg;
	struct waiting *w;
	HASH_FIND(hh, l->waiting, &incident, sizeof(incident), w);
	if (!w) {
		w = mem_zero(sizeof(*w));
		w->incident = incident;
		HASH_ADD(hh, l->waiting, incident, sizeof(w->incident), w);
	}
	w->messages++;
}

static json_int_t waiting_for(const struct listing *l, unsigned incident)
{
	const struct waiting *w;
	HASH_FIND(hh, l->waiting, &incident, sizeof(incident), w);
	return w ? w->messages : 0;
}

static void forget_counts(struct listing *l)
{
	struct waiting *w;
	struct waiting *next;
	HASH_ITER (hh, l->waiting, w, next) {
		HASH_DEL(l->waiting, w);
		mem_free(w);
	}
}

static void add_path(void *arg, const struct path_view *view)
{
	struct listing *l = arg;
	json_t *row = json_pack("{s:o,s:o,s:s,s:b,s:f,s:f,s:o,s:I,s:I,s:s,s:o,s:I}", "provider",
	    text_json(view->provider), "source", text_json(view->source), "state",
	    path_state_name(view->state), "ipv6_closed", (int)view->ipv6_closed, "window",
	    view->window, "rate", view->per_minute, "budget", budget_json(view), "running",
	    (json_int_t)view->running, "waiting", waiting_for(l, view->incident), "rule",
	    view->last_rule, "last", json_string(view->last_reply), "next",
	    seconds_to(view->until_ms));
	json_array_append_new(l->rows, row);
}

static void add_domain(void *arg, const struct domain_view *view)
{
	struct listing *l = arg;
	char last[48];
	snprintf(last, sizeof(last), "see incident %u", view->incident);
	json_array_append_new(
	    l->rows, json_pack("{s:o,s:o,s:s,s:I,s:s,s:I}", "provider", text_json(view->provider),
			 "source", text_json(view->sender_domain), "state", "domain held",
			 "waiting", waiting_for(l, view->incident), "last",
			 view->incident ? last : "", "next", seconds_to(view->until_ms)));
}

void control_reputation(struct request *r)
{
	struct listing l = {.rows = json_array()};
	schedule_each_waiting(deliver_schedule(r->daemon->deliver), WAITING_LOOKS, count_one, &l);
	reputation_each(reputation_of(r), clock_steady_ms(), add_path, &l);
	reputation_each_domain(reputation_of(r), add_domain, &l);
	forget_counts(&l);
	r->list = l.rows;
	request_list(r);
}

static void add_unknown(void *arg, const struct unknown *u)
{
	struct buf judged = {0};
	json_int_t age = (json_int_t)((clock_steady_ms() - u->last_ms) / 1000);
	buf_addf(&judged, "%s/%s/%s", verdict_class_name(u->klass), verdict_scope_name(u->scope),
	    verdict_action_name(u->action));
	json_array_append_new(arg,
	    json_pack("{s:I,s:I,s:I,s:s,s:o,s:s,s:o}", "count", (json_int_t)u->count, "age",
		age > 0 ? age : 0, "last_ms", (json_int_t)clock_shown_ms(u->last_ms), "stage",
		verdict_stage_name(u->stage), "provider", text_json(u->provider), "judged",
		buf_text(&judged), "reply", json_string(u->text)));
	buf_free(&judged);
}

void control_unknown(struct request *r)
{
	r->list = json_array();
	reputation_each_unknown(reputation_of(r), add_unknown, r->list);
	request_list(r);
}

static void log_path(const struct request *r, const char *provider, const char *source)
{
	struct log_line line;
	control_log_change(&line, r->command, r->peer.uid);
	log_add_text(&line, "provider", provider);
	if (source)
		log_add_text(&line, "source", source);
	log_end(&line);
}

void control_path_change(struct request *r)
{
	struct reputation *reputation = reputation_of(r);
	int64_t now = clock_steady_ms();
	bool done = false;
	if (r->argc < 1 || r->argc > 2) {
		request_misused(r, "give a provider and, if need be, a source, as relayctl "
				   "reputation lists them");
		return;
	}
	const char *provider = r->argv[0];
	const char *source = r->argc == 2 ? r->argv[1] : NULL;
	if (r->command == CMD_REPUTATION_HOLD)
		done = reputation_hold(reputation, provider, source, now);
	else if (r->command == CMD_REPUTATION_OPEN)
		done = reputation_open(reputation, provider, source, now);
	else if (r->command == CMD_REPUTATION_RESET)
		done = reputation_reset(reputation, provider, source, now);
	else if (r->command == CMD_REPUTATION_PROBE)
		done = reputation_probe_now(reputation, provider, source, now);
	if (!done) {
		request_fail(r, "no such path; see relayctl reputation");
		return;
	}
	log_path(r, provider, source);
	if (r->command != CMD_REPUTATION_HOLD)
		schedule_resume(deliver_schedule(r->daemon->deliver));
	request_ok(r);
	request_end(r);
}

/* ---- incidents ---- */

static void add_incident(void *arg, const struct incident *i)
{
	json_int_t age = (json_int_t)((clock_steady_ms() - i->last_ms) / 1000);
	const char *source = i->sender_domain[0] ? i->sender_domain : i->source;
	json_array_append_new(arg,
	    json_pack("{s:I,s:s,s:o,s:o,s:s,s:I,s:I,s:I,s:o}", "number", (json_int_t)i->number,
		"state", i->open ? "open" : "closed", "provider", text_json(i->provider),
		"source", text_json(source), "class", verdict_class_name(i->klass), "age",
		age > 0 ? age : 0, "met", (json_int_t)i->met, "rerouted",
		(json_int_t)i->rerouted, "last",
		json_string(i->reply_count ? i->replies[0].text : "")));
}

void control_incidents(struct request *r)
{
	r->list = json_array();
	incident_each(reputation_of(r), add_incident, r->list);
	request_list(r);
}

/* What only the daemon as a whole knows: how much waits, and where removal is asked. */
static void add_more(struct request *r, const struct incident *i, json_t *all)
{
	const struct delist *entry = delist_of(r->daemon->settings->rules, i);
	size_t waiting =
	    schedule_waiting_for(deliver_schedule(r->daemon->deliver), i->number, WAITING_LOOKS);
	json_object_set_new(all, "waiting", json_integer((json_int_t)waiting));
	if (!entry)
		return;
	json_object_set_new(all, "removal", json_string(entry->name));
	json_object_set_new(all, "removal_portal", json_string(entry->portal));
	json_object_set_new(all, "removal_mail", json_string(entry->mail));
}

static void show_incident(struct request *r, const struct incident *i)
{
	json_t *all = notify_json(i);
	add_more(r, i, all);
	const char *key;
	json_t *value;
	size_t n;
	request_ok(r);
	json_object_foreach (all, key, value)
		if (!json_is_array(value))
			request_fact(r, key, json_incref(value));
	json_array_foreach (json_object_get(all, "replies"), n, value)
		request_fact(r, "reply", json_incref(value));
	json_decref(all);
	request_end(r);
}

void control_incident(struct request *r)
{
	uint64_t number;
	if (r->argc != 1 || !span_number(span_text(r->argv[0]), UINT32_MAX, &number)) {
		request_misused(r, "give the number of one incident");
		return;
	}
	const struct incident *i = incident_find(reputation_of(r), (unsigned)number);
	if (!i) {
		request_fail(r, "no incident %s; see relayctl incidents", r->argv[0]);
		return;
	}
	if (r->command == CMD_INCIDENTS_SHOW) {
		show_incident(r, i);
		return;
	}
	incident_close(reputation_of(r), i->number, clock_steady_ms());
	struct log_line line;
	control_log_change(&line, r->command, r->peer.uid);
	log_add_number(&line, "number", (int64_t)number);
	log_end(&line);
	request_ok(r);
	request_end(r);
}
