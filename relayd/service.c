/* SPDX-License-Identifier: MIT */
#include "relayd/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/conn.h"
#include "relayd/base/log.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define SOCKETS_MAX 64
#define STATUS_MS 10000
#define STATUS_MAX 500

struct passed {
	int fd; /* -1: taken */
	struct conn_address address;
};

static struct {
	struct passed sockets[SOCKETS_MAX];
	size_t socket_count;
	struct sockaddr_un manager;
	socklen_t manager_len; /* 0: nobody wants to hear */
	int fd;
	int64_t every_ms;
	struct timer timer;
	void (*status)(void *arg, struct buf *out);
	void *arg;
} service = {.fd = -1};

/* ---- the environment ---- */

/* A number in a variable; 0: there is none. */
static uint64_t variable(const char *name, uint64_t max)
{
	const char *text = getenv(name);
	uint64_t value = 0;
	if (!text || !span_number(span_text(text), max, &value))
		return 0;
	return value;
}

static bool is_for_us(const char *name)
{
	return !getenv(name) || variable(name, INT32_MAX) == (uint64_t)getpid();
}

/* It may be anything: only a listening stream socket is of use. */
static void take_socket(int fd)
{
	struct passed *one = &service.sockets[service.socket_count];
	int type = 0;
	int listens = 0;
	socklen_t len = sizeof(int);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return;
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	len = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	one->address = (struct conn_address){.len = sizeof(one->address.addr)};
	if (type != SOCK_STREAM || !listens || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    getsockname(fd, (struct sockaddr *)&one->address.addr, &one->address.len) < 0) {
		log_text(LOG_LEVEL_WARN,
		    "descriptor %d from the service manager is no listening stream socket", fd);
		close(fd);
		return;
	}
	one->fd = fd;
	service.socket_count++;
}

static void take_sockets(void)
{
	uint64_t count = variable("LISTEN_FDS", SOCKETS_MAX);
	if (getenv("LISTEN_PID") && is_for_us("LISTEN_PID"))
		for (uint64_t i = 0; i < count; i++)
			take_socket(FIRST_FD + (int)i);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static void find_manager(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;
	if (n < 2 || n >= sizeof(service.manager.sun_path) || (*path != '/' && *path != '@'))
		return;
	service.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (service.fd < 0)
		return;
	service.manager.sun_family = AF_UNIX;
	memcpy(service.manager.sun_path, path, n);
	if (*path == '@') /* an abstract one */
		service.manager.sun_path[0] = '\0';
	service.manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

static void find_watchdog(void)
{
	uint64_t us = variable("WATCHDOG_USEC", INT64_MAX);
	service.every_ms = STATUS_MS;
	if (us && is_for_us("WATCHDOG_PID") && (int64_t)(us / 2000) < STATUS_MS)
		service.every_ms = us < 2000 ? 1 : (int64_t)(us / 2000);
}

void service_begin(void)
{
	take_sockets();
	find_manager();
	find_watchdog();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

/* ---- sockets ---- */

static bool is_path(const struct passed *one, const char *path)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&one->address.addr;
	return un->sun_family == AF_UNIX && strlen(path) < sizeof(un->sun_path) &&
	       strncmp(un->sun_path, path, sizeof(un->sun_path)) == 0;
}

/* Text against text: of several ways to write an IPv6 address both become one. */
static bool is_inet(const struct passed *one, const struct conn_address *wanted)
{
	char a[CONN_ADDRESS_TEXT];
	char b[CONN_ADDRESS_TEXT];
	return one->address.addr.ss_family == wanted->addr.ss_family &&
	       conn_address_port(&one->address) == conn_address_port(wanted) &&
	       strcmp(conn_address_text(&one->address, a), conn_address_text(wanted, b)) == 0;
}

int service_socket(const char *address, uint16_t port)
{
	struct conn_address wanted = {0};
	bool path = address[0] == '/';
	if (!path && conn_address_parse(&wanted, address, port) < 0)
		return -1;
	for (size_t i = 0; i < service.socket_count; i++) {
		struct passed *one = &service.sockets[i];
		if (one->fd < 0 || !(path ? is_path(one, address) : is_inet(one, &wanted)))
			continue;
		int fd = one->fd;
		one->fd = -1;
		return fd;
	}
	return -1;
}

void service_forget_sockets(void)
{
	char text[CONN_ADDRESS_TEXT];
	for (size_t i = 0; i < service.socket_count; i++) {
		struct passed *one = &service.sockets[i];
		const struct sockaddr_un *un = (const struct sockaddr_un *)&one->address.addr;
		bool local = un->sun_family == AF_UNIX;
		if (one->fd < 0)
			continue;
		log_text(LOG_LEVEL_WARN,
		    "the service manager passed a socket for %.*s port %d, which listen does not name",
		    (int)sizeof(un->sun_path),
		    local ? un->sun_path : conn_address_text(&one->address, text),
		    local ? 0 : conn_address_port(&one->address));
		close(one->fd);
		one->fd = -1;
	}
	service.socket_count = 0;
}

/* ---- states ---- */

static void tell(const char *text)
{
	if (service.manager_len == 0)
		return;
	ssize_t n = sendto(service.fd, text, strlen(text), MSG_NOSIGNAL,
	    (const struct sockaddr *)&service.manager, service.manager_len);
	(void)n; /* a manager that does not listen is no reason to stop the mail */
}

static void tell_status(void *arg)
{
	struct buf line = {0};
	struct buf text = {0};
	(void)arg;
	service.status(service.arg, &line);
	text_escape(&text, span_buf(&line), STATUS_MAX);
	buf_clear(&line);
	buf_addf(&line, "WATCHDOG=1\nSTATUS=%s\n", buf_text(&text));
	tell(buf_text(&line));
	buf_free(&line);
	buf_free(&text);
	timer_start(&service.timer, service.every_ms);
}

void service_ready(struct loop *loop, void (*status)(void *arg, struct buf *out), void *arg)
{
	if (service.manager_len == 0)
		return;
	service.status = status;
	service.arg = arg;
	timer_init(&service.timer, loop, tell_status, NULL);
	tell("READY=1\n");
	tell_status(NULL);
}

void service_reloading(void)
{
	struct buf text = {0};
	/* the manager compares it with when it has sent the signal */
	buf_addf(&text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n", clock_mono_us());
	tell(buf_text(&text));
	buf_free(&text);
}

void service_reloaded(void)
{
	tell("READY=1\n");
}

void service_stopping(void)
{
	tell("STOPPING=1\nSTATUS=finishing what runs\n");
}
