/* SPDX-License-Identifier: MIT
 * The pool: every job is done once and told in the loop, batches keep their
 * order, threads have their own state, and ending it loses nothing. This is
 * the program to run under the thread sanitizer.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/base/pool.h"

struct sum {
	struct job job;
	unsigned number;
	unsigned long result; /* written by the worker, read after done */
	unsigned done;
	unsigned again; /* how often done adds it once more */
	struct pool *pool;
	pthread_t ran_in;
};

static atomic_int begun;
static atomic_int ended;
static atomic_int batches;
static unsigned told;
static unsigned told_order[4096];
static pthread_t loop_thread;

static struct sum *sum_of(struct job *job)
{
	return (struct sum *)(void *)((char *)job - offsetof(struct sum, job));
}

static void run(struct job *job, void *thread_state)
{
	struct sum *sum = sum_of(job);
	unsigned *count = thread_state;
	++*count; /* each thread its own: no lock */
	sum->ran_in = pthread_self();
	for (unsigned i = 0; i <= sum->number; i++)
		sum->result += i;
}

static void done(struct job *job)
{
	struct sum *sum = sum_of(job);
	assert_true(pthread_equal(pthread_self(), loop_thread));
	assert_false(pthread_equal(sum->ran_in, loop_thread));
	sum->done++;
	if (told < 4096)
		told_order[told] = sum->number;
	told++;
	if (sum->again) {
		sum->again--;
		pool_add(sum->pool, job);
	}
}

static void *begin(void *arg)
{
	sigset_t mask;
	assert_string_equal(arg, "argument");
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_true(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD));
	atomic_fetch_add(&begun, 1);
	return mem_zero(sizeof(unsigned));
}

static void end(void *thread_state)
{
	atomic_fetch_add(&ended, 1);
	mem_free(thread_state);
}

static struct job *run_batch(struct job *first, void *thread_state)
{
	atomic_fetch_add(&batches, 1);
	for (struct job *job = first; job; job = job->next)
		run(job, thread_state);
	return first;
}

static struct pool *make(struct loop *loop, unsigned threads, bool batch)
{
	struct pool_options options = {.name = "test",
	    .threads = threads,
	    .begin = begin,
	    .end = end,
	    .run_batch = batch ? run_batch : NULL,
	    .arg = (void *)"argument"};
	loop_thread = pthread_self();
	told = 0;
	begun = ended = batches = 0;
	return pool_new(loop, &options);
}

static void add(struct pool *pool, struct sum *sum, unsigned number)
{
	*sum = (struct sum){.number = number, .pool = pool};
	sum->job.run = run;
	sum->job.done = done;
	pool_add(pool, &sum->job);
}

static void run_dry(struct loop *loop)
{
	while (loop_turn(loop, true))
		;
}

/* Holds keep the fake clock from jumping and the loop from being at its end. */
static void test_workers(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct pool *pool = make(loop, 4, false);
	struct sum *sums = mem_array(1000, sizeof(*sums));
	for (unsigned i = 0; i < 1000; i++)
		add(pool, &sums[i], i);
	assert_int_equal(told, 0); /* not inside pool_add */
	assert_int_equal(pool_pending(pool), 1000);
	int64_t start = clock_mono_ms();
	run_dry(loop);
	assert_int_equal(clock_mono_ms(), start);
	assert_int_equal(told, 1000);
	assert_int_equal(pool_pending(pool), 0);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(sums[i].done, 1);
		assert_int_equal(sums[i].result, (unsigned long)i * (i + 1) / 2);
	}
	pool_free(pool);
	assert_in_range(begun, 1, 4);
	assert_int_equal(ended, begun);
	mem_free(sums);
	loop_free(loop);
}

static void test_batch(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct pool *pool = make(loop, 1, true);
	struct sum *sums = mem_array(1000, sizeof(*sums));
	for (unsigned i = 0; i < 1000; i++)
		add(pool, &sums[i], i);
	run_dry(loop);
	assert_int_equal(told, 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(told_order[i], i);
	assert_in_range(batches, 1, 1000);
	pool_free(pool);
	mem_free(sums);
	loop_free(loop);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static struct job *run_batch_at_gate(struct job *first, void *thread_state)
{
	pthread_mutex_lock(&gate);
	struct job *done_ones = run_batch(first, thread_state);
	pthread_mutex_unlock(&gate);
	return done_ones;
}

/* What comes while a batch is under way goes in one batch. */
static void test_group(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct pool_options options = {.name = "gate",
	    .threads = 1,
	    .begin = begin,
	    .end = end,
	    .run_batch = run_batch_at_gate,
	    .arg = (void *)"argument"};
	struct sum sums[50];
	batches = 0;
	told = 0;
	loop_thread = pthread_self();
	pthread_mutex_lock(&gate);
	struct pool *pool = pool_new(loop, &options);
	/* the thread can take once before it stands at the gate */
	for (unsigned i = 0; i < 50; i++)
		add(pool, &sums[i], i);
	pthread_mutex_unlock(&gate);
	run_dry(loop);
	assert_int_equal(told, 50);
	/* the first may have been taken alone before the others came */
	assert_in_range(batches, 1, 2);
	pool_free(pool);
	loop_free(loop);
}

/* A done call may add its job again, in the loop and while the pool ends. */
static void test_again(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct pool *pool = make(loop, 2, false);
	struct sum sum;
	add(pool, &sum, 3);
	sum.again = 5;
	run_dry(loop);
	assert_int_equal(sum.done, 6);
	add(pool, &sum, 3);
	sum.again = 5;
	pool_free(pool);
	assert_int_equal(sum.done, 6);
	assert_in_range(begun, 1, 2);
	assert_int_equal(ended, begun);
	loop_free(loop);
}

/* A batch that keeps its jobs until a side thread has made a slow call. */
struct keeper {
	struct side *side;
	struct job *kept;
	pthread_t ran_in;
	int calls;
	bool under_way;
};

static void slow_call(void *arg)
{
	struct keeper *keeper = arg;
	keeper->ran_in = pthread_self();
	keeper->calls++;
}

static struct job *run_and_keep(struct job *first, void *thread_state)
{
	struct keeper *keeper = thread_state;
	struct job *over = NULL;
	unsigned unused = 0;
	for (struct job *job = first; job; job = job->next)
		run(job, &unused);
	if (keeper->under_way && !side_is_busy(keeper->side)) {
		assert_false(pthread_equal(keeper->ran_in, pthread_self()));
		keeper->under_way = false;
		over = keeper->kept;
		keeper->kept = NULL;
	}
	struct job **end = &keeper->kept;
	while (*end)
		end = &(*end)->next;
	*end = first;
	if (keeper->kept && !keeper->under_way) {
		keeper->under_way = true;
		side_start(keeper->side, slow_call, keeper);
	}
	return over;
}

static void *begin_keeper(void *arg)
{
	return arg;
}

static void test_side(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct keeper keeper = {0};
	struct pool_options options = {.name = "keeper", .threads = 1, .begin = begin_keeper,
		.run_batch = run_and_keep, .arg = &keeper};
	struct sum sums[300];
	told = 0;
	loop_thread = pthread_self();
	struct pool *pool = pool_new(loop, &options);
	keeper.side = pool_side(pool, "side");
	for (unsigned i = 0; i < 200; i++)
		add(pool, &sums[i], i);
	run_dry(loop);
	assert_int_equal(told, 200);
	for (unsigned i = 200; i < 300; i++)
		add(pool, &sums[i], i);
	pool_free(pool); /* what is kept comes as well */
	assert_int_equal(told, 300);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(told_order[i], i);
	assert_in_range(keeper.calls, 2, 300);
	loop_free(loop);
}

static void test_free_drains(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct pool *pool = make(loop, 3, false);
	struct sum sums[200];
	for (unsigned i = 0; i < 200; i++)
		add(pool, &sums[i], i);
	pool_free(pool);
	assert_int_equal(told, 200);
	assert_false(loop_turn(loop, true)); /* every hold was released */
	pool_free(NULL);
	loop_free(loop);
}

static void test_idle(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct pool_options options = {.name = "idle", .threads = 64};
	pool_free(pool_new(loop, &options));
	loop_free(loop);
}

static pthread_barrier_t all_there;

static void meet(struct job *job, void *thread_state)
{
	run(job, thread_state);
	pthread_barrier_wait(&all_there);
}

/* What a thread needs is made with its first job, once. */
static void test_begin(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct sum sums[4];
	pool_free(make(loop, 4, false));
	assert_int_equal(begun, 0);
	assert_int_equal(ended, 0);
	struct pool *pool = make(loop, 4, false);
	add(pool, &sums[0], 0);
	run_dry(loop);
	assert_int_equal(begun, 1);
	pthread_barrier_init(&all_there, NULL, 4);
	for (unsigned i = 0; i < 4; i++) {
		sums[i] = (struct sum){.job = {.run = meet, .done = done}};
		pool_add(pool, &sums[i].job);
	}
	run_dry(loop);
	assert_int_equal(begun, 4);
	assert_int_equal(ended, 0);
	pool_free(pool);
	assert_int_equal(begun, 4);
	assert_int_equal(ended, 4);
	pthread_barrier_destroy(&all_there);
	loop_free(loop);
}

static int use_fake_clock(void **state)
{
	(void)state;
	clock_fake(1800000000000);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_workers),
	    cmocka_unit_test(test_batch),
	    cmocka_unit_test(test_group),
	    cmocka_unit_test(test_again),
	    cmocka_unit_test(test_side),
	    cmocka_unit_test(test_free_drains),
	    cmocka_unit_test(test_idle),
	    cmocka_unit_test(test_begin),
	};
	return cmocka_run_group_tests(tests, use_fake_clock, NULL);
}
