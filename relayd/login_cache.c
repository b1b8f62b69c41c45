/* SPDX-License-Identifier: MIT */
#include "relayd/login_cache.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "relayd/base/buf.h"
#include "relayd/base/hash.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define KEY_SIZE 32

struct entry {
	UT_hash_handle hh;
	unsigned char key[KEY_SIZE];
	int64_t until;
};

struct login_cache {
	struct entry *entries; /* in the order of adding */
	size_t max;
	unsigned char secret[KEY_SIZE];
};

struct login_cache *login_cache_new(size_t max)
{
	struct login_cache *cache = mem_zero(sizeof(*cache));
	cache->max = max;
	random_bytes(cache->secret, sizeof(cache->secret));
	return cache;
}

static void drop(struct login_cache *cache, struct entry *entry)
{
	HASH_DEL(cache->entries, entry);
	mem_wipe(entry, sizeof(*entry));
	mem_free(entry);
}

void login_cache_free(struct login_cache *cache)
{
	if (!cache)
		return;
	while (cache->entries)
		drop(cache, cache->entries);
	mem_wipe(cache, sizeof(*cache));
	mem_free(cache);
}

static void make_key(const struct login_cache *cache, const char *user, const char *hash,
    const char *password, unsigned char *key)
{
	struct buf text = {0};
	unsigned n = 0;
	/* room first, so that no half of it stays behind in freed memory */
	buf_room(&text, strlen(user) + strlen(hash) + strlen(password) + 3);
	buf_add(&text, user, strlen(user) + 1);
	buf_add(&text, hash, strlen(hash) + 1);
	buf_add(&text, password, strlen(password));
	if (!HMAC(EVP_sha256(), cache->secret, KEY_SIZE, (const unsigned char *)text.data, text.len,
		key, &n))
		bug("HMAC");
	buf_wipe(&text);
}

static struct entry *find(struct login_cache *cache, const unsigned char *key)
{
	struct entry *entry;
	HASH_FIND(hh, cache->entries, key, KEY_SIZE, entry);
	return entry;
}

bool login_cache_holds(struct login_cache *cache, const char *user, const char *hash,
    const char *password, int64_t now)
{
	unsigned char key[KEY_SIZE];
	make_key(cache, user, hash, password, key);
	struct entry *entry = find(cache, key);
	if (entry && entry->until <= now) {
		drop(cache, entry);
		entry = NULL;
	}
	return entry != NULL;
}

void login_cache_add(struct login_cache *cache, const char *user, const char *hash,
    const char *password, int64_t until)
{
	unsigned char key[KEY_SIZE];
	make_key(cache, user, hash, password, key);
	struct entry *entry = find(cache, key);
	if (!entry) {
		if (HASH_COUNT(cache->entries) >= cache->max)
			drop(cache, cache->entries);
		entry = mem_zero(sizeof(*entry));
		memcpy(entry->key, key, KEY_SIZE);
		HASH_ADD(hh, cache->entries, key, KEY_SIZE, entry);
	}
	entry->until = until;
}
