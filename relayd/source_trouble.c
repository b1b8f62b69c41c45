/* SPDX-License-Identifier: MIT */
#include "relayd/source_trouble.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/conn.h"

#define PREFIX "source:" /* senders of ours begin otherwise (queue/reputation.h) */

static struct incident_cause cause_of(const struct conf_source *source, struct buf *name)
{
	buf_addf(name, PREFIX "%s", source->name);
	return (struct incident_cause){
	    .source = buf_text(name),
	    .provider = "",
	    .klass = VERDICT_OTHER,
	    .rule = "source-unusable",
	    .help = "",
	    .text = "",
	};
}

/* No socket at all is another trouble, and no reason to blame the address. */
static bool can_bind(const char *address)
{
	struct conn_address from;
	if (!address[0] || conn_address_parse(&from, address, 0) < 0)
		return true;
	int fd = socket(from.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool can = fd < 0 || bind(fd, (const struct sockaddr *)&from.addr, from.len) == 0;
	if (fd >= 0)
		close(fd);
	return can;
}

void source_trouble_check(
    struct reputation *reputation, const struct conf_source *source, int family, const char *text)
{
	if (can_bind(family == AF_INET6 ? source->ipv6 : source->ipv4))
		return;
	struct buf name = {0};
	struct buf help = {0};
	struct incident_cause cause = cause_of(source, &name);
	buf_addf(&help,
	    "give this machine the addresses of sources.%s (ip address shows those it has), or "
	    "mend ipv4 and ipv6 there and do: relayctl reload",
	    source->name);
	cause.help = buf_text(&help);
	cause.text = text;
	incident_open(reputation, &cause, clock_steady_ms());
	buf_free(&help);
	buf_free(&name);
}

void source_trouble_end(struct reputation *reputation, const struct conf_source *source)
{
	struct buf name = {0};
	struct incident_cause cause = cause_of(source, &name);
	incident_end(reputation, &cause, clock_steady_ms());
	buf_free(&name);
}

bool source_trouble_is(const struct incident *incident)
{
	return !incident->provider[0] && strncmp(incident->source, PREFIX, sizeof(PREFIX) - 1) == 0;
}
