/* SPDX-License-Identifier: MIT
 * HTTPS requests to where nobody listens: what is left of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "smtp/https.h"

#define MANY 1000
#define KEPT_S 61 /* libcurl forgets names after a minute */

static time_t ahead;

/* In place of libc's, for libcurl: what it keeps of names goes by this clock. */
time_t time(time_t *t)
{
	time_t now = clock_wall_ms() / 1000 + ahead;
	if (t)
		*t = now;
	return now;
}

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	return mallinfo2().uordblks;
}

static void failed(const struct https_answer *answer, void *arg)
{
	assert_int_equal(answer->status, HTTPS_FAILED);
	*(bool *)arg = true;
}

/* A port that is taken, and where nobody listens. */
static int take_port(struct conn_address *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(conn_address_parse(a, "127.0.0.1", 0), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a->addr, a->len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a->addr, &a->len), 0);
	return fd;
}

/* Each policy's server has a name of its own, and there is no end to names. */
static void test_names_are_forgotten(void **state)
{
	static struct loop *loop; /* as long as the program: there is no end to it either */
	static struct https *https;
	struct conn_address nobody;
	size_t before = 0;
	(void)state;
	loop = loop_new();
	https = https_new(loop);
	int fd = take_port(&nobody);
	for (int i = 0; i < 2 * MANY; i++) {
		char host[40];
		bool done = false;
		snprintf(host, sizeof(host), "mta-sts.d%04d.test", i);
		struct https_options options = {
		    .host = host,
		    .port = conn_address_port(&nobody),
		    .path = "/",
		    .addresses = &nobody,
		    .address_count = 1,
		    .timeout_ms = 30000,
		    .body_max = 10,
		};
		if (i == MANY)
			before = allocated();
		https_start(https, &options, failed, &done);
		while (!done)
			assert_true(loop_turn(loop, true));
		ahead += KEPT_S;
	}
	size_t after = allocated();
	assert_true(after < before + (size_t)20 * MANY);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
