/* SPDX-License-Identifier: MIT
 * A report is built from top to bottom. Every text that somebody else wrote goes
 * through add_text, which can end no line; the boundary is random.
 */
#include "queue/bounce.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "relayd/base/random.h"

#define ADDRESS_SHOWN 320
#define ORIGINAL_SHOWN 600    /* an ORCPT of 500, some of it escaped */
#define ENVID_SHOWN 100
#define MX_SHOWN 255
#define REPLY_SHOWN 2000      /* in words, of one recipient */
#define REPLIES_SHOWN 50      /* recipients whose reply stands in the words as well */
#define DIAGNOSTIC_SHOWN 800
#define HEADER_SHOWN 65536
#define LINE_MAX_BYTES 998
#define FOLD_AT 76
#define OLD_MS (2 * 60 * 1000) /* what was said before is told with its time */

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

/* Somebody's text as a piece of one line: line ends and tabs become spaces, other
 * control bytes \xHH, and so do 8-bit bytes unless WIDE and well-formed UTF-8.
 * A backslash stays, since addresses and headers are to be read back. At most
 * MAX bytes come out, and "..." when that is not all. */
static void add_text(struct buf *out, struct span text, size_t max, bool wide)
{
	struct buf safe = {0};
	size_t n = text.n < max ? text.n : max;
	for (size_t i = 0; i < n;) {
		size_t run = 0;
		while (i + run < n && !memchr("\\\t\r\n", text.p[i + run], 4))
			run++;
		struct span piece = {text.p + i, run};
		if (wide)
			text_escape_utf8(&safe, piece, run);
		else
			text_escape(&safe, piece, run);
		i += run;
		if (i < n)
			buf_add_byte(&safe, text.p[i++] == '\\' ? '\\' : ' ');
	}
	size_t keep = safe.len < max ? safe.len : max;
	while (keep > 0 && keep < safe.len && ((unsigned char)safe.data[keep] & 0xc0) == 0x80)
		keep--; /* not within a character */
	buf_add(out, safe.data, keep);
	if (keep < safe.len || n < text.n)
		buf_add_text(out, "...");
	buf_free(&safe);
}

/* How much of TEXT goes on a line: to the last space that fits, all of it, or
 * what fits when there is no space. */
static size_t line_length(struct span text)
{
	if (text.n <= FOLD_AT)
		return text.n;
	size_t n = FOLD_AT;
	while (n > 1 && text.p[n] != ' ')
		n--;
	if (n > 1)
		return n;
	for (n = FOLD_AT; n > 1 && ((unsigned char)text.p[n] & 0xc0) == 0x80;)
		n--;
	return n;
}

/* One line of text, broken into lines at spaces, each begun with INDENT. */
static void add_folded(struct buf *out, const char *indent, struct span text)
{
	while (text.n) {
		size_t take = line_length(text);
		buf_add_text(out, indent);
		buf_add(out, text.p, take);
		buf_add_text(out, "\r\n");
		text.p += take;
		text.n -= take;
		while (text.n && text.p[0] == ' ')
			text.p++, text.n--;
	}
}

/* A field with somebody's text, folded only where a space is, so that it is
 * read back as it was. */
static void add_field(struct buf *out, const char *name, struct span text)
{
	size_t column = strlen(name);
	buf_add_text(out, name);
	while (text.n) {
		const char *space = memchr(text.p, ' ', text.n);
		size_t word = space ? (size_t)(space - text.p) : text.n;
		if (column + 1 + word > FOLD_AT && column > 1) {
			buf_add_text(out, "\r\n");
			column = 0;
		}
		buf_add_byte(out, ' ');
		buf_add(out, text.p, word);
		column += 1 + word;
		text.p += word;
		text.n -= word;
		while (text.n && text.p[0] == ' ')
			text.p++, text.n--;
	}
	buf_add_text(out, "\r\n");
}

/* A reply as its lines stand, escaped, indented. */
static void add_reply(struct buf *out, const struct bounce_recipient *r, bool wide)
{
	struct span rest = span_text(r->reply);
	struct buf line = {0};
	if (rest.n > REPLY_SHOWN)
		rest.n = REPLY_SHOWN;
	if (r->code)
		buf_addf(&line, "%u ", r->code);
	while (rest.n) {
		add_text(&line, span_cut(&rest, '\n'), REPLY_SHOWN, wide);
		add_folded(out, "      ", span_buf(&line));
		buf_clear(&line);
	}
	buf_free(&line);
}

static void add_unit(struct buf *out, int64_t count, const char *unit)
{
	buf_addf(out, "%d %s%s", (int)count, unit, count == 1 ? "" : "s");
}

/* "4 hours", "5 days" */
static void add_duration(struct buf *out, int64_t ms)
{
	int64_t minutes = ms / 60000;
	if (minutes >= 2 * 24 * 60)
		add_unit(out, minutes / (24 * 60), "day");
	else if (minutes >= 2 * 60)
		add_unit(out, minutes / 60, "hour");
	else
		add_unit(out, minutes > 0 ? minutes : 1, "minute");
}

/* ---- the three parts ---- */

static const struct {
	const char *subject;
	const char *action; /* RFC 3464 section 2.3.3 */
} kinds[] = {
    [BOUNCE_FAILED] = {"Your message could not be delivered", "failed"},
    [BOUNCE_DELAYED] = {"Your message is delayed", "delayed"},
    [BOUNCE_RELAYED] = {"Your message was handed on", "relayed"},
};

static const char *encoding(const struct bounce *b)
{
	return b->smtputf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "";
}

static void print_header(const struct bounce *b, const char *boundary, struct buf *out)
{
	buf_add_text(out, "From: Mail delivery <");
	add_text(out, span_text(b->from), ADDRESS_SHOWN, b->smtputf8);
	buf_add_text(out, ">\r\nTo: <");
	add_text(out, span_text(b->to), ADDRESS_SHOWN, b->smtputf8);
	buf_addf(out, ">\r\nSubject: %s\r\nDate: ", kinds[b->kind].subject);
	add_date(out, b->now_ms);
	buf_addf(out,
	    "\r\nMessage-ID: <%s.report@%s>\r\n"
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=%s;\r\n\tboundary=\"%s\"\r\n%s"
	    "\r\n",
	    b->id, b->hostname, b->smtputf8 ? "global-delivery-status" : "delivery-status", boundary,
	    encoding(b));
}

/* Who said or found what follows, at which stage, and when, if that was some time ago. */
static void print_origin(const struct bounce *b, const struct bounce_recipient *r,
    struct buf *out)
{
	struct buf line = {0};
	bool old = r->last_attempt_ms && b->now_ms - r->last_attempt_ms > OLD_MS;
	struct buf mx = {0};
	add_text(&mx, span_text(r->mx), MX_SHOWN, false);
	if (mx.len && r->answered)
		buf_addf(&line, "The mail server %s said (status %s", buf_text(&mx), r->status);
	else if (mx.len)
		buf_addf(&line, "Delivery to %s failed here (status %s", buf_text(&mx), r->status);
	else
		buf_addf(&line, "The reason (status %s", r->status);
	if (span_text(r->stage).n)
		buf_addf(&line, ", stage %s", r->stage);
	if (old) {
		buf_add_text(&line, ", ");
		add_date(&line, r->last_attempt_ms);
	}
	buf_add_text(&line, "):");
	add_folded(out, "    ", span_buf(&line));
	buf_free(&line);
	buf_free(&mx);
}

static void print_words_of(const struct bounce *b, size_t index, struct buf *out)
{
	const struct bounce_recipient *r = &b->recipients[index];
	buf_add_text(out, "  <");
	add_text(out, span_text(r->address), ADDRESS_SHOWN, b->smtputf8);
	buf_add_text(out, ">\r\n");
	add_folded(out, "    ", span_text(r->reason));
	if (r->reply[0] && index >= REPLIES_SHOWN)
		buf_add_text(out, "    What was said stands in the delivery report.\r\n");
	else if (r->reply[0])
		print_origin(b, r, out);
	if (index < REPLIES_SHOWN)
		add_reply(out, r, b->smtputf8);
	buf_add_text(out, "\r\n");
}

static void print_news(const struct bounce *b, struct buf *out)
{
	switch (b->kind) {
	case BOUNCE_FAILED:
		buf_add_text(out, "Your message could not be delivered to the recipients below, and\r\n"
				  "will not be tried again.\r\n\r\n");
		break;
	case BOUNCE_RELAYED:
		buf_add_text(out, "Your message to the recipients below was taken by the next mail server.\r\n"
				  "That one does not say whether it arrives: you asked to hear of it,\r\n"
				  "and this is all that will be said.\r\n\r\n");
		break;
	case BOUNCE_DELAYED:
		buf_add_text(out, "Your message has not been delivered to the recipients below for ");
		add_duration(out, b->now_ms - b->arrived_ms);
		buf_add_text(out, ".\r\nIt will be tried for another ");
		add_duration(out, b->expires_ms - b->now_ms);
		buf_add_text(out, ". You need not send it again.\r\n\r\n");
		break;
	}
}

static const char *what_is_attached(const struct bounce *b)
{
	if (b->content.n)
		return "Your message is attached. ";
	if (b->header.n)
		return "The header of your message is attached. ";
	return "Your message can not be read any more: nothing of it is attached.\r\n";
}

static void print_words(const struct bounce *b, struct buf *out)
{
	buf_addf(out, "This is the mail relay at %s.\r\n\r\n", b->hostname);
	print_news(b, out);
	for (size_t i = 0; i < b->recipient_count; i++)
		print_words_of(b, i, out);
	buf_addf(out, "%sIts number here is %s.\r\n", what_is_attached(b), b->original_id);
	if (b->too_much)
		buf_add_text(out, "All of it was asked for, but it is too long, or not in the 7-bit form\r\n"
				  "that a report can carry everywhere.\r\n");
}

static void print_diagnostic(const struct bounce *b, const struct bounce_recipient *r,
    struct buf *out)
{
	struct buf text = {0};
	buf_add_text(&text, r->answered ? "smtp; " : "x-relayd; ");
	if (r->code)
		buf_addf(&text, "%u ", r->code);
	add_text(&text, span_text(r->reply), DIAGNOSTIC_SHOWN, b->smtputf8);
	add_field(out, "Diagnostic-Code:", span_buf(&text));
	buf_free(&text);
}

/* RFC 3464 section 2.3. */
static void print_status_of(const struct bounce *b, const struct bounce_recipient *r,
    struct buf *out)
{
	bool wide = b->smtputf8 && !span_is_ascii(span_text(r->address));
	buf_add_text(out, "\r\n");
	if (span_text(r->original).n) {
		buf_add_text(out, "Original-Recipient: ");
		add_text(out, span_text(r->original), ORIGINAL_SHOWN, false);
		buf_add_text(out, "\r\n");
	}
	buf_addf(out, "Final-Recipient: %s; ", wide ? "utf-8" : "rfc822");
	add_text(out, span_text(r->address), ADDRESS_SHOWN, b->smtputf8);
	buf_addf(out, "\r\nAction: %s\r\nStatus: %s\r\n", kinds[b->kind].action, r->status);
	if (r->mx[0] && r->answered) { /* section 2.3.5: the one that has reported something */
		buf_add_text(out, "Remote-MTA: dns; ");
		add_text(out, span_text(r->mx), MX_SHOWN, false);
		buf_add_text(out, "\r\n");
	}
	if (r->reply[0])
		print_diagnostic(b, r, out);
	if (r->last_attempt_ms) { /* section 2.3.7 */
		buf_add_text(out, "Last-Attempt-Date: ");
		add_date(out, r->last_attempt_ms);
		buf_add_text(out, "\r\n");
	}
	if (b->kind == BOUNCE_DELAYED) {
		buf_add_text(out, "Will-Retry-Until: ");
		add_date(out, b->expires_ms);
		buf_add_text(out, "\r\n");
	}
}

static void print_status(const struct bounce *b, struct buf *out)
{
	if (span_text(b->envid).n) {
		buf_add_text(out, "Original-Envelope-Id: ");
		add_text(out, span_text(b->envid), ENVID_SHOWN, false);
		buf_add_text(out, "\r\n");
	}
	buf_addf(out, "Reporting-MTA: dns; %s\r\nX-Relayd-Queue-ID: %s\r\nArrival-Date: ", b->hostname,
	    b->original_id);
	add_date(out, b->arrived_ms);
	buf_add_text(out, "\r\n");
	for (size_t i = 0; i < b->recipient_count; i++)
		print_status_of(b, &b->recipients[i], out);
}

static void begin_part(const struct bounce *b, const char *boundary, const char *type,
    const char *description, struct buf *out)
{
	buf_addf(out, "--%s\r\nContent-Type: %s\r\n%sContent-Description: %s\r\n\r\n", boundary,
	    type, encoding(b), description);
}

/* ---- what goes back ---- */

/* The next line of the original header, without its end. False: there is none. An empty
 * one would end the header. */
static bool next_line(struct span *rest, struct span *line)
{
	*line = (struct span){0};
	while (rest->n && line->n == 0) {
		*line = span_cut(rest, '\n');
		while (line->n && line->p[line->n - 1] == '\r')
			line->n--;
	}
	return line->n > 0;
}

/* Can a part without an encoding hold this line as it is? */
static bool is_plain(struct span line, bool wide)
{
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		if ((c < 32 && c != '\t') || c == 127 || (c > 127 && !wide))
			return false;
	}
	return line.n <= LINE_MAX_BYTES;
}

static bool is_plain_header(struct span header, bool wide)
{
	struct span line;
	bool plain = !wide || span_is_utf8(header);
	while (plain && next_line(&header, &line))
		plain = is_plain(line, wide);
	return plain;
}

/* It is cut behind a line, if it has one. */
static struct span shown_header(const struct bounce *b)
{
	size_t n = HEADER_SHOWN;
	if (b->header.n < n)
		return b->header;
	while (n && b->header.p[n - 1] != '\n')
		n--;
	return (struct span){b->header.p, n ? n : HEADER_SHOWN};
}

/* The original header as it was: the report itself goes anywhere, so what is no plain text
 * is encoded, which RFC 6522 section 4 allows. */
static void print_header_part(const struct bounce *b, const char *boundary, struct buf *out)
{
	static const char description[] = "Header of your message";
	struct span rest = shown_header(b);
	struct span line;
	bool plain = is_plain_header(rest, b->smtputf8);
	if (plain)
		begin_part(b, boundary,
		    b->smtputf8 ? "message/global-headers" : "text/rfc822-headers", description,
		    out);
	else
		buf_addf(out,
		    "--%s\r\nContent-Type: text/rfc822-headers%s\r\n"
		    "Content-Transfer-Encoding: quoted-printable\r\nContent-Description: %s\r\n\r\n",
		    boundary, !span_is_ascii(rest) && span_is_utf8(rest) ? "; charset=utf-8" : "",
		    description);
	while (next_line(&rest, &line)) {
		if (!plain) {
			text_quoted_line(out, line);
			continue;
		}
		buf_add(out, line.p, line.n);
		buf_add_text(out, "\r\n");
	}
}

static void print_returned(const struct bounce *b, const char *boundary, struct buf *out)
{
	if (!b->content.n) {
		print_header_part(b, boundary, out);
		return;
	}
	begin_part(
	    b, boundary, b->smtputf8 ? "message/global" : "message/rfc822", "Your message", out);
	buf_add(out, b->content.p, b->content.n);
}

bool bounce_can_hold(struct span content)
{
	size_t column = 0;
	for (size_t i = 0; i < content.n && column <= LINE_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)content.p[i];
		column = c == '\n' ? 0 : column + (c != '\r');
		if (c > 127 || c == 0)
			return false;
	}
	return content.n > 0 && content.n <= BOUNCE_CONTENT_MAX && column == 0;
}

void bounce_print(const struct bounce *b, struct buf *out)
{
	char boundary[48];
	/* nobody can have guessed it, so no text of others can hold it */
	snprintf(boundary, sizeof(boundary), "report-%016llx%016llx",
	    (unsigned long long)random_u64(), (unsigned long long)random_u64());
	print_header(b, boundary, out);
	begin_part(b, boundary,
	    b->smtputf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
	    "What happened", out);
	print_words(b, out);
	buf_add_text(out, "\r\n");
	begin_part(b, boundary,
	    b->smtputf8 ? "message/global-delivery-status" : "message/delivery-status",
	    "Delivery report", out);
	print_status(b, out);
	buf_add_text(out, "\r\n");
	print_returned(b, boundary, out);
	buf_addf(out, "\r\n--%s--\r\n", boundary);
}
