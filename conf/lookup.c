/* SPDX-License-Identifier: MIT
 * Finding rows of the table, and guessing which one was meant.
 */
#include <string.h>

#include "conf/table.h"

/* Names longer than this are no misspelling of any key. */
#define GUESS_MAX 40

static bool is_child(const struct table_row *parent, const struct table_row *row)
{
	const char *rest = row->path;
	if (parent) {
		size_t n = strlen(parent->path);
		if (strncmp(rest, parent->path, n) != 0 || rest[n] != '.')
			return false;
		rest += n + 1;
	}
	return !strchr(rest, '.');
}

const struct table_row *table_next(
    const struct table_row *parent, const struct table_row *last)
{
	const struct table_row *row = last ? last + 1 : parent ? parent + 1 : table_rows;
	for (; row < table_rows + table_size; row++)
		if (is_child(parent, row))
			return row;
	return NULL;
}

const char *table_name(const struct table_row *row)
{
	const char *dot = strrchr(row->path, '.');
	return dot ? dot + 1 : row->path;
}

const struct table_row *table_find(const struct table_row *parent, const char *name)
{
	const struct table_row *row = table_next(parent, NULL);
	while (row && strcmp(table_name(row), name) != 0)
		row = table_next(parent, row);
	return row;
}

/* How many letters must be put in, left out or changed to make A of B, case
 * aside: Levenshtein's table, one line of it at a time. */
static size_t distance(const char *a, const char *b)
{
	size_t line[GUESS_MAX + 1];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		line[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = line[0];
		line[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			bool same = text_lower_byte(a[i]) == text_lower_byte(b[j]);
			size_t best = diagonal + !same;
			diagonal = line[j + 1];
			if (line[j] + 1 < best)
				best = line[j] + 1;
			if (diagonal + 1 < best)
				best = diagonal + 1;
			line[j + 1] = best;
		}
	}
	return line[n];
}

/* "queue_lifetime" for "queue.lifetime", as other programs call their keys. */
static bool is_joined(const char *path, const char *name)
{
	while (*path && (*path == *name || (*path == '.' && *name == '_')))
		path++, name++;
	return *path == *name;
}

const char *table_nearest(const struct table_row *parent, const char *name)
{
	const struct table_row *best = NULL;
	const struct table_row *row = NULL;
	size_t length = strlen(name);

	if (length > GUESS_MAX)
		return NULL;
	size_t nearest = length / 3 + 2; /* farther off is no misspelling */
	while ((row = table_next(parent, row))) {
		size_t d = distance(table_name(row), name);
		if (d < nearest && d < strlen(table_name(row))) {
			nearest = d;
			best = row;
		}
	}
	if (best)
		return table_name(best);
	for (size_t i = 0; i < table_size; i++)
		if (strcmp(table_name(&table_rows[i]), name) == 0 ||
		    is_joined(table_rows[i].path, name))
			return table_rows[i].path;
	return NULL;
}

void *table_field(const struct table_row *row, void *base)
{
	return (char *)base + row->offset;
}

size_t *table_count(const struct table_row *row, void *base)
{
	return (size_t *)(void *)((char *)base + row->count);
}
