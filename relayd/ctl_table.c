/* SPDX-License-Identifier: MIT
 * Rows as a table. Widths are those of the first thousand rows, so that a list
 * of a million needs no memory for all of them. Control bytes do not come this
 * far: the daemon has escaped them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/buf.h"
#include "relayd/base/mem.h"
#include "relayd/ctl.h"

#define WIDTH_MAX 60 /* but for the last column */
#define ROWS_KEPT 1000

void ctl_table_init(struct ctl_table *t, const char *columns)
{
	*t = (struct ctl_table){0};
	while (*columns) {
		size_t n = strcspn(columns, " ");
		t->columns = mem_resize(t->columns, t->column_count + 1, sizeof(char *));
		t->columns[t->column_count++] = mem_copy(columns, n);
		columns += n + (columns[n] == ' ');
	}
}

static bool is_seconds(const char *column)
{
	return strcmp(column, "age") == 0 || strcmp(column, "next") == 0 ||
	       strcmp(column, "paused") == 0 || strcmp(column, "since") == 0;
}

void ctl_add_seconds(struct buf *out, int64_t s)
{
	if (s >= 2 * 86400)
		buf_addf(out, "%" PRId64 "d", s / 86400);
	else if (s >= 2 * 3600)
		buf_addf(out, "%" PRId64 "h", s / 3600);
	else if (s >= 120)
		buf_addf(out, "%" PRId64 "m", s / 60);
	else
		buf_addf(out, "%" PRId64 "s", s);
}

const char *ctl_text(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));
	return text ? text : "";
}

int64_t ctl_number(const json_t *row, const char *name)
{
	return json_integer_value(json_object_get(row, name));
}

/* A time for programs, which stands beside the same one for people. */
static bool is_raw_time(const char *name)
{
	size_t n = strlen(name);
	return n > 3 && strcmp(name + n - 3, "_ms") == 0;
}

static void add_value(struct buf *out, const char *column, const json_t *value)
{
	if (json_is_string(value)) {
		buf_add_text(out, json_string_value(value));
	} else if (json_is_integer(value) && is_seconds(column)) {
		ctl_add_seconds(out, json_integer_value(value));
	} else if (json_is_integer(value)) {
		buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if (json_is_real(value)) {
		buf_addf(out, "%.1f", json_real_value(value));
	} else if (json_is_boolean(value)) {
		buf_add_text(out, json_is_true(value) ? "yes" : "no");
	} else if (json_is_array(value)) {
		size_t n = json_array_size(value);
		if (n)
			add_value(out, column, json_array_get(value, 0));
		if (n > 1)
			buf_addf(out, " (+%zu)", n - 1);
	} else if (json_is_object(value)) {
		const char *key;
		json_t *part;
		const char *gap = "";
		json_object_foreach ((json_t *)(uintptr_t)value, key, part) {
			if (is_raw_time(key))
				continue;
			buf_addf(out, "%s%s=", gap, key);
			add_value(out, "", part);
			gap = " ";
		}
	}
}

/* A fact that tells people nothing: --json has it. */
static bool is_idle_fact(const json_t *row)
{
	const char *what = json_string_value(json_object_get(row, "what"));
	const char *value = json_string_value(json_object_get(row, "value"));
	return what && (is_raw_time(what) || (value && !value[0]));
}

void ctl_table_add(struct ctl_table *t, const json_t *row)
{
	if (is_idle_fact(row))
		return;
	char **cells = mem_array(t->column_count, sizeof(char *));
	for (size_t i = 0; i < t->column_count; i++) {
		struct buf text = {0};
		add_value(&text, t->columns[i], json_object_get(row, t->columns[i]));
		cells[i] = buf_take(&text, NULL);
	}
	t->rows = mem_resize(t->rows, t->row_count + 1, sizeof(char **));
	t->rows[t->row_count++] = cells;
	if (t->row_count == ROWS_KEPT)
		ctl_table_print(t);
}

/* Columns that a terminal needs for UTF-8 text, wide characters apart. */
static size_t columns_of(const char *text)
{
	size_t n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static size_t width_of(const struct ctl_table *t, size_t column)
{
	size_t width = strlen(t->columns[column]);
	for (size_t i = 0; i < t->row_count; i++)
		if (columns_of(t->rows[i][column]) > width)
			width = columns_of(t->rows[i][column]);
	return width < WIDTH_MAX ? width : WIDTH_MAX;
}

static void print_line(const struct ctl_table *t, char *const *cells)
{
	for (size_t i = 0; i + 1 < t->column_count; i++) {
		size_t n = columns_of(cells[i]);
		int gap = n < t->widths[i] ? (int)(t->widths[i] - n) : 0;
		printf("%s%*s  ", cells[i], gap, "");
	}
	printf("%s\n", cells[t->column_count - 1]);
}

static void drop_rows(struct ctl_table *t)
{
	for (size_t i = 0; i < t->row_count; i++) {
		for (size_t k = 0; k < t->column_count; k++)
			mem_free(t->rows[i][k]);
		mem_free(t->rows[i]);
	}
	mem_free(t->rows);
	t->rows = NULL;
	t->row_count = 0;
}

void ctl_table_print(struct ctl_table *t)
{
	if (t->column_count == 0 || t->row_count == 0)
		return;
	if (!t->widths) {
		t->widths = mem_array(t->column_count, sizeof(*t->widths));
		for (size_t i = 0; i < t->column_count; i++)
			t->widths[i] = width_of(t, i);
		print_line(t, t->columns);
	}
	for (size_t i = 0; i < t->row_count; i++)
		print_line(t, t->rows[i]);
	drop_rows(t);
}

void ctl_table_clear(struct ctl_table *t)
{
	drop_rows(t);
	for (size_t k = 0; k < t->column_count; k++)
		mem_free(t->columns[k]);
	mem_free(t->columns);
	mem_free(t->widths);
	*t = (struct ctl_table){0};
}
