/* SPDX-License-Identifier: MIT
 * Setting and releasing the fields of the configuration. How values are
 * written is in value_print.c.
 */
#include "conf/value.h"

#include <assert.h>

#include "relayd/base/mem.h"
#include "conf/units.h"

/* an enum field is written through its place in words */
static_assert(sizeof(enum conf_listen_tls) == sizeof(unsigned), "enums are ints");

static int word_place(
    const struct table_row *row, struct span text, unsigned *place, struct why *why)
{
	struct buf all = {0};
	for (unsigned i = 0; row->words[i]; i++) {
		if (span_is(text, row->words[i])) {
			*place = i;
			buf_free(&all);
			return 0;
		}
		buf_addf(&all, "%s\"%s\"", i ? ", " : "", row->words[i]);
	}
	why_set(why, WHY_PERM, "expected one of %s", buf_text(&all));
	buf_free(&all);
	return -1;
}

/* TEXT in its written form, or NULL. */
static char *make_text(const struct table_row *row, struct span text, struct why *why)
{
	struct buf out = {0};
	unsigned place;

	if (syntax_clean(text, why) < 0)
		return NULL;
	if (text.n == 0) {
		if (row->flags & TABLE_EMPTY && row->type == TABLE_TEXT)
			return mem_text("");
		why_set(why, WHY_PERM, "is empty, expected a %s",
		    row->syntax ? row->syntax->word : "text");
		return NULL;
	}
	if (row->words && word_place(row, text, &place, why) < 0)
		return NULL;
	if (!row->syntax)
		return span_dup(text);
	if (row->syntax->parse(text, &out, why) < 0) {
		buf_free(&out);
		return NULL;
	}
	return buf_take(&out, NULL);
}

static int range_error(const struct table_row *row, struct why *why)
{
	struct buf range = {0};
	value_range(row, &range);
	why_set(why, WHY_PERM, "is out of range, expected %s", buf_text(&range));
	buf_free(&range);
	return -1;
}

static bool in_range(const struct table_row *row, int64_t n)
{
	return n >= row->min && n <= row->max;
}

/* A size or duration. */
static int parse_units(
    const struct table_row *row, struct span text, int64_t *n, struct why *why)
{
	bool size = row->type == TABLE_SIZE;
	int64_t parsed;
	uint64_t bare;

	if (size ? !units_parse_size(text, &parsed)
		 : !units_parse_duration(text, &parsed)) {
		const char *form =
		    size ? "a size: a whole number and one of K, M, G, T or B, like \"25M\""
			 : "a duration: whole numbers, each with one of w, d, h, "
			   "m, s or ms, like \"5m\" or \"1h30m\"";
		return why_set(why, WHY_PERM, "%sexpected %s",
		    span_number(text, UINT64_MAX, &bare) ? "has no unit, " : "", form);
	}
	if (!in_range(row, parsed))
		return range_error(row, why);
	*n = parsed;
	return 0;
}

int value_set_text(
    const struct table_row *row, void *base, struct span text, struct why *why)
{
	void *field = table_field(row, base);

	if (row->type == TABLE_SIZE || row->type == TABLE_DURATION)
		return parse_units(row, text, field, why);
	if (row->type == TABLE_ENUM)
		return word_place(row, text, field, why);
	if (row->type != TABLE_TEXT)
		bug("a text for a value of another type");
	char *made = make_text(row, text, why);
	if (!made)
		return -1;
	value_clear(row, base);
	*(char **)field = made;
	return 0;
}

int value_set_number(
    const struct table_row *row, void *base, int64_t number, struct why *why)
{
	if (!in_range(row, number))
		return range_error(row, why);
	*(int64_t *)table_field(row, base) = number;
	return 0;
}

void value_set_flag(const struct table_row *row, void *base, bool flag)
{
	*(bool *)table_field(row, base) = flag;
}

/* Room for one more item of SIZE bytes. */
static void *grow(const struct table_row *row, void *base, size_t size)
{
	void **field = table_field(row, base);
	size_t *count = table_count(row, base);
	*field = mem_resize(*field, *count + 1, size);
	return (char *)*field + (*count)++ * size;
}

int value_append(
    const struct table_row *row, void *base, struct span text, struct why *why)
{
	struct conf_network network = {0};
	int64_t n;

	if (row->type == TABLE_DURATIONS) {
		if (parse_units(row, text, &n, why) < 0)
			return -1;
		*(int64_t *)grow(row, base, sizeof(n)) = n;
		return 0;
	}
	char *made = make_text(row, text, why);
	if (!made)
		return -1;
	if (row->type == TABLE_TEXTS) {
		*(char **)grow(row, base, sizeof(made)) = made;
		return 0;
	}
	if (syntax_parse_network(span_text(made), &network, why) < 0)
		bug("a network that was checked does not parse");
	network.text = made;
	*(struct conf_network *)grow(row, base, sizeof(network)) = network;
	return 0;
}

void value_refuse(const struct table_row *row, void *base)
{
	char **text = table_field(row, base);

	switch (row->type) {
	case TABLE_TEXT:
		value_clear(row, base);
		*text = mem_text("");
		break;
	case TABLE_TEXTS:
		*(char **)grow(row, base, sizeof(*text)) = mem_text("");
		break;
	case TABLE_DURATIONS:
		*(int64_t *)grow(row, base, sizeof(int64_t)) = 0;
		break;
	case TABLE_NETWORKS:
		*(struct conf_network *)grow(row, base, sizeof(struct conf_network)) =
		    (struct conf_network){.text = mem_text("")};
		break;
	case TABLE_ENUM:
	case TABLE_FLAG:
	case TABLE_NUMBER:
	case TABLE_SIZE:
	case TABLE_DURATION:
	case TABLE_GROUP:
	case TABLE_LIST:
		break;
	}
}

static void clear_several(const struct table_row *row, void *base)
{
	void **field = table_field(row, base);
	size_t *count = table_count(row, base);

	for (size_t i = 0; i < *count; i++) {
		if (row->type == TABLE_TEXTS)
			mem_free(((char **)*field)[i]);
		if (row->type == TABLE_NETWORKS)
			mem_free(((struct conf_network *)*field)[i].text);
	}
	mem_free(*field);
	*field = NULL;
	*count = 0;
}

void value_clear(const struct table_row *row, void *base)
{
	char **text = table_field(row, base);

	switch (row->type) {
	case TABLE_TEXT:
		mem_free(*text);
		*text = NULL;
		break;
	case TABLE_TEXTS:
	case TABLE_DURATIONS:
	case TABLE_NETWORKS:
		clear_several(row, base);
		break;
	case TABLE_ENUM:
	case TABLE_FLAG:
	case TABLE_NUMBER:
	case TABLE_SIZE:
	case TABLE_DURATION:
	case TABLE_GROUP:
	case TABLE_LIST:
		break;
	}
}

/* The words of the default, one by one. */
static int append_standard(const struct table_row *row, void *base, struct why *why)
{
	struct span rest = span_text(row->standard);
	while (rest.n)
		if (value_append(row, base, span_cut(&rest, ' '), why) < 0)
			return -1;
	return 0;
}

void value_set_default(const struct table_row *row, void *base)
{
	struct why why = {0};
	struct span standard = span_text(row->standard);
	uint64_t n;
	int status = 0;

	if (row->type == TABLE_TEXT && standard.n == 0) {
		value_clear(row, base);
		*(char **)table_field(row, base) = mem_text("");
	} else if (!row->standard || row->type == TABLE_GROUP ||
		   row->type == TABLE_LIST) {
		return;
	} else if (row->type == TABLE_FLAG) {
		value_set_flag(row, base, span_is(standard, "true"));
	} else if (row->type == TABLE_NUMBER) {
		status = span_number(standard, INT64_MAX, &n)
			     ? value_set_number(row, base, (int64_t)n, &why)
			     : -1;
	} else if (row->type == TABLE_TEXTS || row->type == TABLE_DURATIONS ||
		   row->type == TABLE_NETWORKS) {
		value_clear(row, base);
		status = append_standard(row, base, &why);
	} else {
		status = value_set_text(row, base, standard, &why);
	}
	if (status < 0)
		bug("a default of the table is wrong");
}
