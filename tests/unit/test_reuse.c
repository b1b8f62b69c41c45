/* SPDX-License-Identifier: MIT
 * Kept connections, with real clients on them: keys, the idle deadline, the
 * limit, and a receiver that hangs up meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "smtp/reuse.h"

#define PEERS 8
#define PATIENCE 3000

/* The receiver says yes to everything. */
struct peer {
	struct conn *conn;
	bool in_text;
	bool quit;
	bool closed;
};

static struct loop *loop;
static struct conf_delivery limits;
static int listener;
static struct conn_address address;
static struct peer peers[PEERS];
static size_t peer_count;
static unsigned ready;
static unsigned done;
static unsigned failed;

static void answer(struct peer *peer, struct span line)
{
	if (peer->in_text && !span_is(line, "."))
		return;
	peer->in_text = span_is(line, "DATA");
	peer->quit |= span_is(line, "QUIT");
	if (peer->in_text)
		conn_write(peer->conn, "354 go\r\n", 8);
	else
		conn_write(peer->conn, "250 ok\r\n", 8);
}

static void on_peer(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct peer *peer = arg;
	struct span line;
	(void)why;
	if (event == CONN_INPUT)
		while (conn_line(conn, 1000, &line) == CONN_LINE)
			answer(peer, line);
	if (event == CONN_CLOSED || event == CONN_FAILED) {
		peer->closed = true;
		conn_close(conn);
	}
}

static void on_ready(void *arg)
{
	(void)arg;
	ready++;
}

static void on_recipient(void *arg, size_t i, const struct client_result *result)
{
	(void)arg;
	assert_int_equal(i, 0);
	assert_int_equal(result->stage, CLIENT_END);
	assert_int_equal(result->reply->code, 250);
}

static void on_done(void *arg)
{
	(void)arg;
	done++;
}

static void on_failed(void *arg, const struct client_result *result, bool idle)
{
	(void)arg;
	(void)result;
	(void)idle;
	failed++;
}

static const struct client_handler handler = {on_ready, on_recipient, on_done, on_failed};

static void accept_peer(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	assert_true(peer_count < PEERS);
	struct peer *peer = &peers[peer_count++];
	peer->conn = conn_accept(loop, fd, 8192, on_peer, peer);
	conn_write(peer->conn, "220 mx\r\n", 8);
}

/* Turn, time standing still, until IT holds. */
#define await(it) \
	do { \
		for (int i_ = 0; i_ < PATIENCE && !(it); i_++) { \
			accept_peer(); \
			loop_turn(loop, false); \
			if (i_ > 20) \
				poll(NULL, 0, 1); \
		} \
		assert_true(it); \
	} while (0)

static struct client *greeted(void)
{
	struct client_options options = {
	    .to = address,
	    .name = "mx.example.org",
	    .hostname = "relay.example.jp",
	    .limits = &limits,
	};
	unsigned want = ready + 1;
	struct client *client = client_new(loop, &options, &handler, NULL);
	await(ready == want);
	return client;
}

static int set_up(void **state)
{
	(void)state;
	loop = loop_new();
	limits = (struct conf_delivery){.connect_timeout = 1000, .banner_timeout = 1000,
	    .command_timeout = 1000, .data_timeout = 1000, .block_timeout = 1000,
	    .end_timeout = 1000, .transaction_total = 1000};
	memset(peers, 0, sizeof(peers));
	peer_count = 0;
	ready = done = failed = 0;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(conn_address_parse(&address, "127.0.0.1", 0), 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address.addr, address.len), 0);
	assert_int_equal(listen(listener, PEERS), 0);
	assert_int_equal(
	    getsockname(listener, (struct sockaddr *)&address.addr, &address.len), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < peer_count; i++)
		if (!peers[i].closed)
			conn_close(peers[i].conn);
	loop_free(loop);
	close(listener);
	return 0;
}

static void test_keys(void **state)
{
	(void)state;
	struct reuse *reuse = reuse_new(loop, 5000, 10);
	assert_null(reuse_take(reuse, "a"));
	struct client *a1 = greeted();
	struct client *b = greeted();
	struct client *a2 = greeted();
	char key[] = "a";
	reuse_put(reuse, key, a1);
	reuse_put(reuse, "b", b);
	reuse_put(reuse, key, a2);
	key[0] = 'x'; /* it was copied */
	assert_int_equal(reuse_count(reuse), 3);
	assert_null(reuse_take(reuse, "x"));
	assert_null(reuse_take(reuse, ""));
	assert_ptr_equal(reuse_take(reuse, "a"), a2); /* the newest */
	assert_ptr_equal(reuse_take(reuse, "a"), a1);
	assert_null(reuse_take(reuse, "a"));
	assert_int_equal(reuse_count(reuse), 1);
	client_close(a1);
	client_close(a2);
	reuse_free(reuse);
	await(peers[0].closed && peers[1].closed && peers[2].closed);
	assert_true(peers[0].quit && peers[1].quit && peers[2].quit);
	assert_int_equal(failed, 0);
	reuse_free(NULL);
}

static ssize_t read_text(void *arg, uint64_t offset, char *to, size_t n)
{
	memcpy(to, (const char *)arg + offset, n);
	return (ssize_t)n;
}

/* A connection goes to and fro; time in use does not count as idle. */
static void test_used_again(void **state)
{
	(void)state;
	static const char *const to[] = {"b@example.org"};
	struct client_message message = {.sender = "", .recipients = to, .recipient_count = 1,
	    .size = 4, .read = read_text, .arg = (void *)"hi\r\n"};
	struct reuse *reuse = reuse_new(loop, 5000, 10);
	struct client *client = greeted();
	for (unsigned i = 1; i <= 3; i++) {
		reuse_put(reuse, "k", client);
		clock_advance(4999);
		for (int turns = 0; turns < 3; turns++)
			loop_turn(loop, false);
		assert_ptr_equal(reuse_take(reuse, "k"), client);
		client_set_handler(client, &handler, NULL);
		client_send(client, &message);
		await(done == i);
		assert_int_equal(client_info(client).transactions, i);
	}
	client_close(client);
	reuse_free(reuse);
}

static void test_idle(void **state)
{
	(void)state;
	struct reuse *reuse = reuse_new(loop, 5000, 10);
	reuse_put(reuse, "a", greeted());
	clock_advance(3000);
	reuse_put(reuse, "a", greeted());
	clock_advance(2000);
	await(peers[0].closed);
	assert_true(peers[0].quit);
	assert_int_equal(reuse_count(reuse), 1);
	clock_advance(3000);
	await(peers[1].closed);
	assert_null(reuse_take(reuse, "a"));
	assert_int_equal(failed, 0);
	reuse_free(reuse);
}

static void test_limit(void **state)
{
	(void)state;
	struct reuse *reuse = reuse_new(loop, 5000, 2);
	for (int i = 0; i < 4; i++)
		reuse_put(reuse, "k", greeted());
	assert_int_equal(reuse_count(reuse), 2);
	await(peers[0].closed && peers[1].closed);
	assert_true(peers[0].quit && peers[1].quit);
	assert_false(peers[2].closed || peers[3].closed);
	reuse_free(reuse);
}

static void test_off(void **state)
{
	(void)state;
	struct reuse *no_room = reuse_new(loop, 5000, 0);
	struct reuse *no_time = reuse_new(loop, 0, 10);
	reuse_put(no_room, "k", greeted());
	reuse_put(no_time, "k", greeted());
	assert_int_equal(reuse_count(no_room) + reuse_count(no_time), 0);
	await(peers[0].closed && peers[1].closed);
	assert_true(peers[0].quit && peers[1].quit);
	reuse_free(no_room);
	reuse_free(no_time);
}

/* The receiver says 421, talks out of turn, or just goes. */
static void test_lost(void **state)
{
	(void)state;
	struct reuse *reuse = reuse_new(loop, 5000, 10);
	for (int i = 0; i < 4; i++)
		reuse_put(reuse, "k", greeted());
	conn_write(peers[0].conn, "421 bye\r\n", 9);
	await(reuse_count(reuse) == 3);
	conn_write(peers[3].conn, "250 what\r\n", 10);
	await(reuse_count(reuse) == 2);
	conn_close(peers[1].conn);
	peers[1].closed = true;
	await(reuse_count(reuse) == 1);
	assert_int_equal(failed, 0);
	struct client *left = reuse_take(reuse, "k");
	assert_non_null(left);
	client_close(left);
	await(peers[2].closed);
	assert_true(peers[2].quit);
	reuse_free(reuse);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_used_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_idle, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_off, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
	};
	clock_fake(1800000000000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
