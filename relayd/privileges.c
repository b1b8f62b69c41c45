/* SPDX-License-Identifier: MIT */
#include "relayd/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITIES_MAX 64

void privileges_hide(void)
{
	const struct rlimit none = {0, 0};
	umask(077);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Needs CAP_SETPCAP, so it comes before the user changes. Who has not got that
 * can not do it, and a service manager has done it for him. */
static void drop_bounding(void)
{
	for (unsigned long cap = 0; cap < CAPABILITIES_MAX; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int become(const struct passwd *user, struct why *why)
{
	if (initgroups(user->pw_name, user->pw_gid) < 0 ||
	    setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
		return why_errno(why, WHY_LOCAL, errno, "user: can not become %s", user->pw_name);
	if (user->pw_uid != 0 && setuid(0) == 0)
		return why_set(why, WHY_LOCAL, "user: %s can become root again", user->pw_name);
	return 0;
}

/* Who has none is often not allowed to ask for none either (a service manager's own
 * filter). */
static bool has_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = {{0}};
	if (syscall(SYS_capget, &head, now) < 0)
		return true;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (now[i].effective | now[i].permitted | now[i].inheritable)
			return true;
	return false;
}

int privileges_drop(const struct passwd *user, struct why *why)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	drop_bounding();
	if (user && become(user, why) < 0)
		return -1;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (has_capabilities() && syscall(SYS_capset, &head, none) < 0)
		return why_errno(why, WHY_LOCAL, errno, "the capabilities can not be given up");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return why_errno(why, WHY_LOCAL, errno, "no_new_privs can not be set");
	/* a change of the user may have set it back */
	privileges_hide();
	return 0;
}
