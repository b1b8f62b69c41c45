/* SPDX-License-Identifier: MIT
 * Where does the mail of a domain, or of a smarthost, go? smtp/mx.h with what the
 * configuration says of it.
 *
 * A destination that is new, or was silent, is looked up before its attempts, which then
 * find the answer in the resolver's memory: a name that nobody answers for keeps a few
 * hundred bytes for the time of dns.timeout, and no message, place or connection.
 */
#include <string.h>
#include <utlist.h>

#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"

struct look_up {
	struct deliver *deliver;
	struct destination *destination;
	struct mx_query *query;
	struct look_up *prev;
	struct look_up *next;
};

/* ---- what is ours ---- */

/* Where our own listeners answer. Not the sources: another server of this host may
 * well take its mail at the address by which we send. */
static struct conn_address *own_addresses(const struct conf *conf, size_t *count)
{
	uint16_t port = (uint16_t)conf->delivery.port;
	struct conn_address *own = mem_array(conf->listen_count + 1, sizeof(*own));
	*count = 0;
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].port == port &&
		    conn_address_parse(&own[*count], conf->listen[i].address, port) == 0)
			(*count)++;
	return own;
}

const char *look_up_own_name(const struct conf *conf, uint16_t port)
{
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].port == port)
			return conf->hostname;
	return NULL;
}

struct mx_query *look_up_domain(const struct deliver *deliver, const struct conf *conf,
    const char *domain, mx_done *done, void *arg)
{
	size_t own_count;
	struct conn_address *own = own_addresses(conf, &own_count);
	struct mx_options options = {
	    .port = (uint16_t)conf->delivery.port,
	    .ipv4 = conf->delivery.ipv4,
	    .ipv6 = conf->delivery.ipv6,
	    .allow_private = conf->delivery.allow_private,
	    .hostname = look_up_own_name(conf, (uint16_t)conf->delivery.port),
	    .own = own,
	    .own_count = own_count,
	};
	struct mx_query *query = mx_find(deliver->options.dns, deliver->options.loop, domain,
	    false, &options, done, arg);
	mem_free(own);
	return query;
}

struct mx_query *look_up_smarthost(const struct deliver *deliver, const struct conf *conf,
    const struct conf_smarthost *smarthost, mx_done *done, void *arg)
{
	struct mx_options options = {
	    .port = (uint16_t)smarthost->port,
	    .ipv4 = conf->delivery.ipv4,
	    .ipv6 = conf->delivery.ipv6,
	    .allow_private = true, /* named by the administrator: it may be in the next rack */
	};
	return mx_find(deliver->options.dns, deliver->options.loop, smarthost->host, true,
	    &options, done, arg);
}

/* ---- ahead of attempts ---- */

static void free_look_up(struct look_up *look_up)
{
	DL_DELETE(look_up->deliver->look_ups, look_up);
	mem_free(look_up);
}

static void on_known(const struct mx_answer *answer, void *arg)
{
	struct look_up *look_up = arg;
	struct schedule *schedule = look_up->deliver->schedule;
	struct destination *destination = look_up->destination;
	free_look_up(look_up);
	schedule_known(schedule, destination, answer->status == MX_TEMP ? answer->text : NULL);
}

bool look_up_ahead(void *arg, struct destination *destination)
{
	struct deliver *deliver = arg;
	const char *name = destination_name(destination);
	if (route_is_smarthost(name))
		return false;
	struct look_up *look_up = mem_zero(sizeof(*look_up));
	look_up->deliver = deliver;
	look_up->destination = destination;
	DL_APPEND(deliver->look_ups, look_up);
	look_up->query =
	    look_up_domain(deliver, deliver->settings->conf, name, on_known, look_up);
	return true;
}

void look_up_cancel_all(struct deliver *deliver)
{
	while (deliver->look_ups) {
		mx_cancel(deliver->look_ups->query);
		free_look_up(deliver->look_ups);
	}
}
