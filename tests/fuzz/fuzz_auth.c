/* SPDX-License-Identifier: MIT
 * The AUTH exchange: lines of the input are the client's. The first one is the
 * mechanism. Nobody proves what he does not know, and what is said is base64.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/auth_exchange.h"

#define LINES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keys that are the hash of nothing that can be found. */
static void give_keys(void *arg, const char *user, struct auth_keys *keys)
{
	(void)arg;
	(void)user;
	*keys = (struct auth_keys){4096, "W22ZaJ0SNY7soEsUEjb6gQ==",
	    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	    "HxwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEAAAE="};
}

static struct span take_line(struct span *rest)
{
	const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	struct span line = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
	size_t used = line.n + (end != NULL);
	rest->p += used;
	rest->n -= used;
	return line;
}

static void check_said(const struct buf *out)
{
	struct buf bytes = {0};
	if (out->len && !text_unbase64(&bytes, span_buf(out)))
		bug("a challenge that is no base64");
	if (out->len > AUTH_LINE_MAX * 2)
		bug("a challenge too long");
	buf_free(&bytes);
}

static bool step(struct auth_exchange *x, const struct span *message)
{
	struct buf out = {0};
	enum auth_step result = auth_exchange_step(x, message, &out);
	check_said(&out);
	if (result == AUTH_PROVED)
		bug("proved without the password");
	if (result == AUTH_PASSWORD && (!auth_exchange_user(x)[0] || !auth_exchange_password(x)[0]))
		bug("a password of nobody, or none");
	buf_free(&out);
	return result == AUTH_CHALLENGE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = {(const char *)data, size};
	struct auth_exchange *x = auth_exchange_new(take_line(&rest), give_keys, NULL);
	bool more = x && step(x, NULL);
	for (int i = 0; more && i < LINES_MAX && rest.n; i++) {
		struct span line = take_line(&rest);
		more = step(x, &line);
	}
	auth_exchange_free(x);
	return 0;
}
