/* SPDX-License-Identifier: MIT
 * Memory that is there or the process ends: every size that comes from
 * outside is bounded before it gets here, so running out is not an answer
 * that a peer can provoke, and no caller has a half-built object to undo.
 */
#ifndef RELAYD_BASE_MEM_H
#define RELAYD_BASE_MEM_H

#include <stddef.h>

#include "relayd/base/attr.h"

/* SIZE bytes, not cleared / all zero. Never NULL. Free with mem_free. */
void *mem_alloc(size_t size);
void *mem_zero(size_t size);

/* COUNT items of SIZE bytes, zeroed; a product that overflows aborts. */
void *mem_array(size_t count, size_t size);

/* Resize P (may be NULL) to COUNT items of SIZE bytes; new bytes undefined. */
void *mem_resize(void *p, size_t count, size_t size);

/* A copy of N bytes with a NUL behind; of a string (NULL gives NULL). */
char *mem_copy(const void *p, size_t n);
char *mem_text(const char *text);

void mem_free(void *p);

/* Something big and rare has gone: what it leaves between the rest goes back to the
 * system. */
void mem_trim(void);

/* Overwrite a secret; the compiler can not leave it out. */
void mem_wipe(void *p, size_t n);

/* "This can not happen": says where on stderr and aborts. */
ATTR_NORETURN void bug_at(const char *file, int line, const char *text);
#define bug(text) bug_at(__FILE__, __LINE__, text)

#endif
