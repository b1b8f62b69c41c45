/* SPDX-License-Identifier: MIT
 * One host of an attempt: what TLS it has to show, and the connection to it.
 *
 *	attempt_next_host  the route's level, or the smarthost's
 *	ask_dane           TLSA records of a host that DNSSEC covers; they win
 *	ask_sts            the MTA-STS policy of the recipients' domain, once per attempt
 *	connect            a parked connection of the same level, or a new one
 *
 * Whatever demands TLS is kept: a host that does not meet it is left for the next
 * one, and when there is none the message waits. Nothing here makes it bounce.
 */
#include <stdio.h>

#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"

static const struct {
	const char *name;
	enum client_tls tls;
} smarthost_levels[] = {
    [CONF_TLS_MAY] = {"may", CLIENT_TLS_MAY},
    [CONF_TLS_NONE] = {"none", CLIENT_TLS_NONE},
    [CONF_TLS_ENCRYPT] = {"encrypt", CLIENT_TLS_ENCRYPT},
    [CONF_TLS_VERIFY] = {"verify", CLIENT_TLS_VERIFY},
    [CONF_TLS_IMPLICIT] = {"implicit", CLIENT_TLS_IMPLICIT},
};

/* Of a route, when nothing is published. */
static const struct {
	const char *name;
	enum client_tls tls;
} route_levels[] = {
    [CONF_LEVEL_MAY] = {"may", CLIENT_TLS_MAY},
    [CONF_LEVEL_NONE] = {"none", CLIENT_TLS_NONE},
    [CONF_LEVEL_ENCRYPT] = {"encrypt", CLIENT_TLS_ENCRYPT},
    [CONF_LEVEL_VERIFY] = {"verify", CLIENT_TLS_VERIFY},
    [CONF_LEVEL_DANE] = {"dane", CLIENT_TLS_DANE},
    [CONF_LEVEL_STS] = {"sts", CLIENT_TLS_VERIFY},
};

static const struct mx_host *host_of(const struct attempt *a)
{
	return &a->hosts[a->host];
}

static enum conf_route_tls route_level(const struct attempt *a)
{
	enum conf_route_tls level = a->way.route ? a->way.route->tls : CONF_LEVEL_MAY;
	if (level == CONF_LEVEL_MAY && !a->settings->conf->delivery.starttls)
		return CONF_LEVEL_NONE;
	return level;
}

/* ---- the connection ---- */

void host_key(const struct attempt *a, char *key, size_t size)
{
	char address[CONN_ADDRESS_TEXT];
	const struct mx_host *host = host_of(a);
	snprintf(key, size, "%s %s %s %u %s %s", a->smarthost ? "smarthost" : "source",
	    a->smarthost ? a->smarthost->name : a->source->name,
	    conn_address_text(&host->address, address), conn_address_port(&host->address),
	    host->name, a->level.key);
}

void host_note_tls(struct attempt *a)
{
	struct client_info info = client_info(a->client);
	snprintf(a->level.reached, sizeof(a->level.reached), "%s", info.tls_text);
	a->level.verified = info.verified;
}

void host_clear(struct attempt *a)
{
	dane_cancel(a->level.query);
	dane_set_free(&a->level.dane);
	a->level = (struct level){0};
}

static void bind_address(const struct attempt *a, int family, struct conn_address *from)
{
	*from = (struct conn_address){0};
	if (!a->source)
		return;
	const char *text = family == AF_INET6 ? a->source->ipv6 : a->source->ipv4;
	if (text[0] && conn_address_parse(from, text, 0) < 0)
		bug("a source address that the configuration has checked");
}

/* NULL without WHY: none is needed. */
static SSL_CTX *context_for(struct attempt *a, enum client_tls tls, struct why *why)
{
	switch (tls) {
	case CLIENT_TLS_NONE:
		return NULL;
	case CLIENT_TLS_MAY:
		if (a->level.observed)
			return settings_client_verify(a->settings, why);
		return settings_client_may(a->settings, why);
	case CLIENT_TLS_ENCRYPT:
		return settings_client_may(a->settings, why);
	case CLIENT_TLS_VERIFY:
	case CLIENT_TLS_IMPLICIT:
		return settings_client_verify(a->settings, why);
	case CLIENT_TLS_DANE:
		return settings_client_dane(a->settings, why);
	}
	return NULL;
}

static void connect_host(struct attempt *a, const char *key)
{
	const struct conf *conf = a->settings->conf;
	const struct mx_host *host = host_of(a);
	struct why why = {0};
	struct client_options options = {
	    .to = host->address,
	    .name = host->name,
	    .hostname = a->source ? a->source->hostname : conf->hostname,
	    .own_name = look_up_own_name(conf, (uint16_t)conn_address_port(&host->address)),
	    .user = a->smarthost ? a->smarthost->user : NULL,
	    .password = a->smarthost ? a->smarthost->password : NULL,
	    .limits = &conf->delivery,
	    .tls = a->level.tls,
	    .ctx = context_for(a, a->level.tls, &why),
	    .dane = &a->level.dane,
	    .domain = destination_name(a->batch->destination),
	    .observe = a->level.observed,
	    .sessions = a->deliver->sessions,
	    .session_key = key,
	};
	if (why.kind != WHY_NONE) {
		attempt_host_failed(a, &why);
		return;
	}
	bind_address(a, host->address.addr.ss_family, &options.from);
	a->client = client_new(a->deliver->options.loop, &options, &attempt_client_handler, a);
}

static void name_and_address(const struct attempt *a, char *key, size_t size)
{
	char address[CONN_ADDRESS_TEXT];
	snprintf(key, size, "%s %s", host_of(a)->name,
	    conn_address_text(&host_of(a)->address, address));
}

void host_is_broken(const struct attempt *a)
{
	char key[512];
	name_and_address(a, key, sizeof(key));
	plain_hosts_add(a->deliver->plain_hosts, key);
}

static bool is_known_as_broken(const struct attempt *a)
{
	char key[512];
	name_and_address(a, key, sizeof(key));
	return plain_hosts_has(a->deliver->plain_hosts, key);
}

/* The level is known: WANTED is its name, TLS what that comes to. */
static void go(struct attempt *a, const char *wanted, enum client_tls tls)
{
	char key[1024];
	struct level *level = &a->level;
	level->wanted = wanted;
	level->tls = tls;
	if (tls == CLIENT_TLS_MAY && (a->plain || is_known_as_broken(a)))
		level->tls = CLIENT_TLS_NONE;
	level->verified = "";
	snprintf(level->key, sizeof(level->key), "%s%s%s%s", wanted,
	    level->tls == CLIENT_TLS_NONE ? " plain" : "", level->dane.count ? ":" : "",
	    level->dane.digest);
	host_key(a, key, sizeof(key));
	bool fresh = a->reused; /* a parked one has just failed us */
	a->client = fresh ? NULL : reuse_take(a->deliver->reuse, key);
	a->reused = a->client != NULL;
	if (!a->client) {
		connect_host(a, key);
		return;
	}
	client_set_handler(a->client, &attempt_client_handler, a);
	attempt_client_handler.ready(a);
}

/* ---- what it has to show ---- */

/* It was not even connected to. */
static void refuse(struct attempt *a, const char *wanted, const char *text)
{
	struct why why = {0};
	a->level.wanted = wanted;
	a->level.verified = "";
	why_set(&why, WHY_TEMP, "%s", text);
	attempt_host_failed(a, &why);
}

/* RFC 8689 section 4.2.1: DNSSEC or a policy has to say that this is the domain's
 * host; then a certificate for its name will do. */
static void demand_certificate(struct attempt *a)
{
	static const struct why why = {WHY_PERM, "5.7.30 the sender demands verified TLS all the "
						 "way (REQUIRETLS), and neither DNSSEC nor MTA-STS "
						 "says which hosts are the domain's"};
	if (host_of(a)->mx_secure) {
		go(a, "requiretls", CLIENT_TLS_VERIFY);
		return;
	}
	a->level.wanted = "requiretls";
	a->level.verified = "";
	attempt_host_failed(a, &why);
}

/* Nothing is published that binds this host. */
static void use_route(struct attempt *a)
{
	enum conf_route_tls level = route_level(a);
	go(a, route_levels[level].name, route_levels[level].tls);
}

static void refuse_unlisted(struct attempt *a)
{
	host_note_refusal(a, "sts", "validation-failure", "the policy does not list the host");
	refuse(a, "sts", "4.7.5 the MTA-STS policy of the domain does not list this host: its MX "
			 "records are forged, or its policy is out of date");
}

/* No TLSA records bind this host, and the policy is known. */
static void use_policy(struct attempt *a)
{
	bool demanded = route_level(a) == CONF_LEVEL_STS;
	if (!a->sts && demanded) {
		refuse(a, "sts", "4.7.5 the route demands MTA-STS, and the domain has no policy that "
				 "can be fetched");
	} else if (a->envelope.require_tls && (!a->sts || a->sts->mode != STS_MODE_ENFORCE)) {
		demand_certificate(a);
	} else if (!a->sts) {
		use_route(a);
	} else if (demanded || a->sts->mode == STS_MODE_ENFORCE) {
		if (sts_policy_fits(a->sts, host_of(a)->name))
			go(a, "sts", CLIENT_TLS_VERIFY);
		else
			refuse_unlisted(a);
	} else if (route_level(a) == CONF_LEVEL_MAY) {
		a->level.observed = true;
		go(a, "sts-testing", CLIENT_TLS_MAY);
	} else {
		use_route(a);
	}
}

static void on_sts(const struct sts_answer *answer, void *arg)
{
	static const char *const failures[] = {
	    [STS_FINE] = NULL,
	    [STS_FETCH_ERROR] = "sts-policy-fetch-error",
	    [STS_POLICY_INVALID] = "sts-policy-invalid",
	    [STS_WEBPKI_INVALID] = "sts-webpki-invalid",
	};
	struct attempt *a = arg;
	a->sts_query = NULL;
	a->sts_known = true;
	a->sts = answer->policy ? sts_policy_ref(answer->policy) : NULL;
	if (failures[answer->failure])
		host_note_refusal(a, "sts", failures[answer->failure], "");
	use_policy(a);
}

/* The sender may want more than the receiver publishes, or less ("TLS-Required: No");
 * what the administrator demands stands. */
static bool heeds_published(const struct attempt *a, enum conf_route_tls level)
{
	if (a->envelope.require_tls)
		return true;
	return !a->envelope.tls_optional &&
	       (level == CONF_LEVEL_MAY || level == CONF_LEVEL_ENCRYPT);
}

static bool wants_sts(const struct attempt *a, enum conf_route_tls level)
{
	if (!a->deliver->options.sts)
		return false;
	if (level == CONF_LEVEL_STS)
		return true;
	return a->settings->conf->delivery.mta_sts && heeds_published(a, level);
}

/* Nothing is published that binds this host in particular. */
static void ask_sts(struct attempt *a)
{
	const char *domain = destination_name(a->batch->destination);
	enum conf_route_tls level = route_level(a);
	if (level == CONF_LEVEL_DANE)
		refuse(a, "dane", "4.7.5 the route demands DANE, and the host has no TLSA records "
				  "that DNSSEC validates");
	else if (!wants_sts(a, level) && a->envelope.require_tls)
		demand_certificate(a);
	else if (!wants_sts(a, level))
		use_route(a);
	else if (a->sts_known || domain[0] == '[')
		use_policy(a);
	else
		a->sts_query = sts_find(a->deliver->options.sts, domain, on_sts, a);
}

static void refuse_unknown(struct attempt *a, const char *failure)
{
	struct buf text = {0};
	buf_addf(&text, "4.7.5 the TLSA records of the host can not be looked up (%s), so nobody "
			"can tell whether it is the right one", failure);
	host_note_refusal(a, "tlsa", "dnssec-invalid", failure);
	refuse(a, "dane", buf_text(&text));
	buf_free(&text);
}

static void on_dane(const struct dane_answer *answer, void *arg)
{
	struct attempt *a = arg;
	a->level.query = NULL;
	switch (answer->status) {
	case DANE_NONE:
		ask_sts(a);
		return;
	case DANE_USABLE:
		a->level.dane = *answer->set;
		*answer->set = (struct dane_set){0};
		go(a, "dane", CLIENT_TLS_DANE);
		return;
	case DANE_UNUSABLE:
		if (a->envelope.require_tls)
			demand_certificate(a);
		else if (route_level(a) == CONF_LEVEL_DANE)
			refuse(a, "dane", "4.7.5 the route demands DANE, and the host has no TLSA "
					  "record of a usable kind (usage 2 or 3)");
		else
			go(a, "dane-unusable", CLIENT_TLS_ENCRYPT);
		return;
	case DANE_TEMP:
		refuse_unknown(a, answer->text);
		return;
	}
}

static bool wants_dane(const struct attempt *a, enum conf_route_tls level)
{
	if (level == CONF_LEVEL_DANE)
		return true;
	return a->settings->conf->delivery.dane && heeds_published(a, level);
}

void attempt_next_host(struct attempt *a)
{
	host_clear(a);
	if (a->smarthost) {
		go(a, smarthost_levels[a->smarthost->tls].name,
		    smarthost_levels[a->smarthost->tls].tls);
		return;
	}
	if (wants_dane(a, route_level(a)) && dane_may_apply(host_of(a)))
		a->level.query = dane_find(a->deliver->options.dns, host_of(a),
		    (uint16_t)a->settings->conf->delivery.port, on_dane, a);
	else
		ask_sts(a);
}
