/* SPDX-License-Identifier: MIT
 * What the answers of an attempt mean: a verdict for each recipient, the log
 * line, the record in the spool, and what the schedule learns. The reports to the
 * sender are settle_report.c's. Nothing here talks to the network. The end, each step
 * leading to the one behind it:
 *
 *	settle           expired ones get the answer that is known
 *	relayed          the sender hears of successes that nobody else will tell of
 *	failures         the sender hears of them, then they are given up
 *	end_attempt      the schedule has the batch back
 */
#include <stdio.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"
#include "relayd/dsn.h"

#define REPLY_SHOWN 400 /* of a reply, in the log and the history */
#define NEXT_PART_MS 1000 /* before those that a connection had no room for */

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

/* What is judged: a reply, or what was found here. */
struct answer {
	enum verdict_stage stage;
	const char *stage_name;
	unsigned code;  /* of a finding: 0, or the one that a receiver would give; not shown */
	bool elsewhere; /* what is permanent is so for this host only: another may take it */
	struct enhanced enhanced;
};

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
	a->has_results = true;
	history_forget(a->deliver->history, a->id, t->index);
	schedule_recipient_done(a->deliver->schedule, a->batch, t->index);
	bool unknown = t->verdict.scope == VERDICT_SCOPE_RECIPIENT &&
		       t->verdict.klass == VERDICT_UNKNOWN_RECIPIENT;
	if (outcome == SPOOL_DELIVERED || unknown)
		brake_watch_recipient(a->deliver->options.brake, &a->envelope, unknown);
}

/* Then it is the path that has to wait, and not the destination. */
static bool is_about_us(const struct verdict *v)
{
	return v->action == VERDICT_HOLD || v->action == VERDICT_HOLD_DOMAIN ||
	       v->action == VERDICT_SLOW;
}

bool settle_blames_us(const struct attempt *a, const struct client_result *result)
{
	const struct reply *reply = result->reply;
	struct verdict_input input = {
	    .stage = stages[result->stage],
	    .code = reply->code,
	    .klass = reply->enhanced.klass,
	    .subject = reply->enhanced.subject,
	    .detail = reply->enhanced.detail,
	    .text = span_buf(&reply->text),
	    .mx = a->hosts[a->host].name,
	    .smarthost = a->smarthost != NULL,
	};
	struct verdict v = verdict_judge(a->settings->rules, &input);
	return v.known && v.scope != VERDICT_SCOPE_CONNECTION && is_about_us(&v);
}

static void judge(struct attempt *a, struct tried *t, const struct answer *answer)
{
	struct verdict_input input = {
	    .stage = answer->stage,
	    .code = answer->code,
	    .klass = answer->enhanced.klass,
	    .subject = answer->enhanced.subject,
	    .detail = answer->enhanced.detail,
	    .text = span_buf(&t->text),
	    .mx = t->mx,
	    .smarthost = a->smarthost != NULL,
	};
	/* the rules are for the words of receivers: a finding of ours, with a name in it such as
	 * mx.dnsbl.example, is none, and its codes are exact. A rule may name the stage DNS. */
	bool ours = !t->answered && answer->stage != VERDICT_STAGE_DNS;
	t->verdict = verdict_judge(ours ? NULL : a->settings->rules, &input);
	t->verdict.known |= !t->answered && answer->code;
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
		t->state = answer->elsewhere ? TRIED_LATER : TRIED_FAILED;
		break;
	}
}

/* As one line: of several the ends become blanks. */
static void note_answer(struct attempt *a, const struct tried *t)
{
	struct buf plain = {0};
	struct buf text = {0};
	buf_add(&plain, t->text.data, t->text.len);
	for (size_t i = 0; i < plain.len; i++)
		if (plain.data[i] == '\n')
			plain.data[i] = ' ';
	text_escape(&text, span_buf(&plain), REPLY_SHOWN);
	struct history_entry entry = {
	    .when_ms = t->said_ms,
	    .stage = t->stage,
	    .klass = t->verdict.known ? t->verdict.klass : VERDICT_SERVER_BUSY,
	    .code = t->code,
	    .mx = t->mx,
	    .smarthost = a->smarthost ? a->smarthost->name : "",
	    .text = buf_text(&text),
	};
	memcpy(entry.status, t->status, sizeof(entry.status));
	history_note(a->deliver->history, a->id, t->index, &entry);
	buf_free(&plain);
	buf_free(&text);
}

/* A reply that no rule knew is counted by its kind. */
static void note_unknown(const struct attempt *a, const struct tried *t, enum verdict_stage stage)
{
	struct buf reply = {0};
	if (t->verdict.known || !t->answered || t->code < 400)
		return;
	buf_addf(&reply, "%u ", t->code);
	if (t->status[0])
		buf_addf(&reply, "%s ", t->status);
	buf_add(&reply, t->text.data, t->text.len);
	reputation_unknown(paths_reputation(a->deliver->options.paths),
	    a->way.path.provider ? a->way.path.provider : t->mx, stage, span_buf(&reply),
	    &t->verdict, clock_steady_ms());
	buf_free(&reply);
}

static void take_result(struct attempt *a, struct tried *t, const struct answer *answer)
{
	struct stats *stats = a->deliver->options.stats;
	enhanced_text(&answer->enhanced, t->status);
	t->code = t->answered ? answer->code : 0;
	t->stage = answer->stage_name;
	t->said_ms = clock_steady_ms();
	judge(a, t, answer);
	/* first of all: with a kill -9 before that it would be sent again */
	if (t->state == TRIED_DELIVERED)
		record(a, t, SPOOL_DELIVERED);
	log_result(a, t, t->stage);
	if (t->state == TRIED_DELIVERED) {
		stats->delivered++;
		/* a host that knows RFC 3461 tells of the success itself */
		t->relayed = a->client && !client_info(a->client).dsn &&
		             dsn_is_wanted(&a->envelope, t->index, ENVELOPE_NOTIFY_SUCCESS);
		return;
	}
	stats->deferred += t->state == TRIED_LATER;
	note_unknown(a, t, answer->stage);
	note_answer(a, t);
}

/* A failure of the client's making starts with an enhanced code where one fits
 * ("5.6.3 the receiver does not offer 8BITMIME"). TEXT gets what follows it. */
static unsigned code_of_failure(const struct client_result *result, struct enhanced *enhanced,
    struct buf *text)
{
	const char *whole = result->why->text;
	size_t n = enhanced_parse(span_text(whole), enhanced);
	buf_add_text(text, whole + n + (n && whole[n] == ' '));
	if (result->why->kind != WHY_PERM)
		return 0;
	return enhanced->klass == 5 ? 554 : 0;
}

/* This host has not said a word, and one before it has: what that said stands. */
static void settle_unreached(
    struct attempt *a, struct tried *t, struct answer *answer, const struct client_result *result)
{
	struct tried here = *t;
	here.text = (struct buf){0};
	here.answered = false;
	here.code = 0;
	snprintf(here.mx, sizeof(here.mx), "%s", a->hosts[a->host].name);
	answer->code = code_of_failure(result, &answer->enhanced, &here.text);
	enhanced_text(&answer->enhanced, here.status);
	judge(a, &here, answer);
	log_result(a, &here, answer->stage_name);
	a->deliver->options.stats->deferred++;
	way_note(a, &here, answer->stage, result);
	buf_free(&here.text);
	t->state = TRIED_LATER;
}

void settle_reply(struct attempt *a, struct tried *t, const struct client_result *result)
{
	struct answer answer = {
	    .stage = stages[result->stage],
	    .stage_name = client_stage_name(result->stage),
	};
	bool spoken = way_has_spoken(answer.stage, result);
	if (t->heard && !spoken) {
		settle_unreached(a, t, &answer, result);
		return;
	}
	t->heard |= spoken;
	buf_clear(&t->text);
	snprintf(t->mx, sizeof(t->mx), "%s", a->hosts[a->host].name);
	t->answered = result->reply != NULL;
	/* perhaps taken: another host, or way, would make sure of a duplicate */
	t->rests = result->stage == CLIENT_END && !result->reply;
	if (result->reply) {
		answer.code = result->reply->code;
		answer.enhanced = result->reply->enhanced;
		buf_add(&t->text, result->reply->text.data, result->reply->text.len);
	} else {
		answer.code = code_of_failure(result, &answer.enhanced, &t->text);
	}
	t->lacking = !result->reply && answer.code;
	answer.elsewhere = t->lacking && (t->awaited || attempt_has_next_host(a));
	take_result(a, t, &answer);
	way_note(a, t, answer.stage, result);
}

void settle_local(struct attempt *a, struct tried *t, enum verdict_stage stage, bool permanent,
    const char *status, const char *text)
{
	struct answer answer = {
	    .stage = stage,
	    .stage_name = stage == VERDICT_STAGE_DNS ? "dns" : "local",
	    .code = permanent ? 550 : 0,
	};
	enhanced_parse(span_text(status), &answer.enhanced);
	buf_clear(&t->text);
	buf_add_text(&t->text, text);
	t->mx[0] = '\0';
	t->answered = false;
	take_result(a, t, &answer);
}

/* ---- the end of an attempt ---- */

static enum schedule_feedback feedback(const struct attempt *a)
{
	/* without a way nobody was asked: others may have one to the same destination */
	if (a->expired || !a->way.list)
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

bool settle_is_over_count(const struct tried *t)
{
	const struct verdict *v = &t->verdict;
	return t->state == TRIED_LATER && v->klass == VERDICT_RATE_LIMITED &&
	       v->scope == VERDICT_SCOPE_MESSAGE && !v->wait_ms;
}

/* Some have their results, and others are to go on where those have been: their turn had
 * not come (OPEN), or the receiver had no room for them in a transaction of which it took
 * the others. By the ladder a long list would not end in days. Each attempt so has fewer
 * recipients, which ends it. */
static bool is_partly_done(const struct attempt *a)
{
	bool taken = false;
	bool over = false;
	for (size_t i = 0; i < a->tried_count; i++) {
		if (a->tried[i].state == TRIED_OPEN)
			return true;
		taken |= a->tried[i].state == TRIED_DELIVERED;
		over |= settle_is_over_count(&a->tried[i]);
	}
	return taken && over;
}

/* The earliest time at which one of those that are left may go: the one that a reply or rule has
 * named for it, else by the ladder. A full mailbox that is to wait for a day keeps nobody else
 * of its domain. 0: by the ladder, all of them. */
static int64_t due_time(const struct attempt *a)
{
	int64_t wait = 0;
	bool unnamed = false;
	for (size_t i = 0; i < a->tried_count; i++) {
		const struct tried *t = &a->tried[i];
		if (t->state != TRIED_LATER && t->state != TRIED_OPEN)
			continue;
		int64_t its = t->state == TRIED_LATER ? t->verdict.wait_ms : 0;
		unnamed |= its <= 0;
		if (its > 0 && (wait == 0 || its < wait))
			wait = its;
	}
	if (!wait)
		return 0;
	int64_t due = clock_steady_ms() + wait;
	int64_t ladder = schedule_backoff(a->deliver->schedule, a->batch->attempts + 1u);
	return unnamed && ladder < due ? ladder : due;
}

/* What is left of a list that was taken in part: when it is DUE, and what it waits for. */
static enum schedule_feedback go_on_later(const struct attempt *a, int64_t *due)
{
	*due = way_resumes(a);
	if (*due == 0)
		*due = clock_steady_ms() + NEXT_PART_MS;
	if (!a->way.stopped)
		return SCHEDULE_PARTLY;
	return a->way.busy ? SCHEDULE_PARTLY_BUSY : SCHEDULE_PARTLY_HELD;
}

static void finish(void *arg)
{
	struct attempt *a = arg;
	struct deliver *deliver = a->deliver;
	struct batch *batch = a->batch;
	uint64_t id = a->id;
	enum schedule_feedback how = feedback(a);
	int64_t due = due_time(a);
	/* with nothing done it was no attempt either, where it was held before its turn came */
	bool begun = a->has_results || batch->message->held;
	if (how != SCHEDULE_BLOCKED && begun && !a->expired && is_partly_done(a))
		how = go_on_later(a, &due);
	if (how == SCHEDULE_BLOCKED || how == SCHEDULE_PARTLY_HELD)
		batch->incident = a->way.incident;
	attempt_free(a);
	schedule_finish(deliver->schedule, batch, how, due);
	struct message *message = schedule_find(deliver->schedule, id);
	if (message)
		message_note_state(deliver, message);
}

/* The place in the destination's window is kept until the results are written: so a
 * kill -9 doubles one transaction of each connection at most, however slow the disk. */
static void end_attempt(struct attempt *a)
{
	if (a->has_results)
		spool_await_notes(a->deliver->options.spool, &a->written, finish, a);
	else
		finish(a);
}

static void log_discard(const struct attempt *a, const struct tried *t, const char *reason)
{
	char id[MESSAGE_ID_TEXT];
	struct log_line line;
	log_begin(&line, LOG_LEVEL_WARN, "discard");
	log_add_text(&line, "id", message_id_text(a->id, id));
	log_add_text(&line, "to", t->address);
	log_add_text(&line, "reason", reason);
	log_end(&line);
}

/* Nobody will hear of these: the log is all that is left. */
static void log_silent(const struct attempt *a)
{
	struct stats *stats = a->deliver->options.stats;
	bool nobody = !a->envelope.sender[0] || a->envelope.report;
	stats->reports_dropped += a->envelope.report;
	for (size_t i = 0; i < a->tried_count; i++) {
		const struct tried *t = &a->tried[i];
		if (t->state != TRIED_FAILED)
			continue;
		if (nobody)
			log_discard(a, t, "nobody to report to: the envelope sender is empty");
		else if (!dsn_is_wanted(&a->envelope, t->index, ENVELOPE_NOTIFY_FAILURE))
			log_discard(a, t, "the sender asked for no report (NOTIFY)");
	}
}

static void give_up(struct attempt *a)
{
	if (!a->batch->doomed)
		log_silent(a);
	for (size_t i = 0; i < a->tried_count; i++) {
		if (a->tried[i].state != TRIED_FAILED)
			continue;
		a->deliver->options.stats->bounced++;
		record(a, &a->tried[i], SPOOL_BOUNCED);
	}
}

/* The block that it waited for until the end; NULL: none. */
static const struct incident *waited_for(const struct attempt *a)
{
	struct reputation *reputation = paths_reputation(a->deliver->options.paths);
	return a->batch->blocked ? incident_find(reputation, a->batch->incident) : NULL;
}

/* The words for people name the block and not the recipient. */
static void say_block(struct tried *t, const struct incident *i)
{
	t->verdict.klass = i->klass;
	t->waits = WAIT_NONE;
	t->stage = "";
	t->code = 0;
	t->answered = false;
	buf_clear(&t->text);
	buf_addf(&t->text, "%s refuses mail of %s %s; the message waited as long as it may",
	    i->provider, i->sender_domain[0] ? "the domain" : "this mail server,",
	    i->sender_domain[0] ? i->sender_domain : i->source);
	if (i->reply_count)
		buf_addf(&t->text, ". The last answer was: %s", i->replies[0].text);
}

/* Nobody has answered, or it is forgotten. */
static void expire_unheard(const struct attempt *a, struct tried *t)
{
	const struct batch *batch = a->batch;
	t->verdict.klass = batch->by_path ? VERDICT_OTHER : VERDICT_SERVER_BUSY;
	t->waits = batch->by_path ? WAIT_UNKNOWN : WAIT_NONE;
	buf_addf(&t->text, "the message could not be delivered in time%s",
	    batch->attempts ? "; " WAITING_FORGOTTEN : "");
}

/* Its time is over: what the last answer was is in the history. Without one it waited
 * for a way out, or nobody was reached in this process's life. */
static void expire_one(const struct attempt *a, struct tried *t)
{
	const struct history_entry *last = history_find(a->deliver->history, a->id, t->index);
	snprintf(t->status, sizeof(t->status), "4.4.7");
	t->state = TRIED_FAILED;
	t->verdict.rule = "expired";
	t->stage = "";
	if (!last) {
		expire_unheard(a, t);
		return;
	}
	t->verdict.klass = last->klass;
	if (waiting_is_untried(last)) {
		t->waits = last->waits;
	} else {
		t->stage = last->stage;
		t->said_ms = last->when_ms;
	}
	t->code = last->code;
	t->answered = last->code != 0;
	snprintf(t->mx, sizeof(t->mx), "%s", last->mx);
	snprintf(t->found, sizeof(t->found), "%s", last->status);
	buf_addf(&t->text, "%s%s%s", last->status, last->status[0] ? " " : "", last->text);
}

static void expire(struct attempt *a)
{
	const struct incident *block = waited_for(a);
	for (size_t i = 0; i < a->tried_count; i++) {
		expire_one(a, &a->tried[i]);
		if (block)
			say_block(&a->tried[i], block);
		log_result(a, &a->tried[i], "expired");
	}
}

static void failures_told(void *arg, enum report_end end)
{
	struct attempt *a = arg;
	/* later: the recipients stay, and so does the chance to report them */
	if (end != REPORT_LATER)
		give_up(a);
	end_attempt(a);
}

static bool has_failed(const struct attempt *a)
{
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_FAILED)
			return true;
	return false;
}

/* Somebody wants to hear of it; what was deleted by hand meanwhile nobody is told, as
 * relayctl says. */
static bool has_reader(const struct attempt *a)
{
	return a->envelope.sender[0] && !a->envelope.report && !a->batch->doomed;
}

static void settle_failures(struct attempt *a)
{
	if (has_failed(a)) {
		if (has_reader(a) && settle_report(a, BOUNCE_FAILED, failures_told))
			return;
		give_up(a);
	}
	end_attempt(a);
}

/* It is not tried again: the message is delivered, and that is on disk. */
static void relayed_told(void *arg, enum report_end end)
{
	(void)end;
	settle_failures(arg);
}

void settle(struct attempt *a)
{
	a->batch->settling = true;
	if (a->expired)
		expire(a);
	if (has_reader(a) && settle_report(a, BOUNCE_RELAYED, relayed_told))
		return;
	settle_failures(a);
}
