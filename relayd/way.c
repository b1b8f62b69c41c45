/* SPDX-License-Identifier: MIT
 * By which way does an attempt go out? The entries of its route's `via`, one after
 * the other:
 *
 *	way_choose   the route
 *	next_way     the hosts of the destination, which tell the provider; then ask
 *	             the path of each entry, until one may go
 *	put_off      none may: the batch waits, which is no attempt
 *	way_over     its hosts have answered: tell the path; those that a block has met
 *	             go the next way
 *
 * What paths are and when they may go is queue/reputation's.
 */
#include <netinet/in.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/delist.h"
#include "relayd/deliver_internal.h"
#include "relayd/explain.h"

#define HOSTS_PER_ATTEMPT 5 /* addresses tried in one attempt */
#define PACING_MS 10000     /* a wait that is shorter is no reason for another way */

static void next_way(struct attempt *a);

struct reputation *way_reputation(const struct attempt *a)
{
	return paths_reputation(a->deliver->options.paths);
}

/* ---- hosts ---- */

/* The hosts that this source (one with only one family can not reach the other)
 * and this path may use. */
static void take_hosts(struct attempt *a, int family)
{
	size_t kept = 0;
	bool only4 = a->source->ipv4[0] && !a->source->ipv6[0];
	bool only6 = a->source->ipv6[0] && !a->source->ipv4[0];
	mem_free(a->hosts);
	a->hosts = mem_array(HOSTS_PER_ATTEMPT, sizeof(*a->hosts));
	for (size_t i = 0; i < a->way.found_count && kept < HOSTS_PER_ATTEMPT; i++) {
		int its = a->way.found[i].address.addr.ss_family;
		if ((only4 && its != AF_INET) || (only6 && its != AF_INET6) ||
		    (family && its != family))
			continue;
		a->hosts[kept++] = a->way.found[i];
	}
	a->host_count = kept;
}

static const struct {
	bool permanent;
	const char *status;
} mx_failures[] = {
    [MX_OK] = {false, ""},
    [MX_NULL] = {true, "5.1.10"},
    [MX_NONE] = {true, "5.1.2"},
    [MX_REFUSED] = {true, "5.4.4"},
    [MX_LOOP] = {true, "5.4.6"},
    [MX_TEMP] = {false, "4.4.3"},
};

/* A bad name in our own configuration, or a DNS that can not say: no reason to give a message
 * up, or to keep it from the next way. */
static void smarthost_unknown(struct attempt *a, const char *text)
{
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_OPEN)
			settle_local(a, &a->tried[i], VERDICT_STAGE_DNS, false, "4.4.4", text);
	reputation_give_back(way_reputation(a), &a->way.path, a->way.probe);
	a->way.taken = false;
	a->way.unresolved = true;
	way_over(a);
}

static void on_hosts(const struct mx_answer *answer, void *arg)
{
	struct attempt *a = arg;
	size_t n = answer->count < HOSTS_PER_ATTEMPT ? answer->count : HOSTS_PER_ATTEMPT;
	a->query = NULL;
	if (answer->status != MX_OK && a->smarthost) {
		smarthost_unknown(a, answer->text);
	} else if (answer->status != MX_OK) {
		attempt_end_all(a, VERDICT_STAGE_DNS, mx_failures[answer->status].permanent,
		    mx_failures[answer->status].status, answer->text);
	} else if (a->smarthost) {
		mem_free(a->hosts);
		a->hosts = mem_array(n, sizeof(*a->hosts));
		memcpy(a->hosts, answer->hosts, n * sizeof(*a->hosts));
		a->host_count = n;
		attempt_next_host(a);
	} else {
		a->way.found = mem_array(answer->count, sizeof(*a->way.found));
		memcpy(a->way.found, answer->hosts, answer->count * sizeof(*a->way.found));
		a->way.found_count = answer->count;
		next_way(a);
	}
}

static void find_hosts(struct attempt *a)
{
	const char *name = destination_name(a->batch->destination);
	const char *failure = destination_failure(a->batch->destination);
	if (!a->smarthost && failure)
		attempt_end_all(a, VERDICT_STAGE_DNS, false, mx_failures[MX_TEMP].status, failure);
	else if (!a->smarthost)
		a->query = look_up_domain(a->deliver, a->settings->conf, name, on_hosts, a);
	else
		a->query = look_up_smarthost(a->deliver, a->settings->conf, a->smarthost, on_hosts, a);
}

/* ---- asking ---- */

/* The host whose name stands for all of the destination's: of the best ones, the
 * first by name, so that shuffling does not change it. */
static const char *best_name(const struct attempt *a)
{
	const struct mx_host *found = a->way.found;
	const struct mx_host *best = &found[0];
	for (size_t i = 1; i < a->way.found_count; i++)
		if (found[i].preference < best->preference ||
		    (found[i].preference == best->preference &&
			strcmp(found[i].name, best->name) < 0))
			best = &found[i];
	return best->name;
}

/* The path of an entry; NAME holds that of a smarthost. */
static struct reputation_way path_of(const struct attempt *a, const struct conf_via *via,
    struct buf *name)
{
	struct reputation_way path = {
	    .since = "",
	    .sender_domain = a->envelope.domain,
	    .urgent = a->envelope.priority == CONF_PRIORITY_URGENT,
	    .bulk = a->envelope.priority == CONF_PRIORITY_BULK,
	};
	if (via->smarthost) {
		buf_clear(name);
		buf_addf(name, ROUTE_SMARTHOST "%s", via->smarthost->name);
		path.source = buf_text(name);
		path.provider = path.source;
		return path;
	}
	const char *host = best_name(a);
	const struct provider *known = verdict_provider(a->settings->rules, host);
	path.limits = known && known->id[0] ? known : NULL;
	path.provider = path.limits ? path.limits->id : host;
	path.source = via->source->name;
	path.since = via->source->since;
	return path;
}

static int common_family(const struct attempt *a)
{
	int family = a->hosts[0].address.addr.ss_family;
	for (size_t i = 1; i < a->host_count; i++)
		if (a->hosts[i].address.addr.ss_family != family)
			return 0;
	return family;
}

enum answer { ANSWER_GO, ANSWER_NEXT, ANSWER_STOP };

static void wait_for(struct way *w, const struct permit *permit)
{
	w->until_ms = permit->at_ms;
	w->waits_for = w->via;
	w->permit = *permit;
}

static void wait_for_first(struct way *w, const struct permit *permit)
{
	if (!w->until_ms || permit->at_ms < w->until_ms)
		wait_for(w, permit);
}

static enum answer ask(struct attempt *a)
{
	struct way *w = &a->way;
	int64_t now = clock_steady_ms();
	w->path = path_of(a, &w->list[w->via], &w->name);
	w->path.family = a->source ? common_family(a) : 0;
	struct permit permit = reputation_ask(way_reputation(a), &w->path, now);
	switch (permit.answer) {
	case PERMIT_GO:
	case PERMIT_PROBE:
		w->taken = true;
		w->probe = permit.answer == PERMIT_PROBE;
		if (a->source)
			take_hosts(a, permit.family);
		return ANSWER_GO;
	case PERMIT_WAIT:
		w->busy = true;
		w->pacing = permit.at_ms - now < PACING_MS;
		if (w->pacing)
			wait_for(w, &permit);
		else
			wait_for_first(w, &permit);
		return w->pacing ? ANSWER_STOP : ANSWER_NEXT;
	case PERMIT_HELD:
		if (w->held > w->via)
			w->held = w->via;
		if (!w->incident)
			w->incident = permit.incident;
		wait_for_first(w, &permit);
		return ANSWER_NEXT;
	case PERMIT_DOMAIN_HELD:
		w->busy = false;
		w->incident = permit.incident;
		wait_for(w, &permit);
		return ANSWER_STOP;
	}
	return ANSWER_NEXT;
}

/* ---- one after the other ---- */

static void note_why(const struct attempt *a)
{
	const struct way *w = &a->way;
	struct buf name = {0};
	struct reputation_way path = path_of(a, &w->list[w->waits_for], &name);
	waiting_note(a, &path, &w->permit);
	buf_free(&name);
}

/* When this one shall ask again: not with all the others. One that was brought here before
 * its turn has that still. */
static int64_t turn_of(const struct attempt *a)
{
	const struct way *w = &a->way;
	struct batch *batch = a->batch;
	struct buf name = {0};
	if (batch->turn_ms > clock_steady_ms() && batch->turn_ms >= w->permit.at_ms)
		return batch->turn_ms;
	struct reputation_way path = path_of(a, &w->list[w->waits_for], &name);
	if (!schedule_waits_by_path(a->deliver->schedule))
		reputation_forget_turns(way_reputation(a), &path);
	batch->turn_ms = reputation_turn(way_reputation(a), &path, &w->permit);
	buf_free(&name);
	return batch->turn_ms;
}

/* What has to wait for a moment only stays ready, and its destination pauses: the
 * end of another transaction lets it go on. */
static void put_off(struct attempt *a)
{
	struct schedule *schedule = a->deliver->schedule;
	struct batch *batch = a->batch;
	int64_t until = a->way.pacing ? a->way.until_ms : turn_of(a);
	bool pacing = a->way.pacing;
	bool held = !a->way.busy;
	struct deliver *deliver = a->deliver;
	uint64_t id = a->id;
	if (!pacing)
		note_why(a);
	if (held)
		batch->incident = a->way.incident;
	attempt_free(a);
	if (pacing)
		schedule_pace(schedule, batch->destination, until);
	schedule_put_off(schedule, batch, pacing ? clock_steady_ms() : until, held);
	/* a restart shall neither ask sooner nor take away the time it has gained */
	struct message *message = pacing ? NULL : schedule_find(schedule, id);
	if (message)
		message_note_state(deliver, message);
}

static void none_goes(struct attempt *a)
{
	if (a->way.switching)
		settle(a);
	else if (a->way.until_ms)
		put_off(a);
	else
		attempt_end_all(a, VERDICT_STAGE_DNS, false, "4.4.4",
		    "no mail host has an address of the family that this source has");
}

/* It is taken: those who left the way before go on, and start anew. */
static void go(struct attempt *a)
{
	struct way *w = &a->way;
	for (size_t i = 0; i < a->tried_count; i++) {
		struct tried *t = &a->tried[i];
		t->heard = false;
		if (t->state == TRIED_LATER && !t->rests)
			t->state = TRIED_OPEN;
	}
	if (w->held < w->via) {
		struct buf name = {0};
		struct reputation_way held = path_of(a, &w->list[w->held], &name);
		incident_rerouted(way_reputation(a), &held);
		buf_free(&name);
	}
	buf_free(&w->result.reply);
	w->result = (struct way_result){0};
	w->unresolved = false;
	w->switching = false;
	w->stopped = false;
	w->blocked = false;
	a->batch->turn_ms = 0;
	schedule_goes(a->deliver->schedule, a->batch);
	a->first_open = 0;
	a->host = 0;
	a->sessions = 0;
	a->culprits = 0;
	a->room = 0;
	a->plain = false;
	a->reused = false;
	if (a->smarthost)
		find_hosts(a);
	else
		attempt_next_host(a);
}

static void next_way(struct attempt *a)
{
	struct way *w = &a->way;
	for (; w->via < w->count; w->via++) {
		a->source = w->list[w->via].source;
		a->smarthost = w->list[w->via].smarthost;
		if (a->source && !w->found) {
			find_hosts(a);
			return;
		}
		if (a->source)
			take_hosts(a, w->family);
		if (a->source && a->host_count == 0)
			continue;
		enum answer answer = ask(a);
		if (answer == ANSWER_GO) {
			go(a);
			return;
		}
		if (answer == ANSWER_STOP)
			break;
	}
	none_goes(a);
}

/* A request to a block list leaves by the listed address, or not at all. False: it is
 * none. */
static bool bind_to_source(struct attempt *a)
{
	struct way *w = &a->way;
	if (!delist_bound(a->settings->conf, a->envelope.client, &w->bound.source, &w->family))
		return false;
	if (w->bound.source) {
		w->list = &w->bound;
		w->count = 1;
		w->held = 1;
		next_way(a);
	} else {
		attempt_end_all(a, VERDICT_STAGE_DNS, true, "5.4.4",
		    "the source that this request has to leave by is in the configuration no more");
	}
	return true;
}

void way_choose(struct attempt *a)
{
	if (bind_to_source(a))
		return;
	route_list(&a->way, a->settings->conf, &a->envelope, a->tried[0].address);
	if (!a->way.list) {
		attempt_end_all(a, VERDICT_STAGE_DNS, false, EXPLAIN_NO_ROUTE,
		    "no entry of routes in the configuration fits recipient and sender");
		return;
	}
	a->way.held = a->way.count;
	next_way(a);
}

/* ---- what came of it ---- */

static bool is_connected_by(const struct attempt *a, int family)
{
	return !a->source || family == 0 || a->hosts[a->host].address.addr.ss_family == family;
}

bool way_goes_on(struct attempt *a)
{
	struct way *w = &a->way;
	int64_t now = clock_steady_ms();
	way_report(a);
	buf_free(&w->result.reply);
	w->result = (struct way_result){0};
	struct permit permit = reputation_ask(way_reputation(a), &w->path, now);
	bool probe = permit.answer == PERMIT_PROBE; /* one message is what that is */
	w->taken = permit.answer == PERMIT_GO && is_connected_by(a, permit.family);
	w->probe = false;
	if (w->taken)
		return true;
	if (permit.answer == PERMIT_GO || probe) {
		reputation_give_back(way_reputation(a), &w->path, probe);
		permit.at_ms = now;
	}
	wait_for(w, &permit);
	w->pacing = permit.at_ms - now < PACING_MS;
	w->stopped = true;
	w->blocked = permit.answer == PERMIT_HELD;
	w->busy |= !w->blocked && permit.answer != PERMIT_DOMAIN_HELD;
	if (permit.incident && !w->incident)
		w->incident = permit.incident;
	if (!w->pacing)
		note_why(a);
	return false;
}

int64_t way_resumes(const struct attempt *a)
{
	if (!a->way.stopped)
		return 0;
	return a->way.pacing ? a->way.until_ms : turn_of(a);
}

/* Without that its path has nothing to hear: the message was called off before. */
static bool is_tried(const struct way *w)
{
	return w->result.weight || w->result.delivered;
}

void way_over(struct attempt *a)
{
	struct way *w = &a->way;
	size_t switching = 0;
	if (w->taken && is_tried(w))
		way_report(a);
	for (size_t i = 0; i < a->tried_count; i++) {
		struct tried *t = &a->tried[i];
		bool may = t->state == TRIED_OPEN ? w->blocked : way_may_switch(a, t);
		t->rests |= t->state == TRIED_LATER && !may;
		switching += may;
	}
	if (switching == 0 || !attempt_may_go_on(a) || w->via + 1 >= w->count) {
		settle(a);
		return;
	}
	if (w->held > w->via)
		w->held = w->via;
	w->switching = true;
	w->via++;
	next_way(a);
}

bool way_is_worn(const struct attempt *a, unsigned transactions)
{
	const struct provider *limits = a->way.path.limits;
	return limits && limits->messages_per_connection > 0 &&
	       (int64_t)transactions >= limits->messages_per_connection;
}

void way_clear(struct attempt *a)
{
	struct way *w = &a->way;
	if (w->taken && is_tried(w))
		way_report(a);
	else if (w->taken)
		reputation_give_back(way_reputation(a), &w->path, w->probe);
	w->taken = false;
	buf_free(&w->result.reply);
	buf_free(&w->name);
	mem_free(w->found);
}
