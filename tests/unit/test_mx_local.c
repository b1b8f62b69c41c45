/* SPDX-License-Identifier: MIT
 * Which addresses are this host's own, asked of the real kernel: loopback's here, and in
 * a network of the test's own those of another interface and the setting that lets
 * sockets be bound to anything.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smtp/mx.h"

static bool is_local(const char *text)
{
	struct conn_address a;
	assert_int_equal(conn_address_parse(&a, text, 25), 0);
	return mx_address_is_local(&a);
}

static void test_loopback(void **state)
{
	(void)state;
	assert_true(is_local("127.0.0.1"));
	assert_true(is_local("127.9.9.9")); /* by its network, which is local as a whole */
	assert_false(is_local("192.0.2.77"));
	assert_false(is_local("93.184.216.5"));
	assert_false(is_local("2606:2800::5"));
	int six = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct conn_address one;
	assert_int_equal(conn_address_parse(&one, "::1", 0), 0);
	bool has_six = six >= 0 &&
		       bind(six, (const struct sockaddr *)&one.addr, one.len) == 0;
	if (six >= 0)
		close(six);
	assert_int_equal(is_local("::1"), has_six);
}

/* ---- a network of our own, in a child ---- */

static bool write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

/* Give loopback an address more, as an interface named "lo:N". */
static bool add_address(const char *interface, const char *address)
{
	struct ifreq request = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, address, &in.sin_addr);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	bool good = fd >= 0 && ioctl(fd, SIOCSIFADDR, &request) == 0;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	good = good && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
	if (fd >= 0)
		close(fd);
	return good;
}

enum { OWN_GOOD, OWN_NO_NETWORK = 100 };

/* The line that is wrong; it ends the child, where cmocka has no say. */
#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__ % 90 + 1;                                                  \
	} while (0)

static int look_in_own_network(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 || !add_address("lo", "127.0.0.1"))
		return OWN_NO_NETWORK;
	EXPECT(!is_local("192.0.2.10"));
	EXPECT(add_address("lo:1", "192.0.2.10")); /* comes while we run */
	EXPECT(is_local("192.0.2.10"));
	EXPECT(!is_local("93.184.216.5"));
	EXPECT(write_file("/proc/sys/net/ipv4/ip_nonlocal_bind", "1"));
	if (access("/proc/sys/net/ipv6", F_OK) == 0)
		EXPECT(write_file("/proc/sys/net/ipv6/ip_nonlocal_bind", "1"));
	EXPECT(is_local("127.0.0.1"));
	EXPECT(is_local("192.0.2.10"));
	EXPECT(!is_local("93.184.216.5"));
	EXPECT(!is_local("2606:2800::5"));
	return OWN_GOOD;
}

static void test_own_network(void **state)
{
	int status = 0;
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(look_in_own_network());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == OWN_NO_NETWORK)
		skip(); /* this system lets nobody have one */
	if (WEXITSTATUS(status) != OWN_GOOD)
		fail_msg("the expectation at line %d (modulo 90)", WEXITSTATUS(status) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_loopback),
	    cmocka_unit_test(test_own_network),
	};
	return cmocka_run_group_tests_name("mx_local", tests, NULL, NULL);
}
