/* SPDX-License-Identifier: MIT
 * The drop folder: where relay-sendmail leaves a message while relayd does not run
 * (relayd/drop.c takes it in).
 */
#ifndef RELAYD_SENDMAIL_DROP_H
#define RELAYD_SENDMAIL_DROP_H

#include "relayd/sendmail_submit.h"

/* Write the job into FOLDER. 0: it is on disk and will be taken in; -1: WHY, and
 * nothing of it is left. */
int sendmail_drop(const char *folder, const struct sendmail_job *job, struct why *why)
    ATTR_MUST_CHECK;

#endif
