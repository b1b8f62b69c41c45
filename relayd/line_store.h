/* SPDX-License-Identifier: MIT
 * Where small state survives a restart: lines of text in a file of the spool's
 * folder, appended as things change, all that changed in one turn of the loop with
 * one write. At the start, and whenever it has grown much, the file is written anew
 * under another name and put in place. Appended lines are not synced: a crash of
 * the machine may cost the last seconds of learning, never mail. While the disk takes
 * nothing 4 MiB of lines wait; then they are dropped, and a new file is tried every ten
 * seconds. The first line says whose file it is and its version ("relayd reputation 1");
 * what the others say is their owner's business (queue/reputation, queue/brake).
 */
#ifndef RELAYD_LINE_STORE_H
#define RELAYD_LINE_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/loop.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

struct line_store;

/* Whose lines they are. All texts outlive the store. */
struct line_store_owner {
	const char *name; /* of the file; "NAME.new" is used too */
	const char *what; /* "what is learnt of paths", for complaints */
	/* One stored line. False: it made no sense. */
	bool (*replay)(void *arg, struct span line);
	/* The whole state as lines, given to LINE. */
	void (*dump)(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg);
	void *arg;
};

/* The store of OWNER in the folder FOLDER (the spool's). */
struct line_store *line_store_new(struct loop *loop, const char *folder,
    const struct line_store_owner *owner);
/* Writes what is left; the owner and the loop are still there. NULL is fine. */
void line_store_free(struct line_store *store);

/* Replay the file, then write it anew; where the disk does not take that, which is said in
 * the log, the old one is gone on with. SKIPPED: lines that made no sense. -1: the file can
 * not be read, or a newer program has written it. */
int line_store_load(struct line_store *store, size_t *skipped, struct why *why) ATTR_MUST_CHECK;

/* One more line; before line_store_load it is dropped. */
void line_store_add(struct line_store *store, const char *line);

#endif
