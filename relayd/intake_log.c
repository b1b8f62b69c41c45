/* SPDX-License-Identifier: MIT
 * The log's line of a message that was taken, or was not.
 */
#include "queue/message.h"
#include "relayd/base/log.h"
#include "relayd/intake_internal.h"

void submission_log_refusal(struct submission *sub, const char *recipient)
{
	struct log_line line;
	struct buf text = {0};
	struct session *session = sub->session;
	sub->intake->options.stats->refused++;
	reply_summary(&sub->reply, &text, 300);
	log_begin(&line, LOG_LEVEL_INFO, "refuse");
	log_add_text(&line, "client", session ? session->client : sub->envelope.client);
	log_add_text(&line, "from", sub->envelope.sender);
	if (recipient)
		log_add_text(&line, "to", recipient);
	log_add(&line, "reply", span_buf(&text));
	log_end(&line);
	buf_free(&text);
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
