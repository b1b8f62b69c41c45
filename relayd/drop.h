/* SPDX-License-Identifier: MIT
 * The drop folder: what relay-sendmail left while the daemon was down. Files
 * are taken in at the start and whenever new ones appear, checked as strictly
 * as the wire (they are written by local users), and removed once the message
 * is on stable storage. What can not be taken is set aside with a reason.
 */
#ifndef RELAYD_DROP_H
#define RELAYD_DROP_H

#include "relayd/base/why.h"

struct drop;
struct daemon;

struct drop *drop_new(struct daemon *daemon, struct why *why);
void drop_stop(struct drop *drop); /* no more is begun */
void drop_free(struct drop *drop); /* NULL is fine; what is on its way in has ended before */

#endif
