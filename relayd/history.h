/* SPDX-License-Identifier: MIT
 * The last answers, so that "why is it still here" has an answer without the
 * log, and a report at the end of a message's time says what each recipient's host
 * said: one per recipient that waits, the newest few ten thousand, in memory. A
 * restart begins with none.
 */
#ifndef RELAYD_HISTORY_H
#define RELAYD_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/reputation.h"
#include "queue/verdict.h"

#define HISTORY_TEXT_MAX 600 /* bytes of an answer that are kept */
#define HISTORY_MX_MAX 255
#define HISTORY_NAME_MAX 63 /* of a smarthost */
#define HISTORY_PROVIDER_MAX 300

struct history;

struct history_entry {
	int64_t when_ms;          /* steady clock */
	const char *stage;        /* "rcpt": of the dialogue, or "dns", "local", "path"; a literal */
	char status[12];          /* enhanced status code, "" none */
	enum verdict_class klass; /* what it means */
	unsigned code;            /* of the reply; 0: there was none */
	const char *mx;           /* who answered, "" nobody */
	const char *smarthost;    /* as which it was asked; "" (or NULL, when noted) none */
	const char *text;         /* what: one escaped line, without code and status */
	enum wait_cause waits;    /* since then it was not tried, for that; at stage "path" never */
	const char *provider;     /* whose path makes it wait; "" (or NULL, when noted) none */
};

/* At most MAX answers: less than a kilobyte each. */
struct history *history_new(size_t max);
void history_free(struct history *history);

/* Remember ENTRY (copies; long texts are cut) as the last answer about a recipient;
 * what was known of it goes. The oldest one of all goes when there are too many. */
void history_note(struct history *history, uint64_t id, uint32_t recipient,
    const struct history_entry *entry);

/* The recipient, or the whole message, is done. */
void history_forget(struct history *history, uint64_t id, uint32_t recipient);
void history_forget_message(struct history *history, uint64_t id);

/* The last answer about a recipient of message ID, or the newest about any of them.
 * NULL: nothing is known. Valid until the next change. */
const struct history_entry *history_find(const struct history *history, uint64_t id,
    uint32_t recipient);
const struct history_entry *history_newest(const struct history *history, uint64_t id);

#endif
