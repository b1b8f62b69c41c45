/* SPDX-License-Identifier: MIT
 * The server's commands: one row per verb, one small function each. A function
 * says the reply and returns the next state; whether the verb fits the state
 * was checked before, from the row.
 */
#include <inttypes.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/server_internal.h"

#define IN(state) (1u << (SERVER_##state))
#define ANYWHERE (IN(START) | IN(READY) | IN(MAIL) | IN(RCPT) | IN(BDAT) | IN(BROKEN))

static bool offers_tls(const struct server *s)
{
	return s->options.tls && !conn_ssl(s->conn);
}

static const char *offered_logins(const struct server *s)
{
	return server_offers_auth(s) ? "\nAUTH " AUTH_MECHANISMS : "";
}

/* Say what the handler decided. 421 ends the session, whoever says it. 530 and 554
 * are about the client: asking again is of no use, and each time costs a line of the
 * log; so these count as errors, which refusals of one address do not. */
static enum server_state decided(struct server *s, struct reply *reply, enum server_state next)
{
	s->errors += reply->code == 530 || reply->code == 554;
	server_reply(s, reply);
	if (reply->code == 421)
		next = SERVER_END;
	reply_free(reply);
	return next;
}

/* The same, and the handler hears of it. */
static enum server_state refused(struct server *s, struct span from, struct span to,
    struct reply *reply)
{
	server_refused(s, from, to, reply);
	return decided(s, reply, s->state);
}

/* Of a MAIL: what its client has pipelined behind it will come to nothing as well. */
static enum server_state refused_mail(struct server *s, struct span from, struct reply *reply)
{
	s->behind = (uint64_t)s->options.limits->recipients + 1; /* and DATA */
	return refused(s, from, NOBODY, reply);
}

bool server_is_behind_refusal(struct server *s)
{
	bool behind = s->behind > 0;
	s->behind -= behind;
	return behind;
}

/* What an argument holds behind KEYWORD, to be shown where it can not be read. */
static struct span given(const struct command *c, const char *keyword)
{
	struct span s = span_trim(c->argument);
	if (!span_starts_nocase(s, keyword))
		return s;
	size_t n = strlen(keyword);
	return span_trim((struct span){s.p + n, s.n - n});
}

/* A command that takes no argument has one. */
static bool has_argument(struct server *s, const struct command *c)
{
	if (c->argument.n == 0)
		return false;
	server_reject(s, 501, "5.5.4", "This command takes no argument");
	return true;
}

static bool greet(struct server *s, const struct command *c, bool esmtp)
{
	struct span name = span_trim(c->argument);
	if (!command_helo_is_valid(name)) {
		server_reject(s, 501, "5.5.4", "Give a host name or an address literal");
		return false;
	}
	server_forget(s);
	mem_free(s->helo);
	s->helo = span_dup(name);
	s->esmtp = esmtp;
	return true;
}

static enum server_state run_helo(struct server *s, const struct command *c)
{
	struct reply reply = {0};
	if (!greet(s, c, false))
		return s->state;
	reply_set(&reply, 250, NULL, "%s", s->options.hostname);
	return decided(s, &reply, SERVER_READY);
}

static enum server_state run_ehlo(struct server *s, const struct command *c)
{
	struct reply reply = {0};
	if (!greet(s, c, true))
		return s->state;
	reply_set(&reply, 250, NULL,
	    "%s\nPIPELINING\nSIZE %" PRId64 "%s%s\nENHANCEDSTATUSCODES\n8BITMIME\nSMTPUTF8\nDSN\nCHUNKING%s",
	    s->options.hostname, s->options.limits->message_size,
	    offers_tls(s) ? "\nSTARTTLS" : "", offered_logins(s),
	    conn_ssl(s->conn) ? "\nREQUIRETLS" : "");
	return decided(s, &reply, SERVER_READY);
}

static enum server_state run_mail(struct server *s, const struct command *c)
{
	const struct conf_limits *limits = s->options.limits;
	const struct command_offers offers = {
	    .size = s->esmtp,
	    .eightbit = s->esmtp,
	    .smtputf8 = s->esmtp,
	    .dsn = s->esmtp,
	    .require_tls = s->esmtp && conn_ssl(s->conn), /* RFC 8689 section 2 */
	    .auth = s->esmtp && s->options.auth, /* logged in or not; it changes nothing */
	    .max_size = (uint64_t)limits->message_size,
	};
	struct command_mail mail;
	struct reply reply = {0};
	struct span from = given(c, "FROM:");
	if (limits->messages_per_connection &&
	    s->messages >= (uint64_t)limits->messages_per_connection) {
		reply_set(&reply, 421, "4.7.0", "Enough messages for one connection, connect again");
		return refused(s, from, NOBODY, &reply);
	}
	if (command_parse_mail(c->argument, &offers, &mail, &reply) != 0) {
		s->errors += reply.code != 552; /* a message too big is no mistake */
		return refused_mail(s, from, &reply);
	}
	s->utf8 = mail.smtputf8;
	s->recipients = 0;
	s->malformed = 0;
	s->crowded = false;
	reply_set(&reply, 250, "2.1.0", "Sender ok");
	s->open = s->handler->mail(s->arg, &mail, &reply);
	if (!s->open)
		return refused_mail(s, mail.from.text, &reply);
	return decided(s, &reply, SERVER_MAIL);
}

static enum server_state run_rcpt(struct server *s, const struct command *c)
{
	struct command_rcpt rcpt;
	struct reply reply = {0};
	struct span to = given(c, "TO:");
	if (s->recipients >= (uint64_t)s->options.limits->recipients) {
		bool known = s->crowded;
		s->crowded = true;
		reply_set(&reply, 452, "4.5.3", "Too many recipients; send the others separately");
		return known ? decided(s, &reply, s->state) : refused(s, NOBODY, to, &reply);
	}
	if (command_parse_rcpt(c->argument, s->utf8, s->esmtp, &rcpt, &reply) != 0) {
		/* a client that sends on what others wrote can not help it, and if it were cut
		 * off here the others would not get their mail, however often it tries */
		s->errors += ++s->malformed > (uint64_t)s->options.limits->recipients;
		return refused(s, NOBODY, to, &reply);
	}
	reply_set(&reply, 250, "2.1.5", "Recipient ok");
	if (!s->handler->rcpt(s->arg, &rcpt, &reply))
		return refused(s, NOBODY, rcpt.to.text, &reply);
	s->recipients++;
	return decided(s, &reply, SERVER_RCPT);
}

static enum server_state run_data(struct server *s, const struct command *c)
{
	struct reply reply = {0};
	if (has_argument(s, c))
		return s->state;
	if (s->state == SERVER_MAIL) {
		server_say(s, 554, "5.5.1", "No valid recipients");
		return s->state;
	}
	reply_set(&reply, 354, NULL, "Go on, end with <CRLF>.<CRLF>");
	if (!s->handler->data(s->arg, &reply))
		return refused(s, NOBODY, NOBODY, &reply);
	server_text_begin(s, true);
	return decided(s, &reply, SERVER_DATA);
}

static enum server_state run_rset(struct server *s, const struct command *c)
{
	if (has_argument(s, c))
		return s->state;
	server_forget(s);
	server_say(s, 250, "2.0.0", "Ok");
	return s->state == SERVER_START ? SERVER_START : SERVER_READY;
}

static enum server_state run_noop(struct server *s, const struct command *c)
{
	(void)c;
	server_say(s, 250, "2.0.0", "Ok");
	return s->state;
}

static enum server_state run_vrfy(struct server *s, const struct command *c)
{
	if (c->argument.n == 0)
		server_reject(s, 501, "5.5.4", "Give an address");
	else
		server_say(s, 252, "2.0.0", "Not verified, but mail for it may be sent");
	return s->state;
}

static enum server_state run_unoffered(struct server *s, const struct command *c)
{
	(void)c;
	server_reject(s, 502, "5.5.1", "Not offered here");
	return s->state;
}

static enum server_state run_help(struct server *s, const struct command *c)
{
	(void)c;
	server_say(s, 214, "2.0.0", "RFC 5321; EHLO lists the extensions");
	return s->state;
}

static enum server_state run_quit(struct server *s, const struct command *c)
{
	(void)c; /* whoever wants to leave may, argument or not */
	server_say(s, 221, "2.0.0", "Bye");
	return SERVER_END;
}

/* RFC 3207. What was sent behind STARTTLS in the clear may come from somebody
 * else than the client: it ends the session, unread. */
static enum server_state run_starttls(struct server *s, const struct command *c)
{
	if (!s->options.tls)
		return run_unoffered(s, c);
	if (conn_ssl(s->conn) || s->state != SERVER_READY) {
		server_reject(s, 503, "5.5.1",
		    conn_ssl(s->conn) ? "TLS stands already" : server_order_text(s));
		return s->state;
	}
	if (has_argument(s, c))
		return s->state;
	if (conn_has_input(s->conn)) {
		server_refuse(s, 554, "5.5.1", "Nothing may be sent behind STARTTLS");
		return SERVER_END;
	}
	server_say(s, 220, "2.0.0", "Go on");
	server_flush(s);
	server_auth_forget(s); /* all that was said in the clear is forgotten */
	mem_free(s->helo);
	s->helo = NULL;
	s->esmtp = false;
	if (conn_start_tls(s->conn, s->options.tls, true, NULL, NULL) != 0)
		return SERVER_END;
	return SERVER_HANDSHAKE;
}

static enum server_state run_auth(struct server *s, const struct command *c)
{
	if (!s->options.auth || !s->handler->login)
		return run_unoffered(s, c);
	if (s->state != SERVER_READY || !s->esmtp) {
		server_reject(s, 503, "5.5.1",
		    s->state == SERVER_READY ? "Send EHLO first" : server_order_text(s));
		return s->state;
	}
	return server_auth_begin(s, c);
}

static enum server_state run_unknown(struct server *s, const struct command *c)
{
	(void)c;
	server_reject(s, 500, "5.5.2", "Command not known");
	return s->state;
}

static enum server_state run_foreign(struct server *s, const struct command *c)
{
	(void)c;
	server_refuse(s, 421, "4.7.0", "This is SMTP, not HTTP nor anything else; the session ends");
	return SERVER_END;
}

static const struct {
	unsigned states; /* where it may come */
	enum server_state (*run)(struct server *s, const struct command *c);
} commands[] = {
    [COMMAND_HELO] = {ANYWHERE, run_helo},
    [COMMAND_EHLO] = {ANYWHERE, run_ehlo},
    [COMMAND_MAIL] = {IN(READY), run_mail},
    [COMMAND_RCPT] = {IN(MAIL) | IN(RCPT), run_rcpt},
    [COMMAND_DATA] = {IN(MAIL) | IN(RCPT), run_data},
    [COMMAND_BDAT] = {ANYWHERE, server_chunk_begin}, /* also refused, it brings text */
    [COMMAND_RSET] = {ANYWHERE, run_rset},
    [COMMAND_NOOP] = {ANYWHERE, run_noop},
    [COMMAND_VRFY] = {ANYWHERE, run_vrfy},
    [COMMAND_EXPN] = {ANYWHERE, run_unoffered},
    [COMMAND_HELP] = {ANYWHERE, run_help},
    [COMMAND_QUIT] = {ANYWHERE, run_quit},
    [COMMAND_STARTTLS] = {ANYWHERE, run_starttls}, /* where it is not offered: 502 */
    [COMMAND_AUTH] = {ANYWHERE, run_auth}, /* where it is not offered: 502 */
    [COMMAND_FOREIGN] = {ANYWHERE, run_foreign},
    [COMMAND_UNKNOWN] = {ANYWHERE, run_unknown},
};

/* Of those it is MAIL that costs a message; what else there is follows from it. */
static enum server_state run_out_of_order(struct server *s, const struct command *c)
{
	struct reply reply = {0};
	s->errors += !server_is_behind_refusal(s);
	reply_set(&reply, 503, "5.5.1", "%s", server_order_text(s));
	return c->verb == COMMAND_MAIL ? refused(s, given(c, "FROM:"), NOBODY, &reply)
				       : decided(s, &reply, s->state);
}

enum server_state server_command(struct server *s, struct span line)
{
	struct command c;
	command_parse(line, &c);
	if (c.verb != COMMAND_RCPT && c.verb != COMMAND_DATA && c.verb != COMMAND_BDAT)
		s->behind = 0;
	if (commands[c.verb].states & 1u << s->state)
		return commands[c.verb].run(s, &c);
	return run_out_of_order(s, &c);
}
