/* SPDX-License-Identifier: MIT
 * Look-ups by libunbound against a name server of our own: a UDP socket in
 * the same loop that answers by the first label of the name, over IPv4 and
 * IPv6. Each kind of answer and of failure, silence, many questions at once,
 * cancelling, freeing in the middle. Real clock: libunbound has its own thread.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "smtp/dns.h"

static struct loop *loop;
static int server_fd = -1;
static struct event *server_event;
static char server_name[80];
static size_t server_questions;
static char anchor_file[] = "/tmp/test-dns-anchor-XXXXXX";

/* What the server knows: rdata of ANSWERS records, for names that start so. */
struct reply {
	const char *label;
	uint16_t type;
	int rcode; /* -1: silence */
	const char *rdata;
	size_t len;
	size_t answers;
};

#define RDATA(text) text, sizeof(text) - 1

static const struct reply replies[] = {
    {"one", DNS_A, 0, RDATA("\x5d\xb8\xd8\x22"), 1},
    {"one", DNS_AAAA, 0, RDATA("\x26\x06\x28\x00\0\0\0\0\0\0\0\0\0\0\0\1"), 1},
    {"two", DNS_MX, 0, RDATA("\0\x0a\4MaiL\3oRg\0"), 1},
    {"null", DNS_MX, 0, RDATA("\0\0\0"), 1},
    {"odd", DNS_MX, 0, RDATA("\0\x0a\4m l\r\3org\0"), 1},
    {"text", DNS_TXT, 0, RDATA("\3v=a\0\2;b"), 1},
    {"tlsa", DNS_TLSA, 0, RDATA("\3\1\1abcd"), 1},
    {"1", DNS_PTR, 0, RDATA("\4host\3org\0"), 1},
    {"empty", DNS_A, 0, RDATA(""), 0},
    {"gone", DNS_A, 3, RDATA(""), 0},
    {"fail", DNS_A, 2, RDATA(""), 0},
    {"refuse", DNS_A, 5, RDATA(""), 0},
    {"silent", DNS_A, -1, RDATA(""), 0},
};

static const struct reply *find_reply(const unsigned char *packet, uint16_t type)
{
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		size_t n = strlen(replies[i].label);
		if (replies[i].type == type && packet[12] >= n &&
		    strncasecmp((const char *)packet + 13, replies[i].label, n) == 0)
			return &replies[i];
	}
	return NULL;
}

static size_t question_end(const unsigned char *packet, size_t n)
{
	size_t at = 12;
	while (at < n && packet[at] != 0)
		at += (size_t)packet[at] + 1;
	return at + 5;
}

static void add_record(unsigned char *packet, size_t *len, uint16_t type, const char *rdata,
    size_t n)
{
	unsigned char head[12] = {0xc0, 12, (unsigned char)(type >> 8), (unsigned char)type, 0, 1,
	    0, 0, 0, 60, (unsigned char)(n >> 8), (unsigned char)n};
	memcpy(packet + *len, head, sizeof(head));
	memcpy(packet + *len + sizeof(head), rdata, n);
	*len += sizeof(head) + n;
	packet[7]++;
}

static void on_question(evutil_socket_t fd, short what, void *arg)
{
	unsigned char p[1500];
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	(void)what;
	(void)arg;
	ssize_t got = recvfrom(fd, p, 512, 0, (struct sockaddr *)&from, &from_len);
	if (got < 17)
		return;
	server_questions++;
	size_t len = question_end(p, (size_t)got);
	assert_true(len <= (size_t)got);
	uint16_t type = (uint16_t)(p[len - 4] << 8 | p[len - 3]);
	const struct reply *reply = find_reply(p, type);
	if (reply && reply->rcode < 0)
		return;
	p[2] = 0x85; /* an answer, authoritative, RD */
	p[3] = (unsigned char)(0x80 | (reply ? reply->rcode : 0));
	memset(p + 6, 0, 6);
	if (p[12] >= 5 && memcmp(p + 13, "alias", 5) == 0 && type == DNS_A) {
		add_record(p, &len, 5, "\3one\4test", 10);
		p[len - 1] = 0;
		size_t target = len - 10;
		add_record(p, &len, DNS_A, "\x5d\xb8\xd8\x22", 4);
		p[len - 16] = (unsigned char)(0xc0 | target >> 8);
		p[len - 15] = (unsigned char)target;
	}
	for (size_t i = 0; reply && i < reply->answers; i++)
		add_record(p, &len, type, reply->rdata, reply->len);
	sendto(fd, p, len, 0, (struct sockaddr *)&from, from_len);
}

static void start_server(int family)
{
	struct conn_address a;
	socklen_t len = sizeof(a.addr);
	const char *text = family == AF_INET ? "127.0.0.1" : "::1";
	int size = 1 << 20;
	assert_int_equal(conn_address_parse(&a, text, 0), 0);
	server_fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server_fd < 0 || bind(server_fd, (struct sockaddr *)&a.addr, a.len) != 0)
		return;
	setsockopt(server_fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	assert_int_equal(getsockname(server_fd, (struct sockaddr *)&a.addr, &len), 0);
	a.len = len;
	snprintf(server_name, sizeof(server_name), "%s@%u", text, conn_address_port(&a));
	server_event =
	    event_new(loop_base(loop), server_fd, EV_READ | EV_PERSIST, on_question, NULL);
	event_add(server_event, NULL);
	server_questions = 0;
}

static int begin(void **state)
{
	(void)state;
	loop = loop_new();
	start_server(AF_INET);
	return server_event ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	if (server_event)
		event_free(server_event);
	server_event = NULL;
	close(server_fd);
	loop_free(loop);
	return 0;
}

static struct dns *make_dns(int64_t timeout, bool dnssec)
{
	char *servers[] = {server_name};
	struct conf_dns conf = {.servers = servers, .server_count = 1, .timeout = timeout,
	    .dnssec = dnssec, .trust_anchor_file = anchor_file};
	struct why why = {0};
	struct dns *dns = dns_new(loop, &conf, &why);
	if (!dns)
		fail_msg("no dns: %s", why.text);
	return dns;
}

/* The last answer, in a form that outlives it. */
static struct {
	size_t calls;
	size_t good;
	enum dns_status status;
	bool canonical_differs;
	uint32_t ttl;
	size_t count;
	struct dns_record record;
	char data[100];
	char text[300];
} got;

static void on_answer(const struct dns_answer *answer, void *arg)
{
	(void)arg;
	got.calls++;
	got.good += answer->status == DNS_OK;
	got.status = answer->status;
	got.canonical_differs = answer->canonical != NULL;
	got.ttl = answer->ttl;
	got.count = answer->count;
	snprintf(got.text, sizeof(got.text), "%s", answer->text ? answer->text : "");
	if (answer->count == 0)
		return;
	got.record = answer->records[0];
	if (got.record.len < sizeof(got.data) && got.record.data)
		memcpy(got.data, got.record.data, got.record.len);
}

static void run_until(size_t calls)
{
	while (got.calls < calls)
		if (!loop_turn(loop, true))
			fail_msg("the loop has nothing left to wait for");
}

static void ask(struct dns *dns, const char *name, enum dns_type type, enum dns_status expected)
{
	memset(&got, 0, sizeof(got));
	struct dns_query *q = dns_ask(dns, name, type, on_answer, NULL);
	assert_non_null(q);
	assert_int_equal(got.calls, 0);
	run_until(1);
	if (got.status != expected)
		fail_msg("%s: status %d (%s), expected %d", name, got.status, got.text, expected);
	assert_true((expected == DNS_OK) == (got.count > 0));
	assert_true((expected == DNS_OK) == (got.text[0] == '\0'));
}

static const char *address(void)
{
	static char text[CONN_ADDRESS_TEXT];
	return conn_address_text(&got.record.address, text);
}

static void test_records(void **state)
{
	(void)state;
	struct dns *dns = make_dns(10000, false);
	ask(dns, "one.test", DNS_A, DNS_OK);
	assert_string_equal(address(), "93.184.216.34");
	assert_int_equal(got.ttl, 60);
	assert_false(got.canonical_differs);
	ask(dns, "One.Test.", DNS_AAAA, DNS_OK);
	assert_string_equal(address(), "2606:2800::1");
	ask(dns, "two.test", DNS_MX, DNS_OK);
	assert_int_equal(got.record.preference, 10);
	assert_string_equal(got.record.name, "mail.org");
	ask(dns, "null.test", DNS_MX, DNS_OK);
	assert_string_equal(got.record.name, "");
	ask(dns, "text.test", DNS_TXT, DNS_OK);
	assert_int_equal(got.record.len, 5);
	assert_string_equal(got.data, "v=a;b");
	ask(dns, "tlsa._tcp.test", DNS_TLSA, DNS_OK);
	assert_int_equal(got.record.len, 7);
	assert_memory_equal(got.data, "\3\1\1abcd", 7);
	ask(dns, "1.0.0.10.in-addr.arpa", DNS_PTR, DNS_OK);
	assert_string_equal(got.record.name, "host.org");
	ask(dns, "alias.test", DNS_A, DNS_OK);
	assert_true(got.canonical_differs);
	assert_string_equal(address(), "93.184.216.34");
	dns_free(dns);
}

static void test_failures(void **state)
{
	(void)state;
	struct dns *dns = make_dns(10000, false);
	ask(dns, "empty.test", DNS_A, DNS_NO_DATA);
	assert_string_equal(got.text, "empty.test A: no such record");
	ask(dns, "one.test", DNS_TXT, DNS_NO_DATA);
	ask(dns, "gone.test", DNS_A, DNS_NO_NAME);
	assert_string_equal(got.text, "gone.test A: NXDOMAIN, no such name");
	ask(dns, "fail.test", DNS_A, DNS_TEMP);
	assert_string_equal(got.text, "fail.test A: SERVFAIL");
	ask(dns, "refuse.test", DNS_A, DNS_TEMP);
	ask(dns, "odd.test", DNS_MX, DNS_TEMP);
	assert_non_null(strstr(got.text, "odd.test MX: all records are malformed"));
	dns_free(dns);
}

static void test_bad_names(void **state)
{
	(void)state;
	static const char *const names[] = {"", ".", "..", "a..b", ".a", "a b", "a\nb", "a\\.b",
	    "a\"b", "\xe6\x97\xa5.jp",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.org"};
	struct dns *dns = make_dns(10000, false);
	char big[300];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ask(dns, names[i], DNS_A, DNS_BAD_NAME);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 50 == 49 ? '.' : 'a';
	big[254] = '\0';
	ask(dns, big, DNS_A, DNS_BAD_NAME);
	assert_int_equal(server_questions, 0);
	struct dns_query *q = dns_ask(dns, "..", DNS_A, on_answer, NULL);
	got.calls = 0;
	dns_cancel(q);
	dns_cancel(NULL);
	dns_ask(dns, "..", DNS_A, on_answer, NULL);
	dns_free(dns);
	for (int i = 0; i < 3; i++)
		loop_turn(loop, false);
	assert_int_equal(got.calls, 0);
}

static void test_silence(void **state)
{
	(void)state;
	struct dns *dns = make_dns(200, false);
	ask(dns, "silent.test", DNS_A, DNS_TEMP);
	assert_string_equal(got.text, "silent.test A: no answer in time");
	ask(dns, "one.test", DNS_A, DNS_OK); /* the library is still well */
	dns_free(dns);
}

/* A server that strips signatures must not make every name bogus. */
static void test_stripped(void **state)
{
	(void)state;
	struct dns *dns = make_dns(10000, true);
	assert_false(dns_is_validating(dns));
	ask(dns, "one.test", DNS_A, DNS_OK);
	assert_false(dns_is_validating(dns));
	ask(dns, "gone.test", DNS_A, DNS_NO_NAME);
	dns_free(dns);
	dns = make_dns(10000, true);
	dns_ask(dns, "one.test", DNS_A, on_answer, NULL);
	dns_free(dns); /* while it is tried out */
}

static size_t descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	size_t n = 0;
	assert_non_null(folder);
	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

static void on_patience(void *arg)
{
	(void)arg;
	fail_msg("a context is still there");
}

static void wait_for_descriptors(size_t count)
{
	struct timer patience;
	timer_init(&patience, loop, on_patience, NULL);
	timer_start(&patience, 20000);
	while (descriptors() != count)
		loop_turn(loop, true);
	timer_stop(&patience);
}

/* A context is a thread, descriptors and megabytes: what only tries out the servers
 * does not leave one, and the first question makes one without another trial. */
static void test_nobody_asks(void **state)
{
	(void)state;
	size_t before = descriptors();
	for (int dnssec = 0; dnssec < 2; dnssec++) {
		server_questions = 0;
		struct dns *dns = make_dns(10000, dnssec);
		wait_for_descriptors(before);
		assert_int_equal(server_questions > 0, dnssec);
		size_t tried = server_questions;
		ask(dns, "one.test", DNS_A, DNS_OK);
		assert_int_equal(server_questions, tried + 1);
		assert_true(descriptors() > before);
		ask(dns, "one.test", DNS_A, DNS_OK); /* the context has stayed, and knows it */
		assert_int_equal(server_questions, tried + 1);
		dns_free(dns);
		wait_for_descriptors(before);
	}
}

static void test_many(void **state)
{
	(void)state;
	struct dns *dns = make_dns(60000, false);
	memset(&got, 0, sizeof(got));
	for (int i = 0; i < 1500; i++) {
		char name[40];
		snprintf(name, sizeof(name), "one%d.test", i);
		dns_ask(dns, name, DNS_A, on_answer, NULL);
	}
	run_until(1500);
	assert_int_equal(got.good, 1500);
	assert_true(server_questions >= 1500);
	dns_free(dns);
}

static void ask_the_silent(struct dns *dns, int count)
{
	for (int i = 0; i < count; i++) {
		char name[40];
		snprintf(name, sizeof(name), "silent%d.test", i);
		dns_ask(dns, name, DNS_A, on_answer, NULL);
	}
}

/* Dead names, more than may be under way at a time: all end. */
static void test_many_silent(void **state)
{
	(void)state;
	struct dns *dns = make_dns(500, false);
	memset(&got, 0, sizeof(got));
	ask_the_silent(dns, 1400);
	run_until(1400);
	assert_int_equal(got.good, 0);
	dns_free(dns);
}

/* Hundreds of them leave room for one that works, and its socket. */
static void test_one_behind_many_silent(void **state)
{
	(void)state;
	struct dns *dns = make_dns(20000, false);
	memset(&got, 0, sizeof(got));
	ask_the_silent(dns, 900);
	dns_ask(dns, "one.test", DNS_A, on_answer, NULL);
	run_until(1);
	assert_int_equal(got.good, 1);
	dns_free(dns);
}

/* What waits for others has its own time still before it when its turn comes. */
static void test_waits_for_its_turn(void **state)
{
	(void)state;
	struct dns *dns = make_dns(1500, false);
	memset(&got, 0, sizeof(got));
	ask_the_silent(dns, 1010);
	run_until(1000);
	/* more than the first ones' time has passed, and there is no answer to the last */
	assert_int_equal(got.calls, 1000);
	run_until(1010);
	dns_free(dns);
}

static void test_cancel(void **state)
{
	(void)state;
	struct dns *dns = make_dns(10000, false);
	struct dns_query *queries[600];
	memset(&got, 0, sizeof(got));
	for (int i = 0; i < 600; i++)
		queries[i] = dns_ask(dns, i % 2 ? "one.test" : "silent.test", DNS_A, on_answer, NULL);
	for (int i = 0; i < 599; i++)
		dns_cancel(queries[i]);
	run_until(1); /* the last one comes through, and it alone */
	assert_int_equal(got.good, 1);
	ask(dns, "one.test", DNS_AAAA, DNS_OK);
	dns_free(dns);
	dns_free(NULL);
}

static struct dns *inner;

static void on_free(const struct dns_answer *answer, void *arg)
{
	on_answer(answer, arg);
	dns_ask(inner, "two.test", DNS_MX, on_answer, NULL);
	dns_free(inner);
}

static void test_free_inside(void **state)
{
	(void)state;
	inner = make_dns(10000, false);
	memset(&got, 0, sizeof(got));
	dns_ask(inner, "silent.test", DNS_A, on_answer, NULL);
	dns_ask(inner, "one.test", DNS_A, on_free, NULL);
	run_until(1);
	for (int i = 0; i < 3; i++)
		loop_turn(loop, false);
	assert_int_equal(got.calls, 1);
}

static void test_ipv6_server(void **state)
{
	(void)state;
	event_free(server_event);
	server_event = NULL;
	close(server_fd);
	start_server(AF_INET6);
	if (!server_event)
		skip(); /* no IPv6 on this machine */
	struct dns *dns = make_dns(10000, false);
	ask(dns, "one.test", DNS_A, DNS_OK);
	assert_true(server_questions > 0);
	dns_free(dns);
}

static void test_bad_server(void **state)
{
	(void)state;
	char *servers[] = {(char *)"not an address"};
	struct conf_dns conf = {.servers = servers, .server_count = 1, .timeout = 1000};
	struct why why = {0};
	assert_null(dns_new(loop, &conf, &why));
	assert_non_null(strstr(why.text, "dns.servers: \"not an address\" can not be used"));
	conf.dnssec = true;
	assert_null(dns_new(loop, &conf, &why));
}

/* The root's, so that our server is one that strips signatures. */
static int write_anchor(void **state)
{
	static const char anchor[] = ". IN DS 20326 8 2 "
	    "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n";
	(void)state;
	int fd = mkstemp(anchor_file);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, anchor, sizeof(anchor) - 1);
	return close(fd) == 0 && n == sizeof(anchor) - 1 ? 0 : -1;
}

static int remove_anchor(void **state)
{
	(void)state;
	return unlink(anchor_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_records, begin, end),
	    cmocka_unit_test_setup_teardown(test_failures, begin, end),
	    cmocka_unit_test_setup_teardown(test_bad_names, begin, end),
	    cmocka_unit_test_setup_teardown(test_silence, begin, end),
	    cmocka_unit_test_setup_teardown(test_stripped, begin, end),
	    cmocka_unit_test_setup_teardown(test_nobody_asks, begin, end),
	    cmocka_unit_test_setup_teardown(test_many, begin, end),
	    cmocka_unit_test_setup_teardown(test_many_silent, begin, end),
	    cmocka_unit_test_setup_teardown(test_one_behind_many_silent, begin, end),
	    cmocka_unit_test_setup_teardown(test_waits_for_its_turn, begin, end),
	    cmocka_unit_test_setup_teardown(test_cancel, begin, end),
	    cmocka_unit_test_setup_teardown(test_free_inside, begin, end),
	    cmocka_unit_test_setup_teardown(test_ipv6_server, begin, end),
	    cmocka_unit_test_setup_teardown(test_bad_server, begin, end),
	};
	return cmocka_run_group_tests(tests, write_anchor, remove_anchor);
}
