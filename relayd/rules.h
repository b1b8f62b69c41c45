/* SPDX-License-Identifier: MIT
 * Which rule files there are: the user's (replies.d/ beside the configuration, in
 * the order of their names), then ours: the file that $RELAYD_REPLIES names, that of
 * the source tree where the program was built, or the installed one.
 */
#ifndef RELAYD_RULES_H
#define RELAYD_RULES_H

#include "queue/verdict.h"

/* CONFIGURATION: path of relayd.conf. NULL: ERRORS has a line for each fault; rules
 * that are in force stay so. */
struct verdict_rules *rules_load(const char *configuration, struct buf *errors);

#endif
