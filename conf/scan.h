/* SPDX-License-Identifier: MIT
 * A second look at the text of a configuration file, for what libconfig does
 * not tell: why a line is a syntax error, which whole numbers were too large for
 * it (it wraps them without a word), and whether another file is asked for. For
 * conf/, and for rule files, which are in the same syntax.
 */
#ifndef CONF_SCAN_H
#define CONF_SCAN_H

#include "conf/report.h"
#include "relayd/base/text.h"

/* Append what is most likely wrong at or before LINE of TEXT. */
void scan_hint(struct span text, unsigned line, struct buf *out);

/* Report the numbers of TEXT (of FILE, NULL: the main file) that wrapped. */
void scan_numbers(struct report *report, const char *file, struct span text);

/* The line of the first @include of TEXT, 0: there is none. In a comment or a text of the
 * file the word means nothing. */
unsigned scan_include(struct span text);

#endif
