/* SPDX-License-Identifier: MIT
 * The system calls by which the spool reads and writes, in one table, so that tests
 * can make any one of them fail. Nothing else of the spool changes a file.
 */
#ifndef QUEUE_SPOOL_IO_H
#define QUEUE_SPOOL_IO_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "relayd/base/attr.h"

/* All set errno. `free_space`: bytes that we may still use in DIR's file system. */
struct spool_io {
	int (*openat)(int dir, const char *name, int flags, mode_t mode);
	ssize_t (*pread)(int fd, void *to, size_t n, off_t offset);
	ssize_t (*pwritev)(int fd, const struct iovec *iov, int count, off_t offset);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
	int (*renameat)(int from_dir, const char *from, int to_dir, const char *to);
	int (*unlinkat)(int dir, const char *name, int flags);
	int (*free_space)(int dir, uint64_t *bytes);
};
extern struct spool_io spool_io;

/* O_NOFOLLOW and O_CLOEXEC are added, mode is 0600. */
int spool_io_open(int dir, const char *name, int flags) ATTR_MUST_CHECK;

/* Write all of it, whatever signals and short writes come between. IOV is used
 * up. 0, or -1 with errno. */
int spool_io_write(int fd, struct iovec *iov, int count, uint64_t offset) ATTR_MUST_CHECK;
int spool_io_write_bytes(int fd, const void *p, size_t n, uint64_t offset) ATTR_MUST_CHECK;

/* Read up to N bytes; fewer only at the end of the file. -1 with errno. */
ssize_t spool_io_read(int fd, void *to, size_t n, uint64_t offset);

/* As walk_source.read; ARG is an int *, the descriptor. */
ssize_t spool_io_read_source(void *arg, uint64_t offset, void *to, size_t n);

#endif
