/* SPDX-License-Identifier: MIT
 * Memory first, then a file that nobody else can open and that is gone with the
 * process, however it ends.
 */
#include "relayd/sendmail_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX (1 << 20)

/* O_TMPFILE where the file system has it, else a file that is unlinked at once. */
static int open_nameless(const char *folder)
{
	int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	struct buf path = {0};
	buf_addf(&path, "%s/relay-sendmail.XXXXXX", folder);
	fd = mkostemp(path.data, O_CLOEXEC);
	if (fd >= 0)
		unlink(path.data);
	buf_free(&path);
	return fd;
}

static int write_all(int fd, const char *p, size_t n, struct why *why)
{
	while (n) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno != EINTR)
			return why_errno(why, WHY_LOCAL, errno, "temporary file");
		if (done > 0)
			p += done, n -= (size_t)done;
	}
	return 0;
}

static int move_to_file(struct sendmail_store *store, struct why *why)
{
	const char *folder = secure_getenv("TMPDIR");
	if (!folder || !folder[0])
		folder = "/tmp";
	int fd = open_nameless(folder);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "no temporary file in %.100s", folder);
	store->file = fd;
	if (write_all(fd, buf_text(&store->memory), store->memory.len, why) < 0)
		return -1;
	buf_free(&store->memory);
	return 0;
}

int sendmail_store_add(struct sendmail_store *store, struct span s, struct why *why)
{
	if (!store->file && store->memory.len + s.n > MEMORY_MAX && move_to_file(store, why) < 0)
		return -1;
	if (store->file && write_all(store->file, s.p, s.n, why) < 0)
		return -1;
	if (!store->file)
		buf_add(&store->memory, s.p, s.n);
	store->size += s.n;
	return 0;
}

int64_t sendmail_store_read(const struct sendmail_store *store, uint64_t offset, char *to,
    size_t n, struct why *why)
{
	ssize_t got;
	if (offset >= store->size)
		return 0;
	if (n > store->size - offset)
		n = (size_t)(store->size - offset);
	if (!store->file) {
		memcpy(to, store->memory.data + offset, n);
		return (int64_t)n;
	}
	do
		got = pread(store->file, to, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return why_errno(why, WHY_LOCAL, errno, "temporary file");
	if (got == 0)
		return why_set(why, WHY_LOCAL, "the temporary file lost its end");
	return got;
}

void sendmail_store_free(struct sendmail_store *store)
{
	if (store->file)
		close(store->file);
	buf_free(&store->memory);
	*store = (struct sendmail_store){0};
}
