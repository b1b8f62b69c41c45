/* SPDX-License-Identifier: MIT
 * OpenSSL contexts. Everything is set here that a default could get wrong, so
 * that the machine's openssl.cnf decides nothing.
 */
#include "smtp/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

/* Both sides. Peers often close without a close_notify, which is no loss where
 * the protocol says by itself what was complete (a reply, the final dot). */
static SSL_CTX *make(const SSL_METHOD *method, int lowest, struct why *why)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(method);
	if (!ctx || SSL_CTX_set_min_proto_version(ctx, lowest) != 1) {
		why_set(why, WHY_LOCAL, "OpenSSL gives no TLS context");
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				     SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* RELEASE_BUFFERS: 18 KB instead of 50 KB for a connection that is idle */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

/* Fill WHY with what OpenSSL says about FILE, and what should be in it. */
static void explain(struct why *why, const char *what, const char *file, const char *expected)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);
	if (ERR_SYSTEM_ERROR(error))
		why_errno(why, WHY_LOCAL, ERR_GET_REASON(error), "%s %s", what, file);
	else
		why_set(why, WHY_LOCAL, "%s %s: %s; expected %s", what, file,
		    reason ? reason : "not readable", expected);
	ERR_clear_error();
}

/* A key with a passphrase: fail, where OpenSSL would ask on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int load(SSL_CTX *ctx, const char *certificate, const char *key, struct why *why)
{
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1) {
		explain(why, "TLS certificate", certificate,
		    "a PEM file with the certificate and its chain");
		return -1;
	}
	/* this one compares it with the certificate, too */
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1) {
		explain(why, "TLS key", key,
		    "a PEM file with the certificate's private key, without passphrase");
		return -1;
	}
	return 0;
}

SSL_CTX *tls_server_new(const char *certificate, const char *key, struct why *why)
{
	SSL_CTX *ctx = make(TLS_server_method(), TLS1_2_VERSION, why);
	if (!ctx)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* tickets resume sessions; a cache here would only grow */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (load(ctx, certificate, key, why) != 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* Opportunistic: the alternative is no TLS at all, so whatever the receiver can
 * do is better, TLS 1.0 and SHA-1 (which OpenSSL has at level 0 only) included.
 * Nothing is verified: who could make us use something weak could as well take
 * the STARTTLS out of the EHLO reply. */
static SSL_CTX *make_opportunistic(struct why *why)
{
	SSL_CTX *ctx = make(TLS_client_method(), TLS1_VERSION, why);
	if (!ctx)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	if (SSL_CTX_set_cipher_list(ctx, "DEFAULT@SECLEVEL=0") != 1) {
		why_set(why, WHY_LOCAL, "OpenSSL has no ciphers for security level 0");
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static SSL_CTX *make_verifying(struct why *why)
{
	SSL_CTX *ctx = make(TLS_client_method(), TLS1_2_VERSION, why);
	if (!ctx)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
		explain(why, "trusted certificates in", X509_get_default_cert_dir(),
		    "the package ca-certificates");
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

SSL_CTX *tls_client_new(int verify, struct why *why)
{
	return verify ? make_verifying(why) : make_opportunistic(why);
}

SSL_CTX *tls_dane_new(struct why *why)
{
	SSL_CTX *ctx = make(TLS_client_method(), TLS1_2_VERSION, why);
	if (!ctx)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* DANE-EE: neither name nor dates of the certificate count (RFC 7672 3.1.1) */
	if (SSL_CTX_dane_enable(ctx) != 1) {
		why_set(why, WHY_LOCAL, "OpenSSL gives no TLS context for DANE");
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_dane_set_flags(ctx, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	return ctx;
}
