/* SPDX-License-Identifier: MIT
 * Passwords of users: their hashes by libxcrypt, and their keys for SCRAM.
 */
#include <crypt.h>
#include <openssl/crypto.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/users.h"

#define PASSWORD_MIN 8
#define SALT_SIZE 16
/* Each client computes them at each login; whoever steals the file, for each guess.
 * So many take as long as the yescrypt beside them. */
#define ITERATIONS 65536

int users_check_password(const char *password, struct why *why)
{
	size_t n = strlen(password);
	if (n < PASSWORD_MIN || n > USERS_PASSWORD_MAX)
		return why_set(why, WHY_PERM, "the password has %zu bytes, expected %d to %d", n,
		    PASSWORD_MIN, USERS_PASSWORD_MAX);
	for (const char *p = password; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return why_set(why, WHY_PERM, "the password holds a control character");
	return 0;
}

static int add_hash(const char *password, struct buf *line, struct why *why)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	char salt[SALT_SIZE];
	struct crypt_data *scratch = mem_zero(sizeof(*scratch));
	random_bytes(salt, sizeof(salt));
	const char *hash = NULL;
	if (crypt_gensalt_rn("$y$", 0, salt, sizeof(salt), setting, sizeof(setting)))
		hash = crypt_rn(password, setting, scratch, sizeof(*scratch));
	if (hash)
		buf_add_text(line, hash);
	mem_wipe(scratch, sizeof(*scratch));
	mem_free(scratch);
	return hash ? 0 : why_set(why, WHY_LOCAL, "libcrypt makes no yescrypt hash here");
}

static int add_keys(const char *password, struct buf *line, struct why *why)
{
	struct auth_keys keys = {.iterations = ITERATIONS};
	struct buf text = {0};
	char salt[SALT_SIZE];
	random_bytes(salt, sizeof(salt));
	text_base64(&text, (struct span){salt, sizeof(salt)});
	memcpy(keys.salt, text.data, text.len + 1);
	buf_free(&text);
	if (auth_keys_make(password, &keys) < 0)
		return why_set(why, WHY_PERM,
		    "the password holds characters that may not be in one (RFC 4013)");
	buf_addf(line, ":SCRAM-SHA-256$%u:%s$%s:%s", (unsigned)keys.iterations, keys.salt, keys.stored,
	    keys.server);
	return 0;
}

int users_make_line(const char *name, const char *password, struct buf *line, struct why *why)
{
	if (users_check_name(name, why) < 0 || users_check_password(password, why) < 0)
		return -1;
	char *prepared = auth_prepare(password);
	buf_addf(line, "%s:", name);
	int result = add_hash(prepared, line, why);
	if (result == 0)
		result = add_keys(prepared, line, why);
	mem_wipe(prepared, strlen(prepared));
	mem_free(prepared);
	return result;
}

bool users_password_fits(const char *password, const char *hash, struct crypt_data *scratch)
{
	char *prepared = auth_prepare(password);
	size_t n = strlen(hash);
	const char *made = crypt_rn(prepared, hash, scratch, sizeof(*scratch));
	bool fits = made && strlen(made) == n && CRYPTO_memcmp(made, hash, n) == 0;
	mem_wipe(prepared, strlen(prepared));
	mem_free(prepared);
	mem_wipe(scratch, sizeof(*scratch));
	return fits;
}
