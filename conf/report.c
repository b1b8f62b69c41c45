/* SPDX-License-Identifier: MIT
 * The list of mistakes. It is bounded, since a file of another program can
 * hold a hundred thousand of them.
 */
#include "conf/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/base/text.h"

#define KEPT_MAX 200
#define TEXT_MAX 600

struct report_entry {
	char *file; /* "" for the main file, which sorts first */
	unsigned line;
	size_t number; /* keeps the order of those on one line */
	const config_setting_t *at; /* NULL: known by its line only */
	char *key;                  /* NULL: none */
	char *text;
};

void report_file(const struct report *report, const char *file, struct buf *out)
{
	const char *slash = strrchr(report->file, '/');
	if (!file || !*file) {
		buf_add_text(out, report->file);
		return;
	}
	if (file[0] != '/' && slash)
		buf_add(out, report->file, (size_t)(slash - report->file) + 1);
	buf_add_text(out, file);
}

static void ATTR_PRINTF(5, 0) add(struct report *r, const char *file, unsigned line,
    const char *key, const char *format, va_list args)
{
	char text[TEXT_MAX];
	struct buf b = {0};

	r->count++;
	if (r->kept >= KEPT_MAX)
		return;
	/* what is cut off is the end of an explanation, and of a character */
	vsnprintf(text, sizeof(text), format, args);
	struct span said = span_text(text);
	for (int i = 0; i < 3 && said.n && !span_is_utf8(said); i++)
		said.n--;
	buf_add(&b, said.p, said.n);
	r->entries = mem_resize(r->entries, r->kept + 1, sizeof(*r->entries));
	r->entries[r->kept] = (struct report_entry){
	    .file = mem_text(file ? file : ""),
	    .line = line,
	    .number = r->kept,
	    .key = key ? mem_text(key) : NULL,
	    .text = buf_take(&b, NULL),
	};
	r->kept++;
}

void report_add(struct report *report, const config_setting_t *at, const char *key,
    const char *format, ...)
{
	size_t place = report->kept;
	va_list args;
	va_start(args, format);
	add(report, at ? config_setting_source_file(at) : NULL,
	    at ? config_setting_source_line(at) : 0, key, format, args);
	va_end(args);
	if (report->kept > place)
		report->entries[place].at = at;
}

void report_add_line(struct report *report, const char *file, unsigned line,
    const char *key, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add(report, file, line, key, format, args);
	va_end(args);
}

bool report_has(const struct report *report, const config_setting_t *at)
{
	const char *file = config_setting_source_file(at);
	for (size_t i = 0; i < report->kept; i++) {
		const struct report_entry *e = &report->entries[i];
		const char *dot = e->key ? strrchr(e->key, '.') : NULL;
		const char *name = dot ? dot + 1 : e->key;
		if (e->at == at)
			return true;
		if (!e->at && name && e->line == config_setting_source_line(at) &&
		    strcmp(name, config_setting_name(at)) == 0 &&
		    strcmp(e->file, file ? file : "") == 0)
			return true;
	}
	return false;
}

static int compare(const void *left, const void *right)
{
	const struct report_entry *a = left;
	const struct report_entry *b = right;
	int files = strcmp(a->file, b->file);
	if (files)
		return files;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

void report_finish(struct report *report, struct conf_errors *errors)
{
	if (report->kept)
		qsort(report->entries, report->kept, sizeof(*report->entries), compare);
	for (size_t i = 0; i < report->kept; i++) {
		struct report_entry *e = &report->entries[i];
		report_file(report, e->file, &errors->text);
		if (e->line)
			buf_addf(&errors->text, ":%u", e->line);
		buf_addf(&errors->text, ": %s%s%s\n", e->key ? e->key : "", e->key ? ": " : "",
		    e->text);
		mem_free(e->file);
		mem_free(e->key);
		mem_free(e->text);
	}
	if (report->count > report->kept)
		buf_addf(&errors->text, "%s: %zu more mistakes are not shown\n",
		    report->file, report->count - report->kept);
	errors->count += report->count;
	mem_free(report->entries);
	*report = (struct report){.file = report->file};
}

char *report_place(const struct report *report, const config_setting_t *at)
{
	struct buf place = {0};
	report_file(report, at ? config_setting_source_file(at) : NULL, &place);
	if (at)
		buf_addf(&place, ":%u", (unsigned)config_setting_source_line(at));
	return buf_take(&place, NULL);
}

void conf_errors_add(struct conf_errors *errors, const char *at, const char *key,
    const char *said)
{
	buf_addf(&errors->text, "%s: %s: %s\n", at, key, said);
	errors->count++;
}

void conf_errors_free(struct conf_errors *errors)
{
	buf_free(&errors->text);
	errors->count = 0;
}
