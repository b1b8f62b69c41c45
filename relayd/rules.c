/* SPDX-License-Identifier: MIT */
#include "relayd/rules.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/texts.h"

/* where they are when the program can not tell its own place */
#define RULES_FALLBACK "/usr/share/relayd/replies.conf"
#define USER_FILES_MAX 200

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* No folder is no user's rules; one that can not be read whole is a fault. */
static int add_user_files(struct texts *files, const char *configuration, struct buf *errors)
{
	const char *slash = strrchr(configuration, '/');
	struct buf folder = {0};
	int result = 0;
	buf_add(&folder, configuration, slash ? (size_t)(slash - configuration) + 1 : 0);
	buf_add_text(&folder, "replies.d");
	DIR *dir = opendir(buf_text(&folder));
	if (!dir && errno != ENOENT && errno != ENOTDIR) {
		buf_addf(errors, "%s: can not be read: %s\n", buf_text(&folder), strerror(errno));
		result = -1;
	}
	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		size_t n = strlen(e->d_name);
		struct buf name = {0};
		if (e->d_name[0] == '.' || n < 6 || strcmp(e->d_name + n - 5, ".conf") != 0)
			continue;
		if (files->count == USER_FILES_MAX) {
			buf_addf(errors,
			    "%s: has more than %d files; put the rules of several into one\n",
			    buf_text(&folder), USER_FILES_MAX);
			result = -1;
			break;
		}
		buf_addf(&name, "%s/%s", buf_text(&folder), e->d_name);
		texts_add(files, buf_take(&name, NULL));
	}
	if (dir)
		closedir(dir);
	if (files->count)
		qsort(files->list, files->count, sizeof(*files->list), by_name);
	buf_free(&folder);
	return result;
}

/* The rules that belong to this program, by its own place: conf/replies.conf in one of
 * the folders over it where it was built, else share/relayd/ beside its folder, so that
 * an installation may be anywhere. */
static void own_rules(struct buf *name)
{
	static const char *const places[] = {"/conf/replies.conf", "/share/relayd/replies.conf"};
	char program[1024];
	ssize_t end = readlink("/proc/self/exe", program, sizeof(program) - 1);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		ssize_t n = end;
		for (int up = 0; n > 0 && up < 3; up++) {
			while (n > 0 && program[n - 1] != '/')
				n--;
			if (n <= 1) /* never /conf */
				break;
			n--;
			buf_clear(name);
			buf_add(name, program, (size_t)n);
			buf_add_text(name, places[i]);
			if (access(buf_text(name), R_OK) == 0)
				return;
		}
	}
	buf_clear(name);
	buf_add_text(name, RULES_FALLBACK);
}

/* NAME in the folder of FILE. It may be left out: `relayctl delist` says so then. It
 * stands before FILE, which changes nothing: entries and rules have nothing in common. */
static void add_beside(struct texts *files, const char *file, const char *name)
{
	const char *slash = strrchr(file, '/');
	struct buf beside = {0};
	buf_add(&beside, file, slash ? (size_t)(slash - file) + 1 : 0);
	buf_add_text(&beside, name);
	if (access(buf_text(&beside), F_OK) == 0)
		texts_add(files, buf_take(&beside, NULL));
	else
		buf_free(&beside);
}

struct verdict_rules *rules_load(const char *configuration, struct buf *errors)
{
	struct texts files = {0};
	struct buf ours = {0};
	struct verdict_rules *rules = NULL;
	int result = add_user_files(&files, configuration, errors);
	const char *named = secure_getenv("RELAYD_REPLIES");
	if (named)
		buf_add_text(&ours, named);
	else
		own_rules(&ours);
	add_beside(&files, buf_text(&ours), "delist.conf");
	texts_add(&files, buf_take(&ours, NULL));
	rules = verdict_load((const char *const *)files.list, files.count, errors);
	texts_clear(&files);
	if (result < 0) {
		verdict_free(rules);
		return NULL;
	}
	return rules;
}
