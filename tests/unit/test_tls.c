/* SPDX-License-Identifier: MIT
 * TLS contexts: what they offer, and how a bad file is explained.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smtp/tls.h"
#include "smtp/tls_server.h"

static char folder[] = "/tmp/test_tls.XXXXXX";

static const char *path_of(const char *name)
{
	static char paths[2][100];
	static int next;
	char *path = paths[next = !next];
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static FILE *make_file(const char *name)
{
	FILE *file = fopen(path_of(name), "w");
	assert_non_null(file);
	return file;
}

static void make_pair(const char *certificate, const char *key, const char *passphrase)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, pkey);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"relay.example", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
	FILE *file = make_file(certificate);
	PEM_write_X509(file, x);
	fclose(file);
	file = make_file(key);
	PEM_write_PrivateKey(file, pkey, passphrase ? EVP_aes_128_cbc() : NULL,
	    (const unsigned char *)passphrase, passphrase ? (int)strlen(passphrase) : 0, NULL, NULL);
	fclose(file);
	X509_free(x);
	EVP_PKEY_free(pkey);
}

static int make_files(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	make_pair("cert.pem", "key.pem", NULL);
	make_pair("other.pem", "other.key", NULL);
	make_pair("locked.pem", "locked.key", "secret");
	fclose(make_file("empty.pem"));
	FILE *file = make_file("garbage.pem");
	fputs("-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n", file);
	fclose(file);
	return 0;
}

static int remove_files(void **state)
{
	static const char *const names[] = {"cert.pem", "key.pem", "other.pem", "other.key",
	    "locked.pem", "locked.key", "empty.pem", "garbage.pem"};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	return rmdir(folder);
}

static SSL_CTX *server_with(const char *certificate, const char *key, struct tls_faults *faults)
{
	struct why why = {0};
	SSL_CTX *ctx = tls_server_new(&why);
	assert_non_null(ctx);
	if (tls_server_add(ctx, path_of(certificate), path_of(key), faults) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *good_server(void)
{
	struct tls_faults faults = {0};
	SSL_CTX *ctx = server_with("cert.pem", "key.pem", &faults);
	assert_non_null(ctx);
	return ctx;
}

static void test_server(void **state)
{
	(void)state;
	SSL_CTX *ctx = good_server();
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
	uint64_t wanted = SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
			  SSL_OP_CIPHER_SERVER_PREFERENCE;
	assert_true((SSL_CTX_get_options(ctx) & wanted) == wanted);
	long mode = SSL_CTX_get_mode(ctx);
	assert_true(mode & SSL_MODE_RELEASE_BUFFERS);
	assert_true(mode & SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	assert_true(mode & SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_free(ctx);
}

/* Each mistake names the file, and the reason in words; one in both files is two. */
static void test_server_bad(void **state)
{
	(void)state;
	static const struct {
		const char *certificate;
		const char *key;
		const char *named;
		const char *reason;
	} rows[] = {
	    {"none.pem", "key.pem", "TLS certificate ", "No such file"},
	    {"cert.pem", "none.pem", "TLS key ", "No such file"},
	    {"empty.pem", "key.pem", "/empty.pem: ", "no start line"},
	    {"garbage.pem", "key.pem", "/garbage.pem: ", ""},
	    {"key.pem", "key.pem", "TLS certificate ", "no start line"},
	    {"cert.pem", "cert.pem", "TLS key ", "private key"},
	    {"cert.pem", "other.key", "/other.key: ", "mismatch"},
	    {"locked.pem", "locked.key", "/locked.key: ", "without passphrase"},
	    {".", "key.pem", "TLS certificate ", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_faults faults = {0};
		assert_null(server_with(rows[i].certificate, rows[i].key, &faults));
		bool key = faults.certificate.text[0] == '\0';
		const struct why *why = key ? &faults.key : &faults.certificate;
		assert_int_equal(why->kind, WHY_LOCAL);
		assert_non_null(strstr(why->text, rows[i].named));
		assert_non_null(strstr(why->text, rows[i].reason));
		assert_true(strlen(strrchr(why->text, ':')) > 3);
		assert_true(key || faults.key.text[0] == '\0');
	}
	struct tls_faults faults = {0};
	assert_null(server_with("garbage.pem", "empty.pem", &faults));
	assert_non_null(strstr(faults.certificate.text, "/garbage.pem: "));
	assert_non_null(strstr(faults.key.text, "/empty.pem: "));
}

static void test_client(void **state)
{
	(void)state;
	struct why why = {0};
	SSL_CTX *ctx = tls_client_new(1, &why);
	assert_non_null(ctx);
	assert_int_equal(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_PEER);
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
	SSL_CTX_free(ctx);
	ctx = tls_client_new(0, &why);
	assert_non_null(ctx);
	assert_int_equal(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_NONE);
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_VERSION);
	assert_int_equal(SSL_CTX_get_security_level(ctx), 0);
	SSL_CTX_free(ctx);
}

/* Move the handshake on between two ends in memory. Result: the client's. */
static bool shake(SSL *client, SSL *server)
{
	BIO *a;
	BIO *b;
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (int i = 0; i < 20; i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	return SSL_is_init_finished(client) && SSL_is_init_finished(server);
}

/* A self-signed certificate is taken opportunistically, TLS 1.0 too; a client
 * that verifies takes neither. */
static void test_handshakes(void **state)
{
	(void)state;
	static const struct {
		int verify;
		int version;
		bool works;
	} rows[] = {
	    {0, TLS1_3_VERSION, true}, {0, TLS1_2_VERSION, true}, {0, TLS1_VERSION, true},
	    {1, TLS1_3_VERSION, false}, {1, TLS1_VERSION, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct why why = {0};
		SSL_CTX *from = tls_client_new(rows[i].verify, &why);
		SSL_CTX *to = good_server();
		/* an old receiver, which ours is not */
		SSL_CTX_set_security_level(to, 0);
		SSL_CTX_set_min_proto_version(to, rows[i].version);
		SSL_CTX_set_max_proto_version(to, rows[i].version);
		SSL *client = SSL_new(from);
		SSL *server = SSL_new(to);
		assert_int_equal(shake(client, server), rows[i].works);
		SSL_free(client);
		SSL_free(server);
		SSL_CTX_free(from);
		SSL_CTX_free(to);
	}
}

/* A client comes once more with what it has of the server. Result: was it resumed? */
static bool comes_again(SSL_CTX *from, SSL_CTX *to, SSL_SESSION **session)
{
	char byte;
	SSL *client = SSL_new(from);
	SSL *server = SSL_new(to);
	if (*session)
		assert_int_equal(SSL_set_session(client, *session), 1);
	assert_true(shake(client, server));
	SSL_read(client, &byte, 1); /* TLS 1.3 has its tickets behind the handshake */
	bool resumed = SSL_session_reused(client);
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(client);
	SSL_shutdown(client); /* else it may not be used again */
	SSL_free(client);
	SSL_free(server);
	return resumed;
}

static void test_tickets(void **state)
{
	(void)state;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct why why = {0};
		SSL_SESSION *session = NULL;
		SSL_CTX *from = tls_client_new(0, &why);
		SSL_CTX *to = good_server();
		SSL_CTX_set_max_proto_version(to, versions[i]);
		assert_false(comes_again(from, to, &session));
		assert_true(comes_again(from, to, &session));
		tls_server_renew_tickets(to);
		assert_false(comes_again(from, to, &session));
		assert_true(comes_again(from, to, &session));
		SSL_SESSION_free(session);
		SSL_CTX_free(from);
		SSL_CTX_free(to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_server),
	    cmocka_unit_test(test_server_bad),
	    cmocka_unit_test(test_client),
	    cmocka_unit_test(test_handshakes),
	    cmocka_unit_test(test_tickets),
	};
	return cmocka_run_group_tests(tests, make_files, remove_files);
}
