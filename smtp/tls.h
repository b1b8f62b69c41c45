/* SPDX-License-Identifier: MIT
 * OpenSSL contexts with the settings that mail wants.
 */
#ifndef SMTP_TLS_H
#define SMTP_TLS_H

#include <openssl/ssl.h>

#include "relayd/base/why.h"

/* Intake: TLS 1.2+, no renegotiation, buffers released when idle. CERTIFICATE is
 * a PEM file with the chain, KEY one without a passphrase. NULL: WHY names the
 * file and the reason. Free with SSL_CTX_free; sessions hold their own reference. */
SSL_CTX *tls_server_new(const char *certificate, const char *key, struct why *why);

/* Delivery: VERIFY loads the system's CAs and fails the handshake when the chain
 * does not hold (the name is set per connection, SSL_set1_host); else
 * opportunistic: nothing is checked, and old receivers are taken too. */
SSL_CTX *tls_client_new(int verify, struct why *why);

/* Delivery by DANE (smtp/dane.h): no authorities, TLS 1.2+; the records of a host
 * are set per connection. */
SSL_CTX *tls_dane_new(struct why *why);

#endif
