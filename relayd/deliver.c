/* SPDX-License-Identifier: MIT
 * The story of a message on its way out. Its steps, in their order; in the file a
 * step stands below those that it leads to, so begin at its end:
 *
 *	look_up      (look_up.c) of a new destination, before the first attempt
 *	start        the schedule hands out a batch
 *	read         its envelope, from the spool
 *	way_choose   (way.c) by which source or smarthost, and whether it may go now
 *	next_host    (host.c) one after the other: what TLS it has to show; a parked
 *	             connection, or a new one
 *	send         a transaction, with the content from the spool; results come per
 *	             recipient
 *	session_over those put off may try the next host
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

#define SESSIONS_PER_ATTEMPT 2 /* hosts that may put recipients off before we wait */
#define PARKED_MAX 200
#define HISTORY_MAX 20000
#define SESSIONS_MAX 1000 /* of TLS, a few KB each */

/* ---- life ---- */

void attempt_free(struct attempt *a)
{
	struct deliver *deliver = a->deliver;
	timer_stop(&a->timer);
	spool_await_cancel(&a->written);
	if (a->query)
		mx_cancel(a->query);
	if (a->client)
		client_close(a->client);
	spool_reader_close(a->reader);
	host_clear(a);
	sts_cancel(a->sts_query);
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
static void end_unread(struct attempt *a, const struct why *why)
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

/* ---- the dialogue ---- */

static void on_ready(void *arg);
static void on_recipient(void *arg, size_t index, const struct client_result *result);
static void on_done(void *arg);
static void on_failed(void *arg, const struct client_result *result, bool idle);

const struct client_handler attempt_client_handler = {
    .ready = on_ready,
    .recipient = on_recipient,
    .done = on_done,
    .failed = on_failed,
};

/* Those before first_open are not open any more: a message to 100,000 recipients
 * takes 1,000 transactions. */
static bool has_open(struct attempt *a)
{
	while (a->first_open < a->tried_count && a->tried[a->first_open].state != TRIED_OPEN)
		a->first_open++;
	return a->first_open < a->tried_count;
}

/* A reader keeps its segment of the spool, so there is one only while a transaction is under
 * way, and none while hosts are looked up and connected to. */
static void close_reader(struct attempt *a)
{
	spool_reader_close(a->reader);
	a->reader = NULL;
}

/* Has the connection carried as many transactions as it should? */
static bool has_carried_enough(const struct attempt *a)
{
	unsigned n = client_info(a->client).transactions;
	return n >= (unsigned)a->settings->conf->delivery.reuse_messages || way_is_worn(a, n);
}

static void part_from_client(struct attempt *a)
{
	struct client *client = a->client;
	char key[1024];
	bool worn = has_carried_enough(a);
	close_reader(a);
	a->client = NULL;
	host_key(a, key, sizeof(key));
	if (worn || a->deliver->stopping || a->settings != a->deliver->settings)
		client_close(client);
	else
		reuse_put(a->deliver->reuse, key, client);
}

/* False: the attempt is over. */
static bool open_reader(struct attempt *a)
{
	struct why why = {0};
	if (!a->reader)
		a->reader = spool_reader_open(
		    a->deliver->options.spool, a->id, a->batch->message->place, &why);
	if (a->reader)
		return true;
	part_from_client(a);
	end_unread(a, &why);
	return false;
}

static void send_some(struct attempt *a)
{
	size_t max = (size_t)a->settings->conf->delivery.recipients;
	if (!open_reader(a))
		return;
	if (a->room && a->room < max)
		max = a->room;
	a->sent_count = 0;
	for (size_t i = a->first_open; i < a->tried_count && a->sent_count < max; i++) {
		if (a->tried[i].state != TRIED_OPEN)
			continue;
		a->tried[i].state = TRIED_SENT;
		a->addresses[a->sent_count] = a->tried[i].address;
		a->dsn[a->sent_count] = buf_text(&a->tried[i].dsn);
		a->sent[a->sent_count++] = i;
	}
	a->message = (struct client_message){
	    .sender = a->envelope.sender,
	    .recipients = a->addresses,
	    .recipient_count = a->sent_count,
	    .mail_dsn = buf_text(&a->mail_dsn),
	    .rcpt_dsn = a->dsn,
	    .size = spool_reader_size(a->reader),
	    .eightbit = a->envelope.eightbit,
	    .smtputf8 = a->envelope.smtputf8,
	    .require_tls = a->envelope.require_tls,
	    .read = spool_reader_read,
	    .arg = a->reader,
	};
	client_send(a->client, &a->message);
}

static void on_ready(void *arg)
{
	struct attempt *a = arg;
	a->reached = true;
	host_note_tls(a);
	host_note_session(a);
	send_some(a);
}

static void on_recipient(void *arg, size_t index, const struct client_result *result)
{
	struct attempt *a = arg;
	settle_reply(a, &a->tried[a->sent[index]], result);
}

/* Is the next one another address of the host under way? */
static bool is_same_next(const struct attempt *a)
{
	const struct mx_host *host = &a->hosts[a->host];
	return a->host + 1 < a->host_count && strcmp(host[1].name, host->name) == 0;
}

/* It would say the same as the one that has just put us off. */
static void skip_same_host(struct attempt *a)
{
	while (is_same_next(a))
		a->host++;
}

bool attempt_has_next_host(const struct attempt *a)
{
	for (size_t i = a->host + 1; i < a->host_count; i++)
		if (strcmp(a->hosts[i].name, a->hosts[a->host].name) != 0)
			return true;
	return false;
}

/* What a host had to say is said. Those it put off, or lacks something for (RFC 8689 section
 * 4.2.1 wants each host to be tried), may ask the next one. */
static void session_over(struct attempt *a)
{
	bool more = a->host + 1 < a->host_count && a->sessions < SESSIONS_PER_ATTEMPT &&
		    !a->deliver->stopping;
	bool same = is_same_next(a);
	size_t again = 0;
	for (size_t i = 0; more && i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_LATER && !a->tried[i].rests) {
			a->tried[i].state = TRIED_OPEN;
			a->tried[i].awaited |= !same && !a->tried[i].lacking;
			again++;
		}
	a->first_open = 0;
	if (again == 0) {
		way_over(a);
		return;
	}
	a->host++;
	a->plain = false;
	a->reused = false;
	attempt_next_host(a);
}

/* There are some whose turn has not come, and they may still be sent. */
static bool has_more(struct attempt *a)
{
	return !a->deliver->stopping && has_open(a);
}

/* It took some of a transaction's recipients and had no room for others: they come in the
 * next ones, of as many as it took. */
static void make_room(struct attempt *a)
{
	size_t taken = 0;
	size_t over = 0;
	for (size_t i = 0; i < a->sent_count; i++) {
		taken += a->tried[a->sent[i]].state == TRIED_DELIVERED;
		over += settle_is_over_count(&a->tried[a->sent[i]]);
	}
	if (taken == 0 || over == 0)
		return;
	a->room = taken;
	a->first_open = 0;
	for (size_t i = 0; i < a->sent_count; i++)
		if (settle_is_over_count(&a->tried[a->sent[i]]))
			a->tried[a->sent[i]].state = TRIED_OPEN;
}

/* The rest of the recipients, by this connection or another one. */
static void send_more(struct attempt *a)
{
	if (has_carried_enough(a)) {
		part_from_client(a);
		a->reused = false;
		attempt_next_host(a);
		return;
	}
	a->reused = true; /* when it has had enough: a new one */
	send_some(a);
}

static void on_done(void *arg)
{
	struct attempt *a = arg;
	make_room(a);
	bool more = has_more(a);
	if (more && way_goes_on(a)) {
		send_more(a);
		return;
	}
	part_from_client(a);
	if (more) {
		way_over(a);
		return;
	}
	a->sessions += !a->tried[a->sent[0]].lacking; /* it could not even be offered */
	skip_same_host(a);
	session_over(a);
}

/* Recipients go back to before the transaction, for another connection. */
static void reopen(struct attempt *a)
{
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_SENT)
			a->tried[i].state = TRIED_OPEN;
	a->first_open = 0;
}

static bool may_go_plain(const struct attempt *a, const struct client_result *result)
{
	return result->stage == CLIENT_TLS && a->level.tls == CLIENT_TLS_MAY;
}

/* A connection that has carried a transaction and takes no further one; 421 says so in
 * words, unless they tell us to slow down: to come back at once would be to ignore it. */
static bool is_worn_out(const struct attempt *a, const struct client_result *result, bool idle)
{
	bool between = idle || (a->reused && result->stage <= CLIENT_MAIL);
	if (result->reply)
		return between && result->reply->code == 421 && !settle_blames_us(a, result);
	return between;
}

static void settle_open(struct attempt *a, const struct client_result *result)
{
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_OPEN || a->tried[i].state == TRIED_SENT)
			settle_reply(a, &a->tried[i], result);
}

/* The connection ended in a transaction: its recipients share that. To the others nothing
 * was said: where the transaction alone was refused they stay open. */
static void settle_sent(struct attempt *a, const struct client_result *result)
{
	static const struct why unoffered = {
	    WHY_TEMP, "not offered: the connection ended in the transaction of other recipients"};
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_SENT)
			settle_reply(a, &a->tried[i], result);
	if (!result->reply)
		settle_open(a, &(struct client_result){CLIENT_MAIL, NULL, &unoffered});
}

/* No transaction had begun, or it is the connection that the host refuses. */
static bool is_about_all(const struct client_result *result)
{
	return result->stage <= CLIENT_AUTH || (result->reply && result->reply->code == 421);
}

void attempt_host_failed(struct attempt *a, const struct why *why)
{
	enum client_stage stage = why->kind == WHY_PERM ? CLIENT_MAIL : CLIENT_TLS;
	settle_open(a, &(struct client_result){stage, NULL, why});
	skip_same_host(a);
	session_over(a);
}

/* The content turned out to be wrong while it was sent: the receiver has seen no end of it. */
static void end_damaged(struct attempt *a)
{
	struct why why = {0};
	why_set(&why, WHY_PERM,
	    "message %016llx: its content is damaged and was set aside under damaged/",
	    (unsigned long long)a->id);
	end_unread(a, &why);
}

static void on_failed(void *arg, const struct client_result *result, bool idle)
{
	struct attempt *a = arg;
	bool worn_out = is_worn_out(a, result, idle);
	bool plain = may_go_plain(a, result);
	bool damaged = a->reader && spool_reader_damaged(a->reader);
	host_note_tls(a);
	host_note_failure(a, result);
	a->client = NULL;
	close_reader(a);
	if (damaged) {
		end_damaged(a);
		return;
	}
	if (plain)
		host_is_broken(a);
	a->plain |= plain;
	if (worn_out || plain)
		reopen(a);
	else if (is_about_all(result))
		settle_open(a, result);
	else
		settle_sent(a, result);
	bool more = has_more(a);
	if (more && (worn_out || plain || way_goes_on(a))) {
		attempt_next_host(a); /* freshly, or in the clear */
		return;
	}
	if (more) {
		way_over(a);
		return;
	}
	bool begun = result->stage > CLIENT_AUTH;
	a->sessions += begun;
	if (begun || result->reply) /* its other addresses would say the same */
		skip_same_host(a);
	session_over(a);
}

/* ---- start ---- */

static void list_recipients(struct attempt *a)
{
	a->tried_count = a->batch->count;
	a->tried = mem_array(a->tried_count, sizeof(*a->tried));
	a->addresses = mem_array(a->tried_count, sizeof(*a->addresses));
	a->dsn = mem_array(a->tried_count, sizeof(*a->dsn));
	dsn_print_mail(&a->envelope, &a->mail_dsn);
	a->sent = mem_array(a->tried_count, sizeof(*a->sent));
	for (uint32_t i = 0; i < a->batch->count; i++) {
		uint32_t index = batch_recipient(a->batch, i);
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
	end_unread(a, &why);
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
	if (view->state != PATH_HELD || !view->until_ms || !way_is_smarthost(view->source))
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
}

/* ---- the end ---- */

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
			attempt_free(a);
}

size_t deliver_running(const struct deliver *deliver)
{
	return deliver->running;
}
