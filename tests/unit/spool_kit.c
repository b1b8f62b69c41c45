/* SPDX-License-Identifier: MIT
 * A spool to try things with, and a model that says what must be in it.
 */
#include "tests/unit/spool_kit.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "relayd/base/mem.h"

#define PATIENCE_MS 20000

struct kit *kit_new(void)
{
	struct kit *kit = mem_zero(sizeof(*kit));
	/* in memory where that is possible: thousands of syncs are made */
	bool memory = access("/dev/shm", W_OK) == 0;
	snprintf(kit->dir, sizeof(kit->dir), "%s/relayd-spool-XXXXXX",
	    memory ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(kit->dir));
	kit->conf = (struct conf_spool){.path = kit->dir, .segment_size = 256 << 10,
		.big_message = 64 << 10, .spare_segments = 2};
	kit->loop = loop_new();
	return kit;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void kit_free(struct kit *kit)
{
	kit_close(kit);
	loop_free(kit->loop);
	nftw(kit->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	damage_list_free(&kit->reported);
	mem_free(kit);
}

struct kit_message *kit_find(struct kit *kit, uint64_t id)
{
	for (size_t i = 0; i < kit->count; i++)
		if (kit->messages[i].id == id)
			return &kit->messages[i];
	return NULL;
}

/* ---- what the spool calls ---- */

static void on_damage(void *arg, const struct damage *damage)
{
	struct kit *kit = arg;
	kit->damages++;
	snprintf(kit->damage_text, sizeof(kit->damage_text), "%s: %s", damage->file, damage->text);
	damage_list_add(&kit->reported, damage->kind, damage->id, damage->file, "%s", damage->text);
}

static void on_full(void *arg, bool full)
{
	struct kit *kit = arg;
	kit->fulls++;
	kit->full = full;
}

static void on_moved(void *arg, uint64_t id, struct spool_place place)
{
	struct kit *kit = arg;
	struct kit_message *m = kit_find(kit, id);
	assert_non_null(m);
	assert_true(m->live);
	m->place = place;
	kit->moves++;
	if (kit->moved)
		kit->moved(kit);
}

static void on_lost(void *arg, uint64_t id)
{
	struct kit *kit = arg;
	assert_true(kit_find(kit, id)->live);
	kit->losts++;
	kit_end(kit, id);
}

static uint64_t *on_standing(void *arg, uint32_t segment, size_t *count)
{
	struct kit *kit = arg;
	uint64_t *ids = mem_array(kit->count + 1, sizeof(*ids));
	*count = 0;
	for (size_t i = 0; i < kit->count; i++)
		if (kit->messages[i].live && kit->messages[i].place.segment == segment)
			ids[(*count)++] = kit->messages[i].id;
	return ids;
}

static bool on_live(void *arg, uint64_t id, struct spool_live *now, struct buf *done)
{
	struct kit_message *m = kit_find(arg, id);
	if (!m || !m->live)
		return false;
	*now = (struct spool_live){m->place, m->state, record_state_mark(&m->state)};
	now->state.due_ms += m->put_off_ms;
	if (done)
		buf_add_byte(done, (char)m->done);
	return true;
}

static void on_found(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t content_size, const struct spool_state *state,
    const unsigned char *done)
{
	struct kit *kit = arg;
	struct kit_message *m = kit_find(kit, id);
	assert_true(envelope->recipient_count == KIT_RECIPIENTS);
	if (!m) {
		assert_true(kit->count < KIT_MAX);
		m = &kit->messages[kit->count++];
		*m = (struct kit_message){.id = id};
	}
	assert_false(m->found);
	(void)content_size;
	m->found = true;
	m->found_done = done[0];
	m->found_state = *state;
	m->place = place;
	if (!m->live)
		m->state = *state;
	if (m->live && !kit->lenient) {
		assert_int_equal(m->done, done[0]);
		assert_int_equal(m->state.attempts, state->attempts);
		assert_int_equal(m->state.held, state->held);
		assert_true(m->state.due_ms == state->due_ms);
	}
}

/* ---- open, close ---- */

int kit_try_open(struct kit *kit, struct why *why)
{
	struct spool_reports reports = {.damage = on_damage, .full = on_full, .moved = on_moved,
		.lost = on_lost, .standing = on_standing, .live = on_live, .arg = kit};
	kit->damages = 0;
	damage_list_free(&kit->reported);
	kit->spool = spool_open(kit->loop, &kit->conf, &reports, why);
	if (!kit->spool)
		return -1;
	for (size_t i = 0; i < kit->count; i++)
		kit->messages[i].found = false;
	return spool_recover(kit->spool, on_found, kit, why);
}

void kit_open(struct kit *kit)
{
	struct why why = {0};
	if (kit_try_open(kit, &why) != 0)
		fail_msg("open: %s", why.text);
}

void kit_close(struct kit *kit)
{
	spool_close(kit->spool);
	kit->spool = NULL;
}

void kit_turn_until(struct kit *kit, bool *flag)
{
	for (int i = 0; i < 100000 && !*flag; i++)
		loop_turn(kit->loop, true);
	assert_true(*flag);
}

void kit_settle(struct kit *kit)
{
	struct spool *spool = kit->spool;
	for (int i = 0; i < 100000; i++) {
		if (!pool_pending(spool->pool) && !pool_pending(spool->big_pool) &&
		    !spool->later && !spool->notes)
			return;
		loop_turn(kit->loop, true);
	}
	fail_msg("the spool does not come to rest");
}

static bool has_stock(struct kit *kit)
{
	/* one of them has been given its number already */
	return kit_count_files(kit, "", ".spare") + 1 == (size_t)kit->conf.spare_segments &&
	       kit_count_files(kit, "", ".log") >= 1;
}

void kit_wait_stock(struct kit *kit)
{
	char events[4096];
	struct pollfd ear = {.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
	assert_true(ear.fd >= 0);
	assert_true(inotify_add_watch(ear.fd, kit->dir, IN_CREATE | IN_MOVED_TO) >= 0);
	while (!has_stock(kit)) {
		if (poll(&ear, 1, PATIENCE_MS) != 1)
			fail_msg("no stock of unused segments comes about");
		assert_true(read(ear.fd, events, sizeof(events)) > 0);
	}
	close(ear.fd);
}

/* ---- messages ---- */

static char text_byte(uint64_t id, size_t i)
{
	return (char)('a' + (id * 7 + i / 3 + i % 11) % 26);
}

static void make_head(uint64_t id, char *head, size_t size)
{
	snprintf(head, size, "Subject: %llu\r\n\r\n", (unsigned long long)id);
}

struct sending {
	struct spool_append append;
	struct envelope envelope;
	char sender[40];
	char recipients[KIT_RECIPIENTS][40];
	char *list[KIT_RECIPIENTS];
	char head[64];
	size_t size;
	bool ready;
	bool failed;
	bool done;
	bool writable;
};

static void on_done(struct spool_append *append)
{
	((struct sending *)append)->done = true;
}

static void on_ready(void *arg, enum spool_status status, const struct why *why)
{
	struct sending *s = arg;
	s->ready = true;
	(void)why;
	s->failed = status != SPOOL_DONE;
}

static void on_writable(void *arg)
{
	((struct sending *)arg)->writable = true;
}

static void fill(struct sending *s, uint64_t id)
{
	snprintf(s->sender, sizeof(s->sender), "s%llu@example.org", (unsigned long long)id);
	for (int i = 0; i < KIT_RECIPIENTS; i++) {
		snprintf(s->recipients[i], sizeof(s->recipients[i]), "r%d-%llu@example.net", i,
		    (unsigned long long)id);
		s->list[i] = s->recipients[i];
	}
	s->envelope = (struct envelope){.arrived_ms = 1000, .sender = s->sender,
		.client = (char *)(uintptr_t)"192.0.2.1", .recipients = s->list,
		.recipient_count = KIT_RECIPIENTS};
	make_head(id, s->head, sizeof(s->head));
}

static void send_body(struct kit *kit, struct sending *s, uint64_t id)
{
	struct spool_content *c = spool_content_new(kit->spool, id, on_writable, s);
	char piece[5000];
	for (size_t at = 0; at < s->size;) {
		size_t n = s->size - at < sizeof(piece) ? s->size - at : sizeof(piece);
		for (size_t i = 0; i < n; i++)
			piece[i] = text_byte(id, at + i);
		at += n;
		s->writable = false;
		if (!spool_content_add(c, (struct span){piece, n}))
			kit_turn_until(kit, &s->writable);
	}
	spool_content_finish(c, on_ready, s);
	assert_false(s->ready);
	s->append.content = c;
}

size_t kit_append_many(struct kit *kit, uint64_t first, size_t count, size_t size,
    enum spool_status *status)
{
	struct sending *all = mem_array(count, sizeof(*all));
	for (size_t i = 0; i < count; i++) {
		all[i].size = size;
		fill(&all[i], first + i);
		send_body(kit, &all[i], first + i);
	}
	for (size_t i = 0; i < count; i++) {
		struct sending *s = &all[i];
		kit_turn_until(kit, &s->ready);
		s->append.id = first + i;
		if (kit->recipient)
			s->list[0] = (char *)(uintptr_t)kit->recipient;
		s->append.envelope = &s->envelope;
		s->append.head = span_text(s->head);
		s->append.done = on_done;
		if (!s->failed) {
			spool_append(kit->spool, &s->append);
			continue;
		}
		s->done = true;
		s->append.status = SPOOL_FAILED;
		spool_content_free(s->append.content);
	}
	size_t taken = 0;
	for (size_t i = 0; i < count; i++) {
		struct sending *s = &all[i];
		kit_turn_until(kit, &s->done);
		if (status)
			*status = s->append.status;
		if (s->append.status != SPOOL_DONE)
			continue;
		assert_true(kit->count < KIT_MAX);
		kit->messages[kit->count++] = (struct kit_message){.id = first + i, .size = size,
			.place = s->append.place, .live = true};
		taken++;
	}
	mem_free(all);
	return taken;
}

struct kit_message *kit_append(struct kit *kit, uint64_t id, size_t size,
    enum spool_status *status)
{
	return kit_append_many(kit, id, 1, size, status) ? kit_find(kit, id) : NULL;
}

void kit_result(struct kit *kit, uint64_t id, unsigned recipient)
{
	struct kit_message *m = kit_find(kit, id);
	m->done |= 1u << recipient;
	spool_note_result(kit->spool, id, recipient, SPOOL_DELIVERED);
}

void kit_end(struct kit *kit, uint64_t id)
{
	struct kit_message *m = kit_find(kit, id);
	for (unsigned i = 0; i < KIT_RECIPIENTS; i++)
		if (!(m->done >> i & 1))
			kit_result(kit, id, i);
	m->live = false;
	spool_note_end(kit->spool, id, m->place);
}

static bool is_content_right(struct spool_reader *r, const struct kit_message *m)
{
	char head[64];
	char piece[3001];
	make_head(m->id, head, sizeof(head));
	size_t head_size = strlen(head);
	uint64_t size = spool_reader_size(r);
	if (size != head_size + m->size)
		return false;
	for (uint64_t at = 0; at < size;) {
		ssize_t n = spool_reader_read(r, at, piece, sizeof(piece));
		if (n <= 0)
			return false;
		for (size_t i = 0; i < (size_t)n; i++, at++)
			if (piece[i] != (at < head_size ? head[at] :
							  text_byte(m->id, at - head_size)))
				return false;
	}
	return spool_reader_read(r, size, piece, 1) == 0;
}

bool kit_is_readable(struct kit *kit, const struct kit_message *m)
{
	struct envelope e;
	struct why why = {0};
	struct sending s = {0};
	fill(&s, m->id);
	if (spool_read_envelope(kit->spool, m->id, m->place, &e, &why) != 0)
		return false;
	bool good = strcmp(e.sender, s.sender) == 0 && e.recipient_count == KIT_RECIPIENTS;
	for (size_t i = 0; i < KIT_RECIPIENTS && good; i++)
		good = strcmp(e.recipients[i], s.recipients[i]) == 0;
	envelope_free(&e);
	struct spool_reader *r = spool_reader_open(kit->spool, m->id, m->place, &why);
	good = good && r && is_content_right(r, m);
	spool_reader_close(r);
	return good;
}

void kit_check(struct kit *kit)
{
	for (size_t i = 0; i < kit->count; i++) {
		struct kit_message *m = &kit->messages[i];
		if (m->live != m->found)
			fail_msg("message %llu: live %d, found %d", (unsigned long long)m->id,
			    m->live, m->found);
		if (m->live && !kit_is_readable(kit, m))
			fail_msg("message %llu can not be read", (unsigned long long)m->id);
	}
}

/* ---- files ---- */

static FILE *open_file(struct kit *kit, const char *name, const char *mode)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
	FILE *f = fopen(path, mode);
	if (!f)
		fail_msg("%s can not be opened", path);
	return f;
}

char *kit_load(struct kit *kit, const char *name, size_t *size)
{
	FILE *f = open_file(kit, name, "rb");
	fseek(f, 0, SEEK_END);
	*size = (size_t)ftell(f);
	rewind(f);
	char *data = mem_alloc(*size + 1);
	assert_int_equal(fread(data, 1, *size, f), *size);
	fclose(f);
	return data;
}

void kit_store(struct kit *kit, const char *name, const char *data, size_t size)
{
	FILE *f = open_file(kit, name, "wb");
	assert_int_equal(fwrite(data, 1, size, f), size);
	fclose(f);
}

size_t kit_count_files(struct kit *kit, const char *folder, const char *ending)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", kit->dir, folder);
	DIR *d = opendir(path);
	assert_non_null(d);
	size_t count = 0;
	struct dirent *entry;
	while ((entry = readdir(d))) {
		size_t n = strlen(entry->d_name);
		size_t m = strlen(ending);
		if (entry->d_name[0] != '.' && n >= m &&
		    strcmp(entry->d_name + n - m, ending) == 0)
			count++;
	}
	closedir(d);
	return count;
}

void kit_segment_name(const struct kit_message *m, char *name, size_t size)
{
	snprintf(name, size, "%016x.log", m->place.segment);
}
