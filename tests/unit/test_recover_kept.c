/* SPDX-License-Identifier: MIT
 * Starts that can not read all of the spool just now, or have no room to set damage
 * aside: everything else flows, it is said, and the segment is kept as it is. The next
 * start that can has all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/record.h"
#include "queue/spool_io.h"
#include "queue/stock.h"
#include "relayd/base/mem.h"
#include "tests/unit/spool_kit.h"

#define COUNT 40
#define PAGE 4096u

static struct spool_io real;
static atomic_bool no_room;        /* for what is set aside */
static atomic_bool no_sync;
static _Atomic uint64_t bad_inode; /* a file that can not be read in [bad_from, bad_to); 0: none */
static _Atomic uint64_t bad_from;
static _Atomic uint64_t bad_to;

static int try_open(int dir, const char *name, int flags, mode_t mode)
{
	if (atomic_load(&no_room) && flags & O_CREAT && strstr(name, ".part")) {
		errno = ENOSPC;
		return -1;
	}
	return real.openat(dir, name, flags, mode);
}

static int try_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	if (atomic_load(&no_room) && from_dir != to_dir) {
		errno = ENOSPC;
		return -1;
	}
	return real.renameat(from_dir, from, to_dir, to);
}

static int try_sync(int fd)
{
	if (atomic_exchange(&no_sync, false)) {
		errno = EIO;
		return -1;
	}
	return real.fdatasync(fd);
}

static ssize_t try_read(int fd, void *to, size_t n, off_t offset)
{
	struct stat st;
	uint64_t from = (uint64_t)offset;
	if (from < atomic_load(&bad_to) && from + n > atomic_load(&bad_from) &&
	    fstat(fd, &st) == 0 && st.st_ino == atomic_load(&bad_inode)) {
		errno = EIO;
		return -1;
	}
	return real.pread(fd, to, n, offset);
}

/* The spool after COUNT messages, closed, and the name of the segment they stand in. */
struct scene {
	struct kit *kit;
	char name[SEGMENT_NAME];
	uint64_t ends[COUNT + 1]; /* of the record of message i */
	bool unfound[KIT_MAX];    /* by the last start, as the kit counts them */
};

static int set_up(void **state)
{
	struct scene *scene = mem_zero(sizeof(*scene));
	struct kit *kit = scene->kit = kit_new();
	size_t size;
	kit_open(kit);
	for (uint64_t id = 1; id <= COUNT; id++)
		kit_append(kit, id, 300, NULL);
	kit_close(kit);
	kit_segment_name(kit_find(kit, 1), scene->name, sizeof(scene->name));
	char *data = kit_load(kit, scene->name, &size);
	for (uint64_t id = 1; id <= COUNT; id++) {
		struct record head;
		uint32_t at = kit_find(kit, id)->place.offset;
		assert_true(record_read_head(&head, (unsigned char *)data + at));
		scene->ends[id] = at + record_length(&head);
	}
	mem_free(data);
	real = spool_io;
	spool_io.openat = try_open;
	spool_io.renameat = try_rename;
	spool_io.pread = try_read;
	spool_io.fdatasync = try_sync;
	*state = scene;
	return 0;
}

static void mend(void)
{
	atomic_store(&no_room, false);
	atomic_store(&bad_inode, 0);
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	mend();
	kit_free(scene->kit); /* and its threads, which look there */
	spool_io = real;
	mem_free(scene);
	return 0;
}

static bool is_there(struct kit *kit, const char *folder, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s%s", kit->dir, folder, name);
	return access(path, F_OK) == 0;
}

static void flip(struct scene *scene, uint64_t offset)
{
	size_t size;
	char *data = kit_load(scene->kit, scene->name, &size);
	data[offset] ^= 1;
	kit_store(scene->kit, scene->name, data, size);
	mem_free(data);
}

/* From the page with FROM on. */
static void make_unreadable(struct scene *scene, uint64_t from, uint64_t to)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", scene->kit->dir, scene->name);
	assert_int_equal(stat(path, &st), 0);
	atomic_store(&bad_from, from / PAGE * PAGE);
	atomic_store(&bad_to, to);
	atomic_store(&bad_inode, st.st_ino);
}

/* One start says one thing, that the segment is kept. */
static void open_kept(struct scene *scene, const char *reason)
{
	struct kit *kit = scene->kit;
	kit_open(kit);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit->reported.all[0].kind, DAMAGE_KEPT);
	assert_string_equal(kit->reported.all[0].file, scene->name);
	assert_non_null(strstr(kit->damage_text, reason));
	assert_non_null(strstr(kit->damage_text, "restart relayd"));
	assert_int_equal(kit_count_files(kit, "damaged", ""), 0);
}

/* Nobody knows of what was not found. Result: how many those are. */
static size_t forget(struct scene *scene)
{
	struct kit *kit = scene->kit;
	size_t count = 0;
	for (size_t i = 0; i < kit->count; i++) {
		scene->unfound[i] = kit->messages[i].live && !kit->messages[i].found;
		count += scene->unfound[i];
		kit->messages[i].live &= kit->messages[i].found;
	}
	return count;
}

static void remember(struct scene *scene)
{
	for (size_t i = 0; i < scene->kit->count; i++)
		scene->kit->messages[i].live |= scene->unfound[i];
}

/* What was found is delivered, and so is much more: any other segment would go. */
static void live_on(struct scene *scene)
{
	struct kit *kit = scene->kit;
	for (size_t i = 0; i < COUNT; i++)
		if (kit->messages[i].live)
			kit_end(kit, kit->messages[i].id);
	for (uint64_t n = 100; n < 160; n++) {
		kit_append(kit, n, 20000, NULL);
		kit_end(kit, n);
	}
	kit_settle(kit);
	assert_true(spool_stats(kit->spool).segments <= 3); /* others did */
	assert_true(is_there(kit, "", scene->name));
	kit_close(kit);
	kit->count = COUNT;
}

/* All is well by now: what was not found is there, and once it is over the segment goes. */
static void open_mended(struct scene *scene)
{
	struct kit *kit = scene->kit;
	remember(scene);
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
	for (size_t i = 0; i < COUNT; i++)
		if (kit->messages[i].live)
			kit_end(kit, kit->messages[i].id);
	kit_append(kit, 200, 10, NULL); /* another segment is written to */
	kit_end(kit, 200);
	kit_settle(kit);
	assert_false(is_there(kit, "", scene->name));
}

/* ---- no room ---- */

/* The message with that record is lost, but its bytes are not. */
static void set_aside_at_last(struct scene *scene, uint64_t from, uint64_t to, const char *what)
{
	struct kit *kit = scene->kit;
	struct stat st;
	char path[256];
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit->reported.all[0].kind, DAMAGE_SAVED);
	assert_non_null(strstr(kit->damage_text, what));
	snprintf(path, sizeof(path), "%s/damaged/%s", kit->dir, kit->reported.all[0].file);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, to - from);
	kit_append(kit, 200, 10, NULL);
	kit_end(kit, 200);
	kit_settle(kit);
	assert_false(is_there(kit, "", scene->name));
}

static void test_no_room_for_a_record(void **state)
{
	struct scene *scene = *state;
	uint64_t at = kit_find(scene->kit, 5)->place.offset;
	flip(scene, at + 16);
	atomic_store(&no_room, true);
	open_kept(scene, "No space left on device");
	assert_non_null(strstr(scene->kit->damage_text, "make room on the disk"));
	assert_int_equal(forget(scene), 1);
	assert_true(scene->unfound[4]);
	kit_check(scene->kit);
	live_on(scene);
	open_kept(scene, "No space left on device"); /* and again */
	kit_close(scene->kit);
	set_aside_at_last(scene, at, scene->ends[5], "no record that can be read");
}

/* Its generation is known from the first record: nothing is lost but the head. */
static void test_no_room_for_a_head(void **state)
{
	struct scene *scene = *state;
	flip(scene, 16);
	atomic_store(&no_room, true);
	open_kept(scene, "No space left on device");
	kit_check(scene->kit);
	live_on(scene);
	set_aside_at_last(scene, 0, RECORD_START, "the head of the segment");
}

/* All of it would have to be moved. */
static void test_no_room_for_a_segment(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	flip(scene, 16);
	flip(scene, RECORD_START + 16);
	atomic_store(&no_room, true);
	open_kept(scene, "No space left on device");
	assert_int_equal(forget(scene), COUNT);
	kit_append(kit, 100, 10, NULL);
	kit_settle(kit);
	kit_close(kit);
	mend();
	kit_open(kit);
	kit_check(kit);
	assert_int_equal(kit->reported.all[0].kind, DAMAGE_SAVED);
	assert_true(is_there(kit, "damaged/", scene->name));
}

/* The record is intact, but its body is not there. */
static void test_no_room_for_a_message(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	kit_open(kit);
	kit_append(kit, 50, 100000, NULL);
	kit_append(kit, 51, 100000, NULL);
	kit_close(kit);
	kit_store(kit, "big/0000000000000032", "cut", 3);
	atomic_store(&no_room, true);
	kit_open(kit);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit->reported.all[0].kind, DAMAGE_KEPT);
	assert_int_equal(kit->reported.all[0].id, 50);
	assert_non_null(strstr(kit->damage_text, "from <s50@example.org> to 3 recipients"));
	assert_true(is_there(kit, "big/", "0000000000000032"));
	kit_find(kit, 50)->live = false;
	kit_check(kit);
	kit_close(kit);
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 2);
	assert_true(is_there(kit, "damaged/", "big-0000000000000032"));
	kit_check(kit);
}

static void read_damaged(struct scene *scene, uint64_t id)
{
	struct kit *kit = scene->kit;
	struct why why;
	char piece[4096];
	struct kit_message *m = kit_find(kit, id);
	assert_true(m->found);
	struct spool_reader *r = spool_reader_open(kit->spool, id, m->place, &why);
	assert_non_null(r);
	assert_int_equal(spool_reader_read(r, 0, piece, sizeof(piece)), -1);
	spool_reader_close(r);
	m->live = false;
	spool_note_end(kit->spool, id, m->place); /* as the queue does */
	kit_settle(kit);
}

/* It is met when it is to be delivered. Its end is not noted before it is saved: nobody
 * would look at it again. */
static void test_no_room_for_content(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	flip(scene, scene->ends[5] - 50);
	atomic_store(&no_room, true);
	kit_open(kit);
	read_damaged(scene, 5);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit->reported.all[0].kind, DAMAGE_KEPT);
	assert_non_null(strstr(kit->damage_text, " from <s5@example.org> to 3 recipients"));
	live_on(scene);
	mend();
	kit_open(kit);
	read_damaged(scene, 5);
	assert_int_equal(kit->damages, 1);
	assert_int_equal(kit->reported.all[0].kind, DAMAGE_SAVED);
	kit_append(kit, 200, 10, NULL);
	kit_end(kit, 200);
	kit_settle(kit);
	assert_false(is_there(kit, "", scene->name));
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
}

/* ---- can not be read now ---- */

static void test_unread_record(void **state)
{
	struct scene *scene = *state;
	make_unreadable(scene, kit_find(scene->kit, 20)->place.offset, scene->ends[20]);
	open_kept(scene, "Input/output error");
	assert_in_range(forget(scene), 1, COUNT / 2); /* there are more in that page */
	assert_true(scene->unfound[19]);
	live_on(scene);
	open_mended(scene);
}

/* The end of what was written last: nothing intact stands behind it. */
static void test_unread_tail(void **state)
{
	struct scene *scene = *state;
	make_unreadable(scene, kit_find(scene->kit, COUNT)->place.offset, UINT64_MAX);
	open_kept(scene, "Input/output error");
	assert_in_range(forget(scene), 1, COUNT / 2);
	assert_true(scene->unfound[COUNT - 1]);
	live_on(scene);
	open_mended(scene);
}

/* Of the last batch the content is looked at: that it can not be read does not end it. */
static void test_unread_content(void **state)
{
	struct scene *scene = *state;
	make_unreadable(scene, scene->ends[COUNT] - 64, scene->ends[COUNT]);
	kit_open(scene->kit);
	assert_true(kit_find(scene->kit, COUNT)->found);
	kit_close(scene->kit);
	mend();
	kit_open(scene->kit);
	assert_int_equal(scene->kit->damages, 0);
	kit_check(scene->kit);
}

/* Nothing tells its generation: it stays, all of it. */
static void test_unread_segment(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	make_unreadable(scene, 0, UINT64_MAX);
	open_kept(scene, "Input/output error");
	assert_int_equal(forget(scene), COUNT);
	kit_append(kit, 100, 10, NULL);
	kit_settle(kit);
	kit_close(kit);
	remember(scene);
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
}

/* What is over must not begin anew with it: ends and results, in another segment, stay while
 * it does. */
static void test_unread_segment_of_ended(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	kit_open(kit);
	for (uint64_t id = 1; id <= COUNT; id++)
		kit_end(kit, id);
	for (uint64_t id = 50; id < 90; id++)
		kit_append(kit, id, 1000, NULL);
	kit_segment_name(kit_find(kit, 50), scene->name, sizeof(scene->name));
	assert_int_equal(kit_find(kit, 89)->place.segment, kit_find(kit, 50)->place.segment);
	kit_close(kit);
	kit_open(kit);
	for (uint64_t id = 50; id < 55; id++)
		kit_end(kit, id);
	kit_result(kit, 60, 1);
	kit_close(kit);
	make_unreadable(scene, 0, UINT64_MAX);
	open_kept(scene, "Input/output error");
	assert_int_equal(forget(scene), 35);
	for (uint64_t n = 100; n < 160; n++) {
		kit_append(kit, n, 20000, NULL);
		kit_end(kit, n);
	}
	kit_settle(kit);
	kit_close(kit);
	remember(scene);
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
	assert_int_equal(kit_find(kit, 60)->found_done, 1 << 1);
	for (uint64_t id = 55; id < 90; id++)
		kit_end(kit, id);
	kit_append(kit, 200, 10, NULL);
	kit_end(kit, 200);
	kit_settle(kit);
	assert_false(is_there(kit, "", scene->name));
}

/* A message that was refused stands behind the end of such a segment: where that is is told on,
 * since the segment that told it may go. */
static void test_unread_segment_with_an_end(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	enum spool_status status;
	kit_open(kit);
	for (uint64_t id = 50; id < 90; id++)
		kit_append(kit, id, 1000, NULL);
	kit_settle(kit);
	kit_segment_name(kit_find(kit, 89), scene->name, sizeof(scene->name));
	atomic_store(&no_sync, true);
	assert_null(kit_append(kit, 90, 1000, &status));
	assert_int_equal(status, SPOOL_FAILED);
	kit_close(kit);
	make_unreadable(scene, 0, UINT64_MAX);
	open_kept(scene, "Input/output error");
	assert_in_range(forget(scene), 40, 80);
	for (uint64_t n = 100; n < 160; n++) {
		kit_append(kit, n, 20000, NULL);
		kit_end(kit, n);
	}
	kit_settle(kit);
	kit_close(kit);
	remember(scene);
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
}

/* The record that names a body is what can not be read: the body stays. */
static void test_unread_record_of_a_big_one(void **state)
{
	struct scene *scene = *state;
	struct kit *kit = scene->kit;
	kit_open(kit);
	uint32_t at = kit_append(kit, 50, 100000, NULL)->place.offset;
	kit_append(kit, 51, 100, NULL);
	kit_segment_name(kit_find(kit, 50), scene->name, sizeof(scene->name));
	kit_close(kit);
	make_unreadable(scene, at, at + RECORD_HEAD);
	open_kept(scene, "Input/output error");
	assert_false(kit_find(kit, 50)->found);
	kit_settle(kit);
	kit_close(kit);
	mend();
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_no_room_for_a_record),
	    T(test_no_room_for_a_head),
	    T(test_no_room_for_a_segment),
	    T(test_no_room_for_a_message),
	    T(test_no_room_for_content),
	    T(test_unread_record),
	    T(test_unread_tail),
	    T(test_unread_content),
	    T(test_unread_segment),
	    T(test_unread_segment_of_ended),
	    T(test_unread_segment_with_an_end),
	    T(test_unread_record_of_a_big_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
