/* SPDX-License-Identifier: MIT
 * Where does mail for a domain go? MX and address look-ups put together (RFC
 * 5321 section 5.1, RFC 7505), in the order in which to try: by preference,
 * equal ones shuffled, IPv6 and IPv4 of a host interleaved. Hosts that are
 * ourselves end the list (a loop is not entered); private and loopback
 * addresses are left out unless allowed.
 */
#ifndef SMTP_MX_H
#define SMTP_MX_H

#include "smtp/dns.h"

#define MX_HOSTS_MAX 16     /* looked up, the best ones */
#define MX_ADDRESSES_MAX 32 /* in all */

enum mx_status {
	MX_OK,
	MX_NULL,     /* the domain says that it takes no mail: 5.1.10 */
	MX_NONE,     /* no such domain, or neither MX nor address: 5.1.2 */
	MX_REFUSED,  /* only private or loopback addresses: 5.4.4 */
	MX_LOOP,     /* the best MX is ourselves: 5.4.6 */
	MX_TEMP,     /* DNS did not answer, or bogus: 4.4.3 */
};

struct mx_host {
	char name[256];
	unsigned preference;
	struct conn_address address; /* with the port */
	bool mx_secure;      /* validated that the domain's mail goes to this name */
	bool secure;         /* and its addresses, too, to the end of its CNAMEs */
	char canonical[256]; /* where these end; "" when it has none, or odd ones */
};

struct mx_answer {
	enum mx_status status;
	bool secure;          /* MX and addresses validated */
	const char *text;     /* for a failure: a sentence for people */
	const struct mx_host *hosts; /* MX_OK: one or more, in the order to try */
	size_t count;
};

struct mx_options {
	uint16_t port;
	bool ipv4, ipv6;
	bool allow_private;
	const char *hostname;          /* ours: an MX of that name is a loop; NULL: none is */
	const struct conn_address *own; /* where we listen, likewise; one with a port is only
	                                   ours when PORT is that port, and 0.0.0.0 and :: are
	                                   all addresses that this host has just then */
	size_t own_count;
};

struct mx_query;
typedef void mx_done(const struct mx_answer *answer, void *arg);

/* Look up DOMAIN (a name, U-labels allowed, or an address literal
 * "[192.0.2.1]", "[IPv6:...]"). HOST: take it as the name or the numeric address
 * of a host, without MX (a smarthost). OPTIONS are copied. DONE is never called
 * inside; the handle ends with it. */
struct mx_query *mx_find(struct dns *dns, struct loop *loop, const char *domain, bool host,
    const struct mx_options *options, mx_done *done, void *arg);
void mx_cancel(struct mx_query *query);

/* May never be connected to, whatever is allowed: unspecified (which is
 * ourselves), multicast, broadcast, and what is no IP address. */
bool mx_address_is_unusable(const struct conn_address *a);

/* Is it one of this host's own, whatever the interface? (mx_local.c) */
bool mx_address_is_local(const struct conn_address *a);

/* Not reachable from the public net: loopback, private, link-local, multicast,
 * unspecified, documentation and the like, IPv4 in IPv6 unwrapped. */
bool mx_address_is_private(const struct conn_address *a);

#endif
