/* SPDX-License-Identifier: MIT
 * TLS sessions of receivers, to be resumed by the next connection: half the work of
 * a handshake for both sides. Kept per key, which names host, address and level: what
 * a session was verified for is not verified again.
 */
#ifndef SMTP_TLS_SESSION_H
#define SMTP_TLS_SESSION_H

#include <openssl/ssl.h>
#include <stddef.h>

struct tls_sessions;

/* At most MAX, a few KB each; the oldest goes first. */
struct tls_sessions *tls_sessions_new(size_t max);
void tls_sessions_free(struct tls_sessions *sessions); /* connections may outlive it */
void tls_sessions_clear(struct tls_sessions *sessions);
size_t tls_sessions_count(const struct tls_sessions *sessions);

/* Sessions of CTX are handed to those who asked for them; once per context. */
void tls_sessions_enable(SSL_CTX *ctx);

/* Before the handshake of SSL, whose context is enabled: resume what waits under
 * KEY, and keep what the receiver gives for the next one. */
void tls_sessions_use(struct tls_sessions *sessions, SSL *ssl, const char *key);

#endif
