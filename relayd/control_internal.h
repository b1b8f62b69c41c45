/* SPDX-License-Identifier: MIT
 * A request on the control socket, shared by control.c (socket, rights, answers),
 * control_commands.c (small commands), control_queue.c (lists and changes),
 * control_show.c (one message) and control_reputation.c (paths and incidents).
 */
#ifndef RELAYD_CONTROL_INTERNAL_H
#define RELAYD_CONTROL_INTERNAL_H

#include <jansson.h>

#include "queue/message.h"
#include "relayd/base/conn.h"
#include "relayd/control_rights.h"
#include "relayd/control_words.h"
#include "relayd/daemon.h"
#include "relayd/selection.h"

struct control_log;

struct request {
	struct control *control;
	struct control_peer peer; /* who asks */
	struct daemon *daemon;
	struct conn *conn;
	struct control_words words;
	const char **argv;  /* those behind the command's own words */
	size_t argc;
	enum command_id command;
	struct selection selection;
	size_t changed;     /* messages that a command has changed */
	/* the next page: a row or a few, true while there is more; NULL: no pages */
	bool (*page)(struct request *request);
	struct timer timer;
	int64_t moved_ms;   /* when the reader last made room */
	struct spool_reader *reader; /* queue cat */
	uint64_t read_to;
	struct destination_row *rows; /* destinations: a copy, since they come and go */
	json_t *list;       /* reputation, incidents, brake: likewise; warnings of a reload */
	struct delisting *delisting;
	size_t row_count;
	size_t row_at;
	uint64_t log_at;    /* number of the next line */
	bool following;     /* gets log lines */
	bool answered;      /* the status line has been sent */
	struct request *prev;
	struct request *next;
};

/* The answer, in this order. ROW is taken over. */
void request_ok(struct request *request);
void request_row(struct request *request, json_t *row);
void request_end(struct request *request);
/* "cannot": a status line with the reason, and the end. The second form says
 * that the request itself was wrong (exit status 2). */
void request_fail(struct request *request, const char *format, ...) ATTR_PRINTF(2, 3);
void request_misused(struct request *request, const char *format, ...) ATTR_PRINTF(2, 3);

/* An answer that may be long: PAGE is called over loop turns, whenever the
 * reader has taken enough, until it says that there is no more. A reader that
 * takes nothing for ten minutes is left alone. */
void request_pages(struct request *request, bool (*page)(struct request *request));

/* The rows of request->list, as a long answer. */
void request_list(struct request *request);

/* More rows may be written now. */
bool request_has_room(const struct request *request);

/* Has who asks these rights? (beyond those of the command itself) */
bool request_may(const struct request *request, enum command_rights rights);

/* A row {"what": NAME, "value": ...}. */
void request_fact(struct request *request, const char *name, json_t *value);

/* Begin the log's line of what somebody has changed, who is UID; log_end is the caller's. */
struct log_line;
void control_log_change(struct log_line *line, enum command_id command, uid_t uid);

/* JSON string of bytes from outside: escaped so that it is valid. */
json_t *json_safe(struct span text);

/* control.c */
struct control_log *control_log_of(const struct control *control);
void control_each_follower(struct control *control, void (*fn)(struct request *request));

/* control_commands.c */
void control_status(struct request *request);
void control_reload(struct request *request);
void control_destinations(struct request *request);

/* control_reputation.c */
void control_reputation(struct request *request);
void control_unknown(struct request *request);
void control_path_change(struct request *request); /* hold, open, reset, probe */
void control_incidents(struct request *request);
void control_incident(struct request *request); /* show, close */

/* control_delist.c */
void control_delist(struct request *request);
void control_delist_gone(struct request *request); /* it is dropped */

/* control_brake.c */
void control_brake(struct request *request);
void control_brake_release(struct request *request);

/* control_log.c: the last lines, from its making on. */
struct control_log *control_log_new(struct control *control);
void control_log_free(struct control_log *log);
void control_log(struct request *request);

/* control_queue.c: list, hold, release, retry, delete, why */
void control_queue(struct request *request);
void control_queue_over(const struct request *request); /* it ends, complete or not: log */
const char *batch_state_text(const struct batch *batch); /* "paused" with its destination */
int64_t batch_seconds(const struct batch *batch); /* to its next attempt, or a pause's end */
json_t *answer_json(const struct history_entry *last); /* NULL: "" */
int message_attempts(const struct message *message);   /* of the batch that has most */
/* Why it is held, if the brake or a person does it; "" when it is not. */
json_t *hold_reason(const struct message *message, const struct envelope *envelope);
void answer_text(const struct history_entry *last, struct buf *out);

/* control_show.c */
void control_show(struct request *request);
void control_cat(struct request *request);
/* What `why` says beyond a row of the list; LAST is the answer it is about, or NULL. */
void why_fill(const struct request *request, const struct message *message,
    const struct envelope *envelope, const struct history_entry *last, json_t *row);

#endif
