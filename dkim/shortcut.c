/* SPDX-License-Identifier: MIT
 * Answers libopendkim's call of PEM_read_bio_PrivateKey from decoded keys. The
 * program defines the function itself and exports it (see EXPORT in the
 * Makefile), so the dynamic linker binds the library's call to it; every other
 * call goes on to OpenSSL. Nothing is answered but an offer of the same thread.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "dkim/internal.h"

struct dkim_shortcut dkim_shortcut;

static _Thread_local struct {
	const char *text;
	EVP_PKEY *key;
	enum dkim_key_type type;
	unsigned asked;
} offer;

void dkim_shortcut_text(char text[DKIM_SHORTCUT_TEXT], uint64_t serial, size_t index)
{
	/* libopendkim wants five hyphens before it believes in PEM */
	snprintf(text, DKIM_SHORTCUT_TEXT, "-----KEY#%" PRIu64 ".%zu", serial, index);
}

void dkim_shortcut_offer(const char *text, EVP_PKEY *key, enum dkim_key_type type)
{
	offer.text = text;
	offer.key = key;
	offer.type = type;
	offer.asked = 0;
}

unsigned dkim_shortcut_withdraw(void)
{
	unsigned asked = offer.asked;
	memset(&offer, 0, sizeof(offer));
	return asked;
}

static bool bio_is(BIO *bio, const char *text)
{
	char *p = NULL;
	long n = BIO_get_mem_data(bio, &p);
	return p && n > 0 && span_is((struct span){p, (size_t)n}, text);
}

/* OpenSSL's own function of this name. */
static EVP_PKEY *read_plain(BIO *bio, EVP_PKEY **key, pem_password_cb *ask, void *arg)
{
	EVP_PKEY *(*next)(BIO *, EVP_PKEY **, pem_password_cb *, void *) = NULL;
	void *symbol = dlsym(RTLD_NEXT, "PEM_read_bio_PrivateKey");
	if (!symbol)
		return NULL;
	memcpy(&next, &symbol, sizeof(next)); /* ISO C knows no such conversion */
	return next(bio, key, ask, arg);
}

EVP_PKEY *PEM_read_bio_PrivateKey(
    BIO *bio, EVP_PKEY **key, pem_password_cb *ask, void *arg)
{
	if (!offer.key || !bio_is(bio, offer.text))
		return read_plain(bio, key, ask, arg);
	offer.asked++;
	/* dkim_free drops a reference, but in the packaged version not that of an
	 * Ed25519 key: what it takes for its own is what was measured. */
	if (dkim_shortcut.drops[offer.type] && EVP_PKEY_up_ref(offer.key) != 1)
		return NULL;
	return offer.key;
}
