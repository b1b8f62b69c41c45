/* SPDX-License-Identifier: MIT
 * Which MTA-STS policy binds mail for a domain now? DNS is asked whether there is
 * one, the domain's policy server what it says; memory and disk keep it. A policy
 * that was fetched once holds until its max_age is over, whatever DNS and the server
 * say or do not say meanwhile (RFC 8461 section 5.1): who can suppress them shall
 * gain nothing.
 */
#ifndef SMTP_STS_FIND_H
#define SMTP_STS_FIND_H

#include "smtp/dns.h"
#include "smtp/https.h"
#include "smtp/mx.h"
#include "smtp/sts.h"

struct sts;
struct sts_query;

struct sts_options {
	struct loop *loop;
	struct dns *dns;
	struct https *https;
	const char *folder; /* of the policies on disk; NULL: memory only */
};

/* Why a policy that is announced was not to be had; for TLS reports (RFC 8460). */
enum sts_failure { STS_FINE, STS_FETCH_ERROR, STS_POLICY_INVALID, STS_WEBPKI_INVALID };

struct sts_answer {
	struct sts_policy *policy; /* NULL: none binds; take a reference to keep it */
	enum sts_failure failure;  /* of the last try to fetch one */
};
typedef void sts_done(const struct sts_answer *answer, void *arg);

/* NULL: WHY says what is wrong with the folder. */
struct sts *sts_new(const struct sts_options *options, struct why *why);

/* How policy servers are reached: as in delivery, but for the port (443). */
void sts_set_network(struct sts *sts, const struct mx_options *network);

/* Ask for DOMAIN (lower case A-labels). It takes as long as DNS and the server take:
 * half a minute at most and about. DONE is never called inside; the handle ends
 * with it. */
struct sts_query *sts_find(struct sts *sts, const char *domain, sts_done *done, void *arg);
void sts_cancel(struct sts_query *query); /* NULL is fine */

#endif
