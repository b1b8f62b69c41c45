/* SPDX-License-Identifier: MIT
 * What each client has of us now: its connections, and how many of these and how
 * many messages it began within the minute. Memory is bounded: who has no connection
 * is forgotten when the minute is over, or sooner when there are many.
 */
#ifndef RELAYD_CLIENTS_H
#define RELAYD_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "relayd/base/conn.h"

struct clients;

struct clients *clients_new(void);
void clients_free(struct clients *clients);

/* Who counts as one: an IPv4 address, an IPv6 /64 (its owner has all of it), a local
 * user. KEY has room for CONN_ADDRESS_TEXT. */
void clients_key(const struct conn_address *peer, uid_t uid, char *key);

/* One more connection. NOW is monotonic, in ms. NULL: it is counted, and ended with
 * clients_leave; else the line to refuse it with. Those of a client whose session is over
 * (clients_part) do not keep it from the next one, up to as many as it may have sessions. */
const char *clients_enter(struct clients *clients, const char *key,
    const struct conf_limits *limits, int64_t now);
/* The session is over, and its last reply still under way; */
void clients_part(struct clients *clients, const char *key);
/* the descriptor is closed, with a session that had PARTED before, or not. */
void clients_leave(struct clients *clients, const char *key, bool parted);

/* One more message of a client, connected or not. False: too many in this minute. */
bool clients_send(struct clients *clients, const char *key, const struct conf_limits *limits,
    int64_t now);

size_t clients_connections(const struct clients *clients); /* of all */
size_t clients_known(const struct clients *clients);

#endif
