/* SPDX-License-Identifier: MIT
 * Where the process may still write: beneath the folders named here and nowhere
 * else, by Landlock. What is open stays as it was; reading is left to the modes of
 * files, since a reload may name any file.
 */
#ifndef RELAYD_FENCE_H
#define RELAYD_FENCE_H

#include <stddef.h>

#include "relayd/base/attr.h"
#include "relayd/base/why.h"

enum fence_result {
	FENCE_UP,
	FENCE_ABSENT, /* the kernel has no Landlock that would do (before Linux 5.19) */
	FENCE_FAILED, /* WHY */
};

/* FOLDERS exist. Needs no_new_privs; holds for this thread and those that it makes
 * later, so it comes before the first one. Nothing can be executed afterwards. */
enum fence_result fence_enter(const char *const *folders, size_t count, struct why *why)
    ATTR_MUST_CHECK;

#endif
