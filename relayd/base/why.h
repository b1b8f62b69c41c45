/* SPDX-License-Identifier: MIT
 * The reason of a failure, handed up to whoever decides what to do with it.
 * A function that can fail returns 0 / -1 and fills a struct why, its last
 * argument; it does not log. Text from outside must be escaped before it
 * gets in here (text_escape), since reasons are logged and shown as they are.
 */
#ifndef RELAYD_BASE_WHY_H
#define RELAYD_BASE_WHY_H

#include "relayd/base/attr.h"

enum why_kind {
	WHY_NONE,  /* nothing has failed */
	WHY_TEMP,  /* may work later: network, load, the other side */
	WHY_PERM,  /* will not work as asked */
	WHY_LOCAL, /* this machine: disk, descriptors, configuration */
};

struct why {
	enum why_kind kind;
	char text[248];
};

/* Fill WHY (may be NULL) with kind and text (cut when too long).
 * Result: always -1, so that a caller can write `return why_set(...)`. */
int why_set(struct why *why, enum why_kind kind, const char *format, ...)
    ATTR_PRINTF(3, 4);

/* The same, with ": " and the text of errno ERROR behind. */
int why_errno(struct why *why, enum why_kind kind, int error, const char *format, ...)
    ATTR_PRINTF(4, 5);

/* Put a prefix "TEXT: " before what WHY holds already. Result: -1. */
int why_prefix(struct why *why, const char *format, ...) ATTR_PRINTF(2, 3);

#endif
