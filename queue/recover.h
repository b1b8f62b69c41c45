/* SPDX-License-Identifier: MIT
 * What the two halves of start-up share: recover_folder.c finds the segments and
 * where they end, recover.c reads their records.
 */
#ifndef QUEUE_RECOVER_H
#define QUEUE_RECOVER_H

#include "queue/spool_internal.h"

struct log { /* a segment to be read */
	uint32_t number;
	uint64_t end;      /* 0: not known */
	uint64_t batch;    /* end not known: where its last batch begins */
	uint64_t generation;
	bool records;      /* there are any */
	int error;         /* end not known: 0, or why not all of it could be looked at */
};

struct recovery {
	struct spool *spool;
	struct log *logs; /* by rising number */
	size_t log_count;
	struct entry *entries;
	struct damage_list damage;
	bool damaged; /* bytes were met that should be records */
	bool kept;    /* a segment has what could not be read now, or not be set aside */
	bool torn;    /* the same, of what was never synced: nobody has to hear of it */
	struct why *why;
};

/* Look at all names of the spool, fill logs, put unused segments in stock. */
int recover_folder(struct recovery *r) ATTR_MUST_CHECK;

/* A walk over LOG from the first record on; walk_clear ends it. */
int recover_walk(struct recovery *r, struct log *log, struct walk *walk) ATTR_MUST_CHECK;

/* Call TAKE for each name in the folder DIR. */
int recover_names(int dir, void (*take)(struct recovery *r, const char *name),
    struct recovery *r) ATTR_MUST_CHECK;

/* PIECE could not be set aside, or read, for ERROR: its segment stays as it is. */
void recover_keep(struct recovery *r, const struct damage_piece *piece, int error);

/* Something that is not ours: report it, leave it alone. */
void recover_foreign(struct recovery *r, const char *name, const char *where);

#endif
