/* SPDX-License-Identifier: MIT
 * The spool thread's part of emptying a segment: look what stands in it, a few
 * hundred records at a time, and write anew what the loop asks for. Bytes that
 * can not be read are set aside before anything else happens to the segment.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/crc32c.h"
#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define LOOK_RECORDS 512 /* in one batch */

/* Open segment NUMBER and read its GENERATION. */
static int open_segment(struct writer *w, uint32_t number, uint64_t *generation, uint64_t *size)
{
	char name[SEGMENT_NAME];
	struct stat st;
	int fd = spool_io_open(w->dir, segment_name(name, number, SEGMENT_LOG), O_RDONLY);
	if (fd < 0)
		return -1;
	struct walk_source source = {spool_io_read_source, &fd, 0};
	if (fstat(fd, &st) == 0) {
		*size = source.size = (uint64_t)st.st_size;
		if (walk_generation(&source, number, generation))
			return fd;
		errno = errno ? errno : EIO;
	}
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void walk_begin(struct writer *w, struct carry *carry, struct walk *walk)
{
	struct walk_source source = {spool_io_read_source, &carry->fd, carry->size};
	walk_init(walk, &source, carry->generation, carry->at,
	    writer_end_of(w, carry->segment));
}

/* ---- copying ---- */

static void put_copy(struct writer *w, struct carry_item *item, const struct walk *walk,
    char *content)
{
	struct record_message m;
	if (!record_read_message(&m, walk->meta)) {
		mem_free(content);
		return;
	}
	struct buf done = {0};
	buf_add(&done, m.done.p, m.done.n);
	for (uint32_t i = 0; i < item->done.len * 8; i++)
		if (record_bit(span_buf(&item->done), i))
			record_set_bit(&done, i);
	m.state = item->state;
	m.done = span_buf(&done);
	const struct record *old = &walk->record;
	/* as a note: it gives back more space than it takes */
	struct writer_record r = {.status = &item->status, .place = &item->place,
		.note = true, .content[0] = {content, old->here}, .temp = content,
		.record = {.type = RECORD_MESSAGE, .flags = old->flags, .id = old->id,
		    .size = old->size, .big_crc = old->big_crc}};
	writer_meta_begin(&r.meta);
	record_write_message(&m, &r.meta);
	buf_free(&done);
	if (writer_put(w, &r) == 0)
		item->length = record_length(&r.record);
}

/* The content here of the record that WALK stands at. NULL: it is DAMAGED, or can not be
 * read now. */
static char *read_content(const struct walk *walk, bool *damaged)
{
	const struct record *r = &walk->record;
	char *content = mem_alloc((size_t)r->here + 1);
	uint64_t at = walk->from + RECORD_HEAD + r->meta_size;
	int fd = *(int *)walk->source.arg;
	ssize_t n = spool_io_read(fd, content, r->here, at);
	if (n == (ssize_t)r->here && crc32c(0, content, r->here) == r->content_crc)
		return content;
	*damaged = n >= 0;
	mem_free(content);
	return NULL;
}

/* Copy what stands at WALK. Result: false when it is damaged. */
static bool copy_record(struct writer *w, struct carry_item *item, struct walk *walk)
{
	bool damaged = false;
	if (!walk_record_at(walk, item->from.offset) || walk->record.id != item->id)
		return true; /* it was there when we looked: read error, later again */
	if (walk->to - walk->from > item->max)
		return true;
	char *content = read_content(walk, &damaged);
	if (content)
		put_copy(w, item, walk, content);
	return !damaged;
}

/* The file may well be in order, and nothing of a damaged message is deleted. */
static int move_body(struct writer *w, uint64_t id, struct damage_list *damage)
{
	char name[BIG_NAME];
	return damage_move_big(w->damaged_dir, w->big_dir, big_name(name, id),
	    "the body of a damaged message", damage);
}

static void copy_item(struct writer *w, struct carry *carry, struct carry_item *item,
    struct walk *walk)
{
	if (copy_record(w, item, walk))
		return;
	bool big = walk->record.flags & RECORD_BIG;
	struct damage_piece piece =
	    damage_record(walk, carry->segment, "content with a wrong checksum");
	if (damage_set_aside(w->damaged_dir, &piece, &carry->damage) == 0)
		item->damaged = !big || move_body(w, item->id, &carry->damage) == 0;
}

/* One that stands in another segment: if that is damaged, it is not this one's turn. */
static void copy_foreign(struct writer *w, struct carry_item *item)
{
	uint64_t generation;
	uint64_t size = 0;
	int fd = open_segment(w, item->from.segment, &generation, &size);
	if (fd < 0)
		return;
	struct walk_source source = {spool_io_read_source, &fd, size};
	struct walk walk;
	walk_init(
	    &walk, &source, generation, item->from.offset, writer_end_of(w, item->from.segment));
	(void)copy_record(w, item, &walk);
	walk_clear(&walk);
	close(fd);
}

void writer_copy(struct writer *w, struct carry *carry)
{
	for (size_t i = 0; i < carry->item_count; i++)
		carry->items[i].status = SPOOL_FAILED;
	carry->error = 0;
	if (carry->fd < 0) {
		carry->fd = open_segment(w, carry->segment, &carry->generation, &carry->size);
		carry->error = carry->fd < 0 ? errno : 0;
	}
	if (carry->error || !carry->item_count)
		return;
	struct walk walk;
	walk_begin(w, carry, &walk);
	for (size_t i = 0; i < carry->item_count; i++) {
		struct carry_item *item = &carry->items[i];
		if (item->from.segment == carry->segment)
			copy_item(w, carry, item, &walk);
		else
			copy_foreign(w, item);
	}
	walk_clear(&walk);
}

/* ---- looking ---- */

static void see(struct carry *carry, const struct walk *walk)
{
	const struct record *r = &walk->record;
	struct carry_seen *seen = &carry->seen[carry->seen_count];
	*seen = (struct carry_seen){.offset = (uint32_t)walk->from,
		.length = walk->to - walk->from};
	seen->note = (struct record_note){.type = r->type, .id = r->id};
	if (r->type == RECORD_CLOSED)
		return; /* a newer one says more */
	if (r->type == RECORD_MESSAGE || record_read_note(&seen->note, r, walk->meta))
		carry->seen_count++;
}

/* It is set aside when the segment is about to go; unless it may well be in order. */
static void see_bad(struct writer *w, struct carry *carry, const struct walk *walk)
{
	struct damage_piece piece =
	    damage_piece(walk, carry->segment, "no record that can be read", 0);
	carry->error = walk->error;
	if (!carry->error && carry->step == CARRY_COPY &&
	    damage_set_aside(w->damaged_dir, &piece, &carry->damage) != 0)
		carry->error = errno;
}

void writer_look(struct writer *w, struct carry *carry)
{
	if (carry->error || carry->at_end || carry->looked < carry->seen_count)
		return;
	if (!carry->seen)
		carry->seen = mem_array(LOOK_RECORDS, sizeof(*carry->seen));
	carry->seen_count = 0;
	carry->looked = 0;
	struct walk walk;
	walk_begin(w, carry, &walk);
	while (carry->seen_count < LOOK_RECORDS && !carry->at_end && !carry->error) {
		switch (walk_next(&walk)) {
		case WALK_RECORD:
			see(carry, &walk);
			break;
		case WALK_BAD:
			see_bad(w, carry, &walk);
			break;
		case WALK_END:
			carry->error = walk.error;
			carry->at_end = true;
			break;
		}
		if (!carry->error)
			carry->at = walk.at;
	}
	walk_clear(&walk);
}

/* ---- damage met by a reader ---- */

static void damage_at(struct writer *w, struct damage_task *task,
    const struct walk_source *source, uint64_t generation)
{
	uint64_t end = writer_end_of(w, task->place.segment);
	if (task->place.segment == w->current.number)
		end = w->current.synced;
	struct walk walk;
	walk_init(&walk, source, generation, task->place.offset, end);
	enum walk_step step = walk_next(&walk);
	struct damage_piece piece = damage_piece(&walk, task->place.segment,
	    step == WALK_BAD ? "no record that can be read" : "the record of another message",
	    task->id);
	if (step == WALK_RECORD && walk.record.id == task->id)
		piece = damage_record(&walk, task->place.segment, "content with a wrong checksum");
	int error = walk.error;
	if (error)
		piece.what = NULL;
	else if (step != WALK_END && damage_set_aside(w->damaged_dir, &piece, &task->damage) != 0)
		error = errno;
	if (error)
		damage_keep(&piece, error, &task->damage);
	task->failed = error != 0;
	walk_clear(&walk);
}

void writer_damage(struct writer *w, struct damage_task *task)
{
	uint64_t generation;
	uint64_t size = 0;
	int fd = open_segment(w, task->place.segment, &generation, &size);
	task->failed = fd < 0;
	if (fd >= 0) {
		struct walk_source source = {spool_io_read_source, &fd, size};
		damage_at(w, task, &source, generation);
		close(fd);
	}
	if (task->big && move_body(w, task->id, &task->damage) != 0)
		task->failed = true;
}
