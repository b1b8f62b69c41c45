/* SPDX-License-Identifier: MIT
 * A request on the control socket, shared by control.c (socket, rights, small
 * commands) and control_queue.c (the queue).
 */
#ifndef RELAYD_CONTROL_INTERNAL_H
#define RELAYD_CONTROL_INTERNAL_H

#include <jansson.h>

#include "queue/message.h"
#include "relayd/base/conn.h"
#include "relayd/command_table.h"
#include "relayd/daemon.h"

/* Which messages a queue command is about. */
struct selection {
	const char *domain; /* NULL: any; these point into the request's words */
	const char *sender;
	int64_t older_ms;   /* 0: any age */
	bool all;
	uint64_t *ids;      /* the messages to look at, in order */
	size_t count;
	size_t at;
};

struct request {
	struct control *control;
	struct daemon *daemon;
	struct conn *conn;
	json_t *words;      /* array of strings */
	const char **argv;  /* they, behind the command's own words */
	size_t argc;
	enum command_id command;
	struct selection selection;
	size_t changed;     /* messages that a command has changed */
	struct timer timer; /* the next page */
	bool following;     /* gets log lines */
	bool answered;      /* the status line has been sent */
	struct request *prev;
	struct request *next;
};

/* The answer, in this order. ROW is taken over. */
void request_ok(struct request *request);
void request_row(struct request *request, json_t *row);
void request_end(struct request *request);
/* "cannot": a status line with the reason, and the end. */
void request_fail(struct request *request, const char *format, ...) ATTR_PRINTF(2, 3);

/* More rows may be written now (else wait for the next call of the pager). */
bool request_has_room(const struct request *request);

/* A row {"what": NAME, "value": ...}. */
void request_fact(struct request *request, const char *name, json_t *value);

/* JSON string of bytes from outside: escaped so that it is valid. */
json_t *json_safe(struct span text);

/* control_queue.c */
void control_queue(struct request *request); /* list, hold, release, retry, delete, why */
void control_show(struct request *request);
void control_cat(struct request *request);
void control_destinations(struct request *request);
void selection_clear(struct selection *selection);

#endif
