/* SPDX-License-Identifier: MIT
 * relayctl's own parts: the conversation with the daemon, tables, and the
 * commands that need no daemon.
 */
#ifndef RELAYD_CTL_H
#define RELAYD_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "relayd/base/buf.h"
#include "relayd/base/why.h"
#include "relayd/command_table.h"

enum { CTL_OK = 0, CTL_PROBLEM = 1, CTL_USAGE = 2 };

struct ctl {
	const char *socket; /* NULL: from the configuration */
	const char *file;   /* of the configuration */
	bool file_given;    /* by -f: no other daemon than that of this file is meant */
	bool json;
	enum command_id command;
	const char *const *words; /* the whole request */
	size_t word_count;
	const char *const *argv;  /* behind the command's words */
	size_t argc;
};

/* Ask the daemon and print what it answers. Result: the exit status. */
int ctl_ask(const struct ctl *ctl);

/* RIGHTS_LOCAL commands. */
int ctl_local(const struct ctl *ctl);

/* `reputation explain` (ctl_explain.c). */
int ctl_explain(const struct ctl *ctl);

/* A reply that stands in a line of another program (ctl_quote.c). */
struct ctl_quote {
	struct buf reply;
	const char *stage; /* NULL: not known */
	struct buf mx;     /* empty: not known */
};
/* Result: false when TEXT begins with a reply, or has none. Clear it in both cases. */
bool ctl_quote_find(const char *text, struct ctl_quote *quote);
void ctl_quote_clear(struct ctl_quote *quote);

/* `user add|passwd|remove|list` (ctl_user.c). */
int ctl_user(const struct ctl *ctl);

/* Print a row of `why` as a paragraph; FIRST: no empty line before it. */
void ctl_why(const json_t *row, bool first);

/* Print the answer of `delist`: steps and texts, in both languages. */
void ctl_delist(const json_t *row);

/* Say how the command is called, or what went wrong. Result: the exit status. */
int ctl_usage(const struct ctl *ctl);
int ctl_complain(const struct why *why);
/* ROW as one line; it is released. */
void ctl_print_json(json_t *row);

/* What ROW holds under that name; "" or 0 when it has none. */
const char *ctl_text(const json_t *row, const char *name);
int64_t ctl_number(const json_t *row, const char *name);

/* "12s", "3h", "2d" */
void ctl_add_seconds(struct buf *out, int64_t seconds);

/* Print rows as a table, column widths from the rows. After a thousand rows the
 * table begins to come out, with the widths of those. */
struct ctl_table {
	char **columns;
	size_t column_count;
	char ***rows;
	size_t row_count;
	size_t *widths; /* once something was printed */
};
void ctl_table_init(struct ctl_table *table, const char *columns);
void ctl_table_add(struct ctl_table *table, const json_t *row);
void ctl_table_print(struct ctl_table *table);
void ctl_table_clear(struct ctl_table *table);

#endif
