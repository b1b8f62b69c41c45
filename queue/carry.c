/* SPDX-License-Identifier: MIT
 * Emptying closed segments, so that they can be used anew: one at a time, in
 * rounds. The thread looks what stands there; the loop knows what still counts
 * and asks for it to be written anew, a bounded amount per round, so that
 * messages coming in never wait long. A segment with nothing alive goes the
 * same way, since results and ends of other messages may stand only there.
 *
 *	count    all of it is looked at, nothing is written: what would it cost?
 *	forward  messages that stand in earlier segments and are shorter than their
 *	         results here are written anew instead of those
 *	copy     messages that live there are written anew; where that can not be done for
 *	         all of them, nothing else is
 *	note     and so are results, states and ends that still count
 *	retire   once nobody reads there; until then others have their turn
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "relayd/base/mem.h"

#define SHARE_MAX 25            /* percent alive: more is not worth moving */
#define ROUND_BYTES (4u << 20)  /* written anew in one batch */
#define WAIT_MAX 6              /* given up: it waits until up to 2^6 others have gone */
#define TRY_AGAIN_MS 60000      /* after a failure of the disk */
#define TALLY_MAX 4096          /* messages whose results are counted */
#define FORWARD_MIN 2048        /* bytes of results: hardly any message is shorter */

/* Of a message that stands in an earlier segment: bytes of its results in this one. */
struct tally {
	UT_hash_handle hh;
	uint64_t id;
	struct spool_place place;
	uint64_t bytes;
};

static uint64_t live_bytes(const struct segment *s)
{
	return s->messages ? s->bytes / s->messages * s->live : 0;
}

/* Closed, hardly anything alive, and not given up for now. One that somebody reads from
 * takes space before it gives any back: not while there is none. */
static bool is_worth(const struct spool *spool, const struct segment *s)
{
	uint64_t size = s->size ? s->size : (uint64_t)spool->conf.segment_size;
	if (s->kept || s->number >= spool->current || s->tried > spool->retired)
		return false;
	if (s->carried)
		return s->pins == 0 && s->live == 0;
	return !(s->pins && spool->full) && live_bytes(s) < size / 100 * SHARE_MAX;
}

void carry_want(struct spool *spool, struct segment *segment)
{
	if (!spool->carry && spool->reports.live && !spool->closing && is_worth(spool, segment))
		spool_call_later(spool);
}

void carry_try_again(void *arg)
{
	struct spool *spool = arg;
	for (struct segment *s = spool->segments; s; s = s->hh.next)
		s->tried = 0;
	spool_call_later(spool);
}

static void tallies_free(struct carry *carry)
{
	struct tally *t;
	struct tally *next;
	HASH_ITER (hh, carry->tallies, t, next) {
		HASH_DEL(carry->tallies, t);
		mem_free(t);
	}
}

void carry_free(struct carry *carry)
{
	if (!carry)
		return;
	for (size_t i = 0; i < carry->item_count; i++)
		buf_free(&carry->items[i].done);
	mem_free(carry->items);
	mem_free(carry->seen);
	tallies_free(carry);
	damage_list_free(&carry->damage);
	if (carry->fd >= 0)
		close(carry->fd);
	mem_free(carry);
}

static void carried(struct job *job);

static void go_on(struct spool *spool, struct carry *carry)
{
	spool_task_init(spool, &carry->task, TASK_CARRY, carried);
	spool_task_add(&carry->task);
}

/* The less, the sooner: what is done but for its end, what can go at once, the rest. */
static unsigned rank(const struct segment *s)
{
	if (s->carried)
		return 0;
	return s->pins == 0 ? 1 : 2;
}

static bool is_better(const struct segment *s, const struct segment *than)
{
	if (rank(s) != rank(than))
		return rank(s) < rank(than);
	if (live_bytes(s) != live_bytes(than))
		return live_bytes(s) < live_bytes(than);
	return s->number < than->number;
}

static struct segment *choose(struct spool *spool)
{
	struct segment *best = NULL;
	for (struct segment *s = spool->segments; s; s = s->hh.next)
		if (is_worth(spool, s) && (!best || is_better(s, best)))
			best = s;
	return best;
}

/* ---- the end of a segment ---- */

static void finish(struct spool *spool)
{
	carry_free(spool->carry);
	spool->carry = NULL;
	if (!spool->closing)
		spool_call_later(spool);
}

/* Not now: try again once others have gone, each time twice as many. */
static void give_up(struct spool *spool)
{
	struct segment *segment = segment_find(spool, spool->carry->segment);
	if (segment) {
		segment->tried = spool->retired + (1u << segment->in_vain);
		segment->in_vain += segment->in_vain < WAIT_MAX;
	}
	finish(spool);
}

/* The disk did not do what it should; in a while it may. */
static void give_up_for_now(struct spool *spool)
{
	if (!spool->closing && !timer_is_running(&spool->carry_timer))
		timer_start(&spool->carry_timer, TRY_AGAIN_MS);
	give_up(spool);
}

static void retire_done(struct job *job)
{
	struct retire_task *task = (struct retire_task *)job;
	struct spool *spool = task->task.spool;
	spool_task_over(&task->task);
	struct segment *segment = segment_find(spool, task->segment);
	if (task->retired) {
		if (segment)
			segment_forget(spool, segment);
		spool->retired++;
		finish(spool);
	} else {
		give_up_for_now(spool);
	}
	mem_free(task);
}

static void retire(struct spool *spool, struct segment *segment)
{
	struct retire_task *task = mem_zero(sizeof(*task));
	segment_close_fd(spool, segment);
	spool_write_notes(spool); /* what was only here is written first */
	spool_task_init(spool, &task->task, TASK_RETIRE, retire_done);
	task->segment = segment->number;
	spool_task_add(&task->task);
}

/* Messages live here of which no record was met: what stands in its place is bad. */
static void lose_unseen(struct spool *spool, struct segment *segment)
{
	size_t standing = 0;
	struct spool_live now;
	if (!spool->reports.standing || !spool->reports.lost)
		return;
	uint64_t *ids = spool->reports.standing(spool->reports.arg, segment->number, &standing);
	for (size_t i = 0; i < standing; i++) {
		if (!spool->reports.live(spool->reports.arg, ids[i], &now, NULL))
			continue;
		spool_set_aside(spool, segment, ids[i], now.place, id_set_has(spool->bigs, ids[i]));
		spool->reports.lost(spool->reports.arg, ids[i]);
	}
	mem_free(ids);
}

/* All that counts stands elsewhere as well. Who reads here is waited for, but nothing else
 * has to wait for him: segment_unpin and segment_message_gone lead back to here. */
static void all_moved(struct spool *spool, struct segment *segment)
{
	if (segment->live > 0)
		lose_unseen(spool, segment);
	segment->carried = true;
	if (segment->pins == 0 && segment->live == 0)
		retire(spool, segment);
	else
		finish(spool);
}

/* ---- what still counts ---- */

/* Is the record of a message that counts the one that was seen? */
static bool is_current(const struct spool *spool, const struct carry *carry,
    const struct carry_seen *seen, struct spool_live *now)
{
	return spool->reports.live(spool->reports.arg, seen->note.id, now, NULL) &&
	       now->place.segment == carry->segment && now->place.offset == seen->offset;
}

static void want_copy(
    struct spool *spool, struct carry *carry, uint64_t id, struct spool_place from, uint64_t max)
{
	struct carry_item item = {.id = id, .from = from, .max = max};
	struct spool_live now;
	if (!spool->reports.live(spool->reports.arg, id, &now, &item.done))
		return;
	item.state = now.state;
	carry->items = mem_resize(carry->items, carry->item_count + 1, sizeof(item));
	carry->items[carry->item_count++] = item;
}

/* Does a segment exist, other than OLD, with a record of the message that END is about?
 * The record that counted, or one that did not: before it, or, when the copy was damaged,
 * behind it. What stands in one that the start could not read is not known: it may. */
static bool is_end_needed(const struct spool *spool, uint32_t old, const struct record_note *end)
{
	if (spool->kept)
		return true;
	for (const struct segment *s = spool->segments; s; s = s->hh.next)
		if (s->number != old &&
		    (s->number == end->place.segment || id_set_has(s->shadows, end->id)))
			return true;
	return false;
}

/* An end; or a result or state of a message whose record (NOW) stands in an earlier
 * segment. One in this segment or a later one was written anew, or will be, with all that
 * was known then. Of its states only the one that was noted last: the others would add up
 * for ever. Results of a message that is not there may be of one that could not be read. */
static bool is_note_needed(const struct spool *spool, const struct carry *carry,
    const struct record_note *note, struct spool_live *now)
{
	if (note->type == RECORD_END)
		return is_end_needed(spool, carry->segment, note);
	if (!spool->reports.live(spool->reports.arg, note->id, now, NULL))
		return spool->kept && note->type == RECORD_RESULT;
	if (now->place.segment >= carry->segment)
		return false;
	return note->type != RECORD_STATE || now->noted == record_state_mark(&note->state);
}

/* ---- counting ---- */

static void tally(struct carry *carry, const struct carry_seen *seen, struct spool_place place)
{
	struct tally *t;
	HASH_FIND(hh, carry->tallies, &seen->note.id, sizeof(seen->note.id), t);
	if (!t && HASH_COUNT(carry->tallies) == TALLY_MAX)
		return;
	if (!t) {
		t = mem_zero(sizeof(*t));
		t->id = seen->note.id;
		t->place = place;
		HASH_ADD(hh, carry->tallies, id, sizeof(t->id), t);
	}
	t->bytes += seen->length;
}

static void count(struct spool *spool, struct carry *carry, const struct carry_seen *seen)
{
	struct spool_live now = {0};
	if (seen->note.type == RECORD_MESSAGE) {
		if (is_current(spool, carry, seen, &now))
			carry->cost += seen->length;
	} else if (is_note_needed(spool, carry, &seen->note, &now)) {
		carry->cost += seen->length;
		if (seen->note.type == RECORD_RESULT && now.place.segment)
			tally(carry, seen, now.place);
	}
}

/* More than it brings. */
static bool is_too_dear(const struct carry *carry, uint64_t cost)
{
	return cost > carry->size / 2;
}

static void begin_pass(struct spool *spool, struct carry *carry, enum carry_step step)
{
	carry->step = step;
	carry->at = RECORD_START;
	carry->at_end = false;
	go_on(spool, carry);
}

/* Begin to write: with what may make it cheap enough, if there is such. */
static void begin_forward(struct spool *spool, struct carry *carry)
{
	uint64_t spared = 0;
	for (struct tally *t = carry->tallies; t; t = t->hh.next)
		spared += t->bytes >= FORWARD_MIN ? t->bytes : 0;
	if (is_too_dear(carry, carry->cost - spared)) {
		give_up(spool);
		return;
	}
	carry->step = CARRY_FORWARD;
	for (struct tally *t = carry->tallies; t; t = t->hh.next)
		if (t->bytes >= FORWARD_MIN)
			want_copy(spool, carry, t->id, t->place, t->bytes);
	go_on(spool, carry);
}

/* ---- rounds ---- */

/* Result: bytes that are to be written. */
static uint64_t deal_with(struct spool *spool, struct carry *carry, const struct carry_seen *seen)
{
	struct spool_live now;
	bool message = seen->note.type == RECORD_MESSAGE;
	if (carry->step == CARRY_COUNT) {
		count(spool, carry, seen);
		return 0;
	}
	if (message != (carry->step == CARRY_COPY))
		return 0;
	if (message && is_current(spool, carry, seen, &now))
		want_copy(spool, carry, seen->note.id, now.place, UINT64_MAX);
	else if (!message && is_note_needed(spool, carry, &seen->note, &now))
		spool_note(spool, &seen->note);
	else
		return 0;
	return seen->length;
}

/* Go through what the thread has seen until a round is full. */
static void deal(struct spool *spool, struct carry *carry)
{
	uint64_t round = 0;
	while (carry->looked < carry->seen_count && round < ROUND_BYTES)
		round += deal_with(spool, carry, &carry->seen[carry->looked++]);
}

/* A message has a copy elsewhere now, which is the one that counts. */
static void copied(struct spool *spool, const struct carry_item *item)
{
	struct spool_live now;
	struct spool_place old = item->from;
	struct segment *segment = segment_find(spool, old.segment);
	if (segment)
		id_set_add(&segment->shadows, item->id);
	if (spool->reports.live(spool->reports.arg, item->id, &now, NULL) &&
	    now.place.segment == old.segment && now.place.offset == old.offset) {
		segment_message_gone(spool, old);
		segment_message_added(spool, item->place, item->length);
		spool->stats.carried++;
		if (spool->reports.moved)
			spool->reports.moved(spool->reports.arg, item->id, item->place);
	} else {
		/* it ended meanwhile, naming the old place only */
		struct record_note end = {.type = RECORD_END, .id = item->id,
			.place = item->place};
		spool_note(spool, &end);
	}
}

/* Result: false when one could not be written that has to be. */
static bool take_results(struct spool *spool, struct carry *carry)
{
	bool good = true;
	for (size_t i = 0; i < carry->item_count; i++) {
		struct carry_item *item = &carry->items[i];
		if (item->status == SPOOL_DONE) {
			copied(spool, item);
			if (carry->step == CARRY_FORWARD)
				carry->cost -= item->max - item->length;
		} else if (item->damaged) {
			if (spool->reports.lost)
				spool->reports.lost(spool->reports.arg, item->id);
		} else if (carry->step == CARRY_COPY) {
			good = false;
		}
		buf_free(&item->done);
	}
	carry->item_count = 0;
	return good;
}

static void next_round(struct spool *spool, struct carry *carry)
{
	struct segment *segment = segment_find(spool, carry->segment);
	if (!segment || spool->closing) {
		finish(spool);
		return;
	}
	deal(spool, carry);
	if (carry->item_count || carry->looked < carry->seen_count || !carry->at_end) {
		go_on(spool, carry);
		return;
	}
	switch (carry->step) {
	case CARRY_COUNT:
		begin_forward(spool, carry);
		return;
	case CARRY_FORWARD:
		if (is_too_dear(carry, carry->cost))
			give_up(spool);
		else
			begin_pass(spool, carry, CARRY_COPY);
		return;
	case CARRY_COPY:
		begin_pass(spool, carry, CARRY_NOTE);
		return;
	case CARRY_NOTE:
		all_moved(spool, segment);
		return;
	}
}

static void carried(struct job *job)
{
	struct carry *carry = (struct carry *)job;
	struct spool *spool = carry->task.spool;
	spool_task_over(&carry->task);
	spool_report(spool, &carry->damage);
	bool good = take_results(spool, carry);
	struct segment *segment = segment_find(spool, carry->segment);
	if (carry->error == ENOENT && segment && segment->live == 0) {
		segment_forget(spool, segment);
		finish(spool);
	} else if (carry->error || !good) {
		give_up_for_now(spool);
	} else {
		next_round(spool, carry);
	}
}

void carry_next(struct spool *spool)
{
	if (spool->carry || spool->closing || !spool->reports.live)
		return;
	struct segment *segment = choose(spool);
	if (!segment)
		return;
	struct carry *carry = mem_zero(sizeof(*carry));
	carry->segment = segment->number;
	carry->at = RECORD_START;
	carry->fd = -1;
	spool->carry = carry;
	if (segment->carried)
		retire(spool, segment);
	else
		go_on(spool, carry);
}
