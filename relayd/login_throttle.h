/* SPDX-License-Identifier: MIT
 * How often passwords may be guessed: by one client address (an IPv6 /64 is one),
 * and for one user from anywhere. After so many failures each is banned for a
 * while, and then has one try per ban until it was quiet for as long again.
 *
 * Who has logged in from an address before is counted apart, for that user and
 * address: neither other people's guesses nor a neighbour on the same host lock
 * him out.
 *
 * A name that does not exist is counted like one that does. Memory is bounded: what
 * was not seen for the longest time is forgotten first.
 */
#ifndef RELAYD_LOGIN_THROTTLE_H
#define RELAYD_LOGIN_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct throttle;

struct throttle_limits {
	int64_t failures; /* so many, then a ban */
	int64_t ban;      /* ms */
};

enum throttle_answer {
	THROTTLE_GO,     /* try it, and call throttle_end */
	THROTTLE_WAIT,   /* others of the same are under way: ask again when one has ended */
	THROTTLE_BANNED,
};

/* A try that is under way; it holds its counters. */
struct throttle_try {
	struct throttle_count *counts[2];
	unsigned char pair[16];
};

/* At most MAX counters of each kind. */
struct throttle *throttle_new(size_t max);
void throttle_free(struct throttle *throttle);
void throttle_set(struct throttle *throttle, const struct throttle_limits *limits);

/* CLIENT is an address as text, or "unix:UID"; NOW is monotonic, in ms. */
enum throttle_answer throttle_begin(struct throttle *throttle, const char *client,
    const char *user, int64_t now, struct throttle_try *try);

/* Result: failures of that address or user in a row, the higher number; 0: success. */
unsigned throttle_end(struct throttle *throttle, struct throttle_try *try, bool success,
    int64_t now);

/* It was not judged after all (no room for it): as if it had not begun. */
void throttle_drop(struct throttle *throttle, struct throttle_try *try);

size_t throttle_size(const struct throttle *throttle); /* counters of all kinds */
size_t throttle_banned(const struct throttle *throttle, int64_t now); /* walks them all */

#endif
