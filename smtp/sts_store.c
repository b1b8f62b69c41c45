/* SPDX-License-Identifier: MIT
 * A file is one line of ours, "relayd-sts 1 ID FETCHED", and the policy as it was
 * published. It is written under another name and renamed. There is no fsync: it
 * would hold up the loop for something that can be fetched again.
 */
#include "smtp/sts_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"

#define FIRST_LINE_MAX 100
#define NAME_ROOM 300
#define SWEEP_MS (60 * 60 * 1000) /* not sooner again: it reads every file, in the loop */

struct sts_store {
	char *folder;
	int dir;
	size_t count; /* files, about */
	int64_t swept_ms;
};

/* Names of files are names of hosts: never "..", a slash, or hidden. */
static bool is_name(const char *domain)
{
	size_t n = strlen(domain);
	return n > 0 && n < 254 && domain[0] != '.' &&
	       strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

static size_t count_files(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	size_t n = 0;
	if (!d)
		return 0;
	while ((entry = readdir(d)))
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

struct sts_store *sts_store_new(const char *folder, struct why *why)
{
	if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
		why_errno(why, WHY_LOCAL, errno, "%s", folder);
		return NULL;
	}
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0) {
		why_errno(why, WHY_LOCAL, errno, "%s", folder);
		return NULL;
	}
	struct sts_store *store = mem_zero(sizeof(*store));
	store->folder = mem_text(folder);
	store->dir = dir;
	store->count = count_files(dir);
	return store;
}

void sts_store_free(struct sts_store *store)
{
	if (!store)
		return;
	close(store->dir);
	mem_free(store->folder);
	mem_free(store);
}

static int read_file(int dir, const char *name, struct buf *text)
{
	size_t max = STS_POLICY_MAX + FIRST_LINE_MAX;
	ssize_t n = 1;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	while (n > 0 && text->len < max) {
		n = read(fd, buf_room(text, max - text->len), max - text->len);
		if (n > 0)
			text->len += (size_t)n;
	}
	close(fd);
	return n < 0 ? -1 : 0;
}

static struct sts_policy *read_policy(struct span text, char id[STS_ID_ROOM], int64_t *fetched_ms)
{
	char line[FIRST_LINE_MAX];
	int used = 0;
	const char *end = memchr(text.p, '\n', text.n < sizeof(line) ? text.n : sizeof(line));
	if (!end)
		return NULL;
	snprintf(line, sizeof(line), "%.*s", (int)(end - text.p), text.p);
	if (sscanf(line, "relayd-sts 1 %32s %" SCNd64 "%n", id, fetched_ms, &used) != 2 ||
	    line[used] != '\0')
		return NULL;
	size_t skip = (size_t)(end + 1 - text.p);
	return sts_policy_parse((struct span){text.p + skip, text.n - skip}, NULL);
}

struct sts_policy *sts_store_load(struct sts_store *store, const char *domain, int64_t now_ms,
    char id[STS_ID_ROOM], int64_t *fetched_ms)
{
	struct buf text = {0};
	struct sts_policy *policy = NULL;
	if (is_name(domain) && read_file(store->dir, domain, &text) == 0 && text.len)
		policy = read_policy(span_buf(&text), id, fetched_ms);
	buf_free(&text);
	/* one from the future: the clock was wrong then, or is now; ask anew */
	if (policy && (*fetched_ms > now_ms || now_ms - *fetched_ms >= policy->max_age * 1000)) {
		sts_policy_unref(policy);
		return NULL;
	}
	return policy;
}

/* Remove what has run out, or can not be read. */
static void sweep(struct sts_store *store, int64_t now_ms)
{
	int64_t ago = now_ms - store->swept_ms;
	if (ago >= 0 && ago < SWEEP_MS)
		return;
	store->swept_ms = now_ms;
	int fd = openat(store->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	while (d && (entry = readdir(d))) {
		char id[STS_ID_ROOM];
		int64_t fetched;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		struct sts_policy *policy =
		    sts_store_load(store, entry->d_name, now_ms, id, &fetched);
		if (!policy)
			unlinkat(store->dir, entry->d_name, 0);
		sts_policy_unref(policy);
	}
	if (d)
		closedir(d);
	store->count = count_files(store->dir);
}

static int write_file(int dir, const char *name, struct span text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text.p, text.n);
	int error = n < 0 ? errno : ENOSPC;
	close(fd);
	errno = error;
	return n == (ssize_t)text.n ? 0 : -1;
}

int sts_store_save(struct sts_store *store, const char *domain, const struct sts_policy *policy,
    const char *id, int64_t fetched_ms, struct why *why)
{
	static const char name_new[] = ".new"; /* hidden, so no domain's */
	struct buf text = {0};
	if (!is_name(domain))
		return why_set(why, WHY_PERM, "no file can have the name of this domain");
	bool known = faccessat(store->dir, domain, F_OK, 0) == 0;
	if (!known && store->count >= STS_FILES_MAX)
		sweep(store, fetched_ms);
	if (!known && store->count >= STS_FILES_MAX)
		return why_set(why, WHY_LOCAL, "%s: there are %d policies already", store->folder,
		    STS_FILES_MAX);
	buf_addf(&text, "relayd-sts 1 %s %" PRId64 "\n", id, fetched_ms);
	buf_add(&text, policy->text, policy->text_len);
	int result = write_file(store->dir, name_new, span_buf(&text));
	if (result < 0 || renameat(store->dir, name_new, store->dir, domain) < 0)
		result = why_errno(why, WHY_LOCAL, errno, "%s/%s", store->folder, domain);
	else
		store->count += !known;
	buf_free(&text);
	return result;
}
