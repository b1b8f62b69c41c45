/* SPDX-License-Identifier: MIT
 * Whose name does a message carry? The decision about envelope sender and
 * From: header: which domain of ours sends it, and what must be replaced so
 * that SPF, DKIM and DMARC can hold and a bounce finds somebody who reads it.
 * Pure: reads configuration and addresses, changes nothing.
 *
 * From: decides first. Its first mailbox names the domain; every broken one is
 * replaced, and none may be foreign unless foreign_from passes it. Then the
 * envelope sender follows return_path.mode:
 *	repair      broken or foreign: the return_path of the From: domain if
 *	            that is ours, else that of default_domain
 *	always      replaced so in every case
 *	masquerade  local part kept, domain replaced by the same rule; a broken
 *	            From: keeps its local part too
 *	off         nothing is replaced; a broken From: counts as foreign
 * A mended From: gets the return_path only where that is in the same configured domain,
 * else postmaster of that, so that the signature's d= is From's own domain.
 * <> stays <>. A From: that is missing is made in every mode. Without any
 * configured domain nothing is replaced or refused (but two From: fields), and
 * everything is "not ours".
 */
#ifndef SMTP_RETURN_PATH_H
#define SMTP_RETURN_PATH_H

#include "conf/conf.h"
#include "relayd/base/buf.h"
#include "relayd/base/why.h"
#include "smtp/address.h"
#include "smtp/header.h"

struct return_path {
	const struct conf_domain *domain; /* of the From: header after repair; NULL: not ours */
	struct buf sender;                /* the envelope sender to use, "" for <> */
	const char *sender_reason;        /* NULL: unchanged; else "no-domain", "literal",
	                                     "localhost", "local-name" (web01, x.local),
	                                     "foreign", "always", "masquerade" */
	struct buf from;                  /* the new From: field value, unfolded; empty: unchanged */
	const char *from_reason;          /* NULL: unchanged; else "missing", "syntax" (a display
	                                     name that needed quotes), "no-domain", "literal",
	                                     "localhost", "local-name" */
};

/* DECIDE. SENDER is the envelope sender as given; HEADER the message's fields. AUTHOR is
 * what a broken or missing From: becomes, an address of ours; NULL: the usual one.
 * -1: the message is refused, WHY says so in words fit for a 550 5.7.1 reply
 * (From: a domain that is not ours, more than one From: field, unreadable From:
 * that can not be repaired). Free RESULT with return_path_free in both cases. */
int return_path_decide(const struct conf *conf, const struct address *sender,
    const struct header *header, const char *author, struct return_path *result,
    struct why *why) ATTR_MUST_CHECK;
void return_path_free(struct return_path *result);

/* For a message that is neither repaired nor refused: the configured domain of the first
 * address of its From:; NULL: it is in none. */
const struct conf_domain *return_path_domain(const struct conf *conf, const struct header *header);

#endif
