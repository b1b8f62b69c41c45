/* SPDX-License-Identifier: MIT
 * One function takes a byte of xtext; the others ask it.
 */
#include "smtp/xtext.h"

#include <stdint.h>
#include <string.h>

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the start of S stands for, which is cut off. -1: not xtext, or a
 * control. */
static int take_byte(struct span *s)
{
	unsigned char c = (unsigned char)s->p[0];
	size_t used = 1;
	int byte = c;
	if (c == '+') {
		int high = s->n > 2 ? hex_digit(s->p[1]) : -1;
		int low = s->n > 2 ? hex_digit(s->p[2]) : -1;
		if (high < 0 || low < 0)
			return -1;
		byte = high * 16 + low;
		used = 3;
	} else if (c < 33 || c > 126 || c == '=') {
		return -1;
	}
	s->p += used, s->n -= used;
	return byte < 32 || byte == 127 ? -1 : byte;
}

bool xtext_is_valid(struct span s, bool wide)
{
	if (s.n == 0)
		return false;
	while (s.n) {
		int byte = take_byte(&s);
		if (byte < 0 || (byte > 126 && !wide))
			return false;
	}
	return true;
}

bool xtext_decode(struct span s, struct buf *out)
{
	if (!xtext_is_valid(s, true))
		return false;
	while (s.n)
		buf_add_byte(out, (char)take_byte(&s));
	return true;
}

void xtext_encode(struct span raw, struct buf *out)
{
	for (size_t i = 0; i < raw.n; i++) {
		unsigned char c = (unsigned char)raw.p[i];
		if (c < 33 || c > 126 || c == '+' || c == '=')
			buf_addf(out, "+%02X", c);
		else
			buf_add_byte(out, (char)c);
	}
}

/* ---- ORCPT ---- */

static bool is_atom(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		int lower = text_lower_byte(c);
		if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') &&
		    (!c || !strchr("!#$%&'*-/?^_`{|}~", c)))
			return false;
	}
	return s.n > 0;
}

/* UTF-8 without controls (those of C1 included), blanks and "=". */
static bool is_unitext(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 33 || c == 127 || c == '=')
			return false;
		if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
			return false;
	}
	return span_is_utf8(s);
}

bool xtext_is_orcpt(struct span s, bool utf8)
{
	const char *semicolon = s.n ? memchr(s.p, ';', s.n) : NULL;
	if (!semicolon || s.n > XTEXT_ORCPT_MAX)
		return false;
	struct span type = {s.p, (size_t)(semicolon - s.p)};
	struct span value = {semicolon + 1, s.n - type.n - 1};
	if (!is_atom(type))
		return false;
	if (utf8 && span_is_nocase(type, "utf-8") && !span_is_ascii(value))
		return is_unitext(value);
	return xtext_is_valid(value, false);
}

/* Bytes of the well-formed UTF-8 character at P, and its number. */
static size_t take_character(const char *p, uint32_t *number)
{
	unsigned char c = (unsigned char)p[0];
	size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	*number = c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		*number = *number << 6 | ((unsigned char)p[i] & 0x3fu);
	return n;
}

void xtext_print_orcpt(struct span orcpt, struct buf *out)
{
	for (size_t i = 0; i < orcpt.n;) {
		uint32_t number;
		if ((unsigned char)orcpt.p[i] < 128) {
			buf_add_byte(out, orcpt.p[i++]);
			continue;
		}
		i += take_character(orcpt.p + i, &number);
		buf_addf(out, "\\x{%X}", (unsigned)number);
	}
}
