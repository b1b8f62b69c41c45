/* SPDX-License-Identifier: MIT
 * The min-heap of heap.h: an array of pointers, the children of place i at
 * 2i+1 and 2i+2. Every move of a node writes its new place into it.
 */
#include "relayd/base/heap.h"

#include "relayd/base/mem.h"

void heap_node_init(struct heap_node *node)
{
	node->key = 0;
	node->place = HEAP_NOWHERE;
}

bool heap_holds(const struct heap_node *node)
{
	return node->place != HEAP_NOWHERE;
}

static void put(struct heap *heap, size_t place, struct heap_node *node)
{
	heap->nodes[place] = node;
	node->place = (uint32_t)place;
}

/* PLACE is a hole that NODE is to fill: move the hole up / down as far as
 * NODE's key wants it. */
static void rise(struct heap *heap, size_t place, struct heap_node *node)
{
	while (place > 0) {
		size_t parent = (place - 1) / 2;
		if (heap->nodes[parent]->key <= node->key)
			break;
		put(heap, place, heap->nodes[parent]);
		place = parent;
	}
	put(heap, place, node);
}

static void sink(struct heap *heap, size_t place, struct heap_node *node)
{
	for (;;) {
		size_t child = place * 2 + 1;
		if (child >= heap->count)
			break;
		if (child + 1 < heap->count &&
		    heap->nodes[child + 1]->key < heap->nodes[child]->key)
			child++;
		if (node->key <= heap->nodes[child]->key)
			break;
		put(heap, place, heap->nodes[child]);
		place = child;
	}
	put(heap, place, node);
}

static void settle(struct heap *heap, size_t place, struct heap_node *node)
{
	if (place > 0 && node->key < heap->nodes[(place - 1) / 2]->key)
		rise(heap, place, node);
	else
		sink(heap, place, node);
}

void heap_add(struct heap *heap, struct heap_node *node, int64_t key)
{
	if (heap_holds(node))
		bug("heap node added twice");
	if (heap->count >= HEAP_NOWHERE)
		bug("heap too large");
	if (heap->count == heap->cap) {
		heap->cap = heap->cap ? heap->cap * 2 : 64;
		heap->nodes =
		    mem_resize(heap->nodes, heap->cap, sizeof(struct heap_node *));
	}
	node->key = key;
	rise(heap, heap->count++, node);
}

void heap_move(struct heap *heap, struct heap_node *node, int64_t key)
{
	if (!heap_holds(node)) {
		heap_add(heap, node, key);
		return;
	}
	node->key = key;
	settle(heap, node->place, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	if (!heap_holds(node))
		return;
	size_t place = node->place;
	if (place >= heap->count || heap->nodes[place] != node)
		bug("heap node of another heap");
	node->place = HEAP_NOWHERE;
	struct heap_node *last = heap->nodes[--heap->count];
	if (last != node)
		settle(heap, place, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
	return heap->count ? heap->nodes[0] : NULL;
}

void heap_free(struct heap *heap)
{
	mem_free(heap->nodes);
	*heap = (struct heap){0};
}
