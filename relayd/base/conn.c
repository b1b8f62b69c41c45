/* SPDX-License-Identifier: MIT
 * Connections: how they are made, what their owners call, how they end. None
 * of it calls a handler; conn_drive.c does, from the loop.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/conn_internal.h"
#include "relayd/base/mem.h"

#define DISCARD_MAX (256 * 1024) /* input dropped while finishing */

static struct conn *make(
    struct loop *loop, int fd, size_t input_max, conn_handler *handler, void *arg)
{
	struct conn *conn = mem_zero(sizeof(*conn));
	conn->loop = loop;
	conn->fd = fd;
	conn->handler = handler;
	conn->arg = arg;
	conn->input_max = input_max;
	conn->in = evbuffer_new();
	conn->out = evbuffer_new();
	if (!conn->in || !conn->out)
		bug("out of memory for a connection");
	timer_init(&conn->deadline, loop, conn_on_deadline, conn);
	return conn;
}

static void set_nodelay(int fd, const struct conn_address *a)
{
	int on = 1;
	if (a->addr.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

struct conn *conn_accept(
    struct loop *loop, int fd, size_t input_max, conn_handler *handler, void *arg)
{
	struct conn *conn = make(loop, fd, input_max, handler, arg);
	conn->phase = PHASE_UP;
	conn_address_of_peer(fd, &conn->peer);
	set_nodelay(fd, &conn->peer);
	conn_update(conn);
	return conn;
}

static int bind_source(
    struct conn *conn, const struct conn_address *from, struct why *why)
{
	int on = 1;
	char text[CONN_ADDRESS_TEXT];
	char target[CONN_TARGET_TEXT];
	conn_address_text(from, text);
	if (from->addr.ss_family != conn->peer.addr.ss_family)
		return why_set(why, WHY_LOCAL,
		    "the source address %s is of another family than %s", text,
		    conn_address_target(&conn->peer, target));
	/* leave the choice of the port to connect(), which knows the other end:
	 * else each source address has 28,000 connections in all */
	setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(conn->fd, (const struct sockaddr *)&from->addr, from->len) != 0)
		return why_errno(
		    why, WHY_LOCAL, errno, "bind to the source address %s", text);
	return 0;
}

static int open_socket(
    struct conn *conn, const struct conn_address *from, struct why *why)
{
	char target[CONN_TARGET_TEXT];
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	conn->fd = socket(conn->peer.addr.ss_family, type, 0);
	if (conn->fd < 0) {
		/* a kernel without IPv6 is like a network without it */
		bool family = errno == EAFNOSUPPORT;
		return why_errno(why, family ? WHY_TEMP : WHY_LOCAL, errno,
		    "no socket to connect to %s",
		    conn_address_target(&conn->peer, target));
	}
	set_nodelay(conn->fd, &conn->peer);
	return from && from->len ? bind_source(conn, from, why) : 0;
}

int conn_explain_connect(const struct conn *conn, int error, struct why *why)
{
	char target[CONN_TARGET_TEXT];
	/* out of ports, or forbidden by this machine's own rules */
	bool local = error == EADDRNOTAVAIL || error == EACCES || error == EPERM;
	return why_errno(why, local ? WHY_LOCAL : WHY_TEMP, error, "connect to %s",
	    conn_address_target(&conn->peer, target));
}

static int begin_connect(struct conn *conn, struct why *why)
{
	int result;
	do
		result = connect(
		    conn->fd, (struct sockaddr *)&conn->peer.addr, conn->peer.len);
	while (result != 0 && errno == EINTR);
	if (result == 0) {
		conn_soon(conn, TODO_OPEN);
		return 0;
	}
	/* EALREADY: a signal came after the attempt had begun */
	if (errno == EINPROGRESS || errno == EALREADY)
		return 0;
	return conn_explain_connect(conn, errno, why);
}

struct conn *conn_connect(struct loop *loop, const struct conn_address *to,
    const struct conn_address *from, size_t input_max, conn_handler *handler, void *arg)
{
	struct why why = {0};
	struct conn *conn = make(loop, -1, input_max, handler, arg);
	conn->phase = PHASE_CONNECTING;
	conn->peer = *to;
	if (open_socket(conn, from, &why) != 0 || begin_connect(conn, &why) != 0)
		conn_fail(conn, &why);
	else if (!(conn->todo & TODO_OPEN))
		conn_update(conn);
	return conn;
}

void conn_set_handler(struct conn *conn, conn_handler *handler, void *arg)
{
	conn->handler = handler;
	conn->arg = arg;
}

void conn_set_gone(struct conn *conn, void (*fn)(void *arg), void *arg)
{
	conn->gone = fn;
	conn->gone_arg = arg;
}

void conn_deadline(struct conn *conn, int64_t ms)
{
	if (ms < 0 || conn->end_told || conn->finishing || conn->phase == PHASE_GONE)
		timer_stop(&conn->deadline);
	else
		timer_start(&conn->deadline, ms);
}

/* The owner has taken something: there may be room to read again. */
static void go_on_reading(struct conn *conn)
{
	conn_settle(conn);
	if (conn->reading || !conn_can_read(conn))
		return;
	if (conn->ssl && SSL_pending(conn->ssl))
		conn_soon(conn, TODO_READ);
	conn_update(conn);
}

enum conn_line conn_line(struct conn *conn, size_t max, struct span *line)
{
	go_on_reading(conn);
	size_t len = conn_waiting(conn);
	if (max > conn->input_max)
		max = conn->input_max;
	struct evbuffer_ptr at = {.pos = -1};
	if (conn->scanned < len &&
	    evbuffer_ptr_set(conn->in, &at, conn->scanned, EVBUFFER_PTR_SET) == 0)
		at = evbuffer_search_eol(conn->in, &at, NULL, EVBUFFER_EOL_LF);
	conn->scanned = at.pos < 0 ? len : (size_t)at.pos;
	if (conn->scanned >= max)
		return CONN_LINE_LONG;
	if (at.pos < 0)
		return CONN_LINE_MORE;

	conn->taken = conn->scanned + 1;
	char *p = (char *)evbuffer_pullup(conn->in, (ev_ssize_t)conn->taken);
	if (!p)
		bug("out of memory for a line");
	*line = (struct span){p, conn->scanned};
	conn->scanned = 0;
	if (line->n == 0 || p[line->n - 1] != '\r')
		return CONN_LINE_BARE;
	line->n--;
	return memchr(p, '\r', line->n) ? CONN_LINE_BARE : CONN_LINE;
}

struct span conn_peek(struct conn *conn)
{
	struct evbuffer_iovec first = {0};
	go_on_reading(conn);
	if (evbuffer_peek(conn->in, -1, NULL, &first, 1) < 1)
		return (struct span){"", 0};
	return (struct span){first.iov_base, first.iov_len};
}

void conn_drop(struct conn *conn, size_t n)
{
	conn_settle(conn);
	conn->taken = n < conn_waiting(conn) ? n : conn_waiting(conn);
	conn->scanned -= conn->taken < conn->scanned ? conn->taken : conn->scanned;
	go_on_reading(conn);
}

bool conn_has_input(const struct conn *conn)
{
	return conn_waiting(conn) ||
	       (conn->phase == PHASE_UP && conn->ssl && SSL_pending(conn->ssl));
}

void conn_write(struct conn *conn, const void *p, size_t n)
{
	if (n == 0 || conn->broken || conn->finishing || conn->phase == PHASE_DEAD ||
	    conn->phase == PHASE_GONE)
		return;
	if (evbuffer_add(conn->out, p, n) != 0)
		bug("out of memory for output");
	conn->drain_due = true;
	if (!conn->blocked)
		conn_soon(conn, TODO_DRIVE);
}

size_t conn_unsent(const struct conn *conn)
{
	return evbuffer_get_length(conn->out);
}

void conn_pause(struct conn *conn)
{
	conn->paused = true;
	/* nobody will read what the peer had to say: do not wait for it */
	if (conn->broken && conn->phase == PHASE_UP)
		conn_fail(conn, conn->failure);
	conn_update(conn);
}

void conn_resume(struct conn *conn)
{
	if (!conn->paused)
		return;
	conn->paused = false;
	conn_soon(conn, TODO_INPUT | TODO_END | (conn->ssl ? TODO_READ : 0));
	conn_update(conn);
}

static int may_start_tls(const struct conn *conn, struct why *why)
{
	if (conn->phase != PHASE_UP || conn->eof || conn->broken || conn->finishing)
		return why_set(why, WHY_TEMP, "TLS: the connection is not open");
	if (conn->ssl)
		return why_set(why, WHY_PERM, "TLS is on already");
	if (conn_has_input(conn))
		return why_set(why, WHY_PERM,
		    "%zu bytes came in the clear behind the switch to TLS",
		    conn_waiting(conn));
	return 0;
}

int conn_start_ssl(struct conn *conn, SSL *ssl, bool server, struct why *why)
{
	if (may_start_tls(conn, why) != 0 ||
	    conn_tls_attach(conn, ssl, server, why) != 0) {
		SSL_free(ssl);
		return -1;
	}
	conn_settle(conn);
	conn->clear_left = conn_unsent(conn);
	conn->blocked = false;
	conn->phase = PHASE_CLEARING;
	conn_soon(conn, TODO_DRIVE);
	conn_update(conn);
	return 0;
}

int conn_start_tls(
    struct conn *conn, SSL_CTX *ctx, bool server, const char *host, struct why *why)
{
	SSL *ssl = SSL_new(ctx);
	if (!ssl)
		return why_set(why, WHY_LOCAL, "TLS: no memory for a session");
	if (host && SSL_set_tlsext_host_name(ssl, host) != 1) {
		SSL_free(ssl);
		return why_set(why, WHY_PERM, "TLS: the host name is too long for SNI");
	}
	return conn_start_ssl(conn, ssl, server, why);
}

SSL *conn_ssl(const struct conn *conn)
{
	return conn->ssl;
}

const struct conn_address *conn_peer(const struct conn *conn)
{
	return &conn->peer;
}

static void release(void *arg)
{
	struct conn *conn = arg;
	SSL_free(conn->ssl);
	evbuffer_free(conn->in);
	evbuffer_free(conn->out);
	mem_free(conn->failure);
	if (conn->gone)
		conn->gone(conn->gone_arg);
	mem_free(conn);
}

void conn_close(struct conn *conn)
{
	if (conn->phase == PHASE_GONE)
		return;
	/* an orderly end keeps the TLS session fit for resumption */
	if (conn->ssl && conn->phase == PHASE_UP && !conn->half_closed &&
	    !conn_unsent(conn) && !conn->broken)
		conn_tls_goodbye(conn);
	conn->phase = PHASE_GONE;
	timer_stop(&conn->deadline);
	loop_step_out(conn->loop, &conn->place);
	loop_disown(conn->loop, &conn->orphan);
	if (conn->read_event)
		event_free(conn->read_event);
	if (conn->write_event)
		event_free(conn->write_event);
	conn->read_event = conn->write_event = NULL;
	conn->reading = conn->writing = false;
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	loop_defer(conn->loop, release, conn);
}

static void abandon(void *arg)
{
	conn_close(arg);
}

void conn_finish(struct conn *conn, int64_t ms)
{
	if (conn->phase == PHASE_GONE || conn->finishing)
		return;
	conn->finishing = true;
	conn->discard = DISCARD_MAX;
	loop_adopt(conn->loop, &conn->orphan, abandon, conn);
	timer_start(&conn->deadline, ms);
	conn_soon(conn, TODO_DRIVE);
	conn_update(conn);
}
