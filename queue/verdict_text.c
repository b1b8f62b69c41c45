/* SPDX-License-Identifier: MIT */
#include "queue/verdict_text.h"

#include "queue/plain.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits(struct span s, size_t at, unsigned *value)
{
	size_t n = 0;
	*value = 0;
	while (at + n < s.n && n < 4 && is_digit(s.p[at + n]))
		*value = *value * 10 + (unsigned)(s.p[at + n++] - '0');
	return n < 4 ? n : 0;
}

/* The code before a space, a hyphen or the end of the line; 0: none. */
static unsigned code_of(struct span line)
{
	unsigned code = 0;
	if (digits(line, 0, &code) != 3 || code < 200 || code > 599)
		return 0;
	return line.n == 3 || line.p[3] == ' ' || line.p[3] == '-' || line.p[3] == '\t' ? code : 0;
}

/* The enhanced code at the beginning of LINE, if its class is that of the code. */
static size_t enhanced_at(struct span line, struct verdict_input *in)
{
	unsigned klass, subject, detail;
	size_t n = digits(line, 0, &klass);
	if (n != 1 || klass != in->code / 100 || n >= line.n || line.p[n] != '.')
		return 0;
	size_t m = digits(line, n + 1, &subject);
	n += 1 + m;
	if (!m || n >= line.n || line.p[n] != '.')
		return 0;
	m = digits(line, n + 1, &detail);
	n += 1 + m;
	if (!m || (n < line.n && line.p[n] != ' ' && line.p[n] != '\t' && line.p[n] != ':'))
		return 0;
	if (in->klass && (in->subject != subject || in->detail != detail))
		return 0;
	in->klass = (unsigned char)klass;
	in->subject = (unsigned short)subject;
	in->detail = (unsigned short)detail;
	return n;
}

static void add_line(struct verdict_text *out, struct span line, bool first)
{
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (out->input.code && code_of(line) == out->input.code) {
		line.p += line.n > 3 ? 4 : 3;
		line.n -= line.n > 3 ? 4 : 3;
		line = span_trim(line);
		size_t n = enhanced_at(line, &out->input);
		line.p += n;
		line.n -= n;
		line = span_trim(line);
	}
	if (!first)
		buf_add_byte(&out->text, '\n');
	buf_add(&out->text, line.p, line.n);
}

bool verdict_text_parse(struct verdict_text *out, struct span reply)
{
	bool first = true;
	*out = (struct verdict_text){.input.mx = ""};
	reply = span_trim(reply);
	if (reply.n > PLAIN_MAX)
		reply.n = PLAIN_MAX;
	while (reply.n || first) {
		struct span line = span_cut(&reply, '\n');
		if (first)
			out->input.code = code_of(line);
		add_line(out, line, first);
		first = false;
	}
	out->input.text = span_buf(&out->text);
	return out->input.code != 0;
}

void verdict_text_clear(struct verdict_text *text)
{
	buf_free(&text->text);
	*text = (struct verdict_text){.input.mx = ""};
}
