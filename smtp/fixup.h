/* SPDX-License-Identifier: MIT
 * Submission fix-up (RFC 6409 section 8): the header section that leaves, from
 * the one that came. Adds Received, Date, Message-ID, a repaired From:;
 * removes Return-Path, Bcc, Resent-Bcc, X-Relayd-Priority, and an empty Date or
 * Message-ID.
 * Everything else keeps its bytes and order.
 */
#ifndef SMTP_FIXUP_H
#define SMTP_FIXUP_H

#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "smtp/header.h"

struct fixup {
	const char *hostname;   /* ours, for Received and Message-ID */
	const char *id;         /* queue id */
	const char *domain;     /* right side of a Message-ID: our domain; NULL: hostname */
	struct span helo;       /* what the client called itself */
	const char *client;     /* its address as text; NULL: hide helo and address */
	const char *protocol;   /* ESMTP, ESMTPS, ESMTPSA, UTF8SMTP, ... (RFC 3848, 6531) */
	const char *recipient;  /* "for <...>" when there is exactly one; NULL: leave out */
	struct span from;       /* new value of From:, empty: keep */
	int64_t wall_ms;        /* now, for Received */
	int64_t complete_ms;    /* when the message was complete: the Date of one without
	                           (RFC 5322 3.6.1) */
};

/* Append the new section to OUT, without the empty line. Lines of ours are
 * folded at 78 and never over 998. HELO, recipient and from may hold anything;
 * the other texts are the caller's own. With a new From: value exactly one
 * From: field goes out. */
void fixup_header(const struct fixup *f, const struct header *header, struct buf *out);

#endif
