/* SPDX-License-Identifier: MIT
 * How urgent is a message, by its header and by who sends it? Pure.
 *
 *	X-Relayd-Priority: urgent | normal | bulk   says it; removed before it leaves
 *	Precedence: bulk | list | junk,             without that: bulk
 *	List-Id, List-Unsubscribe
 *	nothing of these                            as the client's entry says
 *
 * A program may so lift its password resets above its other mail, and one login serve
 * for both; only a client whose entry says bulk is not lifted by any header, since
 * there the administrator has decided. X-Priority, Importance and Priority say how
 * important a person thinks the message is for its reader, and are not asked.
 */
#ifndef SMTP_PRIORITY_H
#define SMTP_PRIORITY_H

#include "conf/conf.h"
#include "smtp/header.h"

#define PRIORITY_FIELD "X-Relayd-Priority"

/* CLIENT: what the entry of clients says; NORMAL where there is none. */
enum conf_priority priority_of(const struct header *header, enum conf_priority client);

#endif
