/* SPDX-License-Identifier: MIT
 * Segments as the loop knows them: how much lives in each, and descriptors for
 * reading, of which only so many are open at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define OPEN_MAX_FDS 32

struct segment *segment_find(struct spool *spool, uint32_t number)
{
	struct segment *segment;
	HASH_FIND(hh, spool->segments, &number, sizeof(number), segment);
	return segment;
}

struct segment *segment_add(struct spool *spool, uint32_t number)
{
	struct segment *segment = segment_find(spool, number);
	if (segment)
		return segment;
	segment = mem_zero(sizeof(*segment));
	segment->number = number;
	segment->fd = -1;
	HASH_ADD(hh, spool->segments, number, sizeof(segment->number), segment);
	return segment;
}

void segment_close_fd(struct spool *spool, struct segment *segment)
{
	if (segment->fd < 0)
		return;
	close(segment->fd);
	segment->fd = -1;
	spool->open_fds--;
}

void segment_forget(struct spool *spool, struct segment *segment)
{
	segment_close_fd(spool, segment);
	id_set_free(&segment->shadows);
	HASH_DEL(spool->segments, segment);
	mem_free(segment);
}

static void close_oldest(struct spool *spool)
{
	struct segment *oldest = NULL;
	for (struct segment *s = spool->segments; s; s = s->hh.next)
		if (s->fd >= 0 && (!oldest || s->used < oldest->used))
			oldest = s;
	if (oldest)
		segment_close_fd(spool, oldest);
}

struct walk_source segment_source(struct segment *segment)
{
	return (struct walk_source){spool_io_read_source, &segment->fd, segment->size};
}

static int read_head(struct segment *segment)
{
	struct stat st;
	if (fstat(segment->fd, &st) != 0)
		return -1;
	segment->size = (uint64_t)st.st_size;
	struct walk_source source = segment_source(segment);
	if (walk_generation(&source, segment->number, &segment->generation))
		return 0;
	errno = errno ? errno : EIO;
	return -1;
}

int segment_open(struct spool *spool, struct segment *segment, struct why *why)
{
	char name[SEGMENT_NAME];
	segment->used = ++spool->use;
	if (segment->fd >= 0)
		return 0;
	if (spool->open_fds >= OPEN_MAX_FDS)
		close_oldest(spool);
	segment_name(name, segment->number, SEGMENT_LOG);
	segment->fd = spool_io_open(spool->dir, name, O_RDONLY);
	if (segment->fd < 0)
		return why_errno(why, errno == ENOENT ? WHY_PERM : WHY_TEMP, errno,
		    "spool segment %s can not be opened", name);
	spool->open_fds++;
	if (segment->generation || read_head(segment) == 0)
		return 0;
	int error = errno;
	segment_close_fd(spool, segment);
	return why_errno(why, WHY_TEMP, error, "spool segment %s has no head that can be read",
	    name);
}

void segment_message_added(struct spool *spool, struct spool_place place, uint64_t length)
{
	struct segment *segment = segment_add(spool, place.segment);
	segment->live++;
	segment->messages++;
	segment->bytes += length;
	spool->stats.live_messages++;
}

void segment_message_gone(struct spool *spool, struct spool_place place)
{
	struct segment *segment = segment_find(spool, place.segment);
	if (!segment || segment->live == 0)
		return;
	segment->live--;
	spool->stats.live_messages--;
	carry_want(spool, segment);
}

void segment_pin(struct segment *segment)
{
	segment->pins++;
}

void segment_unpin(struct spool *spool, struct segment *segment)
{
	segment->pins--;
	carry_want(spool, segment);
}

void segment_free_all(struct spool *spool)
{
	struct segment *segment;
	struct segment *next;
	HASH_ITER(hh, spool->segments, segment, next)
		segment_forget(spool, segment);
}

/* ---- sets of ids ---- */

static struct big_id *find(struct big_id *set, uint64_t id)
{
	struct big_id *found;
	HASH_FIND(hh, set, &id, sizeof(id), found);
	return found;
}

bool id_set_has(struct big_id *set, uint64_t id)
{
	return find(set, id) != NULL;
}

void id_set_add(struct big_id **set, uint64_t id)
{
	if (find(*set, id))
		return;
	struct big_id *entry = mem_zero(sizeof(*entry));
	entry->id = id;
	HASH_ADD(hh, *set, id, sizeof(entry->id), entry);
}

bool id_set_remove(struct big_id **set, uint64_t id)
{
	struct big_id *entry = find(*set, id);
	if (!entry)
		return false;
	HASH_DEL(*set, entry);
	mem_free(entry);
	return true;
}

void id_set_free(struct big_id **set)
{
	struct big_id *entry;
	struct big_id *next;
	HASH_ITER(hh, *set, entry, next) {
		HASH_DEL(*set, entry);
		mem_free(entry);
	}
}
