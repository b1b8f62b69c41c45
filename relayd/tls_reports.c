/* SPDX-License-Identifier: MIT
 * Two tables: the one that counts, and the one of the period that is over, which is
 * worked off domain by domain:
 *
 *	next  a domain of it: is there a TXT record?
 *	tell  the report, to each place that the record names
 *
 * A crash may repeat reports of the last five minutes, and lose what was counted in
 * them: the domains get figures, not mail that was promised.
 */
#include "relayd/tls_reports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "smtp/mx.h"
#include "smtp/tlsrpt.h"

#define SAVE_MS (5 * 60 * 1000)
#define POST_MS 30000
#define POSTS_MAX 10 /* under way, before the next domain's turn comes */
#define ANSWER_MAX 4096
#define FILE_MAX (64 << 20)
#define SPREAD 24 /* reports go out within this part of a period, not all at midnight */

struct tls_reports {
	struct tls_reports_options options;
	char *file;
	struct settings *settings;
	struct tls_counts *now;
	struct tls_counts *due; /* NULL: none */
	struct timer turn;      /* the period ends */
	struct timer work;      /* the next domain */
	struct timer save;
	struct dns_query *query;
	char *domain;           /* that is asked about */
	struct post *posts;     /* under way */
	size_t post_count;
};

/* ---- keeping ---- */

static int64_t interval(const struct tls_reports *r)
{
	return r->settings->conf->delivery.tls_report_interval;
}

static bool is_wanted(const struct tls_reports *r)
{
	return r->settings->conf->delivery.tls_reports;
}

static void save(struct tls_reports *r)
{
	struct buf name = {0};
	json_t *json = json_pack("{s:o,s:o}", "now", tls_counts_json(r->now), "due",
	    r->due ? tls_counts_json(r->due) : json_null());
	timer_stop(&r->save);
	buf_addf(&name, "%s.new", r->file);
	if (!json || json_dump_file(json, buf_text(&name), JSON_COMPACT) != 0 ||
	    rename(buf_text(&name), r->file) != 0)
		log_text(LOG_LEVEL_WARN, "tls reports: %s can not be written: %s", r->file,
		    strerror(errno));
	json_decref(json);
	buf_free(&name);
}

static void on_save(void *arg)
{
	save(arg);
}

static void load(struct tls_reports *r)
{
	json_error_t error;
	struct stat st;
	if (stat(r->file, &st) != 0 || st.st_size > FILE_MAX)
		return;
	json_t *json = json_load_file(r->file, 0, &error);
	if (!json)
		log_text(LOG_LEVEL_WARN, "tls reports: %s can not be read, counting begins anew: %s",
		    r->file, error.text);
	struct tls_counts *now = tls_counts_read(json_object_get(json, "now"));
	if (now) {
		tls_counts_free(r->now);
		r->now = now;
	}
	r->due = tls_counts_read(json_object_get(json, "due"));
	json_decref(json);
}

/* ---- telling ---- */

struct post {
	struct tls_reports *reports;
	char *host;
	char *path;
	uint16_t port;
	struct buf body;
	struct mx_query *address;
	struct https_request *request;
	struct post *prev;
	struct post *next;
};

/* Where many are under way the work stands still, until one of them ends. */
static bool is_crowded(const struct tls_reports *r)
{
	return r->post_count >= POSTS_MAX;
}

static void free_post(struct post *p)
{
	struct tls_reports *r = p->reports;
	if (is_crowded(r) && r->due && !r->query && !timer_is_running(&r->work))
		timer_start(&r->work, 0);
	r->post_count--;
	DL_DELETE(r->posts, p);
	mx_cancel(p->address);
	https_cancel(p->request);
	mem_free(p->host);
	mem_free(p->path);
	buf_free(&p->body);
	mem_free(p);
}

static void on_posted(const struct https_answer *answer, void *arg)
{
	struct post *p = arg;
	p->request = NULL;
	if (answer->status != HTTPS_OK)
		log_text(LOG_LEVEL_INFO, "tls reports: %s does not take one: %s", p->host,
		    answer->text);
	free_post(p);
}

static void on_address(const struct mx_answer *answer, void *arg)
{
	struct post *p = arg;
	struct conn_address addresses[MX_ADDRESSES_MAX];
	p->address = NULL;
	if (answer->status != MX_OK) {
		log_text(LOG_LEVEL_INFO, "tls reports: %s", answer->text);
		free_post(p);
		return;
	}
	for (size_t i = 0; i < answer->count; i++)
		addresses[i] = answer->hosts[i].address;
	struct https_options options = {
	    .host = p->host,
	    .port = p->port,
	    .path = p->path,
	    .addresses = addresses,
	    .address_count = answer->count,
	    .timeout_ms = POST_MS,
	    .body_max = ANSWER_MAX,
	    .post = span_buf(&p->body),
	    .content_type = "application/tlsrpt+gzip",
	};
	p->request = https_start(p->reports->options.https, &options, on_posted, p);
}

static void post(struct tls_reports *r, const struct tlsrpt_rua *rua, struct span packed)
{
	const struct conf_delivery *delivery = &r->settings->conf->delivery;
	struct post *p = mem_zero(sizeof(*p));
	struct mx_options network = {
	    .port = rua->port,
	    .ipv4 = delivery->ipv4,
	    .ipv6 = delivery->ipv6,
	    .allow_private = delivery->allow_private,
	};
	p->reports = r;
	p->host = mem_text(rua->host);
	p->path = mem_text(rua->path);
	p->port = rua->port;
	buf_add(&p->body, packed.p, packed.n);
	DL_APPEND(r->posts, p);
	r->post_count++;
	p->address = mx_find(r->options.dns, r->options.loop, rua->host, true, &network, on_address, p);
}

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct buf text = {0};
	(void)arg;
	(void)id;
	if (reply->code == 250)
		return;
	reply_summary(reply, &text, 200);
	log_text(LOG_LEVEL_WARN, "tls reports: one could not be queued: %s", buf_text(&text));
	buf_free(&text);
}

static void mail(struct tls_reports *r, const struct tls_report *report, struct span packed)
{
	struct buf message = {0};
	struct envelope envelope = envelope_make("", "tls-report", report->to);
	envelope.report = true;
	tls_report_print(report, r->settings->conf, packed, &message);
	intake_submit(r->options.intake, &envelope, span_buf(&message), submitted, NULL);
	buf_free(&message);
}

static void tell(struct tls_reports *r, const struct tlsrpt_record *record)
{
	char id[40];
	struct buf packed = {0};
	struct tls_report report = {.id = id, .domain = r->domain};
	report.start_ms = tls_counts_period(r->due) * tls_counts_length_ms(r->due);
	report.end_ms = report.start_ms + tls_counts_length_ms(r->due) - 1000;
	report.policies = tls_counts_take(r->due, r->domain);
	snprintf(id, sizeof(id), "%" PRId64 "-%016" PRIx64, report.start_ms / 1000, random_u64());
	tls_report_pack(&report, r->settings->conf, &packed);
	for (size_t i = 0; i < record->count; i++) {
		report.to = record->rua[i].mail;
		if (record->rua[i].is_mail)
			mail(r, &report, span_buf(&packed));
		else
			post(r, &record->rua[i], span_buf(&packed));
	}
	log_text(LOG_LEVEL_INFO, "tls reports: %s gets one at %zu places", r->domain, record->count);
	json_decref(report.policies);
	buf_free(&packed);
}

static void on_record(const struct dns_answer *answer, void *arg)
{
	struct tls_reports *r = arg;
	struct tlsrpt_record record;
	r->query = NULL;
	if (tlsrpt_record_read(&record, answer) && is_wanted(r))
		tell(r, &record);
	else
		json_decref(tls_counts_take(r->due, r->domain));
	tlsrpt_record_free(&record);
	timer_start(&r->work, 0);
}

static void on_work(void *arg)
{
	struct tls_reports *r = arg;
	struct buf name = {0};
	const char *domain = r->due && is_wanted(r) ? tls_counts_first(r->due) : NULL;
	if (is_crowded(r))
		return;
	mem_free(r->domain);
	r->domain = mem_text(domain);
	if (!domain) {
		tls_counts_free(r->due);
		r->due = NULL;
		save(r);
		return;
	}
	buf_addf(&name, "_smtp._tls.%s", domain);
	r->query = dns_ask(r->options.dns, buf_text(&name), DNS_TXT, on_record, r);
	buf_free(&name);
}

/* ---- periods ---- */

static void begin_work(struct tls_reports *r)
{
	int64_t spread = interval(r) / SPREAD;
	timer_start(&r->work, (int64_t)random_below((uint32_t)(spread < 1 ? 1 : spread)));
}

static struct tls_counts *new_counts(const struct tls_reports *r)
{
	return tls_counts_new(clock_wall_ms() / interval(r), interval(r));
}

/* By the wall clock, since the report names days. One that is set back, or another
 * interval, ends the period. */
static void on_turn(void *arg)
{
	struct tls_reports *r = arg;
	int64_t wall = clock_wall_ms();
	int64_t period = wall / interval(r);
	bool same =
	    period == tls_counts_period(r->now) && interval(r) == tls_counts_length_ms(r->now);
	if (!is_wanted(r)) { /* what was counted before they were switched off is not told either */
		tls_counts_free(r->now);
		r->now = new_counts(r);
	} else if (!same && !r->due) {
		r->due = r->now;
		r->now = new_counts(r);
		begin_work(r);
	}
	timer_start(&r->turn, (period + 1) * interval(r) - wall);
}

struct tls_reports *tls_reports_new(const struct tls_reports_options *options,
    struct settings *settings)
{
	struct tls_reports *r = mem_zero(sizeof(*r));
	r->options = *options;
	r->file = mem_text(options->file);
	r->settings = settings_ref(settings);
	timer_init(&r->turn, options->loop, on_turn, r);
	timer_init(&r->work, options->loop, on_work, r);
	timer_init(&r->save, options->loop, on_save, r);
	r->now = new_counts(r);
	load(r);
	if (r->due)
		begin_work(r);
	on_turn(r); /* the period that was kept may be over */
	return r;
}

void tls_reports_free(struct tls_reports *r)
{
	if (!r)
		return;
	save(r);
	while (r->posts)
		free_post(r->posts);
	dns_cancel(r->query);
	timer_stop(&r->turn);
	timer_stop(&r->work);
	tls_counts_free(r->now);
	tls_counts_free(r->due);
	settings_unref(r->settings);
	mem_free(r->domain);
	mem_free(r->file);
	mem_free(r);
}

void tls_reports_set_settings(struct tls_reports *r, struct settings *settings)
{
	settings_unref(r->settings);
	r->settings = settings_ref(settings);
	timer_start(&r->turn, 0);
}

void tls_reports_note(struct tls_reports *r, const struct tls_note *note)
{
	if (!is_wanted(r))
		return;
	tls_counts_note(r->now, note);
	if (!timer_is_running(&r->save))
		timer_start(&r->save, SAVE_MS);
}
