/* SPDX-License-Identifier: MIT
 * Queue commands. A list of a million messages is made page by page over loop
 * turns, and waits for its reader, so that mail goes on meanwhile.
 */
#include <inttypes.h>
#include <string.h>

#include "conf/units.h"
#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"

#define PAGE 200
#define CAT_PIECE 32768
#define WAIT_MS 20 /* until the reader has taken some */

void selection_clear(struct selection *s)
{
	mem_free(s->ids);
	*s = (struct selection){0};
}

/* ---- which messages ---- */

static struct schedule *queue_of(const struct request *r)
{
	return deliver_schedule(r->daemon->deliver);
}

static void select_id(struct selection *s, uint64_t id)
{
	if ((s->count & (s->count - 1)) == 0)
		s->ids = mem_resize(s->ids, s->count ? s->count * 2 : 1, sizeof(*s->ids));
	s->ids[s->count++] = id;
}

static void select_all(struct request *r)
{
	const struct message *m = NULL;
	while ((m = schedule_next(queue_of(r), m)))
		select_id(&r->selection, m->id);
}

/* An option with its value. -1: the request has failed. */
static int take_option(struct request *r, const char *option, const char *value)
{
	struct selection *s = &r->selection;
	if (strcmp(option, "--domain") == 0)
		s->domain = value;
	else if (strcmp(option, "--sender") == 0)
		s->sender = value;
	else if (strcmp(option, "--older") != 0)
		return request_fail(r, "%s is not known here", option), -1;
	else if (!units_parse_duration(span_text(value), &s->older_ms))
		return request_fail(r, "--older takes a duration like 2h, not \"%s\"", value), -1;
	return 0;
}

static int take_arguments(struct request *r)
{
	struct selection *s = &r->selection;
	for (size_t i = 0; i < r->argc; i++) {
		const char *word = r->argv[i];
		uint64_t id;
		if (strcmp(word, "--all") == 0) {
			s->all = true;
		} else if (strncmp(word, "--", 2) == 0) {
			if (i + 1 == r->argc)
				return request_fail(r, "%s needs a value", word), -1;
			if (take_option(r, word, r->argv[++i]) < 0)
				return -1;
		} else if (message_id_parse(span_text(word), &id)) {
			select_id(s, id);
		} else {
			return request_fail(r, "\"%s\" is not a queue id (16 hex digits)", word), -1;
		}
	}
	return 0;
}

static bool has_domain(const struct message *m, const struct envelope *e, const char *domain)
{
	for (const struct batch *b = m->batches; b; b = b->next_of_message) {
		if (strcmp(destination_name(b->destination), domain) == 0)
			return true;
		for (uint32_t i = 0; i < b->count; i++) {
			const char *at = strrchr(e->recipients[batch_recipient(b, i)], '@');
			if (at && span_is_nocase(span_text(at + 1), domain))
				return true;
		}
	}
	return false;
}

static bool has_recipient(const struct message *m, const struct envelope *e, const char *address)
{
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			if (span_is_nocase(span_text(e->recipients[batch_recipient(b, i)]), address))
				return true;
	return false;
}

static bool is_wanted(const struct request *r, const struct message *m, const struct envelope *e)
{
	const struct selection *s = &r->selection;
	if (s->older_ms && clock_wall_ms() - m->arrived_ms < s->older_ms)
		return false;
	if (s->sender && !span_is_nocase(span_text(e->sender), s->sender))
		return false;
	if (s->domain && strchr(s->domain, '@'))
		return has_recipient(m, e, s->domain);
	return !s->domain || has_domain(m, e, s->domain);
}

/* ---- rows ---- */

static const char *state_text(const struct message *m)
{
	static const char *const names[] = {[BATCH_WAITING] = "waiting", [BATCH_READY] = "ready",
	    [BATCH_RUNNING] = "running", [BATCH_HELD] = "held"};
	enum batch_state best = BATCH_WAITING;
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		if (b->state > best)
			best = b->state;
	return names[best];
}

/* Seconds until the next attempt of the earliest batch. */
static int64_t next_seconds(const struct message *m)
{
	int64_t first = INT64_MAX;
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		if (b->try_ms < first)
			first = b->try_ms;
	int64_t left = first == INT64_MAX ? 0 : (first - clock_steady_ms()) / 1000;
	return left > 0 ? left : 0;
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

static json_t *last_answer(const struct request *r, const struct message *m)
{
	const struct history_entry *last = history_find(deliver_history(r->daemon->deliver), m->id);
	struct buf text = {0};
	if (last && last->mx[0])
		buf_addf(&text, "%s: ", last->mx);
	if (last)
		buf_add_text(&text, last->text);
	json_t *value = json_safe(span_buf(&text));
	buf_free(&text);
	return value;
}

static json_t *list_row(const struct request *r, const struct message *m, const struct envelope *e)
{
	char id[MESSAGE_ID_TEXT];
	bool why = r->command == CMD_WHY;
	return json_pack("{s:s,s:I,s:I,s:s,s:I,s:o,s:o,s:o}", "id", message_id_text(m->id, id), "age",
	    (json_int_t)((clock_wall_ms() - m->arrived_ms) / 1000), "size", (json_int_t)m->size,
	    "state", state_text(m), "next", (json_int_t)next_seconds(m), "from",
	    json_safe(span_text(e->sender)), "to", recipients_of(m, e), why ? "said" : "last",
	    last_answer(r, m));
}

static json_t *change(struct request *r, struct message *m)
{
	struct deliver *deliver = r->daemon->deliver;
	const char *result = "";
	char id[MESSAGE_ID_TEXT];
	message_id_text(m->id, id);
	if (r->command == CMD_QUEUE_HOLD) {
		deliver_hold(deliver, m, true);
		result = "held";
	} else if (r->command == CMD_QUEUE_RELEASE) {
		deliver_hold(deliver, m, false);
		result = "released";
	} else if (r->command == CMD_QUEUE_RETRY) {
		schedule_retry(queue_of(r), m);
		result = "due now";
	} else if (r->command == CMD_QUEUE_DELETE) {
		deliver_delete(deliver, m);
		result = "deleted";
	}
	r->changed++;
	return json_pack("{s:s,s:s}", "id", id, "result", result);
}

static void look_at(struct request *r, struct message *m)
{
	struct envelope e = {0};
	if (spool_read_envelope(r->daemon->spool, m->id, m->place, &e, NULL) < 0)
		return;
	if (is_wanted(r, m, &e)) {
		bool only_look = r->command == CMD_QUEUE_LIST || r->command == CMD_WHY;
		request_row(r, only_look ? list_row(r, m, &e) : change(r, m));
	}
	envelope_free(&e);
}

static void next_page(void *arg)
{
	struct request *r = arg;
	struct selection *s = &r->selection;
	for (int n = 0; n < PAGE && s->at < s->count && request_has_room(r); n++) {
		struct message *m = schedule_find(queue_of(r), s->ids[s->at++]);
		if (m)
			look_at(r, m);
	}
	if (s->at < s->count)
		timer_start(&r->timer, request_has_room(r) ? 0 : WAIT_MS);
	else
		request_end(r);
}

static void start_pages(struct request *r)
{
	request_ok(r);
	conn_deadline(r->conn, -1);
	timer_init(&r->timer, r->daemon->loop, next_page, r);
	timer_start(&r->timer, 0);
}

static void control_why(struct request *r)
{
	uint64_t id;
	if (r->argc != 1) {
		request_fail(r, "why takes one queue id, address or domain");
		return;
	}
	if (message_id_parse(span_text(r->argv[0]), &id)) {
		select_id(&r->selection, id);
	} else {
		r->selection.domain = r->argv[0];
		select_all(r);
	}
	start_pages(r);
}

void control_queue(struct request *r)
{
	struct selection *s = &r->selection;
	if (r->command == CMD_WHY) {
		control_why(r);
		return;
	}
	if (take_arguments(r) < 0)
		return;
	bool named = s->count > 0;
	bool filtered = s->domain || s->sender || s->older_ms;
	if (!named && !filtered && !s->all && r->command != CMD_QUEUE_LIST) {
		request_fail(r, "which messages? give ids, --domain, --sender, --older or --all");
		return;
	}
	for (size_t i = 0; i < s->count; i++)
		if (!schedule_find(queue_of(r), s->ids[i])) {
			char id[MESSAGE_ID_TEXT];
			request_fail(r, "no message %s in the queue", message_id_text(s->ids[i], id));
			return;
		}
	if (!named)
		select_all(r);
	start_pages(r);
}

/* ---- one message ---- */

/* The message that the only argument names; NULL: the request has failed. */
static struct message *one_message(struct request *r)
{
	uint64_t id;
	if (r->argc != 1 || !message_id_parse(span_text(r->argv[0]), &id)) {
		request_fail(r, "give one queue id (16 hex digits)");
		return NULL;
	}
	struct message *m = schedule_find(queue_of(r), id);
	if (!m)
		request_fail(r, "no message %s in the queue", r->argv[0]);
	return m;
}

static void fact_text(struct request *r, const char *name, const char *text)
{
	if (text[0])
		request_fact(r, name, json_safe(span_text(text)));
}

static void show_batches(struct request *r, const struct message *m, const struct envelope *e)
{
	static const char *const names[] = {[BATCH_WAITING] = "waiting", [BATCH_READY] = "ready",
	    [BATCH_RUNNING] = "running", [BATCH_HELD] = "held"};
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++) {
			int64_t left = (b->try_ms - clock_steady_ms()) / 1000;
			request_fact(r, "recipient",
			    json_pack("{s:o,s:s,s:s,s:i,s:I}", "address",
				json_safe(span_text(e->recipients[batch_recipient(b, i)])),
				"destination", destination_name(b->destination), "state",
				names[b->state], "attempts", (int)b->attempts, "next_s",
				(json_int_t)(left > 0 ? left : 0)));
		}
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
	request_fact(r, "age_s", json_integer((clock_wall_ms() - m->arrived_ms) / 1000));
	request_fact(r, "expires_s", json_integer((m->expires_ms - clock_steady_ms()) / 1000));
	request_fact(r, "size", json_integer((json_int_t)m->size));
	request_fact(r, "from", json_safe(span_text(e.sender)));
	fact_text(r, "from_was", e.sender_was);
	fact_text(r, "from_reason", e.sender_reason);
	fact_text(r, "header_from_was", e.from_was);
	fact_text(r, "domain", e.domain);
	fact_text(r, "client", e.client);
	fact_text(r, "user", e.user);
	fact_text(r, "message_id", e.message_id);
	request_fact(r, "recipients", json_integer(m->recipient_count));
	request_fact(r, "pending", json_integer(m->pending));
	show_batches(r, m, &e);
	request_fact(r, "last_answer", last_answer(r, m));
	envelope_free(&e);
	request_end(r);
}

/* Content may hold any byte: base64, a piece per row. */
void control_cat(struct request *r)
{
	struct message *m = one_message(r);
	struct why why = {0};
	if (!m)
		return;
	struct spool_reader *reader = spool_reader_open(r->daemon->spool, m->id, m->place, &why);
	if (!reader) {
		request_fail(r, "%s", why.text);
		return;
	}
	char *piece = mem_alloc(CAT_PIECE);
	uint64_t at = 0;
	ssize_t n;
	request_ok(r);
	while (at < spool_reader_size(reader) &&
	       (n = spool_reader_read(reader, at, piece, CAT_PIECE)) > 0) {
		struct buf text = {0};
		text_base64(&text, (struct span){piece, (size_t)n});
		request_row(r, json_pack("{s:s}", "base64", buf_text(&text)));
		buf_free(&text);
		at += (uint64_t)n;
	}
	mem_free(piece);
	spool_reader_close(reader);
	request_end(r);
}

/* ---- destinations ---- */

static void destination_row(void *arg, const struct destination_stats *d)
{
	struct request *r = arg;
	int64_t left = d->paused_until_ms ? (d->paused_until_ms - clock_steady_ms()) / 1000 : 0;
	request_row(r, json_pack("{s:o,s:I,s:I,s:I,s:I,s:f,s:I}", "destination",
			   json_safe(span_text(d->name)), "waiting", (json_int_t)d->waiting, "ready",
			   (json_int_t)d->ready, "running", (json_int_t)d->running, "held",
			   (json_int_t)d->held, "window", d->window, "paused",
			   (json_int_t)(left > 0 ? left : 0)));
}

void control_destinations(struct request *r)
{
	request_ok(r);
	schedule_each_destination(queue_of(r), destination_row, r);
	request_end(r);
}
