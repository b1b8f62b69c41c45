/* SPDX-License-Identifier: MIT
 * The helper's own life: give up what the daemon gives up, wait for inputs, run the
 * one command for each, look after those that run. It ends when the daemon has
 * closed its end and the last command is over. Signals that are meant for the
 * daemon (a terminal's, a service manager's) do not end it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/helper_internal.h"
#include "relayd/privileges.h"
#include "relayd/sandbox.h"

#define LOOK_MS 100 /* while commands run */

struct program {
	pid_t pid; /* 0: free */
	uint32_t number;
	int64_t until_ms;
};

struct child {
	int fd;
	char command[HELPER_START_MAX];
	struct program programs[HELPER_COMMANDS_MAX];
	unsigned running;
	bool closing; /* the daemon is gone */
	char packet[sizeof(struct helper_head) + HELPER_INPUT_MAX];
};

static void report(const struct child *c, enum helper_event event, uint32_t number, int value)
{
	struct helper_report r = {.event = event, .number = number, .value = value};
	ssize_t n = send(c->fd, &r, sizeof(r), MSG_NOSIGNAL);
	(void)n; /* a daemon that is gone needs no report */
}

/* ---- one command ---- */

/* A file in memory: no reader can make us wait, whatever it does. -1: errno. */
static int open_input(const char *text, size_t n)
{
	int fd = memfd_create("incident", MFD_CLOEXEC);
	if (fd >= 0 && (write(fd, text, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Nothing of ours goes over: neither descriptors nor environment nor how we take
 * signals. 0: it runs; else the error. */
static int spawn(const char *program, int input, pid_t *pid)
{
	static char *const environment[] = {
	    (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	    (char *)"LANG=C", NULL};
	char *argv[] = {(char *)(uintptr_t)program, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t all;
	sigset_t none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes,
	    POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	int error = posix_spawn_file_actions_adddup2(&files, input, 0);
	if (!error) /* 1 and 2 are /dev/null already */
		error = posix_spawn_file_actions_addclosefrom_np(&files, 3);
	if (!error)
		error = posix_spawn(pid, program, &files, &attributes, argv, environment);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return error;
}

static void run(struct child *c, const struct helper_head *head, const char *text)
{
	struct program *p = NULL;
	for (size_t i = 0; i < HELPER_COMMANDS_MAX; i++)
		if (!c->programs[i].pid)
			p = &c->programs[i];
	if (!p) { /* the daemon counts too: this one counts wrong */
		report(c, HELPER_CANNOT, head->number, EAGAIN);
		return;
	}
	int input = open_input(text, head->length);
	int error = input < 0 ? errno : spawn(c->command, input, &p->pid);
	if (input >= 0)
		close(input);
	if (error) {
		p->pid = 0;
		report(c, HELPER_CANNOT, head->number, error);
		return;
	}
	p->number = head->number;
	p->until_ms = clock_mono_ms() + HELPER_COMMAND_MS;
	c->running++;
}

static void look_at(struct child *c, struct program *p)
{
	int status = 0;
	pid_t gone = waitpid(p->pid, &status, WNOHANG);
	if (gone == 0) {
		if (clock_mono_ms() >= p->until_ms)
			kill(-p->pid, SIGKILL); /* it leads a session: its children too */
		return;
	}
	if (gone > 0 && WIFSIGNALED(status))
		report(c, HELPER_SIGNALED, p->number, WTERMSIG(status));
	else
		report(c, HELPER_ENDED, p->number, gone > 0 ? WEXITSTATUS(status) : 0);
	p->pid = 0;
	c->running--;
}

/* ---- life ---- */

static void take_packet(struct child *c)
{
	struct helper_head head;
	ssize_t n = recv(c->fd, c->packet, sizeof(c->packet), 0);
	if (n < 0 && errno == EINTR)
		return;
	if (n < (ssize_t)sizeof(head)) {
		c->closing = true;
		return;
	}
	memcpy(&head, c->packet, sizeof(head));
	if (head.length != (size_t)n - sizeof(head))
		c->closing = true; /* no daemon of ours says that */
	else
		run(c, &head, c->packet + sizeof(head));
}

static void live(struct child *c)
{
	while (!c->closing || c->running) {
		struct pollfd in = {.fd = c->closing ? -1 : c->fd, .events = POLLIN};
		if (poll(&in, 1, c->running ? LOOK_MS : -1) > 0)
			take_packet(c);
		for (size_t i = 0; i < HELPER_COMMANDS_MAX; i++)
			if (c->programs[i].pid)
				look_at(c, &c->programs[i]);
	}
}

/* Who we become, and the filter. */
static int settle(const char *name, bool filter, struct why *why)
{
	const struct passwd *user = NULL;
	const struct sandbox_options options = {.helper = true};
	if (name[0] && geteuid() == 0) {
		user = getpwnam(name);
		if (!user)
			return why_set(why, WHY_LOCAL, "there is no user \"%s\"", name);
	}
	if (privileges_drop(user, why) < 0)
		return -1;
	return filter ? sandbox_enter(&options, why) : 0;
}

/* False: no command, so there is nothing to do. */
static bool begin(struct child *c)
{
	struct helper_report ready = {0};
	struct why why = {0};
	ssize_t n = recv(c->fd, c->command, sizeof(c->command), 0);
	if (n < 3 || c->command[n - 2] != '\0')
		return false;
	size_t length = strlen(c->command) + 1;
	bool filter = c->command[n - 1] != HELPER_NO_FILTER;
	if (length >= (size_t)n - 1 || settle(c->command + length, filter, &why) < 0)
		ready.event = 1;
	memcpy(ready.text, why.text, sizeof(ready.text));
	n = send(c->fd, &ready, sizeof(ready), MSG_NOSIGNAL);
	return n == (ssize_t)sizeof(ready) && ready.event == 0;
}

/* Only the socketpair stays open, as 3; the standard ones lead nowhere, so that a
 * reader of the daemon's log sees its end when the daemon ends. */
static int tidy_descriptors(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (high < 0 || null < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (i == null ? fcntl(i, F_SETFD, 0) < 0 : dup2(null, i) < 0)
			return -1;
	if (dup3(high, 3, O_CLOEXEC) < 0)
		return -1;
	return close_range(4, ~0u, 0);
}

void helper_child(int fd)
{
	static struct child child;
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
	child.fd = 3;
	privileges_hide();
	prctl(PR_SET_NAME, "relayd-helper", 0, 0, 0);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	setsid();
	if (tidy_descriptors(fd) == 0 && chdir("/") == 0 && begin(&child))
		live(&child);
	_exit(0);
}
