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
	return NULL;
}

#endif
