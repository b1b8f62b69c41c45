/* SPDX-License-Identifier: MIT
 * Reading back what was cut, changed or made unreadable while the spool was in use: the
 * receiver gets no end of it, what can be read later is told from what never will be,
 * and only the latter is set aside.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "queue/crc32c.h"
#include "queue/record.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"
#include "tests/unit/spool_kit.h"

#define BIG 100000u

static struct spool_io real;
static const char *_Atomic no_open; /* a name with this in it can not be opened now */

static int try_open(int dir, const char *name, int flags, mode_t mode)
{
	const char *part = atomic_load(&no_open);
	if (part && strstr(name, part)) {
		errno = EMFILE;
		return -1;
	}
	return real.openat(dir, name, flags, mode);
}

/* A spool in use with a small message, 1, and a big one, 2. */
static int set_up(void **state)
{
	struct kit *kit = kit_new();
	real = spool_io;
	spool_io.openat = try_open; /* before there are threads that look there */
	kit_open(kit);
	assert_non_null(kit_append(kit, 1, 5000, NULL));
	assert_non_null(kit_append(kit, 2, BIG, NULL));
	kit_settle(kit);
	*state = kit;
	return 0;
}

static int tear_down(void **state)
{
	atomic_store(&no_open, NULL);
	kit_free(*state);
	spool_io = real;
	return 0;
}

static struct spool_reader *open_reader(struct kit *kit, uint64_t id)
{
	struct why why = {0};
	struct spool_reader *r = spool_reader_open(kit->spool, id, kit_find(kit, id)->place, &why);
	if (!r)
		fail_msg("%s", why.text);
	return r;
}

static void expect_unopened(
    struct kit *kit, uint64_t id, struct spool_place place, enum why_kind kind, const char *text)
{
	struct why why = {0};
	assert_null(spool_reader_open(kit->spool, id, place, &why));
	if (!strstr(why.text, text))
		fail_msg("said \"%s\", expected \"%s\"", why.text, text);
	assert_int_equal(why.kind, kind);
	kit_settle(kit);
}

static void cut(struct kit *kit, const char *name, off_t size)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
	assert_int_equal(truncate(path, size), 0);
}

/* Of R nothing can be read any more, and it is set aside once. */
static void expect_damaged(struct kit *kit, struct spool_reader *r, uint64_t id)
{
	char piece[64];
	assert_true(spool_reader_damaged(r));
	assert_int_equal(spool_reader_read(r, 0, piece, sizeof(piece)), -1);
	spool_reader_close(r);
	kit_settle(kit);
	assert_int_equal(kit->reported.all[0].id, id);
	kit_find(kit, id)->live = false;
}

static void test_cut_segment(void **state)
{
	struct kit *kit = *state;
	char name[40];
	char piece[8000];
	struct spool_reader *r = open_reader(kit, 1);
	kit_segment_name(kit_find(kit, 1), name, sizeof(name));
	cut(kit, name, kit_find(kit, 1)->place.offset + 3000);
	assert_int_equal(spool_reader_read(r, 0, piece, 1000), 1000);
	assert_int_equal(spool_reader_read(r, 1000, piece, sizeof(piece)), -1);
	expect_damaged(kit, r, 1);
}

/* The rest of one that is read from behind is what was cut. */
static void test_cut_before_what_is_read(void **state)
{
	struct kit *kit = *state;
	char piece[100];
	struct spool_reader *r = open_reader(kit, 2);
	uint64_t size = spool_reader_size(r);
	cut(kit, "big/0000000000000002", 70000);
	assert_int_equal(spool_reader_read(r, 0, piece, 100), 100);
	assert_int_equal(spool_reader_read(r, size - 50, piece, 100), -1);
	expect_damaged(kit, r, 2);
}

static void test_cut_body(void **state)
{
	struct kit *kit = *state;
	char *text = mem_alloc(2 * BIG);
	struct spool_reader *r = open_reader(kit, 2);
	cut(kit, "big/0000000000000002", 3);
	assert_int_equal(spool_reader_read(r, 0, text, 2 * BIG), -1);
	mem_free(text);
	expect_damaged(kit, r, 2);
	assert_int_equal(kit_count_files(kit, "big", "0000000000000002"), 0);
	assert_int_equal(kit_count_files(kit, "damaged", "big-0000000000000002"), 1);
}

static void test_body_of_another_size(void **state)
{
	struct kit *kit = *state;
	cut(kit, "big/0000000000000002", BIG + 1000);
	expect_unopened(kit, 2, kit_find(kit, 2)->place, WHY_PERM,
	    "big/0000000000000002 is missing or has another size");
	assert_int_equal(kit_count_files(kit, "damaged", "big-0000000000000002"), 1);
	kit_find(kit, 2)->live = false;
}

/* We lack descriptors: the message is as good as ever. */
static void test_body_that_can_not_be_opened_now(void **state)
{
	struct kit *kit = *state;
	atomic_store(&no_open, "0000000000000002");
	expect_unopened(
	    kit, 2, kit_find(kit, 2)->place, WHY_TEMP, "spool file big/0000000000000002");
	atomic_store(&no_open, NULL);
	assert_int_equal(kit->damages, 0);
	assert_true(kit_is_readable(kit, kit_find(kit, 2)));
}

/* Nobody has read there yet. */
static void test_segment_that_can_not_be_opened_now(void **state)
{
	struct kit *kit = *state;
	struct why why = {0};
	struct envelope envelope;
	struct spool_place place = kit_find(kit, 1)->place;
	atomic_store(&no_open, ".log");
	expect_unopened(kit, 1, place, WHY_TEMP, "can not be opened");
	assert_int_equal(spool_read_envelope(kit->spool, 1, place, &envelope, &why), -1);
	assert_int_equal(why.kind, WHY_TEMP);
	atomic_store(&no_open, NULL);
	assert_int_equal(kit->damages, 0);
	assert_true(kit_is_readable(kit, kit_find(kit, 1)));
}

/* Where a record of another message stands there is none of this one. */
static void test_another_message(void **state)
{
	struct kit *kit = *state;
	expect_unopened(kit, 1, kit_find(kit, 2)->place, WHY_PERM,
	    "message 0000000000000001: its record in spool segment");
	assert_int_equal(kit->damages, 1);
	assert_true(kit_is_readable(kit, kit_find(kit, 2)));
	kit_find(kit, 1)->live = false;
}

static void test_no_such_segment(void **state)
{
	struct kit *kit = *state;
	struct spool_place place = {.segment = 0xffff, .offset = RECORD_START};
	struct why why = {0};
	struct envelope envelope;
	expect_unopened(kit, 1, place, WHY_PERM, "its spool segment 000000000000ffff is gone");
	assert_int_equal(spool_read_envelope(kit->spool, 1, place, &envelope, &why), -1);
	assert_int_equal(why.kind, WHY_PERM);
	assert_int_equal(kit->damages, 0);
}

/* Eight bytes of the record become 0xff, those of the state or of the envelope, and its
 * checksums fit. */
static void spoil_meta(struct kit *kit, uint64_t id, bool envelope)
{
	char name[40];
	size_t size;
	struct record r;
	struct record_message m;
	kit_segment_name(kit_find(kit, id), name, sizeof(name));
	char *data = kit_load(kit, name, &size);
	char *head = data + kit_find(kit, id)->place.offset;
	char *meta = head + RECORD_HEAD;
	assert_true(record_read_head(&r, (unsigned char *)head));
	assert_true(record_read_message(&m, (struct span){meta, r.meta_size}));
	memset(meta + (envelope ? m.envelope.p - meta : 0), 0xff, 8);
	r.meta_crc = crc32c(0, meta, r.meta_size);
	record_write_head(&r, (unsigned char *)head);
	kit_store(kit, name, data, size);
	mem_free(data);
}

static void expect_no_envelope(struct kit *kit, uint64_t id)
{
	struct why why = {0};
	struct envelope envelope;
	struct spool_place place = kit_find(kit, id)->place;
	assert_int_equal(spool_read_envelope(kit->spool, id, place, &envelope, &why), -1);
	assert_non_null(strstr(why.text, "its envelope is damaged and was set aside"));
	assert_int_equal(why.kind, WHY_PERM);
	assert_null(envelope.sender);
	kit_settle(kit);
	assert_int_equal(kit->reported.all[kit->reported.count - 1].id, id);
	kit_find(kit, id)->live = false;
}

static void test_envelope_of_no_sense(void **state)
{
	struct kit *kit = *state;
	spoil_meta(kit, 1, false);
	expect_no_envelope(kit, 1);
	spoil_meta(kit, 2, true);
	expect_no_envelope(kit, 2);
	assert_int_equal(kit->damages, 3); /* and the body of the second */
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_cut_segment),
	    T(test_cut_before_what_is_read),
	    T(test_cut_body),
	    T(test_body_of_another_size),
	    T(test_body_that_can_not_be_opened_now),
	    T(test_segment_that_can_not_be_opened_now),
	    T(test_another_message),
	    T(test_no_such_segment),
	    T(test_envelope_of_no_sense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
