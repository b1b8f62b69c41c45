/* SPDX-License-Identifier: MIT
 * One context of libunbound: its settings, its thread, and its answers as an
 * event of our loop.
 *
 * The library resolves in a thread of its own and passes answers through a
 * pipe, so no callback comes within the call that asks (its event API calls
 * back at once for local data), and a slow validation does not hold the loop.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "smtp/dns_internal.h"

#define TRY_MS 1300 /* the first one; each is twice as long as the one before */
#define TRIES_MAX 9

/* 16 ports and 1 MB are the defaults in library mode: sixteen dead names
 * would hold up all others, since each holds a port until the library has given
 * it up (900 bytes of memory are the price of one). A forwarder that says nothing
 * about dead names is waited for longer each time, and at last not asked for others
 * either: what is thought of it is forgotten after a quarter of a minute, not of an
 * hour. A name that did not exist may have been put right. The server is a
 * resolver, at once with what it knows and seconds later with what it has to find:
 * judged by its quick answers (50 ms and five tries) it would never be waited for. */
static const struct {
	const char *option;
	const char *value;
} settings[] = {
    {"outgoing-range:", "1024"},
    {"num-queries-per-thread:", "1024"},
    {"outgoing-num-tcp:", "16"},
    {"msg-cache-size:", "4m"},
    {"rrset-cache-size:", "4m"},
    {"key-cache-size:", "4m"},
    {"infra-host-ttl:", "15"},
    {"infra-cache-min-rtt:", "1300"}, /* TRY_MS */
    {"cache-max-negative-ttl:", "300"},
};

/* The library answers these itself, with "no such name". The servers that we
 * are told to ask know better whether they hold them. */
static const char *const unblocked[] = {"test.", "10.in-addr.arpa.", "127.in-addr.arpa.",
    "168.192.in-addr.arpa.", "d.f.ip6.arpa."};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct dns_context *context = arg;
	(void)fd;
	(void)what;
	ub_process(context->ub);
}

static int set_servers(struct ub_ctx *ub, char *const *servers, size_t count, struct why *why)
{
	/* /etc/hosts is left out on purpose: a web server that names its own domain
	 * there would have no MX for it any more. */
	if (count == 0 && ub_ctx_resolvconf(ub, NULL) != 0)
		log_text(LOG_LEVEL_WARN,
		    "dns: no name server in /etc/resolv.conf can be used; asking the root"
		    " servers instead (set dns.servers to change that)");
	for (size_t i = 0; i < count; i++) {
		int error = ub_ctx_set_fwd(ub, servers[i]);
		if (error != 0)
			return why_set(why, WHY_LOCAL,
			    "dns.servers: \"%s\" can not be used (%s), expected an address such"
			    " as \"127.0.0.1\" or \"127.0.0.1@53\"",
			    servers[i], ub_strerror(error));
	}
	return 0;
}

/* As many tries (1.3 s, 2.6, 5.2, ...) as our own patience lasts: five would keep a dead
 * name's port for most of a minute. Libraries before 1.14 can not be told. */
static void set_tries(struct ub_ctx *ub, int64_t patience_ms)
{
	int64_t spent = TRY_MS;
	int64_t next = 2 * TRY_MS;
	char text[16];
	int tries = 1;
	for (; spent < patience_ms - TRY_MS && tries < TRIES_MAX; tries++, next *= 2)
		spent += next;
	snprintf(text, sizeof(text), "%d", tries);
	(void)ub_ctx_set_option(ub, "outbound-msg-retry:", text);
}

static int set_up(struct dns_context *context, const struct dns_servers *servers,
    const char *anchor, struct why *why)
{
	struct ub_ctx *ub = context->ub;
	int error = ub_ctx_async(ub, 1);
	ub_ctx_debugout(ub, NULL);
	for (size_t i = 0; error == 0 && i < sizeof(settings) / sizeof(settings[0]); i++)
		error = ub_ctx_set_option(ub, settings[i].option, settings[i].value);
	set_tries(ub, servers->patience_ms);
	if (error == 0 && anchor)
		error = ub_ctx_add_ta_file(ub, anchor);
	if (error != 0)
		return why_set(why, WHY_LOCAL, "libunbound can not be set up: %s",
		    ub_strerror(error));
	if (set_servers(ub, servers->names, servers->count, why) != 0)
		return -1;
	/* these calls finish the configuration: nothing can be set behind them */
	for (size_t i = 0; error == 0 && i < sizeof(unblocked) / sizeof(unblocked[0]); i++)
		error = ub_ctx_zone_remove(ub, unblocked[i]);
	for (int i = 16; error == 0 && i < 32; i++) {
		char zone[32];
		snprintf(zone, sizeof(zone), "%d.172.in-addr.arpa.", i);
		error = ub_ctx_zone_remove(ub, zone);
	}
	if (error != 0)
		return why_set(why, WHY_LOCAL, "libunbound can not be started: %s",
		    ub_strerror(error));
	return 0;
}

static void free_context(void *arg)
{
	struct dns_context *context = arg;
	if (context->readable)
		event_free(context->readable);
	ub_ctx_delete(context->ub); /* ends its thread and waits for that */
	mem_free(context);
	mem_trim();
}

struct dns_context *dns_context_new(struct loop *loop, const struct dns_servers *servers,
    const char *anchor, struct why *why)
{
	struct ub_ctx *ub = ub_ctx_create();
	if (!ub) {
		why_set(why, WHY_LOCAL, "libunbound has no context; are there enough file"
					" descriptors?");
		return NULL;
	}
	struct dns_context *context = mem_zero(sizeof(*context));
	context->ub = ub;
	context->loop = loop;
	context->has_anchor = anchor != NULL;
	if (set_up(context, servers, anchor, why) != 0) {
		free_context(context);
		return NULL;
	}
	int fd = ub_fd(ub);
	int flags = fcntl(fd, F_GETFD);
	if (flags >= 0)
		(void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
	context->readable =
	    loop_event_new(loop, fd, EV_READ | EV_PERSIST, on_readable, context);
	return context;
}

void dns_context_retire(struct dns_context *context)
{
	if (!context || context->retired)
		return;
	context->retired = true;
	if (context->asked == 0)
		loop_defer(context->loop, free_context, context);
}

/* The first question starts the thread. It must not take signals that the main
 * thread handles, so they are blocked while it is born. */
static int ask_blocked(struct dns_context *context, const char *name, enum dns_type type,
    ub_callback_type done, void *arg, int *id)
{
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = ub_resolve_async(context->ub, name, (int)type, 1, arg, done, id);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	context->started = true;
	return error;
}

int dns_context_ask(struct dns_context *context, const char *name, enum dns_type type,
    ub_callback_type done, void *arg, int *id)
{
	int error;
	if (!context->started)
		error = ask_blocked(context, name, type, done, arg, id);
	else
		error = ub_resolve_async(context->ub, name, (int)type, 1, arg, done, id);
	if (error != 0)
		return error;
	if (context->asked++ == 0)
		loop_event_add(context->readable);
	loop_hold(context->loop);
	return 0;
}

void dns_context_ended(struct dns_context *context)
{
	loop_release(context->loop);
	if (--context->asked > 0)
		return;
	event_del(context->readable);
	if (context->retired)
		loop_defer(context->loop, free_context, context);
}

void dns_context_cancel(struct dns_context *context, int id)
{
	ub_cancel(context->ub, id);
	dns_context_ended(context);
}
