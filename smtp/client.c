/* SPDX-License-Identifier: MIT
 * The client's life, its table of states, and what the connection reports. The
 * two halves of the dialogue are client_commands.c (what is sent) and
 * client_replies.c (what an answer means). The ways through the table:
 *
 *	CONNECT [HANDSHAKE] BANNER EHLO|HELO [STARTTLS HANDSHAKE EHLO] [AUTH_*] IDLE
 *	IDLE MAIL RCPT.. DATA TEXT END IDLE		the usual one
 *	..RCPT DATA EMPTY IDLE				all refused, yet DATA got its 354
 *	..RCPT|DATA RSET IDLE				given up before the text
 *	any OVER
 *
 * The handler is called from the loop only: from client_enter, which only the
 * connection's events and deferred calls reach. Any call may end in
 * client_close, so `gone` is looked at behind each.
 */
#include "smtp/client.h"

#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "smtp/client_internal.h"

/* What the receiver can make us hold: lines are taken as they come. */
#define INPUT_MAX 65536

#define FINISH_MS 5000 /* for our QUIT to leave */
#define RATE_MIN 8192  /* bytes of text in a second, at which a transaction is no crawl */

enum wait { WAIT_NONE, WAIT_CONNECT, WAIT_BANNER, WAIT_COMMAND, WAIT_DATA, WAIT_BLOCK, WAIT_END };

static client_step tell_idle;
static client_step tell_over;

/* ACCEPTED is called for a reply of class WANTS, REFUSED for 4xx and 5xx; any
 * other reply, and one where there is no function, is out of turn. 421 is the
 * end wherever it comes. */
struct row {
	const char *awaits; /* what is waited for: the state's name */
	enum client_stage stage;
	enum wait wait;
	unsigned wants;
	client_step *send;
	client_step *accepted;
	client_step *refused;
};

static const struct row rows[STATE_COUNT] = {
    [STATE_CONNECT] = {"the connection", CLIENT_CONNECT, WAIT_CONNECT, 0, NULL, NULL, NULL},
    [STATE_BANNER] = {"the greeting", CLIENT_BANNER, WAIT_BANNER, 2, NULL, client_greeted,
	client_refused},
    [STATE_EHLO] = {"the reply to EHLO", CLIENT_EHLO, WAIT_COMMAND, 2, client_send_ehlo,
	client_ehlo_accepted, client_ehlo_refused},
    [STATE_HELO] = {"the reply to HELO", CLIENT_EHLO, WAIT_COMMAND, 2, client_send_helo,
	client_helo_accepted, client_refused},
    [STATE_STARTTLS] = {"the reply to STARTTLS", CLIENT_TLS, WAIT_COMMAND, 2,
	client_send_starttls, client_starttls_accepted, client_starttls_refused},
    [STATE_HANDSHAKE] = {"the end of the TLS handshake", CLIENT_TLS, WAIT_COMMAND, 0,
	client_send_handshake, NULL, NULL},
    [STATE_AUTH_PLAIN] = {"the reply to AUTH PLAIN", CLIENT_AUTH, WAIT_COMMAND, 2,
	client_send_auth_plain, client_auth_accepted, client_refused},
    [STATE_AUTH_ASK] = {"the challenge of AUTH PLAIN", CLIENT_AUTH, WAIT_COMMAND, 3,
	client_send_auth_ask, client_auth_asked, client_refused},
    [STATE_AUTH_ANSWER] = {"the reply to AUTH PLAIN", CLIENT_AUTH, WAIT_COMMAND, 2,
	client_send_auth_answer, client_auth_accepted, client_refused},
    [STATE_AUTH_LOGIN] = {"the challenge of AUTH LOGIN", CLIENT_AUTH, WAIT_COMMAND, 3,
	client_send_auth_login, client_login_asked, client_refused},
    [STATE_AUTH_USER] = {"the second challenge of AUTH LOGIN", CLIENT_AUTH, WAIT_COMMAND, 3,
	client_send_user, client_user_asked, client_refused},
    [STATE_AUTH_PASSWORD] = {"the reply to AUTH LOGIN", CLIENT_AUTH, WAIT_COMMAND, 2,
	client_send_password, client_auth_accepted, client_refused},
    [STATE_IDLE] = {"the next message", CLIENT_MAIL, WAIT_NONE, 0, tell_idle, NULL, NULL},
    [STATE_MAIL] = {"the reply to MAIL", CLIENT_MAIL, WAIT_COMMAND, 2, client_send_mail,
	client_mail_accepted, client_mail_refused},
    [STATE_RCPT] = {"the reply to RCPT", CLIENT_RCPT, WAIT_COMMAND, 2, client_send_rcpt,
	client_rcpt_accepted, client_rcpt_refused},
    [STATE_DATA] = {"the reply to DATA", CLIENT_DATA, WAIT_DATA, 3, client_send_data,
	client_data_accepted, client_data_refused},
    [STATE_TEXT] = {"the receiver to take the text", CLIENT_END, WAIT_BLOCK, 0,
	client_send_text, NULL, client_refused},
    [STATE_END] = {"the reply to the final dot", CLIENT_END, WAIT_END, 2, NULL,
	client_delivered, client_end_refused},
    [STATE_EMPTY] = {"the reply to an empty text", CLIENT_END, WAIT_END, 2, client_send_dot,
	client_empty_answered, client_empty_answered},
    [STATE_RSET] = {"the reply to RSET", CLIENT_MAIL, WAIT_COMMAND, 2, client_send_rset,
	client_reset, client_reset_refused},
    [STATE_OVER] = {"nothing more", CLIENT_CONNECT, WAIT_NONE, 0, tell_over, NULL, NULL},
};

const char *client_stage_name(enum client_stage stage)
{
	static const char *const names[] = {
	    [CLIENT_CONNECT] = "connect",
	    [CLIENT_BANNER] = "banner",
	    [CLIENT_EHLO] = "ehlo",
	    [CLIENT_TLS] = "tls",
	    [CLIENT_AUTH] = "auth",
	    [CLIENT_MAIL] = "mail",
	    [CLIENT_RCPT] = "rcpt",
	    [CLIENT_DATA] = "data",
	    [CLIENT_END] = "end",
	};
	return names[stage];
}

enum client_stage client_stage_of(const struct client *c)
{
	return rows[c->state].stage;
}

const char *client_awaits(const struct client *c)
{
	return rows[c->state].awaits;
}

static int64_t wait_ms(const struct conf_delivery *limits, enum wait wait)
{
	switch (wait) {
	case WAIT_NONE:
		return -1;
	case WAIT_CONNECT:
		return limits->connect_timeout;
	case WAIT_BANNER:
		return limits->banner_timeout;
	case WAIT_COMMAND:
		return limits->command_timeout;
	case WAIT_DATA:
		return limits->data_timeout;
	case WAIT_BLOCK:
		return limits->block_timeout;
	case WAIT_END:
		return limits->end_timeout;
	}
	return -1;
}

/* All that a transaction may take. Waits alone do not bound it: a receiver that uses up each
 * of them holds a message for days. */
static int64_t transaction_ms(const struct client *c)
{
	return c->limits.transaction_total + (int64_t)(c->message->size / RATE_MIN) * 1000;
}

/* After the final dot the receiver has its whole time (RFC 5321 section 4.5.3.2.6): to go away
 * then would make a duplicate. */
static bool is_bound(const struct client *c, enum wait wait)
{
	return c->due_ms && wait != WAIT_END && wait != WAIT_NONE;
}

static void arm(struct client *c, enum wait wait)
{
	int64_t ms = wait_ms(&c->limits, wait);
	int64_t left = c->due_ms - clock_mono_ms();
	if (is_bound(c, wait) && left < ms)
		ms = left > 0 ? left : 0;
	conn_deadline(c->conn, ms);
}

void client_enter(struct client *c, enum client_state state)
{
	while (state != STATE_WAIT && !c->gone) {
		const struct row *row = &rows[state];
		c->state = state;
		state = STATE_WAIT;
		log_text(LOG_LEVEL_DEBUG, "client %s[%s]: waits for %s", c->name, c->address,
		    row->awaits);
		arm(c, row->wait);
		if (c->ahead > 0 && c->state != STATE_OVER)
			c->ahead--; /* was sent together with an earlier one */
		else if (row->send)
			state = row->send(c);
	}
}

static void release(void *arg)
{
	struct client *c = arg;
	reply_free(&c->reply);
	mem_free(c->reported);
	mem_free(c->tls_text);
	mem_free(c->name);
	mem_free(c->hostname);
	mem_free(c->own_name);
	mem_free(c->domain);
	mem_free(c->session_key);
	mem_free(c->user);
	if (c->password)
		mem_wipe(c->password, strlen(c->password));
	mem_free(c->password);
	mem_free(c);
}

/* No event comes and no handler is called from here on. */
static void leave(struct client *c, bool quit)
{
	c->gone = true;
	if (quit) {
		client_send_quit(c);
		conn_finish(c->conn, FINISH_MS);
	} else {
		conn_close(c->conn);
	}
	loop_defer(c->loop, release, c);
}

static enum client_state tell_over(struct client *c)
{
	bool idle = c->greeted && c->unreported == 0 && !c->ended_by_rcpt;
	leave(c, c->quit);
	c->handler->failed(c->arg, &c->end, idle);
	return STATE_WAIT;
}

static enum client_state tell_idle(struct client *c)
{
	bool first = !c->greeted;
	c->greeted = true;
	c->message = NULL;
	c->due_ms = 0;
	if (first)
		c->handler->ready(c->arg);
	else
		c->handler->done(c->arg);
	return STATE_WAIT;
}

static enum client_state judge_reply(struct client *c)
{
	const struct row *row = &rows[c->state];
	unsigned klass = c->reply.code / 100;
	client_step *step = NULL;
	if (c->reply.code == 421)
		step = client_refused;
	else if (klass == row->wants)
		step = row->accepted;
	else if (klass >= 4)
		step = row->refused;
	return step ? step(c) : client_out_of_turn(c);
}

static void take_plain_line(struct client *c, struct span line)
{
	switch (reply_take_line(&c->reply, line)) {
	case 0:
		return;
	case 1:
		client_enter(c, judge_reply(c));
		return;
	default: {
		struct buf text = {0};
		text_escape(&text, line, 60);
		client_enter(c, client_lost(c, WHY_TEMP,
		    "this is not an SMTP reply: \"%s\" (expected %s)", buf_text(&text),
		    rows[c->state].awaits));
		buf_free(&text);
	}
	}
}

/* What is said about our password may repeat it, and is kept and shown. */
static void take_line(struct client *c, struct span line)
{
	struct buf masked = {0};
	if (rows[c->state].stage != CLIENT_AUTH) {
		take_plain_line(c, line);
		return;
	}
	auth_mask(&masked, line, c->user, c->password);
	take_plain_line(c, span_buf(&masked));
	buf_free(&masked);
}

static void take_input(struct client *c)
{
	struct span line;
	while (!c->gone) {
		switch (conn_line(c->conn, REPLY_LINE_MAX, &line)) {
		case CONN_LINE:
		case CONN_LINE_BARE: /* careless, but no danger in a reply */
			take_line(c, line);
			break;
		case CONN_LINE_MORE:
			return;
		case CONN_LINE_LONG:
			client_enter(c, client_lost(c, WHY_TEMP,
			    "a reply line of more than %d bytes (expected %s)",
			    REPLY_LINE_MAX, rows[c->state].awaits));
			return;
		}
	}
}

static enum client_state opened(struct client *c)
{
	return c->tls == CLIENT_TLS_IMPLICIT ? STATE_HANDSHAKE : STATE_BANNER;
}

/* The final dot has not left: whatever the receiver has, it is no message yet. */
static bool is_within_text(const struct client *c)
{
	return c->state == STATE_TEXT || (c->state == STATE_END && conn_unsent(c->conn));
}

static enum client_state broke_off(struct client *c, enum client_state next)
{
	if (is_within_text(c))
		c->end.stage = CLIENT_DATA;
	return next;
}

/* RFC 1047: what was said after the final dot and got lost. */
static const char *doubt(const struct client *c)
{
	return c->state == STATE_END && !is_within_text(c)
		   ? "; the receiver may have taken the message all the same, and then gets it twice"
		   : "";
}

static enum client_state expired(struct client *c)
{
	enum wait wait = rows[c->state].wait;
	long long seconds = (long long)wait_ms(&c->limits, wait) / 1000;
	if (is_bound(c, wait) && clock_mono_ms() >= c->due_ms)
		return broke_off(c, client_lost(c, WHY_TEMP,
					"the transaction has taken %lld seconds, and may take no "
					"more (expected %s)", (long long)transaction_ms(c) / 1000,
					rows[c->state].awaits));
	return broke_off(c, client_lost(c, WHY_TEMP, "waited %lld seconds for %s%s", seconds,
				rows[c->state].awaits, doubt(c)));
}

static enum client_state closed(struct client *c)
{
	return broke_off(c, client_lost(c, WHY_TEMP,
				"the receiver closed the connection (expected %s)%s",
				rows[c->state].awaits, doubt(c)));
}

static enum client_state broken(struct client *c, const struct why *why)
{
	if (c->state == STATE_HANDSHAKE && conn_ssl(c->conn))
		c->verify_error = SSL_get_verify_result(conn_ssl(c->conn));
	enum why_kind kind = why->kind == WHY_LOCAL ? WHY_LOCAL : WHY_TEMP;
	if (c->state == STATE_CONNECT || c->state == STATE_HANDSHAKE)
		return client_lost(c, kind, "%s", why->text);
	return broke_off(c, client_lost(c, kind, "%s (expected %s)%s", why->text,
				rows[c->state].awaits, doubt(c)));
}

/* The connection ends behind a refusal of EHLO, with no word about our HELO: the refusal is
 * what the receiver had to say, be it about EHLO or about us. */
static bool ends_refused(struct client *c, enum conn_event event)
{
	bool ends = event == CONN_CLOSED || event == CONN_FAILED || event == CONN_EXPIRED;
	if (!ends || c->state != STATE_HELO || !c->reply.complete)
		return false;
	enum client_state next = client_refused(c);
	c->quit = false; /* nobody listens */
	client_enter(c, next);
	return true;
}

static void on_event(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct client *c = arg;
	(void)conn;
	if (ends_refused(c, event))
		return;
	switch (event) {
	case CONN_OPEN:
		client_enter(c, opened(c));
		return;
	case CONN_SECURE:
		client_enter(c, client_secured(c));
		return;
	case CONN_INPUT:
		take_input(c);
		return;
	case CONN_DRAINED:
		if (c->state == STATE_TEXT)
			client_enter(c, STATE_TEXT); /* the next piece, with its own deadline */
		return;
	case CONN_CLOSED:
		client_enter(c, closed(c));
		return;
	case CONN_FAILED:
		client_enter(c, broken(c, why));
		return;
	case CONN_EXPIRED:
		client_enter(c, expired(c));
		return;
	}
}

struct client *client_new(struct loop *loop, const struct client_options *options,
    const struct client_handler *handler, void *arg)
{
	if (options->tls != CLIENT_TLS_NONE && !options->ctx)
		bug("a client with TLS needs its context");
	if (options->tls == CLIENT_TLS_DANE && !options->dane)
		bug("a client with DANE needs the records");
	struct client *c = mem_zero(sizeof(*c));
	c->loop = loop;
	c->handler = handler;
	c->arg = arg;
	c->limits = *options->limits;
	c->ctx = options->ctx;
	c->tls = options->tls;
	c->dane = options->dane;
	c->domain = mem_text(options->domain);
	c->observe = options->observe;
	c->sessions = options->sessions;
	c->session_key = mem_text(options->session_key);
	c->verified = "";
	c->name = mem_text(options->name);
	c->hostname = mem_text(options->hostname);
	c->own_name = mem_text(options->own_name);
	if (options->user && *options->user) {
		c->user = mem_text(options->user);
		c->password = mem_text(options->password ? options->password : "");
	}
	conn_address_text(&options->to, c->address);
	c->conn = conn_connect(loop, &options->to, &options->from, INPUT_MAX, on_event, c);
	client_enter(c, STATE_CONNECT);
	return c;
}

bool client_is_committed(const struct client *c)
{
	return c->state == STATE_END;
}

struct client_info client_info(const struct client *c)
{
	return (struct client_info){
	    .pipelining = c->offers.pipelining,
	    .eightbit = c->offers.eightbit,
	    .smtputf8 = c->offers.smtputf8,
	    .starttls = c->offers.starttls,
	    .dsn = c->offers.dsn,
	    .tls = c->tls_text != NULL,
	    .max_size = c->offers.max_size,
	    .tls_text = c->tls_text ? c->tls_text : "",
	    .verified = c->verified,
	    .verify_error = c->verify_error,
	    .address = c->address,
	    .name = c->name,
	    .transactions = c->transactions,
	};
}

/* What keeps MESSAGE from being sent to this receiver; false: nothing. The
 * enhanced code in front tells the owner which it is. */
static bool is_beyond(const struct client *c, const struct client_message *m, struct why *why)
{
	if (m->require_tls && !(c->tls_text && client_tls_is_checked(c) && c->offers.require_tls))
		why_set(why, WHY_PERM, "5.7.30 the sender demands verified TLS all the way "
				       "(REQUIRETLS), which %s does not %s", c->name,
		    c->offers.require_tls ? "show a certificate for" : "offer");
	else if (m->smtputf8 && !c->offers.smtputf8)
		why_set(why, WHY_PERM, "5.6.7 SMTPUTF8 is not offered by %s, and an address or "
				       "header field of the message has UTF-8", c->name);
	else if (m->eightbit && !c->offers.eightbit)
		why_set(why, WHY_PERM, "5.6.3 8BITMIME is not offered by %s, and the message "
				       "has 8-bit text", c->name);
	else if (c->offers.max_size && m->size > c->offers.max_size)
		why_set(why, WHY_PERM, "5.3.4 the message of %llu bytes is over the limit of "
				       "%llu that %s declares", (unsigned long long)m->size,
		    (unsigned long long)c->offers.max_size, c->name);
	else
		return false;
	return true;
}

static void begin(void *arg)
{
	struct client *c = arg;
	struct why why = {0};
	if (c->gone)
		return;
	/* a reply, or a part of one, that nobody asked for would pass for MAIL's */
	if (conn_has_input(c->conn) || (c->reply.lines > 0 && !c->reply.complete)) {
		client_enter(c, client_lost(c, WHY_TEMP, "the receiver answered out of turn"));
		return;
	}
	if (!is_beyond(c, c->message, &why)) {
		c->transactions++;
		c->due_ms = clock_mono_ms() + transaction_ms(c);
		client_enter(c, STATE_MAIL);
		return;
	}
	client_report_rest(c, &(struct client_result){CLIENT_MAIL, NULL, &why});
	client_enter(c, STATE_IDLE);
}

void client_send(struct client *c, const struct client_message *message)
{
	if (c->gone || c->state != STATE_IDLE || c->message)
		bug("client_send on a client that is not idle");
	if (message->recipient_count == 0)
		bug("a transaction needs recipients");
	mem_free(c->reported);
	c->reported = mem_array(message->recipient_count, sizeof(*c->reported));
	c->count = c->unreported = message->recipient_count;
	c->message = message;
	loop_defer(c->loop, begin, c);
}

void client_set_handler(struct client *c, const struct client_handler *handler, void *arg)
{
	c->handler = handler;
	c->arg = arg;
}

void client_close(struct client *c)
{
	if (!c->gone)
		leave(c, c->state == STATE_IDLE && !c->message);
}
