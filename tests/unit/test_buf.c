/* SPDX-License-Identifier: MIT
 * The growing array of bytes, and the allocator below it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "relayd/base/buf.h"
#include "relayd/base/mem.h"

static void test_empty(void **state)
{
	(void)state;
	struct buf b = {0};
	assert_string_equal(buf_text(&b), "");
	buf_drop(&b, 0);
	buf_drop(&b, 5);
	buf_clear(&b);
	buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	buf_free(&b);
	buf_free(&b);
	size_t n = 9;
	char *p = buf_take(&b, &n);
	assert_string_equal(p, "");
	assert_int_equal(n, 0);
	mem_free(p);
}

static void test_build(void **state)
{
	(void)state;
	struct buf b = {0};
	buf_add_text(&b, "250-");
	buf_add(&b, "a\0b", 3);
	buf_add_byte(&b, '\n');
	buf_addf(&b, "%d %s", 42, "end");
	assert_int_equal(b.len, 14);
	assert_memory_equal(b.data, "250-a\0b\n42 end", 15); /* with the NUL behind */
	buf_addf(&b, "%s", "");
	assert_int_equal(b.len, 14);
	buf_drop(&b, 5);
	assert_memory_equal(b.data, "\0b\n42 end", 10);
	buf_drop(&b, 100);
	assert_int_equal(b.len, 0);
	assert_string_equal(buf_text(&b), "");
	buf_free(&b);
	assert_null(b.data);
}

static void test_grow(void **state)
{
	(void)state;
	struct buf b = {0};
	for (int i = 0; i < 100000; i++)
		buf_addf(&b, "%05d", i % 100000);
	assert_int_equal(b.len, 500000);
	assert_memory_equal(b.data + 5 * 99998, "9999899999", 11);
	assert_true(b.cap < 4 * b.len); /* doubling, not squaring */
	char *room = buf_room(&b, 1000);
	assert_ptr_equal(room, b.data + b.len);
	memset(room, 'x', 1000);
	b.len += 1000;
	buf_add_byte(&b, 'y');
	assert_string_equal(b.data + b.len - 3, "xxy");
	size_t len;
	char *taken = buf_take(&b, &len);
	assert_int_equal(len, 501001);
	assert_null(b.data);
	mem_free(taken);
}

static void test_long_format(void **state)
{
	(void)state;
	struct buf b = {0};
	buf_addf(&b, "%4000s", "x");
	assert_int_equal(b.len, 4000);
	buf_free(&b);
}

static void test_mem(void **state)
{
	(void)state;
	assert_null(mem_text(NULL));
	char *copy = mem_copy("a\0b", 3);
	assert_memory_equal(copy, "a\0b", 4);
	mem_wipe(copy, 3);
	assert_memory_equal(copy, "\0\0\0", 4);
	mem_wipe(NULL, 0);
	mem_free(copy);
	mem_free(NULL);
	unsigned char *zero = mem_array(10, 10);
	for (int i = 0; i < 100; i++)
		assert_int_equal(zero[i], 0);
	zero = mem_resize(zero, 0, 10); /* still a pointer that is ours */
	assert_non_null(zero);
	mem_free(zero);
	mem_free(mem_zero(0));
	mem_free(mem_alloc(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_build),
	    cmocka_unit_test(test_grow),
	    cmocka_unit_test(test_long_format),
	    cmocka_unit_test(test_mem),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
