/* SPDX-License-Identifier: MIT
 * How a message gets in: policy, limits, repair of envelope and header,
 * signature, disk, queue, 250. The one way in for clients, for the drop folder
 * and for our own reports.
 */
#ifndef RELAYD_INTAKE_H
#define RELAYD_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/spool.h"
#include "relayd/base/pool.h"
#include "relayd/brake_watch.h"
#include "relayd/login.h"
#include "relayd/settings.h"
#include "relayd/stats.h"
#include "smtp/server.h"

struct intake;

struct intake_options {
	struct loop *loop;
	struct spool *spool;
	struct login *login;
	struct pool *signers; /* thread state: struct dkim_signer */
	struct stats *stats;
	/* A message is on stable storage: into the queue with it. STATE: of one that
	 * is held from the start; NULL. */
	void (*enter)(void *arg, uint64_t id, struct spool_place place,
	    const struct envelope *envelope, uint64_t size, const struct spool_state *state);
	/* How many messages are in the queue? (limit queue_messages) */
	size_t (*queued)(void *arg);
	void *arg;
};

struct intake *intake_new(const struct intake_options *options, struct settings *settings);
void intake_free(struct intake *intake);
void intake_set_settings(struct intake *intake, struct settings *settings);
/* Who counts messages and says which are held; NULL: nobody. */
void intake_set_brake(struct intake *intake, struct brake_watch *brake);

/* Take over an accepted connection. LISTEN says how it is spoken to. */
struct intake_peer {
	bool trusted;       /* may relay without AUTH */
	bool unnamed;       /* comes through a balancer that names no client; not trusted */
	const char *client; /* text for logs and Received: address, "unix:UID" */
	bool (*may_send)(void *arg); /* one more message; false: too many lately */
	void (*over)(void *arg);     /* once; the connection may have a last reply to send */
	void *arg;
};
void intake_session(struct intake *intake, struct conn *conn, const struct conf_listen *listen,
    const struct intake_peer *peer);

/* End all sessions with 421; those that wait for an answer get it first. */
void intake_shut(struct intake *intake);
/* The signers end: what has not been given to them or the spool by now is not taken. */
void intake_end(struct intake *intake);
size_t intake_sessions(const struct intake *intake);
size_t intake_pending(const struct intake *intake); /* messages between end of text and answer */

/* May one more message come in? False: REPLY says why not. */
bool intake_has_room(const struct intake *intake, const struct conf *conf, struct reply *reply);

/* Put a recipient of a MAIL transaction into an envelope. -1: REPLY says why it
 * can not be one (no domain and no default for it, a domain without a dot). */
int intake_add_recipient(const struct conf *conf, struct envelope *envelope,
    const struct address *to, struct reply *reply) ATTR_MUST_CHECK;

/* A message from within (report, drop folder). ENVELOPE is taken over (emptied);
 * MESSAGE is header, empty line and body with CRLF line ends. A report (of the
 * ENVELOPE) is neither repaired nor refused for what it says, since it is ours. DONE (never inside) gets the reply that a client
 * would have got: code 250, or why not. */
typedef void intake_done(void *arg, const struct reply *reply, uint64_t id);
void intake_submit(struct intake *intake, struct envelope *envelope, struct span message,
    intake_done *done, void *arg);
/* The same of a message that its caller has had for a while. */
struct intake_past {
	uint64_t id; /* made by him (random_u64), to look for it in the queue after a crash */
	int64_t complete_ms; /* on the wall clock, 0: now; the Date of one without */
};
void intake_submit_past(struct intake *intake, const struct intake_past *past,
    struct envelope *envelope, struct span message, intake_done *done, void *arg);

#endif
