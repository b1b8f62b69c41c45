/* SPDX-License-Identifier: MIT
 * A second opinion: verifies a relaxed/relaxed signature (RFC 6376, RFC 8463) by
 * OpenSSL alone, from the message as it is on the wire. Made for signatures of our
 * own; it shares nothing with the signing side, so that a fault there shows.
 */
#include <openssl/err.h>
#include <string.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "relayd/base/why.h"

#define DIGEST_SIZE 32
#define FLUSH_SIZE 65536

/* Cut a line with its CRLF off S; without CRLF the rest is the line. */
static struct span line_take(struct span *s)
{
	struct span line = *s;
	for (size_t i = 0; i + 1 < s->n; i++) {
		const char *cr = memchr(s->p + i, '\r', s->n - 1 - i);
		if (!cr)
			break;
		i = (size_t)(cr - s->p);
		if (cr[1] == '\n') {
			line.n = i + 2;
			break;
		}
	}
	s->p += line.n;
	s->n -= line.n;
	return line;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Cut a field with its folded lines off S. An empty span: the header is over, and
 * the empty line is gone too. */
static struct span field_cut(struct span *s)
{
	struct span field = line_take(s);
	if (field.n == 2 && field.p[0] == '\r')
		return (struct span){NULL, 0};
	while (s->n && is_wsp(s->p[0]))
		field.n += line_take(s).n;
	return field;
}

static bool field_named(struct span field, struct span name)
{
	const char *colon = memchr(field.p, ':', field.n);
	if (!colon)
		return false;
	struct span own = span_trim((struct span){field.p, (size_t)(colon - field.p)});
	return span_equal_nocase(own, name);
}

/* S without CRLF, runs of white space as one space, none at the ends. */
static void add_relaxed(struct buf *out, struct span s)
{
	bool space = false;
	size_t start = out->len;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '\r' || c == '\n')
			continue;
		if (is_wsp(c)) {
			space = true;
			continue;
		}
		if (space && out->len > start)
			buf_add_byte(out, ' ');
		space = false;
		buf_add_byte(out, c);
	}
}

/* RFC 6376 section 3.4.2, without the final CRLF. */
static void add_field(struct buf *out, struct span field)
{
	struct span name = span_trim(span_cut(&field, ':'));
	buf_add(out, name.p, name.n);
	text_lower(out->data + out->len - name.n, name.n);
	buf_add_byte(out, ':');
	add_relaxed(out, field);
}

/* RFC 6376 section 3.4.4: as above, but white space at the start is one space. */
static void add_body_line(struct buf *out, struct span line)
{
	if (line.n && is_wsp(line.p[0])) {
		size_t before = out->len;
		buf_add_byte(out, ' ');
		add_relaxed(out, line);
		if (out->len == before + 1)
			out->len = before;
		return;
	}
	add_relaxed(out, line);
}

static void body_digest(struct span body, unsigned char digest[DIGEST_SIZE])
{
	struct buf text = {0};
	struct buf line = {0};
	size_t empty = 0; /* lines that count only when something follows */
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
	while (good && body.n) {
		buf_clear(&line);
		add_body_line(&line, line_take(&body));
		if (!line.len) {
			empty++;
			continue;
		}
		for (; empty; empty--)
			buf_add(&text, "\r\n", 2);
		buf_add(&text, line.data, line.len);
		buf_add(&text, "\r\n", 2);
		if (text.len > FLUSH_SIZE) {
			good = EVP_DigestUpdate(md, text.data, text.len) == 1;
			buf_clear(&text);
		}
	}
	if (good && text.len)
		good = EVP_DigestUpdate(md, text.data, text.len) == 1;
	if (!good || EVP_DigestFinal_ex(md, digest, NULL) != 1)
		bug("SHA-256 fails");
	EVP_MD_CTX_free(md);
	buf_free(&line);
	buf_free(&text);
}

static struct span trim_fws(struct span s)
{
	while (s.n && (is_wsp(s.p[0]) || s.p[0] == '\r' || s.p[0] == '\n')) {
		s.p++;
		s.n--;
	}
	while (
	    s.n && (is_wsp(s.p[s.n - 1]) || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\n'))
		s.n--;
	return s;
}

static struct span field_value(struct span field)
{
	span_cut(&field, ':');
	return field;
}

/* The value of tag NAME in a list of tags; an empty one when it is not there. */
static struct span tag_find(struct span tags, const char *name)
{
	while (tags.n) {
		struct span value = span_cut(&tags, ';');
		struct span own = span_cut(&value, '=');
		if (span_is(trim_fws(own), name))
			return trim_fws(value);
	}
	return (struct span){"", 0};
}

static bool tag_unbase64(struct span tags, const char *name, struct buf *out)
{
	struct span value = tag_find(tags, name);
	struct buf text = {0};
	for (size_t i = 0; i < value.n; i++)
		if (!is_wsp(value.p[i]) && value.p[i] != '\r' && value.p[i] != '\n')
			buf_add_byte(&text, value.p[i]);
	bool good = text.len && text_unbase64(out, span_buf(&text));
	buf_free(&text);
	return good;
}

/* The signature's own field as it was signed: with an empty b=. */
static void add_signature(struct buf *out, struct span field)
{
	struct buf text = {0};
	struct span tags = field_value(field);
	buf_add(&text, field.p, (size_t)(tags.p - field.p));
	while (tags.n) {
		struct span tag = span_cut(&tags, ';');
		struct span value = tag;
		struct span name = span_cut(&value, '=');
		if (name.n < tag.n && span_is(trim_fws(name), "b"))
			tag.n = name.n + 1;
		buf_add(&text, tag.p, tag.n);
		if (tags.n)
			buf_add_byte(&text, ';');
	}
	add_field(out, span_buf(&text));
	buf_free(&text);
}

struct field {
	struct span text;
	bool used;
};

struct message {
	struct field *field;
	size_t count;
	struct span body;
};

static void message_split(struct message *message, struct span s)
{
	size_t room = 0;
	*message = (struct message){0};
	while (s.n) {
		struct span field = field_cut(&s);
		if (!field.n)
			break;
		if (message->count == room) {
			room = room ? room * 2 : 32;
			message->field =
			    mem_resize(message->field, room, sizeof(struct field));
		}
		message->field[message->count++] = (struct field){.text = field};
	}
	message->body = s;
}

/* RFC 6376 section 5.4.2: from the bottom up, each field once; a name without
 * a field left adds nothing. */
static void add_signed_fields(struct buf *out, struct message *message, struct span names)
{
	while (names.n) {
		struct span name = trim_fws(span_cut(&names, ':'));
		for (size_t i = message->count; i-- > 0;) {
			struct field *field = &message->field[i];
			if (field->used || !field_named(field->text, name))
				continue;
			field->used = true;
			add_field(out, field->text);
			buf_add(out, "\r\n", 2);
			break;
		}
	}
}

static int signature_find(const struct message *message, const char *selector,
    struct span *field, struct why *why)
{
	for (size_t i = 0; i < message->count; i++) {
		*field = message->field[i].text;
		if (field_named(*field, span_text("DKIM-Signature")) &&
		    span_is(tag_find(field_value(*field), "s"), selector))
			return 0;
	}
	return why_set(
	    why, WHY_PERM, "message has no DKIM-Signature with selector %s", selector);
}

/* What we make, and nothing else, is verified here. */
static int tags_check(struct span tags, enum dkim_key_type type, struct why *why)
{
	const char *algorithm = type == DKIM_KEY_RSA ? "rsa-sha256" : "ed25519-sha256";
	if (!span_is(tag_find(tags, "v"), "1"))
		return why_set(why, WHY_PERM, "DKIM-Signature has no v=1");
	if (!span_is(tag_find(tags, "a"), algorithm))
		return why_set(why, WHY_PERM, "DKIM-Signature has no a=%s", algorithm);
	if (!span_is(tag_find(tags, "c"), "relaxed/relaxed"))
		return why_set(why, WHY_PERM, "DKIM-Signature has no c=relaxed/relaxed");
	if (tag_find(tags, "l").n)
		return why_set(
		    why, WHY_PERM, "DKIM-Signature covers a part of the body (l=)");
	if (!tag_find(tags, "d").n || !tag_find(tags, "h").n)
		return why_set(why, WHY_PERM, "DKIM-Signature has no d= or no h=");
	return 0;
}

static int body_verify(struct span tags, struct span body, struct why *why)
{
	unsigned char digest[DIGEST_SIZE];
	struct buf claimed = {0};
	body_digest(body, digest);
	bool good = tag_unbase64(tags, "bh", &claimed) && claimed.len == DIGEST_SIZE &&
		    !memcmp(claimed.data, digest, DIGEST_SIZE);
	buf_free(&claimed);
	return good ? 0
		    : why_set(why, WHY_PERM, "the body is not the one that was signed");
}

/* RSA signs SHA-256 of the text; Ed25519 signs that hash as its message
 * (RFC 8463 section 3). */
static bool text_verify(
    EVP_PKEY *key, enum dkim_key_type type, struct span text, struct span signature)
{
	unsigned char digest[DIGEST_SIZE];
	const unsigned char *p = (const unsigned char *)text.p;
	size_t n = text.n;
	if (type == DKIM_KEY_ED25519) {
		if (EVP_Digest(text.p, text.n, digest, NULL, EVP_sha256(), NULL) != 1)
			bug("SHA-256 fails");
		p = digest;
		n = sizeof(digest);
	}
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool good = md &&
		    EVP_DigestVerifyInit(md, NULL,
			type == DKIM_KEY_RSA ? EVP_sha256() : NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(
			md, (const unsigned char *)signature.p, signature.n, p, n) == 1;
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return good;
}

static int header_verify(struct message *message, struct span field, EVP_PKEY *key,
    enum dkim_key_type type, struct why *why)
{
	struct buf text = {0};
	struct buf signature = {0};
	struct span tags = field_value(field);
	add_signed_fields(&text, message, tag_find(tags, "h"));
	add_signature(&text, field);
	bool good = tag_unbase64(tags, "b", &signature) &&
		    text_verify(key, type, span_buf(&text), span_buf(&signature));
	buf_free(&text);
	buf_free(&signature);
	return good ? 0
		    : why_set(why, WHY_PERM,
			  "the header is not the one that was signed, or the key is "
			  "another");
}

int dkim_check_key(struct span text, EVP_PKEY *key, const char *selector, struct why *why)
{
	enum dkim_key_type type;
	struct message message;
	struct span field = {NULL, 0};
	int result = -1;
	if (dkim_pem_type(key, &type, why))
		return -1;
	message_split(&message, text);
	if (!signature_find(&message, selector, &field, why) &&
	    !tags_check(field_value(field), type, why) &&
	    !body_verify(field_value(field), message.body, why) &&
	    !header_verify(&message, field, key, type, why))
		result = 0;
	mem_free(message.field);
	return result;
}

int dkim_check(
    struct span message, const char *key_file, const char *selector, struct why *why)
{
	EVP_PKEY *key = dkim_pem_read(key_file, why);
	if (!key)
		return -1;
	int result = dkim_check_key(message, key, selector, why);
	EVP_PKEY_free(key);
	return result;
}
