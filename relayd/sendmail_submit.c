/* SPDX-License-Identifier: MIT
 * One message to relayd: MAIL, RCPTs, DATA. It is sent to all recipients or to none.
 */
#include "relayd/sendmail_submit.h"

#include <inttypes.h>

#include "relayd/base/mem.h"
#include "smtp/body.h"

#define WINDOW 50 /* RCPTs on their way; more could fill both directions and stand still */
#define PIECE 65536

static uint64_t message_size(const struct sendmail_message *m)
{
	return m->head.len + m->body.size;
}

static int say_mail(struct sendmail_session *s, const struct sendmail_job *job)
{
	bool utf8 = job->to->utf8 || job->sender_utf8;
	struct buf command = {0};
	if (utf8 && !s->smtputf8) {
		sendmail_fail(s->report, EX_DATAERR, "the relay does not take addresses outside of "
		    "ASCII (SMTPUTF8)");
		return -1;
	}
	buf_addf(&command, "MAIL FROM:<%s>", job->sender);
	if (s->size)
		buf_addf(&command, " SIZE=%" PRIu64, message_size(job->message));
	if (s->eightbit && job->message->eightbit)
		buf_add_text(&command, " BODY=8BITMIME");
	if (utf8)
		buf_add_text(&command, " SMTPUTF8");
	if (s->dsn)
		sendmail_dsn_print_mail(job->dsn, &command);
	buf_add_text(&command, "\r\n");
	int result = sendmail_session_write(s, span_buf(&command));
	buf_free(&command);
	return result;
}

struct asked {
	size_t taken;
	bool full; /* it takes no more of them in one message */
};

/* RFC 5321 section 4.5.3.1.10: 452 also says that a message has too many recipients. To
 * one that took some of them the same message can be sent ever again in vain. */
static bool is_full(const struct reply *reply, const struct asked *asked)
{
	const struct enhanced *e = &reply->enhanced;
	return asked->taken && reply->code == 452 && e->subject == 5 && e->detail == 3;
}

/* Each refusal becomes a line; the others are asked all the same, so that all that
 * is wrong is said at once. */
static int take_rcpt_reply(struct sendmail_session *s, const char *recipient, struct asked *asked)
{
	if (sendmail_session_reply(s) < 0)
		return -1;
	if (s->reply.code / 100 == 2)
		asked->taken++;
	else if (is_full(&s->reply, asked))
		asked->full = s->refused = true;
	else
		sendmail_session_refused(s, sendmail_shown(span_text(recipient)), true);
	return 0;
}

static void add_rcpt(const struct sendmail_session *s, const struct sendmail_job *job, size_t i,
    struct buf *out)
{
	buf_addf(out, "RCPT TO:<%s>", job->to->list[i]);
	if (s->dsn)
		sendmail_dsn_print_rcpt(job->dsn, out);
	buf_add_text(out, "\r\n");
}

static int say_recipients(struct sendmail_session *s, const struct sendmail_job *job)
{
	const struct sendmail_recipients *to = job->to;
	struct asked asked = {0};
	size_t window = s->pipelining ? WINDOW : 1;
	for (size_t from = 0; from < to->count && !asked.full; from += window) {
		size_t end = to->count - from > window ? from + window : to->count;
		struct buf commands = {0};
		for (size_t i = from; i < end; i++)
			add_rcpt(s, job, i, &commands);
		int result = sendmail_session_write(s, span_buf(&commands));
		buf_free(&commands);
		for (size_t i = from; i < end && result == 0; i++)
			result = take_rcpt_reply(s, to->list[i], &asked);
		if (result < 0)
			return -1;
	}
	if (asked.full)
		sendmail_fail(s->report, EX_DATAERR,
		    "%zu recipients, and the relay takes %zu in one "
		    "message (relayd: limits.recipients); send it to fewer at a time",
		    to->count, asked.taken);
	if (s->report->status == EX_OK)
		return 0;
	sendmail_fail(s->report, s->report->status, "nothing was sent, to nobody");
	return -1;
}

/* The connection broke in the text: if the relay has said why before, that counts.
 * Without the final dot nothing was taken, so the message can be sent again. */
static void prefer_its_word(struct sendmail_session *s)
{
	struct sendmail_report transport = *s->report;
	*s->report = (struct sendmail_report){0};
	if (sendmail_session_reply(s) == 0 && s->reply.code >= 400) {
		sendmail_session_refused(s, "the relay", false);
		sendmail_report_free(&transport);
		return;
	}
	sendmail_report_free(s->report);
	*s->report = transport;
}

static int send_piece(struct sendmail_session *s, struct buf *out)
{
	int result = sendmail_session_write(s, span_buf(out));
	buf_clear(out);
	if (result < 0)
		prefer_its_word(s);
	return result;
}

static int send_body(struct sendmail_session *s, const struct sendmail_store *body,
    struct body_encoder *encoder, struct buf *out)
{
	char *piece = mem_alloc(PIECE);
	struct why why = {0};
	uint64_t at = 0;
	int64_t n = 0;
	int result = 0;
	while (result == 0 && (n = sendmail_store_read(body, at, piece, PIECE, &why)) > 0) {
		body_encode(encoder, piece, (size_t)n, out);
		at += (uint64_t)n;
		result = send_piece(s, out);
	}
	mem_free(piece);
	if (n < 0)
		sendmail_fail(s->report, EX_TEMPFAIL, "%s", why.text);
	return n < 0 ? -1 : result;
}

static int send_text(struct sendmail_session *s, const struct sendmail_message *m)
{
	struct body_encoder encoder;
	struct buf out = {0};
	body_encoder_init(&encoder);
	body_encode(&encoder, m->head.data, m->head.len, &out);
	int result = send_piece(s, &out);
	if (result == 0)
		result = send_body(s, &m->body, &encoder, &out);
	body_encoder_finish(&encoder, &out);
	if (result == 0)
		result = send_piece(s, &out);
	buf_free(&out);
	return result;
}

static int send_all(struct sendmail_session *s, const struct sendmail_job *job)
{
	if (say_mail(s, job) < 0 || sendmail_session_reply(s) < 0)
		return -1;
	if (s->reply.code / 100 != 2)
		return sendmail_session_refused(s, s->reply.code == 421 ? "the relay" : "sender",
		    false);
	if (say_recipients(s, job) < 0 ||
	    sendmail_session_command(s, span_text("DATA\r\n"), 3, "the relay") < 0)
		return -1;
	if (send_text(s, job->message) < 0) {
		s->greeted = false; /* QUIT would be text */
		return -1;
	}
	if (sendmail_session_reply(s) < 0) {
		s->greeted = false;
		s->in_doubt = true;
		sendmail_fail(s->report, EX_TEMPFAIL, "the message may or may not have been taken");
		return -1;
	}
	return s->reply.code / 100 == 2 ? 0 : sendmail_session_refused(s, "the relay", false);
}

int sendmail_submit(const struct sendmail_config *config, const struct sendmail_job *job,
    bool *reached, struct buf *said, struct sendmail_report *report)
{
	struct sendmail_session s;
	*reached = false;
	if (sendmail_session_open(&s, config, job->hostname, true, report) != EX_OK) {
		/* what it refuses for good is its word too; 4xx is as good as no answer */
		*reached = report->status != EX_TEMPFAIL;
	} else if (send_all(&s, job) == 0) {
		reply_summary(&s.reply, said, 300);
	} else {
		*reached = s.refused || s.in_doubt;
	}
	sendmail_session_close(&s);
	return report->status;
}
