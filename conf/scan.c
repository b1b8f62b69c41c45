/* SPDX-License-Identifier: MIT
 * A small reader of libconfig's tokens. It need not agree with libconfig on
 * every odd file: it explains errors, and what it misreads is still read by
 * libconfig itself.
 */
#include "conf/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

enum kind { KIND_START, KIND_END, KIND_WORD, KIND_TEXT, KIND_OPEN_TEXT, KIND_MARK };

struct token {
	enum kind kind;
	struct span text; /* of a text: without its quotes */
	unsigned line;	  /* where it begins */
	unsigned last;	  /* where it ends */
};

struct scan {
	struct span rest;
	unsigned line;
};

static bool is_word(char c)
{
	int low = text_lower_byte(c);
	return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-_*.+@", c));
}

static void skip(struct scan *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->line += s->rest.p[i] == '\n';
	s->rest.p += n;
	s->rest.n -= n;
}

/* The length of the comment or blank at the start; 0: none. */
static size_t gap(struct span s)
{
	bool block = s.n > 1 && s.p[0] == '/' && s.p[1] == '*';
	bool line = s.p[0] == '#' || (s.n > 1 && s.p[0] == '/' && s.p[1] == '/');
	if (block) {
		const char *end = s.n > 2 ? memmem(s.p + 2, s.n - 2, "*/", 2) : NULL;
		return end ? (size_t)(end - s.p) + 2 : s.n;
	}
	if (line) {
		const char *end = memchr(s.p, '\n', s.n);
		return end ? (size_t)(end - s.p) : s.n;
	}
	return strchr(" \t\r\n\f\v", s.p[0]) && s.p[0] != '\0';
}

/* A quotation mark of a word processor, as texts copied from a page have them. */
static bool is_curly(struct span s)
{
	return span_starts_nocase(s, "\xe2\x80") && s.n > 2 && (unsigned char)s.p[2] >= 0x98 &&
	       (unsigned char)s.p[2] <= 0x9f;
}

static struct token next_token(struct scan *s)
{
	size_t n;
	while (s->rest.n && (n = gap(s->rest)))
		skip(s, n);
	struct token t = {.line = s->line, .last = s->line, .text = {s->rest.p, 1}};
	if (s->rest.n == 0) {
		t.kind = KIND_END;
		return t;
	}
	n = 1;
	if (s->rest.p[0] == '"') {
		while (n < s->rest.n && s->rest.p[n] != '"')
			n += s->rest.p[n] == '\\' && n + 1 < s->rest.n ? 2 : 1;
		t.kind = n < s->rest.n ? KIND_TEXT : KIND_OPEN_TEXT;
		t.text = (struct span){s->rest.p + 1, n - 1};
		n += t.kind == KIND_TEXT;
	} else if (is_word(s->rest.p[0])) {
		while (n < s->rest.n && is_word(s->rest.p[n]))
			n++;
		t.kind = KIND_WORD;
		t.text.n = n;
	} else {
		t.kind = KIND_MARK;
		n = is_curly(s->rest) ? 3 : 1;
		t.text.n = n;
	}
	skip(s, n);
	t.last = s->line;
	return t;
}

static bool is_mark(struct token t, const char *marks)
{
	return t.kind == KIND_MARK && t.text.p[0] != '\0' && strchr(marks, t.text.p[0]);
}

/* Would libconfig take it as a number, true or false? */
static bool is_plain_value(struct span word)
{
	char copy[64];
	char *end;

	if (span_is_nocase(word, "true") || span_is_nocase(word, "false"))
		return true;
	if (word.n >= sizeof(copy))
		return false;
	memcpy(copy, word.p, word.n);
	copy[word.n] = '\0';
	strtod(copy, &end);
	return end != copy &&
	       (*end == '\0' || strcmp(end, "L") == 0 || strcmp(end, "LL") == 0);
}

/* What other programs take for true and false. */
static bool is_yes_or_no(struct span word)
{
	static const char *const words[] = {"yes", "no", "on", "off"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_is_nocase(word, words[i]))
			return true;
	return false;
}

struct brackets {
	struct token open[DEPTH_MAX];
	size_t depth;
};

static char closing(char open)
{
	return open == '{' ? '}' : open == '(' ? ')' : ']';
}

/* Follow the brackets. True: T closes what it should not, OUT says it. */
static bool mismatch(struct brackets *b, struct token t, struct buf *out)
{
	if (is_mark(t, "{([")) {
		if (b->depth < DEPTH_MAX)
			b->open[b->depth] = t;
		b->depth++;
	}
	if (!is_mark(t, "})]"))
		return false;
	if (b->depth == 0) {
		buf_addf(out, "\"%c\" closes nothing", t.text.p[0]);
		return true;
	}
	b->depth--;
	if (b->depth >= DEPTH_MAX || closing(b->open[b->depth].text.p[0]) == t.text.p[0])
		return false;
	buf_addf(out,
	    "\"%c\" stands where the \"%c\" of line %u should be closed by \"%c\"",
	    t.text.p[0], b->open[b->depth].text.p[0], b->open[b->depth].line,
	    closing(b->open[b->depth].text.p[0]));
	return true;
}

static bool in_list(const struct brackets *b)
{
	return b->depth && b->depth <= DEPTH_MAX &&
	       b->open[b->depth - 1].text.p[0] != '{';
}

static void add_quoted(struct buf *out, struct span text)
{
	buf_add_byte(out, '"');
	text_escape_utf8(out, text, 60);
	buf_add_byte(out, '"');
}

/* What is wrong with T behind LAST, in a list or not. */
static bool oddity(struct token last, struct token t, bool list, struct buf *out)
{
	bool value = is_mark(last, "=:") || (list && is_mark(last, "([,"));

	if (t.kind == KIND_OPEN_TEXT) {
		buf_addf(
		    out, "the text that begins on line %u has no closing quote", t.line);
	} else if (t.kind == KIND_TEXT && t.last > t.line) {
		buf_addf(out,
		    "the text that begins on line %u ends on line %u, a quote may be missing",
		    t.line, t.last);
	} else if (is_mark(t, "'")) {
		buf_add_text(out, "expected double quotes (\") around texts");
	} else if (is_curly(t.text)) {
		buf_add_text(out, "expected straight double quotes (\") around texts, not those of a "
				  "word processor");
	} else if (value && t.kind == KIND_WORD && !is_plain_value(t.text)) {
		add_quoted(out, t.text);
		buf_add_text(out, is_yes_or_no(t.text)
			? " is not a value here, expected true or false"
			: " needs quotes around it, as all texts, sizes and durations do");
	} else if (list && is_mark(last, ",") && is_mark(t, ")]")) {
		buf_addf(out, "there is a comma too many before \"%c\"", t.text.p[0]);
	} else if (list && is_mark(t, ";")) {
		buf_add_text(
		    out, "items of a list are separated by commas, not semicolons");
	} else if (list && is_mark(last, "}") && is_mark(t, "{")) {
		buf_add_text(out, "a comma is missing between \"}\" and \"{\"");
	} else if (is_mark(last, "=:") && is_mark(t, ";}")) {
		buf_add_text(out, "there is no value behind \"=\"");
	} else {
		return false;
	}
	return true;
}

/* A key has a "=" behind it, and a text at the place of a key is none. */
static bool bad_key(
    struct token before, struct token last, struct token t, struct buf *out)
{
	bool key = last.kind == KIND_WORD && !is_mark(before, "=:,([");
	if (key && !is_mark(t, "=:") && !is_plain_value(last.text)) {
		buf_add_text(out, "there is no \"=\" behind ");
		add_quoted(out, last.text);
		return true;
	}
	if (t.kind == KIND_TEXT && (last.kind == KIND_START || is_mark(last, ";}{"))) {
		buf_add_text(out, "a text stands where a key is expected: ");
		add_quoted(out, t.text);
		return true;
	}
	return false;
}

/* The first oddity is the cause: libconfig went through all before it. */
void scan_hint(struct span text, unsigned line, struct buf *out)
{
	struct scan s = {text, 1};
	struct brackets brackets = {.depth = 0};
	struct token before = {.kind = KIND_START};
	struct token last = before;
	struct token t;

	do {
		t = next_token(&s);
		bool list = in_list(&brackets);
		bool include = last.kind == KIND_WORD && last.text.p[0] == '@';
		if (oddity(last, t, list, out) || mismatch(&brackets, t, out))
			return;
		if (!list && !include && bad_key(before, last, t, out))
			return;
		before = last;
		last = t;
	} while (t.kind != KIND_END && t.line <= line);
	if (t.kind == KIND_END && brackets.depth && brackets.depth <= DEPTH_MAX)
		buf_addf(out, "the \"%c\" of line %u is never closed",
		    brackets.open[brackets.depth - 1].text.p[0],
		    brackets.open[brackets.depth - 1].line);
	else
		buf_add_text(out, "expected key = value; with texts in quotes");
}

unsigned scan_include(struct span text)
{
	struct scan s = {text, 1};
	for (struct token t = next_token(&s); t.kind != KIND_END; t = next_token(&s))
		if (t.kind == KIND_WORD && span_starts_nocase(t.text, "@include"))
			return t.line;
	return 0;
}

/* Does libconfig hold another number than WORD says? */
static bool wraps(struct span word)
{
	char copy[128];
	char *end;

	if (word.n >= sizeof(copy))
		return true;
	memcpy(copy, word.p, word.n);
	copy[word.n] = '\0';
	bool hex = span_starts_nocase(word, "0x");
	errno = 0;
	long long n = strtoll(copy, &end, hex ? 16 : 10);
	if (*end == 'L')
		return errno == ERANGE;
	return *end == '\0' && (errno == ERANGE || n > INT32_MAX || n < INT32_MIN);
}

static bool is_number(struct span word)
{
	size_t sign = word.p[0] == '-' || word.p[0] == '+';
	bool hex = word.n > 2 && span_starts_nocase(word, "0x");
	for (size_t i = hex ? 2 : sign; i < word.n; i++)
		if (!(word.p[i] >= '0' && word.p[i] <= '9') &&
		    !(hex && strchr("abcdefABCDEF", word.p[i])) && word.p[i] != 'L')
			return false;
	return word.n > sign;
}

void scan_numbers(struct report *report, const char *file, struct span text)
{
	struct scan s = {text, 1};
	struct span key = {NULL, 0};
	struct token last = {.kind = KIND_START};

	for (struct token t = next_token(&s); t.kind != KIND_END; t = next_token(&s)) {
		if (is_mark(t, "=:") && last.kind == KIND_WORD)
			key = last.text;
		last = t;
		if (t.kind != KIND_WORD || !is_number(t.text) || !wraps(t.text))
			continue;
		struct buf name = {0};
		struct buf number = {0};
		text_escape(&name, key, 60);
		text_escape(&number, t.text, 40);
		report_add_line(report, file, t.line, name.len ? buf_text(&name) : NULL,
		    "%s is too large a number, expected at most 2147483647",
		    buf_text(&number));
		buf_free(&name);
		buf_free(&number);
	}
}
