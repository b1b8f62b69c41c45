/* SPDX-License-Identifier: MIT
 * Start-up: what stands in the segments becomes the list of live messages.
 *
 * Segments are read in the order of their numbers, heads and meta parts only.
 * Where a closed segment ends is known from the first record of a later one;
 * everything up to there was synced, so what can not be read there is damage.
 * The one that was written last has no known end: its last batch may be torn,
 * so that batch is read with its content, and the first bad record that no
 * intact one follows ends the log without a word.
 *
 * One bad sector, or a disk without room for what is damaged, must not hold up all
 * other mail: what can not be read just now, or not be set aside, is said, and its
 * segment is kept as it is for the next start. What it costs is that ends and results
 * that stand there are not known: their messages may go out twice.
 *
 * Order between records of one message hardly matters: the latest MESSAGE that is
 * whole and the latest STATE count, results add up, an END is final.
 */
#include "queue/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "queue/spool_io.h"
#include "relayd/base/mem.h"

struct entry { /* all that is known of one message */
	UT_hash_handle hh;
	uint64_t id;
	uint64_t length;
	struct spool_place place; /* of the latest MESSAGE; segment 0: none */
	struct spool_place end_place;
	struct spool_state state;
	struct buf done;
	bool ended;
	bool big;
};

/* ---- records ---- */

static struct entry *entry_of(struct recovery *r, uint64_t id)
{
	struct entry *entry;
	HASH_FIND(hh, r->entries, &id, sizeof(id), entry);
	if (entry)
		return entry;
	entry = mem_zero(sizeof(*entry));
	entry->id = id;
	HASH_ADD(hh, r->entries, id, sizeof(entry->id), entry);
	return entry;
}

/* What a MESSAGE says beside its content. */
static struct entry *take_meta(struct recovery *r, const struct log *log,
    const struct walk *walk, const struct record_message *m)
{
	struct entry *entry = entry_of(r, walk->record.id);
	struct segment *segment = segment_add(r->spool, log->number);
	segment->messages++;
	segment->bytes += walk->to - walk->from;
	for (uint32_t i = 0; i < m->done.n * 8; i++)
		if (record_bit(m->done, i))
			record_set_bit(&entry->done, i);
	entry->state = m->state;
	return entry;
}

static bool take_message(struct recovery *r, const struct log *log, const struct walk *walk)
{
	struct record_message m;
	if (!record_read_message(&m, walk->meta))
		return false;
	struct entry *entry = take_meta(r, log, walk, &m);
	struct segment *old = segment_find(r->spool, entry->place.segment);
	if (entry->place.segment && old)
		id_set_add(&old->shadows, entry->id);
	entry->place = (struct spool_place){log->number, (uint32_t)walk->from};
	entry->length = walk->to - walk->from;
	entry->big = walk->record.flags & RECORD_BIG;
	return true;
}

/* False: its checksums are right, yet it makes no sense. */
static bool take_record(struct recovery *r, const struct log *log, const struct walk *walk)
{
	struct record_note note;
	if (walk->record.type == RECORD_MESSAGE)
		return take_message(r, log, walk);
	if (walk->record.type == RECORD_CLOSED)
		return true;
	if (!record_read_note(&note, &walk->record, walk->meta))
		return false;
	struct entry *entry = entry_of(r, note.id);
	if (note.type == RECORD_RESULT) {
		record_set_bit(&entry->done, note.recipient);
	} else if (note.type == RECORD_STATE) {
		entry->state = note.state;
	} else {
		entry->ended = true;
		entry->end_place = note.place;
	}
	return true;
}

/* The message has been met before: this is a copy that carry-over has made. */
static bool is_copy(const struct recovery *r, const struct walk *walk)
{
	struct entry *entry;
	HASH_FIND(hh, r->entries, &walk->record.id, sizeof(walk->record.id), entry);
	return entry && entry->place.segment;
}

/* Was its content torn? That of the last batch may be, and that of a copy of an
 * earlier last batch: the message is still where it was copied from. */
static bool is_torn(const struct recovery *r, const struct log *log, struct walk *walk)
{
	bool doubtful = (!log->end && walk->from >= log->batch) || is_copy(r, walk);
	return walk->record.type == RECORD_MESSAGE && doubtful && !walk_content_is_good(walk) &&
	       !walk->error;
}

/* Most likely nobody was promised it. But after an orderly stop the last batch was synced,
 * and a bit that has changed since can not be told from a torn write. */
static void keep_unsaid(struct recovery *r, const struct log *log, const struct walk *walk)
{
	struct damage_list unsaid = {0};
	r->torn = true;
	struct damage_piece piece = damage_record(walk, log->number, "");
	(void)!damage_set_aside(r->spool->damaged_dir, &piece, &unsaid);
	damage_list_free(&unsaid);
}

/* In the middle a torn message must not come back at the next start, which knows
 * of no last batch here. An END would take the original along with a torn copy. */
static void take_torn(struct recovery *r, const struct log *log, const struct walk *walk)
{
	struct record_note end = {.type = RECORD_END, .id = walk->record.id,
		.place = {log->number, (uint32_t)walk->from}};
	struct record_message m;
	if (!is_copy(r, walk)) {
		keep_unsaid(r, log, walk);
		spool_note(r->spool, &end);
	} else if (record_read_message(&m, walk->meta)) {
		take_meta(r, log, walk, &m);
		/* an END has to outlive it */
		id_set_add(&segment_add(r->spool, log->number)->shadows, walk->record.id);
	}
}

/* A bad region, or a record that is as good as one. What was never synced is kept all the
 * same when something intact stands behind it, but nobody has to hear of it. */
static void take_bad(struct recovery *r, const struct log *log, const struct damage_piece *piece)
{
	struct damage_list unsaid = {0};
	bool synced = log->end || piece->from < log->batch;
	size_t said = r->damage.count;
	if (damage_set_aside(r->spool->damaged_dir, piece, synced ? &r->damage : &unsaid) != 0 &&
	    synced)
		recover_keep(r, piece, errno);
	/* what an earlier start has set aside may be no damage, but what was torn then */
	bool fresh = r->damage.count > said;
	r->damaged |= fresh;
	r->torn |= !fresh;
	damage_list_free(&unsaid);
}

/* The file ends between two records, before the end of LOG: what is missing can not be
 * set aside, an empty file in its place keeps this from being said again. */
static void take_cut(struct recovery *r, const struct log *log, const struct walk *walk)
{
	char what[80];
	snprintf(what, sizeof(what), "the file ends there, records stood up to byte %llu",
	    (unsigned long long)log->end);
	struct damage_piece piece = {.source = &walk->source,
	    .number = log->number,
	    .from = walk->at,
	    .to = walk->at,
	    .what = what};
	if (damage_set_aside(r->spool->damaged_dir, &piece, &r->damage) != 0)
		recover_keep(r, &piece, errno);
}

static void keep_unread(struct recovery *r, uint32_t number, uint64_t from, uint64_t to, int error)
{
	struct damage_piece piece = {.number = number, .from = from, .to = to};
	recover_keep(r, &piece, error);
}

/* After a kill the end of the last log may be in memory only. What follows builds on
 * it: files are removed, and segments used anew whose copies stand there. */
static int sync_log(struct recovery *r, const struct log *log)
{
	struct segment *segment = segment_find(r->spool, log->number);
	if (!segment || segment_open(r->spool, segment, r->why) != 0)
		return -1;
	if (spool_io.fdatasync(segment->fd) == 0)
		return 0;
	return why_errno(r->why, WHY_LOCAL, errno, "spool segment %016x can not be synced",
	    log->number);
}

static void take_gap(struct recovery *r, const struct log *log, const struct walk *walk)
{
	struct damage_piece piece =
	    damage_piece(walk, log->number, "no record that can be read", 0);
	if (walk->error)
		keep_unread(r, log->number, walk->from, walk->to, walk->error);
	else
		take_bad(r, log, &piece);
}

/* Result: where the last one ends. What comes behind that and can not be read is left in
 * WALK. */
static uint64_t take_records(struct recovery *r, const struct log *log, struct walk *walk)
{
	uint64_t end = RECORD_START;
	enum walk_step step;
	while ((step = walk_next(walk)) != WALK_END) {
		if (step == WALK_BAD) {
			take_gap(r, log, walk);
			continue;
		}
		if (is_torn(r, log, walk)) {
			take_torn(r, log, walk);
			continue;
		}
		struct damage_piece piece =
		    damage_record(walk, log->number, "a record that makes no sense");
		if (!take_record(r, log, walk))
			take_bad(r, log, &piece);
		end = walk->to;
	}
	return end;
}

static int read_log(struct recovery *r, struct log *log)
{
	struct walk walk;
	if (!log->end && sync_log(r, log) != 0)
		return -1;
	if (recover_walk(r, log, &walk) != 0)
		return -1;
	uint64_t end = take_records(r, log, &walk);
	int error = walk.error;
	if (!error && !log->end && end == RECORD_START)
		error = log->error; /* there were records, or not */
	if (error)
		keep_unread(r, log->number, walk.at, walk.end, error);
	else if (end == walk.at && end < log->end)
		take_cut(r, log, &walk);
	walk_clear(&walk);
	if (error)
		return 0; /* the next start has to look for its end again */
	if (!log->end)
		log->end = end;
	writer_add_end(r->spool->writer, log->number, log->end);
	return 0;
}

/* ---- live messages ---- */

static void note_end(struct recovery *r, const struct entry *entry)
{
	struct record_note note = {.type = RECORD_END, .id = entry->id, .place = entry->place,
		.big = entry->big};
	spool_note(r->spool, &note);
}

static bool is_all_done(const struct entry *entry, size_t recipients)
{
	for (uint32_t i = 0; i < recipients; i++)
		if (!record_bit(span_buf(&entry->done), i))
			return false;
	return true;
}

static bool has_big_file(struct recovery *r, const struct entry *entry,
    const struct record *record)
{
	char name[BIG_NAME];
	struct stat st;
	return fstatat(r->spool->big_dir, big_name(name, entry->id), &st,
		   AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == record->size - record->here;
}

struct finder {
	spool_found *found;
	void *arg;
};

/* Its record is intact, yet it can not be a message: set it aside, end it. */
static void bad_message(
    struct recovery *r, struct entry *entry, const struct walk *walk, const char *what)
{
	char name[BIG_NAME];
	struct spool *spool = r->spool;
	struct damage_piece piece = damage_record(walk, entry->place.segment, what);
	if (damage_set_aside(spool->damaged_dir, &piece, &r->damage) != 0 ||
	    (entry->big && damage_move_big(spool->damaged_dir, spool->big_dir,
			       big_name(name, entry->id), what, &r->damage) != 0)) {
		recover_keep(r, &piece, errno);
		return;
	}
	entry->big = false;
	note_end(r, entry);
}

static void report_live(
    struct recovery *r, struct entry *entry, struct walk *walk, const struct finder *finder)
{
	struct record_message m;
	struct envelope envelope = {0};
	struct spool *spool = r->spool;
	if (!record_read_message(&m, walk->meta) ||
	    envelope_read(&envelope, m.envelope, NULL) != 0) {
		bad_message(r, entry, walk, "an envelope that can not be");
		return;
	}
	bool over = is_all_done(entry, envelope.recipient_count);
	if (!over && entry->big && !has_big_file(r, entry, &walk->record)) {
		envelope_free(&envelope);
		bad_message(r, entry, walk, "the file under big/ is missing or was cut");
		return;
	}
	if (over) {
		note_end(r, entry);
	} else {
		struct segment *segment = segment_add(spool, entry->place.segment);
		segment->live++;
		spool->stats.live_messages++;
		if (entry->big)
			id_set_add(&spool->bigs, entry->id);
		/* as many bytes as recipients need */
		size_t need = (envelope.recipient_count + 7) / 8;
		if (entry->done.len < need) {
			memset(buf_room(&entry->done, need - entry->done.len), 0,
			    need - entry->done.len);
			entry->done.len = need;
		}
		finder->found(finder->arg, entry->id, entry->place, &envelope,
		    walk->record.size, &entry->state,
		    (const unsigned char *)entry->done.data);
	}
	/* not with the entry: between messages that stay it would be a hole */
	buf_free(&entry->done);
	envelope_free(&envelope);
}

static int by_place(const void *a, const void *b)
{
	const struct spool_place *x = &(*(struct entry *const *)a)->place;
	const struct spool_place *y = &(*(struct entry *const *)b)->place;
	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int report_entry(struct recovery *r, struct entry *entry, const struct finder *finder)
{
	struct walk walk = {0};
	struct segment *segment = segment_find(r->spool, entry->place.segment);
	if (!segment || segment_open(r->spool, segment, r->why) != 0)
		return -1;
	struct walk_source source = segment_source(segment);
	walk_init(&walk, &source, segment->generation, entry->place.offset, 0);
	int result = 0;
	if (walk_record_at(&walk, entry->place.offset))
		report_live(r, entry, &walk, finder);
	else if (walk.error)
		keep_unread(r, entry->place.segment, entry->place.offset,
		    entry->place.offset + entry->length, walk.error);
	else
		result = why_set(r->why, WHY_LOCAL, "spool segment %016x changed while it was read",
		    entry->place.segment);
	walk_clear(&walk);
	return result;
}

static int report_all(struct recovery *r, const struct finder *finder)
{
	size_t count = 0;
	struct entry **live = mem_array((size_t)HASH_COUNT(r->entries) + 1, sizeof(*live));
	for (struct entry *entry = r->entries; entry; entry = entry->hh.next) {
		if (!entry->place.segment)
			continue; /* results of what is long over */
		if (!entry->ended)
			live[count++] = entry;
		else if (entry->end_place.segment != entry->place.segment ||
		    entry->end_place.offset != entry->place.offset)
			note_end(r, entry); /* it was moved while it ended */
	}
	qsort(live, count, sizeof(*live), by_place);
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = report_entry(r, live[i], finder);
	mem_free(live);
	return result;
}

/* ---- big files that no record names ---- */

static void take_big_name(struct recovery *r, const char *name)
{
	struct stat st;
	uint64_t id = strtoull(name, NULL, 16);
	char again[BIG_NAME];
	if (strcmp(big_name(again, id), name) != 0 ||
	    fstatat(r->spool->big_dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode)) {
		recover_foreign(r, name, "the spool's folder big");
		return;
	}
	if (id_set_has(r->spool->bigs, id))
		return;
	if (r->kept)
		return; /* a record that was not read may name it */
	/* its record may be what could not be read */
	struct damage_list unsaid = {0};
	if (r->damaged || r->torn)
		(void)!damage_move_big(r->spool->damaged_dir, r->spool->big_dir, name,
		    "no record that can be read names it",
		    r->damaged ? &r->damage : &unsaid);
	else
		spool_io.unlinkat(r->spool->big_dir, name, 0);
	damage_list_free(&unsaid);
}

static void free_entries(struct recovery *r)
{
	struct entry *entry;
	struct entry *next;
	HASH_ITER(hh, r->entries, entry, next) {
		HASH_DEL(r->entries, entry);
		buf_free(&entry->done);
		mem_free(entry);
	}
}

static int recover(struct recovery *r, const struct finder *finder)
{
	if (recover_folder(r) != 0)
		return -1;
	for (size_t i = 0; i < r->log_count; i++)
		if (read_log(r, &r->logs[i]) != 0)
			return -1;
	if (report_all(r, finder) != 0)
		return -1;
	return recover_names(r->spool->big_dir, take_big_name, r);
}

int spool_recover(struct spool *spool, spool_found *found, void *arg, struct why *why)
{
	struct finder finder = {found, arg};
	struct recovery r = {.spool = spool, .why = why};
	int result = recover(&r, &finder);
	spool_report(spool, &r.damage);
	free_entries(&r);
	mem_free(r.logs);
	if (result != 0)
		return -1;
	spool->current = spool->writer->stock.last;
	spool->kept = r.kept;
	spool->recovered = true;
	spool_begin(spool);
	return 0;
}
