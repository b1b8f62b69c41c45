/* SPDX-License-Identifier: MIT
 * The TLS side of listeners: certificates to show, certificates of clients.
 */
#ifndef SMTP_TLS_SERVER_H
#define SMTP_TLS_SERVER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/why.h"

/* TLS 1.2+, no renegotiation, buffers released when idle. It has no certificate yet.
 * NULL: WHY. Free with SSL_CTX_free; sessions hold their own reference. */
SSL_CTX *tls_server_new(struct why *why);

/* What is wrong with a certificate and its key: each names its file and the reason, or has
 * no text. */
struct tls_faults {
	struct why certificate;
	struct why key;
};

/* CERTIFICATE is a PEM file with the chain, KEY one without a passphrase. The first is
 * for whoever asks for no name, or one that nobody has. One more for a name that is
 * there already, and with a key of another kind: the client's abilities choose between
 * them; else the name that the client asks for does. Not while sessions use the context.
 * -1: FAULTS, of both files; it is as before. */
int tls_server_add(SSL_CTX *ctx, const char *certificate, const char *key,
    struct tls_faults *faults) ATTR_MUST_CHECK;

/* Ask clients for a certificate (they need not have one). AUTHORITIES is a PEM file
 * with those who may have signed it, "" for fingerprints only. After all
 * tls_server_add. -1: WHY. */
int tls_server_ask_clients(SSL_CTX *ctx, const char *authorities, struct why *why)
    ATTR_MUST_CHECK;

/* New keys for session tickets: those given out so far resume nothing any more.
 * OpenSSL keeps one for the life of a context, and whoever gets hold of it can read
 * all that TLS 1.2 clients have said and resumed with it, so: once a day. */
void tls_server_renew_tickets(SSL_CTX *ctx);

/* Each certificate: the first name that it is for, and its end (seconds of the wall
 * clock). */
void tls_server_each(SSL_CTX *ctx, void (*fn)(void *arg, const char *name, int64_t until_s),
    void *arg);

/* Has the client shown the certificate WANTED? "sha256:HEX" is its fingerprint (as
 * openssl x509 -fingerprint prints it, colons or not, whoever signed it); all else a
 * host name, mail address or common name in it, and then the authorities' signature
 * has to be right. */
bool tls_client_is(SSL *ssl, const char *wanted);

#endif
