/* SPDX-License-Identifier: MIT
 * The ladder's steps, and the waiting time in replies as servers write them:
 * what is one, and above all what is none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "exact.h"
#include "queue/backoff.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

static void test_ladder(void **state)
{
	static const int64_t ladder[] = {120000, 300000, 600000};
	static const struct {
		unsigned attempts;
		size_t step;
	} table[] = {{0, 0}, {1, 0}, {2, 1}, {3, 2}, {4, 2}, {65535, 2}, {UINT32_MAX, 2}};
	(void)state;
	random_fix(1);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		for (int n = 0; n < 1000; n++) {
			int64_t step = ladder[table[i].step];
			int64_t delay = backoff_delay(ladder, 3, table[i].attempts);
			assert_in_range(delay, step * 9 / 10, step * 11 / 10);
		}
	/* of one step */
	assert_in_range(backoff_delay(ladder, 1, 9), 108000, 132000);
}

/* Both ends of the jitter are used. */
static void test_jitter_spreads(void **state)
{
	static const int64_t ladder[] = {100000};
	int64_t least = INT64_MAX;
	int64_t most = 0;
	(void)state;
	random_fix(2);
	for (int n = 0; n < 2000; n++) {
		int64_t delay = backoff_delay(ladder, 1, 1);
		least = delay < least ? delay : least;
		most = delay > most ? delay : most;
	}
	assert_true(least < 91000);
	assert_true(most > 109000);
}

static const struct {
	const char *text;
	int64_t seconds;
} times[] = {
    {"Greylisted, please try again in 300 seconds", 300},
    {"Greylisted for 5 minutes", 300},
    {"4.7.1 <b@example.org>: Recipient address rejected: Greylisted for 5 minutes", 300},
    {"Greylisting in action, please come back in 00:04:59", 299},
    {"Greylisting in action, please come back in 04:59", 299},
    {"retry after 00:05:00", 300},
    {"Client host rejected: greylisted (350 seconds), id 3secret", 350},
    {"Please try again in 60 s.", 60},
    {"try again in 60s", 60},
    {"Greylisting in progress, try again in 4m.", 240},
    {"Try again in 1 hour(s)", 3600},
    {"please wait 1 hour before retrying", 3600},
    {"wait for 5 more minutes", 300},
    {"You must wait at least 120 seconds before you try this again", 120},
    {"Please wait 4 minutes and 30 seconds", 270},
    {"try again in 4m30s", 270},
    {"retry in 1 hour, 5 min", 3900},
    {"TEMPORARILY REJECTED. TRY AGAIN IN 10 MINUTES.", 600},
    {"10 messages in 60 minutes are the limit, try again in 5 minutes", 300},
    {"message delayed for 15min", 900},
    {"Deferred for 00:03:00 by greylisting", 180},
    {"greylisting: delay=299 seconds", 299},
    {"Please try again in\n300 seconds", 300}, /* two lines of one reply */
    {"Retry-After: 30 sec", 30},
    {"come back in 24 hours", 86400},
    {"come back in 1 day", 86400},
    {"450 4.2.0 Graylisted - in 3 min. you are welcome", 180},
};

static void test_times(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		int64_t ms = 0;
		struct span s = exact(times[i].text);
		if (!backoff_from_text(s, &ms))
			fail_msg("no time in: %s", times[i].text);
		if (ms != times[i].seconds * 1000 + 10000)
			fail_msg("%d s from: %s", (int)(ms / 1000), times[i].text);
		exact_free(s);
	}
}

/* Numbers that are something else. */
static const char *const no_times[] = {
    "",
    "ok",
    "try again later",
    "Recipient address rejected: Greylisted, see http://postgrey.example.org/help/example.com.html",
    "Greylisting in effect, please come back later",
    "Temporary local problem - please try later",
    "Resources temporarily unavailable. Please try again later [#4.16.1].",
    "[TSS04] Messages from 192.0.2.10 temporarily deferred due to unexpected volume or user "
    "complaints - 4.16.55.1; see https://postmaster.example.com/421.html",
    "Our system has detected an unusual rate of unsolicited mail originating from your IP address",
    "The user you are trying to contact is receiving mail at a rate that prevents additional "
    "messages from being delivered. Please resend your message at a later time.",
    "The mail server [192.0.2.10] has been temporarily rate limited due to IP reputation (S775)",
    "Access denied, please try again later AS(77713351) [x.prod.outlook.com 2026-11-21T10:20:30]",
    "Server busy. Please try again later from [192.0.2.10]. (AS77713351)",
    "Service refused, please try later. OFR_999 [103]",
    "Throttled - try again later. RL000001",
    "too many errors from your ip (192.0.2.1), please visit http://postmaster.example.fr/ 1h",
    "Greylisted at 2026-11-21 10:20:30, try again later",
    "Greylisted until Sat, 21 Nov 2026 10:20:30 GMT",
    "try again after 10:20:30 UTC",
    "try again in 5",
    "try again in 300 widgets",
    "try again in 0 seconds",
    "try again in 25 hours",
    "try again in 2 days",
    "try again in 99999999999999999999 seconds",
    "try again in 1234567 seconds",
    "try again in 00:00:00",
    "try again in 99:99:99",
    "try again in 1:2:3",
    "try again in 00:05:00:00",
    "try again in 10.0.0.5 minutes",
    "message 300 seconds old",
    "10 messages in 60 minutes are the limit",
    "wait for id 4F60C12m5s",
    "greylisted, id A300 seconds",
    "waiting list of 3 hosts",
    "try again in 5 minds",
    "try again in 60secret",
    "please wait, queue id 3s@host",
    "greylisted 2001:db8::5 min",
    "mailbox unavailable; 5 min",
};

static void test_no_times(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(no_times) / sizeof(no_times[0]); i++) {
		int64_t ms = 42;
		struct span s = exact(no_times[i]);
		if (backoff_from_text(s, &ms))
			fail_msg("%d s from: %s", (int)(ms / 1000), no_times[i]);
		assert_int_equal(ms, 42);
		exact_free(s);
	}
}

/* A hostile reply of one phrase a thousand times is looked at in part only. */
static void test_long_text(void **state)
{
	struct buf b = {0};
	int64_t ms;
	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_add_text(&b, "again in x ");
	buf_add_text(&b, "again in 5 minutes");
	assert_false(backoff_from_text(span_buf(&b), &ms));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ladder),
	    cmocka_unit_test(test_jitter_spreads),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_no_times),
	    cmocka_unit_test(test_long_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
