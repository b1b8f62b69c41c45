/* SPDX-License-Identifier: MIT */
#include "relayd/delist.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "relayd/base/clock.h"
#include "relayd/base/conn.h"
#include "relayd/base/random.h"
#include "smtp/header.h"
#include "smtp/mx.h"

#define TEXT_LINE_MAX 900
#define BOUND "delist "

const struct delist *delist_of(const struct verdict_rules *rules, const struct incident *i)
{
	struct delist_about about = {
	    .provider = i->provider,
	    .rule = i->rule,
	    .reply = i->reply_count ? i->replies[0].text : "",
	    .klass = i->klass,
	};
	return i->provider[0] ? delist_find(rules, &about) : NULL;
}

/* ---- our address ---- */

static const struct conf_source *find_source(const struct conf *conf, struct span name)
{
	for (size_t i = 0; i < conf->source_count; i++)
		if (span_is(name, conf->sources[i].name))
			return &conf->sources[i];
	return NULL;
}

static bool is_address_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
	       c == '.' || c == ':';
}

/* The next address in *TEXT, which moves behind it. */
static bool next_address(const char **text, char address[DELIST_ADDRESS], int *family)
{
	unsigned char bytes[16];
	for (const char *p = *text; *p;) {
		size_t n = 0;
		while (is_address_byte(p[n]))
			n++;
		const char *end = p + n;
		while (n && (p[n - 1] == '.' || p[n - 1] == ':'))
			n--; /* the end of a sentence */
		snprintf(address, DELIST_ADDRESS, "%.*s", n < DELIST_ADDRESS ? (int)n : 0, p);
		bool four = inet_pton(AF_INET, address, bytes) == 1;
		if (four || (memchr(p, ':', n) && inet_pton(AF_INET6, address, bytes) == 1)) {
			*family = four ? AF_INET : AF_INET6;
			*text = end;
			return true;
		}
		p = *end ? end + 1 : end;
	}
	return false;
}

static bool is_same(const char *a, const char *b)
{
	struct conn_address x;
	struct conn_address y;
	char one[CONN_ADDRESS_TEXT];
	char two[CONN_ADDRESS_TEXT];
	return conn_address_parse(&x, a, 0) == 0 && conn_address_parse(&y, b, 0) == 0 &&
	       strcmp(conn_address_text(&x, one), conn_address_text(&y, two)) == 0;
}

static bool is_public(const char *text)
{
	struct conn_address address;
	return conn_address_parse(&address, text, 0) == 0 && !mx_address_is_private(&address);
}

static bool named_by_replies(
    const struct incident *i, const char *ours, char address[DELIST_ADDRESS], int *family)
{
	for (size_t n = 0; ours[0] && n < i->reply_count; n++)
		for (const char *p = i->replies[n].text; next_address(&p, address, family);)
			if (is_same(address, ours))
				return true;
	return false;
}

/* The public address in TEXT that can be meant. Of two, one is theirs, or neither is an
 * address: better none than a stranger's. */
static bool only_public(const char *text, bool six, char address[DELIST_ADDRESS], int *family)
{
	char next[DELIST_ADDRESS];
	int kind;
	bool found = false;
	while (next_address(&text, next, &kind)) {
		if (!is_public(next) || (six && kind != AF_INET6))
			continue;
		if (found && !is_same(next, address))
			return false;
		found = true;
		memcpy(address, next, sizeof(next));
		*family = kind;
	}
	return found;
}

static bool seen_by_replies(const struct incident *i, char address[DELIST_ADDRESS], int *family)
{
	for (size_t n = 0; n < i->reply_count; n++)
		if (only_public(i->replies[n].text, i->family == AF_INET6, address, family))
			return true;
	return false;
}

bool delist_address(
    const struct conf *conf, const struct incident *i, char address[DELIST_ADDRESS], int *family)
{
	const struct conf_source *s = find_source(conf, span_text(i->source));
	const char *four = s && i->family != AF_INET6 ? s->ipv4 : "";
	const char *six = s ? s->ipv6 : "";
	if (named_by_replies(i, four, address, family) || named_by_replies(i, six, address, family))
		return true;
	const char *own = four[0] ? four : six;
	if (!is_public(own) && seen_by_replies(i, address, family))
		return true;
	snprintf(address, DELIST_ADDRESS, "%s", own);
	*family = !own[0] ? 0 : own == four ? AF_INET : AF_INET6;
	return is_public(own);
}

void delist_ptr_name(const char *address, struct buf *name)
{
	unsigned char b[16];
	if (inet_pton(AF_INET, address, b) == 1) {
		buf_addf(name, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
	} else if (inet_pton(AF_INET6, address, b) == 1) {
		for (int i = 15; i >= 0; i--)
			buf_addf(name, "%x.%x.", b[i] & 15u, b[i] >> 4);
		buf_add_text(name, "ip6.arpa");
	}
}

/* ---- facts ---- */

static void add_time(struct buf *out, int64_t steady_ms)
{
	struct tm tm;
	char text[40];
	time_t seconds = (time_t)(clock_shown_ms(steady_ms) / 1000);
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm);
	buf_add_text(out, text);
}

void delist_sender(const struct conf *conf, struct buf *address)
{
	buf_addf(address, "postmaster@%s", conf_own_domain(conf));
}

static void add_contact(struct buf *out, const struct conf *conf)
{
	if (conf->notify.mail[0])
		buf_add_text(out, conf->notify.mail);
	else
		delist_sender(conf, out);
}

static void add_source(struct delist_facts *f, const struct conf *conf, const struct incident *i,
    const char *address, const char *ptr)
{
	const struct conf_source *s = find_source(conf, span_text(i->source));
	buf_add_text(
	    &f->text[DELIST_IP], address[0] ? address : "(which address? see sources.ipv4)");
	buf_add_text(&f->text[DELIST_EHLO], s ? s->hostname : conf->hostname);
	buf_add_text(&f->text[DELIST_PTR], ptr);
}

/* What a peer wrote is escaped: none of it becomes a line of the mail. */
static void add_safe(struct buf *out, const char *text)
{
	text_escape(out, span_text(text), 255);
}

void delist_facts(struct delist_facts *f, const struct conf *conf, const struct delist *entry,
    const struct incident *i, const char *address, const char *ptr, size_t waiting)
{
	*f = (struct delist_facts){0};
	add_source(f, conf, i, address, ptr);
	add_safe(&f->text[DELIST_PROVIDER], i->provider);
	buf_add_text(&f->text[DELIST_LIST], entry->name);
	buf_add_text(&f->text[DELIST_LIST_JA], entry->name_ja[0] ? entry->name_ja : entry->name);
	buf_add_text(&f->text[DELIST_PORTAL], entry->portal);
	buf_add_text(&f->text[DELIST_MAIL], entry->mail);
	if (i->reply_count) {
		buf_addf(&f->text[DELIST_REPLY], "%.900s", i->replies[0].text);
		add_safe(&f->text[DELIST_RECIPIENT], i->replies[0].domain);
	}
	add_safe(&f->text[DELIST_SENDER], i->sender_domain);
	add_time(&f->text[DELIST_FIRST], i->first_ms);
	add_time(&f->text[DELIST_LAST], i->last_ms);
	buf_addf(&f->text[DELIST_MET], "%" PRIu64, i->met);
	buf_addf(&f->text[DELIST_WAITING], "%zu", waiting);
	buf_addf(&f->text[DELIST_REROUTED], "%" PRIu64, i->rerouted);
	buf_addf(&f->text[DELIST_NUMBER], "%u", i->number);
	add_contact(&f->text[DELIST_CONTACT], conf);
	for (size_t n = 0; n < DELIST_NAMES; n++)
		f->values[n] = buf_text(&f->text[n]);
}

void delist_facts_clear(struct delist_facts *f)
{
	for (size_t n = 0; n < DELIST_NAMES; n++)
		buf_free(&f->text[n]);
}

/* ---- the mail ---- */

static bool begins_letter(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* What was filled in may be long: RFC 5321 allows 998 bytes in a line. */
static void add_crlf(struct buf *out, const char *text)
{
	size_t length = 0;
	for (; *text; text++, length++) {
		if (length >= TEXT_LINE_MAX && begins_letter(*text) && *text != '\n') {
			buf_add_text(out, "\r\n");
			length = 0;
		}
		if (*text == '\n') {
			buf_add_byte(out, '\r');
			length = 0;
		}
		buf_add_byte(out, *text);
	}
}

static void write_text(const struct delist_request *r, struct buf *body)
{
	struct buf text = {0};
	const char *const *values = r->facts->values;
	if (r->entry->japanese) {
		delist_fill(&text, delist_text(r->rules, r->entry, DELIST_JAPANESE), values);
		buf_add_text(&text, "\n----------------------------------------\n\n");
	}
	delist_fill(&text, delist_text(r->rules, r->entry, DELIST_ENGLISH), values);
	add_crlf(body, buf_text(&text));
	buf_free(&text);
}

static void write_subject(const struct delist_request *r, struct buf *out)
{
	struct buf subject = {0};
	buf_add_text(&subject, r->subject);
	if (!subject.len)
		delist_fill(&subject, delist_subject(r->rules, r->entry), r->facts->values);
	text_escape(out, span_buf(&subject), 200);
	buf_free(&subject);
}

void delist_write(const struct conf *conf, const struct delist_request *r, struct buf *message)
{
	struct buf body = {0};
	write_text(r, &body);
	buf_add_text(message, "From: ");
	delist_sender(conf, message);
	buf_addf(message, "\r\nReply-To: %s\r\nTo: %s\r\nSubject: ", r->facts->values[DELIST_CONTACT],
	    r->to);
	write_subject(r, message);
	buf_add_text(message, "\r\nDate: ");
	header_date(message, clock_wall_ms());
	buf_addf(message, "\r\nMessage-ID: <delist-%s-%016" PRIx64 "@%s>\r\nMIME-Version: 1.0\r\n"
			  "Content-Type: text/plain; charset=utf-8\r\n",
	    r->facts->values[DELIST_NUMBER], random_u64(), conf_own_domain(conf));
	if (span_is_ascii(span_buf(&body))) {
		buf_add_text(message, "\r\n");
		buf_add(message, body.data, body.len);
	} else {
		buf_add_text(message, "Content-Transfer-Encoding: base64\r\n\r\n");
		text_base64_lines(message, span_buf(&body));
	}
	buf_free(&body);
}

/* ---- by one source ---- */

void delist_bind(struct buf *client, const char *source, int family)
{
	int digit = family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0;
	buf_addf(client, BOUND "%s %d", source, digit);
}

bool delist_bound(const struct conf *conf, const char *client,
    const struct conf_source **source, int *family)
{
	struct span s = span_text(client);
	size_t before = sizeof(BOUND) - 1;
	if (s.n < before + 2 || memcmp(s.p, BOUND, before) != 0 || s.p[s.n - 2] != ' ')
		return false;
	char digit = s.p[s.n - 1];
	*family = digit == '4' ? AF_INET : digit == '6' ? AF_INET6 : 0;
	*source = find_source(conf, (struct span){s.p + before, s.n - before - 2});
	return true;
}
