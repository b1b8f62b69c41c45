/* SPDX-License-Identifier: MIT
 * Connections over loopback: lines, bounds, the orders in which things end,
 * failures to connect, deadlines (on the fake clock), STARTTLS and its abuse.
 * The peer is another conn or a bare socket that does what no conn would.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "relayd/base/buf.h"
#include "relayd/base/clock.h"
#include "relayd/base/conn.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define INPUT_MAX 65536

/* One end and what its handler was told, a letter for each event. */
struct end {
	struct conn *conn;
	struct buf trace;
	struct why why;
	void (*then)(struct end *end, enum conn_event event);
	struct buf got; /* filled by take_all */
};

static struct loop *loop;
static int listener;
static struct conn_address listening;
static SSL_CTX *server_ctx;
static SSL_CTX *client_ctx;

static void handle(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct end *end = arg;
	static const char letters[] = "OSIDCFX";
	assert_ptr_equal(end->conn, conn);
	buf_add_byte(&end->trace, letters[event]);
	assert_int_equal(event == CONN_FAILED, why != NULL);
	if (why)
		end->why = *why;
	if (end->then)
		end->then(end, event);
}

static void take_all(struct end *end, enum conn_event event)
{
	(void)event;
	for (struct span s = conn_peek(end->conn); s.n; s = conn_peek(end->conn)) {
		buf_add(&end->got, s.p, s.n);
		conn_drop(end->conn, s.n);
	}
}

static const char *trace(const struct end *end)
{
	return buf_text(&end->trace);
}

static bool told(const struct end *end, char letter)
{
	return strchr(trace(end), letter) != NULL;
}

static void end_clear(struct end *end)
{
	if (end->conn)
		conn_close(end->conn);
	buf_free(&end->trace);
	buf_free(&end->got);
	*end = (struct end){0};
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Turn until nothing moves: only then the clock jumps to this timer. */
static void settle(void)
{
	bool still = false;
	struct timer timer;
	timer_init(&timer, loop, set_flag, &still);
	timer_start(&timer, 1);
	while (!still)
		assert_true(loop_turn(loop, true));
}

/* Let time pass too. */
static void run_dry(void)
{
	for (int i = 0; i < 100000; i++)
		if (!loop_turn(loop, true))
			return;
	fail_msg("the loop does not come to rest");
}

static int make_listener(struct conn_address *a, const char *text)
{
	conn_address_parse(a, text, 0);
	int fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a->addr, a->len) != 0 || listen(fd, 64) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&a->addr, &a->len);
	return fd;
}

static int take_peer(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* A client conn, and the other end as a bare socket. */
static int open_raw(struct end *client)
{
	*client = (struct end){0};
	client->conn = conn_connect(loop, &listening, NULL, INPUT_MAX, handle, client);
	int fd = take_peer();
	while (!told(client, 'O'))
		loop_turn(loop, true);
	buf_clear(&client->trace);
	return fd;
}

static void open_pair(struct end *client, struct end *server)
{
	int fd = open_raw(client);
	*server = (struct end){0};
	server->conn = conn_accept(loop, fd, INPUT_MAX, handle, server);
}

static void raw_write(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void wait_for(struct end *end, char letter)
{
	for (int i = 0; i < 20000 && !told(end, letter); i++)
		loop_turn(loop, true);
	assert_true(told(end, letter));
}

static void assert_line(struct end *end, enum conn_line kind, const char *text)
{
	struct span line = {0};
	assert_int_equal(conn_line(end->conn, 512, &line), kind);
	if (text) {
		assert_int_equal(line.n, strlen(text));
		assert_memory_equal(line.p, text, line.n);
	}
}

static int begin(void **state)
{
	(void)state;
	clock_fake(1800000000000);
	loop = loop_new();
	listener = make_listener(&listening, "127.0.0.1");
	return listener < 0;
}

static int finish(void **state)
{
	(void)state;
	close(listener);
	loop_free(loop);
	return 0;
}

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
		assert_int_equal(conn_address_parse(&a, rows[i].text, 2525), rows[i].result);
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
	open_pair(&c, &s);
	char text[CONN_ADDRESS_TEXT];
	assert_string_equal(conn_address_text(conn_peer(c.conn), text), "127.0.0.1");
	assert_int_equal(conn_address_port(conn_peer(c.conn)), conn_address_port(&listening));
	assert_int_equal(conn_address_port(conn_local(c.conn)), conn_address_port(conn_peer(s.conn)));
	conn_write(c.conn, "EHLO a\r\nRC", 10);
	conn_write(c.conn, "PT", 2);
	assert_int_equal(conn_unsent(c.conn), 12);
	assert_string_equal(trace(&c), ""); /* nothing is told from inside a call */
	settle();
	assert_string_equal(trace(&c), "D");
	assert_string_equal(trace(&s), "I");
	assert_int_equal(conn_unsent(c.conn), 0);
	assert_true(conn_has_input(s.conn));
	assert_line(&s, CONN_LINE, "EHLO a");
	assert_line(&s, CONN_LINE_MORE, NULL);
	conn_write(c.conn, "\r\n\r\n", 4);
	settle();
	assert_line(&s, CONN_LINE, "RCPT");
	assert_line(&s, CONN_LINE, "");
	assert_line(&s, CONN_LINE_MORE, NULL);
	assert_false(conn_has_input(s.conn));
	end_clear(&c);
	end_clear(&s);
}

static void test_line_kinds(void **state)
{
	(void)state;
	struct end s;
	int fd = open_raw(&s);
	static const char text[] = "a\nb\rc\r\nd\r\r\n\n\r\ne\0f\r\n";
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	settle();
	assert_line(&s, CONN_LINE_BARE, "a");
	assert_line(&s, CONN_LINE_BARE, "b\rc");
	assert_line(&s, CONN_LINE_BARE, "d\r");
	assert_line(&s, CONN_LINE_BARE, "");
	assert_line(&s, CONN_LINE, "");
	struct span line;
	assert_int_equal(conn_line(s.conn, 512, &line), CONN_LINE);
	assert_int_equal(line.n, 3);
	assert_memory_equal(line.p, "e\0f", 3);
	assert_line(&s, CONN_LINE_MORE, NULL);
	close(fd);
	end_clear(&s);
}

static void test_line_limit(void **state)
{
	(void)state;
	struct end s;
	struct span line;
	int fd = open_raw(&s);
	raw_write(fd, "123456\r\n123456");
	settle();
	assert_int_equal(conn_line(s.conn, 7, &line), CONN_LINE_LONG);
	assert_int_equal(conn_line(s.conn, 7, &line), CONN_LINE_LONG);
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE);
	assert_int_equal(line.n, 6);
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE_MORE);
	assert_int_equal(conn_line(s.conn, 6, &line), CONN_LINE_LONG);
	raw_write(fd, "7");
	settle();
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE_MORE);
	raw_write(fd, "8");
	settle();
	assert_int_equal(conn_line(s.conn, 8, &line), CONN_LINE_LONG);
	/* out of it by dropping what is too long */
	conn_drop(s.conn, 3);
	raw_write(fd, "\r\n");
	settle();
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
	client = c.conn = conn_connect(loop, &listening, NULL, 4096, handle, &c);
	s.conn = conn_accept(loop, take_peer(), 100, handle, &s);
	wait_for(&c, 'O');
	char many[300];
	memset(many, 'x', sizeof(many));
	conn_write(client, many, sizeof(many));
	settle();
	struct span line;
	assert_int_equal(conn_line(s.conn, 1000, &line), CONN_LINE_LONG);
	struct span seen = conn_peek(s.conn);
	assert_int_equal(seen.n, 100); /* the bound held */
	s.then = take_all;
	take_all(&s, CONN_INPUT);
	settle();
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
	open_pair(&c, &s);
	char text[5000];
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	memcpy(text + 4990, "\r\n0123456\n", 10);
	for (size_t piece = 1; piece < 6000; piece = piece * 7 + 1) {
		struct span line;
		for (size_t at = 0; at < sizeof(text); at += piece) {
			size_t n = sizeof(text) - at < piece ? sizeof(text) - at : piece;
			conn_write(c.conn, text + at, n);
			settle();
			if (at + n < 4992)
				assert_int_equal(conn_line(s.conn, 8000, &line), CONN_LINE_MORE);
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

static char *pattern(size_t n)
{
	char *p = mem_alloc(n);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 31 + i / 251);
	return p;
}

static void test_bulk(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 8 << 20;
	char *bytes = pattern(size);
	open_pair(&c, &s);
	s.then = take_all;
	conn_write(c.conn, bytes, size);
	wait_for(&c, 'D');
	settle();
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	assert_string_equal(trace(&c), "D");
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
	char *bytes = pattern(size);
	open_pair(&c, &s);
	conn_write(c.conn, bytes, size);
	settle();
	assert_false(told(&c, 'D'));
	assert_true(conn_unsent(c.conn) > 0);
	size_t turns = 0;
	while (s.got.len < size && turns++ < 10000) {
		size_t before = s.got.len;
		take_all(&s, CONN_INPUT);
		assert_true(s.got.len - before <= INPUT_MAX);
		loop_turn(loop, true);
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
	int fd = open_raw(&s);
	conn_pause(s.conn);
	raw_write(fd, "x\r\n");
	shutdown(fd, SHUT_WR);
	settle();
	assert_string_equal(trace(&s), "");
	conn_resume(s.conn);
	assert_string_equal(trace(&s), "");
	settle();
	assert_string_equal(trace(&s), "IC");
	assert_line(&s, CONN_LINE, "x");
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
	int fd = open_raw(&s);
	s.then = pause_at_input;
	raw_write(fd, "x\r\n");
	settle();
	close(fd);
	settle();
	assert_string_equal(trace(&s), "I");
	s.then = NULL;
	conn_resume(s.conn);
	settle();
	assert_string_equal(trace(&s), "IIC");
	end_clear(&s);
}

static void test_peer_closes(void **state)
{
	(void)state;
	struct end s;
	int fd = open_raw(&s);
	raw_write(fd, "last\r\n");
	close(fd);
	run_dry();
	assert_string_equal(trace(&s), "IC");
	assert_line(&s, CONN_LINE, "last");
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
	int fd = open_raw(&s);
	s.then = reply;
	raw_write(fd, "NOOP\r\n");
	shutdown(fd, SHUT_WR);
	run_dry();
	assert_string_equal(trace(&s), "IDC");
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
	char *bytes = pattern(size);
	int fd = open_raw(&s);
	conn_write(s.conn, bytes, size);
	shutdown(fd, SHUT_WR);
	settle();
	assert_string_equal(trace(&s), "");
	size_t got = 0;
	while (!told(&s, 'C')) {
		ssize_t n = read(fd, bytes, size);
		got += n > 0 ? (size_t)n : 0;
		loop_turn(loop, false);
	}
	assert_string_equal(trace(&s), "DC");
	for (ssize_t n = 1; n > 0; got += n > 0 ? (size_t)n : 0)
		n = read(fd, bytes, size);
	assert_int_equal(got, size);
	mem_free(bytes);
	close(fd);
	end_clear(&s);
}

static void reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void test_reset(void **state)
{
	(void)state;
	struct end s;
	reset(open_raw(&s));
	run_dry();
	assert_string_equal(trace(&s), "F");
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
	char *bytes = pattern(size);
	int fd = open_raw(&c);
	conn_write(c.conn, bytes, size);
	settle();
	raw_write(fd, "554 go away\r\n");
	close(fd); /* with unread input: a reset follows */
	run_dry();
	assert_int_equal(trace(&c)[strlen(trace(&c)) - 1], 'F');
	assert_false(told(&c, 'D'));
	assert_line(&c, CONN_LINE, "554 go away");
	assert_int_equal(conn_unsent(c.conn), 0);
	mem_free(bytes);
	end_clear(&c);
}

/* The same when the owner learns of it only by writing. */
static void test_write_to_closed(void **state)
{
	(void)state;
	struct end c;
	int fd = open_raw(&c);
	raw_write(fd, "421 bye\r\n");
	close(fd);
	conn_write(c.conn, "a\r\n", 3);
	loop_turn(loop, false);
	conn_write(c.conn, "b\r\n", 3);
	run_dry();
	assert_line(&c, CONN_LINE, "421 bye");
	assert_true(told(&c, 'I'));
	assert_true(told(&c, 'F') || told(&c, 'C'));
	conn_write(c.conn, "c\r\n", 3);
	run_dry();
	end_clear(&c);
}

static void expect_no_connection(const struct conn_address *to, const struct conn_address *from,
    enum why_kind kind, const char *text)
{
	struct end c = {0};
	c.conn = conn_connect(loop, to, from, INPUT_MAX, handle, &c);
	assert_string_equal(trace(&c), "");
	conn_write(c.conn, "x", 1);
	run_dry();
	assert_string_equal(trace(&c), "F");
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
	close(make_listener(&closed, "127.0.0.1"));
	expect_no_connection(&closed, NULL, WHY_TEMP, "connect to 127.0.0.1 port ");
	expect_no_connection(&closed, NULL, WHY_TEMP, "refused");
	conn_address_parse(&from, "192.0.2.77", 0);
	expect_no_connection(&listening, &from, WHY_LOCAL, "source address 192.0.2.77");
	conn_address_parse(&from, "::1", 0);
	expect_no_connection(&listening, &from, WHY_LOCAL, "another family");
	conn_address_parse(&to, "255.255.255.255", 25);
	expect_no_connection(&to, NULL, WHY_TEMP, "connect to 255.255.255.255 port 25");
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
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
	int next = dup(listener);
	close(next);
	low = old;
	low.rlim_cur = (rlim_t)next;
	setrlimit(RLIMIT_NOFILE, &low);
	expect_no_connection(&listening, NULL, WHY_LOCAL, "Too many open files");
	setrlimit(RLIMIT_NOFILE, &old);
}

static void test_connect_from(void **state)
{
	(void)state;
	struct end c = {0};
	struct conn_address from;
	char text[CONN_ADDRESS_TEXT];
	conn_address_parse(&from, "127.0.0.9", 0);
	c.conn = conn_connect(loop, &listening, &from, INPUT_MAX, handle, &c);
	conn_write(c.conn, "early", 5); /* kept until it is open */
	struct end s = {0};
	s.conn = conn_accept(loop, take_peer(), INPUT_MAX, handle, &s);
	run_dry();
	assert_string_equal(trace(&c), "OD");
	assert_string_equal(conn_address_text(conn_peer(s.conn), text), "127.0.0.9");
	assert_string_equal(conn_address_text(conn_local(c.conn), text), "127.0.0.9");
	assert_int_equal(conn_peek(s.conn).n, 5);
	end_clear(&c);
	end_clear(&s);
}

/* A peer of a listener on :: that came by IPv4 is an IPv4 peer. */
static void test_mapped_address(void **state)
{
	(void)state;
	struct conn_address any;
	int fd = make_listener(&any, "::");
	if (fd < 0)
		skip();
	struct conn_address to;
	struct end c = {0};
	struct end s = {0};
	char text[CONN_ADDRESS_TEXT];
	conn_address_parse(&to, "127.0.0.1", conn_address_port(&any));
	c.conn = conn_connect(loop, &to, NULL, INPUT_MAX, handle, &c);
	wait_for(&c, 'O');
	s.conn = conn_accept(loop, accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC),
	    INPUT_MAX, handle, &s);
	assert_string_equal(conn_address_text(conn_peer(s.conn), text), "127.0.0.1");
	assert_int_equal(conn_peer(s.conn)->addr.ss_family, AF_INET);
	assert_int_equal(conn_address_port(conn_local(s.conn)), conn_address_port(&any));
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
	uid_t uid;
	gid_t gid;
	char text[CONN_ADDRESS_TEXT];
	a.conn = conn_accept(loop, pair[0], INPUT_MAX, handle, &a);
	assert_int_equal(conn_peer_user(a.conn, &uid, &gid), 0);
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	assert_string_equal(conn_address_text(conn_peer(a.conn), text), "unix");
	raw_write(pair[1], "status\r\n");
	run_dry();
	assert_line(&a, CONN_LINE, "status");
	close(pair[1]);
	end_clear(&a);
	struct end c;
	int fd = open_raw(&c);
	assert_int_equal(conn_peer_user(c.conn, &uid, &gid), -1);
	close(fd);
	end_clear(&c);
}

static void test_deadline(void **state)
{
	(void)state;
	struct end s;
	int fd = open_raw(&s);
	int64_t start = clock_mono_ms();
	conn_deadline(s.conn, 300000);
	conn_deadline(s.conn, 60000);
	raw_write(fd, "x");
	run_dry();
	assert_string_equal(trace(&s), "IX");
	assert_int_equal(clock_mono_ms() - start, 60000);
	conn_deadline(s.conn, 10);
	conn_deadline(s.conn, -1);
	run_dry();
	assert_string_equal(trace(&s), "IX");
	conn_deadline(s.conn, 10); /* after the end no deadline is told */
	close(fd);
	run_dry();
	assert_string_equal(trace(&s), "IXC");
	conn_deadline(s.conn, 10);
	run_dry();
	assert_string_equal(trace(&s), "IXC");
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
	open_pair(&c, &s);
	s.then = close_self;
	c.then = close_self;
	conn_write(c.conn, "x", 1);
	conn_write(s.conn, "y", 1);
	conn_deadline(s.conn, 0);
	run_dry();
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
	int fd = open_raw(&s);
	/* input that nobody has read must not turn our last reply into a reset */
	raw_write(fd, "DATA DATA DATA");
	conn_write(s.conn, "421 bye\r\n", 9);
	conn_finish(s.conn, 5000);
	s.conn = NULL;
	settle();
	raw_write(fd, "more of it");
	settle();
	raw_write(fd, "and more"); /* no reset came: somebody still takes it */
	settle();
	assert_int_equal(read_to_end(fd, &got), 9);
	assert_string_equal(trace(&s), "");
	close(fd);
	int64_t before = clock_mono_ms();
	run_dry();
	assert_int_equal(clock_mono_ms(), before); /* gone with the peer, not the deadline */
	buf_free(&got);
	end_clear(&s);
}

static void test_finish_deadline(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_pair(&c, &s);
	char *bytes = pattern(8 << 20);
	conn_pause(c.conn); /* a peer that does not read */
	conn_write(s.conn, bytes, 8 << 20);
	conn_finish(s.conn, 5000);
	conn_finish(s.conn, 9000);
	s.conn = NULL;
	int64_t start = clock_mono_ms();
	run_dry();
	assert_int_equal(clock_mono_ms() - start, 5000);
	c.then = take_all;
	conn_resume(c.conn);
	run_dry();
	assert_true(told(&c, 'C'));
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
	open_pair(&c, &s);
	char *bytes = pattern(8 << 20);
	int64_t start = clock_mono_ms();
	conn_write(c.conn, bytes, 8 << 20);
	conn_finish(s.conn, 5000);
	s.conn = NULL;
	run_dry();
	assert_int_equal(clock_mono_ms(), start);
	assert_true(told(&c, 'F'));
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

static void test_finish_states(void **state)
{
	(void)state;
	struct end c = {0};
	struct conn_address closed;
	close(make_listener(&closed, "127.0.0.1"));
	/* while connecting: what was written goes out, or nothing is told */
	c.conn = conn_connect(loop, &closed, NULL, INPUT_MAX, handle, &c);
	conn_write(c.conn, "x", 1);
	conn_finish(c.conn, 100);
	c.conn = conn_connect(loop, &listening, NULL, INPUT_MAX, handle, &c);
	conn_write(c.conn, "x", 1);
	conn_finish(c.conn, 100);
	int fd = take_peer();
	run_dry();
	char got[4];
	assert_int_equal(read(fd, got, sizeof(got)), 1);
	assert_int_equal(read(fd, got, sizeof(got)), 0);
	close(fd);
	/* after CLOSED: the reply still goes out */
	fd = open_raw(&c);
	shutdown(fd, SHUT_WR);
	run_dry();
	assert_string_equal(trace(&c), "C");
	conn_write(c.conn, "250 ok\r\n", 8);
	conn_finish(c.conn, 100);
	run_dry();
	struct buf text = {0};
	assert_int_equal(read_to_end(fd, &text), 8);
	buf_free(&text);
	close(fd);
	/* after FAILED */
	c.conn = NULL;
	end_clear(&c);
	reset(open_raw(&c));
	run_dry();
	assert_string_equal(trace(&c), "F");
	conn_finish(c.conn, 100);
	run_dry();
	c.conn = NULL;
	end_clear(&c);
}

/* loop_free takes along what still finishes: the leak checker is the judge. */
static void test_finish_at_end(void **state)
{
	(void)state;
	struct loop *kept = loop;
	loop = loop_new();
	struct end c;
	int fd = open_raw(&c);
	conn_write(c.conn, "x", 1);
	conn_finish(c.conn, 1000);
	loop_free(loop);
	loop = kept;
	close(fd);
	c.conn = NULL;
	end_clear(&c);
}

static void test_next_user(void **state)
{
	(void)state;
	struct end first;
	struct end second = {0};
	int fd = open_raw(&first);
	second.conn = first.conn;
	conn_set_handler(first.conn, handle, &second);
	raw_write(fd, "x");
	run_dry();
	assert_string_equal(trace(&first), "");
	assert_string_equal(trace(&second), "I");
	close(fd);
	first.conn = NULL;
	end_clear(&first);
	end_clear(&second);
}

static SSL_CTX *make_ctx(const SSL_METHOD *method, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	return ctx;
}

static void add_certificate(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"relay.example", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_sign(x, key, EVP_sha256());
	assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void make_contexts(int version)
{
	server_ctx = make_ctx(TLS_server_method(), version);
	client_ctx = make_ctx(TLS_client_method(), version);
	add_certificate(server_ctx);
}

static int begin_tls13(void **state)
{
	make_contexts(TLS1_3_VERSION);
	return begin(state);
}

static int begin_tls12(void **state)
{
	make_contexts(TLS1_2_VERSION);
	return begin(state);
}

static int finish_tls(void **state)
{
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	return finish(state);
}

static void start_tls(struct end *end, bool server)
{
	struct why why = {0};
	int result = conn_start_tls(end->conn, server ? server_ctx : client_ctx, server,
	    server ? NULL : "relay.example", &why);
	assert_int_equal(result, 0);
}

static void open_tls(struct end *c, struct end *s)
{
	open_pair(c, s);
	start_tls(s, true);
	start_tls(c, false);
	wait_for(c, 'S');
	wait_for(s, 'S');
	settle();
	assert_string_equal(trace(c), "S");
	assert_string_equal(trace(s), "S");
	buf_clear(&c->trace);
	buf_clear(&s->trace);
}

static void server_starttls(struct end *end, enum conn_event event)
{
	struct span line;
	if (event != CONN_INPUT || conn_line(end->conn, 512, &line) != CONN_LINE)
		return;
	if (!span_is(line, "STARTTLS")) {
		conn_write(end->conn, "secret\r\n", 8);
		return;
	}
	conn_write(end->conn, "220 go ahead\r\n", 14);
	start_tls(end, true);
	conn_write(end->conn, "greeting\r\n", 10); /* must not leave in the clear */
}

static void client_starttls(struct end *end, enum conn_event event)
{
	struct span line;
	if (event != CONN_INPUT || conn_ssl(end->conn) ||
	    conn_line(end->conn, 512, &line) != CONN_LINE)
		return;
	assert_true(span_is(line, "220 go ahead"));
	assert_false(conn_has_input(end->conn));
	start_tls(end, false);
	conn_write(end->conn, "EHLO\r\n", 6);
}

static void test_starttls(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_pair(&c, &s);
	s.then = server_starttls;
	c.then = client_starttls;
	assert_null(conn_ssl(s.conn));
	conn_write(c.conn, "STARTTLS\r\n", 10);
	settle();
	assert_non_null(conn_ssl(s.conn));
	assert_string_equal(SSL_get_servername(conn_ssl(s.conn), TLSEXT_NAMETYPE_host_name),
	    "relay.example");
	assert_line(&c, CONN_LINE, "greeting");
	assert_line(&c, CONN_LINE, "secret");
	assert_string_equal(trace(&s), "ISDID");
	conn_close(c.conn);
	c.conn = NULL;
	settle();
	assert_string_equal(trace(&s), "ISDIDC");
	end_clear(&c);
	end_clear(&s);
}

/* CVE-2011-0411: commands sent in the clear behind STARTTLS. */
static void test_injection(void **state)
{
	(void)state;
	struct end s;
	struct why why = {0};
	int fd = open_raw(&s);
	raw_write(fd, "STARTTLS\r\nMAIL FROM:<evil@example>\r\n");
	settle();
	assert_line(&s, CONN_LINE, "STARTTLS");
	assert_int_equal(conn_start_tls(s.conn, server_ctx, true, NULL, &why), -1);
	assert_int_equal(why.kind, WHY_PERM);
	assert_non_null(strstr(why.text, "in the clear"));
	assert_null(conn_ssl(s.conn));
	end_clear(&s);
	close(fd);
	/* the same bytes later: the handshake chokes on them, they are no input */
	fd = open_raw(&s);
	start_tls(&s, true);
	raw_write(fd, "MAIL FROM:<evil@example>\r\n");
	run_dry();
	assert_string_equal(trace(&s), "F");
	assert_int_equal(s.why.kind, WHY_TEMP);
	assert_non_null(strstr(s.why.text, "TLS handshake with 127.0.0.1"));
	assert_false(conn_has_input(s.conn));
	close(fd);
	end_clear(&s);
}

static void test_tls_twice(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	struct why why = {0};
	open_tls(&c, &s);
	assert_int_equal(conn_start_tls(s.conn, server_ctx, true, NULL, &why), -1);
	assert_non_null(strstr(why.text, "already"));
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_bulk(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 4 << 20;
	char *bytes = pattern(size);
	open_tls(&c, &s);
	s.then = take_all;
	c.then = take_all;
	for (size_t i = 0; i < 20000; i++)
		conn_write(s.conn, bytes + i * 10, 10);
	conn_write(c.conn, bytes, size);
	wait_for(&c, 'D');
	settle();
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	assert_int_equal(c.got.len, 200000);
	assert_memory_equal(c.got.data, bytes, c.got.len);
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

/* Decrypted bytes make no socket event: none may be forgotten. */
static void test_tls_bounded_input(void **state)
{
	(void)state;
	struct end c;
	struct end s = {0};
	size_t size = 100000;
	char *bytes = pattern(size);
	int fd = open_raw(&c);
	s.conn = conn_accept(loop, fd, 1000, handle, &s);
	start_tls(&s, true);
	start_tls(&c, false);
	wait_for(&s, 'S');
	conn_write(c.conn, bytes, size);
	settle();
	for (int i = 0; i < 10; i++) {
		conn_pause(s.conn);
		take_all(&s, CONN_INPUT);
		settle();
		assert_false(conn_peek(s.conn).n);
		conn_resume(s.conn);
		settle();
		assert_true(conn_peek(s.conn).n > 0 && conn_peek(s.conn).n <= 1000);
	}
	s.then = take_all;
	take_all(&s, CONN_INPUT);
	settle();
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_finish(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_tls(&c, &s);
	conn_write(c.conn, "unread", 6);
	settle();
	conn_write(s.conn, "421 bye\r\n", 9);
	conn_finish(s.conn, 5000);
	s.conn = NULL;
	int64_t start = clock_mono_ms();
	settle();
	assert_line(&c, CONN_LINE, "421 bye");
	assert_string_equal(trace(&c), "DIC");
	assert_true(SSL_get_shutdown(conn_ssl(c.conn)) & SSL_RECEIVED_SHUTDOWN);
	end_clear(&c);
	run_dry();
	assert_true(clock_mono_ms() - start < 100);
	end_clear(&s);
}

/* Most SMTP peers just close; that is an end, not a failure. */
static void test_tls_cut(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_tls(&c, &s);
	conn_write(c.conn, "QUIT\r\n", 6);
	settle();
	shutdown(SSL_get_fd(conn_ssl(c.conn)), SHUT_WR);
	settle();
	assert_string_equal(trace(&s), "IC");
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_peer_leaves(void **state)
{
	(void)state;
	struct end s;
	int fd = open_raw(&s);
	start_tls(&s, true);
	settle();
	close(fd);
	run_dry();
	assert_string_equal(trace(&s), "F");
	assert_non_null(strstr(s.why.text, "closed the connection"));
	end_clear(&s);
	fd = open_raw(&s);
	conn_write(s.conn, "STARTTLS\r\n", 10);
	start_tls(&s, false);
	reset(fd);
	run_dry();
	assert_string_equal(trace(&s), "F");
	end_clear(&s);
}

static void test_tls_unverified(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_pair(&c, &s);
	SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
	start_tls(&s, true);
	start_tls(&c, false);
	run_dry();
	SSL_CTX_set_verify(client_ctx, SSL_VERIFY_NONE, NULL);
	assert_string_equal(trace(&c), "F");
	assert_non_null(strstr(c.why.text, "self-signed"));
	assert_true(told(&s, 'F'));
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_handshake_deadline(void **state)
{
	(void)state;
	struct end s;
	int fd = open_raw(&s);
	start_tls(&s, true);
	conn_deadline(s.conn, 30000);
	run_dry();
	assert_string_equal(trace(&s), "X");
	conn_finish(s.conn, 1000); /* in the middle of the handshake */
	run_dry();
	s.conn = NULL;
	close(fd);
	end_clear(&s);
}

static void test_tls_refused_while_sending(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 8 << 20;
	char *bytes = pattern(size);
	open_tls(&c, &s);
	conn_pause(s.conn);
	conn_write(c.conn, bytes, size);
	settle();
	conn_write(s.conn, "554 go away\r\n", 13);
	wait_for(&s, 'D');
	conn_close(s.conn);
	s.conn = NULL;
	run_dry();
	assert_int_equal(trace(&c)[strlen(trace(&c)) - 1], 'F');
	assert_line(&c, CONN_LINE, "554 go away");
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

/* A session of a connection that was closed in order may be used again. */
static void test_tls_resumption(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_tls(&c, &s);
	conn_write(s.conn, "x", 1);
	settle();
	SSL_SESSION *session = SSL_get1_session(conn_ssl(c.conn));
	assert_true(SSL_SESSION_is_resumable(session));
	end_clear(&c);
	end_clear(&s);
	settle();
	assert_true(SSL_SESSION_is_resumable(session));
	open_pair(&c, &s);
	start_tls(&s, true);
	SSL *ssl = SSL_new(client_ctx);
	struct why why;
	SSL_set_session(ssl, session);
	assert_int_equal(conn_start_ssl(c.conn, ssl, false, &why), 0);
	wait_for(&c, 'S');
	assert_true(SSL_session_reused(ssl));
	SSL_SESSION_free(session);
	end_clear(&c);
	end_clear(&s);
}

/* Our write fails while the input is full: FAILED comes, and what was read stays. */
static void test_broken_and_full(void **state)
{
	(void)state;
	struct end c = {0};
	size_t size = 8 << 20;
	char *bytes = pattern(size);
	c.conn = conn_connect(loop, &listening, NULL, 10, handle, &c);
	int fd = take_peer();
	raw_write(fd, "0123456789abcdef");
	wait_for(&c, 'I');
	conn_write(c.conn, bytes, size);
	settle();
	close(fd);
	run_dry();
	assert_true(told(&c, 'F'));
	assert_int_equal(conn_peek(c.conn).n, 10);
	mem_free(bytes);
	end_clear(&c);
}

/* One side of random traffic: writes, takes some, pauses and resumes. */
struct player {
	struct end end;
	struct buf sent;
	size_t budget;
};

static void play(struct player *player)
{
	static char bytes[40000];
	struct conn *conn = player->end.conn;
	size_t n = random_below(2) ? random_below(100) : random_below(sizeof(bytes));
	if (n > player->budget)
		n = player->budget;
	random_bytes(bytes, n);
	conn_write(conn, bytes, n);
	buf_add(&player->sent, bytes, n);
	player->budget -= n;
	if (random_below(4) == 0)
		conn_pause(conn);
	if (random_below(3) == 0)
		conn_resume(conn);
	struct span s = conn_peek(conn);
	size_t some = s.n ? random_below((uint32_t)s.n + 1) : 0;
	buf_add(&player->end.got, s.p, some);
	conn_drop(conn, some);
}

static void random_traffic(bool tls, uint64_t seed)
{
	struct player p[2] = {0};
	random_fix(seed);
	p[0].end.conn = conn_connect(loop, &listening, NULL, 1 + random_below(30000), handle,
	    &p[0].end);
	p[1].end.conn = conn_accept(loop, take_peer(), 1 + random_below(30000), handle, &p[1].end);
	wait_for(&p[0].end, 'O');
	if (tls) {
		start_tls(&p[0].end, false);
		start_tls(&p[1].end, true);
	}
	p[0].budget = p[1].budget = 300000;
	while (p[0].budget || p[1].budget) {
		play(&p[random_below(2)]);
		loop_turn(loop, false);
	}
	for (int i = 0; i < 2; i++) {
		p[i].end.then = take_all;
		take_all(&p[i].end, CONN_INPUT);
		conn_resume(p[i].end.conn);
	}
	for (int i = 0; i < 50000 && (p[0].end.got.len < 300000 || p[1].end.got.len < 300000); i++)
		loop_turn(loop, true);
	for (int i = 0; i < 2; i++) {
		assert_true(span_equal(span_buf(&p[i].end.got), span_buf(&p[!i].sent)));
		buf_free(&p[!i].sent);
	}
	end_clear(&p[0].end);
	end_clear(&p[1].end);
}

static void test_random_clear(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++)
		random_traffic(false, seed);
}

static void test_random_tls(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++)
		random_traffic(true, seed);
}

#define CLEAR(test) cmocka_unit_test_setup_teardown(test, begin, finish)
#define TLS(test) \
	cmocka_unit_test_setup_teardown(test, begin_tls13, finish_tls), \
	    cmocka_unit_test_setup_teardown(test, begin_tls12, finish_tls)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_address),
	    CLEAR(test_open_and_lines),
	    CLEAR(test_line_kinds),
	    CLEAR(test_line_limit),
	    CLEAR(test_line_over_input),
	    CLEAR(test_line_pieces),
	    CLEAR(test_bulk),
	    CLEAR(test_bounded_input),
	    CLEAR(test_pause),
	    CLEAR(test_pause_in_input),
	    CLEAR(test_peer_closes),
	    CLEAR(test_half_closed_peer),
	    CLEAR(test_half_closed_slow_peer),
	    CLEAR(test_reset),
	    CLEAR(test_refused_while_sending),
	    CLEAR(test_write_to_closed),
	    CLEAR(test_connect_fails),
	    CLEAR(test_no_descriptors),
	    CLEAR(test_connect_from),
	    CLEAR(test_mapped_address),
	    CLEAR(test_unix),
	    CLEAR(test_deadline),
	    CLEAR(test_close_inside),
	    CLEAR(test_finish),
	    CLEAR(test_finish_deadline),
	    CLEAR(test_finish_flood),
	    CLEAR(test_finish_states),
	    CLEAR(test_finish_at_end),
	    CLEAR(test_next_user),
	    CLEAR(test_broken_and_full),
	    CLEAR(test_random_clear),
	    TLS(test_starttls),
	    TLS(test_injection),
	    TLS(test_tls_twice),
	    TLS(test_tls_bulk),
	    TLS(test_tls_bounded_input),
	    TLS(test_tls_finish),
	    TLS(test_tls_cut),
	    TLS(test_tls_peer_leaves),
	    TLS(test_tls_unverified),
	    TLS(test_tls_handshake_deadline),
	    TLS(test_tls_refused_while_sending),
	    TLS(test_tls_resumption),
	    TLS(test_random_tls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
