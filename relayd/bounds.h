/* SPDX-License-Identifier: MIT
 * What the system gives, and what of it the daemon allows itself: descriptors for
 * clients and for deliveries, memory for texts on their way in. Asked once at the
 * start and at each reload, so that a limit is met by a reply, not by a failed call.
 */
#ifndef RELAYD_BOUNDS_H
#define RELAYD_BOUNDS_H

#include "conf/conf.h"

/* Ask for as many descriptors as the hard limit allows and the daemon can use. Before
 * privileges are dropped. */
void bounds_raise(void);

/* Lower in CONF what the system does not give: limits.connections and
 * queue.connections by descriptors; fill in spool.memory where it is 0. Each that was
 * lowered is logged, with what to raise. */
void bounds_apply(struct conf *conf);

#endif
