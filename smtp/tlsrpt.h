/* SPDX-License-Identifier: MIT
 * The TXT record at _smtp._tls.DOMAIN by which a domain asks for TLS reports (RFC 8460
 * section 3). Pure.
 */
#ifndef SMTP_TLSRPT_H
#define SMTP_TLSRPT_H

#include "relayd/base/text.h"
#include "smtp/dns.h"

#define TLSRPT_RUA_MAX 4 /* more are not written to */

struct tlsrpt_rua {
	bool is_mail;
	char *mail;    /* is_mail: an address of ASCII */
	char *host;    /* else: of the https URL, lower case */
	uint16_t port; /* 443 */
	char *path;    /* "/..." */
};

struct tlsrpt_record {
	struct tlsrpt_rua rua[TLSRPT_RUA_MAX];
	size_t count;
};

/* Read the one record of ANSWER. False: none, two, malformed, or it names no place
 * that can be written to; RECORD is empty then. Free with tlsrpt_record_free. */
bool tlsrpt_record_read(struct tlsrpt_record *record, const struct dns_answer *answer)
    ATTR_MUST_CHECK;
void tlsrpt_record_free(struct tlsrpt_record *record);

#endif
