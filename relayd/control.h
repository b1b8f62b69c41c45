/* SPDX-License-Identifier: MIT
 * The control socket: a request is one line, a JSON array of words
 * (["queue","list","--domain","example.com"]); the answer is a status line, a
 * JSON object {"ok":true} or {"ok":false,"usage":BOOL,"error":TEXT}, then rows,
 * one JSON object a line (one with "error" names something that failed), then
 * {"end":true}, without which it was cut. Who asks is known from the socket
 * (SO_PEERCRED): control_rights.h says what he may. Long lists are paged over loop
 * turns.
 */
#ifndef RELAYD_CONTROL_H
#define RELAYD_CONTROL_H

#include "relayd/base/why.h"

struct control;
struct daemon;

/* Open the socket that the configuration names. NULL: WHY. */
struct control *control_new(struct daemon *daemon, struct why *why);
/* Begin to answer, once all parts of the daemon stand. */
void control_start(struct control *control);
void control_free(struct control *control); /* closes it and unlinks the path */

#endif
