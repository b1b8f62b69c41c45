/* SPDX-License-Identifier: MIT
 * The spool: an append-only log in segments, with group commit. A message that
 * was appended and synced survives anything but the loss of the disk.
 *
 * Folder SPOOL (0700, owner checked, never followed through a symlink):
 *   lock              held (flock) by the daemon that owns the spool
 *   version           "relayd spool 2"; a higher number stops the start. 1 is
 *                     from before envelopes had DSN, priority and TLS; it becomes 2
 *   SSSSSSSSSSSSSSSS.log  segments, sequence number in hex, written out in full
 *                     when made, used again under a new number when empty
 *   N.spare, N.new    unused segments, ready or being made
 *   big/ID            body of a message over the limit
 *   damaged/          what could not be read, never deleted by us
 * Anything else is reported at each start and left alone (drop/ is known).
 *
 * A segment starts with a head record (sequence, generation). Each record:
 * magic, generation, type, lengths, message id, and a CRC-32C of each of its
 * three parts: head, meta (envelope and the like), content; padded to 8 bytes
 * (queue/record.h). The generation is random: it makes old bytes behind the tail
 * unreadable, and no message text can pass for a record. Each record says up to
 * where the segment was synced when it was written, the first one in a segment
 * says where all closed ones end: so a torn tail, which nobody was told of, is
 * told from damage.
 *
 * Types: MESSAGE (envelope, recipients done so far, state, content or the head
 * of it with the body in big/ID), RESULT (a recipient's end), STATE (next
 * attempt, attempts, held), END (the message is over; names the place of its
 * MESSAGE), CLOSED (where closed segments end).
 *
 * | state of a message      | on disk                      | after a crash        |
 * |-------------------------|------------------------------|----------------------|
 * | being received          | nothing, or big/ID unnamed in the log | big/ID removed at start (moved to damaged/ if records were damaged) |
 * | appended, not synced    | record maybe torn, at the tail | torn: ignored; whole: in the queue, though no 250 was sent |
 * | synced (250 sent)       | MESSAGE                      | in the queue         |
 * | appended during a sync  | record behind what is being synced | the same; 250 after the next sync |
 * | failed (451 sent)       | maybe MESSAGE behind the end of a closed segment | gone: the next segment says where that end is, synced before the 451 |
 * | recipient done          | + RESULT, written in the same turn whatever is being synced, synced within 1 s | done; power cut before the sync: sent again (promise 2) |
 * | deferred, held          | + STATE, the same            | due as noted; STATE lost: earlier attempt |
 * | all done                | + END, the same              | gone; END lost: results decide, all done = gone |
 * | being carried over      | MESSAGE twice                | the later one counts if it is whole, results add up |
 * | carried over, synced    | old segment not reused yet   | the same             |
 * | ended while carried     | MESSAGE twice, END           | gone: an END is final, whichever place it names |
 * | segment retired         | renamed to N.spare, folder synced | old records are not looked at |
 * | segment reused          | new head record, new generation | old records unreadable |
 *
 * A start syncs the segment that was written last, and only then removes anything or
 * writes. Before a segment is retired, what it alone knows is appended anew and synced:
 * live messages; results and states of live messages that stand in an earlier segment (a
 * MESSAGE in a later one was written with all that was known by then); ENDs of messages
 * of which a MESSAGE record is still in a segment that exists. A message that is shorter
 * than its results is appended anew instead of those. A segment is emptied when under a
 * quarter of it is alive and all of that comes to no more than half of it; a few MiB at a
 * time, between the batches. It is retired when nobody reads there any more, and others
 * need not wait for that. What can not be read is tried again later; what is read and is
 * wrong is moved to damaged/ first, with the file under big/ that belongs to it, and its
 * message ends only after that. What a start can not read, or has no room to set aside,
 * stays where it is, and its segment is not emptied before a later start could; until then
 * ends and results of whatever may stand there are appended anew as well.
 *
 * Only the spool thread writes to the log, in one order, and it never waits for
 * a sync but at the end of a segment: a side thread syncs, another one makes
 * unused segments, and files under big/ have a thread as well. So what a kill
 * takes of a result is the time to hand it over, not the time of a sync; and a
 * delivery keeps its place until its result is written, so that where writing
 * does take long (a segment has to be made, say) few results wait for it. A
 * failed write or sync fails all messages that wait for one and closes the
 * segment for ever: a sync is never tried again on the same descriptor. Notes
 * that were not synced are written again to the next segment. Disk full: appends are taken only while an unused segment is left
 * over, so results always have one; else they fail with SPOOL_FULL.
 */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "queue/envelope.h"
#include "relayd/base/loop.h"
#include "relayd/base/pool.h"

struct spool;
struct damage; /* queue/damage.h */

/* What the spool thread is handed; embedded, private to the spool. */
struct spool_task {
	struct job job;
	struct spool *spool;
	unsigned kind;
	uint32_t current; /* result: the segment that is written now */
	bool synced;      /* result: nothing that was written waits for a sync */
	bool full;        /* result: appends fail for lack of space */
};

/* Where a message's record stands. */
struct spool_place {
	uint32_t segment; /* sequence number */
	uint32_t offset;
};

/* What is known beside the envelope; stored in MESSAGE and STATE records. */
struct spool_state {
	int64_t due_ms;    /* wall clock of the next attempt; 0: at once */
	uint32_t attempts;
	bool held;         /* by the administrator, or by the brake */
	bool notified;     /* the delay notice went out */
	bool cleared;      /* released by the administrator: the brake lets it pass */
	bool by_path;      /* it waits for a way out, see schedule_resume */
	uint8_t brake;     /* 0 to 7: why the brake holds it (queue/brake.h); 0: it does not */
	int64_t extra_ms;  /* it lives longer than others, by waiting for a held path;
	                    * kept in minutes, rounded up, at most 30 years */
};

/* What the queue knows of a message that is in it. */
struct spool_live {
	struct spool_place place;
	struct spool_state state; /* now; not every change of it is worth a note */
	uint16_t noted; /* record_state_mark of what was noted, or found, last */
};

/* Damage and full disk are reported here (loop thread), once each. Any of them
 * may be NULL; without `live` no segment is used again. */
struct spool_reports {
	/* Something could not be read and was set aside, or is not ours. */
	void (*damage)(void *arg, const struct damage *damage);
	/* appends fail from now on (FULL) / work again */
	void (*full)(void *arg, bool full);
	/* A message moved (carry-over); the queue must use PLACE from now on. */
	void (*moved)(void *arg, uint64_t id, struct spool_place place);
	/* Carry-over found that this message is damaged, and has set it aside: the queue
	 * has to forget it (spool_note_end). */
	void (*lost)(void *arg, uint64_t id);
	/* Which messages of the queue have their place in SEGMENT? Asked when carry-over has
	 * not met all of them there; it may take a look at each message. Result: *COUNT ids,
	 * allocated (mem_free), NULL for none. */
	uint64_t *(*standing)(void *arg, uint32_t segment, size_t *count);
	/* Is this message still in the queue, and what is known of it NOW? Asked in
	 * the loop before a segment is reused, about each of its records. To DONE (empty; NULL: it is not wanted) is appended a bit per recipient that is
	 * done, eight to a byte, the first one in the lowest bit; missing bytes count
	 * as 0. False: not live; then its spool_note_end must have been called. */
	bool (*live)(void *arg, uint64_t id, struct spool_live *now, struct buf *done);
	void *arg;
};

/* Open or create. NULL: WHY (held by another daemon, newer version, wrong
 * owner or mode). Starts the spool thread. Only the folder itself is made, not
 * its parents. A full disk is no reason to fail: what is queued goes out. */
struct spool *spool_open(struct loop *loop, const struct conf_spool *conf,
    const struct spool_reports *reports, struct why *why);

/* Read what is there; once, before anything is appended. FOUND is called for
 * each live message, in the order in which they stand on disk; DONE has a bit
 * per recipient whose result is known. FOUND may call spool_note_*. */
typedef void spool_found(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t content_size, const struct spool_state *state,
    const unsigned char *done);
int spool_recover(struct spool *spool, spool_found *found, void *arg, struct why *why)
    ATTR_MUST_CHECK;

/* Sync what is left (this waits), release the lock. Done calls of what is under
 * way come inside. Readers must be closed and contents freed before. */
void spool_close(struct spool *spool);

/* Its folder: of the configuration that it was opened with. */
const char *spool_path(const struct spool *spool);

enum spool_status {
	SPOOL_DONE,
	SPOOL_FULL,   /* 452 4.3.1 */
	SPOOL_FAILED, /* 451 4.3.0 */
};

/* ---- content on its way in ---- */

/* The body of a message being received: in memory up to big_message, then in
 * big/ID by the spool thread. */
struct spool_content;
struct spool_content *spool_content_new(struct spool *spool, uint64_t id,
    void (*writable)(void *arg), void *arg);
/* Take bytes (always). False: too much waits for the disk; go on after
 * `writable`, which is called once per false. */
bool spool_content_add(struct spool_content *c, struct span piece);
uint64_t spool_content_size(const struct spool_content *c);
/* Read back; any thread, once no more is added and spool_content_finish's done
 * has come. */
ssize_t spool_content_read(void *content, uint64_t offset, char *to, size_t n);
/* No more comes: DONE (never inside this call) when all of it can be read, with SPOOL_DONE;
 * or when the disk did not take it, for which WHY (until DONE returns) names file and
 * reason. Small ones: DONE in the next turn. */
typedef void spool_content_done(void *arg, enum spool_status status, const struct why *why);
void spool_content_finish(struct spool_content *c, spool_content_done *done, void *arg);
/* Give it up: its file is removed. */
void spool_content_free(struct spool_content *c);

/* ---- append ---- */

/* One message to append; embedded in the caller's struct. The caller sets the
 * upper part and keeps it all untouched until DONE is called in the loop. */
struct spool_append {
	struct spool_task task; /* private */
	uint64_t id;
	const struct envelope *envelope;
	struct spool_state state;      /* held from the start, say */
	struct span head;              /* header section with its empty line */
	struct spool_content *content; /* the body, finished; taken over whatever
					* comes of it; NULL for none */
	void (*done)(struct spool_append *append);
	/* result */
	enum spool_status status;
	struct spool_place place;
	uint64_t content_size;
	uint64_t length; /* private: of the record */
	struct why why;
};
void spool_append(struct spool *spool, struct spool_append *append);

/* Would an append be refused now for lack of space? (to say 452 at MAIL) */
bool spool_is_full(const struct spool *spool);

/* ---- results: written in the same turn, also while a sync is under way, synced
 * within a second or with the next message, written again if that fails ---- */

enum spool_outcome { SPOOL_DELIVERED = 1, SPOOL_BOUNCED = 2, SPOOL_DELETED = 3 };
void spool_note_result(struct spool *spool, uint64_t id, uint32_t recipient,
    enum spool_outcome outcome);
void spool_note_state(struct spool *spool, uint64_t id, const struct spool_state *state);
/* The message is over. Its segment's live count falls. */
void spool_note_end(struct spool *spool, uint64_t id, struct spool_place place);
/* FN is called, in a later turn, when all that was noted until now is written (a
 * kill -9 does not undo it) or has to wait because the disk takes nothing. WAIT is
 * embedded in its owner's struct; it is not waiting any more when FN is called. */
struct spool_wait {
	void (*fn)(void *arg); /* all of it private */
	void *arg;
	struct note_task *task; /* NULL: not waiting */
	struct spool_wait *prev;
	struct spool_wait *next;
};
void spool_await_notes(struct spool *spool, struct spool_wait *wait, void (*fn)(void *arg),
    void *arg);
void spool_await_cancel(struct spool_wait *wait); /* also when it is not waiting */

/* ---- reading ---- */

int spool_read_envelope(struct spool *spool, uint64_t id, struct spool_place place,
    struct envelope *envelope, struct why *why) ATTR_MUST_CHECK;

/* The content (head and body in one). -1 at open or at the last piece: the
 * record is damaged; it has been set aside and reported; the caller ends the
 * message without bouncing it. Other failures are WHY_TEMP. */
struct spool_reader;
struct spool_reader *spool_reader_open(struct spool *spool, uint64_t id,
    struct spool_place place, struct why *why);
uint64_t spool_reader_size(const struct spool_reader *r);
ssize_t spool_reader_read(void *reader, uint64_t offset, char *to, size_t n);
bool spool_reader_damaged(const struct spool_reader *r);
void spool_reader_close(struct spool_reader *r);

struct spool_stats {
	uint64_t segments, spare, bytes, live_messages, live_bytes;
	uint64_t appended, syncs, carried, damaged;
};
struct spool_stats spool_stats(const struct spool *spool);

#endif
