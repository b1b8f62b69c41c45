/* SPDX-License-Identifier: MIT
 * What the DKIM tests share: a folder with an RSA and an Ed25519 key (named "rsa"
 * and "ed", as are their selectors), a set of both, a signer, bodies in memory.
 */
#ifndef TESTS_UNIT_DKIM_FIXTURE_H
#define TESTS_UNIT_DKIM_FIXTURE_H

#include <stddef.h>
#include <sys/types.h>

#include "dkim/keys.h"
#include "dkim/sign.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

#define DOMAIN "example.jp"
#define FROM "From: Taro <taro@example.jp>\r\n"
#define PLAIN                                                                            \
	FROM "To: b@example.net\r\nSubject: test\r\n"                                    \
	     "Date: Sat, 21 Nov 2026 10:00:00 +0900\r\n"

/* A string and its size: NULs inside count. */
#define T(text) text, sizeof(text) - 1

extern struct dkim_signer *dk_signer;
extern struct dkim_keys *dk_keys;

/* For cmocka_run_group_tests. */
int dk_setup(void **state);
int dk_teardown(void **state);

/* The path of NAME in the folder; free with mem_free. */
char *dk_path(const char *name);
void dk_write(const char *name, mode_t mode, const char *data, size_t n);

/* Write a new key (BITS of RSA, 0: Ed25519) to NAME. */
void dk_key(const char *name, unsigned bits);

/* A set of one key. */
struct dkim_keys *dk_load(
    const char *domain, const char *selector, const char *file, struct why *why);

/* A body in memory, handed out in pieces of at most STEP bytes. */
struct text_body {
	struct span text;
	size_t step;
};

int dk_sign(struct dkim_signer *with, const struct dkim_keys *set, struct span header,
    struct text_body *body, struct buf *out, struct why *why);

/* dkim_check with the key in the file that is named as the selector. */
int dk_check(const struct buf *message, const char *selector, struct why *why);

void dk_repeat(struct buf *b, const char *text, size_t times);

#endif
