/* SPDX-License-Identifier: MIT
 * Sessions come while a connection reads (TLS 1.3: after the handshake, perhaps more
 * than one), by a callback of OpenSSL's that knows the SSL only. So each SSL carries
 * a slip with its key, counted as a user of the table.
 *
 * A session is taken out when it is used: tickets of TLS 1.3 are meant for one use
 * (RFC 8446 appendix C.4), and the receiver gives a new one.
 */
#include "smtp/tls_session.h"

#include <stdbool.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/hash.h"
#include "relayd/base/mem.h"

#define LIFE_MS (60 * 60 * 1000) /* then the certificate is looked at again */

struct kept {
	char *key;
	SSL_SESSION *session;
	int64_t until_ms;
	UT_hash_handle hh;
};

struct tls_sessions {
	struct kept *table; /* the oldest first */
	size_t max;
	size_t refs; /* owner and slips */
	bool closed; /* its owner is gone */
};

struct slip {
	struct tls_sessions *sessions;
	char *key;
};

static int slip_index = -1; /* of an SSL's extra data */

static void drop(struct tls_sessions *sessions, struct kept *kept)
{
	HASH_DEL(sessions->table, kept);
	SSL_SESSION_free(kept->session);
	mem_free(kept->key);
	mem_free(kept);
}

static void unref(struct tls_sessions *sessions)
{
	if (--sessions->refs == 0)
		mem_free(sessions);
}

static void free_slip(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	struct slip *slip = p;
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (!slip)
		return;
	unref(slip->sessions);
	mem_free(slip->key);
	mem_free(slip);
}

struct tls_sessions *tls_sessions_new(size_t max)
{
	struct tls_sessions *sessions = mem_zero(sizeof(*sessions));
	sessions->max = max;
	sessions->refs = 1;
	return sessions;
}

void tls_sessions_free(struct tls_sessions *sessions)
{
	if (!sessions)
		return;
	tls_sessions_clear(sessions);
	sessions->closed = true;
	unref(sessions);
}

void tls_sessions_clear(struct tls_sessions *sessions)
{
	while (sessions->table)
		drop(sessions, sessions->table);
}

size_t tls_sessions_count(const struct tls_sessions *sessions)
{
	return HASH_COUNT(sessions->table);
}

static struct kept *find(struct tls_sessions *sessions, const char *key)
{
	struct kept *kept;
	HASH_FIND_STR(sessions->table, key, kept);
	return kept;
}

/* A copy is kept: OpenSSL bans the session itself when the connection breaks off, as
 * many receivers do behind QUIT. Result 0: the session stays the SSL's. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	const struct slip *slip = SSL_get_ex_data(ssl, slip_index);
	if (!slip || slip->sessions->closed || !SSL_SESSION_is_resumable(session))
		return 0;
	struct tls_sessions *sessions = slip->sessions;
	struct kept *kept = find(sessions, slip->key);
	if (kept)
		drop(sessions, kept);
	else if (HASH_COUNT(sessions->table) >= sessions->max)
		drop(sessions, sessions->table);
	kept = mem_zero(sizeof(*kept));
	kept->key = mem_text(slip->key);
	kept->session = SSL_SESSION_dup(session);
	if (!kept->session)
		bug("no memory for a TLS session");
	int64_t life = (int64_t)SSL_SESSION_get_timeout(session) * 1000;
	kept->until_ms = clock_mono_ms() + (life < LIFE_MS ? life : LIFE_MS);
	HASH_ADD_KEYPTR(hh, sessions->table, kept->key, strlen(kept->key), kept);
	return 0;
}

void tls_sessions_enable(SSL_CTX *ctx)
{
	if (slip_index < 0)
		slip_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_slip);
	SSL_CTX_set_session_cache_mode(ctx,
	    SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
}

void tls_sessions_use(struct tls_sessions *sessions, SSL *ssl, const char *key)
{
	struct slip *slip = mem_zero(sizeof(*slip));
	slip->sessions = sessions;
	slip->key = mem_text(key);
	sessions->refs++;
	if (SSL_set_ex_data(ssl, slip_index, slip) != 1)
		bug("no room for a TLS session's key");
	struct kept *kept = find(sessions, key);
	if (!kept)
		return;
	if (clock_mono_ms() < kept->until_ms)
		SSL_set_session(ssl, kept->session);
	drop(sessions, kept);
}
