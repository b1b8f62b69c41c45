/* SPDX-License-Identifier: MIT
 * Who asks for TLS reports, and what is counted for them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/tls_counts.h"
#include "smtp/tlsrpt.h"

/* Places as "mail|host:port/path, ...". */
static void test_records(void **state)
{
	(void)state;
	static const struct {
		const char *text[3];
		const char *places; /* NULL: none */
	} rows[] = {
	    {{"v=TLSRPTv1;rua=mailto:a@b.example"}, "a@b.example"},
	    {{"v=TLSRPTv1; rua=https://R.example/v1?x=y , mailto:a@b.example;"},
		"r.example:443/v1?x=y, a@b.example"},
	    {{"v=TLSRPTv1; x=y; rua=HTTPS://r.example:8443"}, "r.example:8443/"},
	    {{"v=spf1 -all", "v=TLSRPTv1; rua=MAILTO:a@b.example"}, "a@b.example"},
	    {{"v=TLSRPTv1; rua=ftp://x,mailto:a@b.example"}, "a@b.example"},
	    {{"v=TLSRPTv1; rua=mailto:a@b.c,mailto:b@b.c,mailto:c@b.c,mailto:d@b.c,mailto:e@b.c"},
		"a@b.c, b@b.c, c@b.c, d@b.c"},
	    {{"v=TLSRPTv1; rua=mailto:a@b.c", "v=TLSRPTv1; rua=mailto:a@b.c"}, NULL},
	    {{"v=TLSRPTv1"}, NULL}, {{"v=TLSRPTv1; rua="}, NULL},
	    {{"v=TLSRPTv2; rua=mailto:a@b.c"}, NULL}, {{"rua=mailto:a@b.c"}, NULL},
	    {{"v=TLSRPTv1; rua=mailto:a"}, NULL},
	    {{"v=TLSRPTv1; rua=mailto:a@b.c?cc=x@y.z"}, NULL},
	    {{"v=TLSRPTv1; rua=mailto:a%40b.c"}, NULL},
	    {{"v=TLSRPTv1; rua=mailto:<a@b.c>"}, NULL},
	    {{"v=TLSRPTv1; rua=mailto:a@b.c\r\nBcc: x@y.z"}, NULL},
	    {{"v=TLSRPTv1; rua=http://r.example/"}, NULL},
	    {{"v=TLSRPTv1; rua=https://user@r.example/"}, NULL},
	    {{"v=TLSRPTv1; rua=https://r.example:0/"}, NULL},
	    {{"v=TLSRPTv1; rua=https://r.example:99999/"}, NULL},
	    {{"v=TLSRPTv1; rua=https://localhost/"}, NULL},
	    {{"v=TLSRPTv1; rua=https://[::1]/"}, NULL},
	    {{"v=TLSRPTv1;rua=https://127.0.0.1/,https://127.1:84/,https://1.0x1./,https://1.2.b/"},
		"1.2.b:443/"},
	    {{"v=TLSRPTv1; rua=https:///x"}, NULL},
	    {{"v=TLSRPTv1; rua=https://r.example/#x"}, NULL},
	    {{""}, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dns_record records[3] = {0};
		struct dns_answer answer = {.status = DNS_OK, .records = records};
		struct tlsrpt_record record;
		struct buf places = {0};
		for (; answer.count < 3 && rows[i].text[answer.count]; answer.count++) {
			records[answer.count].data =
			    (const unsigned char *)rows[i].text[answer.count];
			records[answer.count].len = strlen(rows[i].text[answer.count]);
		}
		assert_int_equal(tlsrpt_record_read(&record, &answer), rows[i].places != NULL);
		for (size_t k = 0; k < record.count; k++) {
			const struct tlsrpt_rua *r = &record.rua[k];
			buf_add_text(&places, k ? ", " : "");
			if (r->is_mail)
				buf_add_text(&places, r->mail);
			else
				buf_addf(&places, "%s:%u%s", r->host, r->port, r->path);
		}
		if (rows[i].places)
			assert_string_equal(buf_text(&places), rows[i].places);
		buf_free(&places);
		tlsrpt_record_free(&record);
	}
}

static const struct tls_note fine = {
    .domain = "a.test", .type = "sts", .policy = "version: STSv1\r\nmx: m.a.test\r\n",
    .sending_ip = "", .mx = "m.a.test", .receiving_ip = "192.0.2.1", .detail = ""};

static void test_counts(void **state)
{
	(void)state;
	struct tls_counts *counts = tls_counts_new(7, 1000);
	struct tls_note bad = fine;
	bad.failure = "certificate-expired";
	bad.detail = "odd \x01 text";
	tls_counts_note(counts, &fine);
	tls_counts_note(counts, &fine);
	tls_counts_note(counts, &bad);
	tls_counts_note(counts, &bad);
	bad.receiving_ip = "192.0.2.2";
	tls_counts_note(counts, &bad);
	bad.type = "tlsa";
	bad.policy = "3 1 1 00\n";
	tls_counts_note(counts, &bad);
	assert_int_equal(tls_counts_size(counts), 2);

	json_t *kept = tls_counts_json(counts);
	tls_counts_free(counts);
	counts = tls_counts_read(kept);
	json_decref(kept);
	assert_int_equal(tls_counts_period(counts), 7);
	assert_int_equal(tls_counts_length_ms(counts), 1000);
	assert_string_equal(tls_counts_first(counts), "a.test");
	json_t *policies = tls_counts_take(counts, tls_counts_first(counts));
	assert_null(tls_counts_first(counts));
	assert_int_equal(json_array_size(policies), 2);
	json_t *first = json_array_get(policies, 0);
	json_int_t good;
	json_int_t failed;
	const char *mx;
	json_t *details;
	assert_int_equal(json_unpack(first, "{s:{s:[s]},s:{s:I,s:I},s:o}", "policy", "mx-host", &mx,
	    "summary", "total-successful-session-count", &good, "total-failure-session-count",
	    &failed, "failure-details", &details), 0);
	assert_string_equal(mx, "m.a.test");
	assert_int_equal(good, 2);
	assert_int_equal(failed, 3);
	assert_int_equal(json_array_size(details), 2);
	json_decref(policies);
	tls_counts_free(counts);
}

/* A policy that changes within a period, hosts with different records: each has its own
 * figures; those of too many go to the last one. */
static void test_policies(void **state)
{
	(void)state;
	char text[40];
	json_int_t good = 0;
	struct tls_counts *counts = tls_counts_new(1, 1000);
	struct tls_note note = fine;
	note.policy = text;
	for (int i = 0; i < TLS_POLICIES_MAX + 5; i++) {
		snprintf(text, sizeof(text), "mx: m%d.a.test\n", i);
		tls_counts_note(counts, &note);
		tls_counts_note(counts, &note);
	}
	tls_counts_note(counts, &fine);
	json_t *kept = tls_counts_json(counts);
	tls_counts_free(counts);
	counts = tls_counts_read(kept);
	json_decref(kept);
	assert_int_equal(tls_counts_size(counts), TLS_POLICIES_MAX);
	json_t *policies = tls_counts_take(counts, "a.test");
	for (size_t i = 0; i < TLS_POLICIES_MAX; i++) {
		const char *mx;
		snprintf(text, sizeof(text), "m%zu.a.test", i);
		assert_int_equal(json_unpack(json_array_get(policies, i), "{s:{s:[s]},s:{s:I}}",
		    "policy", "mx-host", &mx, "summary", "total-successful-session-count",
		    &good), 0);
		assert_string_equal(mx, text);
		assert_int_equal(good, i + 1 < TLS_POLICIES_MAX ? 2 : 2 + 5 * 2 + 1);
	}
	json_decref(policies);
	tls_counts_free(counts);
}

static void test_bounds(void **state)
{
	(void)state;
	char name[40];
	struct tls_counts *counts = tls_counts_new(1, 1000);
	struct tls_note note = fine;
	note.failure = "validation-failure";
	note.receiving_ip = name;
	for (int i = 0; i < TLS_FAILURES_MAX * 2; i++) {
		snprintf(name, sizeof(name), "192.0.2.%d", i);
		tls_counts_note(counts, &note);
	}
	json_t *policies = tls_counts_take(counts, "a.test");
	json_t *details = json_object_get(json_array_get(policies, 0), "failure-details");
	assert_int_equal(json_array_size(details), TLS_FAILURES_MAX);
	json_decref(policies);
	note = fine;
	note.domain = name;
	for (int i = 0; i < TLS_COUNTS_MAX + 10; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		tls_counts_note(counts, &note);
	}
	assert_int_equal(tls_counts_size(counts), TLS_COUNTS_MAX);
	tls_counts_free(counts);
}

static void test_damaged(void **state)
{
	(void)state;
	static const char *const texts[] = {"{}", "[]", "{\"version\":2,\"period\":1,\"entries\":[]}",
	    "{\"version\":1,\"period\":\"x\",\"entries\":[]}",
	    "{\"version\":1,\"period\":1,\"entries\":7}",
	    "{\"version\":1,\"period\":1,\"length_ms\":0,\"entries\":[]}"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *json = json_loads(texts[i], 0, NULL);
		assert_null(tls_counts_read(json));
		json_decref(json);
	}
	assert_null(tls_counts_read(NULL));
	json_t *json = json_loads("{\"version\":1,\"period\":1,\"entries\":[7,{},{\"policy\":{},"
				  "\"summary\":{}}]}", 0, NULL);
	struct tls_counts *counts = tls_counts_read(json);
	assert_int_equal(tls_counts_size(counts), 0);
	assert_int_equal(tls_counts_length_ms(counts), 86400000); /* kept before it was told */
	tls_counts_free(counts);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_counts),
	    cmocka_unit_test(test_policies),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_damaged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
