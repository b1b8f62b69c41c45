/* SPDX-License-Identifier: MIT
 * The moving part of conn.c: what the socket's events and the end of a turn
 * do to a connection, and when its handler is called. What was written in a
 * turn leaves at its end in one system call, so replies to pipelined commands
 * travel together. Every report that is not the direct result of an event
 * goes through `todo` and the end of the turn.
 *
 * The ways to an end:
 *	read 0 bytes      output still goes out, then CLOSED
 *	read fails        FAILED
 *	write fails       what the peer has sent before is read first (a peer that
 *	                  refuses us says why and hangs up), then FAILED
 *	conn_finish       output, close_notify, shutdown, input dropped until the
 *	                  peer closes too; else a reset would eat our last reply
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/conn_internal.h"
#include "relayd/base/mem.h"

#define READ_MAX (64 * 1024)

/* Input passes through here so that no connection holds 64 KiB for a command
 * of 10 bytes. Connections are the loop's thread's alone; a buffer for each thread
 * would be filled with zeros for all those that never read. */
static char read_space[READ_MAX];

static void on_todo(void *arg);

void conn_soon(struct conn *conn, unsigned todo)
{
	conn->todo |= todo;
	if (conn->todo_is_deferred)
		return;
	conn->todo_is_deferred = true;
	loop_defer(conn->loop, on_todo, conn);
}

static void report(struct conn *conn, enum conn_event event, const struct why *why)
{
	if (conn->phase != PHASE_GONE && !conn->finishing && !conn->end_told)
		conn->handler(conn, event, why, conn->arg);
}

size_t conn_waiting(const struct conn *conn)
{
	return evbuffer_get_length(conn->in) - conn->taken;
}

static size_t room(const struct conn *conn)
{
	size_t n = conn_waiting(conn);
	return n < conn->input_max ? conn->input_max - n : 0;
}

bool conn_can_read(const struct conn *conn)
{
	return conn->phase == PHASE_UP && !conn->finishing && !conn->eof &&
	       !conn->paused && room(conn) > 0;
}

static void keep_failure(struct conn *conn, const struct why *why)
{
	if (!conn->failure)
		conn->failure = (struct why *)(void *)mem_copy(why, sizeof(*why));
}

void conn_fail(struct conn *conn, const struct why *why)
{
	keep_failure(conn, why);
	conn->phase = PHASE_DEAD;
	conn_update(conn);
	conn_soon(conn, TODO_END);
}

static int fail_errno(
    const struct conn *conn, int error, const char *doing, struct why *why)
{
	char peer[CONN_ADDRESS_TEXT];
	return why_errno(
	    why, WHY_TEMP, error, "%s %s", doing, conn_address_text(&conn->peer, peer));
}

/* Writing is over. What the peer has sent before is still worth reading. */
static void break_output(struct conn *conn, const struct why *why)
{
	keep_failure(conn, why);
	conn->broken = true;
	conn->blocked = false;
	evbuffer_drain(conn->out, conn_unsent(conn));
	if (conn_can_read(conn))
		conn_soon(conn, TODO_READ);
	else
		conn_fail(conn, why);
}

static enum conn_io write_clear(struct conn *conn, size_t max, struct why *why)
{
	for (;;) {
		int n = evbuffer_write_atmost(conn->out, conn->fd, (ev_ssize_t)max);
		if (n >= 0)
			return IO_OK;
		if (errno == EAGAIN)
			return IO_WAIT;
		if (errno == EINTR)
			continue;
		fail_errno(conn, errno, "write to", why);
		return IO_FAIL;
	}
}

static enum conn_io read_clear(struct conn *conn, size_t max, size_t *n, struct why *why)
{
	for (;;) {
		ssize_t got = read(conn->fd, read_space, max);
		if (got > 0)
			*n = (size_t)got;
		if (got >= 0)
			return got ? IO_OK : IO_EOF;
		if (errno == EAGAIN)
			return IO_WAIT;
		if (errno == EINTR)
			continue;
		fail_errno(conn, errno, "read from", why);
		return IO_FAIL;
	}
}

static void tell_drained(struct conn *conn)
{
	bool due = conn->drain_due;
	conn->drain_due = false;
	if (conn->eof)
		conn_soon(conn, TODO_END);
	if (due)
		report(conn, CONN_DRAINED, NULL);
}

static void flush(struct conn *conn)
{
	struct why why = {0};
	enum conn_io io = IO_OK;
	while (io == IO_OK && conn_unsent(conn))
		io = conn->ssl ? conn_tls_write(conn, &why)
			       : write_clear(conn, conn_unsent(conn), &why);
	conn->blocked = io == IO_WAIT;
	if (io == IO_FAIL)
		break_output(conn, &why);
	else if (io == IO_OK)
		tell_drained(conn);
}

static void shake(struct conn *conn)
{
	struct why why = {0};
	switch (conn_tls_shake(conn, &why)) {
	case IO_OK:
		conn->phase = PHASE_UP;
		conn_soon(conn, TODO_DRIVE | TODO_READ);
		report(conn, CONN_SECURE, NULL);
		return;
	case IO_WAIT:
		return;
	case IO_EOF:
	case IO_FAIL:
		conn_fail(conn, &why);
		return;
	}
}

static void send_clear_rest(struct conn *conn)
{
	struct why why = {0};
	size_t before = conn_unsent(conn);
	enum conn_io io = IO_OK;
	if (conn->clear_left)
		io = write_clear(conn, conn->clear_left, &why);
	if (io == IO_FAIL) {
		conn_fail(conn, &why);
		return;
	}
	conn->clear_left -= before - conn_unsent(conn);
	if (conn->clear_left)
		return;
	conn->drain_due = conn_unsent(conn) > 0;
	conn->phase = PHASE_SHAKING;
	/* a client speaks first; until it does, OpenSSL needs no 16 KiB to read into */
	if (!SSL_is_server(conn->ssl))
		shake(conn);
}

/* Finishing: one step on the way down. */
static void finish(struct conn *conn)
{
	if (conn->phase == PHASE_GONE)
		return;
	if (conn->phase != PHASE_DEAD && conn_unsent(conn))
		return;
	if (conn->phase == PHASE_UP && !conn->half_closed && !conn->broken) {
		if (conn->ssl)
			conn_tls_goodbye(conn);
		shutdown(conn->fd, SHUT_WR);
		conn->half_closed = true;
	}
	if (conn->phase != PHASE_UP || conn->eof || conn->broken || conn->discard == 0)
		conn_close(conn);
}

/* Go on with whatever sends. */
static void drive(struct conn *conn)
{
	switch (conn->phase) {
	case PHASE_CLEARING:
		send_clear_rest(conn);
		break;
	case PHASE_SHAKING:
		shake(conn);
		break;
	case PHASE_UP:
		if (!conn->broken)
			flush(conn);
		break;
	case PHASE_CONNECTING:
	case PHASE_DEAD:
	case PHASE_GONE:
		break;
	}
}

static void add_input(struct conn *conn, size_t n)
{
	if (evbuffer_add(conn->in, read_space, n) != 0)
		bug("out of memory for input");
}

static enum conn_io read_some(struct conn *conn, size_t *total, struct why *why)
{
	enum conn_io io;
	do {
		size_t max = room(conn);
		size_t n = 0;
		if (max > READ_MAX)
			max = READ_MAX;
		io = conn->ssl ? conn_tls_read(conn, read_space, max, &n, why)
			       : read_clear(conn, max, &n, why);
		if (io == IO_OK)
			add_input(conn, n);
		*total += n;
		/* decrypted bytes make no event: take all that one read has brought */
	} while (io == IO_OK && conn->ssl && *total < READ_MAX && room(conn));
	return io;
}

/* Drop what the owner has taken. */
void conn_settle(struct conn *conn)
{
	if (conn->taken == 0)
		return;
	evbuffer_drain(conn->in, conn->taken);
	conn->taken = 0;
}

static void pump(struct conn *conn)
{
	struct why why = {0};
	size_t total = 0;
	if (!conn_can_read(conn)) {
		if (conn->broken && conn->phase == PHASE_UP)
			conn_fail(conn, conn->failure);
		return;
	}
	conn_settle(conn);
	enum conn_io io = read_some(conn, &total, &why);
	if (io == IO_FAIL) {
		conn_fail(conn, &why);
	} else if (conn->broken && (io == IO_EOF || total == 0)) {
		conn_fail(conn, conn->failure);
	} else if (io == IO_EOF) {
		conn->eof = true;
		conn_soon(conn, TODO_END);
	} else if (conn->broken || (conn->ssl && SSL_pending(conn->ssl))) {
		conn_soon(conn, TODO_READ);
	}
	if (total == 0)
		return;
	conn->todo &= ~TODO_INPUT; /* this one says it already */
	report(conn, CONN_INPUT, NULL);
}

/* Finishing: read and forget, past any TLS. */
static void discard(struct conn *conn)
{
	struct why why;
	size_t n = 0;
	enum conn_io io = read_clear(conn, sizeof(read_space), &n, &why);
	conn->discard -= n < conn->discard ? n : conn->discard;
	if (io == IO_EOF || io == IO_FAIL)
		conn->eof = true;
	finish(conn);
}

static void tell_end(struct conn *conn)
{
	bool closed = conn->eof && !conn->paused && conn_unsent(conn) == 0;
	if (conn->end_told || (conn->phase != PHASE_DEAD && !closed))
		return;
	timer_stop(&conn->deadline);
	if (conn->phase == PHASE_DEAD)
		report(conn, CONN_FAILED, conn->failure);
	else
		report(conn, CONN_CLOSED, NULL);
	conn->end_told = true;
}

static void connected(struct conn *conn)
{
	conn->phase = PHASE_UP;
	conn_soon(conn, TODO_DRIVE);
	report(conn, CONN_OPEN, NULL);
}

static void on_todo(void *arg)
{
	struct conn *conn = arg;
	unsigned todo = conn->todo;
	conn->todo = 0;
	conn->todo_is_deferred = false;
	if (todo & TODO_OPEN && conn->phase == PHASE_CONNECTING)
		connected(conn);
	if (todo & TODO_DRIVE)
		drive(conn);
	if (todo & TODO_READ)
		pump(conn);
	if (todo & TODO_INPUT && !conn->paused && conn_waiting(conn))
		report(conn, CONN_INPUT, NULL);
	if (todo & TODO_END)
		tell_end(conn);
	if (conn->finishing)
		finish(conn);
	conn_update(conn);
}

static void connect_result(struct conn *conn)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error == 0) {
		connected(conn);
		return;
	}
	struct why why;
	conn_explain_connect(conn, error, &why);
	conn_fail(conn, &why);
}

static void on_turn(void *arg)
{
	struct conn *conn = arg;
	drive(conn);
	conn_update(conn);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	(void)fd;
	(void)what;
	if (conn->phase == PHASE_SHAKING && SSL_is_server(conn->ssl))
		loop_line_up(conn->loop, &conn->place, on_turn, conn);
	else if (conn->phase == PHASE_SHAKING || conn->write_wants_read)
		drive(conn);
	else if (conn->finishing)
		discard(conn);
	else
		pump(conn);
	conn_update(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	(void)fd;
	(void)what;
	if (conn->phase == PHASE_CONNECTING)
		connect_result(conn);
	else if (conn->read_wants_write)
		pump(conn);
	else
		drive(conn);
	if (conn->finishing)
		finish(conn);
	conn_update(conn);
}

static bool wants_read(const struct conn *conn)
{
	if (conn->phase == PHASE_SHAKING) /* in line: its turn will come anyway */
		return !conn->shake_wants_write && !conn->place.prev;
	if (conn->phase != PHASE_UP)
		return false;
	if (conn->write_wants_read)
		return true;
	if (conn->finishing)
		return !conn->eof && conn->discard > 0;
	return conn_can_read(conn) && !conn->read_wants_write;
}

static bool wants_write(const struct conn *conn)
{
	switch (conn->phase) {
	case PHASE_CONNECTING:
	case PHASE_CLEARING:
		return conn->fd >= 0;
	case PHASE_SHAKING:
		return conn->shake_wants_write;
	case PHASE_UP:
		return conn->read_wants_write ||
		       (conn->blocked && !conn->write_wants_read);
	case PHASE_DEAD:
	case PHASE_GONE:
		return false;
	}
	return false;
}

static int set_event(
    struct conn *conn, struct event **event, short what, event_callback_fn call, bool on)
{
	if (!*event)
		*event = event_new(loop_base(conn->loop), conn->fd,
		    (short)(what | EV_PERSIST), call, conn);
	if (!*event)
		bug("out of memory for an event");
	return on ? event_add(*event, NULL) : event_del(*event);
}

/* Register for what the state wants, and for nothing else: a socket that has
 * hung up and is watched without being read would spin the loop. */
void conn_update(struct conn *conn)
{
	bool reading = wants_read(conn);
	bool writing = wants_write(conn);
	int result = 0;
	if (reading != conn->reading)
		result |=
		    set_event(conn, &conn->read_event, EV_READ, on_readable, reading);
	if (writing != conn->writing)
		result |=
		    set_event(conn, &conn->write_event, EV_WRITE, on_writable, writing);
	conn->reading = reading;
	conn->writing = writing;
	if (result == 0 || conn->phase == PHASE_DEAD)
		return;
	struct why why;
	why_errno(&why, WHY_LOCAL, errno, "the kernel does not watch one more socket");
	conn_fail(conn, &why);
}

void conn_on_deadline(void *arg)
{
	struct conn *conn = arg;
	if (conn->finishing)
		conn_close(conn);
	else
		report(conn, CONN_EXPIRED, NULL);
}
