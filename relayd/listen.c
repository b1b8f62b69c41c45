/* SPDX-License-Identifier: MIT
 * Limits are counted per client (clients.h); behind a balancer that is whom the
 * PROXY header names. Out of descriptors, accepting pauses for a moment instead of spinning.
 */
#include "relayd/listen.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/clients.h"
#include "relayd/local_socket.h"
#include "relayd/proxied.h"
#include "relayd/service.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100
#define INPUT_MAX 65536

struct listener {
	struct listen *listen;
	char *address;
	int64_t port;
	int fd; /* -1: not open */
	bool passed; /* by the service manager, whose the path is */
	struct event *event; /* while FD is there */
	bool wanted;
	struct listener *prev;
	struct listener *next;
};

struct listen {
	struct listen_options options;
	struct settings *settings;
	struct intake *intake;
	struct listener *listeners;
	struct clients *clients;
	struct proxy_wait *waits; /* utlist */
	size_t wait_count;
	struct timer pause;
	bool warned;
};

/* A connection whose PROXY header has not come yet. */
struct proxy_wait {
	struct listen *listen;
	struct conf_listen conf; /* strings are not used */
	struct proxied *proxied;
	struct proxy_wait *prev;
	struct proxy_wait *next;
};

/* One accepted connection, until its descriptor is closed: that is after the session,
 * whose last replies are still being sent. */
struct ticket {
	struct listen *listen;
	char key[CONN_ADDRESS_TEXT];
	bool over;   /* the session is */
	bool closed; /* the descriptor is; with both it goes */
};

static void set_accepting(struct listen *l, bool on)
{
	struct listener *one;
	DL_FOREACH (l->listeners, one) {
		if (on)
			loop_event_add(one->event);
		else
			event_del(one->event);
	}
}

static void pause_over(void *arg)
{
	set_accepting(arg, true);
}

struct listen *listen_new(const struct listen_options *options)
{
	struct listen *l = mem_zero(sizeof(*l));
	l->options = *options;
	l->clients = clients_new();
	timer_init(&l->pause, options->loop, pause_over, l);
	return l;
}

static void listener_shut(struct listener *one)
{
	if (one->fd < 0)
		return;
	event_free(one->event);
	close(one->fd);
	one->fd = -1;
	if (one->address[0] == '/' && !one->passed)
		unlink(one->address);
}

static void listener_free(struct listen *l, struct listener *one)
{
	DL_DELETE(l->listeners, one);
	listener_shut(one);
	mem_free(one->address);
	mem_free(one);
}

static void wait_free(struct proxy_wait *wait)
{
	struct listen *l = wait->listen;
	DL_DELETE(l->waits, wait);
	l->wait_count--;
	mem_free(wait);
}

void listen_stop(struct listen *l)
{
	timer_stop(&l->pause);
	while (l->waits) {
		proxied_cancel(l->waits->proxied);
		wait_free(l->waits);
	}
	while (l->listeners)
		listener_free(l, l->listeners);
}

size_t listen_connections(const struct listen *l)
{
	return clients_connections(l->clients);
}

/* ---- accepting ---- */

static void ticket_check(struct ticket *ticket)
{
	if (ticket->over && ticket->closed)
		mem_free(ticket);
}

static void session_over(void *arg)
{
	struct ticket *ticket = arg;
	ticket->over = true;
	if (!ticket->closed)
		clients_part(ticket->listen->clients, ticket->key);
	ticket_check(ticket);
}

static void connection_gone(void *arg)
{
	struct ticket *ticket = arg;
	clients_leave(ticket->listen->clients, ticket->key, ticket->over);
	ticket->closed = true;
	ticket_check(ticket);
}

static bool counts_message(const struct listen *l, const char *key)
{
	return clients_send(l->clients, key, &l->settings->conf->limits, clock_mono_ms());
}

static bool may_send(void *arg)
{
	const struct ticket *ticket = arg;
	return counts_message(ticket->listen, ticket->key);
}

bool listen_user_may_send(struct listen *l, uid_t uid)
{
	struct conn_address local = {.addr.ss_family = AF_UNIX};
	char key[CONN_ADDRESS_TEXT];
	clients_key(&local, uid, key);
	return counts_message(l, key);
}

static bool holds(const struct conf_network *networks, size_t count,
    const struct conn_address *peer)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&peer->addr;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&peer->addr;
	if (peer->addr.ss_family == AF_INET)
		return conf_network_holds(networks, count, AF_INET, &four->sin_addr);
	return peer->addr.ss_family == AF_INET6 &&
	       conf_network_holds(networks, count, AF_INET6, &six->sin6_addr);
}

/* Who may open the socket may send. */
static bool is_trusted(const struct conf *conf, const struct conn_address *peer)
{
	return peer->addr.ss_family == AF_UNIX ||
	       holds(conf->trusted_networks, conf->trusted_count, peer);
}

static uid_t peer_uid(int fd)
{
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.uid;
}

static void refuse_connection(struct listen *l, int fd, const char *line)
{
	/* best effort: the socket's buffer is empty, so the line fits */
	ssize_t done = send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)done;
	close(fd);
	l->options.stats->connections_refused++;
	if (!l->warned)
		log_text(LOG_LEVEL_WARN, "connections are refused: %.*s", (int)strlen(line) - 2, line);
	l->warned = true;
}

/* UNNAMED: PEER is a balancer that does not say whose connection it is. */
static void take_client(struct listen *l, const struct conf_listen *conf, int fd,
    const struct conn_address *peer, bool unnamed)
{
	char key[CONN_ADDRESS_TEXT];
	char text[CONN_ADDRESS_TEXT];
	clients_key(peer, peer_uid(fd), key);
	const char *refusal =
	    clients_enter(l->clients, key, &l->settings->conf->limits, clock_mono_ms());
	if (refusal) {
		refuse_connection(l, fd, refusal);
		return;
	}
	l->warned = false;
	l->options.stats->connections++;
	struct ticket *ticket = mem_zero(sizeof(*ticket));
	ticket->listen = l;
	snprintf(ticket->key, sizeof(ticket->key), "%s", key);
	struct intake_peer who = {
	    .trusted = !unnamed && is_trusted(l->settings->conf, peer),
	    .unnamed = unnamed,
	    .client = peer->addr.ss_family == AF_UNIX ? key : conn_address_text(peer, text),
	    .may_send = may_send,
	    .over = session_over,
	    .arg = ticket,
	};
	struct conn *conn = conn_accept(l->options.loop, fd, INPUT_MAX, NULL, NULL);
	conn_set_gone(conn, connection_gone, ticket);
	intake_session(l->intake, conn, conf, &who);
}

static void header_read(void *arg, int fd, const struct conn_address *client, bool own)
{
	struct proxy_wait *wait = arg;
	struct listen *l = wait->listen;
	struct conf_listen conf = wait->conf;
	wait_free(wait);
	if (fd >= 0)
		take_client(l, &conf, fd, client, own);
}

/* Only balancers that the configuration names may say who the client is; on such a
 * listener nobody else is spoken to, since no header of theirs would be believed. */
static void await_header(struct listen *l, const struct conf_listen *conf, int fd,
    const struct conn_address *peer)
{
	const struct conf_limits *limits = &l->settings->conf->limits;
	if (!holds(conf->proxy, conf->proxy_count, peer)) {
		refuse_connection(l, fd, "554 5.7.1 you are not in listen.proxy of this relay\r\n");
		return;
	}
	if (clients_connections(l->clients) + l->wait_count >= (size_t)limits->connections) {
		refuse_connection(l, fd, "421 4.3.2 too many connections here, try again later\r\n");
		return;
	}
	struct proxy_wait *wait = mem_zero(sizeof(*wait));
	wait->listen = l;
	wait->conf = *conf;
	wait->proxied = proxied_new(l->options.loop, fd, peer, header_read, wait);
	DL_APPEND(l->waits, wait);
	l->wait_count++;
}

/* What the configuration in force says of it; NULL: nothing any more. */
static const struct conf_listen *conf_of(const struct listener *one)
{
	const struct conf *conf = one->listen->settings->conf;
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].port == one->port &&
		    strcmp(conf->listen[i].address, one->address) == 0)
			return &conf->listen[i];
	return NULL;
}

static void take_connection(struct listener *one, int fd, const struct conn_address *peer)
{
	const struct conf_listen *conf = conf_of(one);
	if (!conf)
		close(fd);
	else if (conf->proxy_count)
		await_header(one->listen, conf, fd, peer);
	else
		take_client(one->listen, conf, fd, peer, false);
}

static void accept_failed(struct listen *l, int error)
{
	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return;
	if (!l->warned)
		log_text(LOG_LEVEL_ERROR, "accept: %s; raise LimitNOFILE", strerror(error));
	l->warned = true;
	set_accepting(l, false);
	timer_start(&l->pause, PAUSE_MS);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *one = arg;
	(void)what;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct conn_address peer = {.len = sizeof(peer.addr)};
		int got = accept4(fd, (struct sockaddr *)&peer.addr, &peer.len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				accept_failed(one->listen, errno);
			return;
		}
		conn_address_unmap(&peer); /* a passed socket may listen for both */
		take_connection(one, got, &peer);
	}
}

/* ---- opening ---- */

/* Ports under 1024 and sockets in other folders need what was given up at the start, or
 * what a service manager never gave. */
static const char *locked_out(int error, int64_t port)
{
	if (error != EACCES && error != EPERM)
		return "";
	return port > 0 && port < 1024
	    ? " (no rights to it: a port under 1024 needs a line in relayd.socket, or a start as root; "
	      "then restart relayd)"
	    : " (no rights to it; if it is new in the configuration: restart relayd)";
}

/* Both: -1 with WHY, and errno is that of the failure. */
static int open_unix(const char *path, struct why *why)
{
	int fd = local_socket_listen(path, 0666, BACKLOG, why);
	int error = errno;
	const char *hint = locked_out(error, 0);
	if (fd < 0 && hint[0])
		why_errno(why, WHY_LOCAL, error, "listen: %s%s", path, hint);
	else if (fd < 0)
		why_prefix(why, "listen");
	errno = error;
	return fd;
}

static int open_inet(const char *address, int64_t port, struct why *why)
{
	struct conn_address a = {0};
	int on = 1;
	errno = EINVAL;
	if (conn_address_parse(&a, address, (uint16_t)port) < 0)
		return why_set(why, WHY_PERM, "listen: %s is not an address", address);
	int fd = socket(a.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "listen: %s", address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a.addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a.addr, a.len) < 0 || listen(fd, BACKLOG) < 0) {
		int error = errno;
		why_errno(why, WHY_LOCAL, error, "listen: %s port %d%s", address, (int)port,
		    locked_out(error, port));
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static struct listener *listener_find(struct listen *l, const struct conf_listen *conf)
{
	struct listener *one;
	DL_FOREACH (l->listeners, one)
		if (one->port == conf->port && strcmp(one->address, conf->address) == 0)
			return one;
	return NULL;
}

static int listener_open(struct listener *one, struct why *why)
{
	struct listen *l = one->listen;
	bool path = one->address[0] == '/';
	one->fd = service_socket(one->address, (uint16_t)one->port);
	one->passed = one->fd >= 0;
	if (!one->passed)
		one->fd = path ? open_unix(one->address, why)
			       : open_inet(one->address, one->port, why);
	if (one->fd < 0)
		return -1;
	one->event = loop_event_new(l->options.loop, one->fd, EV_READ | EV_PERSIST, on_accept, one);
	if (l->intake)
		loop_event_add(one->event);
	return 0;
}

static struct listener *listener_new(struct listen *l, const struct conf_listen *conf)
{
	struct listener *one = mem_zero(sizeof(*one));
	one->listen = l;
	one->address = mem_text(conf->address);
	one->port = conf->port;
	one->fd = -1;
	DL_APPEND(l->listeners, one);
	return one;
}

static void free_unwanted(struct listen *l)
{
	struct listener *one;
	struct listener *next;
	DL_FOREACH_SAFE (l->listeners, one, next)
		if (!one->wanted)
			listener_free(l, one);
}

/* One that is not wanted any more, and may stand in the way of WANTED, as 0.0.0.0 does of
 * 127.0.0.1 on the same port. What the service manager holds would stay there. */
static struct listener *find_rival(struct listen *l, const struct listener *wanted)
{
	bool six = strchr(wanted->address, ':') != NULL;
	struct listener *one;
	DL_FOREACH (l->listeners, one)
		if (!one->wanted && one->fd >= 0 && !one->passed && one->port == wanted->port &&
		    one->address[0] != '/' && (strchr(one->address, ':') != NULL) == six)
			return one;
	return NULL;
}

static int open_wanted(struct listen *l, const struct conf_listen *conf, struct why *why)
{
	struct listener *one = listener_new(l, conf);
	struct listener *rival;
	one->wanted = true;
	while (listener_open(one, why) < 0) {
		if (errno != EADDRINUSE || !(rival = find_rival(l, one)))
			return -1;
		listener_shut(rival);
	}
	return 0;
}

/* What is in force stays, and nothing beside it. */
static void go_back(struct listen *l)
{
	struct listener *one;
	struct why why;
	DL_FOREACH (l->listeners, one)
		one->wanted = l->settings && conf_of(one);
	free_unwanted(l);
	DL_FOREACH (l->listeners, one)
		if (one->fd < 0 && listener_open(one, &why) < 0) {
			log_text(LOG_LEVEL_ERROR, "%s; nobody listens there any more: restart relayd",
			    why.text);
			one->wanted = false;
		}
	free_unwanted(l);
}

int listen_open(struct listen *l, const struct settings *settings, struct why *why)
{
	const struct conf *conf = settings->conf;
	struct listener *one;
	int result = 0;
	DL_FOREACH (l->listeners, one)
		one->wanted = false;
	for (size_t i = 0; i < conf->listen_count; i++)
		if ((one = listener_find(l, &conf->listen[i])))
			one->wanted = true;
	for (size_t i = 0; i < conf->listen_count && result == 0; i++)
		if (!listener_find(l, &conf->listen[i]))
			result = open_wanted(l, &conf->listen[i], why);
	if (result < 0)
		go_back(l);
	else
		free_unwanted(l);
	return result;
}

void listen_set_settings(struct listen *l, struct settings *settings)
{
	settings_unref(l->settings);
	l->settings = settings_ref(settings);
}

void listen_start(struct listen *l, struct intake *intake, struct settings *settings)
{
	listen_set_settings(l, settings);
	l->intake = intake;
	set_accepting(l, true);
}
