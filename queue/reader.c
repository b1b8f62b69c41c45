/* SPDX-License-Identifier: MIT
 * Reading messages back, in the loop. The checksum of the content grows with
 * what is read; the last piece is handed out only if all of it was right, so a
 * receiver never gets the end of a damaged message.
 *
 * A reader pins its segment: it is not used anew while somebody reads there.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "queue/crc32c.h"
#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define PIECE 65536u

struct spool_reader {
	struct spool *spool;
	struct segment *segment;
	uint64_t id;
	struct spool_place place;
	struct record record;
	uint64_t content_at; /* in the segment */
	int big_fd;
	uint64_t checked; /* so many bytes are in crc */
	uint32_t crc;     /* of the part that `checked` is in */
	bool damaged;
};

/* ---- damage ---- */

static void damage_done(struct job *job)
{
	struct damage_task *task = (struct damage_task *)job;
	struct spool *spool = task->task.spool;
	spool_task_over(&task->task);
	spool_report(spool, &task->damage);
	if (task->failed)
		return; /* all stays as it is, for the next start to find */
	if (task->end.type)
		spool_note(spool, &task->end);
	struct segment *segment = segment_find(spool, task->place.segment);
	if (segment)
		segment_unpin(spool, segment);
	DL_DELETE(spool->damage_tasks, task);
	mem_free(task);
}

bool spool_end_waits(struct spool *spool, const struct record_note *end)
{
	struct damage_task *task;
	DL_SEARCH_SCALAR(spool->damage_tasks, task, id, end->id);
	if (task)
		task->end = *end;
	return task;
}

void spool_free_damage(struct spool *spool)
{
	struct damage_task *task;
	struct damage_task *next;
	DL_FOREACH_SAFE (spool->damage_tasks, task, next) {
		damage_list_free(&task->damage);
		mem_free(task);
	}
}

void spool_set_aside(
    struct spool *spool, struct segment *segment, uint64_t id, struct spool_place place, bool big)
{
	if (id_set_has(spool->damaged, id) || spool->closing)
		return;
	id_set_add(&spool->damaged, id);
	id_set_remove(&spool->bigs, id); /* its END takes no file along: that is moved */
	struct damage_task *task = mem_zero(sizeof(*task));
	spool_task_init(spool, &task->task, TASK_DAMAGE, damage_done);
	task->id = id;
	task->place = place;
	task->big = big;
	segment_pin(segment);
	DL_APPEND(spool->damage_tasks, task);
	spool_task_add(&task->task);
}

/* ---- finding a record ---- */

/* Fill WALK (the caller clears it) with the record at PLACE. */
static struct segment *locate(struct spool *spool, uint64_t id, struct spool_place place,
    struct walk *walk, struct why *why)
{
	*walk = (struct walk){0};
	struct segment *segment = segment_find(spool, place.segment);
	if (!segment) {
		why_set(why, WHY_PERM, "message %016llx: its spool segment %016x is gone",
		    (unsigned long long)id, place.segment);
		return NULL;
	}
	if (segment_open(spool, segment, why) != 0)
		return NULL;
	struct walk_source source = segment_source(segment);
	walk_init(walk, &source, segment->generation, place.offset, 0);
	if (walk_record_at(walk, place.offset) && walk->record.id == id &&
	    walk->record.type == RECORD_MESSAGE)
		return segment;
	if (walk->error) {
		why_errno(why, WHY_TEMP, walk->error, "message %016llx can not be read",
		    (unsigned long long)id);
		return NULL;
	}
	spool_set_aside(spool, segment, id, place, id_set_has(spool->bigs, id));
	why_set(why, WHY_PERM, "message %016llx: its record in spool segment %016x is damaged "
	    "and was set aside under damaged/", (unsigned long long)id, place.segment);
	return NULL;
}

int spool_read_envelope(struct spool *spool, uint64_t id, struct spool_place place,
    struct envelope *envelope, struct why *why)
{
	struct walk walk;
	struct record_message m;
	*envelope = (struct envelope){0};
	struct segment *segment = locate(spool, id, place, &walk, why);
	int result = segment ? 0 : -1;
	if (segment && (!record_read_message(&m, walk.meta) ||
		envelope_read(envelope, m.envelope, why) != 0)) {
		spool_set_aside(spool, segment, id, place, walk.record.flags & RECORD_BIG);
		result = why_set(why, WHY_PERM, "message %016llx: its envelope is damaged and "
		    "was set aside under damaged/", (unsigned long long)id);
	}
	walk_clear(&walk);
	return result;
}

/* ---- content ---- */

static int open_big(struct spool_reader *r, struct why *why)
{
	char name[BIG_NAME];
	struct stat st;
	if (!(r->record.flags & RECORD_BIG))
		return 0;
	r->big_fd = spool_io_open(r->spool->big_dir, big_name(name, r->id), O_RDONLY);
	if (r->big_fd < 0 && errno != ENOENT)
		return why_errno(why, WHY_TEMP, errno, "spool file big/%s", name);
	if (r->big_fd >= 0 && fstat(r->big_fd, &st) == 0 &&
	    (uint64_t)st.st_size == r->record.size - r->record.here)
		return 0;
	r->damaged = true;
	spool_set_aside(r->spool, r->segment, r->id, r->place, true);
	return why_set(why, WHY_PERM, "spool file big/%s is missing or has another size", name);
}

struct spool_reader *spool_reader_open(struct spool *spool, uint64_t id,
    struct spool_place place, struct why *why)
{
	struct walk walk;
	struct segment *segment = locate(spool, id, place, &walk, why);
	if (!segment) {
		walk_clear(&walk);
		return NULL;
	}
	struct spool_reader *r = mem_zero(sizeof(*r));
	r->spool = spool;
	r->segment = segment;
	r->id = id;
	r->place = place;
	r->record = walk.record;
	r->content_at = place.offset + RECORD_HEAD + walk.record.meta_size;
	r->big_fd = -1;
	walk_clear(&walk);
	segment_pin(segment);
	if (open_big(r, why) == 0)
		return r;
	spool_reader_close(r);
	return NULL;
}

uint64_t spool_reader_size(const struct spool_reader *r)
{
	return r->record.size;
}

/* Read from the part that OFFSET is in, at most to its end. */
static ssize_t read_part(struct spool_reader *r, uint64_t offset, char *to, size_t n)
{
	uint64_t here = r->record.here;
	uint64_t end = offset < here ? here : r->record.size;
	if (n > end - offset)
		n = (size_t)(end - offset);
	ssize_t got;
	if (offset < here) {
		if (segment_open(r->spool, r->segment, NULL) != 0)
			return -1;
		got = spool_io_read(r->segment->fd, to, n, r->content_at + offset);
	} else {
		got = spool_io_read(r->big_fd, to, n, offset - here);
	}
	if (got >= 0 && (size_t)got < n)
		r->damaged = true; /* the file was cut */
	return got >= 0 && (size_t)got < n ? -1 : got;
}

/* Take a piece that was read into account. False: a part ended wrong. */
static bool check(struct spool_reader *r, uint64_t offset, const char *p, size_t n)
{
	if (offset == 0) {
		r->checked = 0;
		r->crc = 0;
	}
	if (offset != r->checked)
		return true; /* check_rest sees to it */
	if (offset == r->record.here)
		r->crc = 0;
	r->crc = crc32c(r->crc, p, n);
	r->checked += n;
	if (r->checked == r->record.here)
		return r->crc == r->record.content_crc;
	return r->checked < r->record.size || r->crc == r->record.big_crc;
}

/* The end was reached out of order: read what is not in the checksum yet. */
static bool check_rest(struct spool_reader *r)
{
	char *piece = mem_alloc(PIECE);
	bool good = true;
	while (good && r->checked < r->record.size) {
		uint64_t offset = r->checked;
		ssize_t n = read_part(r, offset, piece, PIECE);
		good = n > 0 && check(r, offset, piece, (size_t)n);
		if (n > 0 && !good)
			r->damaged = true;
	}
	mem_free(piece);
	return good;
}

static ssize_t read_some(struct spool_reader *r, uint64_t offset, char *to, size_t n)
{
	size_t have = 0;
	while (have < n && offset + have < r->record.size) {
		ssize_t got = read_part(r, offset + have, to + have, n - have);
		if (got <= 0)
			return -1;
		if (!check(r, offset + have, to + have, (size_t)got)) {
			r->damaged = true;
			return -1;
		}
		have += (size_t)got;
	}
	if (offset + have == r->record.size && r->checked < r->record.size && !check_rest(r))
		return -1;
	return (ssize_t)have;
}

ssize_t spool_reader_read(void *reader, uint64_t offset, char *to, size_t n)
{
	struct spool_reader *r = reader;
	if (r->damaged)
		return -1;
	if (offset >= r->record.size)
		return 0;
	ssize_t got = read_some(r, offset, to, n);
	if (r->damaged)
		spool_set_aside(
		    r->spool, r->segment, r->id, r->place, r->record.flags & RECORD_BIG);
	return got;
}

bool spool_reader_damaged(const struct spool_reader *r)
{
	return r->damaged;
}

void spool_reader_close(struct spool_reader *r)
{
	if (!r)
		return;
	if (r->big_fd >= 0)
		close(r->big_fd);
	segment_unpin(r->spool, r->segment);
	mem_free(r);
}
