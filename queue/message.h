/* SPDX-License-Identifier: MIT
 * The queue in memory. A message knows where it stands in the spool and which
 * batches of it wait; a batch is those recipients of one message that go to one
 * destination and are tried together. Addresses stay on disk. Kept small: a
 * million waiting messages are normal (at most 300 bytes each, see the test).
 */
#ifndef QUEUE_MESSAGE_H
#define QUEUE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/spool.h"
#include "relayd/base/hash.h"
#include "relayd/base/heap.h"

struct destination;

/* A batch is on exactly one list or heap, that of its state. */
enum batch_state {
	BATCH_WAITING, /* until its due time */
	BATCH_READY,   /* due; its destination has no free slot yet */
	BATCH_EXPIRED, /* its time is over; not handed out for its report yet */
	BATCH_RUNNING, /* handed out for an attempt, or for its report */
	BATCH_HELD,    /* by the administrator, or by the brake */
};

struct batch {
	struct heap_node due; /* steady ms: when to look at it, WAITING or READY */
	int64_t try_ms;       /* of the attempt */
	int64_t turn_ms;      /* the turn that its way out has given it, steady ms; 0 none */
	struct message *message;
	struct destination *destination;
	struct batch *prev; /* in its state's list (utlist) */
	struct batch *next;
	struct batch *prev_of_message; /* utlist */
	struct batch *next_of_message;
	union {
		uint32_t one;   /* count == 1 */
		uint32_t *many; /* how many are gone from its front; indexes, rising */
	} recipients;
	uint32_t count;
	uint32_t incident; /* the last block that it met or waits for; 0 none */
	uint32_t added_ms; /* to the message's end by the wait that it is in */
	uint16_t attempts;
	uint8_t state; /* enum batch_state */
	bool doomed : 1;  /* delete it when its attempt is over */
	bool expired : 1; /* it was handed out for its report */
	bool by_path : 1; /* it waits for a way out, not for its destination */
	bool asking : 1; /* started, and no way out has let it go yet */
	bool bulk_try : 1; /* it counts among the attempts at bulk mail */
	bool blocked : 1;  /* and that is held: incident */
	bool settling : 1; /* RUNNING: all is answered, and is being written or reported */
	bool again : 1;    /* and when that is over, it is due at once */
};

struct message {
	UT_hash_handle hh; /* by id */
	uint64_t id;
	struct spool_place place;
	int64_t arrived_ms;
	int64_t expires_ms;
	uint64_t size;
	struct batch *batches;
	uint32_t recipient_count;
	uint32_t pending;      /* recipients without a result */
	bool report : 1;       /* a bounce or notice of ours: dies silently */
	bool notified : 1;     /* the delay notice went out */
	bool held : 1;
	bool cleared : 1;      /* released by a person: the brake lets it pass */
	uint8_t brake : 3;     /* why the brake holds it (queue/brake.h); 0: it does not */
	uint8_t priority : 2;  /* enum conf_priority */
	uint16_t noted;        /* record_state_mark of the state that the spool has */
};

#define MESSAGE_ID_TEXT 17
/* 16 hex digits. Result: BUF. */
const char *message_id_text(uint64_t id, char *buf);
bool message_id_parse(struct span text, uint64_t *id) ATTR_MUST_CHECK;

/* A batch for the COUNT (1 or more) rising indexes; not linked anywhere. */
struct batch *batch_new(struct message *message, const uint32_t *recipients, uint32_t count);
void batch_free(struct batch *batch);

/* The index of the Nth recipient of a batch. */
uint32_t batch_recipient(const struct batch *batch, uint32_t n);

/* Take one recipient out. False: it is not in there. */
bool batch_remove(struct batch *batch, uint32_t recipient);

#endif
