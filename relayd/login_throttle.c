/* SPDX-License-Identifier: MIT
 * Counters in three tables, each with its own bound, so that made-up names can not
 * push out what is known of real logins. Keys are keyed hashes: of equal length,
 * and nobody can choose them to collide.
 */
#include "relayd/login_throttle.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <utlist.h>

#include "relayd/base/buf.h"
#include "relayd/base/conn.h"
#include "relayd/base/hash.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define KEY_SIZE 16
#define SECRET_SIZE 32

struct throttle_count {
	UT_hash_handle hh;
	struct throttle_count *prev; /* the one unseen for longest is the first */
	struct throttle_count *next;
	struct table *table;
	unsigned char key[KEY_SIZE];
	unsigned failures; /* in a row */
	unsigned running;  /* tries under way: such a one is not forgotten */
	int64_t banned_until;
	int64_t failed_ms; /* the last time */
};

struct table {
	struct throttle_count *hash;
	struct throttle_count *list;
	size_t count;
};

enum kind { KIND_ADDRESS, KIND_USER, KIND_PAIR, KIND_COUNT };

struct throttle {
	struct throttle_limits limits;
	size_t max;
	struct table tables[KIND_COUNT];
	unsigned char secret[SECRET_SIZE];
};

struct throttle *throttle_new(size_t max)
{
	struct throttle *t = mem_zero(sizeof(*t));
	t->max = max;
	random_bytes(t->secret, sizeof(t->secret));
	return t;
}

static void forget(struct throttle_count *c)
{
	struct table *table = c->table;
	HASH_DEL(table->hash, c);
	DL_DELETE(table->list, c);
	table->count--;
	mem_free(c);
}

void throttle_free(struct throttle *t)
{
	if (!t)
		return;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		while (t->tables[kind].list)
			forget(t->tables[kind].list);
	mem_free(t);
}

void throttle_set(struct throttle *t, const struct throttle_limits *limits)
{
	t->limits = *limits;
}

/* ---- keys ---- */

static void add_client(struct buf *text, const char *client)
{
	struct conn_address a = {0};
	char net[CONN_ADDRESS_TEXT];
	if (conn_address_parse(&a, client, 0) < 0 || a.addr.ss_family != AF_INET6) {
		buf_add_text(text, client);
		return;
	}
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&a.addr;
	if (!IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		memset(six->sin6_addr.s6_addr + 8, 0, 8);
	buf_add_text(text, conn_address_text(&a, net));
}

static void make_key(const struct throttle *t, enum kind kind, const char *client,
    const char *user, unsigned char *key)
{
	struct buf text = {0};
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (kind != KIND_USER)
		add_client(&text, client);
	buf_add_byte(&text, '\0');
	if (kind != KIND_ADDRESS)
		buf_add_text(&text, user);
	if (!HMAC(EVP_sha256(), t->secret, SECRET_SIZE, (const unsigned char *)text.data, text.len,
		hash, &n))
		bug("HMAC");
	memcpy(key, hash, KEY_SIZE);
	buf_free(&text);
}

/* ---- counters ---- */

static struct throttle_count *find(struct table *table, const unsigned char *key)
{
	struct throttle_count *c;
	HASH_FIND(hh, table->hash, key, KEY_SIZE, c);
	return c;
}

static void make_room(struct throttle *t, struct table *table)
{
	struct throttle_count *c = table->list;
	while (c && table->count >= t->max) {
		struct throttle_count *next = c->next;
		if (c->running == 0)
			forget(c);
		c = next;
	}
}

/* The counter, made when it is not there, as the one seen last. */
static struct throttle_count *take(struct throttle *t, struct table *table,
    const unsigned char *key)
{
	struct throttle_count *c = find(table, key);
	if (c) {
		DL_DELETE(table->list, c);
		DL_APPEND(table->list, c);
		return c;
	}
	make_room(t, table);
	c = mem_zero(sizeof(*c));
	c->table = table;
	memcpy(c->key, key, KEY_SIZE);
	HASH_ADD(hh, table->hash, key, KEY_SIZE, c);
	DL_APPEND(table->list, c);
	table->count++;
	return c;
}

static enum throttle_answer ask(const struct throttle *t, struct throttle_count *c, int64_t now)
{
	unsigned limit = (unsigned)t->limits.failures;
	int64_t quiet = now - (c->banned_until > c->failed_ms ? c->banned_until : c->failed_ms);
	if (c->failures && quiet >= t->limits.ban)
		c->failures = 0;
	if (now < c->banned_until)
		return THROTTLE_BANNED;
	/* as if those under way would all fail; a ban that is over leaves room for one */
	unsigned room = c->failures < limit ? limit - c->failures : 1;
	return c->running < room ? THROTTLE_GO : THROTTLE_WAIT;
}

enum throttle_answer throttle_begin(struct throttle *t, const char *client, const char *user,
    int64_t now, struct throttle_try *try)
{
	unsigned char key[KEY_SIZE];
	*try = (struct throttle_try){0};
	make_key(t, KIND_PAIR, client, user, try->pair);
	if (find(&t->tables[KIND_PAIR], try->pair)) {
		try->counts[0] = take(t, &t->tables[KIND_PAIR], try->pair);
	} else {
		make_key(t, KIND_ADDRESS, client, user, key);
		try->counts[0] = take(t, &t->tables[KIND_ADDRESS], key);
		make_key(t, KIND_USER, client, user, key);
		try->counts[0]->running++; /* it stays while there is room made for the other */
		try->counts[1] = take(t, &t->tables[KIND_USER], key);
		try->counts[0]->running--;
	}
	enum throttle_answer worst = THROTTLE_GO;
	for (int i = 0; i < 2 && try->counts[i]; i++) {
		enum throttle_answer answer = ask(t, try->counts[i], now);
		worst = answer > worst ? answer : worst;
	}
	for (int i = 0; i < 2 && worst == THROTTLE_GO && try->counts[i]; i++)
		try->counts[i]->running++;
	return worst;
}

void throttle_drop(struct throttle *t, struct throttle_try *try)
{
	(void)t;
	for (int i = 0; i < 2 && try->counts[i]; i++)
		try->counts[i]->running--;
}

static void count_failure(const struct throttle *t, struct throttle_count *c, int64_t now)
{
	c->failures++;
	c->failed_ms = now;
	if (c->failures >= (unsigned)t->limits.failures)
		c->banned_until = now + t->limits.ban;
}

unsigned throttle_end(struct throttle *t, struct throttle_try *try, bool success, int64_t now)
{
	unsigned failures = 0;
	throttle_drop(t, try);
	if (success) {
		/* not the address's: who has a login of his own would guess on for ever */
		struct throttle_count *own = try->counts[1] ? try->counts[1] : try->counts[0];
		own->failures = 0;
		take(t, &t->tables[KIND_PAIR], try->pair);
		return 0;
	}
	for (int i = 0; i < 2 && try->counts[i]; i++) {
		count_failure(t, try->counts[i], now);
		if (try->counts[i]->failures > failures)
			failures = try->counts[i]->failures;
	}
	return failures;
}

size_t throttle_size(const struct throttle *t)
{
	size_t n = 0;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		n += t->tables[kind].count;
	return n;
}

size_t throttle_banned(const struct throttle *t, int64_t now)
{
	size_t n = 0;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		const struct throttle_count *c;
		DL_FOREACH (t->tables[kind].list, c)
			n += c->banned_until > now;
	}
	return n;
}
