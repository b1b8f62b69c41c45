/* SPDX-License-Identifier: MIT
 * What the spool's tests share: a spool in a folder of its own, and a model of
 * the queue that knows what must be in it.
 */
#ifndef TESTS_UNIT_SPOOL_KIT_H
#define TESTS_UNIT_SPOOL_KIT_H

#include "queue/damage.h"
#include "queue/spool.h"

#define KIT_MAX 4096
#define KIT_RECIPIENTS 3

struct kit_message {
	uint64_t id;
	size_t size; /* of the body */
	struct spool_place place;
	struct spool_state state; /* as it was noted */
	int64_t put_off_ms; /* since then, and without a note */
	unsigned done;  /* bits */
	bool live;
	bool found;     /* by the last recovery, with these: */
	unsigned found_done;
	struct spool_state found_state;
};

struct kit {
	char dir[64];
	struct conf_spool conf;
	struct loop *loop;
	struct spool *spool;
	struct kit_message messages[KIT_MAX];
	size_t count;
	unsigned damages;
	unsigned fulls;
	unsigned moves;
	unsigned losts;
	bool full;
	const char *recipient; /* of all messages, instead of valid ones */
	bool lenient; /* results may have been lost */
	void (*moved)(struct kit *kit); /* a message was carried over; NULL: nobody looks */
	char damage_text[512]; /* the last one */
	struct damage_list reported; /* all since the spool was opened */
};

struct kit *kit_new(void); /* a folder, small segments; no spool yet */
void kit_free(struct kit *kit); /* closes, removes the folder */

int kit_try_open(struct kit *kit, struct why *why);
void kit_open(struct kit *kit);  /* open and recover */
void kit_close(struct kit *kit);
void kit_turn_until(struct kit *kit, bool *flag);
void kit_settle(struct kit *kit); /* until nothing is under way */
void kit_wait_stock(struct kit *kit); /* an empty spool: until it has its unused segments */

/* Append a message whose text follows from its id. With DONE it enters the
 * model. Result: its entry (place in it), NULL when it failed. */
struct kit_message *kit_append(struct kit *kit, uint64_t id, size_t size,
    enum spool_status *status);
/* COUNT of them in one batch, ids FIRST and up. Result: how many were taken. */
size_t kit_append_many(struct kit *kit, uint64_t first, size_t count, size_t size,
    enum spool_status *status);
struct kit_message *kit_find(struct kit *kit, uint64_t id);
void kit_result(struct kit *kit, uint64_t id, unsigned recipient);
void kit_end(struct kit *kit, uint64_t id); /* all done */

/* Is its envelope and content as it was appended? */
bool kit_is_readable(struct kit *kit, const struct kit_message *m);
/* Every live one was found by the last recovery with its state, and can be
 * read; nothing else was found. */
void kit_check(struct kit *kit);

/* Bytes of files of the spool. */
char *kit_load(struct kit *kit, const char *name, size_t *size);
void kit_store(struct kit *kit, const char *name, const char *data, size_t size);
size_t kit_count_files(struct kit *kit, const char *folder, const char *ending);
/* The segment with the record of M. */
void kit_segment_name(const struct kit_message *m, char *name, size_t size);

#endif
