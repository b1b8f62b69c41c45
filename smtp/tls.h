/* SPDX-License-Identifier: MIT
 * OpenSSL contexts with the settings that mail wants.
 */
#ifndef SMTP_TLS_H
#define SMTP_TLS_H

#include <openssl/ssl.h>

#include "relayd/base/attr.h"
#include "relayd/base/why.h"

/* Load the modules that the machine's openssl.cnf names (FIPS, hardware), while code can
 * still be loaded: the contexts are made later, behind the filter of system calls. And
 * whatever OpenSSL does once in a process is done: had it failed later, for want of
 * memory, no context could be made until a restart. -1: WHY; no start should go on. */
ATTR_MUST_CHECK
int tls_begin(struct why *why);

/* Delivery: VERIFY loads the system's CAs and fails the handshake when the chain
 * does not hold (the name is set per connection, SSL_set1_host); else
 * opportunistic: nothing is checked, and old receivers are taken too. */
SSL_CTX *tls_client_new(int verify, struct why *why);

/* Delivery by DANE (smtp/dane.h): no authorities, TLS 1.2+; the records of a host
 * are set per connection. */
SSL_CTX *tls_dane_new(struct why *why);

/* What both sides have in common, LOWEST (TLS1_2_VERSION, ...) apart. NULL: WHY. */
SSL_CTX *tls_context(const SSL_METHOD *method, int lowest, struct why *why);

/* Fill WHY with what OpenSSL says about FILE (a WHAT), and what should be in it. */
void tls_explain(struct why *why, const char *what, const char *file, const char *expected);

#endif
