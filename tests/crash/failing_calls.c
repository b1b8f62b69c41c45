/* SPDX-License-Identifier: MIT
 * Preloaded by plan.py: the process is killed at the Nth call of a set of
 * system calls, or that call fails, or writes half of what it should. All
 * threads count together. The file PLAN_FILE holds the plan and what came of
 * it; it is mapped before the program begins, so no fence of the program's
 * minds. Children, who do not live a message's life, do not count.
 *
 * A sync that fails drops what it was to bring to disk, as a kernel may: a
 * promise that rests on it is broken for good, and seen by who looks for the mail.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 1024
#define ANY (-1) /* no descriptor that could matter */

/* plan.py has the same order */
enum call { OPEN, WRITE, WRITEV, PWRITE, PWRITEV, FSYNC, FDATASYNC, RENAME, LINK, UNLINK,
	FTRUNCATE, CLOSE, SEND, SENDTO, SENDMSG, CONNECT, ACCEPT, SOCKET, PIPE, EVENTFD, EPOLL,
	THREAD };
enum kind { PLAIN = 1, FOLDER = 2, STREAM = 4, OTHER_SOCKET = 8, OTHER = 16 };
enum { KILL = 0, HALF = -1 }; /* instead of an errno */

struct plan {
	_Atomic uint64_t calls;        /* of the set, so far */
	uint64_t set;                  /* bits by enum call */
	uint64_t kinds;                /* which descriptors count */
	_Atomic uint64_t at;           /* the call that is hit, or the next one; 0: none */
	int64_t what;                  /* an errno, KILL or HALF */
	_Atomic uint64_t hit;          /* 1 + enum call */
	_Atomic uint64_t hit_kind;
	_Atomic uint64_t second_syncs; /* of descriptors whose sync had failed */
};

static struct plan *plan;

/* What was written to a descriptor since its last sync; logs only grow. */
static struct unsynced {
	int64_t from;
	int64_t to;
	int failed;
} unsynced[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);
	if (!found)
		abort();
	return found;
}

static void leave(void)
{
	plan = NULL;
}

static void __attribute__((constructor)) begin(void)
{
	const char *name = getenv("PLAN_FILE");
	int fd = name ? REAL(open)(name, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REAL(close)(fd);
	pthread_atfork(NULL, NULL, leave);
	if (map != MAP_FAILED)
		plan = map;
}

static enum kind kind_of(int fd)
{
	struct stat st;
	int type = 0;
	socklen_t size = sizeof(type);
	if (fd == ANY)
		return PLAIN;
	if (fstat(fd, &st) != 0)
		return OTHER;
	if (S_ISREG(st.st_mode))
		return PLAIN;
	if (S_ISDIR(st.st_mode))
		return FOLDER;
	if (!S_ISSOCK(st.st_mode))
		return OTHER;
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	return type == SOCK_STREAM ? STREAM : OTHER_SOCKET;
}

/* Is it this call's turn? Then ERROR is the errno, or HALF. */
static int hit(enum call call, int fd, int *error)
{
	int before = errno;
	if (!plan || !(plan->set & 1ull << call))
		return 0;
	uint64_t kind = kind_of(fd);
	errno = before;
	if (!(plan->kinds & kind))
		return 0;
	uint64_t n = atomic_fetch_add(&plan->calls, 1) + 1;
	uint64_t at = atomic_load(&plan->at);
	uint64_t none = 0;
	if (!at || n < at || !atomic_compare_exchange_strong(&plan->hit, &none, 1 + (uint64_t)call))
		return 0;
	atomic_store(&plan->hit_kind, kind);
	if (plan->what == KILL) {
		syscall(SYS_tgkill, getpid(), gettid(), SIGKILL);
		abort();
	}
	*error = (int)plan->what;
	return 1;
}

static int fails(enum call call, int fd)
{
	int error;
	if (!hit(call, fd, &error))
		return 0;
	errno = error;
	return 1;
}

/* ---- what is written, and the syncs ---- */

static void opened(int fd)
{
	if (fd < 0 || fd >= FDS)
		return;
	pthread_mutex_lock(&lock);
	unsynced[fd] = (struct unsynced){0};
	pthread_mutex_unlock(&lock);
}

static void written(int fd, int64_t from, ssize_t n)
{
	if (!plan || n <= 0 || fd < 0 || fd >= FDS)
		return;
	pthread_mutex_lock(&lock);
	struct unsynced *u = &unsynced[fd];
	if (u->from == u->to)
		u->from = u->to = from;
	u->from = from < u->from ? from : u->from;
	u->to = from + n > u->to ? from + n : u->to;
	pthread_mutex_unlock(&lock);
}

static void drop(int fd)
{
	static const char zeros[4096];
	struct unsynced *u = &unsynced[fd];
	for (int64_t at = u->from; at < u->to;) {
		size_t n = u->to - at < 4096 ? (size_t)(u->to - at) : 4096;
		ssize_t done = REAL(pwrite)(fd, zeros, n, at);
		if (done <= 0)
			abort();
		at += done;
	}
}

static int sync_with(enum call call, int fd, int (*sync)(int fd))
{
	int error;
	if (fd < 0 || fd >= FDS)
		return sync(fd);
	struct unsynced *u = &unsynced[fd];
	if (plan && u->failed)
		atomic_fetch_add(&plan->second_syncs, 1);
	if (hit(call, fd, &error)) {
		pthread_mutex_lock(&lock);
		drop(fd);
		/* a folder's descriptor lives as long as the spool */
		u->failed = plan->hit_kind == PLAIN;
		pthread_mutex_unlock(&lock);
		errno = error;
		return -1;
	}
	int64_t to = u->to;
	int result = sync(fd);
	if (result == 0) {
		pthread_mutex_lock(&lock);
		u->from = to < u->to ? to : u->to;
		pthread_mutex_unlock(&lock);
	}
	return result;
}

int fsync(int fd)
{
	return sync_with(FSYNC, fd, REAL(fsync));
}

int fdatasync(int fd)
{
	return sync_with(FDATASYNC, fd, REAL(fdatasync));
}

static int64_t position(int fd)
{
	return plan ? lseek(fd, 0, SEEK_CUR) : -1;
}

ssize_t write(int fd, const void *data, size_t size)
{
	int error = 0;
	if (hit(WRITE, fd, &error) && error != HALF) {
		errno = error;
		return -1;
	}
	int before = errno;
	int64_t from = position(fd);
	errno = before;
	ssize_t n = REAL(write)(fd, data, error == HALF && size > 1 ? size / 2 : size);
	if (from >= 0)
		written(fd, from, n);
	return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	int error = 0;
	if (hit(PWRITE, fd, &error) && error != HALF) {
		errno = error;
		return -1;
	}
	ssize_t n = REAL(pwrite)(fd, data, error == HALF && size > 1 ? size / 2 : size, at);
	written(fd, at, n);
	return n;
}

/* The first half of the bytes, rounded up: what is left of COUNT entries. */
static int halve(const struct iovec *from, struct iovec *to, int count)
{
	size_t size = 0;
	for (int i = 0; i < count; i++)
		size += from[i].iov_len;
	size -= size / 2;
	int used = 0;
	while (used < count && size) {
		to[used] = from[used];
		to[used].iov_len = to[used].iov_len < size ? to[used].iov_len : size;
		size -= to[used++].iov_len;
	}
	return used;
}

static ssize_t write_parts(enum call call, int fd, const struct iovec *iov, int count, off_t at)
{
	struct iovec half[IOV_MAX];
	int error;
	if (hit(call, fd, &error)) {
		if (error != HALF) {
			errno = error;
			return -1;
		}
		count = halve(iov, half, count);
		iov = half;
	}
	if (call == WRITEV)
		return REAL(writev)(fd, iov, count);
	ssize_t n = REAL(pwritev)(fd, iov, count, at);
	written(fd, at, n);
	return n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return write_parts(WRITEV, fd, iov, count, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	return write_parts(PWRITEV, fd, iov, count, at);
}

/* ---- names ---- */

/* Where there is no room, what exists can still be opened. */
static int open_fails(int flags)
{
	return (!plan || plan->what != ENOSPC || flags & O_CREAT) && fails(OPEN, ANY);
}

static int note_opened(int fd)
{
	opened(fd);
	return fd;
}

#define MODE(flags) \
	mode_t mode = 0; \
	if ((flags) & (O_CREAT | O_TMPFILE)) { \
		va_list args; \
		va_start(args, flags); \
		mode = va_arg(args, mode_t); \
		va_end(args); \
	}

int open(const char *path, int flags, ...)
{
	MODE(flags)
	return open_fails(flags) ? -1 : note_opened(REAL(open)(path, flags, mode));
}

int openat(int folder, const char *path, int flags, ...)
{
	MODE(flags)
	return open_fails(flags) ? -1 : note_opened(REAL(openat)(folder, path, flags, mode));
}

int __open_2(const char *path, int flags)
{
	return open_fails(flags) ? -1 : note_opened(REAL(open)(path, flags));
}

int close(int fd)
{
	int failed = fails(CLOSE, fd); /* the descriptor is gone all the same */
	int error = errno;
	int result = REAL(close)(fd);
	if (!failed)
		return result;
	errno = error;
	return -1;
}

int rename(const char *from, const char *to)
{
	return fails(RENAME, ANY) ? -1 : REAL(rename)(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
	return fails(RENAME, ANY) ? -1 : REAL(renameat)(from_folder, from, to_folder, to);
}

int link(const char *from, const char *to)
{
	return fails(LINK, ANY) ? -1 : REAL(link)(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
	return fails(LINK, ANY) ? -1 : REAL(linkat)(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path)
{
	return fails(UNLINK, ANY) ? -1 : REAL(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags)
{
	return fails(UNLINK, ANY) ? -1 : REAL(unlinkat)(folder, path, flags);
}

int ftruncate(int fd, off_t size)
{
	return fails(FTRUNCATE, fd) ? -1 : REAL(ftruncate)(fd, size);
}

/* ---- the network, and what a start needs ---- */

static int halved(enum call call, int fd, size_t *size)
{
	int error;
	if (!hit(call, fd, &error))
		return 0;
	errno = error;
	if (error == HALF && *size > 1)
		*size /= 2;
	return error != HALF;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	return halved(SEND, fd, &size) ? -1 : REAL(send)(fd, data, size, flags);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
    socklen_t to_size)
{
	return halved(SENDTO, fd, &size) ? -1 : REAL(sendto)(fd, data, size, flags, to, to_size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	size_t whole = 0;
	return halved(SENDMSG, fd, &whole) ? -1 : REAL(sendmsg)(fd, message, flags);
}

int connect(int fd, const struct sockaddr *to, socklen_t size)
{
	return fails(CONNECT, fd) ? -1 : REAL(connect)(fd, to, size);
}

int accept4(int fd, struct sockaddr *from, socklen_t *size, int flags)
{
	return fails(ACCEPT, fd) ? -1 : REAL(accept4)(fd, from, size, flags);
}

int socket(int family, int type, int protocol)
{
	return fails(SOCKET, ANY) ? -1 : REAL(socket)(family, type, protocol);
}

int socketpair(int family, int type, int protocol, int ends[2])
{
	return fails(PIPE, ANY) ? -1 : REAL(socketpair)(family, type, protocol, ends);
}

int pipe2(int ends[2], int flags)
{
	return fails(PIPE, ANY) ? -1 : REAL(pipe2)(ends, flags);
}

int eventfd(unsigned start, int flags)
{
	return fails(EVENTFD, ANY) ? -1 : REAL(eventfd)(start, flags);
}

int epoll_create1(int flags)
{
	return fails(EPOLL, ANY) ? -1 : REAL(epoll_create1)(flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	if (fails(THREAD, ANY))
		return errno;
	return REAL(pthread_create)(thread, attr, run, arg);
}
