/* SPDX-License-Identifier: MIT
 * The event loop: libevent waits for descriptors, the rest is here. Timers
 * live in a heap on our own clock, of which libevent gets the first only as
 * the length of its sleep; it never fires one by itself.
 *
 * Due timers move to a second heap before the first of them is called, so a
 * timer that starts itself again with 0 ms comes in the next turn, behind
 * the I/O, and can still be stopped by those that are called before it.
 */
#include "relayd/base/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <unistd.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"

/* With a fake clock: how long the sockets must be silent in real time after
 * anything ran before the clock jumps. Loopback delivery is synchronous
 * unless the kernel is busy and puts it off. */
#define QUIET_US 50

/* The longest sleep; what waits longer costs a turn in between. */
#define SLEEP_MAX_MS (3600 * 1000)

struct deferred {
	void (*fn)(void *arg);
	void *arg;
};

struct call_list {
	struct deferred *calls;
	size_t count;
	size_t cap;
};

struct loop {
	struct event_base *base;
	struct event *sleep_event; /* bounds a sleep */
	bool stopped;
	bool moved; /* fake clock: bytes may be on their way */
	int holds;
	struct heap timers;	  /* waiting */
	struct heap due;	  /* being called in this turn */
	struct call_list next;	  /* deferred */
	struct call_list running; /* empty outside of run_deferred */
	struct loop_orphan *orphans;
	struct loop_place *line;
};

static void on_sleep_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static struct event_base *make_base(void)
{
	struct event_config *config = event_config_new();
	if (!config)
		bug("no event configuration");
	event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	struct event_base *base = event_base_new_with_config(config);
	event_config_free(config);
	if (!base)
		bug("no event base; is the descriptor limit too low?");
	return base;
}

struct loop *loop_new(void)
{
	struct loop *loop = mem_zero(sizeof(*loop));
	signal(SIGPIPE, SIG_IGN);
	loop->base = make_base();
	loop->sleep_event = loop_event_new(loop, -1, 0, on_sleep_end, NULL);
	return loop;
}

struct event *loop_event_new(struct loop *loop, int fd, short what,
    void (*fn)(int fd, short what, void *arg), void *arg)
{
	struct event *event = event_new(loop->base, fd, what, fn, arg);
	if (!event)
		bug("out of memory for an event");
	return event;
}

void loop_event_add(struct event *event)
{
	if (event_add(event, NULL) != 0)
		bug("out of memory for an event");
}

struct event_base *loop_base(struct loop *loop)
{
	return loop->base;
}

void loop_hold(struct loop *loop)
{
	loop->holds++;
}

void loop_release(struct loop *loop)
{
	if (loop->holds == 0)
		bug("loop released more often than held");
	loop->holds--;
}

void loop_defer(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct call_list *list = &loop->next;
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 32;
		list->calls = mem_resize(list->calls, list->cap, sizeof(struct deferred));
	}
	list->calls[list->count++] = (struct deferred){fn, arg};
}

static void run_deferred(struct loop *loop)
{
	struct call_list list = loop->next;
	loop->next = loop->running; /* collects what is deferred meanwhile */
	for (size_t i = 0; i < list.count; i++)
		list.calls[i].fn(list.calls[i].arg);
	list.count = 0;
	loop->running = list;
}

void loop_adopt(
    struct loop *loop, struct loop_orphan *orphan, void (*fn)(void *arg), void *arg)
{
	loop_disown(loop, orphan);
	orphan->fn = fn;
	orphan->arg = arg;
	DL_APPEND(loop->orphans, orphan);
}

void loop_disown(struct loop *loop, struct loop_orphan *orphan)
{
	if (!orphan->prev)
		return;
	DL_DELETE(loop->orphans, orphan);
	orphan->prev = NULL;
}

void loop_line_up(struct loop *loop, struct loop_place *place, void (*fn)(void *arg), void *arg)
{
	if (place->prev)
		return;
	place->fn = fn;
	place->arg = arg;
	DL_APPEND(loop->line, place);
}

void loop_step_out(struct loop *loop, struct loop_place *place)
{
	if (!place->prev)
		return;
	DL_DELETE(loop->line, place);
	place->prev = NULL;
}

/* Result: whether there was one. */
static bool run_line(struct loop *loop)
{
	struct loop_place *first = loop->line;
	if (!first)
		return false;
	loop_step_out(loop, first);
	first->fn(first->arg);
	return true;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->orphans) {
		struct loop_orphan *orphan = loop->orphans;
		loop_disown(loop, orphan);
		orphan->fn(orphan->arg);
	}
	while (loop->next.count)
		run_deferred(loop);
	event_free(loop->sleep_event);
	event_base_free(loop->base);
	heap_free(&loop->timers);
	heap_free(&loop->due);
	mem_free(loop->next.calls);
	mem_free(loop->running.calls);
	mem_free(loop);
}

/* Milliseconds to the first timer (0: it is due), -1 when there is none. */
static int64_t first_timer(const struct loop *loop)
{
	struct heap_node *node = heap_first(&loop->timers);
	if (!node)
		return -1;
	int64_t left = node->key - clock_mono_ms();
	return left > 0 ? left : 0;
}

static bool run_timers(struct loop *loop)
{
	int64_t now = clock_mono_ms();
	struct heap_node *node;
	while ((node = heap_first(&loop->timers)) && node->key <= now) {
		heap_remove(&loop->timers, node);
		heap_add(&loop->due, node, node->key);
	}
	bool any = false;
	while ((node = heap_first(&loop->due))) {
		struct timer *timer = heap_owner(node, struct timer, node);
		heap_remove(&loop->due, node);
		timer->fn(timer->arg);
		any = true;
	}
	return any;
}

/* Let libevent wait at most MS milliseconds (-1: without end, 0: not at all)
 * and call what is ready. Result: whether a callback other than our own ran. */
static bool run_io(struct loop *loop, int64_t ms)
{
	int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
	if (ms == 0)
		flags |= EVLOOP_NONBLOCK;
	if (ms > SLEEP_MAX_MS)
		ms = SLEEP_MAX_MS;
	if (ms > 0) {
		struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
		event_add(loop->sleep_event, &time);
	}
	event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1);
	event_base_loop(loop->base, flags);
	int ran = event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 0);
	if (ms > 0) {
		if (!event_pending(loop->sleep_event, EV_TIMEOUT, NULL))
			ran--;
		event_del(loop->sleep_event);
	}
	return ran > 0;
}

/* Has anybody registered an event? */
static bool has_events(const struct loop *loop)
{
	return event_base_get_num_events(
		   loop->base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE) > 0;
}

static bool turn_real(struct loop *loop, bool wait)
{
	int64_t sleep = first_timer(loop);
	bool waiting = sleep >= 0 || has_events(loop) || loop->holds > 0;
	if (loop->next.count || loop->line || !wait || !waiting)
		sleep = 0;
	run_io(loop, sleep);
	run_timers(loop);
	bool more = run_line(loop) || loop->next.count > 0;
	run_deferred(loop);
	return waiting || more || has_events(loop) || loop->timers.count ||
	       loop->next.count || loop->line;
}

/* Nothing was ready: be sure of it, then let time pass. */
static bool idle_fake(struct loop *loop)
{
	if (loop->holds > 0) {
		run_io(loop, -1);
		return true;
	}
	if (loop->moved) {
		usleep(QUIET_US);
		loop->moved = run_io(loop, 0);
		if (loop->moved || loop->next.count)
			return true;
	}
	int64_t left = first_timer(loop);
	if (left < 0)
		return false;
	clock_advance(left);
	run_timers(loop);
	loop->moved = has_events(loop);
	return true;
}

static bool turn_fake(struct loop *loop, bool wait)
{
	bool ran = run_io(loop, 0);
	ran |= run_timers(loop);
	ran |= run_line(loop);
	ran |= loop->next.count > 0;
	if (ran)
		loop->moved = has_events(loop);
	if (!ran && wait)
		ran = idle_fake(loop);
	run_deferred(loop);
	return ran || loop->timers.count || loop->holds > 0 || loop->next.count || loop->line;
}

bool loop_turn(struct loop *loop, bool wait)
{
	return clock_is_fake() ? turn_fake(loop, wait) : turn_real(loop, wait);
}

void loop_run(struct loop *loop)
{
	while (!loop->stopped && loop_turn(loop, true))
		;
	loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(void *arg), void *arg)
{
	heap_node_init(&timer->node);
	timer->loop = loop;
	timer->fn = fn;
	timer->arg = arg;
}

void timer_start(struct timer *timer, int64_t after_ms)
{
	int64_t now = clock_mono_ms();
	int64_t most = INT64_MAX - now;
	int64_t key = now + (after_ms < 0 ? 0 : after_ms > most ? most : after_ms);
	timer_stop(timer); /* it may be in either heap */
	heap_add(&timer->loop->timers, &timer->node, key);
}

void timer_stop(struct timer *timer)
{
	struct heap *due = &timer->loop->due;
	uint32_t place = timer->node.place;
	bool is_due = place < due->count && due->nodes[place] == &timer->node;
	heap_remove(is_due ? due : &timer->loop->timers, &timer->node);
}

bool timer_is_running(const struct timer *timer)
{
	return heap_holds(&timer->node);
}
