/* SPDX-License-Identifier: MIT
 * Policies in memory, one entry per domain, and how they come there:
 *
 *	find -> known and fresh: answered
 *	     -> TXT -> the id we have: answered
 *	            -> another one: address, fetch -> answered
 *	            -> none: what is kept still holds, answered
 *
 * Those who ask about a domain meanwhile wait for the same look-up. A policy in the
 * second half of its life is fetched again without anybody waiting for it.
 */
#include "smtp/sts_find.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/hash.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "smtp/sts_store.h"

#define ENTRIES_MAX 5000
#define ASK_AGAIN_MAX (5 * 60 * 1000) /* TXT: at the latest; its TTL may be shorter */
#define ASK_AGAIN_NONE (60 * 1000)    /* where there was none */
#define FETCH_AGAIN (5 * 60 * 1000)   /* after a failure (section 3.3) */
#define FETCH_MS 30000
#define SECOND 1000

struct entry {
	struct sts *sts;
	char *domain;
	struct sts_policy *policy; /* NULL: none */
	char id[STS_ID_ROOM];      /* of the policy */
	int64_t fetched_ms;        /* wall clock */
	enum sts_failure failure;
	char failed_id[STS_ID_ROOM]; /* that could not be fetched */
	int64_t fetch_after_ms;    /* not before; monotonic, like the next one */
	int64_t ask_after_ms;
	char new_id[STS_ID_ROOM];  /* the one that is being fetched */
	struct dns_query *txt;     /* under way, one after the other */
	struct mx_query *address;
	struct https_request *fetch;
	struct sts_query *waiting;
	bool reporting;            /* within report_waiting */
	struct timer soon;         /* those who need not wait get their answer */
	UT_hash_handle hh;
};

struct sts_query {
	struct entry *entry;
	sts_done *done;
	void *arg;
	struct sts_query *prev;
	struct sts_query *next;
};

struct sts {
	struct sts_options options;
	struct mx_options network; /* own and hostname are not used */
	struct sts_store *store;   /* NULL: none */
	struct entry *entries;     /* the one asked for longest ago is first */
};

/* ---- entries ---- */

static void free_entry(struct entry *e)
{
	HASH_DEL(e->sts->entries, e);
	dns_cancel(e->txt);
	mx_cancel(e->address);
	https_cancel(e->fetch);
	timer_stop(&e->soon);
	while (e->waiting)
		sts_cancel(e->waiting);
	sts_policy_unref(e->policy);
	mem_free(e->domain);
	mem_free(e);
}

static bool is_busy(const struct entry *e)
{
	return e->txt || e->address || e->fetch || e->waiting || e->reporting;
}

/* Room for one more: the one asked for longest ago goes; disk still has it. */
static void make_room(struct sts *sts)
{
	struct entry *e;
	struct entry *next;
	if (HASH_COUNT(sts->entries) < ENTRIES_MAX)
		return;
	HASH_ITER (hh, sts->entries, e, next) {
		if (is_busy(e))
			continue;
		free_entry(e);
		return;
	}
}

static bool has_run_out(const struct entry *e)
{
	return clock_wall_ms() - e->fetched_ms >= e->policy->max_age * SECOND;
}

static void drop_old(struct entry *e)
{
	if (!e->policy || !has_run_out(e))
		return;
	sts_policy_unref(e->policy);
	e->policy = NULL;
}

static void report_waiting(struct entry *e)
{
	drop_old(e);
	/* a policy of mode none is no policy, but the id is known */
	bool binds = e->policy && e->policy->mode != STS_MODE_NONE;
	struct sts_answer answer = {binds ? e->policy : NULL, e->failure};
	struct sts_policy *held = e->policy ? sts_policy_ref(e->policy) : NULL;
	e->reporting = true;
	while (e->waiting) {
		struct sts_query *q = e->waiting;
		DL_DELETE(e->waiting, q);
		q->done(&answer, q->arg);
		mem_free(q);
	}
	e->reporting = false;
	sts_policy_unref(held);
}

static void on_soon(void *arg)
{
	report_waiting(arg);
}

static struct entry *find_entry(struct sts *sts, const char *domain)
{
	struct entry *e;
	HASH_FIND_STR(sts->entries, domain, e);
	if (e) { /* to the end: asked for just now */
		HASH_DEL(sts->entries, e);
		HASH_ADD_KEYPTR(hh, sts->entries, e->domain, strlen(e->domain), e);
		return e;
	}
	make_room(sts);
	e = mem_zero(sizeof(*e));
	e->sts = sts;
	e->domain = mem_text(domain);
	timer_init(&e->soon, sts->options.loop, on_soon, e);
	if (sts->store)
		e->policy = sts_store_load(sts->store, domain, clock_wall_ms(), e->id, &e->fetched_ms);
	HASH_ADD_KEYPTR(hh, sts->entries, e->domain, strlen(e->domain), e);
	return e;
}

/* ---- fetching ---- */

static void note_failure(struct entry *e, enum sts_failure failure, const char *text)
{
	drop_old(e);
	e->failure = failure;
	memcpy(e->failed_id, e->new_id, sizeof(e->failed_id));
	e->fetch_after_ms = clock_mono_ms() + FETCH_AGAIN;
	log_text(LOG_LEVEL_WARN, "mta-sts: the policy of %s can not be had: %s; %s", e->domain, text,
	    e->policy ? "the one that was fetched before still holds"
		      : "mail goes there as if it had none");
	report_waiting(e);
}

static void take_policy(struct entry *e, struct sts_policy *policy)
{
	struct why why = {0};
	sts_policy_unref(e->policy);
	e->policy = policy;
	e->failure = STS_FINE;
	memcpy(e->id, e->new_id, sizeof(e->id));
	e->fetched_ms = clock_wall_ms();
	if (e->sts->store &&
	    sts_store_save(e->sts->store, e->domain, policy, e->id, e->fetched_ms, &why) < 0)
		log_text(LOG_LEVEL_WARN, "mta-sts: the policy of %s is kept in memory only: %s",
		    e->domain, why.text);
	report_waiting(e);
}

static bool is_plain_text(const char *type)
{
	struct span s = span_text(type);
	return span_is_nocase(span_trim(span_cut(&s, ';')), "text/plain");
}

static void on_fetched(const struct https_answer *answer, void *arg)
{
	struct entry *e = arg;
	struct why why = {0};
	e->fetch = NULL;
	if (answer->status != HTTPS_OK || answer->code != 200) {
		note_failure(e, answer->status == HTTPS_CERTIFICATE ? STS_WEBPKI_INVALID : STS_FETCH_ERROR,
		    answer->text);
		return;
	}
	if (!is_plain_text(answer->content_type)) {
		note_failure(e, STS_FETCH_ERROR, "it is not of type text/plain");
		return;
	}
	struct sts_policy *policy = sts_policy_parse(answer->body, &why);
	if (policy)
		take_policy(e, policy);
	else
		note_failure(e, STS_POLICY_INVALID, why.text);
}

static void on_address(const struct mx_answer *answer, void *arg)
{
	struct entry *e = arg;
	struct conn_address addresses[MX_ADDRESSES_MAX];
	struct buf host = {0};
	e->address = NULL;
	if (answer->status != MX_OK) {
		note_failure(e, STS_FETCH_ERROR, answer->text);
		return;
	}
	for (size_t i = 0; i < answer->count; i++)
		addresses[i] = answer->hosts[i].address;
	buf_addf(&host, "mta-sts.%s", e->domain);
	struct https_options options = {
	    .host = buf_text(&host),
	    .port = e->sts->network.port,
	    .path = "/.well-known/mta-sts.txt",
	    .addresses = addresses,
	    .address_count = answer->count,
	    .timeout_ms = FETCH_MS,
	    .body_max = STS_POLICY_MAX,
	};
	e->fetch = https_start(e->sts->options.https, &options, on_fetched, e);
	buf_free(&host);
}

static void begin_fetch(struct entry *e, const char *id)
{
	struct buf host = {0};
	snprintf(e->new_id, sizeof(e->new_id), "%s", id);
	buf_addf(&host, "mta-sts.%s", e->domain);
	e->address = mx_find(e->sts->options.dns, e->sts->options.loop, buf_text(&host), true,
	    &e->sts->network, on_address, e);
	buf_free(&host);
}

/* ---- the record ---- */

static bool is_middle_aged(const struct entry *e)
{
	return clock_wall_ms() - e->fetched_ms >= e->policy->max_age * SECOND / 2;
}

static bool may_fetch(const struct entry *e, const char *id)
{
	return strcmp(e->failed_id, id) != 0 || clock_mono_ms() >= e->fetch_after_ms;
}

static void on_txt(const struct dns_answer *answer, void *arg)
{
	struct entry *e = arg;
	char id[STS_ID_ROOM];
	bool announced = sts_record_read(answer, id);
	int64_t wait = (int64_t)answer->ttl * SECOND;
	e->txt = NULL;
	if (!announced)
		wait = ASK_AGAIN_NONE;
	e->ask_after_ms = clock_mono_ms() + (wait < ASK_AGAIN_MAX ? wait : ASK_AGAIN_MAX);
	drop_old(e);
	bool same = e->policy && announced && strcmp(e->id, id) == 0;
	if (!announced)
		e->failure = STS_FINE;
	bool fetch = announced && (!same || is_middle_aged(e)) && may_fetch(e, id);
	if (fetch)
		begin_fetch(e, id);
	if (!fetch || same)
		report_waiting(e);
}

static void ask(struct entry *e)
{
	struct buf name = {0};
	buf_addf(&name, "_mta-sts.%s", e->domain);
	e->txt = dns_ask(e->sts->options.dns, buf_text(&name), DNS_TXT, on_txt, e);
	buf_free(&name);
}

struct sts_query *sts_find(struct sts *sts, const char *domain, sts_done *done, void *arg)
{
	struct entry *e = find_entry(sts, domain);
	struct sts_query *q = mem_zero(sizeof(*q));
	q->entry = e;
	q->done = done;
	q->arg = arg;
	drop_old(e); /* it answers nobody: who asks now waits for the one that is fetched */
	bool fetching = e->txt || ((e->address || e->fetch) && !e->policy);
	DL_APPEND(e->waiting, q);
	if (!fetching && (clock_mono_ms() < e->ask_after_ms || e->address || e->fetch))
		timer_start(&e->soon, 0);
	else if (!fetching)
		ask(e);
	return q;
}

void sts_cancel(struct sts_query *q)
{
	if (!q)
		return;
	DL_DELETE(q->entry->waiting, q);
	mem_free(q);
}

/* ---- life ---- */

struct sts *sts_new(const struct sts_options *options, struct why *why)
{
	struct sts *sts = mem_zero(sizeof(*sts));
	sts->options = *options;
	sts->network = (struct mx_options){.port = 443, .ipv4 = true, .ipv6 = true};
	if (options->folder && !(sts->store = sts_store_new(options->folder, why))) {
		mem_free(sts);
		return NULL;
	}
	return sts;
}

void sts_set_network(struct sts *sts, const struct mx_options *network)
{
	sts->network = *network;
	sts->network.hostname = NULL;
	sts->network.own = NULL;
	sts->network.own_count = 0;
}
