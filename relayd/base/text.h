/* SPDX-License-Identifier: MIT
 * Pure questions about bytes: comparison, numbers, base64, escaping, UTF-8.
 * Nothing here knows mail. Bytes from outside are (pointer, length) and may
 * hold NULs; ASCII rules only, never the locale's.
 */
#ifndef RELAYD_BASE_TEXT_H
#define RELAYD_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"

/* A view of bytes that somebody else owns. */
struct span {
	const char *p;
	size_t n;
};

struct span span_text(const char *text); /* of a string; NULL gives an empty span */
struct span span_buf(const struct buf *b);
struct span span_trim(struct span s); /* without SP and HT at both ends */
char *span_dup(struct span s);        /* NUL-terminated copy, free with mem_free */
/* Cut off REST what stands before the first END, and END; all of it where there is none. */
struct span span_cut(struct span *rest, char end);

int text_lower_byte(int c);
bool span_equal(struct span a, struct span b);
bool span_equal_nocase(struct span a, struct span b);
bool span_is(struct span s, const char *text);        /* exact */
bool span_is_nocase(struct span s, const char *text); /* ASCII case folded */
bool span_starts_nocase(struct span s, const char *text);
void text_lower(char *text, size_t n); /* ASCII, in place */

/* Find the bytes of NEEDLE (ASCII case folded); NULL when absent. */
const char *span_find_nocase(struct span s, const char *needle);

/* Decimal digits only, the whole span, at most MAX. Result: false when not. */
bool span_number(struct span s, uint64_t max, uint64_t *value) ATTR_MUST_CHECK;

/* DOMAIN is PARENT or a name below it (ASCII case folded). */
bool span_is_under(struct span domain, struct span parent);

/* Append S so that one line of plain ASCII comes out: control bytes, bytes
 * over 126 and backslashes as \xHH; at most MAX bytes of S are taken, "..."
 * follows when it was cut. */
void text_escape(struct buf *out, struct span s, size_t max);

/* The same, but well-formed UTF-8 outside the C1 controls is kept. */
void text_escape_utf8(struct buf *out, struct span s, size_t max);

/* Well-formed UTF-8 as RFC 3629 has it (no overlong forms, no surrogates). */
bool span_is_utf8(struct span s);
bool span_is_ascii(struct span s);

/* RFC 4648 base64. text_unbase64 takes no line breaks: false for anything else than
 * complete, canonical base64; OUT then holds nothing new. */
void text_base64(struct buf *out, struct span s);
void text_base64_lines(struct buf *out, struct span s); /* MIME's: 76 characters and CRLF */
bool text_unbase64(struct buf *out, struct span s) ATTR_MUST_CHECK;

/* RFC 2045 quoted-printable of one line without its end, in lines of at most 76, the last
 * one ended as well. */
void text_quoted_line(struct buf *out, struct span line);

void text_hex(struct buf *out, struct span s); /* lower case */

#endif
