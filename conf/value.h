/* SPDX-License-Identifier: MIT
 * Single values of the configuration: from the text or number of a file into
 * the field of a struct, back into the file's syntax, and released. What a
 * value is follows from its row. Internal to conf/.
 *
 * BASE is the struct that the row's field is in. A value that is refused
 * leaves the field as it was; WHY then reads well behind "KEY: VALUE: ".
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/table.h"
#include "relayd/base/buf.h"
#include "relayd/base/why.h"

/* The default of the row; a field whose default is made later gets the value
 * that means "not given": "" or 0. Groups and lists are none of its business. */
void value_set_default(const struct table_row *row, void *base);

/* For texts, enums, sizes and durations. */
int value_set_text(const struct table_row *row, void *base, struct span text,
    struct why *why) ATTR_MUST_CHECK;
int value_set_number(const struct table_row *row, void *base, int64_t number,
    struct why *why) ATTR_MUST_CHECK;
void value_set_flag(const struct table_row *row, void *base, bool flag);

/* One more for the types that hold several. */
int value_append(const struct table_row *row, void *base, struct span text,
    struct why *why) ATTR_MUST_CHECK;

/* After a refusal: a text is "" then, and one more of several is an empty one, so that
 * places agree with the file. What is of another type stays as it was. */
void value_refuse(const struct table_row *row, void *base);

/* Release what the field holds and set it to nothing (not for groups, lists). */
void value_clear(const struct table_row *row, void *base);

/* Is there something to print? A number outside of its range is "not given". */
bool value_is_set(const struct table_row *row, void *base);
void value_print(const struct table_row *row, void *base, struct buf *out);

/* A text in quotes as libconfig reads it. */
void value_quote(struct buf *out, struct span text);

/* What the file should hold for the row: 'a size in quotes, like "25M"'. */
void value_expected(const struct table_row *row, struct buf *out);
/* "1 to 64" */
void value_range(const struct table_row *row, struct buf *out);
/* Its type and, where it has one, its range, in a few words. */
void value_kind(const struct table_row *row, struct buf *out);
/* Its default as the file would have it, or in words. */
void value_standard(const struct table_row *row, struct buf *out);

#endif
