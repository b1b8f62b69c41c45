/* SPDX-License-Identifier: MIT
 * What the spool could not read, for the administrator: an error line each, and one
 * incident for all that is lost, one for all that was kept where it is (for want of room,
 * say), which stay open until a person closes them.
 */
#ifndef RELAYD_SPOOL_DAMAGE_H
#define RELAYD_SPOOL_DAMAGE_H

#include <stdbool.h>

#include "queue/damage.h"
#include "queue/reputation.h"

/* DAMAGE was met in the spool at PATH. A file that is not ours is no incident. */
void spool_damage_tell(
    struct reputation *reputation, const char *path, const struct damage *damage);

/* Is that what INCIDENT is about? */
bool spool_damage_is(const struct incident *incident) ATTR_MUST_CHECK;

#endif
