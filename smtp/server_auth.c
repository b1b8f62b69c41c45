/* SPDX-License-Identifier: MIT
 * AUTH (RFC 4954): lines to and from the mechanism, and the handler's verdict.
 * What a mechanism would tell its client at the end waits for that verdict, so
 * that a client that is refused learns nothing from it.
 *
 *	AUTH -> [334 -> line]... -> LOGIN -> 535, 454
 *	                              |----> 235
 *	                              '----> 334 with the last word -> line -> 235
 */
#include "relayd/base/mem.h"
#include "smtp/server_internal.h"

bool server_offers_auth(const struct server *s)
{
	return s->options.auth && s->handler->login && !s->user &&
	       (conn_ssl(s->conn) || s->options.auth_clear);
}

static void end_exchange(struct server *s)
{
	auth_exchange_free(s->exchange);
	s->exchange = NULL;
	s->approved = false;
	buf_free(&s->final);
}

void server_auth_forget(struct server *s)
{
	end_exchange(s);
	mem_free(s->user);
	s->user = NULL;
}

/* The exchange is over, and nobody is logged in by it. */
static enum server_state give_up(struct server *s, unsigned code, const char *enhanced,
    const char *text)
{
	end_exchange(s);
	server_reject(s, code, enhanced, text);
	return SERVER_READY;
}

/* 334 has no enhanced code, and its text is the mechanism's. */
static enum server_state challenge(struct server *s, const struct buf *text)
{
	buf_add_text(&s->out, "334 ");
	buf_add(&s->out, text->data, text->len);
	buf_add_text(&s->out, "\r\n");
	return SERVER_AUTH;
}

static enum server_state welcome(struct server *s)
{
	s->user = mem_text(auth_exchange_user(s->exchange));
	end_exchange(s);
	server_say(s, 235, "2.7.0", "Authentication successful");
	return SERVER_READY;
}

/* The handler judges; it may do so before this returns. */
static enum server_state claim(struct server *s, bool has_password, bool proved)
{
	struct server_claim c = {
	    .mechanism = auth_exchange_mechanism(s->exchange),
	    .user = auth_exchange_user(s->exchange),
	    .password = has_password ? auth_exchange_password(s->exchange) : NULL,
	    .proved = proved,
	};
	server_flush(s);
	server_enter(s, SERVER_LOGIN);
	s->handler->login(s->arg, &c);
	return s->state;
}

static enum server_state step(struct server *s, const struct span *message)
{
	struct buf out = {0};
	enum server_state next = SERVER_READY;
	switch (auth_exchange_step(s->exchange, message, &out)) {
	case AUTH_CHALLENGE:
		next = challenge(s, &out);
		break;
	case AUTH_PASSWORD:
		next = claim(s, true, false);
		break;
	case AUTH_PROVED:
		buf_add(&s->final, out.data, out.len);
		next = claim(s, false, true);
		break;
	case AUTH_FAILED:
		next = claim(s, false, false);
		break;
	case AUTH_MALFORMED:
		next = give_up(s, 501, "5.5.2", "That is no message of this mechanism");
		break;
	}
	buf_free(&out);
	return next;
}

/* "MECHANISM [INITIAL-RESPONSE]"; "=" is an empty one. */
enum server_state server_auth_begin(struct server *s, const struct command *c)
{
	struct span argument = span_trim(c->argument);
	size_t n = 0;
	while (n < argument.n && argument.p[n] != ' ')
		n++;
	struct span initial = span_trim((struct span){argument.p + n, argument.n - n});
	bool given = initial.n > 0;
	if (s->user) {
		server_reject(s, 503, "5.5.1", "You are logged in already");
		return s->state;
	}
	if (!server_offers_auth(s)) {
		server_reject(s, 538, "5.7.11", "Encryption is required to log in; send STARTTLS first");
		return s->state;
	}
	s->exchange = auth_exchange_new((struct span){argument.p, n}, s->handler->keys, s->arg);
	if (!s->exchange) {
		server_reject(s, n ? 504 : 501, "5.5.4", "Mechanisms are " AUTH_MECHANISMS);
		return s->state;
	}
	if (span_is(initial, "="))
		initial.n = 0;
	return step(s, given ? &initial : NULL);
}

enum server_state server_auth_line(struct server *s, struct span line)
{
	if (span_is(line, "*"))
		return give_up(s, 501, "5.7.0", "Login given up");
	if (!s->approved)
		return step(s, &line);
	if (line.n)
		return give_up(s, 501, "5.5.2", "An empty line was expected");
	return welcome(s);
}

enum server_state server_auth_too_long(struct server *s)
{
	return give_up(s, 500, "5.5.6", "The line is too long");
}

static enum server_state judged(struct server *s, enum server_login verdict)
{
	switch (verdict) {
	case SERVER_LOGIN_OK:
		if (s->final.len == 0)
			return welcome(s);
		s->approved = true;
		return challenge(s, &s->final);
	case SERVER_LOGIN_REFUSED:
		return give_up(s, 535, "5.7.8", "Authentication credentials invalid");
	case SERVER_LOGIN_LATER:
		break;
	}
	return give_up(s, 454, "4.7.0", "Too many failed logins, or too busy; try again later");
}

void server_login(struct server *s, enum server_login verdict)
{
	if (s->state != SERVER_LOGIN) /* nobody waits for it */
		return;
	server_enter(s, judged(s, verdict));
	/* with what waits behind it, as server_answer does */
	if (!conn_has_input(s->conn))
		server_flush(s);
	conn_resume(s->conn);
}
