/* SPDX-License-Identifier: MIT
 * The stored form of an envelope: version and flags, time, texts with their
 * length in front, the number of recipients, the recipients. Version 2 has behind
 * that what is asked of reports: how much they bring back, the sender's number, and
 * for each recipient when, and its original address. At the end, with a number in
 * front that rises, those later texts that are not empty. Nothing is allocated by a
 * number that was read before the bytes for it are seen.
 */
#include "queue/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "queue/record.h"
#include "relayd/base/mem.h"

#define VERSION_PLAIN 1u
#define VERSION_DSN 2u
#define NOTIFY_OTHERS 7u /* all but NEVER */
#define FLAG_EIGHTBIT 1u
#define FLAG_SMTPUTF8 2u
#define FLAG_REPORT 4u
#define FLAG_URGENT 8u
#define FLAG_BULK 16u
#define FLAG_REQUIRE_TLS 32u
#define FLAG_TLS_OPTIONAL 64u
#define FLAGS_ALL 127u
#define TEXTS 8u
#define LATER 2u /* texts that came later: most messages have none */

static bool is_control(char c)
{
	unsigned char byte = (unsigned char)c;
	return byte < 32 || byte == 127;
}

static bool has_control(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (is_control(s.p[i]))
			return true;
	return false;
}

/* Within a parameter of SMTP a blank would begin another one. */
static bool is_graphic(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 33 || s.p[i] > 126)
			return false;
	return s.n <= ENVELOPE_TEXT_MAX;
}

static bool is_notify(unsigned bits)
{
	return bits <= NOTIFY_OTHERS || bits == ENVELOPE_NOTIFY_NEVER;
}

unsigned envelope_notify(const struct envelope *e, size_t i)
{
	return e->dsn ? e->dsn[i].notify : 0;
}

/* The texts in the order of the stored form. The first two are addresses. */
static void list_texts(struct envelope *e, char ***texts)
{
	char **all[TEXTS] = {&e->sender, &e->sender_was, &e->sender_reason, &e->from_was,
		&e->domain, &e->client, &e->user, &e->message_id};
	memcpy(texts, all, sizeof(all));
}

/* The later ones; their number on disk is their place here and one. */
static void list_later(struct envelope *e, char ***texts)
{
	char **all[LATER] = {&e->entry, &e->script};
	memcpy(texts, all, sizeof(all));
}

/* ---- recipients ---- */

static const char *orcpt_of(const struct envelope *e, size_t i)
{
	const char *orcpt = e->dsn ? e->dsn[i].orcpt : NULL;
	return orcpt ? orcpt : "";
}

/* Is the one at I the same as that at K? 0: yes; else they have an order. */
static int differ(const struct envelope *e, size_t i, size_t k)
{
	int order = strcmp(e->recipients[i], e->recipients[k]);
	if (!order)
		order = strcmp(orcpt_of(e, i), orcpt_of(e, k));
	if (!order)
		order = (int)envelope_notify(e, i) - (int)envelope_notify(e, k);
	return order;
}

/* Places of recipients; of equal ones the first stays. */
static int compare_places(const void *a, const void *b, void *e)
{
	uint32_t i = *(const uint32_t *)a;
	uint32_t k = *(const uint32_t *)b;
	int order = differ(e, i, k);
	return order ? order : (i > k) - (i < k);
}

/* Close the gaps that recipients without address have left. */
static void close_up(struct envelope *e)
{
	size_t kept = 0;
	for (size_t i = 0; i < e->recipient_count; i++) {
		if (!e->recipients[i]) {
			if (e->dsn)
				mem_free(e->dsn[i].orcpt);
			continue;
		}
		if (e->dsn)
			e->dsn[kept] = e->dsn[i];
		e->recipients[kept++] = e->recipients[i];
	}
	e->recipient_count = kept;
}

void envelope_unique(struct envelope *e)
{
	size_t count = e->recipient_count;
	if (count < 2)
		return;
	uint32_t *places = mem_array(count, sizeof(*places));
	bool *twice = mem_array(count, sizeof(*twice));
	for (size_t i = 0; i < count; i++)
		places[i] = (uint32_t)i;
	qsort_r(places, count, sizeof(*places), compare_places, e);
	for (size_t i = 1; i < count; i++)
		twice[places[i]] = differ(e, places[i - 1], places[i]) == 0;
	for (size_t i = 0; i < count; i++)
		if (twice[i]) {
			mem_free(e->recipients[i]);
			e->recipients[i] = NULL;
		}
	close_up(e);
	mem_free(places);
	mem_free(twice);
}

/* ---- writing ---- */

static int check_address(const char *text, const char *what, struct why *why)
{
	struct span s = span_text(text);
	if (s.n > ENVELOPE_TEXT_MAX)
		return why_set(why, WHY_PERM, "%s of %zu bytes, at most %d are possible", what,
		    s.n, ENVELOPE_TEXT_MAX);
	if (has_control(s))
		return why_set(why, WHY_PERM, "%s with a control character", what);
	return 0;
}

static int check_dsn(const struct envelope *e, struct why *why)
{
	if (!is_graphic(span_text(e->envid)) || e->ret > ENVELOPE_RET_HDRS)
		return why_set(why, WHY_PERM, "ENVID or RET that can not be sent");
	for (size_t i = 0; e->dsn && i < e->recipient_count; i++)
		if (!is_notify(e->dsn[i].notify) || !is_graphic(span_text(e->dsn[i].orcpt)))
			return why_set(why, WHY_PERM, "NOTIFY or ORCPT that can not be sent");
	return 0;
}

int envelope_check(const struct envelope *e, struct why *why)
{
	if (e->recipient_count == 0 || e->recipient_count > ENVELOPE_RECIPIENTS_MAX)
		return why_set(why, WHY_PERM, "%zu recipients, expected 1 to %d",
		    e->recipient_count, ENVELOPE_RECIPIENTS_MAX);
	if (check_address(e->sender, "envelope sender", why) != 0)
		return -1;
	for (size_t i = 0; i < e->recipient_count; i++) {
		if (span_text(e->recipients[i]).n == 0)
			return why_set(why, WHY_PERM, "empty recipient");
		if (check_address(e->recipients[i], "recipient", why) != 0)
			return -1;
	}
	return check_dsn(e, why);
}

/* A text for people may be anything: it is cut, and control bytes become '?'. */
static void write_text(struct buf *out, const char *text)
{
	struct span s = span_text(text);
	if (s.n > ENVELOPE_TEXT_MAX)
		s.n = ENVELOPE_TEXT_MAX;
	char size[2] = {(char)(s.n & 0xff), (char)(s.n >> 8)};
	buf_add(out, size, sizeof(size));
	char *to = buf_room(out, s.n);
	for (size_t i = 0; i < s.n; i++)
		to[i] = is_control(s.p[i]) ? '?' : s.p[i];
	out->len += s.n;
}

static bool asks_for_something(const struct envelope *e)
{
	bool asks = e->ret != ENVELOPE_RET_NONE || span_text(e->envid).n > 0;
	for (size_t i = 0; e->dsn && i < e->recipient_count && !asks; i++)
		asks = e->dsn[i].notify || span_text(e->dsn[i].orcpt).n > 0;
	return asks;
}

static void write_dsn(const struct envelope *e, struct buf *out)
{
	buf_add_byte(out, (char)e->ret);
	write_text(out, e->envid);
	for (size_t i = 0; i < e->recipient_count; i++) {
		buf_add_byte(out, (char)envelope_notify(e, i));
		write_text(out, e->dsn ? e->dsn[i].orcpt : NULL);
	}
}

static char flags_of(const struct envelope *e)
{
	return (char)((e->eightbit ? FLAG_EIGHTBIT : 0) | (e->smtputf8 ? FLAG_SMTPUTF8 : 0) |
	    (e->report ? FLAG_REPORT : 0) | (e->require_tls ? FLAG_REQUIRE_TLS : 0) |
	    (e->tls_optional ? FLAG_TLS_OPTIONAL : 0) |
	    (e->priority == CONF_PRIORITY_URGENT ? FLAG_URGENT : 0) |
	    (e->priority == CONF_PRIORITY_BULK ? FLAG_BULK : 0));
}

static void write_later(struct envelope *e, struct buf *out)
{
	char **texts[LATER];
	list_later(e, texts);
	for (size_t i = 0; i < LATER; i++) {
		if (span_text(*texts[i]).n == 0)
			continue;
		buf_add_byte(out, (char)(i + 1));
		write_text(out, *texts[i]);
	}
}

void envelope_write(const struct envelope *e, struct buf *out)
{
	bool dsn = asks_for_something(e);
	struct envelope copy = *e; /* for the lists' sake: nothing is changed */
	char **texts[TEXTS];
	list_texts(&copy, texts);
	buf_add_byte(out, dsn ? VERSION_DSN : VERSION_PLAIN);
	buf_add_byte(out, flags_of(e));
	record_put64(out, (uint64_t)e->arrived_ms);
	for (size_t i = 0; i < TEXTS; i++)
		write_text(out, *texts[i]);
	record_put32(out, (uint32_t)e->recipient_count);
	for (size_t i = 0; i < e->recipient_count; i++)
		write_text(out, e->recipients[i]);
	if (dsn)
		write_dsn(e, out);
	write_later(&copy, out);
}

/* ---- reading ---- */

static int damaged(struct why *why, const char *what)
{
	return why_set(why, WHY_PERM, "the stored envelope is damaged: %s", what);
}

static int read_text(char **to, struct span *s, struct why *why)
{
	if (s->n < 2)
		return damaged(why, "it ends before a text");
	size_t n = (size_t)(unsigned char)s->p[0] | (size_t)(unsigned char)s->p[1] << 8;
	struct span text = {s->p + 2, n};
	if (n > ENVELOPE_TEXT_MAX)
		return damaged(why, "a text is too long");
	if (n > s->n - 2)
		return damaged(why, "it ends within a text");
	if (has_control(text))
		return damaged(why, "a control character in a text");
	*to = span_dup(text);
	*s = (struct span){text.p + n, s->n - 2 - n};
	return 0;
}

static int read_recipients(struct envelope *e, struct span *s, struct why *why)
{
	if (s->n < 4)
		return damaged(why, "it ends before the recipients");
	uint32_t count = record_get32(s->p);
	*s = (struct span){s->p + 4, s->n - 4};
	/* each takes three bytes at least */
	if (count == 0 || count > ENVELOPE_RECIPIENTS_MAX || count > s->n / 3)
		return damaged(why, "the number of recipients can not be");
	e->recipients = mem_array(count, sizeof(char *));
	for (; e->recipient_count < count; e->recipient_count++) {
		char **to = &e->recipients[e->recipient_count];
		if (read_text(to, s, why) != 0)
			return -1;
		if (!**to) {
			e->recipient_count++; /* so that it is freed */
			return damaged(why, "an empty recipient");
		}
	}
	return 0;
}

static int read_byte(unsigned *value, struct span *s, struct why *why)
{
	if (s->n == 0)
		return damaged(why, "it ends within what is asked of reports");
	*value = (unsigned char)s->p[0];
	*s = (struct span){s->p + 1, s->n - 1};
	return 0;
}

static int read_dsn(struct envelope *e, struct span *s, struct why *why)
{
	unsigned ret = 0;
	if (read_byte(&ret, s, why) != 0 || read_text(&e->envid, s, why) != 0)
		return -1;
	if (ret > ENVELOPE_RET_HDRS)
		return damaged(why, "an unknown RET");
	e->ret = (enum envelope_ret)ret;
	e->dsn = mem_array(e->recipient_count, sizeof(*e->dsn));
	for (size_t i = 0; i < e->recipient_count; i++)
		if (read_byte(&e->dsn[i].notify, s, why) != 0 ||
		    read_text(&e->dsn[i].orcpt, s, why) != 0)
			return -1;
	/* an empty one would have been written as version 1 */
	if (check_dsn(e, NULL) != 0 || !asks_for_something(e))
		return damaged(why, "what is asked of reports can not be");
	return 0;
}

static int read_later(struct envelope *e, struct span *s, struct why *why)
{
	char **texts[LATER];
	size_t next = 0;
	list_later(e, texts);
	while (s->n) {
		size_t at = (size_t)(unsigned char)s->p[0] - 1;
		if (at < next || at >= LATER)
			return damaged(why, "bytes are left behind its end");
		*s = (struct span){s->p + 1, s->n - 1};
		if (read_text(texts[at], s, why) != 0)
			return -1;
		if (!**texts[at])
			return damaged(why, "a later text is empty");
		next = at + 1;
	}
	for (size_t i = 0; i < LATER; i++)
		if (!*texts[i])
			*texts[i] = mem_text("");
	return 0;
}

static enum conf_priority priority_of(unsigned flags)
{
	return flags & FLAG_URGENT ? CONF_PRIORITY_URGENT
	       : flags & FLAG_BULK ? CONF_PRIORITY_BULK
				   : CONF_PRIORITY_NORMAL;
}

static int read_fields(struct envelope *e, struct span s, struct why *why)
{
	if (s.n < 10)
		return damaged(why, "it is too short");
	unsigned flags = (unsigned char)s.p[1];
	unsigned version = (unsigned char)s.p[0];
	bool two = (flags & FLAG_URGENT) && (flags & FLAG_BULK);
	if ((version != VERSION_PLAIN && version != VERSION_DSN) || flags > FLAGS_ALL || two)
		return damaged(why, "it has an unknown version");
	e->eightbit = flags & FLAG_EIGHTBIT;
	e->smtputf8 = flags & FLAG_SMTPUTF8;
	e->report = flags & FLAG_REPORT;
	e->require_tls = flags & FLAG_REQUIRE_TLS;
	e->tls_optional = flags & FLAG_TLS_OPTIONAL;
	e->priority = priority_of(flags);
	e->arrived_ms = (int64_t)record_get64(s.p + 2);
	s = (struct span){s.p + 10, s.n - 10};
	char **texts[TEXTS];
	list_texts(e, texts);
	for (size_t i = 0; i < TEXTS; i++)
		if (read_text(texts[i], &s, why) != 0)
			return -1;
	if (read_recipients(e, &s, why) != 0 ||
	    (version == VERSION_DSN && read_dsn(e, &s, why) != 0))
		return -1;
	return read_later(e, &s, why);
}

int envelope_read(struct envelope *e, struct span s, struct why *why)
{
	*e = (struct envelope){0};
	if (read_fields(e, s, why) == 0)
		return 0;
	envelope_free(e);
	return -1;
}

void envelope_add_recipient(struct envelope *e, char *address)
{
	size_t count = e->recipient_count;
	if ((count & (count - 1)) == 0)
		e->recipients = mem_resize(e->recipients, count ? count * 2 : 1, sizeof(char *));
	e->recipients[e->recipient_count++] = address;
}

struct envelope envelope_make(const char *sender, const char *client, const char *recipient)
{
	struct envelope envelope = {
	    .sender = mem_text(sender),
	    .client = mem_text(client),
	    .user = mem_text(""),
	    .recipients = mem_array(1, sizeof(char *)),
	    .recipient_count = 1,
	};
	envelope.recipients[0] = mem_text(recipient);
	return envelope;
}

void envelope_free(struct envelope *e)
{
	char **texts[TEXTS];
	list_texts(e, texts);
	for (size_t i = 0; i < TEXTS; i++)
		mem_free(*texts[i]);
	char **later[LATER];
	list_later(e, later);
	for (size_t i = 0; i < LATER; i++)
		mem_free(*later[i]);
	for (size_t i = 0; i < e->recipient_count; i++) {
		mem_free(e->recipients[i]);
		if (e->dsn)
			mem_free(e->dsn[i].orcpt);
	}
	mem_free(e->recipients);
	mem_free(e->dsn);
	mem_free(e->envid);
	*e = (struct envelope){0};
}
