/* SPDX-License-Identifier: MIT
 * Segments are used anew: what they alone knew lives on, the rest does not
 * come back, and space stays bounded however long a few messages wait.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"
#include "tests/unit/spool_kit.h"

static struct kit *begin(void)
{
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	kit_open(kit);
	return kit;
}

static void reopen(struct kit *kit)
{
	kit_close(kit);
	kit_open(kit);
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
}

/* Fill segments with messages that end at once. */
static void churn(struct kit *kit, uint64_t first, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		assert_non_null(kit_append(kit, first + i, size, NULL));
		kit_end(kit, first + i);
	}
	kit_settle(kit);
}

static void test_reuse(void **state)
{
	(void)state;
	struct kit *kit = begin();
	churn(kit, 1, 100, 10000);
	assert_true(spool_stats(kit->spool).segments <= 3);
	assert_true(kit_count_files(kit, "", ".log") + kit_count_files(kit, "", ".spare") <= 5);
	reopen(kit);
	assert_int_equal(spool_stats(kit->spool).live_messages, 0);
	kit_free(kit);
}

static void test_carry_over(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append(kit, 1000, 3000, NULL);
	struct kit_message *m = kit_find(kit, 1000);
	m->state = (struct spool_state){.due_ms = 77, .attempts = 2, .held = true,
		.notified = true};
	spool_note_state(kit->spool, 1000, &m->state);
	kit_result(kit, 1000, 2);
	uint32_t first = m->place.segment;
	churn(kit, 1, 100, 10000);
	assert_true(kit->moves > 0);
	assert_true(m->place.segment > first);
	assert_true(kit_is_readable(kit, m));
	assert_true(spool_stats(kit->spool).segments <= 3);
	reopen(kit);
	kit_free(kit);
}

static void test_carry_big(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append(kit, 1000, 200000, NULL);
	churn(kit, 1, 30, 10000);
	assert_true(kit->moves > 0);
	reopen(kit);
	kit_end(kit, 1000);
	reopen(kit);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	kit_free(kit);
}

/* Half of the first segment lives on and pins it; results and ends of its
 * messages stand in later segments, which are used anew. */
static void test_foreign_notes(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append_many(kit, 1000, 10, 5000, NULL);
	uint32_t first = kit_find(kit, 1000)->place.segment;
	assert_int_equal(kit_find(kit, 1009)->place.segment, first);
	churn(kit, 1, 7, 9000); /* so that the notes stand in another segment */
	for (uint64_t id = 1000; id < 1004; id++)
		kit_end(kit, id);
	kit_result(kit, 1005, 1);
	struct kit_message *m = kit_find(kit, 1006);
	m->state = (struct spool_state){.due_ms = 5, .attempts = 9};
	spool_note_state(kit->spool, 1006, &m->state);
	churn(kit, 100, 60, 9000);
	assert_int_equal(kit_find(kit, 1005)->place.segment, first);
	reopen(kit);
	churn(kit, 200, 60, 9000);
	reopen(kit);
	assert_int_equal(spool_stats(kit->spool).live_messages, 6);
	kit_free(kit);
}

/* The queue moves the time of an attempt without a note (a restart does, a way out
 * that opens does). What was noted last is carried all the same: who held a message
 * wants it held after the next start. */
static void test_foreign_state(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append_many(kit, 1000, 10, 5000, NULL);
	struct kit_message *m = kit_find(kit, 1006);
	uint32_t first = m->place.segment;
	churn(kit, 1, 7, 9000);
	m->state = (struct spool_state){.due_ms = 5, .attempts = 9};
	spool_note_state(kit->spool, 1006, &m->state);
	m->state = (struct spool_state){.due_ms = 7, .attempts = 9, .held = true};
	spool_note_state(kit->spool, 1006, &m->state);
	m->put_off_ms = 100;
	churn(kit, 100, 60, 9000);
	assert_int_equal(m->place.segment, first);
	reopen(kit);
	kit_free(kit);
}

/* What is there of a copy that was written, but not synced, when the power went:
 * a whole head and meta part, and content of which bytes are missing. The message
 * itself stands where it was, and a torn copy takes nothing from it, however often
 * the daemon is started. */
static void test_torn_copy(void **state)
{
	(void)state;
	struct kit *kit = begin();
	struct why why;
	char name[40];
	size_t size;
	kit_append(kit, 1000, 3000, NULL);
	struct kit_message *m = kit_find(kit, 1000);
	/* so that its segment stays when it was copied */
	struct spool_reader *r = spool_reader_open(kit->spool, 1000, m->place, &why);
	for (uint64_t id = 1; !kit->moves; id++)
		churn(kit, id, 1, 10000);
	spool_reader_close(r);
	kit_close(kit);
	kit_segment_name(m, name, sizeof(name));
	char *log = kit_load(kit, name, &size);
	log[m->place.offset + 2000] ^= 0x41;
	kit_store(kit, name, log, size);
	mem_free(log);
	for (int start = 0; start < 3; start++) {
		kit_open(kit);
		assert_int_equal(kit->damages, 0);
		kit_check(kit);
		kit_append(kit, 100 + (uint64_t)start, 100, NULL);
		kit_close(kit);
	}
	kit_open(kit);
	churn(kit, 200, 60, 9000);
	assert_int_equal(kit->damages, 0);
	reopen(kit);
	kit_end(kit, 1000);
	reopen(kit);
	kit_free(kit);
}

/* ---- damage ---- */

static int open_segment_of(struct kit *kit, const struct kit_message *m)
{
	char name[40];
	char path[128];
	kit_segment_name(m, name, sizeof(name));
	snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

/* Message 1000 of SIZE is damaged AT bytes behind the start of its record. As its segment
 * is emptied it leaves the queue, FILES go to damaged/, and the segment goes. */
static void lose(size_t size, uint32_t at, unsigned files)
{
	struct kit *kit = begin();
	kit_append(kit, 1000, size, NULL);
	struct kit_message *m = kit_find(kit, 1000);
	int fd = open_segment_of(kit, m);
	assert_int_equal(pwrite(fd, "#", 1, m->place.offset + at), 1);
	close(fd);
	churn(kit, 1, 30, 10000);
	assert_int_equal(kit->damages, files);
	assert_int_equal(kit->losts, 1);
	assert_int_equal(kit->moves, 0);
	assert_false(m->live);
	assert_true(spool_stats(kit->spool).segments <= 3);
	assert_int_equal(spool_stats(kit->spool).live_messages, 0);
	reopen(kit);
	assert_int_equal(kit_count_files(kit, "damaged", ""), files);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	kit_free(kit);
}

static void test_damaged_when_carried(void **state)
{
	(void)state;
	lose(3000, 2000, 1);
	lose(3000, 20, 1); /* its head: nothing says any more whose it was */
}

/* The body is intact, and is kept with what is left of the record. */
static void test_damaged_big_when_carried(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append(kit, 1000, 100000, NULL);
	int fd = open_segment_of(kit, kit_find(kit, 1000));
	struct walk_source source = {spool_io_read_source, &fd, 64 << 10};
	struct walk walk;
	struct record head;
	assert_true(walk_read_segment(&source, &head));
	walk_init(&walk, &source, head.generation, 0, 0);
	assert_true(walk_record_at(&walk, kit_find(kit, 1000)->place.offset));
	uint32_t content = RECORD_HEAD + walk.record.meta_size;
	walk_clear(&walk);
	close(fd);
	kit_free(kit);
	lose(100000, content + 3, 2);
	lose(100000, 20, 2);
}

/* ---- what can not be read for a while ---- */

static struct {
	atomic_bool on;
	ino_t ino;
	off_t from[2]; /* a byte at each */
	atomic_int errors;
} unread;

static ssize_t try_read(int fd, void *to, size_t n, off_t offset)
{
	struct stat st;
	for (int i = 0; i < 2 && atomic_load(&unread.on); i++) {
		if (fstat(fd, &st) != 0 || st.st_ino != unread.ino ||
		    offset > unread.from[i] || offset + (off_t)n <= unread.from[i])
			continue;
		atomic_fetch_add(&unread.errors, 1);
		errno = EIO;
		return -1;
	}
	return pread(fd, to, n, offset);
}

/* Content of one message and the head of another: neither is damaged for that. */
static void test_unreadable_for_a_while(void **state)
{
	(void)state;
	struct stat st;
	struct kit *kit = begin();
	kit_append_many(kit, 1000, 2, 2500, NULL);
	struct kit_message *m = kit_find(kit, 1000);
	int fd = open_segment_of(kit, m);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	unread.ino = st.st_ino;
	off_t content = m->place.offset + 2000;
	off_t head = kit_find(kit, 1001)->place.offset + 8;
	spool_io.pread = try_read;
	const struct {
		off_t from[2];
	} rows[] = {{{head, head}}, {{content, head}}, {{content, content}}};
	uint64_t id = 1;
	for (size_t i = 0; i < 3; i++, id += 30) {
		memcpy(unread.from, rows[i].from, sizeof(unread.from));
		atomic_store(&unread.errors, 0);
		atomic_store(&unread.on, true);
		carry_try_again(kit->spool); /* as a minute later */
		churn(kit, id, 30, 10000);
		atomic_store(&unread.on, false);
		assert_true(unread.errors > 0);
		assert_int_equal(kit->damages, 0);
		assert_int_equal(kit->losts, 0);
	}
	assert_int_equal(m->place.segment, 1);
	carry_try_again(kit->spool);
	kit_settle(kit);
	spool_io.pread = pread;
	assert_true(m->place.segment > 1);
	assert_true(spool_stats(kit->spool).segments <= 3);
	assert_int_equal(kit_count_files(kit, "damaged", ""), 0);
	reopen(kit);
	kit_free(kit);
}

/* ---- the name is gone, and nobody knows whether for good ---- */

static struct {
	struct spool_io io;
	atomic_int left; /* how often the folder's sync behind that is to fail */
	atomic_bool gone;
} usual;

static void see_name(const char *name)
{
	if (strstr(name, ".log"))
		atomic_store(&usual.gone, true);
}

static int try_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	see_name(from);
	return usual.io.renameat(from_dir, from, to_dir, to);
}

static int try_unlink(int dir, const char *name, int flags)
{
	see_name(name);
	return usual.io.unlinkat(dir, name, flags);
}

static int try_fsync(int fd)
{
	if (!atomic_exchange(&usual.gone, false) || atomic_load(&usual.left) == 0)
		return usual.io.fsync(fd);
	atomic_fetch_sub(&usual.left, 1);
	errno = EIO;
	return -1;
}

/* A segment was retired, but for the sync of the folder: the next look ends it. */
static void test_unsynced_retirement(void **state)
{
	(void)state;
	usual.io = spool_io; /* no thread of a spool looks at it now */
	spool_io.fsync = try_fsync;
	spool_io.renameat = try_rename;
	spool_io.unlinkat = try_unlink;
	struct kit *kit = begin();
	atomic_store(&usual.left, 2);
	churn(kit, 1, 100, 10000);
	for (int i = 0; i < 4; i++) {
		carry_try_again(kit->spool); /* as a minute later */
		kit_settle(kit);
	}
	assert_int_equal(atomic_load(&usual.left), 0);
	assert_int_equal(spool_stats(kit->spool).segments, 1); /* that which is written to */
	reopen(kit);
	kit_free(kit);
	spool_io = usual.io;
}

/* ---- what counts, and is too much ---- */

/* COUNT results of one recipient of message ID: as many records as a long list makes. */
static void many_results(struct kit *kit, uint64_t id, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		kit_result(kit, id, 1);
		if (i % 100 == 99)
			kit_settle(kit);
	}
	kit_settle(kit);
}

/* A list waits for its last recipients, in a segment that is full of mail; the results of
 * the others fill segments. They go: the message is written anew instead. */
static void test_results_of_a_list(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append_many(kit, 1000, 10, 5000, NULL);
	struct kit_message *list = kit_find(kit, 1000);
	uint32_t first = list->place.segment;
	assert_int_equal(kit_find(kit, 1009)->place.segment, first);
	churn(kit, 1, 7, 9000);
	many_results(kit, 1000, 2500);
	churn(kit, 100, 100, 9000);
	assert_true(list->place.segment > first);
	assert_int_equal(kit_find(kit, 1001)->place.segment, first);
	assert_true(spool_stats(kit->spool).segments <= 4);
	reopen(kit);
	/* where it stood before nothing is kept for: ends of others are not collected */
	for (uint64_t id = 1200; id < 3700; id += 50) {
		assert_int_equal(kit_append_many(kit, id, 50, 10, NULL), 50);
		for (uint64_t k = id; k < id + 50; k++)
			kit_end(kit, k);
	}
	kit_settle(kit);
	assert_int_equal(kit_find(kit, 1001)->place.segment, first);
	assert_true(spool_stats(kit->spool).segments <= 4);
	/* and from there it does not come back */
	kit_end(kit, 1000);
	churn(kit, 300, 100, 9000);
	reopen(kit);
	kit_free(kit);
}

/* States of many messages, which all count: their segment stays as it is, and nothing of
 * it is written anew time and again. */
static void test_segment_full_of_states(void **state)
{
	(void)state;
	struct kit *kit = begin();
	kit_append_many(kit, 1000, 600, 100, NULL);
	churn(kit, 1, 7, 9000);
	for (uint64_t id = 1000; id < 1600; id++) {
		struct kit_message *m = kit_find(kit, id);
		m->state = (struct spool_state){.due_ms = 5, .attempts = 9};
		spool_note_state(kit->spool, id, &m->state);
	}
	churn(kit, 100, 30, 9000);
	uint64_t before = spool_stats(kit->spool).segments;
	churn(kit, 200, 200, 9000);
	assert_true(spool_stats(kit->spool).segments <= before + 1);
	reopen(kit);
	for (uint64_t id = 1000; id < 1600; id++)
		kit_end(kit, id);
	churn(kit, 500, 100, 9000);
	assert_true(spool_stats(kit->spool).segments <= 3);
	reopen(kit);
	kit_free(kit);
}

/* ---- readers ---- */

/* Nobody reads from a segment that is used anew, and for as long as somebody reads there
 * the others are used anew all the same. */
static void test_reader_pins(void **state)
{
	(void)state;
	struct kit *kit = begin();
	struct why why;
	kit_append(kit, 1000, 4000, NULL);
	struct kit_message *m = kit_find(kit, 1000);
	struct spool_reader *r = spool_reader_open(kit->spool, 1000, m->place, &why);
	assert_non_null(r);
	char head[10];
	assert_int_equal(spool_reader_read(r, 0, head, sizeof(head)), sizeof(head));
	kit_end(kit, 1000);
	churn(kit, 1, 60, 9000);
	assert_true(spool_stats(kit->spool).segments <= 4);
	char rest[8192];
	assert_true(spool_reader_read(r, 10, rest, sizeof(rest)) > 4000);
	assert_false(spool_reader_damaged(r));
	spool_reader_close(r);
	kit_settle(kit);
	assert_true(spool_stats(kit->spool).segments <= 3);
	reopen(kit);
	kit_free(kit);
}

/* The same with a message that lives on: it is read where it was, and moved. */
static void test_reader_of_a_moved_message(void **state)
{
	(void)state;
	struct kit *kit = begin();
	struct why why;
	char text[8192];
	kit_append(kit, 1000, 4000, NULL);
	struct kit_message *m = kit_find(kit, 1000);
	uint32_t first = m->place.segment;
	struct spool_reader *r = spool_reader_open(kit->spool, 1000, m->place, &why);
	assert_non_null(r);
	churn(kit, 1, 60, 9000);
	assert_true(m->place.segment > first);
	assert_true(spool_stats(kit->spool).segments <= 5);
	assert_true(spool_reader_read(r, 0, text, sizeof(text)) > 4000);
	spool_reader_close(r);
	kit_settle(kit);
	assert_true(spool_stats(kit->spool).segments <= 3);
	reopen(kit);
	kit_end(kit, 1000);
	churn(kit, 100, 30, 9000);
	reopen(kit);
	kit_free(kit);
}

static struct kept {
	char name[40];
	char *data;
	size_t size;
} kept[2]; /* segments, when a message had just been carried over */

static void keep_files(struct kit *kit)
{
	kit->moved = NULL;
	for (uint32_t i = 0; i < 2; i++) {
		segment_name(kept[i].name, i + 1, SEGMENT_LOG);
		kept[i].data = kit_load(kit, kept[i].name, &kept[i].size);
	}
}

/* Of messages 1000 and 1001 copies have just been written. */
static void make_copy(struct kit *kit)
{
	kit->moved = keep_files;
	kit_append_many(kit, 1000, 2, 2500, NULL);
	kit_append_many(kit, 1002, 6, 9000, NULL);
	kit_append_many(kit, 2000, 3, 9000, NULL);
	assert_int_equal(kit_find(kit, 1000)->place.segment, 1);
	assert_int_equal(kit_find(kit, 2000)->place.segment, 2);
	for (uint64_t id = 1002; id < 1008; id++)
		kit_end(kit, id);
	kit_settle(kit);
	assert_int_equal(kit_find(kit, 1000)->place.segment, 2);
	assert_null(kit->moved);
}

/* A copy was torn by a power cut, another one behind it was not, and their segment stays.
 * Once the message has ended, the torn copy does not come back. */
static void test_end_beside_torn_copy(void **state)
{
	(void)state;
	struct kit *from = begin();
	make_copy(from);
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	memcpy(kit->messages, from->messages, sizeof(kit->messages));
	kit->count = from->count;
	kept[1].data[from->messages[0].place.offset + 2000] ^= 1;
	for (size_t i = 0; i < 2; i++) {
		kit_store(kit, kept[i].name, kept[i].data, kept[i].size);
		mem_free(kept[i].data);
	}
	kit_free(from);
	kit_open(kit);
	kit_check(kit);
	reopen(kit);
	kit_end(kit, 1000);
	churn(kit, 1, 30, 9000); /* nothing is left of its end but what is still needed */
	reopen(kit);
	kit_free(kit);
}

/* A year in a minute: whatever happens in whatever order, a restart finds what
 * the model says. */
static void run_random(unsigned seed)
{
	struct kit *kit = begin();
	uint64_t next = 1;
	srandom(seed);
	for (int step = 0; step < 1000; step++) {
		long what = random() % 100;
		struct kit_message *m = kit->count ?
		    &kit->messages[(size_t)random() % kit->count] : NULL;
		if (what < 35 && next < KIT_MAX - 100) {
			size_t size = random() % 20 ? (size_t)random() % 9000 :
						      (size_t)random() % 150000;
			size_t count = 1 + (size_t)random() % 4;
			assert_int_equal(kit_append_many(kit, next, count, size, NULL), count);
			next += count;
		} else if (what < 70 && m && m->live) {
			kit_end(kit, m->id);
		} else if (what < 80 && m && m->live) {
			kit_result(kit, m->id, (unsigned)random() % 2);
		} else if (what < 95 && m && m->live) {
			m->state = (struct spool_state){.due_ms = step,
				.attempts = m->state.attempts + 1, .held = random() % 2};
			spool_note_state(kit->spool, m->id, &m->state);
		} else if (what == 95) {
			kit_settle(kit);
		} else if (what == 96) {
			reopen(kit);
		}
	}
	reopen(kit);
	/* all over: nearly no space is left in use */
	for (size_t i = 0; i < kit->count; i++)
		if (kit->messages[i].live)
			kit_end(kit, kit->messages[i].id);
	churn(kit, next, 14, 9000);
	assert_true(spool_stats(kit->spool).segments <= 3);
	reopen(kit);
	kit_free(kit);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 5; seed++)
		run_random(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reuse),
	    cmocka_unit_test(test_carry_over),
	    cmocka_unit_test(test_carry_big),
	    cmocka_unit_test(test_foreign_notes),
	    cmocka_unit_test(test_foreign_state),
	    cmocka_unit_test(test_torn_copy),
	    cmocka_unit_test(test_damaged_when_carried),
	    cmocka_unit_test(test_damaged_big_when_carried),
	    cmocka_unit_test(test_unreadable_for_a_while),
	    cmocka_unit_test(test_unsynced_retirement),
	    cmocka_unit_test(test_results_of_a_list),
	    cmocka_unit_test(test_segment_full_of_states),
	    cmocka_unit_test(test_reader_pins),
	    cmocka_unit_test(test_reader_of_a_moved_message),
	    cmocka_unit_test(test_end_beside_torn_copy),
	    cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
