/* SPDX-License-Identifier: MIT
 * Senders of ours who would burn the IP: a login whose password was stolen, a form
 * that strangers use, a list that was bought. For each it counts the messages of
 * the last hour, and of the last day's recipients those that nobody knows; over a
 * limit the sender is braked: what becomes of its mail is the caller's business.
 *
 *	free --more messages in an hour than the limit--> BRAKE_RATE
 *	any --its share of unknown recipients--> BRAKE_UNKNOWN
 *	braked --an hour, a day like the limit allows; or released by a person--> free
 *
 * All messages count, those that are held too: who goes on flooding stays braked.
 * At most BRAKE_SENDERS_MAX are known, those longest unseen are forgotten first,
 * braked ones last.
 *
 * Pure: time comes in as an argument (steady clock, ms), changes go out as lines of
 * text for a store, each the whole state of one sender. Counts go out when
 * brake_flush asks for them, a change between free and braked at once: a crash
 * costs the counts of some seconds, never a brake.
 */
#ifndef QUEUE_BRAKE_H
#define QUEUE_BRAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/text.h"

#define BRAKE_SENDERS_MAX 10000u
#define BRAKE_NAME_MAX 120u /* bytes of a sender's name; the rest is cut */

struct brake;

enum brake_cause { BRAKE_FREE, BRAKE_RATE, BRAKE_UNKNOWN };
/* "", "rate", "unknown" */
const char *brake_cause_name(enum brake_cause cause);

struct brake_limits {
	int64_t messages_per_hour; /* 0: none */
	int64_t unknown_share;     /* percent from where it is braked; 0: none */
	int64_t minimum;           /* of recipients, before a share means anything */
};

struct brake_view {
	const char *who;
	enum brake_cause cause;
	int64_t since_ms; /* of the brake; 0: it is free */
	uint64_t messages;   /* in the last hour */
	uint64_t recipients; /* in the last day, that were delivered or unknown */
	uint64_t unknown;    /* of them */
	struct brake_limits limits; /* when it was last looked at */
};

struct brake_options {
	/* One line per sender that changed. */
	void (*event)(void *arg, const char *line);
	/* A sender is braked, free again, or braked for another cause. Called inside
	 * brake_*; it may not call back. */
	void (*changed)(void *arg, const struct brake_view *view);
	void *arg;
};

struct brake *brake_new(const struct brake_options *options);
void brake_free(struct brake *brake); /* NULL is fine */

/* One stored line. False: not one of ours. */
bool brake_replay(struct brake *brake, struct span line);
/* The whole state as lines. */
void brake_dump(const struct brake *brake, void (*line)(void *arg, const char *line), void *arg);
/* Lines for what has changed since the last time. */
void brake_flush(struct brake *brake);

/* A message of WHO ("login:web1") comes in: count it. The answer is for this one
 * already. */
enum brake_cause brake_message(struct brake *brake, const char *who,
    const struct brake_limits *limits, int64_t now_ms);
/* It was not taken after all. */
void brake_take_back(struct brake *brake, const char *who, int64_t now_ms);

/* A recipient of WHO has its end: delivered, or UNKNOWN to its domain. */
enum brake_cause brake_recipient(struct brake *brake, const char *who,
    const struct brake_limits *limits, bool unknown, int64_t now_ms);

/* May mail of WHO that waits already go? Nothing is counted. */
enum brake_cause brake_ask(struct brake *brake, const char *who,
    const struct brake_limits *limits, int64_t now_ms);

/* Look after those that are braked: time alone makes some free. */
void brake_look(struct brake *brake, int64_t now_ms);

/* By a person: free, and all that was counted is forgotten. False: not known. */
bool brake_release(struct brake *brake, const char *who, int64_t now_ms);

/* What is known of WHO. False: nothing. VIEW is good until the next call. */
bool brake_find(const struct brake *brake, const char *who, int64_t now_ms,
    struct brake_view *view);

/* All that are known, braked ones first. */
void brake_each(const struct brake *brake, int64_t now_ms,
    void (*fn)(void *arg, const struct brake_view *view), void *arg);

#endif
