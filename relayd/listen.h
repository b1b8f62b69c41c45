/* SPDX-License-Identifier: MIT
 * Listening sockets: who may connect, and how many at a time. Hands accepted
 * connections to intake.
 */
#ifndef RELAYD_LISTEN_H
#define RELAYD_LISTEN_H

#include "relayd/intake.h"

struct listen;

struct listen_options {
	struct loop *loop;
	struct stats *stats;
};

struct listen *listen_new(const struct listen_options *options);

/* Open what SETTINGS lists and is not open yet, close what it does not list.
 * -1: one could not be opened (WHY names it); the others are as before. One that is
 * not listed any more and stands in the way of a new one is closed first (and opened
 * again if it comes to nothing). Binding under 1024 needs rights that are gone after the
 * start. */
int listen_open(struct listen *listen, const struct settings *settings, struct why *why)
    ATTR_MUST_CHECK;

/* Begin to accept, into INTAKE. */
void listen_start(struct listen *listen, struct intake *intake, struct settings *settings);
void listen_set_settings(struct listen *listen, struct settings *settings);

/* Accept no more. Sockets are closed. */
void listen_stop(struct listen *listen);

/* One more message of a local user who is not connected (drop folder): it counts as on a
 * Unix socket. False: too many lately. After listen_start. */
bool listen_user_may_send(struct listen *listen, uid_t uid) ATTR_MUST_CHECK;

size_t listen_connections(const struct listen *listen);

#endif
