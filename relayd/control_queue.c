/* SPDX-License-Identifier: MIT
 * Queue commands: a selection, looked at page by page, of which each message
 * becomes a row or is changed.
 */
#include <stdlib.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"

#define LOGGED_TO_MAX 600 /* bytes of recipients; the log keeps no longer value */

/* ---- which messages ---- */

static struct schedule *queue_of(const struct request *r)
{
	return deliver_schedule(r->daemon->deliver);
}

struct picked {
	int64_t arrived_ms;
	uint64_t id;
};

static int by_age(const void *a, const void *b)
{
	const struct picked *one = a;
	const struct picked *other = b;
	if (one->arrived_ms != other->arrived_ms)
		return one->arrived_ms < other->arrived_ms ? -1 : 1;
	return (one->id > other->id) - (one->id < other->id);
}

/* All, oldest first. They stand in the queue as they came in, but for a restart
 * after the spool has moved old ones to its head. */
static void select_all(struct request *r)
{
	size_t count = schedule_stats(queue_of(r)).messages;
	struct picked *list = mem_array(count, sizeof(*list));
	bool sorted = true;
	size_t n = 0;
	const struct message *m = NULL;
	while (n < count && (m = schedule_next(queue_of(r), m))) {
		list[n++] = (struct picked){m->arrived_ms, m->id};
		sorted = sorted && (n < 2 || list[n - 2].arrived_ms <= list[n - 1].arrived_ms);
	}
	if (!sorted)
		qsort(list, n, sizeof(*list), by_age);
	for (size_t i = 0; i < n; i++)
		selection_add(&r->selection, list[i].id);
	mem_free(list);
}

/* ---- rows ---- */

static const char *const state_names[] = {
    [BATCH_WAITING] = "waiting",
    [BATCH_READY] = "ready",
    [BATCH_EXPIRED] = "expired",
    [BATCH_RUNNING] = "running",
    [BATCH_HELD] = "held",
};

/* Its own time has come; that of its destination has not. */
static bool is_paused(const struct batch *b)
{
	return b->state == BATCH_READY &&
	       destination_paused_until(b->destination) > clock_steady_ms();
}

const char *batch_state_text(const struct batch *batch)
{
	return is_paused(batch) ? "paused" : state_names[batch->state];
}

int64_t batch_seconds(const struct batch *batch)
{
	int64_t at = batch->state == BATCH_WAITING ? batch->try_ms : 0;
	int64_t pause = destination_paused_until(batch->destination);
	if ((batch->state == BATCH_WAITING || batch->state == BATCH_READY) && pause > at)
		at = pause;
	int64_t left = (at - clock_steady_ms()) / 1000;
	return left > 0 ? left : 0;
}

/* In the order of their states; what is paused waits like others, and the sooner is further. */
static bool is_further(const struct batch *a, const struct batch *b)
{
	int one = is_paused(a) ? BATCH_WAITING : a->state;
	int other = is_paused(b) ? BATCH_WAITING : b->state;
	return one != other ? one > other : batch_seconds(a) < batch_seconds(b);
}

/* Of the batch that is furthest on. */
static const char *state_text(const struct message *m)
{
	const struct batch *best = m->batches;
	for (const struct batch *b = best->next_of_message; b; b = b->next_of_message)
		if (is_further(b, best))
			best = b;
	return batch_state_text(best);
}

/* Seconds until the next attempt of the earliest batch. */
static int64_t next_seconds(const struct message *m)
{
	int64_t first = INT64_MAX;
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		if (batch_seconds(b) < first)
			first = batch_seconds(b);
	return first == INT64_MAX ? 0 : first;
}

int message_attempts(const struct message *m)
{
	int most = 0;
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		most = b->attempts > most ? b->attempts : most;
	return most;
}

static json_t *recipients_of(const struct message *m, const struct envelope *e)
{
	json_t *list = json_array();
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			json_array_append_new(list,
			    json_safe(span_text(e->recipients[batch_recipient(b, i)])));
	return list;
}

/* "451 4.2.0 not now", as it came but for its line ends. */
void answer_text(const struct history_entry *last, struct buf *out)
{
	if (last->code)
		buf_addf(out, "%u ", last->code);
	if (last->status[0])
		buf_addf(out, "%s ", last->status);
	buf_add_text(out, last->text); /* escaped when it was noted */
}

json_t *answer_json(const struct history_entry *last)
{
	struct buf text = {0};
	if (last && last->mx[0]) {
		text_escape(&text, span_text(last->mx), 255);
		buf_add_text(&text, ": ");
	}
	if (last)
		answer_text(last, &text);
	json_t *value = json_stringn(buf_text(&text), text.len);
	buf_free(&text);
	return value ? value : json_string("");
}

/* The newest answer about the recipients that were asked for; about any of them, when
 * all were. */
static const struct history_entry *answer_asked_for(const struct request *r,
    const struct message *m, const struct envelope *e)
{
	const struct history *history = deliver_history(r->daemon->deliver);
	const struct history_entry *newest = NULL;
	if (!r->selection.domain)
		return history_newest(history, m->id);
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++) {
			uint32_t index = batch_recipient(b, i);
			const struct history_entry *last = history_find(history, m->id, index);
			if (last && (!newest || last->when_ms > newest->when_ms) &&
			    selection_names(&r->selection, b, e->recipients[index]))
				newest = last;
		}
	return newest;
}

json_t *hold_reason(const struct message *m, const struct envelope *e)
{
	struct buf text = {0};
	brake_code_text(m->brake, e, &text);
	if (m->held && !m->brake)
		buf_add_text(&text, "held by hand");
	json_t *value = json_safe(m->held ? span_buf(&text) : span_text(""));
	buf_free(&text);
	return value;
}

static json_t *list_row(const struct request *r, const struct message *m, const struct envelope *e)
{
	char id[MESSAGE_ID_TEXT];
	bool why = r->command == CMD_WHY;
	const struct history_entry *last = answer_asked_for(r, m, e);
	json_t *row = json_pack("{s:s,s:I,s:I,s:s,s:I,s:o,s:o,s:o}", "id", message_id_text(m->id, id),
	    "age", (json_int_t)((clock_steady_ms() - m->arrived_ms) / 1000), "size",
	    (json_int_t)m->size, "state", state_text(m), "next", (json_int_t)next_seconds(m), "from",
	    json_safe(span_text(e->sender)), "to", recipients_of(m, e), why ? "said" : "last",
	    !why && m->held && m->brake ? hold_reason(m, e) : answer_json(last));
	if (why)
		why_fill(r, m, e, last, row);
	return row;
}

/* ---- changes ---- */

static void log_recipients(struct log_line *line, const struct message *m, const struct envelope *e)
{
	struct buf to = {0};
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count && to.len < LOGGED_TO_MAX; i++)
			buf_addf(
			    &to, "%s%s", to.len ? "," : "", e->recipients[batch_recipient(b, i)]);
	log_add(line, "to", span_buf(&to));
	buf_free(&to);
}

static void log_change(const struct request *r, const struct message *m, const struct envelope *e)
{
	char id[MESSAGE_ID_TEXT];
	struct log_line line;
	control_log_change(&line, r->command, r->peer.uid);
	log_add_text(&line, "id", message_id_text(m->id, id));
	if (e) {
		log_add_text(&line, "from", e->sender);
		log_recipients(&line, m, e);
	}
	log_add_number(&line, "recipients", m->pending);
	log_end(&line);
}

/* What was held, released or tried because of more than its id is in the queue still: one
 * line is enough for all of it, with what was asked for. */
void control_queue_over(const struct request *r)
{
	struct log_line line;
	struct buf words = {0};
	if (!r->changed || r->selection.named || r->command == CMD_QUEUE_DELETE)
		return;
	for (size_t i = 0; i < r->argc; i++)
		buf_addf(&words, "%s%s", i ? " " : "", r->argv[i]);
	control_log_change(&line, r->command, r->peer.uid);
	log_add(&line, "which", span_buf(&words));
	log_add_number(&line, "messages", (int64_t)r->changed);
	log_end(&line);
	buf_free(&words);
}

/* Result: what it comes to, and whether that is a change. A message that was deleted is
 * gone. */
static const char *apply(struct request *r, struct message *m, bool *changed)
{
	struct deliver *deliver = r->daemon->deliver;
	bool held = m->held;
	*changed = true;
	if (r->command == CMD_QUEUE_DELETE) {
		deliver_delete(deliver, m);
		return "deleted";
	}
	if (r->command == CMD_QUEUE_HOLD) {
		deliver_hold(deliver, m, true);
		return "held";
	}
	if (r->command == CMD_QUEUE_RELEASE) {
		deliver_hold(deliver, m, false);
		*changed = held;
		return held ? "released" : "was not held";
	}
	*changed = !held && schedule_retry(queue_of(r), m);
	if (held)
		return "held: release it first";
	return *changed ? "due now" : "being tried";
}

/* E: NULL when the envelope can not be read. */
static json_t *change(struct request *r, struct message *m, const struct envelope *e)
{
	bool changed;
	bool goes = r->command == CMD_QUEUE_DELETE;
	char id[MESSAGE_ID_TEXT];
	message_id_text(m->id, id);
	json_t *to = e ? recipients_of(m, e) : json_array();
	if (goes) /* the line is all that is left of it */
		log_change(r, m, e);
	bool refused = r->selection.named && r->command == CMD_QUEUE_RETRY && m->held;
	const char *result = apply(r, m, &changed);
	r->changed += changed;
	if (changed && !goes && r->selection.named)
		log_change(r, m, e);
	/* of all that fit, those that can be are tried; who names one means that one */
	return json_pack("{s:s,s:s,s:s*,s:o}", "id", id, "result", result, "error",
	    refused ? result : NULL, "to", to);
}

/* One whose envelope can not be read is in the queue all the same, and may be changed by
 * who names it; whether it fits anything else is not known. */
static void look_at(struct request *r, struct message *m)
{
	struct selection *s = &r->selection;
	struct envelope e = {0};
	struct why why = {0};
	char id[MESSAGE_ID_TEXT];
	int64_t now = clock_steady_ms();
	bool only_look = r->command == CMD_QUEUE_LIST || r->command == CMD_WHY;
	if (!selection_may_fit(s, m, now))
		return;
	bool known = spool_read_envelope(r->daemon->spool, m->id, m->place, &e, &why) == 0;
	if (!known && (only_look || !s->named))
		request_row(r, json_pack("{s:s,s:o}", "id", message_id_text(m->id, id), "error",
				   json_safe(span_text(why.text))));
	else if (!known || selection_fits(s, m, &e, now))
		request_row(r, only_look ? list_row(r, m, &e) : change(r, m, known ? &e : NULL));
	envelope_free(&e);
}

static bool queue_page(struct request *r)
{
	struct selection *s = &r->selection;
	char id[MESSAGE_ID_TEXT];
	if (s->at == s->count)
		return false;
	uint64_t wanted = s->ids[s->at++];
	struct message *m = deliver_message(r->daemon->deliver, wanted);
	if (m)
		look_at(r, m);
	else if (s->named)
		request_row(r, json_pack("{s:s,s:s}", "id", message_id_text(wanted, id), "error",
				   "not in the queue"));
	return s->at < s->count;
}

/* One id, or whatever has a recipient at an address or a domain. */
static int select_why(struct request *r)
{
	uint64_t id;
	if (r->argc != 1) {
		request_misused(r, "why takes one queue id, address or domain");
		return -1;
	}
	if (!message_id_parse(span_text(r->argv[0]), &id))
		r->selection.domain = r->argv[0];
	else if (deliver_message(r->daemon->deliver, id))
		selection_add(&r->selection, id);
	return 0;
}

static int select_some(struct request *r)
{
	struct selection *s = &r->selection;
	struct why why = {0};
	if (selection_parse(s, r->argv, r->argc, &why) < 0) {
		request_misused(r, "%s", why.text);
		return -1;
	}
	if (selection_is_empty(s) && r->command != CMD_QUEUE_LIST) {
		request_misused(r, "which messages? give ids, --domain, --sender, --who, --older or --all");
		return -1;
	}
	/* of several, those that are there are dealt with and the others named */
	if (s->count == 1 && !deliver_message(r->daemon->deliver, s->ids[0])) {
		request_fail(r, "no message %s in the queue", r->argv[0]);
		return -1;
	}
	return 0;
}

void control_queue(struct request *r)
{
	bool why = r->command == CMD_WHY;
	if ((why ? select_why(r) : select_some(r)) < 0)
		return;
	if (why ? r->selection.domain != NULL : !r->selection.named)
		select_all(r);
	request_ok(r);
	request_pages(r, queue_page);
}
