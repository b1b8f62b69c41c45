/* SPDX-License-Identifier: MIT
 * The header section of a message: cut into fields, read, and rebuilt with
 * changes. Fields that are not changed keep their bytes, since signatures of
 * others may cover them. Input has CRLF line ends only (smtp/body.h).
 */
#ifndef SMTP_HEADER_H
#define SMTP_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

#define HEADER_NAME_MAX 256   /* longer names are refused */
#define HEADER_FIELDS_MAX 2000

struct header_field {
	struct span name;  /* without the colon and white space before it */
	struct span value; /* behind the colon, folds included, final CRLF not */
	struct span whole; /* name to final CRLF included */
};

struct header {
	struct header_field *fields;
	size_t count;
	size_t size;       /* bytes of the section, without the empty line */
	size_t body_start; /* where the body begins; == message length when there is none */
};

/* Cut the section at the start of MESSAGE. A message that does not begin with
 * a field (or whose section ends in a line that is none) has no header there:
 * the fields before it count and the body begins at that line. -1: too many
 * fields, too long a name, control bytes (CR, LF, NUL, VT, FF ...; not HT, ESC,
 * SO, SI) within a field; WHY says which. Spans point into MESSAGE. A last line
 * without CRLF is no field. A mailbox file's "From " line before the first field
 * is in none; SIZE counts it. */
int header_parse(struct span message, struct header *h, struct why *why) ATTR_MUST_CHECK;
void header_free(struct header *h);

/* The Nth (from 0) field of that name, NULL: none. */
const struct header_field *header_find(const struct header *h, const char *name, size_t nth);
size_t header_count(const struct header *h, const char *name);

/* Streaming: where does the header section end in the first bytes of a message?
 * Result: offset of the body (behind the empty line), or 0 while it is not seen
 * in S. FROM: where an earlier call stopped (no byte is looked at twice). */
size_t header_end(struct span s, size_t *from);

/* May C be in a field, apart from the CRLF of its folds? Not what some program or other
 * takes for the end of a line or a text; HT may, and ESC, SO and SI: unencoded Japanese is
 * made of them. */
bool header_byte_is_allowed(char c);

/* Unfold a value into OUT: CRLF removed, trimmed. No CR or LF comes out. */
void header_unfold(struct span value, struct buf *out);

/* The Unix time of a Date field now, as RFC 5322 wants it (UTC offset of the
 * machine's zone): appended to OUT. */
void header_date(struct buf *out, int64_t wall_ms);

#endif
