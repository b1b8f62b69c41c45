/* SPDX-License-Identifier: MIT
 * Where does mail for a domain go? One MX look-up, then A and AAAA of the
 * best hosts at the same time, then one decision over all that has come.
 *
 * What could not be looked up matters only when nothing else works: the mail
 * then waits. It bounces only when every answer was definite. What is slow is not
 * waited for when it could only add to what is there: a family of a host, or a host
 * behind it.
 */
#include "smtp/mx.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "smtp/address.h"

#define PER_FAMILY_MIN 2 /* addresses of one host, when there are many hosts */
#define SHOWN_MAX 200    /* bytes of a DNS failure in our text */
#define PATIENCE_MS 1000 /* with what could be done without */

enum family { FAMILY_IPV6, FAMILY_IPV4, FAMILIES };

struct host {
	struct mx_query *query;
	char name[256];
	unsigned preference;
	struct dns_query *lookup[FAMILIES]; /* under way */
	struct conn_address *addresses[FAMILIES];
	size_t count[FAMILIES];
	bool own;      /* one of its addresses is ours */
	bool failed;   /* a look-up failed for now */
	bool withheld; /* it has addresses that may not be used */
	bool secure;
	char canonical[256]; /* where its CNAMEs lead; "" : it has none */
};

struct mx_query {
	struct dns *dns;
	struct mx_options options; /* own and hostname are copies */
	char *hostname;
	struct conn_address *own;
	char *domain;
	mx_done *done;
	void *arg;
	struct timer soon; /* reports what is known without any look-up */
	struct timer patience; /* from the first address on */
	struct dns_query *mx;
	struct host *hosts;
	size_t host_count;
	size_t pending;     /* address look-ups */
	bool mx_secure;
	bool reporting;
	struct buf failure; /* the first failure, for people */
};

static void free_query(struct mx_query *q)
{
	for (size_t i = 0; i < q->host_count; i++)
		for (int f = 0; f < FAMILIES; f++)
			mem_free(q->hosts[i].addresses[f]);
	mem_free(q->hosts);
	mem_free(q->hostname);
	mem_free(q->own);
	mem_free(q->domain);
	buf_free(&q->failure);
	mem_free(q);
}

static void report(struct mx_query *q, const struct mx_answer *answer)
{
	q->reporting = true;
	timer_stop(&q->patience);
	q->done(answer, q->arg);
	free_query(q);
}

static void report_failure(struct mx_query *q, enum mx_status status, const char *what)
{
	struct buf text = {0};
	text_escape_utf8(&text, span_text(q->domain), ADDRESS_DOMAIN_MAX);
	buf_add_text(&text, what);
	if (q->failure.len && status == MX_TEMP)
		buf_addf(&text, " (%s)", buf_text(&q->failure));
	struct mx_answer answer = {.status = status, .text = buf_text(&text)};
	report(q, &answer);
	buf_free(&text);
}

static void note_failure(struct mx_query *q, const struct dns_answer *answer)
{
	if (!q->failure.len && answer->text)
		text_escape(&q->failure, span_text(answer->text), SHOWN_MAX);
}

static bool is_wildcard(const struct conn_address *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->addr;
	return a->addr.ss_family == AF_INET ? v4->sin_addr.s_addr == INADDR_ANY
					    : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static bool is_same(const struct conn_address *a, const struct conn_address *b)
{
	char one[CONN_ADDRESS_TEXT];
	char two[CONN_ADDRESS_TEXT];
	return strcmp(conn_address_text(a, one), conn_address_text(b, two)) == 0;
}

/* Do we listen at A? ANYWHERE: with a listener for all addresses, else with one for A. */
static bool is_own(const struct mx_query *q, const struct conn_address *a, bool anywhere)
{
	for (size_t i = 0; i < q->options.own_count; i++) {
		const struct conn_address *own = &q->own[i];
		uint16_t port = conn_address_port(own);
		if (own->addr.ss_family != a->addr.ss_family ||
		    (port != 0 && port != q->options.port))
			continue;
		if (anywhere ? is_wildcard(own) && mx_address_is_local(a) : is_same(own, a))
			return true;
	}
	return false;
}

static void set_port(struct conn_address *a, uint16_t port)
{
	if (a->addr.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&a->addr)->sin_port = htons(port);
	else if (a->addr.ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)&a->addr)->sin6_port = htons(port);
}

static size_t family_limit(const struct mx_query *q)
{
	size_t share = MX_ADDRESSES_MAX / FAMILIES / (q->host_count ? q->host_count : 1);
	return share < PER_FAMILY_MIN ? PER_FAMILY_MIN : share;
}

/* Take an address that DNS (or a literal) gave, if it may be used. */
static void add_address(struct host *host, const struct conn_address *given)
{
	struct mx_query *q = host->query;
	enum family f = given->addr.ss_family == AF_INET6 ? FAMILY_IPV6 : FAMILY_IPV4;
	if (f == FAMILY_IPV6 ? !q->options.ipv6 : !q->options.ipv4)
		return;
	bool usable = !mx_address_is_unusable(given) &&
		      (q->options.allow_private || !mx_address_is_private(given));
	/* anybody can publish 127.0.0.1, and means nobody by it */
	if (is_own(q, given, false) || (usable && is_own(q, given, true))) {
		host->own = true;
		return;
	}
	if (!usable) {
		host->withheld = true;
		return;
	}
	if (host->count[f] == family_limit(q))
		return;
	host->addresses[f] = mem_resize(host->addresses[f], host->count[f] + 1, sizeof(*given));
	struct conn_address *a = &host->addresses[f][host->count[f]++];
	*a = *given;
	set_port(a, q->options.port);
}

/* The preference from which on hosts are of no use: that of the best one which
 * is ourselves (RFC 5321 section 5.1). */
static unsigned loop_limit(const struct mx_query *q)
{
	unsigned limit = UINT32_MAX;
	for (size_t i = 0; i < q->host_count; i++)
		if (q->hosts[i].own && q->hosts[i].preference < limit)
			limit = q->hosts[i].preference;
	return limit;
}

static void add_result(const struct host *host, enum family f, size_t i, struct mx_host *list,
    size_t *count)
{
	if (i >= host->count[f] || *count == MX_ADDRESSES_MAX)
		return;
	struct mx_host *to = &list[(*count)++];
	memcpy(to->name, host->name, sizeof(to->name));
	to->preference = host->preference;
	to->address = host->addresses[f][i];
	to->mx_secure = host->query->mx_secure;
	to->secure = host->query->mx_secure && host->secure;
	memcpy(to->canonical, host->canonical, sizeof(to->canonical));
}

static void report_nothing(struct mx_query *q, unsigned limit)
{
	bool failed = false;
	bool withheld = false;
	for (size_t i = 0; i < q->host_count; i++) {
		if (q->hosts[i].preference >= limit)
			continue;
		failed |= q->hosts[i].failed;
		withheld |= q->hosts[i].withheld;
	}
	if (failed)
		report_failure(q, MX_TEMP, ": the addresses of its mail servers could not be"
					   " looked up");
	else if (limit != UINT32_MAX)
		report_failure(q, MX_LOOP, ": its best mail server is this relay itself, so the"
					   " message would come back; is its MX right?");
	else if (withheld)
		report_failure(q, MX_REFUSED, ": its mail servers have private or loopback"
					      " addresses only, which are not connected to");
	else if (q->options.ipv4 != q->options.ipv6)
		report_failure(q, MX_NONE, q->options.ipv4 ? " has no mail server with an IPv4"
							     " address, and IPv6 is off here"
							   : " has no mail server with an IPv6"
							     " address, and IPv4 is off here");
	else
		report_failure(q, MX_NONE, " has no mail server with an address");
}

static void finish(struct mx_query *q)
{
	unsigned limit = loop_limit(q);
	struct mx_host *list = mem_array(MX_ADDRESSES_MAX, sizeof(*list));
	struct mx_answer answer = {.status = MX_OK, .secure = q->mx_secure, .hosts = list};
	for (size_t i = 0; i < q->host_count; i++) {
		struct host *host = &q->hosts[i];
		if (host->preference >= limit)
			continue;
		size_t before = answer.count;
		for (size_t n = 0; n < family_limit(q); n++)
			for (int f = 0; f < FAMILIES; f++)
				add_result(host, (enum family)f, n, list, &answer.count);
		if (answer.count > before && !host->secure)
			answer.secure = false;
	}
	if (answer.count > 0)
		report(q, &answer);
	else
		report_nothing(q, limit);
	mem_free(list);
}

static bool is_our_name(const struct mx_query *q, const char *name)
{
	return q->hostname && span_is_nocase(span_text(name), q->hostname);
}

static bool has_address(const struct host *host)
{
	return host->count[FAMILY_IPV6] || host->count[FAMILY_IPV4];
}

/* It may have an address yet: that it has none of one family says nothing of the other. */
static bool is_unknown(const struct host *host)
{
	return !has_address(host) && (host->lookup[FAMILY_IPV6] || host->lookup[FAMILY_IPV4]);
}

/* Is there an address, and of each host that is as good or better an answer? That host
 * may be ourselves, and then the address is of no use. */
static bool is_enough(const struct mx_query *q)
{
	size_t first = 0;
	while (first < q->host_count && !has_address(&q->hosts[first]))
		first++;
	if (first == q->host_count)
		return false;
	for (size_t i = 0; i < q->host_count; i++)
		if (q->hosts[i].preference <= q->hosts[first].preference &&
		    is_unknown(&q->hosts[i]))
			return false;
	return true;
}

static void cancel_look_ups(struct mx_query *q)
{
	for (size_t i = 0; i < q->host_count; i++)
		for (int f = 0; f < FAMILIES; f++) {
			dns_cancel(q->hosts[i].lookup[f]);
			q->hosts[i].lookup[f] = NULL;
		}
}

static void on_patience(void *arg)
{
	struct mx_query *q = arg;
	if (!is_enough(q)) {
		timer_start(&q->patience, PATIENCE_MS);
		return;
	}
	cancel_look_ups(q);
	finish(q);
}

static void on_address(const struct dns_answer *answer, struct host *host, enum family f)
{
	struct mx_query *q = host->query;
	host->lookup[f] = NULL;
	q->pending--;
	if (answer->status == DNS_TEMP || answer->status == DNS_BOGUS) {
		host->failed = true;
		note_failure(q, answer);
	}
	if (answer->status == DNS_OK) {
		host->secure &= answer->secure;
		if (answer->canonical && strlen(answer->canonical) < sizeof(host->canonical))
			snprintf(host->canonical, sizeof(host->canonical), "%s", answer->canonical);
		/* an alias of ours; behind NAT the address would not tell */
		host->own |= is_our_name(q, host->canonical);
		for (size_t i = 0; i < answer->count; i++)
			add_address(host, &answer->records[i].address);
	}
	if (q->pending == 0)
		finish(q);
	else if (has_address(host) && !timer_is_running(&q->patience))
		timer_start(&q->patience, PATIENCE_MS);
}

static void on_ipv4(const struct dns_answer *answer, void *arg)
{
	on_address(answer, arg, FAMILY_IPV4);
}

static void on_ipv6(const struct dns_answer *answer, void *arg)
{
	on_address(answer, arg, FAMILY_IPV6);
}

static void ask_host(struct mx_query *q, struct host *host)
{
	if (q->options.ipv6) {
		q->pending++;
		host->lookup[FAMILY_IPV6] = dns_ask(q->dns, host->name, DNS_AAAA, on_ipv6, host);
	}
	if (q->options.ipv4) {
		q->pending++;
		host->lookup[FAMILY_IPV4] = dns_ask(q->dns, host->name, DNS_A, on_ipv4, host);
	}
}

/* Hosts that our own name already rules out are not looked up. */
static void ask_hosts(struct mx_query *q)
{
	for (size_t i = 0; i < q->host_count; i++) {
		q->hosts[i].query = q;
		q->hosts[i].secure = true;
		q->hosts[i].own = is_our_name(q, q->hosts[i].name);
	}
	unsigned limit = loop_limit(q);
	for (size_t i = 0; i < q->host_count; i++)
		if (q->hosts[i].preference < limit)
			ask_host(q, &q->hosts[i]);
	if (q->pending == 0)
		timer_start(&q->soon, 0);
}

static void use_one_host(struct mx_query *q, const char *name)
{
	q->hosts = mem_array(1, sizeof(*q->hosts));
	q->host_count = 1;
	snprintf(q->hosts[0].name, sizeof(q->hosts[0].name), "%s", name);
	ask_hosts(q);
}

/* Best first; equal ones in a new order each time, so that they share the
 * load. An insertion into a list of at most MX_HOSTS_MAX. */
static void insert_host(struct mx_query *q, const struct dns_record *record)
{
	size_t at = q->host_count;
	while (at > 0 && q->hosts[at - 1].preference > record->preference)
		at--;
	if (at == MX_HOSTS_MAX)
		return;
	if (q->host_count < MX_HOSTS_MAX)
		q->host_count++;
	memmove(&q->hosts[at + 1], &q->hosts[at], (q->host_count - 1 - at) * sizeof(*q->hosts));
	memset(&q->hosts[at], 0, sizeof(q->hosts[at]));
	memcpy(q->hosts[at].name, record->name, sizeof(record->name));
	q->hosts[at].preference = record->preference;
}

/* Is the name among the records before I, or behind it with a better
 * preference? The worse one of two would be tried in vain. */
static bool is_repeated(const struct dns_answer *answer, const size_t *order, size_t count,
    size_t i)
{
	const struct dns_record *r = &answer->records[order[i]];
	for (size_t k = 0; k < count; k++) {
		const struct dns_record *other = &answer->records[order[k]];
		bool first = other->preference < r->preference ||
			     (other->preference == r->preference && k < i);
		if (first && strcmp(other->name, r->name) == 0)
			return true;
	}
	return false;
}

static void take_mx(struct mx_query *q, const struct dns_answer *answer)
{
	size_t order[DNS_RECORDS_MAX];
	size_t count = answer->count < DNS_RECORDS_MAX ? answer->count : DNS_RECORDS_MAX;
	for (size_t i = 0; i < count; i++) {
		size_t k = random_below((uint32_t)i + 1);
		order[i] = i;
		order[i] = order[k];
		order[k] = i;
	}
	/* room for no more than may come: thousands of such queries can wait at a time */
	q->hosts = mem_array(count < MX_HOSTS_MAX ? count : MX_HOSTS_MAX, sizeof(*q->hosts));
	for (size_t i = 0; i < count; i++) {
		const struct dns_record *record = &answer->records[order[i]];
		if (record->name[0] && !is_repeated(answer, order, count, i))
			insert_host(q, record);
	}
	if (q->host_count > 0)
		ask_hosts(q);
	else /* only the root: RFC 7505 wants it alone, twice is no other wish */
		report_failure(q, MX_NULL, " takes no mail (it publishes a null MX)");
}

static void on_mx(const struct dns_answer *answer, void *arg)
{
	struct mx_query *q = arg;
	q->mx = NULL;
	q->mx_secure = answer->secure;
	switch (answer->status) {
	case DNS_OK:
		take_mx(q, answer);
		break;
	case DNS_NO_DATA: /* the domain itself is the host: RFC 5321 5.1 */
		use_one_host(q, q->domain);
		break;
	case DNS_NO_NAME:
		report_failure(q, MX_NONE, ": there is no such domain");
		break;
	case DNS_TEMP:
	case DNS_BOGUS:
		note_failure(q, answer);
		report_failure(q, MX_TEMP, ": its mail servers could not be looked up");
		break;
	case DNS_BAD_NAME:
		report_failure(q, MX_NONE, ": this is not a domain name");
		break;
	}
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]", for a host also without brackets. */
static bool parse_literal(const char *domain, bool host, struct conn_address *a)
{
	static const char tag[] = "IPv6:";
	struct span s = span_text(domain);
	char text[CONN_ADDRESS_TEXT];
	bool brackets = s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
	if (brackets)
		s = (struct span){s.p + 1, s.n - 2};
	else if (!host)
		return false;
	bool tagged = brackets && span_starts_nocase(s, tag);
	if (tagged)
		s = (struct span){s.p + sizeof(tag) - 1, s.n - (sizeof(tag) - 1)};
	if (s.n >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)s.n, s.p);
	if (conn_address_parse(a, text, 0) != 0)
		return false;
	return host || (a->addr.ss_family == AF_INET6) == tagged;
}

static void on_soon(void *arg)
{
	struct mx_query *q = arg;
	if (q->host_count > 0)
		finish(q);
	else
		report_failure(q, MX_NONE, ": this is neither a domain name nor an address that"
					   " can be used");
}

static void start_literal(struct mx_query *q, const struct conn_address *a)
{
	q->hosts = mem_array(1, sizeof(*q->hosts));
	q->host_count = 1;
	q->hosts[0].query = q;
	char text[CONN_ADDRESS_TEXT];
	snprintf(q->hosts[0].name, sizeof(q->hosts[0].name), "[%s%s]",
	    a->addr.ss_family == AF_INET6 ? "IPv6:" : "", conn_address_text(a, text));
	add_address(&q->hosts[0], a);
	timer_start(&q->soon, 0);
}

/* -1: not a name that can be asked. */
static int to_ascii(struct mx_query *q, const char *domain)
{
	struct buf ascii = {0};
	size_t n = strlen(domain);
	bool good = n > 0 && n <= ADDRESS_DOMAIN_MAX && domain[0] != '[';
	if (good && span_is_ascii(span_text(domain)))
		buf_add_text(&ascii, domain);
	else if (good)
		good = domain_to_ascii(span_text(domain), &ascii);
	if (good) {
		mem_free(q->domain);
		q->domain = buf_take(&ascii, NULL);
	}
	buf_free(&ascii);
	return good ? 0 : -1;
}

struct mx_query *mx_find(struct dns *dns, struct loop *loop, const char *domain, bool host,
    const struct mx_options *options, mx_done *done, void *arg)
{
	struct mx_query *q = mem_zero(sizeof(*q));
	q->dns = dns;
	q->options = *options;
	q->hostname = mem_text(options->hostname);
	q->own = mem_array(options->own_count ? options->own_count : 1, sizeof(*q->own));
	if (options->own_count)
		memcpy(q->own, options->own, options->own_count * sizeof(*q->own));
	q->domain = mem_text(domain);
	q->mx_secure = host; /* no MX look-up that could be insecure */
	q->done = done;
	q->arg = arg;
	timer_init(&q->soon, loop, on_soon, q);
	timer_init(&q->patience, loop, on_patience, q);
	struct conn_address literal;
	if (parse_literal(domain, host, &literal))
		start_literal(q, &literal);
	else if (to_ascii(q, domain) != 0)
		timer_start(&q->soon, 0);
	else if (host)
		use_one_host(q, q->domain);
	else
		q->mx = dns_ask(dns, q->domain, DNS_MX, on_mx, q);
	return q;
}

void mx_cancel(struct mx_query *q)
{
	if (!q || q->reporting)
		return;
	timer_stop(&q->soon);
	timer_stop(&q->patience);
	dns_cancel(q->mx);
	cancel_look_ups(q);
	free_query(q);
}
