/* SPDX-License-Identifier: MIT
 * Which addresses may an MX point to? Anybody can publish 127.0.0.1 or
 * 169.254.169.254 in their zone and make us talk to a service that trusts us,
 * so what is not public is refused unless the configuration allows it.
 *
 * IPv4 by a list of what is not public (IANA's special-purpose registry, RFC
 * 6890). IPv6 by what is: 2000::/3 but for a few blocks, and NAT64's prefix.
 * Forms that hold an IPv4 address are judged by that.
 */
#include <netinet/in.h>
#include <string.h>

#include "smtp/mx.h"

struct block {
	unsigned char prefix[4];
	unsigned bits;
};

static const struct block not_public4[] = {
    {{0}, 8},                /* this network */
    {{10}, 8},               /* private */
    {{100, 64}, 10},         /* carrier-grade NAT */
    {{127}, 8},              /* loopback */
    {{169, 254}, 16},        /* link-local; clouds keep their metadata there */
    {{172, 16}, 12},         /* private */
    {{192, 0, 0}, 24},       /* protocol assignments */
    {{192, 0, 2}, 24},       /* documentation */
    {{192, 88, 99}, 24},     /* 6to4 relays, gone */
    {{192, 168}, 16},        /* private */
    {{198, 18}, 15},         /* benchmarks */
    {{198, 51, 100}, 24},    /* documentation */
    {{203, 0, 113}, 24},     /* documentation */
    {{224}, 3},              /* multicast, reserved, broadcast */
};

static const struct block not_public6[] = {
    {{0x20, 0x01, 0x00}, 23},       /* protocol assignments, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation */
};

static bool is_in(const unsigned char *address, const struct block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct block *b = &blocks[i];
		size_t whole = b->bits / 8;
		unsigned char mask = (unsigned char)(0xff00u >> (b->bits % 8));
		if (memcmp(address, b->prefix, whole) == 0 &&
		    (b->bits % 8 == 0 || (address[whole] & mask) == b->prefix[whole]))
			return true;
	}
	return false;
}

/* The IPv4 address within an IPv6 one; NULL: there is none. */
static const unsigned char *inner4(const unsigned char *a)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const unsigned char compatible[12] = {0};
	static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
		return a + 12;
	if (memcmp(a, compatible, 12) == 0) /* holds :: and ::1 too: 0/8 */
		return a + 12;
	if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
		return a + 2;
	return NULL;
}

/* The address as bytes: 4 or 16 of them, or none at all. */
static size_t bytes_of(const struct conn_address *a, unsigned char *bytes)
{
	const unsigned char *inner;
	if (a->len && a->addr.ss_family == AF_INET) {
		memcpy(bytes, &((const struct sockaddr_in *)(const void *)&a->addr)->sin_addr, 4);
		return 4;
	}
	if (!a->len || a->addr.ss_family != AF_INET6)
		return 0;
	memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)&a->addr)->sin6_addr, 16);
	inner = inner4(bytes);
	if (!inner)
		return 16;
	memmove(bytes, inner, 4);
	return 4;
}

bool mx_address_is_private(const struct conn_address *a)
{
	unsigned char bytes[16];
	size_t n = bytes_of(a, bytes);
	if (n == 4)
		return is_in(bytes, not_public4, sizeof(not_public4) / sizeof(not_public4[0]));
	if (n != 16 || (bytes[0] & 0xe0) != 0x20)
		return true;
	return is_in(bytes, not_public6, sizeof(not_public6) / sizeof(not_public6[0]));
}

static bool is_mapped(const struct conn_address *a)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&a->addr;
	return a->len && a->addr.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
}

bool mx_address_is_unusable(const struct conn_address *a)
{
	unsigned char bytes[16];
	size_t n = bytes_of(a, bytes);
	/* nobody publishes IPv4 in IPv6 form but to get around such a list */
	if (is_mapped(a))
		return true;
	if (n == 4) /* ::1 unwraps to 0.0.0.1 */
		return memcmp(bytes, "\0\0\0\0", 4) == 0 || bytes[0] >= 224;
	return n == 0 || bytes[0] == 0xff;
}
