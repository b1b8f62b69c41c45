/* SPDX-License-Identifier: MIT
 * A record counts when magic, generation, lengths and the CRCs of head and meta
 * are right. Behind anything else the next one is looked for at each multiple
 * of 8; the generation, 64 random bits, keeps text from being taken for one.
 */
#include "queue/walk.h"

#include <errno.h>
#include <string.h>

#include "queue/crc32c.h"
#include "relayd/base/mem.h"

#define FIRST_READ 1024u /* head and meta of most messages */
#define SEARCH_STEP 65536u
#define PAGE 4096u

/* False: not all of it, and *ERROR is 0 when the source ends there, else errno. */
static bool read_all(
    const struct walk_source *source, uint64_t offset, char *to, size_t n, int *error)
{
	*error = 0;
	while (n > 0) {
		ssize_t got = source->read(source->arg, offset, to, n);
		if (got < 0)
			*error = errno;
		if (got <= 0)
			return false;
		offset += (uint64_t)got;
		to += got;
		n -= (size_t)got;
	}
	return true;
}

int walk_read_anyway(const struct walk_source *source, uint64_t offset, char *to, size_t n)
{
	int error;
	int worst = 0;
	if (read_all(source, offset, to, n, &error))
		return 0;
	size_t piece;
	for (size_t i = 0; i < n; i += piece) {
		piece = PAGE - (size_t)((offset + i) % PAGE); /* a bad one costs no other */
		if (piece > n - i)
			piece = n - i;
		if (read_all(source, offset + i, to + i, piece, &error))
			continue;
		memset(to + i, 0, piece);
		if (error)
			worst = error;
	}
	return worst;
}

static bool read_head(
    const struct walk_source *source, uint64_t offset, struct record *head, int *error)
{
	unsigned char bytes[RECORD_HEAD];
	return read_all(source, offset, (char *)bytes, sizeof(bytes), error) &&
	       record_read_head(head, bytes);
}

static bool read_segment(const struct walk_source *source, struct record *head, int *error)
{
	*error = 0;
	return source->size >= RECORD_START && read_head(source, 0, head, error) &&
	       head->type == RECORD_SEGMENT && head->meta_size == 0 && head->id > 0 &&
	       head->id <= UINT32_MAX;
}

bool walk_read_segment(const struct walk_source *source, struct record *head)
{
	int error;
	bool good = read_segment(source, head, &error);
	errno = error;
	return good;
}

bool walk_generation(const struct walk_source *source, uint32_t number, uint64_t *generation)
{
	struct record head;
	struct record first;
	int error;
	int first_error = 0;
	bool good = read_segment(source, &head, &error);
	if (good && head.id == number) {
		*generation = head.generation;
		return true;
	}
	if (source->size < RECORD_START + RECORD_HEAD ||
	    !read_head(source, RECORD_START, &first, &first_error) || first.type != RECORD_CLOSED ||
	    (good && first.generation == head.generation)) {
		errno = error ? error : first_error;
		return false;
	}
	*generation = first.generation;
	return true;
}

void walk_init(struct walk *w, const struct walk_source *source, uint64_t generation,
    uint64_t at, uint64_t known_end)
{
	*w = (struct walk){.source = *source, .generation = generation, .at = at};
	w->end_known = known_end > 0;
	w->end = source->size;
	if (w->end_known && known_end < w->end)
		w->end = known_end;
}

void walk_clear(struct walk *w)
{
	buf_free(&w->bytes);
}

/* Have N bytes from OFFSET on in w->bytes. */
static bool fetch(struct walk *w, uint64_t offset, size_t n)
{
	buf_clear(&w->bytes);
	if (!read_all(&w->source, offset, buf_room(&w->bytes, n), n, &w->error))
		return false;
	w->bytes.len = n;
	return true;
}

bool walk_record_at(struct walk *w, uint64_t offset)
{
	w->error = 0;
	if (offset > w->end || w->end - offset < RECORD_HEAD)
		return false;
	uint64_t left = w->end - offset;
	size_t first = left < FIRST_READ ? (size_t)left : FIRST_READ;
	/* a bad page behind the head must not hide a record that ends before it */
	if (!fetch(w, offset, first) && (first == RECORD_HEAD || !fetch(w, offset, RECORD_HEAD)))
		return false;
	struct record *r = &w->record;
	if (!record_read_head(r, (const unsigned char *)w->bytes.data))
		return false;
	if (r->generation != w->generation || r->type == RECORD_SEGMENT ||
	    (r->at && r->at != offset) || record_length(r) > left)
		return false;
	size_t whole = RECORD_HEAD + r->meta_size;
	if (whole > w->bytes.len && !fetch(w, offset, whole))
		return false;
	w->meta = (struct span){w->bytes.data + RECORD_HEAD, r->meta_size};
	if (crc32c(0, w->meta.p, w->meta.n) != r->meta_crc)
		return false;
	w->from = offset;
	w->to = offset + record_length(r);
	return true;
}

bool walk_content_is_good(struct walk *w)
{
	uint64_t offset = w->from + RECORD_HEAD + w->record.meta_size;
	uint32_t left = w->record.here;
	uint32_t crc = 0;
	char *piece = left ? mem_alloc(SEARCH_STEP) : NULL;
	bool good = true;
	w->error = 0;
	while (left > 0 && good) {
		uint32_t n = left < SEARCH_STEP ? left : SEARCH_STEP;
		good = read_all(&w->source, offset, piece, n, &w->error);
		if (good)
			crc = crc32c(crc, piece, n);
		offset += n;
		left -= n;
	}
	mem_free(piece);
	return good && crc == w->record.content_crc;
}

/* The next place from OFFSET on where an intact record stands; w->end: none. Whatever
 * can not be read on the way there is left in w->error. */
static uint64_t search(struct walk *w, uint64_t offset)
{
	unsigned char mark[16] = {0};
	struct record like = {.type = RECORD_MESSAGE, .generation = w->generation};
	unsigned char head[RECORD_HEAD];
	record_write_head(&like, head);
	memcpy(mark, head, sizeof(mark));
	char *piece = mem_alloc(SEARCH_STEP + RECORD_HEAD);
	uint64_t found = w->end;
	int error = w->error;
	while (found == w->end && offset < w->end && w->end - offset >= RECORD_HEAD) {
		uint64_t left = w->end - offset;
		size_t n = left < SEARCH_STEP + RECORD_HEAD ? (size_t)left :
							      SEARCH_STEP + RECORD_HEAD;
		int unread = walk_read_anyway(&w->source, offset, piece, n);
		error = unread ? unread : error;
		for (size_t i = 0; i + RECORD_HEAD <= n && i < SEARCH_STEP; i += 8) {
			if (memcmp(piece + i, mark, 4) != 0 ||
			    memcmp(piece + i + 8, mark + 8, 8) != 0)
				continue;
			if (walk_record_at(w, offset + i)) {
				found = offset + i;
				break;
			}
			error = w->error ? w->error : error;
		}
		offset += SEARCH_STEP;
	}
	mem_free(piece);
	w->error = error;
	return found;
}

enum walk_step walk_next(struct walk *w)
{
	w->error = 0;
	if (w->end_known && w->at >= w->end)
		return WALK_END;
	if (walk_record_at(w, w->at)) {
		w->at = w->to;
		return WALK_RECORD;
	}
	uint64_t from = w->at;
	uint64_t to = search(w, from + 8 < w->end ? from + 8 : w->end);
	if (to >= w->end && !w->end_known)
		return WALK_END;
	w->from = from;
	w->to = to;
	w->at = to;
	return WALK_BAD;
}
