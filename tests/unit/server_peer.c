/* SPDX-License-Identifier: MIT */
#include "tests/unit/server_peer.h"

#include <errno.h>
#include <event2/buffer.h>
#include <linux/sockios.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/conn_internal.h"
#include "relayd/base/mem.h"
#include "smtp/server_internal.h"

#define INPUT_MAX 65536
#define SHOWN_TEXT 60 /* bytes of a long text that are noted */
#define QUIET_TURNS 5 /* an event, what it defers, what that defers ... */

static void note(struct peer *p, const char *format, ...) ATTR_PRINTF(2, 3);
static void note(struct peer *p, const char *format, ...)
{
	char line[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	peer_note_text(p);
	buf_addf(&p->events, "%s\n", line);
}

void peer_note_text(struct peer *p)
{
	if (p->text.len == 0)
		return;
	struct span all = span_buf(&p->text);
	buf_add_text(&p->events, "text ");
	if (all.n <= SHOWN_TEXT) {
		text_escape(&p->events, all, all.n);
		buf_add_byte(&p->events, '\n');
	} else {
		text_escape(&p->events, (struct span){all.p, SHOWN_TEXT}, SHOWN_TEXT);
		buf_addf(&p->events, "... %zu\n", all.n);
	}
	buf_clear(&p->text);
}

static bool verdict(struct span local, struct reply *reply)
{
	if (span_is(local, "refuse"))
		reply_set(reply, 550, "5.7.1", "refused by the handler");
	else if (span_is(local, "defer"))
		reply_set(reply, 450, "4.2.0", "deferred by the handler");
	else if (span_is(local, "nobody"))
		reply_set(reply, 530, "5.7.0", "log in first");
	else if (span_is(local, "stranger"))
		reply_set(reply, 554, "5.7.1", "you may not relay");
	else if (span_is(local, "hangup"))
		reply_set(reply, 421, "4.3.2", "the handler hangs up");
	return reply->code < 300;
}

static void check_call(const struct peer *p)
{
	if (p->calling)
		bug("the handler is called from within a call of its owner");
	if (p->closed)
		bug("the handler is called after `closed`");
}

static bool on_mail(void *arg, const struct command_mail *mail, struct reply *reply)
{
	struct peer *p = arg;
	check_call(p);
	struct span a = mail->from.text;
	note(p, "mail <%.*s>%s", (int)a.n, a.p, mail->smtputf8 ? " utf8" : "");
	p->bad_data = span_is(mail->from.local, "nodata");
	p->hang_data = span_is(mail->from.local, "hangdata");
	if (p->shut)
		server_shut(p->server, "4.3.2", "shut by the handler");
	return verdict(mail->from.local, reply);
}

static bool on_rcpt(void *arg, const struct command_rcpt *rcpt, struct reply *reply)
{
	struct peer *p = arg;
	check_call(p);
	note(p, "rcpt <%.*s>%s%.*s", (int)rcpt->to.text.n, rcpt->to.text.p,
	    rcpt->notify & COMMAND_NOTIFY_NEVER ? " never" : "", (int)rcpt->orcpt.n,
	    rcpt->orcpt.p);
	return verdict(rcpt->to.local, reply);
}

static bool on_data(void *arg, struct reply *reply)
{
	struct peer *p = arg;
	check_call(p);
	struct server_info info = server_info(p->server);
	note(p, "data %s %.*s%s", info.protocol, (int)info.helo.n, info.helo.p,
	    info.user ? " user" : "");
	if (p->bad_data)
		reply_set(reply, 451, "4.3.0", "no room");
	if (p->hang_data)
		reply_set(reply, 421, "4.3.0", "the handler hangs up");
	return !p->bad_data && !p->hang_data;
}

static bool on_text(void *arg, struct span piece)
{
	struct peer *p = arg;
	check_call(p);
	if (piece.n == 0 || piece.n > 2 * 32768 + 2)
		bug("a piece of text of no size, or too big");
	buf_add(&p->text, piece.p, piece.n);
	if (p->shut_text)
		server_shut(p->server, "4.3.2", "shut by the handler");
	return !p->pause;
}

void peer_answer(struct peer *p, unsigned code, const char *enhanced, const char *text)
{
	struct reply reply = {0};
	bool before = p->calling;
	reply_set(&reply, code, enhanced, "%s", text);
	p->calling = true;
	server_answer(p->server, &reply);
	p->calling = before;
	reply_free(&reply);
}

static void on_end(void *arg)
{
	struct peer *p = arg;
	check_call(p);
	note(p, "end");
	if (!p->later)
		peer_answer(p, p->answer_code ? p->answer_code : 250, "2.0.0", "queued");
}

static void on_refused(void *arg, struct span from, struct span to, const struct reply *reply)
{
	struct peer *p = arg;
	check_call(p);
	if (p->refusals)
		note(p, "refused %u%s%.*s%s%.*s", reply->code, from.p ? " from " : "", (int)from.n,
		    from.p ? from.p : "", to.p ? " to " : "", (int)to.n, to.p ? to.p : "");
}

static void on_abort(void *arg)
{
	check_call(arg);
	note(arg, "abort");
}

static void on_closed(void *arg)
{
	struct peer *p = arg;
	check_call(p);
	note(p, "closed");
	p->closed++;
	p->server = NULL;
}

static void on_login(void *arg, const struct server_claim *claim)
{
	struct peer *p = arg;
	check_call(p);
	bool right = claim->password ? strcmp(claim->password, "pencil") == 0 : claim->proved;
	note(p, "login %s %s %s", claim->mechanism, claim->user,
	    claim->password ? claim->password : claim->proved ? "(proved)" : "(not proved)");
	bool before = p->calling;
	p->calling = true;
	if (!p->login_later)
		server_login(p->server, right ? SERVER_LOGIN_OK : SERVER_LOGIN_REFUSED);
	p->calling = before;
}

/* RFC 7677 section 3: "pencil" */
static void on_keys(void *arg, const char *user, struct auth_keys *keys)
{
	(void)user;
	check_call(arg);
	*keys = (struct auth_keys){4096, "W22ZaJ0SNY7soEsUEjb6gQ==",
	    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
	    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="};
}

static const struct server_handler handler = {
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data = on_data,
    .text = on_text,
    .end = on_end,
    .refused = on_refused,
    .abort = on_abort,
    .login = on_login,
    .keys = on_keys,
    .closed = on_closed,
};

void peer_init(struct peer *p)
{
	*p = (struct peer){.fd = -1};
	p->limits = (struct conf_limits){
	    .message_size = 100000,
	    .text_line = 2000,
	    .command_line = 4096,
	    .recipients = 100,
	    .errors = 20,
	    .command_timeout = 300 * 1000,
	    .data_timeout = 180 * 1000,
	    .data_total = 3600 * 1000,
	    .session_total = 7200 * 1000,
	};
	p->options.hostname = "relay.example";
}

static void ignore_event(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	(void)conn;
	(void)event;
	(void)why;
	(void)arg;
}

void peer_open(struct peer *p)
{
	int pair[2] = {-1, -1};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
		bug("no socket pair");
	p->fd = pair[1];
	p->options.limits = &p->limits;
	p->loop = loop_new();
	p->conn = conn_accept(p->loop, pair[0], INPUT_MAX, ignore_event, NULL);
	p->calling = true;
	p->server = server_new(p->conn, &p->options, &handler, p);
	p->calling = false;
}

static ssize_t read_some(struct peer *p, char *to, size_t size)
{
	if (!p->ssl)
		return recv(p->fd, to, size, MSG_DONTWAIT);
	ERR_clear_error();
	int n = SSL_read(p->ssl, to, (int)size);
	if (n > 0)
		return n;
	int error = SSL_get_error(p->ssl, n);
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
	return -1;
}

/* Read what the server has sent. Result: whether anything came. */
static bool drain(struct peer *p)
{
	char bytes[8192];
	bool any = false;
	while (p->fd >= 0 && !p->stalled && !p->eof) {
		ssize_t n = read_some(p, bytes, sizeof(bytes));
		if (n < 0 && errno == EAGAIN)
			break;
		any = true;
		p->eof = n <= 0;
		p->reset |= n < 0;
		if (n > 0) {
			p->segments++;
			buf_add(&p->got, bytes, (size_t)n);
		}
	}
	return any;
}

/* Bytes of ours that the server has not taken off its socket. */
static int in_flight(const struct peer *p)
{
	int n = 0;
	if (p->fd >= 0)
		ioctl(p->fd, SIOCOUTQ, &n);
	return n;
}

static void count_held(struct peer *p)
{
	if (!p->server)
		return;
	size_t held = evbuffer_get_length(p->conn->in) + evbuffer_get_length(p->conn->out) +
	    p->server->out.len + p->server->late.len;
	if (held > p->held)
		p->held = held;
}

void peer_settle(struct peer *p)
{
	int quiet = 0;
	while (quiet < QUIET_TURNS) {
		size_t noted = p->events.len + p->text.len;
		int flight = in_flight(p);
		loop_turn(p->loop, false);
		count_held(p);
		bool moved = drain(p) || noted != p->events.len + p->text.len ||
			     flight != in_flight(p);
		quiet = moved ? 0 : quiet + 1;
	}
}

static ssize_t write_some(struct peer *p, const char *bytes, size_t n)
{
	if (!p->ssl)
		return send(p->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	ERR_clear_error();
	int done = SSL_write(p->ssl, bytes, (int)n);
	errno = done <= 0 && SSL_get_error(p->ssl, done) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
	return done > 0 ? done : -1;
}

void peer_send(struct peer *p, const char *bytes, size_t n)
{
	int stuck = 0;
	while (n && stuck < 3) {
		size_t max = p->split && p->split < n ? p->split : n;
		ssize_t done = write_some(p, bytes, max);
		if (done < 0 && errno != EAGAIN)
			return; /* the server is gone: the script will see it */
		stuck = done < 0 ? stuck + 1 : 0; /* it may have stopped reading for good */
		if (done > 0)
			bytes += done, n -= (size_t)done;
		if (n)
			peer_settle(p);
	}
}

void peer_shake(struct peer *p)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(ssl, p->fd);
	for (int i = 0; i < 100 && SSL_connect(ssl) != 1; i++)
		for (int turn = 0; turn < 3; turn++)
			loop_turn(p->loop, false);
	ERR_clear_error();
	if (!SSL_is_init_finished(ssl))
		bug("no TLS handshake");
	p->ssl = ssl;
}

void peer_close(struct peer *p, bool reset)
{
	struct linger linger = {.l_onoff = 1};
	if (reset)
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

void peer_end(struct peer *p)
{
	peer_close(p, false);
	for (int i = 0; i < 1000 && !p->closed; i++)
		loop_turn(p->loop, true); /* deadlines come, too */
	if (p->closed != 1)
		bug("the session does not end");
	loop_free(p->loop);
	SSL_free(p->ssl);
	buf_free(&p->got);
	buf_free(&p->events);
	buf_free(&p->text);
}
