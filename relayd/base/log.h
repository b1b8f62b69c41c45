/* SPDX-License-Identifier: MIT
 * One line per event, `event key=value ...`, to stderr, syslog or the
 * journal. Values from outside are quoted and escaped here, so a line is
 * always one line of printable text. Where nobody reads the log, lines are
 * lost and counted; the caller never waits. Loop thread only.
 */
#ifndef RELAYD_BASE_LOG_H
#define RELAYD_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_JOURNAL };

/* Where lines go and which levels are kept. Before the first call: stderr,
 * info. The journal is written in its stderr form with a priority "<N>". */
void log_open(enum log_target target, enum log_level level);

/* From here on that level and those before it are kept. */
void log_set_level(enum log_level level);

/* That of a key log_level: "error", "warn", "info" (also for what is none) or "debug". */
enum log_level log_level_named(const char *name);

/* Is a line of that level written at all? (before work for a debug line) */
bool log_keeps(enum log_level level);

/* Every line that is kept is handed to FN as well, with its time, wherever lines go
 * (for `relayctl log -f`); NULL ends that. FN must not log. */
void log_tap(void (*fn)(struct span line, void *arg), void *arg);

/* A free-text line for people. */
void log_text(enum log_level level, const char *format, ...) ATTR_PRINTF(2, 3);

/* A line of keys, built in steps:
 *	struct log_line l;
 *	log_begin(&l, LOG_LEVEL_INFO, "accept");
 *	log_add(&l, "from", span_text(sender));
 *	log_end(&l);
 * An empty value is written as `key=""`. A value has 600 bytes at most, a line 4000
 * and its time; "..." stands where a value was cut, and at the end of a line that had
 * no room for all its keys. */
struct log_line {
	enum log_level level;
	struct buf text;
	bool cut; /* keys were left out */
};

void log_begin(struct log_line *line, enum log_level level, const char *event);
void log_add(struct log_line *line, const char *key, struct span value);
void log_add_text(struct log_line *line, const char *key, const char *value);
/* A value that is escaped already: printable ASCII, only quoted here. */
void log_add_escaped(struct log_line *line, const char *key, const char *value);
void log_add_number(struct log_line *line, const char *key, int64_t value);
void log_end(struct log_line *line); /* write it and release its memory */

#endif
