/* SPDX-License-Identifier: MIT
 * Commands about the daemon as a whole: status, reload, destinations.
 */
#include <stdio.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"
#include "relayd/drop.h"

/* ---- status ---- */

static void add_number(struct request *r, const char *name, uint64_t value)
{
	request_fact(r, name, json_integer((json_int_t)value));
}

static void add_warning(void *arg, const char *text)
{
	request_fact(arg, "warning", json_safe(span_text(text)));
}

void control_status(struct request *r)
{
	struct daemon *d = r->daemon;
	struct schedule_stats queue = schedule_stats(deliver_schedule(d->deliver));
	struct spool_stats spool = spool_stats(d->spool);
	struct login_counts logins = login_counts(d->login);
	request_ok(r);
	request_fact(r, "version", json_string(RELAYD_VERSION));
	add_number(r, "uptime_s", (uint64_t)(clock_wall_ms() - d->stats.started_ms) / 1000);
	add_number(r, "queue_messages", queue.messages);
	add_number(r, "queue_waiting", queue.waiting);
	add_number(r, "queue_ready", queue.ready);
	add_number(r, "queue_running", queue.running);
	add_number(r, "queue_held", queue.held);
	add_number(r, "destinations", queue.destinations);
	add_number(r, "accepted", d->stats.accepted);
	add_number(r, "refused", d->stats.refused);
	add_number(r, "signed", d->stats.signed_messages);
	add_number(r, "delivered", d->stats.delivered);
	add_number(r, "deferred", d->stats.deferred);
	add_number(r, "bounced", d->stats.bounced);
	add_number(r, "reports", d->stats.reports);
	add_number(r, "reports_dropped", d->stats.reports_dropped);
	add_number(r, "drop_set_aside", drop_set_aside(d->drop));
	add_number(r, "connections_now", listen_connections(d->listen));
	add_number(r, "connections", d->stats.connections);
	add_number(r, "connections_refused", d->stats.connections_refused);
	add_number(r, "users", logins.users);
	add_number(r, "logins", d->stats.logins);
	add_number(r, "logins_failed", d->stats.logins_failed);
	add_number(r, "logins_put_off", d->stats.logins_put_off);
	add_number(r, "logins_hashing", logins.hashing);
	add_number(r, "logins_banned", logins.banned);
	request_fact(r, "spool_full", json_boolean(spool_is_full(d->spool)));
	add_number(r, "spool_segments", spool.segments);
	add_number(r, "spool_bytes", spool.bytes);
	add_number(r, "spool_live_bytes", spool.live_bytes);
	add_number(r, "spool_syncs", spool.syncs);
	add_number(r, "spool_carried", spool.carried);
	add_number(r, "spool_damaged", spool.damaged);
	request_fact(r, "dnssec", json_boolean(dns_is_validating(d->dns)));
	settings_warn(d->settings, add_warning, r);
	request_end(r);
}

/* ---- reload ---- */

/* The mistakes as rows, one a line. */
static void mistake_rows(struct request *r, struct span rest)
{
	while (rest.n)
		request_row(r, json_pack("{s:o}", "line", json_safe(span_cut(&rest, '\n'))));
}

static void collect_warning(void *arg, const char *text)
{
	struct request *r = arg;
	json_array_append_new(r->list, json_pack("{s:o}", "warning", json_safe(span_text(text))));
}

void control_reload(struct request *r)
{
	struct conf_errors errors = {0};
	struct log_line line;
	control_log_change(&line, r->command, r->peer.uid);
	log_end(&line);
	r->list = json_array();
	if (daemon_reload(r->daemon, collect_warning, r, &errors) == 0) {
		request_list(r);
	} else {
		settings_log_errors(LOG_LEVEL_ERROR,
		    "reload failed, the old configuration stays in force", &errors);
		r->answered = true;
		request_row(r, json_pack("{s:b,s:s}", "ok", 0, "error",
				   "the old configuration stays in force"));
		mistake_rows(r, span_buf(&errors.text));
		request_end(r);
	}
	conf_errors_free(&errors);
}

/* ---- destinations ---- */

#define NAME_SHOWN 300

struct destination_row {
	struct destination_stats stats;
	char name[NAME_SHOWN];
};

static void copy_row(void *arg, const struct destination_stats *stats)
{
	struct request *r = arg;
	struct destination_row *row = &r->rows[r->row_count++];
	row->stats = *stats;
	snprintf(row->name, sizeof(row->name), "%s", stats->name);
}

static bool destination_page(struct request *r)
{
	if (r->row_at == r->row_count)
		return false;
	const struct destination_row *row = &r->rows[r->row_at++];
	const struct destination_stats *d = &row->stats;
	int64_t left = d->paused_until_ms ? (d->paused_until_ms - clock_steady_ms()) / 1000 : 0;
	request_row(r, json_pack("{s:o,s:I,s:I,s:I,s:I,s:f,s:I}", "destination",
			   json_safe(span_text(row->name)), "waiting", (json_int_t)d->waiting,
			   "ready", (json_int_t)d->ready, "running", (json_int_t)d->running, "held",
			   (json_int_t)d->held, "window", d->window, "paused",
			   (json_int_t)(left > 0 ? left : 0)));
	return true;
}

void control_destinations(struct request *r)
{
	struct schedule *schedule = deliver_schedule(r->daemon->deliver);
	r->rows = mem_array(schedule_stats(schedule).destinations, sizeof(*r->rows));
	schedule_each_destination(schedule, copy_row, r);
	request_ok(r);
	request_pages(r, destination_page);
}
