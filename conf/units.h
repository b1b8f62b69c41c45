/* SPDX-License-Identifier: MIT
 * Durations ("90s", "5m", "2h", "5d", "1h30m") and sizes ("64K", "25M", "1G")
 * as the configuration writes them. Numbers without a unit are refused, but
 * for "0": a bare number is where seconds and minutes get mixed up.
 */
#ifndef CONF_UNITS_H
#define CONF_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"

/* Milliseconds, up to 10 years. Units ms s m h d w, several may follow each
 * other in falling order. */
bool units_parse_duration(struct span text, int64_t *ms) ATTR_MUST_CHECK;
/* Bytes, up to 2^50. Units K M G T (powers of 1024), or B. */
bool units_parse_size(struct span text, int64_t *bytes) ATTR_MUST_CHECK;
/* The shortest text that parses to the value. */
void units_print_duration(struct buf *out, int64_t ms);
void units_print_size(struct buf *out, int64_t bytes);

#endif
