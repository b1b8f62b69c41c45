/* SPDX-License-Identifier: MIT
 * What the daemon knows of its paths (queue/reputation): loaded and written down
 * (line_store), and what happens when an incident begins: a line in the log, and
 * somebody is told (notify).
 */
#ifndef RELAYD_PATHS_H
#define RELAYD_PATHS_H

#include "queue/reputation.h"
#include "relayd/helper.h"
#include "relayd/intake.h"
#include "relayd/settings.h"

struct paths;

/* INTAKE takes the mails about incidents, HELPER runs the command. NULL: WHY; the store in the spool's
 * folder can not be used. */
struct paths *paths_new(struct loop *loop, struct intake *intake, struct helper *helper,
    struct settings *settings, struct why *why);
void paths_free(struct paths *paths); /* NULL is fine */
void paths_set_settings(struct paths *paths, struct settings *settings);

struct reputation *paths_reputation(struct paths *paths);

#endif
