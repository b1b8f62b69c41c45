/* SPDX-License-Identifier: MIT
 * Changes of the users' file, for relayctl: under a lock, completely or not at
 * all, and nothing but the user's own line is touched. That line may be broken.
 */
#ifndef RELAYD_USERS_FILE_H
#define RELAYD_USERS_FILE_H

#include <stdbool.h>

#include "relayd/base/why.h"
#include "relayd/users.h"

enum users_change { USERS_ADD, USERS_REPLACE, USERS_REMOVE };

/* Put LINE (users_make_line; NULL to remove) into FILE as the line of NAME. A new
 * file belongs to OWNER ("" or nobody's name: to who made it). ADD of a user who is
 * there, and the others of one who is not, fail. To BROKEN is appended a line for each
 * other line that is wrong, as users_parse tells it: till they are mended nothing is
 * added, and the daemon does not take the file. */
int users_file_change(const char *file, enum users_change change, const char *name,
    const char *line, const char *owner, struct buf *broken, struct why *why) ATTR_MUST_CHECK;

#endif
