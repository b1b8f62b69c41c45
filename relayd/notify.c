/* SPDX-License-Identifier: MIT */
#include "relayd/notify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/explain.h"
#include "relayd/source_trouble.h"
#include "relayd/spool_damage.h"
#include "smtp/header.h"

#define TEXT_MAX 2000 /* of any one text */

struct notify {
	struct notify_options options;
};

static void on_helper(void *arg, enum helper_event event, unsigned number, int value);

struct notify *notify_new(const struct notify_options *options)
{
	struct notify *n = mem_zero(sizeof(*n));
	n->options = *options;
	helper_watch(options->helper, options->loop, on_helper, n);
	return n;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	helper_unwatch(n->options.helper);
	mem_free(n);
}

/* ---- as JSON ---- */

static json_t *json_text(const char *text)
{
	struct buf safe = {0};
	text_escape(&safe, span_text(text), TEXT_MAX);
	json_t *value = json_string(buf_text(&safe));
	buf_free(&safe);
	return value;
}

/* One that no provider made (a sender of ours was stopped, the spool is damaged, a source
 * has no address here) brings its own advice. */
static const char *advice(const struct incident *i)
{
	return i->provider[0] ? explain_remedy(i->klass) : i->help;
}

/* Not about a provider, nor a sender of ours (relayd/drop.c). */
static bool is_drop(const struct incident *i)
{
	return !i->provider[0] && strcmp(i->source, "drop") == 0;
}

static const char *what_was_done(const struct incident *i)
{
	if (!i->open)
		return "it is over: mail goes as before";
	if (is_drop(i))
		return "each message is kept in the folder as bad.*; other mail is not touched";
	if (spool_damage_is(i))
		return "what could not be read was kept; all other mail goes as before";
	if (source_trouble_is(i))
		return "mail takes the next entry of via, or waits";
	if (!i->provider[0])
		return "mail of this sender is held back; nobody else is touched";
	if (i->sender_domain[0])
		return "mail of this sender's domain to the provider waits, whatever the source; a "
		       "probe now and then tries it";
	if (i->family)
		return "nothing goes to the provider over IPv6; IPv4 is used";
	return "nothing goes this way but a probe now and then; mail takes the next entry of via, or "
	       "waits without losing its time";
}

/* "2026-11-21 22:15:01 UTC", of a moment of the steady clock */
static json_t *time_json(int64_t steady_ms)
{
	struct tm tm;
	char text[40];
	time_t seconds = (time_t)(clock_shown_ms(steady_ms) / 1000);
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	return json_string(text);
}

static json_t *replies_json(const struct incident *i)
{
	json_t *list = json_array();
	for (size_t n = 0; n < i->reply_count; n++)
		json_array_append_new(list,
		    json_pack("{s:o,s:I,s:s,s:o,s:s}", "when", time_json(i->replies[n].when_ms),
			"when_ms", (json_int_t)clock_shown_ms(i->replies[n].when_ms), "stage",
			verdict_stage_name(i->replies[n].stage), "domain",
			json_text(i->replies[n].domain), "text", i->replies[n].text));
	return list;
}

json_t *notify_json(const struct incident *i)
{
	json_t *all = json_pack(
	    "{s:I,s:b,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}",
	    "number", (json_int_t)i->number, "open", (int)i->open, "source", json_text(i->source),
	    "provider", json_text(i->provider), "class", verdict_class_name(i->klass),
	    "sender_domain", json_text(i->sender_domain), "rule", json_text(i->rule),
	    "help", json_text(i->help), "do", json_text(advice(i)), "done",
	    what_was_done(i), "family", i->family ? "ipv6" : "", "first_ms",
	    (json_int_t)clock_shown_ms(i->first_ms), "last_ms",
	    (json_int_t)clock_shown_ms(i->last_ms), "next_probe_ms",
	    (json_int_t)clock_shown_ms(i->next_probe_ms), "met", (json_int_t)i->met, "rerouted",
	    (json_int_t)i->rerouted, "asked_ms", (json_int_t)clock_shown_ms(i->asked_ms),
	    "asked_of", json_text(i->asked_of), "replies", replies_json(i));
	json_object_set_new(all, "first", time_json(i->first_ms));
	json_object_set_new(all, "last", time_json(i->last_ms));
	if (i->next_probe_ms)
		json_object_set_new(all, "next_probe", time_json(i->next_probe_ms));
	return all;
}

/* ---- the command ---- */

/* As one line; without its replies where it would be too long. */
static void write_input(struct buf *out, const struct incident *i)
{
	json_t *json = notify_json(i);
	for (int tries = 0; tries < 2; tries++) {
		char *text = json_dumps(json, JSON_COMPACT);
		buf_clear(out);
		buf_add_text(out, text ? text : "{}");
		buf_add_byte(out, '\n');
		free(text);
		if (out->len <= HELPER_INPUT_MAX)
			break;
		json_object_del(json, "replies");
	}
	json_decref(json);
}

/* True: it runs, or can not ever run (which the log says). */
static bool run_command(struct notify *n, const struct incident *i)
{
	struct buf input = {0};
	write_input(&input, i);
	enum helper_answer answer = helper_run(n->options.helper, i->number, span_buf(&input));
	buf_free(&input);
	if (answer == HELPER_DEAD)
		log_text(LOG_LEVEL_ERROR,
		    "notify.command %s is not run for incident %u: the helper process has ended; "
		    "restart relayd", helper_command(n->options.helper), i->number);
	return answer != HELPER_BUSY;
}

static void on_helper(void *arg, enum helper_event event, unsigned number, int value)
{
	struct notify *n = arg;
	const char *command = helper_command(n->options.helper);
	switch (event) {
	case HELPER_CANNOT:
		log_text(LOG_LEVEL_ERROR, "notify.command %s could not be run for incident %u: %s",
		    command, number, strerror(value));
		break;
	case HELPER_ENDED:
		if (value)
			log_text(LOG_LEVEL_WARN,
			    "notify.command for incident %u ended with status %d", number, value);
		break;
	case HELPER_SIGNALED:
		log_text(LOG_LEVEL_WARN, "notify.command for incident %u was ended by signal %d",
		    number, value);
		break;
	case HELPER_GONE:
		log_text(LOG_LEVEL_ERROR,
		    "the helper process has ended by itself: notify.command %s is not run any more; "
		    "restart relayd", command);
		break;
	}
}

/* ---- the mail ---- */

struct mail {
	struct notify *notify;
	unsigned number;
};

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct mail *mail = arg;
	struct notify_options *options = &mail->notify->options;
	(void)id;
	if (reply->code != 250) {
		struct buf text = {0};
		reply_summary(reply, &text, 200);
		log_text(LOG_LEVEL_WARN, "the mail about incident %u could not be queued: %s",
		    mail->number, buf_text(&text));
		buf_free(&text);
	}
	options->told(options->arg, mail->number, reply->code == 250);
	mem_free(mail);
}

static void add_field(struct buf *out, const char *name, const char *value)
{
	struct buf safe = {0};
	text_escape(&safe, span_text(value), 500);
	if (safe.len)
		buf_addf(out, "%s: %s\r\n", name, buf_text(&safe));
	buf_free(&safe);
}

static void write_header(struct buf *out, const struct conf *conf, const struct incident *i)
{
	const char *domain = conf_own_domain(conf);
	buf_addf(out, "From: MAILER-DAEMON@%s\r\nTo: %s\r\nDate: ", domain, conf->notify.mail);
	header_date(out, clock_wall_ms());
	buf_addf(out, "\r\nMessage-ID: <incident-%u-%016" PRIx64 "@%s>\r\n", i->number,
	    random_u64(), domain);
	buf_addf(out, "Subject: relayd: incident %u: %s\r\n", i->number,
	    i->klass == VERDICT_OTHER && !i->provider[0] ? i->rule : verdict_class_name(i->klass));
	buf_add_text(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
			  "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
}

static const char *news(const struct incident *i)
{
	if (i->provider[0])
		return "A provider refuses our mail. It waits, or leaves another way.";
	if (spool_damage_is(i))
		return "Something in the spool can not be read: mail may be lost.";
	if (source_trouble_is(i))
		return "This machine can not send by the address of a source.";
	return is_drop(i) ? "Mail in the drop folder can neither be sent nor returned."
			  : "Mail of one of our own senders is held back.";
}

static void write_body(struct buf *out, const struct incident *i)
{
	buf_addf(out, "%s\r\n\r\n", news(i));
	add_field(out, "Provider", i->provider);
	add_field(out, "Source", i->source);
	add_field(out, "Sender domain", i->sender_domain);
	add_field(out, "Class", verdict_class_name(i->klass));
	add_field(out, "Rule", i->rule);
	if (i->provider[0])
		add_field(out, "Help", i->help);
	add_field(out, "What was done", what_was_done(i));
	add_field(out, "What to do", advice(i));
	for (size_t n = 0; n < i->reply_count; n++)
		buf_addf(out, "%s: %.900s\r\n", i->provider[0] ? "Reply" : "Cause",
		    i->replies[n].text);
	buf_addf(out, "\r\nSee relayctl incidents show %u\r\n", i->number);
}

static void send_mail(struct notify *n, const struct conf *conf, const struct incident *i)
{
	struct buf message = {0};
	write_header(&message, conf, i);
	write_body(&message, i);
	struct envelope envelope = envelope_make("", "incident", conf->notify.mail);
	envelope.report = true;
	struct mail *mail = mem_zero(sizeof(*mail));
	mail->notify = n;
	mail->number = i->number;
	intake_submit(n->options.intake, &envelope, span_buf(&message), submitted, mail);
	buf_free(&message);
}

bool notify_incident(struct notify *n, const struct conf *conf, const struct incident *i,
    bool ran)
{
	/* the command is the one of the start: a reload does not change it */
	ran = ran || !helper_command(n->options.helper)[0] || run_command(n, i);
	if (ran && conf->notify.mail[0])
		send_mail(n, conf, i);
	else
		n->options.told(n->options.arg, i->number, ran);
	return ran;
}
