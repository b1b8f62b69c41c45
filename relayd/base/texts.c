/* SPDX-License-Identifier: MIT */
#include "relayd/base/texts.h"

#include "relayd/base/mem.h"

void texts_add(struct texts *texts, char *text)
{
	texts->list = mem_resize(texts->list, texts->count + 1, sizeof(*texts->list));
	texts->list[texts->count++] = text;
}

void texts_clear(struct texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		mem_free(texts->list[i]);
	mem_free(texts->list);
	*texts = (struct texts){0};
}
