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
#include <sys/mman.h>

#include "smtp/tls.h"
#include "tests/unit/apart.h"

/* Shared with the process that makes it. */
struct trial {
	unsigned at; /* 0: none fails */
	unsigned calls;
	bool made;
};

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

/* In a process that has made none before: what OpenSSL does with the first one counts. */
static void fail_first(void *arg)
{
	struct trial *trial = arg;
	struct why why = {0};
	trial->made = make_one(trial->at, &why);
	trial->calls = calls;
	if (!make_one(0, &why))
		fail_msg("call %u and those after it failed, and that for good: %s", trial->at,
		    why.text);
}

static void test_each_call(void **state)
{
	(void)state;
	unsigned failed = 0;
	struct trial *trial =
	    mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(trial, MAP_FAILED);
	run_apart(fail_first, trial);
	assert_true(trial->made);
	unsigned whole = trial->calls;
	for (trial->at = 1; trial->at <= whole; trial->at++) {
		run_apart(fail_first, trial);
		assert_true(trial->calls >= trial->at);
		failed += !trial->made;
	}
	assert_true(failed > 10);
	munmap(trial, sizeof(*trial));
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
