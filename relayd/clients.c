/* SPDX-License-Identifier: MIT */
#include "relayd/clients.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/hash.h"
#include "relayd/base/mem.h"

#define MINUTE_MS 60000
#define KNOWN_MAX 20000 /* without a connection, more are forgotten */

struct client {
	UT_hash_handle hh; /* the one seen last stands last */
	char key[CONN_ADDRESS_TEXT];
	size_t connections;
	size_t parting;    /* of these: their session is over */
	int64_t minute_ms; /* when its minute began */
	size_t entered;    /* connections within it */
	size_t messages;
};

struct clients {
	struct client *list;
	size_t connections;
};

struct clients *clients_new(void)
{
	return mem_zero(sizeof(struct clients));
}

static void forget(struct clients *clients, struct client *c)
{
	HASH_DEL(clients->list, c);
	mem_free(c);
}

void clients_free(struct clients *clients)
{
	struct client *c;
	struct client *next;
	HASH_ITER (hh, clients->list, c, next)
		forget(clients, c);
	mem_free(clients);
}

void clients_key(const struct conn_address *peer, uid_t uid, char *key)
{
	struct conn_address net = *peer;
	if (peer->addr.ss_family == AF_UNIX) {
		snprintf(key, CONN_ADDRESS_TEXT, "unix:%u", (unsigned)uid);
		return;
	}
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&net.addr;
	if (net.addr.ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		memset(six->sin6_addr.s6_addr + 8, 0, 8);
	conn_address_text(&net, key);
}

/* Those that were seen first stand first. */
static void make_room(struct clients *clients, int64_t now)
{
	struct client *c;
	struct client *next;
	HASH_ITER (hh, clients->list, c, next) {
		bool full = HASH_COUNT(clients->list) >= KNOWN_MAX;
		if (!full && now - c->minute_ms < MINUTE_MS)
			return;
		if (c->connections == 0)
			forget(clients, c);
	}
}

static struct client *find(struct clients *clients, const char *key, int64_t now)
{
	struct client *c;
	HASH_FIND_STR(clients->list, key, c);
	if (c && now - c->minute_ms < MINUTE_MS)
		return c;
	if (c) { /* it goes to the end, where the new ones are */
		HASH_DEL(clients->list, c);
		c->entered = c->messages = 0;
	} else {
		make_room(clients, now);
		c = mem_zero(sizeof(*c));
		snprintf(c->key, sizeof(c->key), "%s", key);
	}
	c->minute_ms = now;
	HASH_ADD_STR(clients->list, key, c);
	return c;
}

const char *clients_enter(struct clients *clients, const char *key,
    const struct conf_limits *limits, int64_t now)
{
	struct client *c = find(clients, key, now);
	if (clients->connections >= (size_t)limits->connections)
		return "421 4.3.2 too many connections here, try again later\r\n";
	size_t most = (size_t)limits->connections_per_client;
	if (c->connections - c->parting >= most || c->connections >= 2 * most)
		return "421 4.7.0 too many connections from you, try again later\r\n";
	if (limits->connections_per_minute &&
	    c->entered >= (size_t)limits->connections_per_minute)
		return "421 4.7.0 too many connections from you within a minute, try again later\r\n";
	c->entered++;
	c->connections++;
	clients->connections++;
	return NULL;
}

static struct client *find_present(struct clients *clients, const char *key)
{
	struct client *c;
	HASH_FIND_STR(clients->list, key, c);
	if (!c || c->connections == 0)
		bug("a client leaves that was not here");
	return c;
}

void clients_part(struct clients *clients, const char *key)
{
	find_present(clients, key)->parting++;
}

void clients_leave(struct clients *clients, const char *key, bool parted)
{
	struct client *c = find_present(clients, key);
	c->connections--;
	c->parting -= parted;
	clients->connections--;
}

bool clients_send(struct clients *clients, const char *key, const struct conf_limits *limits,
    int64_t now)
{
	struct client *c = find(clients, key, now);
	if (limits->messages_per_minute && c->messages >= (size_t)limits->messages_per_minute)
		return false;
	c->messages++;
	return true;
}

size_t clients_connections(const struct clients *clients)
{
	return clients->connections;
}

size_t clients_known(const struct clients *clients)
{
	return HASH_COUNT(clients->list);
}
