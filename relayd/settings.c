/* SPDX-License-Identifier: MIT */
#include "relayd/settings.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/warmup.h"
#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/rules.h"
#include "relayd/sendmail_config.h"
#include "relayd/users.h"
#include "smtp/address.h"
#include "smtp/tls.h"
#include "smtp/tls_server.h"

#define DAY_S (24 * 60 * 60)
#define RENEW_DAYS 21

static bool needs_verification(const struct conf *conf)
{
	for (size_t i = 0; i < conf->smarthost_count; i++)
		if (conf->smarthosts[i].tls == CONF_TLS_VERIFY ||
		    conf->smarthosts[i].tls == CONF_TLS_IMPLICIT)
			return true;
	for (size_t i = 0; i < conf->route_count; i++)
		if (conf->routes[i].tls == CONF_LEVEL_VERIFY ||
		    conf->routes[i].tls == CONF_LEVEL_STS)
			return true;
	return false;
}

static bool has_source(const struct conf_via *via, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (via[i].source)
			return true;
	return false;
}

bool settings_want_https(const struct settings *s)
{
	const struct conf *conf = s->conf;
	for (size_t i = 0; i < conf->route_count; i++)
		if (has_source(conf->routes[i].via, conf->routes[i].via_count) &&
		    (conf->delivery.mta_sts || conf->delivery.tls_reports ||
			conf->routes[i].tls == CONF_LEVEL_STS))
			return true;
	for (size_t i = 0; i < conf->client_count; i++)
		if (has_source(conf->clients[i].via, conf->clients[i].via_count) &&
		    (conf->delivery.mta_sts || conf->delivery.tls_reports))
			return true;
	return false;
}

static bool knows_certificates(const struct conf *conf)
{
	for (size_t i = 0; i < conf->client_count; i++)
		if (conf->clients[i].certificate_count)
			return true;
	return false;
}

/* Of a pair, one half of which may be refused already; the file calls its halves
 * CERTIFICATE and KEY. */
static void load_certificate(SSL_CTX *ctx, const struct conf_certificate *one,
    const char *certificate, const char *key, struct conf_errors *errors)
{
	struct tls_faults faults = {0};
	if (!one->certificate[0] || !one->key[0] ||
	    tls_server_add(ctx, one->certificate, one->key, &faults) == 0)
		return;
	if (faults.certificate.text[0])
		conf_errors_add(errors, one->certificate_at, certificate, faults.certificate.text);
	if (faults.key.text[0])
		conf_errors_add(errors, one->key_at, key, faults.key.text);
}

static void load_certificates(struct settings *s, struct conf_errors *errors)
{
	const struct conf *conf = s->conf;
	const struct conf_certificate main = {conf->tls.certificate, conf->tls.key,
	    conf->tls.certificate_at, conf->tls.key_at};
	struct why why = {0};
	s->server_tls = tls_server_new(&why);
	if (!s->server_tls) {
		conf_errors_add(errors, conf->file, "tls", why.text);
		return;
	}
	load_certificate(s->server_tls, &main, "tls.certificate", "tls.key", errors);
	for (size_t i = 0; i < conf->certificate_count; i++)
		load_certificate(s->server_tls, &conf->certificates[i], "certificates.certificate",
		    "certificates.key", errors);
}

/* What is not used so far is read all the same: better a mistake now than at the reload
 * that brings the first entry of clients. */
static void load_authorities(struct settings *s, struct conf_errors *errors)
{
	const struct conf *conf = s->conf;
	struct why why = {0};
	bool used = s->server_tls && knows_certificates(conf);
	if (!used && !conf->tls.client_ca[0])
		return;
	SSL_CTX *ctx = used ? s->server_tls : tls_server_new(&why);
	if (!ctx || tls_server_ask_clients(ctx, conf->tls.client_ca, &why) < 0)
		conf_errors_add(errors, conf->tls.client_ca_at, "tls.client_ca", why.text);
	if (!used)
		SSL_CTX_free(ctx);
}

static bool takes_logins(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].auth)
			return true;
	return false;
}

/* Each line that was added to the text is a mistake. */
static void count_lines(struct conf_errors *errors, size_t from)
{
	for (size_t i = from; i < errors->text.len; i++)
		errors->count += errors->text.data[i] == '\n';
}

/* The file is read again whenever it changes (relayd/login.c); this finds what is
 * wrong with it before a start or reload. */
static void check_users(const struct conf *conf, struct conf_errors *errors)
{
	if (!takes_logins(conf) || !conf->users[0])
		return;
	size_t from = errors->text.len;
	users_free(users_load(conf->users, NULL, &errors->text));
	count_lines(errors, from);
}

static void load_rules(struct settings *s, const char *file, struct conf_errors *errors)
{
	size_t from = errors->text.len;
	s->rules = rules_load(file, &errors->text);
	count_lines(errors, from);
}

static void load_parts(struct settings *s, struct conf_errors *errors)
{
	const struct conf *conf = s->conf;
	struct why why = {0};
	s->keys = dkim_keys_load(conf->domains, conf->domain_count, errors);
	if (conf->tls.certificate[0] || conf->certificate_count)
		load_certificates(s, errors);
	load_authorities(s, errors);
	check_users(conf, errors);
	if (needs_verification(conf) && !settings_client_verify(s, &why))
		conf_errors_add(errors, conf->file, "tls", why.text);
}

/* What is good of a configuration with mistakes is looked into as well, so that all of
 * them are told at once. */
struct settings *settings_load(const char *file, struct conf_errors *errors)
{
	struct settings *s = mem_zero(sizeof(*s));
	s->refs = 1;
	s->conf = conf_load_partly(file, errors);
	if (s->conf)
		load_parts(s, errors);
	load_rules(s, file, errors);
	if (errors->count == 0)
		return s;
	settings_unref(s);
	return NULL;
}

void settings_log_errors(enum log_level level, const char *what,
    const struct conf_errors *errors)
{
	struct span rest = span_buf(&errors->text);
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');
		log_text(level, "%s: %.*s", what, (int)line.n, line.p);
	}
}

struct warning {
	void (*fn)(void *arg, const char *text);
	void *arg;
};

/* "less than a day", "1 day", "20 days" */
static void add_days(struct buf *out, int64_t seconds)
{
	int64_t days = seconds / DAY_S;
	if (days)
		buf_addf(out, "%" PRId64 " day%s", days, days == 1 ? "" : "s");
	else
		buf_add_text(out, "less than a day");
}

static void look_at_certificate(void *arg, const char *name, int64_t until_s)
{
	const struct warning *warning = arg;
	struct buf text = {0};
	int64_t left = until_s - clock_wall_ms() / 1000;
	if (left >= RENEW_DAYS * DAY_S)
		return;
	buf_addf(&text, "the certificate of %s %s ", name[0] ? name : "(no name)",
	    left > 0 ? "ends in" : "has ended, since");
	add_days(&text, left > 0 ? left : -left);
	buf_add_text(&text, "; renew it, then: relayctl reload");
	warning->fn(warning->arg, buf_text(&text));
	buf_free(&text);
}

static void ATTR_PRINTF(2, 3) warn(const struct warning *warning, const char *format, ...)
{
	char text[3 * 4096 + 512]; /* three texts of the configuration at most */
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	warning->fn(warning->arg, text);
}

/* What an untouched configuration on a machine without a full name comes to. */
static void look_at_names(const struct conf *conf, const struct warning *warning)
{
	if (domain_is_broken(span_text(conf->hostname)))
		warn(warning, "hostname: \"%s\" is not a name that others can look up, and many refuse "
			      "mail from a host that greets with it; expected one like "
			      "\"relay.example.jp\"", conf->hostname);
	if (conf->domain_count == 0)
		warn(warning, "domains: there are none, so no mail is signed and no envelope sender is "
			      "mended");
}

/* An own list replaces the default one, and its second entry is easily forgotten. */
static void look_at_listen(const struct conf *conf, const struct warning *warning)
{
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].address[0] == '/')
			return;
	warn(warning,
	    "listen: there is no Unix socket, so relay-sendmail on this machine only "
	    "leaves messages in the drop folder, and who sends is told what is wrong with "
	    "them later and by mail only; expected { address = \"" CONF_SUBMIT
	    "\"; } among the others");
}

static bool is_folder(const char *path, const struct stat *wanted)
{
	struct stat st;
	return stat(path, &st) == 0 && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
}

/* Ours follows the spool, that of relay-sendmail does not: what it leaves where nobody
 * looks has had its exit status 0. */
static void look_at_drop(const struct conf *conf, const struct warning *warning)
{
	struct sendmail_config sendmail;
	struct why why;
	struct stat ours = {0};
	bool connects = false; /* to us, or to nobody */
	bool local = false;
	if (sendmail_config_load(&sendmail, NULL, &why) < 0)
		return; /* then it takes no messages */
	for (size_t i = 0; i < conf->listen_count; i++) {
		local |= conf->listen[i].address[0] == '/';
		connects |= strcmp(conf->listen[i].address, sendmail.socket) == 0;
	}
	bool same =
	    sendmail.drop && (strcmp(sendmail.drop, conf->drop) == 0 ||
				 (stat(conf->drop, &ours) == 0 && is_folder(sendmail.drop, &ours)));
	if (sendmail.drop && !sendmail.host && (connects || !local) && !same)
		warn(warning,
		    "drop: while the daemon is down relay-sendmail leaves messages in \"%s\", "
		    "where nobody takes them; expected drop = \"%s\"; in "
		    "/etc/relayd/sendmail.conf, or that folder here",
		    sendmail.drop, conf->drop);
	sendmail_config_free(&sendmail);
}

/* A slip in the year would keep it at the pace of the first day for ever. */
static void look_at_sources(const struct conf *conf, const struct warning *warning)
{
	int64_t from;
	for (size_t i = 0; i < conf->source_count; i++) {
		const struct conf_source *source = &conf->sources[i];
		if (source->since[0] && warmup_parse_date(source->since, &from) && from > clock_wall_ms())
			warn(warning, "sources: \"%s\" begins to send on %s only (since); till then its pace is "
				      "that of the first day of warm-up", source->name, source->since);
	}
}

/* With the other kind of TLS than that of the port each side waits for the other one to
 * speak, and all that the log has of it is a timeout. */
static void look_at_port(
    const struct warning *warning, const char *key, const char *name, int64_t port, bool implicit)
{
	if (port == 465 && !implicit)
		warn(warning,
		    "%s: \"%s\" has port 465, where TLS is spoken from the first byte on; "
		    "expected tls = \"implicit\" with it, or port = 587",
		    key, name);
	else if ((port == 587 || port == 25) && implicit)
		warn(warning,
		    "%s: \"%s\" has port %d, where TLS begins with STARTTLS; expected port = "
		    "465 with tls = \"implicit\"",
		    key, name, (int)port);
}

static void look_at_ports(const struct conf *conf, const struct warning *warning)
{
	for (size_t i = 0; i < conf->listen_count; i++) {
		const struct conf_listen *l = &conf->listen[i];
		look_at_port(
		    warning, "listen", l->address, l->port, l->tls == CONF_LISTEN_TLS_IMPLICIT);
	}
	for (size_t i = 0; i < conf->smarthost_count; i++) {
		const struct conf_smarthost *s = &conf->smarthosts[i];
		look_at_port(warning, "smarthosts", s->name, s->port, s->tls == CONF_TLS_IMPLICIT);
	}
}

/* The first route that fits is taken; mail that none fits waits. */
static void look_at_routes(const struct conf *conf, const struct warning *warning)
{
	bool all = false;
	for (size_t i = 0; i < conf->route_count; i++) {
		const struct conf_route *route = &conf->routes[i];
		if (all)
			warn(warning, "routes: the one with match = \"%s\" is never taken, since one for all "
				      "mail stands before it; the first that fits counts", route->match);
		else if (strcmp(route->match, "*") == 0 && strcmp(route->sender, "*") == 0)
			all = true;
	}
	if (!all)
		warn(warning,
		    "routes: none of them is for all mail, and mail that none fits waits; "
		    "add as the last one: { match = \"*\"; via = [ ... ]; }");
}

void settings_warn(const struct settings *s, void (*fn)(void *arg, const char *text), void *arg)
{
	struct warning warning = {fn, arg};
	look_at_names(s->conf, &warning);
	look_at_listen(s->conf, &warning);
	look_at_drop(s->conf, &warning);
	look_at_sources(s->conf, &warning);
	look_at_ports(s->conf, &warning);
	look_at_routes(s->conf, &warning);
	if (s->server_tls)
		tls_server_each(s->server_tls, look_at_certificate, &warning);
}

static bool is_under_any(const char *domain, char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (span_is_under(span_text(domain), span_text(list[i])))
			return true;
	return false;
}

/* From is checked against each of the three: from, domains of the client, and ours. */
static void look_at_from(const struct conf *conf, const struct conf_client *client,
    const struct warning *warning)
{
	bool any = conf->domain_count == 0 || conf->foreign_from == CONF_FOREIGN_FROM_PASS;
	for (size_t i = 0; i < client->from_count; i++) {
		const char *name = strrchr(client->from[i], '@') + 1;
		bool ours = any ||
			    conf_domain_of(conf->domains, conf->domain_count, name, strlen(name));
		bool own = !client->domain_count ||
			   is_under_any(name, client->domains, client->domain_count);
		if (!own || !ours)
			warn(warning,
			    "clients: \"%s\" may have \"%s\" in From, but mail with it is refused, "
			    "since \"%s\" is not in %s, nor under one of them", client->name,
			    client->from[i], name, ours ? "its domains" : "domains");
	}
}

/* Of entries for one login the first is taken. */
static void look_at_clients(const struct conf *conf, const struct warning *warning)
{
	for (size_t i = 0; i < conf->client_count; i++) {
		const struct conf_client *client = &conf->clients[i];
		const struct conf_client *first =
		    conf_client_of(conf->clients, i, client->login, 0, NULL);
		if (first)
			warn(warning,
			    "clients: \"%s\" is never taken, since \"%s\" stands before it and is for "
			    "the same login, \"%s\"", client->name, first->name, client->login);
		look_at_from(conf, client, warning);
	}
}

static void look_for_logins(const struct conf *conf, const struct warning *warning)
{
	struct buf text = {0};
	struct users *users = takes_logins(conf) ? users_load(conf->users, NULL, &text) : NULL;
	for (size_t i = 0; users && i < conf->client_count; i++) {
		const struct conf_client *client = &conf->clients[i];
		if (client->login[0] && !client->certificate_count &&
		    !users_find(users, client->login))
			warn(warning, "clients: \"%s\" is for the login \"%s\", which %s does not "
				      "have; do: relayctl user add %s", client->name, client->login,
			    conf->users, client->login);
	}
	users_free(users);
	buf_free(&text);
}

void settings_warn_of_clients(const struct settings *s, void (*fn)(void *arg, const char *text),
    void *arg)
{
	struct warning warning = {fn, arg};
	look_at_clients(s->conf, &warning);
	look_for_logins(s->conf, &warning);
}

static void check_group(
    const struct conf *conf, const char *key, const char *name, struct conf_errors *errors)
{
	struct buf text = {0};
	if (!name[0] || getgrnam(name))
		return;
	buf_addf(&text,
	    "there is no group \"%s\" on this machine, and relayd does not start; do: "
	    "groupadd %s",
	    name, name);
	conf_errors_add(errors, conf->file, key, buf_text(&text));
	buf_free(&text);
}

static bool lacks_user(const struct conf *conf, struct buf *text)
{
	if (!conf->user[0] || getpwnam(conf->user))
		return false;
	buf_addf(text,
	    "there is no user \"%s\" on this machine, and relayd does not start as root; "
	    "do: systemd-sysusers, for \"relayd\", or useradd",
	    conf->user);
	return true;
}

void settings_check_machine(const struct settings *s, struct conf_errors *errors)
{
	const struct conf *conf = s->conf;
	struct buf text = {0};
	if (geteuid() == 0 && lacks_user(conf, &text))
		conf_errors_add(errors, conf->file, "user", buf_text(&text));
	buf_free(&text);
	check_group(conf, "control_group", conf->control_group, errors);
	check_group(conf, "control_look_group", conf->control_look_group, errors);
}

void settings_warn_of_machine(const struct settings *s, void (*fn)(void *arg, const char *text),
    void *arg)
{
	struct warning warning = {fn, arg};
	struct buf text = {0};
	if (geteuid() != 0 && lacks_user(s->conf, &text))
		warn(&warning, "user: %s", buf_text(&text));
	buf_free(&text);
}

void settings_renew(const struct settings *s, void (*fn)(void *arg, const char *text), void *arg)
{
	settings_warn(s, fn, arg);
	if (s->server_tls)
		tls_server_renew_tickets(s->server_tls);
}

struct settings *settings_ref(struct settings *s)
{
	s->refs++;
	return s;
}

void settings_unref(struct settings *s)
{
	if (!s || --s->refs > 0)
		return;
	SSL_CTX_free(s->server_tls);
	SSL_CTX_free(s->client_tls);
	SSL_CTX_free(s->client_tls_verify);
	SSL_CTX_free(s->client_tls_dane);
	if (s->keys)
		dkim_keys_free(s->keys);
	verdict_free(s->rules);
	conf_free(s->conf);
	mem_free(s);
}

SSL_CTX *settings_client_may(struct settings *s, struct why *why)
{
	if (!s->client_tls)
		s->client_tls = tls_client_new(0, why);
	return s->client_tls;
}

SSL_CTX *settings_client_verify(struct settings *s, struct why *why)
{
	if (!s->client_tls_verify)
		s->client_tls_verify = tls_client_new(1, why);
	return s->client_tls_verify;
}

SSL_CTX *settings_client_dane(struct settings *s, struct why *why)
{
	if (!s->client_tls_dane)
		s->client_tls_dane = tls_dane_new(why);
	return s->client_tls_dane;
}
