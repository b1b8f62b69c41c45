/* SPDX-License-Identifier: MIT
 * The brake (queue/brake) at work: which limits hold for whom, what is counted for
 * a message, incidents when a sender is braked and when it is free again, and the
 * file in the spool's folder where all of it survives a restart.
 *
 * A message of a braked sender is taken and held. What waits in the queue already is
 * held too when its turn comes and too many of the sender's recipients do not exist;
 * one that has only sent too much keeps what was let in. Held mail stays until a
 * person releases or deletes it; what was released is not held a second time.
 */
#ifndef RELAYD_BRAKE_WATCH_H
#define RELAYD_BRAKE_WATCH_H

#include "queue/reputation.h"
#include "relayd/base/loop.h"
#include "relayd/brake_who.h"
#include "relayd/settings.h"

struct brake_watch;

/* NULL: WHY; the file in the spool's folder can not be used. */
struct brake_watch *brake_watch_new(struct loop *loop, struct reputation *reputation,
    struct settings *settings, struct why *why);
void brake_watch_free(struct brake_watch *watch); /* NULL is fine */
void brake_watch_set_settings(struct brake_watch *watch, struct settings *settings);

/* A message comes in: it counts for each of its senders. The code says why it has to
 * be held (brake_who.h); 0: it may go. WATCH may be NULL. */
uint8_t brake_watch_message(struct brake_watch *watch, const struct envelope *envelope,
    uint64_t id);
/* It was not taken after all. */
void brake_watch_take_back(struct brake_watch *watch, const struct envelope *envelope);

/* The turn of a message has come that was not released by a person: 0, or the code
 * with which it is to be held. */
uint8_t brake_watch_stops(struct brake_watch *watch, const struct envelope *envelope,
    uint64_t id);

/* A recipient was delivered to, or is UNKNOWN to its domain. */
void brake_watch_recipient(struct brake_watch *watch, const struct envelope *envelope,
    bool unknown);

/* For relayctl; the brake's functions of the same name. */
void brake_watch_each(const struct brake_watch *watch,
    void (*fn)(void *arg, const struct brake_view *view), void *arg);
bool brake_watch_release(struct brake_watch *watch, const char *who);

#endif
