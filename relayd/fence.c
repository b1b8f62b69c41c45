/* SPDX-License-Identifier: MIT */
#include "relayd/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the oldest headers that we build with. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (UINT64_C(1) << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (UINT64_C(1) << 14)
#endif

#define VERSION_MIN 2      /* 1 has no rename between folders, which the spool needs */
#define VERSION_TRUNCATE 3 /* knows TRUNCATE */

#define INSIDE \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
	    LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE)
#define NOWHERE \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
	    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
	    LANDLOCK_ACCESS_FS_MAKE_SYM)

static int allow(int rules, const char *folder, uint64_t rights, struct why *why)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	rule.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s", folder);
	long result = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	int error = errno;
	close(rule.parent_fd);
	return result == 0 ? 0 : why_errno(why, WHY_LOCAL, error, "Landlock: %s", folder);
}

static int enclose(int rules, const char *const *folders, size_t count, uint64_t rights,
    struct why *why)
{
	for (size_t i = 0; i < count; i++)
		if (allow(rules, folders[i], rights, why) < 0)
			return -1;
	if (syscall(SYS_landlock_restrict_self, rules, 0) == 0)
		return 0;
	return why_errno(why, WHY_LOCAL, errno, "Landlock");
}

enum fence_result fence_enter(const char *const *folders, size_t count, struct why *why)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	if (version < VERSION_MIN)
		return FENCE_ABSENT;
	uint64_t newer = version < VERSION_TRUNCATE ? LANDLOCK_ACCESS_FS_TRUNCATE : 0;
	struct landlock_ruleset_attr handled = {.handled_access_fs = (INSIDE | NOWHERE) & ~newer};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (rules < 0) {
		why_errno(why, WHY_LOCAL, errno, "Landlock");
		return FENCE_FAILED;
	}
	int result = enclose(rules, folders, count, INSIDE & ~newer, why);
	close(rules);
	return result < 0 ? FENCE_FAILED : FENCE_UP;
}
