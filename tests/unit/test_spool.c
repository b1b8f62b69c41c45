/* SPDX-License-Identifier: MIT
 * The spool as its users see it: messages go in, are read back, survive a
 * restart, end; full disks and failing ones; two daemons; content in pieces.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "relayd/base/clock.h"
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

/* Larger than a segment: it gets one of its own size. */
static void test_larger_than_a_segment(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	kit->conf.big_message = 1 << 20;
	kit_open(kit);
	for (uint64_t id = 1; id <= 5; id++)
		assert_non_null(kit_append(kit, id, id % 2 ? 300 : 300000, NULL));
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	for (uint64_t id = 1; id <= 5; id++)
		kit_end(kit, id);
	kit_append_many(kit, 10, 5, 60000, NULL);
	kit_settle(kit);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	kit_free(kit);
}

/* ---- content ---- */

static bool finished;
static bool finished_badly;
static unsigned writables;

static void on_finished(void *arg, enum spool_status status, const struct why *why)
{
	(void)arg;
	(void)why;
	finished = true;
	finished_badly = status != SPOOL_DONE;
}

static void on_writable(void *arg)
{
	(void)arg;
	writables++;
}

static void test_content(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 70000, (64 << 10) - 1, 64 << 10, 3 << 20};
	static char body[3 << 20];
	static char back[3 << 20];
	struct kit *kit = kit_new();
	kit_open(kit);
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 31 >> 3);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct spool_content *c = spool_content_new(kit->spool, i, on_writable, NULL);
		spool_content_add(c, (struct span){body, sizes[i] / 2});
		spool_content_add(c, (struct span){body + sizes[i] / 2, sizes[i] - sizes[i] / 2});
		finished = false;
		spool_content_finish(c, on_finished, NULL);
		assert_false(finished);
		kit_turn_until(kit, &finished);
		assert_false(finished_badly);
		assert_true(spool_content_size(c) == sizes[i]);
		assert_int_equal(spool_content_read(c, 0, back, sizeof(back)), sizes[i]);
		assert_memory_equal(back, body, sizes[i]);
		if (sizes[i] > 10)
			assert_int_equal(spool_content_read(c, sizes[i] - 5, back, 10), 5);
		assert_int_equal(spool_content_read(c, sizes[i], back, 10), 0);
		spool_content_free(c);
		kit_settle(kit);
		assert_int_equal(kit_count_files(kit, "big", ""), 0);
	}
	kit_free(kit);
}

static void test_content_pressure(void **state)
{
	(void)state;
	static char body[700 << 10];
	struct kit *kit = kit_new();
	kit_open(kit);
	struct spool_content *c = spool_content_new(kit->spool, 1, on_writable, NULL);
	writables = 0;
	assert_true(spool_content_add(c, (struct span){body, sizeof(body)}));
	assert_false(spool_content_add(c, (struct span){body, sizeof(body)}));
	while (!writables)
		loop_turn(kit->loop, true);
	assert_true(spool_content_add(c, (struct span){body, 10}));
	kit_settle(kit);
	assert_int_equal(writables, 1);
	assert_int_equal(kit_count_files(kit, "big", ""), 1);
	/* given up in the middle, with pieces under way */
	spool_content_add(c, (struct span){body, sizeof(body)});
	spool_content_free(c);
	kit_settle(kit);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	assert_int_equal(writables, 1);
	/* and after finish, before its done */
	c = spool_content_new(kit->spool, 2, NULL, NULL);
	spool_content_add(c, (struct span){body, 10});
	finished = false;
	spool_content_finish(c, on_finished, NULL);
	spool_content_free(c);
	c = spool_content_new(kit->spool, 3, NULL, NULL);
	spool_content_add(c, (struct span){body, sizeof(body)});
	spool_content_finish(c, on_finished, NULL);
	spool_content_free(c);
	loop_turn(kit->loop, false);
	kit_settle(kit);
	assert_false(finished);
	kit_free(kit);
}

static void test_invalid_envelope(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	kit->recipient = "a\nb@example.net";
	enum spool_status status;
	kit_open(kit);
	kit_append(kit, 1, 10, &status);
	assert_int_equal(status, SPOOL_FAILED);
	kit->recipient = NULL;
	kit_append(kit, 2, 10, &status);
	assert_int_equal(status, SPOOL_DONE);
	assert_int_equal(spool_stats(kit->spool).live_messages, 1);
	kit_free(kit);
}

/* The clock is fake from here on: last of all. */
static void test_notes_are_synced_in_time(void **state)
{
	(void)state;
	clock_fake(1764000000000);
	struct kit *kit = kit_new();
	kit_open(kit);
	kit_append(kit, 1, 100, NULL);
	kit_settle(kit);
	uint64_t before = spool_stats(kit->spool).syncs;
	int64_t begun = clock_mono_ms();
	kit_result(kit, 1, 0);
	kit_settle(kit);
	assert_int_equal(spool_stats(kit->spool).syncs, before);
	while (spool_stats(kit->spool).syncs == before)
		assert_true(loop_turn(kit->loop, true));
	assert_true(clock_mono_ms() - begun <= 1000);
	kit_free(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_read_recover),
		cmocka_unit_test(test_results_and_end),
		cmocka_unit_test(test_big),
		cmocka_unit_test(test_larger_than_a_segment),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_content_pressure),
		cmocka_unit_test(test_invalid_envelope),
		cmocka_unit_test(test_notes_are_synced_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
