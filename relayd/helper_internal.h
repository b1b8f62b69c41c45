/* SPDX-License-Identifier: MIT
 * What both ends of the helper's socketpair know: helper.c in the daemon,
 * helper_child.c in the helper. Both come from one binary, so numbers go as they
 * are in memory.
 */
#ifndef RELAYD_HELPER_INTERNAL_H
#define RELAYD_HELPER_INTERNAL_H

#include <stdint.h>

#include "relayd/helper.h"

#define HELPER_START_MAX 8192
#define HELPER_FILTER '1'
#define HELPER_NO_FILTER '0'

/* First packet: the command, NUL, the user, NUL, one of the two above. Answered with a struct
 * helper_report whose event is 0 when all went well, else its text says why not. */
struct helper_report {
	uint32_t event;
	uint32_t number;
	int32_t value;
	char text[sizeof(((struct why *)0)->text)];
};

/* Then: a head, and behind it the input. */
struct helper_head {
	uint32_t number;
	uint32_t length;
};

/* The helper's whole life; FD is its end of the socketpair. Does not return. */
void helper_child(int fd) __attribute__((noreturn));

#endif
