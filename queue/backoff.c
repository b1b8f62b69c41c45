/* SPDX-License-Identifier: MIT
 * The ladder, and times in replies. Replies are full of numbers (codes,
 * addresses, queue ids, times of day), so one counts only with a unit of time,
 * or as a clock, right behind words that ask for patience.
 */
#include "queue/backoff.h"

#include <string.h>

#include "relayd/base/random.h"

#define JITTER_PERCENT 10
#define WAIT_MIN_MS 1000
#define WAIT_MAX_MS (24 * 3600 * (int64_t)1000)
#define WAIT_MORE_MS 10000
#define TEXT_SCANNED 2000
#define NEAR 32 /* bytes between the words and the number: "in about", " at least " */

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

static bool is_letter(char c)
{
	int lower = text_lower_byte((unsigned char)c);
	return lower >= 'a' && lower <= 'z';
}

static struct span behind(struct span s, size_t n)
{
	return (struct span){s.p + n, s.n - n};
}

static struct span without_gap(struct span s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '-' || s.p[0] == '\n'))
		s = behind(s, 1);
	return s;
}

/* Digits at S; how many. 0: none, or more than six (no sum can overflow). */
static size_t take_number(struct span s, int64_t *value)
{
	size_t n = 0;
	*value = 0;
	while (n < s.n && n < 7 && is_digit(s.p[n]))
		*value = *value * 10 + (s.p[n++] - '0');
	return n > 6 ? 0 : n;
}

/* A whole word at S that is a unit of time; its length. 0: none. */
static size_t take_unit(struct span s, int64_t *unit_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"s", 1000}, {"sec", 1000}, {"secs", 1000}, {"second", 1000},
	    {"seconds", 1000}, {"m", 60000}, {"min", 60000}, {"mins", 60000}, {"minute", 60000},
	    {"minutes", 60000}, {"h", 3600000}, {"hr", 3600000}, {"hrs", 3600000},
	    {"hour", 3600000}, {"hours", 3600000}, {"day", 86400000}};
	size_t n = 0;
	while (n < s.n && is_letter(s.p[n]))
		n++;
	if (n < s.n && (s.p[n] == '@' || s.p[n] == '_'))
		return 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (span_is_nocase((struct span){s.p, n}, units[i].name)) {
			*unit_ms = units[i].ms;
			return n;
		}
	return 0;
}

/* "300 seconds", "5 more minutes", "4m30s", "4 minutes and 30 seconds". */
static bool take_duration(struct span s, int64_t *ms)
{
	int64_t largest = INT64_MAX;
	*ms = 0;
	for (;;) {
		int64_t number, unit;
		size_t n = take_number(s, &number);
		struct span rest = without_gap(behind(s, n));
		if (n && span_starts_nocase(rest, "more "))
			rest = behind(rest, 5);
		size_t word = n ? take_unit(rest, &unit) : 0;
		if (word == 0 || unit >= largest)
			break;
		*ms += number * unit;
		largest = unit;
		s = behind(rest, word);
		while (s.n && (s.p[0] == ' ' || s.p[0] == ','))
			s = behind(s, 1);
		if (span_starts_nocase(s, "and "))
			s = behind(s, 4);
	}
	return largest != INT64_MAX;
}

/* "00:05:00" or "05:00". */
static bool take_clock(struct span s, int64_t *ms)
{
	int64_t sum = 0;
	int parts = 0;
	for (;;) {
		int64_t part;
		if (take_number(s, &part) != 2 || (parts > 0 && part > 59))
			return false;
		sum = sum * 60 + part;
		parts++;
		s = behind(s, 2);
		if (parts == 3 || s.n == 0 || s.p[0] != ':')
			break;
		s = behind(s, 1);
	}
	*ms = sum * 1000;
	return parts > 1 && !(s.n && (is_digit(s.p[0]) || s.p[0] == ':'));
}

/* A duration follows; behind those with `clock`, one in digits only as well. */
static const struct {
	const char *text;
	bool clock;
} phrases[] = {{"again in", true}, {"again after", false}, {"retry in", true},
    {"retry after", false}, {"retry-after", false}, {"back in", true}, {"back after", false},
    {"later in", true}, {"resend in", true}, {"resend after", false}, {"in another", true},
    {"wait", true}, {"greylist", false}, {"graylist", false}, {"grey-list", false},
    {"gray-list", false}, {"grey list", false}, {"deferred for", true}, {"delayed for", true},
    {"delay", false}};

/* The first number near S, which is what follows the phrase. "after 10:20:30"
 * is a time of day more often than a duration; under an hour it is none. */
static bool take_time(struct span s, bool clock, int64_t *ms)
{
	size_t i = 0;
	while (i < s.n && i < NEAR && !is_digit(s.p[i]))
		i++;
	if (i == s.n || i == NEAR || i == 0 || is_letter(s.p[i - 1]) || s.p[i - 1] == '.' ||
	    s.p[i - 1] == '_' || s.p[i - 1] == '/' || s.p[i - 1] == '#')
		return false;
	s = behind(s, i);
	bool found = take_duration(s, ms);
	if (!found)
		found = take_clock(s, ms) && (clock || *ms < 3600 * 1000);
	return found && *ms >= WAIT_MIN_MS && *ms <= WAIT_MAX_MS;
}

/* Every place where PHRASE stands. */
static bool find_time(struct span text, const char *phrase, bool clock, int64_t *ms)
{
	const char *at;
	while ((at = span_find_nocase(text, phrase))) {
		text = behind(text, (size_t)(at - text.p) + strlen(phrase));
		if (take_time(text, clock, ms))
			return true;
	}
	return false;
}

bool backoff_from_text(struct span text, int64_t *ms)
{
	int64_t found;
	if (text.n > TEXT_SCANNED)
		text.n = TEXT_SCANNED;
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (find_time(text, phrases[i].text, phrases[i].clock, &found)) {
			*ms = found + WAIT_MORE_MS;
			return true;
		}
	return false;
}
