/* SPDX-License-Identifier: MIT
 * The users' file of any bytes: it is taken or each broken line is named; what was
 * taken is in bounds, and can be found again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool fine, const char *what)
{
	if (!fine)
		bug(what);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf errors = {0};
	struct users *users = users_parse((struct span){(const char *)data, size}, "FILE", &errors);
	check((users == NULL) == (errors.len > 0), "no users and no error, or both");
	check(span_is_utf8(span_buf(&errors)), "an error that can not be shown");
	for (size_t i = 0; users && i < users_count(users); i++) {
		const struct user *user = users_at(users, i);
		struct auth_keys keys;
		struct buf bytes = {0};
		check(users_find(users, user->name) == user, "a user who can not be found");
		check(users_check_name(user->name, NULL) == 0, "a wrong name");
		check(strlen(user->hash) < 384 && !strpbrk(user->hash, ": \n"), "a wrong hash");
		users_keys(users, user->name, &keys);
		check(keys.iterations >= 4096 && keys.iterations <= 10000000, "iterations");
		check(text_unbase64(&bytes, span_text(keys.stored)) && bytes.len == 32, "a wrong key");
		buf_free(&bytes);
	}
	users_free(users);
	buf_free(&errors);
	return 0;
}
