/* SPDX-License-Identifier: MIT
 * `relayctl delist N`: how removal is asked for what incident N is about; with --send,
 * asking by mail. First the DNS says what name our address has, then the answer is
 * written, or the mail queued and what came of it told. The request may go away
 * meanwhile; a mail that is queued stays so.
 */
#include <stdio.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"
#include "relayd/delist.h"
#include "smtp/address.h"

#define WAITING_LOOKS 200000 /* messages looked at to count those that wait */

struct delisting {
	struct request *request; /* NULL: gone */
	struct daemon *daemon;
	struct settings *settings;
	struct dns_query *query;
	uid_t uid; /* who asks */
	unsigned number;
	bool send;
	bool asked; /* by other means: note it */
	bool again;
	const char *to;      /* the request's words; "" not given */
	const char *subject;
	char address[DELIST_ADDRESS];
	bool sure; /* a list can be asked about it */
	int family;
	char ptr[300];
	char *mailbox;
};

static struct reputation *reputation_of(const struct delisting *d)
{
	return paths_reputation(d->daemon->paths);
}

static void delisting_free(struct delisting *d)
{
	if (d->query)
		dns_cancel(d->query);
	if (d->request)
		d->request->delisting = NULL;
	settings_unref(d->settings);
	mem_free(d->mailbox);
	mem_free(d);
}

void control_delist_gone(struct request *r)
{
	struct delisting *d = r->delisting;
	r->delisting = NULL;
	if (!d)
		return;
	d->request = NULL;
	if (d->query) /* else a mail is being queued, and comes back */
		delisting_free(d);
}

static const struct delist *entry_of(const struct delisting *d, const struct incident *i)
{
	return delist_of(d->settings->rules, i);
}

/* ---- what to do, on paper ---- */

static json_t *filled(const struct delist_facts *facts, const char *template)
{
	struct buf text = {0};
	delist_fill(&text, template, facts->values);
	json_t *value = json_string(buf_text(&text));
	buf_free(&text);
	return value;
}

static json_t *steps_json(const struct delist_facts *facts, const struct delist_words *words)
{
	json_t *list = json_array();
	for (size_t i = 0; i < words->steps.count; i++)
		json_array_append_new(list, filled(facts, words->steps.list[i]));
	return list;
}

static const char *how(const struct delist *entry)
{
	if (entry->mail[0])
		return entry->from_listed ? "mail from the listed address" : "mail";
	if (entry->from_listed)
		return "mail from the listed address, to the mailbox that the portal names";
	return entry->portal[0] ? "web form" : "no way is known";
}

static json_t *page_json(const struct delisting *d, const struct incident *i,
    const struct delist *entry, const struct delist_facts *facts)
{
	const struct verdict_rules *rules = d->settings->rules;
	json_t *row = json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:s,s:s,s:s}", "number",
	    (json_int_t)i->number, "entry", entry->id, "name", entry->name, "how", how(entry),
	    "portal", entry->portal, "mail", entry->mail, "from_listed", (int)entry->from_listed,
	    "wait_s", (json_int_t)(entry->wait_ms / 1000), "ip", facts->values[DELIST_IP], "ehlo",
	    facts->values[DELIST_EHLO], "ptr", facts->values[DELIST_PTR]);
	json_object_set_new(row, "reply", json_string(facts->values[DELIST_REPLY]));
	json_object_set_new(row, "steps_en", steps_json(facts, &entry->words[DELIST_ENGLISH]));
	json_object_set_new(row, "steps_ja", steps_json(facts, &entry->words[DELIST_JAPANESE]));
	json_object_set_new(row, "subject", filled(facts, delist_subject(rules, entry)));
	json_object_set_new(row, "text_en", filled(facts, delist_text(rules, entry,
							      DELIST_ENGLISH)));
	json_object_set_new(row, "text_ja", filled(facts, delist_text(rules, entry,
							      DELIST_JAPANESE)));
	json_object_set_new(row, "asked_ms", json_integer(clock_shown_ms(i->asked_ms)));
	json_object_set_new(row, "asked_of", json_safe(span_text(i->asked_of)));
	return row;
}

/* ---- by mail ---- */

static int64_t wait_of(const struct delist *entry)
{
	return entry->wait_ms ? entry->wait_ms : 24 * 3600 * (int64_t)1000;
}

/* null: none follows by itself, for it is held by hand, or is over meanwhile. */
static json_t *probe_json(const struct incident *i)
{
	int64_t left = (i->next_probe_ms - clock_steady_ms()) / 1000;
	return i->next_probe_ms ? json_integer(left > 0 ? left : 0) : json_null();
}

static void answer_sent(struct request *r, const struct incident *i, const char *what)
{
	request_ok(r);
	request_row(
	    r, json_pack("{s:I,s:s,s:o,s:o}", "number", (json_int_t)i->number, "result", what, "to",
		   json_safe(span_text(i->asked_of)), "probe_s", probe_json(i)));
	request_end(r);
}

static void note_asked(struct delisting *d, const char *of, const char *what)
{
	const struct incident *i = incident_find(reputation_of(d), d->number);
	const struct delist *entry = i ? entry_of(d, i) : NULL;
	if (!entry) {
		if (d->request)
			request_fail(d->request, "incident %u is gone meanwhile", d->number);
		return;
	}
	incident_asked(reputation_of(d), d->number, of, wait_of(entry), clock_steady_ms());
	if (i->next_probe_ms)
		deliver_try_one(d->daemon->deliver, d->number, i->next_probe_ms);
	struct log_line line;
	control_log_change(&line, CMD_DELIST, d->uid);
	log_add_number(&line, "number", d->number);
	log_add_text(&line, "asked_of", of);
	log_end(&line);
	if (d->request)
		answer_sent(d->request, i, what);
}

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct delisting *d = arg;
	(void)id;
	if (reply->code == 250) {
		note_asked(d, d->mailbox, "the request is queued");
	} else if (d->request) {
		struct buf text = {0};
		reply_summary(reply, &text, 200);
		request_fail(d->request, "the request could not be queued: %s", buf_text(&text));
		buf_free(&text);
	}
	delisting_free(d);
}

static void submit(struct delisting *d, const struct incident *i, const struct delist *entry,
    struct span message)
{
	struct buf sender = {0};
	struct buf client = {0};
	delist_sender(d->settings->conf, &sender);
	if (entry->from_listed)
		delist_bind(&client, i->source, d->family);
	else
		buf_add_text(&client, "delist");
	struct envelope envelope = envelope_make(buf_text(&sender), buf_text(&client), d->mailbox);
	intake_submit(d->daemon->intake, &envelope, message, submitted, d);
	buf_free(&sender);
	buf_free(&client);
}

static void refuse_address(const struct delisting *d)
{
	if (d->address[0])
		request_fail(d->request,
		    "which address of ours is listed is not known, since no reply "
		    "names it, and %s is private; ask by hand (relayctl delist %u), then note "
		    "it with relayctl delist %u --asked",
		    d->address, d->number, d->number);
	else
		request_fail(d->request,
		    "which address of ours is listed is not known, since no reply "
		    "names it; give it with sources.ipv4 (or sources.ipv6)");
}

/* Result: true when it is refused (and that is said). */
static bool refuse(struct delisting *d, const struct incident *i, const struct delist *entry)
{
	struct request *r = d->request;
	if (i->sender_domain[0])
		request_fail(r,
		    "incident %u is about the domain %s and no list: see the steps of "
		    "relayctl delist %u",
		    d->number, i->sender_domain, d->number);
	else if (!entry->mail[0] && !entry->from_listed)
		request_fail(r, "%s takes no requests by mail%s%s; then note it with relayctl delist "
				"%u --asked", entry->name, entry->portal[0] ? ", only at " : "",
		    entry->portal, d->number);
	else if (!entry->mail[0] && !d->to[0])
		request_fail(r, "%s names its mailbox and the subject at %s: give them with --to "
				"ADDRESS --subject TEXT", entry->name, entry->portal);
	else if (entry->from_listed && strncmp(i->source, "smarthost:", 10) == 0)
		request_fail(r, "%s takes requests only from the listed address, which is that of "
				"the smarthost: its owner has to ask", entry->name);
	else if (!d->sure)
		refuse_address(d);
	else if (i->asked_ms && !d->again && clock_steady_ms() - i->asked_ms < wait_of(entry))
		request_fail(r, "%s was asked %lld minutes ago, and may take %lld hours; --again asks "
				"it nevertheless", i->asked_of,
		    (long long)(clock_steady_ms() - i->asked_ms) / 60000,
		    (long long)wait_of(entry) / 3600000);
	else
		return false;
	return true;
}

/* ---- in their order ---- */

static void ask_by_mail(struct delisting *d, const struct incident *i, const struct delist *entry,
    const struct delist_facts *facts)
{
	struct buf message = {0};
	d->mailbox = mem_text(d->to[0] ? d->to : entry->mail);
	struct delist_request request = {
	    .rules = d->settings->rules,
	    .entry = entry,
	    .facts = facts,
	    .to = d->mailbox,
	    .subject = d->subject,
	};
	delist_write(d->settings->conf, &request, &message);
	submit(d, i, entry, span_buf(&message));
	buf_free(&message);
}

static void go_on(struct delisting *d)
{
	const struct incident *i = incident_find(reputation_of(d), d->number);
	const struct delist *entry = i ? entry_of(d, i) : NULL;
	struct delist_facts facts;
	if (!entry) {
		request_fail(d->request, "incident %u is gone meanwhile", d->number);
		delisting_free(d);
		return;
	}
	delist_facts(&facts, d->settings->conf, entry, i, d->address, d->ptr,
	    schedule_waiting_for(deliver_schedule(d->daemon->deliver), d->number, WAITING_LOOKS));
	if (d->send) {
		ask_by_mail(d, i, entry, &facts);
	} else {
		request_ok(d->request);
		request_row(d->request, page_json(d, i, entry, &facts));
		request_end(d->request);
		delisting_free(d);
	}
	delist_facts_clear(&facts);
}

static void on_name(const struct dns_answer *answer, void *arg)
{
	struct delisting *d = arg;
	d->query = NULL;
	if (answer->status == DNS_OK)
		snprintf(d->ptr, sizeof(d->ptr), "%s", answer->records[0].name);
	else if (answer->status == DNS_NO_NAME || answer->status == DNS_NO_DATA)
		snprintf(d->ptr, sizeof(d->ptr), "(none)");
	else
		snprintf(d->ptr, sizeof(d->ptr), "(unknown: the DNS did not answer)");
	go_on(d);
}

static void ask_name(struct delisting *d)
{
	struct buf name = {0};
	delist_ptr_name(d->address, &name);
	if (name.len) {
		d->query = dns_ask(d->daemon->dns, buf_text(&name), DNS_PTR, on_name, d);
	} else {
		snprintf(d->ptr, sizeof(d->ptr), "(unknown)");
		go_on(d);
	}
	buf_free(&name);
}

/* ---- words ---- */

static bool take_words(struct delisting *d, const struct request *r)
{
	uint64_t number = 0;
	for (size_t i = 0; i < r->argc; i++) {
		const char *word = r->argv[i];
		bool more = i + 1 < r->argc;
		if (strcmp(word, "--send") == 0)
			d->send = true;
		else if (strcmp(word, "--again") == 0)
			d->again = true;
		else if (strcmp(word, "--asked") == 0)
			d->asked = true;
		else if (strcmp(word, "--to") == 0 && more)
			d->to = r->argv[++i];
		else if (strcmp(word, "--subject") == 0 && more)
			d->subject = r->argv[++i];
		else if (number || !span_number(span_text(word), UINT32_MAX, &number))
			return false;
	}
	d->number = (unsigned)number;
	return number && !(d->send && d->asked) && (d->send || (!d->to[0] && !d->subject[0]));
}

static bool is_mailbox(const char *text)
{
	struct address address;
	struct span s = span_text(text);
	return s.n < 320 && address_parse(s, &address) && address.domain.n;
}

/* Result: whether it goes on; else the request has its answer. */
static bool may_begin(struct delisting *d, const struct incident *i, const struct delist *entry)
{
	struct request *r = d->request;
	if (!i)
		request_fail(r, "no incident %u; see relayctl incidents", d->number);
	else if (!i->provider[0])
		request_fail(r,
		    "incident %u is about no receiver: no list has anything to remove; "
		    "see relayctl incidents show %u",
		    d->number, d->number);
	else if (!entry)
		request_fail(r, "nothing is known of removal: delist.conf is not where replies.conf "
				"is");
	else if ((d->send || d->asked) && !request_may(r, RIGHTS_CHANGE))
		request_fail(r, "--send and --asked are for root, the daemon's user and members of "
				"control_group");
	else if (d->send && d->to[0] && !is_mailbox(d->to))
		request_misused(r, "--to: expected an address like removal@example.org");
	else if ((d->send || d->asked) && !i->open)
		request_fail(
		    r, "incident %u is closed: there is nothing to be removed from", d->number);
	else
		return !d->send || !refuse(d, i, entry);
	return false;
}

void control_delist(struct request *r)
{
	struct delisting *d = mem_zero(sizeof(*d));
	d->request = r;
	d->uid = r->peer.uid;
	d->daemon = r->daemon;
	d->settings = settings_ref(r->daemon->settings);
	d->to = "";
	d->subject = "";
	r->delisting = d;
	if (!take_words(d, r)) {
		request_misused(r, "give the number of one incident; with --send, --to and "
				   "--subject; or --asked");
		delisting_free(d);
		return;
	}
	const struct incident *i = incident_find(reputation_of(d), d->number);
	const struct delist *entry = i ? entry_of(d, i) : NULL;
	d->sure = i && delist_address(d->settings->conf, i, d->address, &d->family);
	if (!may_begin(d, i, entry)) {
		delisting_free(d);
	} else if (d->asked) {
		note_asked(d, entry->name, "noted");
		delisting_free(d);
	} else {
		ask_name(d);
	}
}
