/* SPDX-License-Identifier: MIT
 * Reasons: kinds, errno texts, prefixes, and that nothing overflows.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "relayd/base/why.h"

static void test_set(void **state)
{
	(void)state;
	struct why why = {0};
	assert_int_equal(why_set(&why, WHY_PERM, "no %s", "key"), -1);
	assert_int_equal(why.kind, WHY_PERM);
	assert_string_equal(why.text, "no key");
	assert_int_equal(why_set(NULL, WHY_PERM, "x"), -1);
}

static void test_errno(void **state)
{
	(void)state;
	struct why why = {0};
	assert_int_equal(why_errno(&why, WHY_LOCAL, ENOSPC, "write %d", 3), -1);
	assert_int_equal(why.kind, WHY_LOCAL);
	assert_string_equal(why.text, "write 3: No space left on device");
	why_errno(&why, WHY_LOCAL, 99999, "x");
	assert_string_equal(why.text, "x: Unknown error 99999");
	assert_int_equal(why_errno(NULL, WHY_LOCAL, EIO, "x"), -1);
}

static void test_prefix(void **state)
{
	(void)state;
	struct why why = {0};
	why_set(&why, WHY_TEMP, "reset");
	assert_int_equal(why_prefix(&why, "mx%d", 1), -1);
	assert_int_equal(why.kind, WHY_TEMP);
	assert_string_equal(why.text, "mx1: reset");
	assert_int_equal(why_prefix(NULL, "x"), -1);
}

static void test_long(void **state)
{
	(void)state;
	char text[1000];
	struct why why = {0};
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	why_set(&why, WHY_TEMP, "%s", text);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	why_prefix(&why, "front");
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	assert_memory_equal(why.text, "front: aaa", 10);
	why_errno(&why, WHY_TEMP, EIO, "%s", text);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	why_prefix(&why, "%s", text);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_set),
	    cmocka_unit_test(test_errno),
	    cmocka_unit_test(test_prefix),
	    cmocka_unit_test(test_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
