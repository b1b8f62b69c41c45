/* SPDX-License-Identifier: MIT
 * The header with which a balancer tells whose connection it passes on: the PROXY
 * protocol, version 1 (a line of text) and 2 (binary). Hostile like all input: only
 * from the balancer's own addresses it means anything.
 */
#ifndef SMTP_PROXY_H
#define SMTP_PROXY_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/conn.h"

#define PROXY_MAX 552 /* bytes of a header: 16, 536 at most behind them */

enum proxy_result {
	PROXY_MORE, /* not complete: read MORE bytes, none of them is past its end */
	PROXY_DONE,
	PROXY_BAD,  /* no such header, or a longer one than there may be */
};

struct proxy_header {
	bool own;                   /* the balancer speaks for itself (health check), or
	                               does not know for whom */
	struct conn_address client; /* IPv4 or IPv6, never mapped; not with OWN */
};

/* P holds the N bytes that have come so far (none at first). */
enum proxy_result proxy_parse(const unsigned char *p, size_t n, size_t *more,
    struct proxy_header *header);

#endif
