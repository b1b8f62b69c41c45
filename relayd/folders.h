/* SPDX-License-Identifier: MIT
 * The daemon's own folders: spool, drop folder, those of its sockets. Made at the
 * start, as root where that is who started us, so no step follows a path that
 * somebody else could have changed meanwhile.
 */
#ifndef RELAYD_FOLDERS_H
#define RELAYD_FOLDERS_H

#include <pwd.h>

#include "conf/conf.h"
#include "relayd/base/attr.h"
#include "relayd/base/why.h"

/* Make what is missing, for USER (NULL: for who we are). -1: WHY; among others
 * when the folder around the spool or the drop folder belongs to a third user or
 * can be written by anybody, who could then replace ours. */
int folders_make(const struct conf *conf, const struct passwd *user, struct why *why)
    ATTR_MUST_CHECK;

/* All folders that the daemon writes to: COUNT paths, freed with folders_free. */
char **folders_list(const struct conf *conf, size_t *count);
void folders_free(char **list, size_t count);

#endif
