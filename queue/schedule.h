/* SPDX-License-Identifier: MIT
 * Who is tried next: due times x each destination's window, fair between
 * destinations. Owns messages, batches and destinations. Starts attempts
 * through its handler and is told how they ended; knows nothing of SMTP or DNS.
 *
 * Where not all can go, urgent mail goes before normal mail and that before bulk:
 * within a destination, and between destinations when connections are short. Every
 * tenth start goes to what was passed over, so nobody waits for ever; the last
 * eighth of the connections is not for bulk mail.
 *
 * A destination is a name under which mail shares fate and limits: a recipient
 * domain, or a smarthost. Its window (attempts at a time) grows with successes
 * and shrinks with failures of the destination itself; a dead one waits as a
 * whole and costs the others nothing. Where the mail of one goes that is new, or did
 * not answer the last time, is looked up first: names that nobody answers for take no
 * connection away, and once that is known, few of the look-ups.
 */
#ifndef QUEUE_SCHEDULE_H
#define QUEUE_SCHEDULE_H

#include "conf/conf.h"
#include "queue/message.h"
#include "relayd/base/loop.h"

struct schedule;

struct schedule_handler {
	/* Look up where mail for DESTINATION goes, so that its attempts need not wait for
	 * that; schedule_known ends it, not inside this call. DESTINATION stays until then.
	 * False: there is nothing to look up. NULL: there never is. */
	bool (*look_up)(void *arg, struct destination *destination);
	/* Begin an attempt for BATCH (RUNNING now). End it with schedule_finish,
	 * not inside this call. */
	void (*start)(void *arg, struct batch *batch);
	/* MESSAGE is older than its lifetime: BATCH (RUNNING now, so that nobody
	 * else touches it) shall be bounced; schedule_finish ends it. Recipients
	 * that are left then (no report could be queued) come here again later. */
	void (*expire)(void *arg, struct batch *batch);
	/* The delay notice is due (once per message; not for reports). */
	void (*delayed)(void *arg, struct message *message);
	/* All recipients are done and no batch is left: note the end; MESSAGE goes
	 * when this returns. */
	void (*ended)(void *arg, struct message *message);
	void *arg;
};

struct schedule *schedule_new(struct loop *loop, const struct conf_queue *conf,
    const struct schedule_handler *handler);
void schedule_free(struct schedule *schedule);
/* Reload. The lifetime of messages that are in the queue stays. */
void schedule_set_conf(struct schedule *schedule, const struct conf_queue *conf);

struct schedule_entry {
	uint64_t id;
	struct spool_place place;
	int64_t arrived_ms; /* steady clock */
	uint64_t size;      /* of the content */
	bool report;        /* a bounce or notice of ours */
	enum conf_priority priority;
};

/* A message with a batch per distinct destination name. DESTINATIONS[i] is the
 * name for recipient i, NULL for one that is done already; at least one is not
 * NULL. STATE: from the spool, NULL for a new one; what ran out of time while
 * the daemon was down has an hour for a last attempt. Nothing is started
 * inside. */
struct message *schedule_add(struct schedule *schedule, const struct schedule_entry *entry,
    const char *const *destinations, size_t count, const struct spool_state *state);

/* The look-up for DESTINATION is over. FAILURE: it failed for now, for that reason (a
 * copy is kept, destination_failure); NULL: there are hosts, or definitely none. */
void schedule_known(struct schedule *schedule, struct destination *destination,
    const char *failure);

/* A recipient of a RUNNING batch has its end (delivered, bounced, deleted). */
void schedule_recipient_done(struct schedule *schedule, struct batch *batch, uint32_t recipient);

/* How an attempt went, for the destination's window. */
enum schedule_feedback {
	SCHEDULE_WORKED,  /* the destination answered as it should */
	SCHEDULE_FAILED,  /* could not be reached or did not speak: window shrinks */
	SCHEDULE_NEUTRAL, /* says nothing about the destination */
	SCHEDULE_BLOCKED, /* the same, and what is left waits for a way out */
	/* it worked, and what is left is to go on, which counts as no attempt: */
	SCHEDULE_PARTLY,
	SCHEDULE_PARTLY_BUSY, /* when there is a way out, since all have to wait */
	SCHEDULE_PARTLY_HELD, /* or are held: batch->incident */
};

/* The attempt is over. Recipients that are left wait until DUE_MS (steady clock;
 * 0: by the backoff ladder, which after some attempts is the least in any case but
 * those of PARTLY). The batch is freed when none is left. */
void schedule_finish(struct schedule *schedule, struct batch *batch,
    enum schedule_feedback feedback, int64_t due_ms);

/* Nothing was tried after all, since no way out was free: the batch waits until
 * DUE_MS (steady clock). That is no attempt and says nothing about the destination.
 * HELD: the way is blocked and not merely busy; the message's end moves by the time
 * that it waits, for each batch that does, to at most hold_max beyond its lifetime. What
 * brings it back sooner (retry, resume, opened, try_one) takes the rest away again. */
void schedule_put_off(struct schedule *schedule, struct batch *batch, int64_t due_ms, bool held);

/* How much later than usual MESSAGE ends by that: for the spool's state, since a
 * restart takes nothing of it away. */
int64_t schedule_extra(const struct schedule *schedule, const struct message *message);

/* Nothing was tried, since the recipients of BATCH belong elsewhere now: it goes, and
 * they are due at once at the destinations NAMES[i] (for recipient i; NULL for those
 * that are not in it; as many as the message has). That is no attempt. */
void schedule_reroute(struct schedule *schedule, struct batch *batch, const char *const *names);

/* Does any batch wait for a way out? */
bool schedule_waits_by_path(const struct schedule *schedule);

/* A way out may be free again: what was put off or blocked is due now, the first
 * ones at once and the others little by little. */
void schedule_resume(struct schedule *schedule);

/* A probe has opened what INCIDENT is about: what waits for it, and what a restart
 * has made forget what it waits for, comes back as a slow start lets it go, 1, 2,
 * 4, ... an interval, and not before a time of its own that is sooner. */
void schedule_opened(struct schedule *schedule, unsigned incident);

/* Messages that wait for what INCIDENT is about, among the oldest LOOKS ones. */
size_t schedule_waiting_for(const struct schedule *schedule, unsigned incident, size_t looks);

/* Of the oldest LOOKS messages: FN for each, once for each incident that it waits for. */
void schedule_each_waiting(const struct schedule *schedule, size_t looks,
    void (*fn)(void *arg, unsigned incident), void *arg);

/* The oldest message that waits for what INCIDENT is about, among the first LOOKS, is
 * tried at AT_MS (steady clock) at the latest. NULL: there is none. */
struct message *schedule_try_one(struct schedule *schedule, unsigned incident,
    int64_t at_ms, size_t looks);

/* The destination as a whole is not tried before UNTIL_MS (steady clock). */
void schedule_pause(struct schedule *schedule, struct destination *destination, int64_t until_ms);

/* The same, since its way out keeps to a rate: from now on its batches ask for their
 * turn one after the other, and not as many as its window takes. */
void schedule_pace(struct schedule *schedule, struct destination *destination, int64_t until_ms);

/* BATCH (RUNNING) has its turn; the next one may ask. */
void schedule_goes(struct schedule *schedule, struct batch *batch);

/* A turn of its way out may be free again: a pause that only paces ends. One that began
 * since nobody answers goes on. */
void schedule_unpace(struct schedule *schedule, struct destination *destination);

/* When would a batch with that many attempts be due by the ladder, from now? */
int64_t schedule_backoff(const struct schedule *schedule, unsigned attempts);

/* Administrator. A RUNNING batch is held or deleted once its attempt is over.
 * Held mail does not expire; once released it has some hours left at least. */
void schedule_hold(struct schedule *schedule, struct message *message);
void schedule_release(struct schedule *schedule, struct message *message);
/* Due now, and so is its destination; not what is held or being tried. What is settling is
 * due as soon as that is over. False: all of it is being tried. */
bool schedule_retry(struct schedule *schedule, struct message *message);
/* Every recipient that is left counts as done; `ended` follows. */
void schedule_delete(struct schedule *schedule, struct message *message);

struct message *schedule_find(struct schedule *schedule, uint64_t id);

/* Walk all messages in the order in which they came: NULL for the first. AFTER
 * must still be in the queue; a walk over several turns remembers the id and
 * asks schedule_find for it. NULL: no more. */
struct message *schedule_next(struct schedule *schedule, const struct message *after);

/* Start nothing any more (shutdown). */
void schedule_stop(struct schedule *schedule);

const char *destination_name(const struct destination *destination);
/* Why the look-up before this attempt has failed; NULL: it has not. */
const char *destination_failure(const struct destination *destination);
/* The end of its pause (steady clock); 0: it makes none. */
int64_t destination_paused_until(const struct destination *destination);
/* It makes one since nobody answers, and not only to keep a pace. */
bool destination_is_dead(const struct destination *destination);

struct schedule_stats {
	size_t messages, waiting, ready, running, held, destinations;
};
struct schedule_stats schedule_stats(const struct schedule *schedule);

/* What one destination is doing; for `relayctl`. False: no such destination. */
struct destination_stats {
	const char *name;
	size_t waiting, ready, running, held;
	double window;
	int64_t paused_until_ms; /* 0: not */
};
bool schedule_destination(struct schedule *schedule, const char *name,
    struct destination_stats *stats);
void schedule_each_destination(struct schedule *schedule,
    void (*fn)(void *arg, const struct destination_stats *stats), void *arg);

#endif
