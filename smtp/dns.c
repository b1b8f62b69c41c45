/* SPDX-License-Identifier: MIT
 * DNS look-ups: questions with their deadlines, how many are under way, and
 * which context of libunbound they go to.
 *
 *	ask -> waiting -> asked -> answered
 *
 * Waiting is short: while the first context is tried out, and while ASKED_MAX
 * questions are under way. Names without an answer keep libunbound busy for
 * half a minute, so each question has a deadline of its own, from when it is
 * asked; until then it has waited for others, and WAITS_MAX of these deadlines
 * are the most.
 *
 * Validation: with a trust anchor and a server that strips signatures every
 * name would be bogus. So a context with an anchor is used only when it can
 * validate the root; else one without, and the other is tried again later.
 * The same way a changed resolv.conf is taken up.
 *
 * A context takes megabytes. What is tried out while nobody asks, as at the start,
 * goes again, and its outcome stays: the first question makes a context of that kind.
 */
#include "smtp/dns.h"

#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "smtp/dns_internal.h"

#define ASKED_MAX 1000 /* each needs one of the sockets of dns_context.c */
#define WAITS_MAX 4
#define PROBE_TIMEOUT_MS 5000
#define PROBE_AGAIN_MS (10 * 60 * 1000)
#define PROBE_SOON_MS (60 * 1000) /* when nobody answered: we may be up before the network */
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CHECK_MS 5000

struct dns {
	struct loop *loop;
	char **servers;
	size_t server_count;
	int64_t timeout;
	char *anchor; /* the trust anchor's file; NULL: no validation is wanted */
	struct dns_context *context; /* NULL: nobody has asked, or it is tried out */
	struct dns_context *probed;  /* one with an anchor that is tried out */
	bool known;      /* which kind these servers want; else the context has old ones */
	bool validating; /* that kind: with an anchor */
	int probe_id;
	struct timer probe_timer;
	int64_t probe_after;         /* not before that time (monotonic) */
	int64_t resolv_after;
	struct timespec resolv_time; /* of resolv.conf as it was read */
	struct dns_query *waiting;
	struct dns_query *asked; /* and those that only report a failure */
	size_t asked_count;      /* those that have a context */
	bool said;               /* whether answers are validated has been logged */
	bool said_validating;
	bool freed;
};

struct dns_query {
	struct dns *dns;
	struct dns_context *context; /* NULL: not asked yet, or failed at once */
	int id;
	char *name;
	enum dns_type type;
	dns_done *done;
	void *arg;
	struct timer timer;
	bool is_waiting;
	enum dns_status failure; /* DNS_OK: none */
	const char *failure_text;
	struct dns_query *prev;
	struct dns_query *next;
};

static void pump(struct dns *dns);

static void unlink_query(struct dns_query *q)
{
	struct dns *dns = q->dns;
	if (q->is_waiting)
		DL_DELETE(dns->waiting, q);
	else
		DL_DELETE(dns->asked, q);
	if (q->context)
		dns->asked_count--;
	timer_stop(&q->timer);
}

static void free_query(struct dns_query *q)
{
	mem_free(q->name);
	mem_free(q);
}

static void free_dns(void *arg)
{
	struct dns *dns = arg;
	for (size_t i = 0; i < dns->server_count; i++)
		mem_free(dns->servers[i]);
	mem_free(dns->servers);
	mem_free(dns->anchor);
	mem_free(dns);
}

/* The last thing that happens to Q. Its user may call dns_free meanwhile, which
 * leaves the memory until the end of the turn. */
static void report(struct dns_query *q, struct dns_reading *reading)
{
	struct dns *dns = q->dns;
	unlink_query(q);
	q->done(&reading->answer, q->arg);
	dns_reading_free(reading);
	free_query(q);
	pump(dns);
}

static void on_result(void *arg, int error, struct ub_result *result)
{
	struct dns_query *q = arg;
	struct dns_reading reading;
	dns_read(&reading, q->name, q->type, error, result);
	ub_resolve_free(result);
	dns_context_ended(q->context);
	report(q, &reading);
}

static void on_timer(void *arg)
{
	struct dns_query *q = arg;
	struct dns_reading reading = {0};
	if (q->context)
		dns_context_cancel(q->context, q->id);
	if (q->failure != DNS_OK)
		dns_read_failure(&reading, q->name, q->type, q->failure, q->failure_text);
	else
		dns_read_failure(&reading, q->name, q->type, DNS_TEMP,
		    q->is_waiting ? "too many others are asked for" : "no answer in time");
	report(q, &reading);
}

static void fail_soon(struct dns_query *q, enum dns_status status, const char *text)
{
	q->failure = status;
	q->failure_text = text;
	timer_start(&q->timer, 0);
}

static void send_query(struct dns *dns, struct dns_query *q)
{
	DL_DELETE(dns->waiting, q);
	q->is_waiting = false;
	DL_APPEND(dns->asked, q);
	timer_start(&q->timer, dns->timeout);
	int error = dns_context_ask(dns->context, q->name, q->type, on_result, q, &q->id);
	if (error != 0) {
		fail_soon(q, error == UB_SYNTAX ? DNS_BAD_NAME : DNS_TEMP, ub_strerror(error));
		return;
	}
	q->context = dns->context;
	dns->asked_count++;
}

static void pump(struct dns *dns)
{
	while (dns->context && !dns->freed && dns->waiting && dns->asked_count < ASKED_MAX)
		send_query(dns, dns->waiting);
}

static void say_validating(struct dns *dns, bool validating, const char *reason)
{
	if (dns->said && dns->said_validating == validating)
		return;
	dns->said = true;
	dns->said_validating = validating;
	if (validating)
		log_text(LOG_LEVEL_INFO, "dns: answers are validated (DNSSEC)");
	else
		log_text(LOG_LEVEL_WARN, "dns: answers are not validated (DNSSEC), so DANE is not"
					 " used: %s", reason);
}

static struct dns_context *new_context(const struct dns *dns, const char *anchor, struct why *why)
{
	const struct dns_servers servers = {dns->servers, dns->server_count, dns->timeout};
	return dns_context_new(dns->loop, &servers, anchor, why);
}

static void settle(struct dns *dns, bool validating)
{
	dns_context_retire(dns->context);
	dns->context = NULL;
	dns->known = true;
	dns->validating = validating;
}

static void use_context(struct dns *dns, struct dns_context *context)
{
	settle(dns, context->has_anchor);
	if (dns->waiting)
		dns->context = context;
	else
		dns_context_retire(context);
	pump(dns);
}

/* Of the kind that is known. Nothing that can be set has failed before, so a failure
 * here is a lack of descriptors or memory: the next question tries again. */
static void open_context(struct dns *dns)
{
	struct why why = {0};
	dns->context = new_context(dns, dns->validating ? dns->anchor : NULL, &why);
	if (!dns->context)
		log_text(LOG_LEVEL_ERROR, "dns: %s", why.text);
	pump(dns);
}

enum probe_end { PROBE_SECURE, PROBE_STRIPPED, PROBE_SILENT };

static void end_probe(struct dns *dns, enum probe_end end)
{
	struct dns_context *probed = dns->probed;
	dns->probed = NULL;
	timer_stop(&dns->probe_timer);
	dns->probe_after =
	    clock_mono_ms() + (end == PROBE_SILENT ? PROBE_SOON_MS : PROBE_AGAIN_MS);
	say_validating(dns, end == PROBE_SECURE, end == PROBE_SILENT
		? "the name servers do not answer for the root"
		: "the name servers do not pass signatures on");
	if (end == PROBE_SECURE) {
		use_context(dns, probed);
		return;
	}
	dns_context_retire(probed);
	if (!dns->known || dns->validating)
		settle(dns, false);
	if (!dns->context && dns->waiting)
		open_context(dns);
}

static void on_probe(void *arg, int error, struct ub_result *result)
{
	struct dns *dns = arg;
	enum probe_end end = PROBE_STRIPPED;
	if (error != 0 || !result || (result->rcode != 0 && !result->bogus))
		end = PROBE_SILENT;
	else if (result->secure && !result->bogus)
		end = PROBE_SECURE;
	ub_resolve_free(result);
	dns_context_ended(dns->probed);
	end_probe(dns, end);
}

static void on_probe_timer(void *arg)
{
	struct dns *dns = arg;
	dns_context_cancel(dns->probed, dns->probe_id);
	end_probe(dns, PROBE_SILENT);
}

/* -1: can not be tried out; WHY says so. */
static int start_probe(struct dns *dns, struct why *why)
{
	dns->probe_after = clock_mono_ms() + PROBE_AGAIN_MS;
	struct dns_context *probed =
	    new_context(dns, dns->anchor, why);
	if (!probed)
		return -1;
	int error = dns_context_ask(probed, ".", (enum dns_type)6 /* SOA */, on_probe, dns,
	    &dns->probe_id);
	if (error != 0) {
		dns_context_retire(probed);
		return why_set(why, WHY_LOCAL, "libunbound can not be started: %s",
		    ub_strerror(error));
	}
	dns->probed = probed;
	timer_start(&dns->probe_timer,
	    dns->timeout < PROBE_TIMEOUT_MS ? dns->timeout : PROBE_TIMEOUT_MS);
	return 0;
}

static bool has_anchor_file(const struct dns *dns)
{
	return dns->anchor && access(dns->anchor, R_OK) == 0;
}

/* The first contexts, or new ones: with an anchor if that is wanted. */
static int start_context(struct dns *dns, struct why *why)
{
	if (has_anchor_file(dns))
		return start_probe(dns, why);
	if (dns->anchor)
		say_validating(dns, false, "there is no trust anchor, install dns-root-data");
	struct dns_context *context =
	    new_context(dns, NULL, why);
	if (!context)
		return -1;
	use_context(dns, context);
	return 0;
}

static bool resolv_has_changed(struct dns *dns)
{
	struct stat st;
	if (dns->server_count > 0 || clock_mono_ms() < dns->resolv_after)
		return false;
	dns->resolv_after = clock_mono_ms() + RESOLV_CHECK_MS;
	if (stat(RESOLV_CONF, &st) != 0 || (st.st_mtim.tv_sec == dns->resolv_time.tv_sec &&
	    st.st_mtim.tv_nsec == dns->resolv_time.tv_nsec))
		return false;
	dns->resolv_time = st.st_mtim;
	return true;
}

/* With each question: has something changed that needs another context? No
 * timer does this, so a program that asks nothing also sleeps. */
static void keep_up(struct dns *dns)
{
	struct why why = {0};
	if (dns->probed)
		return;
	if (resolv_has_changed(dns)) {
		dns->known = false;
		log_text(LOG_LEVEL_INFO, "dns: %s has changed, reading it again", RESOLV_CONF);
	}
	bool again = !dns->validating && has_anchor_file(dns) && clock_mono_ms() >= dns->probe_after;
	if ((!dns->known || again) && start_context(dns, &why) != 0)
		log_text(LOG_LEVEL_ERROR, "dns: %s", why.text);
	if (dns->known && !dns->context)
		open_context(dns);
}

struct dns *dns_new(struct loop *loop, const struct conf_dns *conf, struct why *why)
{
	struct dns *dns = mem_zero(sizeof(*dns));
	dns->loop = loop;
	dns->timeout = conf->timeout;
	dns->anchor = conf->dnssec ? mem_text(conf->trust_anchor_file) : NULL;
	dns->server_count = conf->server_count;
	dns->servers = mem_array(conf->server_count + 1, sizeof(*dns->servers));
	for (size_t i = 0; i < conf->server_count; i++)
		dns->servers[i] = mem_text(conf->servers[i]);
	timer_init(&dns->probe_timer, loop, on_probe_timer, dns);
	resolv_has_changed(dns); /* remember its time */
	if (start_context(dns, why) != 0) {
		free_dns(dns);
		return NULL;
	}
	return dns;
}

void dns_free(struct dns *dns)
{
	if (!dns)
		return;
	dns->freed = true; /* nothing more is asked */
	while (dns->asked)
		dns_cancel(dns->asked);
	while (dns->waiting)
		dns_cancel(dns->waiting);
	if (dns->probed) {
		timer_stop(&dns->probe_timer);
		dns_context_cancel(dns->probed, dns->probe_id);
		dns_context_retire(dns->probed);
	}
	dns_context_retire(dns->context);
	loop_defer(dns->loop, free_dns, dns);
}

struct dns_query *dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done *done,
    void *arg)
{
	struct dns_query *q = mem_zero(sizeof(*q));
	q->dns = dns;
	q->name = mem_text(name);
	q->type = type;
	q->done = done;
	q->arg = arg;
	timer_init(&q->timer, dns->loop, on_timer, q);
	if (!dns_name_is_valid(name)) {
		DL_APPEND(dns->asked, q);
		fail_soon(q, DNS_BAD_NAME, "not a domain name");
		return q;
	}
	q->is_waiting = true;
	DL_APPEND(dns->waiting, q);
	timer_start(&q->timer, WAITS_MAX * dns->timeout);
	keep_up(dns);
	pump(dns);
	return q;
}

void dns_cancel(struct dns_query *q)
{
	if (!q)
		return;
	struct dns *dns = q->dns;
	if (q->context)
		dns_context_cancel(q->context, q->id);
	unlink_query(q);
	free_query(q);
	pump(dns);
}

bool dns_is_validating(const struct dns *dns)
{
	return dns->validating;
}
