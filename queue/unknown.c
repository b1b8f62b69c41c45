/* SPDX-License-Identifier: MIT */
#include "queue/unknown.h"

#include <string.h>

#include "relayd/base/mem.h"

#define ID_LENGTH 12 /* a word of letters and digits from here on names one thing only */

/* ---- masking ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span next_word(struct span *s)
{
	while (s->n && is_space(*s->p))
		s->p++, s->n--;
	struct span word = {s->p, 0};
	while (word.n < s->n && !is_space(s->p[word.n]))
		word.n++;
	s->p += word.n;
	s->n -= word.n;
	return word;
}

/* "550", "550-", "5.7.606" */
static bool is_code(struct span word)
{
	for (size_t i = 0; i < word.n; i++)
		if (!is_digit(word.p[i]) && word.p[i] != '.' && word.p[i] != '-')
			return false;
	return word.n >= 3 && word.n <= 9;
}

/* A queue id or the like: long, of letters and digits, or of hex and colons. */
static bool is_identifier(struct span word)
{
	size_t digits = 0;
	size_t marks = 0;
	for (size_t i = 0; i < word.n; i++) {
		digits += is_digit(word.p[i]);
		marks += word.p[i] == '/' || word.p[i] == '.';
	}
	return word.n >= ID_LENGTH && digits >= 3 && marks < 2;
}

static void add_masked(struct buf *out, struct span word)
{
	if (memchr(word.p, '@', word.n)) {
		buf_add_text(out, "<address>");
		return;
	}
	if (is_identifier(word)) {
		buf_add_text(out, "<id>");
		return;
	}
	for (size_t i = 0; i < word.n; i++)
		if (!is_digit(word.p[i]))
			buf_add_byte(out, word.p[i]);
		else if (i == 0 || !is_digit(word.p[i - 1]))
			buf_add_byte(out, '#');
}

void unknown_mask(struct buf *out, struct span reply)
{
	struct buf masked = {0};
	for (unsigned i = 0; reply.n && masked.len < UNKNOWN_TEXT_MAX + ID_LENGTH; i++) {
		struct span word = next_word(&reply);
		if (!word.n)
			break;
		if (i)
			buf_add_byte(&masked, ' ');
		if (word.n > UNKNOWN_TEXT_MAX)
			word.n = UNKNOWN_TEXT_MAX;
		if (i < 2 && is_code(word))
			buf_add(&masked, word.p, word.n);
		else
			add_masked(&masked, word);
	}
	text_escape(out, span_buf(&masked), UNKNOWN_TEXT_MAX);
	buf_free(&masked);
}

/* ---- the table ---- */

static void entry_free(struct unknown **table, struct unknown *u)
{
	HASH_DEL(*table, u);
	mem_free(u->key);
	mem_free(u->text);
	mem_free(u->provider);
	mem_free(u);
}

struct unknown *unknown_get(struct unknown **table, const char *provider,
    enum verdict_stage stage, const char *text)
{
	struct buf key = {0};
	struct unknown *u;
	size_t n;
	buf_addf(&key, "%u\t%.100s\t%.1000s", (unsigned)stage, provider, text);
	HASH_FIND(hh, *table, key.data, key.len, u);
	if (!u) {
		if (HASH_COUNT(*table) >= UNKNOWN_MAX)
			entry_free(table, *table);
		u = mem_zero(sizeof(*u));
		u->provider = mem_copy(provider, strnlen(provider, 100));
		u->text = mem_copy(text, strnlen(text, 1000));
		u->stage = stage;
	} else {
		HASH_DEL(*table, u); /* it goes to the end */
		mem_free(u->key);
	}
	u->key = buf_take(&key, &n);
	HASH_ADD_KEYPTR(hh, *table, u->key, n, u);
	return u;
}

void unknown_free_all(struct unknown **table)
{
	while (*table)
		entry_free(table, *table);
}
