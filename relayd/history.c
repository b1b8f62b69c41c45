/* SPDX-License-Identifier: MIT
 * One hash table in the order of noting, so that its first entry is the one to
 * go. An entry is replaced, not changed: that makes it the newest.
 */
#include "relayd/history.h"

#include <stdio.h>
#include <uthash.h>

#include "relayd/base/mem.h"

struct known {
	UT_hash_handle hh; /* by id; uthash keeps the order of adding */
	uint64_t id;
	struct history_entry entry;
};

struct history {
	struct known *all;
	size_t max;
};

struct history *history_new(size_t max)
{
	struct history *h = mem_zero(sizeof(*h));
	h->max = max;
	return h;
}

static struct known *find(const struct history *h, uint64_t id)
{
	struct known *k;
	HASH_FIND(hh, h->all, &id, sizeof(id), k);
	return k;
}

static void drop(struct history *h, struct known *k)
{
	HASH_DEL(h->all, k);
	mem_free(k->entry.mx);
	mem_free(k->entry.text);
	mem_free(k);
}

void history_free(struct history *h)
{
	while (h->all)
		drop(h, h->all);
	mem_free(h);
}

void history_forget(struct history *h, uint64_t id)
{
	struct known *k = find(h, id);
	if (k)
		drop(h, k);
}

void history_note(struct history *h, uint64_t id, int64_t when_ms, const char *status,
    const char *mx, const char *text)
{
	history_forget(h, id);
	if (h->max == 0)
		return;
	while (HASH_COUNT(h->all) >= h->max)
		drop(h, h->all);
	struct known *k = mem_zero(sizeof(*k));
	k->id = id;
	k->entry.when_ms = when_ms;
	snprintf(k->entry.status, sizeof(k->entry.status), "%s", status);
	k->entry.mx = mem_text(mx);
	k->entry.text = mem_text(text);
	HASH_ADD(hh, h->all, id, sizeof(k->id), k);
}

const struct history_entry *history_find(const struct history *h, uint64_t id)
{
	const struct known *k = find(h, id);
	return k ? &k->entry : NULL;
}
