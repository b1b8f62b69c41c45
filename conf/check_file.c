/* SPDX-License-Identifier: MIT
 * Are the files that the configuration names there, readable, and not
 * readable by others? What is in keys and certificates is not looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/check.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"

#define PASSWORD_MAX 1024

static int check_mode(const char *path, const struct stat *st, struct why *why)
{
	unsigned mode = st->st_mode & 07777;
	if ((mode & 077) == 0)
		return 0;
	return why_set(why, WHY_LOCAL,
	    "is open to others than its owner (mode %04o); do: chmod 0600 %s", mode,
	    path);
}

/* For people: a name where there is one, and it fits for chown in any case. */
static const char *user_text(uid_t uid, char *buf, size_t size)
{
	const struct passwd *user = getpwuid(uid);
	if (user)
		snprintf(buf, size, "%s", user->pw_name);
	else
		snprintf(buf, size, "%u", (unsigned)uid);
	return buf;
}

/* Of root's the usual reason is a reload: root could read it at the start, and the daemon
 * has left root behind since. One of another user is right as it is, and who checks is
 * not who will read it. */
static int not_ours(const char *path, const struct stat *st, struct why *why)
{
	char owner[40];
	char us[40];
	unsigned mode = st->st_mode & 07777;
	user_text(st->st_uid, owner, sizeof(owner));
	user_text(geteuid(), us, sizeof(us));
	if (st->st_uid != 0)
		return why_set(why, WHY_LOCAL,
		    "belongs to %s (mode %04o), %s can not read it; check as %s: sudo -u %s ...",
		    owner, mode, us, owner, owner);
	return why_set(why, WHY_LOCAL,
	    "belongs to %s (mode %04o), %s can not read it; do: chown %s %s", owner, mode, us, us,
	    path);
}

static int not_found(int error, struct why *why)
{
	char us[40];
	if (error != EACCES)
		return why_errno(why, WHY_LOCAL, error, "can not be found");
	user_text(geteuid(), us, sizeof(us));
	return why_errno(why, WHY_LOCAL, error, "is in a folder that %s may not enter", us);
}

/* -1 or a descriptor. Stat first: opening a device can have effects. */
static int open_regular(const char *path, bool secret, struct why *why)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return not_found(errno, why);
	if (!S_ISREG(st.st_mode))
		return why_set(why, WHY_LOCAL, "is not a regular file");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == EACCES)
		return not_ours(path, &st, why);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "can not be read");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		why_set(why, WHY_LOCAL, "is not a regular file");
	else if (!secret || check_mode(path, &st, why) == 0)
		return fd;
	close(fd);
	return -1;
}

int check_file(const char *path, bool secret, struct why *why)
{
	int fd = open_regular(path, secret, why);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int check_program(const char *path, struct why *why)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return why_errno(why, WHY_LOCAL, errno, "can not be found");
	if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		return why_set(why, WHY_LOCAL,
		    "is not a program that can be run; do: chmod +x %s", path);
	return 0;
}

static char *first_line(const char *text, size_t n, struct why *why)
{
	size_t length = 0;
	while (length < n && text[length] != '\n' && text[length] != '\r')
		length++;
	struct span line = {text, length};
	if (length == 0)
		why_set(why, WHY_LOCAL, "has an empty first line, expected the password");
	else if (length == PASSWORD_MAX)
		why_set(
		    why, WHY_LOCAL, "has a first line that is too long for a password");
	else if (memchr(line.p, '\0', line.n))
		why_set(
		    why, WHY_LOCAL, "holds a NUL, expected the password in plain text");
	else
		return span_dup(line);
	return NULL;
}

char *check_read_password(const char *path, struct why *why)
{
	char text[PASSWORD_MAX];
	char *password = NULL;
	size_t used = 0;
	ssize_t n = 0;

	int fd = open_regular(path, true, why);
	if (fd < 0)
		return NULL;
	while (used < sizeof(text) &&
	       ((n = read(fd, text + used, sizeof(text) - used)) > 0 ||
		   (n < 0 && errno == EINTR)))
		used += n > 0 ? (size_t)n : 0;
	if (n < 0)
		why_errno(why, WHY_LOCAL, errno, "can not be read");
	else
		password = first_line(text, used, why);
	close(fd);
	mem_wipe(text, sizeof(text));
	return password;
}
