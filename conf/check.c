/* SPDX-License-Identifier: MIT
 * The checks across keys, in the order of the file. A field that was refused
 * before is empty here, and is passed over: one mistake, one line.
 */
#include "conf/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/syntax.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"

struct check {
	struct report *report;
	const config_t *settings;
	struct conf *conf;
};

#define PATH_MAX_KEY 128

/* The setting with a path like "listen.[2].port"; NULL: the file does not give it. */
static const config_setting_t *ATTR_PRINTF(2, 3)
    given(const struct check *c, const char *format, ...)
{
	char path[PATH_MAX_KEY];
	va_list args;
	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	return config_lookup(c->settings, path);
}

/* Does the setting (NULL: not given) say something? "" and [ ] mean none; what was refused
 * counts, since that is told. */
static bool says(const config_setting_t *found)
{
	if (found && config_setting_type(found) == CONFIG_TYPE_STRING)
		return *config_setting_get_string(found);
	return found && !(config_setting_is_aggregate(found) && config_setting_length(found) == 0);
}

/* Was the setting refused? Then what would follow from its value is no news. */
static bool is_refused(const struct check *c, const config_setting_t *found)
{
	return found && report_has(c->report, found);
}

/* The setting with that path, or what is around it: where to point at when a key is
 * missing. */
static const config_setting_t *ATTR_PRINTF(2, 3)
    place(const struct check *c, const char *format, ...)
{
	char path[PATH_MAX_KEY];
	va_list args;
	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	const config_setting_t *found = config_lookup(c->settings, path);
	while (!found) {
		char *dot = strrchr(path, '.');
		if (!dot)
			return NULL;
		*dot = '\0';
		found = config_lookup(c->settings, path);
	}
	return found;
}

static void replace(char **field, const char *format, ...) ATTR_PRINTF(2, 3);
static void replace(char **field, const char *format, ...)
{
	char text[5120]; /* two texts of the file at most */
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mem_free(*field);
	*field = mem_text(text);
}

/* The machine's name as it is set, whether it has a domain or not: asking the
 * DNS here would make the start depend on it. */
static void complete_hostname(struct conf *conf)
{
	char name[256] = "";
	struct buf host = {0};

	if (gethostname(name, sizeof(name) - 1) < 0 || !*name ||
	    syntax_clean(span_text(name), NULL) < 0 ||
	    syntax_host.parse(span_text(name), &host, NULL) < 0)
		replace(&conf->hostname, "localhost");
	else
		replace(&conf->hostname, "%s", buf_text(&host));
	buf_free(&host);
}

/* Without slashes at its end. */
static struct span folder_name(const char *path)
{
	struct span name = span_text(path);
	while (name.n > 1 && name.p[name.n - 1] == '/')
		name.n--;
	return name;
}

/* Cut the next name off PATH; an empty one: it was the last. */
static struct span next_name(struct span *path)
{
	struct span name;
	do
		name = span_cut(path, '/');
	while (path->n && (name.n == 0 || span_is(name, ".")));
	return span_is(name, ".") ? (struct span){name.p, 0} : name;
}

/* By their words: is PATH the folder, or in it? Nothing is in "". */
static bool is_within(const char *path, const char *folder)
{
	struct span inner = span_text(path);
	struct span outer = span_text(folder);
	struct span name;
	if (!*path || !*folder)
		return false;
	while ((name = next_name(&outer)).n)
		if (!span_equal(next_name(&inner), name))
			return false;
	return true;
}

/* The spool is ours alone, and into the drop folder anybody may write. */
static void check_drop(const struct check *c)
{
	const char *drop = c->conf->drop;
	const char *spool = c->conf->spool.path;
	bool in_spool = is_within(drop, spool);
	bool in_drop = is_within(spool, drop);
	if (in_spool)
		report_add(c->report, place(c, "drop"), "drop",
		    "\"%s\" is %sthe spool, which nobody else may enter; expected a folder of its "
		    "own",
		    drop, in_drop ? "" : "in ");
	else if (in_drop)
		report_add(c->report, place(c, "drop"), "drop",
		    "the spool is in \"%s\", where anybody may write; expected a folder of its own",
		    drop);
}

static void check_socket(
    const struct check *c, const config_setting_t *at, const char *key, const char *path)
{
	struct stat st;
	if (is_within(path, c->conf->spool.path))
		report_add(c->report, at, key,
		    "\"%s\" is the spool or in it, where nobody else may enter; expected a socket "
		    "elsewhere",
		    path);
	else if (is_within(path, c->conf->drop))
		report_add(c->report, at, key,
		    "\"%s\" is the drop folder or in it, where anybody may write; expected a socket "
		    "elsewhere",
		    path);
	else if (*path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		report_add(c->report, at, key,
		    "\"%s\" is a folder, expected the path of a socket in one", path);
}

static void complete_top(const struct check *c)
{
	struct conf *conf = c->conf;
	if (!*conf->hostname)
		complete_hostname(conf);
	struct span spool = folder_name(conf->spool.path);
	check_drop(c);
	if (!*conf->drop)
		replace(&conf->drop, "%.*s-drop", (int)spool.n, spool.p);
	check_socket(c, place(c, "control"), "control", conf->control);
}

static void complete_listen(const struct check *c)
{
	static const char *const addresses[] = {"127.0.0.1", CONF_SUBMIT};
	struct conf *conf = c->conf;

	if (!given(c, "listen")) {
		conf->listen = mem_array(2, sizeof(*conf->listen));
		conf->listen_count = 2;
		for (size_t i = 0; i < 2; i++)
			conf->listen[i].address = mem_text(addresses[i]);
	}
	for (size_t i = 0; i < conf->listen_count; i++) {
		struct conf_listen *l = &conf->listen[i];
		if (!l->port && *l->address != '/' && !given(c, "listen.[%zu].port", i))
			l->port = l->tls == CONF_LISTEN_TLS_IMPLICIT ? 465 : 25;
	}
}

static void check_listen_socket(const struct check *c, size_t i)
{
	const struct conf_listen *l = &c->conf->listen[i];
	check_socket(c, place(c, "listen.[%zu].address", i), "listen.address", l->address);
	if (strcmp(l->address, c->conf->control) == 0)
		report_add(c->report, place(c, "listen.[%zu].address", i), "listen.address",
		    "\"%s\" is the socket of control, expected one of its own", l->address);
	if (l->port)
		report_add(c->report, place(c, "listen.[%zu].port", i), "listen.port",
		    "a Unix socket has no port, expected none");
	if (l->tls != CONF_LISTEN_TLS_NONE)
		report_add(c->report, place(c, "listen.[%zu].tls", i), "listen.tls",
		    "a Unix socket needs no TLS, expected \"none\"");
	if (l->proxy_count)
		report_add(c->report, place(c, "listen.[%zu].proxy", i), "listen.proxy",
		    "no balancer has an address on a Unix socket, expected none");
}

/* The system gives a port once: 0.0.0.0 has it at each IPv4 address. */
static void check_listen_twice(const struct check *c, size_t i)
{
	const struct conf_listen *l = &c->conf->listen[i];
	const config_setting_t *at = place(c, "listen.[%zu].address", i);

	if (!l->port && *l->address != '/')
		return; /* it was refused */
	for (const struct conf_listen *other = c->conf->listen; other < l; other++) {
		if (other->port != l->port)
			continue;
		if (strcmp(other->address, l->address) == 0)
			report_add(c->report, at, "listen.address",
			    "\"%s\" with this port is listed twice", l->address);
		else if (syntax_overlap(other->address, l->address))
			report_add(c->report, at, "listen.address",
			    "\"%s\" can not have this port, since \"%s\" has it already; expected "
			    "one of them",
			    l->address, other->address);
	}
}

static void check_listen(const struct check *c, size_t i)
{
	const struct conf *conf = c->conf;
	const struct conf_listen *l = &conf->listen[i];

	if (!*l->address)
		return;
	if (*l->address == '/')
		check_listen_socket(c, i);
	else if (l->auth && l->tls == CONF_LISTEN_TLS_NONE &&
		 !syntax_is_loopback(l->address) &&
		 !is_refused(c, given(c, "listen.[%zu].tls", i)))
		report_add(c->report, place(c, "listen.[%zu].auth", i), "listen.auth",
		    "passwords would cross the network in the clear, expected "
		    "tls = \"starttls\" or \"implicit\" here");
	if (*l->address != '/' && l->tls != CONF_LISTEN_TLS_NONE &&
	    !says(given(c, "tls.certificate")))
		report_add(c->report, place(c, "listen.[%zu].tls", i), "listen.tls",
		    "there is no certificate to show, expected "
		    "tls = { certificate = \"...\"; key = \"...\"; } at the top level");
	check_listen_twice(c, i);
}

static void report_file_why(const struct check *c, const config_setting_t *at,
    const char *key, const char *path, const struct why *why)
{
	report_add(c->report, at, key, "\"%s\": %s", path, why->text);
}

/* The file PATH ("": none) that KEY names; SECRET: for its owner only. It becomes "" when it
 * can not be read, and WHERE the place of KEY. */
static void check_named_file(const struct check *c, const config_setting_t *at, const char *key,
    char **path, bool secret, char **where)
{
	struct why why;
	*where = report_place(c->report, at);
	if (!**path || check_file(*path, secret, &why) == 0)
		return;
	report_file_why(c, at, key, *path, &why);
	replace(path, "%s", "");
}

static void check_tls(const struct check *c)
{
	struct conf_tls *tls = &c->conf->tls;

	if (*tls->certificate && !says(given(c, "tls.key")))
		report_add(c->report, place(c, "tls.certificate"), "tls.key",
		    "is missing, a certificate is of no use without its key");
	if (*tls->key && !says(given(c, "tls.certificate")))
		report_add(c->report, place(c, "tls.key"), "tls.certificate",
		    "is missing, a key is of no use without its certificate");
	check_named_file(c, place(c, "tls.certificate"), "tls.certificate", &tls->certificate,
	    false, &tls->certificate_at);
	check_named_file(c, place(c, "tls.key"), "tls.key", &tls->key, true, &tls->key_at);
	check_named_file(c, place(c, "tls.client_ca"), "tls.client_ca", &tls->client_ca, false,
	    &tls->client_ca_at);
	if (c->conf->certificate_count && !says(given(c, "tls.certificate")))
		report_add(c->report, place(c, "certificates"), "tls.certificate",
		    "is missing; those in certificates stand beside it");
}

static void check_certificate(const struct check *c, size_t i)
{
	struct conf_certificate *one = &c->conf->certificates[i];

	check_named_file(c, place(c, "certificates.[%zu].certificate", i),
	    "certificates.certificate", &one->certificate, false, &one->certificate_at);
	check_named_file(c, place(c, "certificates.[%zu].key", i), "certificates.key", &one->key,
	    true, &one->key_at);
}

static void check_dkim(const struct check *c, size_t i)
{
	const struct conf_domain *d = &c->conf->domains[i];

	for (size_t k = 0; k < d->dkim_count; k++) {
		struct conf_dkim_key *key = &d->dkim[k];
		const char *selector = key->selector;
		check_named_file(c, place(c, "domains.[%zu].dkim.[%zu].key", i, k),
		    "domains.dkim.key", &key->key, true, &key->key_at);
		for (size_t j = 0; *selector && j < k; j++)
			if (strcmp(d->dkim[j].selector, selector) == 0)
				report_add(c->report,
				    place(c, "domains.[%zu].dkim.[%zu].selector", i, k),
				    "domains.dkim.selector", "\"%s\" is listed twice",
				    selector);
	}
}

static void check_domain(const struct check *c, size_t i)
{
	struct conf *conf = c->conf;
	struct conf_domain *d = &conf->domains[i];

	check_dkim(c, i);
	for (size_t j = 0; *d->name && j < i; j++)
		if (strcmp(conf->domains[j].name, d->name) == 0)
			report_add(c->report, place(c, "domains.[%zu].name", i),
			    "domains.name", "\"%s\" is listed twice", d->name);
	if (!*d->return_path) {
		if (*d->name)
			replace(&d->return_path, "postmaster@%s", d->name);
		return;
	}
	const char *of = strrchr(d->return_path, '@') + 1;
	if (!conf_domain_of(conf->domains, conf->domain_count, of, strlen(of)))
		report_add(c->report, place(c, "domains.[%zu].return_path", i),
		    "domains.return_path",
		    "\"%s\": \"%s\" is not in domains nor below one of them, so SPF would pass "
		    "for a stranger's domain and not count for DMARC; expected an address like "
		    "\"bounce@%s\"",
		    d->return_path, of, *d->name ? d->name : "example.org");
}

static void check_return_path(const struct check *c)
{
	struct conf *conf = c->conf;
	struct conf_return_path *r = &conf->return_path;
	bool found = false;

	if (!*r->default_domain && conf->domain_count)
		replace(&r->default_domain, "%s", conf->domains[0].name);
	for (size_t i = 0; i < conf->domain_count; i++)
		found = found || strcmp(conf->domains[i].name, r->default_domain) == 0;
	if (*r->default_domain && !found)
		report_add(c->report, place(c, "return_path.default_domain"),
		    "return_path.default_domain", "\"%s\" is not in domains",
		    r->default_domain);
	if (!conf->domain_count && (r->mode == CONF_RETURN_PATH_ALWAYS ||
				       r->mode == CONF_RETURN_PATH_MASQUERADE))
		report_add(c->report, place(c, "return_path.mode"), "return_path.mode",
		    "there is no domain to rewrite to, expected one in domains");
}

static void complete_sources(const struct check *c)
{
	struct conf *conf = c->conf;
	if (!conf->source_count) {
		mem_free(conf->sources);
		conf->sources = mem_array(1, sizeof(*conf->sources));
		conf->source_count = 1;
		conf->sources[0] = (struct conf_source){
		    .name = mem_text("default"),
		    .ipv4 = mem_text(""),
		    .ipv6 = mem_text(""),
		    .hostname = mem_text(""),
		    .since = mem_text(""),
		};
	}
	for (size_t i = 0; i < conf->source_count; i++)
		if (!*conf->sources[i].hostname)
			replace(&conf->sources[i].hostname, "%s", conf->hostname);
}

/* Sources and smarthosts share their names, since routes list both. */
static bool is_taken(
    const struct conf *conf, const char *name, size_t sources, size_t smarthosts)
{
	for (size_t i = 0; i < sources; i++)
		if (strcmp(conf->sources[i].name, name) == 0)
			return true;
	for (size_t i = 0; i < smarthosts; i++)
		if (strcmp(conf->smarthosts[i].name, name) == 0)
			return true;
	return false;
}

static void check_names(const struct check *c)
{
	const struct conf *conf = c->conf;
	for (size_t i = 0; i < conf->source_count; i++) {
		const char *name = conf->sources[i].name;
		if (*name && is_taken(conf, name, i, 0))
			report_add(c->report, place(c, "sources.[%zu].name", i),
			    "sources.name", "\"%s\" is listed twice", name);
	}
	for (size_t i = 0; i < conf->smarthost_count; i++) {
		const char *name = conf->smarthosts[i].name;
		if (*name && is_taken(conf, name, conf->source_count, i))
			report_add(c->report, place(c, "smarthosts.[%zu].name", i),
			    "smarthosts.name",
			    "\"%s\" is the name of another smarthost or source", name);
	}
}

static void load_password(const struct check *c, size_t i)
{
	struct conf_smarthost *s = &c->conf->smarthosts[i];
	struct why why;

	s->password =
	    *s->password_file ? check_read_password(s->password_file, &why) : NULL;
	if (*s->password_file && !s->password)
		report_file_why(c, place(c, "smarthosts.[%zu].password_file", i),
		    "smarthosts.password_file", s->password_file, &why);
	if (!s->password)
		s->password = mem_text("");
}

static void check_smarthost(const struct check *c, size_t i)
{
	struct conf_smarthost *s = &c->conf->smarthosts[i];

	if (*s->user && !given(c, "smarthosts.[%zu].tls", i))
		s->tls = CONF_TLS_VERIFY;
	if (!s->port)
		s->port = s->tls == CONF_TLS_IMPLICIT ? 465 : 587;
	if (*s->user && !says(given(c, "smarthosts.[%zu].password_file", i)))
		report_add(c->report, place(c, "smarthosts.[%zu].user", i),
		    "smarthosts.password_file", "is missing, user needs one");
	if (*s->password_file && !says(given(c, "smarthosts.[%zu].user", i)))
		report_add(c->report, place(c, "smarthosts.[%zu].password_file", i),
		    "smarthosts.user", "is missing, password_file needs one");
	bool clear = s->tls == CONF_TLS_NONE || s->tls == CONF_TLS_MAY;
	if (*s->user && clear && *s->host && !syntax_is_loopback(s->host) &&
	    !is_refused(c, given(c, "smarthosts.[%zu].tls", i)))
		report_add(c->report, place(c, "smarthosts.[%zu].tls", i),
		    "smarthosts.tls",
		    "the password could cross the network in the clear, expected \"verify\", "
		    "\"implicit\" or \"encrypt\"");
	load_password(c, i);
}

static void complete_routes(const struct check *c)
{
	struct conf *conf = c->conf;
	if (conf->route_count)
		return;
	mem_free(conf->routes);
	conf->routes = mem_array(1, sizeof(*conf->routes));
	conf->route_count = 1;
	struct conf_route *route = conf->routes;
	route->match = mem_text("*");
	route->sender = mem_text("*");
	route->via_names = mem_array(1, sizeof(*route->via_names));
	route->via_names[0] = mem_text(conf->sources[0].name);
	route->via_count = 1;
}

static struct conf_via find_via(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->source_count; i++)
		if (strcmp(conf->sources[i].name, name) == 0)
			return (struct conf_via){.source = &conf->sources[i]};
	for (size_t i = 0; i < conf->smarthost_count; i++)
		if (strcmp(conf->smarthosts[i].name, name) == 0)
			return (struct conf_via){.smarthost = &conf->smarthosts[i]};
	return (struct conf_via){0};
}

static void add_name(struct buf *out, const char *name)
{
	if (*name)
		buf_addf(out, "%s\"%s\"", out->len ? ", " : "", name);
}

/* "ip1", "ip2", "ses": what via may name. */
static void add_names(const struct conf *conf, struct buf *out)
{
	size_t most = 20;
	for (size_t i = 0; i < conf->source_count && most; i++, most--)
		add_name(out, conf->sources[i].name);
	for (size_t i = 0; i < conf->smarthost_count && most; i++, most--)
		add_name(out, conf->smarthosts[i].name);
}

/* What the NAMES of item I of LIST ("routes", "clients") stand for. */
static struct conf_via *check_via(const struct check *c, const char *list, size_t i,
    char *const *names, size_t count)
{
	struct conf_via *via = mem_array(count, sizeof(*via));
	struct buf key = {0};
	buf_addf(&key, "%s.via", list);
	for (size_t k = 0; k < count; k++) {
		const config_setting_t *at = place(c, "%s.[%zu].via.[%zu]", list, i, k);
		if (!*names[k])
			continue;
		via[k] = find_via(c->conf, names[k]);
		if (!via[k].source && !via[k].smarthost) {
			struct buf known = {0};
			add_names(c->conf, &known);
			report_add(c->report, at, buf_text(&key),
			    "\"%s\" is neither a source nor a smarthost, expected one of %s",
			    names[k], buf_text(&known));
			buf_free(&known);
		}
		for (size_t j = 0; j < k; j++)
			if (strcmp(names[j], names[k]) == 0)
				report_add(c->report, at, buf_text(&key),
				    "\"%s\" is listed twice", names[k]);
	}
	buf_free(&key);
	return via;
}

/* A fingerprint of SHA-256: 64 hexadecimal digits, with colons or without. */
static bool is_print(const char *text)
{
	size_t digits = 0;
	for (; *text; text++) {
		if (*text == ':')
			continue;
		if (!memchr("0123456789abcdefABCDEF", *text, 22))
			return false;
		digits++;
	}
	return digits == 64;
}

static void check_client_certificates(const struct check *c, size_t i)
{
	struct conf_client *client = &c->conf->clients[i];

	for (size_t k = 0; k < client->certificate_count; k++) {
		const char *text = client->certificates[k];
		const config_setting_t *at = place(c, "clients.[%zu].certificates.[%zu]", i, k);
		bool print = strncmp(text, "sha256:", 7) == 0;
		if (!*text)
			continue;
		if (print && !is_print(text + 7))
			report_add(c->report, at, "clients.certificates",
			    "\"%s\" is no fingerprint, expected 64 hexadecimal digits as "
			    "openssl x509 -fingerprint -sha256 prints them", text);
		else if (!print && !says(given(c, "tls.client_ca")))
			report_add(c->report, at, "clients.certificates",
			    "\"%s\" is a name, and anybody can make a certificate with it: "
			    "expected tls.client_ca, or \"sha256:\" and a fingerprint", text);
	}
	if (client->certificate_count && !*client->login)
		replace(&client->login, "%s", client->name);
}

static void check_client(const struct check *c, size_t i)
{
	const struct conf *conf = c->conf;
	struct conf_client *client = &conf->clients[i];

	check_client_certificates(c, i);
	bool login = says(given(c, "clients.[%zu].login", i)) ||
		     says(given(c, "clients.[%zu].certificates", i));
	if (login == says(given(c, "clients.[%zu].networks", i)))
		report_add(c->report, place(c, "clients.[%zu].name", i), "clients.name",
		    "\"%s\" has %s, expected one of login (or certificates) and networks", client->name,
		    login ? "both" : "neither");
	for (size_t k = 0; *client->name && k < i; k++)
		if (strcmp(conf->clients[k].name, client->name) == 0)
			report_add(c->report, place(c, "clients.[%zu].name", i), "clients.name",
			    "\"%s\" is listed twice", client->name);
	for (size_t k = 0; k < client->domain_count; k++) {
		const char *name = client->domains[k];
		if (*name && !conf_domain_of(conf->domains, conf->domain_count, name, strlen(name)))
			report_add(c->report, place(c, "clients.[%zu].domains.[%zu]", i, k),
			    "clients.domains", "\"%s\" is not in domains, nor under one",
			    name);
	}
	client->via = check_via(c, "clients", i, client->via_names, client->via_count);
}

static void check_rest(const struct check *c)
{
	const struct conf *conf = c->conf;
	struct why why;

	if (conf->queue.window_start > conf->queue.window_max)
		report_add(c->report, place(c, "queue.window_start"),
		    "queue.window_start", "%lld is more than window_max, which is %lld",
		    (long long)conf->queue.window_start,
		    (long long)conf->queue.window_max);
	if (conf->reputation.probe_count > CONF_PROBES_MAX)
		report_add(c->report, place(c, "reputation.probes"), "reputation.probes",
		    "has %zu steps, at most %d are possible", conf->reputation.probe_count,
		    CONF_PROBES_MAX);
	if (!conf->delivery.ipv4 && !conf->delivery.ipv6)
		report_add(c->report, place(c, "delivery.ipv6"), "delivery.ipv6",
		    "with ipv4 and ipv6 both false nothing can be delivered");
	if (conf->spool.big_message > conf->spool.segment_size / 2)
		report_add(c->report, place(c, "spool.big_message"), "spool.big_message",
		    "is more than half of segment_size, which must hold smaller messages whole");
	if (*conf->notify.command && check_program(conf->notify.command, &why) < 0)
		report_file_why(c, place(c, "notify.command"), "notify.command",
		    conf->notify.command, &why);
}

void check_settings(struct report *report, const config_t *settings, struct conf *conf)
{
	const struct check c = {report, settings, conf};

	complete_top(&c);
	complete_listen(&c);
	for (size_t i = 0; i < conf->listen_count; i++)
		check_listen(&c, i);
	check_tls(&c);
	for (size_t i = 0; i < conf->certificate_count; i++)
		check_certificate(&c, i);
	for (size_t i = 0; i < conf->domain_count; i++)
		check_domain(&c, i);
	check_return_path(&c);
	complete_sources(&c);
	check_names(&c);
	for (size_t i = 0; i < conf->smarthost_count; i++)
		check_smarthost(&c, i);
	complete_routes(&c);
	for (size_t i = 0; i < conf->route_count; i++) {
		struct conf_route *route = &conf->routes[i];
		route->via = check_via(&c, "routes", i, route->via_names, route->via_count);
	}
	for (size_t i = 0; i < conf->client_count; i++)
		check_client(&c, i);
	check_rest(&c);
}
