/* SPDX-License-Identifier: MIT
 * The numeric addresses of the configuration: where to listen, what to send
 * from, whom to trust, which servers to ask. No name is ever looked up.
 */
#include <arpa/inet.h>
#include <string.h>

#include "conf/syntax.h"

/* Wider networks than these are no site's own: trusted, they make an open relay. */
#define TRUST_MIN_IPV4 8
#define TRUST_MIN_IPV6 7 /* fc00::/7 */

/* AF_INET or AF_INET6 and the bytes in ADDRESS; 0: not a numeric address. */
static int parse_address(struct span text, unsigned char address[16])
{
	char copy[INET6_ADDRSTRLEN];
	if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, '\0', text.n))
		return 0;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	memset(address, 0, 16);
	if (inet_pton(AF_INET, copy, address) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, copy, address) == 1 ? AF_INET6 : 0;
}

bool syntax_is_loopback(const char *address)
{
	static const unsigned char one[16] = {[15] = 1};
	unsigned char a[16];
	int family = parse_address(span_text(address), a);
	return family == AF_INET ? a[0] == 127
				 : family == AF_INET6 && memcmp(a, one, 16) == 0;
}

bool syntax_overlap(const char *one, const char *other)
{
	static const unsigned char all[16];
	unsigned char a[16], b[16];
	int family = parse_address(span_text(one), a);
	return family && family == parse_address(span_text(other), b) &&
	       (memcmp(a, b, 16) == 0 || memcmp(a, all, 16) == 0 || memcmp(b, all, 16) == 0);
}

static int add(struct buf *out, struct span text)
{
	buf_add(out, text.p, text.n);
	return 0;
}

static int parse_peer(struct span text, struct buf *out, struct why *why)
{
	unsigned char a[16];
	if (parse_address(text, a))
		return add(out, text);
	if (text.p[0] == '[' || memchr(text.p, ':', text.n))
		return why_set(why, WHY_PERM,
		    "expected a host name or a numeric address without brackets; the port "
		    "is a key of its own");
	return syntax_host.parse(text, out, why);
}

static int parse_listen(struct span text, struct buf *out, struct why *why)
{
	unsigned char a[16];
	if (text.p[0] == '/')
		return syntax_socket.parse(text, out, why);
	if (parse_address(text, a))
		return add(out, text);
	return why_set(why, WHY_PERM,
	    "expected a numeric IPv4 or IPv6 address without brackets and port (\"0.0.0.0\" and "
	    "\"::\" are all of them), or the absolute path of a Unix socket");
}

/* An address to send from: of FAMILY, and a real one. */
static int parse_family(struct span text, int family, struct buf *out, struct why *why)
{
	static const unsigned char zero[16];
	unsigned char a[16];
	const char *want = family == AF_INET ? "an IPv4 address like \"192.0.2.10\""
					     : "an IPv6 address like \"2001:db8::10\"";
	if (parse_address(text, a) != family)
		return why_set(why, WHY_PERM, "expected %s", want);
	if (memcmp(a, zero, sizeof(a)) == 0)
		return why_set(why, WHY_PERM,
		    "means any address, expected %s that this machine has", want);
	return add(out, text);
}

static int parse_ipv4(struct span text, struct buf *out, struct why *why)
{
	return parse_family(text, AF_INET, out, why);
}

static int parse_ipv6(struct span text, struct buf *out, struct why *why)
{
	return parse_family(text, AF_INET6, out, why);
}

static int parse_server(struct span text, struct buf *out, struct why *why)
{
	unsigned char a[16];
	struct span address = text;
	uint64_t port = 53;
	const char *at = memchr(text.p, '@', text.n);

	if (at) {
		address.n = (size_t)(at - text.p);
		if (!span_number(
			(struct span){at + 1, text.n - address.n - 1}, 65535, &port))
			port = 0;
	}
	if (port == 0 || !parse_address(address, a))
		return why_set(why, WHY_PERM,
		    "expected a numeric address, with a port if it is not 53: "
		    "\"127.0.0.1@5353\"");
	return add(out, text);
}

/* Clear the host bits of A. Result: were there any? */
static bool clear_host_bits(unsigned char *a, unsigned size, unsigned bits)
{
	bool found = false;
	for (unsigned i = bits; i < size; i++) {
		unsigned char bit = (unsigned char)(0x80 >> i % 8);
		found = found || (a[i / 8] & bit);
		a[i / 8] &= (unsigned char)~bit;
	}
	return found;
}

/* IPv4 written as IPv6 is IPv4, since that is how peers are compared. */
static void unmap(struct conf_network *n)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	if (n->family != AF_INET6 || n->bits < 96 || memcmp(n->address, mapped, 12) != 0)
		return;
	n->family = AF_INET;
	n->bits -= 96;
	memmove(n->address, n->address + 12, 4);
	memset(n->address + 4, 0, 12);
}

int syntax_parse_network(struct span text, struct conf_network *n, struct why *why)
{
	const char *slash = memchr(text.p, '/', text.n);
	struct span address = {text.p, slash ? (size_t)(slash - text.p) : text.n};

	n->family = parse_address(address, n->address);
	if (!n->family)
		return why_set(why, WHY_PERM,
		    "expected a network like \"192.0.2.0/24\", \"2001:db8::/32\" or one address");
	unsigned size = n->family == AF_INET ? 32 : 128;
	uint64_t bits = size;
	if (slash &&
	    !span_number((struct span){slash + 1, text.n - address.n - 1}, size, &bits))
		return why_set(why, WHY_PERM,
		    "expected a number from 0 to %u behind the slash", size);
	n->bits = (unsigned)bits;
	if (clear_host_bits(n->address, size, n->bits)) {
		char right[INET6_ADDRSTRLEN];
		inet_ntop(n->family, n->address, right, sizeof(right));
		return why_set(why, WHY_PERM,
		    "has bits set behind the first %u; the network is \"%s/%u\", the one address "
		    "\"%.*s\"",
		    n->bits, right, n->bits, (int)address.n, address.p);
	}
	unmap(n);
	return 0;
}

static int parse_network(struct span text, struct buf *out, struct why *why)
{
	struct conf_network n;
	if (syntax_parse_network(text, &n, why) < 0)
		return -1;
	return add(out, text);
}

/* One that is not too wide; DANGER is what a wider one would do. */
static int parse_narrow(struct span text, const char *danger, struct buf *out, struct why *why)
{
	struct conf_network n;
	if (syntax_parse_network(text, &n, why) < 0)
		return -1;
	unsigned min = n.family == AF_INET ? TRUST_MIN_IPV4 : TRUST_MIN_IPV6;
	if (n.bits < min)
		return why_set(why, WHY_PERM, "%s; expected at least /%u", danger, min);
	return add(out, text);
}

static int parse_trusted(struct span text, struct buf *out, struct why *why)
{
	return parse_narrow(text, "would let strangers relay (an open relay)", out, why);
}

static int parse_balancer(struct span text, struct buf *out, struct why *why)
{
	return parse_narrow(text, "would let strangers say who they are, and so relay", out, why);
}

const struct syntax syntax_peer = {"host name or address", parse_peer};
const struct syntax syntax_listen = {"address or path", parse_listen};
const struct syntax syntax_ipv4 = {"IPv4 address", parse_ipv4};
const struct syntax syntax_ipv6 = {"IPv6 address", parse_ipv6};
const struct syntax syntax_server = {"address", parse_server};
const struct syntax syntax_network = {"network", parse_network};
const struct syntax syntax_trusted = {"network", parse_trusted};
const struct syntax syntax_balancer = {"network", parse_balancer};
