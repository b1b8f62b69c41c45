/* SPDX-License-Identifier: MIT */
#include "relayd/plain_hosts.h"

#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/hash.h"
#include "relayd/base/mem.h"

struct plain_host {
	char *key;
	int64_t until_ms;
	UT_hash_handle hh;
};

struct plain_hosts {
	struct plain_host *table; /* the oldest first */
};

static void drop(struct plain_hosts *hosts, struct plain_host *host)
{
	HASH_DEL(hosts->table, host);
	mem_free(host->key);
	mem_free(host);
}

static struct plain_host *find(const struct plain_hosts *hosts, const char *key)
{
	struct plain_host *host;
	HASH_FIND_STR(hosts->table, key, host);
	return host;
}

struct plain_hosts *plain_hosts_new(void)
{
	return mem_zero(sizeof(struct plain_hosts));
}

void plain_hosts_free(struct plain_hosts *hosts)
{
	while (hosts->table)
		drop(hosts, hosts->table);
	mem_free(hosts);
}

void plain_hosts_add(struct plain_hosts *hosts, const char *key)
{
	struct plain_host *host = find(hosts, key);
	if (host)
		drop(hosts, host);
	else if (HASH_COUNT(hosts->table) >= PLAIN_HOSTS_MAX)
		drop(hosts, hosts->table);
	host = mem_zero(sizeof(*host));
	host->key = mem_text(key);
	host->until_ms = clock_mono_ms() + PLAIN_HOSTS_MS;
	HASH_ADD_KEYPTR(hh, hosts->table, host->key, strlen(host->key), host);
}

bool plain_hosts_has(struct plain_hosts *hosts, const char *key)
{
	struct plain_host *host = find(hosts, key);
	if (host && clock_mono_ms() >= host->until_ms) {
		drop(hosts, host);
		host = NULL;
	}
	return host != NULL;
}

size_t plain_hosts_count(const struct plain_hosts *hosts)
{
	return HASH_COUNT(hosts->table);
}
