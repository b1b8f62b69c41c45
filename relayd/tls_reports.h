/* SPDX-License-Identifier: MIT
 * TLS reports (RFC 8460): counts how TLS went, and tells each domain that asks for it
 * once a day, by mail or HTTPS. Between starts the counts are in a file of the
 * spool's folder, at most five minutes old.
 */
#ifndef RELAYD_TLS_REPORTS_H
#define RELAYD_TLS_REPORTS_H

#include "relayd/intake.h"
#include "relayd/tls_counts.h"
#include "smtp/dns.h"
#include "smtp/https.h"

struct tls_reports;

struct tls_reports_options {
	struct loop *loop;
	struct dns *dns;
	struct https *https;
	struct intake *intake;
	const char *file; /* what is kept; its folder exists */
};

/* A file that can not be read is said in the log, and as good as none. */
struct tls_reports *tls_reports_new(const struct tls_reports_options *options,
    struct settings *settings);
void tls_reports_free(struct tls_reports *reports); /* keeps the counts */
void tls_reports_set_settings(struct tls_reports *reports, struct settings *settings);

/* Count, unless reports are switched off. */
void tls_reports_note(struct tls_reports *reports, const struct tls_note *note);

/* tls_reports_print.c: one report. */
struct tls_report {
	const char *id;      /* without the host */
	const char *domain;
	const char *to;
	int64_t start_ms;    /* wall clock */
	int64_t end_ms;
	json_t *policies;    /* tls_counts_take */
};

/* As gzip'd JSON. */
void tls_report_pack(const struct tls_report *report, const struct conf *conf, struct buf *out);
/* As a mail to report->to around PACKED. */
void tls_report_print(const struct tls_report *report, const struct conf *conf,
    struct span packed, struct buf *out);

#endif
