/* SPDX-License-Identifier: MIT
 * One message: all that is known of it, its content, and why it is still here.
 */
#include <string.h>
#include <sys/types.h>

#include "queue/verdict_text.h"
#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"
#include "relayd/dsn.h"
#include "relayd/explain.h"

#define CAT_PIECE 32768
#define ANSWERS_MAX 100 /* recipients of one message whose answers `why` tells */

/* The message that the only argument names; NULL: the request has failed. */
static struct message *one_message(struct request *r)
{
	uint64_t id;
	if (r->argc != 1 || !message_id_parse(span_text(r->argv[0]), &id)) {
		request_misused(r, "give one queue id (16 hex digits)");
		return NULL;
	}
	struct message *m = deliver_message(r->daemon->deliver, id);
	if (!m)
		request_fail(r, "no message %s in the queue", r->argv[0]);
	return m;
}

/* ---- queue show ---- */

static void fact_text(struct request *r, const char *name, const char *text)
{
	if (text[0])
		request_fact(r, name, json_safe(span_text(text)));
}

static void add_said(const struct request *r, const struct message *m, uint32_t recipient,
    json_t *row)
{
	const struct history_entry *last =
	    history_find(deliver_history(r->daemon->deliver), m->id, recipient);
	if (!last)
		return;
	json_object_set_new(row, "said", answer_json(last));
	json_object_set_new(row, "stage", json_string(last->stage));
	json_object_set_new(row, "said_s", json_integer((clock_steady_ms() - last->when_ms) / 1000));
}

/* What the sender asks of reports about it, as it would be passed on. */
static void add_dsn(const struct envelope *e, uint32_t recipient, json_t *row)
{
	struct buf text = {0};
	dsn_print_recipient(e, recipient, &text);
	if (text.len)
		json_object_set_new(row, "reports", json_safe(span_trim(span_buf(&text))));
	buf_free(&text);
}

static void show_recipient(struct request *r, const struct message *m, const struct envelope *e,
    const struct batch *b, uint32_t recipient)
{
	json_t *row = json_pack("{s:o,s:o,s:s,s:i,s:I}", "address",
	    json_safe(span_text(e->recipients[recipient])), "destination",
	    json_safe(span_text(destination_name(b->destination))), "state", batch_state_text(b),
	    "attempts", (int)b->attempts, "next_s", (json_int_t)batch_seconds(b));
	add_dsn(e, recipient, row);
	add_said(r, m, recipient, row);
	request_fact(r, "recipient", row);
}

static void show_batches(struct request *r, const struct message *m, const struct envelope *e)
{
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			show_recipient(r, m, e, b, batch_recipient(b, i));
}

static const char *priority_name(const struct message *m)
{
	static const char *const names[] = {
	    [CONF_PRIORITY_NORMAL] = "normal",
	    [CONF_PRIORITY_URGENT] = "urgent",
	    [CONF_PRIORITY_BULK] = "bulk",
	};
	return names[m->priority % 3];
}

void control_show(struct request *r)
{
	struct message *m = one_message(r);
	struct envelope e = {0};
	struct why why = {0};
	if (!m)
		return;
	if (spool_read_envelope(r->daemon->spool, m->id, m->place, &e, &why) < 0) {
		request_fail(r, "%s", why.text);
		return;
	}
	request_ok(r);
	request_fact(r, "id", json_string(r->argv[0]));
	request_fact(r, "age_s", json_integer((clock_steady_ms() - m->arrived_ms) / 1000));
	request_fact(r, "expires_s", json_integer((m->expires_ms - clock_steady_ms()) / 1000));
	request_fact(r, "size", json_integer((json_int_t)m->size));
	request_fact(r, "held", json_boolean(m->held));
	if (m->held)
		request_fact(r, "held_because", hold_reason(m, &e));
	request_fact(r, "priority", json_string(priority_name(m)));
	request_fact(r, "from", json_safe(span_text(e.sender)));
	fact_text(r, "from_was", e.sender_was);
	fact_text(r, "from_reason", e.sender_reason);
	fact_text(r, "header_from_was", e.from_was);
	fact_text(r, "domain", e.domain);
	fact_text(r, "client", e.client);
	fact_text(r, "user", e.user);
	fact_text(r, "entry", e.entry);
	fact_text(r, "script", e.script);
	fact_text(r, "message_id", e.message_id);
	fact_text(r, "envid", e.envid ? e.envid : "");
	request_fact(r, "recipients", json_integer(m->recipient_count));
	request_fact(r, "pending", json_integer(m->pending));
	show_batches(r, m, &e);
	const struct history_entry *last =
	    history_newest(deliver_history(r->daemon->deliver), m->id);
	bool forgotten = !last && message_attempts(m);
	request_fact(r, "last_answer",
	    forgotten ? json_string("not known any more, as after a restart of relayd")
		      : answer_json(last));
	envelope_free(&e);
	request_end(r);
}

/* ---- queue cat ---- */

/* Content may hold any byte: base64, a piece per row. */
static bool cat_page(struct request *r)
{
	char *piece = mem_alloc(CAT_PIECE);
	ssize_t n = spool_reader_read(r->reader, r->read_to, piece, CAT_PIECE);
	if (n > 0) {
		struct buf text = {0};
		text_base64(&text, (struct span){piece, (size_t)n});
		request_row(r, json_pack("{s:s}", "base64", buf_text(&text)));
		buf_free(&text);
		r->read_to += (uint64_t)n;
	} else if (n < 0) {
		request_row(r, json_pack("{s:s}", "error",
				   "the rest can not be read: the spool is damaged or busy; see the log"));
	}
	mem_free(piece);
	return n > 0 && r->read_to < spool_reader_size(r->reader);
}

void control_cat(struct request *r)
{
	struct message *m = one_message(r);
	struct why why = {0};
	if (!m)
		return;
	/* it holds the bytes, whatever becomes of the message meanwhile */
	r->reader = spool_reader_open(r->daemon->spool, m->id, m->place, &why);
	if (!r->reader) {
		request_fail(r, "%s", why.text);
		return;
	}
	request_ok(r);
	request_pages(r, cat_page);
}

/* ---- why ---- */

/* The longest pause of a destination of its that nobody answers for, and its NAME; 0:
 * there is none. */
static int64_t dead_seconds(const struct message *m, const char **name)
{
	int64_t longest = 0;
	for (const struct batch *b = m->batches; b; b = b->next_of_message) {
		int64_t until = destination_paused_until(b->destination);
		int64_t left = (until - clock_steady_ms()) / 1000;
		if (left > longest && destination_is_dead(b->destination)) {
			longest = left;
			*name = destination_name(b->destination);
		}
	}
	return longest;
}

static void fill_words(const struct history_entry *last, enum verdict_stage stage,
    enum verdict_class klass, json_t *row)
{
	struct buf meaning = {0};
	struct buf remedy = {0};
	const struct explain_own *own = explain_own(stage, last->status);
	if (last->smarthost[0] &&
	    explain_smarthost(stage, last->code, last->smarthost, &meaning, &remedy)) {
		/* it says more */
	} else if (own) {
		buf_add_text(&meaning, own->so_far);
		buf_add_text(&remedy, own->remedy);
	} else {
		buf_add_text(&meaning, explain_so_far(klass));
		buf_add_text(&remedy, explain_remedy(klass));
	}
	json_object_set_new(row, "means", json_string(buf_text(&meaning)));
	json_object_set_new(row, "do", json_string(buf_text(&remedy)));
	buf_free(&meaning);
	buf_free(&remedy);
}

/* What the last answer means, judged anew by the rules that are in force. */
static void fill_meaning(const struct request *r, const struct history_entry *last, json_t *row)
{
	struct verdict_text text = {0};
	struct buf answer = {0};
	answer_text(last, &answer);
	verdict_text_parse(&text, span_buf(&answer));
	text.input.mx = last->mx;
	text.input.smarthost = last->smarthost[0] != '\0';
	if (!verdict_stage_parse(span_text(last->stage), &text.input.stage))
		text.input.stage = VERDICT_STAGE_UNKNOWN;
	struct verdict verdict = verdict_judge(r->daemon->settings->rules, &text.input);
	json_object_set_new(row, "category", json_string(verdict_class_name(verdict.klass)));
	fill_words(last, text.input.stage, verdict.klass, row);
	if (verdict.help && verdict.help[0])
		json_object_set_new(row, "help", json_safe(span_text(verdict.help)));
	json_object_set_new(row, "stage", json_string(last->stage));
	json_object_set_new(row, "said_age", json_integer((clock_steady_ms() - last->when_ms) / 1000));
	verdict_text_clear(&text);
	buf_free(&answer);
}

/* That of the first batch which has met one that is open; NULL: none. */
static const struct incident *open_incident_of(const struct request *r, const struct message *m)
{
	for (const struct batch *b = m->batches; b; b = b->next_of_message) {
		const struct incident *i =
		    incident_find(paths_reputation(r->daemon->paths), b->incident);
		if (i && i->open)
			return i;
	}
	return NULL;
}

/* What keeps it back, if it is this server. A batch that is ready waits for a moment, which
 * nobody notes. */
static enum wait_cause waits_for(const struct message *m, const struct history_entry *last)
{
	for (const struct batch *b = m->batches; b; b = b->next_of_message) {
		if (!b->by_path || (b->state != BATCH_WAITING && b->state != BATCH_READY))
			continue;
		if (last && last->waits)
			return last->waits;
		return b->state == BATCH_READY ? WAIT_RATE : WAIT_UNKNOWN;
	}
	return WAIT_NONE;
}

/* It is not tried, or met a block: the incident says more than a reply does. */
static void fill_wait(
    const struct request *r, const struct message *m, const struct history_entry *last, json_t *row)
{
	const struct incident *i = open_incident_of(r, m);
	enum wait_cause cause = waits_for(m, last);
	bool said = last && strcmp(last->stage, "path") != 0;
	if (cause && (!said || cause == WAIT_BY_HAND)) {
		bool block = i && cause != WAIT_BY_HAND;
		json_object_set_new(row, "means", json_string(explain_wait_so_far(cause)));
		json_object_set_new(row, "do",
		    json_string(block ? explain_remedy(i->klass) : explain_wait_remedy(cause)));
		json_object_del(row, "help");
	}
	json_object_set_new(row, "waits", json_string(explain_wait_name(cause)));
	if (cause && last && last->provider[0])
		json_object_set_new(row, "provider", json_safe(span_text(last->provider)));
	if (!i)
		return;
	json_object_set_new(row, "incident", json_integer((json_int_t)i->number));
	json_object_set_new(row, "incident_provider", json_safe(span_text(i->provider)));
}

/* Where recipients wait for different reasons each is told. */
static void fill_answers(const struct request *r, const struct message *m,
    const struct envelope *e, json_t *row)
{
	json_t *list = json_array();
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count && json_array_size(list) < ANSWERS_MAX; i++) {
			uint32_t index = batch_recipient(b, i);
			json_t *one = json_pack("{s:o}", "to", json_safe(span_text(e->recipients[index])));
			add_said(r, m, index, one);
			json_array_append_new(list, one);
		}
	json_object_set_new(row, "answers", list);
}

void why_fill(const struct request *r, const struct message *m, const struct envelope *e,
    const struct history_entry *last, json_t *row)
{
	const char *destination = "";
	int64_t paused = dead_seconds(m, &destination);
	json_object_set_new(row, "attempts", json_integer(message_attempts(m)));
	json_object_set_new(row, "expires", json_integer((m->expires_ms - clock_steady_ms()) / 1000));
	json_object_set_new(row, "client", json_safe(span_text(e->client)));
	json_object_set_new(row, "held", hold_reason(m, e));
	json_object_set_new(row, "paused", json_integer(paused));
	if (paused)
		json_object_set_new(row, "destination", json_safe(span_text(destination)));
	if (last)
		fill_meaning(r, last, row);
	fill_wait(r, m, last, row);
	if (m->held)
		json_object_set_new(row, "do",
		    json_string(
			"Release it when it may go, or delete it: nothing is tried before."));
	fill_answers(r, m, e, row);
}
