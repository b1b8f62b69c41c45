/* SPDX-License-Identifier: MIT
 * Delivery status notifications (RFC 3461 to 3464, 6522, 3834): the report of
 * a failure, the notice of a delay, and the news that a message was handed to a host
 * that reports no success, as a complete message. Words first that a person
 * understands, then the machine's part, then the original header or message.
 * Pure: texts in, a message out.
 */
#ifndef QUEUE_BOUNCE_H
#define QUEUE_BOUNCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"

#define BOUNCE_CONTENT_MAX (256 * 1024) /* of a message that goes back as a whole */

enum bounce_kind { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_RELAYED };

struct bounce_recipient {
	const char *address;
	const char *original; /* "rfc822; first@example.net" (ORCPT); "" or NULL: not said */
	const char *status;   /* enhanced code "5.1.1" */
	const char *mx;       /* the host that was asked, "" none */
	const char *stage;    /* of the dialogue: "rcpt"; "" or NULL: none */
	bool answered;        /* MX has said REPLY; else it is what was found here */
	unsigned code;        /* of the reply, 0: none, or REPLY begins with it */
	const char *reply;    /* what was said or found, raw bytes; "" nothing */
	const char *reason;   /* in words: what it means and what to do */
	int64_t last_attempt_ms; /* 0: there was none, or it is not known */
};

struct bounce {
	enum bounce_kind kind;
	const char *hostname; /* ours */
	const char *from;     /* "MAILER-DAEMON@example.jp": a domain of ours */
	const char *to;       /* the envelope sender of the message */
	const char *id;       /* queue id of the report itself, for its Message-ID */
	const char *original_id; /* queue id of the message */
	int64_t now_ms, arrived_ms, expires_ms;
	const struct bounce_recipient *recipients;
	size_t recipient_count;
	const char *envid;    /* the sender's number of the message; "" or NULL: none */
	struct span header;   /* of the message, without the empty line; cut at 64 KiB */
	struct span content;  /* the whole message, which goes back instead, if
	                         bounce_can_hold says so; empty: only the header */
	bool too_much;        /* all of it was asked for, but can not go back */
	bool smtputf8;        /* addresses hold UTF-8: message/global-delivery-status */
};

/* Whether a whole message may go back in a report, which must get through to anywhere:
 * 7-bit, lines of 998 bytes at most, the last one ended, BOUNCE_CONTENT_MAX. */
bool bounce_can_hold(struct span content);

/* Append the whole message (header, empty line, body; CRLF; lines under 998;
 * 7-bit, or UTF-8 with smtputf8) to OUT. Text of others is escaped, the original
 * header in quoted-printable where it has to be, and cannot end a MIME part or a line. */
void bounce_print(const struct bounce *bounce, struct buf *out);

#endif
