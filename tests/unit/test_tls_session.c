/* SPDX-License-Identifier: MIT
 * Sessions are kept per key, used once, bounded, and outlived by connections; and
 * the hosts that break STARTTLS, bounded too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "relayd/base/clock.h"
#include "relayd/plain_hosts.h"
#include "smtp/tls.h"
#include "smtp/tls_session.h"

static SSL_CTX *server_ctx;
static SSL_CTX *client_ctx;

static int begin(void **state)
{
	struct why why;
	(void)state;
	clock_fake(1790000000000);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	server_ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(server_ctx, x);
	SSL_CTX_use_PrivateKey(server_ctx, key);
	X509_free(x);
	EVP_PKEY_free(key);
	client_ctx = tls_client_new(0, &why);
	return client_ctx ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	return 0;
}

/* A connection under KEY, tickets read. Result: it was resumed. KEEP: the client's
 * SSL stays. */
static bool shake(struct tls_sessions *sessions, const char *key, SSL **keep)
{
	BIO *a;
	BIO *b;
	char byte;
	SSL *client = SSL_new(client_ctx);
	SSL *server = SSL_new(server_ctx);
	tls_sessions_use(sessions, client, key);
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client));
	assert_int_equal(SSL_read(client, &byte, 1), -1);
	bool resumed = SSL_session_reused(client);
	SSL_free(server);
	if (keep)
		*keep = client;
	else
		SSL_free(client);
	return resumed;
}

static void test_sessions(void **state)
{
	(void)state;
	struct tls_sessions *s = tls_sessions_new(2);
	assert_false(shake(s, "a", NULL));
	assert_int_equal(tls_sessions_count(s), 1);
	assert_true(shake(s, "a", NULL));
	assert_false(shake(s, "b", NULL));
	assert_false(shake(s, "c", NULL));
	assert_int_equal(tls_sessions_count(s), 2);
	assert_false(shake(s, "a", NULL)); /* it was the oldest */
	assert_true(shake(s, "c", NULL));
	clock_advance(60 * 60 * 1000);
	assert_false(shake(s, "c", NULL));
	tls_sessions_clear(s);
	assert_int_equal(tls_sessions_count(s), 0);
	SSL *late;
	shake(s, "d", &late);
	tls_sessions_free(s);
	SSL_free(late);
}

static void test_plain_hosts(void **state)
{
	(void)state;
	char key[20];
	struct plain_hosts *hosts = plain_hosts_new();
	plain_hosts_add(hosts, "a");
	assert_true(plain_hosts_has(hosts, "a"));
	assert_false(plain_hosts_has(hosts, "b"));
	clock_advance(PLAIN_HOSTS_MS - 1);
	assert_true(plain_hosts_has(hosts, "a"));
	plain_hosts_add(hosts, "a");
	clock_advance(1);
	assert_true(plain_hosts_has(hosts, "a"));
	clock_advance(PLAIN_HOSTS_MS);
	assert_false(plain_hosts_has(hosts, "a"));
	for (int i = 0; i <= PLAIN_HOSTS_MAX; i++) {
		snprintf(key, sizeof(key), "%d", i);
		plain_hosts_add(hosts, key);
	}
	assert_int_equal(plain_hosts_count(hosts), PLAIN_HOSTS_MAX);
	assert_false(plain_hosts_has(hosts, "0"));
	assert_true(plain_hosts_has(hosts, "1"));
	plain_hosts_free(hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sessions),
	    cmocka_unit_test(test_plain_hosts),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
