/* SPDX-License-Identifier: MIT
 * The trie is sparse (first child, next sibling) with a failure per state: a
 * table of next states would be faster by half, and cost two megabytes.
 */
#include "queue/words.h"

#include <string.h>

#include "relayd/base/mem.h"

#define STATES_MAX 60000
#define NESTED_MAX 16 /* phrases that may end at one byte */
#define NONE 0xffff

enum { NUMBER_IP, NUMBER_IP6, NUMBER_ADDRESS, NUMBER_FIRST };

struct node {
	uint16_t child, sibling;
	uint16_t fail;
	uint16_t phrase; /* the first that ends here */
	uint16_t shorter; /* the next state on the way of failures with a phrase */
	unsigned char byte;
};

struct phrase {
	uint16_t length;
	uint16_t next; /* with the same bytes */
	bool open_left, open_right;
};

struct words {
	struct node *nodes;
	struct phrase *phrases;
	size_t node_count, phrase_count, node_room, phrase_room;
	uint16_t first[256]; /* children of the root; 0: none */
};

static uint16_t add_node(struct words *w, unsigned char byte)
{
	if (w->node_count == w->node_room) {
		w->node_room = w->node_room ? w->node_room * 2 : 256;
		w->nodes = mem_resize(w->nodes, w->node_room, sizeof(*w->nodes));
	}
	w->nodes[w->node_count] = (struct node){
	    .child = NONE, .sibling = NONE, .phrase = NONE, .shorter = NONE, .byte = byte};
	return (uint16_t)w->node_count++;
}

static uint16_t add_phrase(struct words *w, struct phrase phrase)
{
	if (w->phrase_count == w->phrase_room) {
		w->phrase_room = w->phrase_room ? w->phrase_room * 2 : 256;
		w->phrases = mem_resize(w->phrases, w->phrase_room, sizeof(*w->phrases));
	}
	w->phrases[w->phrase_count] = phrase;
	return (uint16_t)w->phrase_count++;
}

struct words *words_new(void)
{
	struct words *w = mem_zero(sizeof(*w));
	add_node(w, 0);
	for (int i = 0; i < NUMBER_FIRST; i++)
		add_phrase(w, (struct phrase){.next = NONE});
	return w;
}

void words_free(struct words *words)
{
	if (!words)
		return;
	mem_free(words->nodes);
	mem_free(words->phrases);
	mem_free(words);
}

static bool special(struct span phrase, unsigned *number)
{
	static const char *const names[] = {
	    [NUMBER_IP] = "@ip", [NUMBER_IP6] = "@ip6", [NUMBER_ADDRESS] = "@address"};
	for (unsigned i = 0; i < NUMBER_FIRST; i++)
		if (span_is_nocase(phrase, names[i])) {
			*number = i;
			return true;
		}
	return false;
}

static uint16_t step(const struct words *w, uint16_t state, unsigned char byte)
{
	uint16_t to = w->nodes[state].child;
	while (to != NONE && w->nodes[to].byte != byte)
		to = w->nodes[to].sibling;
	return to;
}

static uint16_t walk(struct words *w, const char *p, size_t n)
{
	uint16_t state = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)p[i];
		uint16_t to = step(w, state, byte);
		if (to == NONE) {
			to = add_node(w, byte);
			w->nodes[to].sibling = w->nodes[state].child;
			w->nodes[state].child = to;
		}
		state = to;
	}
	return state;
}

/* Cut the stars off; a plain form has neither stars nor long phrases. */
static int take_stars(struct span *phrase, struct phrase *p, struct why *why)
{
	p->open_left = phrase->n && phrase->p[0] == '*';
	if (p->open_left)
		phrase->p++, phrase->n--;
	p->open_right = phrase->n && phrase->p[phrase->n - 1] == '*';
	if (p->open_right)
		phrase->n--;
	if (phrase->n > WORDS_PHRASE)
		return why_set(why, WHY_PERM, "is longer than %d bytes", WORDS_PHRASE);
	if (memchr(phrase->p, '*', phrase->n))
		return why_set(why, WHY_PERM,
		    "has a * within; it can only stand at the beginning or the end");
	return 0;
}

int words_add(struct words *w, struct span phrase, unsigned *number, struct why *why)
{
	struct phrase p = {.next = NONE};
	struct plain plain;
	if (special(phrase, number))
		return 0;
	if (take_stars(&phrase, &p, why) < 0)
		return -1;
	plain_make(&plain, phrase);
	if (plain.n == 0)
		return why_set(why, WHY_PERM, "has no word in it that could be found (addresses "
			       "are left out; write @ip, @ip6 or @address)");
	if (w->phrase_count >= WORDS_MAX || w->node_count + plain.n >= STATES_MAX)
		return why_set(why, WHY_PERM, "there are too many phrases");
	p.length = (uint16_t)plain.n;
	uint16_t state = walk(w, plain.text, plain.n);
	for (uint16_t i = w->nodes[state].phrase; i != NONE; i = w->phrases[i].next)
		if (w->phrases[i].open_left == p.open_left &&
		    w->phrases[i].open_right == p.open_right) {
			*number = i;
			return 0;
		}
	p.next = w->nodes[state].phrase;
	w->nodes[state].phrase = add_phrase(w, p);
	*number = w->nodes[state].phrase;
	return 0;
}

/* Where BYTE leads: a child, or that of the nearest failure that has one. Each
 * failure makes the match shorter and each byte at most one longer, so a text
 * costs two steps a byte at most, and a step looks at a few children. The root,
 * where most of a text is spent, has its children in a row. */
static uint16_t next_state(const struct words *w, uint16_t state, unsigned char byte)
{
	while (state) {
		uint16_t to = step(w, state, byte);
		if (to != NONE)
			return to;
		state = w->nodes[state].fail;
	}
	return w->first[byte];
}

/* The states in the order of their depth, so that a state's failure is finished
 * before the state. */
static void build_failures(struct words *w)
{
	uint16_t *queue = mem_array(w->node_count, sizeof(*queue));
	size_t head = 0, tail = 0;
	queue[tail++] = 0;
	while (head < tail) {
		uint16_t state = queue[head++];
		struct node *node = &w->nodes[state];
		for (uint16_t to = node->child; to != NONE; to = w->nodes[to].sibling) {
			struct node *next = &w->nodes[to];
			next->fail = state ? next_state(w, node->fail, next->byte) : 0;
			const struct node *fail = &w->nodes[next->fail];
			next->shorter = fail->phrase != NONE ? next->fail : fail->shorter;
			if (!state)
				w->first[next->byte] = to;
			queue[tail++] = to;
		}
	}
	mem_free(queue);
}

int words_build(struct words *w, struct why *why)
{
	build_failures(w);
	for (size_t i = 0; i < w->node_count; i++) {
		unsigned nested = 0;
		for (size_t s = i; s != NONE && nested <= NESTED_MAX; s = w->nodes[s].shorter)
			for (uint16_t p = w->nodes[s].phrase; p != NONE; p = w->phrases[p].next)
				nested++;
		if (nested > NESTED_MAX)
			return why_set(why, WHY_PERM,
			    "more than %d phrases end with one another, as \"c\", \"b c\", \"a b c\"",
			    NESTED_MAX);
	}
	return 0;
}

static void note(struct words_set *found, unsigned number)
{
	found->bits[number / 64] |= UINT64_C(1) << (number % 64);
}

/* All phrases that end before END, where the automaton is in STATE. */
static void note_phrases(const struct words *w, const struct plain *plain, size_t end,
    uint16_t state, struct words_set *found)
{
	for (; state != NONE; state = w->nodes[state].shorter)
		for (uint16_t i = w->nodes[state].phrase; i != NONE; i = w->phrases[i].next) {
			const struct phrase *p = &w->phrases[i];
			if ((p->open_left || plain->edge[end - p->length]) &&
			    (p->open_right || plain->edge[end]))
				note(found, i);
		}
}

void words_find(const struct words *w, const struct plain *plain, struct words_set *found)
{
	uint16_t state = 0;
	memset(found->bits, 0, (w->phrase_count + 63) / 64 * sizeof(found->bits[0]));
	if (plain->marks & PLAIN_IP)
		note(found, NUMBER_IP);
	if (plain->marks & PLAIN_IP6)
		note(found, NUMBER_IP6);
	if (plain->marks & PLAIN_ADDRESS)
		note(found, NUMBER_ADDRESS);
	for (size_t i = 0; i < plain->n; i++) {
		state = next_state(w, state, (unsigned char)plain->text[i]);
		const struct node *node = &w->nodes[state];
		if (node->phrase != NONE || node->shorter != NONE)
			note_phrases(w, plain, i + 1, state, found);
	}
}
