/* SPDX-License-Identifier: MIT
 * The file in which paths survive: after a restart, after a crash in the middle of
 * a line, and when it has grown.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/reputation.h"
#include "relayd/base/clock.h"
#include "relayd/base/loop.h"
#include "relayd/base/mem.h"
#include "relayd/line_store.h"

#define NOW INT64_C(1795000000000)

struct kit {
	char folder[64];
	char file[96];
	struct loop *loop;
	struct reputation *reputation;
	struct line_store *store;
	size_t skipped;
	size_t dumps; /* of the whole state */
};

static void on_event(void *arg, const char *line)
{
	struct kit *kit = arg;
	line_store_add(kit->store, line);
}

static bool replay_line(void *arg, struct span line)
{
	struct kit *kit = arg;
	return reputation_replay(kit->reputation, line);
}

static void dump_lines(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg)
{
	struct kit *kit = arg;
	kit->dumps++;
	reputation_dump(kit->reputation, line, line_arg);
}

static struct line_store *store_in(struct kit *kit, const char *folder)
{
	struct line_store_owner owner = {"reputation", "what is learnt", replay_line, dump_lines, kit};
	return line_store_new(kit->loop, folder, &owner);
}

static void kit_open(struct kit *kit)
{
	struct reputation_options options = {
	    .ladder = {900000}, .ladder_count = 1, .window_start = 2, .event = on_event, .arg = kit};
	struct why why = {0};
	kit->loop = loop_new();
	kit->store = store_in(kit, kit->folder);
	kit->reputation = reputation_new(&options);
	assert_int_equal(line_store_load(kit->store, &kit->skipped, &why), 0);
}

static void kit_close(struct kit *kit)
{
	loop_turn(kit->loop, false); /* what was deferred needs the store */
	line_store_free(kit->store);
	reputation_free(kit->reputation);
	loop_free(kit->loop);
}

static int start(void **state)
{
	struct kit *kit = mem_zero(sizeof(*kit));
	snprintf(kit->folder, sizeof(kit->folder), "/tmp/relayd-test-XXXXXX");
	assert_non_null(mkdtemp(kit->folder));
	snprintf(kit->file, sizeof(kit->file), "%s/reputation", kit->folder);
	kit_open(kit);
	*state = kit;
	return 0;
}

static int end(void **state)
{
	struct kit *kit = *state;
	kit_close(kit);
	unlink(kit->file);
	assert_int_equal(rmdir(kit->folder), 0); /* nothing else was left there */
	mem_free(kit);
	return 0;
}

static struct reputation_way way_of(const char *source)
{
	return (struct reputation_way){
	    .source = source, .since = "", .provider = "p.test", .sender_domain = ""};
}

static enum permit_answer ask(struct kit *kit, const char *source)
{
	struct reputation_way way = way_of(source);
	struct permit permit = reputation_ask(kit->reputation, &way, NOW);
	if (permit.answer == PERMIT_GO || permit.answer == PERMIT_PROBE)
		reputation_give_back(kit->reputation, &way, permit.answer == PERMIT_PROBE);
	return permit.answer;
}

static void hold(struct kit *kit, const char *source)
{
	ask(kit, source); /* the path is made by the first question */
	assert_true(reputation_hold(kit->reputation, "p.test", source, NOW));
}

static long file_size(const struct kit *kit)
{
	struct stat st;
	assert_int_equal(stat(kit->file, &st), 0);
	return (long)st.st_size;
}

static void add_to_file(const struct kit *kit, const char *text)
{
	int fd = open(kit->file, O_WRONLY | O_APPEND);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void test_one_write_a_turn(void **state)
{
	struct kit *kit = *state;
	hold(kit, "one");
	hold(kit, "two");
	long head = file_size(kit); /* the version */
	assert_true(head > 0 && head < 40);
	loop_turn(kit->loop, false);
	assert_true(file_size(kit) > head);
}

static void test_restart(void **state)
{
	struct kit *kit = *state;
	hold(kit, "one");
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->skipped, 0);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
	assert_int_equal(ask(kit, "two"), PERMIT_GO);
}

/* The machine died while a line was written, or somebody wrote nonsense. */
static void test_torn_and_foreign_lines(void **state)
{
	struct kit *kit = *state;
	hold(kit, "one");
	kit_close(kit);
	add_to_file(kit, "what is this\npath\tsource=two\tprovider=p.test\theld=1\tby_hand=1");
	kit_open(kit);
	assert_int_equal(kit->skipped, 2);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
	assert_int_equal(ask(kit, "two"), PERMIT_GO);
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->skipped, 0); /* the new file has none of it */
}

static void write_file(const struct kit *kit, const char *text)
{
	int fd = open(kit->file, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

#define HELD "path\tsource=two\tprovider=p.test\theld=1\tby_hand=1\n"

/* Files from before there were versions, and first lines that are none. */
static void test_first_lines(void **state)
{
	static const struct {
		const char *text;
		size_t skipped;
		enum permit_answer two;
	} rows[] = {
	    {"", 0, PERMIT_GO},
	    {"\n" HELD, 0, PERMIT_HELD},
	    {HELD, 0, PERMIT_HELD},
	    {"relayd reputation 1\n" HELD, 0, PERMIT_HELD},
	    {"relayd reputation 0\n" HELD, 0, PERMIT_HELD},
	    {"relayd reputation 1", 1, PERMIT_GO}, /* cut */
	    {"relayd reputation \n" HELD, 1, PERMIT_HELD},
	    {"relayd reputation 1x\n" HELD, 1, PERMIT_HELD},
	    {"relayd brake 1\n" HELD, 1, PERMIT_HELD},
	    {"relayd\n" HELD, 1, PERMIT_HELD},
	};
	struct kit *kit = *state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		kit_close(kit);
		write_file(kit, rows[i].text);
		kit->skipped = 0;
		kit_open(kit);
		if (kit->skipped != rows[i].skipped || ask(kit, "two") != rows[i].two)
			fail_msg("row %zu: %zu skipped", i, kit->skipped);
	}
}

/* Its lines are for one that knows more, which would not find them as they were. */
static void test_a_newer_program_wrote_it(void **state)
{
	static const char text[] = "relayd reputation 2\nwhatever\n";
	struct kit *kit = *state;
	struct why why = {0};
	size_t skipped = 0;
	char kept[100];
	kit_close(kit);
	write_file(kit, text);
	kit->loop = loop_new();
	struct line_store *store = store_in(kit, kit->folder);
	assert_int_equal(line_store_load(store, &skipped, &why), -1);
	assert_non_null(strstr(why.text, "has version 2, this program knows versions up to 1"));
	line_store_add(store, "lost");
	loop_turn(kit->loop, false);
	line_store_free(store);
	line_store_free(NULL);
	loop_free(kit->loop);
	int fd = open(kit->file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, kept, sizeof(kept)), (ssize_t)strlen(text));
	assert_memory_equal(kept, text, strlen(text));
	close(fd);
	write_file(kit, "");
	kit_open(kit);
}

/* Somebody put another thing there. */
static void test_no_file(void **state)
{
	struct kit *kit = *state;
	struct why why = {0};
	size_t skipped = 0;
	kit_close(kit);
	unlink(kit->file);
	assert_int_equal(symlink("/dev/null", kit->file), 0);
	kit->loop = loop_new();
	struct line_store *store = store_in(kit, kit->folder);
	assert_int_equal(line_store_load(store, &skipped, &why), -1);
	assert_non_null(strstr(why.text, "/reputation"));
	line_store_free(store);
	unlink(kit->file);
	assert_int_equal(mkdir(kit->file, 0700), 0);
	store = store_in(kit, kit->folder);
	assert_int_equal(line_store_load(store, &skipped, &why), -1);
	assert_non_null(strstr(why.text, "/reputation"));
	line_store_free(store);
	loop_free(kit->loop);
	rmdir(kit->file);
	kit_open(kit);
}

static void test_a_line_without_end(void **state)
{
	struct kit *kit = *state;
	char text[4096];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	hold(kit, "one");
	kit_close(kit);
	for (int i = 0; i < 100; i++)
		add_to_file(kit, text);
	add_to_file(kit, "\n");
	kit_open(kit);
	assert_true(kit->skipped > 0);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
}

static void test_it_does_not_grow_for_ever(void **state)
{
	struct kit *kit = *state;
	long most = 0;
	hold(kit, "one");
	for (int i = 0; i < 4000; i++) {
		for (int k = 0; k < 20; k++)
			hold(kit, "one");
		loop_turn(kit->loop, false);
		if (file_size(kit) > most)
			most = file_size(kit);
	}
	assert_in_range(most, 1 << 20, 5 << 20);
	assert_true(file_size(kit) < most);
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
}

/* For new bytes, as far as one process can make it so. */
static void set_disk_full(bool full)
{
	struct rlimit limit;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 8 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A burst of what is learnt, in many turns. Result: how often all of it was written. */
static size_t burst(struct kit *kit)
{
	char line[60000];
	size_t before = kit->dumps;
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	for (int i = 0; i < 200; i++) { /* 12 MB */
		line_store_add(kit->store, line);
		loop_turn(kit->loop, false);
	}
	return kit->dumps - before;
}

/* Ten seconds later. */
static size_t next_try(struct kit *kit)
{
	size_t before = kit->dumps;
	clock_advance(10000);
	loop_turn(kit->loop, false);
	return kit->dumps - before;
}

/* Nothing can be written: what waits is bounded, nothing is tried in every turn, nothing
 * takes room, and all is there once the disk has some. */
static void test_a_full_disk(void **state)
{
	struct kit *kit = *state;
	char file_new[128];
	snprintf(file_new, sizeof(file_new), "%s.new", kit->file);
	clock_fake(NOW);
	hold(kit, "one");
	loop_turn(kit->loop, false);
	set_disk_full(true);
	size_t during = burst(kit);
	size_t first = next_try(kit);
	bool left = access(file_new, F_OK) == 0;
	hold(kit, "two");
	loop_turn(kit->loop, false);
	size_t second = next_try(kit);
	set_disk_full(false);
	assert_int_equal(during, 0);
	assert_int_equal(first, 1);
	assert_false(left);
	assert_int_equal(second, 1);
	assert_int_equal(next_try(kit), 1);
	assert_int_equal(next_try(kit), 0); /* it is done */
	hold(kit, "three");
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->skipped, 0);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
	assert_int_equal(ask(kit, "two"), PERMIT_HELD);
	assert_int_equal(ask(kit, "three"), PERMIT_HELD);
}

/* It ends while lines are lost, and the disk has room again. */
static void test_the_end_of_a_full_disk(void **state)
{
	struct kit *kit = *state;
	clock_fake(NOW);
	set_disk_full(true);
	burst(kit);
	hold(kit, "one");
	set_disk_full(false);
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
}

/* No file can be made there. */
static void set_no_files(struct kit *kit, bool none)
{
	char file_new[128];
	snprintf(file_new, sizeof(file_new), "%s.new", kit->file);
	assert_int_equal(none ? mkdir(file_new, 0700) : rmdir(file_new), 0);
}

/* A start without room is one: what is known stays where it is, and what is learnt is
 * written behind it once that can be done. */
static void test_a_start_on_a_full_disk(void **state)
{
	struct kit *kit = *state;
	hold(kit, "one");
	kit_close(kit);
	add_to_file(kit, "path torn");
	set_disk_full(true);
	kit_open(kit);
	hold(kit, "two");
	loop_turn(kit->loop, false);
	set_disk_full(false);
	hold(kit, "three");
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->skipped, 1);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
	assert_int_equal(ask(kit, "two"), PERMIT_HELD);
	assert_int_equal(ask(kit, "three"), PERMIT_HELD);
}

static void test_a_start_that_can_make_no_file(void **state)
{
	struct kit *kit = *state;
	hold(kit, "one");
	kit_close(kit);
	set_no_files(kit, true);
	kit_open(kit);
	hold(kit, "two");
	loop_turn(kit->loop, false);
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(ask(kit, "one"), PERMIT_HELD);
	assert_int_equal(ask(kit, "two"), PERMIT_HELD);
	set_no_files(kit, false);
}

static void test_a_folder_that_is_not_there(void **state)
{
	struct why why = {0};
	size_t skipped;
	struct kit *kit = *state;
	struct line_store *store = store_in(kit, "/nowhere/at/all");
	assert_int_equal(line_store_load(store, &skipped, &why), -1);
	assert_non_null(strstr(why.text, "/nowhere/at/all"));
	line_store_add(store, "path");
	line_store_free(store);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_one_write_a_turn),
	    T(test_restart),
	    T(test_torn_and_foreign_lines),
	    T(test_first_lines),
	    T(test_a_newer_program_wrote_it),
	    T(test_no_file),
	    T(test_a_line_without_end),
	    T(test_it_does_not_grow_for_ever),
	    T(test_a_full_disk),
	    T(test_the_end_of_a_full_disk),
	    T(test_a_start_on_a_full_disk),
	    T(test_a_start_that_can_make_no_file),
	    T(test_a_folder_that_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
