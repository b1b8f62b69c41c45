/* SPDX-License-Identifier: MIT
 * SASL messages of PLAIN (RFC 4616) and LOGIN, client side and parsing of what
 * a client of ours sends. Pure; secrets are in buffers that the caller wipes.
 */
#ifndef SMTP_AUTH_H
#define SMTP_AUTH_H

#include <stdbool.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"

enum auth_mechanism { AUTH_NONE, AUTH_PLAIN, AUTH_LOGIN };

/* The best mechanism of an EHLO "AUTH ..." list that we speak. */
enum auth_mechanism auth_choose(struct span list);

/* Base64 of "\0user\0password". */
void auth_plain(struct buf *out, const char *user, const char *password);

/* Append LINE, a receiver's answer, with "***" for the password, and for it in the
 * form that PLAIN or LOGIN has sent it in: some say what they were told. The first
 * eight characters of one are enough. A password under four characters stays. */
void auth_mask(struct buf *out, struct span line, const char *user, const char *password);

/* Take a client's PLAIN message apart. False: malformed, and nothing is added. */
bool auth_split_plain(struct span message, struct buf *user, struct buf *password) ATTR_MUST_CHECK;

#endif
