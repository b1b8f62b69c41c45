/* SPDX-License-Identifier: MIT
 * The server side of the dialogue (RFC 5321): commands in, replies out, order
 * and limits kept. What is decided about a sender, a recipient or a message is
 * asked from its handler; this file never sees the queue.
 *
 * Replies leave in order; while the handler works on the end of a message, no
 * further command is read. Memory per session is bounded: one command line,
 * one piece of text.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "relayd/base/conn.h"
#include "smtp/auth_exchange.h"
#include "smtp/command.h"
#include "smtp/reply.h"

struct server; /* one session */

/* Facts that the handler may ask for. */
struct server_info {
	struct span helo;
	bool esmtp;
	bool tls;
	SSL *ssl;            /* with TLS: the certificate that the client has shown */
	bool utf8;           /* SMTPUTF8 of the current transaction */
	const char *user;    /* logged in as; NULL: not */
	const char *protocol; /* for Received: SMTP, ESMTP, ESMTPS, ESMTPSA, ESMTPA, UTF8SMTP... */
};

/* Somebody wants to log in. The texts are bytes from outside without NUL; they
 * go with the session or with server_login, whichever comes first. */
struct server_claim {
	const char *mechanism;
	const char *user;
	const char *password; /* to be checked; NULL: the mechanism has judged */
	bool proved;          /* by the mechanism, when there is no password */
};

enum server_login { SERVER_LOGIN_OK, SERVER_LOGIN_REFUSED, SERVER_LOGIN_LATER };

/* All calls come from the loop. ARG is what server_new was given. REPLY is
 * preset with the usual positive reply; a handler that returns false has set
 * the refusal. */
struct server_handler {
	/* MAIL: a transaction begins. */
	bool (*mail)(void *arg, const struct command_mail *mail, struct reply *reply);
	bool (*rcpt)(void *arg, const struct command_rcpt *rcpt, struct reply *reply);
	/* DATA or the first BDAT, with at least one recipient accepted. */
	bool (*data)(void *arg, struct reply *reply);
	/* A piece of decoded text (CRLF line ends, no dots), at most 64 KiB and a few
	 * bytes. Result: false when the sender should pause; call server_resume
	 * later. `end` may follow at once when it was the last piece. */
	bool (*text)(void *arg, struct span piece);
	/* The text is complete and fine: answer with server_answer, now or later. */
	void (*end)(void *arg);
	/* What the client was told, or will be when its text ends: REPLY refuses a
	 * MAIL (FROM), a recipient (TO), the text (neither) or ends the session. Of the
	 * others p is NULL. They are as the client wrote them where they are no address.
	 * Comes before `abort`. Not for what only follows from an earlier refusal
	 * (RCPT behind a MAIL that was refused), nor for commands of no mail, nor for
	 * what `end` was answered; once for all recipients over the limit. NULL:
	 * nobody wants to know. */
	void (*refused)(void *arg, struct span from, struct span to, const struct reply *reply);
	/* The transaction is over without `end` (RSET, new EHLO, fault in the
	 * text, connection gone): forget it. Never while an answer is owed. */
	void (*abort)(void *arg);
	/* AUTH: judge CLAIM and say so with server_login, now or later. It may not be
	 * called any more after `closed`. NULL: nobody verifies, AUTH is not offered. */
	void (*login)(void *arg, const struct server_claim *claim);
	auth_keys_of *keys; /* for SCRAM; set where `login` is */
	/* The session is over; the server object goes after this call. Comes once,
	 * from the loop, never inside a function of this file. While an answer is
	 * owed this comes too, and server_answer must not be called any more. */
	void (*closed)(void *arg);
};

struct server_options {
	const char *hostname;
	const struct conf_limits *limits;
	enum conf_bare_newline bare_newline;
	SSL_CTX *tls;       /* NULL: STARTTLS is not offered */
	bool tls_now;       /* implicit TLS */
	bool auth;          /* users may log in here, once TLS stands */
	bool auth_clear;    /* ... and without TLS: what only this machine can hear */
};

/* Take over CONN (just accepted, its input_max no less than the longest command
 * line) and greet. The options are copied, what they point to must outlive the
 * session. */
struct server *server_new(struct conn *conn, const struct server_options *options,
    const struct server_handler *handler, void *arg);

struct server_info server_info(const struct server *server);

/* The reply to `end`; may be called inside of it. 421 ends the session. */
void server_answer(struct server *server, const struct reply *reply);

/* The answer to `login`; may be called inside of it. REFUSED is the same 535
 * whatever was wrong, LATER a 454: nothing is said about the password. */
void server_login(struct server *server, enum server_login verdict);

/* After `text` returned false: go on reading. */
void server_resume(struct server *server);

/* Say 421 REASON and end (overload, shutdown); `closed` follows in a later
 * turn. A session with an answer owed gets it first. */
void server_shut(struct server *server, const char *enhanced, const char *reason);

#endif
