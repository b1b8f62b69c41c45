/* SPDX-License-Identifier: MIT
 * When to try again: the ladder with jitter, and the time that a greylisting
 * reply names. Pure.
 */
#ifndef QUEUE_BACKOFF_H
#define QUEUE_BACKOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/text.h"

/* Step ATTEMPTS (1: after the first failure) of the ladder, +-10 %. */
int64_t backoff_delay(const int64_t *ladder, size_t count, unsigned attempts);

/* A time to wait in the text of a reply: "try again in 300 seconds", "retry
 * after 00:05:00", "greylisted for 5 minutes". 1 s to 24 h; ten seconds are
 * added. False: none. */
bool backoff_from_text(struct span text, int64_t *ms) ATTR_MUST_CHECK;

#endif
