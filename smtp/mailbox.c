/* SPDX-License-Identifier: MIT
 * Mailboxes in header fields (smtp/address.h). Written for what is really sent:
 * a display name may hold nearly anything, encoded or raw; the address itself
 * is judged by the same scanner as one of the envelope.
 */
#include <string.h>

#include "smtp/address.h"
#include "smtp/header.h"

#define SHIFT_JIS_MAX 1000 /* bytes of a field behind which no name in Shift_JIS is looked for */
#define ESC '\x1b'
#define SO '\x0e'
#define SI '\x0f'

/* The field and a place in it; AT never passes the end. */
struct cursor {
	struct span field;
	size_t at;
};

static struct span rest_of(const struct cursor *c)
{
	return (struct span){c->field.p + c->at, c->field.n - c->at};
}

static struct span between(const struct cursor *c, size_t from, size_t to)
{
	return (struct span){c->field.p + from, to - from};
}

/* SP, HT, and the CRLF of folds */
static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_shift(char c)
{
	return c == ESC || c == SO || c == SI;
}

/* Those that shift belong to scan_jis; what it does not take is malformed. */
static bool is_bad_control(char c)
{
	return is_shift(c) || (!is_space(c) && !header_byte_is_allowed(c));
}

static bool holds_any(struct span s, const char *bytes)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] && strchr(bytes, s.p[i]))
			return true;
	return false;
}

/* From AT to the byte END, with nothing but '!' to LAST before it. 0: something else is. */
static size_t scan_graphic(struct span s, size_t at, char last, char end)
{
	while (at < s.n && s.p[at] > ' ' && s.p[at] <= last)
		at++;
	return at < s.n && s.p[at] == end ? at : 0;
}

/* Unencoded ISO-2022-JP at ESC or SO: its two-byte part, and the kana from SO to SI, look
 * like any ASCII, quotes and angles included; the former lasts until the next ESC. Bytes of
 * it, 0: it is something else. */
static size_t scan_jis(struct span s)
{
	if (s.p[0] == SO) {
		size_t end = scan_graphic(s, 1, '_', SI);
		return end ? end + 1 : 0;
	}
	if (s.p[0] != ESC || s.n < 4)
		return 0;
	if (s.p[1] == '(')
		return memchr("BJIH", s.p[2], 4) ? 3 : 0;
	/* "$B" and "$@" are JIS X 0208; "$(D" is JIS X 0212, "$(O" to "$(Q" JIS X 0213 */
	if (s.p[1] != '$' || !memchr("B@(", s.p[2], 3))
		return 0;
	if (s.p[2] == '(')
		return memchr("B@DOPQ", s.p[3], 6) ? scan_graphic(s, 4, '~', ESC) : 0;
	return scan_graphic(s, 3, '~', ESC);
}

/* The charset of an encoded word: a token of RFC 2047 section 2. */
static size_t scan_charset(struct span s)
{
	size_t i = 0;
	while (i < s.n && s.p[i] > ' ' && s.p[i] < 127 && !strchr("()<>@,;:\"/[]?.=", s.p[i]))
		i++;
	return i;
}

/* May an encoded word hold TEXT? Readers that know of none must find the same addresses: they
 * may see a list whose other members have no domain, but no <>, quote or comment, nor an
 * address that a special byte ends. (Without one its domain ends in the "?=".) */
static bool is_harmless(struct span text)
{
	const char *at = text.n ? memchr(text.p, '@', text.n) : NULL;
	if (holds_any(text, "<>\"()"))
		return false;
	return !at || (!holds_any(text, ",;:[]\\") &&
			  !memchr(at + 1, '@', text.n - (size_t)(at + 1 - text.p)));
}

/* An encoded text up to its "?=". A word does not hold the beginning of another one: so a
 * byte is not looked at from each of many of them. */
static size_t scan_encoded_text(struct span s)
{
	for (size_t i = 0; i + 1 < s.n; i++) {
		if (is_space(s.p[i]) || is_bad_control(s.p[i]))
			return 0;
		if (s.p[i] == '?' && s.p[i + 1] == '=')
			return i + 2;
		if (s.p[i] == '=' && s.p[i + 1] == '?')
			return 0;
	}
	return 0;
}

size_t mailbox_encoded_word(struct span s, bool any)
{
	if (s.n < 2 || s.p[0] != '=' || s.p[1] != '?')
		return 0;
	size_t charset = scan_charset((struct span){s.p + 2, s.n - 2});
	const char *p = s.p + 2 + charset; /* "?Q?" */
	size_t head = charset + 5;
	if (charset == 0 || s.n < head || p[0] != '?' || !memchr("BbQq", p[1], 4) || p[2] != '?')
		return 0;
	size_t n = scan_encoded_text((struct span){s.p + head, s.n - head});
	return n && (any || is_harmless((struct span){s.p + head, n - 2})) ? head + n : 0;
}

/* Bytes of a character of two in Shift_JIS at S; 0: there is none. */
static size_t scan_shift_jis(struct span s)
{
	unsigned char lead = (unsigned char)s.p[0];
	unsigned char trail = s.n > 1 ? (unsigned char)s.p[1] : 0;
	bool leads = (lead >= 0x81 && lead <= 0x9f) || (lead >= 0xe0 && lead <= 0xfc);
	return leads && trail >= 0x40 && trail <= 0xfc && trail != 0x7f ? 2 : 0;
}

/* From OPEN to CLOSE with backslashes; comments nest. SHIFT_JIS: its characters are passed
 * over, whatever their second byte is. 0: no end, or a control. */
static size_t scan_enclosed(struct span s, char open, char close, bool shift_jis)
{
	size_t depth = 1; /* the byte at 0 opens it */
	for (size_t i = 1; i < s.n; i++) {
		char c = s.p[i];
		struct span rest = {s.p + i, s.n - i};
		size_t japanese = 0;
		if (is_shift(c))
			japanese = scan_jis(rest);
		else if (shift_jis)
			japanese = scan_shift_jis(rest);
		if (japanese) {
			i += japanese - 1;
			continue;
		}
		if (c == '\\' && i + 1 < s.n)
			c = s.p[++i];
		else if (c == close && --depth == 0)
			return i + 1;
		else if (c == open && c != close)
			depth++;
		if (is_bad_control(c))
			return 0;
	}
	return 0;
}

/* A quoted name. In unencoded Shift_JIS the last character before the closing quote may end
 * in a backslash. So it is read only where the field has no other meaning and is not UTF-8;
 * the limit keeps the second look from being taken again and again over a long field. */
static size_t scan_quoted(struct span s)
{
	size_t n = scan_enclosed(s, '"', '"', false);
	if (n == 0 && s.n <= SHIFT_JIS_MAX && !span_is_utf8(s))
		n = scan_enclosed(s, '"', '"', true);
	return n;
}

size_t mailbox_comment(struct span s)
{
	return s.n && s.p[0] == '(' ? scan_enclosed(s, '(', ')', false) : 0;
}

/* Pass over white space and comments; false: a comment has no end. */
static bool skip_space(struct cursor *c)
{
	while (c->at < c->field.n) {
		if (is_space(c->field.p[c->at])) {
			c->at++;
			continue;
		}
		if (c->field.p[c->at] != '(')
			return true;
		size_t n = mailbox_comment(rest_of(c));
		if (n == 0)
			return false;
		c->at += n;
	}
	return true;
}

/* "[...]", or its first byte alone: raw Shift_JIS has it as the second one of a character,
 * and other readers may not take it for a bracket. */
static size_t scan_brackets(struct span s)
{
	for (size_t i = 1; i < s.n && i < ADDRESS_DOMAIN_MAX; i++) {
		if (s.p[i] == ']')
			return i + 1;
		if (s.p[i] && strchr("[<>()\"\\", s.p[i]))
			return 1;
	}
	return 1;
}

/* Bytes of the next piece of a phrase or an address; 0: it can not be one. What
 * is not a token of its own is taken byte by byte: the address scanner refuses
 * in an address what a display name may hold. */
static size_t scan_token(struct span s)
{
	switch (s.p[0]) {
	case '"':
		return scan_quoted(s);
	case '[':
		return scan_brackets(s);
	case '=': {
		size_t n = mailbox_encoded_word(s, false);
		return n ? n : 1;
	}
	case ESC:
	case SO:
		return scan_jis(s);
	case ')':
	case '>':
		return 0;
	default:
		return is_bad_control(s.p[0]) ? 0 : 1;
	}
}

bool mailbox_has_bare_at(struct span phrase)
{
	bool utf8 = span_is_utf8(phrase);
	size_t i = 0;
	while (i < phrase.n) {
		struct span rest = {phrase.p + i, phrase.n - i};
		size_t n = mailbox_comment(rest);
		if (n == 0 && *rest.p == '@') {
			/* not the second byte of one in Shift_JIS, as of its wide space */
			if (i == 0 || utf8 || !scan_shift_jis((struct span){rest.p - 1, 2}))
				return true;
		} else if (n == 0 && *rest.p != '[') {
			n = scan_token(rest);
		}
		i += n ? n : 1;
	}
	return false;
}

/* Tokens up to a byte of STOP or the end. FROM and TO: what they span, without
 * white space and comments around. False: malformed. */
static bool take_tokens(struct cursor *c, const char *stop, size_t *from, size_t *to)
{
	if (!skip_space(c))
		return false;
	*from = *to = c->at;
	while (c->at < c->field.n) {
		char next = c->field.p[c->at];
		if (next && strchr(stop, next))
			return true;
		size_t n = scan_token(rest_of(c));
		if (n == 0)
			return false;
		c->at += n;
		*to = c->at;
		if (!skip_space(c))
			return false;
	}
	return true;
}

static bool is_separator(char c)
{
	return c == ',' || c == ';';
}

/* SPEC is an address with or without a source route. */
static bool take_spec(struct span spec, struct mailbox *m)
{
	size_t route = address_route(spec);
	m->spec = spec;
	return address_parse((struct span){spec.p + route, spec.n - route}, &m->address);
}

/* "<address>" at the cursor, behind a phrase that begins at START. */
static bool take_angle(struct cursor *c, size_t start, struct mailbox *m)
{
	size_t from;
	size_t to;
	c->at++;
	if (!take_tokens(c, "<>", &from, &to) || c->at == c->field.n ||
	    c->field.p[c->at] != '>')
		return false;
	c->at++;
	m->whole = between(c, start, c->at);
	if (!skip_space(c) || (c->at < c->field.n && !is_separator(c->field.p[c->at])))
		return false;
	if (to > from)
		return take_spec(between(c, from, to), m);
	/* "<>" is what programs write that know no address; it can be repaired */
	m->spec = m->address.text = m->address.local = m->address.domain =
	    between(c, from, from);
	m->address.form = ADDRESS_NULL;
	return true;
}

static enum mailbox_result take_mailbox(struct cursor *c, struct mailbox *m)
{
	size_t from;
	size_t to;
	for (;;) {
		if (!take_tokens(c, ",;:<", &from, &to))
			return MAILBOX_BAD;
		char next = c->at < c->field.n ? c->field.p[c->at] : ',';
		if (next == '<') {
			m->display = between(c, from, to);
			return take_angle(c, from, m) ? MAILBOX_FOUND : MAILBOX_BAD;
		}
		if (next == ':' && (to == from || mailbox_has_bare_at(between(c, from, to))))
			return MAILBOX_BAD;
		if (is_separator(next) && to > from) {
			m->whole = between(c, from, to);
			m->display = between(c, from, from);
			return take_spec(m->whole, m) ? MAILBOX_FOUND : MAILBOX_BAD;
		}
		/* an empty member, or the name of a group, which is entered */
		if (c->at == c->field.n)
			return MAILBOX_END;
		c->at++;
	}
}

enum mailbox_result mailbox_next(struct span field, size_t *at, struct mailbox *m)
{
	struct cursor c = {field, *at < field.n ? *at : field.n};
	struct mailbox found = {0};
	enum mailbox_result result = take_mailbox(&c, &found);
	if (result == MAILBOX_FOUND)
		*m = found;
	*at = result == MAILBOX_FOUND ? c.at : field.n;
	return result;
}

/* ---- unencoded Japanese, as others read it ---- */

/* The domain at the start of S, up to a special byte, without white space and COMMENTS; CLOSES
 * is the last ")". Result: bytes. */
static size_t scan_plain_domain(struct span s, bool comments, const char *closes, struct buf *out)
{
	size_t i = 0;
	buf_clear(out);
	for (; i < s.n && !(s.p[i] && strchr("<>,;:@", s.p[i])); i++) {
		const char *p = s.p + i;
		if (comments && *p == '(' && closes && p < closes)
			i = (size_t)((const char *)memchr(p, ')', s.n - i) - s.p);
		else if (!is_space(*p))
			buf_add_byte(out, *p);
	}
	if (out->len && out->data[out->len - 1] == '.')
		out->data[--out->len] = '\0';
	return i;
}

static bool is_dotted_name(struct span d)
{
	return d.n && domain_scan(d) == d.n && memchr(d.p, '.', d.n);
}

static void add_plain(struct span field, bool comments, struct buf *lines)
{
	const char *closes = memrchr(field.p, ')', field.n);
	struct buf domain = {0};
	bool angle = false;
	size_t start = 0; /* of the local part */
	for (size_t i = 0; i < field.n;) {
		char c = field.p[i++];
		if (c == '<' || c == '>')
			angle = c == '<';
		if (c && strchr("<>,;:", c))
			start = i;
		if (c != '@')
			continue;
		struct span local = {field.p + start, i - 1 - start};
		struct span rest = {field.p + i, field.n - i};
		i += scan_plain_domain(rest, comments, closes, &domain);
		char end = i < field.n ? field.p[i] : '\0';
		if (((angle && end == '>') || end == ',') && is_dotted_name(span_buf(&domain))) {
			header_unfold(local, lines);
			buf_addf(lines, "@%s\n", buf_text(&domain));
		}
		start = i;
	}
	buf_free(&domain);
}

void mailbox_plain(struct span field, struct buf *lines)
{
	bool shifts = false;
	for (size_t i = 0; i < field.n && !shifts; i++)
		shifts = is_shift(field.p[i]);
	if (!shifts)
		return;
	add_plain(field, true, lines);
	add_plain(field, false, lines);
}

bool mailbox_plain_next(struct span *lines, struct address *a)
{
	struct span line = span_cut(lines, '\n');
	const char *at = line.n ? memrchr(line.p, '@', line.n) : NULL;
	if (!at)
		return false;
	size_t local = (size_t)(at - line.p);
	*a = (struct address){.form = ADDRESS_DOMAIN,
	    .text = line,
	    .local = {line.p, local},
	    .domain = {at + 1, line.n - local - 1}};
	return true;
}
