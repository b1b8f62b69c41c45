/* SPDX-License-Identifier: MIT
 * The server's side of a SASL exchange: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256
 * (RFC 5802, RFC 7677). Messages in, challenges and a verdict out; it knows
 * neither the connection nor who the users are. PLAIN and LOGIN are our own, as
 * their passwords are checked later and elsewhere, which GNU SASL's callbacks do
 * not allow; SCRAM is GNU SASL's.
 */
#ifndef SMTP_AUTH_EXCHANGE_H
#define SMTP_AUTH_EXCHANGE_H

#include <stdbool.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"

#define AUTH_LINE_MAX 12288 /* a line of the exchange with its CRLF, RFC 4954 section 4 */
#define AUTH_MECHANISMS "SCRAM-SHA-256 PLAIN LOGIN" /* the best one first */

/* What a server keeps of a password for SCRAM-SHA-256, as base64. */
#define AUTH_SALT_MAX 64 /* octets */
struct auth_keys {
	uint32_t iterations;
	char salt[(AUTH_SALT_MAX + 2) / 3 * 4 + 1];
	char stored[45];
	char server[45];
};

/* The keys of USER. One who does not exist, or has none, gets keys that are
 * always the same for that name and that no password fits. */
typedef void auth_keys_of(void *arg, const char *user, struct auth_keys *keys);

enum auth_step {
	AUTH_CHALLENGE, /* say it, and bring the client's next message */
	AUTH_PASSWORD,  /* user and password are there, to be checked */
	AUTH_PROVED,    /* the client knows user's password; OUT is for it to see */
	AUTH_FAILED,    /* it does not; user is there */
	AUTH_MALFORMED, /* what it sent is no message of the mechanism */
};

struct auth_exchange;

/* NULL: not one of our mechanisms. KEYS is called from auth_exchange_step. */
struct auth_exchange *auth_exchange_new(struct span mechanism, auth_keys_of *keys, void *arg);
void auth_exchange_free(struct auth_exchange *x); /* wipes; NULL is fine */

/* BASE64 is the client's next message; NULL: it began without one. OUT gets what
 * goes to the client, as base64. After anything but CHALLENGE it is over. */
enum auth_step auth_exchange_step(struct auth_exchange *x, const struct span *base64,
    struct buf *out);

/* Text without NUL, "" until it is known; valid as long as the exchange. */
const char *auth_exchange_mechanism(const struct auth_exchange *x);
const char *auth_exchange_user(const struct auth_exchange *x);
const char *auth_exchange_password(const struct auth_exchange *x);

/* What is derived from PASSWORD for SCRAM: KEYS with its salt and iterations set
 * gets the two keys. PASSWORD may not hold what SASLprep forbids (-1). */
int auth_keys_make(const char *password, struct auth_keys *keys) ATTR_MUST_CHECK;

/* The password as it is hashed: SASLprep (RFC 4013), so that one typed on another
 * keyboard is the same. What can not be prepared stays as it is; only ASCII and
 * it are copied. Free with mem_free, after mem_wipe. */
char *auth_prepare(const char *password);

#endif
