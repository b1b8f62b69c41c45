/* SPDX-License-Identifier: MIT
 * A source that this machine can not send by: its address is not here (any more), or the
 * machine's own rules forbid it. The administrator hears of it by an incident, which ends
 * when a connection by that source is up.
 */
#ifndef RELAYD_SOURCE_TROUBLE_H
#define RELAYD_SOURCE_TROUBLE_H

#include <stdbool.h>

#include "conf/conf.h"
#include "queue/reputation.h"

/* A connection by SOURCE in FAMILY has failed by this machine's fault, for what TEXT says:
 * see whether its address is here, and tell if it is not. */
void source_trouble_check(
    struct reputation *reputation, const struct conf_source *source, int family, const char *text);

/* A connection by SOURCE is up. */
void source_trouble_end(struct reputation *reputation, const struct conf_source *source);

/* Is that what INCIDENT is about? */
bool source_trouble_is(const struct incident *incident) ATTR_MUST_CHECK;

#endif
