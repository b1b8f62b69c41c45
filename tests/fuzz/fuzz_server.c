/* SPDX-License-Identifier: MIT
 * A whole session with the server: the client's bytes are the input. It is
 * played twice, sent at once and in pieces; replies, events and messages must
 * be the same. The first bytes choose the handler's manners and the pieces:
 *
 *	0     bits: 1 repair newlines, 2 answer later, 4 pause after each piece
 *	      of text, 8 generous limits, 16 logins
 *	1-4   lengths of the pieces, used in turn (0 to 63: so many and one,
 *	      64 to 255: sixteen times as many)
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "smtp/server.h"

#define HEAD 5
#define QUIET_TURNS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum manners { REPAIR = 1, LATER = 2, PAUSE = 4, GENEROUS = 8, LOGIN = 16 };

struct session {
	unsigned manners;
	struct server *server; /* NULL once it is closed */
	struct conf_limits limits;
	int fd;
	bool eof;
	bool open;   /* MAIL was taken */
	bool data;   /* DATA or BDAT was */
	bool owed;
	bool claimed; /* a verdict on a login is owed */
	bool right;
	bool logged_in;
	bool paused;
	size_t recipients;
	struct buf text;
	struct buf trace;
	struct buf said;
};

static struct loop *loop;

static void expect(bool fine, const char *what)
{
	if (!fine)
		bug(what);
}

static bool on_mail(void *arg, const struct command_mail *mail, struct reply *reply)
{
	struct session *s = arg;
	expect(s->server && !s->open && !s->owed, "MAIL in a transaction");
	expect(mail->from.text.n <= ADDRESS_MAX, "a sender too long");
	buf_addf(&s->trace, "mail %.*s\n", (int)mail->from.text.n, mail->from.text.p);
	s->open = !span_is(mail->from.local, "no");
	s->recipients = 0;
	if (!s->open)
		reply_set(reply, 550, "5.7.1", "no");
	return s->open;
}

static bool on_rcpt(void *arg, const struct command_rcpt *rcpt, struct reply *reply)
{
	struct session *s = arg;
	expect(s->server && s->open && !s->data, "RCPT without MAIL");
	buf_addf(&s->trace, "rcpt %.*s\n", (int)rcpt->to.text.n, rcpt->to.text.p);
	if (span_is(rcpt->to.local, "no") || span_is(rcpt->to.local, "bye")) {
		reply_set(reply, rcpt->to.local.n == 2 ? 450 : 421, "4.2.0", "no");
		return false;
	}
	expect(++s->recipients <= (size_t)s->limits.recipients, "too many recipients");
	return true;
}

static bool on_data(void *arg, struct reply *reply)
{
	struct session *s = arg;
	struct server_info info = server_info(s->server);
	expect(s->open && !s->data && s->recipients, "DATA without recipients");
	expect((info.user != NULL) == s->logged_in, "logged in without, or not with, a verdict");
	buf_addf(&s->trace, "data %s %.*s\n", info.protocol, (int)info.helo.n, info.helo.p);
	buf_clear(&s->text);
	s->data = s->recipients != 2;
	if (!s->data)
		reply_set(reply, 451, "4.3.0", "no");
	return s->data;
}

static bool on_text(void *arg, struct span piece)
{
	struct session *s = arg;
	expect(s->server && s->data && !s->paused, "text out of place");
	expect(piece.n > 0 && piece.n <= 65536 + 2, "a piece of no size, or too big");
	buf_add(&s->text, piece.p, piece.n);
	s->paused = s->manners & PAUSE;
	return !s->paused;
}

static void check_text(struct session *s)
{
	struct span t = span_buf(&s->text);
	expect(t.n <= (size_t)s->limits.message_size + 2, "a message over the limit");
	for (size_t i = 0; i < t.n; i++) {
		bool cr = t.p[i] == '\r' && (i + 1 == t.n || t.p[i + 1] != '\n');
		bool lf = t.p[i] == '\n' && (i == 0 || t.p[i - 1] != '\r');
		expect(!cr && !lf && t.p[i], "a bare newline or a NUL in a message");
	}
}

static void answer(struct session *s)
{
	struct reply reply = {0};
	s->owed = false;
	reply_set(&reply, s->text.len % 8 == 7 ? 451 : 250, "2.0.0", "%zu", s->text.len);
	server_answer(s->server, &reply);
	reply_free(&reply);
}

static void on_end(void *arg)
{
	struct session *s = arg;
	expect(s->server && s->data, "an end without text");
	check_text(s);
	buf_addf(&s->trace, "end %zu ", s->text.len);
	buf_add(&s->trace, s->text.data, s->text.len);
	s->open = s->data = s->paused = false;
	s->owed = true;
	if (!(s->manners & LATER))
		answer(s);
}

static void on_refused(void *arg, struct span from, struct span to, const struct reply *reply)
{
	struct session *s = arg;
	expect(s->server && !s->owed, "a refusal out of place");
	expect(reply->code >= 400, "a refusal that is none");
	buf_addf(&s->trace, "refused %u %.*s %.*s\n", reply->code, (int)from.n, from.p ? from.p : "",
	    (int)to.n, to.p ? to.p : "");
}

static void on_abort(void *arg)
{
	struct session *s = arg;
	expect(s->server && s->open && !s->owed, "an abort without transaction");
	buf_add_text(&s->trace, "abort\n");
	s->open = s->data = false;
}

static void judge(struct session *s)
{
	s->claimed = false;
	s->logged_in = s->logged_in || s->right;
	server_login(s->server, s->right ? SERVER_LOGIN_OK : SERVER_LOGIN_REFUSED);
}

/* A password that begins with p is right; nobody has that of SCRAM. */
static void on_login(void *arg, const struct server_claim *claim)
{
	struct session *s = arg;
	expect(s->server && !s->open && !s->owed && !s->claimed, "a login out of place");
	expect(claim->user[0] && (!claim->password || claim->password[0]), "a login of nobody");
	expect(!claim->proved, "a proof without a password");
	buf_addf(&s->trace, "login %s %s\n", claim->user, claim->password ? claim->password : "");
	s->claimed = true;
	s->right = claim->password && claim->password[0] == 'p';
	if (!(s->manners & LATER))
		judge(s);
}

static void on_keys(void *arg, const char *user, struct auth_keys *keys)
{
	(void)arg;
	(void)user;
	*keys = (struct auth_keys){4096, "W22ZaJ0SNY7soEsUEjb6gQ==",
	    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	    "HxwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEAAAE="};
}

static void on_closed(void *arg)
{
	struct session *s = arg;
	expect(s->server && !s->open, "closed with a transaction, or twice");
	buf_add_text(&s->trace, "closed\n");
	s->server = NULL;
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

static void ignore_event(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	(void)conn;
	(void)event;
	(void)why;
	(void)arg;
}

static void begin(struct session *s, unsigned manners)
{
	int pair[2];
	int64_t scale = manners & GENEROUS ? 100 : 1;
	*s = (struct session){.manners = manners};
	s->limits = (struct conf_limits){
	    .message_size = 60 * scale,
	    .text_line = 30 * scale,
	    .command_line = 50 * scale,
	    .recipients = 3,
	    .errors = 5 * scale,
	    .messages_per_connection = manners & GENEROUS ? 0 : 3,
	    .command_timeout = 1000,
	    .data_timeout = 1000,
	    .data_total = 1000,
	    .session_total = 1000,
	};
	struct server_options options = {
	    .hostname = "relay.example",
	    .limits = &s->limits,
	    .auth = manners & LOGIN,
	    .auth_clear = true,
	    .bare_newline = manners & REPAIR ? CONF_BARE_REPAIR : CONF_BARE_REFUSE,
	};
	expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0, "no socket pair");
	s->fd = pair[1];
	struct conn *conn = conn_accept(loop, pair[0], 16384, ignore_event, NULL);
	s->server = server_new(conn, &options, &handler, s);
}

/* Result: whether anything came. */
static bool drain(struct session *s)
{
	char bytes[4096];
	ssize_t n = s->eof ? -1 : recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	s->eof |= n == 0;
	if (n > 0)
		buf_add(&s->said, bytes, (size_t)n);
	return n > 0;
}

/* What was put off is done once the session has come to rest. */
static bool do_later(struct session *s)
{
	if (!s->server || (!s->paused && !s->owed && !s->claimed))
		return false;
	if (s->claimed) {
		judge(s);
	} else if (s->paused) {
		s->paused = false;
		server_resume(s->server);
	} else {
		answer(s);
	}
	return true;
}

static void settle(struct session *s)
{
	for (int quiet = 0; quiet < QUIET_TURNS;) {
		size_t noted = s->trace.len + s->text.len;
		loop_turn(loop, false);
		bool moved = drain(s) || noted != s->trace.len + s->text.len;
		quiet = moved ? 0 : quiet + 1;
		if (quiet == QUIET_TURNS && do_later(s))
			quiet = 0;
	}
}

static void play(struct session *s, unsigned manners, const uint8_t *lengths, const uint8_t *data,
    size_t size)
{
	begin(s, manners);
	for (size_t at = 0, i = 0; at < size && !s->eof; i++) {
		size_t n = !lengths ? size : lengths[i % 4] < 64 ? lengths[i % 4] + 1u
								 : lengths[i % 4] * 16u;
		if (n > size - at)
			n = size - at;
		ssize_t done = send(s->fd, data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		at += done > 0 ? (size_t)done : 0;
		settle(s);
	}
	shutdown(s->fd, SHUT_WR);
	settle(s);
	expect(!s->server && s->eof, "the session does not end with its client");
	close(s->fd);
}

static void clear(struct session *s)
{
	buf_free(&s->text);
	buf_free(&s->trace);
	buf_free(&s->said);
}

static void check_replies(const struct session *s)
{
	struct span t = span_buf(&s->said);
	size_t start = 0;
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] != '\n')
			continue;
		size_t n = i - start;
		expect(n >= 5 && n < 512 && t.p[i - 1] == '\r', "a reply line of a wrong length");
		expect(strchr("245 3", t.p[start]) && strchr(" -", t.p[start + 3]), "not a reply");
		start = i + 1;
	}
	expect(start == t.n, "half a reply");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session whole;
	struct session split;
	if (size < HEAD)
		return 0;
	clock_fake(1800000000000);
	loop = loop_new();
	play(&whole, data[0], NULL, data + HEAD, size - HEAD);
	play(&split, data[0], data + 1, data + HEAD, size - HEAD);
	/* "r=" in base64: the server's nonce is another one each time */
	if (!span_find_nocase(span_buf(&whole.said), "334 cj"))
		expect(span_equal(span_buf(&whole.said), span_buf(&split.said)), "other replies");
	expect(span_equal(span_buf(&whole.trace), span_buf(&split.trace)), "other events");
	check_replies(&whole);
	clear(&whole);
	clear(&split);
	loop_free(loop);
	return 0;
}
