/* SPDX-License-Identifier: MIT
 * Socket addresses of conn.h: to text, from text, of a socket.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "relayd/base/conn_internal.h"

static const struct sockaddr_in *in4(const struct conn_address *a)
{
	return (const struct sockaddr_in *)(const void *)&a->addr;
}

static const struct sockaddr_in6 *in6(const struct conn_address *a)
{
	return (const struct sockaddr_in6 *)(const void *)&a->addr;
}

const char *conn_address_text(const struct conn_address *a, char *buf)
{
	const char *text = "none";
	if (a->len && a->addr.ss_family == AF_INET)
		text = inet_ntop(AF_INET, &in4(a)->sin_addr, buf, CONN_ADDRESS_TEXT);
	else if (a->len && a->addr.ss_family == AF_INET6)
		text = inet_ntop(AF_INET6, &in6(a)->sin6_addr, buf, CONN_ADDRESS_TEXT);
	else if (a->len && a->addr.ss_family == AF_UNIX)
		text = "unix";
	if (text != buf)
		snprintf(buf, CONN_ADDRESS_TEXT, "%s", text ? text : "none");
	return buf;
}

uint16_t conn_address_port(const struct conn_address *a)
{
	if (a->len && a->addr.ss_family == AF_INET)
		return ntohs(in4(a)->sin_port);
	if (a->len && a->addr.ss_family == AF_INET6)
		return ntohs(in6(a)->sin6_port);
	return 0;
}

const char *conn_address_target(const struct conn_address *a, char *buf)
{
	char text[CONN_ADDRESS_TEXT];
	const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&a->addr;
	if (a->len && a->addr.ss_family == AF_UNIX)
		snprintf(buf, CONN_TARGET_TEXT, "%.*s", (int)sizeof(un->sun_path),
		    un->sun_path);
	else
		snprintf(buf, CONN_TARGET_TEXT, "%s port %u", conn_address_text(a, text),
		    conn_address_port(a));
	return buf;
}

static void set4(struct conn_address *a, struct in_addr addr, in_port_t port)
{
	struct sockaddr_in sin = {
	    .sin_family = AF_INET, .sin_addr = addr, .sin_port = port};
	*a = (struct conn_address){.len = sizeof(sin)};
	memcpy(&a->addr, &sin, sizeof(sin));
}

int conn_address_parse(struct conn_address *a, const char *text, uint16_t port)
{
	struct in_addr addr4;
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	*a = (struct conn_address){0};
	if (inet_pton(AF_INET, text, &addr4) == 1) {
		set4(a, addr4, htons(port));
		return 0;
	}
	if (inet_pton(AF_INET6, text, &sin6.sin6_addr) != 1)
		return -1;
	memcpy(&a->addr, &sin6, sizeof(sin6));
	a->len = sizeof(sin6);
	return 0;
}

void conn_address_unmap(struct conn_address *a)
{
	struct in_addr addr4;
	if (a->addr.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6(a)->sin6_addr))
		return;
	memcpy(&addr4, in6(a)->sin6_addr.s6_addr + 12, sizeof(addr4));
	set4(a, addr4, in6(a)->sin6_port);
}

void conn_address_of_peer(int fd, struct conn_address *a)
{
	socklen_t len = sizeof(a->addr);
	*a = (struct conn_address){0};
	if (getpeername(fd, (struct sockaddr *)&a->addr, &len) != 0)
		return;
	a->len = len;
	conn_address_unmap(a);
}
