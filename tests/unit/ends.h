/* SPDX-License-Identifier: MIT
 * Two ends of a connection for the tests: a conn whose handler notes what it
 * is told, and the other side as a second conn or a bare socket. Everything
 * is on loopback and on the fake clock.
 */
#ifndef TESTS_UNIT_ENDS_H
#define TESTS_UNIT_ENDS_H

#include "relayd/base/buf.h"
#include "relayd/base/conn.h"

#define ENDS_INPUT_MAX 65536

/* One end and what its handler was told, a letter for each event: O open,
 * S secure, I input, D drained, C closed, F failed, X expired. */
struct end {
	struct conn *conn;
	struct buf trace;
	struct why why;
	void (*then)(struct end *end, enum conn_event event); /* NULL: only note it */
	struct buf got;					      /* filled by end_take_all */
};

/* Made by ends_begin, gone with ends_finish (cmocka set-up and teardown). */
extern struct loop *ends_loop;
extern int ends_listener;
extern struct conn_address ends_listening;
int ends_begin(void **state);
int ends_finish(void **state);

conn_handler end_handle;
void end_take_all(struct end *end, enum conn_event event); /* for `then` */
const char *end_trace(const struct end *end);
bool end_told(const struct end *end, char letter);
void end_wait(struct end *end, char letter); /* until it was told */
void end_assert_line(struct end *end, enum conn_line kind, const char *text);
void end_clear(struct end *end); /* closes its conn */

/* A client conn that is open, and the other end: a bare socket, or a conn. */
int end_open_raw(struct end *client);
void ends_open(struct end *client, struct end *server);

void ends_settle(void);	 /* turn until nothing moves; the clock goes on by 1 ms */
void ends_run_dry(void); /* turn until nothing can happen any more */

int ends_listen(struct conn_address *a, const char *text); /* -1: no such family */
int ends_take_peer(void);				   /* accept on ends_listener */
void ends_raw_write(int fd, const char *text);
void ends_reset(int fd);      /* close it so that the peer sees a reset */
char *ends_pattern(size_t n); /* bytes that do not repeat soon; mem_free */

#endif
