/* SPDX-License-Identifier: MIT
 * The one event loop: libevent's base, timers on our clock, and the graveyard.
 * A turn is: I/O events, due timers, one costly call, deferred calls. With a fake clock a turn
 * that finds nothing to do jumps to the next timer, unless jobs are under way
 * in another thread (loop_hold), so a test never waits and never races.
 * Only the thread that runs the loop may call in; others make a descriptor readable
 * that it watches (pool.c).
 */
#ifndef RELAYD_BASE_LOOP_H
#define RELAYD_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/heap.h"

struct event_base;
struct loop;

/* From here on the process ignores SIGPIPE: a broken peer is an error of the
 * write, not a signal. Programs it starts have to set it back. */
struct loop *loop_new(void);
void loop_free(struct loop *loop); /* runs what was deferred, then frees */

/* For those who add events of their own (conn, dns, listen). */
struct event_base *loop_base(struct loop *loop);

/* libevent's event_new and event_add, but that out of memory ends the process: an
 * event that nobody waits for would stop a part of the daemon without a word. */
struct event;
struct event *loop_event_new(struct loop *loop, int fd, short what,
    void (*fn)(int fd, short what, void *arg), void *arg);
void loop_event_add(struct event *event);

/* Turn until loop_stop, or until nothing is left that could ever happen. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* One turn. WAIT: sleep until something happens (fake clock: jump to the next
 * timer). Result: false when nothing is left that could ever happen (no timer,
 * no event ready, no hold): a test's end or deadlock. */
bool loop_turn(struct loop *loop, bool wait);

/* While held more often than released, a fake clock does not jump: a job in
 * another thread will still report. */
void loop_hold(struct loop *loop);
void loop_release(struct loop *loop);

/* Call FN(ARG) at the end of this turn. What frees itself does it here, since
 * nothing is freed inside its own callback. Calls run in the order of
 * loop_defer; one deferred meanwhile runs in the next turn. */
void loop_defer(struct loop *loop, void (*fn)(void *arg), void *arg);

/* What finishes by itself and has no owner left (a connection that still sends
 * its last bytes): loop_free calls FN, which must release it. Embedded in the
 * thing itself; loop_disown before it goes, as often as one likes. */
struct loop_orphan {
	struct loop_orphan *prev; /* NULL while not adopted */
	struct loop_orphan *next;
	void (*fn)(void *arg);
	void *arg;
};
void loop_adopt(struct loop *loop, struct loop_orphan *orphan, void (*fn)(void *arg), void *arg);
void loop_disown(struct loop *loop, struct loop_orphan *orphan);

/* What costs a millisecond (a TLS handshake, which anybody may ask for) stands in
 * line: one of all such is called in a turn, the first that came, so a flood of them
 * holds nothing else up for longer than one. Embedded in what waits; zero at first.
 * FN may stand in line again. Lining up twice keeps the first place. */
struct loop_place {
	struct loop_place *prev; /* NULL while not in line */
	struct loop_place *next;
	void (*fn)(void *arg);
	void *arg;
};
void loop_line_up(struct loop *loop, struct loop_place *place, void (*fn)(void *arg), void *arg);
void loop_step_out(struct loop *loop, struct loop_place *place); /* as often as one likes */

/* A timer is embedded in what waits. It fires once; FN may start it again.
 * After timer_stop no call comes. Durations in milliseconds, under 0 is 0. */
struct timer {
	struct heap_node node;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(void *arg), void *arg);
void timer_start(struct timer *timer, int64_t after_ms); /* again: moves it */
void timer_stop(struct timer *timer);
bool timer_is_running(const struct timer *timer);

#endif
