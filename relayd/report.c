/* SPDX-License-Identifier: MIT
 * A report takes the way in that every message takes, so that it is signed and
 * on disk before the recipient it is about counts as done.
 */
#include "relayd/report.h"

#include "queue/message.h"
#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

struct waiting {
	report_done *done;
	void *arg;
	uint64_t message_id;
};

/* The report comes from a domain of ours, so that it is signed and its reader
 * knows the name: that of the message, else the default one, else our host. */
static char *author(const struct conf *conf, const struct envelope *e)
{
	struct buf text = {0};
	const char *domain = e->domain[0]			    ? e->domain
			     : conf->return_path.default_domain[0] ? conf->return_path.default_domain
								   : conf->hostname;
	buf_addf(&text, "MAILER-DAEMON@%s", domain);
	return buf_take(&text, NULL);
}

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct waiting *waiting = arg;
	char original_id[MESSAGE_ID_TEXT];
	(void)id;
	if (reply->code != 250) {
		struct buf text = {0};
		reply_summary(reply, &text, 200);
		log_text(LOG_LEVEL_WARN, "the report on message %s could not be queued: %s",
		    message_id_text(waiting->message_id, original_id), buf_text(&text));
		buf_free(&text);
	}
	waiting->done(waiting->arg, reply->code == 250);
	mem_free(waiting);
}

static void build(const struct conf *conf, const struct report *report, struct buf *out)
{
	const struct envelope *e = report->envelope;
	char id[MESSAGE_ID_TEXT];
	char original_id[MESSAGE_ID_TEXT];
	char *from = author(conf, e);
	/* ages are on the steady clock; what people read is the wall clock */
	int64_t shift = clock_wall_ms() - clock_steady_ms();
	struct bounce bounce = {
	    .kind = report->kind,
	    .hostname = conf->hostname,
	    .from = from,
	    .to = e->sender,
	    .id = message_id_text(random_u64(), id),
	    .original_id = message_id_text(report->message_id, original_id),
	    .now_ms = clock_wall_ms(),
	    .arrived_ms = e->arrived_ms + shift,
	    .expires_ms = report->expires_ms + shift,
	    .recipients = report->recipients,
	    .recipient_count = report->recipient_count,
	    .header = report->header,
	    .smtputf8 = e->smtputf8,
	};
	bounce_print(&bounce, out);
	mem_free(from);
}

void report_send(struct intake *intake, const struct conf *conf, const struct report *report,
    report_done *done, void *arg)
{
	struct buf message = {0};
	build(conf, report, &message);
	struct envelope envelope = {
	    .sender = mem_text(""),
	    .client = mem_text("report"),
	    .user = mem_text(""),
	    .report = true,
	    .smtputf8 = report->envelope->smtputf8,
	    .recipients = mem_array(1, sizeof(char *)),
	    .recipient_count = 1,
	};
	envelope.recipients[0] = mem_text(report->envelope->sender);
	struct waiting *waiting = mem_zero(sizeof(*waiting));
	waiting->done = done;
	waiting->arg = arg;
	waiting->message_id = report->message_id;
	intake_submit(intake, &envelope, span_buf(&message), submitted, waiting);
	buf_free(&message);
}
