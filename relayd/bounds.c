/* SPDX-License-Identifier: MIT */
#include "relayd/bounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "relayd/base/log.h"

#define DESCRIPTORS_WANTED 65536
#define RESERVED 64 /* spool, DNS, control, log, helper */
#define MEMORY_SHARE 8
#define MEMORY_MIN (INT64_C(16) << 20)
#define MEMORY_MAX (INT64_C(1) << 30)

void bounds_raise(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS_WANTED)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int64_t lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* A number alone in a file; MAX where it says none. */
static int64_t number_in(const char *path, int64_t max)
{
	int64_t n = max;
	FILE *file = fopen(path, "re");
	if (!file)
		return max;
	if (fscanf(file, "%" SCNd64, &n) != 1 || n <= 0)
		n = max;
	fclose(file);
	return lesser(n, max);
}

static int64_t memory_given(void)
{
	struct rlimit space;
	int64_t all = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	all = number_in("/sys/fs/cgroup/memory.max", all);
	all = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", all);
	if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
		all = lesser(all, (int64_t)space.rlim_cur);
	return all;
}

static void lower(int64_t *limit, int64_t given, const char *key)
{
	if (*limit <= given)
		return;
	log_text(LOG_LEVEL_WARN, "%s is %" PRId64 " here, not %" PRId64
	    ", for want of descriptors; raise LimitNOFILE (ulimit -n)", key, given, *limit);
	*limit = given;
}

/* Three quarters for clients: who is let in must also be able to be heard. */
void bounds_apply(struct conf *conf)
{
	struct rlimit nofile = {0};
	getrlimit(RLIMIT_NOFILE, &nofile);
	int64_t all = nofile.rlim_cur > DESCRIPTORS_WANTED * 16 ? DESCRIPTORS_WANTED * 16
							       : (int64_t)nofile.rlim_cur;
	int64_t given = all > 2 * RESERVED ? all - RESERVED : all / 2;
	lower(&conf->limits.connections, given - given / 4, "limits.connections");
	lower(&conf->queue.connections, given / 4, "queue.connections");
	if (conf->spool.memory == 0) {
		int64_t share = memory_given() / MEMORY_SHARE;
		conf->spool.memory = share < MEMORY_MIN ? MEMORY_MIN : lesser(share, MEMORY_MAX);
	}
}
