/* SPDX-License-Identifier: MIT
 * The server's side of SASL: the vectors of RFC 5802 and RFC 7677, exchanges with
 * GNU SASL's client, and messages that are none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <gsasl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/auth_exchange.h"

/* RFC 7677 section 3 */
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define AUTH_MESSAGE \
	"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," \
	"s=" SALT ",i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_SIGNATURE "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void give_keys(void *arg, const char *user, struct auth_keys *keys)
{
	*keys = (struct auth_keys){.iterations = 4096, .salt = SALT};
	assert_int_equal(auth_keys_make(strcmp(user, "user") == 0 ? "pencil" : arg, keys), 0);
}

static void hmac(const char *key_base64, const char *text, unsigned char *out)
{
	struct buf key = {0};
	unsigned n = 0;
	assert_true(text_unbase64(&key, span_text(key_base64)));
	assert_int_equal(key.len, SHA256_DIGEST_LENGTH);
	assert_non_null(HMAC(EVP_sha256(), key.data, (int)key.len, (const unsigned char *)text,
	    strlen(text), out, &n));
	buf_free(&key);
}

/* What the keys must prove is in the document: StoredKey is the hash of the proof
 * without the client's signature, and ServerKey makes the server's. */
static void test_rfc7677(void **state)
{
	(void)state;
	struct auth_keys keys = {.iterations = 4096, .salt = SALT};
	unsigned char signature[SHA256_DIGEST_LENGTH];
	unsigned char hash[SHA256_DIGEST_LENGTH];
	struct buf proof = {0};
	struct buf text = {0};
	assert_int_equal(auth_keys_make("pencil", &keys), 0);
	hmac(keys.stored, AUTH_MESSAGE, signature);
	assert_true(text_unbase64(&proof, span_text(PROOF)));
	for (size_t i = 0; i < sizeof(signature); i++)
		proof.data[i] = (char)(proof.data[i] ^ signature[i]);
	SHA256((unsigned char *)proof.data, proof.len, hash);
	text_base64(&text, (struct span){(char *)hash, sizeof(hash)});
	assert_string_equal(buf_text(&text), keys.stored);
	buf_clear(&text);
	hmac(keys.server, AUTH_MESSAGE, signature);
	text_base64(&text, (struct span){(char *)signature, sizeof(signature)});
	assert_string_equal(buf_text(&text), SERVER_SIGNATURE);
	buf_free(&proof);
	buf_free(&text);
}

static int give_password(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
	(void)gsasl;
	(void)session;
	(void)property;
	return GSASL_NO_CALLBACK;
}

struct client {
	Gsasl *gsasl;
	Gsasl_session *session;
};

static void client_open(struct client *c, const char *user, const char *password, const char *as)
{
	assert_int_equal(gsasl_init(&c->gsasl), GSASL_OK);
	gsasl_callback_set(c->gsasl, give_password);
	assert_int_equal(gsasl_client_start(c->gsasl, "SCRAM-SHA-256", &c->session), GSASL_OK);
	gsasl_property_set(c->session, GSASL_AUTHID, user);
	gsasl_property_set(c->session, GSASL_PASSWORD, password);
	if (as)
		gsasl_property_set(c->session, GSASL_AUTHZID, as);
}

static void client_close(struct client *c)
{
	gsasl_finish(c->session);
	gsasl_done(c->gsasl);
}

static int client_step(struct client *c, const char *said, struct buf *out)
{
	char *answer = NULL;
	int result = gsasl_step64(c->session, said, &answer);
	buf_clear(out);
	if (answer)
		buf_add_text(out, answer);
	gsasl_free(answer);
	return result;
}

/* The whole exchange. Result: the last step. */
static enum auth_step meet(const char *user, const char *password, const char *as, char *name,
    size_t size)
{
	struct client client;
	struct buf said = {0};
	struct buf out = {0};
	struct auth_exchange *x = auth_exchange_new(span_text("scram-sha-256"), give_keys, "other");
	enum auth_step step = AUTH_CHALLENGE;
	client_open(&client, user, password, as);
	assert_int_equal(auth_exchange_step(x, NULL, &out), AUTH_CHALLENGE);
	assert_int_equal(out.len, 0);
	for (int i = 0; i < 2 && step == AUTH_CHALLENGE; i++) {
		assert_int_equal(client_step(&client, out.len ? buf_text(&out) : NULL, &said),
		    GSASL_NEEDS_MORE);
		struct span message = span_buf(&said);
		buf_clear(&out);
		step = auth_exchange_step(x, &message, &out);
	}
	if (step == AUTH_PROVED) /* and the server proves itself */
		assert_int_equal(client_step(&client, buf_text(&out), &said), GSASL_OK);
	else
		assert_int_equal(out.len, 0);
	if (name)
		snprintf(name, size, "%s", auth_exchange_user(x));
	auth_exchange_free(x);
	client_close(&client);
	buf_free(&said);
	buf_free(&out);
	return step;
}

static void test_scram(void **state)
{
	(void)state;
	char name[40];
	assert_int_equal(meet("user", "pencil", NULL, name, sizeof(name)), AUTH_PROVED);
	assert_string_equal(name, "user");
	assert_int_equal(meet("user", "crayon", NULL, name, sizeof(name)), AUTH_FAILED);
	assert_string_equal(name, "user");
	assert_int_equal(meet("us,er=", "other", NULL, name, sizeof(name)), AUTH_PROVED);
	assert_string_equal(name, "us,er=");
	assert_int_equal(meet("other", "pencil", NULL, NULL, 0), AUTH_FAILED);
	/* to act for oneself, and for somebody else */
	assert_int_equal(meet("user", "pencil", "user", NULL, 0), AUTH_PROVED);
	assert_int_equal(meet("user", "pencil", "root", NULL, 0), AUTH_FAILED);
}

static enum auth_step say(struct auth_exchange *x, const char *text, struct buf *out)
{
	struct span message = span_text(text);
	buf_clear(out);
	return auth_exchange_step(x, &message, out);
}

static void test_login(void **state)
{
	(void)state;
	struct buf out = {0};
	struct auth_exchange *x = auth_exchange_new(span_text("LOGIN"), give_keys, NULL);
	assert_int_equal(auth_exchange_step(x, NULL, &out), AUTH_CHALLENGE);
	assert_string_equal(buf_text(&out), "VXNlcm5hbWU6");
	assert_int_equal(say(x, "dGlt", &out), AUTH_CHALLENGE);
	assert_string_equal(buf_text(&out), "UGFzc3dvcmQ6");
	assert_int_equal(say(x, "cGVuY2ls", &out), AUTH_PASSWORD);
	assert_string_equal(auth_exchange_user(x), "tim");
	assert_string_equal(auth_exchange_password(x), "pencil");
	auth_exchange_free(x);
	buf_free(&out);
}

static void test_malformed(void **state)
{
	(void)state;
	static const struct {
		const char *mechanism;
		const char *message;
	} rows[] = {
	    {"PLAIN", ""},         {"PLAIN", "="},            {"PLAIN", "AHRpbQBzZWNyZX"},
	    {"PLAIN", "AHRpbQ"},   {"PLAIN", "AHRpbQBzZWNyZXR="}, {"LOGIN", ""},
	    {"LOGIN", "dGkAbQ=="}, {"LOGIN", "*"},            {"SCRAM-SHA-256", ""},
	    {"SCRAM-SHA-256", "AA=="}, {"SCRAM-SHA-256", "bixhPXg="},
	    {"SCRAM-SHA-256", "biwsbj0scj0="}, /* n,,n=,r= */
	    {"SCRAM-SHA-256", "biwsbj22LHI9YWJj"}, /* n,,n=\xb6,r=abc: a name that is no UTF-8 */
	    {"SCRAM-SHA-256", "cD10bHMtdW5pcXVlLCxuPXVzZXIscj1hYmM="}, /* p=tls-unique,,n=user,r=abc */
	};
	struct buf out = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct auth_exchange *x =
		    auth_exchange_new(span_text(rows[i].mechanism), give_keys, "other");
		assert_int_equal(say(x, rows[i].message, &out), AUTH_MALFORMED);
		assert_int_equal(out.len, 0);
		auth_exchange_free(x);
	}
	assert_null(auth_exchange_new(span_text("CRAM-MD5"), give_keys, NULL));
	assert_null(auth_exchange_new(span_text(""), give_keys, NULL));
	auth_exchange_free(NULL);
	buf_free(&out);
}

/* The longest message that RFC 4954 allows, and one that is longer. */
static void test_long(void **state)
{
	(void)state;
	struct buf text = {0};
	struct buf base64 = {0};
	struct buf out = {0};
	buf_add(&text, "\0u\0", 3);
	while (text.len < 9216)
		buf_add_byte(&text, 'p');
	for (int more = 0; more < 2; more++) {
		struct auth_exchange *x = auth_exchange_new(span_text("PLAIN"), give_keys, NULL);
		buf_clear(&base64);
		text_base64(&base64, span_buf(&text));
		assert_int_equal(say(x, buf_text(&base64), &out), more ? AUTH_MALFORMED : AUTH_PASSWORD);
		assert_int_equal(strlen(auth_exchange_password(x)), more ? 0 : 9213);
		auth_exchange_free(x);
		buf_add_byte(&text, 'p');
	}
	buf_free(&text);
	buf_free(&base64);
	buf_free(&out);
}

static void test_prepare(void **state)
{
	(void)state;
	static const struct {
		const char *from;
		const char *to;
	} rows[] = {
	    {"pencil", "pencil"},
	    {"\xc2\xaa", "a"},           /* RFC 4013 section 3 */
	    {"I\xc2\xadX", "IX"},
	    {"e\xcc\x81", "\xc3\xa9"},   /* composed */
	    {"\xff\xfe", "\xff\xfe"},    /* no UTF-8: as it is */
	    {"\xd8\xa7\x31", "\xd8\xa7\x31"}, /* forbidden there: as it is */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *made = auth_prepare(rows[i].from);
		assert_string_equal(made, rows[i].to);
		mem_free(made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rfc7677),
	    cmocka_unit_test(test_scram),
	    cmocka_unit_test(test_login),
	    cmocka_unit_test(test_malformed),
	    cmocka_unit_test(test_long),
	    cmocka_unit_test(test_prepare),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
