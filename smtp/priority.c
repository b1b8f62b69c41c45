/* SPDX-License-Identifier: MIT */
#include "smtp/priority.h"

#include <string.h>

/* The value's first word, without folds and comments behind it. */
static struct span first_word(const struct buf *value)
{
	struct span s = span_buf(value);
	size_t n = 0;
	while (n < s.n && !strchr(" \t;(,", s.p[n]))
		n++;
	return (struct span){s.p, n};
}

static bool word_of(const struct header *header, const char *name, struct buf *value,
    struct span *word)
{
	const struct header_field *field = header_find(header, name, 0);
	buf_clear(value);
	if (!field)
		return false;
	header_unfold(field->value, value);
	*word = first_word(value);
	return true;
}

static bool is_explicit(const struct header *header, enum conf_priority *priority)
{
	struct buf value = {0};
	struct span word;
	bool says = word_of(header, PRIORITY_FIELD, &value, &word);
	if (says && span_is_nocase(word, "urgent"))
		*priority = CONF_PRIORITY_URGENT;
	else if (says && span_is_nocase(word, "normal"))
		*priority = CONF_PRIORITY_NORMAL;
	else if (says && span_is_nocase(word, "bulk"))
		*priority = CONF_PRIORITY_BULK;
	else
		says = false;
	buf_free(&value);
	return says;
}

static bool is_bulk(const struct header *header)
{
	struct buf value = {0};
	struct span word;
	bool bulk = header_find(header, "List-Id", 0) || header_find(header, "List-Unsubscribe", 0);
	if (!bulk && word_of(header, "Precedence", &value, &word))
		bulk = span_is_nocase(word, "bulk") || span_is_nocase(word, "list") ||
		       span_is_nocase(word, "junk");
	buf_free(&value);
	return bulk;
}

enum conf_priority priority_of(const struct header *header, enum conf_priority client)
{
	enum conf_priority says;
	if (client == CONF_PRIORITY_BULK)
		return client;
	if (is_explicit(header, &says))
		return says;
	return is_bulk(header) ? CONF_PRIORITY_BULK : client;
}
