/* SPDX-License-Identifier: MIT
 * The lines of log.h. A line is built whole and written with one call, so
 * lines of several processes on one stderr do not mix.
 */
#include "relayd/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/log_syslog.h"

#define VALUE_MAX 600
#define PIPE_WANTED (1 << 20)
#define TEXT_MAX 4000 /* under PIPE_BUF with what stands in front */
#define SYSLOG "/dev/log"

static enum log_target to = LOG_TO_STDERR;
static enum log_level keep = LOG_LEVEL_INFO;
static void (*tap)(struct span line, void *arg);
static void *tap_arg;
static bool may_block; /* stderr is a pipe or a socket */
static uint64_t lost;

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
	struct stat st;
	to = target;
	keep = level;
	may_block = fstat(STDERR_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
	/* room for a burst; what the system does not give is no fault */
	fcntl(STDERR_FILENO, F_SETPIPE_SZ, PIPE_WANTED);
	if (target == LOG_TO_SYSLOG)
		tzset(); /* while every file can be read */
}

void log_tap(void (*fn)(struct span line, void *arg), void *arg)
{
	tap = fn;
	tap_arg = arg;
}

/* The seconds' part is made once a second. */
static void add_time(struct buf *b)
{
	static char text[32];
	static time_t made = -1;
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	if (seconds != made) {
		struct tm tm;
		gmtime_r(&seconds, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		made = seconds;
	}
	buf_addf(b, "%s.%03dZ ", text, (int)(now % 1000));
}

/* A log that can not be written must not stop the mail: where nobody reads, lines
 * are lost, and when they are read again this says how many. */
static void tell_lost(void)
{
	uint64_t count = lost;
	if (!count)
		return;
	lost = 0;
	log_text(LOG_LEVEL_WARN, "%" PRIu64 " lines of this log were lost: nobody read it", count);
	if (lost) /* that one too */
		lost += count;
}

static void write_line(const struct buf *line)
{
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	if (may_block && (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))) {
		lost++;
		return;
	}
	tell_lost();
	ssize_t done = write(STDERR_FILENO, line->data, line->len);
	(void)done;
}

static void send_line(enum log_level level, struct span line)
{
	if (log_syslog(SYSLOG, levels[level].priority, line) < 0)
		lost++;
	else
		tell_lost();
}

static void put(enum log_level level, struct span text)
{
	struct buf line = {0};
	if (to == LOG_TO_STDERR)
		add_time(&line);
	if (to == LOG_TO_JOURNAL)
		buf_addf(&line, "<%d>", levels[level].priority);
	size_t head = line.len;
	buf_addf(&line, "%s ", levels[level].name);
	/* one write to a pipe is whole up to PIPE_BUF */
	buf_add(&line, text.p, text.n < TEXT_MAX ? text.n : TEXT_MAX);
	if (tap)
		tap((struct span){line.data + head, line.len - head}, tap_arg);
	if (to == LOG_TO_SYSLOG) {
		send_line(level, (struct span){line.data + head, line.len - head});
	} else {
		buf_add_byte(&line, '\n');
		write_line(&line);
	}
	buf_free(&line);
}

bool log_keeps(enum log_level level)
{
	return level <= keep;
}

void log_text(enum log_level level, const char *format, ...)
{
	char text[1024];
	if (!log_keeps(level))
		return;
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
	if (log_keeps(level))
		buf_add_text(&line->text, event);
}

/* Most values are plain words: they go in as they are. */
static bool is_tame(struct span value)
{
	if (value.n == 0 || value.n > VALUE_MAX)
		return false;
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return true;
}

static void add_quoted(struct buf *out, struct span safe)
{
	bool quotes = safe.n == 0;
	for (size_t i = 0; i < safe.n; i++)
		quotes |= safe.p[i] == ' ' || safe.p[i] == '"' || safe.p[i] == '=';
	if (quotes)
		buf_add_byte(out, '"');
	for (size_t i = 0; i < safe.n; i++) {
		if (safe.p[i] == '"')
			buf_add_byte(out, '\\');
		buf_add_byte(out, safe.p[i]);
	}
	if (quotes)
		buf_add_byte(out, '"');
}

static void add_escaped(struct buf *out, struct span value)
{
	struct buf safe = {0};
	text_escape_utf8(&safe, value, VALUE_MAX);
	add_quoted(out, span_buf(&safe));
	buf_free(&safe);
}

void log_add(struct log_line *line, const char *key, struct span value)
{
	if (!log_keeps(line->level))
		return;
	buf_add_byte(&line->text, ' ');
	buf_add_text(&line->text, key);
	buf_add_byte(&line->text, '=');
	if (is_tame(value))
		buf_add(&line->text, value.p, value.n);
	else
		add_escaped(&line->text, value);
}

void log_add_text(struct log_line *line, const char *key, const char *value)
{
	log_add(line, key, span_text(value));
}

void log_add_escaped(struct log_line *line, const char *key, const char *value)
{
	struct span s = span_text(value);
	if (!log_keeps(line->level))
		return;
	if (s.n > VALUE_MAX)
		s.n = VALUE_MAX;
	buf_addf(&line->text, " %s=", key);
	add_quoted(&line->text, s);
}

void log_add_number(struct log_line *line, const char *key, int64_t value)
{
	if (log_keeps(line->level))
		buf_addf(&line->text, " %s=%" PRId64, key, value);
}

void log_end(struct log_line *line)
{
	if (log_keeps(line->level))
		put(line->level, span_buf(&line->text));
	buf_free(&line->text);
}
