/* SPDX-License-Identifier: MIT
 * Setting damaged bytes aside: written under a name of their own, synced, then
 * given the final name, so that a final name is always whole.
 */
#include "queue/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define PIECE (256u << 10)

void damage_list_free(struct damage_list *list)
{
	mem_free(list->all);
	*list = (struct damage_list){0};
}

void damage_list_add(struct damage_list *list, const char *name, const char *format, ...)
{
	list->all = mem_resize(list->all, list->count + 1, sizeof(*list->all));
	struct damage *d = &list->all[list->count++];
	snprintf(d->name, sizeof(d->name), "%s", name);
	va_list args;
	va_start(args, format);
	vsnprintf(d->text, sizeof(d->text), format, args);
	va_end(args);
}

static int copy(int fd, const struct walk_source *source, uint64_t from, uint64_t to)
{
	char *piece = mem_alloc(PIECE);
	int result = 0;
	for (uint64_t at = from; at < to && result == 0; at += PIECE) {
		size_t n = to - at < PIECE ? (size_t)(to - at) : PIECE;
		walk_read_anyway(source, at, piece, n);
		result = spool_io_write_bytes(fd, piece, n, at - from);
	}
	mem_free(piece);
	return result == 0 ? spool_io.fsync(fd) : -1;
}

int damage_set_aside(int dir, const struct walk_source *source, uint32_t number, uint64_t from,
    uint64_t to, const char *what, struct damage_list *list)
{
	char name[64];
	char part[72];
	struct stat st;
	snprintf(name, sizeof(name), "%016x-%08llx-%08llx", number, (unsigned long long)from,
	    (unsigned long long)to);
	snprintf(part, sizeof(part), "%s.part", name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0; /* known since an earlier start */
	int fd = spool_io_open(dir, part, O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return -1;
	int result = copy(fd, source, from, to);
	int error = errno;
	close(fd);
	if (result == 0) {
		result = spool_io.renameat(dir, part, dir, name);
		error = errno;
	}
	if (result == 0 && spool_io.fsync(dir) == 0) {
		damage_list_add(list, name, "segment %016x, bytes %llu to %llu: %s", number,
		    (unsigned long long)from, (unsigned long long)to, what);
		return 0;
	}
	errno = error;
	return -1;
}

int damage_move_big(int dir, int big_dir, const char *name, const char *what,
    struct damage_list *list)
{
	char to[64];
	snprintf(to, sizeof(to), "big-%.32s", name);
	if (spool_io.renameat(big_dir, name, dir, to) != 0)
		return errno == ENOENT ? 0 : -1;
	if (spool_io.fsync(dir) != 0)
		return -1;
	damage_list_add(list, to, "%s", what);
	return 0;
}
