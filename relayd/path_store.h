/* SPDX-License-Identifier: MIT
 * Where paths and incidents survive a restart: lines of text in SPOOL/reputation,
 * appended as things change, all that changed in one turn of the loop with one
 * write. At the start, and whenever it has grown much, the file is written anew
 * under another name and put in place. Appended lines are not synced: a crash of
 * the machine may cost the last seconds of learning, never mail.
 */
#ifndef RELAYD_PATH_STORE_H
#define RELAYD_PATH_STORE_H

#include "queue/reputation.h"
#include "relayd/base/loop.h"
#include "relayd/base/why.h"

struct path_store;

/* The store of the folder FOLDER (the spool's). */
struct path_store *path_store_new(struct loop *loop, const char *folder);
/* Writes what is left. */
void path_store_free(struct path_store *store);

/* Replay the file into REPUTATION, then write it anew. SKIPPED: lines that made no
 * sense. -1: the file can not be read or written. */
int path_store_load(struct path_store *store, struct reputation *reputation, size_t *skipped,
    struct why *why) ATTR_MUST_CHECK;

/* One more line; before path_store_load it is dropped. */
void path_store_add(struct path_store *store, const char *line);

#endif
