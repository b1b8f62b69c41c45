/* SPDX-License-Identifier: MIT
 * The two ends of ends.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/ends.h"

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"

struct loop *ends_loop;
int ends_listener;
struct conn_address ends_listening;

void end_handle(
    struct conn *conn, enum conn_event event, const struct why *why, void *arg)
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

void end_take_all(struct end *end, enum conn_event event)
{
	(void)event;
	for (struct span s = conn_peek(end->conn); s.n; s = conn_peek(end->conn)) {
		buf_add(&end->got, s.p, s.n);
		conn_drop(end->conn, s.n);
	}
}

const char *end_trace(const struct end *end)
{
	return buf_text(&end->trace);
}

bool end_told(const struct end *end, char letter)
{
	return strchr(end_trace(end), letter) != NULL;
}

void end_clear(struct end *end)
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
void ends_settle(void)
{
	bool still = false;
	struct timer timer;
	timer_init(&timer, ends_loop, set_flag, &still);
	timer_start(&timer, 1);
	while (!still)
		assert_true(loop_turn(ends_loop, true));
}

/* Let time pass too. */
void ends_run_dry(void)
{
	for (int i = 0; i < 100000; i++)
		if (!loop_turn(ends_loop, true))
			return;
	fail_msg("the loop does not come to rest");
}

int ends_listen(struct conn_address *a, const char *text)
{
	conn_address_parse(a, text, 0);
	int fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a->addr, a->len) != 0 ||
	    listen(fd, 64) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&a->addr, &a->len);
	return fd;
}

int ends_take_peer(void)
{
	int fd = accept4(ends_listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* A client conn, and the other end as a bare socket. */
int end_open_raw(struct end *client)
{
	*client = (struct end){0};
	client->conn = conn_connect(
	    ends_loop, &ends_listening, NULL, ENDS_INPUT_MAX, end_handle, client);
	int fd = ends_take_peer();
	while (!end_told(client, 'O'))
		loop_turn(ends_loop, true);
	buf_clear(&client->trace);
	return fd;
}

void ends_open(struct end *client, struct end *server)
{
	int fd = end_open_raw(client);
	*server = (struct end){0};
	server->conn = conn_accept(ends_loop, fd, ENDS_INPUT_MAX, end_handle, server);
}

void ends_raw_write(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

void end_wait(struct end *end, char letter)
{
	for (int i = 0; i < 20000 && !end_told(end, letter); i++)
		loop_turn(ends_loop, true);
	assert_true(end_told(end, letter));
}

void end_assert_line(struct end *end, enum conn_line kind, const char *text)
{
	struct span line = {0};
	assert_int_equal(conn_line(end->conn, 512, &line), kind);
	if (text) {
		assert_int_equal(line.n, strlen(text));
		assert_memory_equal(line.p, text, line.n);
	}
}

int ends_begin(void **state)
{
	(void)state;
	clock_fake(1800000000000);
	ends_loop = loop_new();
	ends_listener = ends_listen(&ends_listening, "127.0.0.1");
	return ends_listener < 0;
}

int ends_finish(void **state)
{
	(void)state;
	close(ends_listener);
	loop_free(ends_loop);
	return 0;
}

char *ends_pattern(size_t n)
{
	char *p = mem_alloc(n);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 31 + i / 251);
	return p;
}

void ends_reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}
