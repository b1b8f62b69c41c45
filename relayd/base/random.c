/* SPDX-License-Identifier: MIT
 * Random numbers from getrandom(2), fetched by the page since a call for
 * eight bytes costs as much as one for many. Each thread has its own buffer,
 * so nothing is locked and no two threads see the same bytes.
 */
#include "relayd/base/random.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include "relayd/base/mem.h"

static _Thread_local unsigned char store[1024];
static _Thread_local size_t left; /* unused bytes at the end of store */

static bool is_fixed;
static uint64_t fixed_state;

static void refill(void)
{
	size_t have = 0;
	while (have < sizeof(store)) {
		ssize_t n = getrandom(store + have, sizeof(store) - have, 0);
		if (n > 0)
			have += (size_t)n;
		else if (errno != EINTR)
			bug("getrandom failed");
	}
	left = sizeof(store);
}

static void take(unsigned char *to, size_t n)
{
	while (n) {
		if (left == 0)
			refill();
		size_t part = n < left ? n : left;
		unsigned char *from = store + sizeof(store) - left;
		memcpy(to, from, part);
		mem_wipe(from, part); /* what was handed out is not kept */
		to += part;
		n -= part;
		left -= part;
	}
}

/* A counter through a mixer (splitmix64): repeatable, evenly spread. */
static uint64_t fixed_next(void)
{
	fixed_state += 0x9e3779b97f4a7c15u;
	uint64_t v = fixed_state;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
	v = (v ^ v >> 27) * 0x94d049bb133111ebu;
	return v ^ v >> 31;
}

uint64_t random_u64(void)
{
	if (is_fixed)
		return fixed_next();
	uint64_t v;
	take((unsigned char *)&v, sizeof(v));
	return v;
}

void random_bytes(void *p, size_t n)
{
	unsigned char *to = p;
	if (!is_fixed) {
		take(to, n);
		return;
	}
	while (n) {
		uint64_t v = fixed_next();
		size_t part = n < sizeof(v) ? n : sizeof(v);
		memcpy(to, &v, part);
		to += part;
		n -= part;
	}
}

/* 0 to LIMIT-1. Values of the incomplete last round are drawn again, else
 * small results would come more often. */
static uint64_t below(uint64_t limit)
{
	uint64_t surplus = (0 - limit) % limit; /* 2^64 modulo LIMIT */
	uint64_t v;
	do
		v = random_u64();
	while (v < surplus);
	return v % limit;
}

uint32_t random_below(uint32_t limit)
{
	if (limit == 0)
		bug("random number below 0");
	return (uint32_t)below(limit);
}

int64_t random_jitter(int64_t value, unsigned percent)
{
	if (value <= 0)
		return value;
	if (percent > 100)
		percent = 100;
	int64_t reach = value / 100 * percent + value % 100 * percent / 100;
	uint64_t v = (uint64_t)(value - reach) + below(2 * (uint64_t)reach + 1);
	return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

void random_fix(uint64_t seed)
{
	is_fixed = true;
	fixed_state = seed;
}
