/* SPDX-License-Identifier: MIT */
#include "queue/bounce.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "relayd/base/random.h"

#define ADDRESS_SHOWN 320
#define REPLY_SHOWN 2000
#define HEADER_SHOWN 65536
#define LINE_SHOWN 900 /* longer lines of the original header are cut */
#define FOLD_AT 76

/* ---- pieces ---- */

static void add_date(struct buf *out, int64_t ms)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;
	time_t seconds = (time_t)(ms / 1000);
	gmtime_r(&seconds, &tm);
	buf_addf(out, "%.3s, %02d %.3s %d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday, tm.tm_mday,
	    months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* One line of somebody's text that can be nothing but text. */
static void add_text(struct buf *out, const char *text, size_t max)
{
	text_escape(out, span_text(text), max);
}

/* The same, broken into lines at spaces, each begun with INDENT. */
static void add_folded(struct buf *out, const char *indent, struct span text)
{
	while (text.n) {
		size_t take = text.n;
		if (take > FOLD_AT) {
			take = FOLD_AT;
			while (take > 1 && text.p[take] != ' ')
				take--;
			if (take == 1)
				take = FOLD_AT;
		}
		buf_addf(out, "%s%.*s\r\n", indent, (int)take, text.p);
		text.p += take;
		text.n -= take;
		while (text.n && text.p[0] == ' ')
			text.p++, text.n--;
	}
}

/* A reply as its lines stand, escaped, indented. */
static void add_reply(struct buf *out, const char *reply)
{
	struct span rest = span_text(reply);
	if (rest.n > REPLY_SHOWN)
		rest.n = REPLY_SHOWN;
	while (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end ? (size_t)(end - rest.p) : rest.n;
		struct buf line = {0};
		text_escape(&line, (struct span){rest.p, n}, REPLY_SHOWN);
		add_folded(out, "      ", span_buf(&line));
		buf_free(&line);
		n += end != NULL;
		rest.p += n;
		rest.n -= n;
	}
}

/* "4 hours", "5 days" */
static void add_duration(struct buf *out, int64_t ms)
{
	int64_t minutes = ms / 60000;
	if (minutes >= 2 * 24 * 60)
		buf_addf(out, "%d days", (int)(minutes / (24 * 60)));
	else if (minutes >= 2 * 60)
		buf_addf(out, "%d hours", (int)(minutes / 60));
	else
		buf_addf(out, "%d minutes", (int)(minutes > 0 ? minutes : 1));
}

/* ---- the three parts ---- */

static const char *subject(const struct bounce *b)
{
	return b->kind == BOUNCE_FAILED ? "Your message could not be delivered"
					: "Your message is delayed";
}

static void print_header(const struct bounce *b, const char *boundary, struct buf *out)
{
	buf_addf(out, "From: Mail delivery <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: ", b->from, b->to,
	    subject(b));
	add_date(out, b->now_ms);
	buf_addf(out,
	    "\r\nMessage-ID: <%s.report@%s>\r\n"
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=%s;\r\n\tboundary=\"%s\"\r\n"
	    "\r\n",
	    b->id, b->hostname,
	    b->smtputf8 ? "global-delivery-status" : "delivery-status", boundary);
}

static void print_words_of(const struct bounce_recipient *r, struct buf *out)
{
	struct buf mx = {0};
	buf_add_text(out, "  <");
	if (span_is_utf8(span_text(r->address)))
		text_escape_utf8(out, span_text(r->address), ADDRESS_SHOWN);
	else
		add_text(out, r->address, ADDRESS_SHOWN);
	buf_add_text(out, ">\r\n");
	add_folded(out, "    ", span_text(r->reason));
	add_text(&mx, r->mx, ADDRESS_SHOWN);
	if (r->reply[0] && mx.len)
		buf_addf(out, "    The mail server %s said (status %s):\r\n", buf_text(&mx), r->status);
	else if (r->reply[0])
		buf_addf(out, "    The reason (status %s):\r\n", r->status);
	add_reply(out, r->reply);
	buf_add_text(out, "\r\n");
	buf_free(&mx);
}

static void print_words(const struct bounce *b, struct buf *out)
{
	buf_addf(out, "This is the mail relay at %s.\r\n\r\n", b->hostname);
	if (b->kind == BOUNCE_FAILED) {
		buf_add_text(out, "Your message could not be delivered to the recipients below, and\r\n"
				  "will not be tried again.\r\n\r\n");
	} else {
		buf_add_text(out, "Your message has not been delivered to the recipients below for ");
		add_duration(out, b->now_ms - b->arrived_ms);
		buf_add_text(out, ".\r\nIt will be tried for another ");
		add_duration(out, b->expires_ms - b->now_ms);
		buf_add_text(out, ". You need not send it again.\r\n\r\n");
	}
	for (size_t i = 0; i < b->recipient_count; i++)
		print_words_of(&b->recipients[i], out);
	buf_addf(out, "The header of your message is attached. Its number here is %s.\r\n",
	    b->original_id);
}

/* RFC 3464 section 2.3. */
static void print_status_of(const struct bounce *b, const struct bounce_recipient *r,
    struct buf *out)
{
	bool wide = b->smtputf8 && !span_is_ascii(span_text(r->address));
	buf_addf(out, "\r\nFinal-Recipient: %s; ", wide ? "utf-8" : "rfc822");
	if (wide)
		text_escape_utf8(out, span_text(r->address), ADDRESS_SHOWN);
	else
		add_text(out, r->address, ADDRESS_SHOWN);
	buf_addf(out, "\r\nAction: %s\r\nStatus: %s\r\n",
	    b->kind == BOUNCE_FAILED ? "failed" : "delayed", r->status);
	if (r->mx[0]) {
		buf_add_text(out, "Remote-MTA: dns; ");
		add_text(out, r->mx, ADDRESS_SHOWN);
		buf_add_text(out, "\r\n");
	}
	if (r->reply[0]) {
		/* the escaped form has no line ends, so it is one field */
		buf_add_text(out, r->mx[0] ? "Diagnostic-Code: smtp; " : "Diagnostic-Code: x-relayd; ");
		add_text(out, r->reply, 800);
		buf_add_text(out, "\r\n");
	}
	buf_add_text(out, "Last-Attempt-Date: ");
	add_date(out, r->last_attempt_ms);
	buf_add_text(out, "\r\n");
	if (b->kind == BOUNCE_DELAYED) {
		buf_add_text(out, "Will-Retry-Until: ");
		add_date(out, b->expires_ms);
		buf_add_text(out, "\r\n");
	}
}

static void print_status(const struct bounce *b, struct buf *out)
{
	buf_addf(out, "Reporting-MTA: dns; %s\r\nX-Relayd-Queue-ID: %s\r\nArrival-Date: ", b->hostname,
	    b->original_id);
	add_date(out, b->arrived_ms);
	buf_add_text(out, "\r\n");
	for (size_t i = 0; i < b->recipient_count; i++)
		print_status_of(b, &b->recipients[i], out);
}

/* The original header. Long lines are cut, 8-bit bytes escaped unless the part
 * may hold UTF-8: the report itself goes anywhere. */
static void print_original(const struct bounce *b, struct buf *out)
{
	struct span rest = b->header;
	if (rest.n > HEADER_SHOWN)
		rest.n = HEADER_SHOWN;
	while (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end ? (size_t)(end - rest.p) + 1 : rest.n;
		struct span line = {rest.p, n};
		while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
			line.n--;
		if (line.n && line.p[0] == '\t') {
			buf_add_byte(out, ' ');
			line.p++, line.n--;
		}
		if (b->smtputf8)
			text_escape_utf8(out, line, LINE_SHOWN / 4);
		else
			text_escape(out, line, LINE_SHOWN / 4);
		buf_add_text(out, "\r\n");
		rest.p += n;
		rest.n -= n;
	}
}

static void begin_part(struct buf *out, const char *boundary, const char *type,
    const char *description)
{
	buf_addf(out, "--%s\r\nContent-Type: %s\r\nContent-Description: %s\r\n\r\n", boundary, type,
	    description);
}

void bounce_print(const struct bounce *b, struct buf *out)
{
	char boundary[48];
	/* nobody can have guessed it, so no text of others can hold it */
	snprintf(boundary, sizeof(boundary), "report-%016llx%016llx",
	    (unsigned long long)random_u64(), (unsigned long long)random_u64());
	print_header(b, boundary, out);
	begin_part(out, boundary,
	    b->smtputf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
	    "What happened");
	print_words(b, out);
	buf_add_text(out, "\r\n");
	begin_part(out, boundary,
	    b->smtputf8 ? "message/global-delivery-status" : "message/delivery-status",
	    "Delivery report");
	print_status(b, out);
	buf_add_text(out, "\r\n");
	begin_part(out, boundary,
	    b->smtputf8 ? "message/global-headers" : "text/rfc822-headers",
	    "Header of your message");
	print_original(b, out);
	buf_addf(out, "\r\n--%s--\r\n", boundary);
}
