/* SPDX-License-Identifier: MIT
 * A stream connection: socket, TLS, lines in, bytes out. The only caller of
 * SSL_read and SSL_write. Knows nothing of mail. On plain struct event and
 * evbuffer, since bufferevents stall around watermarks with OpenSSL and make
 * STARTTLS in mid-stream a hole.
 *
 * One handler gets every event. It is called from the loop only, never from
 * within a function of this file, and never again after conn_close. After
 * FAILED or CLOSED nothing more comes and the owner calls conn_close.
 *
 * Input is bounded: reading stops while more than input_max bytes wait, and
 * goes on when the owner has taken some. Output is bounded by its owner: ask
 * conn_unsent before writing more, DRAINED tells when to go on.
 */
#ifndef RELAYD_BASE_CONN_H
#define RELAYD_BASE_CONN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "relayd/base/loop.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

struct conn;

enum conn_event {
	CONN_OPEN,    /* connected (outgoing only) */
	CONN_SECURE,  /* the TLS handshake is done */
	CONN_INPUT,   /* bytes have arrived */
	CONN_DRAINED, /* all output has been handed to the kernel (after conn_write) */
	CONN_CLOSED,  /* the peer has ended its side; all input was reported and all
		       * output sent before (conn_finish still sends more) */
	CONN_FAILED,  /* connect, TLS or I/O error: WHY says it */
	CONN_EXPIRED, /* the deadline has passed; the connection still stands */
};

typedef void conn_handler(struct conn *conn, enum conn_event event, const struct why *why,
    void *arg);

/* Socket address, IPv4, IPv6 or Unix. */
struct conn_address {
	struct sockaddr_storage addr;
	socklen_t len; /* 0: none */
};

/* "192.0.2.1", "2001:db8::1" without port, for logs and address literals;
 * "unix" for a Unix socket. BUF has room for CONN_ADDRESS_TEXT. */
#define CONN_ADDRESS_TEXT 64
const char *conn_address_text(const struct conn_address *a, char *buf);
/* Parse a numeric address (no name look-up). PORT in host order. -1: not one. */
int conn_address_parse(struct conn_address *a, const char *text, uint16_t port);
uint16_t conn_address_port(const struct conn_address *a);
/* ::ffff:192.0.2.1, as sockets that listen for both and balancers have it, becomes
 * 192.0.2.1: who compares or counts clients, or writes an address literal, wants one form. */
void conn_address_unmap(struct conn_address *a);

/* An accepted socket FD (non-blocking, close-on-exec; taken over). Reading
 * starts with the next turn. */
struct conn *conn_accept(struct loop *loop, int fd, size_t input_max, conn_handler *handler,
    void *arg);

/* Begin to connect to TO, bound to FROM unless its len is 0. The result comes
 * as OPEN or FAILED, also when it is known at once. Never NULL. */
struct conn *conn_connect(struct loop *loop, const struct conn_address *to,
    const struct conn_address *from, size_t input_max, conn_handler *handler, void *arg);

/* Hand the connection on (a parked one to its next user). */
void conn_set_handler(struct conn *conn, conn_handler *handler, void *arg);

/* One deadline: EXPIRED comes in MS milliseconds unless it is set again or
 * ended (MS < 0). Bytes do not move it: a phase has a total. */
void conn_deadline(struct conn *conn, int64_t ms);

/* Take one line. LINE holds it without its line end until the next call on
 * CONN or the return to the loop (after conn_close: the end of the turn). MAX
 * counts the line end, and is at most input_max. */
enum conn_line {
	CONN_LINE,      /* a line ended by CRLF */
	CONN_LINE_BARE, /* a line ended by a bare LF, or that holds a CR */
	CONN_LINE_MORE, /* not complete yet */
	CONN_LINE_LONG, /* no end within MAX bytes; nothing was taken */
};
enum conn_line conn_line(struct conn *conn, size_t max, struct span *line);

/* Look at the bytes that wait (contiguous, may be fewer than all of them) and
 * drop the first N of them. */
struct span conn_peek(struct conn *conn);
void conn_drop(struct conn *conn, size_t n);
bool conn_has_input(const struct conn *conn); /* plaintext, or decrypted bytes */

/* Queue bytes for sending; they leave as the socket takes them. */
void conn_write(struct conn *conn, const void *p, size_t n);
size_t conn_unsent(const struct conn *conn);

/* Stop and resume reading (INPUT does not come while paused; closing by the
 * peer may be noticed late). Resuming with input waiting reports INPUT in the
 * next turn. */
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);

/* Switch to TLS with a new SSL of CTX. Server side: what is queued for output
 * (the 220) is sent in the clear first. Input that waits at the switch is an
 * injection: the result is -1 and the owner ends the session. SECURE or FAILED
 * follows. HOST (client side, may be NULL) is sent as SNI. */
int conn_start_tls(struct conn *conn, SSL_CTX *ctx, bool server, const char *host,
    struct why *why) ATTR_MUST_CHECK;
/* The same with an SSL made by the caller (taken over, also on failure). */
int conn_start_ssl(struct conn *conn, SSL *ssl, bool server, struct why *why) ATTR_MUST_CHECK;
SSL *conn_ssl(const struct conn *conn); /* NULL while in the clear */

const struct conn_address *conn_peer(const struct conn *conn);

/* End it now: unsent bytes are dropped, the handler is not called any more.
 * Memory goes at the end of the turn. */
void conn_close(struct conn *conn);

/* Send what is queued (at most MS milliseconds), then close. The handler is
 * not called any more. Use this after a final reply. */
void conn_finish(struct conn *conn, int64_t ms);

/* FN(ARG) is called once, from the loop, when the descriptor is closed: behind
 * conn_finish that is up to MS later. For who counts connections. */
void conn_set_gone(struct conn *conn, void (*fn)(void *arg), void *arg);

#endif
