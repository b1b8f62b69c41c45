/* SPDX-License-Identifier: MIT
 * Which fields of a header section are signed, and whether header and body are
 * such that libopendkim and every verifier read the same out of them. It drops
 * bare CRs, stops at NULs, takes VT and FF for white space and cuts the list of
 * names at 4096 bytes, each time with a signature that looks fine and is not.
 */
#include <string.h>

#include "dkim/internal.h"
#include "relayd/base/why.h"

/* RFC 5322 allows one of most; a verifier must find all oversigned ones. */
#define SAME_NAME_MAX 64
/* Of a name that is not oversigned the last ones will do. */
#define SAME_NAME_SIGNED 8
#define NAME_MAX_BYTES 256
/* libopendkim keeps the names of the signed fields in 4096 bytes. */
#define NAMES_MAX_BYTES 4000
/* A line without end is buffered as a whole by libopendkim. As long as limits.text_line may
 * be, and its CR. */
#define BODY_LINE_MAX ((UINT64_C(8) << 20) + 1)

/* The order is of no importance. Mailing lists and forwarders may add the second
 * half, so these are signed when they are there and not oversigned. */
static const struct {
	const char *name;
	bool oversigned;
} names[] = {
    {"From", true},
    {"Reply-To", true},
    {"To", true},
    {"Cc", true},
    {"Subject", true},
    {"Date", true},
    {"Message-ID", true},
    {"MIME-Version", true},
    {"Content-Type", true},
    {"Content-Transfer-Encoding", true},
    {"Sender", false},
    {"In-Reply-To", false},
    {"References", false},
    {"List-Id", false},
    {"List-Unsubscribe", false},
    {"List-Unsubscribe-Post", false},
    {"List-Post", false},
    {"List-Help", false},
    {"List-Subscribe", false},
    {"List-Owner", false},
    {"List-Archive", false},
    {"Feedback-ID", false},
    {"Resent-From", false},
    {"Resent-Sender", false},
    {"Resent-To", false},
    {"Resent-Cc", false},
    {"Resent-Date", false},
    {"Resent-Message-ID", false},
};
#define NAMES (sizeof(names) / sizeof(names[0]))
_Static_assert(NAMES <= DKIM_FIELD_NAMES, "room for each name in struct dkim_fields");

const char *const dkim_fields_oversigned[] = {"From", "Reply-To", "To", "Cc", "Subject",
    "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    NULL};

struct field {
	struct span name; /* without spaces before the colon */
	struct span text; /* without the final CRLF */
};

static size_t name_find(struct span name)
{
	size_t i = 0;
	while (i < NAMES && !span_is_nocase(name, names[i].name))
		i++;
	return i;
}

/* The length of the first field of S: up to the CRLF that no white space
 * follows. 0: it does not end. */
static size_t field_length(struct span s)
{
	const char *end = s.p + s.n;
	const char *p = s.p;
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if (p == end || (*p != ' ' && *p != '\t'))
			return (size_t)(p - s.p);
	}
	return 0;
}

/* Only CRLF ends a line, and there is nothing that one reader takes for white
 * space and the next one does not. Other control bytes may stay: raw
 * ISO-2022-JP needs its ESC, and all verifiers agree on it. */
static const char *field_fault(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] >= ' ')
			continue;
		switch (s.p[i]) {
		case '\r':
			if (i + 1 == s.n || s.p[i + 1] != '\n')
				return "a CR without LF";
			break;
		case '\n':
			if (i == 0 || s.p[i - 1] != '\r')
				return "a LF without CR";
			break;
		case '\0':
			return "a NUL";
		case '\v':
		case '\f':
			return "a vertical tab or form feed";
		default:
			break;
		}
	}
	return NULL;
}

static int field_refuse(struct span s, struct why *why, const char *fault)
{
	struct buf shown = {0};
	text_escape(&shown, s, 40);
	why_set(why, WHY_PERM, "can not be DKIM-signed: header has %s in \"%s\"", fault,
	    buf_text(&shown));
	buf_free(&shown);
	return -1;
}

static int field_name(struct field *field, struct why *why)
{
	struct span text = field->text;
	const char *colon = memchr(text.p, ':', text.n);
	if (!colon)
		return field_refuse(text, why, "a line without colon");
	size_t n = (size_t)(colon - text.p);
	for (; n && text.p[n - 1] == ' '; n--) /* libopendkim takes spaces, no tabs */
		;
	if (!n)
		return field_refuse(text, why, "a field without name");
	if (n > NAME_MAX_BYTES)
		return field_refuse(text, why, "a field name of over 256 bytes");
	for (size_t i = 0; i < n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~')
			return field_refuse(
			    text, why, "a byte that no field name may have");
	field->name = (struct span){text.p, n};
	return 0;
}

/* Cut the first field off *REST, which is not empty. */
static int field_take(struct span *rest, struct field *field, struct why *why)
{
	size_t n = field_length(*rest);
	if (!n)
		return field_refuse(*rest, why, "no CRLF at its end");
	const char *fault = field_fault((struct span){rest->p, n});
	if (fault)
		return field_refuse((struct span){rest->p, n}, why, fault);
	field->text = (struct span){rest->p, n - 2};
	rest->p += n;
	rest->n -= n;
	return field_name(field, why);
}

/* All fields of an oversigned name must be fed: the verifier takes the last ones,
 * and the one it finds beyond those that were signed breaks the signature. */
static int counts_limit(struct dkim_fields *fields, struct why *why)
{
	size_t bytes = 0;
	for (size_t i = 0; i < NAMES; i++) {
		unsigned *count = &fields->left[i];
		if (names[i].oversigned && *count > SAME_NAME_MAX)
			return why_set(why, WHY_PERM,
			    "can not be DKIM-signed: %u %s fields, at most %d are "
			    "allowed",
			    *count, names[i].name, SAME_NAME_MAX);
		size_t fed = *count;
		if (!names[i].oversigned && fed > SAME_NAME_SIGNED)
			fed = SAME_NAME_SIGNED;
		bytes += fed * (strlen(names[i].name) + 1);
	}
	if (bytes > NAMES_MAX_BYTES)
		return why_set(why, WHY_PERM,
		    "can not be DKIM-signed: the names of its fields need %zu bytes in "
		    "h=, at "
		    "most %d are possible",
		    bytes, NAMES_MAX_BYTES);
	return 0;
}

int dkim_fields_open(struct dkim_fields *fields, struct span section, struct why *why)
{
	*fields = (struct dkim_fields){.section = section};
	while (section.n) {
		struct field field;
		if (field_take(&section, &field, why))
			return -1;
		size_t i = name_find(field.name);
		if (i < NAMES)
			fields->left[i]++;
	}
	if (!fields->left[0])
		return why_set(
		    why, WHY_PERM, "can not be DKIM-signed: header has no From field");
	return counts_limit(fields, why);
}

bool dkim_fields_next(struct dkim_fields *fields, struct span *text)
{
	while (fields->section.n) {
		struct field field;
		if (field_take(&fields->section, &field, NULL))
			return false;
		size_t i = name_find(field.name);
		if (i == NAMES)
			continue;
		unsigned left = fields->left[i]--;
		if (!names[i].oversigned && left > SAME_NAME_SIGNED)
			continue;
		*text = field.text;
		return true;
	}
	return false;
}

static int body_refuse(struct why *why, const char *fault)
{
	return why_set(why, WHY_PERM, "can not be DKIM-signed: body has %s", fault);
}

/* One line, or the piece of it that is there. */
static int body_line(struct dkim_body *body, const char *p, size_t n, struct why *why)
{
	bool ends = p[n - 1] == '\n';
	size_t text = n - ends; /* bytes before the LF */
	if (body->cr && text)
		return body_refuse(why, "a CR without LF");
	const char *cr = memchr(p, '\r', text);
	if (cr && cr != p + text - 1)
		return body_refuse(why, "a CR without LF");
	if (ends && !cr && !(body->cr && !text))
		return body_refuse(why, "a LF without CR");
	body->cr = cr && !ends;
	body->open = !ends;
	body->line = ends ? 0 : body->line + n;
	if (body->line > BODY_LINE_MAX)
		return body_refuse(why, "a line of over 8 MiB");
	return 0;
}

int dkim_body_check(struct dkim_body *body, const char *p, size_t n, struct why *why)
{
	if (n && memchr(p, '\0', n))
		return body_refuse(why, "a NUL");
	while (n) {
		const char *lf = memchr(p, '\n', n);
		size_t line = lf ? (size_t)(lf - p) + 1 : n;
		if (body_line(body, p, line, why))
			return -1;
		p += line;
		n -= line;
	}
	return 0;
}

int dkim_body_end(const struct dkim_body *body, struct why *why)
{
	return body->cr ? body_refuse(why, "a CR without LF") : 0;
}
