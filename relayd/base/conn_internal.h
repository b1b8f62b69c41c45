/* SPDX-License-Identifier: MIT
 * What conn.c (made, used, ended), conn_drive.c (events and reports),
 * conn_tls.c and conn_address.c share. Not for anybody else.
 */
#ifndef RELAYD_BASE_CONN_INTERNAL_H
#define RELAYD_BASE_CONN_INTERNAL_H

#include "relayd/base/conn.h"

struct event;
struct evbuffer;

enum conn_phase {
	PHASE_CONNECTING,
	PHASE_CLEARING, /* sending what was queued in the clear before TLS */
	PHASE_SHAKING,  /* TLS handshake */
	PHASE_UP,       /* bytes flow */
	PHASE_DEAD,     /* failed; FAILED is reported or will be */
	PHASE_GONE,     /* conn_close was called; freed at the end of the turn */
};

/* Bits of `todo`. */
#define TODO_OPEN 1u  /* connected at once: report it */
#define TODO_DRIVE 2u /* go on with sending or the handshake */
#define TODO_READ 4u  /* there may be bytes that make no event */
#define TODO_INPUT 8u /* report input that waits */
#define TODO_END 16u  /* report CLOSED or FAILED when it is time */

struct conn {
	struct loop *loop;
	conn_handler *handler;
	void *arg;
	void (*gone)(void *arg); /* the descriptor is closed; NULL: nobody counts */
	void *gone_arg;
	SSL *ssl;
	struct event *read_event;  /* made when first needed */
	struct event *write_event;
	struct evbuffer *in;
	struct evbuffer *out;
	struct why *failure; /* what FAILED will say */
	struct timer deadline;
	struct loop_orphan orphan;
	struct loop_place place; /* of a client's handshake, in the loop's line */
	size_t input_max;
	size_t taken;      /* bytes at the start of IN that the owner has got */
	size_t scanned;    /* bytes behind them that hold no LF */
	size_t clear_left; /* PHASE_CLEARING: bytes of OUT that go in the clear */
	size_t discard;    /* finishing: how much input is still read and dropped */
	int fd;            /* -1: none could be made */
	enum conn_phase phase;
	unsigned todo; /* TODO_* to be done at the end of the turn */
	bool todo_is_deferred;
	bool reading; /* the events that are registered */
	bool writing;
	bool paused;
	bool eof;         /* the peer has ended its side */
	bool broken;      /* nothing more can be sent; reading what is left */
	bool blocked;     /* OUT waits for the socket */
	bool drain_due;   /* DRAINED is to be reported */
	bool end_told;    /* CLOSED or FAILED was reported */
	bool finishing;   /* conn_finish: nobody listens any more */
	bool half_closed; /* finishing: our side is shut down */
	bool shake_wants_write;
	bool read_wants_write; /* TLS may need the other direction */
	bool write_wants_read;
	struct conn_address peer;
};

/* Result of one attempt to move bytes. */
enum conn_io {
	IO_OK,
	IO_WAIT, /* the socket is not ready */
	IO_EOF,
	IO_FAIL, /* WHY says it */
};

/* conn_drive.c */
void conn_soon(struct conn *conn, unsigned todo); /* at the end of the turn */
void conn_update(struct conn *conn); /* register for the events the state wants */
void conn_fail(struct conn *conn, const struct why *why); /* FAILED will come */
void conn_settle(struct conn *conn); /* drop what the owner has taken */
size_t conn_waiting(const struct conn *conn); /* input that is not taken */
bool conn_can_read(const struct conn *conn); /* reading would be right now */
void conn_on_deadline(void *arg);

/* conn.c. Result: -1. */
int conn_explain_connect(const struct conn *conn, int error, struct why *why);

/* conn_address.c: where a connection goes: "192.0.2.1 port 25". */
#define CONN_TARGET_TEXT 160
const char *conn_address_target(const struct conn_address *a, char *buf);
/* The address of a socket's other end; len 0 when it has none (any more). */
void conn_address_of_peer(int fd, struct conn_address *a);

/* conn_tls.c. Prepare SSL for the connection. */
int conn_tls_attach(struct conn *conn, SSL *ssl, bool server, struct why *why);
enum conn_io conn_tls_shake(struct conn *conn, struct why *why);
enum conn_io conn_tls_read(struct conn *conn, void *p, size_t size, size_t *n, struct why *why);
/* Send from the start of OUT and drop there what was sent. */
enum conn_io conn_tls_write(struct conn *conn, struct why *why);
/* Send close_notify if the socket takes it. */
void conn_tls_goodbye(struct conn *conn);

#endif
