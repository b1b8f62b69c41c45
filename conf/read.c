/* SPDX-License-Identifier: MIT
 * Walks libconfig's tree and the table side by side. Keys that the table does
 * not know are reported and not descended into.
 */
#include "conf/read.h"

#include <string.h>

#include "conf/table.h"
#include "conf/value.h"
#include "relayd/base/mem.h"

/* Of one list. Checks compare items with each other, so this bounds them. */
#define ITEMS_MAX 10000

static const char *setting_kind(const config_setting_t *setting)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_GROUP:
		return "a group { }";
	case CONFIG_TYPE_LIST:
		return "a list ( )";
	case CONFIG_TYPE_ARRAY:
		return "an array [ ]";
	case CONFIG_TYPE_STRING:
		return "a text in quotes";
	case CONFIG_TYPE_BOOL:
		return "true or false";
	case CONFIG_TYPE_FLOAT:
		return "a number with a decimal point";
	default:
		return "a number";
	}
}

static void wrong_kind(
    struct report *report, const struct table_row *row, const config_setting_t *setting)
{
	struct buf expected = {0};
	value_expected(row, &expected);
	report_add(report, setting, row->path, "is %s, expected %s",
	    setting_kind(setting), buf_text(&expected));
	buf_free(&expected);
}

static void refused(struct report *report, const struct table_row *row,
    const config_setting_t *setting, struct span value, const struct why *why)
{
	struct buf shown = {0};
	text_escape_utf8(&shown, value, 80);
	report_add(report, setting, row->path, "\"%s\": %s", buf_text(&shown), why->text);
	buf_free(&shown);
}

static void read_text(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *base)
{
	struct why why = {0};
	if (config_setting_type(setting) != CONFIG_TYPE_STRING) {
		wrong_kind(report, row, setting);
		value_refuse(row, base);
		return;
	}
	struct span text = span_text(config_setting_get_string(setting));
	if (value_set_text(row, base, text, &why) < 0) {
		refused(report, row, setting, text, &why);
		value_refuse(row, base);
	}
}

static void read_number(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *base)
{
	struct why why = {0};
	int type = config_setting_type(setting);
	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
		wrong_kind(report, row, setting);
		return;
	}
	/* one that wrapped is told already, with what the file says */
	if (report_has(report, setting))
		return;
	/* the 32-bit getter returns 0 for what does not fit it */
	long long n = config_setting_get_int64(setting);
	if (value_set_number(row, base, n, &why) < 0)
		report_add(report, setting, row->path, "%lld %s", n, why.text);
}

/* One item of several. */
static void read_one(struct report *report, const struct table_row *row,
    const config_setting_t *item, void *base)
{
	struct why why = {0};
	if (config_setting_type(item) != CONFIG_TYPE_STRING) {
		wrong_kind(report, row, item);
		value_refuse(row, base);
		return;
	}
	struct span text = span_text(config_setting_get_string(item));
	if (value_append(row, base, text, &why) < 0) {
		refused(report, row, item, text, &why);
		value_refuse(row, base);
	}
}

static void read_several(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *base)
{
	int type = config_setting_type(setting);
	int count = config_setting_length(setting);

	if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST) {
		wrong_kind(report, row, setting);
		return;
	}
	value_clear(row, base);
	if (count == 0 && !(row->flags & TABLE_EMPTY))
		report_add(report, setting, row->path, "is empty, expected at least one");
	if (count > ITEMS_MAX) {
		report_add(report, setting, row->path,
		    "has %d items, expected at most %d", count, ITEMS_MAX);
		return;
	}
	for (int i = 0; i < count; i++)
		read_one(report, row, config_setting_get_elem(setting, (unsigned)i), base);
}

static void read_group(struct report *report, const struct table_row *parent,
    const config_setting_t *setting, void *base);

static void set_defaults(const struct table_row *parent, void *base)
{
	const struct table_row *row = NULL;
	while ((row = table_next(parent, row))) {
		if (row->type == TABLE_GROUP)
			set_defaults(row, base);
		else
			value_set_default(row, base);
	}
}

static void read_item(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *item)
{
	const struct table_row *key = NULL;

	set_defaults(row, item);
	if (config_setting_type(setting) != CONFIG_TYPE_GROUP) {
		wrong_kind(report, row, setting);
		return;
	}
	read_group(report, row, setting, item);
	while ((key = table_next(row, key)))
		if (key->flags & TABLE_REQUIRED &&
		    !config_setting_get_member(setting, table_name(key)))
			report_add(report, setting, key->path, "is missing");
}

static void read_list(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *base)
{
	int type = config_setting_type(setting);
	int count = config_setting_length(setting);

	/* [ ] is as good as ( ) when it is empty, and can hold no groups else */
	if (type != CONFIG_TYPE_LIST && !(type == CONFIG_TYPE_ARRAY && count == 0)) {
		wrong_kind(report, row, setting);
		return;
	}
	if (count > ITEMS_MAX) {
		report_add(report, setting, row->path,
		    "has %d items, expected at most %d", count, ITEMS_MAX);
		return;
	}
	if (count == 0)
		return;
	char *items = mem_array((size_t)count, row->item);
	*(void **)table_field(row, base) = items;
	*table_count(row, base) = (size_t)count;
	for (int i = 0; i < count; i++)
		read_item(report, row, config_setting_get_elem(setting, (unsigned)i),
		    items + (size_t)i * row->item);
}

/* A group, or the text that stands for its path. */
static void read_subgroup(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *base)
{
	int type = config_setting_type(setting);
	if (type == CONFIG_TYPE_GROUP)
		read_group(report, row, setting, base);
	else if (type == CONFIG_TYPE_STRING && row->flags & TABLE_SHORT)
		read_text(report, table_find(row, "path"), setting, base);
	else
		wrong_kind(report, row, setting);
}

static void read_value(struct report *report, const struct table_row *row,
    const config_setting_t *setting, void *base)
{
	switch (row->type) {
	case TABLE_TEXT:
	case TABLE_ENUM:
	case TABLE_SIZE:
	case TABLE_DURATION:
		read_text(report, row, setting, base);
		break;
	case TABLE_NUMBER:
		read_number(report, row, setting, base);
		break;
	case TABLE_FLAG:
		if (config_setting_type(setting) == CONFIG_TYPE_BOOL)
			value_set_flag(row, base, config_setting_get_bool(setting));
		else
			wrong_kind(report, row, setting);
		break;
	case TABLE_TEXTS:
	case TABLE_DURATIONS:
	case TABLE_NETWORKS:
		read_several(report, row, setting, base);
		break;
	case TABLE_GROUP:
		read_subgroup(report, row, setting, base);
		break;
	case TABLE_LIST:
		read_list(report, row, setting, base);
		break;
	}
}

static void unknown_key(struct report *report, const struct table_row *parent,
    const config_setting_t *setting)
{
	const char *name = config_setting_name(setting);
	const char *nearest = table_nearest(parent, name);
	struct buf key = {0};

	if (parent)
		buf_addf(&key, "%s.", parent->path);
	text_escape(&key, span_text(name), 60);
	if (nearest && strchr(nearest, '.'))
		report_add(report, setting, buf_text(&key),
		    "is not known here, expected it as \"%s\"", nearest);
	else if (nearest)
		report_add(report, setting, buf_text(&key),
		    "is not known, did you mean \"%s\"?", nearest);
	else
		report_add(report, setting, buf_text(&key), "is not known");
	buf_free(&key);
}

static void read_group(struct report *report, const struct table_row *parent,
    const config_setting_t *setting, void *base)
{
	int count = config_setting_length(setting);
	for (int i = 0; i < count; i++) {
		const config_setting_t *child =
		    config_setting_get_elem(setting, (unsigned)i);
		const struct table_row *row =
		    table_find(parent, config_setting_name(child));
		if (row)
			read_value(report, row, child, base);
		else
			unknown_key(report, parent, child);
	}
}

void read_settings(struct report *report, const config_setting_t *root, struct conf *conf)
{
	set_defaults(NULL, conf);
	read_group(report, NULL, root, conf);
}

static void clear(const struct table_row *parent, void *base)
{
	const struct table_row *row = NULL;
	while ((row = table_next(parent, row))) {
		if (row->type == TABLE_GROUP) {
			clear(row, base);
		} else if (row->type == TABLE_LIST) {
			char **items = table_field(row, base);
			for (size_t i = 0; i < *table_count(row, base); i++)
				clear(row, *items + i * row->item);
			mem_free(*items);
		} else {
			value_clear(row, base);
		}
	}
}

void read_clear(struct conf *conf)
{
	clear(NULL, conf);
}
