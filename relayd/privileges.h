/* SPDX-License-Identifier: MIT
 * What the process gives up at its start, for good: the user root, capabilities,
 * the right to gain any again, core dumps. Called before any thread exists.
 */
#ifndef RELAYD_PRIVILEGES_H
#define RELAYD_PRIVILEGES_H

#include <pwd.h>

#include "relayd/base/attr.h"
#include "relayd/base/why.h"

/* Neither a core file nor a debugger of the same user shall see keys: before the
 * first one is read. The umask becomes 077. */
void privileges_hide(void);

/* Become USER (NULL: stay who we are; started as root that leaves user id 0, but
 * without its powers). No capability is left in any set, the bounding set
 * included where we may change it, and none can be gained by execve any more.
 * -1: WHY; the process must end. */
int privileges_drop(const struct passwd *user, struct why *why) ATTR_MUST_CHECK;

#endif
