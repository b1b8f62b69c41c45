/* SPDX-License-Identifier: MIT */
#include "queue/plain.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#define ADDRESS_TEXT_MAX 45 /* of an IPv6 address */

/* Asked for each byte, so these are one look into a table. */
enum {
	WORD = 1,      /* of words */
	DELIMITER = 2, /* ends a URL, a mailbox's address or an IP address */
	BEFORE = 4,    /* an address may begin behind it */
	OF_IP = 8,     /* of IP addresses */
};

static const unsigned char kinds[256] = {
    [0 ... ' '] = DELIMITER | BEFORE,
    [0x7f] = DELIMITER | BEFORE,
    ['<'] = DELIMITER | BEFORE,
    ['>'] = DELIMITER | BEFORE,
    ['('] = DELIMITER | BEFORE,
    [')'] = DELIMITER | BEFORE,
    ['['] = DELIMITER | BEFORE,
    [']'] = DELIMITER | BEFORE,
    ['{'] = DELIMITER | BEFORE,
    ['}'] = DELIMITER | BEFORE,
    ['"'] = DELIMITER | BEFORE,
    ['\''] = DELIMITER | BEFORE,
    [','] = DELIMITER | BEFORE,
    [';'] = DELIMITER | BEFORE,
    ['|'] = DELIMITER | BEFORE,
    ['='] = BEFORE,
    [':'] = BEFORE | OF_IP,
    ['.'] = OF_IP,
    ['0' ... '9'] = WORD | OF_IP,
    ['A' ... 'F'] = WORD | OF_IP,
    ['G' ... 'Z'] = WORD,
    ['a' ... 'f'] = WORD | OF_IP,
    ['g' ... 'z'] = WORD,
    [0x80 ... 0xff] = WORD,
};

static bool is(char c, unsigned char kind)
{
	return kinds[(unsigned char)c] & kind;
}

static bool begins_token(struct span s, size_t i)
{
	return i == 0 || is(s.p[i - 1], BEFORE);
}

static size_t url_at(struct span s, size_t i)
{
	struct span rest = {s.p + i, s.n - i};
	size_t n = 0;
	if ((*rest.p | 0x20) != 'h' && (*rest.p | 0x20) != 'w')
		return 0;
	if (!span_starts_nocase(rest, "http://") && !span_starts_nocase(rest, "https://") &&
	    !span_starts_nocase(rest, "www."))
		return 0;
	while (n < rest.n && !is(rest.p[n], DELIMITER))
		n++;
	return n;
}

/* The bytes of a mailbox's address at I, 0 when there is none. */
static size_t mailbox_at(struct span s, size_t i)
{
	size_t at = 0;
	size_t n = 0;
	for (; i + n < s.n; n++) {
		if (is(s.p[i + n], BEFORE))
			break;
		if (s.p[i + n] == '@')
			at = n;
	}
	return at > 0 && at + 1 < n ? n : 0;
}

/* The run of bytes at I that an IP address may have; *USED of them are one. */
static size_t ip_run(struct span s, size_t i, size_t *used, unsigned *marks)
{
	char copy[ADDRESS_TEXT_MAX + 1];
	unsigned char address[16];
	size_t n = 0, dots = 0, colons = 0;
	*used = 0;
	for (; i + n < s.n && is(s.p[i + n], OF_IP); n++) {
		dots += s.p[i + n] == '.';
		colons += s.p[i + n] == ':';
	}
	size_t length = n;
	while (length && (s.p[i + length - 1] == '.' || s.p[i + length - 1] == ':'))
		length--;
	bool six = colons >= 2;
	if (dots >= 3 && !six && memchr(s.p + i, ':', length)) /* a port */
		length = (size_t)((const char *)memchr(s.p + i, ':', length) - (s.p + i));
	if ((!six && dots < 3) || length == 0 || length > ADDRESS_TEXT_MAX ||
	    (length == n && i + n < s.n && is(s.p[i + n], WORD)))
		return n;
	memcpy(copy, s.p + i, length);
	copy[length] = '\0';
	if (inet_pton(six ? AF_INET6 : AF_INET, copy, address) == 1) {
		*used = length;
		*marks |= six ? PLAIN_IP6 : PLAIN_IP;
	}
	return n;
}

struct scan {
	struct plain *plain;
	struct span in;
	size_t i;
	size_t url_end;
	size_t ip_end; /* no IP address begins before */
	bool gap;
};

static void put(struct scan *s, char c)
{
	struct plain *p = s->plain;
	/* the byte for the gap is there: a separator of the input was left out */
	if (s->gap && p->n) {
		p->edge[p->n] = s->i < s->url_end && s->i > 0 && p->edge[p->n - 1];
		p->text[p->n++] = ' ';
	}
	s->gap = false;
	p->edge[p->n] = s->i < s->url_end;
	p->text[p->n++] = c;
}

/* What is left out at I: an address. Result: its bytes. */
static size_t skip_address(struct scan *s)
{
	size_t used = 0;
	if (s->i >= s->ip_end && is(s->in.p[s->i], OF_IP))
		s->ip_end = s->i + ip_run(s->in, s->i, &used, &s->plain->marks);
	if (used)
		return used;
	used = mailbox_at(s->in, s->i);
	if (used)
		s->plain->marks |= PLAIN_ADDRESS;
	return used;
}

/* The Latin letter without its accent for U+00C0 to U+00FF. */
static char unaccented(unsigned char low)
{
	static const char letters[] = "aaaaaaaceeeeiiiidnooooo ouuuuytsaaaaaaaceeeeiiiidnooooo ouuuuyty";
	return letters[low & 0x3f];
}

/* The same for U+0100 to U+017F (Polish, Czech, Turkish ...). */
static char unaccented_more(unsigned char high, unsigned char low)
{
	static const char letters[] = "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllll"
				      "nnnnnnnnnoooooooorrrrrrsssssssstttttt"
				      "uuuuuuuuuuuuwwyyyzzzzzzs";
	return letters[(high - 0xc4) * 64 + (low & 0x3f)];
}

/* Two bytes of UTF-8; false: they stay as they are. */
static bool put_pair(struct scan *s, unsigned char high, unsigned char low)
{
	if (high == 0xc2) { /* signs, and the space that does not break */
		s->gap = true;
	} else if (high == 0xc3) {
		put(s, unaccented(low));
	} else if (high == 0xc4 || high == 0xc5) {
		put(s, unaccented_more(high, low));
	} else if (high == 0xd0 && low >= 0x90 && low < 0xb0) { /* Cyrillic capitals */
		put(s, low < 0xa0 ? '\xd0' : '\xd1');
		put(s, (char)(low < 0xa0 ? low + 0x20 : low - 0x20));
	} else {
		return false;
	}
	s->i++;
	return true;
}

static void put_high(struct scan *s)
{
	const unsigned char *p = (const unsigned char *)s->in.p + s->i;
	size_t left = s->in.n - s->i;
	bool more = left > 1 && (p[1] & 0xc0) == 0x80;
	if (more && put_pair(s, p[0], p[1]))
		return;
	if (p[0] == 0xe2 && left > 2 && p[1] == 0x80 && (p[2] == 0x98 || p[2] == 0x99)) {
		put(s, '\'');
		s->i += 2;
	} else if (p[0] >= 0xc0 && !more) { /* no UTF-8: Latin-1 */
		put(s, unaccented(p[0]));
	} else {
		put(s, (char)p[0]);
	}
}

/* A dot or an apostrophe that belongs to a word; the hyphen of "e-mail". */
static void put_mark(struct scan *s, char c)
{
	struct span rest = {s->in.p + s->i + 1, s->in.n - s->i - 1};
	bool inside = s->i > 0 && rest.n && is(s->in.p[s->i - 1], WORD) &&
		      is(rest.p[0], WORD);
	if ((c == '.' || c == '\'') && inside) {
		put(s, c);
		return;
	}
	bool e = c == '-' && inside && (s->in.p[s->i - 1] | 0x20) == 'e' &&
		 (s->i == 1 || !is(s->in.p[s->i - 2], WORD));
	if (!e || !span_starts_nocase(rest, "mail"))
		s->gap = true;
}

static void take(struct scan *s)
{
	unsigned char c = (unsigned char)s->in.p[s->i];
	if (c >= 0x80)
		put_high(s);
	else if (is((char)c, WORD))
		put(s, (char)text_lower_byte(c));
	else
		put_mark(s, (char)c);
	s->i++;
}

/* From "is within a URL" to "is an edge of a word". */
static void mark_edges(struct plain *p)
{
	bool before = false; /* the byte before is within a URL */
	for (size_t i = 0; i <= p->n; i++) {
		bool within = i < p->n && p->edge[i];
		bool edge = i == 0 || i == p->n || p->text[i - 1] == ' ' || p->text[i] == ' ' ||
			    (p->text[i - 1] & 0x80) || (p->text[i] & 0x80);
		p->edge[i] = edge && !(before && within);
		before = within;
	}
}

void plain_make(struct plain *plain, struct span text)
{
	struct scan s = {.plain = plain, .in = text};
	if (s.in.n > PLAIN_MAX)
		s.in.n = PLAIN_MAX;
	plain->n = 0;
	plain->marks = 0;
	while (s.i < s.in.n) {
		if (s.i >= s.url_end && begins_token(s.in, s.i)) {
			size_t n = url_at(s.in, s.i);
			s.url_end = n ? s.i + n : s.url_end;
			size_t skipped = n ? 0 : skip_address(&s);
			if (skipped) {
				s.i += skipped;
				s.gap = true;
				continue;
			}
		}
		take(&s);
	}
	plain->text[plain->n] = '\0';
	mark_edges(plain);
}
