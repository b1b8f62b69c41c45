/* SPDX-License-Identifier: MIT
 * Start-up over segments of which much is wrong: nothing is left of their records,
 * they were cut, a record stands in the place of another one.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "queue/record.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"
#include "tests/unit/spool_kit.h"

#define COUNT 6
#define BODY 3500 /* of each: so much in a segment is not carried over meanwhile */

/* A segment in memory, of a spool that is closed. */
struct file {
	char name[40];
	char *data;
	size_t size;
};

static void load(struct kit *kit, const struct kit_message *m, struct file *file)
{
	kit_segment_name(m, file->name, sizeof(file->name));
	file->data = kit_load(kit, file->name, &file->size);
}

/* Write it back, and start. */
static void start_with(struct kit *kit, struct file *file)
{
	kit_store(kit, file->name, file->data, file->size);
	mem_free(file->data);
	kit_open(kit);
}

static struct kit *begin(void)
{
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	return kit;
}

/* A spool with COUNT messages of one length in a segment; closed. */
static struct kit *make(void)
{
	struct kit *kit = begin();
	kit_open(kit);
	for (uint64_t id = 1; id <= COUNT; id++)
		assert_non_null(kit_append(kit, id, BODY, NULL));
	kit_close(kit);
	return kit;
}

static void lose(struct kit *kit, uint64_t id)
{
	kit_find(kit, id)->live = false;
}

/* The next start has nothing to say and finds the same. */
static void start_again(struct kit *kit)
{
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
}

/* Of no record anything can be read: that is no unused segment. */
static void test_no_record_left(void **state)
{
	(void)state;
	struct kit *kit = make();
	struct file file;
	load(kit, kit_find(kit, 1), &file);
	memset(file.data + RECORD_START, 0xff, file.size - RECORD_START);
	memcpy(file.data + RECORD_START, file.data, RECORD_HEAD); /* not the head of one */
	start_with(kit, &file);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit_count_files(kit, "damaged", ".log"), 1);
	for (uint64_t id = 1; id <= COUNT; id++)
		lose(kit, id);
	kit_check(kit);
	kit_append(kit, 50, 10, NULL);
	start_again(kit);
	kit_free(kit);
}

/* The first record of a segment is cut, and with it all that stood behind. */
static void test_cut_first_record(void **state)
{
	(void)state;
	struct kit *kit = make();
	struct file file;
	kit_open(kit);
	const struct kit_message *m = kit_append(kit, 50, 10, NULL);
	kit_close(kit);
	load(kit, m, &file);
	file.size = RECORD_START + RECORD_HEAD + 4;
	start_with(kit, &file);
	assert_int_equal(kit->damages, 1);
	lose(kit, 50);
	kit_check(kit);
	start_again(kit);
	kit_free(kit);
}

/* A segment ends early, between two records: the next one says where it ended. */
static void test_cut_closed(void **state)
{
	(void)state;
	struct kit *kit = make();
	struct file file;
	kit_open(kit);
	kit_append(kit, 50, 10, NULL); /* in the next segment */
	kit_close(kit);
	load(kit, kit_find(kit, COUNT), &file);
	file.size = kit_find(kit, COUNT)->place.offset;
	start_with(kit, &file);
	assert_int_equal(kit->damages, 1);
	lose(kit, COUNT);
	kit_check(kit);
	start_again(kit);
	kit_free(kit);
}

/* One that was made ready and not written to is unused, whatever its bytes were. */
static void test_unused(void **state)
{
	(void)state;
	struct kit *kit = begin();
	struct file file = {"00000000000000f0.spare", mem_alloc(64 << 10), 64 << 10};
	memset(file.data, 0xff, file.size);
	start_with(kit, &file);
	kit_wait_stock(kit);
	start_again(kit);
	kit_free(kit);
}

/* A disk wrote a record over another one. */
static void test_record_in_the_wrong_place(void **state)
{
	(void)state;
	struct kit *kit = make();
	struct file file;
	load(kit, kit_find(kit, 1), &file);
	size_t first = kit_find(kit, 1)->place.offset;
	size_t length = kit_find(kit, 2)->place.offset - first;
	assert_int_equal(kit_find(kit, 4)->place.offset - kit_find(kit, 3)->place.offset, length);
	memcpy(file.data + kit_find(kit, 3)->place.offset, file.data + first, length);
	start_with(kit, &file);
	assert_int_equal(kit->damages, 1);
	lose(kit, 3);
	kit_check(kit);
	start_again(kit);
	kit_free(kit);
}

static int no_descriptor(int dir, const char *name, int flags, mode_t mode)
{
	if (strstr(name, ".log")) {
		errno = EMFILE;
		return -1;
	}
	return openat(dir, name, flags, mode);
}

/* We lack something: the start fails, and nothing was touched. */
static void test_no_descriptor(void **state)
{
	(void)state;
	struct kit *kit = make();
	struct why why = {0};
	struct spool_io real = spool_io;
	spool_io.openat = no_descriptor;
	assert_int_equal(kit_try_open(kit, &why), -1);
	assert_non_null(strstr(why.text, "spool segment "));
	assert_non_null(strstr(why.text, "Too many open files"));
	spool_io = real;
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
	kit_free(kit);
}

/* A copy of the folder may have holes, and what is written there could find no room. */
static void test_sparse_spare(void **state)
{
	(void)state;
	struct kit *kit = begin();
	char path[128];
	snprintf(path, sizeof(path), "%s/00000000000000f0.spare", kit->dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 64 << 10), 0);
	close(fd);
	kit_open(kit);
	assert_int_equal(kit_count_files(kit, "", "00000000000000f0.spare"), 0);
	assert_int_equal(kit->damages, 0);
	kit_free(kit);
}

/* Numbers that stand under damaged/ are not given again, but for such as nobody gave. */
static void test_numbers_of_what_is_damaged(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_open(kit);
	kit_close(kit);
	kit_store(kit, "damaged/00000000000000e0.log", "x", 1);
	kit_store(kit, "damaged/00000000000000e1-4096.part", "x", 1);
	kit_store(kit, "damaged/00000000ffffffff.log", "x", 1);
	kit_store(kit, "damaged/notes", "x", 1);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	assert_int_equal(kit_append(kit, 1, 10, NULL)->place.segment, 0xe2);
	start_again(kit);
	kit_free(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_record_left),
	    cmocka_unit_test(test_cut_first_record),
	    cmocka_unit_test(test_cut_closed),
	    cmocka_unit_test(test_unused),
	    cmocka_unit_test(test_record_in_the_wrong_place),
	    cmocka_unit_test(test_no_descriptor),
	    cmocka_unit_test(test_sparse_spare),
	    cmocka_unit_test(test_numbers_of_what_is_damaged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
