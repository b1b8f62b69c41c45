/* SPDX-License-Identifier: MIT
 * Building our replies, and taking apart those of others line by line. A
 * reply of any length costs a bounded amount of memory: of each line a part
 * is kept, of many lines the first ones and the last.
 */
#include "smtp/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"

#define SENT_LINE_MAX 500 /* of ours, without CRLF; RFC 5321 4.5.3.1.5 says 512 with it  \
	                   */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* One to three digits at *P; they are passed over. */
static bool take_number(struct span *s, unsigned short *value)
{
	unsigned v = 0;
	size_t i = 0;
	for (; i < s->n && i < 3 && is_digit(s->p[i]); i++)
		v = v * 10 + (unsigned)(s->p[i] - '0');
	*value = (unsigned short)v;
	s->p += i, s->n -= i;
	return i > 0;
}

static bool take_dot(struct span *s)
{
	if (s->n == 0 || s->p[0] != '.')
		return false;
	s->p++, s->n--;
	return true;
}

/* What stands behind an enhanced code must not make it a part of something
 * else, like an address (5.7.1.9), a version (5.7.1b) or a longer number. */
static bool ends_number(struct span rest)
{
	if (rest.n == 0)
		return true;
	int c = text_lower_byte(rest.p[0]);
	if (c == '.')
		return rest.n == 1 || !is_digit(rest.p[1]);
	return !is_digit((char)c) && !(c >= 'a' && c <= 'z') && c != '-' && c != '_';
}

size_t enhanced_parse(struct span s, struct enhanced *e)
{
	struct span rest = s;
	struct enhanced found;
	unsigned short klass;
	if (!take_number(&rest, &klass) || (klass != 2 && klass != 4 && klass != 5) ||
	    s.n - rest.n != 1)
		return 0;
	found.klass = (unsigned char)klass;
	if (!take_dot(&rest) || !take_number(&rest, &found.subject) || !take_dot(&rest) ||
	    !take_number(&rest, &found.detail) || !ends_number(rest))
		return 0;
	*e = found;
	return s.n - rest.n;
}

const char *enhanced_text(const struct enhanced *e, char *buf)
{
	buf[0] = '\0';
	/* the bounds hold for all that enhanced_parse makes */
	if (e->klass && e->subject <= 999 && e->detail <= 999)
		snprintf(buf, 12, "%u.%u.%u", e->klass % 10u, e->subject % 1000u,
		    e->detail % 1000u);
	return buf;
}

void reply_clear(struct reply *reply)
{
	struct buf text = reply->text;
	buf_clear(&text);
	*reply = (struct reply){.text = text};
}

void reply_free(struct reply *reply)
{
	buf_free(&reply->text);
	*reply = (struct reply){0};
}

static bool is_control(char c)
{
	return (unsigned char)c < 32 || c == 127;
}

static unsigned count_lines(struct span text)
{
	unsigned lines = 1;
	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	return lines;
}

void reply_set(
    struct reply *reply, unsigned code, const char *enhanced, const char *format, ...)
{
	reply_clear(reply);
	reply->code = code;
	reply->complete = true;
	/* RFC 2034 section 4: the class agrees with the code, whatever the caller wrote
	 */
	if (enhanced && enhanced_parse(span_text(enhanced), &reply->enhanced))
		reply->enhanced.klass = (unsigned char)(code / 100);

	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0)
		bug("bad format of a reply");
	char *text = buf_room(&reply->text, (size_t)n);
	va_start(args, format);
	vsnprintf(text, (size_t)n + 1, format, args);
	va_end(args);
	for (int i = 0; i < n; i++)
		if (is_control(text[i]) && text[i] != '\n')
			text[i] = '?';
	reply->text.len = (size_t)n;
	reply->lines = count_lines(span_buf(&reply->text));
}

/* At most MAX bytes of LINE, not ending within a UTF-8 character. */
static size_t cut(struct span line, size_t max)
{
	if (line.n <= max)
		return line.n;
	while (max && ((unsigned char)line.p[max] & 0xc0) == 0x80)
		max--;
	return max;
}

/* The first line of *REST, which moves behind it; false when nothing is left. */
static bool next_line(struct span *rest, struct span *line)
{
	if (!rest->p)
		return false;
	const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	*line = *rest;
	*rest = (struct span){0};
	if (end) {
		*rest = (struct span){end + 1, line->n - (size_t)(end + 1 - line->p)};
		line->n = (size_t)(end - line->p);
	}
	return true;
}

void reply_print(const struct reply *reply, struct buf *out)
{
	if (reply->code < 200 || reply->code > 599)
		bug("reply without a code");
	char enhanced[12];
	enhanced_text(&reply->enhanced, enhanced);
	struct span rest = span_buf(&reply->text);
	struct span line;
	while (next_line(&rest, &line)) {
		size_t start = out->len;
		buf_addf(out, "%u%c%s%s", reply->code, rest.p ? '-' : ' ', enhanced,
		    enhanced[0] && line.n ? " " : "");
		size_t n = cut(line, SENT_LINE_MAX - (out->len - start));
		/* text may also be what somebody else sent us */
		for (size_t i = 0; i < n; i++)
			buf_add_byte(out, is_control(line.p[i]) ? '?' : line.p[i]);
		buf_add_text(out, "\r\n");
	}
}

/* Without the enhanced code, when it is that of the reply; another one stays,
 * since it would be lost. */
static struct span strip_enhanced(struct reply *reply, struct span text)
{
	struct enhanced e;
	size_t n = enhanced_parse(text, &e);
	if (n == 0 || e.klass != reply->code / 100)
		return text;
	if (reply->enhanced.klass == 0)
		reply->enhanced = e;
	bool same =
	    e.subject == reply->enhanced.subject && e.detail == reply->enhanced.detail;
	if (!same || (n < text.n && text.p[n] != ' ' && text.p[n] != '\t'))
		return text;
	while (n < text.n && (text.p[n] == ' ' || text.p[n] == '\t'))
		n++;
	return (struct span){text.p + n, text.n - n};
}

static void keep_line(struct reply *reply, struct span text)
{
	text = strip_enhanced(reply, text);
	if (text.n > REPLY_KEEP_LINE)
		text.n = REPLY_KEEP_LINE;
	if (reply->lines > 1)
		buf_add_byte(&reply->text, '\n');
	size_t start = reply->text.len;
	buf_add(&reply->text, text.p, text.n);
	/* \n stands between lines and nowhere else */
	for (size_t i = start; i < reply->text.len; i++)
		if (reply->text.data[i] == '\n')
			reply->text.data[i] = '?';
}

int reply_take_line(struct reply *reply, struct span line)
{
	if (reply->complete)
		reply_clear(reply);
	for (size_t i = 0; i < 3; i++)
		if (line.n <= i || !is_digit(line.p[i]))
			return -1;
	unsigned code = (unsigned)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 +
				   (line.p[2] - '0'));
	if (code < 200 || code > 599 || (reply->lines && code != reply->code))
		return -1;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return -1;
	if (reply->lines == REPLY_LINES_MAX)
		return -1;
	bool last = line.n == 3 || line.p[3] == ' ';
	size_t skip = line.n > 3 ? 4 : 3;
	reply->code = code;
	reply->lines++;
	reply->complete = last;
	if (last || reply->lines < REPLY_KEEP_LINES)
		keep_line(reply, (struct span){line.p + skip, line.n - skip});
	return last ? 1 : 0;
}

void reply_summary(const struct reply *reply, struct buf *out, size_t max)
{
	char enhanced[12];
	buf_addf(out, "%03u", reply->code);
	if (enhanced_text(&reply->enhanced, enhanced)[0])
		buf_addf(out, " %s", enhanced);
	struct span rest = span_buf(&reply->text);
	struct span line;
	bool first = true;
	while (next_line(&rest, &line)) {
		if (max == 0 && line.n) {
			buf_add_text(out, "...");
			return;
		}
		if (line.n || !first)
			buf_add_text(out, first ? " " : " / ");
		text_escape(out, line, max);
		if (line.n > max)
			return;
		max -= line.n;
		first = false;
	}
}
