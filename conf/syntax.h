/* SPDX-License-Identifier: MIT
 * The kinds of text that the configuration holds: host names, mail addresses,
 * networks, dates. Each is checked and brought into one written form (lower
 * case, A-labels). Pure: nothing is looked up, no file is opened. For conf/, and
 * for rule files, which have patterns of host names, too.
 */
#ifndef CONF_SYNTAX_H
#define CONF_SYNTAX_H

#include <stdbool.h>

#include "conf/conf.h"
#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

/* One kind of text. parse appends the written form of TEXT, which is UTF-8
 * without control characters and not empty, to OUT, or says what is wrong and
 * what was expected. */
struct syntax {
	const char *word; /* what people call it: "host name" */
	int (*parse)(struct span text, struct buf *out, struct why *why);
};

extern const struct syntax syntax_path;    /* absolute */
extern const struct syntax syntax_socket;  /* absolute, short enough for a socket */
extern const struct syntax syntax_host;    /* a host or domain name */
extern const struct syntax syntax_peer;    /* a host name or a numeric address */
extern const struct syntax syntax_listen;  /* a numeric address or a socket's path */
extern const struct syntax syntax_ipv4;
extern const struct syntax syntax_ipv6;
extern const struct syntax syntax_server;  /* numeric address, "@port" may follow */
extern const struct syntax syntax_network; /* "10.0.0.0/8", "::1" */
extern const struct syntax syntax_trusted; /* the same, wide enough for a site and no more */
extern const struct syntax syntax_balancer; /* likewise */
extern const struct syntax syntax_mail;    /* local@domain */
extern const struct syntax syntax_name;    /* of a source or smarthost */
extern const struct syntax syntax_label;   /* DKIM selector: labels of a DNS name */
extern const struct syntax syntax_pattern; /* "*", "example.org", "*.example.org" */
extern const struct syntax syntax_date;    /* "YYYY-MM-DD", a day that exists */

/* UTF-8 without control characters, of bounded length: what any text of the
 * file has to be, whatever its kind. */
int syntax_clean(struct span text, struct why *why) ATTR_MUST_CHECK;

/* The network that TEXT is; with bits behind its length it is none. */
int syntax_parse_network(struct span text, struct conf_network *network, struct why *why)
    ATTR_MUST_CHECK;

/* Is the numeric address of this machine only (127/8, ::1)? */
bool syntax_is_loopback(const char *address);

/* Are both numeric addresses of one family, and the same (however written), or one of
 * them all that there are ("0.0.0.0", "::")? A path is no address. */
bool syntax_overlap(const char *one, const char *other);

#endif
