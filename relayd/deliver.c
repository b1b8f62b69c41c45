/* SPDX-License-Identifier: MIT
 * The story of a message on its way out. Its steps, in their order:
 *
 *	look_up      (look_up.c) of a new destination, before the first attempt
 *	begin        the schedule has handed out a batch: its envelope, from the spool
 *	way_choose   (way.c) by which source or smarthost, and whether it may go now
 *	next_host    (host.c) one after the other: what TLS it has to show; a parked
 *	             connection, or a new one
 *	send         (send.c) transactions, with the content from the spool; results come
 *	             per recipient
 *	session_over (send.c) those put off may try the next host
 *	way_over     (way.c) and those that a block met, the next way
 *	settle       (settle.c) verdicts into the spool, reports, end of the attempt
 *
 * What a reply means is decided in queue/verdict, never here. What intake, spool and
 * relayctl want of the queue is in deliver_queue.c.
 */
#include "relayd/deliver_internal.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/dsn.h"

#define PARKED_MAX 200
#define HISTORY_MAX 20000
#define SESSIONS_MAX 1000 /* of TLS, a few KB each */

/* ---- life ---- */

/* What it is about ends here: nobody calls it any more. */
static void break_off(struct attempt *a)
{
	timer_stop(&a->timer);
	if (a->query)
		mx_cancel(a->query);
	a->query = NULL;
	if (a->client)
		client_close(a->client);
	a->client = NULL;
	spool_reader_close(a->reader);
	a->reader = NULL;
	host_clear(a);
	sts_cancel(a->sts_query);
	a->sts_query = NULL;
}

void attempt_free(struct attempt *a)
{
	struct deliver *deliver = a->deliver;
	break_off(a);
	spool_await_cancel(&a->written);
	sts_policy_unref(a->sts);
	way_clear(a);
	for (size_t i = 0; i < a->tried_count; i++) {
		buf_free(&a->tried[i].text);
		buf_free(&a->tried[i].dsn);
	}
	buf_free(&a->mail_dsn);
	DL_DELETE(deliver->attempts, a);
	deliver->running--;
	envelope_free(&a->envelope);
	settings_unref(a->settings);
	mem_free(a->hosts);
	mem_free(a->tried);
	mem_free(a->addresses);
	mem_free(a->dsn);
	mem_free(a->sent);
	mem_free(a);
}

bool attempt_may_go_on(const struct attempt *a)
{
	return !a->deliver->stopping && !a->batch->doomed && !a->batch->message->held;
}

/* All recipients that have no result yet get this one, and it is over. */
void attempt_end_all(struct attempt *a, enum verdict_stage stage, bool permanent,
    const char *status, const char *text)
{
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_OPEN || a->tried[i].state == TRIED_SENT)
			settle_local(a, &a->tried[i], stage, permanent, status, text);
	settle(a);
}

/* What is to be sent can not be read (WHY): this is no attempt any more. A damaged message
 * is set aside, and nothing will ever come of it. */
void attempt_end_unread(struct attempt *a, const struct why *why)
{
	struct deliver *deliver = a->deliver;
	struct batch *batch = a->batch;
	struct message *message = batch->message;
	log_text(LOG_LEVEL_ERROR, "spool: %s", why->text);
	attempt_free(a);
	if (why->kind == WHY_PERM)
		schedule_delete(deliver->schedule, message);
	schedule_finish(deliver->schedule, batch, SCHEDULE_NEUTRAL, 0);
}

/* ---- start ---- */

/* Who comes first: where one transaction does not hold all and no second one may follow, by the
 * rate of the path, an attempt at those who are put off each time would never reach the others. */
static uint32_t first_in_turn(const struct attempt *a)
{
	uint64_t most = (uint64_t)a->settings->conf->delivery.recipients;
	uint32_t count = a->batch->count;
	return count > most && !a->expired ? (uint32_t)(a->batch->attempts * most % count) : 0;
}

static void list_recipients(struct attempt *a)
{
	a->tried_count = a->batch->count;
	a->tried = mem_array(a->tried_count, sizeof(*a->tried));
	a->addresses = mem_array(a->tried_count, sizeof(*a->addresses));
	a->dsn = mem_array(a->tried_count, sizeof(*a->dsn));
	dsn_print_mail(&a->envelope, &a->mail_dsn);
	a->sent = mem_array(a->tried_count, sizeof(*a->sent));
	uint32_t first = first_in_turn(a);
	for (uint32_t i = 0; i < a->batch->count; i++) {
		uint32_t index = batch_recipient(a->batch, (first + i) % a->batch->count);
		a->tried[i].index = index;
		if (index >= a->envelope.recipient_count)
			bug("a batch with a recipient that its envelope lacks");
		a->tried[i].address = a->envelope.recipients[index];
		dsn_print_recipient(&a->envelope, index, &a->tried[i].dsn);
	}
}

/* -1: the attempt is over. */
static int read_envelope(struct attempt *a)
{
	struct why why = {0};
	if (spool_read_envelope(a->deliver->options.spool, a->id, a->batch->message->place,
		&a->envelope, &why) == 0) {
		list_recipients(a);
		return 0;
	}
	attempt_end_unread(a, &why);
	return -1;
}

/* Its sender is braked: nothing is tried, and the message is held. */
static void hold_back(struct attempt *a, uint8_t code)
{
	struct deliver *deliver = a->deliver;
	struct batch *batch = a->batch;
	struct message *message = batch->message;
	attempt_free(a);
	message->brake = code & 7u;
	schedule_hold(deliver->schedule, message);
	message_note_state(deliver, message);
	schedule_put_off(deliver->schedule, batch, clock_steady_ms(), false); /* and it is held */
}

static void begin(void *arg)
{
	struct attempt *a = arg;
	if (read_envelope(a) < 0)
		return;
	bool watched = !a->expired && !a->batch->message->cleared;
	uint8_t code =
	    watched ? brake_watch_stops(a->deliver->options.brake, &a->envelope, a->id) : 0;
	if (code)
		hold_back(a, code);
	else if (a->expired)
		settle(a);
	else if (!way_reroute(a))
		way_choose(a);
}

static struct attempt *attempt_new(struct deliver *deliver, struct batch *batch)
{
	struct attempt *a = mem_zero(sizeof(*a));
	a->deliver = deliver;
	a->settings = settings_ref(deliver->settings);
	a->batch = batch;
	a->id = batch->message->id;
	a->started_ms = clock_mono_ms();
	timer_init(&a->timer, deliver->options.loop, begin, a);
	timer_start(&a->timer, 0);
	DL_APPEND(deliver->attempts, a);
	deliver->running++;
	return a;
}

static void on_start(void *arg, struct batch *batch)
{
	attempt_new(arg, batch);
}

static void on_expire(void *arg, struct batch *batch)
{
	attempt_new(arg, batch)->expired = true;
}

static void on_delayed(void *arg, struct message *message)
{
	settle_delay_notice(arg, message);
}

static void on_ended(void *arg, struct message *message)
{
	struct deliver *deliver = arg;
	spool_note_end(deliver->options.spool, message->id, message->place);
	history_forget_message(deliver->history, message->id);
}

/* ---- life of the whole ---- */

static void on_opened(void *arg, unsigned incident)
{
	struct deliver *deliver = arg;
	schedule_opened(deliver->schedule, incident);
}

struct deliver *deliver_new(const struct deliver_options *options, struct settings *settings)
{
	struct deliver *deliver = mem_zero(sizeof(*deliver));
	struct schedule_handler handler = {
	    .look_up = look_up_ahead,
	    .start = on_start,
	    .expire = on_expire,
	    .delayed = on_delayed,
	    .ended = on_ended,
	    .arg = deliver,
	};
	deliver->options = *options;
	deliver->settings = settings_ref(settings);
	deliver->schedule = schedule_new(options->loop, &settings->conf->queue, &handler);
	reputation_on_opened(paths_reputation(options->paths), on_opened, deliver);
	deliver->reuse = reuse_new(options->loop, settings->conf->delivery.reuse_idle, PARKED_MAX);
	deliver->sessions = tls_sessions_new(SESSIONS_MAX);
	deliver->plain_hosts = plain_hosts_new();
	deliver->history = history_new(HISTORY_MAX);
	return deliver;
}

void deliver_free(struct deliver *deliver)
{
	while (deliver->attempts)
		attempt_free(deliver->attempts);
	look_up_cancel_all(deliver);
	reuse_free(deliver->reuse);
	tls_sessions_free(deliver->sessions);
	plain_hosts_free(deliver->plain_hosts);
	schedule_free(deliver->schedule);
	history_free(deliver->history);
	settings_unref(deliver->settings);
	mem_free(deliver);
}

/* Perhaps the reload has mended our account at a smarthost: a message tries. Not where
 * the hold is somebody's wish, which has no time for a probe. */
static void try_smarthost(void *arg, const struct path_view *view)
{
	struct deliver *deliver = arg;
	int64_t now = clock_steady_ms();
	if (view->state != PATH_HELD || !view->until_ms || !route_is_smarthost(view->source))
		return;
	reputation_probe_now(
	    paths_reputation(deliver->options.paths), view->provider, view->source, now);
	deliver_try_one(deliver, view->incident, now);
}

void deliver_set_settings(struct deliver *deliver, struct settings *settings)
{
	schedule_set_conf(deliver->schedule, &settings->conf->queue);
	/* parked clients look at the old settings' limits */
	reuse_free(deliver->reuse);
	deliver->reuse =
	    reuse_new(deliver->options.loop, settings->conf->delivery.reuse_idle, PARKED_MAX);
	/* what sessions were verified by may have changed */
	tls_sessions_clear(deliver->sessions);
	settings_unref(deliver->settings);
	deliver->settings = settings_ref(settings);
	reputation_each(
	    paths_reputation(deliver->options.paths), clock_steady_ms(), try_smarthost, deliver);
	/* there may be a way out, or more room on it */
	schedule_resume(deliver->schedule);
}

/* ---- the end ---- */

/* Those who have their message are told of it now or never; the others come again. */
static void cut(struct attempt *a)
{
	if (!a->has_results) {
		attempt_free(a);
		return;
	}
	break_off(a);
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_SENT)
			a->tried[i].state = TRIED_OPEN;
	settle(a);
}

/* What has not said its final dot is cut: it is in the spool and will be sent
 * after the next start. After the dot the answer decides, so it is awaited. */
void deliver_shut(struct deliver *deliver)
{
	struct attempt *a;
	struct attempt *next;
	deliver->stopping = true;
	schedule_stop(deliver->schedule);
	reuse_free(deliver->reuse);
	deliver->reuse = reuse_new(deliver->options.loop, 0, 0);
	DL_FOREACH_SAFE (deliver->attempts, a, next)
		if (!a->batch->settling && (!a->client || !client_is_committed(a->client)))
			cut(a);
}

size_t deliver_running(const struct deliver *deliver)
{
	return deliver->running;
}
