/* SPDX-License-Identifier: MIT
 * A message is sent, and its content can not be read just then, or is damaged. And the
 * spool's segment is kept for it only while it is sent.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define FAKE_DNS
#include "tests/unit/fake_dns.h"
#include "tests/unit/world.h"

#include "queue/spool_internal.h"
#include "queue/spool_io.h"

#define MINUTE WORLD_MINUTE
#define HOUR WORLD_HOUR

/* What reading the spool is like, from when a receiver is connected to. */
enum disk { DISK_FINE, DISK_SILENT, DISK_BAD_RECORDS, DISK_BAD_CONTENT };
static atomic_int disk;
static atomic_int faults;
static enum disk when_connected;

static bool spoil(char *p, size_t n, off_t offset)
{
	static const char text[] = "The text.";
	static const unsigned char magic[] = {0x52, 0xa7, 0x59, 0x4c};
	char *found = NULL;
	if (disk == DISK_BAD_CONTENT)
		found = memmem(p, n, text, sizeof(text) - 1);
	else if (disk == DISK_BAD_RECORDS && offset > RECORD_START && n >= sizeof(magic) &&
		 memcmp(p, magic, sizeof(magic)) == 0)
		found = p + 20;
	if (found)
		*found ^= 1;
	return found != NULL;
}

static ssize_t try_read(int fd, void *to, size_t n, off_t offset)
{
	if (disk == DISK_SILENT) {
		faults++;
		errno = EIO;
		return -1;
	}
	ssize_t got = pread(fd, to, n, offset);
	if (got > 0 && spoil(to, (size_t)got, offset))
		faults++;
	return got;
}

static int set_up(void **state)
{
	(void)state;
	disk = DISK_FINE;
	faults = 0;
	spool_io.pread = try_read;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	spool_io.pread = pread;
	return 0;
}

static uint32_t pins(const struct spool *spool)
{
	uint32_t count = 0;
	for (const struct segment *s = spool->segments; s; s = s->hh.next)
		count += s->pins;
	return count;
}

/* Nobody has to keep the spool's space for a receiver that does not even answer. */
static const char *says(const struct site_ask *ask)
{
	const struct world *w = ask->site->arg;
	if (ask->stage == SITE_CONNECT) {
		assert_int_equal(pins(w->spool), 0);
		disk = when_connected;
	} else if (ask->stage == SITE_RCPT) {
		assert_int_equal(pins(w->spool), 1);
	}
	return NULL;
}

static const struct world_site good[] = {{"good.test", "mx.good.test", says}, {0}};

static bool has_faults(struct world *w)
{
	return faults > 0 && deliver_running(w->deliver) == 0;
}

static bool was_set_aside(struct world *w)
{
	return spool_stats(w->spool).damaged == 1;
}

static void begin(struct world *w, enum disk how)
{
	when_connected = how;
	world_open(w, good, "\"ip1\"", "");
	world_send(w, "user@good.test");
}

static void test_kept_while_sent(void **state)
{
	struct world w;
	(void)state;
	begin(&w, DISK_FINE);
	world_until(&w, world_is_empty, MINUTE);
	assert_int_equal(pins(w.spool), 0);
	assert_int_equal(w.sites[0].mail_count, 1);
	world_close(&w);
}

/* The disk does not answer: it is sent later. */
static void test_unreadable(void **state)
{
	struct world w;
	(void)state;
	begin(&w, DISK_SILENT);
	world_until(&w, has_faults, MINUTE);
	assert_false(world_is_empty(&w));
	assert_int_equal(w.sites[0].mail_count, 0);
	disk = when_connected = DISK_FINE;
	world_until(&w, world_is_empty, HOUR);
	assert_int_equal(w.sites[0].mail_count, 1);
	assert_int_equal(w.stats.bounced, 0);
	world_close(&w);
}

/* It is damaged, and set aside: it leaves the queue, and the receiver sees no end of it. */
static void test_damaged(void **state)
{
	static const enum disk rows[] = {DISK_BAD_RECORDS, DISK_BAD_CONTENT};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct world w;
		begin(&w, rows[i]);
		world_until(&w, has_faults, MINUTE);
		disk = when_connected = DISK_FINE;
		world_until(&w, was_set_aside, HOUR);
		assert_true(world_is_empty(&w));
		assert_int_equal(w.sites[0].mail_count, 0);
		assert_int_equal(w.stats.bounced, 0);
		world_close(&w);
		faults = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_kept_while_sent, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("scenario_unread", tests, NULL, NULL);
}
