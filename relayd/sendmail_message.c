/* SPDX-License-Identifier: MIT
 * Reading the message. LF and CRLF end a line, also both in one message (PHP 8
 * writes CRLF around whatever its caller has); CRs in front of a line end belong
 * to it, so that no CR CR LF comes out. Any other CR ends no line in the header,
 * where it would let somebody smuggle fields past PHP's check: it becomes a space
 * there and a line end in the body. A NUL becomes a space: mail can not carry it,
 * and a cron job's output should arrive all the same.
 */
#include "relayd/sendmail_message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "smtp/header.h"

#define PIECE 65536

struct reader {
	struct sendmail_message *message;
	struct sendmail_report *report;
	bool ignore_dots;
	bool in_body;
	bool line_open;  /* a part of the line was taken already */
	bool ended;
	size_t line_len;
	uint64_t total;
	struct buf piece; /* what leads on to the body, with its line ends */
};

static void add_plain(struct reader *r, struct span s)
{
	buf_add(&r->piece, s.p, s.n);
	r->line_len += s.n;
	if (r->line_len > r->message->longest_line)
		r->message->longest_line = r->line_len;
}

/* Of the bytes of a line all but line ends; lone CRs and NULs are replaced. */
static void add_clean(struct reader *r, struct span s)
{
	size_t from = 0;
	if (!memchr(s.p, '\r', s.n) && !memchr(s.p, '\0', s.n)) {
		add_plain(r, s); /* nearly always */
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\r' && s.p[i] != '\0')
			continue;
		add_plain(r, (struct span){s.p + from, i - from});
		from = i + 1;
		if (s.p[i] == '\r' && r->in_body) {
			buf_add(&r->piece, "\r\n", 2);
			r->line_len = 0;
		} else {
			add_plain(r, (struct span){" ", 1});
		}
	}
	add_plain(r, (struct span){s.p + from, s.n - from});
}

static int pass_on(struct reader *r)
{
	struct span s = span_buf(&r->piece);
	struct why why = {0};
	int result = 0;
	if (!r->message->eightbit)
		r->message->eightbit = !span_is_ascii(s);
	r->total += s.n;
	if (r->total > SENDMAIL_SIZE_MAX)
		return sendmail_fail(r->report, EX_DATAERR, "the message is over %u MiB",
		    SENDMAIL_SIZE_MAX >> 20);
	if (!r->in_body)
		buf_add(&r->message->head, s.p, s.n);
	else
		result = sendmail_store_add(&r->message->body, s, &why);
	buf_clear(&r->piece);
	return result < 0 ? sendmail_fail(r->report, EX_TEMPFAIL, "%s", why.text) : EX_OK;
}

/* The header section is there, or there is too much to be one. What header_parse
 * does not take for it is text: echo | sendmail has no header at all. */
static int end_head(struct reader *r, bool whole)
{
	struct buf *head = &r->message->head;
	struct header h;
	struct why why = {0};
	if (header_parse(span_buf(head), &h, &why) < 0)
		return sendmail_fail(r->report, EX_DATAERR, "%s", why.text);
	size_t size = h.size;
	size_t body = h.body_start;
	header_free(&h);
	if (!whole && !memmem(head->data + size, head->len - size, "\r\n", 2))
		return sendmail_fail(r->report, EX_DATAERR, "the header section is over %d KiB",
		    SENDMAIL_HEADER_MAX >> 10);
	r->in_body = true;
	if (sendmail_store_add(&r->message->body,
		(struct span){head->data + body, head->len - body}, &why) < 0)
		return sendmail_fail(r->report, EX_TEMPFAIL, "%s", why.text);
	head->len = size;
	return EX_OK;
}

/* One line without its LF, or (WHOLE not set) a first part of a very long one. */
static int take_line(struct reader *r, struct span line, bool whole)
{
	while (whole && line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (whole && !r->line_open && !r->ignore_dots && span_is(line, ".")) {
		r->ended = true;
		return EX_OK;
	}
	bool empty = line.n == 0 && !r->line_open;
	add_clean(r, line);
	r->line_open = !whole;
	if (whole) {
		buf_add(&r->piece, "\r\n", 2);
		r->line_len = 0;
	}
	if (!r->in_body || r->piece.len >= PIECE) {
		if (pass_on(r) != EX_OK)
			return r->report->status;
	}
	if (r->in_body || (!empty && r->message->head.len <= SENDMAIL_HEADER_MAX))
		return EX_OK;
	return end_head(r, whole && empty);
}

/* Take the lines of IN, and of a line that fills it all a part. Result: bytes used;
 * CRs at the end wait for what follows them. */
static size_t take_lines(struct reader *r, struct span in, bool full)
{
	size_t used = 0;
	const char *lf;
	while (!r->ended && r->report->status == EX_OK &&
	       (lf = memchr(in.p + used, '\n', in.n - used)) != NULL) {
		size_t n = (size_t)(lf - (in.p + used));
		(void)take_line(r, (struct span){in.p + used, n}, true);
		used += n + 1;
	}
	if (used || !full || r->report->status != EX_OK)
		return used;
	size_t n = in.n;
	while (n && in.p[n - 1] == '\r')
		n--;
	n = n ? n : in.n;
	(void)take_line(r, (struct span){in.p, n}, false);
	return n;
}

/* Standard input may be a socket or pipe that its owner has made not to wait; that he
 * shares it with us is why it is left so. */
static ssize_t read_some(int fd, char *to, size_t n)
{
	struct pollfd in = {.fd = fd, .events = POLLIN};
	ssize_t got = read(fd, to, n);
	while (got < 0 && (errno == EINTR || errno == EAGAIN)) {
		if (errno == EAGAIN)
			poll(&in, 1, -1);
		got = read(fd, to, n);
	}
	return got;
}

static int read_all(struct reader *r, int fd)
{
	char *in = mem_alloc(PIECE);
	size_t have = 0;
	while (!r->ended && r->report->status == EX_OK) {
		ssize_t n = read_some(fd, in + have, PIECE - have);
		if (n < 0)
			sendmail_fail(r->report, EX_IOERR, "standard input: %s", strerror(errno));
		if (n <= 0)
			break;
		have += (size_t)n;
		size_t used = take_lines(r, (struct span){in, have}, have == PIECE);
		memmove(in, in + used, have - used);
		have -= used;
	}
	/* a last line without its end */
	if (!r->ended && r->report->status == EX_OK && (have || r->line_open))
		(void)take_line(r, (struct span){in, have}, true);
	mem_free(in);
	return r->report->status;
}

int sendmail_message_read(struct sendmail_message *message, int fd, bool ignore_dots,
    struct sendmail_report *report)
{
	struct reader r = {.message = message, .report = report, .ignore_dots = ignore_dots};
	int status = read_all(&r, fd);
	if (status == EX_OK)
		status = pass_on(&r);
	if (status == EX_OK && !r.in_body)
		status = end_head(&r, true);
	buf_free(&r.piece);
	return status;
}

void sendmail_message_free(struct sendmail_message *message)
{
	buf_free(&message->head);
	sendmail_store_free(&message->body);
}
