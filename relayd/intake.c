/* SPDX-License-Identifier: MIT
 * The story of a message on its way in. Its steps, in their order, here and in the
 * file; there is none back:
 *
 *	mail, rcpt, data, text   the client's dialogue (intake_session.c)
 *	end                      the text is complete
 *	judge                    header readable? loop? whose name does it carry?
 *	note                     what the envelope keeps of the header as it came
 *	rebuild                  the header section that will leave
 *	store                    the body can be read back
 *	sign                     in a worker
 *	append                   in the spool thread, synced; held if its sender is braked
 *	answer                   into the queue, then 250
 */
#include "relayd/intake_internal.h"

#include <string.h>

#include "dkim/sign.h"
#include "queue/message.h"
#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/policy.h"
#include "smtp/fixup.h"
#include "smtp/priority.h"

#define HEAD_SMALL 16384 /* bytes that each may have, whatever memory says */
#define HEADS_SHARE 4    /* of spool.memory */
#define HEAD_SLICE 4096  /* bytes; so much of the body the head may hold at most */

/* ---- life ---- */

struct intake *intake_new(const struct intake_options *options, struct settings *settings)
{
	struct intake *intake = mem_zero(sizeof(*intake));
	intake->options = *options;
	intake->settings = settings_ref(settings);
	return intake;
}

void intake_free(struct intake *intake)
{
	settings_unref(intake->settings);
	mem_free(intake);
}

void intake_set_brake(struct intake *intake, struct brake_watch *brake)
{
	intake->brake = brake;
}

void intake_set_settings(struct intake *intake, struct settings *settings)
{
	settings_unref(intake->settings);
	intake->settings = settings_ref(settings);
}

static void writable(void *arg)
{
	struct submission *sub = arg;
	if (sub->session)
		server_resume(sub->session->server);
}

struct submission *submission_new(struct intake *intake, struct settings *settings, uint64_t id)
{
	struct submission *sub = mem_zero(sizeof(*sub));
	sub->intake = intake;
	sub->settings = settings_ref(settings);
	sub->id = id;
	sub->content = spool_content_new(intake->options.spool, sub->id, writable, sub);
	sub->envelope.arrived_ms = clock_steady_ms();
	return sub;
}

static void drop_head(struct submission *sub)
{
	sub->intake->head_bytes -= sub->head.len;
	buf_free(&sub->head);
}

void submission_free(struct submission *sub)
{
	if (sub->content)
		spool_content_free(sub->content);
	drop_head(sub);
	settings_unref(sub->settings);
	envelope_free(&sub->envelope);
	header_free(&sub->header);
	reply_free(&sub->reply);
	buf_free(&sub->protocol);
	buf_free(&sub->helo);
	buf_free(&sub->rebuilt);
	buf_free(&sub->signature);
	mem_free(sub);
}

/* ---- what the dialogue asks for ---- */

void submission_refuse(struct submission *sub, unsigned code, const char *enhanced,
    const char *text)
{
	if (sub->reply.code == 0)
		reply_set(&sub->reply, code, enhanced, "%s", text);
}

/* The header section is complete (or will never be longer): read it, and give
 * what follows it to the body. */
static void begin_body(struct submission *sub)
{
	sub->in_body = true;
	if (header_parse(span_buf(&sub->head), &sub->header, &sub->why) < 0) {
		submission_refuse(sub, 550, "5.6.0", sub->why.text);
		return;
	}
	struct span rest = {sub->head.data + sub->header.body_start,
	    sub->head.len - sub->header.body_start};
	spool_content_add(sub->content, rest);
}

/* HEAD is over MAX bytes, with no empty line in time. Does a whole line that is no field end
 * the section before? Then what is too much is text. */
static bool is_ended_by_text(struct span head, size_t max)
{
	struct header h;
	if (header_parse(head, &h, NULL) < 0)
		return false;
	size_t size = h.size;
	header_free(&h);
	return size + 2 <= max && memmem(head.p + size, head.n - size, "\r\n", 2);
}

static bool is_crowded(const struct submission *sub)
{
	uint64_t share = (uint64_t)sub->settings->conf->spool.memory / HEADS_SHARE;
	return sub->head.len > HEAD_SMALL && sub->intake->head_bytes > share;
}

/* A few bytes more of the head; when it is complete they may be the body's first. */
static void take_head(struct submission *sub, struct span slice)
{
	size_t max = (size_t)sub->settings->conf->limits.header_size;
	buf_add(&sub->head, slice.p, slice.n);
	sub->intake->head_bytes += slice.n;
	size_t body = header_end(span_buf(&sub->head), &sub->head_scanned);
	bool over = sub->head.len > max;
	if ((body > 0 && body <= max) || (over && is_ended_by_text(span_buf(&sub->head), max))) {
		begin_body(sub);
	} else if (over) {
		submission_refuse(sub, 552, "5.3.4", "the header section is over limits.header_size");
	} else if (is_crowded(sub)) {
		drop_head(sub); /* so that those of others go on */
		submission_refuse(sub, 452, "4.3.1",
		    "the header sections of all clients are over a quarter of spool.memory, try"
		    " again later");
	}
}

bool submission_text(struct submission *sub, struct span piece)
{
	if (!sub->envelope.eightbit)
		sub->envelope.eightbit = !span_is_ascii(piece);
	while (!sub->in_body && sub->reply.code == 0 && piece.n) {
		size_t n = piece.n < HEAD_SLICE ? piece.n : HEAD_SLICE;
		take_head(sub, (struct span){piece.p, n});
		piece = (struct span){piece.p + n, piece.n - n};
	}
	return piece.n == 0 || sub->reply.code != 0 || spool_content_add(sub->content, piece);
}

/* ---- the way in: the steps, in their order ---- */

static int judge(struct submission *sub, const struct conf_client *entry, struct return_path *path);
static void note(struct submission *sub, const struct conf_client *entry, struct return_path *path);
static void rebuild(struct submission *sub, const struct return_path *path);
static void store(struct submission *sub);
static void stored(void *arg, enum spool_status status, const struct why *why);
static void sign(struct submission *sub);
static void sign_run(struct job *job, void *signer);
static void sign_done(struct job *job);
static void append(struct submission *sub);
static void appended(struct spool_append *append);
static void answer(struct submission *sub);

void submission_end(struct submission *sub)
{
	struct return_path path = {0};
	const struct envelope *e = &sub->envelope;
	const struct conf_client *entry =
	    e->report ? NULL : policy_entry(sub->settings->conf, e->user, e->client);
	sub->intake->pending++;
	if (!sub->in_body && sub->reply.code == 0)
		begin_body(sub);
	if (judge(sub, entry, &path) < 0) {
		answer(sub);
	} else {
		note(sub, entry, &path);
		rebuild(sub, &path);
		store(sub);
	}
	return_path_free(&path);
}

/* ---- judge ---- */

/* Whose name does it carry? ENTRY is the client's, NULL: none. -1: refused. */
static int judge(struct submission *sub, const struct conf_client *entry, struct return_path *path)
{
	const struct conf *conf = sub->settings->conf;
	const struct envelope *e = &sub->envelope;
	struct address sender = {.form = ADDRESS_NULL};
	if (sub->reply.code != 0)
		return -1;
	if (e->report) { /* ours: nothing about it is to be repaired or refused */
		path->domain = return_path_domain(conf, &sub->header);
		return 0;
	}
	if (header_count(&sub->header, "Received") > (size_t)conf->limits.hops) {
		submission_refuse(sub, 554, "5.4.6",
		    "too many hops: this message runs in a circle (limits.hops)");
		return -1;
	}
	if (e->sender[0] && !address_parse(span_text(e->sender), &sender)) {
		submission_refuse(sub, 553, "5.1.7", "the envelope sender is not an address");
		return -1;
	}
	if (policy_decide(conf, entry, &sender, &sub->header, path, &sub->why) < 0) {
		submission_refuse(sub, 550, "5.7.1", sub->why.text);
		return -1;
	}
	return 0;
}

/* ---- note ---- */

static char *text_or_empty(const struct buf *b)
{
	return mem_copy(buf_text(b), b->len);
}

/* A field for people, at most MAX bytes of it. It is escaped where it is shown, and
 * there only. */
static char *note_field(const struct header_field *field, size_t max)
{
	struct buf text = {0};
	header_unfold(field->value, &text);
	if (text.len > max) {
		while (max && ((unsigned char)text.data[max] & 0xc0) == 0x80)
			max--; /* not within a character */
		text.len = max;
		buf_add_text(&text, "...");
	}
	char *noted = text_or_empty(&text);
	buf_free(&text);
	return noted;
}

/* Who sends it, for the queue and the brake; reports of ours have nobody. */
static void note_sender(struct submission *sub, const struct conf_client *entry)
{
	struct envelope *e = &sub->envelope;
	const struct header_field *script =
	    header_find(&sub->header, "X-PHP-Originating-Script", 0);
	struct buf text = {0};
	if (script && !brake_script_parse(script->value, &text))
		buf_clear(&text);
	e->script = text_or_empty(&text);
	buf_free(&text);
	e->entry = mem_text(entry ? entry->name : "");
	if (!e->report)
		e->priority =
		    priority_of(&sub->header, entry ? entry->priority : CONF_PRIORITY_NORMAL);
}

/* What was replaced is kept in the envelope, for the log and `queue show`. */
static void note_repair(struct submission *sub, struct return_path *path)
{
	struct envelope *e = &sub->envelope;
	const struct header_field *from = header_find(&sub->header, "From", 0);
	if (path->from_reason && from)
		e->from_was = note_field(from, 500);
	else
		e->from_was = mem_text(path->from_reason ? "(missing)" : "");
	e->sender_reason = mem_text(path->sender_reason ? path->sender_reason : "");
	e->sender_was = path->sender_reason ? e->sender : mem_text("");
	if (!path->sender_reason)
		mem_free(e->sender);
	e->sender = text_or_empty(&path->sender);
	e->domain = mem_text(path->domain ? path->domain->name : "");
}

/* RFC 8689 section 4: one field, "TLS-Required: No"; REQUIRETLS has the last word. */
static void note_tls_wish(struct submission *sub)
{
	const struct header_field *field = header_find(&sub->header, "TLS-Required", 0);
	sub->envelope.tls_optional = field && !sub->envelope.require_tls &&
	                             header_count(&sub->header, "TLS-Required") == 1 &&
	                             span_is_nocase(span_trim(field->value), "No");
}

/* What the envelope has to keep of the header as it came. */
static void note(struct submission *sub, const struct conf_client *entry, struct return_path *path)
{
	envelope_unique(&sub->envelope);
	note_sender(sub, entry);
	note_repair(sub, path);
	note_tls_wish(sub);
}

/* ---- rebuild ---- */

/* RFC 6531 section 3.4: an address or a header field outside ASCII. */
static bool needs_utf8(const struct submission *sub)
{
	const struct envelope *e = &sub->envelope;
	if (!span_is_ascii(span_buf(&sub->rebuilt)) || !span_is_ascii(span_text(e->sender)))
		return true;
	for (size_t i = 0; i < e->recipient_count; i++)
		if (!span_is_ascii(span_text(e->recipients[i])))
			return true;
	return false;
}

static void note_message_id(struct submission *sub, struct span section)
{
	struct header header = {0};
	const struct header_field *field = NULL;
	if (header_parse(section, &header, NULL) == 0)
		field = header_find(&header, "Message-ID", 0);
	sub->envelope.message_id = field ? note_field(field, 250) : mem_text("");
	header_free(&header);
}

/* The header section that will leave. */
static void rebuild(struct submission *sub, const struct return_path *path)
{
	const struct conf *conf = sub->settings->conf;
	const struct envelope *e = &sub->envelope;
	char id[MESSAGE_ID_TEXT];
	bool hide = conf->received == CONF_RECEIVED_HIDE || e->report;
	int64_t now = clock_wall_ms();
	struct fixup fixup = {
	    .hostname = conf->hostname,
	    .id = message_id_text(sub->id, id),
	    .domain = path->domain ? path->domain->name : NULL,
	    .helo = span_buf(&sub->helo),
	    .client = hide ? NULL : e->client,
	    .protocol = buf_text(&sub->protocol),
	    .recipient = e->recipient_count == 1 ? e->recipients[0] : NULL,
	    .from = span_buf(&path->from),
	    .wall_ms = now,
	    .complete_ms = sub->complete_ms ? sub->complete_ms : now,
	};
	fixup_header(&fixup, &sub->header, &sub->rebuilt);
	/* some clients ask for SMTPUTF8 by habit: what needs it is what has it */
	sub->envelope.smtputf8 &= needs_utf8(sub);
	note_message_id(sub, span_buf(&sub->rebuilt));
	buf_add_text(&sub->rebuilt, "\r\n");
}

/* ---- store ---- */

/* Until the body can be read back. */
static void store(struct submission *sub)
{
	spool_content_finish(sub->content, stored, sub);
}

/* The disk did not take it. */
static void refuse_unwritten(
    struct submission *sub, enum spool_status status, const struct why *why)
{
	if (status == SPOOL_FULL) {
		submission_refuse(sub, 452, "4.3.1", "the spool's disk is full, try again later");
		return;
	}
	log_text(LOG_LEVEL_ERROR, "spool: %s", why->text);
	submission_refuse(
	    sub, 451, "4.3.0", "the message could not be written to disk, try again later");
}

static void stored(void *arg, enum spool_status status, const struct why *why)
{
	struct submission *sub = arg;
	if (sub->intake->ended) {
		submission_refuse(sub, 421, "4.3.2", "relayd is shutting down");
		answer(sub);
	} else if (status != SPOOL_DONE) {
		refuse_unwritten(sub, status, why);
		answer(sub);
	} else if (dkim_keys_has(sub->settings->keys, sub->envelope.domain)) {
		sign(sub);
	} else {
		append(sub);
	}
}

/* ---- sign ---- */

static void sign(struct submission *sub)
{
	sub->job = (struct job){.run = sign_run, .done = sign_done};
	pool_add(sub->intake->options.signers, &sub->job);
}

/* In a worker. */
static void sign_run(struct job *job, void *signer)
{
	struct submission *sub = heap_owner(job, struct submission, job);
	struct dkim_input input = {
	    /* the empty line at its end is not part of the section */
	    .header = {sub->rebuilt.data, sub->rebuilt.len - 2},
	    .body_size = spool_content_size(sub->content),
	    .read = spool_content_read,
	    .arg = sub->content,
	    .wall_ms = clock_wall_ms(),
	};
	sub->is_signed = dkim_sign_message(signer, sub->settings->keys, sub->envelope.domain,
			     &input, &sub->signature, &sub->why) == 0;
}

static void sign_done(struct job *job)
{
	struct submission *sub = heap_owner(job, struct submission, job);
	if (sub->is_signed) {
		sub->intake->options.stats->signed_messages++;
		append(sub);
		return;
	}
	if (sub->why.kind == WHY_PERM) {
		submission_refuse(sub, 550, "5.6.0", sub->why.text);
	} else {
		log_text(LOG_LEVEL_ERROR, "dkim: %s: %s", sub->envelope.domain, sub->why.text);
		submission_refuse(
		    sub, 451, "4.3.0", "the message could not be signed, try again later");
	}
	answer(sub);
}

/* ---- append ---- */

static void append(struct submission *sub)
{
	struct buf head = {0};
	buf_add(&head, sub->signature.data, sub->signature.len);
	buf_add(&head, sub->rebuilt.data, sub->rebuilt.len);
	buf_free(&sub->rebuilt);
	sub->rebuilt = head;
	uint8_t brake = brake_watch_message(sub->intake->brake, &sub->envelope, sub->id);
	sub->append = (struct spool_append){
	    .id = sub->id,
	    .envelope = &sub->envelope,
	    .state = {.held = brake != 0, .brake = brake},
	    .head = span_buf(&sub->rebuilt),
	    .content = sub->content,
	    .done = appended,
	};
	sub->content = NULL;
	spool_append(sub->intake->options.spool, &sub->append);
}

static void appended(struct spool_append *append)
{
	struct submission *sub = heap_owner(append, struct submission, append);
	struct intake *intake = sub->intake;
	char id[MESSAGE_ID_TEXT];
	if (append->status == SPOOL_DONE) {
		intake->options.stats->accepted++;
		submission_log_acceptance(sub);
		intake->options.enter(intake->options.arg, sub->id, append->place, &sub->envelope,
		    append->content_size, append->state.held ? &append->state : NULL);
		reply_set(&sub->reply, 250, "2.0.0", "queued as %s", message_id_text(sub->id, id));
	} else {
		brake_watch_take_back(intake->brake, &sub->envelope);
		refuse_unwritten(sub, append->status, &append->why);
	}
	answer(sub);
}

/* ---- answer ---- */

static void answer(struct submission *sub)
{
	sub->intake->pending--;
	if (sub->reply.code >= 400)
		submission_log_refusal(sub);
	else if (sub->session)
		sub->session->refusals = 0;
	if (sub->session) {
		sub->session->submission = NULL;
		server_answer(sub->session->server, &sub->reply);
	}
	if (sub->done)
		sub->done(sub->done_arg, &sub->reply, sub->id);
	submission_free(sub);
}

/* ---- the end of all ---- */

void intake_end(struct intake *intake)
{
	intake->ended = true;
}

size_t intake_pending(const struct intake *intake)
{
	return intake->pending;
}

/* ---- from within ---- */

static void submit_later(void *arg)
{
	submission_end(arg);
}

void intake_submit_past(struct intake *intake, const struct intake_past *past,
    struct envelope *envelope, struct span message, intake_done *done, void *arg)
{
	struct submission *sub = submission_new(intake, intake->settings, past->id);
	int64_t arrived = sub->envelope.arrived_ms;
	sub->envelope = *envelope;
	sub->envelope.arrived_ms = arrived;
	sub->complete_ms = past->complete_ms;
	*envelope = (struct envelope){0};
	sub->done = done;
	sub->done_arg = arg;
	buf_add_text(&sub->protocol, "local");
	submission_text(sub, message);
	loop_defer(intake->options.loop, submit_later, sub);
}

void intake_submit(struct intake *intake, struct envelope *envelope, struct span message,
    intake_done *done, void *arg)
{
	struct intake_past now = {.id = random_u64()};
	intake_submit_past(intake, &now, envelope, message, done, arg);
}
