/* SPDX-License-Identifier: MIT
 * The drop folder: what relay-sendmail left while the daemon was down. Files
 * are taken in at the start and whenever new ones appear, and removed once the
 * message is on stable storage. A message that can not be sent is returned to its
 * sender; where that is not possible it is set aside, and an incident tells of it.
 */
#ifndef RELAYD_DROP_H
#define RELAYD_DROP_H

#include <stddef.h>

#include "relayd/base/why.h"

struct drop;
struct daemon;

/* What is in the queue already, after a crash, is found there: recover it first. */
struct drop *drop_new(struct daemon *daemon, struct why *why);
void drop_stop(struct drop *drop); /* no more is begun */
void drop_free(struct drop *drop); /* NULL is fine; what is on its way in has ended before */

/* Files that are set aside (bad.*), as the last look at the folder found them. */
size_t drop_set_aside(const struct drop *drop);

#endif
