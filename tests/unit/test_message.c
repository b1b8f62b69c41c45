/* SPDX-License-Identifier: MIT
 * Queue ids as text, and the recipients of a batch: kept in order, one of them
 * inline, taken out in any order.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "exact.h"
#include "queue/message.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

static void test_id_text(void **state)
{
	static const struct {
		uint64_t id;
		const char *text;
	} table[] = {
	    {0, "0000000000000000"},
	    {1, "0000000000000001"},
	    {UINT64_C(0x0123456789abcdef), "0123456789abcdef"},
	    {UINT64_MAX, "ffffffffffffffff"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[MESSAGE_ID_TEXT];
		uint64_t id = 42;
		struct span s = exact(table[i].text);
		assert_string_equal(message_id_text(table[i].id, text), table[i].text);
		assert_true(message_id_parse(s, &id));
		assert_true(id == table[i].id);
		exact_free(s);
	}
}

static void test_id_parse(void **state)
{
	static const char *const bad[] = {"", "0", "0123456789abcde", "0123456789abcdef0",
	    "0123456789abcdeg", " 123456789abcdef", "0x23456789abcdef", "-123456789abcdef",
	    "0123456789abcde\n"};
	uint64_t id = 42;
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct span s = exact(bad[i]);
		assert_false(message_id_parse(s, &id));
		exact_free(s);
	}
	assert_true(id == 42);
	assert_true(message_id_parse(span_text("0123456789ABCDEF"), &id));
	assert_true(id == UINT64_C(0x0123456789abcdef));
}

static void assert_recipients(const struct batch *b, const uint32_t *wanted, uint32_t count)
{
	assert_int_equal(b->count, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(batch_recipient(b, i), wanted[i]);
}

static void test_one_recipient(void **state)
{
	struct message m = {0};
	(void)state;
	struct batch *b = batch_new(&m, (const uint32_t[]){7}, 1);
	assert_ptr_equal(b->message, &m);
	assert_false(batch_remove(b, 6));
	assert_true(batch_remove(b, 7));
	assert_int_equal(b->count, 0);
	assert_false(batch_remove(b, 7));
	batch_free(b);
}

static void test_three_recipients(void **state)
{
	struct message m = {0};
	(void)state;
	struct batch *b = batch_new(&m, (const uint32_t[]){2, 5, 9}, 3);
	assert_true(batch_remove(b, 5));
	assert_false(batch_remove(b, 5));
	assert_recipients(b, (const uint32_t[]){2, 9}, 2);
	assert_true(batch_remove(b, 2)); /* the last one moves inline */
	assert_recipients(b, (const uint32_t[]){9}, 1);
	assert_true(batch_remove(b, 9));
	assert_int_equal(b->count, 0);
	batch_free(b);
}

/* Any order of taking out leaves the rest in order. */
static void test_many_recipients(void **state)
{
	enum { COUNT = 500 };
	struct message m = {0};
	uint32_t indexes[COUNT];
	bool in[COUNT];
	(void)state;
	random_fix(3);
	for (uint32_t i = 0; i < COUNT; i++) {
		indexes[i] = i * 3;
		in[i] = true;
	}
	struct batch *b = batch_new(&m, indexes, COUNT);
	for (uint32_t left = COUNT; left > 0; left--) {
		uint32_t pick = random_below(COUNT);
		while (!in[pick])
			pick = (pick + 1) % COUNT;
		assert_true(batch_remove(b, pick * 3));
		assert_false(batch_remove(b, pick * 3 + 1));
		in[pick] = false;
		assert_int_equal(b->count, left - 1);
		for (uint32_t i = 1; i < b->count; i++)
			assert_true(batch_recipient(b, i - 1) < batch_recipient(b, i));
	}
	batch_free(b);
}

static void test_free_with_recipients(void **state)
{
	struct message m = {0};
	(void)state;
	batch_free(batch_new(&m, (const uint32_t[]){1, 2, 3}, 3));
	batch_free(batch_new(&m, (const uint32_t[]){1}, 1));
}

/* What a million waiting messages are made of. */
static void test_sizes(void **state)
{
	(void)state;
	assert_true(sizeof(struct message) + sizeof(struct batch) <= 224);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_id_text),
	    cmocka_unit_test(test_id_parse),
	    cmocka_unit_test(test_one_recipient),
	    cmocka_unit_test(test_three_recipients),
	    cmocka_unit_test(test_many_recipients),
	    cmocka_unit_test(test_free_with_recipients),
	    cmocka_unit_test(test_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
