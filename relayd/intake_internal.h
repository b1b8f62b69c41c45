/* SPDX-License-Identifier: MIT
 * What intake_session.c (the client's dialogue) and intake.c (the way of a message
 * whose text is complete) share.
 */
#ifndef RELAYD_INTAKE_INTERNAL_H
#define RELAYD_INTAKE_INTERNAL_H

#include "relayd/intake.h"
#include "smtp/header.h"

struct intake {
	struct intake_options options;
	struct settings *settings;
	struct brake_watch *brake; /* NULL: none */
	struct session *sessions; /* utlist */
	size_t session_count;
	size_t pending;
	bool ended;
	uint64_t head_bytes; /* of all submissions */
};

/* A client's session (intake_session.c). */
struct session {
	struct intake *intake;
	struct settings *settings;
	struct server *server;
	struct intake_peer peer;
	bool certificate_seen;  /* the client's was looked at */
	const char *certificate_login; /* whom it logs in (of the settings); NULL: nobody */
	char *client;
	bool auth;               /* its listener asks for a login */
	struct login_try *login; /* under way */
	unsigned refusals;       /* in the dialogue, since a message was taken */
	struct submission *submission; /* in the dialogue, or waiting for its answer */
	struct session *prev;
	struct session *next;
};

/* A message on its way in. */
struct submission {
	struct intake *intake;
	struct settings *settings;
	uint64_t id;

	/* who waits for the answer */
	struct session *session; /* NULL: nobody, or gone */
	intake_done *done;       /* of intake_submit; NULL: none */
	void *done_arg;

	/* what it is */
	struct envelope envelope;
	struct buf protocol;    /* for Received */
	struct buf helo;
	struct buf head;        /* text until the body begins */
	size_t head_scanned;
	bool in_body;
	struct header header; /* of head */
	struct spool_content *content;

	int64_t complete_ms; /* wall clock; 0: it is so now */
	/* what becomes of it */
	struct buf rebuilt; /* signature, header section, empty line */
	struct buf signature;
	struct job job; /* of signing */
	bool is_signed; /* else why not */
	struct why why;
	struct spool_append append;
	struct reply reply; /* the answer; a refusal once its code is not 0 */
};

/* A message begins, to be known as ID (random_u64); it is owned by who called until
 * submission_end. */
struct submission *submission_new(struct intake *intake, struct settings *settings, uint64_t id);
void submission_free(struct submission *submission);

/* A piece of its text. Text belongs to the head until the empty line has come.
 * False: the disk needs a moment. */
bool submission_text(struct submission *submission, struct span piece);

/* The text is complete: the way in begins, and ends with the answer. */
void submission_end(struct submission *submission);

/* It will not be taken: the first reason counts, and is the reply to its end. */
void submission_refuse(struct submission *submission, unsigned code, const char *enhanced,
    const char *text);

/* intake_log.c */

/* Count and log what the server has refused in SESSION (smtp/server.h). A hundred in a
 * row, with no message taken between them, have lines; then only what ends the session. */
void session_log_refusal(struct session *session, struct span from, struct span to,
    const struct reply *reply);

/* The same of a message whose text had come; and the line of one that is on disk. */
void submission_log_refusal(const struct submission *submission);
void submission_log_acceptance(const struct submission *submission);

#endif
