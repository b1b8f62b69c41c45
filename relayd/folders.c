/* SPDX-License-Identifier: MIT */
#include "relayd/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"

/* The folder that PATH is in. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return mem_text(".");
	if (slash == path)
		return mem_text("/");
	return mem_copy(path, (size_t)(slash - path));
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Who owns the folder, and others in one without the sticky bit, can rename what
 * is in it and put something else there. */
static int check_around(int fd, const char *path, const struct passwd *user, struct why *why)
{
	struct stat st;
	uid_t us = user ? user->pw_uid : geteuid();
	if (fstat(fd, &st) < 0)
		return why_errno(why, WHY_LOCAL, errno, "the folder around %s", path);
	if (st.st_uid != 0 && st.st_uid != us)
		return why_set(why, WHY_LOCAL,
		    "the folder around %s belongs to user id %u, who could replace it; expected "
		    "root or user id %u", path, (unsigned)st.st_uid, (unsigned)us);
	if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		return why_set(why, WHY_LOCAL,
		    "the folder around %s can be written by anybody (mode %04o), who could replace "
		    "it; do: chmod o-w", path, (unsigned)st.st_mode & 07777);
	return 0;
}

static int give(int parent, const char *path, mode_t mode, const struct passwd *user,
    struct why *why)
{
	int fd = openat(parent, name_of(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result = 0;
	if (fd < 0 || (user && fchown(fd, user->pw_uid, user->pw_gid) < 0) ||
	    fchmod(fd, mode) < 0)
		result = why_errno(why, WHY_LOCAL, errno, "%s", path);
	if (fd >= 0)
		close(fd);
	return result;
}

static int make_in(int parent, const char *path, mode_t mode, const struct passwd *user,
    struct why *why)
{
	if (mkdirat(parent, name_of(path), 0700) == 0)
		return give(parent, path, mode, user, why);
	if (errno == EEXIST)
		return 0;
	return why_errno(why, WHY_LOCAL, errno,
	    "the folder %s can not be made here; make it, and give it to who runs relayd", path);
}

static int make(const char *path, mode_t mode, bool check, const struct passwd *user,
    struct why *why)
{
	char *around = folder_of(path);
	int parent = open(around, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int result = 0;
	if (parent < 0)
		result = why_errno(why, WHY_LOCAL, errno, "%s, for %s", around, name_of(path));
	else if (check)
		result = check_around(parent, path, user, why);
	if (result == 0)
		result = make_in(parent, path, mode, user, why);
	if (parent >= 0)
		close(parent);
	mem_free(around);
	return result;
}

/* The folder of a socket, which a service manager makes, and nobody else does
 * (/run is empty after a boot). */
static int make_around_socket(const char *path, const struct passwd *user, struct why *why)
{
	char *folder = folder_of(path);
	int result = strcmp(folder, "/") != 0 && strcmp(folder, ".") != 0
	    ? make(folder, 0755, false, user, why) : 0;
	mem_free(folder);
	return result;
}

int folders_make(const struct conf *conf, const struct passwd *user, struct why *why)
{
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].address[0] == '/' &&
		    make_around_socket(conf->listen[i].address, user, why) < 0)
			return -1;
	/* anybody may put a file into the drop folder, and see nothing there */
	if (make_around_socket(conf->control, user, why) < 0 ||
	    make(conf->spool.path, 0700, true, user, why) < 0 ||
	    make(conf->drop, 01733, true, user, why) < 0)
		return -1;
	return 0;
}

char **folders_list(const struct conf *conf, size_t *count)
{
	char **list = mem_array(conf->listen_count + 3, sizeof(*list));
	*count = 0;
	list[(*count)++] = mem_text(conf->spool.path);
	list[(*count)++] = mem_text(conf->drop);
	list[(*count)++] = folder_of(conf->control);
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].address[0] == '/')
			list[(*count)++] = folder_of(conf->listen[i].address);
	return list;
}

void folders_free(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(list[i]);
	mem_free(list);
}
