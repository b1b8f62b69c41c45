/* SPDX-License-Identifier: MIT
 * A spool whose files were spoiled at random, by a seed: the start takes it as it
 * is. Every message whose own bytes are intact is there with what is known of it,
 * what can not be read is set aside and said once, what is not ours is left alone,
 * and the next start finds the same. RELAYD_SOAK: 10,000 states; RELAYD_SEED: that
 * state alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "relayd/base/mem.h"
#include "tests/unit/rubbish.h"
#include "tests/unit/spool_kit.h"

#define ALL_DONE ((1u << KIT_RECIPIENTS) - 1)
#define SEGMENT (64 << 10)

/* ---- where we are, should it end here ---- */

static const struct rubbish *under_way;
static struct kit *kit_in_use;

static void say_state(void)
{
	if (under_way)
		fprintf(stderr, "in the state that was made by:%s\n", under_way->text);
}

static void on_abort(int number)
{
	say_state();
	signal(number, SIG_DFL);
	raise(number);
}

/* of the sanitizers, where they are */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_death(void)
{
	signal(SIGABRT, on_abort);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(say_state);
}

/* ---- the spools that are spoiled ---- */

struct scene {
	struct image image;
	struct kit_message messages[KIT_MAX];
	size_t count;
};

static struct kit *begin(void)
{
	struct kit *kit = kit_in_use = kit_new();
	kit->conf.segment_size = SEGMENT;
	kit->conf.big_message = 12 << 10;
	return kit;
}

static void end(struct kit *kit)
{
	kit_free(kit);
	kit_in_use = NULL;
}

/* after a failure as well */
static int clean_up(void **state)
{
	(void)state;
	if (kit_in_use)
		end(kit_in_use);
	under_way = NULL;
	return 0;
}

static void scene_take(struct scene *scene, struct kit *kit)
{
	image_load(&scene->image, kit->dir);
	memcpy(scene->messages, kit->messages, sizeof(kit->messages));
	scene->count = kit->count;
}

/* Some are deferred, some half delivered, some over. */
static void make_history(struct kit *kit, uint64_t first, size_t count)
{
	for (uint64_t id = first; id < first + count; id++) {
		struct kit_message *m = kit_find(kit, id);
		if (id % 3 == 0)
			kit_result(kit, id, (unsigned)(id / 3) % KIT_RECIPIENTS);
		if (id % 4 == 0) {
			m->state = (struct spool_state){.due_ms = (int64_t)id * 1000,
			    .attempts = (uint32_t)id,
			    .held = id % 8 == 0};
			spool_note_state(kit->spool, id, &m->state);
		}
		if (id % 5 == 0)
			kit_end(kit, id);
	}
}

/* Several segments, big messages among them. */
static void scene_of_many(struct scene *scene)
{
	struct kit *kit = begin();
	kit_open(kit);
	for (uint64_t id = 2000; id < 2060; id += 4) {
		kit_append_many(kit, id, 3, (size_t)(id * 37 % 9000), NULL);
		kit_append(kit, id + 3, id % 8 ? 400 : 13000, NULL);
		make_history(kit, id, 4);
		if (id > 2030)
			make_history(kit, 2001 + (id - 2030) / 4, 1);
	}
	kit_close(kit);
	scene_take(scene, kit);
	end(kit);
}

static struct scene *taken; /* by the next message that is carried over */

static void on_moved(struct kit *kit)
{
	if (taken)
		scene_take(taken, kit);
	taken = NULL;
}

/* A segment is being emptied: its messages stand in two. */
static void scene_of_carrying(struct scene *scene)
{
	struct kit *kit = begin();
	kit->moved = on_moved;
	kit_open(kit);
	kit_append_many(kit, 2000, 6, 1200, NULL);
	kit_append(kit, 2006, 14000, NULL);
	make_history(kit, 2001, 3);
	taken = scene;
	for (uint64_t id = 3000; taken && id < 3200; id++) {
		kit_append(kit, id, 900, NULL);
		kit_end(kit, id);
		kit_settle(kit);
	}
	assert_null(taken);
	end(kit);
}

static void scene_of_few(struct scene *scene)
{
	struct kit *kit = begin();
	kit_open(kit);
	for (uint64_t id = 2001; id <= 2004; id++)
		kit_append(kit, id, 60, NULL);
	make_history(kit, 2001, 4);
	kit_close(kit);
	scene_take(scene, kit);
	end(kit);
}

/* A closed segment with little in it, and the next one. */
static void scene_of_two(struct scene *scene)
{
	struct kit *kit = begin();
	kit_open(kit);
	kit_append_many(kit, 2001, 3, 60, NULL);
	kit_append(kit, 2004, 11000, NULL);
	kit_close(kit);
	kit_open(kit); /* which begins a segment */
	kit_append_many(kit, 2005, 2, 60, NULL);
	make_history(kit, 2001, 6);
	kit_close(kit);
	scene_take(scene, kit);
	end(kit);
}

/* ---- what has to be there ---- */

static bool is_big_intact(const struct rubbish *r, uint64_t id)
{
	char name[48];
	snprintf(name, sizeof(name), "big/%016llx", (unsigned long long)id);
	struct rubbish_file *was = image_find((struct image *)(uintptr_t)r->was, name);
	struct rubbish_file *now = image_find((struct image *)(uintptr_t)&r->now, name);
	return was && now && !now->gone && was->size == now->size &&
	       memcmp(was->data, now->data, was->size) == 0;
}

/* What is left on disk of one message. */
struct evidence {
	bool message; /* a MESSAGE with all of its bytes */
	bool all;     /* every record that names it */
	bool end;
	unsigned done; /* by results, and by messages of which head and meta are left */
};

static struct evidence look_at(const struct rubbish *r, uint64_t id)
{
	struct evidence e = {.all = true};
	for (size_t i = 0; i < r->was->piece_count; i++) {
		const struct piece *p = &r->was->pieces[i];
		if (p->record.id != id || p->record.type == RECORD_CLOSED)
			continue;
		bool usable = rubbish_is_usable(r, p->file);
		bool meta = usable && rubbish_is_intact(r, p, p->from, p->meta_end);
		bool whole = usable && rubbish_is_intact(r, p, p->from, p->to);
		if (p->record.type == RECORD_MESSAGE) {
			if (p->record.flags & RECORD_BIG)
				whole = whole && is_big_intact(r, id);
			e.message |= whole;
			e.done |= meta ? p->done : 0;
		}
		e.all &= whole;
		e.end |= meta && p->record.type == RECORD_END;
		if (meta && p->record.type == RECORD_RESULT)
			e.done |= 1u << p->note.recipient;
	}
	return e;
}

static void check_message(
    const struct rubbish *r, const struct kit_message *was, struct kit_message *m)
{
	struct evidence e = look_at(r, m->id);
	unsigned long long id = m->id;
	bool over = e.end || (e.message && e.done == ALL_DONE);
	if (was->live && e.message && !m->found)
		fail_msg("message %llu is lost;%s", id, r->text);
	if (over && m->found)
		fail_msg("message %llu has come back;%s", id, r->text);
	if (!m->found)
		return;
	if ((m->found_done & ~was->done) || (e.done & ~m->found_done))
		fail_msg("message %llu: done %x, expected %x of %x;%s", id, m->found_done,
		    e.done, was->done, r->text);
	if (e.all && !r->copied &&
	    (m->found_state.attempts != was->state.attempts ||
		m->found_state.due_ms != was->state.due_ms ||
		m->found_state.held != was->state.held))
		fail_msg("message %llu: %u attempts, expected %u;%s", id,
		    m->found_state.attempts, was->state.attempts, r->text);
}

static bool is_foreign(const struct damage *d)
{
	return d->kind == DAMAGE_FOREIGN;
}

static bool exists(struct kit *kit, const char *folder, const char *name)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s%s", kit->dir, folder, name);
	return lstat(path, &st) == 0;
}

/* Each report is said once, and names what is there. Result: how many foreign ones. */
static size_t check_reports(struct kit *kit, const struct rubbish *r)
{
	size_t foreign = 0;
	for (size_t i = 0; i < kit->reported.count; i++) {
		const struct damage *d = &kit->reported.all[i];
		foreign += is_foreign(d);
		if (!is_foreign(d) && !exists(kit, "damaged/", d->file))
			fail_msg("%s is not under damaged/;%s", d->file, r->text);
		for (size_t k = 0; k < i; k++)
			if (strcmp(kit->reported.all[k].file, d->file) == 0 &&
			    strcmp(kit->reported.all[k].text, d->text) == 0)
				fail_msg("%s is said twice;%s", d->file, r->text);
	}
	return foreign;
}

/* Are the bytes of segment NUMBER at OFFSET under damaged/? */
static bool is_set_aside(struct kit *kit, unsigned number, uint64_t offset)
{
	char path[300];
	struct stat st;
	struct dirent *entry;
	bool found = false;
	snprintf(path, sizeof(path), "%s/damaged", kit->dir);
	DIR *d = opendir(path);
	assert_non_null(d);
	while (!found && (entry = readdir(d))) {
		char *end;
		if (strtoull(entry->d_name, &end, 16) != number ||
		    end != entry->d_name + 16)
			continue;
		snprintf(path, sizeof(path), "%s/damaged/%.60s", kit->dir, entry->d_name);
		uint64_t from = strtoull(end + 1, NULL, 16);
		found = strcmp(end, ".log") == 0 ||
		        (lstat(path, &st) == 0 && from <= offset &&
			    offset < from + (uint64_t)st.st_size);
	}
	closedir(d);
	return found;
}

static unsigned number_of(const struct rubbish *r, size_t file)
{
	return (unsigned)strtoul(r->was->files[file].name, NULL, 16);
}

/* Is it known that P was synced: by an intact record behind it, or by an intact one
 * in another segment that says where this one ends? */
static bool is_known(const struct rubbish *r, const struct piece *p)
{
	for (size_t i = 0; i < r->was->piece_count; i++) {
		const struct piece *other = &r->was->pieces[i];
		if (!rubbish_is_usable(r, other->file) ||
		    !rubbish_is_intact(r, other, other->from, other->meta_end) ||
		    other->to > r->now.files[other->file].size)
			continue;
		if (other->file == p->file && other->from > p->from)
			return true;
		if (other->record.type != RECORD_CLOSED || other->file == p->file)
			continue;
		const char *meta =
		    r->was->files[other->file].data + other->from + RECORD_HEAD;
		for (size_t k = 0; k < other->record.meta_size / 8; k++) {
			struct spool_place end = record_closed_get(
			    (struct span){meta, other->record.meta_size}, k);
			if (end.segment == number_of(r, p->file) && end.offset > p->from)
				return true;
		}
	}
	return false;
}

static bool has_records(const struct rubbish *r, size_t file)
{
	bool any = false;
	for (size_t i = 0; i < r->was->piece_count && rubbish_is_usable(r, file); i++) {
		const struct piece *p = &r->was->pieces[i];
		any |= p->file == file && rubbish_is_intact(r, p, p->from, p->meta_end) &&
		       p->to <= r->now.files[file].size;
	}
	return any;
}

/* Is FILE, of which no record is left, as one that was never written to? */
static bool looks_unused(const struct rubbish *r, size_t file)
{
	static const unsigned char zeros[RECORD_HEAD];
	const struct rubbish_file *now = &r->now.files[file];
	return now->size == SEGMENT &&
	       memcmp(now->data + RECORD_START, zeros, RECORD_HEAD) == 0;
}

/* Damaged records are kept, but for the end of a log that nobody knows to be one. */
static void check_kept(struct kit *kit, const struct rubbish *r)
{
	for (size_t i = 0; i < r->was->piece_count && !r->copied; i++) {
		const struct piece *p = &r->was->pieces[i];
		const struct rubbish_file *now = &r->now.files[p->file];
		if (now->gone || p->from >= now->size ||
		    rubbish_is_intact(r, p, p->from, p->meta_end))
			continue;
		bool tail = has_records(r, p->file) || looks_unused(r, p->file);
		if ((!tail || is_known(r, p)) &&
		    !is_set_aside(kit, number_of(r, p->file), p->from))
			fail_msg("%s: the record at %llu is nowhere;%s", now->name,
			    (unsigned long long)p->from, r->text);
	}
}

/* Is something there that is no plain file? */
static bool is_odd(struct kit *kit, const char *folder, const char *name)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s%s", kit->dir, folder, name);
	return lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* Of a segment that was cut before its end, which another one tells, somebody hears. */
static void check_cuts(struct kit *kit, const struct rubbish *r)
{
	for (size_t i = 0; i < r->was->piece_count && !r->copied; i++) {
		const struct piece *p = &r->was->pieces[i];
		const struct rubbish_file *now = &r->now.files[p->file];
		bool said = now->gone || p->to <= now->size || !is_known(r, p);
		for (size_t k = 0; k < kit->reported.count && !said; k++)
			said = strncmp(kit->reported.all[k].file, now->name, 16) == 0;
		if (!said)
			fail_msg(
			    "%s was cut, and nobody heard of it;%s", now->name, r->text);
	}
}

/* What is no plain file is where it was, or aside with the message that it broke. */
static void check_planted(struct kit *kit, const struct rubbish *r)
{
	for (size_t i = 0; i < r->planted_count; i++) {
		const char *name = r->planted[i];
		const char *slash = strchr(name, '/');
		if (!is_odd(kit, "", name) &&
		    !(slash && is_odd(kit, "damaged/big-", slash + 1)))
			fail_msg("what was at %s is gone;%s", name, r->text);
	}
}

/* Is it handed out to its end? Then it is what was taken once. */
static bool is_whole(
    struct kit *kit, const struct kit_message *m, const struct rubbish *r)
{
	struct why why = {0};
	char piece[4096];
	struct spool_reader *reader =
	    spool_reader_open(kit->spool, m->id, m->place, &why);
	ssize_t n = reader ? 1 : -1;
	for (uint64_t at = 0; n > 0; at += (uint64_t)n)
		n = spool_reader_read(reader, at, piece, sizeof(piece));
	spool_reader_close(reader);
	if (n == 0 && !kit_is_readable(kit, m))
		fail_msg("message %llu is not what it was;%s", (unsigned long long)m->id,
		    r->text);
	return n == 0;
}

/* Read them all, as deliveries do; what turns out to be damaged ends. */
static void read_all(struct kit *kit, const struct rubbish *r)
{
	for (size_t i = 0; i < kit->count; i++) {
		struct kit_message *m = &kit->messages[i];
		m->live = m->found;
		m->done = m->found_done;
		m->state = m->found_state;
	}
	for (size_t i = 0; i < kit->count; i++) {
		struct kit_message *m = &kit->messages[i];
		if (!m->found || is_whole(kit, m, r))
			continue;
		if (look_at(r, m->id).message)
			fail_msg("message %llu can not be read;%s",
			    (unsigned long long)m->id, r->text);
		kit_settle(kit);
		char big[40];
		snprintf(big, sizeof(big), "big-%016llx", (unsigned long long)m->id);
		if (!is_set_aside(kit, m->place.segment, m->place.offset) &&
		    !exists(kit, "damaged/", big))
			fail_msg("message %llu is damaged and not kept;%s",
			    (unsigned long long)m->id, r->text);
		kit_end(kit, m->id);
	}
}

/* ---- a state ---- */

static struct kit *open_rubbish(const struct scene *scene, const struct rubbish *r)
{
	struct kit *kit = begin();
	struct why why = {0};
	rubbish_store(r, kit->dir);
	memcpy(kit->messages, scene->messages, sizeof(kit->messages));
	kit->count = scene->count;
	kit->lenient = true;
	if (kit_try_open(kit, &why) != 0)
		fail_msg("it does not start: %s;%s", why.text, r->text);
	if (kit->count != scene->count)
		fail_msg("message %llu never was;%s",
		    (unsigned long long)kit->messages[scene->count].id, r->text);
	return kit;
}

/* Segments are used anew, those with damage as well; then nothing is left. */
static void use_up(struct kit *kit, const struct rubbish *r)
{
	for (uint64_t id = 9000; id < 9012; id++) {
		if (!kit_append(kit, id, 9000, NULL))
			fail_msg("message %llu was not taken;%s", (unsigned long long)id,
			    r->text);
		kit_end(kit, id);
	}
	kit_settle(kit);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	for (size_t i = 0; i < kit->count; i++)
		if (kit->messages[i].live)
			kit_end(kit, kit->messages[i].id);
	for (uint64_t id = 9100; id < 9114; id++) {
		kit_append(kit, id, 9000, NULL);
		kit_end(kit, id);
	}
	kit_settle(kit);
	if (spool_stats(kit->spool).segments > 3)
		fail_msg("%llu segments are left;%s",
		    (unsigned long long)spool_stats(kit->spool).segments, r->text);
}

static void check_state(const struct scene *scene, struct rubbish *r, bool thorough)
{
	under_way = r;
	struct kit *kit = open_rubbish(scene, r);
	for (size_t i = 0; i < kit->count; i++)
		check_message(r, &scene->messages[i], &kit->messages[i]);
	check_kept(kit, r);
	check_cuts(kit, r);
	size_t foreign = check_reports(kit, r);
	read_all(kit, r);
	if (!kit_append(kit, 5000, 700, NULL))
		fail_msg("no message is taken;%s", r->text);
	kit_settle(kit);
	check_reports(kit, r);
	kit_close(kit);
	kit->lenient = false;
	kit_open(kit);
	kit_check(kit);
	if (check_reports(kit, r) != kit->damages || kit->damages != foreign)
		fail_msg("%u reports at the second start, expected the %zu of what is "
		         "not ours: "
			 "%s;%s",
		    kit->damages, foreign, kit->damage_text, r->text);
	if (thorough)
		use_up(kit, r);
	check_planted(kit, r);
	end(kit);
	under_way = NULL;
}

static void run_states(void (*make)(struct scene *scene), uint64_t first, uint64_t count)
{
	const char *one = getenv("RELAYD_SEED");
	struct scene *scene = mem_zero(sizeof(*scene));
	struct rubbish *r = mem_zero(sizeof(*r));
	make(scene);
	if (one) {
		first = strtoull(one, NULL, 10);
		count = 1;
	}
	for (uint64_t seed = first; seed < first + count; seed++) {
		rubbish_make(r, &scene->image, seed);
		snprintf(r->text + strlen(r->text), sizeof(r->text) - strlen(r->text),
		    " (seed %llu)", (unsigned long long)seed);
		check_state(scene, r, seed % 8 == 0);
		rubbish_clear(r);
	}
	image_clear(&scene->image);
	mem_free(r);
	mem_free(scene);
}

static uint64_t share(uint64_t full, uint64_t least)
{
	return getenv("RELAYD_SOAK") ? full : least;
}

static void test_many(void **state)
{
	(void)state;
	run_states(scene_of_many, 1, share(5000, 60));
}

static void test_carrying(void **state)
{
	(void)state;
	run_states(scene_of_carrying, 100001, share(2500, 40));
}

static void test_few(void **state)
{
	(void)state;
	run_states(scene_of_few, 200001, share(2500, 40));
}

/* A segment that ends at any octet; another one, should there be one, tells where it
 * ended. */
static void cut_anywhere(void (*make)(struct scene *scene))
{
	struct scene *scene = mem_zero(sizeof(*scene));
	struct rubbish *r = mem_zero(sizeof(*r));
	make(scene);
	size_t used = scene->image.files[0].used;
	assert_true(used > RECORD_START);
	for (size_t at = 0; at <= used;
	     at += at < RECORD_START - 20 ? 511 : share(1, 29)) {
		*r = (struct rubbish){.was = &scene->image};
		image_copy(&r->now, &scene->image);
		r->now.files[0].size = at;
		snprintf(
		    r->text, sizeof(r->text), " cut %s at %zu", r->now.files[0].name, at);
		check_state(scene, r, false);
		rubbish_clear(r);
	}
	image_clear(&scene->image);
	mem_free(r);
	mem_free(scene);
}

static void test_cut_anywhere(void **state)
{
	(void)state;
	cut_anywhere(scene_of_few);
	cut_anywhere(scene_of_two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_many, clean_up),
	    cmocka_unit_test_teardown(test_carrying, clean_up),
	    cmocka_unit_test_teardown(test_few, clean_up),
	    cmocka_unit_test_teardown(test_cut_anywhere, clean_up),
	};
	watch_for_death();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
