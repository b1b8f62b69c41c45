/* SPDX-License-Identifier: MIT
 * The last answers: one per message, the newest stay.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "relayd/history.h"

static void test_note_and_find(void **state)
{
	char mx[] = "mx.a.test";
	(void)state;
	struct history *h = history_new(10);
	assert_null(history_find(h, 1));
	history_note(h, 1, 1000, "4.2.0", mx, "not now");
	mx[0] = 'X'; /* it has its own copy */
	const struct history_entry *e = history_find(h, 1);
	assert_non_null(e);
	assert_int_equal(e->when_ms, 1000);
	assert_string_equal(e->status, "4.2.0");
	assert_string_equal(e->mx, "mx.a.test");
	assert_string_equal(e->text, "not now");
	history_free(h);
}

static void test_the_newest_answer_counts(void **state)
{
	(void)state;
	struct history *h = history_new(10);
	history_note(h, 1, 1, "4.2.0", "a", "first");
	history_note(h, 1, 2, "", "", "second");
	assert_string_equal(history_find(h, 1)->text, "second");
	assert_string_equal(history_find(h, 1)->status, "");
	history_forget(h, 1);
	history_forget(h, 1);
	assert_null(history_find(h, 1));
	history_free(h);
}

/* The one that was noted longest ago goes first; noting again makes it new. */
static void test_limit(void **state)
{
	(void)state;
	struct history *h = history_new(3);
	for (uint64_t id = 1; id <= 3; id++)
		history_note(h, id, 1, "", "", "x");
	history_note(h, 1, 2, "", "", "again");
	history_note(h, 4, 3, "", "", "x");
	assert_null(history_find(h, 2));
	assert_non_null(history_find(h, 1));
	assert_non_null(history_find(h, 3));
	assert_non_null(history_find(h, 4));
	for (uint64_t id = 100; id < 10000; id++)
		history_note(h, id, 1, "", "", "x");
	assert_null(history_find(h, 9996));
	assert_non_null(history_find(h, 9997));
	history_free(h);
}

static void test_no_room_at_all(void **state)
{
	(void)state;
	struct history *h = history_new(0);
	history_note(h, 1, 1, "", "", "x");
	assert_null(history_find(h, 1));
	history_free(h);
}

static void test_long_status_is_cut(void **state)
{
	(void)state;
	struct history *h = history_new(1);
	history_note(h, 1, 1, "5.123.456789012345", "", "x");
	assert_string_equal(history_find(h, 1)->status, "5.123.45678");
	history_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_note_and_find),
	    cmocka_unit_test(test_the_newest_answer_counts),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_no_room_at_all),
	    cmocka_unit_test(test_long_status_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
