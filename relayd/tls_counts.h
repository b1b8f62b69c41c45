/* SPDX-License-Identifier: MIT
 * How TLS went, per recipient domain and policy, for one period: what a TLS report
 * (RFC 8460) says. Bounded; can be kept as JSON over a restart.
 */
#ifndef RELAYD_TLS_COUNTS_H
#define RELAYD_TLS_COUNTS_H

#include <jansson.h>
#include <stdint.h>

#define TLS_COUNTS_MAX 5000   /* entries: domains, each with its policies */
#define TLS_POLICIES_MAX 10   /* of one domain and type that are told apart */
#define TLS_FAILURES_MAX 50   /* kinds of failure of one entry that are told apart */

/* One session that was begun, or not begun for its policy's sake. */
struct tls_note {
	const char *domain;       /* of the recipients, A-labels */
	const char *type;         /* "tlsa", "sts", "no-policy-found" */
	const char *policy;       /* its text, a line each; "" with no policy */
	const char *failure;      /* RFC 8460 section 4.3, "starttls-not-supported"; NULL: it
	                             worked */
	const char *sending_ip;   /* of the failure; "" where it is not known */
	const char *mx;
	const char *receiving_ip;
	const char *detail;       /* a sentence; "" */
};

struct tls_counts;

/* PERIOD: its number, of those of that length since 1970. */
struct tls_counts *tls_counts_new(int64_t period, int64_t length_ms);
void tls_counts_free(struct tls_counts *counts); /* NULL is fine */
int64_t tls_counts_period(const struct tls_counts *counts);
int64_t tls_counts_length_ms(const struct tls_counts *counts);
size_t tls_counts_size(const struct tls_counts *counts); /* entries */

void tls_counts_note(struct tls_counts *counts, const struct tls_note *note);

/* Any one domain that is in there; NULL: it is empty. */
const char *tls_counts_first(const struct tls_counts *counts);

/* The "policies" of a report on DOMAIN, whose entries go. */
json_t *tls_counts_take(struct tls_counts *counts, const char *domain);

/* To be kept, and back. NULL: it is not what was kept. */
json_t *tls_counts_json(const struct tls_counts *counts);
struct tls_counts *tls_counts_read(json_t *json);

#endif
