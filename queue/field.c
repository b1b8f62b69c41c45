/* SPDX-License-Identifier: MIT */
#include "queue/field.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "queue/verdict.h"
#include "relayd/base/mem.h"

_Static_assert(sizeof(enum verdict_class) == sizeof(unsigned), "enums are stored as unsigned");
_Static_assert(sizeof(enum verdict_stage) == sizeof(unsigned), "enums are stored as unsigned");

/* Where a member lies; through void *, since only the table knows its type. */
static void *member(const struct field *f, void *base)
{
	return (char *)base + f->offset;
}

static const void *member_const(const struct field *f, const void *base)
{
	return (const char *)base + f->offset;
}

static void print_list(struct buf *out, const int64_t *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_addf(out, "%s%" PRId64, i ? "," : "", list[i]);
}

/* A list's length without the zeros at its end. */
static size_t list_length(const int64_t *list, size_t max)
{
	while (max && !list[max - 1])
		max--;
	return max;
}

static bool is_zero(const struct field *f, const void *p)
{
	switch (f->type) {
	case FIELD_TIME:
		return *(const int64_t *)p == 0;
	case FIELD_COUNT:
	case FIELD_CLASS:
	case FIELD_STAGE:
		return *(const unsigned *)p == 0;
	case FIELD_BIG:
		return *(const uint64_t *)p == 0;
	case FIELD_REAL:
		return !(*(const double *)p > 0);
	case FIELD_FLAG:
		return !*(const bool *)p;
	case FIELD_TEXT:
		return !*(char *const *)p || !**(char *const *)p;
	case FIELD_LIST:
		return list_length(p, f->max) == 0;
	}
	return true;
}

static void print_value(struct buf *out, const struct field *f, const void *p)
{
	switch (f->type) {
	case FIELD_TIME:
		buf_addf(out, "%" PRId64, *(const int64_t *)p);
		break;
	case FIELD_COUNT:
		buf_addf(out, "%u", *(const unsigned *)p);
		break;
	case FIELD_BIG:
		buf_addf(out, "%" PRIu64, *(const uint64_t *)p);
		break;
	case FIELD_REAL: /* all digits: what is read back is what was written */
		buf_addf(out, "%.17g", *(const double *)p);
		break;
	case FIELD_FLAG:
		buf_add_byte(out, '1');
		break;
	case FIELD_TEXT:
		text_escape(out, span_text(*(char *const *)p), f->max);
		break;
	case FIELD_CLASS:
		buf_add_text(out, verdict_class_name(*(const enum verdict_class *)p));
		break;
	case FIELD_STAGE:
		buf_add_text(out, verdict_stage_name(*(const enum verdict_stage *)p));
		break;
	case FIELD_LIST:
		print_list(out, p, list_length(p, f->max));
		break;
	}
}

void field_print(struct buf *out, const struct field *fields, size_t count, const void *base)
{
	for (const struct field *f = fields; f < fields + count; f++) {
		const void *p = member_const(f, base);
		if (is_zero(f, p))
			continue;
		buf_addf(out, "\t%s=", f->name);
		print_value(out, f, p);
	}
}

/* ---- and back ---- */

static bool parse_real(struct span s, size_t max, double *value)
{
	char text[40];
	char *end;
	double number;
	if (!s.n || s.n >= sizeof(text) || s.p[0] < '0' || s.p[0] > '9')
		return false; /* no sign, no "inf", no "nan" */
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	number = strtod(text, &end);
	if (end != text + s.n || !isfinite(number) || number > (double)max)
		return false;
	*value = number;
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "\\xHH" at P stands for; 0: no such thing. */
static char unescape(const char *p, size_t n)
{
	int high = n < 4 || p[1] != 'x' ? -1 : hex(p[2]);
	int low = high < 0 ? -1 : hex(p[3]);
	return low < 0 ? '\0' : (char)(high * 16 + low);
}

/* Undo text_escape. A cut text has "..." behind MAX bytes. */
static bool parse_text(struct span s, size_t max, char **value)
{
	struct buf out = {0};
	bool well = true;
	for (size_t i = 0; i < s.n && well; i++) {
		char c = s.p[i];
		if (c == '\\') {
			c = unescape(s.p + i, s.n - i);
			i += 3;
		}
		well = c != '\0' && out.len < max + 3;
		buf_add_byte(&out, c);
	}
	mem_free(*value);
	*value = mem_text(well ? buf_text(&out) : "");
	buf_free(&out);
	return well;
}

static bool parse_list(struct span s, size_t max, int64_t *list)
{
	size_t n = 0;
	while (s.n) {
		uint64_t value;
		if (n == max || !span_number(span_cut(&s, ','), FIELD_TIME_MAX, &value))
			return false;
		list[n++] = (int64_t)value;
	}
	return true;
}

static bool parse_value(struct span s, const struct field *f, void *p)
{
	uint64_t number;
	switch (f->type) {
	case FIELD_TIME:
		if (!span_number(s, FIELD_TIME_MAX, &number))
			return false;
		*(int64_t *)p = (int64_t)number;
		return true;
	case FIELD_COUNT:
		if (!span_number(s, f->max, &number))
			return false;
		*(unsigned *)p = (unsigned)number;
		return true;
	case FIELD_BIG:
		return span_number(s, UINT64_MAX, p);
	case FIELD_REAL:
		return parse_real(s, f->max, p);
	case FIELD_FLAG:
		*(bool *)p = true;
		return span_is(s, "1");
	case FIELD_TEXT:
		return parse_text(s, f->max, p);
	case FIELD_CLASS:
		return verdict_class_parse(s, p);
	case FIELD_STAGE:
		return verdict_stage_parse(s, p);
	case FIELD_LIST:
		return parse_list(s, f->max, p);
	}
	return false;
}

static size_t size_of(const struct field *f)
{
	static const size_t sizes[] = {
	    [FIELD_TIME] = sizeof(int64_t),
	    [FIELD_COUNT] = sizeof(unsigned),
	    [FIELD_BIG] = sizeof(uint64_t),
	    [FIELD_REAL] = sizeof(double),
	    [FIELD_FLAG] = sizeof(bool),
	    [FIELD_TEXT] = sizeof(char *),
	    [FIELD_CLASS] = sizeof(unsigned),
	    [FIELD_STAGE] = sizeof(unsigned),
	    [FIELD_LIST] = sizeof(int64_t),
	};
	return sizes[f->type] * (f->type == FIELD_LIST ? f->max : 1);
}

static void set_zero(const struct field *fields, size_t count, void *base)
{
	for (const struct field *f = fields; f < fields + count; f++) {
		void *p = member(f, base);
		if (f->type == FIELD_TEXT) {
			mem_free(*(char **)p);
			*(char **)p = mem_text("");
		} else {
			memset(p, 0, size_of(f));
		}
	}
}

static bool parse_field(struct span s, const struct field *fields, size_t count, void *base)
{
	const char *equals = s.n ? memchr(s.p, '=', s.n) : NULL;
	if (!equals)
		return false;
	struct span name = {s.p, (size_t)(equals - s.p)};
	struct span value = {equals + 1, s.n - name.n - 1};
	for (const struct field *f = fields; f < fields + count; f++)
		if (span_is(name, f->name))
			return parse_value(value, f, member(f, base));
	return true;
}

bool field_parse(struct span line, const struct field *fields, size_t count, void *base)
{
	bool well = true;
	const char *tab;
	set_zero(fields, count, base);
	while (line.n && (tab = memchr(line.p, '\t', line.n))) {
		line.n -= (size_t)(tab + 1 - line.p);
		line.p = tab + 1;
		struct span rest = line;
		well = parse_field(span_cut(&rest, '\t'), fields, count, base) && well;
	}
	return well;
}

void field_clear(const struct field *fields, size_t count, void *base)
{
	for (const struct field *f = fields; f < fields + count; f++) {
		char **text = member(f, base);
		if (f->type != FIELD_TEXT)
			continue;
		mem_free(*text);
		*text = NULL;
	}
}
