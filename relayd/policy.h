/* SPDX-License-Identifier: MIT
 * What an entry of clients allows: which one a session comes under, and whether a
 * message stays within it. Pure.
 *
 * An entry with `domains` may send as these and what is under them only, one with
 * `from` with these addresses in From only. Who is in no entry may do what everybody
 * may. Checked is what will leave: From after its repair, each mailbox of it, and the
 * envelope sender unless it is one that the relay has put there itself.
 */
#ifndef RELAYD_POLICY_H
#define RELAYD_POLICY_H

#include "conf/conf.h"
#include "queue/envelope.h"
#include "smtp/return_path.h"

/* The entry for a session that is logged in as USER ("" : not) from CLIENT, an address
 * as text or "unix:UID" and the like; NULL: none. */
const struct conf_client *policy_entry(const struct conf *conf, const char *user,
    const char *client);

/* The entry's way of return_path_decide (ENTRY may be NULL): what has to be repaired
 * gets the first domain of the entry instead of the default one, and in From: an address
 * that it may send as (its first `from`, else one in its first domain). Then check it.
 * -1: refused, WHY fits a 550 5.7.1 reply. Free RESULT in both cases. */
int policy_decide(const struct conf *conf, const struct conf_client *entry,
    const struct address *sender, const struct header *header, struct return_path *result,
    struct why *why) ATTR_MUST_CHECK;

#endif
