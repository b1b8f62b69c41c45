/* SPDX-License-Identifier: MIT
 * The byte questions of text.h, each a plain loop; nothing here allocates
 * but what it appends to a struct buf.
 */
#include "relayd/base/text.h"

#include <string.h>

#include "relayd/base/mem.h"

struct span span_text(const char *text)
{
	return (struct span){text ? text : "", text ? strlen(text) : 0};
}

struct span span_buf(const struct buf *b)
{
	return (struct span){buf_text(b), b->len};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.n && is_blank(s.p[0]))
		s.p++, s.n--;
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

char *span_dup(struct span s)
{
	return mem_copy(s.p, s.n);
}

struct span span_cut(struct span *rest, char end)
{
	const char *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;
	struct span part = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
	size_t cut = part.n + (at != NULL);
	rest->p += cut;
	rest->n -= cut;
	return part;
}

int text_lower_byte(int c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

bool span_equal(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static bool equal_nocase(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text_lower_byte(a[i]) != text_lower_byte(b[i]))
			return false;
	return true;
}

bool span_equal_nocase(struct span a, struct span b)
{
	return a.n == b.n && equal_nocase(a.p, b.p, a.n);
}

bool span_is(struct span s, const char *text)
{
	return span_equal(s, span_text(text));
}

bool span_is_nocase(struct span s, const char *text)
{
	return span_equal_nocase(s, span_text(text));
}

bool span_starts_nocase(struct span s, const char *text)
{
	size_t n = strlen(text);
	return s.n >= n && equal_nocase(s.p, text, n);
}

void text_lower(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text[i] = (char)text_lower_byte(text[i]);
}

const char *span_find_nocase(struct span s, const char *needle)
{
	size_t n = strlen(needle);
	for (size_t i = 0; i + n <= s.n; i++)
		if (equal_nocase(s.p + i, needle, n))
			return s.p + i;
	return NULL;
}

bool span_number(struct span s, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;
	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		unsigned digit = (unsigned)(s.p[i] - '0');
		if (v > (max - digit) / 10 || digit > max)
			return false;
		v = v * 10 + digit;
	}
	*value = v;
	return true;
}

bool span_is_under(struct span domain, struct span parent)
{
	if (parent.n == 0 || domain.n < parent.n)
		return false;
	struct span tail = {domain.p + (domain.n - parent.n), parent.n};
	if (!span_equal_nocase(tail, parent))
		return false;
	return domain.n == parent.n || domain.p[domain.n - parent.n - 1] == '.';
}

/* Length of the well-formed UTF-8 sequence at P, 0 when there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	size_t len = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
		     : p[0] >= 0xe0 && p[0] <= 0xef ? 3
		     : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						    : 0;
	if (len == 0 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, beyond U+10FFFF */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static void escape_byte(struct buf *out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	char text[4] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
	buf_add(out, text, sizeof(text));
}

static bool is_plain(unsigned char c)
{
	return c >= 32 && c < 127 && c != '\\';
}

static void escape(struct buf *out, struct span s, size_t max, bool keep_utf8)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n < max ? s.n : max;
	for (size_t i = 0; i < n;) {
		size_t run = 0;
		while (i + run < n && is_plain(p[i + run]))
			run++;
		buf_add(out, p + i, run);
		i += run;
		if (i == n)
			break;
		size_t len = keep_utf8 ? utf8_sequence(p + i, n - i) : 0;
		/* U+0080..U+009F are controls in UTF-8 dress */
		if (len > 1 && !(p[i] == 0xc2 && p[i + 1] < 0xa0)) {
			buf_add(out, p + i, len);
			i += len;
		} else {
			escape_byte(out, p[i++]);
		}
	}
	if (s.n > n)
		buf_add_text(out, "...");
}

void text_escape(struct buf *out, struct span s, size_t max)
{
	escape(out, s, max, false);
}

void text_escape_utf8(struct buf *out, struct span s, size_t max)
{
	escape(out, s, max, true);
}

bool span_is_utf8(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	for (size_t i = 0; i < s.n;) {
		size_t len = utf8_sequence(p + i, s.n - i);
		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

bool span_is_ascii(struct span s)
{
	size_t i = 0;
	for (; i + 8 <= s.n; i += 8) {
		uint64_t eight;
		memcpy(&eight, s.p + i, 8);
		if (eight & UINT64_C(0x8080808080808080))
			return false;
	}
	for (; i < s.n; i++)
		if ((unsigned char)s.p[i] > 127)
			return false;
	return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_base64(struct buf *out, struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i;
		uint32_t v = (uint32_t)p[i] << 16;
		v |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= left > 2 ? p[i + 2] : 0;
		char four[4] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
		    left > 1 ? base64_digits[v >> 6 & 63] : '=',
		    left > 2 ? base64_digits[v & 63] : '='};
		buf_add(out, four, sizeof(four));
	}
}

void text_base64_lines(struct buf *out, struct span s)
{
	while (s.n) {
		size_t n = s.n < 57 ? s.n : 57; /* make 76 */
		text_base64(out, (struct span){s.p, n});
		buf_add_text(out, "\r\n");
		s.p += n;
		s.n -= n;
	}
}

#define QUOTED_LINE 76

/* White space at the end of a line would get lost. */
static bool is_quoted(unsigned char c, bool last)
{
	if (c == ' ' || c == '\t')
		return last;
	return c < 33 || c > 126 || c == '=';
}

void text_quoted_line(struct buf *out, struct span line)
{
	size_t column = 0;
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		bool last = i + 1 == line.n;
		bool quoted = is_quoted(c, last);
		size_t width = quoted ? 3 : 1;
		if (column + width > (last ? QUOTED_LINE : QUOTED_LINE - 1)) {
			buf_add_text(out, "=\r\n");
			column = 0;
		}
		if (quoted)
			buf_addf(out, "=%02X", c);
		else
			buf_add_byte(out, (char)c);
		column += width;
	}
	buf_add_text(out, "\r\n");
}

static int base64_value(char c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;
	return at ? (int)(at - base64_digits) : -1;
}

/* One group of four; the count of bytes it stands for, 0 when malformed. */
static size_t unbase64_group(const char *p, bool last, unsigned char out[3])
{
	size_t pad = !last || p[3] != '=' ? 0 : p[2] == '=' ? 2 : 1;
	uint32_t v = 0;
	for (size_t i = 0; i < 4; i++) {
		int digit = i >= 4 - pad ? 0 : base64_value(p[i]);
		if (digit < 0)
			return 0;
		v = v << 6 | (uint32_t)digit;
	}
	out[0] = (unsigned char)(v >> 16);
	out[1] = (unsigned char)(v >> 8);
	out[2] = (unsigned char)v;
	/* bits that no byte uses must be zero: one text, one value */
	if ((pad == 2 && out[1]) || (pad >= 1 && out[2]))
		return 0;
	return 3 - pad;
}

bool text_unbase64(struct buf *out, struct span s)
{
	size_t before = out->len;
	if (s.n % 4)
		return false;
	for (size_t i = 0; i < s.n; i += 4) {
		unsigned char three[3];
		size_t n = unbase64_group(s.p + i, i + 4 == s.n, three);
		if (n == 0) {
			/* what was decoded may be half a password */
			if (out->len > before)
				mem_wipe(out->data + before, out->len - before);
			out->len = before;
			return false;
		}
		buf_add(out, three, n);
	}
	return true;
}

void text_hex(struct buf *out, struct span s)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		buf_add_byte(out, digits[c >> 4]);
		buf_add_byte(out, digits[c & 15]);
	}
}
