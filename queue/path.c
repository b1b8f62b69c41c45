/* SPDX-License-Identifier: MIT */
#include "queue/path.h"

#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include "relayd/base/mem.h"

#define WINDOW_FULL_MS 1000 /* a report frees it sooner than a time can tell */

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

struct path_limits path_limits(const struct provider *provider)
{
	struct path_limits l = {PATH_WINDOW_MAX, 0};
	if (provider && provider->connections > 0)
		l.window = (double)sooner(provider->connections, 1000);
	if (provider && provider->per_minute > 0)
		l.per_minute = (double)provider->per_minute;
	return l;
}

double path_rate(const struct path *p, struct path_limits limits)
{
	if (p->rate > 0 && (!(limits.per_minute > 0) || p->rate < limits.per_minute))
		return p->rate;
	return limits.per_minute;
}

/* ---- the minute's count ---- */

static void minute_move(struct path *p, int64_t now_ms)
{
	int64_t slot = now_ms / PATH_SLOT;
	if (slot < p->minute_slot || slot - p->minute_slot >= PATH_SLOTS)
		memset(p->minute, 0, sizeof(p->minute));
	else
		for (int64_t s = p->minute_slot + 1; s <= slot; s++)
			p->minute[s % PATH_SLOTS] = 0;
	p->minute_slot = slot;
}

unsigned path_minute(const struct path *p, int64_t now_ms)
{
	int64_t slot = now_ms / PATH_SLOT;
	int64_t sum = 0;
	for (int64_t s = later(slot - PATH_SLOTS + 1, 0); s <= slot; s++)
		if (s <= p->minute_slot && p->minute_slot - s < PATH_SLOTS)
			sum += p->minute[s % PATH_SLOTS];
	return (unsigned)sooner(sum, 1000000);
}

/* ---- turns ---- */

#define TURN_INTERVALS 24 /* later than that nobody is sent */

int64_t path_turn(struct path_turns *turns, int64_t from_ms, struct permit_spread spread)
{
	if (spread.first == 0)
		return from_ms;
	if (turns->from_ms != from_ms)
		*turns = (struct path_turns){.from_ms = from_ms};
	uint64_t n = turns->given;
	uint64_t size = spread.first;
	unsigned interval = 0;
	if (turns->given < UINT_MAX)
		turns->given++;
	for (; n >= size && interval < TURN_INTERVALS; interval++) {
		n -= size;
		size *= spread.grows ? 2 : 1;
	}
	n %= size;
	return from_ms + spread.interval_ms * interval +
	       (int64_t)((double)spread.interval_ms * (double)n / (double)size);
}

/* ---- asking ---- */

static struct permit answer(enum permit_answer what, int64_t at_ms)
{
	struct permit permit = {.answer = what, .at_ms = at_ms};
	return permit;
}

/* A time from the store that lies absurdly far ahead (the clock was set back)
 * shall not close a path for ever. */
static void keep_near(int64_t *time_ms, int64_t longest, int64_t now_ms)
{
	if (*time_ms > now_ms + longest)
		*time_ms = now_ms + longest;
}

/* The probe, and what a slow start behind it will let go, with some to spare. */
static const struct permit_spread behind_probe = {PATH_INTERVAL, 2, true};

static struct permit held(const struct path *p, int64_t at_ms)
{
	struct permit permit = answer(PERMIT_HELD, at_ms);
	permit.incident = p->incident;
	permit.spread = behind_probe;
	return permit;
}

static struct permit ask_held(struct path *p, int64_t now_ms)
{
	if (p->by_hand && p->probe_ms == 0)
		return held(p, now_ms + PATH_HOUR);
	keep_near(&p->probe_ms, PATH_WAIT_LIMIT, now_ms);
	if (p->probing && now_ms - p->probing_ms < PATH_STALE)
		return held(p, later(p->probe_ms, now_ms + PATH_MINUTE));
	if (now_ms < p->probe_ms)
		return held(p, p->probe_ms);
	return answer(PERMIT_PROBE, now_ms);
}

/* The next interval of a slow start allows twice as much, if this one had any
 * success. */
static void allow_move(struct path *p, int64_t now_ms)
{
	if (!p->allow || now_ms - p->allow_ms < PATH_INTERVAL)
		return;
	if (p->allow_worked)
		p->allow *= 2;
	p->allow_ms = now_ms;
	p->allow_used = 0;
	p->allow_worked = false;
	if (p->allow > PATH_ALLOW_MAX)
		p->allow = 0;
}

static double turn_length(double rate)
{
	return PATH_MINUTE / (rate < PATH_RATE_MIN ? PATH_RATE_MIN : rate);
}

struct permit path_ask(struct path *p, struct path_limits limits, int64_t now_ms)
{
	if (p->held)
		return ask_held(p, now_ms);
	keep_near(&p->until_ms, PATH_WAIT_LIMIT, now_ms);
	if (now_ms < p->until_ms)
		return answer(PERMIT_WAIT, p->until_ms);
	keep_near(&p->allow_ms, 0, now_ms);
	allow_move(p, now_ms);
	if (p->allow && p->allow_used >= p->allow) {
		struct permit permit = answer(PERMIT_WAIT, p->allow_ms + PATH_INTERVAL);
		permit.spread = (struct permit_spread){PATH_INTERVAL, 2 * p->allow, true};
		return permit;
	}
	double window = p->window < limits.window ? p->window : limits.window;
	if ((double)p->running + 1 > window)
		return answer(PERMIT_WAIT, now_ms + WINDOW_FULL_MS);
	double rate = path_rate(p, limits);
	if (rate > 0) {
		keep_near(&p->turn_ms, (int64_t)turn_length(rate), now_ms);
		if (now_ms < p->turn_ms)
			return answer(PERMIT_WAIT, p->turn_ms);
	}
	return answer(PERMIT_GO, now_ms);
}

void path_take(struct path *p, struct path_limits limits, bool probe, int64_t now_ms)
{
	double rate = path_rate(p, limits);
	p->running++;
	if (probe) {
		p->probing = true;
		p->probing_ms = now_ms;
		return;
	}
	if (p->allow)
		p->allow_used++;
	/* Who comes up to a second late for his turn does not lose it: the loop's
	 * turns are not exact, and the rate shall be reached. */
	if (rate > 0)
		p->turn_ms = later(p->turn_ms, now_ms - 1000) + (int64_t)turn_length(rate);
}

void path_leave(struct path *p, bool probe)
{
	if (p->running)
		p->running--;
	if (probe)
		p->probing = false;
}

void path_give_back(struct path *p, bool probe)
{
	path_leave(p, probe);
	p->v6_trial = false;
	if (!probe && p->allow_used)
		p->allow_used--;
}

/* ---- what came of it ---- */

/* The curve: 90 % of the ceiling at the cut, the ceiling at 1, flat around it,
 * nearly twice the ceiling at 3. */
static double curve(double ceiling, double sent_ms)
{
	double x = sent_ms / PATH_CURVE_MS - 1;
	return ceiling * (1 + (1 - PATH_CUT) * x * x * x);
}

/* Only mail that came at the rate says something about it. */
static void rate_grow(struct path *p, struct path_limits limits, int64_t now_ms)
{
	double rate = path_rate(p, limits);
	bool in_force = (double)path_minute(p, now_ms) >= rate / 2;
	if (!(p->rate > 0))
		return;
	if (in_force && rate >= p->rate) {
		double turn = turn_length(rate);
		p->sent_ms += turn < PATH_MINUTE ? turn : PATH_MINUTE;
		p->rate = curve(p->ceiling, p->sent_ms);
	}
	if (p->rate < PATH_RATE_MIN)
		p->rate = PATH_RATE_MIN;
	if (p->rate > PATH_RATE_MAX || (!in_force && now_ms - p->refused_ms > 7 * PATH_DAY))
		p->rate = p->ceiling = p->sent_ms = 0;
}

static void window_grow(struct path *p, struct path_limits limits)
{
	if ((double)p->running + 1 < p->window / 2)
		return; /* not in use: says nothing */
	p->window += 1 / p->window;
	if (p->window > limits.window)
		p->window = limits.window;
	if (p->window < 1)
		p->window = 1;
}

/* Slowed until it is half-way back, or was well for an hour. */
static void settle(struct path *p, int64_t now_ms)
{
	if (!p->slowed || p->allow || now_ms < p->until_ms)
		return;
	if (!(p->rate > 0) || p->sent_ms >= PATH_CURVE_MS / 2.0 ||
	    now_ms - p->refused_ms >= PATH_HOUR) {
		p->slowed = false;
		p->until_ms = 0;
	}
}

void path_accepted(struct path *p, int64_t now_ms)
{
	minute_move(p, now_ms);
	p->minute[p->minute_slot % PATH_SLOTS]++;
	path_answered(p, now_ms);
}

void path_answered(struct path *p, int64_t now_ms)
{
	p->answered_ms = now_ms;
	p->silences = 0;
}

void path_worked(struct path *p, struct path_limits limits, int64_t now_ms)
{
	path_accepted(p, now_ms);
	if (p->held || now_ms < p->until_ms)
		return; /* it was under way when the refusal came */
	p->refusals = 0;
	p->allow_worked = true;
	window_grow(p, limits);
	rate_grow(p, limits, now_ms);
	settle(p, now_ms);
}

static int64_t doubled(int64_t wait_ms, unsigned times, int64_t max_ms)
{
	while (times-- && wait_ms < max_ms)
		wait_ms *= 2;
	return sooner(wait_ms, max_ms);
}

/* What goes well: at most what we sent, and not less than half of it, since one
 * refusal may be a mistake. The count of the last minute is exact to a slot and
 * to one message, so what is near the rate is the rate: a little too much. */
static double ceiling_of(const struct path *p, struct path_limits limits, int64_t now_ms)
{
	double rate = path_rate(p, limits);
	double accepted = (double)path_minute(p, now_ms);
	if (!(rate > 0))
		return accepted < 1 ? 1 : accepted;
	if (!p->refusals && accepted + 1 > rate * 0.8)
		return rate * PATH_TOO_MUCH;
	return accepted < rate / 2 ? rate / 2 : accepted;
}

bool path_refused(struct path *p, struct path_limits limits, int64_t wait_ms, int64_t now_ms)
{
	if (p->held || (p->slowed && now_ms < p->until_ms))
		return false;
	/* The last cut was not enough: where minutes are counted by the clock, the one
	 * before the first refusal has shown up to twice the limit. */
	bool again = p->rate > 0 && p->sent_ms < PATH_CURVE_MS / 4.0 &&
		     now_ms - p->refused_ms < 10 * PATH_MINUTE;
	p->ceiling = ceiling_of(p, limits, now_ms) * (again ? PATH_CUT_AGAIN : 1);
	p->rate = curve(p->ceiling, 0);
	if (p->rate < PATH_RATE_MIN)
		p->rate = PATH_RATE_MIN;
	p->sent_ms = 0;
	p->refused_ms = now_ms;
	p->window = p->window > 2 ? p->window / 2 : 1;
	p->slowed = true;
	int64_t wait = doubled(PATH_MINUTE, p->refusals, PATH_WAIT_MAX);
	p->until_ms = now_ms + (wait_ms > 0 ? sooner(wait_ms, PATH_WAIT_LIMIT) : wait);
	if (p->refusals < PATH_REFUSALS)
		p->refusals++;
	return true;
}

/* ---- held ---- */

static void copy_ladder(struct path *p, const int64_t *ladder, size_t count)
{
	if (!ladder || !count)
		return;
	memset(p->ladder, 0, sizeof(p->ladder));
	for (size_t i = 0; i < count && i < PATH_LADDER; i++)
		p->ladder[i] = sooner(later(ladder[i], 1000), PATH_WAIT_LIMIT);
}

static int64_t ladder_at(const struct path *p, unsigned step)
{
	unsigned last = 0;
	while (last + 1 < PATH_LADDER && p->ladder[last + 1])
		last++;
	int64_t wait = p->ladder[step < last ? step : last];
	return wait ? wait : PATH_HOUR;
}

/* None by itself where a person holds it, who had it probed once. */
static int64_t next_probe(const struct path *p, int64_t at_ms)
{
	return p->by_hand ? 0 : at_ms;
}

void path_hold(struct path *p, const struct path_hold *hold, int64_t now_ms)
{
	if (p->held && !hold->is_probe)
		return; /* it was under way when the first one came */
	/* one that comes back while the path is still starting is the same block */
	if ((p->held || p->allow) && p->step + 1 < PATH_LADDER)
		p->step++;
	else if (!p->held)
		p->step = 0;
	copy_ladder(p, hold->ladder, hold->ladder_count);
	p->held = true;
	p->slowed = false;
	p->until_ms = 0;
	p->allow = 0;
	p->hold_class = hold->klass;
	p->hold_stage = hold->stage;
	int64_t wait = later(ladder_at(p, p->step), sooner(hold->wait_ms, PATH_WAIT_LIMIT));
	p->probe_ms = next_probe(p, now_ms + wait);
}

void path_probe_again(struct path *p, int64_t after_ms, int64_t now_ms)
{
	int64_t wait = sooner(ladder_at(p, p->step), PATH_INTERVAL);
	p->probe_ms = next_probe(p, now_ms + later(wait, sooner(after_ms, PATH_WAIT_LIMIT)));
}

void path_reopen(struct path *p, int64_t now_ms)
{
	p->held = false;
	p->by_hand = false;
	p->probe_ms = 0;
	p->slowed = true;
	p->until_ms = 0;
	p->refusals = 0;
	p->silences = 0;
	p->allow = 1;
	p->allow_used = 0;
	p->allow_worked = false;
	p->allow_ms = now_ms;
	p->window = 1;
}

bool path_silent(struct path *p, int64_t now_ms)
{
	if (!p->silences)
		p->silent_ms = now_ms;
	else if (now_ms - p->silent_last_ms < PATH_HICCUP)
		return false;
	p->silent_last_ms = now_ms;
	p->window = p->window > 2 ? p->window / 2 : 1;
	if (p->silences < PATH_SILENCES)
		p->silences++;
	return p->silences >= PATH_SILENCES;
}

/* ---- address families ---- */

int path_family(struct path *p, int family, int64_t now_ms, bool *trial)
{
	*trial = false;
	if (!p->v6_until || family == AF_INET)
		return family;
	keep_near(&p->v6_until, PATH_WAIT_LIMIT, now_ms);
	bool tried = p->v6_trial && now_ms - p->v6_trial_ms < PATH_STALE;
	if (now_ms >= p->v6_until && !tried) {
		*trial = true;
		return family;
	}
	return family == AF_INET6 ? -1 : AF_INET;
}

void path_close_v6(struct path *p, const struct verdict *verdict, int64_t now_ms)
{
	static const int64_t usual[] = {PATH_HOUR, 4 * PATH_HOUR, PATH_DAY};
	bool own = verdict->ladder && verdict->ladder_count;
	const int64_t *ladder = own ? verdict->ladder : usual;
	size_t count = own ? verdict->ladder_count : sizeof(usual) / sizeof(usual[0]);
	if (p->v6_until && now_ms < p->v6_until)
		return; /* it was under way when the first one came */
	bool again = p->v6_until || (p->v6_opened_ms && now_ms - p->v6_opened_ms < PATH_DAY);
	if (!again)
		p->v6_step = 0;
	else if (p->v6_step + 1 < PATH_LADDER)
		p->v6_step++;
	int64_t wait = ladder[p->v6_step < count ? p->v6_step : count - 1];
	wait = sooner(later(later(wait, verdict->wait_ms), 1000), PATH_WAIT_LIMIT);
	p->v6_until = now_ms + wait;
	p->v6_opened_ms = 0;
	p->v6_trial = false;
}

/* ---- as a whole ---- */

void path_reset(struct path *p, double window)
{
	/* all of the learnt lies between window and since */
	memset(&p->window, 0, offsetof(struct path, since) - offsetof(struct path, window));
	p->window = window;
	p->incident = 0;
	p->probing = false;
	p->v6_trial = false;
	p->last_ms = 0;
	mem_free(p->last_rule);
	mem_free(p->last_reply);
	p->last_rule = mem_text("");
	p->last_reply = mem_text("");
}

static uint64_t mix(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * UINT64_C(0x100000001b3) + (sum >> 32);
}

uint64_t path_mark(const struct path *p)
{
	uint64_t m = UINT64_C(0xcbf29ce484222325);
	m = mix(m, (uint64_t)p->held * 4 + (uint64_t)p->by_hand * 2 + (uint64_t)p->slowed);
	m = mix(m, (uint64_t)p->until_ms);
	m = mix(m, (uint64_t)p->probe_ms);
	m = mix(m, p->allow);
	m = mix(m, p->allow_used);
	m = mix(m, (uint64_t)p->v6_until);
	m = mix(m, p->silences);
	m = mix(m, (uint64_t)p->refused_ms);
	m = mix(m, p->warm_back);
	m = mix(m, (uint64_t)p->warm_from_ms);
	return mix(m, p->incident);
}

bool path_is_plain(const struct path *p)
{
	return !p->held && !p->slowed && !p->allow && !p->v6_until && !(p->rate > 0) &&
	       !p->running && !p->warm_back && !p->warm_from_ms && !p->silences;
}
