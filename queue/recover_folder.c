/* SPDX-License-Identifier: MIT
 * Start-up, first half: the names in the spool's folder, the heads of segments
 * and where each ends. Segments that were made ready and never written to go
 * back into stock.
 */
#include "queue/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_io.h"
#include "relayd/base/mem.h"

/* No number that was counted to is that high: a name with one is somebody else's, and
 * to go on from there would soon begin anew at 1. */
#define NUMBER_MAX (1u << 31)

/* ---- the folder ---- */

static bool is_known_name(const char *name)
{
	static const char *const names[] = {"lock", "version", "version.new", "big", "damaged",
		"drop", "reputation", "reputation.new", "brake", "brake.new", "mta-sts", "tls-reports",
		"tls-reports.new"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* None of these names comes again. */
static void use_number(struct recovery *r, enum segment_form form, uint32_t number)
{
	struct stock *stock = &r->spool->writer->stock;
	uint32_t *last = form == SEGMENT_LOG ? &stock->last : &stock->last_spare;
	if (number > *last)
		*last = number;
}

static void add_log(struct recovery *r, uint32_t number)
{
	r->logs = mem_resize(r->logs, r->log_count + 1, sizeof(*r->logs));
	r->logs[r->log_count++] = (struct log){.number = number};
}

static void take_spare(struct spool *spool, const char *name, uint32_t number,
    const struct stat *st)
{
	struct stock *stock = &spool->writer->stock;
	bool whole = (uint64_t)st->st_size == stock->size &&
	    (uint64_t)st->st_blocks * 512 >= stock->size; /* not a sparse copy */
	if (whole && number <= NUMBER_MAX && stock->count < stock->wanted)
		stock_add_spare(stock, number);
	else
		spool_io.unlinkat(spool->dir, name, 0);
}

void recover_foreign(struct recovery *r, const char *name, const char *where)
{
	struct buf shown = {0};
	text_escape(&shown, span_text(name), 40);
	damage_list_add(&r->damage, DAMAGE_FOREIGN, 0, buf_text(&shown),
	    "%s does not belong into %s; it is left alone", buf_text(&shown), where);
	buf_free(&shown);
}

static void take_name(struct recovery *r, const char *name)
{
	struct stat st;
	uint32_t number;
	enum segment_form form;
	if (is_known_name(name))
		return;
	bool parsed = segment_parse_name(name, &number, &form);
	/* whatever stands there; a log with a higher number counts by its head */
	if (parsed && number <= NUMBER_MAX)
		use_number(r, form, number);
	if (fstatat(r->spool->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode) || !parsed)
		recover_foreign(r, name, "the spool");
	else if (form == SEGMENT_LOG)
		add_log(r, number);
	else if (form == SEGMENT_SPARE)
		take_spare(r->spool, name, number, &st);
	else
		spool_io.unlinkat(r->spool->dir, name, 0); /* was never finished */
}

int recover_names(int dir, void (*take)(struct recovery *r, const char *name),
    struct recovery *r)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		return why_errno(r->why, WHY_LOCAL, error, "spool folder %s",
		    r->spool->conf.path);
	}
	struct dirent *entry;
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			take(r, entry->d_name);
	closedir(d);
	return 0;
}

/* Names under damaged/ hold sequence numbers, which must not come again. */
static void take_damaged_name(struct recovery *r, const char *name)
{
	char start[32];
	uint32_t number;
	enum segment_form form;
	snprintf(start, sizeof(start), "%.16s.log", name);
	if (segment_parse_name(start, &number, &form) && number <= NUMBER_MAX)
		use_number(r, form, number);
}

static int compare_logs(const void *a, const void *b)
{
	uint32_t x = ((const struct log *)a)->number;
	uint32_t y = ((const struct log *)b)->number;
	return (x > y) - (x < y);
}

static int list_folder(struct recovery *r)
{
	if (recover_names(r->spool->dir, take_name, r) != 0 ||
	    recover_names(r->spool->damaged_dir, take_damaged_name, r) != 0)
		return -1;
	if (r->log_count)
		qsort(r->logs, r->log_count, sizeof(*r->logs), compare_logs);
	return 0;
}

/* ---- heads and ends ---- */

static void forget_log(struct recovery *r, struct log *log)
{
	struct segment *segment = segment_find(r->spool, log->number);
	if (segment)
		segment_forget(r->spool, segment);
	log->number = 0;
}

void recover_keep(struct recovery *r, const struct damage_piece *piece, int error)
{
	segment_add(r->spool, piece->number)->kept = true;
	r->kept = true;
	damage_keep(piece, error, &r->damage);
}

/* LOG stays in the spool, and nothing is done with it in this life. */
static void leave_whole(struct recovery *r, struct log *log, const char *what, int error)
{
	char name[SEGMENT_NAME];
	damage_list_add(&r->damage, DAMAGE_KEPT, 0, segment_name(name, log->number, SEGMENT_LOG),
	    "the whole segment: %s: %s. It is kept as it is, and what stands there is not in the "
	    "queue: look at the disk and whether it has room, then restart relayd",
	    what, strerror(error));
	r->kept = true;
	forget_log(r, log);
}

/* Nothing in it can be told from old bytes: all of it goes aside. */
static void move_whole(struct recovery *r, struct log *log, const char *what)
{
	char name[SEGMENT_NAME];
	segment_name(name, log->number, SEGMENT_LOG);
	if (log->number > NUMBER_MAX) {
		recover_foreign(r, name, "the spool");
		forget_log(r, log);
		return;
	}
	if (spool_io.renameat(r->spool->dir, name, r->spool->damaged_dir, name) != 0) {
		leave_whole(r, log, "it can not be read, nor moved to damaged/", errno);
		return;
	}
	damage_list_add(&r->damage, DAMAGE_SAVED, 0, name,
	    "spool segment %s has no %s that can be read; all of it was moved to damaged/", name,
	    what);
	forget_log(r, log);
	r->damaged = true;
}

/* The generation of LOG is known: the head tells nothing more. */
static void check_head(struct recovery *r, const struct log *log, const struct walk_source *source)
{
	struct record head;
	struct damage_piece piece = {.source = source,
	    .number = log->number,
	    .to = RECORD_START,
	    .what = "the head of the segment"};
	bool good = walk_read_segment(source, &head);
	if (good ? head.id == log->number : errno != 0)
		return;
	if (damage_set_aside(r->spool->damaged_dir, &piece, &r->damage) != 0)
		recover_keep(r, &piece, errno);
}

static int open_log(struct recovery *r, struct log *log)
{
	char name[SEGMENT_NAME];
	struct stat st;
	struct segment *segment = segment_add(r->spool, log->number);
	int fd = spool_io_open(r->spool->dir, segment_name(name, log->number, SEGMENT_LOG),
	    O_RDONLY);
	if (fd < 0)
		return why_errno(r->why, WHY_LOCAL, errno, "spool segment %s", name);
	struct walk_source source = {spool_io_read_source, &fd, 0};
	if (fstat(fd, &st) == 0)
		source.size = (uint64_t)st.st_size;
	bool told = walk_generation(&source, log->number, &log->generation);
	int error = told ? 0 : errno;
	if (told)
		check_head(r, log, &source);
	close(fd);
	if (told) {
		segment->generation = log->generation;
		use_number(r, SEGMENT_LOG, log->number);
	} else if (error) {
		leave_whole(r, log, "its head can not be read now", error);
	} else {
		move_whole(r, log, "head of its own");
	}
	return 0;
}

int recover_walk(struct recovery *r, struct log *log, struct walk *walk)
{
	struct segment *segment = segment_add(r->spool, log->number);
	if (segment_open(r->spool, segment, r->why) != 0)
		return -1;
	if (!segment->size) {
		struct stat st;
		if (fstat(segment->fd, &st) == 0)
			segment->size = (uint64_t)st.st_size;
	}
	struct walk_source source = segment_source(segment);
	walk_init(walk, &source, log->generation, RECORD_START, log->end);
	return 0;
}

static struct log *find_log(struct recovery *r, uint32_t number)
{
	struct log key = {.number = number};
	return r->log_count && number ? bsearch(&key, r->logs, r->log_count, sizeof(*r->logs),
	    compare_logs) : NULL;
}

/* One that is left whole is not read in this life: where it ends is told on, for the segment
 * that tells it may go. (Or it has gone itself; that does no harm.) */
static void pass_on_end(struct recovery *r, struct spool_place end)
{
	struct writer *w = r->spool->writer;
	if (r->kept && writer_end_of(w, end.segment) == 0)
		writer_add_end(w, end.segment, end.offset);
}

/* The first record of LOG says where earlier ones end. */
static int read_ends(struct recovery *r, struct log *log)
{
	struct walk walk;
	if (recover_walk(r, log, &walk) != 0)
		return -1;
	if (walk_record_at(&walk, RECORD_START) && walk.record.type == RECORD_CLOSED) {
		for (size_t i = 0; i < record_closed_count(walk.meta); i++) {
			struct spool_place end = record_closed_get(walk.meta, i);
			struct log *other = find_log(r, end.segment);
			if (end.offset < RECORD_START)
				continue;
			if (other)
				other->end = end.offset;
			else
				pass_on_end(r, end);
		}
	}
	walk_clear(&walk);
	return 0;
}

/* Where does the last batch of LOG begin? */
static int find_batch(struct recovery *r, struct log *log)
{
	struct walk walk;
	if (recover_walk(r, log, &walk) != 0)
		return -1;
	enum walk_step step;
	while ((step = walk_next(&walk)) != WALK_END) {
		if (step != WALK_RECORD) {
			log->error = walk.error ? walk.error : log->error;
			continue;
		}
		log->records = true;
		if (walk.record.batch > log->batch)
			log->batch = walk.record.batch;
	}
	log->error = walk.error ? walk.error : log->error;
	walk_clear(&walk);
	return 0;
}

/* Was LOG, which has no records, never written to? Then it is in one piece, and where
 * the first one would stand are zeros. (Or the head of one: that was torn, or is from
 * when it was another segment, which older programs left and a power cut leaves.) */
static bool is_unused(struct recovery *r, const struct log *log)
{
	static const unsigned char zeros[RECORD_HEAD];
	unsigned char bytes[RECORD_HEAD];
	struct record old;
	struct segment *segment = segment_find(r->spool, log->number);
	return segment && segment->size % RECORD_START == 0 &&
	    spool_io_read(segment->fd, bytes, sizeof(bytes), RECORD_START) == sizeof(bytes) &&
	    (memcmp(bytes, zeros, sizeof(bytes)) == 0 ||
		(record_read_head(&old, bytes) && old.type == RECORD_CLOSED));
}

/* It was made ready and never written to. Its name is on disk before it gets another
 * head: that would not fit the old one. */
static void make_spare(struct recovery *r, struct log *log)
{
	char from[SEGMENT_NAME];
	char to[SEGMENT_NAME];
	struct stat st;
	struct stock *stock = &r->spool->writer->stock;
	segment_name(from, log->number, SEGMENT_LOG);
	segment_name(to, stock->last_spare + 1, SEGMENT_SPARE);
	forget_log(r, log);
	if (spool_io.renameat(r->spool->dir, from, r->spool->dir, to) == 0 &&
	    spool_io.fsync(r->spool->dir) == 0 &&
	    fstatat(r->spool->dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		take_spare(r->spool, to, stock->last_spare + 1, &st);
}

static void drop_forgotten(struct recovery *r)
{
	size_t kept = 0;
	for (size_t i = 0; i < r->log_count; i++)
		if (r->logs[i].number)
			r->logs[kept++] = r->logs[i];
	r->log_count = kept;
}

int recover_folder(struct recovery *r)
{
	if (list_folder(r) != 0)
		return -1;
	for (size_t i = 0; i < r->log_count; i++)
		if (open_log(r, &r->logs[i]) != 0)
			return -1;
	drop_forgotten(r);
	for (size_t i = 0; i < r->log_count; i++)
		if (read_ends(r, &r->logs[i]) != 0)
			return -1;
	for (size_t i = 0; i < r->log_count; i++) {
		struct log *log = &r->logs[i];
		if (log->end)
			continue;
		if (find_batch(r, log) != 0)
			return -1;
		if (log->records || log->error)
			continue;
		if (is_unused(r, log))
			make_spare(r, log);
		else
			move_whole(r, log, "record");
	}
	drop_forgotten(r);
	return 0;
}

