/* SPDX-License-Identifier: MIT
 * The brake: rates and shares over hours of a clock of its own, who is forgotten,
 * and what a restart keeps.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "queue/brake.h"
#include "relayd/base/mem.h"

#define T0 (INT64_C(1795219200) * 1000)
#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)

struct kit {
	struct brake *brake;
	struct buf lines; /* the store */
	size_t changes;
	struct brake_view last;
	char who[BRAKE_NAME_MAX + 1];
};

static const struct brake_limits ten = {.messages_per_hour = 10};
static const struct brake_limits third = {.unknown_share = 30, .minimum = 20};
static const struct brake_limits none = {0};

static void on_line(void *arg, const char *line)
{
	struct kit *kit = arg;
	assert_null(strchr(line, '\n'));
	buf_add_text(&kit->lines, line);
	buf_add_byte(&kit->lines, '\n');
}

static void on_change(void *arg, const struct brake_view *view)
{
	struct kit *kit = arg;
	kit->changes++;
	kit->last = *view;
	snprintf(kit->who, sizeof(kit->who), "%s", view->who);
}

static void make(struct kit *kit)
{
	kit->brake = brake_new(&(struct brake_options){on_line, on_change, kit});
}

static int start(void **state)
{
	struct kit *kit = mem_zero(sizeof(*kit));
	make(kit);
	*state = kit;
	return 0;
}

static int end(void **state)
{
	struct kit *kit = *state;
	brake_free(kit->brake);
	buf_free(&kit->lines);
	mem_free(kit);
	return 0;
}

static void replay(struct kit *kit)
{
	struct span rest = span_buf(&kit->lines);
	while (rest.n) {
		const char *end_of_line = memchr(rest.p, '\n', rest.n);
		size_t n = (size_t)(end_of_line - rest.p);
		assert_true(brake_replay(kit->brake, (struct span){rest.p, n}));
		rest = (struct span){rest.p + n + 1, rest.n - n - 1};
	}
}

/* kill -9: what is in the store is all that is left. */
static void crash(struct kit *kit)
{
	brake_free(kit->brake);
	make(kit);
	replay(kit);
}

static void find_it(void *arg, const struct brake_view *view)
{
	struct kit *kit = arg;
	if (strcmp(view->who, kit->who) == 0)
		kit->last = *view;
}

static struct brake_view view(struct kit *kit, const char *who, int64_t now)
{
	snprintf(kit->who, sizeof(kit->who), "%s", who);
	kit->last = (struct brake_view){0};
	brake_each(kit->brake, now, find_it, kit);
	return kit->last;
}

static void recipients(struct kit *kit, const char *who, unsigned count, bool unknown, int64_t now)
{
	while (count--)
		brake_recipient(kit->brake, who, &third, unknown, now);
}

/* ---- rate ---- */

static void test_rate(void **state)
{
	struct kit *kit = *state;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(brake_message(kit->brake, "login:a", &ten, T0), BRAKE_FREE);
	assert_int_equal(kit->changes, 0);
	assert_int_equal(brake_message(kit->brake, "login:a", &ten, T0), BRAKE_RATE);
	assert_int_equal(brake_message(kit->brake, "login:a", &ten, T0 + 1), BRAKE_RATE);
	assert_int_equal(kit->changes, 1);
	assert_string_equal(kit->who, "login:a");
	assert_int_equal(kit->last.messages, 11);
	assert_int_equal(kit->last.limits.messages_per_hour, 10);
	/* nobody else is touched */
	assert_int_equal(brake_message(kit->brake, "login:b", &ten, T0), BRAKE_FREE);
	assert_true(view(kit, "login:a", T0).since_ms == T0);
	assert_true(view(kit, "login:b", T0).since_ms == 0);
}

/* Time alone makes it free, and it is told once. */
static void test_rate_loosens(void **state)
{
	struct kit *kit = *state;
	for (unsigned i = 0; i < 12; i++)
		brake_message(kit->brake, "login:a", &ten, T0);
	brake_look(kit->brake, T0 + 54 * MINUTE);
	assert_int_equal(kit->changes, 1);
	brake_look(kit->brake, T0 + HOUR);
	assert_int_equal(kit->changes, 2);
	assert_int_equal(kit->last.cause, BRAKE_FREE);
	assert_true(kit->last.since_ms == 0);
	assert_int_equal(brake_message(kit->brake, "login:a", &ten, T0 + HOUR), BRAKE_FREE);
}

/* Who goes on flooding stays braked: what is held counts as well. */
static void test_flood_stays_braked(void **state)
{
	struct kit *kit = *state;
	unsigned free = 0;
	for (int64_t at = 0; at < 24 * HOUR; at += 4 * MINUTE)
		free += brake_message(kit->brake, "script:a", &ten, T0 + at) == BRAKE_FREE;
	assert_int_equal(free, 10);
}

/* Just under the limit for days: never touched. */
static void test_steady_sender_passes(void **state)
{
	struct kit *kit = *state;
	for (int64_t at = 0; at < 72 * HOUR; at += 6 * MINUTE)
		assert_int_equal(brake_message(kit->brake, "c", &ten, T0 + at), BRAKE_FREE);
}

static void test_no_limit(void **state)
{
	struct kit *kit = *state;
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(brake_message(kit->brake, "c", &none, T0), BRAKE_FREE);
	/* one that is set later counts at once, one that goes as well */
	assert_int_equal(brake_ask(kit->brake, "c", &ten, T0), BRAKE_RATE);
	assert_int_equal(brake_ask(kit->brake, "c", &none, T0), BRAKE_FREE);
	assert_int_equal(brake_ask(kit->brake, "never seen", &ten, T0), BRAKE_FREE);
	assert_null(view(kit, "never seen", T0).who);
}

static void test_take_back(void **state)
{
	struct kit *kit = *state;
	for (unsigned i = 0; i < 10; i++)
		brake_message(kit->brake, "c", &ten, T0);
	assert_int_equal(brake_message(kit->brake, "c", &ten, T0), BRAKE_RATE);
	brake_take_back(kit->brake, "c", T0);
	assert_int_equal(brake_ask(kit->brake, "c", &ten, T0), BRAKE_FREE);
	for (unsigned i = 0; i < 30; i++)
		brake_take_back(kit->brake, "c", T0);
	assert_int_equal(view(kit, "c", T0).messages, 0);
	brake_take_back(kit->brake, "never seen", T0);
}

/* ---- unknown recipients ---- */

static void test_share(void **state)
{
	struct kit *kit = *state;
	recipients(kit, "c", 6, true, T0);
	recipients(kit, "c", 13, false, T0);
	assert_int_equal(kit->changes, 0); /* 6 of 19 are too few to say anything */
	assert_int_equal(brake_recipient(kit->brake, "c", &third, false, T0), BRAKE_UNKNOWN);
	assert_int_equal(kit->last.unknown, 6);
	assert_int_equal(kit->last.recipients, 20);
	recipients(kit, "d", 5, true, T0);
	recipients(kit, "d", 15, false, T0);
	assert_int_equal(brake_ask(kit->brake, "d", &third, T0), BRAKE_FREE); /* 25 % */
}

static void test_share_loosens_after_a_day(void **state)
{
	struct kit *kit = *state;
	recipients(kit, "c", 20, true, T0);
	assert_int_equal(brake_ask(kit->brake, "c", &third, T0 + 21 * HOUR), BRAKE_UNKNOWN);
	assert_int_equal(brake_ask(kit->brake, "c", &third, T0 + 24 * HOUR), BRAKE_FREE);
	assert_int_equal(kit->changes, 2);
}

/* What was under way when it was braked may also turn out well. */
static void test_share_loosens_by_success(void **state)
{
	struct kit *kit = *state;
	recipients(kit, "c", 6, true, T0);
	recipients(kit, "c", 14, false, T0);
	assert_int_equal(brake_ask(kit->brake, "c", &third, T0), BRAKE_UNKNOWN);
	recipients(kit, "c", 1, false, T0);
	assert_int_equal(brake_ask(kit->brake, "c", &third, T0), BRAKE_FREE);
}

static void test_both_causes(void **state)
{
	struct brake_limits both = {10, 30, 20};
	struct kit *kit = *state;
	for (unsigned i = 0; i < 11; i++)
		brake_message(kit->brake, "c", &both, T0);
	for (unsigned i = 0; i < 20; i++)
		brake_recipient(kit->brake, "c", &both, true, T0);
	assert_int_equal(kit->changes, 2);
	assert_int_equal(kit->last.cause, BRAKE_UNKNOWN);
	assert_true(kit->last.since_ms == T0);
	brake_look(kit->brake, T0 + 2 * HOUR);
	assert_int_equal(kit->changes, 2);
	brake_look(kit->brake, T0 + 25 * HOUR);
	assert_int_equal(kit->last.cause, BRAKE_FREE);
}

/* ---- a person ---- */

static void test_release(void **state)
{
	struct kit *kit = *state;
	recipients(kit, "c", 30, true, T0);
	assert_false(brake_release(kit->brake, "d", T0));
	assert_true(brake_release(kit->brake, "c", T0));
	assert_int_equal(kit->last.cause, BRAKE_FREE);
	assert_int_equal(brake_ask(kit->brake, "c", &third, T0), BRAKE_FREE);
	crash(kit);
	assert_int_equal(view(kit, "c", T0).recipients, 0);
}

/* ---- bounds ---- */

static void test_the_oldest_is_forgotten(void **state)
{
	struct kit *kit = *state;
	char who[40];
	for (unsigned i = 0; i < 11; i++)
		brake_message(kit->brake, "bad", &ten, T0);
	brake_message(kit->brake, "old", &none, T0);
	brake_message(kit->brake, "seen", &none, T0);
	for (unsigned i = 0; i < 2 * BRAKE_SENDERS_MAX; i++) {
		snprintf(who, sizeof(who), "script:%u", i);
		brake_message(kit->brake, who, &none, T0);
		if (i % 1000 == 0)
			brake_message(kit->brake, "seen", &none, T0);
	}
	assert_null(view(kit, "old", T0).who);
	assert_null(view(kit, "script:5", T0).who);
	assert_non_null(view(kit, "seen", T0).who);
	assert_non_null(view(kit, "script:19999", T0).who);
	assert_int_equal(view(kit, "bad", T0).cause, BRAKE_RATE);
}

static void test_a_long_name_is_cut(void **state)
{
	struct kit *kit = *state;
	char who[400];
	memset(who, 'x', sizeof(who) - 1);
	who[sizeof(who) - 1] = '\0';
	for (unsigned i = 0; i < 11; i++)
		brake_message(kit->brake, who, &ten, T0);
	assert_int_equal(brake_ask(kit->brake, who, &ten, T0), BRAKE_RATE);
	crash(kit);
	assert_int_equal(brake_ask(kit->brake, who, &ten, T0), BRAKE_RATE);
}

/* ---- restart ---- */

static void test_restart(void **state)
{
	struct kit *kit = *state;
	recipients(kit, "client:2001:db8::/64", 20, true, T0);
	for (unsigned i = 0; i < 9; i++)
		brake_message(kit->brake, "script:33:\xc3\xa9.php@unix:33", &ten, T0);
	crash(kit); /* the counts were not written yet; a brake always is */
	assert_int_equal(brake_ask(kit->brake, "client:2001:db8::/64", &third, T0), BRAKE_UNKNOWN);
	for (unsigned i = 0; i < 9; i++)
		brake_message(kit->brake, "script:33:\xc3\xa9.php@unix:33", &ten, T0);
	brake_flush(kit->brake);
	size_t before = kit->lines.len;
	brake_flush(kit->brake);
	assert_int_equal(kit->lines.len, before); /* only what has changed */
	crash(kit);
	assert_int_equal(brake_message(kit->brake, "script:33:\xc3\xa9.php@unix:33", &ten, T0 + 1), BRAKE_FREE);
	assert_int_equal(brake_message(kit->brake, "script:33:\xc3\xa9.php@unix:33", &ten, T0 + 1), BRAKE_RATE);
	assert_true(view(kit, "client:2001:db8::/64", T0).since_ms == T0);
}

static void test_dump(void **state)
{
	struct kit *kit = *state;
	struct buf first = {0};
	for (unsigned i = 0; i < 11; i++)
		brake_message(kit->brake, "a", &ten, T0 + i * MINUTE);
	recipients(kit, "b", 7, true, T0);
	buf_clear(&kit->lines);
	brake_dump(kit->brake, on_line, kit);
	buf_add(&first, kit->lines.data, kit->lines.len);
	crash(kit);
	buf_clear(&kit->lines);
	brake_dump(kit->brake, on_line, kit);
	assert_string_equal(buf_text(&first), buf_text(&kit->lines));
	buf_free(&first);
}

static void test_lines_that_make_no_sense(void **state)
{
	static const char *const lines[] = {"", "brake", "brake\t", "brake\thour=3", "other\twho=a",
	    "brake\twho=a\tcause=3", "brake\twho=a\tcause=1", "brake\twho=a\tsince=1",
	    "brake\twho=a\tmessages=1,2,3,4,5,6,7,8,9,10,11,12,13", "brake\twho=a\tunknown=1",
	    "brake\twho=a\tmessages=-1", "brake\twho=a\tshare=101",
	    "brake\twho=a\trate=18446744073709551615", "brake\twho=\\x00"};
	struct kit *kit = *state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_false(brake_replay(kit->brake, span_text(lines[i])));
	assert_null(view(kit, "a", T0).who);
}

/* The clock was years ahead, or behind: the counts of that time do not stand for ever. */
static void test_wrong_clock(void **state)
{
	struct kit *kit = *state;
	for (unsigned i = 0; i < 11; i++)
		brake_message(kit->brake, "c", &ten, T0 + 90000 * HOUR);
	assert_int_equal(brake_ask(kit->brake, "c", &ten, T0 + 90000 * HOUR - MINUTE), BRAKE_RATE);
	assert_int_equal(brake_ask(kit->brake, "c", &ten, T0), BRAKE_FREE);
	assert_int_equal(brake_message(kit->brake, "c", &ten, 0), BRAKE_FREE);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_rate),
	    TEST(test_rate_loosens),
	    TEST(test_flood_stays_braked),
	    TEST(test_steady_sender_passes),
	    TEST(test_no_limit),
	    TEST(test_take_back),
	    TEST(test_share),
	    TEST(test_share_loosens_after_a_day),
	    TEST(test_share_loosens_by_success),
	    TEST(test_both_causes),
	    TEST(test_release),
	    TEST(test_the_oldest_is_forgotten),
	    TEST(test_a_long_name_is_cut),
	    TEST(test_restart),
	    TEST(test_dump),
	    TEST(test_lines_that_make_no_sense),
	    TEST(test_wrong_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
