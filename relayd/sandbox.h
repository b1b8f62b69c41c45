/* SPDX-License-Identifier: MIT
 * The system calls that the process may still make, as a seccomp filter for all
 * its threads. The daemon's is a list of what is allowed: anything else ends the
 * process at once. The helper's is a list of what is refused, since the program
 * that it runs inherits it and may be anything.
 */
#ifndef RELAYD_SANDBOX_H
#define RELAYD_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/attr.h"
#include "relayd/base/why.h"

struct sandbox_options {
	bool helper;   /* the helper's filter, else the daemon's */
	bool log_only; /* a call that is not allowed is written to the audit log and made */
	bool tools;    /* allow what the runtime of a sanitizer needs */
};

/* True in builds with a sanitizer: what `tools` should be. */
bool sandbox_needs_tools(void);

/* Install the filter, in all threads; it can not be taken off again. -1: WHY. */
int sandbox_enter(const struct sandbox_options *options, struct why *why) ATTR_MUST_CHECK;

/* What the daemon may call, by purpose, for the tests and the table in the README:
 * CALLS are names of system calls, separated by spaces. LIMIT says what of them,
 * NULL: all. The row behind the last has no purpose. */
struct sandbox_row {
	const char *purpose;
	const char *calls;
	const char *limit;
};
extern const struct sandbox_row sandbox_rows[];

#endif
