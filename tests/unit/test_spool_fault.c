/* SPDX-License-Identifier: MIT
 * Each system call by which the spool writes fails once, at each of its calls
 * in one life of a spool. Whatever was DONE must be there afterwards; whatever
 * was noted must be known; a descriptor whose sync failed is not synced again.
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_io.h"
#include "relayd/base/mem.h"
#include "tests/unit/apart.h"
#include "tests/unit/gate.h"
#include "tests/unit/spool_kit.h"

enum call { CALL_OPEN, CALL_WRITE, CALL_DATASYNC, CALL_SYNC, CALL_RENAME, CALL_UNLINK, CALLS };
static const char *const call_names[CALLS] = {"openat", "pwritev", "fdatasync", "fsync",
	"renameat", "unlinkat"};

#define HEAD "X-Slow: y\r\n\r\n"
#define SHORT_WRITE (-1) /* instead of an errno */
#define FDS 1024

static struct spool_io real;
static atomic_int counts[CALLS];
static atomic_int fault_call = CALLS;
static atomic_int fault_at; /* which call of it; 0: all from fault_from on */
static atomic_int fault_from;
static atomic_int fault_error;
static atomic_bool bad_fd[FDS];
static atomic_int second_syncs;
static atomic_int head_fd;       /* where the last one went */
static atomic_int only_fd = -1;  /* syncs of others, of segments in the making, do not fail */
static atomic_int heads; /* writes with the head of one of begin_slow's, done */
static atomic_int notes; /* writes behind the last of those, in its segment, done */

static struct gate sync_gate = GATE_OPEN; /* of data */
static struct gate write_gate = GATE_OPEN;

static bool fails(enum call call)
{
	int n = bell_count(&counts[call]);
	int at = atomic_load(&fault_at);
	if (atomic_load(&fault_call) != (int)call)
		return false;
	return at ? n == at : n >= atomic_load(&fault_from);
}

static int give_error(void)
{
	errno = atomic_load(&fault_error);
	return -1;
}

static int try_open(int dir, const char *name, int flags, mode_t mode)
{
	if ((fault_error != ENOSPC || flags & O_CREAT) && fails(CALL_OPEN))
		return give_error();
	int fd = real.openat(dir, name, flags, mode);
	if (fd >= 0 && fd < FDS)
		atomic_store(&bad_fd[fd], false);
	return fd;
}

static bool holds_head(const struct iovec *iov, int count)
{
	for (int i = 0; i < count; i++)
		if (memmem(iov[i].iov_base, iov[i].iov_len, HEAD, sizeof(HEAD) - 1))
			return true;
	return false;
}

static ssize_t try_write(int fd, const struct iovec *iov, int count, off_t offset)
{
	gate_pass(&write_gate);
	if (!fails(CALL_WRITE)) {
		ssize_t n = real.pwritev(fd, iov, count, offset);
		if (holds_head(iov, count)) {
			atomic_store(&head_fd, fd);
			bell_count(&heads);
		} else if (fd == atomic_load(&head_fd)) {
			bell_count(&notes);
		}
		return n;
	}
	if (atomic_load(&fault_error) != SHORT_WRITE)
		return give_error();
	struct iovec first = iov[0];
	first.iov_len = (first.iov_len + 1) / 2;
	return real.pwritev(fd, &first, 1, offset);
}

static int try_sync(enum call call, int (*sync)(int fd), int fd)
{
	struct stat st;
	if (fd >= 0 && fd < FDS && atomic_load(&bad_fd[fd]))
		atomic_fetch_add(&second_syncs, 1);
	int only = atomic_load(&only_fd);
	if ((only >= 0 && fd != only) || !fails(call))
		return sync(fd);
	/* a folder's descriptor lives as long as the spool */
	if (fd < FDS && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		atomic_store(&bad_fd[fd], true);
	return give_error();
}

static int try_fdatasync(int fd)
{
	gate_pass(&sync_gate);
	return try_sync(CALL_DATASYNC, real.fdatasync, fd);
}

static int try_fsync(int fd)
{
	return try_sync(CALL_SYNC, real.fsync, fd);
}

static int try_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	return fails(CALL_RENAME) ? give_error() : real.renameat(from_dir, from, to_dir, to);
}

static int try_unlink(int dir, const char *name, int flags)
{
	return fails(CALL_UNLINK) ? give_error() : real.unlinkat(dir, name, flags);
}

static void set_fault(enum call call, int at, int error)
{
	for (int i = 0; i < CALLS; i++)
		atomic_store(&counts[i], 0);
	for (int i = 0; i < FDS; i++)
		atomic_store(&bad_fd[i], false);
	atomic_store(&second_syncs, 0);
	atomic_store(&fault_error, error);
	atomic_store(&fault_at, at);
	atomic_store(&fault_from, 1);
	atomic_store(&fault_call, call);
}

static int set_up(void **state)
{
	(void)state;
	real = spool_io;
	bell_open();
	spool_io.openat = try_open;
	spool_io.pwritev = try_write;
	spool_io.fdatasync = try_fdatasync;
	spool_io.fsync = try_fsync;
	spool_io.renameat = try_rename;
	spool_io.unlinkat = try_unlink;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	spool_io = real;
	bell_close();
	return 0;
}

/* One life: small and big messages over several segments, results, ends. */
static void live(struct kit *kit)
{
	struct why why;
	if (kit_try_open(kit, &why) == 0) {
		kit_append_many(kit, 1, 3, 2000, NULL);
		kit_append_many(kit, 10, 6, 20000, NULL);
		kit_append(kit, 20, 100 << 10, NULL);
		kit_append(kit, 21, 100 << 10, NULL);
		for (size_t i = 0; i < kit->count; i++) {
			if (kit->messages[i].id % 2)
				kit_end(kit, kit->messages[i].id);
			else
				kit_result(kit, kit->messages[i].id, 1);
		}
		kit_append_many(kit, 30, 4, 20000, NULL);
		kit_append_many(kit, 40, 2, 30, NULL);
	}
	kit_close(kit);
}

static struct kit *begin(void)
{
	struct kit *kit = kit_new();
	kit->conf.segment_size = 64 << 10;
	return kit;
}

/* Result: how many calls of CALL there are in a life. */
static int try_fault(enum call call, int at, int error)
{
	struct kit *kit = begin();
	set_fault(call, at, error);
	live(kit);
	int count = atomic_load(&counts[call]);
	int again = atomic_load(&second_syncs);
	set_fault(CALLS, 0, 0);
	kit_open(kit);
	if (again || kit->damages)
		fail_msg("%s %d, error %d: %d second syncs, %u damages (%s)", call_names[call],
		    at, error, again, kit->damages, kit->damage_text);
	kit_check(kit);
	/* and it goes on */
	enum spool_status status;
	kit_append(kit, 99, 100, &status);
	assert_int_equal(status, SPOOL_DONE);
	kit_free(kit);
	return count;
}

static void sweep(enum call call, int error)
{
	int at = 1;
	while (try_fault(call, at, error) >= at)
		at++;
	assert_true(at > 1); /* there was a call that could fail */
}

static void test_write(void **state)
{
	(void)state;
	sweep(CALL_WRITE, EIO);
	sweep(CALL_WRITE, ENOSPC);
}

static void test_write_short(void **state)
{
	(void)state;
	sweep(CALL_WRITE, SHORT_WRITE);
	sweep(CALL_WRITE, EINTR);
}

static void test_sync(void **state)
{
	(void)state;
	sweep(CALL_DATASYNC, EIO);
	sweep(CALL_SYNC, EIO);
}

static void test_open(void **state)
{
	(void)state;
	sweep(CALL_OPEN, EMFILE);
}

static void test_rename(void **state)
{
	(void)state;
	sweep(CALL_RENAME, EIO);
	sweep(CALL_UNLINK, EIO);
}

/* From some call on every one fails: nothing is DONE that is not there. */
static void test_dead_disk(void **state)
{
	(void)state;
	for (int from = 1; from <= 60; from += 3) {
		struct kit *kit = begin();
		set_fault(CALL_WRITE, 0, EIO);
		atomic_store(&fault_from, from);
		live(kit);
		int again = atomic_load(&second_syncs);
		set_fault(CALLS, 0, 0);
		assert_int_equal(again, 0);
		/* results that could not be written are lost: what is live and more */
		for (size_t i = 0; i < kit->count; i++)
			kit->messages[i].done = 0;
		kit->lenient = true;
		kit_open(kit);
		for (size_t i = 0; i < kit->count; i++)
			assert_true(!kit->messages[i].live || kit->messages[i].found);
		kit_free(kit);
	}
}

/* A full disk: 452 for messages, results still go down, and it recovers. */
static void test_full(void **state)
{
	(void)state;
	struct kit *kit = begin();
	enum spool_status status = SPOOL_DONE;
	kit_open(kit);
	kit_settle(kit);
	kit_wait_stock(kit);
	set_fault(CALL_OPEN, 0, ENOSPC); /* no new file from now on */
	uint64_t id = 1;
	while (status == SPOOL_DONE && id < 100)
		kit_append(kit, id++, 10000, &status);
	assert_int_equal(status, SPOOL_FULL);
	assert_true(kit->full);
	assert_true(spool_is_full(kit->spool));
	kit_result(kit, 1, 2);
	kit_end(kit, 2);
	kit_append(kit, 200, 10000, &status);
	assert_int_equal(status, SPOOL_FULL);
	set_fault(CALLS, 0, 0);
	while (kit->full)
		loop_turn(kit->loop, true);
	kit_append(kit, 201, 10000, &status);
	assert_int_equal(status, SPOOL_DONE);
	assert_int_equal(kit->fulls, 2);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	kit_free(kit);
}

/* Full, and the daemon is killed: what was noted while it was full is there. */
static void test_full_restart(void **state)
{
	(void)state;
	struct kit *kit = begin();
	enum spool_status status = SPOOL_DONE;
	kit_open(kit);
	kit_settle(kit);
	kit_wait_stock(kit);
	set_fault(CALL_OPEN, 0, ENOSPC);
	uint64_t id = 1;
	while (status == SPOOL_DONE && id < 100)
		kit_append(kit, id++, 10000, &status);
	for (uint64_t i = 1; i < id - 1; i += 2)
		kit_end(kit, i);
	kit_close(kit);
	set_fault(CALLS, 0, 0);
	kit_open(kit);
	kit_check(kit);
	kit_free(kit);
}

/* ---- while a sync is under way ---- */

struct slow { /* an append whose sync is held */
	struct spool_append append;
	struct envelope envelope;
	bool done;
};

static void on_slow_done(struct spool_append *append)
{
	((struct slow *)append)->done = true;
}

struct ready {
	bool is;
	enum spool_status status;
	struct why why;
};

static void on_ready(void *arg, enum spool_status status, const struct why *why)
{
	*(struct ready *)arg = (struct ready){true, status, *why};
}

static void begin_slow_with(struct kit *kit, struct slow *slow, uint64_t id,
    struct spool_content *content)
{
	static char sender[] = "a@example.org";
	static char recipient[] = "b@example.net";
	static char *recipients[] = {recipient, recipient, recipient};
	*slow = (struct slow){.envelope = {.sender = sender, .recipients = recipients,
		.recipient_count = KIT_RECIPIENTS},
		.append = {.id = id, .done = on_slow_done, .head = span_text(HEAD)}};
	slow->append.envelope = &slow->envelope;
	slow->append.content = content;
	spool_append(kit->spool, &slow->append);
}

static void begin_slow(struct kit *kit, struct slow *slow, uint64_t id)
{
	begin_slow_with(kit, slow, id, NULL);
}

/* Two messages, and SLOW on its way with its sync held. */
static void begin_held(struct kit *kit, struct slow *slow)
{
	kit_open(kit);
	assert_int_equal(kit_append_many(kit, 1, 2, 500, NULL), 2);
	kit_settle(kit);
	gate_set(&sync_gate, true);
	int before = atomic_load(&heads);
	begin_slow(kit, slow, 50);
	bell_wait(kit->loop, &heads, before);
}

struct waiting {
	struct spool_wait wait;
	bool over;
};

static void note_over(void *arg)
{
	((struct waiting *)arg)->over = true;
}

static void note_while_held(struct kit *kit)
{
	struct waiting written = {.over = false};
	kit_result(kit, 1, 2);
	kit_end(kit, 2);
	spool_await_notes(kit->spool, &written.wait, note_over, &written);
	kit_turn_until(kit, &written.over);
}

static void live_until_noted(void *arg)
{
	struct kit *kit = arg;
	struct slow slow;
	begin_held(kit, &slow);
	note_while_held(kit);
	assert_false(slow.done);
}

/* A result is written whatever is being synced: a kill does not lose it. */
static void test_results_wait_for_no_sync(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	run_apart(live_until_noted, kit);
	kit->messages[0] = (struct kit_message){.id = 1, .size = 500, .live = true, .done = 4};
	kit->messages[1] = (struct kit_message){.id = 2};
	kit->count = 2;
	kit_open(kit);
	assert_true(kit_find(kit, 1)->found);
	assert_false(kit_find(kit, 2)->found);
	assert_int_equal(kit->damages, 0);
	kit_free(kit);
}

/* The loop has more to do in its turn: a thread that is idle does not wait for that. */
static void test_a_result_leaves_before_the_turn_ends(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	struct slow slow;
	kit_open(kit);
	assert_int_equal(kit_append_many(kit, 1, 2, 500, NULL), 2);
	begin_slow(kit, &slow, 50);
	kit_turn_until(kit, &slow.done);
	kit_settle(kit);
	int before = atomic_load(&notes);
	kit_result(kit, 1, 2);
	bell_wait(NULL, &notes, before);
	assert_int_equal(atomic_load(&notes), before + 1);
	kit_free(kit);
}

/* Whoever waits for his results to be written hears of it when they are, and not
 * before; or when the disk takes nothing. */
static void test_wait_for_notes(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	struct waiting first = {.over = false};
	struct waiting cancelled = {.over = false};
	struct waiting last = {.over = false};
	enum spool_status status;
	kit_open(kit);
	kit_append_many(kit, 1, 3, 500, &status);
	gate_set(&write_gate, true);
	kit_result(kit, 1, 0);
	spool_await_notes(kit->spool, &first.wait, note_over, &first);
	spool_await_notes(kit->spool, &cancelled.wait, note_over, &cancelled);
	spool_await_cancel(&cancelled.wait);
	for (int i = 0; i < 5; i++)
		loop_turn(kit->loop, false);
	assert_false(first.over);
	int before = atomic_load(&counts[CALL_WRITE]);
	gate_set(&write_gate, false);
	kit_turn_until(kit, &first.over);
	assert_true(atomic_load(&counts[CALL_WRITE]) > before);
	spool_await_notes(kit->spool, &last.wait, note_over, &last); /* with nothing new */
	assert_false(last.over);
	kit_turn_until(kit, &last.over);
	assert_false(cancelled.over);
	set_fault(CALL_WRITE, 0, EIO);
	kit_result(kit, 2, 0);
	spool_await_notes(kit->spool, &first.wait, note_over, &first);
	first.over = false;
	kit_turn_until(kit, &first.over);
	set_fault(CALLS, 0, 0);
	kit_settle(kit);
	kit_close(kit);
	kit_open(kit);
	kit_check(kit);
	kit_free(kit);
}

/* A sync fails while more was written behind what it should bring to disk: all
 * of those messages have failed, no result is lost. */
static void test_failed_sync_with_more_behind(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	struct slow slow;
	struct slow behind;
	begin_held(kit, &slow);
	note_while_held(kit);
	int before = atomic_load(&heads);
	begin_slow(kit, &behind, 51);
	bell_wait(kit->loop, &heads, before);
	assert_false(slow.done || behind.done);
	set_fault(CALL_DATASYNC, 1, EIO);
	atomic_store(&only_fd, atomic_load(&head_fd));
	gate_set(&sync_gate, false);
	kit_turn_until(kit, &slow.done);
	kit_turn_until(kit, &behind.done);
	atomic_store(&only_fd, -1);
	set_fault(CALLS, 0, 0);
	assert_int_equal(slow.append.status, SPOOL_FAILED);
	assert_int_equal(behind.append.status, SPOOL_FAILED);
	assert_int_equal(atomic_load(&second_syncs), 0);
	enum spool_status status;
	kit_append(kit, 60, 100, &status);
	assert_int_equal(status, SPOOL_DONE);
	kit_close(kit);
	kit_open(kit);
	assert_null(kit_find(kit, 50));
	assert_null(kit_find(kit, 51));
	assert_int_equal(kit->damages, 0);
	kit_check(kit);
	kit_free(kit);
}

/* Messages that come during a sync share the next one. */
static void test_group_behind_a_sync(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	struct slow slow;
	struct slow more[20];
	begin_held(kit, &slow);
	uint64_t syncs = spool_stats(kit->spool).syncs;
	for (size_t i = 0; i < 20; i++) {
		int before = atomic_load(&heads);
		begin_slow(kit, &more[i], 100 + i);
		bell_wait(kit->loop, &heads, before);
	}
	gate_set(&sync_gate, false);
	kit_turn_until(kit, &slow.done);
	for (size_t i = 0; i < 20; i++) {
		kit_turn_until(kit, &more[i].done);
		assert_int_equal(more[i].append.status, SPOOL_DONE);
	}
	assert_true(spool_stats(kit->spool).syncs - syncs <= 3);
	kit_free(kit);
}

/* Only a disk without room is said to be full, and whatever it was has its reason. */
static void test_a_big_file_that_fails(void **state)
{
	static const struct {
		enum call call;
		int error;
		enum spool_status status;
	} cases[] = {
	    {CALL_OPEN, EMFILE, SPOOL_FAILED},
	    {CALL_WRITE, EIO, SPOOL_FAILED},
	    {CALL_SYNC, EIO, SPOOL_FAILED},
	    {CALL_WRITE, ENOSPC, SPOOL_FULL},
	    {CALL_OPEN, EDQUOT, SPOOL_FULL},
	};
	(void)state;
	struct kit *kit = kit_new();
	char *text = mem_zero(100000);
	kit_open(kit);
	kit_wait_stock(kit);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ready ready = {0};
		struct spool_content *c = spool_content_new(kit->spool, 0xb19, NULL, NULL);
		set_fault(cases[i].call, 0, cases[i].error);
		spool_content_add(c, (struct span){text, 100000});
		spool_content_finish(c, on_ready, &ready);
		kit_turn_until(kit, &ready.is);
		set_fault(CALLS, 0, 0);
		assert_int_equal(ready.status, cases[i].status);
		assert_non_null(strstr(ready.why.text, "big/0000000000000b19"));
		assert_non_null(strstr(ready.why.text, strerror(cases[i].error)));
		spool_content_free(c);
		kit_settle(kit);
		assert_int_equal(kit_count_files(kit, "big", ""), 0);
	}
	kit_free(kit);
	mem_free(text);
}

/* The last message is a big one, and fails while the spool is being closed: its file
 * goes all the same. */
static void test_failed_big_at_the_end(void **state)
{
	(void)state;
	struct kit *kit = kit_new();
	struct slow slow;
	struct ready ready = {0};
	kit_open(kit);
	kit_settle(kit);
	struct spool_content *c = spool_content_new(kit->spool, 70, NULL, NULL);
	char *text = mem_zero(100000);
	assert_true(spool_content_add(c, (struct span){text, 100000}));
	spool_content_finish(c, on_ready, &ready);
	kit_turn_until(kit, &ready.is);
	assert_int_equal(ready.status, SPOOL_DONE);
	set_fault(CALL_DATASYNC, 0, EIO);
	begin_slow_with(kit, &slow, 70, c);
	kit_close(kit);
	set_fault(CALLS, 0, 0);
	assert_true(slow.done);
	assert_int_equal(slow.append.status, SPOOL_FAILED);
	assert_int_equal(kit_count_files(kit, "big", ""), 0);
	kit_free(kit);
	mem_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_write),
	    cmocka_unit_test(test_write_short),
	    cmocka_unit_test(test_sync),
	    cmocka_unit_test(test_open),
	    cmocka_unit_test(test_rename),
	    cmocka_unit_test(test_dead_disk),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_full_restart),
	    cmocka_unit_test(test_results_wait_for_no_sync),
	    cmocka_unit_test(test_a_result_leaves_before_the_turn_ends),
	    cmocka_unit_test(test_wait_for_notes),
	    cmocka_unit_test(test_failed_sync_with_more_behind),
	    cmocka_unit_test(test_group_behind_a_sync),
	    cmocka_unit_test(test_a_big_file_that_fails),
	    cmocka_unit_test(test_failed_big_at_the_end),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
