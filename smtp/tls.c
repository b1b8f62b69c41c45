/* SPDX-License-Identifier: MIT
 * OpenSSL contexts. Versions and options are set here, so that the machine's
 * openssl.cnf can not loosen them; its cipher suites and its security level hold
 * where a certificate is verified, and for the server.
 */
#include "smtp/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdbool.h>

#include "smtp/tls_session.h"

/* An algorithm of each kind that TLS needs. With the first one of a kind OpenSSL makes all
 * of them, once; what it could not make then is not there. */
static bool make_algorithms(void)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	EVP_MD *digest = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_KDF *derivation = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KEYMGMT *keys = EVP_KEYMGMT_fetch(NULL, "RSA", NULL);
	EVP_KEYEXCH *exchange = EVP_KEYEXCH_fetch(NULL, "X25519", NULL);
	EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(NULL, "RSA", NULL);
	/* and a generator that has no memory when it begins stays in that error */
	unsigned char byte;
	bool all = cipher && digest && mac && derivation && keys && exchange && signature &&
		   RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1;
	EVP_CIPHER_free(cipher);
	EVP_MD_free(digest);
	EVP_MAC_free(mac);
	EVP_KDF_free(derivation);
	EVP_KEYMGMT_free(keys);
	EVP_KEYEXCH_free(exchange);
	EVP_SIGNATURE_free(signature);
	return all;
}

int tls_begin(struct why *why)
{
	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
	int ready = OPENSSL_init_ssl(0, NULL) && SSL_get_ex_data_X509_STORE_CTX_idx() >= 0 &&
		    make_algorithms();
	ERR_clear_error();
	return ready ? 0 : why_set(why, WHY_LOCAL, "OpenSSL can not be used");
}

/* Peers often close without a close_notify, which is no loss where the
 * protocol says by itself what was complete (a reply, the final dot). */
SSL_CTX *tls_context(const SSL_METHOD *method, int lowest, struct why *why)
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

void tls_explain(struct why *why, const char *what, const char *file, const char *expected)
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

/* Opportunistic: the alternative is no TLS at all, so whatever the receiver can
 * do is better, TLS 1.0 and SHA-1 (which OpenSSL has at level 0 only) included.
 * Nothing is verified: who could make us use something weak could as well take
 * the STARTTLS out of the EHLO reply. */
static SSL_CTX *make_opportunistic(struct why *why)
{
	SSL_CTX *ctx = tls_context(TLS_client_method(), TLS1_VERSION, why);
	if (!ctx)
		return NULL;
	tls_sessions_enable(ctx);
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
	SSL_CTX *ctx = tls_context(TLS_client_method(), TLS1_2_VERSION, why);
	if (!ctx)
		return NULL;
	tls_sessions_enable(ctx);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
		tls_explain(why, "trusted certificates in", X509_get_default_cert_dir(),
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
	SSL_CTX *ctx = tls_context(TLS_client_method(), TLS1_2_VERSION, why);
	if (!ctx)
		return NULL;
	tls_sessions_enable(ctx);
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
