/* SPDX-License-Identifier: MIT
 * DNS look-ups in the loop, by libunbound: parsed answers with TTL and whether
 * they were validated. A fake of the same interface stands in for it in tests.
 * Names are asked in A-label form. Every look-up ends: after the timeout with
 * DNS_TEMP; that begins when its turn has come, where there are very many.
 */
#ifndef SMTP_DNS_H
#define SMTP_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "relayd/base/conn.h"
#include "relayd/base/loop.h"

struct dns;
struct dns_query;

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };

enum dns_status {
	DNS_OK,       /* one record or more */
	DNS_NO_DATA,  /* the name exists, the type does not */
	DNS_NO_NAME,  /* NXDOMAIN */
	DNS_TEMP,     /* SERVFAIL, timeout, no server */
	DNS_BOGUS,    /* DNSSEC validation failed: never use, try later */
	DNS_BAD_NAME, /* not a name that can be asked */
};

struct dns_record {
	uint16_t preference;     /* MX */
	struct conn_address address; /* A, AAAA (port 0) */
	const unsigned char *data; /* TXT: strings joined; TLSA: the four fields */
	size_t len;
	char name[256];          /* MX, PTR, CNAME: lower case, no trailing dot; "" for the root */
};

#define DNS_RECORDS_MAX 100 /* more are dropped; of MX records the worst ones */

struct dns_answer {
	enum dns_status status;
	bool secure;   /* validated */
	const char *canonical; /* where a CNAME led, lower case, no trailing dot; NULL: none */
	uint32_t ttl;
	const char *text; /* for a failure: what to tell people, "example.jp MX: SERVFAIL" */
	const struct dns_record *records;
	size_t count;
};

/* ANSWER is valid during the call. Never called inside dns_ask. */
typedef void dns_done(const struct dns_answer *answer, void *arg);

/* NULL: WHY says what is wrong (a server that is no address, no descriptors).
 * CONF is copied. Starts a thread, so call it when no fork follows. Questions
 * wait up to 5 s at first, while it is tried out whether the servers pass DNSSEC
 * on; the outcome is logged when it changes. A changed resolv.conf is noticed. */
struct dns *dns_new(struct loop *loop, const struct conf_dns *conf, struct why *why);

/* Cancels what is asked: those questions are not answered any more. May be
 * called within an answer. The memory goes at the end of the turn. */
void dns_free(struct dns *dns);

/* Ask. The handle is good until the answer comes or dns_cancel. */
struct dns_query *dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done *done,
    void *arg);
void dns_cancel(struct dns_query *query); /* no answer comes any more; NULL is fine */

/* Are answers validated (an anchor is loaded and the servers pass DNSSEC on)? */
bool dns_is_validating(const struct dns *dns);

#endif
