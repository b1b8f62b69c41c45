/* SPDX-License-Identifier: MIT
 * A report takes the way in that every message takes, so that it is signed and
 * on disk before the recipient it is about counts as done.
 */
#include "relayd/report.h"

#include <string.h>

#include "queue/message.h"
#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/dsn.h"

struct waiting {
	report_done *done;
	void *arg;
	struct stats *stats;
	enum bounce_kind kind;
	uint64_t message_id;
	char *to;
};

/* The report comes from a domain of ours, so that it is signed and its reader
 * knows the name: that of the message if it still is one, else the default one, else our
 * host. */
static char *author(const struct conf *conf, const struct envelope *e)
{
	struct buf text = {0};
	const struct conf_domain *domain =
	    conf_domain_of(conf->domains, conf->domain_count, e->domain, strlen(e->domain));
	buf_addf(&text, "MAILER-DAEMON@%s", domain ? domain->name : conf_own_domain(conf));
	return buf_take(&text, NULL);
}

/* Only a failure has somebody who comes again with it. */
static enum report_end judge(const struct reply *reply, enum bounce_kind kind)
{
	if (reply->code == 250)
		return REPORT_QUEUED;
	return reply->code >= 500 || kind != BOUNCE_FAILED ? REPORT_DROPPED : REPORT_LATER;
}

static void log_trouble(const struct waiting *waiting, const struct reply *reply, bool dropped)
{
	struct log_line line;
	struct buf text = {0};
	char id[MESSAGE_ID_TEXT];
	reply_summary(reply, &text, 200);
	log_begin(&line, dropped ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "report");
	log_add_text(&line, "about", message_id_text(waiting->message_id, id));
	log_add_text(&line, "to", waiting->to);
	log_add_text(&line, "result", dropped ? "dropped" : "later");
	log_add_escaped(&line, "reply", buf_text(&text));
	log_end(&line);
	buf_free(&text);
}

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct waiting *waiting = arg;
	enum report_end end = judge(reply, waiting->kind);
	(void)id;
	waiting->stats->reports += end == REPORT_QUEUED;
	waiting->stats->reports_dropped += end == REPORT_DROPPED;
	if (end != REPORT_QUEUED)
		log_trouble(waiting, reply, end == REPORT_DROPPED);
	waiting->done(waiting->arg, end);
	mem_free(waiting->to);
	mem_free(waiting);
}

static void build(const struct conf *conf, const struct report *report, struct buf *out)
{
	const struct envelope *e = report->envelope;
	char id[MESSAGE_ID_TEXT];
	char original_id[MESSAGE_ID_TEXT];
	char *from = author(conf, e);
	struct buf envid = {0};
	dsn_print_envid(e, &envid);
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
	    .envid = buf_text(&envid),
	    .header = report->header,
	    .content = report->content,
	    .too_much = report->too_much,
	    .smtputf8 = e->smtputf8,
	};
	bounce_print(&bounce, out);
	buf_free(&envid);
	mem_free(from);
}

void report_send(struct intake *intake, const struct conf *conf, struct stats *stats,
    const struct report *report, report_done *done, void *arg)
{
	struct buf message = {0};
	build(conf, report, &message);
	struct envelope envelope = envelope_make("", "report", report->envelope->sender);
	envelope.report = true;
	/* RFC 8689 section 5: rather lost than read along */
	envelope.require_tls = report->envelope->require_tls;
	envelope.smtputf8 = report->envelope->smtputf8;
	struct waiting *waiting = mem_zero(sizeof(*waiting));
	waiting->done = done;
	waiting->arg = arg;
	waiting->stats = stats;
	waiting->kind = report->kind;
	waiting->to = mem_text(report->envelope->sender);
	waiting->message_id = report->message_id;
	intake_submit(intake, &envelope, span_buf(&message), submitted, waiting);
	buf_free(&message);
}
