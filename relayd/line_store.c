/* SPDX-License-Identifier: MIT */
#include "relayd/line_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"

#define VERSION 1u
#define LINE_MAX_BYTES 65536
#define PIECE 65536
#define PENDING_MAX (4 << 20)  /* while the disk takes nothing; then a new file is due */
#define GROWTH_MIN (4 << 20)   /* appended bytes before the file is written anew */
#define AGAIN_MS 10000         /* between two tries of a new file that is due */

struct line_store {
	struct loop *loop;
	struct line_store_owner owner;
	char *folder;
	char *name_new;     /* of the file while it is written */
	int dir;
	int fd;             /* for appending */
	struct buf pending; /* lines of this turn, and those that could not be written */
	bool flushing;      /* at the end of the turn */
	bool lost;          /* lines were dropped: only a new file is whole, AGAIN tries it */
	struct timer again;
	bool failing;       /* said so in the log */
	size_t written;     /* of the new file */
	size_t appended;    /* since then */
};

/* ---- reading ---- */

/* "relayd reputation 1"; files from before there were versions have no such line.
 * False: it is no such line. */
static bool parse_version(const struct line_store *store, struct span line, uint64_t *version)
{
	struct buf head = {0};
	buf_addf(&head, "relayd %s ", store->owner.name);
	size_t n = head.len;
	bool fits = line.n > n && memcmp(line.p, head.data, n) == 0;
	buf_free(&head);
	return fits && span_number((struct span){line.p + n, line.n - n}, UINT32_MAX, version);
}

/* Take the first line from TEXT if it is a version. -1: a newer one, whose lines we
 * would spoil. */
static int take_version(const struct line_store *store, struct buf *text, struct why *why)
{
	uint64_t version = 0;
	const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
	size_t n = end ? (size_t)(end - text->data) : 0;
	if (!n || !parse_version(store, (struct span){text->data, n}, &version))
		return 0;
	buf_drop(text, n + 1);
	if (version <= VERSION)
		return 0;
	return why_set(why, WHY_LOCAL,
	    "%s/%s has version %llu, this program knows versions up to %u: start the newer "
	    "program", store->folder, store->owner.name, (unsigned long long)version, VERSION);
}

/* A line without its end was cut by a crash: what it says is unknown. */
static size_t replay_lines(struct line_store *store, struct buf *text)
{
	size_t skipped = 0;
	size_t at = 0;
	while (at < text->len) {
		const char *line = text->data + at;
		const char *end = memchr(line, '\n', text->len - at);
		if (!end)
			break;
		size_t n = (size_t)(end - line);
		skipped += n && !store->owner.replay(store->owner.arg, (struct span){line, n});
		at += n + 1;
	}
	buf_drop(text, at);
	if (text->len > LINE_MAX_BYTES) {
		skipped++;
		buf_clear(text);
	}
	return skipped;
}

static int replay(struct line_store *store, size_t *skipped, struct why *why)
{
	struct buf text = {0};
	ssize_t n;
	int fd = openat(store->dir, store->owner.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT
		    ? 0
		    : why_errno(why, WHY_LOCAL, errno, "%s/%s", store->folder,
			store->owner.name);
	for (bool first = true; (n = read(fd, buf_room(&text, PIECE), PIECE)) > 0; first = false) {
		text.len += (size_t)n;
		if (first && take_version(store, &text, why) < 0) {
			buf_free(&text);
			close(fd);
			return -1;
		}
		*skipped += replay_lines(store, &text);
	}
	int error = errno;
	*skipped += text.len > 0;
	buf_free(&text);
	close(fd);
	return n < 0 ? why_errno(why, WHY_LOCAL, error, "%s/%s", store->folder,
			store->owner.name) : 0;
}

/* ---- writing ---- */

static int write_all(int fd, struct span s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		s.p += n;
		s.n -= (size_t)n;
	}
	return 0;
}

static void add_line(void *arg, const char *line)
{
	struct buf *text = arg;
	buf_add_text(text, line);
	buf_add_byte(text, '\n');
}

/* What was begun would take room on a disk that has none. */
static int give_up(struct line_store *store, int fd, int error, struct why *why)
{
	close(fd);
	unlinkat(store->dir, store->name_new, 0);
	return why_errno(why, WHY_LOCAL, error, "%s/%s", store->folder, store->name_new);
}

static void take_over(struct line_store *store, int fd, size_t written)
{
	if (store->fd >= 0)
		close(store->fd);
	store->fd = fd;
	store->written = written;
	store->appended = 0;
	store->lost = false;
	buf_clear(&store->pending);
}

/* The whole state as a new file; the old one stays where that fails. */
static int write_anew(struct line_store *store, struct why *why)
{
	struct buf text = {0};
	int fd = openat(store->dir, store->name_new,
	    O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s/%s", store->folder,
		    store->name_new);
	buf_addf(&text, "relayd %s %u\n", store->owner.name, VERSION);
	store->owner.dump(store->owner.arg, add_line, &text);
	size_t written = text.len;
	int error = 0;
	if (write_all(fd, span_buf(&text)) < 0 || fsync(fd) < 0 ||
	    renameat(store->dir, store->name_new, store->dir, store->owner.name) < 0)
		error = errno;
	buf_free(&text);
	if (error)
		return give_up(store, fd, error, why);
	take_over(store, fd, written);
	if (fsync(store->dir) == 0)
		return 0;
	return why_errno(why, WHY_LOCAL, errno, "%s", store->folder);
}

static void complain(struct line_store *store, const char *text)
{
	if (!store->failing)
		log_text(LOG_LEVEL_ERROR,
		    "%s can not be written down, and would be lost by a restart: %s",
		    store->owner.what, text);
	store->failing = true;
}

/* False: said so in the log. */
static bool renew(struct line_store *store)
{
	struct why why = {0};
	bool fine = write_anew(store, &why) == 0;
	if (fine)
		store->failing = false;
	else
		complain(store, why.text);
	return fine;
}

static void try_again(void *arg)
{
	struct line_store *store = arg;
	if (!renew(store) && store->lost)
		timer_start(&store->again, AGAIN_MS);
}

/* The new file is due, and has all that would be added until then. */
static void put_off(struct line_store *store)
{
	store->lost = true;
	buf_free(&store->pending);
	timer_start(&store->again, AGAIN_MS);
}

static void append(struct line_store *store)
{
	ssize_t n = write(store->fd, store->pending.data, store->pending.len);
	if (n > 0) {
		buf_drop(&store->pending, (size_t)n);
		store->appended += (size_t)n;
	}
	if (store->pending.len == 0) {
		store->failing = false;
		return;
	}
	/* the rest goes with the next turn's lines */
	complain(store, n < 0 ? strerror(errno) : "the disk took only a part of it");
	if (store->pending.len > PENDING_MAX)
		put_off(store);
}

static void flush(void *arg)
{
	struct line_store *store = arg;
	store->flushing = false;
	bool grown = store->appended > GROWTH_MIN && store->appended > 2 * store->written;
	if (grown && renew(store))
		return;
	if (grown)
		store->appended = 0; /* not again at once */
	append(store);
}

/* ---- life ---- */

struct line_store *line_store_new(struct loop *loop, const char *folder,
    const struct line_store_owner *owner)
{
	struct line_store *store = mem_zero(sizeof(*store));
	struct buf name = {0};
	buf_addf(&name, "%s.new", owner->name);
	store->loop = loop;
	store->owner = *owner;
	store->folder = mem_text(folder);
	store->name_new = buf_take(&name, NULL);
	store->dir = -1;
	store->fd = -1;
	timer_init(&store->again, loop, try_again, store);
	return store;
}

/* Go on behind what stands in the file. Its last line may have been cut. */
static bool use_old(struct line_store *store)
{
	store->fd = openat(store->dir, store->owner.name,
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->fd < 0)
		return false;
	buf_add_byte(&store->pending, '\n');
	return true;
}

int line_store_load(struct line_store *store, size_t *skipped, struct why *why)
{
	*skipped = 0;
	store->dir = open(store->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (store->dir < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s", store->folder);
	if (replay(store, skipped, why) < 0)
		return -1;
	if (!renew(store) && store->fd < 0 && !use_old(store))
		put_off(store);
	return 0;
}

void line_store_add(struct line_store *store, const char *line)
{
	if (store->fd < 0 || store->lost) /* what is written anew has it */
		return;
	add_line(&store->pending, line);
	if (store->flushing)
		return;
	store->flushing = true;
	loop_defer(store->loop, flush, store);
}

/* The loop has ended: what was deferred does not run any more. */
void line_store_free(struct line_store *store)
{
	if (!store)
		return;
	if (store->lost)
		renew(store);
	else if (store->pending.len)
		append(store);
	timer_stop(&store->again);
	if (store->fd >= 0)
		close(store->fd);
	if (store->dir >= 0)
		close(store->dir);
	buf_free(&store->pending);
	mem_free(store->name_new);
	mem_free(store->folder);
	mem_free(store);
}
