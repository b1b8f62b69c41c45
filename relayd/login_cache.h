/* SPDX-License-Identifier: MIT
 * Passwords that were right a moment ago, so that a program that logs in for each
 * of a thousand messages costs one hash. Kept is a keyed hash of user, stored hash
 * and password together: a new password makes the old one useless at once.
 */
#ifndef RELAYD_LOGIN_CACHE_H
#define RELAYD_LOGIN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct login_cache;

struct login_cache *login_cache_new(size_t max);
void login_cache_free(struct login_cache *cache);

/* NOW and UNTIL are monotonic, in ms. */
bool login_cache_holds(struct login_cache *cache, const char *user, const char *hash,
    const char *password, int64_t now);
void login_cache_add(struct login_cache *cache, const char *user, const char *hash,
    const char *password, int64_t until);

#endif
