/* SPDX-License-Identifier: MIT
 * Worker threads for what must not stall the loop: CPU work (signing, password
 * hashes) and the disk. The only file that knows pthread. A job owns its data:
 * between pool_add and its done call the loop does not touch it. Finished jobs
 * come back to the loop in one wake-up however many they are.
 *
 * Two shapes: a worker pool hands each job to whichever thread is free; a
 * batch pool has one thread that takes everything that waits in one go, which
 * is what makes group commit of the spool. That thread may keep jobs until
 * something slow has happened, which it leaves to a side thread.
 */
#ifndef RELAYD_BASE_POOL_H
#define RELAYD_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/loop.h"

struct pool;

/* Embedded in the caller's own job struct. */
struct job {
	struct job *next;
	/* Worker: do it. NULL in a batch pool. */
	void (*run)(struct job *job, void *thread_state);
	/* Loop: it is done; the job belongs to the caller again and may be freed. */
	void (*done)(struct job *job);
};

struct pool_options {
	const char *name;  /* of the threads, at most 15 characters */
	unsigned threads;  /* 1 to 64; 1 for a batch pool */
	/* In each thread, before its first job, so that a thread that never gets one costs
	 * nothing; its result is thread_state. */
	void *(*begin)(void *arg);
	void (*end)(void *thread_state); /* where begin was called */
	/* batch pool: all jobs that waited, a list by next in the order of adding
	 * (NULL: only a side thread has ended its call). The result is such a list
	 * of those that are done, which are reported in its order; others are kept
	 * and come with the result of a later call. */
	struct job *(*run_batch)(struct job *first, void *thread_state);
	void *arg;         /* for begin */
};

/* Threads start with all signals blocked. Fails (fatal) only when a thread
 * can not be made; ends the process then, since this is start-up. */
struct pool *pool_new(struct loop *loop, const struct pool_options *options);

/* Queue JOB (its run and done are set). done is never called inside here, but
 * from the loop, which is held (loop_hold) until then. */
void pool_add(struct pool *pool, struct job *job);

/* How many jobs are queued, running, or done but not reported yet. */
size_t pool_pending(const struct pool *pool);

/* A thread beside that of a batch pool, which makes one slow call at a time for
 * it. NAME as above, kept. Both belong to the pool and end with it, after the call under way. */
struct side;
struct side *pool_side(struct pool *pool, const char *name);

/* In the batch thread (or before it has work): have CALL(ARG) made. Not while
 * one is under way. The batch function is called once it has ended. */
void side_start(struct side *side, void (*call)(void *arg), void *arg);
bool side_is_busy(struct side *side);
void side_wait(struct side *side); /* until it is not busy */

/* Wait until everything queued is finished and reported (done calls happen inside
 * and may add more, which is waited for too). Not from a done call. */
void pool_drain(struct pool *pool);

/* Drain it and end the threads. */
void pool_free(struct pool *pool);

#endif
