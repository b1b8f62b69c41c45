/* SPDX-License-Identifier: MIT
 * Signing with keys that are not what they should be, with and without the shortcut: it
 * is said which step failed, nothing of a signature comes out, and the next message is
 * signed as if nothing had been.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "tests/unit/apart.h"
#include "tests/unit/dkim_fixture.h"

#define BODY "Hello\r\n"

static EVP_PKEY *given_up; /* who is still counted as a user of it is not known */

static int sign_with(const struct dkim_keys *keys, struct buf *out, struct why *why)
{
	struct text_body body = {span_text(BODY), 0};
	return dk_sign(dk_signer, keys, span_text(PLAIN), &body, out, why);
}

/* Both signatures are there and right. */
static void expect_signed(void)
{
	struct buf message = {0};
	struct why why = {0};
	if (sign_with(dk_keys, &message, &why))
		fail_msg("%s", why.text);
	buf_add_text(&message, PLAIN "\r\n" BODY);
	if (dk_check(&message, "rsa", &why) || dk_check(&message, "ed", &why))
		fail_msg("%s", why.text);
	buf_free(&message);
}

static void expect_unsigned(const struct dkim_keys *keys, const char *said)
{
	struct buf out = {0};
	struct why why = {0};
	buf_add_text(&out, "kept");
	assert_int_equal(sign_with(keys, &out, &why), -1);
	if (!strstr(why.text, said))
		fail_msg("said \"%s\", expected \"%s\"", why.text, said);
	assert_int_equal(why.kind, WHY_LOCAL);
	assert_string_equal(buf_text(&out), "kept");
	buf_free(&out);
}

static struct dkim_keys *load(const char *file)
{
	struct why why = {0};
	struct dkim_keys *keys = dk_load(DOMAIN, "s", file, &why);
	if (!keys)
		fail_msg("%s", why.text);
	return keys;
}

/* Its text is one that nobody can decode. */
static struct dkim_keys *load_spoiled(const char *file)
{
	struct dkim_keys *keys = load(file);
	char *body = strchr(keys->key[0].pem, '\n');
	assert_non_null(body);
	memset(body + 1, '!', 20);
	return keys;
}

static void test_without_the_shortcut(void **state)
{
	(void)state;
	struct buf with = {0};
	struct buf without = {0};
	struct why why = {0};
	struct dkim_keys *keys = load("rsa");
	assert_true(dkim_shortcut.on);
	assert_int_equal(sign_with(keys, &with, &why), 0);
	dkim_shortcut.on = false;
	assert_int_equal(sign_with(keys, &without, &why), 0);
	dkim_shortcut.on = true;
	assert_string_equal(buf_text(&with), buf_text(&without));
	dkim_keys_free(keys);
	buf_free(&with);
	buf_free(&without);
}

static void sign_both_without(void *arg)
{
	(void)arg;
	dkim_shortcut.on = false;
	expect_signed();
}

/* Apart, since the library never frees a key of Ed25519 that it has decoded. */
static void test_both_without_the_shortcut(void **state)
{
	(void)state;
	run_apart(sign_both_without, NULL);
}

static void test_spoiled_key(void **state)
{
	(void)state;
	static const char *const files[] = {"rsa", "ed"};
	for (size_t i = 0; i < 2; i++) {
		struct dkim_keys *keys = load_spoiled(files[i]);
		expect_unsigned(keys, "private key");
		expect_unsigned(keys, "private key"); /* and again: nothing was kept */
		dkim_shortcut.on = false;
		expect_unsigned(keys, "libopendkim fails at the signature: ");
		dkim_shortcut.on = true;
		dkim_keys_free(keys);
		expect_signed();
	}
}

/* The library is given a key that it can not use here: that one is not used again. */
static void test_key_of_another_type(void **state)
{
	(void)state;
	struct why why = {0};
	struct dkim_keys *keys = load("rsa");
	given_up = dkim_pem_make(0, &why);
	assert_non_null(given_up);
	for (int i = 0; i < 4; i++)
		assert_int_equal(EVP_PKEY_up_ref(given_up), 1);
	dkim_signer_seed(dk_signer, keys, 0, given_up);
	expect_unsigned(keys, "libopendkim fails at the signature: ");
	struct buf message = {0};
	if (sign_with(keys, &message, &why))
		fail_msg("%s", why.text);
	assert_non_null(strstr(buf_text(&message), "a=rsa-sha256;"));
	buf_free(&message);
	dkim_keys_free(keys);
	expect_signed();
}

/* The library takes no name that would end a field, and that is told, too. */
static void test_names_that_are_none(void **state)
{
	(void)state;
	static const char *const selectors[] = {"a\x01z", "a\rz", "\r\nz", "a\x7fz", "a\xffz"};
	for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
		struct dkim_keys *keys = load("ed");
		mem_free(keys->key[0].selector);
		keys->key[0].selector = mem_text(selectors[i]);
		expect_unsigned(keys, "libopendkim fails at its start: ");
		dkim_keys_free(keys);
	}
	expect_signed();
}

static void test_no_signer(void **state)
{
	(void)state;
	dkim_signer_free(NULL);
	expect_signed();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_the_shortcut),
	    cmocka_unit_test(test_both_without_the_shortcut),
	    cmocka_unit_test(test_spoiled_key),
	    cmocka_unit_test(test_key_of_another_type),
	    cmocka_unit_test(test_names_that_are_none),
	    cmocka_unit_test(test_no_signer),
	};
	return cmocka_run_group_tests(tests, dk_setup, dk_teardown);
}
