/* SPDX-License-Identifier: MIT
 * What can not be read is copied (or moved) to damaged/ and never deleted. The
 * names say where it stood, from where to where, so the same damage is set aside once
 * however often it is met, and again when it has grown.
 */
#ifndef QUEUE_DAMAGE_H
#define QUEUE_DAMAGE_H

#include "queue/walk.h"

struct damage {
	char name[64];
	char text[192];
};

/* What was found, to be reported in the loop. */
struct damage_list {
	struct damage *all;
	size_t count;
};
void damage_list_free(struct damage_list *list);
void damage_list_add(struct damage_list *list, const char *name, const char *format, ...)
    ATTR_PRINTF(3, 4);

/* Copy [FROM, TO) of segment NUMBER to the folder DIR; what was new goes on
 * LIST, WHAT says in a few words what is wrong. -1 with errno: not saved. */
int damage_set_aside(int dir, const struct walk_source *source, uint32_t number, uint64_t from,
    uint64_t to, const char *what, struct damage_list *list);

/* Move NAME from the folder BIG_DIR (for those whose record can not be read). */
int damage_move_big(int dir, int big_dir, const char *name, const char *what,
    struct damage_list *list);

#endif
