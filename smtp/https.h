/* SPDX-License-Identifier: MIT
 * HTTPS requests in the loop, by libcurl: for MTA-STS policies and TLS reports. The
 * certificate must be good, redirects are not followed, no proxy is asked, nothing
 * is kept from one request to the next. Names are not looked up here: the caller
 * gives the addresses, so that only those are connected to that it has approved.
 */
#ifndef SMTP_HTTPS_H
#define SMTP_HTTPS_H

#include "relayd/base/conn.h"
#include "relayd/base/loop.h"
#include "relayd/base/text.h"

struct https;
struct https_request;

struct https_options {
	const char *host; /* of the URL, and of the certificate */
	uint16_t port;
	const char *path; /* "/..." */
	const struct conn_address *addresses; /* one or more; 8 are used */
	size_t address_count;
	int64_t timeout_ms; /* for all of it */
	size_t body_max;    /* bytes of an answer; more is a failure */
	struct span post;   /* n 0: GET; else what to send; copied */
	const char *content_type; /* of that */
};

enum https_status {
	HTTPS_OK,          /* status code 2xx */
	HTTPS_REFUSED,     /* another one */
	HTTPS_FAILED,      /* no connection, no answer in time, too long an answer */
	HTTPS_CERTIFICATE, /* its certificate is not good */
};

struct https_answer {
	enum https_status status;
	long code;          /* 0: none came */
	struct span body;   /* valid during the call, like all of it */
	const char *content_type; /* "" when it has none */
	const char *text;   /* for a failure: a sentence for people */
};
typedef void https_done(const struct https_answer *answer, void *arg);

/* Load libcurl, which takes three megabytes: only where it may be wanted, and before the
 * filter of system calls, which lets no code in. -1: WHY, and no request will do better. */
int https_load(struct why *why) ATTR_MUST_CHECK;

/* Authorities: those of the system, or of the file that SSL_CERT_FILE names, as
 * everywhere with OpenSSL. */
struct https *https_new(struct loop *loop);

/* Begin. DONE is never called inside; the handle ends with it. */
struct https_request *https_start(struct https *https, const struct https_options *options,
    https_done *done, void *arg);
void https_cancel(struct https_request *request);

#endif
