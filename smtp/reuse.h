/* SPDX-License-Identifier: MIT
 * Idle connections kept for a moment for the next message of the same path and
 * host. Owns the clients that it holds; one that dies meanwhile just goes.
 */
#ifndef SMTP_REUSE_H
#define SMTP_REUSE_H

#include "smtp/client.h"

struct reuse;

/* IDLE_MS: how long one waits. MAX: how many in all; the oldest goes first. */
struct reuse *reuse_new(struct loop *loop, int64_t idle_ms, size_t max);
void reuse_free(struct reuse *reuse); /* closes all */

/* Park an idle client under KEY (copied): what makes connections alike, that is
 * source or smarthost, TLS level and host address. */
void reuse_put(struct reuse *reuse, const char *key, struct client *client);

/* Take one that waits under KEY; NULL: none. Set its handler at once. */
struct client *reuse_take(struct reuse *reuse, const char *key);

size_t reuse_count(const struct reuse *reuse);

#endif
