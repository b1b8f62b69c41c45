/* SPDX-License-Identifier: MIT
 * The header section of a message of this machine: recipients out, From in
 * (sendmail_message.h). Pure.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "relayd/base/mem.h"
#include "relayd/sendmail_message.h"
#include "smtp/address.h"
#include "smtp/header.h"

#define ENCODED_BYTES 39 /* of UTF-8 in an encoded word of at most 75 (RFC 2047) */

/* ---- recipients ---- */

/* The envelope is stricter than header fields are. */
static bool is_path(struct span text)
{
	struct address a;
	size_t used = 0;
	struct buf path = {0};
	buf_addf(&path, "<%.*s>", (int)text.n, text.p);
	bool fine = address_parse_path(span_buf(&path), false, &a, &used) && used == path.len &&
	    a.form != ADDRESS_NULL;
	buf_free(&path);
	return fine;
}

static int add_one(struct sendmail_recipients *to, const struct address *a, const char *where,
    struct sendmail_report *report)
{
	struct buf text = {0};
	buf_add(&text, a->text.p, a->text.n);
	if (a->form == ADDRESS_LOCAL && to->domain)
		buf_addf(&text, "@%s", to->domain);
	if (!is_path(span_buf(&text))) {
		sendmail_fail(report, EX_DATAERR, "%s: \"%s\" is not an address that mail can be "
		    "sent to", where, sendmail_shown(span_buf(&text)));
	} else if (to->count == SENDMAIL_RECIPIENTS_MAX) {
		sendmail_fail(report, EX_DATAERR, "more than %d recipients",
		    SENDMAIL_RECIPIENTS_MAX);
	} else {
		if ((to->count & (to->count - 1)) == 0)
			to->list = mem_resize(to->list, to->count ? to->count * 2 : 1,
			    sizeof(char *));
		to->list[to->count++] = buf_take(&text, NULL);
		to->utf8 |= a->utf8;
	}
	buf_free(&text);
	return report->status;
}

int sendmail_recipients_add(struct sendmail_recipients *to, struct span list, const char *where,
    struct sendmail_report *report)
{
	struct mailbox m;
	size_t at = 0;
	enum mailbox_result found;
	while ((found = mailbox_next(list, &at, &m)) == MAILBOX_FOUND) {
		if (m.address.form == ADDRESS_NULL)
			continue;
		if (add_one(to, &m.address, where, report) != EX_OK)
			return report->status;
	}
	if (found == MAILBOX_BAD)
		return sendmail_fail(report, EX_DATAERR, "%s: no address can be read in \"%s\"",
		    where, sendmail_shown(span_trim(list)));
	return EX_OK;
}

int sendmail_recipients_argument(struct sendmail_recipients *to, const char *word,
    struct sendmail_report *report)
{
	size_t before = to->count;
	for (const char *p = word; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			return sendmail_fail(report, EX_DATAERR,
			    "recipient \"%s\": control bytes are not allowed in an address",
			    sendmail_shown(span_text(word)));
	if (sendmail_recipients_add(to, span_text(word), "recipient", report) != EX_OK)
		return report->status;
	if (to->count == before)
		return sendmail_fail(report, EX_DATAERR, "recipient \"%s\": there is no address",
		    sendmail_shown(span_text(word)));
	return EX_OK;
}

static size_t local_length(const char *address)
{
	const char *at = strrchr(address, '@');
	return at ? (size_t)(at - address) : strlen(address);
}

/* 0: the same mailbox, as far as can be told here: a domain has no case (RFC 5321 section
 * 2.4), a local part is its host's matter. */
static int order_of(const char *a, const char *b)
{
	size_t n = local_length(a);
	size_t m = local_length(b);
	int order = memcmp(a, b, n < m ? n : m);
	if (!order)
		order = (n > m) - (n < m);
	return order ? order : strcasecmp(a + n, b + m);
}

/* By address, of the same address by place; an entry is a place in the list. */
static int compare(const void *a, const void *b)
{
	char **one = *(char **const *)a;
	char **two = *(char **const *)b;
	int order = order_of(*one, *two);
	return order ? order : (one > two) - (one < two);
}

void sendmail_recipients_unique(struct sendmail_recipients *to)
{
	char ***order = mem_array(to->count + 1, sizeof(*order));
	for (size_t i = 0; i < to->count; i++)
		order[i] = &to->list[i];
	qsort(order, to->count, sizeof(*order), compare);
	char *last = NULL;
	for (size_t i = 0; i < to->count; i++) {
		if (last && order_of(last, *order[i]) == 0) {
			mem_free(*order[i]);
			*order[i] = NULL;
		} else {
			last = *order[i];
		}
	}
	mem_free(order);
	size_t kept = 0;
	for (size_t i = 0; i < to->count; i++)
		if (to->list[i])
			to->list[kept++] = to->list[i];
	to->count = kept;
}

void sendmail_recipients_free(struct sendmail_recipients *to)
{
	for (size_t i = 0; i < to->count; i++)
		mem_free(to->list[i]);
	mem_free(to->list);
	*to = (struct sendmail_recipients){0};
}

/* -t: a message that was sent on goes to its Resent- recipients alone. */
static int take_recipients(const struct header *h, struct sendmail_recipients *to,
    struct sendmail_report *report)
{
	static const char *const usual[] = {"To", "Cc", "Bcc"};
	static const char *const resent[] = {"Resent-To", "Resent-Cc", "Resent-Bcc"};
	bool again = false;
	for (size_t i = 0; i < 3; i++)
		again |= header_count(h, resent[i]) > 0;
	for (size_t i = 0; i < 3; i++) {
		const char *name = again ? resent[i] : usual[i];
		const struct header_field *f;
		for (size_t nth = 0; nth < h->count; nth++) {
			f = &h->fields[nth];
			if (span_is_nocase(f->name, name) &&
			    sendmail_recipients_add(to, f->value, name, report) != EX_OK)
				return report->status;
		}
	}
	return EX_OK;
}

/* ---- From ---- */

static bool is_control(char c)
{
	return (unsigned char)c < 32 || c == 127;
}

static bool is_plain(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!strchr(" !#$%&'*+-/=?^_`{|}~", name.p[i]) &&
		    !(name.p[i] >= '0' && name.p[i] <= '9') &&
		    !(text_lower_byte(name.p[i]) >= 'a' && text_lower_byte(name.p[i]) <= 'z'))
			return false;
	/* what looks like an encoded word would be decoded */
	return !memmem(name.p, name.n, "=?", 2);
}

static void add_quoted(struct buf *out, struct span name)
{
	buf_add_byte(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_byte(out, '\\');
		buf_add_byte(out, name.p[i]);
	}
	buf_add_byte(out, '"');
}

/* Words of at most 75, cut between characters, one on each line. */
static void add_encoded(struct buf *out, struct span name)
{
	while (name.n) {
		size_t n = name.n < ENCODED_BYTES ? name.n : ENCODED_BYTES;
		while (n < name.n && ((unsigned char)name.p[n] & 0xc0) == 0x80)
			n--;
		buf_add_text(out, "=?UTF-8?B?");
		text_base64(out, (struct span){name.p, n});
		buf_add_text(out, "?=");
		name.p += n, name.n -= n;
		if (name.n)
			buf_add_text(out, "\r\n ");
	}
}

void sendmail_from_print(const struct sendmail_from *from, struct buf *out)
{
	struct buf name = {0};
	for (const char *p = from->name ? from->name : ""; *p && name.len < 500; p++)
		buf_add_byte(&name, is_control(*p) ? ' ' : *p);
	struct span s = span_trim(span_buf(&name));
	while (s.n && !span_is_utf8(s) && name.len == 500)
		s.n--; /* cut within a character */
	if (s.n == 0 || !span_is_utf8(s)) {
		buf_add_text(out, from->address);
		buf_free(&name);
		return;
	}
	if (!span_is_ascii(s) || memmem(s.p, s.n, "=?", 2))
		add_encoded(out, s);
	else if (is_plain(s))
		buf_add(out, s.p, s.n);
	else
		add_quoted(out, s);
	buf_addf(out, " <%s>", from->address);
	buf_free(&name);
}

int sendmail_header_build(struct span head, const struct sendmail_from *from,
    struct sendmail_recipients *to, struct buf *out, struct sendmail_report *report)
{
	struct header h;
	struct why why = {0};
	if (header_parse(head, &h, &why) < 0)
		return sendmail_fail(report, EX_DATAERR, "%s", why.text);
	int status = to ? take_recipients(&h, to, report) : EX_OK;
	for (size_t i = 0; i < h.count && status == EX_OK; i++) {
		const struct header_field *f = &h.fields[i];
		if (!span_is_nocase(f->name, "Bcc") && !span_is_nocase(f->name, "Resent-Bcc"))
			buf_add(out, f->whole.p, f->whole.n);
	}
	if (header_count(&h, "From") == 0) {
		buf_add_text(out, "From: ");
		sendmail_from_print(from, out);
		buf_add_text(out, "\r\n");
	}
	buf_add_text(out, "\r\n");
	header_free(&h);
	return status;
}
