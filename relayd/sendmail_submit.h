/* SPDX-License-Identifier: MIT
 * The dialogue of relay-sendmail with relayd: as a client, one message; or with
 * -bs, its caller's own dialogue passed through.
 */
#ifndef RELAYD_SENDMAIL_SUBMIT_H
#define RELAYD_SENDMAIL_SUBMIT_H

#include <stdbool.h>

#include "relayd/sendmail_config.h"
#include "relayd/sendmail_dsn.h"
#include "relayd/sendmail_link.h"
#include "relayd/sendmail_message.h"
#include "relayd/sendmail_report.h"

/* A message ready to go. */
struct sendmail_job {
	const char *sender; /* "" is the null sender */
	bool sender_utf8;
	const struct sendmail_recipients *to;
	const struct sendmail_message *message;
	const char *hostname; /* for EHLO */
	const struct sendmail_dsn *dsn;
};

/* Submit it: EX_OK when the final reply was positive, else the exit status. All
 * recipients must be taken, or nothing is sent. REACHED: a relay has refused it, or may
 * have taken it (nothing came after the final dot); else the job can go another way: it
 * said 421, or the connection broke before. SAID: its last reply. */
int sendmail_submit(const struct sendmail_config *config, const struct sendmail_job *job,
    bool *reached, struct buf *said, struct sendmail_report *report) ATTR_MUST_CHECK;

/* -bs: connect (with TLS and AUTH where they are configured) and pass bytes until
 * both sides have closed. */
int sendmail_proxy(const struct sendmail_config *config, const char *hostname,
    struct sendmail_report *report) ATTR_MUST_CHECK;

/* ---- between sendmail_session.c and its users ---- */

struct sendmail_session {
	const struct sendmail_config *config;
	struct sendmail_report *report;
	const char *hostname;
	struct sendmail_link link;
	struct reply reply; /* the last one */
	bool greeted;       /* EHLO was answered */
	bool refused;       /* it has refused something, and not with 421: it is on its way out */
	bool in_doubt;      /* the final dot was sent, and no reply came */
	bool pipelining;
	bool eightbit;
	bool smtputf8;
	bool size;
	bool dsn;
	struct buf auth;    /* the mechanisms offered */
	bool starttls;
};

/* Connect, and with GREET or for a remote relay: greet, TLS, AUTH. Not EX_OK: the
 * report has a line. sendmail_session_close is due in any case. */
int sendmail_session_open(struct sendmail_session *s, const struct sendmail_config *config,
    const char *hostname, bool greet, struct sendmail_report *report) ATTR_MUST_CHECK;

/* Send bytes. / Read a reply; 0, or -1 with the reason in the report (EX_TEMPFAIL). */
int sendmail_session_write(struct sendmail_session *s, struct span bytes) ATTR_MUST_CHECK;
int sendmail_session_reply(struct sendmail_session *s) ATTR_MUST_CHECK;
/* Both; then the reply is expected to have the hundreds digit WANTED ('2', '3'); else
 * it goes into the report with WHAT before it, as sendmail_session_refused does it. */
int sendmail_session_command(struct sendmail_session *s, struct span bytes, unsigned wanted,
    const char *what) ATTR_MUST_CHECK;
int sendmail_session_refused(struct sendmail_session *s, const char *what, bool recipient);

/* Say QUIT if it was greeted, and wait a moment for the reply. */
void sendmail_session_close(struct sendmail_session *s);

#endif
