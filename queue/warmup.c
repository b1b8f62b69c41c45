/* SPDX-License-Identifier: MIT */
#include "queue/warmup.h"

#include <string.h>

#define BUDGET_MAX 1000000000.0

/* Days since 1970-01-01 of a Gregorian date: years are counted from March, so
 * that the odd day comes last; 400 years have 146,097 days. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = year / 400;
	int64_t of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool digits(const char *text, size_t n, int64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*value = *value * 10 + (text[i] - '0');
	}
	return true;
}

bool warmup_parse_date(const char *text, int64_t *ms)
{
	int64_t year;
	int64_t month;
	int64_t day;
	if (strnlen(text, 11) != 10 || text[4] != '-' || text[7] != '-' ||
	    !digits(text, 4, &year) || !digits(text + 5, 2, &month) ||
	    !digits(text + 8, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31)
		return false;
	*ms = days_of(year, month, day) * PATH_DAY;
	return true;
}

static unsigned budget_of(const struct reputation_options *options, unsigned day)
{
	double budget = options->warmup_start;
	for (unsigned i = 0; i < day && budget < BUDGET_MAX; i++)
		budget *= options->warmup_growth;
	if (budget > BUDGET_MAX)
		budget = BUDGET_MAX;
	return budget < 1 ? 1 : (unsigned)(budget + 0.5);
}

struct warmup warmup_now(const struct reputation_options *options, const struct path *p,
    const char *since, int64_t now_ms)
{
	struct warmup w = {0};
	int64_t from;
	if (!since || !*since || !warmup_parse_date(since, &from))
		return w;
	if (p->warm_from_ms > from)
		from = p->warm_from_ms;
	int64_t day = now_ms > from ? (now_ms - from) / PATH_DAY : 0;
	day = day > p->warm_back ? day - p->warm_back : 0;
	if (day >= options->warmup_days)
		return w;
	w.on = true;
	w.day = (unsigned)day;
	w.budget = budget_of(options, w.day);
	w.normal = w.budget - w.budget / 5;
	w.bulk = w.budget - 2 * (w.budget / 5);
	return w;
}

unsigned warmup_used(const struct path *p, int64_t now_ms)
{
	return p->used_hour == now_ms / PATH_HOUR ? p->used : 0;
}

void warmup_count(struct path *p, int64_t now_ms)
{
	unsigned used = warmup_used(p, now_ms);
	p->used_hour = now_ms / PATH_HOUR;
	p->used = used < 4000000000U ? used + 1 : used;
}

bool warmup_restart(const struct reputation_options *options, struct path *p, int64_t now_ms)
{
	int64_t idle = (int64_t)options->idle_days * PATH_DAY;
	if (p->warm_from_ms - now_ms > PATH_DAY)
		p->warm_from_ms = 0; /* by a clock that was wrong, and was set back */
	if (!idle || !p->sent_last_ms || now_ms - p->sent_last_ms < idle)
		return false;
	p->warm_from_ms = now_ms;
	p->warm_back = 0;
	p->sent_last_ms = now_ms;
	return true;
}

void warmup_step_back(struct path *p, const struct warmup *warmup, int64_t now_ms)
{
	if (!warmup->on || !warmup->day || now_ms - p->warm_back_ms < PATH_DAY)
		return;
	p->warm_back++;
	p->warm_back_ms = now_ms;
}
