/* SPDX-License-Identifier: MIT
 * The log's line of a message that was taken, or was not.
 */
#include "queue/message.h"
#include "relayd/base/log.h"
#include "relayd/intake_internal.h"

#define REFUSALS_SHOWN 100 /* in a row; each costs its client a few bytes */

static void log_refusal(const char *client, struct span from, struct span to,
    const struct reply *reply)
{
	struct log_line line;
	struct buf text = {0};
	reply_summary(reply, &text, 300);
	log_begin(&line, LOG_LEVEL_INFO, "refuse");
	log_add_text(&line, "client", client);
	if (from.p)
		log_add(&line, "from", from);
	if (to.p)
		log_add(&line, "to", to);
	log_add_escaped(&line, "reply", buf_text(&text));
	log_end(&line);
	buf_free(&text);
}

void session_log_refusal(struct session *session, struct span from, struct span to,
    const struct reply *reply)
{
	session->intake->options.stats->refused++;
	if (session->refusals >= REFUSALS_SHOWN && reply->code != 421)
		return;
	log_refusal(session->client, from, to, reply);
	if (++session->refusals == REFUSALS_SHOWN)
		log_text(LOG_LEVEL_INFO,
		    "client %s: %d refusals in a row; more of them are only counted, until a "
		    "message of this connection is taken", session->client, REFUSALS_SHOWN);
}

void submission_log_refusal(const struct submission *sub)
{
	const struct span nobody = {0};
	sub->intake->options.stats->refused++;
	log_refusal(sub->envelope.client, span_text(sub->envelope.sender), nobody, &sub->reply);
}

static void log_held(struct log_line *line, const struct submission *sub)
{
	struct buf text = {0};
	brake_code_text(sub->append.state.brake, &sub->envelope, &text);
	log_add(line, "held", span_buf(&text));
	buf_free(&text);
}

void submission_log_acceptance(const struct submission *sub)
{
	const struct envelope *e = &sub->envelope;
	char id[MESSAGE_ID_TEXT];
	struct log_line line;
	log_begin(&line, LOG_LEVEL_INFO, "accept");
	log_add_text(&line, "id", message_id_text(sub->id, id));
	log_add_text(&line, "client", e->client);
	if (e->user[0])
		log_add_text(&line, "user", e->user);
	if (sub->append.state.brake)
		log_held(&line, sub);
	log_add_text(&line, "from", e->sender);
	if (e->sender_reason[0]) {
		log_add_text(&line, "from_was", e->sender_was);
		log_add_text(&line, "from_reason", e->sender_reason);
	}
	if (e->from_was[0])
		log_add_text(&line, "header_from_was", e->from_was);
	log_add_text(&line, "to", e->recipients[0]);
	log_add_number(&line, "recipients", (int64_t)e->recipient_count);
	log_add_number(&line, "size", (int64_t)sub->append.content_size);
	log_add_text(&line, "dkim", sub->signature.len ? e->domain : "");
	log_add_text(&line, "message_id", e->message_id);
	if (e->entry[0])
		log_add_text(&line, "entry", e->entry);
	if (e->script[0])
		log_add_text(&line, "script", e->script);
	if (e->priority != CONF_PRIORITY_NORMAL)
		log_add_text(&line, "priority",
		    e->priority == CONF_PRIORITY_URGENT ? "urgent" : "bulk");
	log_end(&line);
}
