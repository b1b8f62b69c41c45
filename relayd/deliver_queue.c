/* SPDX-License-Identifier: MIT
 * What others want of the queue that deliver.c works off: messages come in, the spool
 * asks what still counts, the administrator holds, releases and deletes.
 */
#include <string.h>

#include "queue/record.h"
#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"

#define TRY_ONE_LOOKS 200000 /* messages looked at for one that waits */

/* ---- in ---- */

void deliver_add(struct deliver *deliver, uint64_t id, struct spool_place place,
    const struct envelope *e, uint64_t size, const struct spool_state *state,
    const unsigned char *done)
{
	const char **names = mem_array(e->recipient_count, sizeof(*names));
	struct buf *texts = mem_array(e->recipient_count, sizeof(*texts));
	for (size_t i = 0; i < e->recipient_count; i++) {
		if (done && done[i / 8] >> (i % 8) & 1)
			continue;
		route_destination(deliver->settings->conf, e, e->recipients[i], &texts[i]);
		names[i] = buf_text(&texts[i]);
	}
	struct schedule_entry entry = {
	    .id = id,
	    .place = place,
	    .arrived_ms = e->arrived_ms,
	    .size = size,
	    .report = e->report,
	    .priority = e->priority,
	};
	schedule_add(deliver->schedule, &entry, names, e->recipient_count, state);
	for (size_t i = 0; i < e->recipient_count; i++)
		buf_free(&texts[i]);
	mem_free(texts);
	mem_free(names);
}

/* ---- the spool's questions ---- */

static int64_t earliest_try(const struct message *message, uint32_t *attempts)
{
	int64_t first = INT64_MAX;
	*attempts = 0;
	for (const struct batch *b = message->batches; b; b = b->next_of_message) {
		if (b->try_ms < first)
			first = b->try_ms;
		if (b->attempts > *attempts)
			*attempts = b->attempts;
	}
	return first == INT64_MAX ? 0 : first;
}

static struct spool_state message_state(
    const struct deliver *deliver, const struct message *message)
{
	struct spool_state state = {
	    .held = message->held,
	    .notified = message->notified,
	    .cleared = message->cleared,
	    .brake = message->brake,
	    .extra_ms = schedule_extra(deliver->schedule, message),
	};
	for (const struct batch *b = message->batches; b; b = b->next_of_message)
		state.by_path |= b->by_path;
	state.due_ms = earliest_try(message, &state.attempts);
	return state;
}

/* Recipients in no batch are done; so are those that were deleted while they are tried: where
 * these bits are written anew, the results that said so are not. */
static void done_bits(const struct message *message, struct buf *done)
{
	size_t bytes = (message->recipient_count + 7) / 8;
	char *bits = buf_room(done, bytes);
	memset(bits, 0xff, bytes);
	done->len += bytes;
	for (const struct batch *b = message->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count && !b->doomed; i++) {
			uint32_t index = batch_recipient(b, i);
			bits[index / 8] = (char)(bits[index / 8] & ~(1 << (index % 8)));
		}
}

void message_note_state(struct deliver *deliver, struct message *message)
{
	struct spool_state state = message_state(deliver, message);
	message->noted = record_state_mark(&state);
	spool_note_state(deliver->options.spool, message->id, &state);
}

bool deliver_is_live(struct deliver *deliver, uint64_t id, struct spool_live *now,
    struct buf *done)
{
	const struct message *message = schedule_find(deliver->schedule, id);
	if (!message)
		return false;
	*now = (struct spool_live){message->place, message_state(deliver, message),
	    message->noted};
	if (done)
		done_bits(message, done);
	return true;
}

void deliver_moved(struct deliver *deliver, uint64_t id, struct spool_place place)
{
	struct message *message = schedule_find(deliver->schedule, id);
	if (message)
		message->place = place;
}

void deliver_lost(struct deliver *deliver, uint64_t id)
{
	struct message *message = schedule_find(deliver->schedule, id);
	if (message)
		schedule_delete(deliver->schedule, message);
}

uint64_t *deliver_standing(const struct deliver *deliver, uint32_t segment, size_t *count)
{
	uint64_t *ids = NULL;
	*count = 0;
	for (const struct message *m = schedule_next(deliver->schedule, NULL); m;
	     m = schedule_next(deliver->schedule, m)) {
		if (m->place.segment != segment)
			continue;
		ids = mem_resize(ids, *count + 1, sizeof(*ids));
		ids[(*count)++] = m->id;
	}
	return ids;
}

/* ---- for the control commands ---- */

struct schedule *deliver_schedule(struct deliver *deliver)
{
	return deliver->schedule;
}

struct message *deliver_message(struct deliver *deliver, uint64_t id)
{
	struct message *message = schedule_find(deliver->schedule, id);
	return message && message->pending ? message : NULL;
}

const struct history *deliver_history(const struct deliver *deliver)
{
	return deliver->history;
}

void deliver_hold(struct deliver *deliver, struct message *message, bool hold)
{
	if (hold)
		schedule_hold(deliver->schedule, message);
	else
		schedule_release(deliver->schedule, message);
	message_note_state(deliver, message);
}

void deliver_try_one(struct deliver *deliver, unsigned incident, int64_t at_ms)
{
	struct message *message =
	    schedule_try_one(deliver->schedule, incident, at_ms, TRY_ONE_LOOKS);
	if (message)
		message_note_state(deliver, message);
}

void deliver_delete(struct deliver *deliver, struct message *message)
{
	for (const struct batch *b = message->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			spool_note_result(deliver->options.spool, message->id,
			    batch_recipient(b, i), SPOOL_DELETED);
	schedule_delete(deliver->schedule, message);
}
