/* SPDX-License-Identifier: MIT
 * The envelope of a queued message and its form on disk: length-prefixed
 * fields, never lines of text, so nothing that a peer wrote can become another
 * field. Read back with the same suspicion as the wire.
 */
#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

#define ENVELOPE_RECIPIENTS_MAX 100000
#define ENVELOPE_TEXT_MAX 4096 /* bytes of any one text */

/* When the sender wants a report on a recipient (RFC 3461 section 4.1); 0: not said.
 * NEVER stands alone. */
#define ENVELOPE_NOTIFY_SUCCESS 1u
#define ENVELOPE_NOTIFY_FAILURE 2u
#define ENVELOPE_NOTIFY_DELAY 4u
#define ENVELOPE_NOTIFY_NEVER 8u

/* How much of the message a report brings back (section 4.3). */
enum envelope_ret { ENVELOPE_RET_NONE, ENVELOPE_RET_FULL, ENVELOPE_RET_HDRS };

/* What the sender asked for one recipient. */
struct envelope_dsn {
	unsigned notify; /* bits */
	char *orcpt;     /* "type;xtext": graphic ASCII; "" or NULL: not said */
};

struct envelope {
	int64_t arrived_ms; /* steady clock (base/clock.h) */
	char *sender;       /* as it will be sent, "" for <> */
	char *sender_was;   /* as it came, when it was replaced; else "" */
	char *sender_reason; /* "" or why it was replaced */
	char *from_was;     /* the From: field (unfolded, cut), when it was repaired; else "" */
	char *domain;       /* of ours that sends it (DKIM d=); "" none */
	char *client;       /* where from: address text, "unix:1000", "drop", "bounce" */
	char *user;         /* login, "" none */
	char *message_id;   /* its Message-ID, likewise; "" none */
	char *entry;        /* name of the entry of clients that it came under, "" none */
	char *script;       /* PHP's "uid:file" that sent it, "" none */
	enum conf_priority priority;
	bool eightbit;
	bool smtputf8;
	bool require_tls;   /* only by verified TLS (RFC 8689) */
	bool tls_optional;  /* "TLS-Required: No": arriving counts more than TLS */
	bool report;        /* a bounce or notice of ours */
	char **recipients;  /* wire form without <> */
	size_t recipient_count;
	enum envelope_ret ret;
	char *envid;              /* xtext: graphic ASCII; "" or NULL: not said */
	struct envelope_dsn *dsn; /* one for each recipient; NULL: nothing was said of any */
};

/* Can it be stored: counts, lengths, no control bytes in addresses? */
int envelope_check(const struct envelope *e, struct why *why) ATTR_MUST_CHECK;

/* Take out recipients that stand there already, with the same wish for reports. */
void envelope_unique(struct envelope *e);

/* One more recipient; ADDRESS is taken over. */
void envelope_add_recipient(struct envelope *e, char *address);

/* The bits that were asked for recipient I; 0: none. */
unsigned envelope_notify(const struct envelope *e, size_t i);

/* Append the stored form. Where nothing is asked of reports it is that of version 1,
 * which older programs read as well. Texts for people are cut to the limit and their
 * control bytes become '?'; addresses must have passed envelope_check. NULL is
 * stored as "". */
void envelope_write(const struct envelope *e, struct buf *out);

/* Read a stored form (the whole span). -1: damaged or not valid (control bytes,
 * limits); E is empty then. */
int envelope_read(struct envelope *e, struct span s, struct why *why) ATTR_MUST_CHECK;

/* That of a message of our own to one recipient. */
struct envelope envelope_make(const char *sender, const char *client, const char *recipient);
void envelope_free(struct envelope *e); /* what it holds, not E itself */

#endif
