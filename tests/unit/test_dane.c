/* SPDX-License-Identifier: MIT
 * TLSA records as they are read, and which names are asked in which order, over a
 * DNS that is a table in this file.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "smtp/dane.h"

static const unsigned char good[35] = {3, 1, 1, 9};

static void test_records(void **state)
{
	(void)state;
	static const struct {
		unsigned char head[3];
		size_t len;
		bool usable;
	} rows[] = {
	    {{3, 1, 1}, 35, true}, {{3, 0, 1}, 35, true}, {{2, 0, 1}, 35, true},
	    {{2, 1, 2}, 67, true}, {{3, 1, 1}, 34, false}, {{3, 1, 1}, 36, false},
	    {{3, 1, 2}, 35, false}, {{0, 1, 1}, 35, false}, {{1, 1, 1}, 35, false},
	    {{4, 1, 1}, 35, false}, {{255, 1, 1}, 35, false}, {{3, 2, 1}, 35, false},
	    {{3, 1, 3}, 35, false}, {{3, 1, 0}, 35, false}, {{3, 0, 0}, 35, false},
	    {{3, 1, 1}, 3, false}, {{3, 1, 1}, 0, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char data[80] = {0};
		struct dane_record r;
		memcpy(data, rows[i].head, 3);
		assert_int_equal(dane_record_read(&r, data, rows[i].len), rows[i].usable);
	}
}

/* The digest is that of the usable ones, and of all their bytes, in whatever order they
 * come: a resolver changes it with each answer. */
static void test_sets(void **state)
{
	(void)state;
	unsigned char other[35] = {3, 1, 1, 10};
	const struct dns_record records[] = {
	    {.data = good, .len = 35}, {.data = good, .len = 20}, {.data = other, .len = 35}};
	const struct dns_record turned[] = {records[2], records[0]};
	struct dns_answer answer = {.records = records, .count = 2};
	struct dane_set one;
	struct dane_set two;
	dane_set_read(&one, "mx.test", &answer);
	assert_int_equal(one.count, 1);
	assert_string_equal(one.base, "mx.test");
	assert_int_equal(one.records[0].len, 32);
	answer.count = 3;
	dane_set_read(&two, "mx.test", &answer);
	assert_int_equal(two.count, 2);
	assert_string_not_equal(one.digest, two.digest);
	dane_set_free(&one);
	dane_set_read(&one, "mx.test", &(struct dns_answer){.records = turned, .count = 2});
	assert_string_equal(one.digest, two.digest);
	assert_int_equal(one.records[0].data[0], 9);
	dane_set_free(&one);
	answer.count = 1;
	dane_set_read(&one, "mx.test", &answer);
	dane_set_free(&two);
	dane_set_read(&two, "mx.test", &answer);
	assert_string_equal(one.digest, two.digest);
	dane_set_free(&one);
	dane_set_free(&two);
}

/* What the DNS of a row says: [n]one, [s]ecure, [i]nsecure, [u]nusable, [t]emporary
 * failure, [b]ogus; "" : must not be asked. */
struct row {
	bool secure;
	const char *canonical;
	const char *alias;     /* CNAME of the name */
	const char *canonical_tlsa;
	const char *own_tlsa;
	enum dane_status status;
	const char *base;
};

static const struct row *row;
static struct loop *loop;
static size_t open_questions;

struct dns_query {
	char name[300];
	dns_done *done;
	void *arg;
	struct timer timer;
};

static const char *word_for(const char *name)
{
	if (strcmp(name, "mx.test") == 0)
		return row->alias;
	if (strcmp(name, "_25._tcp.mx.test") == 0)
		return row->own_tlsa;
	assert_string_equal(name, "_25._tcp.real.test");
	return row->canonical_tlsa;
}

static void on_time(void *arg)
{
	struct dns_query *q = arg;
	static const unsigned char odd[5] = {3, 1, 77, 0, 0};
	struct dns_record record = {.data = good, .len = sizeof(good)};
	struct dns_answer a = {.status = DNS_OK, .records = &record, .count = 1, .text = "said so"};
	const char *word = word_for(q->name);
	assert_true(word && *word);
	a.secure = *word == 's' || *word == 'u';
	if (*word == 'n')
		a.status = DNS_NO_NAME;
	if (*word == 't')
		a.status = DNS_TEMP;
	if (*word == 'b')
		a.status = DNS_BOGUS;
	if (*word == 'u')
		record = (struct dns_record){.data = odd, .len = sizeof(odd)};
	open_questions--;
	q->done(&a, q->arg);
	mem_free(q);
}

struct dns_query *dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done *done,
    void *arg)
{
	struct dns_query *q = mem_zero(sizeof(*q));
	assert_null(dns);
	assert_true(type == (name[0] == '_' ? DNS_TLSA : DNS_CNAME));
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->done = done;
	q->arg = arg;
	timer_init(&q->timer, loop, on_time, q);
	timer_start(&q->timer, 10);
	open_questions++;
	return q;
}

void dns_cancel(struct dns_query *q)
{
	timer_stop(&q->timer);
	open_questions--;
	mem_free(q);
}

static struct {
	size_t calls;
	enum dane_status status;
	char base[256];
} got;

static void on_done(const struct dane_answer *answer, void *arg)
{
	(void)arg;
	got.calls++;
	got.status = answer->status;
	snprintf(got.base, sizeof(got.base), "%s", answer->set ? answer->set->base : "");
	assert_true((answer->status == DANE_TEMP) == (answer->text != NULL));
}

static void test_finding(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {true, "", "", "", "s", DANE_USABLE, "mx.test"},
	    {true, "", "", "", "n", DANE_NONE, ""},
	    {true, "", "", "", "i", DANE_NONE, ""},
	    {true, "", "", "", "t", DANE_TEMP, ""},
	    {true, "", "", "", "b", DANE_TEMP, ""},
	    {true, "", "", "", "u", DANE_UNUSABLE, "mx.test"},
	    {true, "mx.test", "", "", "s", DANE_USABLE, "mx.test"},
	    {true, "real.test", "", "s", "", DANE_USABLE, "real.test"},
	    {true, "real.test", "", "u", "", DANE_UNUSABLE, "real.test"},
	    {true, "real.test", "", "t", "", DANE_TEMP, ""},
	    {true, "real.test", "", "n", "s", DANE_USABLE, "mx.test"},
	    {true, "real.test", "", "i", "n", DANE_NONE, ""},
	    {true, "real.test", "", "n", "b", DANE_TEMP, ""},
	    {false, "real.test", "s", "", "s", DANE_USABLE, "mx.test"},
	    {false, "real.test", "i", "", "", DANE_NONE, ""},
	    {false, "real.test", "n", "", "", DANE_NONE, ""},
	    {false, "real.test", "t", "", "", DANE_TEMP, ""},
	    {false, "real.test", "s", "", "t", DANE_TEMP, ""},
	};
	clock_fake(1790000000000);
	loop = loop_new();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mx_host host = {.name = "mx.test", .mx_secure = true};
		row = &rows[i];
		host.secure = row->secure;
		snprintf(host.canonical, sizeof(host.canonical), "%s", row->canonical);
		assert_true(dane_may_apply(&host));
		got.calls = 0;
		dane_cancel(dane_find(NULL, &host, 25, on_done, NULL));
		dane_find(NULL, &host, 25, on_done, NULL);
		assert_int_equal(got.calls, 0);
		while (loop_turn(loop, true))
			;
		assert_int_equal(got.calls, 1);
		assert_int_equal(got.status, row->status);
		assert_string_equal(got.base, row->base);
		assert_int_equal(open_questions, 0);
	}
	loop_free(loop);
}

static void test_where_it_applies(void **state)
{
	(void)state;
	struct mx_host host = {.name = "mx.test"};
	assert_false(dane_may_apply(&host));
	host.mx_secure = true;
	assert_false(dane_may_apply(&host));
	snprintf(host.canonical, sizeof(host.canonical), "real.test");
	assert_true(dane_may_apply(&host));
	host.mx_secure = false;
	assert_false(dane_may_apply(&host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_sets),
	    cmocka_unit_test(test_finding),
	    cmocka_unit_test(test_where_it_applies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
