/* SPDX-License-Identifier: MIT
 * Printing from the table: the effective configuration, the commented sample
 * and the section of the man page.
 */
#include <string.h>

#include "conf/conf.h"
#include "conf/table.h"
#include "conf/value.h"
#include "relayd/base/mem.h"

#define COLUMNS 78

static void add_tabs(struct buf *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		buf_add_byte(out, '\t');
}

static void print_group(
    const struct table_row *parent, void *base, unsigned depth, struct buf *out);

static void print_list(
    const struct table_row *row, void *base, unsigned depth, struct buf *out)
{
	char **items = table_field(row, base);
	size_t count = *table_count(row, base);

	buf_add_text(out, "(");
	for (size_t i = 0; i < count; i++) {
		buf_add_text(out, i ? ", {\n" : " {\n");
		print_group(row, *items + i * row->item, depth + 1, out);
		add_tabs(out, depth);
		buf_add_byte(out, '}');
	}
	buf_add_text(out, " )");
}

static void print_group(
    const struct table_row *parent, void *base, unsigned depth, struct buf *out)
{
	const struct table_row *row = NULL;
	while ((row = table_next(parent, row))) {
		if (!value_is_set(row, base))
			continue;
		add_tabs(out, depth);
		buf_addf(out, "%s = ", table_name(row));
		if (row->type == TABLE_GROUP) {
			buf_add_text(out, "{\n");
			print_group(row, base, depth + 1, out);
			add_tabs(out, depth);
			buf_add_byte(out, '}');
		} else if (row->type == TABLE_LIST) {
			print_list(row, base, depth, out);
		} else {
			value_print(row, base, out);
		}
		buf_add_text(out, ";\n");
	}
}

void conf_print(const struct conf *conf, struct buf *out)
{
	/* the table's accessors serve readers and writers; nothing is changed */
	print_group(NULL, (void *)conf, 0, out);
}

void conf_print_key(const struct conf *conf, const char *path, struct buf *out)
{
	const struct table_row *row = table_rows;
	while (row < table_rows + table_size && strcmp(row->path, path) != 0)
		row++;
	if (row == table_rows + table_size)
		bug("a key that the table does not know");
	if (row->type == TABLE_GROUP)
		print_group(row, (void *)conf, 0, out);
	else
		value_print(row, (void *)conf, out);
}

/* TEXT in lines that begin with INDENT. */
static void wrap(struct buf *out, const char *indent, const char *text)
{
	size_t column = 0;
	while (*text) {
		size_t n = strcspn(text, " ");
		if (column && column + 1 + n > COLUMNS) {
			buf_add_byte(out, '\n');
			column = 0;
		}
		buf_add_text(out, column ? " " : indent);
		column += column ? 1 : strlen(indent);
		buf_add(out, text, n);
		column += n;
		text += n + strspn(text + n, " ");
	}
	buf_add_byte(out, '\n');
}

static bool has_standard(const struct table_row *row)
{
	return row->type != TABLE_GROUP && !(row->flags & TABLE_REQUIRED);
}

/* "sentence (kind; default: value)" */
static void describe(const struct table_row *row, struct buf *out)
{
	buf_addf(out, "%s (", row->sentence);
	value_kind(row, out);
	if (row->flags & TABLE_REQUIRED)
		buf_add_text(out, "; must be given");
	if (has_standard(row)) {
		buf_add_text(out, "; default: ");
		value_standard(row, out);
	}
	buf_add_byte(out, ')');
}

static void sample_comment(const struct table_row *row, unsigned depth, struct buf *out)
{
	struct buf text = {0};
	struct buf indent = {0};

	if (row->type == TABLE_GROUP)
		buf_add_text(&text, row->sentence);
	else
		describe(row, &text);
	if (depth)
		buf_add_byte(&indent, '#');
	add_tabs(&indent, depth);
	buf_add_text(&indent, "# ");
	wrap(out, buf_text(&indent), buf_text(&text));
	buf_free(&text);
	buf_free(&indent);
}

/* The value that the sample shows. */
static void sample_value(const struct table_row *row, struct buf *out)
{
	struct table_row shown = *row;
	if (row->sample) {
		shown.standard = row->sample;
		shown.standard_says = NULL;
	}
	if (shown.type == TABLE_TEXT && !*shown.standard)
		buf_add_text(out, "\"\"");
	else
		value_standard(&shown, out);
}

static void sample_line(unsigned depth, struct buf *out)
{
	buf_add_byte(out, '#');
	add_tabs(out, depth);
}

static void sample_group(const struct table_row *parent, unsigned depth, struct buf *out)
{
	const struct table_row *row = NULL;
	while ((row = table_next(parent, row))) {
		bool list = row->type == TABLE_LIST;
		if (depth == 0)
			buf_add_byte(out, '\n');
		sample_comment(row, depth, out);
		sample_line(depth, out);
		buf_addf(out, "%s = ", table_name(row));
		if (list || row->type == TABLE_GROUP) {
			buf_add_text(out, list ? "( {\n" : "{\n");
			sample_group(row, depth + 1, out);
			sample_line(depth, out);
			buf_add_text(out, list ? "} )" : "}");
		} else {
			sample_value(row, out);
		}
		buf_add_text(out, ";\n");
	}
}

void conf_print_sample(struct buf *out)
{
	buf_add_text(out,
	    "# The configuration of relayd, with every key there is. All of them may be left\n"
	    "# out. What is shown is the default, or an example where the default is none or\n"
	    "# depends on the machine.\n"
	    "#\n"
	    "# Texts, sizes and durations stand in quotes, numbers, true and false do not.\n"
	    "# Sizes have one of the units K, M, G, T and B. Durations have the units w, d,\n"
	    "# h, m, s and ms, and may have several: \"1h30m\".\n"
	    "#\n"
	    "# relayd -t checks the file and tells all that is wrong with it; relayd -T\n"
	    "# prints what it comes to.\n");
	sample_group(NULL, 0, out);
}

/* TEXT so that no letter of it is a request of the formatter. */
static void roff(const char *text, struct buf *out)
{
	size_t start = out->len;
	for (; *text; text++) {
		bool begins = out->len == start || out->data[out->len - 1] == '\n';
		if (begins && (*text == '.' || *text == '\''))
			buf_add_text(out, "\\&");
		if (*text == '\\')
			buf_add_text(out, "\\e");
		else if (*text == '-')
			buf_add_text(out, "\\-");
		else
			buf_add_byte(out, *text);
	}
	buf_add_byte(out, '\n');
}

static void manual_row(const struct table_row *row, struct buf *out)
{
	struct buf text = {0};

	buf_add_text(out, ".TP\n.B ");
	roff(row->path, out);
	if (row->type == TABLE_GROUP)
		buf_add_text(&text, row->sentence);
	else
		describe(row, &text);
	roff(buf_text(&text), out);
	buf_free(&text);
}

void conf_print_manual(struct buf *out)
{
	buf_add_text(out, ".SH CONFIGURATION KEYS\n");
	for (size_t i = 0; i < table_size; i++)
		manual_row(&table_rows[i], out);
}
