/* SPDX-License-Identifier: MIT
 * Scanning addresses of the envelope. One scanner over bytes decides what an
 * address is; paths and bare addresses differ only in what may surround it.
 */
#include "smtp/address.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_alnum(unsigned char c)
{
	int lower = text_lower_byte(c);
	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
}

/* atext of RFC 5321 and 6531 */
static bool is_atext(unsigned char c)
{
	return c > 127 || is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* The quoted string at the start of S, its quotes included; 0: there is none,
 * or it has no end. A backslash never ends it: the next byte is taken along. */
static size_t scan_quoted(struct span s)
{
	for (size_t i = 1; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\\' && i + 1 < s.n)
			c = (unsigned char)s.p[++i];
		else if (c == '"')
			return i + 1;
		if (c < 32 || c == 127)
			return 0;
	}
	return 0;
}

/* Dots may stand anywhere in the unquoted form: addresses like a..b.@docomo.ne.jp
 * were given out by Japanese mobile carriers by the million and are in use. */
static size_t scan_dots(struct span s)
{
	size_t i = 0;
	while (i < s.n && (s.p[i] == '.' || is_atext((unsigned char)s.p[i])))
		i++;
	return i;
}

/* OBSOLETE: quoted strings and dot-atoms joined by dots (RFC 5322 section 4.4). */
static size_t scan_local(struct span s, bool obsolete)
{
	size_t i = 0;
	for (;;) {
		struct span rest = {s.p + i, s.n - i};
		bool quoted = rest.n && rest.p[0] == '"';
		size_t n = quoted ? scan_quoted(rest) : scan_dots(rest);
		if (n == 0)
			return 0;
		i += n;
		if (!obsolete || i == s.n)
			return i;
		bool joined = quoted ? s.p[i] == '.' : s.p[i] == '"' && s.p[i - 1] == '.';
		if (!joined)
			return i;
	}
}

static bool is_literal(struct span inner)
{
	char text[ADDRESS_DOMAIN_MAX + 1];
	unsigned char binary[16];
	if (inner.n == 0 || inner.n >= sizeof(text) || memchr(inner.p, 0, inner.n))
		return false;
	memcpy(text, inner.p, inner.n);
	text[inner.n] = '\0';
	if (inet_pton(AF_INET, text, binary) == 1)
		return true;
	if (span_starts_nocase(inner, "IPv6:"))
		return inet_pton(AF_INET6, text + 5, binary) == 1;
	if (inet_pton(AF_INET6, text, binary) == 1)
		return false; /* without its tag */
	/* General-address-literal: a tag and printable bytes */
	const char *colon = memchr(inner.p, ':', inner.n);
	if (!colon || colon == inner.p || colon[-1] == '-' ||
	    colon + 1 == inner.p + inner.n)
		return false;
	for (const char *p = inner.p; p < inner.p + inner.n; p++)
		if (p < colon ? !is_alnum((unsigned char)*p) && *p != '-'
			      : *p < 33 || *p > 126)
			return false;
	return true;
}

/* The address literal at the start of S with its brackets; 0: none. */
static size_t scan_literal(struct span s)
{
	const char *end = s.n && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL;
	if (!end || end - s.p > ADDRESS_DOMAIN_MAX)
		return 0;
	struct span inner = {s.p + 1, (size_t)(end - s.p) - 1};
	return !memchr(inner.p, '[', inner.n) && is_literal(inner) ? inner.n + 2 : 0;
}

size_t domain_scan(struct span s)
{
	size_t i = 0;
	size_t label = 0; /* where it began */
	for (; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '.') {
			if (i == label || i - label > DOMAIN_LABEL_MAX ||
			    s.p[i - 1] == '-')
				return 0;
			label = i + 1;
		} else if (c == '-' ? i == label : !is_alnum(c) && c != '_' && c < 128) {
			break;
		}
	}
	if (i && i == label)
		i--; /* the dot is the caller's to pass over */
	else if (i - label > DOMAIN_LABEL_MAX || (i && s.p[i - 1] == '-'))
		return 0;
	return i <= ADDRESS_DOMAIN_MAX ? i : 0;
}

/* Well-formed UTF-8 without the C1 controls. */
static bool is_clean_utf8(struct span s)
{
	for (size_t i = 0; i + 1 < s.n; i++)
		if ((unsigned char)s.p[i] == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
			return false;
	return span_is_utf8(s);
}

static bool is_within_limits(struct address *a)
{
	if (a->text.n > ADDRESS_MAX)
		return false;
	a->utf8 = !span_is_ascii(a->text);
	return !a->utf8 || is_clean_utf8(a->text);
}

/* An address at the start of S; result: its bytes, a trailing dot included. */
static size_t scan_address(struct span s, bool obsolete, struct address *a)
{
	struct address found = {0};
	size_t local = scan_local(s, obsolete);
	if (local == 0)
		return 0;
	found.form = ADDRESS_LOCAL;
	found.local = (struct span){s.p, local};
	found.text = found.local;
	found.domain = (struct span){s.p + local, 0};
	size_t used = local;
	if (local < s.n && s.p[local] == '@') {
		struct span rest = {s.p + local + 1, s.n - local - 1};
		bool literal = rest.n && rest.p[0] == '[';
		size_t n = literal ? scan_literal(rest) : domain_scan(rest);
		if (n == 0)
			return 0;
		found.form = literal ? ADDRESS_LITERAL : ADDRESS_DOMAIN;
		found.domain = (struct span){rest.p, n};
		found.text.n = local + 1 + n;
		used = found.text.n;
		if (!literal && used < s.n && s.p[used] == '.')
			used++;
	}
	if (!is_within_limits(&found))
		return 0;
	*a = found;
	return used;
}

size_t address_route(struct span s)
{
	size_t i = 0;
	while (i < s.n && s.p[i] == '@') {
		struct span rest = {s.p + i + 1, s.n - i - 1};
		size_t n =
		    rest.n && rest.p[0] == '[' ? scan_literal(rest) : domain_scan(rest);
		i += n + 1;
		if (n == 0 || i == s.n)
			return 0;
		if (s.p[i] == ':')
			return i + 1;
		if (s.p[i++] != ',')
			return 0;
	}
	return 0;
}

bool address_parse_path(struct span s, bool lenient, struct address *a, size_t *used)
{
	struct address found = {.form = ADDRESS_NULL};
	bool angle = s.n && s.p[0] == '<';
	if (!angle && !lenient)
		return false;
	size_t i = angle ? 1 : 0;
	i += address_route((struct span){s.p + i, s.n - i});
	size_t n = scan_address((struct span){s.p + i, s.n - i}, false, &found);
	bool null = angle && i == 1 && s.n > 1 && s.p[1] == '>';
	if (n == 0 && !null)
		return false;
	i += n;
	if (angle) {
		if (i == s.n || s.p[i++] != '>')
			return false;
	} else if (i < s.n && s.p[i] != ' ' && s.p[i] != '\t') {
		return false;
	}
	if (null)
		found.text = found.local = found.domain = (struct span){s.p + 1, 0};
	*a = found;
	*used = i;
	return true;
}

bool address_parse(struct span s, struct address *a)
{
	struct address found;
	size_t n = scan_address(s, true, &found);
	if (n == 0 || n != s.n)
		return false;
	*a = found;
	return true;
}
