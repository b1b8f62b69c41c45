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
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/log_syslog.h"

#define VALUE_MAX 600 /* bytes as it is shown, quotes included */
#define PIPE_WANTED (1 << 20)
#define TEXT_MAX 4000 /* under PIPE_BUF with what stands in front: one write is whole */
#define CUT "..."     /* something is missing here */
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

void log_set_level(enum log_level level)
{
	keep = level;
}

enum log_level log_level_named(const char *name)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(levels[i].name, name) == 0)
			return (enum log_level)i;
	return LOG_LEVEL_INFO;
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

static void write_line(struct buf *line)
{
	buf_add_byte(line, '\n');
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

static void write_to_journal(enum log_level level, struct span text)
{
	struct buf line = {0};
	buf_addf(&line, "<%d>", levels[level].priority);
	buf_add(&line, text.p, text.n);
	write_line(&line);
	buf_free(&line);
}

static void put(enum log_level level, struct span text)
{
	struct buf line = {0};
	add_time(&line);
	size_t time = line.len; /* which syslog and the journal add by themselves */
	buf_addf(&line, "%s ", levels[level].name);
	buf_add(&line, text.p, text.n);
	struct span timeless = {line.data + time, line.len - time};
	if (tap)
		tap(span_buf(&line), tap_arg);
	switch (to) {
	case LOG_TO_STDERR:
		write_line(&line);
		break;
	case LOG_TO_SYSLOG:
		send_line(level, timeless);
		break;
	case LOG_TO_JOURNAL:
		write_to_journal(level, timeless);
		break;
	}
	buf_free(&line);
}

/* ---- what is escaped ---- */

/* Bytes of the first unit of S, which is escaped: of "\x0a", "\"" or a character. */
static size_t unit_size(struct span s)
{
	size_t n = 1;
	if (s.p[0] == '\\')
		n = s.n > 1 && s.p[1] == 'x' ? 4 : 2;
	else
		while (n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n++;
	return n < s.n ? n : s.n;
}

/* TEXT, which is escaped, gets at most MAX bytes long, and says so. */
static void cut(struct buf *text, size_t max)
{
	size_t end = 0;
	size_t n = 0;
	if (text->len <= max)
		return;
	while (end + n <= max - strlen(CUT)) {
		end += n;
		n = unit_size((struct span){text->data + end, text->len - end});
	}
	text->len = end;
	buf_add_text(text, CUT);
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
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	struct buf safe = {0};
	text_escape_utf8(&safe, span_text(text), sizeof(text));
	if (n >= (int)sizeof(text))
		buf_add_text(&safe, CUT);
	cut(&safe, TEXT_MAX);
	put(level, span_buf(&safe));
	buf_free(&safe);
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
	*line = (struct log_line){.level = level};
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

/* A key that has no room any more is left out; shorter ones behind it may have. */
static void add(struct log_line *line, const char *key, struct span shown)
{
	size_t n = strlen(key) + shown.n + 2;
	if (line->text.len + n > TEXT_MAX - strlen(" " CUT)) {
		line->cut = true;
		return;
	}
	buf_add_byte(&line->text, ' ');
	buf_add_text(&line->text, key);
	buf_add_byte(&line->text, '=');
	buf_add(&line->text, shown.p, shown.n);
}

/* SAFE is escaped but for quotes. */
static void add_quoted(struct log_line *line, const char *key, struct span safe)
{
	struct buf shown = {0};
	bool quotes = safe.n == 0;
	for (size_t i = 0; i < safe.n; i++) {
		quotes |= safe.p[i] == ' ' || safe.p[i] == '"' || safe.p[i] == '=';
		if (safe.p[i] == '"')
			buf_add_byte(&shown, '\\');
		buf_add_byte(&shown, safe.p[i]);
	}
	cut(&shown, quotes ? VALUE_MAX - strlen("\"\"") : VALUE_MAX);
	if (quotes) {
		struct buf inside = shown;
		shown = (struct buf){0};
		buf_addf(&shown, "\"%s\"", buf_text(&inside));
		buf_free(&inside);
	}
	add(line, key, span_buf(&shown));
	buf_free(&shown);
}

void log_add(struct log_line *line, const char *key, struct span value)
{
	struct buf safe = {0};
	if (!log_keeps(line->level))
		return;
	if (is_tame(value)) {
		add(line, key, value);
		return;
	}
	text_escape_utf8(&safe, value, VALUE_MAX);
	add_quoted(line, key, span_buf(&safe));
	buf_free(&safe);
}

void log_add_text(struct log_line *line, const char *key, const char *value)
{
	log_add(line, key, span_text(value));
}

void log_add_escaped(struct log_line *line, const char *key, const char *value)
{
	if (log_keeps(line->level))
		add_quoted(line, key, span_text(value));
}

void log_add_number(struct log_line *line, const char *key, int64_t value)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRId64, value);
	if (log_keeps(line->level))
		add(line, key, (struct span){text, (size_t)n});
}

void log_end(struct log_line *line)
{
	if (line->cut)
		buf_add_text(&line->text, " " CUT);
	if (log_keeps(line->level))
		put(line->level, span_buf(&line->text));
	buf_free(&line->text);
}
