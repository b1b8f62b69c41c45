/* SPDX-License-Identifier: MIT
 * Threads and the two lists between them and the loop: jobs that wait, under
 * the pool's lock with a condition; jobs that are done, under the same lock,
 * fetched as a whole by the loop. An eventfd rings when that list stops being
 * empty, so a thousand finished jobs are one wake-up.
 *
 * Everything that is not under the lock belongs to the loop's thread. A side
 * thread has a lock of its own, and wakes the batch thread under the pool's.
 */
#include "relayd/base/pool.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "relayd/base/mem.h"

#define THREADS_MAX 64

struct job_list {
	struct job *first;
	struct job **end; /* where the next one is hung */
};

struct pool {
	struct loop *loop;
	struct pool_options options;
	size_t pending;
	int ring_fd;
	struct event *ring;
	pthread_t threads[THREADS_MAX];
	unsigned thread_count;

	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job_list waiting; /* these four under the lock */
	struct job_list finished;
	bool woken; /* a side thread has ended its call */
	bool ending;

	struct side *sides;
};

struct side {
	struct side *next;
	struct pool *pool;
	const char *name;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	void (*call)(void *arg); /* these under its lock; NULL: not busy */
	void *arg;
	bool ending;
};

static void list_clear(struct job_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

static struct job *list_take_first(struct job_list *list)
{
	struct job *job = list->first;
	list->first = job->next;
	if (!list->first)
		list->end = &list->first;
	job->next = NULL;
	return job;
}

static struct job *list_take_all(struct job_list *list)
{
	struct job *job = list->first;
	list_clear(list);
	return job;
}

static void lock(pthread_mutex_t *mutex)
{
	if (pthread_mutex_lock(mutex) != 0)
		bug("pool lock");
}

static void unlock(pthread_mutex_t *mutex)
{
	if (pthread_mutex_unlock(mutex) != 0)
		bug("pool unlock");
}

/* Wait for work: *JOB is one job, or all of them for a batch, or NULL when a
 * side thread is through. False: the pool ends. */
static bool wait_for_work(struct pool *pool, struct job **job)
{
	lock(&pool->lock);
	while (!pool->waiting.first && !pool->woken && !pool->ending)
		pthread_cond_wait(&pool->work, &pool->lock);
	bool more = pool->waiting.first || pool->woken;
	pool->woken = false;
	*job = NULL;
	if (pool->waiting.first)
		*job = pool->options.run_batch ? list_take_all(&pool->waiting)
					       : list_take_first(&pool->waiting);
	unlock(&pool->lock);
	return more;
}

static void hand_back(struct pool *pool, struct job *job)
{
	uint64_t one = 1;
	lock(&pool->lock);
	bool ring = job && !pool->finished.first;
	while (job) {
		struct job *next = job->next;
		list_add(&pool->finished, job);
		job = next;
	}
	unlock(&pool->lock);
	while (ring && write(pool->ring_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* A name that a thread gives itself is no write to /proc. */
static void set_name(const char *name)
{
	pthread_setname_np(pthread_self(), name);
}

static void *thread_main(void *arg)
{
	struct pool *pool = arg;
	const struct pool_options *options = &pool->options;
	void *state = NULL;
	bool begun = false;
	struct job *job;
	set_name(options->name);
	while (wait_for_work(pool, &job)) {
		if (!begun && options->begin)
			state = options->begin(options->arg);
		begun = true;
		if (options->run_batch)
			job = options->run_batch(job, state);
		else
			job->run(job, state);
		hand_back(pool, job);
	}
	if (begun && options->end)
		options->end(state);
	return NULL;
}

/* Tell the owners of finished jobs, in the order they were finished. */
static void tell_finished(struct pool *pool)
{
	lock(&pool->lock);
	struct job *job = list_take_all(&pool->finished);
	unlock(&pool->lock);
	while (job) {
		struct job *next = job->next;
		job->next = NULL;
		pool->pending--;
		loop_release(pool->loop);
		job->done(job); /* may free the job or add another */
		job = next;
	}
}

static void on_ring(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	(void)what;
	/* before the list is taken: who adds to an empty list rings again */
	ssize_t n = read(fd, &count, sizeof(count));
	(void)n;
	tell_finished(arg);
}

static void fatal(const char *what, int error)
{
	fprintf(stderr, "relayd: can not start a worker thread: %s: %s\n", what,
	    strerror(error));
	exit(1);
}

/* Signals are the loop's: a thread inherits the mask of its maker. */
static void start_thread(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg)
{
	sigset_t all;
	sigset_t old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		fatal(name, error);
}

struct pool *pool_new(struct loop *loop, const struct pool_options *options)
{
	if (options->threads < 1 || options->threads > THREADS_MAX ||
	    (options->run_batch && options->threads != 1))
		bug("number of threads");
	struct pool *pool = mem_zero(sizeof(*pool));
	pool->loop = loop;
	pool->options = *options;
	list_clear(&pool->waiting);
	list_clear(&pool->finished);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pool->ring_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->ring_fd < 0)
		fatal("eventfd", errno);
	pool->ring = loop_event_new(loop, pool->ring_fd, EV_READ | EV_PERSIST, on_ring, pool);
	loop_event_add(pool->ring);
	while (pool->thread_count < pool->options.threads)
		start_thread(&pool->threads[pool->thread_count++], options->name, thread_main,
		    pool);
	return pool;
}

void pool_add(struct pool *pool, struct job *job)
{
	pool->pending++;
	loop_hold(pool->loop);
	lock(&pool->lock);
	list_add(&pool->waiting, job);
	pthread_cond_signal(&pool->work);
	unlock(&pool->lock);
}

size_t pool_pending(const struct pool *pool)
{
	return pool->pending;
}

/* ---- side threads ---- */

static void wake(struct pool *pool)
{
	lock(&pool->lock);
	pool->woken = true;
	pthread_cond_signal(&pool->work);
	unlock(&pool->lock);
}

static void *side_main(void *arg)
{
	struct side *side = arg;
	set_name(side->name);
	lock(&side->lock);
	for (;;) {
		while (!side->call && !side->ending)
			pthread_cond_wait(&side->change, &side->lock);
		if (!side->call)
			break;
		unlock(&side->lock);
		side->call(side->arg);
		lock(&side->lock);
		side->call = NULL;
		pthread_cond_broadcast(&side->change);
		wake(side->pool);
	}
	unlock(&side->lock);
	return NULL;
}

struct side *pool_side(struct pool *pool, const char *name)
{
	struct side *side = mem_zero(sizeof(*side));
	side->pool = pool;
	side->name = name;
	side->next = pool->sides;
	pool->sides = side;
	pthread_mutex_init(&side->lock, NULL);
	pthread_cond_init(&side->change, NULL);
	start_thread(&side->thread, name, side_main, side);
	return side;
}

void side_start(struct side *side, void (*call)(void *arg), void *arg)
{
	lock(&side->lock);
	if (side->call)
		bug("a side thread is busy");
	side->call = call;
	side->arg = arg;
	pthread_cond_broadcast(&side->change);
	unlock(&side->lock);
}

bool side_is_busy(struct side *side)
{
	lock(&side->lock);
	bool busy = side->call != NULL;
	unlock(&side->lock);
	return busy;
}

void side_wait(struct side *side)
{
	lock(&side->lock);
	while (side->call)
		pthread_cond_wait(&side->change, &side->lock);
	unlock(&side->lock);
}

static void side_free(struct side *side)
{
	lock(&side->lock);
	side->ending = true;
	pthread_cond_broadcast(&side->change);
	unlock(&side->lock);
	pthread_join(side->thread, NULL);
	pthread_cond_destroy(&side->change);
	pthread_mutex_destroy(&side->lock);
	mem_free(side);
}

/* ---- the end ---- */

static void end_threads(struct pool *pool)
{
	lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->work);
	unlock(&pool->lock);
	for (unsigned i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	while (pool->sides) {
		struct side *side = pool->sides;
		pool->sides = side->next;
		side_free(side);
	}
}

void pool_drain(struct pool *pool)
{
	while (pool->pending) {
		struct pollfd ring = {.fd = pool->ring_fd, .events = POLLIN};
		if (poll(&ring, 1, -1) > 0)
			on_ring(pool->ring_fd, EV_READ, pool);
	}
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pool_drain(pool);
	end_threads(pool);
	event_free(pool->ring);
	close(pool->ring_fd);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	mem_free(pool);
}
