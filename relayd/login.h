/* SPDX-License-Identifier: MIT
 * Logins of clients: who they say they are is checked against the users' file in
 * worker threads of its own, guesses are slowed, and the answer tells nothing of
 * what was wrong. The file is read again by itself once it has changed.
 *
 * A login is a name. What it may do is said by `clients` of the configuration.
 */
#ifndef RELAYD_LOGIN_H
#define RELAYD_LOGIN_H

#include "relayd/settings.h"
#include "relayd/stats.h"
#include "smtp/server.h"

struct login;
struct login_try;

struct login *login_new(struct loop *loop, struct stats *stats, struct settings *settings);
/* Waits for the hashes under way. Tries that nobody has cancelled are dropped. */
void login_free(struct login *login);
void login_set_settings(struct login *login, struct settings *settings);

/* Judge CLAIM (copied) of the client at that address. DONE is called once, from the
 * loop, never inside of this; the try is gone with it. */
typedef void login_done(void *arg, enum server_login verdict);
struct login_try *login_begin(struct login *login, const struct server_claim *claim,
    const char *client, login_done *done, void *arg);
void login_cancel(struct login_try *try); /* DONE will not be called */

/* An auth_keys_of: SCRAM keys of a user, or such as nobody has. */
void login_keys(struct login *login, const char *user, struct auth_keys *keys);

struct login_counts {
	size_t users;
	size_t hashing; /* passwords that wait for a worker, or have one */
	size_t banned;  /* addresses and users */
};
struct login_counts login_counts(const struct login *login);

#endif
