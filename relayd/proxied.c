/* SPDX-License-Identifier: MIT
 * The header is read from the bare socket, not a byte past its end: behind it a TLS
 * handshake may follow at once.
 */
#include "relayd/proxied.h"

#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"

#define WAIT_MS 5000

struct proxied {
	int fd;
	struct conn_address peer;
	struct event *event;
	struct timer timer;
	unsigned char held[PROXY_MAX];
	size_t used;
	proxied_done *done;
	void *arg;
};

static void release(struct proxied *p)
{
	timer_stop(&p->timer);
	event_free(p->event);
	mem_free(p);
}

static void give_up(struct proxied *p, const char *reason)
{
	proxied_done *done = p->done;
	void *arg = p->arg;
	char text[CONN_ADDRESS_TEXT];
	log_text(LOG_LEVEL_WARN, "proxy: %s: %s; expected a PROXY header, since listen.proxy has "
	    "this address", conn_address_text(&p->peer, text), reason);
	proxied_cancel(p);
	done(arg, -1, NULL, false);
}

static void too_late(void *arg)
{
	give_up(arg, "no header came in time");
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct proxied *p = arg;
	struct proxy_header header;
	size_t more;
	(void)what;
	enum proxy_result result;
	while ((result = proxy_parse(p->held, p->used, &more, &header)) == PROXY_MORE) {
		ssize_t n = read(fd, p->held + p->used, more);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			give_up(p, "the connection ended");
			return;
		}
		p->used += (size_t)n;
	}
	if (result == PROXY_BAD) {
		give_up(p, "what it says is no PROXY header");
		return;
	}
	proxied_done *done = p->done;
	void *to = p->arg;
	struct conn_address client = header.own ? p->peer : header.client;
	release(p);
	done(to, fd, &client, header.own);
}

struct proxied *proxied_new(struct loop *loop, int fd, const struct conn_address *peer,
    proxied_done *done, void *arg)
{
	struct proxied *p = mem_zero(sizeof(*p));
	p->fd = fd;
	p->peer = *peer;
	p->done = done;
	p->arg = arg;
	p->event = loop_event_new(loop, fd, EV_READ | EV_PERSIST, on_readable, p);
	loop_event_add(p->event);
	timer_init(&p->timer, loop, too_late, p);
	timer_start(&p->timer, WAIT_MS);
	return p;
}

void proxied_cancel(struct proxied *p)
{
	int fd = p->fd;
	release(p);
	close(fd);
}
