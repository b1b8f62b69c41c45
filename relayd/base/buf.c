/* SPDX-License-Identifier: MIT
 * The growing array of buf.h. Capacity doubles; one byte more than asked for
 * is always there, for the NUL.
 */
#include "relayd/base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"

#define FIRST_CAP 256

char *buf_room(struct buf *b, size_t n)
{
	if (n > SIZE_MAX / 2 - b->len - 1)
		bug("buffer size overflow");
	size_t need = b->len + n + 1;
	if (need > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : FIRST_CAP;
		if (cap < need)
			cap = need;
		b->data = mem_resize(b->data, cap, 1);
		b->cap = cap;
	}
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	char *to = buf_room(b, n);
	if (n)
		memcpy(to, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_add_byte(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_add_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_addf(struct buf *b, const char *format, ...)
{
	va_list args;
	/* into the room that is there; once more only when it was too small */
	char *to = buf_room(b, 0);
	size_t room = b->cap - b->len;
	va_start(args, format);
	int n = vsnprintf(to, room, format, args);
	va_end(args);
	if (n < 0)
		bug("bad format");
	if ((size_t)n >= room) {
		to = buf_room(b, (size_t)n);
		va_start(args, format);
		vsnprintf(to, (size_t)n + 1, format, args);
		va_end(args);
	}
	b->len += (size_t)n;
}

const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

void buf_drop(struct buf *b, size_t n)
{
	if (n >= b->len) {
		buf_clear(b);
		return;
	}
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_free(struct buf *b)
{
	mem_free(b->data);
	*b = (struct buf){0};
}

void buf_wipe(struct buf *b)
{
	if (b->data)
		mem_wipe(b->data, b->cap);
	buf_free(b);
}

char *buf_take(struct buf *b, size_t *len)
{
	char *data = buf_room(b, 0) - b->len;
	if (len)
		*len = b->len;
	*b = (struct buf){0};
	return data;
}
