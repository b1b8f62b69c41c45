/* SPDX-License-Identifier: MIT
 * The PROXY protocol of HAProxy, versions 1 and 2, as its specification of 2020
 * has it.
 */
#include "smtp/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "relayd/base/text.h"

#define LINE_MAX_V1 107  /* with CRLF */
#define LINE_MIN_V1 15   /* "PROXY UNKNOWN\r\n" */
#define FIXED_V2 16      /* signature, version, family, length */
#define ADDRESSES_V4 12
#define ADDRESSES_V6 36

static const unsigned char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* ---- version 1 ---- */

static bool take_address(struct span word, int family, uint16_t port,
    struct conn_address *address)
{
	char text[INET6_ADDRSTRLEN + 1];
	if (word.n == 0 || word.n >= sizeof(text) || memchr(word.p, '\0', word.n))
		return false;
	memcpy(text, word.p, word.n);
	text[word.n] = '\0';
	return !strchr(text, '%') && conn_address_parse(address, text, port) == 0 &&
	       address->addr.ss_family == family;
}

static bool take_port(struct span word, uint16_t *port)
{
	uint64_t n;
	if (word.n == 0 || word.n > 5 || !span_number(word, UINT16_MAX, &n))
		return false;
	*port = (uint16_t)n;
	return true;
}

/* "PROXY TCP4 192.0.2.1 198.51.100.1 56324 25" */
static enum proxy_result read_line(struct span line, struct proxy_header *header)
{
	uint16_t from;
	uint16_t to;
	struct conn_address ours;
	struct span rest = line;
	span_cut(&rest, ' ');
	struct span kind = span_cut(&rest, ' ');
	if (span_is(kind, "UNKNOWN")) {
		header->own = true; /* what follows is not for us */
		return PROXY_DONE;
	}
	int family = span_is(kind, "TCP4") ? AF_INET : AF_INET6;
	if (family == AF_INET6 && !span_is(kind, "TCP6"))
		return PROXY_BAD;
	struct span client = span_cut(&rest, ' ');
	struct span server = span_cut(&rest, ' ');
	if (!take_port(span_cut(&rest, ' '), &from) || !take_port(span_cut(&rest, ' '), &to) || rest.n)
		return PROXY_BAD;
	if (!take_address(client, family, from, &header->client) ||
	    !take_address(server, family, to, &ours))
		return PROXY_BAD;
	return PROXY_DONE;
}

static enum proxy_result parse_line(const unsigned char *p, size_t n, size_t *more,
    struct proxy_header *header)
{
	static const char begin[] = "PROXY ";
	if (memcmp(p, begin, least(n, sizeof(begin) - 1)) != 0)
		return PROXY_BAD;
	const unsigned char *end = memchr(p, '\n', n);
	if (!end) {
		/* byte by byte near its end: what follows is the client's */
		*more = n < LINE_MIN_V1 ? LINE_MIN_V1 - n : 1;
		return n < LINE_MAX_V1 ? PROXY_MORE : PROXY_BAD;
	}
	size_t length = (size_t)(end - p);
	if (length + 1 != n || length == 0 || p[length - 1] != '\r')
		return PROXY_BAD;
	return read_line((struct span){(const char *)p, length - 1}, header);
}

/* ---- version 2 ---- */

static enum proxy_result read_addresses(const unsigned char *p, size_t n, unsigned family,
    struct proxy_header *header)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&header->client.addr;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&header->client.addr;
	switch (family) {
	case 0x11: /* TCP over IPv4: addresses, then ports */
		if (n < ADDRESSES_V4)
			return PROXY_BAD;
		four->sin_family = AF_INET;
		memcpy(&four->sin_addr, p, 4);
		memcpy(&four->sin_port, p + 8, 2);
		header->client.len = sizeof(*four);
		return PROXY_DONE;
	case 0x21:
		if (n < ADDRESSES_V6)
			return PROXY_BAD;
		six->sin6_family = AF_INET6;
		memcpy(&six->sin6_addr, p, 16);
		memcpy(&six->sin6_port, p + 32, 2);
		header->client.len = sizeof(*six);
		return PROXY_DONE;
	case 0x00: /* it does not know */
		header->own = true;
		return PROXY_DONE;
	default: /* datagrams and Unix sockets bring no mail */
		return PROXY_BAD;
	}
}

static enum proxy_result parse_binary(const unsigned char *p, size_t n, size_t *more,
    struct proxy_header *header)
{
	if (memcmp(p, signature, least(n, sizeof(signature))) != 0)
		return PROXY_BAD;
	if (n < FIXED_V2) {
		*more = FIXED_V2 - n;
		return PROXY_MORE;
	}
	size_t length = (size_t)p[14] << 8 | p[15];
	if (p[12] >> 4 != 2 || (p[12] & 15) > 1 || FIXED_V2 + length > PROXY_MAX)
		return PROXY_BAD;
	if (n < FIXED_V2 + length) {
		*more = FIXED_V2 + length - n;
		return PROXY_MORE;
	}
	if (n > FIXED_V2 + length)
		return PROXY_BAD;
	if ((p[12] & 15) == 0) { /* LOCAL */
		header->own = true;
		return PROXY_DONE;
	}
	return read_addresses(p + FIXED_V2, length, p[13], header);
}

enum proxy_result proxy_parse(const unsigned char *p, size_t n, size_t *more,
    struct proxy_header *header)
{
	*header = (struct proxy_header){0};
	*more = 0;
	if (n == 0) {
		*more = LINE_MIN_V1; /* no header is shorter */
		return PROXY_MORE;
	}
	enum proxy_result result = p[0] == signature[0] ? parse_binary(p, n, more, header)
							: parse_line(p, n, more, header);
	conn_address_unmap(&header->client);
	return result;
}
