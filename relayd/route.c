/* SPDX-License-Identifier: MIT
 * Which entries of `via` may a recipient's mail take, and under which name does it share
 * fate and limits with other mail? That hangs on the configuration and the envelope alone.
 */
#include <string.h>

#include "relayd/delist.h"
#include "relayd/deliver_internal.h"
#include "smtp/address.h"

#define DOMAIN_MAX 300 /* bytes of a name that DNS does not take */

static struct span domain_of(const char *address)
{
	const char *at = strrchr(address, '@');
	return span_text(at ? at + 1 : "");
}

/* As patterns are stored, and DNS is asked: in A-labels. */
static void add_domain(struct buf *name, struct span domain)
{
	if (!domain_to_ascii(domain, name))
		buf_add(name, domain.p, domain.n < DOMAIN_MAX ? domain.n : DOMAIN_MAX);
}

static const struct conf_route *find_route(
    const struct conf *conf, struct span from, struct span to)
{
	struct buf sender = {0};
	struct buf recipient = {0};
	const struct conf_route *found = NULL;
	add_domain(&sender, from);
	add_domain(&recipient, to);
	for (size_t i = 0; i < conf->route_count && !found; i++) {
		const struct conf_route *r = &conf->routes[i];
		if (conf_pattern_fits(r->match, buf_text(&recipient), recipient.len) &&
		    conf_pattern_fits(r->sender, buf_text(&sender), sender.len))
			found = r;
	}
	buf_free(&sender);
	buf_free(&recipient);
	return found;
}

/* A report goes by the route of the one who gets it: the mail that it is about had one. All
 * else that has no sender counts as from the domain of ours that its From: names. */
static const struct conf_route *route_for(
    const struct conf *conf, const struct envelope *e, const char *recipient)
{
	struct span to = domain_of(recipient);
	const char *ours = e->domain[0] ? e->domain : conf_own_domain(conf);
	if (e->sender[0])
		return find_route(conf, domain_of(e->sender), to);
	const struct conf_route *route = e->report ? find_route(conf, to, to) : NULL;
	return route ? route : find_route(conf, span_text(ours), to);
}

/* The entries to try: of its client, if that has a way of its own (one that is gone
 * from the configuration has none), else of the route. */
void route_list(
    struct way *w, const struct conf *conf, const struct envelope *e, const char *recipient)
{
	const struct conf_client *entry =
	    e->entry ? conf_client_named(conf->clients, conf->client_count, e->entry) : NULL;
	w->route = route_for(conf, e, recipient);
	w->list = w->route ? w->route->via : NULL;
	w->count = w->route ? w->route->via_count : 0;
	if (entry && entry->via_count) {
		w->list = entry->via;
		w->count = entry->via_count;
	}
}

/* A list that may use the recipient domain's own hosts needs batches by domain. */
static bool is_smarthosts_only(const struct way *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (!w->list[i].smarthost)
			return false;
	return w->count > 0;
}

bool route_is_smarthost(const char *destination)
{
	return strncmp(destination, ROUTE_SMARTHOST, sizeof(ROUTE_SMARTHOST) - 1) == 0;
}

void route_destination(
    const struct conf *conf, const struct envelope *e, const char *recipient, struct buf *name)
{
	struct way way = {0};
	const struct conf_source *source;
	int family;
	route_list(&way, conf, e, recipient);
	buf_clear(name);
	/* all of the list: another route may begin with the same one */
	if (!delist_bound(conf, e->client, &source, &family) && is_smarthosts_only(&way))
		for (size_t i = 0; i < way.count; i++)
			buf_addf(
			    name, "%s%s", i ? "," : ROUTE_SMARTHOST, way.list[i].smarthost->name);
	else
		add_domain(name, domain_of(recipient));
	if (name->len)
		text_lower(name->data, name->len);
}
