/* SPDX-License-Identifier: MIT
 * One row per mechanism; each takes the client's decoded message and says what
 * comes next. GNU SASL's handle is made for each SCRAM exchange anew: it is
 * cheap (no file is read) and nothing is shared.
 */
#include "smtp/auth_exchange.h"

#include <gsasl.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/auth.h"

#define KEY_SIZE GSASL_HASH_SHA256_SIZE

struct auth_exchange {
	const struct mechanism *mechanism;
	auth_keys_of *keys;
	void *arg;
	unsigned messages; /* taken so far */
	struct buf user;
	struct buf password;
	Gsasl *gsasl; /* SCRAM */
	Gsasl_session *session;
};

struct mechanism {
	const char *name;
	enum auth_step (*step)(struct auth_exchange *x, struct span message, struct buf *out);
};

/* ---- LOGIN and PLAIN ---- */

static bool holds_nul(struct span s)
{
	return s.n && memchr(s.p, '\0', s.n) != NULL;
}

/* It has no document; the prompts are those that every client knows. */
static enum auth_step step_login(struct auth_exchange *x, struct span message, struct buf *out)
{
	struct buf *to = x->messages == 1 ? &x->user : &x->password;
	if (message.n == 0 || holds_nul(message))
		return AUTH_MALFORMED;
	buf_room(to, message.n);
	buf_add(to, message.p, message.n);
	if (x->messages == 2)
		return AUTH_PASSWORD;
	text_base64(out, span_text("Password:"));
	return AUTH_CHALLENGE;
}

static enum auth_step step_plain(struct auth_exchange *x, struct span message, struct buf *out)
{
	(void)out;
	return auth_split_plain(message, &x->user, &x->password) ? AUTH_PASSWORD : AUTH_MALFORMED;
}

/* ---- SCRAM ---- */

static int give_property(Gsasl_session *session, Gsasl_property property,
    const struct auth_keys *keys)
{
	char number[16];
	if (property == GSASL_SCRAM_SALT)
		return gsasl_property_set(session, property, keys->salt);
	if (property == GSASL_SCRAM_STOREDKEY)
		return gsasl_property_set(session, property, keys->stored);
	if (property == GSASL_SCRAM_SERVERKEY)
		return gsasl_property_set(session, property, keys->server);
	if (property != GSASL_SCRAM_ITER)
		return GSASL_NO_CALLBACK; /* no channel binding, no password here */
	snprintf(number, sizeof(number), "%u", (unsigned)keys->iterations);
	return gsasl_property_set(session, property, number);
}

static int on_property(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
	struct auth_exchange *x = gsasl_session_hook_get(session);
	const char *user = gsasl_property_fast(session, GSASL_AUTHID);
	struct auth_keys keys = {0};
	(void)gsasl;
	if (!x || !user)
		return GSASL_NO_CALLBACK;
	x->keys(x->arg, user, &keys);
	int result = give_property(session, property, &keys);
	mem_wipe(&keys, sizeof(keys));
	return result;
}

static bool start_scram(struct auth_exchange *x)
{
	if (gsasl_init(&x->gsasl) != GSASL_OK)
		return false;
	gsasl_callback_set(x->gsasl, on_property);
	if (gsasl_server_start(x->gsasl, "SCRAM-SHA-256", &x->session) != GSASL_OK)
		return false;
	gsasl_session_hook_set(x->session, x);
	return true;
}

/* Nobody acts for somebody else: RFC 5802's authzid is empty, or the user. */
static bool names_another(const struct auth_exchange *x)
{
	const char *other = gsasl_property_fast(x->session, GSASL_AUTHZID);
	return other && *other && strcmp(other, buf_text(&x->user)) != 0;
}

static enum auth_step judge_scram(struct auth_exchange *x, int result)
{
	const char *user = gsasl_property_fast(x->session, GSASL_AUTHID);
	if (user && x->user.len == 0)
		buf_add_text(&x->user, user);
	if (x->user.len == 0) /* none, or one that SASLprep forbids */
		return AUTH_MALFORMED;
	switch (result) {
	case GSASL_NEEDS_MORE:
		return AUTH_CHALLENGE;
	case GSASL_OK:
		return names_another(x) ? AUTH_FAILED : AUTH_PROVED;
	case GSASL_MECHANISM_PARSE_ERROR:
		return AUTH_MALFORMED;
	default:
		return AUTH_FAILED;
	}
}

/* "p=...": it must not succeed without what binds it to the connection (RFC 5802 section 6),
 * which is for the mechanism that we do not have. GNU SASL lets it pass. */
static bool demands_binding(const struct auth_exchange *x, struct span message)
{
	return x->messages == 1 && message.p[0] == 'p';
}

static enum auth_step step_scram(struct auth_exchange *x, struct span message, struct buf *out)
{
	char *answer = NULL;
	size_t n = 0;
	if (message.n == 0 || holds_nul(message) || demands_binding(x, message) ||
	    (!x->session && !start_scram(x)))
		return AUTH_MALFORMED;
	enum auth_step step = judge_scram(x, gsasl_step(x->session, message.p, message.n, &answer, &n));
	if (step == AUTH_CHALLENGE || step == AUTH_PROVED)
		text_base64(out, (struct span){answer, n});
	gsasl_free(answer);
	return step;
}

/* ---- all ---- */

static const struct mechanism mechanisms[] = {
    {"SCRAM-SHA-256", step_scram},
    {"PLAIN", step_plain},
    {"LOGIN", step_login},
};

struct auth_exchange *auth_exchange_new(struct span mechanism, auth_keys_of *keys, void *arg)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		if (!span_is_nocase(mechanism, mechanisms[i].name))
			continue;
		struct auth_exchange *x = mem_zero(sizeof(*x));
		x->mechanism = &mechanisms[i];
		x->keys = keys;
		x->arg = arg;
		return x;
	}
	return NULL;
}

void auth_exchange_free(struct auth_exchange *x)
{
	if (!x)
		return;
	buf_wipe(&x->user);
	buf_wipe(&x->password);
	gsasl_finish(x->session);
	gsasl_done(x->gsasl);
	mem_free(x);
}

enum auth_step auth_exchange_step(struct auth_exchange *x, const struct span *base64,
    struct buf *out)
{
	struct buf message = {0};
	if (!base64) {
		/* LOGIN begins with a question, the others wait */
		if (x->mechanism->step == step_login)
			text_base64(out, span_text("Username:"));
		return AUTH_CHALLENGE;
	}
	if (base64->n > AUTH_LINE_MAX)
		return AUTH_MALFORMED;
	buf_room(&message, base64->n);
	enum auth_step step = AUTH_MALFORMED;
	x->messages++;
	if (text_unbase64(&message, *base64))
		step = x->mechanism->step(x, (struct span){message.data, message.len}, out);
	buf_wipe(&message);
	return step;
}

const char *auth_exchange_mechanism(const struct auth_exchange *x)
{
	return x->mechanism->name;
}

const char *auth_exchange_user(const struct auth_exchange *x)
{
	return buf_text(&x->user);
}

const char *auth_exchange_password(const struct auth_exchange *x)
{
	return buf_text(&x->password);
}

/* ---- what is kept of a password ---- */

static void put_key(char *to, size_t size, const char *key)
{
	struct buf text = {0};
	text_base64(&text, (struct span){key, KEY_SIZE});
	snprintf(to, size, "%s", buf_text(&text));
	buf_wipe(&text);
}

int auth_keys_make(const char *password, struct auth_keys *keys)
{
	struct buf salt = {0};
	char salted[KEY_SIZE];
	char client[KEY_SIZE];
	char server[KEY_SIZE];
	char stored[KEY_SIZE];
	int result = -1;
	if (text_unbase64(&salt, span_text(keys->salt)) &&
	    gsasl_scram_secrets_from_password(GSASL_HASH_SHA256, password, keys->iterations,
		salt.data, salt.len, salted, client, server, stored) == GSASL_OK) {
		put_key(keys->stored, sizeof(keys->stored), stored);
		put_key(keys->server, sizeof(keys->server), server);
		result = 0;
	}
	mem_wipe(salted, sizeof(salted));
	mem_wipe(client, sizeof(client));
	mem_wipe(server, sizeof(server));
	mem_wipe(stored, sizeof(stored));
	buf_free(&salt);
	return result;
}

char *auth_prepare(const char *password)
{
	char *prepared = NULL;
	if (span_is_ascii(span_text(password)) ||
	    gsasl_saslprep(password, 0, &prepared, NULL) != GSASL_OK)
		return mem_text(password);
	char *copy = mem_text(prepared);
	mem_wipe(prepared, strlen(prepared));
	gsasl_free(prepared);
	return copy;
}
