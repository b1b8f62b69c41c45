/* SPDX-License-Identifier: MIT
 * A receiver for tests, in the same thread as the client it talks to: while it
 * waits for bytes it turns the loop, with a fake clock standing still. It knows
 * lines and TLS, not SMTP. What returns bool is false when something that had
 * to come has not come within some seconds of real time.
 */
#ifndef TESTS_UNIT_RECEIVER_H
#define TESTS_UNIT_RECEIVER_H

#include "relayd/base/conn.h"

#define RECEIVER_PATIENCE 3000 /* milliseconds of real time */

enum receiver_room {
	RECEIVER_USUAL,
	RECEIVER_SMALL,  /* its kernel takes few bytes at a time */
	RECEIVER_FULL,   /* and here no further connection, without a word */
	RECEIVER_CLOSED, /* nobody listens */
};

struct receiver {
	struct loop *loop;
	int listener;
	int fillers[2];
	int fd; /* -1: not accepted yet, or hung up */
	SSL *ssl;
	struct buf in; /* what has come and was not taken */
	bool ended;    /* the client has closed */
	void (*turned)(void *arg); /* called after each turn; NULL: nobody is */
	void *arg;
};

/* Listen at ADDRESS, any port; TO becomes where to connect to. */
void receiver_open(struct receiver *r, struct loop *loop, const char *address,
    enum receiver_room room, struct conn_address *to);
void receiver_close(struct receiver *r);

/* One turn without a jump of the clock. I counts up in a caller's loop: later
 * ones give the kernel a millisecond each. */
void receiver_turn(struct receiver *r, int i);
bool receiver_accept(struct receiver *r);
bool receiver_send(struct receiver *r, const char *p, size_t n);
void receiver_read(struct receiver *r); /* what is there, into r->in */
bool receiver_line(struct receiver *r, struct buf *line); /* ended by CRLF */
bool receiver_end(struct receiver *r); /* wait for the client to close */
bool receiver_has_unacked(struct receiver *r); /* what it sent is on its way */
bool receiver_handshake(struct receiver *r); /* as a TLS server */
void receiver_hang_up(struct receiver *r, bool reset);

/* The certificate it shows, its own authority, good for mx.example.org and
 * 127.0.0.1. Made when first asked for; receiver_forget releases it. */
X509 *receiver_certificate(void);
void receiver_forget(void);

#endif
