/* SPDX-License-Identifier: MIT
 * Finds many phrases in one pass over a reply's plain form (queue/plain.h): the
 * automaton of Aho and Corasick, so the time depends on the reply alone, however
 * many phrases there are.
 *
 * A phrase is found where it stands as whole words; a * at its beginning or end
 * lifts that there ("greylist*", "*spamhaus.org*"). "@ip", "@ip6" and "@address"
 * are phrases for the addresses that the plain form leaves out.
 */
#ifndef QUEUE_WORDS_H
#define QUEUE_WORDS_H

#include <stdint.h>

#include "queue/plain.h"
#include "relayd/base/attr.h"
#include "relayd/base/why.h"

#define WORDS_MAX 8192   /* phrases */
#define WORDS_PHRASE 200 /* bytes of one */
#define WORDS_SET (WORDS_MAX / 64)

/* Which phrases were found. */
struct words_set {
	uint64_t bits[WORDS_SET];
};

struct words;

struct words *words_new(void);
void words_free(struct words *words);

/* Result: 0 and the phrase's number (the same phrase has the same one). -1: it is
 * too long, has nothing in it, has a * within, or there is no room for more. */
int words_add(struct words *words, struct span phrase, unsigned *number, struct why *why)
    ATTR_MUST_CHECK;

/* After the last phrase, before the first search. -1: too many phrases end with
 * one another, which would make the search slow for some texts. */
int words_build(struct words *words, struct why *why) ATTR_MUST_CHECK;

void words_find(const struct words *words, const struct plain *plain, struct words_set *found);

static inline bool words_has(const struct words_set *set, unsigned number)
{
	return set->bits[number / 64] >> (number % 64) & 1;
}

#endif
