/* SPDX-License-Identifier: MIT
 * The last answers: one per recipient, the newest stay.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "relayd/history.h"

static void note(struct history *h, uint64_t id, uint32_t recipient, const char *text)
{
	struct history_entry entry = {.stage = "rcpt", .status = "4.2.0", .mx = "mx.a.test",
	    .text = text};
	history_note(h, id, recipient, &entry);
}

static void test_note_and_find(void **state)
{
	char mx[] = "mx.a.test";
	char smarthost[] = "ses";
	char provider[] = "google";
	char text[] = "not now";
	(void)state;
	struct history *h = history_new(10);
	assert_null(history_find(h, 1, 0));
	assert_null(history_newest(h, 1));
	struct history_entry entry = {.when_ms = 1000,
	    .stage = "mail",
	    .status = "4.2.0",
	    .klass = VERDICT_GREYLISTED,
	    .code = 451,
	    .mx = mx,
	    .smarthost = smarthost,
	    .text = text,
	    .waits = WAIT_BUDGET,
	    .provider = provider};
	history_note(h, 1, 0, &entry);
	mx[0] = smarthost[0] = provider[0] = text[0] = 'X'; /* it has its own copies */
	const struct history_entry *e = history_find(h, 1, 0);
	assert_non_null(e);
	assert_int_equal(e->when_ms, 1000);
	assert_int_equal(e->klass, VERDICT_GREYLISTED);
	assert_int_equal(e->code, 451);
	assert_string_equal(e->stage, "mail");
	assert_string_equal(e->status, "4.2.0");
	assert_string_equal(e->mx, "mx.a.test");
	assert_string_equal(e->smarthost, "ses");
	assert_string_equal(e->text, "not now");
	assert_int_equal(e->waits, WAIT_BUDGET);
	assert_string_equal(e->provider, "google");
	/* what is known, with a change */
	entry = *e;
	entry.waits = WAIT_BY_HAND;
	history_note(h, 1, 0, &entry);
	e = history_find(h, 1, 0);
	assert_int_equal(e->waits, WAIT_BY_HAND);
	assert_string_equal(e->mx, "mx.a.test");
	assert_string_equal(e->text, "not now");
	history_free(h);
}

static void test_each_recipient_has_its_own(void **state)
{
	(void)state;
	struct history *h = history_new(10);
	note(h, 1, 0, "first");
	note(h, 1, 7, "seventh");
	note(h, 2, 0, "other");
	assert_string_equal(history_find(h, 1, 0)->text, "first");
	assert_string_equal(history_find(h, 1, 7)->text, "seventh");
	assert_string_equal(history_newest(h, 1)->text, "seventh");
	assert_string_equal(history_newest(h, 2)->text, "other");
	note(h, 1, 0, "first again");
	assert_string_equal(history_newest(h, 1)->text, "first again");
	history_forget(h, 1, 0);
	history_forget(h, 1, 0);
	assert_null(history_find(h, 1, 0));
	assert_string_equal(history_newest(h, 1)->text, "seventh");
	history_forget(h, 1, 7);
	assert_null(history_newest(h, 1));
	assert_string_equal(history_newest(h, 2)->text, "other");
	history_free(h);
}

static void test_a_message_is_forgotten_as_a_whole(void **state)
{
	(void)state;
	struct history *h = history_new(2000);
	for (uint32_t i = 0; i < 1000; i++)
		note(h, 1, i, "x");
	note(h, 2, 0, "stays");
	history_forget_message(h, 1);
	history_forget_message(h, 1);
	for (uint32_t i = 0; i < 1000; i++)
		assert_null(history_find(h, 1, i));
	assert_non_null(history_find(h, 2, 0));
	history_free(h);
}

/* What was found may be noted again, though it goes by that. */
static void test_an_entry_noted_again(void **state)
{
	(void)state;
	struct history *h = history_new(1);
	note(h, 1, 0, "it");
	history_note(h, 1, 0, history_find(h, 1, 0));
	history_note(h, 2, 5, history_find(h, 1, 0));
	assert_null(history_find(h, 1, 0));
	assert_string_equal(history_find(h, 2, 5)->text, "it");
	history_free(h);
}

/* The one that was noted longest ago goes first; noting again makes it new. */
static void test_limit(void **state)
{
	(void)state;
	struct history *h = history_new(3);
	for (uint64_t id = 1; id <= 3; id++)
		note(h, id, 0, "x");
	note(h, 1, 0, "again");
	note(h, 4, 0, "x");
	assert_null(history_find(h, 2, 0));
	assert_non_null(history_find(h, 1, 0));
	assert_non_null(history_find(h, 3, 0));
	assert_non_null(history_find(h, 4, 0));
	/* one message of many recipients takes no more than others */
	for (uint32_t i = 0; i < 10000; i++)
		note(h, 9, i, "x");
	assert_null(history_find(h, 4, 0));
	assert_null(history_find(h, 9, 9996));
	assert_non_null(history_find(h, 9, 9997));
	history_free(h);
}

static void test_no_room_at_all(void **state)
{
	(void)state;
	struct history *h = history_new(0);
	note(h, 1, 0, "x");
	assert_null(history_find(h, 1, 0));
	history_free(h);
}

static void test_long_texts_are_cut(void **state)
{
	char text[5000];
	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	struct history *h = history_new(1);
	struct history_entry entry = {.stage = "end", .mx = text, .text = text};
	history_note(h, 1, 0, &entry);
	assert_int_equal(strlen(history_find(h, 1, 0)->text), HISTORY_TEXT_MAX);
	assert_int_equal(strlen(history_find(h, 1, 0)->mx), HISTORY_MX_MAX);
	history_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_note_and_find),
	    cmocka_unit_test(test_each_recipient_has_its_own),
	    cmocka_unit_test(test_a_message_is_forgotten_as_a_whole),
	    cmocka_unit_test(test_an_entry_noted_again),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_no_room_at_all),
	    cmocka_unit_test(test_long_texts_are_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
