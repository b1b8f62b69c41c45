/* SPDX-License-Identifier: MIT
 * OpenSSL's memory runs out at each of its calls while a context is made: that one may
 * fail, the next one, with memory again, must not. What OpenSSL does once in a process
 * and can not do fails for good, so the start has to do it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>

#include "smtp/tls.h"

static unsigned calls;
static unsigned fails_from; /* 0: none */

static bool fails(void)
{
	return ++calls >= fails_from && fails_from;
}

static void *get(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(size);
}

static void *resize(void *p, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(p, size);
}

static void give_back(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

/* While all calls from AT on fail. */
static bool make_one(unsigned at, struct why *why)
{
	calls = 0;
	fails_from = at;
	SSL_CTX *ctx = tls_client_new(0, why);
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	bool made = ssl;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return made;
}

static void test_each_call(void **state)
{
	(void)state;
	unsigned failed = 0;
	unsigned at = 0;
	do {
		struct why why = {0};
		at++;
		failed += !make_one(at, &why);
		unsigned reached = calls;
		if (!make_one(0, &why))
			fail_msg("call %u and those after it failed, and that for good: %s", at,
			    why.text);
		calls = reached;
	} while (calls >= at);
	assert_true(failed > 10);
}

int main(void)
{
	if (CRYPTO_set_mem_functions(get, resize, give_back) != 1)
		return 1;
	struct why why = {0};
	if (tls_begin(&why) < 0)
		return 1;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
