/* SPDX-License-Identifier: MIT
 * Is the shortcut safe with the libopendkim that is installed? It rests on two
 * things that no interface promises: that the library's call for a key reaches
 * us, and how many references to the key it gives back. Both are tried out, for
 * each type of key, before the first worker starts.
 */
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "dkim/internal.h"
#include "relayd/base/why.h"

/* Extra references during the measurement, so that a library that gives back
 * more than it got is noticed and not a crash. */
#define SPARE 32
#define ROUNDS 4

static const char header[] = "From: a@example.net\r\nSubject: self-test\r\n";

static void on_free(
    void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (value)
		*(bool *)value = true;
}

/* A key that says when its last reference is gone. */
struct watched {
	EVP_PKEY *key;
	bool gone;
};

static int watch(struct watched *watched, EVP_PKEY *key, int index, struct why *why)
{
	*watched = (struct watched){.key = key};
	if (EVP_PKEY_set_ex_data(key, index, &watched->gone) == 1)
		return 0;
	return why_set(why, WHY_LOCAL, "OpenSSL does not let keys be watched");
}

static int refs_add(EVP_PKEY *key, int count)
{
	for (int i = 0; i < count; i++)
		if (EVP_PKEY_up_ref(key) != 1)
			return -1;
	return 0;
}

/* Drop up to MAX references. Result: how many it took until the key was gone. */
static int refs_count(struct watched *watched, int max)
{
	int n = 0;
	for (; n < max && !watched->gone; n++)
		EVP_PKEY_free(watched->key);
	return watched->gone ? n : n + 1;
}

static int sign_once(struct dkim_signer *signer, const struct dkim_keys *keys,
    struct buf *out, struct why *why)
{
	struct dkim_input input = {.header = span_text(header), .wall_ms = 1000};
	return dkim_sign_message(signer, keys, "example.net", &input, out, why);
}

static int sign_and_check(struct dkim_signer *signer, const struct dkim_keys *keys,
    EVP_PKEY *key, struct why *why)
{
	struct buf message = {0};
	int result = sign_once(signer, keys, &message, why);
	if (!result) {
		buf_add_text(&message, header);
		buf_add_text(&message, "\r\n");
		result = dkim_check_key(span_buf(&message), key, "s", why);
	}
	buf_free(&message);
	return result;
}

/* Sign ROUNDS times with KEY. The signer holds one reference of it, SPARE are in
 * reserve, and GIVEN come from the shortcut in each round. *DROPPED: how many the
 * library gave back altogether, counting those. KEY is gone after that. */
static int measure(struct dkim_signer *signer, const struct dkim_keys *keys,
    EVP_PKEY *key, int index, int *dropped, struct why *why)
{
	struct watched watched;
	enum dkim_key_type type = keys->key[0].type;
	int given = dkim_shortcut.drops[type] ? ROUNDS : 0;
	if (watch(&watched, key, index, why) || refs_add(key, SPARE)) {
		EVP_PKEY_free(key);
		return -1;
	}
	dkim_signer_seed(signer, keys, 0, key);
	int result = 0;
	for (int i = 0; i < ROUNDS && !result; i++)
		result = sign_and_check(signer, keys, key, why);
	dkim_signer_seed(signer, keys, 0, NULL);
	*dropped = SPARE + given - refs_count(&watched, SPARE + given);
	return result;
}

/* First without giving the library a reference; what it drops then decides what
 * it is given, and the second measurement must come out even. */
static int type_test(
    struct dkim_signer *signer, unsigned bits, int index, struct why *why)
{
	int dropped = 0;
	EVP_PKEY *key = dkim_pem_make(bits, why);
	if (!key)
		return -1;
	struct dkim_keys *keys = dkim_keys_new(1);
	EVP_PKEY *again = EVP_PKEY_dup(key);
	int result = -1;
	if (!again || dkim_keys_add(keys, "example.net", "s", key, why))
		goto out;
	enum dkim_key_type type = keys->key[0].type;
	result = measure(signer, keys, key, index, &dropped, why);
	key = NULL;
	if (!result && dropped != 0 && dropped != ROUNDS)
		result = why_set(why, WHY_LOCAL,
		    "it drops %d references in %d signatures", dropped, ROUNDS);
	if (result)
		goto out;
	dkim_shortcut.drops[type] = dropped == ROUNDS;
	result = measure(signer, keys, again, index, &dropped, why);
	again = NULL;
	if (!result && dropped != (dkim_shortcut.drops[type] ? ROUNDS : 0))
		result = why_set(
		    why, WHY_LOCAL, "it does not always drop the same references");
out:
	EVP_PKEY_free(key);
	EVP_PKEY_free(again);
	dkim_keys_free(keys);
	return result;
}

bool dkim_start(struct why *why)
{
	struct dkim_signer *signer = dkim_signer_new();
	int index = EVP_PKEY_get_ex_new_index(0, NULL, NULL, NULL, on_free);
	dkim_shortcut = (struct dkim_shortcut){.on = true};
	if (index < 0 || type_test(signer, 1024, index, why) ||
	    type_test(signer, 0, index, why)) {
		dkim_shortcut = (struct dkim_shortcut){.on = false};
		why_prefix(why, "libopendkim can not be given decoded keys");
	}
	dkim_signer_free(signer);
	ERR_clear_error();
	return dkim_shortcut.on;
}

void dkim_stop(void)
{
	dkim_shortcut = (struct dkim_shortcut){.on = false};
}
