/* SPDX-License-Identifier: MIT
 * Host names, mail addresses, names, patterns, paths and dates. Addresses and
 * networks are in address.c.
 */
#include "conf/syntax.h"

#include <idn2.h>
#include <string.h>
#include <sys/un.h>

#include "relayd/base/mem.h"

#define TEXT_MAX 4096 /* of any text in the file */
#define NAME_MAX_DNS 253
#define LABEL_MAX 63
#define LOCAL_MAX 64 /* RFC 5321 4.5.3.1.1 */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter_digit(char c)
{
	return is_digit(c) || (text_lower_byte(c) >= 'a' && text_lower_byte(c) <= 'z');
}

int syntax_clean(struct span text, struct why *why)
{
	if (text.n > TEXT_MAX)
		return why_set(why, WHY_PERM, "is %zu bytes long, expected at most %d",
		    text.n, TEXT_MAX);
	if (!span_is_utf8(text))
		return why_set(why, WHY_PERM, "is not valid UTF-8");
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		/* U+0080..U+009F are C2 80..C2 9F */
		bool c1 = c == 0xc2 && (unsigned char)text.p[i + 1] < 0xa0;
		if (c < 0x20 || c == 0x7f || c1)
			return why_set(why, WHY_PERM,
			    "holds a control character at byte %zu, expected a line of text",
			    i + 1);
	}
	return 0;
}

static int parse_path(struct span text, struct buf *out, struct why *why)
{
	if (text.p[0] != '/')
		return why_set(why, WHY_PERM, "expected an absolute path (\"/...\")");
	buf_add(out, text.p, text.n);
	return 0;
}

static int parse_socket(struct span text, struct buf *out, struct why *why)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	if (text.n > max)
		return why_set(why, WHY_PERM,
		    "is %zu bytes long, the path of a Unix socket has at most %zu",
		    text.n, max);
	return parse_path(text, out, why);
}

/* One label of letters, digits and hyphens. */
static int check_label(struct span label, struct why *why)
{
	if (label.n == 0)
		return why_set(
		    why, WHY_PERM, "has a dot too many, expected \"example.org\"");
	if (label.n > LABEL_MAX)
		return why_set(why, WHY_PERM,
		    "has a part of %zu characters between dots, expected at most %d",
		    label.n, LABEL_MAX);
	for (size_t i = 0; i < label.n; i++)
		if (!is_letter_digit(label.p[i]) && label.p[i] != '-')
			return why_set(why, WHY_PERM,
			    "is not a host name, expected letters, digits, hyphens and dots");
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return why_set(why, WHY_PERM,
		    "has a hyphen beside a dot or at an end, which no host name has");
	return 0;
}

/* Letters, digits and hyphens between dots; LAST is the last label. */
static int check_labels(struct span name, struct span *last, struct why *why)
{
	if (name.n > NAME_MAX_DNS)
		return why_set(why, WHY_PERM,
		    "is %zu characters long, expected at most %d", name.n, NAME_MAX_DNS);
	for (;;) {
		const char *dot = name.n ? memchr(name.p, '.', name.n) : NULL;
		struct span label = {name.p, dot ? (size_t)(dot - name.p) : name.n};
		if (check_label(label, why) < 0)
			return -1;
		*last = label;
		if (!dot)
			return 0;
		name.p += label.n + 1;
		name.n -= label.n + 1;
	}
}

static int check_host(struct span name, struct why *why)
{
	struct span last;
	uint64_t number;

	if (check_labels(name, &last, why) < 0)
		return -1;
	if (span_number(last, UINT64_MAX, &number))
		return why_set(why, WHY_PERM,
		    "ends in a number, expected a host name like \"relay.example.org\"");
	return 0;
}

/* U-labels become A-labels, all becomes lower case. */
static int parse_host(struct span text, struct buf *out, struct why *why)
{
	if (text.n > 4 * NAME_MAX_DNS)
		return why_set(why, WHY_PERM, "is too long for a host name");
	if (span_is_ascii(text)) {
		if (check_host(text, why) < 0)
			return -1;
		buf_add(out, text.p, text.n);
		text_lower(out->data + out->len - text.n, text.n);
		return 0;
	}
	char *name = span_dup(text);
	uint8_t *ascii = NULL;
	int status = idn2_lookup_u8(
	    (const uint8_t *)name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	mem_free(name);
	if (status != IDN2_OK)
		return why_set(why, WHY_PERM, "is not an international host name (%s)",
		    idn2_strerror(status));
	struct span result = span_text((const char *)ascii);
	int good = check_host(result, why);
	if (good == 0) {
		buf_add(out, result.p, result.n);
		text_lower(out->data + out->len - result.n, result.n);
	}
	idn2_free(ascii);
	return good;
}

/* RFC 5322 atext */
static bool is_atext(char c)
{
	return is_letter_digit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_local_part(struct span local)
{
	if (local.n == 0 || local.n > LOCAL_MAX || local.p[0] == '.' ||
	    local.p[local.n - 1] == '.')
		return false;
	for (size_t i = 0; i < local.n; i++) {
		bool dot = local.p[i] == '.' && local.p[i - 1] != '.';
		if (!dot && !is_atext(local.p[i]))
			return false;
	}
	return true;
}

static int parse_mail(struct span text, struct buf *out, struct why *why)
{
	const char *at = memrchr(text.p, '@', text.n);
	if (!at)
		return why_set(why, WHY_PERM,
		    "has no @, expected an address like \"bounce@example.org\"");
	struct span local = {text.p, (size_t)(at - text.p)};
	if (!is_local_part(local))
		return why_set(why, WHY_PERM,
		    "expected at most %d letters, digits, dots and hyphens before the @, without "
		    "quotes and spaces",
		    LOCAL_MAX);
	struct span domain = {at + 1, text.n - local.n - 1};
	if (domain.n == 0)
		return why_set(why, WHY_PERM, "has no domain behind the @");
	size_t before = out->len;
	buf_add(out, local.p, local.n);
	buf_add_byte(out, '@');
	if (parse_host(domain, out, why) < 0) {
		out->len = before;
		return why_prefix(why, "the domain");
	}
	return 0;
}

static int parse_name(struct span text, struct buf *out, struct why *why)
{
	bool good = text.n <= LABEL_MAX && is_letter_digit(text.p[0]);
	for (size_t i = 0; good && i < text.n; i++)
		good = is_letter_digit(text.p[i]) || strchr("-_.", text.p[i]);
	if (!good)
		return why_set(why, WHY_PERM,
		    "expected up to %d letters, digits, \"-\", \"_\" and \".\", a letter "
		    "or digit first",
		    LABEL_MAX);
	buf_add(out, text.p, text.n);
	return 0;
}

/* A selector may have dots and end in a number ("s1", "2026"). */
static int parse_label(struct span text, struct buf *out, struct why *why)
{
	struct span last;
	if (check_labels(text, &last, why) < 0)
		return -1;
	buf_add(out, text.p, text.n);
	text_lower(out->data + out->len - text.n, text.n);
	return 0;
}

static int parse_pattern(struct span text, struct buf *out, struct why *why)
{
	size_t before = out->len;
	if (span_is(text, "*")) {
		buf_add_byte(out, '*');
		return 0;
	}
	struct span name = text;
	if (span_starts_nocase(name, "*.")) {
		buf_add_text(out, "*.");
		name = (struct span){text.p + 2, text.n - 2};
	}
	if (parse_host(name, out, why) < 0) {
		out->len = before;
		return why_set(why, WHY_PERM,
		    "expected \"*\", \"example.org\" or \"*.example.org\"");
	}
	return 0;
}

static int parse_date(struct span text, struct buf *out, struct why *why)
{
	static const unsigned char month_days[] = {
	    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	uint64_t year, month, day;

	bool good = text.n == 10 && text.p[4] == '-' && text.p[7] == '-' &&
		    span_number((struct span){text.p, 4}, 9999, &year) &&
		    span_number((struct span){text.p + 5, 2}, 12, &month) &&
		    span_number((struct span){text.p + 8, 2}, 31, &day);
	if (!good || year < 1970 || month < 1 || day < 1)
		return why_set(why, WHY_PERM, "expected a date like \"2026-11-01\"");
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (day > (uint64_t)month_days[month - 1] + (leap && month == 2))
		return why_set(why, WHY_PERM, "that month has no day %d", (int)day);
	buf_add(out, text.p, text.n);
	return 0;
}

const struct syntax syntax_path = {"path", parse_path};
const struct syntax syntax_socket = {"path", parse_socket};
const struct syntax syntax_host = {"host name", parse_host};
const struct syntax syntax_mail = {"mail address", parse_mail};
const struct syntax syntax_name = {"name", parse_name};
const struct syntax syntax_label = {"selector", parse_label};
const struct syntax syntax_pattern = {"domain pattern", parse_pattern};
const struct syntax syntax_date = {"date", parse_date};
