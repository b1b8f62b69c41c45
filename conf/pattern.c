/* SPDX-License-Identifier: MIT
 * What is asked of the configuration for every message: whose domain is this,
 * does this route fit, may this address relay. Nothing is allocated here.
 */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "conf/conf.h"
#include "relayd/base/text.h"

const struct conf_domain *conf_domain_of(
    const struct conf_domain *domains, size_t count, const char *name, size_t n)
{
	const struct conf_domain *best = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < count; i++) {
		struct span parent = span_text(domains[i].name);
		if (parent.n > longest && span_is_under((struct span){name, n}, parent)) {
			best = &domains[i];
			longest = parent.n;
		}
	}
	return best;
}

const char *conf_own_domain(const struct conf *conf)
{
	const char *domain = conf->return_path.default_domain;
	return domain[0] ? domain : conf->hostname;
}

bool conf_pattern_fits(const char *pattern, const char *domain, size_t n)
{
	struct span p = span_text(pattern);
	struct span d = {domain, n};

	if (span_is(p, "*"))
		return true;
	if (!span_starts_nocase(p, "*."))
		return p.n > 0 && span_equal_nocase(p, d);
	/* names below it, and not the name itself */
	struct span parent = {p.p + 2, p.n - 2};
	return d.n > parent.n + 1 && span_is_under(d, parent);
}

static bool bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	unsigned rest = bits % 8;
	return rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0;
}

const struct conf_client *conf_client_of(const struct conf_client *clients, size_t count,
    const char *login, int family, const void *address)
{
	const struct conf_client *by_network = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct conf_client *c = &clients[i];
		if (*c->login && login && strcmp(c->login, login) == 0)
			return c;
		if (!*c->login && !by_network && family &&
		    conf_network_holds(c->networks, c->network_count, family, address))
			by_network = c;
	}
	return by_network;
}

const struct conf_client *conf_client_named(const struct conf_client *clients, size_t count,
    const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(clients[i].name, name) == 0)
			return &clients[i];
	return NULL;
}

bool conf_network_holds(
    const struct conf_network *networks, size_t count, int family, const void *address)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	const unsigned char *a = address;

	if (family == AF_INET6 && memcmp(a, mapped, sizeof(mapped)) == 0) {
		family = AF_INET;
		a += sizeof(mapped);
	}
	for (size_t i = 0; i < count; i++)
		if (networks[i].family == family &&
		    bits_equal(networks[i].address, a, networks[i].bits))
			return true;
	return false;
}
