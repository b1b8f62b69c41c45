/* SPDX-License-Identifier: MIT
 * The users that may log in, and their file. A line of it is
 *
 *	NAME:HASH:SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY
 *
 * HASH is a yescrypt ($y$) or scrypt ($7$) hash as crypt(5) has it, the rest is in
 * the form of RFC 5803 and may be missing: then the user has no SCRAM. Lines that
 * begin with # and empty ones are left alone. One line has no name: ":secret:HEX"
 * makes what is told of unknown users the same after a restart.
 */
#ifndef RELAYD_USERS_H
#define RELAYD_USERS_H

#include <sys/stat.h>

#include "relayd/base/buf.h"
#include "relayd/base/why.h"
#include "smtp/auth_exchange.h"

#define USERS_NAME_MAX 128     /* bytes */
#define USERS_PASSWORD_MAX 511 /* bytes, crypt(3)'s limit */
#define USERS_FILE_MAX (64 * 1024 * 1024)

struct user {
	char *name;
	char *hash;
	bool has_keys;
	struct auth_keys keys;
};

struct users;

/* Read what is in the file. FILE is its name for messages. NULL: ERRORS (appended
 * to) names every broken line as "FILE:LINE: what is wrong, what was expected". */
struct users *users_parse(struct span text, const char *file, struct buf *errors);
void users_free(struct users *users); /* NULL is fine */

/* The same from the file, which nobody but its owner may read. No file: nobody can
 * log in, and USERS is empty. ST (may be NULL) gets what was read; its st_ino is 0
 * for no file. */
struct users *users_load(const char *file, struct stat *st, struct buf *errors);

/* The text of the file alone; FLAGS as O_NOFOLLOW, or 0. 0; 1: there is none; -1: WHY, that
 * does not name it. TEXT has hashes: the caller wipes it. */
int users_read(const char *file, int flags, struct stat *st, struct buf *text, struct why *why)
    ATTR_MUST_CHECK;

size_t users_count(const struct users *users);
const struct user *users_at(const struct users *users, size_t index); /* as in the file */
const struct user *users_find(const struct users *users, const char *name); /* NULL: none */

/* Keys for SCRAM: the user's, or such as nobody has the password of. */
void users_keys(const struct users *users, const char *name, struct auth_keys *keys);

/* A hash that takes the time of a real one, for who is not there. */
const char *users_dummy_hash(const struct users *users);

/* Printable UTF-8 without space and colon, not beginning with '#', 1 to 128 bytes. */
int users_check_name(const char *name, struct why *why) ATTR_MUST_CHECK;
/* 8 to 511 bytes, no control characters. */
int users_check_password(const char *password, struct why *why) ATTR_MUST_CHECK;

/* The line of a user with a password, without its newline: new salts each time. It
 * takes a moment. */
int users_make_line(const char *name, const char *password, struct buf *line, struct why *why)
    ATTR_MUST_CHECK;

/* Does PASSWORD fit HASH? For worker threads; takes a hash's time. SCRATCH is a
 * struct crypt_data of the caller's, all zero at first. */
struct crypt_data;
bool users_password_fits(const char *password, const char *hash, struct crypt_data *scratch);

#endif
