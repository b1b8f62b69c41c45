/* SPDX-License-Identifier: MIT
 * Which addresses are this host's own? Asked of the kernel for each address, since
 * they come and go while the daemon runs, and a list of them is not to be had: the
 * sandbox leaves no netlink.
 *
 * A socket can be bound to an address that is local and to no other. Where the
 * administrator has lifted that (ip_nonlocal_bind), an address counts only when a
 * socket connected to it has it as its own name, too. That misses the further
 * addresses of a network on one interface: a loop to one of these the greeting shows.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smtp/mx.h"

/* Documentation's, which no host has. */
static const char *const nobodys[] = {"198.51.100.254", "2001:db8:ffff::fffe"};

static bool can_bind(const struct conn_address *a)
{
	int fd = socket(a->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool bound = bind(fd, (const struct sockaddr *)&a->addr, a->len) == 0;
	close(fd);
	return bound;
}

static bool binds_everything(int family)
{
	struct conn_address a;
	return conn_address_parse(&a, nobodys[family == AF_INET6], 0) == 0 && can_bind(&a);
}

/* Of a datagram socket: nothing is sent. */
static bool is_reached_from_itself(const struct conn_address *a, const char *text)
{
	struct conn_address name = {.len = sizeof(name.addr)};
	struct conn_address to;
	char own[CONN_ADDRESS_TEXT];
	int fd = socket(a->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool same = conn_address_parse(&to, text, 9) == 0 &&
		    connect(fd, (const struct sockaddr *)&to.addr, to.len) == 0 &&
		    getsockname(fd, (struct sockaddr *)&name.addr, &name.len) == 0 &&
		    strcmp(conn_address_text(&name, own), text) == 0;
	close(fd);
	return same;
}

bool mx_address_is_local(const struct conn_address *a)
{
	struct conn_address plain;
	char text[CONN_ADDRESS_TEXT];
	if (a->addr.ss_family != AF_INET && a->addr.ss_family != AF_INET6)
		return false;
	conn_address_text(a, text);
	if (conn_address_parse(&plain, text, 0) < 0 || !can_bind(&plain))
		return false;
	return !binds_everything(a->addr.ss_family) || is_reached_from_itself(a, text);
}
