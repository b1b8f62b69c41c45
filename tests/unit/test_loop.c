/* SPDX-License-Identifier: MIT
 * The loop: timers and their order, deferred calls, I/O before time, the fake
 * clock's jumps, holds, and waking from another thread.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/loop.h"

static char trace[256];

static void note(void *arg)
{
	size_t used = strlen(trace);
	const char *text = arg;
	assert_true(used + strlen(text) < sizeof(trace));
	memcpy(trace + used, text, strlen(text) + 1);
}

static struct loop *begin(void)
{
	trace[0] = '\0';
	return loop_new();
}

static void run_dry(struct loop *loop)
{
	for (int i = 0; i < 10000; i++)
		if (!loop_turn(loop, true))
			return;
	fail_msg("the loop does not come to rest");
}

static void test_empty(void **state)
{
	(void)state;
	struct loop *loop = begin();
	assert_false(loop_turn(loop, true));
	assert_false(loop_turn(loop, false));
	loop_run(loop); /* returns */
	loop_free(loop);
	loop_free(NULL);
}

static void test_timer_order(void **state)
{
	(void)state;
	struct loop *loop = begin();
	struct timer a;
	struct timer b;
	struct timer c;
	int64_t start = clock_mono_ms();
	timer_init(&a, loop, note, (void *)"a");
	timer_init(&b, loop, note, (void *)"b");
	timer_init(&c, loop, note, (void *)"c");
	assert_false(timer_is_running(&a));
	timer_start(&c, 30);
	timer_start(&b, 20);
	timer_start(&a, 500);
	timer_start(&a, 10); /* moves it */
	assert_true(timer_is_running(&a));
	run_dry(loop);
	assert_string_equal(trace, "abc");
	assert_false(timer_is_running(&a));
	assert_true(clock_mono_ms() - start >= 30);
	loop_free(loop);
}

static void test_timer_late_order(void **state)
{
	(void)state;
	struct loop *loop = begin();
	struct timer a;
	struct timer b;
	timer_init(&a, loop, note, (void *)"a");
	timer_init(&b, loop, note, (void *)"b");
	timer_start(&b, 2000);
	timer_start(&a, 1000);
	if (clock_is_fake()) {
		clock_advance(5000); /* both are overdue */
	} else {
		timer_start(&b, 30);
		timer_start(&a, -5);
	}
	run_dry(loop);
	assert_string_equal(trace, "ab");
	loop_free(loop);
}

static struct timer victim;

static void stop_victim(void *arg)
{
	note(arg);
	timer_stop(&victim);
}

static void test_timer_stop(void **state)
{
	(void)state;
	struct loop *loop = begin();
	struct timer a;
	struct timer c;
	timer_init(&a, loop, stop_victim, (void *)"a");
	timer_init(&victim, loop, note, (void *)"v");
	timer_init(&c, loop, note, (void *)"c");
	timer_stop(&victim);
	timer_start(&victim, 0);
	timer_stop(&victim);
	timer_start(&c, 30);
	timer_start(&a, -1); /* due first, in the same turn */
	timer_start(&victim, 1);
	if (clock_is_fake())
		clock_advance(10);
	run_dry(loop);
	assert_string_equal(trace, "ac");
	loop_free(loop);
}

struct again {
	struct timer timer;
	int left;
};

static void start_again(void *arg)
{
	struct again *again = arg;
	note((void *)"t");
	if (--again->left)
		timer_start(&again->timer, 0);
}

static void read_note(evutil_socket_t fd, short what, void *arg)
{
	char c;
	(void)what;
	(void)arg;
	if (read(fd, &c, 1) == 1)
		note((void *)"i");
}

/* A timer that starts itself with 0 ms leaves the I/O its turn. */
static void test_timer_zero(void **state)
{
	(void)state;
	struct loop *loop = begin();
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	struct event *event =
	    event_new(loop_base(loop), pair[0], EV_READ | EV_PERSIST, read_note, NULL);
	event_add(event, NULL);
	struct again again = {.left = 4};
	timer_init(&again.timer, loop, start_again, &again);
	timer_start(&again.timer, 0);
	assert_true(loop_turn(loop, true));
	assert_string_equal(trace, "t");
	assert_int_equal(write(pair[1], "xx", 2), 2);
	while (again.left)
		loop_turn(loop, true);
	assert_string_equal(trace, "titit"
				   "t");
	event_free(event);
	close(pair[0]);
	close(pair[1]);
	loop_free(loop);
}

static struct loop *defer_loop;

static void defer_more(void *arg)
{
	note(arg);
	loop_defer(defer_loop, note, (void *)"3");
}

static void test_defer(void **state)
{
	(void)state;
	struct loop *loop = defer_loop = begin();
	loop_defer(loop, defer_more, (void *)"1");
	loop_defer(loop, note, (void *)"2");
	assert_true(loop_turn(loop, true));
	assert_string_equal(trace, "12");
	assert_true(loop_turn(loop, true));
	assert_string_equal(trace, "123");
	assert_false(loop_turn(loop, true));
	loop_defer(loop, defer_more, (void *)"x");
	loop_free(loop);
	assert_string_equal(trace, "123x3");
}

static void test_defer_many(void **state)
{
	(void)state;
	struct loop *loop = begin();
	for (int i = 0; i < 200; i++)
		loop_defer(loop, note, (void *)"d");
	loop_turn(loop, true);
	assert_int_equal(strlen(trace), 200);
	loop_free(loop);
}

static void stop(void *arg)
{
	note((void *)"s");
	loop_stop(arg);
}

static struct loop *line_loop;
static struct loop_place places[3];

static void again(void *arg)
{
	note(arg);
	loop_line_up(line_loop, &places[0], note, (void *)"A");
}

/* One costly call in a turn, between all else that the turn has. */
static void test_line(void **state)
{
	(void)state;
	struct loop *loop = line_loop = begin();
	loop_line_up(loop, &places[0], again, (void *)"a");
	loop_line_up(loop, &places[1], note, (void *)"b");
	loop_line_up(loop, &places[2], note, (void *)"c");
	loop_line_up(loop, &places[0], note, (void *)"x"); /* has its place */
	loop_step_out(loop, &places[2]);
	loop_step_out(loop, &places[2]);
	loop_defer(loop, note, (void *)"1");
	assert_true(loop_turn(loop, true));
	assert_string_equal(trace, "a1");
	loop_defer(loop, note, (void *)"2");
	assert_true(loop_turn(loop, true));
	assert_string_equal(trace, "a1b2");
	run_dry(loop);
	assert_string_equal(trace, "a1b2A");
	loop_line_up(loop, &places[1], note, (void *)"never");
	loop_step_out(loop, &places[1]);
	assert_false(loop_turn(loop, true));
	loop_free(loop);
}

static void test_run_stop(void **state)
{
	(void)state;
	struct loop *loop = begin();
	struct timer s;
	struct timer later;
	timer_init(&s, loop, stop, loop);
	timer_init(&later, loop, note, (void *)"l");
	timer_start(&s, 5);
	timer_start(&later, 60000);
	loop_run(loop);
	assert_string_equal(trace, "s");
	timer_start(&later, 20);
	loop_run(loop); /* goes on to the end */
	assert_string_equal(trace, "sl");
	loop_free(loop);
}

static void *wake_later(void *arg)
{
	uint64_t one = 1;
	assert_int_equal(write(*(int *)arg, &one, sizeof(one)), sizeof(one));
	return NULL;
}

static void on_wake(int fd, short what, void *arg)
{
	uint64_t count;
	(void)what;
	(void)arg;
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
}

/* Held: nothing else is there, yet a turn sleeps until the other thread's wake. */
static void test_hold_and_wake(void **state)
{
	(void)state;
	struct loop *loop = begin();
	struct timer far;
	pthread_t thread;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct event *event = loop_event_new(loop, fd, EV_READ | EV_PERSIST, on_wake, NULL);
	loop_event_add(event);
	timer_init(&far, loop, note, (void *)"far");
	loop_hold(loop);
	if (clock_is_fake())
		timer_start(&far, 1000); /* must not fire: held */
	assert_int_equal(pthread_create(&thread, NULL, wake_later, &fd), 0);
	assert_true(loop_turn(loop, true));
	assert_string_equal(trace, "");
	pthread_join(thread, NULL);
	loop_release(loop);
	event_free(event);
	close(fd);
	run_dry(loop);
	assert_string_equal(trace, clock_is_fake() ? "far" : "");
	loop_free(loop);
}

static void test_fake_week(void **state)
{
	(void)state;
	struct loop *loop = begin();
	struct again again = {.left = 100};
	struct timer end;
	int64_t wall = clock_wall_ms();
	timer_init(&again.timer, loop, start_again, &again);
	timer_init(&end, loop, note, (void *)"e");
	timer_start(&end, 7 * 24 * 3600 * 1000LL);
	timer_start(&again.timer, 3600 * 1000);
	run_dry(loop);
	assert_int_equal(strlen(trace), 101);
	assert_int_equal(clock_wall_ms() - wall, 7 * 24 * 3600 * 1000LL);
	loop_free(loop);
}

/* Bytes that are on their way come before the clock jumps. */
static void test_fake_io_first(void **state)
{
	(void)state;
	struct loop *loop = begin();
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	struct event *event =
	    event_new(loop_base(loop), pair[0], EV_READ | EV_PERSIST, read_note, NULL);
	event_add(event, NULL);
	struct timer timer;
	timer_init(&timer, loop, note, (void *)"t");
	timer_start(&timer, 60000);
	assert_int_equal(write(pair[1], "xxx", 3), 3);
	run_dry(loop);
	assert_string_equal(trace, "iiit");
	/* without WAIT no jump */
	timer_start(&timer, 60000);
	int64_t now = clock_mono_ms();
	assert_true(loop_turn(loop, false));
	assert_int_equal(clock_mono_ms(), now);
	timer_stop(&timer);
	assert_false(loop_turn(loop, false));
	event_free(event);
	close(pair[0]);
	close(pair[1]);
	loop_free(loop);
}

static int use_fake_clock(void **state)
{
	(void)state;
	clock_fake(1800000000000);
	return 0;
}

#define ON_BOTH_CLOCKS                                                                   \
	cmocka_unit_test(test_empty), cmocka_unit_test(test_timer_order),                \
	    cmocka_unit_test(test_timer_late_order), cmocka_unit_test(test_timer_stop),  \
	    cmocka_unit_test(test_timer_zero), cmocka_unit_test(test_defer),             \
	    cmocka_unit_test(test_defer_many), cmocka_unit_test(test_line),              \
	    cmocka_unit_test(test_run_stop), cmocka_unit_test(test_hold_and_wake)

int main(void)
{
	const struct CMUnitTest real[] = {ON_BOTH_CLOCKS};
	const struct CMUnitTest fake[] = {
	    ON_BOTH_CLOCKS,
	    cmocka_unit_test(test_fake_week),
	    cmocka_unit_test(test_fake_io_first),
	};
	int failed = cmocka_run_group_tests(real, NULL, NULL);
	return failed + cmocka_run_group_tests(fake, use_fake_clock, NULL);
}
