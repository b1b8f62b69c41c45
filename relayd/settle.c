/* SPDX-License-Identifier: MIT
 * What the answers of an attempt mean: a verdict for each recipient, the log
 * line, the record in the spool, the report to the sender, and what the
 * schedule learns. Nothing here talks to the network.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"
#include "relayd/explain.h"
#include "relayd/report.h"
#include "smtp/header.h"

#define HEADER_SHOWN 65536 /* of the original header, in a report */
#define REPLY_SHOWN 400    /* of a reply, in the log */

static const enum verdict_stage stages[] = {
    [CLIENT_CONNECT] = VERDICT_STAGE_CONNECT,
    [CLIENT_BANNER] = VERDICT_STAGE_BANNER,
    [CLIENT_EHLO] = VERDICT_STAGE_EHLO,
    [CLIENT_TLS] = VERDICT_STAGE_TLS,
    [CLIENT_AUTH] = VERDICT_STAGE_AUTH,
    [CLIENT_MAIL] = VERDICT_STAGE_MAIL,
    [CLIENT_RCPT] = VERDICT_STAGE_RCPT,
    [CLIENT_DATA] = VERDICT_STAGE_DATA,
    [CLIENT_END] = VERDICT_STAGE_END,
};

/* ---- a recipient's result ---- */

static const char *state_name(enum tried_state state)
{
	switch (state) {
	case TRIED_OPEN:
	case TRIED_SENT:
		return "open";
	case TRIED_DELIVERED:
		return "delivered";
	case TRIED_LATER:
		return "deferred";
	case TRIED_FAILED:
		return "failed";
	}
	return "";
}

static void log_route(struct log_line *line, const struct attempt *a)
{
	if (a->source)
		log_add_text(line, "source", a->source->name);
	if (a->smarthost)
		log_add_text(line, "smarthost", a->smarthost->name);
	if (a->way.path.provider)
		log_add_text(line, "path", a->way.path.provider);
	if (a->host < a->host_count) {
		char address[CONN_ADDRESS_TEXT];
		log_add_text(line, "mx", a->hosts[a->host].name);
		log_add_text(line, "address",
		    conn_address_text(&a->hosts[a->host].address, address));
	}
	if (a->level.wanted) {
		log_add_text(line, "tls_level", a->level.wanted);
		log_add_text(line, "tls", a->level.reached);
		log_add_text(line, "verified", a->level.verified);
	}
}

static void log_result(const struct attempt *a, const struct tried *t, const char *stage)
{
	char id[MESSAGE_ID_TEXT];
	struct log_line line;
	struct span text = span_buf(&t->text);
	log_begin(&line, LOG_LEVEL_INFO, "attempt");
	log_add_text(&line, "id", message_id_text(a->id, id));
	log_add_text(&line, "to", t->address);
	log_add_text(&line, "from", a->envelope.sender);
	log_add_text(&line, "result", state_name(t->state));
	log_route(&line, a);
	log_add_text(&line, "stage", stage);
	log_add_number(&line, "code", t->code);
	log_add_text(&line, "status", t->status);
	if (t->state != TRIED_DELIVERED) {
		log_add_text(&line, "verdict", verdict_class_name(t->verdict.klass));
		log_add_text(&line, "scope", verdict_scope_name(t->verdict.scope));
		log_add_text(&line, "rule", t->verdict.rule);
	}
	log_add_number(&line, "attempts", a->batch->attempts + 1);
	log_add_number(&line, "delay_ms", clock_steady_ms() - a->envelope.arrived_ms);
	log_add_number(&line, "took_ms", clock_mono_ms() - a->started_ms);
	if (text.n > REPLY_SHOWN)
		text.n = REPLY_SHOWN;
	log_add(&line, "reply", text);
	log_end(&line);
}

static void record(struct attempt *a, const struct tried *t, enum spool_outcome outcome)
{
	spool_note_result(a->deliver->options.spool, a->id, t->index, outcome);
	schedule_recipient_done(a->deliver->schedule, a->batch, t->index);
}

static void judge(struct attempt *a, struct tried *t, enum verdict_stage stage,
    const struct enhanced *enhanced)
{
	struct verdict_input input = {
	    .stage = stage,
	    .code = t->code,
	    .klass = enhanced->klass,
	    .subject = enhanced->subject,
	    .detail = enhanced->detail,
	    .text = span_buf(&t->text),
	    .mx = t->mx,
	};
	t->verdict = verdict_judge(a->settings->rules, &input);
	switch (t->verdict.action) {
	case VERDICT_DELIVERED:
		t->state = TRIED_DELIVERED;
		break;
	case VERDICT_RETRY:
	case VERDICT_RETRY_SAME:
	case VERDICT_SLOW:
	case VERDICT_HOLD:
	case VERDICT_HOLD_DOMAIN:
		t->state = TRIED_LATER;
		break;
	case VERDICT_BOUNCE:
	case VERDICT_SUPPRESS:
		t->state = TRIED_FAILED;
		break;
	}
}

static void note_answer(struct attempt *a, const struct tried *t)
{
	struct buf text = {0};
	if (t->code)
		buf_addf(&text, "%u ", t->code);
	text_escape(&text, span_buf(&t->text), REPLY_SHOWN);
	history_note(a->deliver->history, a->id, clock_steady_ms(), t->status, t->mx, buf_text(&text));
	buf_free(&text);
}

static void take_result(struct attempt *a, struct tried *t, enum verdict_stage stage,
    const struct enhanced *enhanced, const char *stage_name)
{
	struct stats *stats = a->deliver->options.stats;
	enhanced_text(enhanced, t->status);
	judge(a, t, stage, enhanced);
	log_result(a, t, stage_name);
	if (t->state == TRIED_DELIVERED) {
		stats->delivered++;
		record(a, t, SPOOL_DELIVERED);
		return;
	}
	stats->deferred += t->state == TRIED_LATER;
	note_answer(a, t);
}

/* A failure of the client's making starts with an enhanced code where one fits
 * ("5.6.3 the receiver does not offer 8BITMIME"). */
static unsigned code_of_failure(const struct client_result *result, struct enhanced *enhanced)
{
	struct span text = span_text(result->why->text);
	enhanced_parse(text, enhanced);
	if (result->why->kind != WHY_PERM)
		return 0;
	return enhanced->klass == 5 ? 554 : 0;
}

void settle_reply(struct attempt *a, struct tried *t, const struct client_result *result)
{
	struct enhanced enhanced = {0};
	buf_clear(&t->text);
	snprintf(t->mx, sizeof(t->mx), "%s", a->hosts[a->host].name);
	t->answered = result->reply != NULL;
	if (result->reply) {
		t->code = result->reply->code;
		enhanced = result->reply->enhanced;
		buf_add(&t->text, result->reply->text.data, result->reply->text.len);
	} else {
		t->code = code_of_failure(result, &enhanced);
		buf_add_text(&t->text, result->why->text);
	}
	take_result(a, t, stages[result->stage], &enhanced, client_stage_name(result->stage));
	way_note(a, t, stages[result->stage], result);
}

void settle_local(struct attempt *a, struct tried *t, enum verdict_stage stage, bool permanent,
    const char *status, const char *text)
{
	struct enhanced enhanced = {0};
	enhanced_parse(span_text(status), &enhanced);
	buf_clear(&t->text);
	buf_add_text(&t->text, text);
	t->code = permanent ? 550 : 0;
	t->answered = false;
	take_result(a, t, stage, &enhanced, stage == VERDICT_STAGE_DNS ? "dns" : "local");
}

/* ---- the end of an attempt ---- */

/* Then it is the path that has to wait, and not the destination. */
static bool is_about_us(const struct verdict *v)
{
	return v->action == VERDICT_HOLD || v->action == VERDICT_HOLD_DOMAIN ||
	       v->action == VERDICT_SLOW;
}

static enum schedule_feedback feedback(const struct attempt *a)
{
	if (a->expired)
		return SCHEDULE_NEUTRAL;
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_LATER && is_about_us(&a->tried[i].verdict))
			return SCHEDULE_BLOCKED;
	if (a->reached)
		return SCHEDULE_WORKED;
	/* a domain that does not exist is an answer too */
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_LATER)
			return SCHEDULE_FAILED;
	return SCHEDULE_NEUTRAL;
}

/* The earliest time that a reply or rule has named; 0: by the ladder. */
static int64_t due_time(const struct attempt *a)
{
	int64_t wait = 0;
	for (size_t i = 0; i < a->tried_count; i++) {
		const struct tried *t = &a->tried[i];
		if (t->state == TRIED_LATER && t->verdict.wait_ms > 0 &&
		    (wait == 0 || t->verdict.wait_ms < wait))
			wait = t->verdict.wait_ms;
	}
	return wait ? clock_steady_ms() + wait : 0;
}

static void end_attempt(struct attempt *a)
{
	struct deliver *deliver = a->deliver;
	struct batch *batch = a->batch;
	uint64_t id = a->id;
	enum schedule_feedback how = feedback(a);
	if (how == SCHEDULE_BLOCKED)
		batch->message->incident = a->way.incident;
	int64_t due = due_time(a);
	attempt_free(a);
	schedule_finish(deliver->schedule, batch, how, due);
	const struct message *message = schedule_find(deliver->schedule, id);
	if (message) {
		struct spool_state state = message_state(deliver, message);
		spool_note_state(deliver->options.spool, id, &state);
	}
}

static void give_up(struct attempt *a)
{
	for (size_t i = 0; i < a->tried_count; i++) {
		if (a->tried[i].state != TRIED_FAILED)
			continue;
		a->deliver->options.stats->bounced++;
		record(a, &a->tried[i], SPOOL_BOUNCED);
	}
}

static void reported(void *arg, bool queued)
{
	struct attempt *a = arg;
	if (queued) {
		a->deliver->options.stats->reports++;
		give_up(a);
	}
	/* not queued: the recipients stay, and so does the chance to report them */
	end_attempt(a);
}

/* The header section of the stored message. */
static void read_header(struct spool_reader *reader, struct buf *header)
{
	uint64_t size = spool_reader_size(reader);
	size_t want = size < HEADER_SHOWN ? (size_t)size : HEADER_SHOWN;
	size_t scanned = 0;
	while (header->len < want) {
		char *room = buf_room(header, want - header->len);
		ssize_t n = spool_reader_read(reader, header->len, room, want - header->len);
		if (n <= 0)
			break;
		header->len += (size_t)n;
	}
	size_t body = header_end(span_buf(header), &scanned);
	if (body >= 2)
		header->len = body - 2;
}

static size_t list_failures(const struct attempt *a, struct bounce_recipient *list)
{
	size_t n = 0;
	for (size_t i = 0; i < a->tried_count; i++) {
		const struct tried *t = &a->tried[i];
		if (t->state != TRIED_FAILED)
			continue;
		list[n++] = (struct bounce_recipient){
		    .address = t->address,
		    .status = t->status[0] ? t->status : "5.0.0",
		    .mx = t->mx,
		    .code = t->answered ? t->code : 0,
		    .reply = buf_text(&t->text),
		    .reason = explain_failure(t->verdict.klass),
		    .last_attempt_ms = clock_wall_ms(),
		};
	}
	return n;
}

static void send_report(struct attempt *a)
{
	struct bounce_recipient *list = mem_array(a->tried_count, sizeof(*list));
	struct buf header = {0};
	read_header(a->reader, &header);
	struct report report = {
	    .kind = BOUNCE_FAILED,
	    .message_id = a->id,
	    .envelope = &a->envelope,
	    .header = span_buf(&header),
	    .expires_ms = a->batch->message->expires_ms,
	    .recipients = list,
	    .recipient_count = list_failures(a, list),
	};
	report_send(a->deliver->options.intake, a->settings->conf, &report, reported, a);
	buf_free(&header);
	mem_free(list);
}

static void log_discard(const struct attempt *a)
{
	char id[MESSAGE_ID_TEXT];
	struct log_line line;
	log_begin(&line, LOG_LEVEL_WARN, "discard");
	log_add_text(&line, "id", message_id_text(a->id, id));
	log_add_text(&line, "to", a->tried[0].address);
	log_add_text(&line, "reason", "nobody to report to: the envelope sender is empty");
	log_end(&line);
}

/* The last answer as it was: its lines stand escaped in the history. */
static void unfold(struct buf *text, const char *p)
{
	for (const char *end; (end = strstr(p, "\\x0a")); p = end + 4) {
		buf_add(text, p, (size_t)(end - p));
		buf_add_byte(text, ' ');
	}
	buf_add_text(text, p);
}

/* What a message has died of: what its last answer means, or that it waited for a way
 * out and was not tried at all. */
static enum verdict_class class_of_last(const struct attempt *a, const struct history_entry *last)
{
	enum verdict_class none = a->batch->by_path ? VERDICT_REPUTATION : VERDICT_SERVER_BUSY;
	struct enhanced enhanced = {0};
	struct buf text = {0};
	if (!last || last->text[0] < '4' || last->text[0] > '5')
		return none;
	unfold(&text, last->text);
	enhanced_parse(span_text(last->status), &enhanced);
	struct verdict_input input = {
	    .code = (unsigned)strtoul(buf_text(&text), NULL, 10),
	    .klass = enhanced.klass,
	    .subject = enhanced.subject,
	    .detail = enhanced.detail,
	    .text = span_buf(&text),
	    .mx = last->mx,
	};
	struct verdict v = verdict_judge(a->settings->rules, &input);
	buf_free(&text);
	return v.known ? v.klass : none;
}

/* The block that it waited for until the end; NULL: none. */
static const struct incident *waited_for(const struct attempt *a)
{
	const struct message *m = a->batch->message;
	struct reputation *reputation = paths_reputation(a->deliver->options.paths);
	return a->batch->blocked ? incident_find(reputation, m->incident) : NULL;
}

/* The words for people name the block and not the recipient. */
static void say_block(struct tried *t, const struct incident *i)
{
	t->verdict.klass = i->klass;
	buf_clear(&t->text);
	buf_addf(&t->text, "%s refuses mail of %s %s; the message waited as long as it may",
	    i->provider, i->sender_domain[0] ? "the domain" : "this mail server,",
	    i->sender_domain[0] ? i->sender_domain : i->source);
	if (i->reply_count)
		buf_addf(&t->text, ". The last answer was: %s", i->replies[0].text);
}

/* Its time is over: what the last answer was is in the history. */
static void expire(struct attempt *a)
{
	const struct history_entry *last = history_find(a->deliver->history, a->id);
	enum verdict_class klass = class_of_last(a, last);
	const struct incident *block = waited_for(a);
	for (size_t i = 0; i < a->tried_count; i++) {
		struct tried *t = &a->tried[i];
		snprintf(t->status, sizeof(t->status), "4.4.7");
		t->state = TRIED_FAILED;
		t->verdict.klass = klass;
		t->verdict.rule = "expired";
		if (last)
			snprintf(t->mx, sizeof(t->mx), "%s", last->mx);
		buf_add_text(&t->text, last ? last->text : "the message could not be delivered in time");
		if (block)
			say_block(t, block);
		log_result(a, t, "expired");
	}
}

void settle(struct attempt *a)
{
	size_t failed = 0;
	a->settling = true;
	if (a->expired)
		expire(a);
	for (size_t i = 0; i < a->tried_count; i++)
		failed += a->tried[i].state == TRIED_FAILED;
	/* deleted by hand meanwhile: nobody is told, as relayctl says */
	bool told = a->envelope.sender[0] && !a->envelope.report && !a->batch->doomed;
	if (failed && told) {
		send_report(a);
		return;
	}
	if (failed) {
		if (!a->batch->doomed)
			log_discard(a);
		give_up(a);
	}
	end_attempt(a);
}

/* ---- the delay notice ---- */

static void notice_sent(void *arg, bool queued)
{
	struct deliver *deliver = arg;
	deliver->options.stats->reports += queued;
}

static size_t list_waiting(struct deliver *deliver, const struct message *message,
    const struct envelope *e, struct bounce_recipient *list)
{
	const struct history_entry *last = history_find(deliver->history, message->id);
	int64_t age = last ? clock_steady_ms() - last->when_ms : 0;
	size_t n = 0;
	for (const struct batch *b = message->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			list[n++] = (struct bounce_recipient){
			    .address = e->recipients[batch_recipient(b, i)],
			    .status = last && last->status[0] ? last->status : "4.0.0",
			    .mx = last ? last->mx : "",
			    .reply = last ? last->text : "",
			    .reason = "It has not been delivered yet. relayd keeps trying; there is "
				      "nothing to do for now, and no need to send it again.",
			    .last_attempt_ms = clock_wall_ms() - age,
			};
	return n;
}

void settle_delay_notice(struct deliver *deliver, struct message *message)
{
	struct spool *spool = deliver->options.spool;
	struct envelope e = {0};
	struct why why = {0};
	if (spool_read_envelope(spool, message->id, message->place, &e, &why) < 0) {
		log_text(LOG_LEVEL_ERROR, "spool: %s", why.text);
		return;
	}
	struct spool_state state = message_state(deliver, message);
	spool_note_state(spool, message->id, &state);
	if (e.sender[0]) {
		struct bounce_recipient *list = mem_array(message->pending, sizeof(*list));
		struct buf header = {0};
		struct spool_reader *reader =
		    spool_reader_open(spool, message->id, message->place, NULL);
		if (reader) {
			read_header(reader, &header);
			spool_reader_close(reader);
		}
		struct report report = {
		    .kind = BOUNCE_DELAYED,
		    .message_id = message->id,
		    .envelope = &e,
		    .header = span_buf(&header),
		    .expires_ms = message->expires_ms,
		    .recipients = list,
		    .recipient_count = list_waiting(deliver, message, &e, list),
		};
		report_send(deliver->options.intake, deliver->settings->conf, &report, notice_sent,
		    deliver);
		buf_free(&header);
		mem_free(list);
	}
	envelope_free(&e);
}
