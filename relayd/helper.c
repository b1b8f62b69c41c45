/* SPDX-License-Identifier: MIT
 * The daemon's end of the helper. It counts what runs, so that it need not ask.
 */
#include "relayd/helper.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/helper_internal.h"

#define START_S 10

struct helper {
	int fd; /* -1: it is not there (any more) */
	char *command;
	unsigned running;
	struct event *event;
	void (*fn)(void *arg, enum helper_event event, unsigned number, int value);
	void *arg;
};

struct helper *helper_fork(struct why *why)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		why_errno(why, WHY_LOCAL, errno, "helper: socketpair");
		return NULL;
	}
	pid_t pid = fork();
	if (pid == 0)
		helper_child(ends[1]);
	int error = errno;
	signal(SIGCHLD, SIG_IGN); /* nobody waits for it: it leaves no zombie */
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		why_errno(why, WHY_LOCAL, error, "helper: fork");
		return NULL;
	}
	struct helper *h = mem_zero(sizeof(*h));
	h->fd = ends[0];
	h->command = mem_text("");
	return h;
}

/* Which the helper sees as its end. */
static void leave(struct helper *h)
{
	helper_unwatch(h);
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
}

static int exchange(struct helper *h, struct span start, struct why *why)
{
	const struct timeval patience = {.tv_sec = START_S};
	struct helper_report report = {0};
	setsockopt(h->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(h->fd, start.p, start.n, MSG_NOSIGNAL) < 0)
		return why_errno(why, WHY_LOCAL, errno, "helper: it takes no command");
	ssize_t n = recv(h->fd, &report, sizeof(report), 0);
	if (n != (ssize_t)sizeof(report))
		return why_errno(why, WHY_LOCAL, n < 0 ? errno : ECONNRESET,
		    "helper: it does not say that it is ready");
	report.text[sizeof(report.text) - 1] = '\0';
	return report.event == 0 ? 0 : why_set(why, WHY_LOCAL, "helper: %s", report.text);
}

int helper_begin(struct helper *h, const struct helper_start *start, struct why *why)
{
	struct buf packet = {0};
	if (!start->command[0]) {
		leave(h);
		return 0;
	}
	buf_add(&packet, start->command, strlen(start->command) + 1);
	buf_add(&packet, start->user, strlen(start->user) + 1);
	buf_add_byte(&packet, start->filter ? HELPER_FILTER : HELPER_NO_FILTER);
	int result = packet.len > HELPER_START_MAX
	    ? why_set(why, WHY_PERM, "notify.command: the path is too long")
	    : exchange(h, span_buf(&packet), why);
	buf_free(&packet);
	if (result < 0)
		return -1;
	mem_free(h->command);
	h->command = mem_text(start->command);
	return 0;
}

/* ---- in the loop ---- */

static void gone(struct helper *h)
{
	leave(h);
	h->running = 0;
	h->fn(h->arg, HELPER_GONE, 0, 0);
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
	struct helper *h = arg;
	struct helper_report report;
	(void)what;
	ssize_t n = recv(fd, &report, sizeof(report), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(report) || report.event > HELPER_SIGNALED) {
		gone(h);
		return;
	}
	h->running -= h->running > 0;
	h->fn(h->arg, (enum helper_event)report.event, report.number, report.value);
}

void helper_watch(struct helper *h, struct loop *loop,
    void (*fn)(void *arg, enum helper_event event, unsigned number, int value), void *arg)
{
	if (!h || h->fd < 0)
		return;
	h->fn = fn;
	h->arg = arg;
	h->event = loop_event_new(loop, h->fd, EV_READ | EV_PERSIST, on_report, h);
	loop_event_add(h->event);
}

void helper_unwatch(struct helper *h)
{
	if (!h || !h->event)
		return;
	event_free(h->event);
	h->event = NULL;
}

const char *helper_command(const struct helper *h)
{
	return h ? h->command : "";
}

enum helper_answer helper_run(struct helper *h, unsigned number, struct span input)
{
	struct helper_head head = {number, (uint32_t)input.n};
	struct iovec parts[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)input.p, input.n}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (!h || h->fd < 0 || input.n > HELPER_INPUT_MAX)
		return HELPER_DEAD;
	if (h->running >= HELPER_COMMANDS_MAX)
		return HELPER_BUSY;
	if (sendmsg(h->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == EPIPE || errno == ECONNRESET ? HELPER_DEAD : HELPER_BUSY;
	h->running++;
	return HELPER_TAKEN;
}

void helper_free(struct helper *h)
{
	if (!h)
		return;
	leave(h);
	mem_free(h->command);
	mem_free(h);
}
