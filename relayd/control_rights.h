/* SPDX-License-Identifier: MIT
 * Who may do what over the control socket: root and the daemon's own user all,
 * members of control_group all, members of control_look_group (when it is not set,
 * of the daemon's group) may look. Whoever asks is known from the socket, with all
 * his groups as they were when he connected; nothing is looked up in the user
 * database while the daemon runs.
 */
#ifndef RELAYD_CONTROL_RIGHTS_H
#define RELAYD_CONTROL_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "relayd/base/attr.h"
#include "relayd/base/why.h"

struct control_rights {
	bool has_full_group;
	gid_t full_group;
	gid_t look_group;
};

/* Who is at the other end. */
struct control_peer {
	uid_t uid;
	bool full; /* may do all */
	bool look;
};

/* The groups of CONF, as numbers. -1: WHY; there is no such group. */
int control_rights_find(struct control_rights *rights, const struct conf *conf,
    struct why *why) ATTR_MUST_CHECK;

/* Let both groups connect to the socket at PATH, ours and new, by an access list:
 * its owning group is one only, and may stay the daemon's. -1: WHY. */
int control_rights_admit(const struct control_rights *rights, const char *path,
    struct why *why) ATTR_MUST_CHECK;

/* Of the connected Unix socket FD. */
struct control_peer control_rights_peer(const struct control_rights *rights, int fd);

#endif
