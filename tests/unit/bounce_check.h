/* SPDX-License-Identifier: MIT
 * What holds for every report, whatever texts went into it; for the unit test
 * and the fuzz target. Each check gives NULL, or what is wrong.
 */
#ifndef TESTS_UNIT_BOUNCE_CHECK_H
#define TESTS_UNIT_BOUNCE_CHECK_H

#include <string.h>

#include "queue/bounce.h"

#define BOUNCE_LINE_MAX 998

/* Lines end with CRLF, have no other control byte than TAB, and are not too long. */
static inline const char *bounce_check_lines(struct span s, bool wide)
{
	size_t column = 0;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			i++;
			column = 0;
			continue;
		}
		if (c == '\r' || c == '\n')
			return "a bare line end";
		if ((c < 32 && c != '\t') || c == 127)
			return "a control byte";
		if (c > 127 && !wide)
			return "an 8-bit byte";
		if (++column > BOUNCE_LINE_MAX)
			return "a line is too long";
	}
	if (column != 0)
		return "the last line has no end";
	if (wide && !span_is_utf8(s))
		return "it is not UTF-8";
	return NULL;
}

/* The parts between the boundary's lines. Result: how many; -1: the boundary is
 * missing, or its end is not the end of the message. */
static inline int bounce_split(struct span s, struct span *parts, int max)
{
	static const char mark[] = "boundary=\"";
	const char *at = span_find_nocase(s, mark);
	if (!at)
		return -1;
	struct span name = {at + sizeof(mark) - 1, 0};
	while (name.p + name.n < s.p + s.n && name.p[name.n] != '"')
		name.n++;
	int count = 0;
	const char *begin = NULL;
	for (const char *p = name.p; p < s.p + s.n;) {
		const char *end = memchr(p, '\n', (size_t)(s.p + s.n - p));
		if (!end)
			return -1;
		size_t n = (size_t)(end - p) - 1; /* without CR */
		bool ours = n >= name.n + 2 && memcmp(p, "--", 2) == 0 &&
			    memcmp(p + 2, name.p, name.n) == 0;
		if (ours && begin && count < max)
			parts[count++] = (struct span){begin, (size_t)(p - begin)};
		if (ours)
			begin = end + 1;
		if (ours && n == name.n + 4)
			return end + 1 == s.p + s.n ? count : -1;
		p = end + 1;
	}
	return -1;
}

/* How often a line begins with TEXT. */
static inline size_t bounce_count(struct span s, const char *text)
{
	size_t n = strlen(text);
	size_t count = 0;
	for (size_t i = 0; i + n <= s.n; i++)
		if ((i == 0 || s.p[i - 1] == '\n') && memcmp(s.p + i, text, n) == 0)
			count++;
	return count;
}

/* Lines of the status part are fields, continuations or empty. */
static inline const char *bounce_check_fields(struct span s)
{
	const char *p = s.p;
	while (p < s.p + s.n) {
		const char *end = memchr(p, '\n', (size_t)(s.p + s.n - p));
		if (!end)
			return "a line without end";
		size_t n = (size_t)(end - p) - 1;
		size_t name = 0;
		while (name < n && ((p[name] >= 'A' && p[name] <= 'Z') ||
				       (p[name] >= 'a' && p[name] <= 'z') || p[name] == '-'))
			name++;
		bool field = name > 0 && name < n && p[name] == ':';
		if (n && !field && p[0] != ' ' && p[0] != '\t')
			return "a line of the status part is no field";
		p = end + 1;
	}
	return NULL;
}

static inline int bounce_hex(char c)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* RFC 2045 section 6.7 back into bytes; NULL or what is wrong. */
static inline const char *bounce_unquote(struct span s, struct buf *out)
{
	size_t column = 0;
	for (size_t i = 0; i < s.n; i++) {
		bool end = s.p[i] == '\r' || s.p[i] == '\n';
		column = s.p[i] == '\n' ? 0 : column + !end;
		if (column > 76)
			return "a line of quoted-printable is too long";
		if ((s.p[i] == ' ' || s.p[i] == '\t') && i + 1 < s.n && s.p[i + 1] == '\r')
			return "white space at the end of a line of quoted-printable";
		if (s.p[i] != '=') {
			buf_add_byte(out, s.p[i]);
			continue;
		}
		if (i + 2 >= s.n)
			return "a = without anything behind it";
		int high = bounce_hex(s.p[i + 1]);
		int low = bounce_hex(s.p[i + 2]);
		bool soft = s.p[i + 1] == '\r' && s.p[i + 2] == '\n';
		if (!soft && (high < 0 || low < 0))
			return "a = without two digits";
		if (!soft)
			buf_add_byte(out, (char)(high * 16 + low));
		column = soft ? 0 : column + 2;
		i += 2;
	}
	return NULL;
}

/* The header comes back byte for byte, but for line ends and empty lines; what is longer
 * than may go back is not compared. PART: with its own header. */
static inline const char *bounce_check_header(const struct bounce *b, struct span part)
{
	const char *body = span_find_nocase(part, "\r\n\r\n");
	if (!body || b->content.n || b->header.n >= 65536)
		return body ? NULL : "the last part has no body";
	struct span head = {part.p, (size_t)(body - part.p)};
	struct span text = {body + 4, part.n - head.n - 4};
	struct buf want = {0};
	struct buf have = {0};
	const char *fault = NULL;
	for (struct span rest = b->header; rest.n;) {
		struct span line = span_cut(&rest, '\n');
		while (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		buf_add(&want, line.p, line.n);
		if (line.n)
			buf_add_text(&want, "\r\n");
	}
	buf_add_text(&want, "\r\n"); /* the boundary's */
	if (span_find_nocase(head, "\r\nContent-Transfer-Encoding: quoted-printable"))
		fault = bounce_unquote(text, &have);
	else
		buf_add(&have, text.p, text.n);
	if (!fault && !span_equal(span_buf(&have), span_buf(&want)))
		fault = "the header does not come back as it was";
	buf_free(&want);
	buf_free(&have);
	return fault;
}

static inline const char *bounce_check(const struct bounce *b, struct span s)
{
	struct span parts[4];
	const char *fault = bounce_check_lines(s, b->smtputf8);
	if (fault)
		return fault;
	if (bounce_split(s, parts, 4) != 3)
		return "there are not three parts";
	fault = bounce_check_fields(parts[1]);
	if (fault)
		return fault;
	if (bounce_count(parts[1], "Final-Recipient: ") != b->recipient_count ||
	    bounce_count(parts[1], "Action: ") != b->recipient_count ||
	    bounce_count(parts[1], "Status: ") != b->recipient_count ||
	    bounce_count(parts[1], "\r\n") != b->recipient_count + 2)
		return "not one group of status fields a recipient";
	return bounce_check_header(b, parts[2]);
}

#endif
