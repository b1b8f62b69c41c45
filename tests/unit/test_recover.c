/* SPDX-License-Identifier: MIT
 * Start-up over whatever a crash, a bad disk or a person left in the folder:
 * torn tails, damage in the middle, foreign files, orphans.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "queue/crc32c.h"
#include "queue/record.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"
#include "tests/unit/spool_kit.h"

#define COUNT 6

struct image { /* the segment of a spool with COUNT messages, one batch each */
	struct kit *from;
	char *data;
	size_t size;
	char name[40];
};

static void image_make(struct image *image, size_t body)
{
	image->from = kit_new();
	image->from->conf.segment_size = 64 << 10;
	kit_open(image->from);
	for (uint64_t id = 1; id <= COUNT; id++)
		assert_non_null(kit_append(image->from, id, body, NULL));
	kit_close(image->from);
	kit_segment_name(&image->from->messages[0], image->name, sizeof(image->name));
	image->data = kit_load(image->from, image->name, &image->size);
}

static void image_free(struct image *image)
{
	kit_free(image->from);
	mem_free(image->data);
}

/* Where message I (0 and up) stands, and how long it is without its padding. */
static size_t image_offset(const struct image *image, size_t i)
{
	return image->from->messages[i].place.offset;
}

static size_t image_length(const struct image *image, size_t i)
{
	struct record r;
	assert_true(record_read_head(&r,
	    (unsigned char *)image->data + image_offset(image, i)));
	return RECORD_HEAD + r.meta_size + r.here;
}

/* A spool that holds DATA as its segment, and the model that goes with it. */
static struct kit *image_open(const struct image *image, const char *data, size_t size)
{
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	kit_store(kit, image->name, data, size);
	memcpy(kit->messages, image->from->messages, sizeof(kit->messages));
	kit->count = image->from->count;
	kit_open(kit);
	return kit;
}

static void check_only_lost(struct kit *kit, uint64_t id)
{
	kit_find(kit, id)->live = false;
	kit_check(kit);
}

static void test_torn_tail(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 100);
	size_t at = image_offset(&image, COUNT - 1);
	size_t length = image_length(&image, COUNT - 1);
	char *copy = mem_alloc(image.size);
	for (size_t i = 0; i < length; i++) {
		memcpy(copy, image.data, image.size);
		memset(copy + at + i, 0, image.size - at - i);
		if (memcmp(copy, image.data, image.size) != 0) { /* not its last zeros */
			struct kit *kit = image_open(&image, copy, image.size);
			assert_int_equal(kit->damages, 0);
			check_only_lost(kit, COUNT);
			kit_free(kit);
		}
	}
	mem_free(copy);
	image_free(&image);
}

/* A message of the last batch, which after an orderly stop somebody was promised. */
static void test_garbled_content_is_kept(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 300);
	image.data[image_offset(&image, COUNT - 1) + image_length(&image, COUNT - 1) - 100] ^= 1;
	struct kit *kit = image_open(&image, image.data, image.size);
	assert_int_equal(kit->damages, 0);
	check_only_lost(kit, COUNT);
	assert_int_equal(kit_count_files(kit, "damaged", ""), 1);
	kit_free(kit);
	image_free(&image);
}

static void test_garbled_tail(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 100);
	size_t at = image_offset(&image, COUNT - 1);
	size_t length = image_length(&image, COUNT - 1);
	for (size_t i = 0; i < length; i++) {
		image.data[at + i] ^= 0x41;
		struct kit *kit = image_open(&image, image.data, image.size);
		image.data[at + i] ^= 0x41;
		assert_int_equal(kit->damages, 0);
		check_only_lost(kit, COUNT);
		/* what was torn stays gone when the segment is not the last one any more */
		kit_append(kit, 50, 10, NULL);
		kit_close(kit);
		kit_open(kit);
		assert_int_equal(kit->damages, 0);
		kit_check(kit);
		kit_free(kit);
	}
	image_free(&image);
}

static void test_cut_file(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 100);
	size_t at = image_offset(&image, COUNT - 1);
	for (size_t size = at; size < at + image_length(&image, COUNT - 1); size += 13) {
		struct kit *kit = image_open(&image, image.data, size);
		assert_int_equal(kit->damages, 0);
		check_only_lost(kit, COUNT);
		kit_free(kit);
	}
	image_free(&image);
}

/* Head or meta part of a record that was synced long ago. */
static void test_damage_in_the_middle(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 300);
	size_t at = image_offset(&image, 2);
	for (size_t i = 0; i < image_length(&image, 2) - 320; i += 7) {
		image.data[at + i] ^= 0x41;
		struct kit *kit = image_open(&image, image.data, image.size);
		image.data[at + i] ^= 0x41;
		assert_int_equal(kit->damages, 1);
		assert_int_equal(kit_count_files(kit, "damaged", ""), 1);
		check_only_lost(kit, 3);
		kit_append(kit, 50, 10, NULL);
		kit_close(kit);
		kit_open(kit); /* said once */
		assert_int_equal(kit->damages, 0);
		kit_check(kit);
		kit_free(kit);
	}
	image_free(&image);
}

/* The next record goes bad later: what is kept by now is not all of it any more. */
static void test_damage_that_grows(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 300);
	image.data[image_offset(&image, 1)] ^= 0x41;
	struct kit *kit = image_open(&image, image.data, image.size);
	assert_int_equal(kit->damages, 1);
	kit_close(kit);
	image.data[image_offset(&image, 2)] ^= 0x41;
	kit_store(kit, image.name, image.data, image.size);
	kit_open(kit);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit_count_files(kit, "damaged", ""), 2);
	kit_free(kit);
	image_free(&image);
}

/* Its checksums are right, and still nobody can read it. */
static void test_record_of_no_sense(void **state)
{
	(void)state;
	struct image image;
	struct record r;
	image_make(&image, 300);
	unsigned char *head = (unsigned char *)image.data + image_offset(&image, 2);
	assert_true(record_read_head(&r, head));
	memset(head + RECORD_HEAD, 0xff, 24); /* the state */
	r.meta_crc = crc32c(0, head + RECORD_HEAD, r.meta_size);
	record_write_head(&r, head);
	struct kit *kit = image_open(&image, image.data, image.size);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit_count_files(kit, "damaged", ""), 1);
	check_only_lost(kit, 3);
	kit_free(kit);
	image_free(&image);
}

/* The content of one that was synced: start-up does not look, a reader does. */
static void test_damaged_content(void **state)
{
	(void)state;
	struct image image;
	struct why why;
	char piece[2000];
	image_make(&image, 300);
	image.data[image_offset(&image, 2) + image_length(&image, 2) - 100] ^= 1;
	struct kit *kit = image_open(&image, image.data, image.size);
	struct kit_message *m = kit_find(kit, 3);
	assert_true(m->found);
	assert_int_equal(kit->damages, 0);
	for (int i = 0; i < 2; i++) {
		struct spool_reader *r = spool_reader_open(kit->spool, 3, m->place, &why);
		assert_non_null(r);
		assert_int_equal(spool_reader_read(r, 0, piece, 100), 100);
		assert_int_equal(spool_reader_read(r, 100, piece, sizeof(piece)), -1);
		assert_true(spool_reader_damaged(r));
		spool_reader_close(r);
		kit_settle(kit);
		assert_int_equal(kit->damages, 1);
	}
	assert_int_equal(kit_count_files(kit, "damaged", ""), 1);
	/* head and envelope are intact: it is known whose it was */
	assert_int_equal(kit->reported.all[0].id, 3);
	assert_non_null(strstr(
	    kit->damage_text, "message 0000000000000003 from <s3@example.org> to 3 recipients"));
	kit_end(kit, 3);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	kit_free(kit);
	image_free(&image);
}

/* Only the last piece is read: the rest is checked all the same. */
static void test_damaged_content_read_last(void **state)
{
	(void)state;
	struct image image;
	struct why why;
	char piece[2000];
	image_make(&image, 300);
	image.data[image_offset(&image, 2) + image_length(&image, 2) - 200] ^= 1;
	struct kit *kit = image_open(&image, image.data, image.size);
	struct kit_message *m = kit_find(kit, 3);
	struct spool_reader *r = spool_reader_open(kit->spool, 3, m->place, &why);
	uint64_t size = spool_reader_size(r);
	assert_int_equal(spool_reader_read(r, size - 10, piece, sizeof(piece)), -1);
	spool_reader_close(r);
	m = kit_find(kit, 4);
	r = spool_reader_open(kit->spool, 4, m->place, &why);
	assert_int_equal(spool_reader_read(r, size - 10, piece, sizeof(piece)), 10);
	assert_int_equal(spool_reader_read(r, 50, piece, 10), 10);
	assert_int_equal(spool_reader_read(r, size - 10, piece, sizeof(piece)), 10);
	spool_reader_close(r);
	kit_free(kit);
	image_free(&image);
}

static void test_damaged_head(void **state)
{
	(void)state;
	struct image image;
	image_make(&image, 300);
	image.data[9] ^= 1; /* of the segment: its first record tells the generation */
	struct kit *kit = image_open(&image, image.data, image.size);
	assert_int_equal(kit->damages, 1);
	kit_check(kit);
	/* and its messages can be carried over, so that it is used anew */
	for (uint64_t id = 2; id <= COUNT; id++)
		kit_end(kit, id);
	for (uint64_t id = 50; id < 70; id++) {
		kit_append(kit, id, 9000, NULL);
		kit_end(kit, id);
	}
	kit_settle(kit);
	assert_true(kit->moves > 0);
	assert_int_equal(kit_count_files(kit, "", image.name), 0);
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
	kit_free(kit);
	image.data[RECORD_START + 3] ^= 1; /* that one too: all of it goes aside */
	kit = image_open(&image, image.data, image.size);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit_count_files(kit, "damaged", ".log"), 1);
	for (size_t i = 0; i < COUNT; i++)
		assert_false(kit->messages[i].found);
	kit_append(kit, 50, 10, NULL);
	kit_free(kit);
	image_free(&image);
}

static void test_rubbish(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	char path[128];
	kit_open(kit);
	kit_append_many(kit, 1, 3, 400, NULL);
	kit_append(kit, 4, 100000, NULL);
	kit_close(kit);
	kit_store(kit, "core", "x", 1);
	kit_store(kit, "0000000000000001.log~", "x", 1);
	kit_store(kit, "000000000000zzzz.log", "x", 1);
	kit_store(kit, "00000000000000f0.log", "", 0);
	kit_store(kit, "00000000fffffff0.log", "x", 1);
	kit_store(kit, "00000000ffffffff.spare", "x", 1);
	kit_store(kit, "00000000000000f1.new", "x", 1);
	kit_store(kit, "00000000000000f2.spare", "x", 1);
	kit_store(kit, "big/0123456789abcdef", "orphan", 6);
	kit_store(kit, "big/not-ours", "x", 1);
	snprintf(path, sizeof(path), "%s/00000000000000f3.log", kit->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/00000000000000f4.log", kit->dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/big/0123456789abcde0", kit->dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/00000000000000f5.log", kit->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	kit_open(kit);
	kit_check(kit);
	/* core, ~, zzzz, f0 (moved), fffffff0, f3, f4, f5; not-ours, the symlink in big;
	 * the orphan was moved, since f0 may have named it */
	assert_int_equal(kit->damages, 11);
	assert_int_equal(kit_count_files(kit, "", ".new"), 0);
	assert_int_equal(kit_count_files(kit, "damaged", "0123456789abcdef"), 1);
	assert_int_equal(kit_count_files(kit, "big", ""), 3);
	assert_int_equal(kit_count_files(kit, "", "core"), 1);
	/* the next number is one that nothing stands in the way of */
	assert_int_equal(kit_append(kit, 5, 10, NULL)->place.segment, 0xf6);
	kit_close(kit);
	kit_store(kit, "big/0123456789abcdef", "orphan", 6);
	kit_open(kit);
	kit_check(kit);
	assert_int_equal(kit_count_files(kit, "big", "0123456789abcdef"), 0);
	assert_int_equal(kit_count_files(kit, "damaged", "0123456789abcdef"), 1);
	kit_free(kit);
}

static void test_lost_big_file(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	char path[128];
	kit_open(kit);
	kit_append(kit, 5, 100000, NULL);
	kit_append(kit, 6, 100000, NULL);
	kit_close(kit);
	kit_store(kit, "big/0000000000000005", "cut", 3);
	kit_open(kit);
	assert_int_equal(kit->damages, 2); /* its record, its body */
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(kit->reported.all[i].id, 5);
	assert_non_null(
	    strstr(kit->reported.all[0].text, " from <s5@example.org> to 3 recipients"));
	check_only_lost(kit, 5);
	assert_int_equal(kit_count_files(kit, "damaged", "0000000000000005"), 1);
	snprintf(path, sizeof(path), "%s/big/0000000000000006", kit->dir);
	unlink(path); /* while it runs */
	struct why why;
	assert_null(spool_reader_open(kit->spool, 6, kit_find(kit, 6)->place, &why));
	assert_int_equal(why.kind, WHY_PERM);
	kit_free(kit);
}

static void test_two_daemons(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	struct spool_reports reports = {0};
	struct why why = {0};
	char expected[40];
	kit_open(kit);
	assert_null(spool_open(kit->loop, &kit->conf, &reports, &why));
	snprintf(expected, sizeof(expected), "in use by process %d", (int)getpid());
	assert_non_null(strstr(why.text, expected));
	kit_free(kit);
}

static void expect_refused(struct kit *kit, const char *text)
{
	struct spool_reports reports = {0};
	struct why why = {0};
	assert_null(spool_open(kit->loop, &kit->conf, &reports, &why));
	if (!strstr(why.text, text))
		fail_msg("got \"%s\", expected \"%s\"", why.text, text);
}

static void test_refused(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	char path[128];
	kit_store(kit, "version", "relayd spool 3\n", 15);
	expect_refused(kit, "newer program");
	kit_store(kit, "version", "relayd spool x\n", 15);
	expect_refused(kit, "version can not be read");
	kit_store(kit, "version", "relayd spool 2\n", 15);
	chmod(kit->dir, 0755);
	expect_refused(kit, "mode 755");
	chmod(kit->dir, 0700);
	snprintf(path, sizeof(path), "%s/lock", kit->dir);
	unlink(path);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	expect_refused(kit, "lock");
	unlink(path);
	char *real = kit->conf.path;
	snprintf(path, sizeof(path), "%s/link", kit->dir);
	assert_int_equal(symlink(kit->dir, path), 0);
	kit->conf.path = path;
	expect_refused(kit, "can not be opened");
	unlink(path);
	kit->conf.path = real;
	kit_open(kit);
	kit_free(kit);
}

/* A segment that was made ready goes back to stock at the next start. A head for its
 * next use is only written once its name is on disk: it would not fit the old one. */
static atomic_bool name_unsynced;
static atomic_int heads_too_early;
static atomic_int names_given_back;

static int note_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	if (strstr(from, ".log") && strstr(to, ".spare")) {
		atomic_store(&name_unsynced, true);
		atomic_fetch_add(&names_given_back, 1);
	}
	return renameat(from_dir, from, to_dir, to);
}

static int note_name_sync(int fd)
{
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		atomic_store(&name_unsynced, false);
	return fsync(fd);
}

static ssize_t note_write(int fd, const struct iovec *iov, int count, off_t offset)
{
	if (offset == 0 && atomic_load(&name_unsynced))
		atomic_fetch_add(&heads_too_early, 1);
	return pwritev(fd, iov, count, offset);
}

static void test_name_before_head(void **state)
{
	(void)state;
	struct spool_io plain = spool_io;
	struct kit *kit = kit_new();
	kit_open(kit);
	kit_append(kit, 1, 100, NULL);
	kit_wait_stock(kit);
	kit_close(kit);
	spool_io.renameat = note_rename;
	spool_io.fsync = note_name_sync;
	spool_io.pwritev = note_write;
	kit_open(kit);
	kit_append(kit, 2, 100, NULL);
	kit_close(kit);
	spool_io = plain;
	assert_true(names_given_back > 0);
	assert_int_equal(heads_too_early, 0);
	kit_free(kit);
}

/* The body of a message that never got its 250 is no damage, nor is its record. */
static void test_torn_in_the_middle(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	char name[40];
	size_t size;
	struct record second;
	char *log = NULL;
	size_t at; /* the first of two messages that came to disk by one sync */
	kit_open(kit);
	do {
		mem_free(log);
		assert_int_equal(kit_append_many(kit, kit->count + 1, 2, 300, NULL), 2);
		kit_segment_name(&kit->messages[0], name, sizeof(name));
		log = kit_load(kit, name, &size);
		at = kit->messages[kit->count - 2].place.offset;
		assert_true(record_read_head(&second,
		    (unsigned char *)log + kit->messages[kit->count - 1].place.offset));
	} while (second.batch > at);
	uint64_t id = kit->messages[kit->count - 2].id;
	kit_close(kit);
	log[at + RECORD_HEAD + 20] ^= 0x41;
	kit_store(kit, name, log, size);
	kit_store(kit, "big/0123456789abcdef", "orphan", 6);
	mem_free(log);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	check_only_lost(kit, id);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	assert_int_equal(kit_count_files(kit, "damaged", ""), 2);
	kit_free(kit);
}

/* The last result came, the END did not: it is over, though its file is gone already. */
/* The same once more, when the segment is closed: what was torn then is nothing to be told
 * now, with a body that was being received at a kill, say. */
static void test_torn_before(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	char name[40];
	size_t size;
	kit_open(kit);
	assert_int_equal(kit_append_many(kit, 1, 3, 300, NULL), 3);
	kit_segment_name(&kit->messages[0], name, sizeof(name));
	kit_close(kit);
	char *log = kit_load(kit, name, &size);
	char *torn = log + kit->messages[1].place.offset;
	assert_int_equal(kit->messages[1].place.segment, kit->messages[0].place.segment);
	/* as if all three had come to disk by one sync */
	for (size_t i = 0; i < 3; i++) {
		unsigned char *head = (unsigned char *)log + kit->messages[i].place.offset;
		struct record r;
		assert_true(record_read_head(&r, head));
		r.batch = RECORD_START;
		record_write_head(&r, head);
	}
	torn[20] ^= 1;
	kit_store(kit, name, log, size);
	mem_free(log);
	kit_open(kit);
	check_only_lost(kit, 2);
	assert_int_equal(kit->damages, 0);
	kit_append(kit, 4, 300, NULL);
	kit_close(kit);
	kit_store(kit, "big/0123456789abcdef", "orphan", 6);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	assert_int_equal(kit_count_files(kit, "damaged", ""), 2);
	kit_free(kit);
}

static void test_all_done_without_end(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	char path[128];
	kit_open(kit);
	kit_append(kit, 5, 100000, NULL);
	for (unsigned i = 0; i < KIT_RECIPIENTS; i++)
		kit_result(kit, 5, i);
	kit_close(kit);
	snprintf(path, sizeof(path), "%s/big/0000000000000005", kit->dir);
	assert_int_equal(unlink(path), 0);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	check_only_lost(kit, 5);
	kit_free(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn_tail),
		cmocka_unit_test(test_garbled_tail),
		cmocka_unit_test(test_garbled_content_is_kept),
		cmocka_unit_test(test_cut_file),
		cmocka_unit_test(test_damage_in_the_middle),
		cmocka_unit_test(test_damage_that_grows),
		cmocka_unit_test(test_record_of_no_sense),
		cmocka_unit_test(test_damaged_content),
		cmocka_unit_test(test_damaged_content_read_last),
		cmocka_unit_test(test_damaged_head),
		cmocka_unit_test(test_rubbish),
		cmocka_unit_test(test_lost_big_file),
		cmocka_unit_test(test_torn_before),
		cmocka_unit_test(test_two_daemons),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_all_done_without_end),
		cmocka_unit_test(test_name_before_head),
		cmocka_unit_test(test_torn_in_the_middle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
