/* SPDX-License-Identifier: MIT
 * What the files of the server share: the session object and the calls
 * between its core (server.c: events, deadlines, end), its commands
 * (server_commands.c), its text (server_text.c) and its logins (server_auth.c).
 * Nobody else includes this.
 */
#ifndef SMTP_SERVER_INTERNAL_H
#define SMTP_SERVER_INTERNAL_H

#include "smtp/body.h"
#include "smtp/server.h"

enum server_state {
	SERVER_HANDSHAKE, /* TLS is being set up */
	SERVER_START,     /* no EHLO yet */
	SERVER_READY,     /* between transactions */
	SERVER_MAIL,      /* MAIL accepted, no recipient yet */
	SERVER_RCPT,      /* at least one recipient */
	SERVER_DATA,      /* text behind a 354 */
	SERVER_BDAT,      /* between two chunks */
	SERVER_CHUNK,     /* octets of a chunk */
	SERVER_REFUSED,   /* octets of a refused chunk: dropped, then the refusal is said */
	SERVER_BROKEN,    /* a chunk failed: nothing but RSET (or the LAST one) helps */
	SERVER_AUTH,      /* the client owes a line of its login */
	SERVER_LOGIN,     /* the handler owes the verdict on a login */
	SERVER_OWED,      /* the text is complete, the handler owes the answer */
	SERVER_END,       /* over; `closed` comes in the next turn */
};

struct server {
	struct conn *conn;
	const struct server_handler *handler;
	void *arg;
	struct server_options options;
	enum server_state state;
	enum server_state after; /* REFUSED: where it goes on */
	bool esmtp;
	bool utf8;      /* SMTPUTF8 was asked for by MAIL */
	bool open;      /* the handler has a transaction that wants `end` or `abort` */
	bool crowded;   /* ... and knows that it has too many recipients */
	bool paused;    /* `text` returned false */
	bool drop;      /* END: what is unsent is not worth waiting for */
	bool skipping;  /* dropping the rest of an over-long command line */
	bool skipped_cr; /* ... whose last byte so far was a CR */
	char *helo;     /* NULL before EHLO */
	char *user;     /* logged in as; NULL: not */
	struct auth_exchange *exchange; /* AUTH, LOGIN: the mechanism at work */
	bool approved;  /* AUTH: the handler has said yes, the client has the last word */
	struct buf final; /* LOGIN: what it is told before */
	uint64_t recipients; /* of this transaction, taken */
	uint64_t malformed;  /* ... and those that could not be read */
	uint64_t behind;     /* how many commands may still follow a refused MAIL */
	uint64_t errors;
	uint64_t messages;
	struct body_decoder decoder;
	uint64_t chunk_left; /* octets of the chunk still to come */
	bool chunk_last;
	uint64_t progress;   /* octets of text since the pause deadline was moved */
	int64_t session_end; /* monotonic, as all of these */
	int64_t phase_end;   /* of this command, or of this pause in the text */
	int64_t text_end;    /* of the whole text; 0: none is being sent */
	int64_t paused_at;
	struct buf out;  /* replies that go to conn in one piece */
	struct buf late; /* in wire form: what is said behind a refused chunk, or the
	                    421 of a shutdown behind an owed answer */
};

/* server.c */

/* Queue a reply / one line of it without arguments. */
void server_reply(struct server *s, const struct reply *reply);
void server_say(struct server *s, unsigned code, const char *enhanced, const char *text);

/* The same for what breaks the protocol: it counts towards limits->errors. */
void server_reject(struct server *s, unsigned code, const char *enhanced, const char *text);

#define NOBODY ((struct span){NULL, 0})

/* Tell the handler that FROM, TO, or what is under way (both are NOBODY) is refused. */
void server_refused(struct server *s, struct span from, struct span to,
    const struct reply *reply);

/* Say what ends the transaction or the session, and tell the handler. */
void server_refuse(struct server *s, unsigned code, const char *enhanced, const char *text);

/* The only way to another state; sets its deadline. SERVER_END ends the session
 * behind the replies queued so far. */
void server_enter(struct server *s, enum server_state next);

/* Does a command that is out of order follow from a refused MAIL? A client that pipelines
 * has sent it before it could know: that was one mistake, or none. */
bool server_is_behind_refusal(struct server *s);

/* Drop the transaction, telling the handler if it has one. */
void server_forget(struct server *s);

/* What is wrong with a command that does not fit the state. */
const char *server_order_text(const struct server *s);

/* Octets of text have come: a pause is over once they are enough. */
void server_progress(struct server *s, size_t n);

/* The handler wants no text for a while. */
void server_pause(struct server *s);

/* Hand what is queued to the connection. */
void server_flush(struct server *s);

/* server_commands.c: run one command line. Result: the next state. */
enum server_state server_command(struct server *s, struct span line);

/* server_auth.c */

bool server_offers_auth(const struct server *s);

/* AUTH, where it is in order; one line of the exchange; one that is too long. */
enum server_state server_auth_begin(struct server *s, const struct command *c);
enum server_state server_auth_line(struct server *s, struct span line);
enum server_state server_auth_too_long(struct server *s);

/* Forget who is logged in, and a login that is under way. */
void server_auth_forget(struct server *s);

/* server_text.c */

/* Begin a text; it is done once per transaction. */
void server_text_begin(struct server *s, bool dots);

/* BDAT in any state: decide, and take or refuse the chunk. */
enum server_state server_chunk_begin(struct server *s, const struct command *c);

/* Take what waits on the connection. Result: false when there is nothing. */
bool server_take_text(struct server *s);
bool server_take_chunk(struct server *s);
bool server_take_refused(struct server *s);

#endif
