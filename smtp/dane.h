/* SPDX-License-Identifier: MIT
 * DANE for SMTP (RFC 7672): which TLSA records bind a mail host. Only what was
 * validated counts; a look-up that fails is no "none", since whoever can make it
 * fail could then read along.
 */
#ifndef SMTP_DANE_H
#define SMTP_DANE_H

#include "smtp/dns.h"
#include "smtp/mx.h"

/* One TLSA record that can be used: DANE-TA (2) or DANE-EE (3). */
struct dane_record {
	unsigned char usage;
	unsigned char selector; /* 0 the certificate, 1 its public key */
	unsigned char matching; /* 0 as it is, 1 SHA-256, 2 SHA-512 */
	const unsigned char *data;
	size_t len;
};

/* The records of one host, at most DNS_RECORDS_MAX. Free with dane_set_free. */
struct dane_set {
	char base[256];     /* the name they stand under: SNI, and what DANE-TA looks for */
	struct dane_record *records;
	size_t count;
	char digest[33];    /* of all of them: tells whether two sets are the same */
	unsigned char *bytes;
};

enum dane_status {
	DANE_NONE,     /* the host publishes none: nothing is demanded */
	DANE_USABLE,   /* one of the set must fit */
	DANE_UNUSABLE, /* there are some, none of a kind we know: encrypt, whoever it is */
	DANE_TEMP,     /* can not be known now: the host must not be used */
};

struct dane_answer {
	enum dane_status status;
	struct dane_set *set; /* DANE_USABLE: the receiver of the answer may take its
	                         contents (and zero it) */
	const char *text;     /* DANE_TEMP: what has failed, for people */
};

/* Read one record's data (four fields, RFC 6698 section 2.1). False: malformed, or
 * of no use here: usages 0 and 1 (RFC 7672 section 3.1.3), an unknown selector or
 * matching type, a digest of another length, bytes that are neither certificate
 * nor key. RECORD points into DATA. */
bool dane_record_read(struct dane_record *record, const unsigned char *data, size_t len)
    ATTR_MUST_CHECK;

/* Read what stands under BASE: all records that can be used, copied. */
void dane_set_read(struct dane_set *set, const char *base, const struct dns_answer *answer);
void dane_set_free(struct dane_set *set);

/* Can HOST have TLSA records that count? False: dane_find need not be asked. */
bool dane_may_apply(const struct mx_host *host);

struct dane_query;
typedef void dane_done(const struct dane_answer *answer, void *arg);

/* Ask for the records of HOST (copied) at PORT, first under the name to which its
 * secure CNAMEs lead, then under its own (RFC 7672 section 2.2.2). Only for a host
 * that dane_may_apply to. DONE is never called inside; the handle ends with it. */
struct dane_query *dane_find(struct dns *dns, const struct mx_host *host, uint16_t port,
    dane_done *done, void *arg);
void dane_cancel(struct dane_query *query); /* NULL is fine */

#endif
