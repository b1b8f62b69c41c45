/* SPDX-License-Identifier: MIT
 * Bytes being built: a growing array with its length. A NUL stands behind
 * the last byte (not counted), so data can be handed to printf; it may hold
 * NULs itself. An all-zero struct buf is an empty one.
 */
#ifndef RELAYD_BASE_BUF_H
#define RELAYD_BASE_BUF_H

#include <stddef.h>

#include "relayd/base/attr.h"

struct buf {
	char *data; /* NULL while nothing was ever added */
	size_t len;
	size_t cap;
};

void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_byte(struct buf *b, char c);
void buf_add_text(struct buf *b, const char *text);
void buf_addf(struct buf *b, const char *format, ...) ATTR_PRINTF(2, 3);

/* Room for N more bytes behind len; the caller writes there and raises len. */
char *buf_room(struct buf *b, size_t n);

/* The data as a string, "" for an empty buf. Valid until the next change. */
const char *buf_text(const struct buf *b);

/* Drop the first N bytes (at most len). */
void buf_drop(struct buf *b, size_t n);

/* Empty it and keep the memory / release the memory (and empty it). */
void buf_clear(struct buf *b);
void buf_free(struct buf *b);

/* Overwrite the memory, then release it: for secrets, whose memory was asked for at once
 * (buf_room), so that no half of them stays where it grew out of. */
void buf_wipe(struct buf *b);

/* Hand the bytes over: the caller frees the result with mem_free; B is empty. */
char *buf_take(struct buf *b, size_t *len);

#endif
