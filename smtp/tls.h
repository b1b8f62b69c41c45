/* SPDX-License-Identifier: MIT
 * OpenSSL contexts with the settings that mail wants.
 */
#ifndef SMTP_TLS_H
#define SMTP_TLS_H

#include <openssl/ssl.h>

#include "relayd/base/why.h"

/* Intake: TLS 1.2+, no renegotiation, buffers released when idle. NULL: WHY. */
SSL_CTX *tls_server_new(const char *certificate, const char *key, struct why *why);

/* Delivery: VERIFY loads the system's CAs and checks chain (the name is set per
 * connection); else opportunistic, which takes old receivers too. */
SSL_CTX *tls_client_new(int verify, struct why *why);

#endif
