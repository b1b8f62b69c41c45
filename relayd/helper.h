/* SPDX-License-Identifier: MIT
 * The helper: a small process that runs notify.command, because the daemon itself
 * can not start programs any more. It is forked before any secret is read, told the
 * command once, by the start, and from then on takes nothing but texts for the
 * command's standard input. So whoever takes over the daemon can make the
 * administrator's own program run, a few at a time, and no other.
 *
 * Each message is one packet of a socketpair (SOCK_SEQPACKET): the kernel keeps
 * their bounds, a packet is taken whole or not at all, and nobody waits.
 */
#ifndef RELAYD_HELPER_H
#define RELAYD_HELPER_H

#include <sys/types.h>

#include "relayd/base/loop.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

#define HELPER_INPUT_MAX 131072 /* bytes of a command's input */
#define HELPER_COMMANDS_MAX 8   /* that run at once */
#define HELPER_COMMAND_MS 60000 /* of one; then it is killed, with its children */

struct helper;

/* Fork it. No thread may exist. NULL: WHY. */
struct helper *helper_fork(struct why *why);

struct helper_start {
	const char *command; /* "": it is not needed, and ends */
	const char *user;    /* to become; "": stays as it is */
	bool filter;         /* of system calls */
};

/* Tell it what to run and who to be, and wait until it has given up its privileges.
 * Once. -1: WHY. */
int helper_begin(struct helper *helper, const struct helper_start *start, struct why *why)
    ATTR_MUST_CHECK;

enum helper_event {
	HELPER_CANNOT,   /* value: the error of starting the command for NUMBER */
	HELPER_ENDED,    /* value: its exit status */
	HELPER_SIGNALED, /* value: the signal that ended it */
	HELPER_GONE,     /* the helper itself has ended */
};

/* From here on NULL is a helper without a command. */

/* What happened to commands is told here, in the loop. */
void helper_watch(struct helper *helper, struct loop *loop,
    void (*fn)(void *arg, enum helper_event event, unsigned number, int value), void *arg);

void helper_unwatch(struct helper *helper);

/* The command it was told at the start; "" when there is none. */
const char *helper_command(const struct helper *helper);

enum helper_answer {
	HELPER_TAKEN, /* the command will run, and an event tell of its end */
	HELPER_BUSY,  /* too many run: later, perhaps */
	HELPER_DEAD,  /* never again, or no command */
};

/* Run the command with INPUT (at most HELPER_INPUT_MAX bytes) for incident NUMBER. */
enum helper_answer helper_run(struct helper *helper, unsigned number, struct span input);

/* Let it go: it ends when its commands have. Takes NULL. */
void helper_free(struct helper *helper);

#endif
