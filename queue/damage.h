/* SPDX-License-Identifier: MIT
 * What can not be read is copied (or moved) to damaged/ and never deleted. The
 * names say where it stood, from where to where, so the same damage is set aside once
 * however often it is met, and again when it has grown.
 */
#ifndef QUEUE_DAMAGE_H
#define QUEUE_DAMAGE_H

#include "queue/walk.h"

enum damage_kind {
	DAMAGE_SAVED,   /* FILE under damaged/ has it */
	DAMAGE_KEPT,    /* it is still where it was, in FILE of the spool, which is left as it is */
	DAMAGE_FOREIGN, /* FILE, in the spool, is not ours and left alone */
};

struct damage {
	enum damage_kind kind;
	char file[64];
	char text[400]; /* what it is, and whose message, as far as that is known; ASCII */
	uint64_t id;    /* of that message; 0: not known */
};

/* What was found, to be reported in the loop. */
struct damage_list {
	struct damage *all;
	size_t count;
};
void damage_list_free(struct damage_list *list);
void damage_list_add(struct damage_list *list, enum damage_kind kind, uint64_t id, const char *file,
    const char *format, ...) ATTR_PRINTF(5, 6);

/* Bytes [FROM, TO) of segment NUMBER. */
struct damage_piece {
	const struct walk_source *source;
	uint32_t number;
	uint64_t from;
	uint64_t to;
	const char *what; /* is wrong with them, in a few words; NULL: they can not be read now */
	uint64_t id;      /* the message that they are, or were; 0: not known */
	struct span meta; /* of its record, if that is intact: its sender is named too */
};

/* What WALK stands at, in segment NUMBER; of the message ID, 0: not known. */
struct damage_piece damage_piece(
    const struct walk *walk, uint32_t number, const char *what, uint64_t id);
/* The same when the head and the meta part there are intact. */
struct damage_piece damage_record(const struct walk *walk, uint32_t number, const char *what);

/* Copy PIECE to the folder DIR; what was new goes on LIST. -1 with errno: not saved, or not
 * all of it could be read. */
int damage_set_aside(int dir, const struct damage_piece *piece, struct damage_list *list);

/* PIECE was not saved, for ERROR (an errno), and the caller leaves it where it is until the
 * next start: that goes on LIST, with what to do. */
void damage_keep(const struct damage_piece *piece, int error, struct damage_list *list);

/* Move NAME, the id of a message, from the folder BIG_DIR; WHAT says why. */
int damage_move_big(int dir, int big_dir, const char *name, const char *what,
    struct damage_list *list);

#endif
