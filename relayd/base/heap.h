/* SPDX-License-Identifier: MIT
 * A binary min-heap of nodes that live inside other structs. The key is a
 * 64-bit number (a time); equal keys come out in any order. Add, remove and
 * move are O(log n); a node knows its place, so removal needs no search.
 */
#ifndef RELAYD_BASE_HEAP_H
#define RELAYD_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NOWHERE UINT32_MAX

struct heap_node {
	int64_t key;
	uint32_t place; /* index in the heap, HEAP_NOWHERE when in none */
};

struct heap {
	struct heap_node **nodes;
	size_t count;
	size_t cap;
};

void heap_node_init(struct heap_node *node);
bool heap_holds(const struct heap_node *node);
void heap_add(struct heap *heap, struct heap_node *node, int64_t key);
void heap_move(struct heap *heap, struct heap_node *node, int64_t key); /* or add */
void heap_remove(struct heap *heap, struct heap_node *node); /* no-op when in none */
struct heap_node *heap_first(const struct heap *heap);       /* NULL when empty */
void heap_free(struct heap *heap); /* the array; nodes belong to their owners */

/* The struct that NODE is member MEMBER of. */
#define heap_owner(node, type, member) \
	((type *)(void *)((char *)(node) - offsetof(type, member)))

#endif
