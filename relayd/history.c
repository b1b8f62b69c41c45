/* SPDX-License-Identifier: MIT
 * One hash table of answers in the order of noting, so that its first entry is the
 * one to go. An entry is replaced, not changed: that makes it the newest. A second
 * table has the messages, each with the list of its answers.
 */
#include "relayd/history.h"

#include <string.h>
#include <utlist.h>

#include "relayd/base/hash.h"
#include "relayd/base/mem.h"

struct key {
	uint64_t id;
	uint64_t recipient; /* wide, so that there is no padding to be hashed */
};

struct owner {
	UT_hash_handle hh; /* by id */
	uint64_t id;
	struct known *answers; /* utlist, the newest last */
};

struct known {
	UT_hash_handle hh; /* by key; uthash keeps the order of adding */
	struct key key;
	struct owner *owner;
	struct known *prev;
	struct known *next;
	struct history_entry entry;
	char texts[]; /* what mx, smarthost, provider and text point to */
};

struct history {
	struct known *all;
	struct owner *owners;
	size_t max;
};

struct history *history_new(size_t max)
{
	struct history *h = mem_zero(sizeof(*h));
	h->max = max;
	return h;
}

static struct known *find(const struct history *h, uint64_t id, uint32_t recipient)
{
	struct key key = {id, recipient};
	struct known *k;
	HASH_FIND(hh, h->all, &key, sizeof(key), k);
	return k;
}

static struct owner *find_owner(const struct history *h, uint64_t id)
{
	struct owner *o;
	HASH_FIND(hh, h->owners, &id, sizeof(id), o);
	return o;
}

static void drop(struct history *h, struct known *k)
{
	struct owner *o = k->owner;
	HASH_DEL(h->all, k);
	DL_DELETE(o->answers, k);
	if (!o->answers) {
		HASH_DEL(h->owners, o);
		mem_free(o);
	}
	mem_free(k);
}

void history_free(struct history *h)
{
	while (h->all)
		drop(h, h->all);
	mem_free(h);
}

void history_forget(struct history *h, uint64_t id, uint32_t recipient)
{
	struct known *k = find(h, id, recipient);
	if (k)
		drop(h, k);
}

void history_forget_message(struct history *h, uint64_t id)
{
	struct owner *o;
	while ((o = find_owner(h, id)))
		drop(h, o->answers);
}

static struct owner *get_owner(struct history *h, uint64_t id)
{
	struct owner *o = find_owner(h, id);
	if (o)
		return o;
	o = mem_zero(sizeof(*o));
	o->id = id;
	HASH_ADD(hh, h->owners, id, sizeof(o->id), o);
	return o;
}

/* Append TEXT, cut, at AT. Result: where it ends. */
static char *put(char *at, const char **text, size_t n)
{
	memcpy(at, *text, n);
	*text = at;
	return at + n + 1;
}

static size_t length(const char **text, size_t max)
{
	if (!*text)
		*text = "";
	return strnlen(*text, max);
}

static struct known *copy(const struct history_entry *entry)
{
	struct history_entry e = *entry;
	size_t mx = length(&e.mx, HISTORY_MX_MAX);
	size_t smarthost = length(&e.smarthost, HISTORY_NAME_MAX);
	size_t provider = length(&e.provider, HISTORY_PROVIDER_MAX);
	size_t text = length(&e.text, HISTORY_TEXT_MAX);
	struct known *k = mem_zero(sizeof(*k) + mx + smarthost + provider + text + 4);
	char *at = put(k->texts, &e.mx, mx);
	at = put(at, &e.smarthost, smarthost);
	at = put(at, &e.provider, provider);
	put(at, &e.text, text);
	k->entry = e;
	return k;
}

void history_note(struct history *h, uint64_t id, uint32_t recipient,
    const struct history_entry *entry)
{
	if (h->max == 0)
		return;
	struct known *k = copy(entry); /* before anything goes that it may be part of */
	history_forget(h, id, recipient);
	while (HASH_COUNT(h->all) >= h->max)
		drop(h, h->all);
	k->key = (struct key){id, recipient};
	k->owner = get_owner(h, id);
	DL_APPEND(k->owner->answers, k);
	HASH_ADD(hh, h->all, key, sizeof(k->key), k);
}

const struct history_entry *history_find(const struct history *h, uint64_t id, uint32_t recipient)
{
	const struct known *k = find(h, id, recipient);
	return k ? &k->entry : NULL;
}

const struct history_entry *history_newest(const struct history *h, uint64_t id)
{
	const struct owner *o = find_owner(h, id);
	return o ? &o->answers->prev->entry : NULL; /* the head's prev is the tail */
}
