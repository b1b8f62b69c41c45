/* SPDX-License-Identifier: MIT
 * The text of one message while relay-sendmail holds it: in memory up to 1 MiB,
 * then in a file without a name in $TMPDIR or /tmp.
 */
#ifndef RELAYD_SENDMAIL_STORE_H
#define RELAYD_SENDMAIL_STORE_H

#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

struct sendmail_store { /* all zero: empty */
	struct buf memory;
	int file; /* 0: none yet (0 is always taken, main sees to that) */
	uint64_t size;
};

int sendmail_store_add(struct sendmail_store *store, struct span s, struct why *why)
    ATTR_MUST_CHECK;

/* Up to N bytes from OFFSET into TO. Result: how many, 0 at the end, -1: WHY. */
int64_t sendmail_store_read(const struct sendmail_store *store, uint64_t offset, char *to,
    size_t n, struct why *why) ATTR_MUST_CHECK;

void sendmail_store_free(struct sendmail_store *store);

#endif
