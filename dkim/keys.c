/* SPDX-License-Identifier: MIT
 * The set of keys of one configuration: made at load, never changed after,
 * shared by all threads. How a worker keeps them decoded is in sign.c, how
 * libopendkim gets them in shortcut.c, the proof that it is safe in selftest.c.
 */
#include "dkim/keys.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"

#define FAULTS_MAX 100

struct dkim_keys *dkim_keys_new(size_t count)
{
	static atomic_uint_least64_t serial;
	struct dkim_keys *keys = mem_zero(sizeof(*keys));
	keys->serial = atomic_fetch_add(&serial, 1) + 1;
	keys->key = mem_array(count ? count : 1, sizeof(*keys->key));
	return keys;
}

/* Both end up in the signature and in a DNS name. */
static int name_check(const char *what, const char *name, struct why *why)
{
	size_t n = strlen(name);
	size_t valid = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
	if (n && n == valid && n <= 253)
		return 0;
	struct buf shown = {0};
	text_escape(&shown, span_text(name), 60);
	why_set(why, WHY_LOCAL,
	    "%s \"%s\" is not a DNS name (letters, digits, hyphens, dots)", what,
	    buf_text(&shown));
	buf_free(&shown);
	return -1;
}

int dkim_keys_add(struct dkim_keys *keys, const char *domain, const char *selector,
    EVP_PKEY *key, struct why *why)
{
	enum dkim_key_type type;
	struct buf pem = {0};
	if (name_check("domain", domain, why) || name_check("selector", selector, why) ||
	    dkim_pem_type(key, &type, why) || dkim_pem_print(key, &pem, why))
		return -1;
	struct dkim_key *to = &keys->key[keys->count++];
	to->domain = mem_text(domain);
	to->selector = mem_text(selector);
	to->type = type;
	to->pem = buf_take(&pem, NULL);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct dkim_key *x = a;
	const struct dkim_key *y = b;
	int order = strcasecmp(x->domain, y->domain);
	return order ? order : strcasecmp(x->selector, y->selector);
}

/* First key whose domain is not before DOMAIN. */
static size_t lower_bound(const struct dkim_keys *keys, const char *domain)
{
	size_t low = 0;
	size_t high = keys->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcasecmp(keys->key[middle].domain, domain) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t dkim_keys_find(const struct dkim_keys *keys, const char *domain, size_t *count)
{
	size_t first = lower_bound(keys, domain);
	size_t i = first;
	while (i < keys->count && !strcasecmp(keys->key[i].domain, domain))
		i++;
	*count = i - first;
	return first;
}

bool dkim_keys_has(const struct dkim_keys *keys, const char *domain)
{
	size_t count;
	dkim_keys_find(keys, domain, &count);
	return count != 0;
}

bool dkim_keys_any(const struct dkim_keys *keys)
{
	return keys->count != 0;
}

static int key_load(struct dkim_keys *keys, const struct conf_domain *domain,
    const struct conf_dkim_key *from, struct why *why)
{
	EVP_PKEY *key = dkim_pem_read(from->key, why);
	if (!key)
		return -1;
	int result = dkim_keys_add(keys, domain->name, from->selector, key, why);
	EVP_PKEY_free(key);
	return result ? why_prefix(why, "%s", from->key) : 0;
}

static void domain_load(struct dkim_keys *keys, const struct conf_domain *domain,
    struct conf_errors *errors)
{
	for (size_t i = 0; i < domain->dkim_count; i++) {
		const struct conf_dkim_key *key = &domain->dkim[i];
		struct why why = {0};
		if (i == DKIM_KEYS_PER_DOMAIN) {
			why_set(&why, WHY_LOCAL,
			    "%s has more than %d DKIM keys; each message would get as many "
			    "signatures", domain->name, DKIM_KEYS_PER_DOMAIN);
			conf_errors_add(errors, key->key_at, "domains.dkim", why.text);
			return;
		}
		if (domain->name[0] && key->selector[0] && key->key[0] &&
		    key_load(keys, domain, key, &why) < 0)
			conf_errors_add(errors, key->key_at, "domains.dkim.key", why.text);
	}
}

/* A folder of keys that was moved is one mistake, and there may be very many keys. */
static void keys_load(struct dkim_keys *keys, const struct conf_domain *domains, size_t count,
    struct conf_errors *errors)
{
	size_t before = errors->count;
	for (size_t i = 0; i < count; i++) {
		if (errors->count - before >= FAULTS_MAX) {
			conf_errors_add(errors, domains[i - 1].dkim[0].key_at, "domains.dkim.key",
			    "the keys of the domains behind this one were not looked at");
			return;
		}
		domain_load(keys, &domains[i], errors);
	}
	qsort(keys->key, keys->count, sizeof(*keys->key), compare);
}

/* Only text stays, so all that OpenSSL fetches and keeps to read keys goes with a
 * library context of its own. */
struct dkim_keys *dkim_keys_load(
    const struct conf_domain *domains, size_t count, struct conf_errors *errors)
{
	size_t before = errors->count;
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += domains[i].dkim_count;
	struct dkim_keys *keys = dkim_keys_new(total);
	if (total == 0)
		return keys;
	OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
	if (!context)
		bug("no OpenSSL library context");
	OSSL_LIB_CTX *old = OSSL_LIB_CTX_set0_default(context);
	keys_load(keys, domains, count, errors);
	OSSL_LIB_CTX_set0_default(old);
	OSSL_LIB_CTX_free(context);
	if (errors->count == before)
		return keys;
	dkim_keys_free(keys);
	return NULL;
}

void dkim_keys_free(struct dkim_keys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; i < keys->count; i++) {
		struct dkim_key *key = &keys->key[i];
		mem_wipe(key->pem, strlen(key->pem));
		mem_free(key->pem);
		mem_free(key->selector);
		mem_free(key->domain);
	}
	mem_free(keys->key);
	mem_free(keys);
}
