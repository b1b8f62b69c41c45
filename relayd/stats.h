/* SPDX-License-Identifier: MIT
 * Counters since the start, for `relayctl status`. Loop thread only.
 */
#ifndef RELAYD_STATS_H
#define RELAYD_STATS_H

#include <stdint.h>

struct stats {
	int64_t started_ms;
	uint64_t connections;       /* taken from clients */
	uint64_t connections_refused; /* limits */
	uint64_t accepted;          /* messages that got their 250 */
	uint64_t refused;           /* messages, recipients, and sessions that a 421 ended */
	uint64_t signed_messages;
	uint64_t delivered;         /* recipients */
	uint64_t deferred;          /* attempts per recipient that will be repeated */
	uint64_t bounced;           /* recipients */
	uint64_t logins;
	uint64_t logins_failed;     /* 535 */
	uint64_t logins_put_off;    /* 454: banned, or too many at a time */
	uint64_t reports;           /* bounces and notices sent */
	uint64_t reports_dropped;   /* refused for good by our own intake */
};

#endif
