/* SPDX-License-Identifier: MIT
 * The words of relayctl: one row per command. The daemon looks up its handlers,
 * relayctl its help, its checks and its shell completion here.
 */
#ifndef RELAYD_COMMAND_TABLE_H
#define RELAYD_COMMAND_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum command_id {
	CMD_STATUS,
	CMD_RELOAD,
	CMD_LOG,
	CMD_QUEUE_LIST,
	CMD_QUEUE_SHOW,
	CMD_QUEUE_CAT,
	CMD_QUEUE_HOLD,
	CMD_QUEUE_RELEASE,
	CMD_QUEUE_RETRY,
	CMD_QUEUE_DELETE,
	CMD_DESTINATIONS,
	CMD_WHY,
	CMD_CONFIG_CHECK,
	CMD_CONFIG_SHOW,
	CMD_DKIM_NEW,
	CMD_DKIM_RECORD,
	CMD_DKIM_TEST,
	CMD_USER_ADD,
	CMD_USER_PASSWD,
	CMD_USER_REMOVE,
	CMD_USER_LIST,
	CMD_EXPLAIN,
	CMD_REPUTATION_HOLD,
	CMD_REPUTATION_OPEN,
	CMD_REPUTATION_RESET,
	CMD_REPUTATION_PROBE,
	CMD_REPUTATION_UNKNOWN,
	CMD_REPUTATION,
	CMD_INCIDENTS_SHOW,
	CMD_INCIDENTS_CLOSE,
	CMD_INCIDENTS,
	CMD_DELIST,
	CMD_BRAKE_RELEASE,
	CMD_BRAKE,
	CMD_COMPLETION,
	CMD_MANUAL,
	CMD_COUNT,
};

enum command_rights {
	RIGHTS_LOOK,   /* those who may look (control_rights.h) */
	RIGHTS_CHANGE, /* those who may do all; it changes something or shows mail */
	RIGHTS_LOCAL,  /* done by relayctl itself, no daemon needed */
};

struct command_row {
	const char *words;    /* "queue list" */
	const char *usage;    /* what follows them: "[--domain D] [--sender S]", "" nothing */
	const char *sentence; /* for help and the manual */
	enum command_rights rights;
	const char *columns;  /* of the table: "id age size from to state", "" none */
};

extern const struct command_row command_table[CMD_COUNT];

/* Are these the first words of the command's? None are those of every command. */
bool command_begins(const struct command_row *row, const char *const *words, size_t count);

/* Rows with more words stand before those that begin with the same, fewer ones. The
 * command that the words at the start of ARGV name, and how many words that
 * is. -1: none. */
int command_find(const char *const *argv, size_t argc, size_t *used);

#endif
