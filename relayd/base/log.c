/* SPDX-License-Identifier: MIT
 * The lines of log.h. A line is built whole and written with one call, so
 * lines of several processes on one stderr do not mix.
 */
#include "relayd/base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "relayd/base/clock.h"

#define VALUE_MAX 600

static enum log_target to = LOG_TO_STDERR;
static enum log_level keep = LOG_LEVEL_INFO;
static void (*tap)(struct span line, void *arg);
static void *tap_arg;

static const struct {
	const char *name;
	int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
    [LOG_LEVEL_WARN] = {"warn", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_open(enum log_target target, enum log_level level)
{
	to = target;
	keep = level;
	if (target == LOG_TO_SYSLOG)
		openlog("relayd", LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void log_tap(void (*fn)(struct span line, void *arg), void *arg)
{
	tap = fn;
	tap_arg = arg;
}

static void add_time(struct buf *b)
{
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	struct tm tm;
	char text[40];
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(b, "%s.%03dZ ", text, (int)(now % 1000));
}

static void put(enum log_level level, struct span text)
{
	if (level > keep)
		return;
	struct buf line = {0};
	if (to == LOG_TO_STDERR)
		add_time(&line);
	if (to == LOG_TO_JOURNAL)
		buf_addf(&line, "<%d>", levels[level].priority);
	size_t head = line.len;
	buf_addf(&line, "%s ", levels[level].name);
	buf_add(&line, text.p, text.n);
	if (tap)
		tap((struct span){line.data + head, line.len - head}, tap_arg);
	if (to == LOG_TO_SYSLOG) {
		syslog(levels[level].priority, "%s", buf_text(&line) + head);
	} else {
		buf_add_byte(&line, '\n');
		/* a log that can not be written must not stop the mail */
		ssize_t done = write(STDERR_FILENO, line.data, line.len);
		(void)done;
	}
	buf_free(&line);
}

void log_text(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	struct buf safe = {0};
	text_escape_utf8(&safe, span_text(text), sizeof(text));
	put(level, span_buf(&safe));
	buf_free(&safe);
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
	line->level = level;
	line->text = (struct buf){0};
	buf_add_text(&line->text, event);
}

static bool needs_quotes(struct span value)
{
	if (value.n == 0)
		return true;
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] == ' ' || value.p[i] == '"' || value.p[i] == '=')
			return true;
	return false;
}

void log_add(struct log_line *line, const char *key, struct span value)
{
	struct buf safe = {0};
	text_escape_utf8(&safe, value, VALUE_MAX);
	bool quotes = needs_quotes(span_buf(&safe));
	buf_addf(&line->text, " %s=%s", key, quotes ? "\"" : "");
	for (size_t i = 0; i < safe.len; i++) {
		if (safe.data[i] == '"')
			buf_add_byte(&line->text, '\\');
		buf_add_byte(&line->text, safe.data[i]);
	}
	if (quotes)
		buf_add_byte(&line->text, '"');
	buf_free(&safe);
}

void log_add_text(struct log_line *line, const char *key, const char *value)
{
	log_add(line, key, span_text(value));
}

void log_add_number(struct log_line *line, const char *key, int64_t value)
{
	buf_addf(&line->text, " %s=%" PRId64, key, value);
}

void log_end(struct log_line *line)
{
	put(line->level, span_buf(&line->text));
	buf_free(&line->text);
}
