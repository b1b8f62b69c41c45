/* SPDX-License-Identifier: MIT
 * A listening Unix socket: relayd's own control and submission sockets.
 */
#ifndef RELAYD_LOCAL_SOCKET_H
#define RELAYD_LOCAL_SOCKET_H

#include <sys/types.h>

#include "relayd/base/why.h"

/* Listen at PATH; only the permissions in MODE (0666, 0660) are there from the beginning.
 * What an earlier run left there is replaced, if it is a socket where nobody answers.
 * Result: the descriptor, non-blocking, the caller's; -1: WHY (begins with the path), and
 * errno is that of the failure, EADDRINUSE where somebody answers. */
int local_socket_listen(const char *path, mode_t mode, int backlog, struct why *why)
    ATTR_MUST_CHECK;

#endif
