/* SPDX-License-Identifier: MIT
 * Members of a struct as text and back: "name=value" fields with tabs between
 * them, told by a table. What has its zero value is left out; a name that the
 * table does not have is skipped, so that an older program reads a newer line.
 * Values are escaped: a line is one line of printable ASCII.
 */
#ifndef QUEUE_FIELD_H
#define QUEUE_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"

enum field_type {
	FIELD_TIME,  /* int64_t, ms: 0 or more */
	FIELD_COUNT, /* unsigned, at most MAX */
	FIELD_BIG,   /* uint64_t */
	FIELD_REAL,  /* double, 0 to MAX */
	FIELD_FLAG,  /* bool */
	FIELD_TEXT,  /* char *, owned (mem_free); at most MAX bytes; never NULL after parsing */
	FIELD_CLASS, /* enum verdict_class */
	FIELD_STAGE, /* enum verdict_stage */
	FIELD_LIST,  /* int64_t[MAX], each 0 or more; zeros at the end are left out */
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	size_t max;
};

/* Times beyond this are none of ours: about 142,000 years, so that sums fit. */
#define FIELD_TIME_MAX (INT64_C(1) << 52)

/* Append "\tname=value" for each member of the struct at BASE that is not zero. */
void field_print(struct buf *out, const struct field *fields, size_t count, const void *base);

/* Set all members that the table names, from LINE (fields with tabs between; the
 * first one is the kind of line and skipped); those it does not have become
 * zero. False: a field with a bad value; the struct can be used, and cleared. */
bool field_parse(struct span line, const struct field *fields, size_t count, void *base)
    ATTR_MUST_CHECK;

/* Release the texts. */
void field_clear(const struct field *fields, size_t count, void *base);

#endif
