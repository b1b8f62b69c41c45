/* SPDX-License-Identifier: MIT
 * Submission fix-up: our Received field first, then what came, in its order
 * and its bytes but for what is removed or replaced, then what was missing.
 * Nothing that a client sent can end a line of ours: its words are filtered
 * here, whatever was checked before.
 */
#include "smtp/fixup.h"
#include "smtp/address.h"
#include "smtp/priority.h"

#include <inttypes.h>
#include <string.h>

#include "relayd/base/conn.h"
#include "relayd/base/random.h"

#define LINE_SOFT 78
#define LINE_HARD 990 /* RFC 5322 2.1.1 allows 998; some room for the fold */
#define HELO_MAX 120
#define WIDE_MAX 40 /* blanks in a row that are kept in a new From: */

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* The name a client gave itself may be anything; only what a host name or an
 * address literal can hold goes in, so it can not look like another clause or
 * close the comment. */
static void add_helo(struct buf *out, struct span helo)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:[]";
	size_t n = helo.n < HELO_MAX ? helo.n : HELO_MAX;
	if (n == 0)
		buf_add_text(out, "unknown");
	for (size_t i = 0; i < n; i++) {
		bool good = memchr(allowed, helo.p[i], sizeof(allowed) - 1) != NULL;
		buf_add_byte(out, good ? helo.p[i] : '?');
	}
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 4.1.3); what came by a Unix
 * socket or the drop folder has no address: "unix:1000" stands without brackets. */
static void add_client(struct buf *out, const char *client)
{
	struct conn_address address;
	if (conn_address_parse(&address, client, 0) < 0)
		buf_add_text(out, client);
	else if (address.addr.ss_family == AF_INET6)
		buf_addf(out, "[IPv6:%s]", client);
	else
		buf_addf(out, "[%s]", client);
}

/* A recipient that could end the clause or the line is left out. */
static bool recipient_is_clean(const char *recipient)
{
	size_t n = strlen(recipient);
	if (n == 0 || n > ADDRESS_MAX || !span_is_utf8((struct span){recipient, n}))
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)recipient[i];
		if (c < 32 || c == 127 || c == '<' || c == '>')
			return false;
	}
	return true;
}

static void add_received(const struct fixup *f, struct buf *out)
{
	buf_add_text(out, "Received: ");
	if (f->client) {
		buf_add_text(out, "from ");
		add_helo(out, f->helo);
		buf_add_text(out, " (");
		add_client(out, f->client);
		buf_add_text(out, ")\r\n\t");
	}
	buf_addf(out, "by %s (relayd)\r\n\twith %s id %s", f->hostname, f->protocol, f->id);
	if (f->recipient && recipient_is_clean(f->recipient))
		buf_addf(out, "\r\n\tfor <%s>", f->recipient);
	buf_add_text(out, ";\r\n\t");
	header_date(out, f->wall_ms);
	buf_add_text(out, "\r\n");
}

/* Where the next piece of S ends: one run of white space and the word behind
 * it, cut where the word alone would fill a line. */
static size_t piece_length(struct span s)
{
	size_t n = 0;
	while (n < s.n && is_wsp(s.p[n]))
		n++;
	while (n < s.n && !is_wsp(s.p[n]) && n < LINE_HARD / 2)
		n++;
	return n;
}

/* A long run of white space could make a line of nothing else: keep its end. */
static struct span cut_wide(struct span s)
{
	size_t n = 0;
	while (n < s.n && is_wsp(s.p[n]))
		n++;
	size_t extra = n > WIDE_MAX ? n - WIDE_MAX : 0;
	return (struct span){s.p + extra, s.n - extra};
}

static void add_clean(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_add_byte(out, header_byte_is_allowed(s.p[i]) ? s.p[i] : ' ');
}

/* "NAME: VALUE", folded in front of white space only, so that unfolding gives
 * VALUE again. */
static void add_folded(struct buf *out, const char *name, struct span value)
{
	struct span rest = span_trim(value);
	buf_addf(out, "%s: ", name);
	size_t column = strlen(name) + 2;
	size_t limit = LINE_HARD; /* no fold before the first word */
	while (rest.n > 0) {
		rest = cut_wide(rest);
		size_t n = piece_length(rest);
		bool space = is_wsp(rest.p[0]);
		if (column + n > (space && limit == LINE_SOFT ? LINE_SOFT : LINE_HARD)) {
			buf_add_text(out, space ? "\r\n" : "\r\n ");
			column = space ? 0 : 1;
		}
		add_clean(out, (struct span){rest.p, n});
		rest = (struct span){rest.p + n, rest.n - n};
		column += n;
		limit = LINE_SOFT;
	}
	buf_add_text(out, "\r\n");
}

static void add_message_id(const struct fixup *f, struct buf *out)
{
	buf_addf(out, "Message-ID: <%s.%016" PRIx64 "@%s>\r\n", f->id, random_u64(),
	    f->domain ? f->domain : f->hostname);
}

static bool is_blank(struct span value)
{
	for (size_t i = 0; i < value.n; i++)
		if (!is_wsp(value.p[i]) && value.p[i] != '\r' && value.p[i] != '\n')
			return false;
	return true;
}

static bool is_removed(const struct header_field *field)
{
	/* Return-Path is the last server's to write (RFC 5321 4.4); the Bcc fields
	 * would show the hidden recipients to all others; the last one is meant for us. */
	static const char *const names[] = {"Return-Path", "Bcc", "Resent-Bcc",
		PRIORITY_FIELD};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_is_nocase(field->name, names[i]))
			return true;
	/* an empty one is as good as none, and is added anew below */
	bool needed = span_is_nocase(field->name, "Date") ||
		      span_is_nocase(field->name, "Message-ID");
	return needed && is_blank(field->value);
}

/* As it came, but for white space before the colon, which is obsolete (RFC 5322 section
 * 4.5): some readers take such a line for no field, and it could not be signed. */
static void add_field(struct buf *out, const struct header_field *field)
{
	buf_add(out, field->name.p, field->name.n);
	buf_add_byte(out, ':');
	buf_add(out, field->value.p, field->value.n);
	buf_add_text(out, "\r\n");
}

void fixup_header(const struct fixup *f, const struct header *header, struct buf *out)
{
	bool from_done = f->from.n == 0;
	bool has_date = false;
	bool has_id = false;
	add_received(f, out);
	for (size_t i = 0; i < header->count; i++) {
		const struct header_field *field = &header->fields[i];
		if (is_removed(field))
			continue;
		has_date |= span_is_nocase(field->name, "Date");
		has_id |= span_is_nocase(field->name, "Message-ID");
		if (f->from.n == 0 || !span_is_nocase(field->name, "From")) {
			add_field(out, field);
		} else if (!from_done) {
			add_folded(out, "From", f->from);
			from_done = true;
		}
	}
	if (!from_done)
		add_folded(out, "From", f->from);
	if (!has_date) {
		buf_add_text(out, "Date: ");
		header_date(out, f->complete_ms);
		buf_add_text(out, "\r\n");
	}
	if (!has_id)
		add_message_id(f, out);
}
