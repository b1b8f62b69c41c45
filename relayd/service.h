/* SPDX-License-Identifier: MIT
 * What a service manager and the daemon say to each other, after systemd's
 * protocols: sockets that it has opened for us (LISTEN_FDS, sd_listen_fds(3)), and
 * our state (NOTIFY_SOCKET, WATCHDOG_USEC, sd_notify(3)). Without a manager every
 * call does nothing. One process has one manager, so there is no object.
 */
#ifndef RELAYD_SERVICE_H
#define RELAYD_SERVICE_H

#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/loop.h"

/* First thing: take over the descriptors that were passed and what the environment
 * says, and take it out of the environment. */
void service_begin(void);

/* The listening socket that was passed for ADDRESS, a numeric address with PORT or
 * the path of a Unix socket; the caller's from then on. -1: none. Its path stays
 * the manager's: it is not to be unlinked. */
int service_socket(const char *address, uint16_t port);

/* Sockets that nobody has asked for: log and close them. Once, after the start. */
void service_forget_sockets(void);

/* States, in the order of a life. STATUS is called now and then while it runs, for
 * one line about how things are; each such turn also feeds the watchdog, so a loop
 * that hangs is noticed. */
void service_ready(struct loop *loop, void (*status)(void *arg, struct buf *out), void *arg);
void service_reloading(void);
void service_reloaded(void); /* well or not */
void service_stopping(void);

#endif
