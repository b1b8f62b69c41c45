/* SPDX-License-Identifier: MIT
 * How values, types, ranges and defaults are written for people and for
 * libconfig.
 */

#include "conf/units.h"
#include "conf/value.h"
#include "relayd/base/mem.h"

void value_quote(struct buf *out, struct span text)
{
	buf_add_byte(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_add_byte(out, '\\');
		buf_add_byte(out, text.p[i]);
	}
	buf_add_byte(out, '"');
}

bool value_is_set(const struct table_row *row, void *base)
{
	int64_t *n = table_field(row, base);
	return row->type != TABLE_NUMBER || (*n >= row->min && *n <= row->max);
}

/* A size, duration or number, in quotes where the file needs them. */
static void print_number(const struct table_row *row, int64_t n, struct buf *out)
{
	if (row->type == TABLE_NUMBER) {
		buf_addf(out, "%lld", (long long)n);
		return;
	}
	buf_add_byte(out, '"');
	if (row->type == TABLE_SIZE)
		units_print_size(out, n);
	else
		units_print_duration(out, n);
	buf_add_byte(out, '"');
}

static void print_several(const struct table_row *row, void *base, struct buf *out)
{
	void **field = table_field(row, base);
	size_t count = *table_count(row, base);

	buf_add_text(out, "[ ");
	for (size_t i = 0; i < count; i++) {
		if (row->type == TABLE_DURATIONS)
			print_number(row, ((int64_t *)*field)[i], out);
		else if (row->type == TABLE_TEXTS)
			value_quote(out, span_text(((char **)*field)[i]));
		else
			value_quote(
			    out, span_text(((struct conf_network *)*field)[i].text));
		buf_add_text(out, i + 1 < count ? ", " : " ");
	}
	buf_add_byte(out, ']');
}

void value_print(const struct table_row *row, void *base, struct buf *out)
{
	void *field = table_field(row, base);

	switch (row->type) {
	case TABLE_TEXT:
		value_quote(out, span_text(*(char **)field));
		break;
	case TABLE_ENUM:
		value_quote(out, span_text(row->words[*(unsigned *)field]));
		break;
	case TABLE_FLAG:
		buf_add_text(out, *(bool *)field ? "true" : "false");
		break;
	case TABLE_NUMBER:
	case TABLE_SIZE:
	case TABLE_DURATION:
		print_number(row, *(int64_t *)field, out);
		break;
	case TABLE_TEXTS:
	case TABLE_DURATIONS:
	case TABLE_NETWORKS:
		print_several(row, base, out);
		break;
	case TABLE_GROUP:
	case TABLE_LIST:
		bug("a group or list is not one value");
	}
}

static void add_words(const struct table_row *row, struct buf *out)
{
	for (unsigned i = 0; row->words[i]; i++)
		buf_addf(out, "%s\"%s\"", i ? ", " : "", row->words[i]);
}

void value_range(const struct table_row *row, struct buf *out)
{
	print_number(row, row->min, out);
	buf_add_text(out, " to ");
	print_number(row, row->max, out);
}

static void add_range(const struct table_row *row, struct buf *out)
{
	buf_add_text(out, " from ");
	value_range(row, out);
}

void value_kind(const struct table_row *row, struct buf *out)
{
	switch (row->type) {
	case TABLE_TEXT:
	case TABLE_ENUM:
		if (row->words)
			add_words(row, out);
		else
			buf_add_text(out, row->syntax ? row->syntax->word : "text");
		break;
	case TABLE_TEXTS:
		buf_add_text(out, row->syntax == &syntax_server ? "addresses" : "names");
		break;
	case TABLE_FLAG:
		buf_add_text(out, "true or false");
		break;
	case TABLE_NUMBER:
		buf_add_text(out, "number");
		add_range(row, out);
		break;
	case TABLE_SIZE:
		buf_add_text(out, "size");
		add_range(row, out);
		break;
	case TABLE_DURATION:
		buf_add_text(out, "duration");
		add_range(row, out);
		break;
	case TABLE_DURATIONS:
		buf_add_text(out, "durations");
		add_range(row, out);
		break;
	case TABLE_NETWORKS:
		buf_add_text(out, "networks");
		break;
	case TABLE_GROUP:
		buf_add_text(out, "group");
		break;
	case TABLE_LIST:
		buf_add_text(out, "list of groups");
		break;
	}
}

void value_expected(const struct table_row *row, struct buf *out)
{
	switch (row->type) {
	case TABLE_TEXT:
	case TABLE_ENUM:
		if (row->words) {
			buf_add_text(out, "one of ");
			add_words(row, out);
		} else {
			buf_addf(out, "a %s in quotes",
			    row->syntax ? row->syntax->word : "text");
		}
		break;
	case TABLE_FLAG:
		buf_add_text(out, "true or false without quotes");
		break;
	case TABLE_NUMBER:
		buf_add_text(out, "a whole ");
		value_kind(row, out);
		buf_add_text(out, " without quotes");
		break;
	case TABLE_SIZE:
		buf_add_text(out, "a size with its unit in quotes, like \"25M\"");
		break;
	case TABLE_DURATION:
		buf_add_text(out, "a duration with its unit in quotes, like \"5m\"");
		break;
	case TABLE_DURATIONS:
		buf_add_text(out, "durations in brackets: [ \"2m\", \"5m\" ]");
		break;
	case TABLE_TEXTS:
	case TABLE_NETWORKS:
		buf_add_text(out, "texts in brackets: [ \"...\", \"...\" ]");
		break;
	case TABLE_GROUP:
		buf_add_text(out, "a group: { key = value; ... }");
		break;
	case TABLE_LIST:
		buf_add_text(out, "a list of groups: ( { key = value; ... }, { ... } )");
		break;
	}
}

void value_standard(const struct table_row *row, struct buf *out)
{
	struct conf zero = {0};
	struct table_row alone = *row;

	if (row->standard_says || !row->standard) {
		buf_add_text(out, row->standard_says ? row->standard_says : "");
		return;
	}
	if (row->type == TABLE_TEXT && !*row->standard) {
		buf_add_text(out, "none");
		return;
	}
	/* any place that is large enough will do for a value of its own */
	alone.offset = 0;
	alone.count = sizeof(void *);
	value_set_default(&alone, &zero);
	value_print(&alone, &zero, out);
	value_clear(&alone, &zero);
}
