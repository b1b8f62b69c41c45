/* SPDX-License-Identifier: MIT
 * How connections begin and end: connecting and its failures, source
 * addresses, deadlines (on the fake clock), conn_close inside a handler, and
 * conn_finish in every state.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "tests/unit/ends.h"

static void expect_no_connection(const struct conn_address *to,
    const struct conn_address *from, enum why_kind kind, const char *text)
{
	struct end c = {0};
	c.conn = conn_connect(ends_loop, to, from, ENDS_INPUT_MAX, end_handle, &c);
	assert_string_equal(end_trace(&c), "");
	conn_write(c.conn, "x", 1);
	ends_run_dry();
	assert_string_equal(end_trace(&c), "F");
	assert_int_equal(c.why.kind, kind);
	if (!strstr(c.why.text, text))
		fail_msg("'%s' is not in '%s'", text, c.why.text);
	end_clear(&c);
}

static void test_connect_fails(void **state)
{
	(void)state;
	struct conn_address to;
	struct conn_address from;
	struct conn_address closed;
	close(ends_listen(&closed, "127.0.0.1"));
	expect_no_connection(&closed, NULL, WHY_TEMP, "connect to 127.0.0.1 port ");
	expect_no_connection(&closed, NULL, WHY_TEMP, "refused");
	conn_address_parse(&from, "192.0.2.77", 0);
	expect_no_connection(
	    &ends_listening, &from, WHY_LOCAL, "source address 192.0.2.77");
	conn_address_parse(&from, "::1", 0);
	expect_no_connection(&ends_listening, &from, WHY_LOCAL, "another family");
	conn_address_parse(&to, "255.255.255.255", 25);
	expect_no_connection(&to, NULL, WHY_TEMP, "connect to 255.255.255.255 port 25");
	struct sockaddr_un un = {
	    .sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
	to = (struct conn_address){.len = sizeof(un)};
	memcpy(&to.addr, &un, sizeof(un));
	expect_no_connection(&to, NULL, WHY_TEMP, "/nonexistent/socket");
	to = (struct conn_address){.len = sizeof(un)};
	to.addr.ss_family = AF_MAX - 1;
	expect_no_connection(&to, NULL, WHY_TEMP, "no socket");
}

static void test_no_descriptors(void **state)
{
	(void)state;
	struct rlimit old;
	struct rlimit low;
	getrlimit(RLIMIT_NOFILE, &old);
	int next = dup(ends_listener);
	close(next);
	low = old;
	low.rlim_cur = (rlim_t)next;
	setrlimit(RLIMIT_NOFILE, &low);
	expect_no_connection(&ends_listening, NULL, WHY_LOCAL, "Too many open files");
	setrlimit(RLIMIT_NOFILE, &old);
}

static void test_connect_from(void **state)
{
	(void)state;
	struct end c = {0};
	struct conn_address from;
	char text[CONN_ADDRESS_TEXT];
	conn_address_parse(&from, "127.0.0.9", 0);
	c.conn = conn_connect(
	    ends_loop, &ends_listening, &from, ENDS_INPUT_MAX, end_handle, &c);
	conn_write(c.conn, "early", 5); /* kept until it is open */
	struct end s = {0};
	s.conn = conn_accept(ends_loop, ends_take_peer(), ENDS_INPUT_MAX, end_handle, &s);
	ends_run_dry();
	assert_string_equal(end_trace(&c), "OD");
	assert_string_equal(conn_address_text(conn_peer(s.conn), text), "127.0.0.9");
	assert_int_equal(conn_peek(s.conn).n, 5);
	end_clear(&c);
	end_clear(&s);
}

/* A peer of a ends_listener on :: that came by IPv4 is an IPv4 peer. */
static void test_mapped_address(void **state)
{
	(void)state;
	struct conn_address any;
	int fd = ends_listen(&any, "::");
	if (fd < 0)
		skip();
	struct conn_address to;
	struct end c = {0};
	struct end s = {0};
	char text[CONN_ADDRESS_TEXT];
	conn_address_parse(&to, "127.0.0.1", conn_address_port(&any));
	c.conn = conn_connect(ends_loop, &to, NULL, ENDS_INPUT_MAX, end_handle, &c);
	end_wait(&c, 'O');
	s.conn =
	    conn_accept(ends_loop, accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC),
		ENDS_INPUT_MAX, end_handle, &s);
	assert_string_equal(conn_address_text(conn_peer(s.conn), text), "127.0.0.1");
	assert_int_equal(conn_peer(s.conn)->addr.ss_family, AF_INET);
	end_clear(&c);
	end_clear(&s);
	close(fd);
}

static void test_unix(void **state)
{
	(void)state;
	int pair[2];
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	struct end a = {0};
	char text[CONN_ADDRESS_TEXT];
	a.conn = conn_accept(ends_loop, pair[0], ENDS_INPUT_MAX, end_handle, &a);
	assert_string_equal(conn_address_text(conn_peer(a.conn), text), "unix");
	ends_raw_write(pair[1], "status\r\n");
	ends_run_dry();
	end_assert_line(&a, CONN_LINE, "status");
	close(pair[1]);
	end_clear(&a);
}

static void test_deadline(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	int64_t start = clock_mono_ms();
	conn_deadline(s.conn, 300000);
	conn_deadline(s.conn, 60000);
	ends_raw_write(fd, "x");
	ends_run_dry();
	assert_string_equal(end_trace(&s), "IX");
	assert_int_equal(clock_mono_ms() - start, 60000);
	conn_deadline(s.conn, 10);
	conn_deadline(s.conn, -1);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "IX");
	conn_deadline(s.conn, 10); /* after the end no deadline is told */
	close(fd);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "IXC");
	conn_deadline(s.conn, 10);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "IXC");
	end_clear(&s);
}

static void close_self(struct end *end, enum conn_event event)
{
	(void)event;
	conn_close(end->conn);
	conn_close(end->conn); /* twice is once */
}

static void test_close_inside(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	s.then = close_self;
	c.then = close_self;
	conn_write(c.conn, "x", 1);
	conn_write(s.conn, "y", 1);
	conn_deadline(s.conn, 0);
	ends_run_dry();
	assert_int_equal(s.trace.len, 1);
	assert_int_equal(c.trace.len, 1);
	c.conn = s.conn = NULL;
	end_clear(&c);
	end_clear(&s);
}

static size_t read_to_end(int fd, struct buf *got)
{
	char part[4096];
	ssize_t n;
	buf_clear(got);
	while ((n = read(fd, part, sizeof(part))) > 0)
		buf_add(got, part, (size_t)n);
	assert_int_equal(n, 0); /* an orderly end, no reset */
	return got->len;
}

static void test_finish(void **state)
{
	(void)state;
	struct end s;
	struct buf got = {0};
	int fd = end_open_raw(&s);
	/* input that nobody has read must not turn our last reply into a reset */
	ends_raw_write(fd, "DATA DATA DATA");
	conn_write(s.conn, "421 bye\r\n", 9);
	conn_finish(s.conn, 5000);
	s.conn = NULL;
	ends_settle();
	ends_raw_write(fd, "more of it");
	ends_settle();
	ends_raw_write(fd, "and more"); /* no reset came: somebody still takes it */
	ends_settle();
	assert_int_equal(read_to_end(fd, &got), 9);
	assert_string_equal(end_trace(&s), "");
	close(fd);
	int64_t before = clock_mono_ms();
	ends_run_dry();
	assert_int_equal(
	    clock_mono_ms(), before); /* gone with the peer, not the deadline */
	buf_free(&got);
	end_clear(&s);
}

static void set_gone(void *arg)
{
	*(bool *)arg = true;
}

static void test_finish_deadline(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	char *bytes = ends_pattern(8 << 20);
	conn_pause(c.conn); /* a peer that does not read */
	conn_write(s.conn, bytes, 8 << 20);
	bool gone = false;
	conn_set_gone(s.conn, set_gone, &gone);
	conn_finish(s.conn, 5000);
	conn_finish(s.conn, 9000);
	s.conn = NULL;
	ends_settle();
	assert_false(gone);                  /* the descriptor is still there */
	int64_t start = clock_mono_ms() - 1; /* to settle */
	ends_run_dry();
	assert_int_equal(clock_mono_ms() - start, 5000);
	assert_true(gone);
	c.then = end_take_all;
	conn_resume(c.conn);
	ends_run_dry();
	assert_true(end_told(&c, 'C'));
	assert_true(c.got.len < 8 << 20);
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

/* A peer that never stops sending is dropped at a bound. */
static void test_finish_flood(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	char *bytes = ends_pattern(8 << 20);
	int64_t start = clock_mono_ms();
	conn_write(c.conn, bytes, 8 << 20);
	conn_finish(s.conn, 5000);
	s.conn = NULL;
	ends_run_dry();
	assert_int_equal(clock_mono_ms(), start);
	assert_true(end_told(&c, 'F'));
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

static void test_finish_states(void **state)
{
	(void)state;
	struct end c = {0};
	struct conn_address closed;
	close(ends_listen(&closed, "127.0.0.1"));
	/* while connecting: what was written goes out, or nothing is told */
	c.conn = conn_connect(ends_loop, &closed, NULL, ENDS_INPUT_MAX, end_handle, &c);
	conn_write(c.conn, "x", 1);
	conn_finish(c.conn, 100);
	c.conn = conn_connect(
	    ends_loop, &ends_listening, NULL, ENDS_INPUT_MAX, end_handle, &c);
	conn_write(c.conn, "x", 1);
	conn_finish(c.conn, 100);
	int fd = ends_take_peer();
	ends_run_dry();
	char got[4];
	assert_int_equal(read(fd, got, sizeof(got)), 1);
	assert_int_equal(read(fd, got, sizeof(got)), 0);
	close(fd);
	/* after CLOSED: the reply still goes out */
	fd = end_open_raw(&c);
	shutdown(fd, SHUT_WR);
	ends_run_dry();
	assert_string_equal(end_trace(&c), "C");
	conn_write(c.conn, "250 ok\r\n", 8);
	conn_finish(c.conn, 100);
	ends_run_dry();
	struct buf text = {0};
	assert_int_equal(read_to_end(fd, &text), 8);
	buf_free(&text);
	close(fd);
	/* after FAILED */
	c.conn = NULL;
	end_clear(&c);
	ends_reset(end_open_raw(&c));
	ends_run_dry();
	assert_string_equal(end_trace(&c), "F");
	conn_finish(c.conn, 100);
	ends_run_dry();
	c.conn = NULL;
	end_clear(&c);
}

/* loop_free takes along what still finishes: the leak checker is the judge. */
static void test_finish_at_end(void **state)
{
	(void)state;
	struct loop *kept = ends_loop;
	ends_loop = loop_new();
	struct end c;
	int fd = end_open_raw(&c);
	conn_write(c.conn, "x", 1);
	conn_finish(c.conn, 1000);
	loop_free(ends_loop);
	ends_loop = kept;
	close(fd);
	c.conn = NULL;
	end_clear(&c);
}

static void test_next_user(void **state)
{
	(void)state;
	struct end first;
	struct end second = {0};
	int fd = end_open_raw(&first);
	second.conn = first.conn;
	conn_set_handler(first.conn, end_handle, &second);
	ends_raw_write(fd, "x");
	ends_run_dry();
	assert_string_equal(end_trace(&first), "");
	assert_string_equal(end_trace(&second), "I");
	close(fd);
	first.conn = NULL;
	end_clear(&first);
	end_clear(&second);
}

#define ON_ENDS(test) cmocka_unit_test_setup_teardown(test, ends_begin, ends_finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ON_ENDS(test_connect_fails),
	    ON_ENDS(test_no_descriptors),
	    ON_ENDS(test_connect_from),
	    ON_ENDS(test_mapped_address),
	    ON_ENDS(test_unix),
	    ON_ENDS(test_deadline),
	    ON_ENDS(test_close_inside),
	    ON_ENDS(test_finish),
	    ON_ENDS(test_finish_deadline),
	    ON_ENDS(test_finish_flood),
	    ON_ENDS(test_finish_states),
	    ON_ENDS(test_finish_at_end),
	    ON_ENDS(test_next_user),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
