/* SPDX-License-Identifier: MIT
 * A server session in this process with a client on the other end of a socket
 * pair, a fake clock, and a handler that notes what it is told. It decides by
 * local part: refuse@ 550, defer@ 450, hangup@ 421; as a sender also nodata@
 * (DATA is 451) and hangdata@ (DATA is 421). Passwords "pencil" are right, as
 * those of RFC 7677's user are for SCRAM.
 */
#ifndef TESTS_UNIT_SERVER_PEER_H
#define TESTS_UNIT_SERVER_PEER_H

#include "relayd/base/loop.h"
#include "smtp/server.h"

struct peer {
	struct loop *loop;
	struct conn *conn;
	struct server *server; /* NULL once it is closed */
	struct server_options options;
	struct conf_limits limits;
	/* the handler */
	bool later; /* the answer comes by peer_answer */
	bool pause; /* `text` always returns false */
	bool shut;  /* `mail` shuts the session */
	bool shut_text; /* `text` does */
	bool refusals; /* `refused` is noted */
	bool login_later; /* the verdict on a login comes by server_login */
	bool calling;   /* in a call of ours: no handler may be called */
	unsigned answer_code;
	bool bad_data;
	bool hang_data;
	int closed;
	size_t held; /* bytes that the session held at most: come, or to be sent */
	struct buf text;   /* pieces of text not yet noted */
	struct buf events; /* one per line */
	/* the client */
	int fd;
	SSL *ssl;
	size_t split; /* send so many bytes at a time; 0: all at once */
	bool stalled; /* does not read */
	bool eof;
	bool reset;
	size_t segments; /* reads that brought something */
	struct buf got;
};

/* Defaults of the limits, hostname relay.example. Nothing is connected. */
void peer_init(struct peer *p);
/* Connect. The session's first bytes are not read yet. */
void peer_open(struct peer *p);
/* Close the client's end and run until the session is gone; release all. */
void peer_end(struct peer *p);

/* Run until nothing moves any more, without letting time pass. */
void peer_settle(struct peer *p);

void peer_send(struct peer *p, const char *bytes, size_t n);
void peer_shake(struct peer *p);             /* the client's side of a handshake */
void peer_close(struct peer *p, bool reset); /* the client goes */
void peer_answer(struct peer *p, unsigned code, const char *enhanced, const char *text);

/* Note the text that has gathered as an event. */
void peer_note_text(struct peer *p);

#endif
