/* SPDX-License-Identifier: MIT
 * The new content is written beside the file, synced, and put in its place; then
 * the folder is synced. The lock is on the folder: the file itself is another one
 * after each change, and a lock file would stay behind.
 */
#include "relayd/users_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define SECRET_SIZE 32

struct change {
	const char *file;
	const char *owner;
	char *name;  /* of the file in its folder */
	int folder;  /* locked */
	struct stat st; /* of the old file; st_ino is 0 for none */
	struct buf old;
	struct buf fresh;
};

static int open_folder(struct change *c, struct why *why)
{
	char *path = mem_text(c->file);
	char *slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	const char *folder = !slash ? "." : slash == path ? "/" : path;
	c->name = mem_text(slash ? slash + 1 : c->file);
	c->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = 0;
	if (c->folder < 0 || flock(c->folder, LOCK_EX) < 0)
		result = why_errno(why, WHY_LOCAL, errno, "%s", folder);
	mem_free(path);
	return result;
}

/* REAL: links have been followed already. */
static int read_old(struct change *c, bool real, struct why *why)
{
	if (users_read(c->file, real ? O_NOFOLLOW : 0, &c->st, &c->old, why) < 0)
		return why_prefix(why, "%s", c->file);
	return 0;
}

static void add_secret(struct buf *out)
{
	char secret[SECRET_SIZE];
	random_bytes(secret, sizeof(secret));
	buf_add_text(out, "# relayd's users; relayctl user changes them\n:secret:");
	text_hex(out, (struct span){secret, sizeof(secret)});
	buf_add_byte(out, '\n');
}

/* A comment, an empty line and the secret are nobody's. */
static bool is_user(struct span line)
{
	return line.n && line.p[0] != '#' && line.p[0] != ':';
}

/* Copy all lines but NAME's, whatever is wrong with it and however often it is there: it
 * becomes LINE. Result: was it there? */
static bool edit(struct change *c, const char *name, const char *line)
{
	struct span rest = span_buf(&c->old);
	size_t n = strlen(name);
	bool found = false;
	while (rest.n) {
		struct span old = span_cut(&rest, '\n');
		bool own = is_user(old) && old.n >= n && memcmp(old.p, name, n) == 0 &&
			   (old.n == n || old.p[n] == ':');
		bool first = own && !found;
		found = found || own;
		if (!own)
			buf_add(&c->fresh, old.p, old.n);
		else if (first && line)
			buf_add_text(&c->fresh, line);
		if (!own || (first && line))
			buf_add_byte(&c->fresh, '\n');
	}
	return found;
}

static int make_content(struct change *c, enum users_change change, const char *name,
    const char *line, struct why *why)
{
	if (c->old.len == 0 || !memmem(c->old.data, c->old.len, ":secret:", 8))
		add_secret(&c->fresh);
	bool found = edit(c, name, line);
	if (change == USERS_ADD && found)
		return why_set(why, WHY_PERM,
		    "%s: the user is there already; relayctl user passwd gives another password",
		    c->file);
	if (change != USERS_ADD && !found)
		return why_set(why, WHY_PERM, "%s: there is no such user", c->file);
	if (change == USERS_ADD) {
		buf_add_text(&c->fresh, line);
		buf_add_byte(&c->fresh, '\n');
	}
	return 0;
}

/* As the old one had it; a new file is the daemon's. */
static int give_away(const struct change *c, int fd)
{
	const struct passwd *user = c->owner[0] ? getpwnam(c->owner) : NULL;
	if (c->st.st_ino)
		return fchown(fd, c->st.st_uid, c->st.st_gid);
	return geteuid() == 0 && user ? fchown(fd, user->pw_uid, user->pw_gid) : 0;
}

static int write_all(int fd, const struct buf *b)
{
	size_t done = 0;
	while (done < b->len) {
		ssize_t n = write(fd, b->data + done, b->len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		done += (size_t)n;
	}
	return fsync(fd);
}

static int replace(const struct change *c, struct why *why)
{
	struct buf path = {0};
	buf_addf(&path, "%s.new", c->name);
	/* what a run that was killed has left; the lock says that nobody writes it */
	unlinkat(c->folder, buf_text(&path), 0);
	int fd = openat(c->folder, buf_text(&path),
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int result = fd < 0 || give_away(c, fd) < 0 || write_all(fd, &c->fresh) < 0 ||
			     renameat(c->folder, buf_text(&path), c->folder, c->name) < 0 ||
			     fsync(c->folder) < 0
			 ? why_errno(why, WHY_LOCAL, errno, "%s can not be written", c->file)
			 : 0;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		unlinkat(c->folder, buf_text(&path), 0);
	buf_free(&path);
	return result;
}

/* BROKEN gets the lines of TEXT that are wrong. Result: are there any? */
static bool is_broken(const struct change *c, const struct buf *text, struct buf *broken)
{
	struct users *users = users_parse(span_buf(text), c->file, broken);
	users_free(users);
	return users == NULL;
}

static int make_change(struct change *c, enum users_change change, const char *name,
    const char *line, struct buf *broken, struct why *why)
{
	if (change == USERS_ADD && is_broken(c, &c->old, broken))
		return why_set(why, WHY_LOCAL,
		    "%s: nobody is added until what is wrong there is mended", c->file);
	if (make_content(c, change, name, line, why) < 0 || replace(c, why) < 0)
		return -1;
	is_broken(c, &c->fresh, broken);
	return 0;
}

int users_file_change(const char *file, enum users_change change, const char *name,
    const char *line, const char *owner, struct buf *broken, struct why *why)
{
	struct change c = {.owner = owner, .folder = -1};
	/* who keeps it elsewhere and links to it keeps the link */
	char *real = realpath(file, NULL);
	c.file = real ? real : file;
	int result = -1;
	if (open_folder(&c, why) == 0 && read_old(&c, real != NULL, why) == 0)
		result = make_change(&c, change, name, line, broken, why);
	if (c.folder >= 0)
		close(c.folder); /* ends the lock */
	buf_wipe(&c.old);
	buf_wipe(&c.fresh);
	mem_free(c.name);
	free(real);
	return result;
}
