/* SPDX-License-Identifier: MIT */
#include "relayd/control_rights.h"

#include <endian.h>
#include <errno.h>
#include <grp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "relayd/base/mem.h"

#define GROUPS_MAX 65536 /* NGROUPS_MAX */

/* The form of an access list in its extended attribute, linux/posix_acl_xattr.h. */
#define ACL_VERSION 2u
#define ACL_ENTRIES 6
#define ACL_NO_ID UINT32_MAX
enum { ACL_USER_OBJ = 1, ACL_GROUP_OBJ = 4, ACL_GROUP = 8, ACL_MASK = 16, ACL_OTHER = 32 };

struct acl_entry {
	uint16_t tag;
	uint16_t mode;
	uint32_t id;
};

struct acl {
	uint32_t version;
	struct acl_entry entries[ACL_ENTRIES];
};

static int find_group(const char *key, const char *name, gid_t *gid, struct why *why)
{
	const struct group *group = getgrnam(name);
	if (!group)
		return why_set(why, WHY_PERM,
		    "%s: there is no group \"%s\" on this machine; make it with: groupadd %s", key,
		    name, name);
	*gid = group->gr_gid;
	return 0;
}

int control_rights_find(struct control_rights *rights, const struct conf *conf, struct why *why)
{
	*rights = (struct control_rights){.look_group = getegid()};
	rights->has_full_group = conf->control_group[0] != '\0';
	if (rights->has_full_group &&
	    find_group("control_group", conf->control_group, &rights->full_group, why) < 0)
		return -1;
	if (!conf->control_look_group[0])
		return 0;
	return find_group("control_look_group", conf->control_look_group, &rights->look_group,
	    why);
}

static void add_entry(struct acl *acl, size_t *count, unsigned tag, unsigned mode, uint32_t id)
{
	acl->entries[(*count)++] = (struct acl_entry){
	    .tag = htole16((uint16_t)tag), .mode = htole16((uint16_t)mode), .id = htole32(id)};
}

/* Named groups stand in the order of their numbers, none twice. */
static void add_groups(struct acl *acl, size_t *count, const struct control_rights *rights)
{
	gid_t one = rights->look_group;
	gid_t other = rights->has_full_group ? rights->full_group : one;
	add_entry(acl, count, ACL_GROUP, 6, one < other ? one : other);
	if (one != other)
		add_entry(acl, count, ACL_GROUP, 6, one < other ? other : one);
}

int control_rights_admit(const struct control_rights *rights, const char *path, struct why *why)
{
	struct acl acl = {.version = htole32(ACL_VERSION)};
	size_t count = 0;
	if (!rights->has_full_group && rights->look_group == getegid())
		return 0; /* the mode says it all */
	add_entry(&acl, &count, ACL_USER_OBJ, 6, ACL_NO_ID);
	add_entry(&acl, &count, ACL_GROUP_OBJ, 6, ACL_NO_ID);
	add_groups(&acl, &count, rights);
	add_entry(&acl, &count, ACL_MASK, 6, ACL_NO_ID);
	add_entry(&acl, &count, ACL_OTHER, 0, ACL_NO_ID);
	size_t size = offsetof(struct acl, entries) + count * sizeof(acl.entries[0]);
	if (lsetxattr(path, "system.posix_acl_access", &acl, size, 0) == 0)
		return 0;
	return why_errno(why, WHY_LOCAL, errno,
	    "control: %s: its file system takes no access list, which control_group and "
	    "control_look_group need; put it under /run", path);
}

/* ---- who asks ---- */

static bool has(const gid_t *groups, size_t count, gid_t wanted)
{
	for (size_t i = 0; i < count; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

/* GROUPS has room for COUNT; result: how many there are. A kernel that does not
 * tell: only the main one counts, which is there already. */
static size_t other_groups(int fd, gid_t *groups, size_t count)
{
	socklen_t size = (socklen_t)(count * sizeof(*groups));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return 0;
	return size / sizeof(*groups);
}

struct control_peer control_rights_peer(const struct control_rights *rights, int fd)
{
	struct ucred cred = {0};
	socklen_t size = sizeof(cred);
	struct control_peer peer = {.uid = (uid_t)-1};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return peer;
	peer.uid = cred.uid;
	peer.full = cred.uid == 0 || cred.uid == geteuid();
	peer.look = peer.full;
	if (peer.full)
		return peer;
	gid_t *groups = mem_array(GROUPS_MAX + 1, sizeof(*groups));
	groups[0] = cred.gid;
	size_t count = 1 + other_groups(fd, groups + 1, GROUPS_MAX);
	peer.full = rights->has_full_group && has(groups, count, rights->full_group);
	peer.look = peer.full || has(groups, count, rights->look_group);
	mem_free(groups);
	return peer;
}
