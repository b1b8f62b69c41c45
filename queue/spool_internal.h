/* SPDX-License-Identifier: MIT
 * What the files of the spool share. The loop's side is struct spool, the
 * thread's side struct writer; each touches only its own, and they speak
 * through tasks, which belong to the thread between spool_task_add and the
 * task's done function. What takes long has threads of its own, for results of
 * deliveries wait for whatever the spool thread does: two side threads of it
 * (the sync, unused segments), and one for the files under big/.
 *
 *	spool.c		open, close, notes, the timer, what a batch reports
 *	spool_table.c	segments as the loop sees them, messages that live in them
 *	recover.c	start-up (and recover_folder.c)
 *	content.c	bodies on their way in, and their thread
 *	reader.c	reading back
 *	carry.c		emptying old segments
 *	spool_writer.c	the thread: batches of tasks, putting records
 *	spool_commit.c	the thread: writing, the sync in its side thread, failure
 *	spool_copy.c	the thread: looking through a segment that is emptied, and copies
 *	stock.c		the thread: unused segments
 */
#ifndef QUEUE_SPOOL_INTERNAL_H
#define QUEUE_SPOOL_INTERNAL_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "queue/damage.h"
#include "queue/record.h"
#include "queue/spool.h"
#include "queue/stock.h"
#include "relayd/base/hash.h"

enum task_kind {
	TASK_APPEND,  /* struct spool_append */
	TASK_NOTES,   /* struct note_task */
	TASK_CARRY,   /* struct carry */
	TASK_RETIRE,  /* struct retire_task */
	TASK_DAMAGE,  /* struct damage_task */
	TASK_TICK,    /* only the task: look at the disk, sync what is written */
};

/* ---- the loop's side ---- */

struct segment {
	UT_hash_handle hh; /* by number */
	uint32_t number;
	uint32_t live;     /* messages whose latest record is here */
	uint64_t messages; /* appended here, with their bytes */
	uint64_t bytes;
	struct big_id *shadows; /* messages with a copy here that does not count any more */
	uint32_t pins;     /* readers and damage being set aside */
	bool kept;         /* recovery could not read it all, or not set it aside: not emptied */
	bool carried;      /* all that counts here was written anew: it goes when nobody reads */
	uint64_t tried;    /* emptying it was given up until `retired` is that high */
	unsigned in_vain;  /* how often */
	int fd;            /* -1: not open for reading */
	uint64_t generation;
	uint64_t size;
	uint64_t used;     /* last use of fd, for closing the oldest */
};

struct big_id { /* messages with a file under big/ */
	UT_hash_handle hh;
	uint64_t id;
};

struct spool {
	struct loop *loop;
	struct conf_spool conf; /* path is our copy */
	struct spool_reports reports;
	struct pool *pool;
	struct pool *big_pool; /* writes files under big/ */
	struct writer *writer;
	int dir;
	int lock_fd;
	int big_dir;
	int damaged_dir;
	uint64_t gathered; /* bytes of contents in memory */
	bool recovered;
	bool kept; /* there may be messages that the start could not read: the next one may */
	bool closing;
	bool full;
	bool ticking; /* a TICK is under way */
	struct spool_task tick;
	struct spool_task last; /* the sync at the end */
	unsigned last_tries;
	struct timer timer; /* sync notes within a second; look at a full disk */

	struct note_task *notes; /* collected in this turn; NULL: none */
	struct note_task *notes_out; /* the last that the thread has; NULL: it has none */
	struct spool_later *later; /* the call at the end of this turn; NULL: none */
	struct segment *segments;
	uint32_t current;
	uint64_t use; /* clock for segment.used */
	unsigned open_fds;
	struct big_id *bigs;
	struct big_id *damaged; /* ids that were reported */
	struct damage_task *damage_tasks; /* those that are under way, or have failed */
	struct carry *carry;  /* the segment that is being emptied; NULL: none */
	struct timer carry_timer; /* after a failure: what was given up is tried again */
	struct spool_stats stats;
	uint64_t retired;
};

void spool_task_init(struct spool *spool, struct spool_task *task, enum task_kind kind,
    void (*done)(struct job *job));
void spool_task_add(struct spool_task *task);
/* First thing in each done function: what the batch says about the whole. */
void spool_task_over(struct spool_task *task);

void spool_begin(struct spool *spool); /* recovered: get ready for appends */

struct note_task {
	struct spool_task task;
	struct record_note *notes;
	size_t count;
	size_t cap;
	struct spool_wait *waits; /* utlist */
};
void spool_write_notes(struct spool *spool); /* hand them to the thread now */
void spool_note(struct spool *spool, const struct record_note *note);
void spool_call_later(struct spool *spool); /* carry_next at the end of this turn */

void spool_report(struct spool *spool, struct damage_list *list); /* and empty it */
/* The record of message ID at PLACE, in SEGMENT, is damaged: have it set aside, once, and
 * with BIG the file that has its body. SEGMENT stays until that is done. */
void spool_set_aside(
    struct spool *spool, struct segment *segment, uint64_t id, struct spool_place place, bool big);
/* END is about a message that is being set aside: it is noted after that, since nothing
 * would look at the record any more. False: it is not being set aside. */
bool spool_end_waits(struct spool *spool, const struct record_note *end) ATTR_MUST_CHECK;
void spool_free_damage(struct spool *spool); /* what has failed */

/* spool_table.c */
struct segment *segment_find(struct spool *spool, uint32_t number);
struct segment *segment_add(struct spool *spool, uint32_t number); /* or find */
void segment_forget(struct spool *spool, struct segment *segment);
void segment_close_fd(struct spool *spool, struct segment *segment);
/* Open for reading if it is not. -1: WHY (WHY_PERM: it is not there any more). */
int segment_open(struct spool *spool, struct segment *segment, struct why *why) ATTR_MUST_CHECK;
struct walk_source segment_source(struct segment *segment); /* while it is open */
void segment_message_added(struct spool *spool, struct spool_place place, uint64_t length);
void segment_message_gone(struct spool *spool, struct spool_place place);
void segment_pin(struct segment *segment);
void segment_unpin(struct spool *spool, struct segment *segment);
void segment_free_all(struct spool *spool);

bool id_set_has(struct big_id *set, uint64_t id);
void id_set_add(struct big_id **set, uint64_t id);
bool id_set_remove(struct big_id **set, uint64_t id);
void id_set_free(struct big_id **set);

/* content.c */
struct content_task {
	struct job job;
	struct spool_content *content;
	enum content_work { CONTENT_PIECE, CONTENT_FINISH, CONTENT_DROP } work;
	struct buf bytes;
};
/* What an append needs to know: a body in memory, or a file and its CRC. */
bool content_is_big(const struct spool_content *c);
struct span content_memory(const struct spool_content *c);
uint32_t content_crc(const struct spool_content *c);
/* It is in the log now: forget it, keep its file. */
void content_taken(struct spool_content *c);
#define BIG_NAME 17
const char *big_name(char *buf, uint64_t id);

/* carry.c */
/* SEGMENT changed: is it worth emptying now? */
void carry_want(struct spool *spool, struct segment *segment);
/* Begin with a segment, unless one is under way. */
void carry_next(struct spool *spool);
/* Forget (of ARG, the spool) which ones were given up. */
void carry_try_again(void *arg);
void carry_free(struct carry *carry);

/* One message to be written anew. */
struct carry_item {
	uint64_t id;
	struct spool_place from; /* where it stands */
	uint64_t max;            /* only if its record is no longer than that */
	struct spool_state state;
	struct buf done;
	/* result */
	enum spool_status status;
	bool damaged; /* set aside instead */
	struct spool_place place;
	uint64_t length;
};

/* A record that was found in the old segment. */
struct carry_seen {
	struct record_note note; /* type and id always */
	uint32_t offset;
	uint64_t length;
};

enum carry_step { CARRY_COUNT, CARRY_FORWARD, CARRY_COPY, CARRY_NOTE };

struct carry {
	struct spool_task task;
	uint32_t segment;
	enum carry_step step;
	uint64_t cost;         /* loop: bytes to be written anew, known behind CARRY_COUNT */
	struct tally *tallies; /* loop: messages whose results may be too many */
	/* to do: copy these, then look on from `at` */
	struct carry_item *items;
	size_t item_count;
	uint64_t at;
	/* result */
	struct carry_seen *seen;
	size_t seen_count;
	size_t looked; /* loop: how many of them were dealt with */
	bool at_end;
	int error; /* 0, or what went wrong; ENOENT: there is no such segment */
	struct damage_list damage;
	int fd;    /* thread */
	uint64_t generation;
	uint64_t size;
};

struct retire_task {
	struct spool_task task;
	uint32_t segment;
	uint64_t notes; /* thread: how many were noted before */
	bool retired;   /* result */
};

struct damage_task {
	struct spool_task task;
	uint64_t id;
	struct spool_place place;
	bool big;
	struct record_note end;   /* loop: noted when all is saved; type 0: none */
	struct damage_task *next; /* utlist: spool.damage_tasks */
	struct damage_task *prev;
	struct damage_list damage; /* result */
	bool failed;               /* result: something could not be saved */
};

/* ---- the thread's side ---- */

#define WRITER_IOV 512

struct task_list { /* by job.next */
	struct job *first;
	struct job *last;
};

struct writer_sync {
	bool under_way; /* the rest: what it will bring to disk */
	int fd;
	uint64_t to;
	size_t waiting; /* the first so many of writer.waiting */
	size_t notes;   /* the first so many of writer.notes */
	int error;      /* result: errno or 0 */
};

struct writer {
	int dir;
	int big_dir;
	int damaged_dir;
	struct stock stock;
	struct log_file current;
	struct spool_place *ends; /* closed segments and where their records end */
	size_t end_count;
	/* not synced yet; the first note_put of them are put */
	struct record_note *notes;
	size_t note_count;
	size_t note_cap;
	size_t note_put;
	uint64_t note_seen; /* all that ever came */
	/* gathered for one write */
	struct iovec iov[WRITER_IOV];
	int iov_count;
	size_t gathered;
	void *temps[WRITER_IOV];
	size_t temp_count;
	/* whose status a sync decides */
	enum spool_status **waiting;
	size_t waiting_count;
	size_t waiting_cap;
	struct side *syncer;
	struct writer_sync sync;
	struct task_list syncing;  /* wait for the sync under way */
	struct task_list unsynced; /* wait for the one after that */
	struct task_list over;     /* to be reported with this batch */
	uint64_t *unlink; /* big files whose END is synced */
	size_t unlink_count;
	unsigned failures; /* in this batch */
	int error;         /* the last failure's errno */
	bool refused;      /* a message, for lack of space, and that goes on */
	_Atomic uint64_t syncs;
};

struct writer *writer_new(const struct conf_spool *conf, int dir, int big_dir, int damaged_dir);
void writer_free(struct writer *w);
void *writer_thread(void *writer); /* at its start */
struct job *writer_batch(struct job *first, void *writer);
void writer_add_end(struct writer *w, uint32_t number, uint64_t end);
uint64_t writer_end_of(const struct writer *w, uint32_t number); /* 0: not known */

/* Put a record behind the others. META has RECORD_HEAD bytes in front for the
 * head; it is taken over. CONTENT (and TEMP, freed with it) must stay until
 * the batch ends. *STATUS becomes DONE when it is synced, else what failed.
 * -1 with errno: no room; nothing was put, STATUS is not remembered. */
struct writer_record {
	struct record record;
	struct buf meta;
	struct span content[2];
	void *temp;
	bool note; /* may use the reserve */
	enum spool_status *status;
	struct spool_place *place;
};
int writer_put(struct writer *w, struct writer_record *r) ATTR_MUST_CHECK;
void writer_meta_begin(struct buf *meta);

/* spool_commit.c */
bool writer_is_no_space(int error) ATTR_MUST_CHECK;
void tasks_add(struct task_list *list, struct spool_task *task);
/* *STATUS is that of a record just put: a sync decides it. */
void writer_wait_status(struct writer *w, enum spool_status *status);
void writer_drop_gathered(struct writer *w);
void writer_close_current(struct writer *w); /* its records end where it was synced */
/* Write what was put. -1: failed, and the segment was given up. */
int writer_flush(struct writer *w);
/* None is under way, all is written: begin one. */
void writer_start_sync(struct writer *w);
/* Wait for the one under way, if any. -1: failed, and the segment was given up. */
int writer_end_sync(struct writer *w);
/* Both, and wait: all that was put is on disk. -1: failed, as above. */
int writer_commit(struct writer *w);

/* spool_copy.c */
void writer_copy(struct writer *w, struct carry *carry);
void writer_look(struct writer *w, struct carry *carry);
void writer_damage(struct writer *w, struct damage_task *task);

#endif
