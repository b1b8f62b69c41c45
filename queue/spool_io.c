/* SPDX-License-Identifier: MIT
 * The spool's system calls. A sync is not tried again here, whatever it says:
 * after a failed one the kernel may have dropped the pages.
 */
#include "queue/spool_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int open_plain(int dir, const char *name, int flags, mode_t mode)
{
	return openat(dir, name, flags, mode);
}

static int free_space(int dir, uint64_t *bytes)
{
	struct statvfs fs;
	if (fstatvfs(dir, &fs) != 0)
		return -1;
	*bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

struct spool_io spool_io = {
	.openat = open_plain,
	.pread = pread,
	.pwritev = pwritev,
	.fdatasync = fdatasync,
	.fsync = fsync,
	.renameat = renameat,
	.unlinkat = unlinkat,
	.free_space = free_space,
};

int spool_io_open(int dir, const char *name, int flags)
{
	/* non-blocking: a FIFO that somebody put there must not stop the start */
	flags |= O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd;
	do
		fd = spool_io.openat(dir, name, flags, 0600);
	while (fd < 0 && errno == EINTR);
	struct stat st;
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

/* Drop N bytes from the front of *IOV; result: how many entries are left. */
static int advance(struct iovec **iov, int count, size_t n)
{
	while (count > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		count--;
	}
	if (count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
	return count;
}

int spool_io_write(int fd, struct iovec *iov, int count, uint64_t offset)
{
	count = advance(&iov, count, 0); /* empty ones in front */
	while (count > 0) {
		ssize_t n = spool_io.pwritev(fd, iov, count, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return -1;
		offset += (uint64_t)n;
		count = advance(&iov, count, (size_t)n);
	}
	return 0;
}

int spool_io_write_bytes(int fd, const void *p, size_t n, uint64_t offset)
{
	struct iovec iov = {(void *)(uintptr_t)p, n};
	return spool_io_write(fd, &iov, 1, offset);
}

ssize_t spool_io_read(int fd, void *to, size_t n, uint64_t offset)
{
	size_t have = 0;
	while (have < n) {
		ssize_t got =
		    spool_io.pread(fd, (char *)to + have, n - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

ssize_t spool_io_read_source(void *arg, uint64_t offset, void *to, size_t n)
{
	return spool_io_read(*(int *)arg, to, n, offset);
}
