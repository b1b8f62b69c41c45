/* SPDX-License-Identifier: MIT
 * PLAIN and LOGIN. Room for a secret is made before it is written, so that no
 * copy of half of it stays behind in freed memory.
 */
#include "smtp/auth.h"

#include <string.h>

#include "relayd/base/mem.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

enum auth_mechanism auth_choose(struct span list)
{
	enum auth_mechanism best = AUTH_NONE;
	size_t i = 0;
	while (i < list.n) {
		struct span word = {list.p + i, 0};
		while (i + word.n < list.n && !is_blank(word.p[word.n]))
			word.n++;
		if (span_is_nocase(word, "PLAIN"))
			return AUTH_PLAIN; /* one round trip less than LOGIN */
		if (span_is_nocase(word, "LOGIN"))
			best = AUTH_LOGIN;
		i += word.n + 1;
	}
	return best;
}

void auth_plain(struct buf *out, const char *user, const char *password)
{
	size_t user_len = strlen(user);
	size_t password_len = strlen(password);
	size_t len = user_len + password_len + 2;
	char *text = mem_zero(len);
	memcpy(text + 1, user, user_len);
	memcpy(text + 2 + user_len, password, password_len);
	buf_room(out, (len + 2) / 3 * 4);
	text_base64(out, (struct span){text, len});
	mem_wipe(text, len);
	mem_free(text);
}

#define MASK_LEAST 4 /* characters: less is no secret */
#define MASK_PART 8  /* so much of one that was cut off */

/* How much of SECRET stands at the start of TEXT, when that is too much; else 0. */
static size_t shown(struct span text, const struct buf *secret)
{
	size_t n = 0;
	while (n < text.n && n < secret->len && text.p[n] == secret->data[n])
		n++;
	return n >= MASK_PART || (n >= MASK_LEAST && n == secret->len) ? n : 0;
}

void auth_mask(struct buf *out, struct span line, const char *user, const char *password)
{
	struct buf secrets[3] = {0};
	size_t len = strlen(password);
	if (len >= MASK_LEAST) {
		buf_room(&secrets[0], len);
		buf_add(&secrets[0], password, len);
		buf_room(&secrets[1], (len + 2) / 3 * 4);
		text_base64(&secrets[1], span_text(password));
		auth_plain(&secrets[2], user, password);
	}
	while (line.n) {
		size_t most = 0;
		for (size_t i = 0; i < 3; i++) {
			size_t n = shown(line, &secrets[i]);
			most = n > most ? n : most;
		}
		if (most)
			buf_add_text(out, "***");
		else
			buf_add_byte(out, line.p[0]);
		line.p += most ? most : 1;
		line.n -= most ? most : 1;
	}
	for (size_t i = 0; i < 3; i++)
		buf_wipe(&secrets[i]);
}

/* RFC 4616: [authzid] NUL authcid NUL passwd, none of them with a NUL. Nobody
 * may act for somebody else here: authzid is empty or the same as authcid. */
static bool split(struct span message, struct span *user, struct span *password)
{
	size_t nuls = 0;
	for (size_t i = 0; i < message.n; i++)
		nuls += message.p[i] == '\0';
	if (nuls != 2)
		return false;
	struct span other = span_cut(&message, '\0');
	*user = span_cut(&message, '\0');
	*password = message;
	return user->n && password->n && (!other.n || span_equal(other, *user));
}

bool auth_split_plain(struct span message, struct buf *user, struct buf *password)
{
	struct span u;
	struct span p;
	if (!split(message, &u, &p))
		return false;
	buf_add(user, u.p, u.n);
	buf_room(password, p.n);
	buf_add(password, p.p, p.n);
	return true;
}
