/* SPDX-License-Identifier: MIT
 * Collecting the mistakes of a configuration, and handing them out in the
 * order of the file. For conf/, and what scan.h finds in rule files.
 */
#ifndef CONF_REPORT_H
#define CONF_REPORT_H

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "relayd/base/attr.h"
#include "relayd/base/buf.h"

struct report_entry;

struct report {
	const char *file; /* the main file's name */
	struct report_entry *entries;
	size_t kept;
	size_t count; /* all of them, also those that are not kept */
};

/* Something is wrong with KEY at the setting AT (NULL: nowhere in particular).
 * Text of the file that was not checked yet must be escaped by the caller. */
void report_add(struct report *report, const config_setting_t *at, const char *key,
    const char *format, ...) ATTR_PRINTF(4, 5);

/* The same for a line of FILE as libconfig calls it (NULL: the main file);
 * LINE 0: the file as a whole; KEY may be NULL. */
void report_add_line(struct report *report, const char *file, unsigned line, const char *key,
    const char *format, ...) ATTR_PRINTF(5, 6);

/* Is something said already of the setting AT, which has a name (no item of an array)?
 * Then its value is not to be believed. What report_add_line was told of that name on
 * that line is said of it. */
bool report_has(const struct report *report, const config_setting_t *at);

/* The path of an included file: libconfig names it as the @include does, which
 * is relative to the folder of the main file. */
void report_file(const struct report *report, const char *file, struct buf *out);

/* FILE:LINE of the setting AT (NULL: FILE alone); free with mem_free. */
char *report_place(const struct report *report, const config_setting_t *at);

/* Move everything into ERRORS, sorted, and release the report's memory. */
void report_finish(struct report *report, struct conf_errors *errors);

#endif
