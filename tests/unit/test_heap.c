/* SPDX-License-Identifier: MIT
 * The heap: order, removal from the middle, moves; against a model that
 * searches linearly. And the random numbers it is fed with.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "relayd/base/heap.h"
#include "relayd/base/random.h"

#define COUNT 300

static void test_empty(void **state)
{
	(void)state;
	struct heap heap = {0};
	struct heap_node node;
	heap_node_init(&node);
	assert_null(heap_first(&heap));
	assert_false(heap_holds(&node));
	heap_remove(&heap, &node);
	heap_free(&heap);
}

static void test_sorts(void **state)
{
	(void)state;
	struct heap heap = {0};
	struct heap_node nodes[COUNT];
	random_fix(1);
	for (size_t i = 0; i < COUNT; i++) {
		heap_node_init(&nodes[i]);
		heap_add(&heap, &nodes[i], (int64_t)random_below(100) - 50);
	}
	int64_t before = INT64_MIN;
	for (size_t i = 0; i < COUNT; i++) {
		struct heap_node *first = heap_first(&heap);
		assert_true(first->key >= before);
		before = first->key;
		heap_remove(&heap, first);
		assert_false(heap_holds(first));
	}
	assert_null(heap_first(&heap));
	heap_free(&heap);
}

static int64_t least(const struct heap_node *nodes, size_t *count)
{
	int64_t key = INT64_MAX;
	*count = 0;
	for (size_t i = 0; i < COUNT; i++) {
		if (!heap_holds(&nodes[i]))
			continue;
		++*count;
		if (nodes[i].key < key)
			key = nodes[i].key;
	}
	return key;
}

static void test_random_walk(void **state)
{
	(void)state;
	struct heap heap = {0};
	struct heap_node nodes[COUNT];
	random_fix(2);
	for (size_t i = 0; i < COUNT; i++)
		heap_node_init(&nodes[i]);
	for (int step = 0; step < 20000; step++) {
		struct heap_node *node = &nodes[random_below(COUNT)];
		if (random_below(3) == 0)
			heap_remove(&heap, node);
		else
			heap_move(&heap, node, (int64_t)random_u64());
		size_t count;
		int64_t key = least(nodes, &count);
		assert_int_equal(heap.count, count);
		if (count)
			assert_true(heap_first(&heap)->key == key);
	}
	heap_free(&heap);
}

struct item {
	int number;
	struct heap_node node;
};

static void test_owner(void **state)
{
	(void)state;
	struct item item = {.number = 7};
	assert_int_equal(heap_owner(&item.node, struct item, node)->number, 7);
}

static void test_random_range(void **state)
{
	(void)state;
	random_fix(3);
	unsigned seen[7] = {0};
	for (int i = 0; i < 7000; i++) {
		uint32_t v = random_below(7);
		assert_true(v < 7);
		seen[v]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 800, 1200);
	assert_int_equal(random_below(1), 0);
}

static void test_random_jitter(void **state)
{
	(void)state;
	random_fix(4);
	int64_t low = INT64_MAX;
	int64_t high = 0;
	for (int i = 0; i < 2000; i++) {
		int64_t v = random_jitter(1000, 20);
		assert_true(v >= 800 && v <= 1200);
		low = v < low ? v : low;
		high = v > high ? v : high;
	}
	assert_true(low < 820 && high > 1180);
	assert_int_equal(random_jitter(0, 20), 0);
	assert_int_equal(random_jitter(1000, 0), 1000);
	for (int i = 0; i < 100; i++)
		assert_true(random_jitter(INT64_MAX, 100) >= 0);
}

static void test_random_fixed(void **state)
{
	(void)state;
	unsigned char a[21];
	unsigned char b[21];
	random_fix(5);
	random_bytes(a, sizeof(a));
	random_fix(5);
	random_bytes(b, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

/* Must stand first: there is no way back from random_fix. */
static void test_random_kernel(void **state)
{
	(void)state;
	static unsigned char a[5000];
	static unsigned char b[5000];
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, a + 1024, 1024);
	assert_true(random_u64() != random_u64());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random_kernel),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_sorts),
	    cmocka_unit_test(test_random_walk),
	    cmocka_unit_test(test_owner),
	    cmocka_unit_test(test_random_range),
	    cmocka_unit_test(test_random_jitter),
	    cmocka_unit_test(test_random_fixed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
