/* SPDX-License-Identifier: MIT
 * The window of a destination: it opens with successes, halves with failures,
 * and a row of failures as long as it is wide is a death.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "queue/destination.h"
#include "queue/schedule.h"

static const struct conf_queue conf = {.window_start = 2, .window_max = 20};

static void test_start(void **state)
{
	(void)state;
	struct destination *d = destination_new("a.test", &conf);
	assert_string_equal(destination_name(d), "a.test");
	assert_true(d->window == 2);
	assert_int_equal(destination_batches(d), 0);
	assert_false(destination_may_start(d)); /* nothing is ready */
	destination_free(d);
}

static void test_start_over_the_limit(void **state)
{
	const struct conf_queue odd = {.window_start = 10, .window_max = 3};
	(void)state;
	struct destination *d = destination_new("a.test", &odd);
	assert_true(d->window == 3);
	destination_free(d);
}

/* A window's worth of successes opens it by about one. */
static void test_growth(void **state)
{
	(void)state;
	struct destination *d = destination_new("a.test", &conf);
	destination_worked(d, &conf);
	assert_true(d->window == 2.5);
	double before = 0;
	size_t steps = 0;
	while (d->window < 20 && steps < 1000) {
		assert_true(d->window > before);
		before = d->window;
		destination_worked(d, &conf);
		steps++;
	}
	assert_in_range(steps, 150, 250);
	destination_worked(d, &conf);
	assert_true(d->window == 20);
	destination_free(d);
}

static void test_death(void **state)
{
	static const struct {
		double window;
		unsigned failures; /* until it counts as dead */
	} table[] = {{1, 1}, {2, 2}, {3, 2}, {4, 2}, {8, 3}, {20, 4}};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct destination *d = destination_new("a.test", &conf);
		d->window = table[i].window;
		for (unsigned n = 1; n < table[i].failures; n++)
			assert_false(destination_failed(d));
		assert_true(destination_failed(d));
		assert_true(d->window >= 1 && d->window < 2); /* one at a time from now on */
		assert_true(destination_failed(d));
		destination_free(d);
	}
}

static void test_a_success_ends_the_row(void **state)
{
	(void)state;
	struct destination *d = destination_new("a.test", &conf);
	d->pauses = 5;
	assert_false(destination_failed(d));
	destination_worked(d, &conf);
	assert_int_equal(d->failures, 0);
	assert_int_equal(d->pauses, 0);
	assert_true(d->window == 2);
	assert_false(destination_failed(d));
	destination_free(d);
}

static void test_may_start(void **state)
{
	struct message m = {0};
	(void)state;
	struct destination *d = destination_new("a.test", &conf);
	struct batch *b = batch_new(&m, (const uint32_t[]){0}, 1);
	d->ready[1] = b;
	assert_true(destination_may_start(d));
	d->count[BATCH_RUNNING] = 1;
	assert_true(destination_may_start(d));
	d->count[BATCH_RUNNING] = 2;
	assert_false(destination_may_start(d));
	d->window = 2.9;
	assert_false(destination_may_start(d));
	d->window = 3;
	assert_true(destination_may_start(d));
	d->paused = true;
	assert_false(destination_may_start(d));
	batch_free(b);
	destination_free(d);
}

static void test_lists(void **state)
{
	struct message m = {.priority = CONF_PRIORITY_BULK};
	(void)state;
	struct destination *d = destination_new("a.test", &conf);
	struct batch *b = batch_new(&m, (const uint32_t[]){0}, 1);
	b->destination = d;
	b->state = BATCH_WAITING;
	assert_null(destination_list(b));
	b->state = BATCH_EXPIRED;
	assert_null(destination_list(b));
	b->state = BATCH_READY;
	assert_ptr_equal(destination_list(b), &d->ready[2]);
	m.priority = CONF_PRIORITY_NORMAL;
	assert_ptr_equal(destination_list(b), &d->ready[1]);
	m.priority = CONF_PRIORITY_URGENT;
	assert_ptr_equal(destination_list(b), &d->ready[0]);
	b->state = BATCH_RUNNING;
	assert_ptr_equal(destination_list(b), &d->running);
	b->state = BATCH_HELD;
	assert_ptr_equal(destination_list(b), &d->held);
	batch_free(b);
	destination_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_start),
	    cmocka_unit_test(test_start_over_the_limit),
	    cmocka_unit_test(test_growth),
	    cmocka_unit_test(test_death),
	    cmocka_unit_test(test_a_success_ends_the_row),
	    cmocka_unit_test(test_may_start),
	    cmocka_unit_test(test_lists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
