/* SPDX-License-Identifier: MIT
 * DKIM keys: files that must not be used are refused, a reload takes effect, the
 * shortcut to decoded keys passes its self-test in the packaged library and leaves
 * nothing behind (LeakSanitizer says so at the end), with many threads too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "tests/unit/apart.h"
#include "tests/unit/dkim_fixture.h"

/* -- keys --------------------------------------------------------------------- */

static void assert_load_fails(const char *expected)
{
	struct why why = {0};
	struct dkim_keys *set = dk_load(DOMAIN, "s", "bad", &why);
	assert_null(set);
	if (!strstr(why.text, expected) || !strstr(why.text, "/bad: ") ||
	    strncmp(why.text, "t:7: domains.dkim.key: /", 24) != 0)
		fail_msg("\"%s\" does not say \"%s\" and where", why.text, expected);
}

static void pkey_write(EVP_PKEY *key, const EVP_CIPHER *cipher)
{
	char *p = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	assert_non_null(key);
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, cipher,
			     cipher ? "pw" : NULL, cipher ? 2 : 0, NULL, NULL),
	    1);
	long n = BIO_get_mem_data(bio, &p);
	dk_write("bad", 0600, p, (size_t)n);
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static void test_key_files(void **state)
{
	(void)state;
	assert_load_fails("No such file");
	dk_write("bad", 0644, T("x"));
	assert_load_fails("mode is 0644");
	assert_load_fails("chmod 0600");
	dk_write("bad", 0640, T("x"));
	assert_load_fails("mode is 0640");
	dk_write("bad", 0600, T(""));
	assert_load_fails("not a private key");
	dk_write("bad", 0600,
	    T("-----BEGIN "
	      "PRIVATE KEY-----\nAAAA\n"));
	assert_load_fails("not a private key");
	struct buf large = {0};
	dk_repeat(&large, "0123456789abcdef", 4097);
	dk_write("bad", 0600, large.data, large.len);
	assert_load_fails("over 64 KiB");
	buf_free(&large);
	pkey_write(EVP_EC_gen("P-256"), NULL);
	assert_load_fails("neither an RSA nor an Ed25519");
	pkey_write(EVP_RSA_gen(768), NULL);
	assert_load_fails("RSA key of 768 bits");
	pkey_write(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_aes_128_cbc());
	assert_load_fails("encrypted");
	char *bad = dk_path("bad");
	unlink(bad);
	assert_int_equal(mkfifo(bad, 0600), 0);
	assert_load_fails("not a regular file");
	unlink(bad);
	mem_free(bad);
}

static void test_key_names(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "a b", "a;b", "a\r\nb", "s\xc3\xa9l", "a:b"};
	struct why why = {0};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(dk_load(DOMAIN, bad[i], "rsa", &why));
		assert_non_null(strstr(why.text, "is not a DNS name"));
	}
}

#define PLACE(number) {'t', ':', number, '\0'}

/* Each key that can not be used is told, with its own place; those that were refused
 * before are passed over. */
static void test_all_keys_are_told(void **state)
{
	(void)state;
	char *good = dk_path("rsa");
	char *junk = dk_path("bad");
	char none[] = "", domain[] = DOMAIN, other[] = "other.test";
	char names[5][2] = {"a", "b", "c", "d", "e"};
	char places[5][4] = {PLACE('1'), PLACE('2'), PLACE('3'), PLACE('4'), PLACE('5')};
	struct conf_dkim_key keys[5];
	struct conf_errors errors = {0};
	struct buf expected = {0};
	dk_write("bad", 0600, T("junk"));
	for (size_t i = 0; i < 5; i++)
		keys[i] = (struct conf_dkim_key){names[i], i % 2 ? junk : good, places[i]};
	struct conf_domain conf[] = {{domain, NULL, keys, 5}, {other, NULL, keys + 1, 1}};
	assert_null(dkim_keys_load(conf, 2, &errors));
	for (const char *at = "242"; *at; at++) {
		if (at[1] == '\0')
			buf_add_text(&expected, "t:5: domains.dkim: " DOMAIN " has more than 4 "
			    "DKIM keys; each message would get as many signatures\n");
		buf_addf(&expected,
		    "t:%c: domains.dkim.key: %s: is not a private key in PEM form\n", *at, junk);
	}
	assert_string_equal(buf_text(&errors.text), buf_text(&expected));
	assert_int_equal(errors.count, 4);
	conf_errors_free(&errors);
	keys[1].key = none;
	keys[3].selector = none;
	conf[0].dkim_count = 4;
	struct dkim_keys *set = dkim_keys_load(conf, 2, &errors);
	assert_int_equal(set->count, 2);
	dkim_keys_free(set);
	set = dkim_keys_load(NULL, 0, &errors);
	assert_false(dkim_keys_has(set, DOMAIN));
	dkim_keys_free(set);
	assert_int_equal(errors.count, 0);
	buf_free(&expected);
	mem_free(good);
	mem_free(junk);
}

/* Of very many keys that are not there a hundred are told. */
static void test_keys_without_end(void **state)
{
	(void)state;
	enum { COUNT = 1000 };
	char *junk = dk_path("none");
	char selector[] = "s", at[] = "t:1", domain[] = DOMAIN;
	struct conf_dkim_key key = {selector, junk, at};
	struct conf_domain *conf = mem_array(COUNT, sizeof(*conf));
	struct conf_errors errors = {0};
	for (size_t i = 0; i < COUNT; i++)
		conf[i] = (struct conf_domain){domain, NULL, &key, 1};
	assert_null(dkim_keys_load(conf, COUNT, &errors));
	assert_int_equal(errors.count, 101);
	assert_non_null(strstr(buf_text(&errors.text), "behind this one were not looked at\n"));
	conf_errors_free(&errors);
	mem_free(conf);
	mem_free(junk);
}

/* RSA keys come in other PEM forms too, and with text around. */
static void test_key_forms(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf out = {0};
	char *p = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_PKEY *key = EVP_RSA_gen(1024);
	assert_true(BIO_puts(bio, "Made by hand\n") > 0);
	assert_int_equal(
	    PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	long n = BIO_get_mem_data(bio, &p);
	dk_write("bad", 0400, p, (size_t)n);
	struct dkim_keys *set = dk_load(DOMAIN, "s", "bad", &why);
	if (!set)
		fail_msg("%s", why.text);
	struct text_body body = {span_text("x\r\n"), 0};
	assert_int_equal(dk_sign(dk_signer, set, span_text(PLAIN), &body, &out, &why), 0);
	buf_add_text(&out, PLAIN "\r\nx\r\n");
	assert_int_equal(dkim_check_key(span_buf(&out), key, "s", &why), 0);
	EVP_PKEY_free(key);
	BIO_free(bio);
	buf_free(&out);
	dkim_keys_free(set);
}

/* A new set under old names: the next signature uses the new key. */
static void test_reload(void **state)
{
	(void)state;
	struct why why = {0};
	struct text_body body = {span_text("x\r\n"), 0};
	struct dkim_keys *set = NULL;
	for (int i = 0; i < 3; i++) {
		struct buf out = {0};
		dk_key("again", i % 2 ? 0 : 2048);
		dkim_keys_free(set);
		set = dk_load(DOMAIN, "again", "again", &why);
		assert_non_null(set);
		assert_int_equal(
		    dk_sign(dk_signer, set, span_text(PLAIN), &body, &out, &why), 0);
		buf_add_text(&out, PLAIN "\r\nx\r\n");
		if (dk_check(&out, "again", &why))
			fail_msg("%s", why.text);
		buf_free(&out);
	}
	dkim_keys_free(set);
}

static void test_key_new(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf pem = {0};
	struct buf record = {0};
	assert_int_equal(dkim_key_new(1024, &pem, &record, &why), -1);
	assert_int_equal(dkim_key_new(2049, &pem, &record, &why), -1);
	assert_int_equal(pem.len + record.len, 0);
	assert_int_equal(dkim_key_new(3072, &pem, &record, &why), 0);
	assert_true(span_starts_nocase(span_buf(&pem), "-----BEGIN PRIVATE KEY-----\n"));
	assert_true(
	    span_starts_nocase(span_buf(&record), "v=DKIM1; k=rsa; p=MIIBojANBgkqhki"));
	struct buf zone = {0};
	dkim_record_zone("s1", DOMAIN, buf_text(&record), &zone);
	assert_true(span_starts_nocase(
	    span_buf(&zone), "s1._domainkey.example.jp. IN TXT ( \"v="));
	size_t joined = 0;
	size_t run = 0;
	bool inside = false;
	for (const char *c = strchr(zone.data, '('); *c; c++) {
		if (*c == '"') {
			inside = !inside;
			run = 0;
		} else if (inside) {
			assert_int_equal(*c, record.data[joined]);
			joined++;
			assert_true(++run <= 255);
		}
	}
	assert_int_equal(joined, record.len);
	assert_string_equal(zone.data + zone.len - 4, "\" )\n");
	buf_free(&zone);
	mem_wipe(pem.data, pem.len);
	buf_free(&pem);
	buf_free(&record);
}

/* -- the shortcut ------------------------------------------------------------- */

static void sign_many(struct dkim_signer *with, int count)
{
	struct why why = {0};
	struct text_body body = {span_text("x\r\n"), 0};
	struct buf out = {0};
	for (int i = 0; i < count; i++) {
		buf_clear(&out);
		if (dk_sign(with, dk_keys, span_text(PLAIN), &body, &out, &why))
			fail_msg("%s", why.text);
	}
	buf_add_text(&out, PLAIN "\r\nx\r\n");
	if (dk_check(&out, "rsa", &why) || dk_check(&out, "ed", &why))
		fail_msg("%s", why.text);
	buf_free(&out);
}

/* The packaged library passes the self-test, and neither 1000 signatures with each
 * key nor a second self-test leave anything behind. */
static void test_shortcut(void **state)
{
	(void)state;
	struct why why = {0};
	assert_true(dkim_shortcut.on);
	sign_many(dk_signer, 1000);
	assert_true(dkim_start(&why));
	sign_many(dk_signer, 3);
}

static void sign_plainly(void *arg)
{
	(void)arg;
	dkim_stop();
	struct dkim_signer *plain = dkim_signer_new();
	sign_many(plain, 3);
}

/* Apart, since the packaged library never frees an Ed25519 key that it has decoded itself. */
static void test_plain_way(void **state)
{
	(void)state;
	run_apart(sign_plainly, NULL);
}

static void *thread_run(void *arg)
{
	(void)arg;
	struct dkim_signer *own = dkim_signer_new();
	sign_many(own, 50);
	dkim_signer_free(own);
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	pthread_t thread[4];
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, thread_run, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_key_files),
	    cmocka_unit_test(test_key_names),
	    cmocka_unit_test(test_all_keys_are_told),
	    cmocka_unit_test(test_keys_without_end),
	    cmocka_unit_test(test_key_forms),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_key_new),
	    cmocka_unit_test(test_shortcut),
	    cmocka_unit_test(test_plain_way),
	    cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, dk_setup, dk_teardown);
}
