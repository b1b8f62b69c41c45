/* SPDX-License-Identifier: MIT */
#include "queue/backoff.h"

#include <string.h>

#include "relayd/base/random.h"

#define JITTER_PERCENT 10
#define WAIT_MIN_MS 1000
#define WAIT_MAX_MS (24 * 3600 * (int64_t)1000)
#define WAIT_MORE_MS 10000
#define TEXT_SCANNED 2000

int64_t backoff_delay(const int64_t *ladder, size_t count, unsigned attempts)
{
	size_t step = attempts > 0 ? attempts - 1 : 0;
	if (step >= count)
		step = count - 1;
	return random_jitter(ladder[step], JITTER_PERCENT);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at S: at most six, so that no sum below can overflow. */
static size_t take_number(struct span s, int64_t *value)
{
	size_t n = 0;
	*value = 0;
	while (n < s.n && n < 7 && is_digit(s.p[n]))
		*value = *value * 10 + (s.p[n++] - '0');
	return n > 6 ? 0 : n;
}

static bool take_unit(struct span s, int64_t *unit_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"sec", 1000}, {"s ", 1000}, {"min", 60000}, {"hour", 3600000},
	    {"hr", 3600000}};
	while (s.n && (s.p[0] == ' ' || s.p[0] == '-'))
		s.p++, s.n--;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (span_starts_nocase(s, units[i].name)) {
			*unit_ms = units[i].ms;
			return true;
		}
	return false;
}

/* "00:05:00" or "05:00" at S. */
static bool take_clock(struct span s, int64_t *ms)
{
	int64_t part = 0, sum = 0;
	int parts = 0;
	for (;;) {
		size_t n = take_number(s, &part);
		if (n != 2)
			return false;
		sum = sum * 60 + part;
		parts++;
		s.p += n, s.n -= n;
		if (parts == 3 || s.n == 0 || s.p[0] != ':')
			break;
		s.p++, s.n--;
	}
	*ms = sum * 1000;
	return parts > 1;
}

/* A number counts only behind words that speak of waiting: replies are full of
 * other numbers (codes, addresses, queue ids). */
static bool speaks_of_waiting(struct span s)
{
	static const char *const words[] = {"again in", "again after", "retry in", "retry after",
	    "wait ", "greylist", "graylist", "grey-list", "deferred for", "delayed for",
	    "try later in", "come back in", "in another"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_find_nocase(s, words[i]))
			return true;
	return false;
}

bool backoff_from_text(struct span text, int64_t *ms)
{
	if (text.n > TEXT_SCANNED)
		text.n = TEXT_SCANNED;
	if (!speaks_of_waiting(text))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		struct span rest = {text.p + i, text.n - i};
		int64_t number = 0, unit = 0, found = 0;
		if (!is_digit(text.p[i]) || (i > 0 && (is_digit(text.p[i - 1]) || text.p[i - 1] == '.')))
			continue;
		size_t n = take_number(rest, &number);
		struct span behind = {rest.p + n, rest.n - n};
		if (!take_clock(rest, &found)) {
			if (n == 0 || !take_unit(behind, &unit))
				continue;
			found = number * unit;
		}
		if (found < WAIT_MIN_MS || found > WAIT_MAX_MS)
			continue;
		*ms = found + WAIT_MORE_MS;
		return true;
	}
	return false;
}
