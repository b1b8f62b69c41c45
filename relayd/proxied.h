/* SPDX-License-Identifier: MIT
 * A connection that a balancer passes on: its PROXY header is awaited and read,
 * before anything of the client's is.
 */
#ifndef RELAYD_PROXIED_H
#define RELAYD_PROXIED_H

#include "relayd/base/loop.h"
#include "smtp/proxy.h"

struct proxied;

/* The header is there: FD is the caller's again, with the client's bytes still to be
 * read, and CLIENT who it is for. OWN: it names nobody, and CLIENT is the balancer. FD
 * -1: no good header came within five seconds; it is closed. */
typedef void proxied_done(void *arg, int fd, const struct conn_address *client, bool own);

/* Take over FD, just accepted (non-blocking) from PEER. DONE comes once, never from
 * inside this call. */
struct proxied *proxied_new(struct loop *loop, int fd, const struct conn_address *peer,
    proxied_done *done, void *arg);

/* Give it up: closed, DONE does not come. Not after DONE. */
void proxied_cancel(struct proxied *proxied);

#endif
