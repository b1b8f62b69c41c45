/* SPDX-License-Identifier: MIT
 * The last answers, so that "why is it still here" has an answer without the
 * log: one per message, the newest few ten thousand, in memory.
 */
#ifndef RELAYD_HISTORY_H
#define RELAYD_HISTORY_H

#include <stddef.h>
#include <stdint.h>

struct history;

struct history_entry {
	int64_t when_ms;
	char status[12]; /* enhanced status code, "" none */
	char *mx;        /* who answered */
	char *text;      /* what, one escaped line */
};

struct history *history_new(size_t max);
void history_free(struct history *history);

/* Remember (copies); what was known of ID goes. The oldest entry goes when
 * there are too many. */
void history_note(struct history *history, uint64_t id, int64_t when_ms, const char *status,
    const char *mx, const char *text);
void history_forget(struct history *history, uint64_t id);

/* NULL: nothing is known. Valid until the next change. */
const struct history_entry *history_find(const struct history *history, uint64_t id);

#endif
