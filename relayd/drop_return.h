/* SPDX-License-Identifier: MIT
 * A message of the drop folder that can not be sent goes back: the program that left it
 * there got exit status 0, so somebody who can read it has to be told.
 */
#ifndef RELAYD_DROP_RETURN_H
#define RELAYD_DROP_RETURN_H

#include "relayd/daemon.h"
#include "relayd/drop_file.h"
#include "relayd/report.h"

/* Whom the report goes to: the sender, repaired so that it is an address of ours, else
 * notify.mail. Appended to TO. False: nobody (it has no envelope, a null sender, or all
 * recipients NOTIFY=NEVER; no address is ours). */
bool drop_return_address(const struct conf *conf, const struct drop_file *file, struct buf *to);

/* Report to TO that FILE, known as ID, was refused with REPLY. DONE as in report.h. */
void drop_return_send(struct daemon *daemon, uint64_t id, const struct drop_file *file,
    const struct reply *reply, const char *to, report_done *done, void *arg);

#endif
