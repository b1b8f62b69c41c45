/* SPDX-License-Identifier: MIT */
#include "relayd/local_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Does somebody answer there? Then it is not ours to remove. */
static bool is_alive(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
				    errno == EAGAIN);
	if (fd >= 0)
		close(fd);
	return alive;
}

static int failed(const char *path, int fd, int error, struct why *why)
{
	why_errno(why, WHY_LOCAL, error, "%s", path);
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

int local_socket_listen(const char *path, mode_t mode, int backlog, struct why *why)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return why_set(why, WHY_PERM,
		    "%s: the path is too long, at most %zu bytes are possible", path,
		    sizeof(addr.sun_path) - 1);
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (is_alive(&addr)) {
		errno = EADDRINUSE;
		return why_set(why, WHY_LOCAL,
		    "%s: another relayd answers there; stop it, or give this one a path of its own",
		    path);
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failed(path, fd, errno, why);
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	/* its mode comes with it: a chmod could meet what somebody put in its place */
	mode_t mask = umask(0777 & ~mode);
	int result = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (result < 0 || listen(fd, backlog) < 0)
		return failed(path, fd, errno, why);
	return fd;
}
