/* SPDX-License-Identifier: MIT
 * Any bytes as the image of a segment. The input is garbage; intact records are
 * put between its pieces. The walk must find each of them, in order, and end.
 * The input alone is walked as well, with a generation that it may know, and
 * what is taken for a record is read to its end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "queue/crc32c.h"
#include "queue/walk.h"

#define GENERATION 0x0123456789abcdefu
#define KNOWN 0x1111111111111111u /* what the seeds use */
#define RECORDS 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t from_memory(void *arg, uint64_t offset, void *to, size_t n)
{
	const struct buf *image = arg;
	if (offset >= image->len)
		return 0;
	if (n > image->len - offset)
		n = image->len - (size_t)offset;
	memcpy(to, image->data + offset, n);
	return (ssize_t)n;
}

static void add_record(struct buf *image, uint64_t id)
{
	static const char content[] = "Subject: x\r\n\r\ncontent\r\n";
	struct buf meta = {0};
	struct record_message m = {.envelope = {"envelope", 8}, .state.attempts = (uint32_t)id};
	unsigned char head[RECORD_HEAD];
	while (image->len % 8)
		buf_add_byte(image, 'g');
	record_write_message(&m, &meta);
	struct record r = {.type = RECORD_MESSAGE, .generation = GENERATION, .id = id,
		.meta_size = (uint32_t)meta.len, .meta_crc = crc32c(0, meta.data, meta.len),
		.here = sizeof(content), .size = sizeof(content),
		.content_crc = crc32c(0, content, sizeof(content))};
	record_write_head(&r, head);
	buf_add(image, head, sizeof(head));
	buf_add(image, meta.data, meta.len);
	buf_add(image, content, sizeof(content));
	while (image->len % 8)
		buf_add_byte(image, '\0');
	buf_free(&meta);
}

static void read_record(struct walk *w)
{
	struct record_note note;
	struct record_message m;
	if (w->to <= w->from || w->to > w->source.size)
		abort();
	if (w->record.type == RECORD_MESSAGE) {
		if (record_read_message(&m, w->meta)) {
			struct envelope e;
			if (envelope_read(&e, m.envelope, NULL) == 0)
				envelope_free(&e);
			(void)record_bit(m.done, 100);
		}
	} else if (w->record.type == RECORD_CLOSED) {
		for (size_t i = 0; i < record_closed_count(w->meta); i++)
			(void)record_closed_get(w->meta, i);
	} else {
		(void)!record_read_note(&note, &w->record, w->meta);
	}
	(void)!walk_content_is_good(w);
}

/* Result: how many of our records were met. */
static uint64_t walk_all(struct buf *image, uint64_t generation, uint64_t start, uint64_t end)
{
	struct walk_source source = {from_memory, image, image->len};
	struct walk w;
	struct record head;
	uint64_t met = 0;
	uint64_t at = start;
	enum walk_step step;
	(void)!walk_read_segment(&source, &head);
	walk_init(&w, &source, generation, start, end);
	while ((step = walk_next(&w)) != WALK_END) {
		if (w.at <= at || w.from != at)
			abort(); /* it has to go on, and to leave nothing out */
		at = w.at;
		if (step != WALK_RECORD)
			continue;
		if (w.record.id == met + 1)
			met++;
		read_record(&w);
	}
	walk_clear(&w);
	return met;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf image = {0};
	buf_add(&image, data, size);
	walk_all(&image, KNOWN, 0, 0);
	walk_all(&image, KNOWN, 0, size / 2);
	buf_clear(&image);
	for (uint64_t i = 0; i < RECORDS; i++) {
		buf_add(&image, data + size * i / RECORDS, size * (i + 1) / RECORDS -
		    size * i / RECORDS);
		add_record(&image, i + 1);
	}
	if (walk_all(&image, GENERATION, 0, 0) != RECORDS)
		abort();
	if (walk_all(&image, GENERATION, 0, image.len) != RECORDS)
		abort();
	buf_free(&image);
	return 0;
}
