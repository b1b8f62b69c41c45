/* SPDX-License-Identifier: MIT
 * Parked connections: one list, oldest first. It holds tens of them, so a walk
 * is cheaper than an index would be. The newest of a key is taken first: it is
 * the likeliest to be alive, and the others run out by themselves.
 */
#include "smtp/reuse.h"

#include <string.h>
#include <utlist.h>

#include "relayd/base/mem.h"

struct parked {
	struct parked *prev;
	struct parked *next;
	struct reuse *reuse;
	struct client *client;
	char *key;
	struct timer timer;
};

struct reuse {
	struct loop *loop;
	int64_t idle_ms;
	size_t max;
	size_t count;
	struct parked *list;
};

static void release(void *arg)
{
	struct parked *parked = arg;
	mem_free(parked->key);
	mem_free(parked);
}

/* Take it off the list; the client is the caller's. */
static struct client *unpark(struct parked *parked)
{
	struct reuse *reuse = parked->reuse;
	DL_DELETE(reuse->list, parked);
	reuse->count--;
	timer_stop(&parked->timer);
	loop_defer(reuse->loop, release, parked);
	return parked->client;
}

static void on_idle(void *arg)
{
	client_close(unpark(arg));
}

static void on_failed(void *arg, const struct client_result *result, bool idle)
{
	(void)result;
	(void)idle;
	unpark(arg); /* the client goes by itself */
}

static void on_nothing(void *arg)
{
	(void)arg;
	bug("a parked connection has a transaction");
}

static void on_recipient(void *arg, size_t i, const struct client_result *result)
{
	(void)i;
	(void)result;
	on_nothing(arg);
}

static const struct client_handler parked_handler = {
    .ready = on_nothing,
    .recipient = on_recipient,
    .done = on_nothing,
    .failed = on_failed,
};

struct reuse *reuse_new(struct loop *loop, int64_t idle_ms, size_t max)
{
	struct reuse *reuse = mem_zero(sizeof(*reuse));
	reuse->loop = loop;
	reuse->idle_ms = idle_ms;
	reuse->max = max;
	return reuse;
}

void reuse_free(struct reuse *reuse)
{
	if (!reuse)
		return;
	while (reuse->list)
		client_close(unpark(reuse->list));
	mem_free(reuse);
}

void reuse_put(struct reuse *reuse, const char *key, struct client *client)
{
	if (reuse->max == 0 || reuse->idle_ms <= 0) {
		client_close(client);
		return;
	}
	if (reuse->count >= reuse->max)
		client_close(unpark(reuse->list));
	struct parked *parked = mem_zero(sizeof(*parked));
	parked->reuse = reuse;
	parked->client = client;
	parked->key = mem_text(key);
	timer_init(&parked->timer, reuse->loop, on_idle, parked);
	timer_start(&parked->timer, reuse->idle_ms);
	client_set_handler(client, &parked_handler, parked);
	DL_APPEND(reuse->list, parked);
	reuse->count++;
}

struct client *reuse_take(struct reuse *reuse, const char *key)
{
	if (!reuse->list)
		return NULL;
	/* the head's prev is the tail */
	struct parked *parked = reuse->list->prev;
	while (strcmp(parked->key, key) != 0) {
		if (parked == reuse->list)
			return NULL;
		parked = parked->prev;
	}
	return unpark(parked);
}

size_t reuse_count(const struct reuse *reuse)
{
	return reuse->count;
}
