/* SPDX-License-Identifier: MIT
 * The allocator of mem.h: malloc, or the end of the process with a reason.
 */
#include "relayd/base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *sure(void *p, size_t size)
{
	if (!p) {
		fprintf(stderr, "relayd: out of memory (%zu bytes wanted)\n", size);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return sure(malloc(size ? size : 1), size);
}

void *mem_zero(size_t size)
{
	return sure(calloc(1, size ? size : 1), size);
}

void *mem_array(size_t count, size_t size)
{
	return sure(calloc(count ? count : 1, size ? size : 1), count);
}

void *mem_resize(void *p, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		bug("size overflow");
	size_t bytes = count * size;
	return sure(realloc(p, bytes ? bytes : 1), bytes);
}

char *mem_copy(const void *p, size_t n)
{
	if (n == SIZE_MAX)
		bug("size overflow");
	char *copy = mem_alloc(n + 1);
	if (n)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

char *mem_text(const char *text)
{
	return text ? mem_copy(text, strlen(text)) : NULL;
}

void mem_free(void *p)
{
	free(p);
}

void mem_trim(void)
{
	malloc_trim(0);
}

void mem_wipe(void *p, size_t n)
{
	if (n)
		explicit_bzero(p, n);
}

void bug_at(const char *file, int line, const char *text)
{
	fprintf(stderr, "relayd: bug at %s:%d: %s\n", file, line, text);
	abort();
}
