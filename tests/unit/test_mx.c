/* SPDX-License-Identifier: MIT
 * Where mail goes, over a DNS that is a table in this file: it has its own
 * dns_ask and dns_cancel, so smtp/dns.c stays in its archive, and so does
 * smtp/mx_local.c: what this host's addresses are is said here. Order, limits,
 * loops, private addresses, literals, failures, and cancelling at each step.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "smtp/mx.h"

/* A record, or a failure of that question. Rows of one question are one answer. */
struct zone_row {
	const char *name;
	enum dns_type type;
	const char *value; /* "10 host", an address */
	enum dns_status failure;
	bool insecure;
};

static const struct zone_row *zone;
static size_t zone_size;
static size_t questions;
static size_t open_questions;
static struct loop *loop;

struct dns_query {
	char name[300];
	enum dns_type type;
	dns_done *done;
	void *arg;
	struct timer timer;
};

static void fill(struct dns_record *r, const struct zone_row *row)
{
	memset(r, 0, sizeof(*r));
	if (row->type != DNS_MX) {
		assert_int_equal(conn_address_parse(&r->address, row->value, 0), 0);
		return;
	}
	char *end;
	r->preference = (uint16_t)strtoul(row->value, &end, 10);
	snprintf(r->name, sizeof(r->name), "%s", end + 1);
}

static void on_time(void *arg)
{
	struct dns_query *q = arg;
	static struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer a = {
	    .status = DNS_NO_NAME, .records = records, .text = "as the table says", .secure = true};
	for (size_t i = 0; i < zone_size; i++) {
		if (strcmp(zone[i].name, q->name) != 0)
			continue;
		if (a.status == DNS_NO_NAME)
			a.status = DNS_NO_DATA;
		if (zone[i].type != q->type)
			continue;
		a.status = zone[i].failure;
		a.secure &= !zone[i].insecure;
		if (a.status == DNS_OK && a.count < DNS_RECORDS_MAX)
			fill(&records[a.count++], &zone[i]);
	}
	open_questions--;
	q->done(&a, q->arg);
	free(q);
}

/* Ten seconds long, as smtp/dns.c waits. */
static bool is_silent(const char *name, enum dns_type type)
{
	for (size_t i = 0; i < zone_size; i++)
		if (zone[i].type == type && strcmp(zone[i].name, name) == 0 &&
		    strcmp(zone[i].value, "silent") == 0)
			return true;
	return false;
}

struct dns_query *dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done *done,
    void *arg)
{
	struct dns_query *q = calloc(1, sizeof(*q));
	assert_non_null(q);
	assert_null(dns);
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->type = type;
	q->done = done;
	q->arg = arg;
	timer_init(&q->timer, loop, on_time, q);
	timer_start(&q->timer, is_silent(name, type) ? 10000 : (int64_t)random_below(50));
	questions++;
	open_questions++;
	return q;
}

void dns_cancel(struct dns_query *q)
{
	if (!q)
		return;
	timer_stop(&q->timer);
	open_questions--;
	free(q);
}

/* Those that this host has. */
static const char *const *locals;
static size_t asked_local;

bool mx_address_is_local(const struct conn_address *a)
{
	char text[CONN_ADDRESS_TEXT];
	asked_local++;
	for (size_t i = 0; locals && locals[i]; i++)
		if (strcmp(locals[i], conn_address_text(a, text)) == 0)
			return true;
	return false;
}

/* What came out, hosts as "name preference address:port, ..." */
static struct {
	size_t calls;
	enum mx_status status;
	bool secure;
	char text[600];
	char hosts[8000];
	size_t count;
} got;

static struct mx_options options;

static void on_done(const struct mx_answer *answer, void *arg)
{
	(void)arg;
	got.calls++;
	got.status = answer->status;
	got.secure = answer->secure;
	got.count = answer->count;
	got.hosts[0] = '\0';
	snprintf(got.text, sizeof(got.text), "%s", answer->text ? answer->text : "");
	for (size_t i = 0; i < answer->count; i++) {
		char address[CONN_ADDRESS_TEXT];
		size_t used = strlen(got.hosts);
		snprintf(got.hosts + used, sizeof(got.hosts) - used, "%s%s %u %s", i ? ", " : "",
		    answer->hosts[i].name, answer->hosts[i].preference,
		    conn_address_text(&answer->hosts[i].address, address));
		assert_int_equal(conn_address_port(&answer->hosts[i].address), options.port);
	}
}

static int begin(void **state)
{
	(void)state;
	clock_fake(1790000000000);
	random_fix(7);
	loop = loop_new();
	zone_size = 0;
	locals = NULL;
	options = (struct mx_options){
	    .port = 25, .ipv4 = true, .ipv6 = true, .hostname = "relay.example.jp"};
	return 0;
}

static int end(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void find(const char *domain, bool host)
{
	memset(&got, 0, sizeof(got));
	questions = 0;
	struct mx_query *q = mx_find(NULL, loop, domain, host, &options, on_done, NULL);
	assert_non_null(q);
	assert_int_equal(got.calls, 0); /* never inside */
	while (loop_turn(loop, true))
		;
	assert_int_equal(got.calls, 1);
	assert_int_equal(open_questions, 0);
	assert_true((got.status == MX_OK) == (got.count > 0));
	assert_true((got.status == MX_OK) == (got.text[0] == '\0'));
}

static void expect_hosts(const char *domain, const char *hosts)
{
	find(domain, false);
	if (got.status != MX_OK || strcmp(got.hosts, hosts) != 0)
		fail_msg("%s: status %d, '%s' '%s', expected '%s'", domain, got.status, got.hosts,
		    got.text, hosts);
}

static void expect(const char *domain, enum mx_status status, const char *words)
{
	find(domain, false);
	if (got.status != status || !strstr(got.text, words))
		fail_msg("%s: status %d, '%s' '%s', expected %d '%s'", domain, got.status,
		    got.hosts, got.text, status, words);
}

#define ZONE(...) \
	static const struct zone_row rows_[] = {__VA_ARGS__}; \
	zone = rows_; \
	zone_size = sizeof(rows_) / sizeof(rows_[0])

static void test_order(void **state)
{
	(void)state;
	ZONE({"a.org", DNS_MX, "20 back.a.org", DNS_OK, false},
	    {"a.org", DNS_MX, "10 mail.a.org", DNS_OK, false},
	    {"mail.a.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"mail.a.org", DNS_A, "93.184.216.2", DNS_OK, false},
	    {"mail.a.org", DNS_AAAA, "2606:2800::1", DNS_OK, false},
	    {"back.a.org", DNS_A, "93.184.216.9", DNS_OK, false});
	expect_hosts("a.org", "mail.a.org 10 2606:2800::1, mail.a.org 10 93.184.216.1,"
			      " mail.a.org 10 93.184.216.2, back.a.org 20 93.184.216.9");
	assert_true(got.secure);
	options.ipv6 = false;
	expect_hosts("a.org", "mail.a.org 10 93.184.216.1, mail.a.org 10 93.184.216.2,"
			      " back.a.org 20 93.184.216.9");
	options.ipv6 = true;
	options.ipv4 = false;
	expect_hosts("a.org", "mail.a.org 10 2606:2800::1");
	options.ipv6 = false;
	expect("a.org", MX_NONE, "no mail server with an address");
}

static void test_shuffle(void **state)
{
	(void)state;
	ZONE({"a.org", DNS_MX, "10 x.a.org", DNS_OK, false},
	    {"a.org", DNS_MX, "10 y.a.org", DNS_OK, false},
	    {"a.org", DNS_MX, "5 z.a.org", DNS_OK, false},
	    {"x.a.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"y.a.org", DNS_A, "93.184.216.2", DNS_OK, false},
	    {"z.a.org", DNS_A, "93.184.216.3", DNS_OK, false});
	int x_first = 0;
	for (int i = 0; i < 200; i++) {
		find("a.org", false);
		assert_ptr_equal(strstr(got.hosts, "z.a.org 5"), got.hosts);
		x_first += strstr(got.hosts, "x.a.org") < strstr(got.hosts, "y.a.org");
	}
	assert_in_range(x_first, 60, 140); /* the sequence is fixed: no chance here */
}

static void test_implicit(void **state)
{
	(void)state;
	ZONE({"a.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"xn--wgv71a119e.jp", DNS_AAAA, "2606:2800::1", DNS_OK, true},
	    {"txt.org", DNS_TXT, "", DNS_OK, false},
	    {"null.org", DNS_MX, "0 ", DNS_OK, false},
	    {"null.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"mixed.org", DNS_MX, "0 ", DNS_OK, false},
	    {"mixed.org", DNS_MX, "10 a.org", DNS_OK, false},
	    {"dead.org", DNS_MX, "10 gone.dead.org", DNS_OK, false},
	    {"dead.org", DNS_A, "93.184.216.1", DNS_OK, false});
	expect_hosts("a.org", "a.org 0 93.184.216.1");
	expect_hosts("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.jp",
	    "xn--wgv71a119e.jp 0 2606:2800::1");
	assert_false(got.secure);
	expect("null.org", MX_NULL, "null.org takes no mail");
	expect_hosts("mixed.org", "a.org 10 93.184.216.1");
	expect("no.org", MX_NONE, "no such domain");
	expect("txt.org", MX_NONE, "has no mail server with an address");
	expect("dead.org", MX_NONE, "has no mail server"); /* no way around the MX */
}

static void test_temporary(void **state)
{
	(void)state;
	ZONE({"servfail.org", DNS_MX, "", DNS_TEMP, false},
	    {"bogus.org", DNS_MX, "", DNS_BOGUS, false},
	    {"bad.org", DNS_MX, "", DNS_BAD_NAME, false},
	    {"half.org", DNS_MX, "10 one.org", DNS_OK, false},
	    {"half.org", DNS_MX, "20 two.org", DNS_OK, true},
	    {"one.org", DNS_A, "", DNS_TEMP, false},
	    {"two.org", DNS_A, "93.184.216.2", DNS_OK, false},
	    {"all.org", DNS_MX, "10 one.org", DNS_OK, false},
	    {"all.org", DNS_MX, "20 gone.org", DNS_OK, false},
	    {"forged.org", DNS_MX, "20 forged6.org", DNS_OK, false},
	    {"forged6.org", DNS_AAAA, "2606:2800::1", DNS_BOGUS, false},
	    {"six.org", DNS_AAAA, "", DNS_TEMP, false}, {"six.org", DNS_MX, "1 six.org", DNS_OK, 0},
	    {"six.org", DNS_A, "10.0.0.1", DNS_OK, false});
	expect("servfail.org", MX_TEMP, "could not be looked up (as the table says)");
	expect("bogus.org", MX_TEMP, "could not be looked up");
	expect("bad.org", MX_NONE, "not a domain name");
	expect_hosts("half.org", "two.org 20 93.184.216.2");
	assert_false(got.secure);
	expect("all.org", MX_TEMP, "addresses of its mail servers could not be looked up");
	expect("forged.org", MX_TEMP, "could not be looked up");
	expect("six.org", MX_TEMP, "could not be looked up"); /* rather than refused */
}

static void test_loop(void **state)
{
	(void)state;
	ZONE({"best.org", DNS_MX, "10 Relay.Example.JP", DNS_OK, false},
	    {"best.org", DNS_MX, "20 other.org", DNS_OK, false},
	    {"other.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"second.org", DNS_MX, "10 other.org", DNS_OK, false},
	    {"second.org", DNS_MX, "20 us.org", DNS_OK, false},
	    {"second.org", DNS_MX, "20 equal.org", DNS_OK, false},
	    {"second.org", DNS_MX, "30 worse.org", DNS_OK, false},
	    {"us.org", DNS_A, "93.184.216.5", DNS_OK, false},
	    {"us.org", DNS_A, "93.184.216.6", DNS_OK, false},
	    {"equal.org", DNS_A, "93.184.216.7", DNS_OK, false},
	    {"worse.org", DNS_A, "93.184.216.8", DNS_OK, false},
	    {"six.org", DNS_AAAA, "2606:2800:0::5", DNS_OK, false},
	    {"tempfirst.org", DNS_MX, "10 temp.org", DNS_OK, false},
	    {"tempfirst.org", DNS_MX, "20 us.org", DNS_OK, false},
	    {"temp.org", DNS_A, "", DNS_TEMP, false});
	struct conn_address own[2];
	assert_int_equal(conn_address_parse(&own[0], "93.184.216.5", 0), 0);
	assert_int_equal(conn_address_parse(&own[1], "2606:2800::5", 25), 0);
	options.own = own;
	options.own_count = 2;
	expect("best.org", MX_LOOP, "is this relay itself");
	assert_int_equal(questions, 1); /* the name alone tells */
	expect_hosts("second.org", "other.org 10 93.184.216.1");
	expect("us.org", MX_LOOP, "is this relay itself");
	expect("six.org", MX_LOOP, "is this relay itself");
	expect("tempfirst.org", MX_TEMP, "could not be looked up");
	options.port = 2525;
	expect_hosts("six.org", "six.org 0 2606:2800::5"); /* not the port we listen on */
	expect("us.org", MX_LOOP, "is this relay itself");
}

/* Answers that do not come hold up nothing that can be done without them. */
static void test_silence(void **state)
{
	(void)state;
	ZONE({"half.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"half.org", DNS_AAAA, "silent", DNS_TEMP, false},
	    {"backup.org", DNS_MX, "10 good.org", DNS_OK, false},
	    {"backup.org", DNS_MX, "20 dead.org", DNS_OK, false},
	    {"best.org", DNS_MX, "10 dead.org", DNS_OK, false},
	    {"best.org", DNS_MX, "20 good.org", DNS_OK, false},
	    {"equal.org", DNS_MX, "10 dead.org", DNS_OK, false},
	    {"equal.org", DNS_MX, "10 good.org", DNS_OK, false},
	    {"four.org", DNS_MX, "10 silentfour.org", DNS_OK, false},
	    {"four.org", DNS_MX, "20 good.org", DNS_OK, false},
	    {"silentfour.org", DNS_A, "silent", DNS_TEMP, false},
	    {"good.org", DNS_A, "93.184.216.2", DNS_OK, false},
	    {"dead.org", DNS_A, "silent", DNS_TEMP, false},
	    {"dead.org", DNS_AAAA, "silent", DNS_TEMP, false});
	int64_t begun = clock_steady_ms();
	expect_hosts("half.org", "half.org 0 93.184.216.1");
	expect_hosts("backup.org", "good.org 10 93.184.216.2");
	assert_true(clock_steady_ms() - begun < 3000);
	/* it may be the better one, or ourselves: then what is behind it is of no use */
	begun = clock_steady_ms();
	expect_hosts("best.org", "good.org 20 93.184.216.2");
	assert_true(clock_steady_ms() - begun >= 10000);
	begun = clock_steady_ms();
	expect_hosts("equal.org", "good.org 10 93.184.216.2");
	assert_true(clock_steady_ms() - begun >= 10000);
	/* that it has no IPv6 says nothing of its IPv4 */
	begun = clock_steady_ms();
	expect_hosts("four.org", "good.org 20 93.184.216.2");
	assert_true(clock_steady_ms() - begun >= 10000);
}

/* A listener for all addresses of a family: whatever this host has of it is ours. */
static void test_loop_to_any_address(void **state)
{
	static const char *const here[] = {"93.184.216.5", "2606:2800::5", "10.1.2.3",
	    "127.0.0.1", NULL};
	struct conn_address own[2];
	(void)state;
	ZONE({"second.org", DNS_MX, "10 other.org", DNS_OK, false},
	    {"second.org", DNS_MX, "20 us.org", DNS_OK, false},
	    {"second.org", DNS_MX, "20 equal.org", DNS_OK, false},
	    {"other.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"us.org", DNS_A, "93.184.216.5", DNS_OK, false},
	    {"equal.org", DNS_A, "93.184.216.7", DNS_OK, false},
	    {"six.org", DNS_AAAA, "2606:2800::5", DNS_OK, false},
	    {"trap.org", DNS_MX, "10 lo.org", DNS_OK, false},
	    {"trap.org", DNS_MX, "20 other.org", DNS_OK, false},
	    {"lo.org", DNS_A, "127.0.0.1", DNS_OK, false},
	    {"rack.org", DNS_A, "10.1.2.3", DNS_OK, false});
	locals = here;
	options.own = own;
	options.own_count = 1;
	assert_int_equal(conn_address_parse(&own[0], "0.0.0.0", 25), 0);
	expect("us.org", MX_LOOP, "is this relay itself");
	expect("[93.184.216.5]", MX_LOOP, "is this relay itself");
	expect_hosts("second.org", "other.org 10 93.184.216.1");
	expect_hosts("six.org", "six.org 0 2606:2800::5"); /* we do not listen there */
	/* published by anybody: no word about us */
	expect_hosts("trap.org", "other.org 20 93.184.216.1");
	expect("rack.org", MX_REFUSED, "private or loopback");
	options.allow_private = true;
	expect("rack.org", MX_LOOP, "is this relay itself");
	assert_int_equal(conn_address_parse(&own[1], "::", 25), 0);
	options.own_count = 2;
	expect("six.org", MX_LOOP, "is this relay itself");
	/* another server of this host, at a port that is not ours */
	asked_local = 0;
	options.port = 2525;
	expect_hosts("us.org", "us.org 0 93.184.216.5");
	expect_hosts("six.org", "six.org 0 2606:2800::5");
	assert_int_equal(asked_local, 0);
}

static void test_private(void **state)
{
	(void)state;
	ZONE({"in.org", DNS_MX, "10 lo.org", DNS_OK, false},
	    {"lo.org", DNS_A, "127.0.0.1", DNS_OK, false},
	    {"lo.org", DNS_AAAA, "::1", DNS_OK, false},
	    {"mix.org", DNS_A, "10.1.2.3", DNS_OK, false},
	    {"mix.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"zero.org", DNS_A, "0.0.0.0", DNS_OK, false},
	    {"zero.org", DNS_AAAA, "::", DNS_OK, false},
	    {"mapped.org", DNS_AAAA, "::ffff:127.0.0.1", DNS_OK, false});
	expect("in.org", MX_REFUSED, "private or loopback addresses only");
	expect("zero.org", MX_REFUSED, "private");
	expect("mapped.org", MX_REFUSED, "private");
	expect_hosts("mix.org", "mix.org 0 93.184.216.1");
	options.allow_private = true;
	expect_hosts("in.org", "lo.org 10 ::1, lo.org 10 127.0.0.1");
	expect("zero.org", MX_REFUSED, "private");
	expect("mapped.org", MX_REFUSED, "private");
}

static void test_literals(void **state)
{
	(void)state;
	static const char *const bad[] = {"[", "[]", "[1.2.3]", "[::1]", "[IPv6:1.2.3.4]", "",
	    "[IPv6:]", "[93.184.216.1", "[a.org]", "[93.184.216.1]x"};
	expect_hosts("[93.184.216.1]", "[93.184.216.1] 0 93.184.216.1");
	assert_int_equal(questions, 0);
	expect_hosts("[ipv6:2606:2800::1]", "[IPv6:2606:2800::1] 0 2606:2800::1");
	expect("[127.0.0.1]", MX_REFUSED, "private");
	expect("[IPv6:::ffff:10.0.0.1]", MX_REFUSED, "private");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(bad[i], MX_NONE, "neither a domain name nor an address");
	options.ipv6 = false;
	expect("[IPv6:2606:2800::1]", MX_NONE, "IPv6 is off here");
}

static void test_host(void **state)
{
	(void)state;
	ZONE({"smart.org", DNS_MX, "10 mail.smart.org", DNS_OK, false},
	    {"smart.org", DNS_A, "93.184.216.1", DNS_OK, false});
	find("smart.org", true);
	assert_string_equal(got.hosts, "smart.org 0 93.184.216.1");
	find("93.184.216.4", true);
	assert_string_equal(got.hosts, "[93.184.216.4] 0 93.184.216.4");
	find("2606:2800::1", true);
	assert_string_equal(got.hosts, "[IPv6:2606:2800::1] 0 2606:2800::1");
	find("relay.example.jp", true); /* our own name: reported, but not inside */
	assert_int_equal(got.status, MX_LOOP);
	find("gone.org", true);
	assert_int_equal(got.status, MX_NONE);
}

static char names[100][32];

/* A domain with a hundred MX of a hundred addresses must stay bounded. */
static void test_many(void **state)
{
	(void)state;
	struct zone_row *rows = calloc(4200, sizeof(*rows));
	assert_non_null(rows);
	zone = rows;
	zone_size = 0;
	for (size_t i = 0; i < 100; i++) {
		snprintf(names[i], sizeof(names[i]), "%zu m%zu.org", 100 - i, i);
		rows[zone_size++] = (struct zone_row){"many.org", DNS_MX, names[i], DNS_OK, false};
		for (size_t k = 0; k < 41; k++)
			rows[zone_size++] = (struct zone_row){strchr(names[i], ' ') + 1,
			    k % 2 ? DNS_A : DNS_AAAA, k % 2 ? "93.184.216.1" : "2606:2800::1", DNS_OK,
			    false};
	}
	find("many.org", false);
	assert_int_equal(got.count, MX_ADDRESSES_MAX);
	assert_int_equal(questions, 1 + 2 * MX_HOSTS_MAX);
	assert_non_null(strstr(got.hosts, "m99.org 1 "));
	assert_non_null(strstr(got.hosts, "m92.org 8 "));
	find("m5.org", false);
	assert_int_equal(got.count, MX_ADDRESSES_MAX);
	free(rows);
}

static void test_repeated(void **state)
{
	(void)state;
	ZONE({"a.org", DNS_MX, "20 x.org", DNS_OK, false},
	    {"a.org", DNS_MX, "10 x.org", DNS_OK, false},
	    {"a.org", DNS_MX, "10 x.org", DNS_OK, false},
	    {"x.org", DNS_A, "93.184.216.1", DNS_OK, false});
	for (int i = 0; i < 20; i++)
		expect_hosts("a.org", "x.org 10 93.184.216.1");
}

/* Cancel after each possible number of turns: no call, nothing left behind. */
static void test_cancel(void **state)
{
	(void)state;
	ZONE({"a.org", DNS_MX, "10 x.org", DNS_OK, false},
	    {"a.org", DNS_MX, "20 y.org", DNS_OK, false},
	    {"x.org", DNS_A, "93.184.216.1", DNS_OK, false},
	    {"y.org", DNS_A, "93.184.216.2", DNS_OK, false});
	static const char *const domains[] = {"a.org", "[93.184.216.1]", "["};
	for (size_t d = 0; d < 3; d++) {
		size_t cancelled = 0;
		for (int turns = 0; turns < 20; turns++) {
			memset(&got, 0, sizeof(got));
			struct mx_query *q =
			    mx_find(NULL, loop, domains[d], false, &options, on_done, NULL);
			for (int i = 0; i < turns && got.calls == 0; i++)
				loop_turn(loop, true);
			if (got.calls > 0)
				break;
			mx_cancel(q);
			cancelled++;
			while (loop_turn(loop, true))
				;
			assert_int_equal(got.calls, 0);
			assert_int_equal(open_questions, 0);
		}
		assert_true(cancelled > 0 && cancelled < 20);
	}
}

static void test_addresses(void **state)
{
	(void)state;
	static const char *const hidden[] = {"0.0.0.0", "0.1.2.3", "10.255.0.1", "100.64.0.1",
	    "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
	    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
	    "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "240.0.0.1",
	    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
	    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1",
	    "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "3fff:0fff::1", "fc00::1",
	    "fd12::1", "fe80::1", "fec0::1", "ff02::1", "4000::1"};
	static const char *const shown[] = {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255",
	    "100.128.0.0", "126.0.0.1", "128.0.0.1", "169.253.0.1", "172.15.255.255", "172.32.0.0",
	    "192.0.1.1", "192.167.0.1", "198.17.0.1", "198.20.0.0", "223.255.255.255",
	    "2606:2800::1", "2001:200::1", "2001:4860::1", "2a00::1", "3ffe::1", "3fff:1000::1",
	    "64:ff9b::101:101", "2002:101:101::1"};
	struct conn_address a = {0};
	assert_true(mx_address_is_private(&a));
	assert_true(mx_address_is_unusable(&a));
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		assert_int_equal(conn_address_parse(&a, hidden[i], 25), 0);
		if (!mx_address_is_private(&a))
			fail_msg("%s counts as public", hidden[i]);
	}
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		assert_int_equal(conn_address_parse(&a, shown[i], 25), 0);
		if (mx_address_is_private(&a) || mx_address_is_unusable(&a))
			fail_msg("%s counts as private", shown[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_order, begin, end),
	    cmocka_unit_test_setup_teardown(test_shuffle, begin, end),
	    cmocka_unit_test_setup_teardown(test_implicit, begin, end),
	    cmocka_unit_test_setup_teardown(test_temporary, begin, end),
	    cmocka_unit_test_setup_teardown(test_loop, begin, end),
	    cmocka_unit_test_setup_teardown(test_silence, begin, end),
	    cmocka_unit_test_setup_teardown(test_loop_to_any_address, begin, end),
	    cmocka_unit_test_setup_teardown(test_private, begin, end),
	    cmocka_unit_test_setup_teardown(test_literals, begin, end),
	    cmocka_unit_test_setup_teardown(test_host, begin, end),
	    cmocka_unit_test_setup_teardown(test_many, begin, end),
	    cmocka_unit_test_setup_teardown(test_repeated, begin, end),
	    cmocka_unit_test_setup_teardown(test_cancel, begin, end),
	    cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
