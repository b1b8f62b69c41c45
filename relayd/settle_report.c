/* SPDX-License-Identifier: MIT
 * What goes into a report on an attempt, or on a message that waits: which recipients
 * the sender wants to hear of (RFC 3461 section 4.1), what was said about each, and
 * how much of the message goes back.
 */
#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"
#include "relayd/dsn.h"
#include "relayd/explain.h"
#include "smtp/header.h"

#define HEADER_SHOWN 65536 /* of the original header */

/* The recipients of a report, and the texts that it needs. */
struct list {
	struct bounce_recipient *all;
	struct buf *originals;
	size_t count;
	struct buf text; /* header or content */
};

static void list_init(struct list *list, size_t max)
{
	*list = (struct list){0};
	list->all = mem_array(max, sizeof(*list->all));
	list->originals = mem_array(max, sizeof(*list->originals));
}

static void list_free(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		buf_free(&list->originals[i]);
	mem_free(list->originals);
	mem_free(list->all);
	buf_free(&list->text);
}

/* Recipient INDEX of E joins it, with the ORCPT that belongs to it. */
static void list_add(struct list *list, const struct envelope *e, size_t index,
    struct bounce_recipient r)
{
	struct buf *original = &list->originals[list->count];
	dsn_print_original(e, index, original);
	r.address = e->recipients[index];
	r.original = buf_text(original);
	list->all[list->count++] = r;
}

/* ---- what goes back ---- */

static void read_text(struct spool_reader *reader, size_t want, struct buf *text)
{
	while (text->len < want) {
		char *room = buf_room(text, want - text->len);
		ssize_t n = spool_reader_read(reader, text->len, room, want - text->len);
		if (n <= 0)
			break;
		text->len += (size_t)n;
	}
}

/* The header section of the stored message. */
static void read_header(struct spool_reader *reader, struct buf *header)
{
	uint64_t size = spool_reader_size(reader);
	size_t scanned = 0;
	read_text(reader, size < HEADER_SHOWN ? (size_t)size : HEADER_SHOWN, header);
	size_t body = header_end(span_buf(header), &scanned);
	if (body >= 2)
		header->len = body - 2;
}

/* The whole message into TEXT; false: it can not go back. */
static bool read_content(struct spool_reader *reader, struct buf *text)
{
	uint64_t size = spool_reader_size(reader);
	if (size > BOUNCE_CONTENT_MAX)
		return false;
	read_text(reader, (size_t)size, text);
	if (text->len == size && bounce_can_hold(span_buf(text)))
		return true;
	buf_free(text);
	return false;
}

/* RFC 3461 section 4.3: RET is about reports of failure; RFC 8689 section 5: it does
 * not count with REQUIRETLS. */
static void fill_returned(struct report *report, struct spool_reader *reader, struct list *list)
{
	const struct envelope *e = report->envelope;
	bool whole = report->kind == BOUNCE_FAILED && e->ret == ENVELOPE_RET_FULL && !e->require_tls;
	if (whole && read_content(reader, &list->text)) {
		report->content = span_buf(&list->text);
		return;
	}
	report->too_much = whole;
	read_header(reader, &list->text);
	report->header = span_buf(&list->text);
}

/* Of a message that can not be read nothing goes back. */
static void read_returned(
    struct report *report, struct spool *spool, const struct message *message, struct list *list)
{
	struct spool_reader *reader = spool_reader_open(spool, message->id, message->place, NULL);
	if (!reader)
		return;
	fill_returned(report, reader, list);
	spool_reader_close(reader);
}

/* ---- an attempt ---- */

static const char *reason(const struct tried *t, enum bounce_kind kind)
{
	if (kind == BOUNCE_RELAYED)
		return "It was handed to the mail server that is named here.";
	if (t->waits)
		return explain_wait_failure(t->waits);
	const char *found = t->found[0] ? t->found : t->status;
	enum verdict_stage stage;
	bool known = t->stage && verdict_stage_parse(span_text(t->stage), &stage);
	const struct explain_own *own = known ? explain_own(stage, found) : NULL;
	if (own)
		return own->failure;
	if (!t->answered && t->mx[0])
		return explain_finding(t->verdict.klass, found);
	return explain_failure(t->verdict.klass);
}

static bool is_told(const struct attempt *a, const struct tried *t, enum bounce_kind kind)
{
	if (kind == BOUNCE_RELAYED)
		return t->state == TRIED_DELIVERED && t->relayed;
	return t->state == TRIED_FAILED &&
	       dsn_is_wanted(&a->envelope, t->index, ENVELOPE_NOTIFY_FAILURE);
}

static void list_tried(struct list *list, const struct attempt *a, enum bounce_kind kind)
{
	int64_t shift = clock_wall_ms() - clock_steady_ms();
	for (size_t i = 0; i < a->tried_count; i++) {
		const struct tried *t = &a->tried[i];
		if (!is_told(a, t, kind))
			continue;
		const char *unknown = kind == BOUNCE_FAILED ? "5.0.0" : "2.0.0";
		list_add(list, &a->envelope, t->index,
		    (struct bounce_recipient){
			.status = t->status[0] ? t->status : unknown,
			.mx = t->mx,
			.stage = t->stage,
			.answered = t->answered,
			.code = t->code,
			.reply = buf_text(&t->text),
			.reason = reason(t, kind),
			.last_attempt_ms = t->said_ms ? t->said_ms + shift : 0,
		    });
	}
}

bool settle_report(struct attempt *a, enum bounce_kind kind, report_done *done)
{
	struct list list;
	list_init(&list, a->tried_count);
	list_tried(&list, a, kind);
	bool told = list.count > 0;
	if (told) {
		struct report report = {
		    .kind = kind,
		    .message_id = a->id,
		    .envelope = &a->envelope,
		    .expires_ms = a->batch->message->expires_ms,
		    .recipients = list.all,
		    .recipient_count = list.count,
		};
		read_returned(&report, a->deliver->options.spool, a->batch->message, &list);
		report_send(a->deliver->options.intake, a->settings->conf, a->deliver->options.stats,
		    &report, done, a);
	}
	list_free(&list);
	return told;
}

/* ---- the delay notice ---- */

static void list_waiting(struct list *list, struct deliver *deliver, const struct batch *batch,
    const struct envelope *e, uint32_t index)
{
	static const struct history_entry none = {.stage = "", .mx = "", .text = ""};
	const struct history_entry *last =
	    history_find(deliver->history, batch->message->id, index);
	int64_t shift = clock_wall_ms() - clock_steady_ms();
	bool tried = last && !waiting_is_untried(last);
	const char *forgotten = batch->attempts ? WAITING_FORGOTTEN : "";
	if (!dsn_is_wanted(e, index, ENVELOPE_NOTIFY_DELAY))
		return;
	const char *said = last ? last->text : forgotten;
	if (!last)
		last = &none;
	list_add(list, e, index,
	    (struct bounce_recipient){
		.status = last->status[0] ? last->status : "4.0.0",
		.mx = last->mx,
		.stage = tried ? last->stage : "",
		.answered = last->code != 0,
		.code = last->code,
		.reply = said,
		.reason = "It has not been delivered yet. relayd keeps trying; there is "
			  "nothing to do for now, and no need to send it again.",
		.last_attempt_ms = tried ? last->when_ms + shift : 0,
	    });
}

static void notice_sent(void *arg, enum report_end end)
{
	(void)arg;
	(void)end; /* nothing hangs on it */
}

static void send_notice(struct deliver *deliver, struct message *message, const struct envelope *e)
{
	struct list list;
	list_init(&list, message->pending);
	for (const struct batch *b = message->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			list_waiting(&list, deliver, b, e, batch_recipient(b, i));
	struct report report = {
	    .kind = BOUNCE_DELAYED,
	    .message_id = message->id,
	    .envelope = e,
	    .expires_ms = message->expires_ms,
	    .recipients = list.all,
	    .recipient_count = list.count,
	};
	if (list.count) {
		read_returned(&report, deliver->options.spool, message, &list);
		report_send(deliver->options.intake, deliver->settings->conf, deliver->options.stats,
		    &report, notice_sent, deliver);
	}
	list_free(&list);
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
	message_note_state(deliver, message);
	if (e.sender[0])
		send_notice(deliver, message, &e);
	envelope_free(&e);
}
