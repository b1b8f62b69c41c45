/* SPDX-License-Identifier: MIT
 * For tests of threads: gates that hold one up, and a bell that it rings.
 */
#ifndef TESTS_UNIT_GATE_H
#define TESTS_UNIT_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "relayd/base/loop.h"

/* Who comes to it while it is shut waits until it is opened. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool shut;
};
#define GATE_OPEN                                                                                  \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false                         \
	}
void gate_set(struct gate *gate, bool shut);
void gate_pass(struct gate *gate);

/* One bell for a program: it rings when something has been counted. */
void bell_open(void);
void bell_close(void);

/* Count one more WHAT, in any thread. Result: how many they are by now. */
int bell_count(atomic_int *what);

/* Until more than BEFORE were counted. LOOP goes round meanwhile; NULL: it stands still. */
void bell_wait(struct loop *loop, atomic_int *what, int before);

#endif
