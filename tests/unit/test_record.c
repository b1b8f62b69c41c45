/* SPDX-License-Identifier: MIT
 * Records as bytes: checksums, there and back, what is refused, and the walk
 * over good and bad ones.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "queue/crc32c.h"
#include "queue/stock.h"
#include "queue/walk.h"

static void test_crc(void **state)
{
	(void)state;
	/* RFC 3720 B.4 and the usual check value */
	unsigned char bytes[32];
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, NULL, 0), 0);
	unsigned char more[200];
	for (unsigned i = 0; i < sizeof(more); i++)
		more[i] = (unsigned char)(i * 37 + 11);
	for (size_t from = 0; from < 9; from++)
		for (size_t n = 0; n + from <= sizeof(more); n++) {
			uint32_t whole = crc32c(0, more + from, n);
			assert_int_equal(whole, crc32c_portable(0, more + from, n));
			size_t half = n / 3;
			uint32_t part = crc32c(crc32c(0, more + from, half),
			    more + from + half, n - half);
			assert_int_equal(whole, part);
		}
}

static struct record sample(void)
{
	return (struct record){.type = RECORD_MESSAGE, .generation = 0x1122334455667788,
		.id = 0x99aabbccddeeff00, .batch = 4096, .meta_size = 20, .here = 30,
		.content_crc = 1, .size = 30, .meta_crc = 3};
}

static void test_head(void **state)
{
	(void)state;
	struct record r = sample();
	struct record back;
	unsigned char head[RECORD_HEAD];
	record_write_head(&r, head);
	assert_true(record_read_head(&back, head));
	assert_true(back.id == r.id && back.generation == r.generation);
	assert_int_equal(back.batch, 4096);
	assert_int_equal(back.meta_size, 20);
	assert_int_equal(back.here, 30);
	assert_int_equal(back.content_crc, 1);
	assert_int_equal(back.meta_crc, 3);
	assert_int_equal(record_length(&back), 120);
	for (size_t bit = 0; bit < RECORD_HEAD * 8; bit++) {
		head[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_false(record_read_head(&back, head));
		head[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}

static bool is_taken(struct record r)
{
	unsigned char head[RECORD_HEAD];
	record_write_head(&r, head);
	return record_read_head(&r, head);
}

static void test_head_refused(void **state)
{
	(void)state;
	struct record r = sample();
	assert_true(is_taken(r));
	r.type = 0;
	assert_false(is_taken(r));
	r.type = RECORD_END + 1;
	assert_false(is_taken(r));
	r = sample();
	r.size = 31; /* more than here, yet no big file */
	assert_false(is_taken(r));
	r.flags = RECORD_BIG;
	assert_true(is_taken(r));
	r.flags = RECORD_BIG | 2;
	assert_false(is_taken(r));
	r = sample();
	r.size = 29;
	assert_false(is_taken(r));
	r = sample();
	r.type = RECORD_END; /* with content */
	assert_false(is_taken(r));
	r = sample();
	r.meta_size = RECORD_META_MAX + 1;
	assert_false(is_taken(r));
}

static bool read_note(const struct record_note *note, struct record_note *back, size_t cut)
{
	struct buf meta = {0};
	record_write_note(note, &meta);
	struct record r = {.type = (uint8_t)note->type, .id = note->id};
	bool result = record_read_note(back, &r, (struct span){meta.data, meta.len - cut});
	buf_free(&meta);
	return result;
}

static void test_notes(void **state)
{
	(void)state;
	struct record_note back;
	struct record_note result = {.type = RECORD_RESULT, .id = 5, .recipient = 7,
		.outcome = SPOOL_BOUNCED};
	assert_true(read_note(&result, &back, 0));
	assert_int_equal(back.recipient, 7);
	assert_int_equal(back.outcome, SPOOL_BOUNCED);
	assert_false(read_note(&result, &back, 1));
	result.outcome = (enum spool_outcome)4;
	assert_false(read_note(&result, &back, 0));
	result.outcome = SPOOL_DELETED;
	result.recipient = ENVELOPE_RECIPIENTS_MAX;
	assert_false(read_note(&result, &back, 0));
	struct record_note noted = {.type = RECORD_STATE, .id = 6,
		.state = {.due_ms = 1764000000123, .attempts = 3, .held = true, .notified = true,
		    .cleared = true, .by_path = true, .brake = 5, .extra_ms = 90001}};
	assert_true(read_note(&noted, &back, 0));
	assert_true(back.state.due_ms == 1764000000123);
	assert_int_equal(back.state.extra_ms, 120000); /* in minutes, rounded up */
	assert_true(back.state.held && back.state.notified && back.state.attempts == 3);
	assert_true(back.state.cleared && back.state.by_path && back.state.brake == 5);
	noted.state.due_ms = -1;
	assert_false(read_note(&noted, &back, 0));
	struct record_note end = {.type = RECORD_END, .id = 7, .place = {3, 4096}};
	assert_true(read_note(&end, &back, 0));
	assert_int_equal(back.place.segment, 3);
	assert_int_equal(back.place.offset, 4096);
	assert_false(read_note(&end, &back, 8));
}

static void test_message(void **state)
{
	(void)state;
	struct buf done = {0};
	struct buf meta = {0};
	struct record_message back;
	record_set_bit(&done, 0);
	record_set_bit(&done, 17);
	struct record_message m = {.done = span_buf(&done), .envelope = span_text("envelope"),
		.state.attempts = 2};
	record_write_message(&m, &meta);
	assert_true(record_read_message(&back, span_buf(&meta)));
	assert_true(record_bit(back.done, 0) && record_bit(back.done, 17));
	assert_false(record_bit(back.done, 1) || record_bit(back.done, 16));
	assert_false(record_bit(back.done, 100000));
	assert_true(span_is(back.envelope, "envelope"));
	assert_int_equal(back.state.attempts, 2);
	assert_false(record_read_message(&back, (struct span){meta.data, 19}));
	assert_false(record_read_message(&back, (struct span){meta.data, 22}));
	buf_free(&done);
	buf_free(&meta);
}

static void test_names(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool good;
	} rows[] = {
		{"0000000000000001.log", true}, {"00000000ffffffff.spare", true},
		{"00000000000000ab.new", true}, {"00000000000000AB.new", false},
		{"0000000000000000.log", false}, {"0000000100000000.log", false},
		{"000000000000001.log", false}, {"0000000000000001.logs", false},
		{"0000000000000001log", false}, {"0000000000000001", false}, {"", false},
		{"lock", false}, {"0000000000000001.", false},
	};
	char name[SEGMENT_NAME];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t number = 0;
		enum segment_form form = SEGMENT_LOG;
		if (segment_parse_name(rows[i].name, &number, &form) != rows[i].good)
			fail_msg("%s", rows[i].name);
		if (rows[i].good)
			assert_string_equal(segment_name(name, number, form), rows[i].name);
	}
}

/* ---- the walk ---- */

#define GENERATION 42u

struct image {
	struct buf bytes;
	uint64_t bad_from, bad_to; /* reading these fails */
};

static ssize_t from_image(void *arg, uint64_t offset, void *to, size_t n)
{
	const struct image *image = arg;
	if (offset >= image->bytes.len)
		return 0;
	if (n > image->bytes.len - offset)
		n = image->bytes.len - (size_t)offset;
	if (offset < image->bad_to && offset + n > image->bad_from) {
		errno = EIO;
		return -1;
	}
	memcpy(to, image->bytes.data + offset, n);
	return (ssize_t)n;
}

static void add(struct image *image, uint64_t id, uint64_t generation)
{
	unsigned char head[RECORD_HEAD];
	struct record r = {.type = RECORD_END, .generation = generation, .id = id, .meta_size = 8,
		.meta_crc = crc32c(0, "12345678", 8)};
	record_write_head(&r, head);
	buf_add(&image->bytes, head, sizeof(head));
	buf_add(&image->bytes, "12345678", 8);
}

/* The walk as text: a digit per record, '!' for a bad region, '?' for one that may be in
 * order, since some of it could not be read. */
static const char *trace(struct image *image, uint64_t end, char *out)
{
	struct walk_source source = {from_image, image, image->bytes.len};
	struct walk w;
	enum walk_step step;
	char *p = out;
	walk_init(&w, &source, GENERATION, 0, end);
	while ((step = walk_next(&w)) != WALK_END) {
		*p++ = step == WALK_RECORD ? (char)('0' + w.record.id) : w.error ? '?' : '!';
		assert_true(step == WALK_BAD || w.error == 0);
	}
	*p = '\0';
	walk_clear(&w);
	return out;
}

static void test_walk(void **state)
{
	(void)state;
	struct image image = {0};
	char out[64];
	assert_string_equal(trace(&image, 0, out), "");
	for (uint64_t id = 1; id <= 5; id++)
		add(&image, id, GENERATION);
	assert_string_equal(trace(&image, 0, out), "12345");
	assert_string_equal(trace(&image, 72 * 3, out), "123");
	assert_string_equal(trace(&image, 72 * 3 + 8, out), "123!");
	image.bytes.data[72 + 20] ^= 1; /* head of 2 */
	assert_string_equal(trace(&image, 0, out), "1!345");
	image.bytes.data[72 * 2 + 66] ^= 1; /* meta of 3 */
	assert_string_equal(trace(&image, 0, out), "1!45");
	image.bytes.data[72 * 4 + 3] ^= 1; /* the last one */
	assert_string_equal(trace(&image, 0, out), "1!4");
	assert_string_equal(trace(&image, image.bytes.len, out), "1!4!");
	add(&image, 6, GENERATION + 1); /* from an earlier use of the segment */
	assert_string_equal(trace(&image, 0, out), "1!4");
	buf_free(&image.bytes);
}

/* A record is intact or not, and its content is, or neither can be told just now. */
static void test_unreadable_record(void **state)
{
	(void)state;
	struct image image = {0};
	uint64_t generation;
	add(&image, 1, GENERATION);
	struct walk_source source = {from_image, &image, image.bytes.len};
	struct walk w;
	walk_init(&w, &source, GENERATION, 0, 0);
	assert_true(walk_record_at(&w, 0));
	image.bytes.data[20] ^= 1;
	assert_false(walk_record_at(&w, 0));
	assert_int_equal(w.error, 0);
	assert_false(walk_generation(&source, 1, &generation));
	assert_int_equal(errno, 0);
	image.bytes.data[20] ^= 1;
	image.bad_from = 66; /* in its meta part */
	image.bad_to = 67;
	assert_false(walk_record_at(&w, 0));
	assert_int_equal(w.error, EIO);
	image.bad_to = 0;
	assert_true(walk_record_at(&w, 0));
	assert_int_equal(w.error, 0);
	w.record.here = 8; /* as if there was content */
	w.record.meta_size = 0;
	assert_false(walk_content_is_good(&w));
	assert_int_equal(w.error, 0);
	image.bad_from = 64;
	image.bad_to = 65;
	assert_false(walk_content_is_good(&w));
	assert_int_equal(w.error, EIO);
	walk_clear(&w);
	while (image.bytes.len < 2 * RECORD_START)
		buf_add_byte(&image.bytes, 0);
	image.bad_from = 0;
	image.bad_to = 1;
	source.size = image.bytes.len;
	assert_false(walk_generation(&source, 1, &generation));
	assert_int_equal(errno, EIO);
	buf_free(&image.bytes);
}

static void test_walk_unreadable(void **state)
{
	(void)state;
	struct image image = {0};
	char out[512];
	for (uint64_t i = 0; i < 400; i++)
		add(&image, i / 64 + 1, GENERATION); /* over several pages */
	image.bad_from = 8192;
	image.bad_to = 12288;
	trace(&image, 0, out);
	assert_non_null(strchr(out, '?'));
	/* all but those that touch the bad page */
	assert_int_equal(strlen(out) - 1, 400 - (12288 / 72 - 8192 / 72 + 1));
	image.bytes.data[72 * 300] ^= 1; /* one that is bad, too */
	trace(&image, 0, out);
	assert_non_null(strchr(out, '?'));
	assert_true(strchr(out, '!') > strchr(out, '?'));
	buf_free(&image.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_head_refused),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_unreadable_record),
		cmocka_unit_test(test_walk_unreadable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
