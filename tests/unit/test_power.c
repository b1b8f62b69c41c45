/* SPDX-License-Identifier: MIT
 * Power cuts: the disk keeps what was synced, and of the rest any pages and the first
 * so many changes of names. Whatever was DONE and not ended is there at each start
 * after that, what ended before another message was DONE is not, and nobody hears of
 * damage. Also a kill first, so that the start after it builds on what stands in memory
 * only, and the power cut then.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/record.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"
#include "tests/unit/spool_kit.h"

#define PAGE 4096u
#define FILES_MAX 2048
#define CHANGES_MAX 8192
#define NAME_SIZE 40
#define IDS 4000

enum folder { FOLDER_SPOOL, FOLDER_BIG, FOLDER_DAMAGED, FOLDERS };
static const char *const folder_names[FOLDERS] = {".", "big", "damaged"};

/* A file of the spool, whatever its name is or was. */
struct file {
	ino_t ino;
	int fd;      /* ours */
	char *safe;  /* what a power cut leaves */
	size_t size; /* of that */
};

/* A name that came to stand for a file, or (-1) for none. */
struct change {
	enum folder folder;
	char name[NAME_SIZE];
	int file;
};

/* What a crash leaves. */
struct left_file {
	enum folder folder;
	char name[NAME_SIZE];
	char *data;
	char *safe; /* the same after a power cut */
	size_t size;
	size_t safe_size;
};

struct image {
	struct left_file files[FILES_MAX];
	size_t count;
	bool must[IDS]; /* was DONE and not ended */
	bool held[IDS]; /* that was noted, and a message was DONE after it */
	bool gone[IDS]; /* ended, and a message was DONE after it */
};

static struct {
	pthread_mutex_t lock;
	char dir[64];
	struct file files[FILES_MAX];
	int file_count;
	struct change changes[CHANGES_MAX];
	int change_count;
	int synced_changes;
	bool must[IDS];
	bool held[IDS];
	bool ended[IDS]; /* the test's own: gone with the next append */
	bool gone[IDS];
	size_t sizes[IDS];
	int calls;
	int crash_at; /* the call of that number */
	bool kill;    /* no power cut: memory survives */
	unsigned seed;
	struct image *image; /* NULL: it has not happened */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct spool_io real;
static unsigned lives;
static unsigned crashes; /* in so many of them */

static unsigned dice(unsigned sides)
{
	return (unsigned)rand_r(&disk.seed) % sides;
}

/* ---- what is where ---- */

static int find_file(ino_t ino)
{
	for (int i = disk.file_count; i-- > 0;)
		if (disk.files[i].ino == ino)
			return i;
	return -1;
}

static char *load(int fd, size_t *size)
{
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	*size = (size_t)st.st_size;
	char *data = mem_alloc(*size + 1);
	assert_int_equal(spool_io_read(fd, data, *size, 0), *size);
	return data;
}

static enum folder folder_of(int dir)
{
	struct stat st;
	struct stat own;
	char path[128];
	assert_int_equal(fstat(dir, &st), 0);
	for (int i = 0; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", disk.dir, folder_names[i]);
		if (stat(path, &own) == 0 && own.st_ino == st.st_ino)
			return (enum folder)i;
	}
	fail_msg("a folder that is none of the spool's");
	return FOLDER_SPOOL;
}

static void note_change(enum folder folder, const char *name, int file)
{
	assert_true(disk.change_count < CHANGES_MAX);
	struct change *c = &disk.changes[disk.change_count++];
	*c = (struct change){.folder = folder, .file = file};
	snprintf(c->name, sizeof(c->name), "%s", name);
}

static int file_of(enum folder folder, const char *name)
{
	for (int i = disk.change_count; i-- > 0;)
		if (disk.changes[i].folder == folder && strcmp(disk.changes[i].name, name) == 0)
			return disk.changes[i].file;
	return -1;
}

/* A file that is seen for the first time. */
static int add_file(int dir, const char *name)
{
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(disk.file_count < FILES_MAX);
	disk.files[disk.file_count] = (struct file){.ino = st.st_ino, .fd = fd};
	return disk.file_count++;
}

/* ---- the crash ---- */

/* Each page of NOW that is not safe is there or not. */
static void tear(struct left_file *f)
{
	unsigned how = dice(3); /* nothing, all, some */
	for (size_t at = 0; at < f->size; at += PAGE) {
		size_t n = f->size - at < PAGE ? f->size - at : PAGE;
		bool keep = how == 1 || (how == 2 && dice(2));
		if (keep)
			continue;
		memset(f->data + at, 0, n);
		if (at < f->safe_size)
			memcpy(f->data + at, f->safe + at,
			    f->safe_size - at < n ? f->safe_size - at : n);
	}
}

static void leave(struct image *image, const struct change *c)
{
	const struct file *file = &disk.files[c->file];
	struct left_file *f = &image->files[image->count++];
	*f = (struct left_file){.folder = c->folder};
	memcpy(f->name, c->name, sizeof(f->name));
	f->data = load(file->fd, &f->size);
	f->safe = mem_alloc(file->size + 1);
	if (file->size)
		memcpy(f->safe, file->safe, file->size);
	f->safe_size = file->size;
	if (!disk.kill)
		tear(f);
}

static void crash(void)
{
	struct image *image = mem_zero(sizeof(*image));
	int open = disk.change_count - disk.synced_changes;
	int last = disk.kill ? disk.change_count
			     : disk.synced_changes + (int)dice((unsigned)open + 1);
	for (int i = 0; i < last; i++) {
		const struct change *c = &disk.changes[i];
		bool later = false;
		for (int k = i + 1; k < last && !later; k++)
			later = disk.changes[k].folder == c->folder &&
			    strcmp(disk.changes[k].name, c->name) == 0;
		if (!later && c->file >= 0 && strcmp(c->name, "lock") != 0)
			leave(image, c);
	}
	memcpy(image->must, disk.must, sizeof(image->must));
	memcpy(image->held, disk.held, sizeof(image->held));
	memcpy(image->gone, disk.gone, sizeof(image->gone));
	disk.image = image;
}

/* A call begins: it may be the one that never came to pass. */
static void enter(void)
{
	pthread_mutex_lock(&disk.lock);
	if (++disk.calls == disk.crash_at && !disk.image)
		crash();
}

static void leave_call(void)
{
	pthread_mutex_unlock(&disk.lock);
}

/* ---- the calls ---- */

static int try_open(int dir, const char *name, int flags, mode_t mode)
{
	enter();
	bool there = faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	int fd = real.openat(dir, name, flags, mode);
	if (fd >= 0 && !there)
		note_change(folder_of(dir), name, add_file(dir, name));
	leave_call();
	return fd;
}

static ssize_t try_write(int fd, const struct iovec *iov, int count, off_t offset)
{
	enter();
	ssize_t n = real.pwritev(fd, iov, count, offset);
	leave_call();
	return n;
}

static void make_safe(int fd)
{
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	if (S_ISDIR(st.st_mode)) {
		disk.synced_changes = disk.change_count;
		return;
	}
	int i = find_file(st.st_ino);
	assert_true(i >= 0);
	mem_free(disk.files[i].safe);
	disk.files[i].safe = load(disk.files[i].fd, &disk.files[i].size);
}

static int try_sync(int fd)
{
	enter();
	make_safe(fd);
	leave_call();
	return 0;
}

static int try_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	enter();
	int result = real.renameat(from_dir, from, to_dir, to);
	if (result == 0) {
		note_change(folder_of(to_dir), to, file_of(folder_of(from_dir), from));
		note_change(folder_of(from_dir), from, -1);
	}
	leave_call();
	return result;
}

static int try_unlink(int dir, const char *name, int flags)
{
	enter();
	int result = real.unlinkat(dir, name, flags);
	if (result == 0)
		note_change(folder_of(dir), name, -1);
	leave_call();
	return result;
}

static int set_up(void **state)
{
	(void)state;
	lives = crashes = 0;
	real = spool_io;
	spool_io.openat = try_open;
	spool_io.pwritev = try_write;
	spool_io.fdatasync = try_sync;
	spool_io.fsync = try_sync;
	spool_io.renameat = try_rename;
	spool_io.unlinkat = try_unlink;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	spool_io = real;
	return 0;
}

/* ---- disks ---- */

static void disk_clear(void)
{
	for (int i = 0; i < disk.file_count; i++) {
		close(disk.files[i].fd);
		mem_free(disk.files[i].safe);
	}
	disk.file_count = disk.change_count = disk.synced_changes = 0;
	disk.calls = 0;
	disk.crash_at = 0;
	disk.image = NULL;
}

static void image_free(struct image *image)
{
	for (size_t i = 0; i < image->count; i++) {
		mem_free(image->files[i].data);
		mem_free(image->files[i].safe);
	}
	mem_free(image);
}

/* A spool's folder with what IMAGE has left; NULL: an empty one. */
static struct kit *disk_begin(const struct image *image)
{
	char name[128];
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	disk_clear();
	snprintf(disk.dir, sizeof(disk.dir), "%s", kit->dir);
	for (int i = FOLDER_BIG; i < FOLDERS; i++) {
		snprintf(name, sizeof(name), "%s/%s", kit->dir, folder_names[i]);
		assert_int_equal(mkdir(name, 0700), 0);
	}
	for (size_t i = 0; image && i < image->count; i++) {
		const struct left_file *f = &image->files[i];
		snprintf(name, sizeof(name), "%s/%s", folder_names[f->folder], f->name);
		kit_store(kit, name, f->data, f->size);
		snprintf(name, sizeof(name), "%s/%s/%s", kit->dir, folder_names[f->folder], f->name);
		int file = add_file(AT_FDCWD, name);
		note_change(f->folder, f->name, file);
		disk.files[file].size = f->safe_size;
		disk.files[file].safe = mem_alloc(f->safe_size + 1);
		memcpy(disk.files[file].safe, f->safe, f->safe_size);
	}
	disk.synced_changes = disk.change_count;
	memset(disk.must, 0, sizeof(disk.must));
	memset(disk.held, 0, sizeof(disk.held));
	memset(disk.ended, 0, sizeof(disk.ended));
	memset(disk.gone, 0, sizeof(disk.gone));
	if (image) {
		memcpy(disk.must, image->must, sizeof(disk.must));
		memcpy(disk.held, image->held, sizeof(disk.held));
		memcpy(disk.gone, image->gone, sizeof(disk.gone));
	}
	return kit;
}

static void set(bool *flags, uint64_t id, bool value)
{
	pthread_mutex_lock(&disk.lock);
	flags[id] = value;
	pthread_mutex_unlock(&disk.lock);
}

/* ---- the spool's life ---- */

static uint64_t next_id;

static void append(struct kit *kit, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++)
		disk.sizes[next_id + i] = size;
	assert_int_equal(kit_append_many(kit, next_id, count, size, NULL), count);
	for (size_t i = 0; i < count; i++)
		set(disk.must, next_id + i, true);
	next_id += count;
	/* what is DONE behind them has brought their ENDs to disk */
	for (uint64_t id = 0; id < next_id; id++)
		if (disk.ended[id])
			set(disk.gone, id, true);
}

static void end(struct kit *kit, struct kit_message *m)
{
	set(disk.must, m->id, false);
	set(disk.held, m->id, false);
	disk.ended[m->id] = true;
	kit_end(kit, m->id);
}

/* What is DONE behind it has brought it to disk. */
static void hold(struct kit *kit, uint64_t id)
{
	struct kit_message *m = kit_find(kit, id);
	m->state.held = true;
	m->state.attempts++;
	spool_note_state(kit->spool, id, &m->state);
	append(kit, 1, 100);
	set(disk.held, id, true);
}

/* What was found lives on. */
static void open_again(struct kit *kit, const char *when)
{
	kit->count = 0;
	kit_open(kit);
	if (kit->damages)
		fail_msg("%s: damage: %s", when, kit->damage_text);
	for (size_t i = 0; i < kit->count; i++) {
		kit->messages[i].live = true;
		kit->messages[i].size = disk.sizes[kit->messages[i].id];
		kit->messages[i].put_off_ms = 50; /* as a start does with what is due */
	}
	for (uint64_t id = 0; id < next_id; id++) {
		struct kit_message *m = kit_find(kit, id);
		if (disk.must[id] && !m)
			fail_msg("%s: message %d is lost", when, (int)id);
		if (disk.gone[id] && m)
			fail_msg("%s: message %d has come back", when, (int)id);
		if (disk.must[id] && !kit_is_readable(kit, m))
			fail_msg("%s: message %d can not be read", when, (int)id);
		if (disk.held[id] && !m->state.held)
			fail_msg("%s: message %d is not held any more", when, (int)id);
	}
}

static bool has_crashed(void)
{
	pthread_mutex_lock(&disk.lock);
	bool crashed = disk.image != NULL;
	pthread_mutex_unlock(&disk.lock);
	return crashed;
}

/* Messages come, go and stay, until the crash has happened or for STEPS. */
static void work(struct kit *kit, int steps)
{
	for (int i = 0; i < steps && !has_crashed(); i++) {
		long what = random() % 100;
		struct kit_message *m =
		    kit->count ? &kit->messages[(size_t)random() % kit->count] : NULL;
		if (what < 35 && next_id < IDS - 10)
			append(kit, 1 + (size_t)random() % 3,
			    random() % 12 ? (size_t)random() % 9000 : (size_t)random() % 90000);
		else if (what < 75 && m && m->live)
			end(kit, m);
		else if (what < 85 && m && m->live)
			kit_result(kit, m->id, (unsigned)random() % 2);
		else if (what < 90 && m && m->live && next_id < IDS - 10)
			hold(kit, m->id);
		else
			kit_settle(kit);
	}
}

/* All but a few end, and others come: segments are emptied and used anew. */
static void churn(struct kit *kit)
{
	for (size_t i = 0; i < kit->count; i++)
		if (kit->messages[i].live && random() % 3)
			end(kit, &kit->messages[i]);
	for (int i = 0; i < 8; i++) {
		append(kit, 1, 9000);
		end(kit, kit_find(kit, next_id - 1));
		kit_settle(kit);
	}
}

/* Start with what IMAGE left, three times; then work on until the next crash. */
static struct image *live_on(struct image *image, int crash_at, bool kill)
{
	struct kit *kit = disk_begin(image);
	if (image)
		image_free(image);
	disk.kill = kill;
	disk.crash_at = crash_at;
	open_again(kit, "first start");
	work(kit, 400);
	kit_close(kit);
	struct image *next = disk.image;
	lives++;
	crashes += next != NULL;
	disk.image = NULL;
	disk.crash_at = 0;
	open_again(kit, "second start");
	churn(kit);
	kit_close(kit);
	open_again(kit, "third start");
	kit_free(kit);
	disk_clear();
	return next;
}

static void run(unsigned seed, bool kill)
{
	srandom(seed);
	disk.seed = seed;
	next_id = 1;
	struct image *image = live_on(NULL, 1 + (int)(random() % 400), kill);
	for (int i = 0; i < 4; i++)
		image = live_on(image, 1 + (int)(random() % 300), kill && i % 2);
	if (image)
		image_free(image);
}

/* `make soak` wants more. */
static unsigned seeds(void)
{
	return getenv("RELAYD_SOAK") ? 1000 : 25;
}

static void test_power_cuts(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= seeds(); seed++)
		run(seed, false);
	assert_true(crashes * 10 > lives * 9);
}

static void test_kill_and_power_cut(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= seeds(); seed++)
		run(seed, true);
	assert_true(crashes * 10 > lives * 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_power_cuts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kill_and_power_cut, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
