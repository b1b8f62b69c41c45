/* SPDX-License-Identifier: MIT
 * Random numbers: ids and jitter. From the kernel, buffered; a test may fix
 * the sequence so that a run can be repeated.
 */
#ifndef RELAYD_BASE_RANDOM_H
#define RELAYD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *p, size_t n);
uint64_t random_u64(void);
uint32_t random_below(uint32_t limit); /* 0 to LIMIT-1, evenly; LIMIT > 0 */

/* VALUE changed by up to +-PERCENT of itself. */
int64_t random_jitter(int64_t value, unsigned percent);

void random_fix(uint64_t seed); /* tests: a fixed sequence from now on */

#endif
