/* SPDX-License-Identifier: MIT
 * One line to the system's log, at the socket where it listens. The C library's
 * syslog() waits for a log that does not read, and all mail would wait with it.
 */
#ifndef RELAYD_BASE_LOG_SYSLOG_H
#define RELAYD_BASE_LOG_SYSLOG_H

#include "relayd/base/text.h"

/* Send LINE with PRIORITY (LOG_ERR... of syslog.h; the facility is mail), as
 * relayd with its process id, in the form of RFC 3164, to the datagram socket at
 * PATH. 0; -1: it was not taken, since nobody is there or nobody reads. Never
 * waits. A log that was started again is found again. */
int log_syslog(const char *path, int priority, struct span line);

/* Forget the connection to it. */
void log_syslog_close(void);

#endif
