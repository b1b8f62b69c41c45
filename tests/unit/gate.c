/* SPDX-License-Identifier: MIT
 * The bell is an eventfd.
 */
#include "tests/unit/gate.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE_MS 10000

void gate_set(struct gate *gate, bool shut)
{
	pthread_mutex_lock(&gate->lock);
	gate->shut = shut;
	pthread_cond_broadcast(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
}

void gate_pass(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	while (gate->shut)
		pthread_cond_wait(&gate->opened, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static int bell = -1;

void bell_open(void)
{
	bell = eventfd(0, EFD_CLOEXEC);
	assert_true(bell >= 0);
}

void bell_close(void)
{
	close(bell);
}

int bell_count(atomic_int *what)
{
	int n = atomic_fetch_add(what, 1) + 1;
	(void)eventfd_write(bell, 1);
	return n;
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	eventfd_t rings;
	(void)what;
	(void)arg;
	(void)eventfd_read(fd, &rings);
}

static void turn_until(struct loop *loop, atomic_int *what, int before)
{
	struct event *ear = loop_event_new(loop, bell, EV_READ | EV_PERSIST, on_bell, NULL);
	loop_event_add(ear);
	for (int i = 0; i < 50000 && atomic_load(what) <= before; i++)
		loop_turn(loop, true);
	event_free(ear);
}

void bell_wait(struct loop *loop, atomic_int *what, int before)
{
	struct pollfd ear = {.fd = bell, .events = POLLIN};
	if (loop)
		turn_until(loop, what, before);
	while (!loop && atomic_load(what) <= before && poll(&ear, 1, PATIENCE_MS) == 1)
		on_bell(bell, EV_READ, NULL);
	assert_true(atomic_load(what) > before);
}
