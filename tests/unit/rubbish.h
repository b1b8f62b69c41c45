/* SPDX-License-Identifier: MIT
 * Making rubbish of a spool, the same one for the same seed: its files in memory,
 * what stands in them, changes to them, and their way back to a folder.
 */
#ifndef TESTS_UNIT_RUBBISH_H
#define TESTS_UNIT_RUBBISH_H

#include "queue/walk.h"

#define RUBBISH_FILES 64
#define RUBBISH_PIECES 2048
#define RUBBISH_PLANTED 8

/* A record of the spool as it was. */
struct piece {
	size_t file;
	uint64_t from;
	uint64_t meta_end;
	uint64_t to;
	struct record record;
	struct record_note note;  /* RESULT, STATE, END */
	unsigned done;            /* MESSAGE: bits */
	struct spool_state state; /* MESSAGE, STATE */
};

struct rubbish_file {
	char name[48]; /* in the spool's folder: "big/ID" as well */
	char *data;
	size_t size;
	size_t used; /* a log: where its records end */
	bool gone;   /* not written as a plain file of this name */
};

struct image {
	struct rubbish_file files[RUBBISH_FILES];
	size_t count;
	struct piece pieces[RUBBISH_PIECES]; /* empty in a copy */
	size_t piece_count;
};

/* Read the segments and big files in the folder DIR. */
void image_load(struct image *image, const char *dir);
void image_copy(struct image *to, const struct image *from); /* files only */
void image_store(const struct image *image, const char *dir);
void image_clear(struct image *image);
struct rubbish_file *image_find(struct image *image, const char *name);
bool is_log(const struct rubbish_file *file);
struct walk_source file_source(const struct rubbish_file *file);

/* What became of an image. */
struct rubbish {
	const struct image *was;
	struct image now;
	uint64_t random; /* the state of the generator */
	bool copied;     /* whole segments may be there twice, or under other names */
	char planted[RUBBISH_PLANTED][48]; /* what is no plain file; to be left alone */
	size_t planted_count;
	char text[512]; /* what was done */
};

/* A few changes that SEED chooses. */
void rubbish_make(struct rubbish *r, const struct image *was, uint64_t seed);
/* Write it out to DIR, with what was planted. */
void rubbish_store(const struct rubbish *r, const char *dir);
void rubbish_clear(struct rubbish *r);

/* Are bytes FROM to TO of PIECE what they were, and where they were? */
bool rubbish_is_intact(
    const struct rubbish *r, const struct piece *piece, uint64_t from, uint64_t to);
/* Can records of that file be told from old bytes (its head, or the record behind it)? */
bool rubbish_is_usable(const struct rubbish *r, size_t file);

#endif
