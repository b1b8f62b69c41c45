/* SPDX-License-Identifier: MIT
 * -bs: the caller speaks SMTP itself. Bytes go through as they are; the relay sees
 * a local client and judges it as one. Only a caller that ends its first line with LF
 * alone, as many local programs do, has all of its lines ended with CRLF.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/sendmail_submit.h"

#define PIECE 16384
#define IDLE_MS 3600000 /* the relay's own limits are shorter */
#define LAST_MS 60000   /* for its last replies, when the caller has closed */

/* Told by the first line. With CRLF, a LF alone is the relay's to refuse: it may be somebody
 * else's text within the caller's, and a line end there could make a dot the end of it. */
enum line_ends { ENDS_UNKNOWN, ENDS_CRLF, ENDS_LF };

struct proxy {
	struct sendmail_session session;
	enum line_ends ends; /* of the caller */
	char last;           /* byte of the caller */
	char piece[PIECE];
	char code[3];    /* of the relay's last line */
	size_t line_len; /* of it, so far */
	bool input_open; /* of the caller */
	struct buf unsent; /* of the caller; until it has gone he is not heard further */
	short events;      /* that it waits for */
	bool cut;          /* the relay takes no more */
	bool over;
};

static int write_out(const char *p, size_t n)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
	while (n) {
		ssize_t done = write(STDOUT_FILENO, p, n);
		if (done < 0 && errno == EAGAIN)
			poll(&out, 1, -1); /* it may be the caller's own socket */
		else if (done < 0 && errno != EINTR)
			return -1;
		if (done > 0)
			p += done, n -= (size_t)done;
	}
	return 0;
}

static void note_codes(struct proxy *p, const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p->line_len < sizeof(p->code))
			p->code[p->line_len] = at[i];
		p->line_len = at[i] == '\n' ? 0 : p->line_len + 1;
	}
}

/* Behind "221" (or "421") the relay closes, and where it had not read all yet that is
 * a reset. */
static bool relay_said_goodbye(const struct proxy *p)
{
	return memcmp(p->code + 1, "21", 2) == 0;
}

/* It ended without a word: nothing to wonder at when the caller did so first. */
static bool is_cut(const struct proxy *p)
{
	return !relay_said_goodbye(p) && (p->input_open || p->cut || p->session.link.ssl);
}

/* Send what goes without waiting: the relay may read on only when its own words are read.
 * Where it has closed, what it said last waits to be read. */
static void push(struct proxy *p)
{
	struct why why;
	int64_t n = 1;
	while (p->unsent.len && n > 0) {
		n = sendmail_link_write_some(
		    &p->session.link, span_buf(&p->unsent), &p->events, &why);
		if (n > 0)
			buf_drop(&p->unsent, (size_t)n);
	}
	if (n >= 0)
		return;
	p->cut = true;
	p->input_open = false;
	buf_clear(&p->unsent);
}

/* The caller is done: the relay may still have replies to send. TLS can not be
 * closed halfway, so there the relay is left to close. */
static void end_input(struct proxy *p)
{
	p->input_open = false;
	if (!p->session.link.ssl)
		shutdown(p->session.link.fd, SHUT_WR);
	else
		buf_add_text(&p->unsent, "QUIT\r\n");
}

static void add_with_line_ends(struct proxy *p, struct span in)
{
	struct buf *out = &p->unsent;
	for (size_t i = 0; i < in.n; i++) {
		bool bare = in.p[i] == '\n' && p->last != '\r';
		if (in.p[i] == '\n' && p->ends == ENDS_UNKNOWN)
			p->ends = bare ? ENDS_LF : ENDS_CRLF;
		if (bare && p->ends == ENDS_LF)
			buf_add_byte(out, '\r');
		buf_add_byte(out, in.p[i]);
		p->last = in.p[i];
	}
}

static void from_caller(struct proxy *p)
{
	ssize_t n = read(STDIN_FILENO, p->piece, PIECE);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0)
		sendmail_fail(p->session.report, EX_IOERR, "standard input: %s", strerror(errno));
	if (n > 0)
		add_with_line_ends(p, (struct span){p->piece, (size_t)n});
	else
		end_input(p);
	push(p);
}

static void from_relay(struct proxy *p)
{
	struct why why = {0};
	short events;
	int64_t n = sendmail_link_read_some(&p->session.link, p->piece, PIECE, &events, &why);
	if (n == 0 && events)
		return;
	p->over = n <= 0;
	if (n > 0)
		note_codes(p, p->piece, (size_t)n);
	if (n == 0)
		why_set(&why, WHY_TEMP, "the connection was closed");
	if (n < 0 ? !relay_said_goodbye(p) : n == 0 && is_cut(p))
		sendmail_fail(p->session.report, EX_TEMPFAIL, "the relay: %s", why.text);
	else if (n > 0 && write_out(p->piece, (size_t)n) < 0)
		p->over = true; /* the caller has gone */
}

/* How long neither side may say anything. */
static int64_t patience(const struct proxy *p)
{
	if (p->unsent.len)
		return p->session.config->timeout_ms;
	return p->input_open ? IDLE_MS : LAST_MS;
}

/* FDS: the relay and the caller. False: it is over. */
static bool wait_for_bytes(struct proxy *p, struct pollfd *fds)
{
	bool waiting = sendmail_link_has_input(&p->session.link);
	bool unsent = p->unsent.len > 0;
	fds[0] = (struct pollfd){.fd = p->session.link.fd, .events = POLLIN};
	fds[1] =
	    (struct pollfd){.fd = p->input_open && !unsent ? STDIN_FILENO : -1, .events = POLLIN};
	if (unsent)
		fds[0].events |= p->events;
	int ready = poll(fds, 2, waiting ? 0 : (int)patience(p));
	if (ready < 0 && errno != EINTR)
		return false;
	if (ready <= 0)
		fds[0].revents = fds[1].revents = 0;
	if (waiting)
		fds[0].revents |= POLLIN;
	else if (ready == 0 && unsent)
		sendmail_fail(p->session.report, EX_TEMPFAIL, "the relay: no answer in time");
	return ready != 0 || waiting;
}

static void pass_bytes(struct proxy *p)
{
	struct pollfd fds[2];
	while (!p->over && wait_for_bytes(p, fds)) {
		if (fds[0].revents & ~POLLOUT)
			from_relay(p);
		if (!p->over && fds[0].revents)
			push(p);
		if (!p->over && fds[1].revents && p->input_open)
			from_caller(p);
	}
}

/* The caller waits for a banner; a session that was greeted has had its own. */
static int begin(struct proxy *p)
{
	struct buf banner = {0};
	if (!p->session.greeted)
		return 0;
	buf_addf(&banner, "220 %s ESMTP\r\n", p->session.hostname);
	int result = write_out(banner.data, banner.len);
	buf_free(&banner);
	return result;
}

int sendmail_proxy(const struct sendmail_config *config, const char *hostname,
    struct sendmail_report *report)
{
	struct proxy *p = mem_zero(sizeof(*p));
	p->input_open = true;
	if (sendmail_session_open(&p->session, config, hostname, false, report) != EX_OK) {
		/* in the caller's own language, beside the report on standard error */
		const char *sorry = "421 4.3.2 relayd does not answer, try again later\r\n";
		if (write_out(sorry, strlen(sorry)) < 0)
			sendmail_fail(report, EX_IOERR, "standard output: %s", strerror(errno));
	} else if (begin(p) == 0) {
		pass_bytes(p);
	}
	p->session.greeted = false; /* QUIT was the caller's to say */
	sendmail_session_close(&p->session);
	buf_free(&p->unsent);
	mem_free(p);
	return report->status;
}
