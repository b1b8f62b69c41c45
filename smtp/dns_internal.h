/* SPDX-License-Identifier: MIT
 * Within dns*.c only: a resolver context of libunbound, and answers made of
 * its results.
 */
#ifndef SMTP_DNS_INTERNAL_H
#define SMTP_DNS_INTERNAL_H

#include <unbound.h>

#include "relayd/base/why.h"
#include "smtp/dns.h"

/* One context. A new one replaces it when resolv.conf or the servers' way with
 * DNSSEC has changed; questions under way in it end there. */
struct dns_context {
	struct ub_ctx *ub;
	struct loop *loop;
	struct event *readable;
	size_t asked;    /* questions under way */
	bool has_anchor; /* answers are validated */
	bool started;    /* its thread runs */
	bool retired;    /* goes with the last question */
};

/* Who is asked, and how long a question may take. */
struct dns_servers {
	char *const *names; /* as in conf_dns; none: those of resolv.conf */
	size_t count;
	int64_t patience_ms;
};

/* ANCHOR: the file with the trust anchor, NULL for none. NULL: WHY says what is wrong. */
struct dns_context *dns_context_new(struct loop *loop, const struct dns_servers *servers,
    const char *anchor, struct why *why);

/* Take no more questions; the context goes when the last one under way has
 * ended, never within a callback of its own. NULL is fine. */
void dns_context_retire(struct dns_context *context);

/* Ask. 0, or an error of libunbound. ID is for dns_context_cancel. */
int dns_context_ask(struct dns_context *context, const char *name, enum dns_type type,
    ub_callback_type done, void *arg, int *id);
void dns_context_cancel(struct dns_context *context, int id);
void dns_context_ended(struct dns_context *context); /* each answer is reported so */

/* An answer with the memory behind it. */
struct dns_reading {
	struct dns_answer answer;
	struct dns_record *records;
	struct buf bytes; /* of TXT and TLSA */
	struct buf text;
	struct buf canonical;
};

/* Can NAME be asked? Labels of 1 to 63 printable bytes, 253 in all. */
bool dns_name_is_valid(const char *name);

/* Read RESULT (may be NULL) of asking NAME; ERROR is libunbound's. Records that
 * are malformed are left out. */
void dns_read(struct dns_reading *reading, const char *name, enum dns_type type, int error,
    const struct ub_result *result);
/* A failure of our own. */
void dns_read_failure(struct dns_reading *reading, const char *name, enum dns_type type,
    enum dns_status status, const char *text);
void dns_reading_free(struct dns_reading *reading);

#endif
