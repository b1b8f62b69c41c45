/* SPDX-License-Identifier: MIT
 * Start-up after kill -9: what was appended and noted is there, and synced before
 * anything is built on it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/spool_io.h"
#include "tests/unit/apart.h"
#include "tests/unit/spool_kit.h"

/* The child: append, tell which were taken, end every second one. */
static void child(struct kit *kit, int out, uint64_t first)
{
	kit_open(kit);
	for (uint64_t id = first;; id += 3) {
		size_t size = id % 10 == 0 ? 100000 : 900;
		if (kit_append_many(kit, id, 3, size, NULL) != 3)
			_exit(1);
		if (write(out, &id, sizeof(id)) != sizeof(id))
			_exit(1);
		kit_end(kit, id);
		if (kit->count > KIT_MAX - 10)
			kit->count = 0;
	}
}

static void test_kill(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	kit->lenient = true;
	uint64_t first = 1;
	for (int round = 0; round < 15; round++) {
		int fds[2];
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0)
			child(kit, fds[1], first);
		close(fds[1]);
		uint64_t id;
		/* let it do some work, a different amount each time */
		for (int i = 0; i < 5 + round * 2; i++)
			assert_int_equal(read(fds[0], &id, sizeof(id)), sizeof(id));
		kill(pid, SIGKILL);
		while (read(fds[0], &id, sizeof(id)) == sizeof(id))
			;
		close(fds[0]);
		waitpid(pid, NULL, 0);
		kit->count = 0;
		kit_open(kit);
		assert_int_equal(kit->damages, 0);
		for (uint64_t i = first; i <= id; i += 3) {
			/* the first of three has ended, of the last three it may have */
			if (i < id)
				assert_null(kit_find(kit, i));
			for (uint64_t k = i + 1; k < i + 3; k++) {
				struct kit_message *m = kit_find(kit, k);
				assert_non_null(m);
				m->size = i % 10 == 0 ? 100000 : 900;
				assert_true(kit_is_readable(kit, m));
			}
		}
		/* start over with an empty one, so that it stays small */
		for (size_t i = 0; i < kit->count; i++)
			kit_end(kit, kit->messages[i].id);
		kit_close(kit);
		first = id + 1000;
	}
	kit_free(kit);
}

static void live_until_settled(void *arg)
{
	struct kit *kit = arg;
	kit_open(kit);
	kit_append_many(kit, 1, 2, 500, NULL);
	kit_result(kit, 1, 2);
	kit_end(kit, 2);
	kit_settle(kit);
}

/* Results are written at once, though synced later: a kill loses none. */
static void test_kill_keeps_results(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	run_apart(live_until_settled, kit);
	kit->messages[0] = (struct kit_message){.id = 1, .size = 500, .live = true, .done = 4};
	kit->count = 1;
	kit_open(kit);
	kit_check(kit);
	kit_free(kit);
}

/* A kill leaves in memory what was not synced. What is built on it must not outlast
 * it: carry-over would use segments anew of which the copies are not on disk. */
static unsigned synced;
static struct stat wanted_sync;

static int note_sync(int fd)
{
	struct stat st;
	synced += fstat(fd, &st) == 0 && st.st_ino == wanted_sync.st_ino;
	return fdatasync(fd);
}

static void live_with_a_result(void *arg)
{
	struct kit *kit = arg;
	kit_open(kit);
	kit_append(kit, 1, 500, NULL);
	kit_result(kit, 1, 2);
	kit_settle(kit);
}

static void test_kill_then_sync(void **state)
{
	(void)state;
	char name[40];
	char path[128];
	struct kit *kit = kit_new();
	run_apart(live_with_a_result, kit);
	kit_segment_name(&(struct kit_message){.place = {1, 0}}, name, sizeof(name));
	snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
	assert_int_equal(stat(path, &wanted_sync), 0);
	spool_io.fdatasync = note_sync;
	kit_open(kit);
	spool_io.fdatasync = fdatasync;
	assert_int_equal(kit->count, 1);
	assert_true(kit->messages[0].found);
	assert_int_equal(synced, 1);
	kit_free(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_kill_keeps_results),
		cmocka_unit_test(test_kill_then_sync),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
