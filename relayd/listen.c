/* SPDX-License-Identifier: MIT
 * Limits are counted per client: an IPv4 address, an IPv6 /64, a local user.
 * Out of descriptors, accepting pauses for a moment instead of spinning.
 */
#include "relayd/listen.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/service.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100
#define RESERVED_FDS 64 /* spool, DNS, control, log */
#define INPUT_MAX 65536

struct listener {
	struct listen *listen;
	char *address;
	int64_t port;
	struct conf_listen conf; /* strings are not used after a reload */
	int fd;
	bool passed; /* by the service manager, whose the path is */
	struct event *event;
	bool wanted;
	struct listener *prev;
	struct listener *next;
};

/* Connections of one client. */
struct client_count {
	UT_hash_handle hh;
	char key[CONN_ADDRESS_TEXT];
	size_t count;
};

struct listen {
	struct listen_options options;
	struct settings *settings;
	struct intake *intake;
	struct listener *listeners;
	struct client_count *clients;
	struct timer pause;
	size_t connections;
	bool warned;
};

/* One accepted connection, until its session is over. */
struct ticket {
	struct listen *listen;
	char key[CONN_ADDRESS_TEXT];
};

static void set_accepting(struct listen *l, bool on)
{
	struct listener *one;
	DL_FOREACH (l->listeners, one) {
		if (on)
			event_add(one->event, NULL);
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
	timer_init(&l->pause, options->loop, pause_over, l);
	return l;
}

static void listener_free(struct listen *l, struct listener *one)
{
	DL_DELETE(l->listeners, one);
	if (one->event)
		event_free(one->event);
	if (one->fd >= 0)
		close(one->fd);
	if (one->address[0] == '/' && !one->passed)
		unlink(one->address);
	mem_free(one->address);
	mem_free(one);
}

void listen_stop(struct listen *l)
{
	timer_stop(&l->pause);
	while (l->listeners)
		listener_free(l, l->listeners);
}

void listen_free(struct listen *l)
{
	listen_stop(l);
	struct client_count *c;
	struct client_count *next;
	HASH_ITER (hh, l->clients, c, next) {
		HASH_DEL(l->clients, c);
		mem_free(c);
	}
	settings_unref(l->settings);
	mem_free(l);
}

size_t listen_connections(const struct listen *l)
{
	return l->connections;
}

/* ---- limits ---- */

/* Who counts as one client. A whole /64 is one: its owner has all of it. */
static void client_key(const struct conn_address *peer, uid_t uid, char *key)
{
	struct conn_address net = *peer;
	if (peer->addr.ss_family == AF_UNIX) {
		snprintf(key, CONN_ADDRESS_TEXT, "unix:%u", (unsigned)uid);
		return;
	}
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&net.addr;
	if (net.addr.ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		memset(six->sin6_addr.s6_addr + 8, 0, 8);
	conn_address_text(&net, key);
}

static struct client_count *count_of(struct listen *l, const char *key)
{
	struct client_count *c;
	HASH_FIND_STR(l->clients, key, c);
	return c;
}

/* Descriptors bound the number too: half of them, since each message that comes
 * in will want to go out. */
static size_t connections_max(const struct conf_limits *limits)
{
	struct rlimit nofile = {0};
	size_t max = (size_t)limits->connections;
	getrlimit(RLIMIT_NOFILE, &nofile);
	size_t fds = nofile.rlim_cur > RESERVED_FDS ? (size_t)nofile.rlim_cur - RESERVED_FDS : 1;
	size_t share = fds - fds / 4;
	return max < share ? max : share;
}

static const char *over_limit(struct listen *l, const char *key)
{
	const struct conf_limits *limits = &l->settings->conf->limits;
	const struct client_count *c = count_of(l, key);
	if (l->connections >= connections_max(limits))
		return "421 4.3.2 too many connections here, try again later\r\n";
	if (c && c->count >= (size_t)limits->connections_per_client)
		return "421 4.7.0 too many connections from you, try again later\r\n";
	return NULL;
}

static void count_up(struct listen *l, const char *key)
{
	struct client_count *c = count_of(l, key);
	if (!c) {
		c = mem_zero(sizeof(*c));
		snprintf(c->key, sizeof(c->key), "%s", key);
		HASH_ADD_STR(l->clients, key, c);
	}
	c->count++;
	l->connections++;
}

static void session_gone(void *arg)
{
	struct ticket *ticket = arg;
	struct listen *l = ticket->listen;
	struct client_count *c = count_of(l, ticket->key);
	l->connections--;
	if (c && --c->count == 0) {
		HASH_DEL(l->clients, c);
		mem_free(c);
	}
	mem_free(ticket);
}

/* ---- accepting ---- */

static bool is_trusted(const struct conf *conf, const struct conn_address *peer)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&peer->addr;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&peer->addr;
	switch (peer->addr.ss_family) {
	case AF_UNIX:
		return true; /* who may open the socket may send */
	case AF_INET:
		return conf_network_holds(conf->trusted_networks, conf->trusted_count, AF_INET,
		    &four->sin_addr);
	case AF_INET6:
		return conf_network_holds(conf->trusted_networks, conf->trusted_count, AF_INET6,
		    &six->sin6_addr);
	default:
		return false;
	}
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

static void take_connection(struct listener *one, int fd, const struct conn_address *peer)
{
	struct listen *l = one->listen;
	char key[CONN_ADDRESS_TEXT];
	char text[CONN_ADDRESS_TEXT];
	client_key(peer, peer_uid(fd), key);
	const char *refusal = over_limit(l, key);
	if (refusal) {
		refuse_connection(l, fd, refusal);
		return;
	}
	l->warned = false;
	count_up(l, key);
	l->options.stats->connections++;
	struct ticket *ticket = mem_zero(sizeof(*ticket));
	ticket->listen = l;
	snprintf(ticket->key, sizeof(ticket->key), "%s", key);
	struct intake_peer who = {
	    .trusted = is_trusted(l->settings->conf, peer),
	    .client = peer->addr.ss_family == AF_UNIX ? key : conn_address_text(peer, text),
	    .gone = session_gone,
	    .arg = ticket,
	};
	struct conn *conn = conn_accept(l->options.loop, fd, INPUT_MAX, NULL, NULL);
	intake_session(l->intake, conn, &one->conf, &who);
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
		take_connection(one, got, &peer);
	}
}

/* ---- opening ---- */

/* On a reload this is the usual reason: ports under 1024 and sockets in other
 * folders need what was given up at the start. */
static const char *locked_out(int error)
{
	return error == EACCES || error == EPERM
	    ? " (no rights to it; if it is new in the configuration: restart relayd)" : "";
}

static int open_unix(const char *path, struct why *why)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	if (strlen(path) >= sizeof(addr.sun_path))
		return why_set(why, WHY_LOCAL, "listen: %s: the path is too long", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "listen: %s", path);
	/* what an earlier run left; nothing but a socket is ever removed */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	/* its mode comes with it: a chmod could meet what somebody put in its place */
	mode_t mask = umask(0111);
	int result = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (result < 0 || listen(fd, BACKLOG) < 0) {
		why_errno(why, WHY_LOCAL, errno, "listen: %s%s", path, locked_out(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static int open_inet(const struct conf_listen *conf, struct why *why)
{
	struct conn_address a = {0};
	int on = 1;
	if (conn_address_parse(&a, conf->address, (uint16_t)conf->port) < 0)
		return why_set(why, WHY_PERM, "listen: %s is not an address", conf->address);
	int fd = socket(a.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "listen: %s", conf->address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a.addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a.addr, a.len) < 0 || listen(fd, BACKLOG) < 0) {
		why_errno(why, WHY_LOCAL, errno, "listen: %s port %d%s", conf->address,
		    (int)conf->port, locked_out(errno));
		close(fd);
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

static struct listener *listener_open(struct listen *l, const struct conf_listen *conf,
    struct why *why)
{
	int fd = service_socket(conf->address, (uint16_t)conf->port);
	bool passed = fd >= 0;
	if (!passed)
		fd = conf->address[0] == '/' ? open_unix(conf->address, why) : open_inet(conf, why);
	if (fd < 0)
		return NULL;
	struct listener *one = mem_zero(sizeof(*one));
	one->listen = l;
	one->address = mem_text(conf->address);
	one->port = conf->port;
	one->fd = fd;
	one->passed = passed;
	one->event = event_new(loop_base(l->options.loop), fd, EV_READ | EV_PERSIST, on_accept, one);
	DL_APPEND(l->listeners, one);
	if (l->intake)
		event_add(one->event, NULL);
	return one;
}

int listen_open(struct listen *l, const struct settings *settings, struct why *why)
{
	const struct conf *conf = settings->conf;
	struct listener *one;
	struct listener *next;
	DL_FOREACH (l->listeners, one)
		one->wanted = false;
	for (size_t i = 0; i < conf->listen_count; i++) {
		one = listener_find(l, &conf->listen[i]);
		if (!one)
			one = listener_open(l, &conf->listen[i], why);
		if (!one)
			return -1;
		one->conf = conf->listen[i];
		one->wanted = true;
	}
	DL_FOREACH_SAFE (l->listeners, one, next)
		if (!one->wanted)
			listener_free(l, one);
	return 0;
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
