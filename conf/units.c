/* SPDX-License-Identifier: MIT
 * Durations and sizes with units. Pure. Every sum is checked against the
 * limit before it is made, so no text can wrap a number.
 */
#include "conf/units.h"

#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

#define UNITS_DURATION_MAX (INT64_C(3650) * 86400 * 1000)
#define UNITS_SIZE_MAX (INT64_C(1) << 50)

enum { DURATION_UNITS = 6, SIZE_UNITS = 5 };

/* largest first: parsing demands that order, printing prefers it */
static const struct unit duration_units[DURATION_UNITS] = {
    {"w", INT64_C(7) * 86400 * 1000},
    {"d", INT64_C(86400) * 1000},
    {"h", 3600 * 1000},
    {"m", 60 * 1000},
    {"s", 1000},
    {"ms", 1},
};

static const struct unit size_units[SIZE_UNITS] = {
    {"T", INT64_C(1) << 40},
    {"G", INT64_C(1) << 30},
    {"M", INT64_C(1) << 20},
    {"K", INT64_C(1) << 10},
    {"B", 1},
};

/* Move the leading digits of S into VALUE. */
static bool take_number(struct span *s, uint64_t max, uint64_t *value)
{
	size_t n = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	if (!span_number((struct span){s->p, n}, max, value))
		return false;
	s->p += n;
	s->n -= n;
	return true;
}

/* Move the leading letters of S and find them in UNITS. */
static const struct unit *take_unit(
    struct span *s, const struct unit *units, size_t count)
{
	size_t n = 0;
	while (n < s->n && !(s->p[n] >= '0' && s->p[n] <= '9'))
		n++;
	struct span name = {s->p, n};
	s->p += n;
	s->n -= n;
	for (size_t i = 0; i < count; i++)
		if (span_is(name, units[i].name))
			return &units[i];
	return NULL;
}

bool units_parse_duration(struct span text, int64_t *ms)
{
	int64_t sum = 0;
	const struct unit *last = NULL;

	if (span_is(text, "0")) {
		*ms = 0;
		return true;
	}
	do {
		uint64_t n;
		if (!take_number(&text, (uint64_t)UNITS_DURATION_MAX, &n))
			return false;
		const struct unit *unit =
		    take_unit(&text, duration_units, DURATION_UNITS);
		if (!unit || (last && unit <= last))
			return false;
		if ((int64_t)n > (UNITS_DURATION_MAX - sum) / unit->factor)
			return false;
		sum += (int64_t)n * unit->factor;
		last = unit;
	} while (text.n);
	*ms = sum;
	return true;
}

bool units_parse_size(struct span text, int64_t *bytes)
{
	uint64_t n;

	if (span_is(text, "0")) {
		*bytes = 0;
		return true;
	}
	if (!take_number(&text, (uint64_t)UNITS_SIZE_MAX, &n))
		return false;
	const struct unit *unit = take_unit(&text, size_units, SIZE_UNITS);
	if (!unit || text.n || (int64_t)n > UNITS_SIZE_MAX / unit->factor)
		return false;
	*bytes = (int64_t)n * unit->factor;
	return true;
}

/* MS written with the units of the bit set MASK, each taken as often as it
 * fits. False when a rest remains or a unit of the set would be zero. */
static bool print_with(char *out, size_t room, unsigned mask, int64_t ms)
{
	size_t used = 0;
	for (size_t i = 0; i < DURATION_UNITS; i++) {
		const struct unit *unit = &duration_units[i];
		if (!(mask & 1u << i))
			continue;
		if (ms < unit->factor)
			return false;
		int n = snprintf(out + used, room - used, "%lld%s",
		    (long long)(ms / unit->factor), unit->name);
		if (n < 0 || (size_t)n >= room - used)
			return false;
		used += (size_t)n;
		ms %= unit->factor;
	}
	return ms == 0;
}

/* "90s" rather than "1m30s", but "1h" rather than "60m": all 63 sets of units
 * are tried. Among equally short texts the set with the larger units wins. */
void units_print_duration(struct buf *out, int64_t ms)
{
	char best[64] = "0";
	char next[64];
	size_t shortest = SIZE_MAX;

	for (unsigned mask = 1; ms > 0 && mask < 1u << DURATION_UNITS; mask++) {
		if (!print_with(next, sizeof(next), mask, ms) || strlen(next) >= shortest)
			continue;
		shortest = strlen(next);
		memcpy(best, next, shortest + 1);
	}
	buf_add_text(out, best);
}

void units_print_size(struct buf *out, int64_t bytes)
{
	size_t i = 0;
	if (bytes <= 0) {
		buf_add_text(out, "0");
		return;
	}
	while (bytes % size_units[i].factor)
		i++;
	buf_addf(
	    out, "%lld%s", (long long)(bytes / size_units[i].factor), size_units[i].name);
}
