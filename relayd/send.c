/* SPDX-License-Identifier: MIT
 * An attempt on one connection: transaction after transaction, until all recipients
 * have had their turn, the connection has carried enough, or it ends by itself. What the
 * client calls, and where each of it leads:
 *
 *	on_ready      the next transaction
 *	on_recipient  settle.c, one result
 *	on_done       (a transaction is over) the next transaction, on this connection or a
 *	              new one; or its end
 *	on_failed     (the connection is over) a new one to the same host; or its end
 *
 * The end, with those in mind that have had no turn, or were put off:
 *
 *	session_over  the next host
 *	way_over      (way.c) the next way, or settle
 */
#include <string.h>

#include "relayd/deliver_internal.h"
#include "relayd/source_trouble.h"

#define SESSIONS_PER_ATTEMPT 2 /* hosts that may put recipients off before we wait */
#define CULPRITS_PER_HOST 5    /* connections that end at one recipient before all wait */

/* ---- which host is next ---- */

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
	            attempt_may_go_on(a);
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
	a->culprits = 0;
	a->plain = false;
	a->reused = false;
	attempt_next_host(a);
}

/* ---- whose turn is it? ---- */

/* There are some whose turn has not come, and they may still be sent. Those before
 * first_open are not open any more: a message to 100,000 recipients takes 1,000
 * transactions. */
static bool has_more(struct attempt *a)
{
	while (a->first_open < a->tried_count && a->tried[a->first_open].state != TRIED_OPEN)
		a->first_open++;
	return a->first_open < a->tried_count && attempt_may_go_on(a);
}

/* Recipients go back to before the transaction, for another connection. */
static void reopen(struct attempt *a)
{
	for (size_t i = 0; i < a->tried_count; i++)
		if (a->tried[i].state == TRIED_SENT)
			a->tried[i].state = TRIED_OPEN;
	a->first_open = 0;
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

/* ---- a transaction ---- */

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

/* Another attempt may use the connection, if it is good for more. */
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
	attempt_end_unread(a, &why);
	return false;
}

/* As many of the open ones as fit. */
static void choose_recipients(struct attempt *a)
{
	size_t max = (size_t)a->settings->conf->delivery.recipients;
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
}

static void send_some(struct attempt *a)
{
	if (!open_reader(a))
		return;
	choose_recipients(a);
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

/* ---- results of several ---- */

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

/* ---- what the client calls ---- */

static void on_ready(void *arg)
{
	struct attempt *a = arg;
	a->reached = true;
	if (a->source)
		source_trouble_end(paths_reputation(a->deliver->options.paths), a->source);
	host_note_tls(a);
	host_note_session(a);
	if (attempt_may_go_on(a)) {
		send_some(a);
		return;
	}
	part_from_client(a);
	way_over(a);
}

static void on_recipient(void *arg, size_t index, const struct client_result *result)
{
	struct attempt *a = arg;
	settle_reply(a, &a->tried[a->sent[index]], result);
}

static void on_done(void *arg)
{
	struct attempt *a = arg;
	make_room(a);
	if (has_more(a) && way_goes_on(a)) {
		send_more(a);
		return;
	}
	part_from_client(a);
	if (has_more(a)) {
		way_over(a);
		return;
	}
	a->sessions += !a->tried[a->sent[0]].lacking; /* it could not even be offered */
	skip_same_host(a);
	session_over(a);
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

/* The connection ended at the RCPT of one recipient, who has that for an answer: the others of
 * its transaction may go without him. */
static bool is_about_one(struct attempt *a, const struct client_result *result)
{
	bool others = false;
	if (result->stage != CLIENT_RCPT || !result->reply || settle_blames_us(a, result))
		return false;
	for (size_t i = 0; i < a->sent_count; i++)
		others |= a->tried[a->sent[i]].state == TRIED_SENT;
	return others && a->culprits++ < CULPRITS_PER_HOST;
}

/* The content turned out to be wrong while it was sent: the receiver has seen no end of it. */
static void end_damaged(struct attempt *a)
{
	struct why why = {0};
	why_set(&why, WHY_PERM,
	    "message %016llx: its content is damaged and was set aside under damaged/",
	    (unsigned long long)a->id);
	attempt_end_unread(a, &why);
}

/* The connection is gone and all that it said is noted. FRESH: it told nothing of those
 * recipients that are left, who are as before it. */
static void connection_over(struct attempt *a, const struct client_result *result, bool fresh)
{
	bool begun = result->stage > CLIENT_AUTH;
	if (has_more(a)) {
		if (fresh || way_goes_on(a))
			attempt_next_host(a); /* the same one */
		else
			way_over(a);
		return;
	}
	a->sessions += begun;
	if (begun || result->reply) /* its other addresses would say the same */
		skip_same_host(a);
	session_over(a);
}

static void on_failed(void *arg, const struct client_result *result, bool idle)
{
	struct attempt *a = arg;
	bool plain = may_go_plain(a, result);
	bool fresh = plain || is_worn_out(a, result, idle) || is_about_one(a, result);
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
	if (a->source && result->stage == CLIENT_CONNECT && way_is_ours(result))
		source_trouble_check(paths_reputation(a->deliver->options.paths), a->source,
		    a->hosts[a->host].address.addr.ss_family, result->why->text);
	a->plain |= plain;
	if (fresh)
		reopen(a);
	else if (is_about_all(result))
		settle_open(a, result);
	else
		settle_sent(a, result);
	connection_over(a, result, fresh);
}

const struct client_handler attempt_client_handler = {
    .ready = on_ready,
    .recipient = on_recipient,
    .done = on_done,
    .failed = on_failed,
};
