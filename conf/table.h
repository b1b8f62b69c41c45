/* SPDX-License-Identifier: MIT
 * Every key of the configuration file, one row each. The reader, the defaults,
 * the printed configuration, the sample and the man page all come from here;
 * nothing else knows how a key is called. Internal to conf/.
 *
 * Rows stand in the order of the sample; the keys of a group or list follow
 * it, their paths begin with its path and a dot.
 */
#ifndef CONF_TABLE_H
#define CONF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/syntax.h"
#include "relayd/base/text.h"

enum table_type {
	TABLE_TEXT,      /* char * */
	TABLE_TEXTS,     /* char ** and a count */
	TABLE_ENUM,      /* an enum whose values are the places in words */
	TABLE_FLAG,      /* bool */
	TABLE_NUMBER,    /* int64_t */
	TABLE_SIZE,      /* int64_t, bytes */
	TABLE_DURATION,  /* int64_t, milliseconds */
	TABLE_DURATIONS, /* int64_t * and a count */
	TABLE_NETWORKS,  /* struct conf_network * and a count */
	TABLE_GROUP,     /* { keys }: its keys' fields are in the struct around it */
	TABLE_LIST,      /* ( { keys }, ... ): an array of structs and a count */
};

enum table_flag {
	TABLE_REQUIRED = 1, /* an item of a list must give it */
	TABLE_EMPTY = 2,    /* "" is allowed and means none; [ ] likewise */
	TABLE_SHORT = 4,    /* a group: a text in its place is its key "path" */
};

struct table_row {
	const char *path;
	enum table_type type;
	unsigned flags;
	size_t offset; /* of the field in struct conf, or in the item of the list */
	size_t count;  /* of the count, for lists of all kinds */
	size_t item;   /* size of an item, for TABLE_LIST */
	const struct syntax *syntax; /* of texts; NULL: any line of text */
	const char *const *words;    /* allowed texts, NULL-terminated; or NULL */
	const char *standard;        /* the default; several are separated by spaces;
	                              * NULL: none, or made later (see STANDARD_SAYS) */
	const char *standard_says;   /* the default in words, for people; NULL: as it is */
	int64_t min;                 /* range of numbers, sizes, durations */
	int64_t max;
	const char *sample;   /* value for the sample file; NULL: the default */
	const char *sentence; /* for the sample and the man page */
};

extern const struct table_row table_rows[];
extern const size_t table_size;

/* The keys of PARENT (NULL: the top level): the one behind LAST (NULL: the
 * first); NULL when there are no more. */
const struct table_row *table_next(const struct table_row *parent,
    const struct table_row *last);

/* The row with that name in PARENT; NULL: none. */
const struct table_row *table_find(const struct table_row *parent, const char *name);

/* What people may have meant by NAME in PARENT: a key there that differs in
 * few letters, else the full path of one of that name elsewhere ("lifetime",
 * "queue_lifetime"). NULL: no idea. */
const char *table_nearest(const struct table_row *parent, const char *name);

const char *table_name(const struct table_row *row); /* the path's last part */

/* The place of the row's field in BASE, a struct conf or an item. */
void *table_field(const struct table_row *row, void *base);
size_t *table_count(const struct table_row *row, void *base);

#endif
