/* SPDX-License-Identifier: MIT
 * Changes to a spool's files as bad disks, bad memory, people and other programs
 * make them. Each is drawn from one generator, so a seed names a state for ever.
 */
#include "tests/unit/rubbish.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "relayd/base/mem.h"

/* ---- an image ---- */

static char *load(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*size = (size_t)ftell(f);
	rewind(f);
	char *data = mem_alloc(*size + 1);
	assert_int_equal(fread(data, 1, *size, f), *size);
	fclose(f);
	return data;
}

static void load_folder(struct image *image, const char *dir, const char *folder)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/%s", dir, folder);
	DIR *d = opendir(path);
	assert_non_null(d);
	struct dirent *entry;
	while ((entry = readdir(d))) {
		if (strlen(entry->d_name) < BIG_NAME - 1 ||
		    strstr(entry->d_name, ".spare") || strstr(entry->d_name, ".new"))
			continue;
		assert_true(image->count < RUBBISH_FILES);
		struct rubbish_file *file = &image->files[image->count++];
		*file = (struct rubbish_file){0};
		snprintf(
		    file->name, sizeof(file->name), "%s%.30s", folder, entry->d_name);
		snprintf(path, sizeof(path), "%s/%s", dir, file->name);
		file->data = load(path, &file->size);
	}
	closedir(d);
}

static ssize_t from_memory(void *arg, uint64_t offset, void *to, size_t n)
{
	const struct rubbish_file *file = arg;
	if (offset >= file->size)
		return 0;
	if (n > file->size - offset)
		n = file->size - (size_t)offset;
	memcpy(to, file->data + offset, n);
	return (ssize_t)n;
}

struct walk_source file_source(const struct rubbish_file *file)
{
	return (struct walk_source){from_memory, (void *)(uintptr_t)file, file->size};
}

bool is_log(const struct rubbish_file *file)
{
	return strstr(file->name, ".log") != NULL;
}

static void add_piece(struct image *image, size_t file, const struct walk *w)
{
	struct record_message m;
	assert_true(image->piece_count < RUBBISH_PIECES);
	struct piece *p = &image->pieces[image->piece_count++];
	*p = (struct piece){.file = file,
	    .from = w->from,
	    .to = w->to,
	    .record = w->record,
	    .meta_end = w->from + RECORD_HEAD + w->record.meta_size};
	if (w->record.type == RECORD_CLOSED)
		return;
	if (w->record.type != RECORD_MESSAGE) {
		assert_true(record_read_note(&p->note, &w->record, w->meta));
		p->state = p->note.state;
		return;
	}
	assert_true(record_read_message(&m, w->meta));
	p->done = m.done.n ? (unsigned char)m.done.p[0] : 0;
	p->state = m.state;
}

static void list_pieces(struct image *image, size_t i)
{
	struct record head;
	struct walk w;
	struct rubbish_file *file = &image->files[i];
	struct walk_source source = file_source(file);
	assert_true(walk_read_segment(&source, &head));
	walk_init(&w, &source, head.generation, RECORD_START, 0);
	file->used = RECORD_START;
	while (walk_next(&w) == WALK_RECORD) {
		add_piece(image, i, &w);
		file->used = (size_t)w.to;
	}
	walk_clear(&w);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct rubbish_file *)a)->name,
	    ((const struct rubbish_file *)b)->name);
}

void image_load(struct image *image, const char *dir)
{
	*image = (struct image){0};
	load_folder(image, dir, "");
	load_folder(image, dir, "big/");
	qsort(image->files, image->count, sizeof(image->files[0]), by_name);
	for (size_t i = 0; i < image->count; i++)
		if (is_log(&image->files[i]))
			list_pieces(image, i);
}

void image_copy(struct image *to, const struct image *from)
{
	to->count = from->count;
	to->piece_count = 0;
	for (size_t i = 0; i < from->count; i++) {
		to->files[i] = from->files[i];
		to->files[i].data = mem_copy(from->files[i].data, from->files[i].size);
	}
}

void image_clear(struct image *image)
{
	for (size_t i = 0; i < image->count; i++)
		mem_free(image->files[i].data);
	image->count = 0;
}

void image_store(const struct image *image, const char *dir)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/big", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < image->count; i++) {
		const struct rubbish_file *file = &image->files[i];
		if (file->gone)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, file->name);
		FILE *f = fopen(path, "wb");
		assert_non_null(f);
		assert_int_equal(fwrite(file->data, 1, file->size, f), file->size);
		fclose(f);
	}
}

struct rubbish_file *image_find(struct image *image, const char *name)
{
	for (size_t i = 0; i < image->count; i++)
		if (strcmp(image->files[i].name, name) == 0)
			return &image->files[i];
	return NULL;
}

/* ---- chance ---- */

/* xorshift64*: one and the same everywhere */
static uint64_t draw(struct rubbish *r, uint64_t below)
{
	r->random ^= r->random >> 12;
	r->random ^= r->random << 25;
	r->random ^= r->random >> 27;
	return (r->random * 0x2545f4914f6cdd1du >> 16) % (below ? below : 1);
}

static struct rubbish_file *draw_file(struct rubbish *r)
{
	return &r->now.files[draw(r, r->now.count)];
}

static struct rubbish_file *draw_log(struct rubbish *r)
{
	for (int i = 0; i < 1000; i++) {
		struct rubbish_file *file = draw_file(r);
		if (is_log(file) && !file->gone)
			return file;
	}
	return NULL;
}

/* A place among its records, or a little behind them. */
static size_t draw_place(struct rubbish *r, const struct rubbish_file *file)
{
	size_t most = is_log(file) ? file->used + 600 : file->size;
	size_t at = (size_t)draw(r, most);
	return at < file->size ? at : file->size ? file->size - 1 : 0;
}

static void say(struct rubbish *r, const char *format, ...) ATTR_PRINTF(2, 3);
static void say(struct rubbish *r, const char *format, ...)
{
	size_t n = strlen(r->text);
	va_list args;
	va_start(args, format);
	vsnprintf(r->text + n, sizeof(r->text) - n, format, args);
	va_end(args);
}

/* A range of FILE, which is not empty: its length. */
static size_t draw_range(struct rubbish *r, const struct rubbish_file *file, size_t *at)
{
	static const size_t units[] = {1, 8, 512, 4096};
	size_t unit = units[draw(r, 4)];
	*at = draw_place(r, file) / unit * unit;
	size_t n =
	    unit == 1 ? 1 + (size_t)draw(r, 3000) : unit * (1 + (size_t)draw(r, 3));
	return n < file->size - *at ? n : file->size - *at;
}

/* ---- changes to bytes ---- */

static void flip_bits(struct rubbish *r)
{
	struct rubbish_file *file = draw_file(r);
	for (uint64_t n = 1 + draw(r, 6); n > 0 && file->size; n--) {
		size_t at = draw_place(r, file);
		file->data[at] ^= (char)(1 << draw(r, 8));
		say(r, " flip %s %zu;", file->name, at);
	}
}

static void overwrite(struct rubbish *r)
{
	size_t at;
	struct rubbish_file *file = draw_file(r);
	if (!file->size)
		return;
	size_t n = draw_range(r, file, &at);
	uint64_t kind = draw(r, 3);
	for (size_t i = 0; i < n; i++)
		file->data[at + i] = kind == 0   ? 0
		                     : kind == 1 ? (char)0xff
		                                 : (char)draw(r, 256);
	say(r, " %s %s %zu+%zu;",
	    kind == 0   ? "zeros"
	    : kind == 1 ? "ones"
			: "noise",
	    file->name, at, n);
}

/* A block was written in the wrong place. */
static void duplicate(struct rubbish *r)
{
	size_t from;
	struct rubbish_file *file = draw_file(r);
	if (!file->size)
		return;
	size_t n = draw_range(r, file, &from);
	size_t unit = draw(r, 2) ? 8 : 512;
	size_t to = draw_place(r, file) / unit * unit;
	n = n < file->size - to ? n : file->size - to;
	memmove(file->data + to, file->data + from, n);
	say(r, " copy %s %zu+%zu to %zu;", file->name, from, n, to);
}

static void swap(struct rubbish *r)
{
	struct rubbish_file *a = draw_log(r);
	struct rubbish_file *b = draw_log(r);
	size_t n = draw(r, 2) ? 4096 : 512;
	if (!a || !b)
		return;
	size_t x = draw_place(r, a) / n * n;
	size_t y = draw_place(r, b) / n * n;
	if (a->size < x + n || b->size < y + n || (a == b && x == y))
		return;
	for (size_t i = 0; i < n; i++) {
		char c = a->data[x + i];
		a->data[x + i] = b->data[y + i];
		b->data[y + i] = c;
	}
	say(r, " swap %s %zu, %s %zu, %zu;", a->name, x, b->name, y, n);
}

/* The lengths of a record are what they must not be. */
static void lengthen(struct rubbish *r)
{
	static const uint32_t values[] = {
	    0, 1, 64, 0x7fffffff, 0x80000000, 0xffffffc0, 0xffffffff};
	const struct piece *p = &r->was->pieces[draw(r, r->was->piece_count)];
	struct rubbish_file *file = &r->now.files[p->file];
	size_t at = (size_t)p->from + 24 + 4 * (size_t)draw(r, 6);
	uint32_t n = values[draw(r, 7)];
	if (at + 4 > file->size)
		return;
	for (int i = 0; i < 4; i++)
		file->data[at + (size_t)i] = (char)(n >> 8 * i);
	say(r, " length %s %zu = %x;", file->name, at, n);
}

static void cut(struct rubbish *r)
{
	struct rubbish_file *file = draw_file(r);
	if (!file->size)
		return;
	file->size = draw(r, 4) ? draw_place(r, file) : 0;
	say(r, " cut %s at %zu;", file->name, file->size);
}

static void grow(struct rubbish *r)
{
	struct rubbish_file *file = draw_file(r);
	size_t n = 1 + (size_t)draw(r, 9000);
	file->data = mem_resize(file->data, file->size + n, 1);
	for (size_t i = 0; i < n; i++)
		file->data[file->size + i] = (char)draw(r, 256);
	say(r, " grow %s by %zu;", file->name, n);
	file->size += n;
}

/* ---- changes to names ---- */

static void lose(struct rubbish *r)
{
	struct rubbish_file *file = draw_file(r);
	file->gone = true;
	say(r, " lose %s;", file->name);
}

static void swap_names(struct rubbish *r)
{
	char name[sizeof(r->now.files[0].name)];
	struct rubbish_file *a = draw_file(r);
	struct rubbish_file *b = draw_file(r);
	if (is_log(a) != is_log(b) || a == b || a->gone || b->gone)
		return;
	r->copied = true;
	memcpy(name, a->name, sizeof(name));
	memcpy(a->name, b->name, sizeof(name));
	memcpy(b->name, name, sizeof(name));
	say(r, " %s and %s change names;", a->name, b->name);
}

static bool is_taken(struct rubbish *r, const char *name)
{
	for (size_t i = 0; i < r->planted_count; i++)
		if (strcmp(r->planted[i], name) == 0)
			return true;
	const struct rubbish_file *file = image_find(&r->now, name);
	return file && !file->gone;
}

/* Names that stand for something, or nearly so. */
static void draw_name(struct rubbish *r, char *name, size_t size)
{
	static const char *const endings[] = {
	    ".log", ".spare", ".new", ".log~", "", ".part"};
	static const char *const plain[] = {
	    "core", "notes.txt", "big/core", ".hidden", "a b\n"};
	uint64_t number = draw(r, 30) ? 1 + draw(r, 24) : 0xfffffff0u + draw(r, 20);
	if (draw(r, 5) == 0)
		snprintf(name, size, "%s", plain[draw(r, 5)]);
	else if (draw(r, 4) == 0)
		snprintf(
		    name, size, "big/%016llx", (unsigned long long)(2000 + draw(r, 60)));
	else
		snprintf(name, size, "%016llx%s", (unsigned long long)number,
		    endings[draw(r, 6)]);
}

/* A plain file that is not ours, or a copy of one that is. */
static void add_file(struct rubbish *r)
{
	char name[48];
	draw_name(r, name, sizeof(name));
	if (is_taken(r, name) || r->now.count == RUBBISH_FILES)
		return;
	const struct rubbish_file *from = draw_file(r);
	struct rubbish_file *file = &r->now.files[r->now.count++];
	*file = (struct rubbish_file){0};
	snprintf(file->name, sizeof(file->name), "%s", name);
	size_t n = draw(r, 2) ? from->size : (size_t)draw(r, 200);
	file->size = n < from->size ? n : from->size;
	file->data = mem_copy(from->data, file->size);
	r->copied |= is_log(from);
	say(r, " new file %s with %zu bytes of %s;", name, file->size, from->name);
}

/* Something that is no plain file, perhaps in the place of one. */
static void plant(struct rubbish *r)
{
	char name[48];
	if (draw(r, 3) == 0) {
		struct rubbish_file *file = draw_file(r);
		file->gone = true;
		snprintf(name, sizeof(name), "%s", file->name);
	} else {
		draw_name(r, name, sizeof(name));
	}
	if (is_taken(r, name) || r->planted_count == RUBBISH_PLANTED)
		return;
	snprintf(r->planted[r->planted_count++], sizeof(r->planted[0]), "%s", name);
	say(r, " plant %s;", name);
}

/* ---- all of it ---- */

void rubbish_make(struct rubbish *r, const struct image *was, uint64_t seed)
{
	static void (*const changes[])(struct rubbish * r) = {flip_bits, flip_bits,
	    flip_bits, flip_bits, overwrite, overwrite, overwrite, duplicate, duplicate,
	    swap, lengthen, cut, grow, lose, swap_names, add_file, add_file, plant,
	    plant};
	*r = (struct rubbish){.was = was, .random = seed * 0x9e3779b97f4a7c15u + 1};
	image_copy(&r->now, was);
	for (uint64_t n = 1 + draw(r, 4); n > 0; n--)
		changes[draw(r, sizeof(changes) / sizeof(changes[0]))](r);
}

void rubbish_clear(struct rubbish *r)
{
	image_clear(&r->now);
}

static void plant_one(const char *path, size_t kind)
{
	struct stat st;
	switch (kind % 4) {
	case 0:
		assert_int_equal(mkdir(path, 0700), 0);
		break;
	case 1:
		assert_int_equal(symlink("/etc/passwd", path), 0);
		break;
	case 2:
		assert_int_equal(mkfifo(path, 0600), 0);
		break;
	default:
		assert_int_equal(symlink("nowhere", path), 0);
	}
	assert_int_equal(lstat(path, &st), 0);
}

void rubbish_store(const struct rubbish *r, const char *dir)
{
	char path[128];
	image_store(&r->now, dir);
	for (size_t i = 0; i < r->planted_count; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, r->planted[i]);
		plant_one(path, i + (size_t)r->random);
	}
}

bool rubbish_is_intact(
    const struct rubbish *r, const struct piece *piece, uint64_t from, uint64_t to)
{
	const struct rubbish_file *was = &r->was->files[piece->file];
	const struct rubbish_file *now =
	    image_find((struct image *)(uintptr_t)&r->now, was->name);
	return now && !now->gone && to <= now->size &&
	       memcmp(was->data + from, now->data + from, (size_t)(to - from)) == 0;
}

bool rubbish_is_usable(const struct rubbish *r, size_t file)
{
	const struct piece *first = NULL;
	for (size_t i = 0; i < r->was->piece_count && !first; i++)
		if (r->was->pieces[i].file == file)
			first = &r->was->pieces[i];
	return first && (rubbish_is_intact(r, first, 0, RECORD_HEAD) ||
			    rubbish_is_intact(r, first, first->from, first->meta_end));
}
