/* SPDX-License-Identifier: MIT
 * Bytes over a connection: addresses, lines, bounds, pauses, and the orders
 * in which a peer may leave. The peer is another conn or a bare socket that
 * does what no conn would.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "tests/unit/ends.h"

static void test_address(void **state)
{
	static const struct {
		const char *text;
		int result;
	} rows[] = {
	    {"192.0.2.1", 0},
	    {"2001:db8::1", 0},
	    {"::", 0},
	    {"0.0.0.0", 0},
	    {"", -1},
	    {"localhost", -1},
	    {"192.0.2.256", -1},
	    {"192.0.2", -1},
	    {"127.1", -1},
	    {"[::1]", -1},
	    {"::1%lo", -1},
	    {" 192.0.2.1", -1},
	    {"192.0.2.1:25", -1},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conn_address a;
		char text[CONN_ADDRESS_TEXT];
		assert_int_equal(
		    conn_address_parse(&a, rows[i].text, 2525), rows[i].result);
		conn_address_text(&a, text);
		assert_string_equal(text, rows[i].result ? "none" : rows[i].text);
		assert_int_equal(conn_address_port(&a), rows[i].result ? 0 : 2525);
	}
}

static void test_open_and_lines(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	char text[CONN_ADDRESS_TEXT];
	assert_string_equal(conn_address_text(conn_peer(c.conn), text), "127.0.0.1");
	assert_int_equal(
	    conn_address_port(conn_peer(c.conn)), conn_address_port(&ends_listening));
	conn_write(c.conn, "EHLO a\r\nRC", 10);
	conn_write(c.conn, "PT", 2);
	assert_int_equal(conn_unsent(c.conn), 12);
	assert_string_equal(end_trace(&c), ""); /* nothing is told from inside a call */
	ends_settle();
	assert_string_equal(end_trace(&c), "D");
	assert_string_equal(end_trace(&s), "I");
	assert_int_equal(conn_unsent(c.conn), 0);
	assert_true(conn_has_input(s.conn));
	end_assert_line(&s, CONN_LINE, "EHLO a");
	end_assert_line(&s, CONN_LINE_MORE, NULL);
	conn_write(c.conn, "\r\n\r\n", 4);
	ends_settle();
	end_assert_line(&s, CONN_LINE, "RCPT");
	end_assert_line(&s, CONN_LINE, "");
	end_assert_line(&s, CONN_LINE_MORE, NULL);
	assert_false(conn_has_input(s.conn));
	end_clear(&c);
	end_clear(&s);
}

static void test_line_kinds(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	static const char text[] = "a\nb\rc\r\nd\r\r\n\n\r\ne\0f\r\n";
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	ends_settle();
	end_assert_line(&s, CONN_LINE_BARE, "a");
	end_assert_line(&s, CONN_LINE_BARE, "b\rc");
	end_assert_line(&s, CONN_LINE_BARE, "d\r");
	end_assert_line(&s, CONN_LINE_BARE, "");
	end_assert_line(&s, CONN_LINE, "");
	struct span line;
	assert_int_equal(conn_line(s.conn, 512, &line), CONN_LINE);
	assert_int_equal(line.n, 3);
	assert_memory_equal(line.p, "e\0f", 3);
	end_assert_line(&s, CONN_LINE_MORE, NULL);
	close(fd);
	end_clear(&s);
}

static void test_line_limit(void **state)
{
	(void)state;
	struct end s;
	struct span line;
	int fd = end_open_raw(&s);
	ends_raw_write(fd, "123456\r\n123456");
	ends_settle();
	assert_int_equal(conn_line(s.conn, 7, &line), CONN_LINE_LONG);
	assert_int_equal(conn_line(s.conn, 7, &line), CONN_LINE_LONG);
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE);
	assert_int_equal(line.n, 6);
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE_MORE);
	assert_int_equal(conn_line(s.conn, 6, &line), CONN_LINE_LONG);
	ends_raw_write(fd, "7");
	ends_settle();
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE_MORE);
	ends_raw_write(fd, "8");
	ends_settle();
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE_LONG);
	/* out of it by dropping what is too long */
	conn_drop(s.conn, 3);
	ends_raw_write(fd, "\r\n");
	ends_settle();
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE);
	assert_memory_equal(line.p, "45678", 5);
	assert_int_equal(line.n, 5);
	close(fd);
	end_clear(&s);
}

/* A line that never ends in an input that is full is too long, not "more". */
static void test_line_over_input(void **state)
{
	(void)state;
	struct end s = {0};
	struct conn *client;
	struct end c = {0};
	client = c.conn =
	    conn_connect(ends_loop, &ends_listening, NULL, 4096, end_handle, &c);
	s.conn = conn_accept(ends_loop, ends_take_peer(), 100, end_handle, &s);
	end_wait(&c, 'O');
	char many[300];
	memset(many, 'x', sizeof(many));
	conn_write(client, many, sizeof(many));
	ends_settle();
	struct span line;
	assert_int_equal(conn_line(s.conn, 1000, &line), CONN_LINE_LONG);
	struct span seen = conn_peek(s.conn);
	assert_int_equal(seen.n, 100); /* the bound held */
	s.then = end_take_all;
	end_take_all(&s, CONN_INPUT);
	ends_settle();
	assert_int_equal(s.got.len, 300);
	end_clear(&c);
	end_clear(&s);
}

/* Feeding a long line byte by byte; all sizes of pieces give the same. */
static void test_line_pieces(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	char text[5000];
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	memcpy(text + 4990, "\r\n0123456\n", 10);
	for (size_t piece = 1; piece < 6000; piece = piece * 7 + 1) {
		struct span line;
		for (size_t at = 0; at < sizeof(text); at += piece) {
			size_t n = sizeof(text) - at < piece ? sizeof(text) - at : piece;
			conn_write(c.conn, text + at, n);
			ends_settle();
			if (at + n < 4992)
				assert_int_equal(
				    conn_line(s.conn, 8000, &line), CONN_LINE_MORE);
		}
		assert_int_equal(conn_line(s.conn, 8000, &line), CONN_LINE);
		assert_int_equal(line.n, 4990);
		assert_memory_equal(line.p, text, line.n);
		assert_int_equal(conn_line(s.conn, 8000, &line), CONN_LINE_BARE);
		assert_int_equal(line.n, 7);
	}
	end_clear(&c);
	end_clear(&s);
}

static void test_bulk(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 8 << 20;
	char *bytes = ends_pattern(size);
	ends_open(&c, &s);
	s.then = end_take_all;
	conn_write(c.conn, bytes, size);
	end_wait(&c, 'D');
	ends_settle();
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	assert_string_equal(end_trace(&c), "D");
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

static void test_bounded_input(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 8 << 20;
	char *bytes = ends_pattern(size);
	ends_open(&c, &s);
	conn_write(c.conn, bytes, size);
	ends_settle();
	assert_false(end_told(&c, 'D'));
	assert_true(conn_unsent(c.conn) > 0);
	size_t turns = 0;
	while (s.got.len < size && turns++ < 10000) {
		size_t before = s.got.len;
		end_take_all(&s, CONN_INPUT);
		assert_true(s.got.len - before <= ENDS_INPUT_MAX);
		loop_turn(ends_loop, true);
	}
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

static void test_pause(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	conn_pause(s.conn);
	ends_raw_write(fd, "x\r\n");
	shutdown(fd, SHUT_WR);
	ends_settle();
	assert_string_equal(end_trace(&s), "");
	conn_resume(s.conn);
	assert_string_equal(end_trace(&s), "");
	ends_settle();
	assert_string_equal(end_trace(&s), "IC");
	end_assert_line(&s, CONN_LINE, "x");
	close(fd);
	end_clear(&s);
}

static void pause_at_input(struct end *end, enum conn_event event)
{
	if (event == CONN_INPUT)
		conn_pause(end->conn);
}

/* Paused in INPUT: CLOSED waits; resuming tells the input that waits again. */
static void test_pause_in_input(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	s.then = pause_at_input;
	ends_raw_write(fd, "x\r\n");
	ends_settle();
	close(fd);
	ends_settle();
	assert_string_equal(end_trace(&s), "I");
	s.then = NULL;
	conn_resume(s.conn);
	ends_settle();
	assert_string_equal(end_trace(&s), "IIC");
	end_clear(&s);
}

static void test_peer_closes(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	ends_raw_write(fd, "last\r\n");
	close(fd);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "IC");
	end_assert_line(&s, CONN_LINE, "last");
	end_clear(&s);
}

static void reply(struct end *end, enum conn_event event)
{
	if (event == CONN_INPUT)
		conn_write(end->conn, "250 ok\r\n", 8);
}

/* A peer that shuts its side at once (`nc -N`) still gets its replies. */
static void test_half_closed_peer(void **state)
{
	(void)state;
	struct end s;
	char got[32];
	int fd = end_open_raw(&s);
	s.then = reply;
	ends_raw_write(fd, "NOOP\r\n");
	shutdown(fd, SHUT_WR);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "IDC");
	assert_int_equal(read(fd, got, sizeof(got)), 8);
	close(fd);
	end_clear(&s);
}

/* The same with more output than the socket takes: CLOSED comes behind it. */
static void test_half_closed_slow_peer(void **state)
{
	(void)state;
	struct end s;
	size_t size = 8 << 20;
	char *bytes = ends_pattern(size);
	int fd = end_open_raw(&s);
	conn_write(s.conn, bytes, size);
	shutdown(fd, SHUT_WR);
	ends_settle();
	assert_string_equal(end_trace(&s), "");
	size_t got = 0;
	for (int i = 0; i < 20000 && !end_told(&s, 'C'); i++) {
		ssize_t n = read(fd, bytes, size);
		got += n > 0 ? (size_t)n : 0;
		loop_turn(ends_loop, false);
	}
	assert_string_equal(end_trace(&s), "DC");
	for (ssize_t n = 1; n > 0; got += n > 0 ? (size_t)n : 0)
		n = read(fd, bytes, size);
	assert_int_equal(got, size);
	mem_free(bytes);
	close(fd);
	end_clear(&s);
}

static void test_reset(void **state)
{
	(void)state;
	struct end s;
	ends_reset(end_open_raw(&s));
	ends_run_dry();
	assert_string_equal(end_trace(&s), "F");
	assert_int_equal(s.why.kind, WHY_TEMP);
	assert_non_null(strstr(s.why.text, "127.0.0.1"));
	assert_non_null(strstr(s.why.text, "reset"));
	end_clear(&s);
}

/* "554 go away", close, while we are sending: the 554 must be seen. */
static void test_refused_while_sending(void **state)
{
	(void)state;
	struct end c;
	size_t size = 8 << 20;
	char *bytes = ends_pattern(size);
	int fd = end_open_raw(&c);
	conn_write(c.conn, bytes, size);
	ends_settle();
	ends_raw_write(fd, "554 go away\r\n");
	close(fd); /* with unread input: a reset follows */
	ends_run_dry();
	assert_int_equal(end_trace(&c)[strlen(end_trace(&c)) - 1], 'F');
	assert_false(end_told(&c, 'D'));
	end_assert_line(&c, CONN_LINE, "554 go away");
	assert_int_equal(conn_unsent(c.conn), 0);
	mem_free(bytes);
	end_clear(&c);
}

/* The same when the owner learns of it only by writing. */
static void test_write_to_closed(void **state)
{
	(void)state;
	struct end c;
	int fd = end_open_raw(&c);
	ends_raw_write(fd, "421 bye\r\n");
	close(fd);
	conn_write(c.conn, "a\r\n", 3);
	loop_turn(ends_loop, false);
	conn_write(c.conn, "b\r\n", 3);
	ends_run_dry();
	end_assert_line(&c, CONN_LINE, "421 bye");
	assert_true(end_told(&c, 'I'));
	assert_true(end_told(&c, 'F') || end_told(&c, 'C'));
	conn_write(c.conn, "c\r\n", 3);
	ends_run_dry();
	end_clear(&c);
}

/* Our write fails while the input is full: FAILED comes, and what was read stays. */
static void test_broken_and_full(void **state)
{
	(void)state;
	struct end c = {0};
	size_t size = 8 << 20;
	char *bytes = ends_pattern(size);
	c.conn = conn_connect(ends_loop, &ends_listening, NULL, 10, end_handle, &c);
	int fd = ends_take_peer();
	ends_raw_write(fd, "0123456789abcdef");
	end_wait(&c, 'I');
	conn_write(c.conn, bytes, size);
	ends_settle();
	close(fd);
	ends_run_dry();
	assert_true(end_told(&c, 'F'));
	assert_int_equal(conn_peek(c.conn).n, 10);
	mem_free(bytes);
	end_clear(&c);
}

#define ON_ENDS(test) cmocka_unit_test_setup_teardown(test, ends_begin, ends_finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_address),
	    ON_ENDS(test_open_and_lines),
	    ON_ENDS(test_line_kinds),
	    ON_ENDS(test_line_limit),
	    ON_ENDS(test_line_over_input),
	    ON_ENDS(test_line_pieces),
	    ON_ENDS(test_bulk),
	    ON_ENDS(test_bounded_input),
	    ON_ENDS(test_pause),
	    ON_ENDS(test_pause_in_input),
	    ON_ENDS(test_peer_closes),
	    ON_ENDS(test_half_closed_peer),
	    ON_ENDS(test_half_closed_slow_peer),
	    ON_ENDS(test_reset),
	    ON_ENDS(test_refused_while_sending),
	    ON_ENDS(test_write_to_closed),
	    ON_ENDS(test_broken_and_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
