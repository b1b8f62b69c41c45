/* SPDX-License-Identifier: MIT
 * The clocks of clock.h: the system's, or two numbers that a test moves.
 */
#include "relayd/base/clock.h"

#include <time.h>

static bool fake;
static int64_t fake_wall;
static int64_t fake_mono;

static int64_t read_ms(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_mono_us(void)
{
	struct timespec t;
	if (fake)
		return fake_mono * 1000;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
	return fake ? fake_wall : read_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return fake ? fake_mono : read_ms(CLOCK_MONOTONIC);
}

int64_t clock_steady_ms(void)
{
	static int64_t offset;
	static bool known;
	if (fake)
		return fake_wall;
	if (!known) {
		offset = read_ms(CLOCK_REALTIME) - read_ms(CLOCK_MONOTONIC);
		known = true;
	}
	return offset + read_ms(CLOCK_MONOTONIC);
}

int64_t clock_shown_ms(int64_t steady_ms)
{
	int64_t shift = clock_wall_ms() - clock_steady_ms();
	/* less is slewing: what is asked for twice shall be the same */
	bool set = shift >= 2000 || shift <= -2000;
	return steady_ms && set ? steady_ms + shift : steady_ms;
}

void clock_fake(int64_t wall_ms)
{
	fake = true;
	fake_wall = wall_ms;
	fake_mono = 1000000;
}

void clock_advance(int64_t ms)
{
	fake_wall += ms;
	fake_mono += ms;
}

bool clock_is_fake(void)
{
	return fake;
}
