/* SPDX-License-Identifier: MIT
 * The server's core: what each state reads and how long it may last, events of
 * the connection, replies out, and the end of a session.
 *
 * Commands are taken one after the other while replies gather in `out`; they
 * leave in one write when no more can be taken. Where the handler is called,
 * it may call back (answer, resume, shut): that never takes a command by itself
 * but lets the connection report its input again.
 */
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "smtp/server_internal.h"

/* No further command is read while more output than this waits: a client that
 * never reads its replies costs no more. */
#define OUTPUT_MAX (32 * 1024)

/* So much text must come within limits->data_timeout; an octet now and then is
 * no progress. */
#define PROGRESS_MIN 1024

/* How long the last replies of a session may take to leave. */
#define FINISH_MS 5000

enum phase {
	PHASE_COMMAND, /* each command has its own deadline, set when the last one was done */
	PHASE_TEXT,    /* deadlines for a pause and for the whole text */
	PHASE_NONE,    /* it is us who are waited for */
};

static bool take_command(struct server *s);

static const struct {
	enum phase phase;
	bool in_text;                   /* the whole text's deadline runs */
	bool (*take)(struct server *s); /* false: needs more input */
	const char *order;              /* said to a command out of order */
} states[] = {
    [SERVER_HANDSHAKE] = {PHASE_COMMAND, false, NULL, ""},
    [SERVER_START] = {PHASE_COMMAND, false, take_command, "Send EHLO first"},
    [SERVER_READY] = {PHASE_COMMAND, false, take_command, "Send MAIL first"},
    [SERVER_MAIL] = {PHASE_COMMAND, false, take_command, "A transaction is under way"},
    [SERVER_RCPT] = {PHASE_COMMAND, false, take_command, "A transaction is under way"},
    [SERVER_DATA] = {PHASE_TEXT, true, server_take_text, ""},
    [SERVER_BDAT] = {PHASE_COMMAND, true, take_command, "BDAT has begun; send its LAST or RSET"},
    [SERVER_CHUNK] = {PHASE_TEXT, true, server_take_chunk, ""},
    [SERVER_REFUSED] = {PHASE_TEXT, true, server_take_refused, ""},
    [SERVER_BROKEN] = {PHASE_COMMAND, false, take_command, "This transaction failed; send RSET"},
    [SERVER_AUTH] = {PHASE_COMMAND, false, take_command, ""},
    [SERVER_LOGIN] = {PHASE_NONE, false, NULL, ""},
    [SERVER_OWED] = {PHASE_NONE, false, NULL, ""},
    [SERVER_END] = {PHASE_NONE, false, NULL, ""},
};

const char *server_order_text(const struct server *s)
{
	return states[s->state].order;
}

/* Replies. */

void server_reply(struct server *s, const struct reply *reply)
{
	if (s->state != SERVER_END)
		reply_print(reply, &s->out);
}

void server_say(struct server *s, unsigned code, const char *enhanced, const char *text)
{
	struct reply reply = {0};
	reply_set(&reply, code, enhanced, "%s", text);
	server_reply(s, &reply);
	reply_free(&reply);
}

void server_reject(struct server *s, unsigned code, const char *enhanced, const char *text)
{
	s->errors++;
	server_say(s, code, enhanced, text);
}

void server_refused(struct server *s, struct span from, struct span to,
    const struct reply *reply)
{
	if (s->handler->refused)
		s->handler->refused(s->arg, from, to, reply);
}

void server_refuse(struct server *s, unsigned code, const char *enhanced, const char *text)
{
	struct reply reply = {0};
	reply_set(&reply, code, enhanced, "%s", text);
	server_reply(s, &reply);
	server_refused(s, NOBODY, NOBODY, &reply);
	reply_free(&reply);
}

void server_flush(struct server *s)
{
	if (s->out.len)
		conn_write(s->conn, s->out.data, s->out.len);
	buf_free(&s->out);
}

/* Deadlines. */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* One deadline for whatever ends first. While the handler holds the text back
 * only the session's own runs; while it owes an answer none does, since a
 * client that is cut then would send the message again. */
static void arm(struct server *s)
{
	int64_t until = s->session_end;
	if (states[s->state].phase == PHASE_NONE) {
		conn_deadline(s->conn, -1);
		return;
	}
	if (!s->paused)
		until = earlier(until, s->phase_end);
	if (!s->paused && s->text_end)
		until = earlier(until, s->text_end);
	int64_t left = until - clock_mono_ms();
	conn_deadline(s->conn, left > 0 ? left : 0);
}

void server_progress(struct server *s, size_t n)
{
	s->progress += n;
	if (s->progress >= PROGRESS_MIN) {
		s->progress = 0;
		s->phase_end = clock_mono_ms() + s->options.limits->data_timeout;
	}
	arm(s);
}

/* The end. */

/* Over, when the replies have left (DROP: at once). The handler hears of it in
 * a later turn: a deadline of nothing brings CONN_EXPIRED, unless the connection
 * ends by itself before. */
static void end(struct server *s, bool drop)
{
	if (s->state == SERVER_END)
		return;
	if (!drop)
		server_flush(s);
	s->state = SERVER_END;
	s->drop = drop;
	conn_deadline(s->conn, 0);
}

/* Called from the event alone and last, when nothing else of a session is on
 * the stack. */
static void bury(struct server *s)
{
	if (s->drop)
		conn_close(s->conn);
	else
		conn_finish(s->conn, FINISH_MS);
	server_forget(s);
	s->handler->closed(s->arg);
	server_auth_forget(s);
	mem_free(s->helo);
	buf_free(&s->out);
	buf_free(&s->late);
	mem_free(s);
}

void server_forget(struct server *s)
{
	bool open = s->open;
	s->open = false;
	s->utf8 = false;
	s->crowded = false;
	s->recipients = 0;
	if (open)
		s->handler->abort(s->arg);
}

void server_enter(struct server *s, enum server_state next)
{
	const struct conf_limits *limits = s->options.limits;
	int64_t now = clock_mono_ms();
	if (s->state == SERVER_END)
		return;
	if (next == SERVER_END) {
		end(s, false);
		return;
	}
	s->state = next;
	if (next == SERVER_OWED || next == SERVER_LOGIN)
		conn_pause(s->conn); /* until server_answer, server_login */
	s->progress = 0;
	s->phase_end = now + (states[next].phase == PHASE_TEXT ? limits->data_timeout
							       : limits->command_timeout);
	if (!states[next].in_text)
		s->text_end = 0;
	else if (!s->text_end)
		s->text_end = now + limits->data_total;
	arm(s);
}

/* Input. */

static void check_errors(struct server *s)
{
	if (s->state == SERVER_END || s->errors < (uint64_t)s->options.limits->errors)
		return;
	server_refuse(s, 421, "4.7.0", "Too many errors");
	end(s, false);
}

static enum server_state too_long(struct server *s)
{
	if (s->state == SERVER_AUTH)
		return server_auth_too_long(s);
	server_reject(s, 500, "5.5.2", "Command line too long");
	return s->state;
}

/* Drop the rest of an over-long line. Only CRLF ends it: what stands behind a
 * lone LF in it must not be run as a command. */
static bool skip_line(struct server *s)
{
	struct span in = conn_peek(s->conn);
	size_t n = 0;
	bool ended = false;
	while (n < in.n && !ended) {
		ended = s->skipped_cr && in.p[n] == '\n';
		s->skipped_cr = in.p[n++] == '\r';
	}
	conn_drop(s->conn, n);
	if (ended) {
		s->skipping = false;
		server_enter(s, too_long(s));
	}
	return n > 0;
}

/* A client may log in within one line, which is longer than other commands. */
static size_t line_max(const struct server *s)
{
	size_t max = (size_t)s->options.limits->command_line;
	bool login = s->state == SERVER_AUTH || server_offers_auth(s);
	return login && max < AUTH_LINE_MAX ? AUTH_LINE_MAX : max;
}

static enum server_state run_line(struct server *s, struct span line)
{
	if (s->state == SERVER_AUTH)
		return server_auth_line(s, line);
	if (line.n + 2 > (size_t)s->options.limits->command_line &&
	    !span_starts_nocase(line, "AUTH "))
		return too_long(s);
	return server_command(s, line);
}

static bool take_command(struct server *s)
{
	struct span line;
	if (s->skipping)
		return skip_line(s);
	switch (conn_line(s->conn, line_max(s), &line)) {
	case CONN_LINE:
		server_enter(s, run_line(s, line));
		return true;
	case CONN_LINE_BARE:
		/* where it ends is a matter of opinion, and what stands behind the LF may
		 * come from somebody else than the client: none of it is run */
		server_refuse(s, 500, "5.5.2", "Commands end with CRLF and hold no other CR or LF");
		server_enter(s, SERVER_END);
		return true;
	case CONN_LINE_LONG:
		s->skipping = true;
		return true;
	case CONN_LINE_MORE:
		return false;
	}
	return false;
}

static bool is_blocked(const struct server *s)
{
	return conn_unsent(s->conn) + s->out.len > OUTPUT_MAX;
}

static bool step(struct server *s)
{
	if (!states[s->state].take || s->paused || is_blocked(s))
		return false;
	bool more = states[s->state].take(s);
	check_errors(s);
	return more;
}

static void run(struct server *s)
{
	while (step(s))
		;
	if (s->state != SERVER_END)
		server_flush(s);
}

/* Events. */

static void say_banner(struct server *s)
{
	struct reply reply = {0};
	reply_set(&reply, 220, NULL, "%s ESMTP", s->options.hostname);
	server_reply(s, &reply);
	reply_free(&reply);
}

static void secured(struct server *s)
{
	if (s->options.tls_now) /* behind STARTTLS there is no second banner */
		say_banner(s);
	server_enter(s, SERVER_START);
	run(s);
}

static void expired(struct server *s)
{
	bool old = clock_mono_ms() >= s->session_end;
	const char *text = old ? "The session has lasted too long" : "Timeout";
	if (s->open)
		server_refuse(s, 421, "4.4.2", text);
	else
		server_say(s, 421, "4.4.2", text);
	end(s, s->state == SERVER_HANDSHAKE);
}

static void handle(struct server *s, enum conn_event event)
{
	switch (event) {
	case CONN_OPEN: /* outgoing only */
		break;
	case CONN_SECURE:
		secured(s);
		break;
	case CONN_INPUT:
	case CONN_DRAINED:
		run(s);
		break;
	case CONN_EXPIRED:
		expired(s);
		break;
	case CONN_CLOSED:
	case CONN_FAILED:
		end(s, true);
		break;
	}
}

/* A client that has closed one direction only still gets its answer: while it
 * is owed the connection is paused, and CLOSED comes behind all that was sent. */
static void on_conn(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct server *s = arg;
	bool over = s->state == SERVER_END;
	(void)conn;
	(void)why;
	if (!over)
		handle(s, event);
	if (event == CONN_CLOSED || event == CONN_FAILED || (over && event == CONN_EXPIRED))
		bury(s);
}

/* What is called from outside. */

struct server *server_new(struct conn *conn, const struct server_options *options,
    const struct server_handler *handler, void *arg)
{
	struct server *s = mem_zero(sizeof(*s));
	s->conn = conn;
	s->options = *options;
	s->handler = handler;
	s->arg = arg;
	s->session_end = clock_mono_ms() + options->limits->session_total;
	conn_set_handler(conn, on_conn, s);
	if (!options->tls_now) {
		say_banner(s);
		server_flush(s);
		server_enter(s, SERVER_START);
	} else if (conn_start_tls(conn, options->tls, true, NULL, NULL) == 0) {
		server_enter(s, SERVER_HANDSHAKE);
	} else {
		end(s, true);
	}
	return s;
}

static const char *protocol_name(bool utf8, bool esmtp, bool tls, bool auth)
{
	static const char *const names[2][2][2] = {
	    {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
	    {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
	};
	return esmtp ? names[utf8][tls][auth] : "SMTP";
}

struct server_info server_info(const struct server *s)
{
	struct server_info info = {
	    .helo = span_text(s->helo),
	    .esmtp = s->esmtp,
	    .tls = conn_ssl(s->conn) != NULL,
	    .ssl = conn_ssl(s->conn),
	    .utf8 = s->utf8,
	    .user = s->user,
	};
	info.protocol = protocol_name(info.utf8, info.esmtp, info.tls, info.user != NULL);
	return info;
}

void server_answer(struct server *s, const struct reply *reply)
{
	if (s->state != SERVER_OWED) /* nobody waits for it */
		return;
	server_reply(s, reply);
	if (reply->code < 300)
		s->errors = 0;
	buf_add(&s->out, s->late.data, s->late.len);
	if (s->late.len || reply->code == 421) {
		end(s, false);
		return;
	}
	server_enter(s, SERVER_READY);
	/* replies to what waits behind the text travel in the same segment */
	if (!conn_has_input(s->conn))
		server_flush(s);
	conn_resume(s->conn);
}

void server_pause(struct server *s)
{
	if (s->state == SERVER_END)
		return;
	s->paused = true;
	s->paused_at = clock_mono_ms();
	conn_pause(s->conn);
	arm(s);
}

void server_resume(struct server *s)
{
	if (!s->paused || s->state == SERVER_END)
		return;
	int64_t lost = clock_mono_ms() - s->paused_at;
	s->paused = false;
	s->phase_end += lost;
	s->text_end += lost;
	conn_resume(s->conn);
	arm(s);
}

void server_shut(struct server *s, const char *enhanced, const char *reason)
{
	struct reply reply = {0};
	reply_set(&reply, 421, enhanced, "%s", reason);
	if (s->state == SERVER_OWED) {
		buf_clear(&s->late);
		reply_print(&reply, &s->late);
	} else {
		server_reply(s, &reply);
		end(s, s->state == SERVER_HANDSHAKE);
	}
	reply_free(&reply);
}
