/* SPDX-License-Identifier: MIT
 * A copy of a text in memory of exactly its size, so that the sanitizer sees a
 * parser that reads one byte too far; a string literal's NUL would hide it.
 */
#ifndef TESTS_UNIT_EXACT_H
#define TESTS_UNIT_EXACT_H

#include <stdlib.h>
#include <string.h>

#include "relayd/base/text.h"

/* Free the result's bytes with exact_free. */
static inline struct span exact(const char *text)
{
	size_t n = strlen(text);
	char *p = malloc(n ? n : 1);
	if (!p)
		abort();
	memcpy(p, text, n);
	return (struct span){p, n};
}

static inline void exact_free(struct span s)
{
	free((char *)s.p);
}

#endif
