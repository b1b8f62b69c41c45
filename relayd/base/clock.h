/* SPDX-License-Identifier: MIT
 * The only place that asks what time it is, so that tests can run a week of
 * retries in a second. Durations and deadlines use the monotonic clock;
 * the wall clock is for what is written down (logs, spool, headers).
 */
#ifndef RELAYD_BASE_CLOCK_H
#define RELAYD_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_wall_ms(void); /* milliseconds since 1970-01-01 UTC */
int64_t clock_mono_ms(void); /* milliseconds since some moment; never goes back */
int64_t clock_mono_us(void); /* the same in microseconds: what others compare with theirs */

/* The wall clock as it was when first asked, moved on by the monotonic one: what
 * is scheduled by it does not jump when somebody sets the clock. */
int64_t clock_steady_ms(void);

/* A moment of the steady clock as the wall clock has it by now, for who reads it; 0, which is
 * none, stays so. */
int64_t clock_shown_ms(int64_t steady_ms);

/* From now on both clocks stand still at WALL_MS and move by clock_advance
 * only. Meant for tests; loop.h then jumps to the next timer by itself. */
void clock_fake(int64_t wall_ms);
void clock_advance(int64_t ms);
bool clock_is_fake(void);

#endif
