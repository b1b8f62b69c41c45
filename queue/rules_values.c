/* SPDX-License-Identifier: MIT */
#include "queue/rules_values.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/syntax.h"
#include "conf/units.h"
#include "relayd/base/mem.h"

#define ERRORS_MAX (64 * 1024) /* bytes; a broken file can have very many faults */
#define WAIT_MAX_MS (7 * 24 * 3600 * INT64_C(1000))

static void ATTR_PRINTF(5, 0) add_error(struct buf *errors, const char *file, unsigned line,
    const char *rule, const char *format, va_list args)
{
	char text[400];
	if (errors->len > ERRORS_MAX)
		return;
	vsnprintf(text, sizeof(text), format, args);
	buf_add_text(errors, file);
	if (line)
		buf_addf(errors, ":%u", line);
	if (rule && *rule)
		buf_addf(errors, ": rule %s", rule);
	buf_addf(errors, ": %s\n", text);
}

void rules_error(struct buf *errors, const char *file, unsigned line, const char *rule,
    const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add_error(errors, file, line, rule, format, args);
	va_end(args);
}

void reading_fault(struct reading *r, const config_setting_t *setting, const char *format, ...)
{
	unsigned line = setting ? (unsigned)config_setting_source_line(setting) : 0;
	va_list args;
	va_start(args, format);
	add_error(r->errors, r->file, line, r->name, format, args);
	va_end(args);
	r->faults++;
}

/* What a file holds, for an error: escaped and short. */
static void fault_value(struct reading *r, const config_setting_t *setting, struct span value,
    const char *expected)
{
	struct buf shown = {0};
	const char *key = config_setting_name(setting);
	if (!key && config_setting_parent(setting))
		key = config_setting_name(config_setting_parent(setting));
	text_escape_utf8(&shown, value, 80);
	reading_fault(r, setting, "%s: \"%s\": expected %s", key ? key : "value", buf_text(&shown),
	    expected);
	buf_free(&shown);
}

struct span reading_text(struct reading *r, const config_setting_t *setting)
{
	const char *key = config_setting_name(setting);
	if (config_setting_type(setting) == CONFIG_TYPE_STRING)
		return span_text(config_setting_get_string(setting));
	reading_fault(r, setting, "%s: expected a text in quotes", key ? key : "an item of a list");
	return (struct span){"", 0};
}

void reading_id(struct reading *r, const config_setting_t *setting, void *to)
{
	char **id = to;
	struct span text = reading_text(r, setting);
	bool good = text.n > 0 && text.n <= 64;
	for (size_t i = 0; i < text.n; i++)
		good = good && strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", text.p[i]);
	if (!good) {
		fault_value(r, setting, text,
		    "small letters, digits and -_. (at most 64), such as \"our-partner-greylist\"");
		return;
	}
	mem_free(*id);
	*id = span_dup(text);
}

void reading_plain(struct reading *r, const config_setting_t *setting, void *to)
{
	char **line = to;
	struct span text = reading_text(r, setting);
	bool good = text.n <= 300 && span_is_utf8(text);
	for (size_t i = 0; i < text.n; i++)
		good = good && (unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f;
	if (!good)
		fault_value(r, setting, text, "a line of at most 300 bytes of UTF-8");
	mem_free(*line);
	*line = good && text.n ? span_dup(text) : NULL;
}

void reading_duration(struct reading *r, const config_setting_t *setting, void *to)
{
	int64_t *ms = to;
	struct span text = reading_text(r, setting);
	if (!units_parse_duration(text, ms) || *ms < 1000 || *ms > WAIT_MAX_MS) {
		fault_value(r, setting, text, "a time of 1s to 7d, such as \"15m\" or \"2h\"");
		*ms = 1000;
	}
}

void reading_count(struct reading *r, const config_setting_t *setting, void *to)
{
	int type = config_setting_type(setting);
	long long n = config_setting_get_int64(setting);
	if (report_has(&r->numbers, setting))
		return;
	if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) || n < 1 || n > 1000000)
		reading_fault(r, setting, "%s: expected a number, 1 to 1000000",
		    config_setting_name(setting));
	else
		*(int64_t *)to = n;
}

void reading_each(struct reading *r, const config_setting_t *setting, reading_take *take,
    void *to)
{
	int count = config_setting_length(setting);
	if (!config_setting_is_aggregate(setting) || config_setting_is_group(setting)) {
		take(r, setting, to);
		return;
	}
	if (count == 0 || count > RULES_ITEMS_MAX) {
		reading_fault(r, setting, "%s: expected 1 to %d items, not %d",
		    config_setting_name(setting) ? config_setting_name(setting) : "a list",
		    RULES_ITEMS_MAX, count);
		return;
	}
	for (int i = 0; i < count; i++)
		take(r, config_setting_get_elem(setting, (unsigned)i), to);
}

static void refuse_unknown(struct reading *r, const config_setting_t *group,
    const struct reading_key *keys, size_t count, const char *what)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
		size_t k = 0;
		while (k < count && strcmp(keys[k].name, config_setting_name(setting)) != 0)
			k++;
		if (k == count)
			reading_fault(r, setting, "\"%s\" is no key of %s",
			    config_setting_name(setting), what);
	}
}

void reading_group(struct reading *r, const config_setting_t *group,
    const struct reading_key *keys, size_t count, const char *what, void *base)
{
	for (const struct reading_key *key = keys; key < keys + count; key++) {
		const config_setting_t *setting = config_setting_get_member(group, key->name);
		void *to = (char *)base + key->offset;
		if (setting && key->flags & READING_EACH)
			reading_each(r, setting, key->take, to);
		else if (setting)
			key->take(r, setting, to);
		else if (key->flags & READING_NEEDED)
			reading_fault(r, group, "has no %s", key->name);
		if (key == keys && *(char **)to)
			r->name = *(char **)to;
	}
	refuse_unknown(r, group, keys, count, what);
}

void reading_names(struct reading *r, const config_setting_t *setting, void *to)
{
	struct texts *names = to;
	int n = config_setting_is_aggregate(setting) ? config_setting_length(setting) : 0;
	if (n < 1 || n > RULES_ITEMS_MAX || names->count) {
		reading_fault(r, setting, "mx: expected a list of host names, [ \"*.example.com\" ]");
		return;
	}
	for (int i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
		struct span text = reading_text(r, item);
		struct buf pattern = {0};
		if (text.n == 0 || syntax_clean(text, NULL) < 0 ||
		    syntax_pattern.parse(text, &pattern, NULL) < 0)
			fault_value(r, item, text,
			    "a host name without a dot at its end, or *.name for all below it");
		texts_add(names, buf_take(&pattern, NULL));
	}
}

static void add_phrase(struct reading *r, const config_setting_t *item, struct rule_group *group)
{
	struct why why = {0};
	unsigned number = 0;
	struct span text = reading_text(r, item);
	if (text.n == 0) {
		reading_fault(r, item, "an empty phrase");
	} else if (++r->rules->references > RULES_REFERENCES_MAX) {
		if (r->rules->references == RULES_REFERENCES_MAX + 1)
			reading_fault(r, item, "more than %d phrases in all rules", RULES_REFERENCES_MAX);
	} else if (words_add(r->rules->words, text, &number, &why) < 0) {
		struct buf shown = {0};
		text_escape_utf8(&shown, text, 80);
		reading_fault(r, item, "the phrase \"%s\" %s", buf_text(&shown), why.text);
		buf_free(&shown);
	} else {
		group->phrases[group->count++] = number;
	}
}

void reading_phrases(struct reading *r, const config_setting_t *setting, void *to)
{
	struct rule_group *group = to;
	int n = config_setting_is_aggregate(setting) ? config_setting_length(setting) : 1;
	if (n < 1 || n > RULES_ITEMS_MAX || config_setting_is_group(setting) || group->phrases) {
		reading_fault(r, setting, "expected phrases, [ \"one\", \"or another\" ], 1 to %d of them",
		    RULES_ITEMS_MAX);
		return;
	}
	group->phrases = mem_array((size_t)n, sizeof(*group->phrases));
	if (!config_setting_is_aggregate(setting))
		add_phrase(r, setting, group);
	else
		for (int i = 0; i < n; i++)
			add_phrase(r, config_setting_get_elem(setting, (unsigned)i), group);
}

bool rule_code_parse(struct span text, struct rule_code *code)
{
	unsigned unit = 100;
	*code = (struct rule_code){0, 0};
	if (text.n != 3)
		return false;
	for (size_t i = 0; i < 3; i++, unit /= 10) {
		char c = text.p[i];
		if (c >= '0' && c <= '9' && (i == 0 || text.p[i - 1] != 'x')) {
			code->low += (unsigned)(c - '0') * unit;
			code->high += (unsigned)(c - '0') * unit;
		} else if (c == 'x' && i > 0) {
			code->high += 9 * unit;
		} else {
			return false;
		}
	}
	return code->low >= 400 && code->high <= 599;
}

static bool take_part(struct span *s, char end, struct span *part)
{
	const char *p = s->n ? memchr(s->p, end, s->n) : NULL;
	if (!p)
		return false;
	*part = (struct span){s->p, (size_t)(p - s->p)};
	s->n -= part->n + 1;
	s->p = p + 1;
	return true;
}

bool rule_enhanced_parse(struct span text, struct rule_enhanced *e)
{
	struct span klass, subject, low;
	uint64_t n = 0, m = 999;
	*e = (struct rule_enhanced){.subject = -1, .low = 0, .high = 999};
	if (!take_part(&text, '.', &klass) || !take_part(&text, '.', &subject))
		return false;
	if (!span_is(klass, "x")) {
		if (!span_number(klass, 5, &n) || n < 4)
			return false;
		e->klass = (unsigned char)n;
	}
	if (!span_is(subject, "*")) {
		if (!span_number(subject, 999, &n))
			return false;
		e->subject = (int)n;
	}
	if (span_is(text, "*"))
		return true;
	bool range = take_part(&text, '-', &low);
	if (!span_number(range ? low : text, 999, &n) || (range && !span_number(text, 999, &m)))
		return false;
	e->low = (int)n;
	e->high = range ? (int)m : (int)n;
	return e->low <= e->high;
}
