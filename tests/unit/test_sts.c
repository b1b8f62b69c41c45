/* SPDX-License-Identifier: MIT
 * MTA-STS records and policies, good, odd and bad, and the files they are kept in.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "smtp/sts.h"
#include "smtp/sts_store.h"

#define HEAD "version: STSv1\r\nmode: enforce\r\nmax_age: 100\r\n"

static void test_records(void **state)
{
	(void)state;
	static const struct {
		const char *text[3];
		const char *id; /* NULL: no policy */
	} rows[] = {
	    {{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
	    {{"v=STSv1;id=a"}, "a"},
	    {{"v=STSv1 ; id=a ; x=y"}, "a"},
	    {{"v=STSv1; x=y; id=a;"}, "a"},
	    {{"v=STSv1; id=a; id=b;"}, "a"},
	    {{"v=spf1 -all", "v=STSv1; id=a;"}, "a"},
	    {{"v=STSv1; id=12345678901234567890123456789012;"}, "12345678901234567890123456789012"},
	    {{"v=STSv1; id=123456789012345678901234567890123;"}, NULL},
	    {{"v=STSv1; id=a;", "v=STSv1; id=a;"}, NULL},
	    {{"v=STSv1; id=;"}, NULL},
	    {{"v=STSv1; id=a b;"}, NULL},
	    {{"v=STSv1;"}, NULL},
	    {{"v=STSv1"}, NULL},
	    {{"v=STSv10; id=a;"}, NULL},
	    {{"V=STSv1; id=a;"}, NULL},
	    {{" v=STSv1; id=a;"}, NULL},
	    {{"id=a; v=STSv1;"}, NULL},
	    {{""}, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dns_record records[3] = {0};
		struct dns_answer answer = {.status = DNS_OK, .records = records};
		char id[STS_ID_ROOM] = "";
		for (; answer.count < 3 && rows[i].text[answer.count]; answer.count++) {
			records[answer.count].data =
			    (const unsigned char *)rows[i].text[answer.count];
			records[answer.count].len = strlen(rows[i].text[answer.count]);
		}
		bool found = sts_record_read(&answer, id);
		assert_int_equal(found, rows[i].id != NULL);
		if (found)
			assert_string_equal(id, rows[i].id);
		answer.status = DNS_TEMP;
		assert_false(sts_record_read(&answer, id));
	}
}

static void test_policies(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *fault; /* NULL: it is good */
	} rows[] = {
	    {HEAD "mx: a.example\r\n", NULL},
	    {"mx:*.Example.org.\nmax_age:1\nmode:testing\nversion:STSv1", NULL},
	    {HEAD "\r\nmx: a.example\r\nmode: none\r\nversion: STSv9\r\nx-y: z\r\n", NULL},
	    {"version: STSv1\nmode: none\nmax_age: 99999999999999999999\n", "seconds"},
	    {"version: STSv1\nmode: none\nmax_age: 9999999999\n", NULL},
	    {"version: STSv1\nmode: none\nmax_age: -1\n", "seconds"},
	    {"version: STSv1\nmode: none\nmax_age:\n", "seconds"},
	    {"version: STSv1\nmode: none\n", "no max_age"},
	    {"version: STSv1\nmax_age: 1\n", "no mode"},
	    {"mode: none\nmax_age: 1\n", "no \"version"},
	    {"version: STSv2\nmode: none\nmax_age: 1\n", "STSv1"},
	    {"version: STSv1\nmode: Enforce\nmax_age: 1\n", "enforce, testing or none"},
	    {HEAD, "no mx"},
	    {HEAD "mx: *\r\n", "name of a host"},
	    {HEAD "mx: *.\r\n", "name of a host"},
	    {HEAD "mx: a..b\r\n", "name of a host"},
	    {HEAD "mx: a.*.b\r\n", "name of a host"},
	    {HEAD "mx: [192.0.2.1]\r\n", "name of a host"},
	    {HEAD "mx:\r\n", "name of a host"},
	    {HEAD "no colon\r\n", "a colon"},
	    {"<html>\n", "a colon"},
	    {"", "no \"version"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct why why = {0};
		struct sts_policy *policy = sts_policy_parse(span_text(rows[i].text), &why);
		assert_int_equal(policy == NULL, rows[i].fault != NULL);
		if (rows[i].fault)
			assert_non_null(strstr(why.text, rows[i].fault));
		else
			assert_true(policy->max_age <= 31557600);
		sts_policy_unref(policy);
	}
}

static void test_bounds(void **state)
{
	(void)state;
	struct buf text = {0};
	struct why why = {0};
	buf_add_text(&text, HEAD);
	for (int i = 0; i < STS_MX_MAX; i++)
		buf_addf(&text, "mx: m%d.example\n", i);
	struct sts_policy *policy = sts_policy_parse(span_buf(&text), &why);
	assert_int_equal(policy->mx_count, STS_MX_MAX);
	sts_policy_unref(policy);
	buf_add_text(&text, "mx: one.more\n");
	assert_null(sts_policy_parse(span_buf(&text), &why));
	buf_clear(&text);
	buf_add_text(&text, HEAD "mx: a.b\n");
	while (text.len <= STS_POLICY_MAX)
		buf_add_text(&text, "x: y\n");
	assert_null(sts_policy_parse(span_buf(&text), &why));
	buf_free(&text);
}

static void test_fits(void **state)
{
	(void)state;
	static const struct {
		const char *host;
		bool fits;
	} rows[] = {
	    {"mx.example.org", true}, {"MX.Example.ORG.", true}, {"a.wild.example", true},
	    {"wild.example", false}, {"a.b.wild.example", false}, {".wild.example", false},
	    {"xwild.example", false}, {"mx.example.org.evil", false}, {"example.org", false},
	    {"", false}, {".", false}, {"*.wild.example", true},
	};
	struct sts_policy *policy =
	    sts_policy_parse(span_text(HEAD "mx: mx.example.org\nmx: *.wild.example\n"), NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(sts_policy_fits(policy, rows[i].host), rows[i].fits);
	sts_policy_unref(policy);
}

static void test_store(void **state)
{
	(void)state;
	char folder[] = "/tmp/relayd-sts-XXXXXX";
	char path[200];
	char id[STS_ID_ROOM];
	struct why why = {0};
	int64_t fetched;
	assert_non_null(mkdtemp(folder));
	struct sts_store *store = sts_store_new(folder, &why);
	struct sts_policy *policy = sts_policy_parse(span_text(HEAD "mx: a.example\n"), &why);
	assert_int_equal(sts_store_save(store, "a.test", policy, "one", 5000, &why), 0);
	assert_int_equal(sts_store_save(store, "../a", policy, "one", 5000, &why), -1);
	assert_int_equal(sts_store_save(store, ".hidden", policy, "one", 5000, &why), -1);
	sts_store_free(store);
	store = sts_store_new(folder, &why);
	struct sts_policy *again = sts_store_load(store, "a.test", 6000, id, &fetched);
	assert_non_null(again);
	assert_string_equal(id, "one");
	assert_int_equal(fetched, 5000);
	assert_int_equal(again->mode, STS_MODE_ENFORCE);
	sts_policy_unref(again);
	assert_null(sts_store_load(store, "a.test", 5000 + 100 * 1000, id, &fetched));
	assert_null(sts_store_load(store, "a.test", 4999, id, &fetched));
	assert_null(sts_store_load(store, "b.test", 6000, id, &fetched));
	assert_null(sts_store_load(store, "../a.test", 6000, id, &fetched));
	sts_policy_unref(policy);
	sts_store_free(store);
	snprintf(path, sizeof(path), "%s/a.test", folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_null(sts_store_new("/nowhere/at/all", &why));
	assert_non_null(strstr(why.text, "/nowhere/at/all"));
}

/* When there are as many as are kept, what has run out is looked for, each of them read: once
 * in an hour, and not for each policy more. */
static void test_store_full(void **state)
{
	(void)state;
	char folder[] = "/tmp/test_sts.XXXXXX";
	char name[40];
	struct why why = {0};
	int64_t hour = 60 * 60 * 1000;
	assert_non_null(mkdtemp(folder));
	int dir = open(folder, O_RDONLY | O_DIRECTORY);
	struct sts_store *store = sts_store_new(folder, &why);
	struct sts_policy *lasts =
	    sts_policy_parse(span_text("version: STSv1\nmode: none\nmax_age: 86400\n"), &why);
	struct sts_policy *ends =
	    sts_policy_parse(span_text("version: STSv1\nmode: none\nmax_age: 1\n"), &why);
	for (int i = 0; i < STS_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		assert_int_equal(sts_store_save(store, name, lasts, "one", hour, &why), 0);
	}
	assert_int_equal(sts_store_save(store, "new.test", lasts, "one", hour, &why), -1);
	/* one that is there may change */
	assert_int_equal(sts_store_save(store, "d0.test", ends, "two", hour, &why), 0);
	assert_int_equal(sts_store_save(store, "new.test", lasts, "one", 2 * hour - 1, &why), -1);
	assert_int_equal(faccessat(dir, "d0.test", F_OK, 0), 0);
	assert_int_equal(sts_store_save(store, "new.test", lasts, "one", 2 * hour, &why), 0);
	assert_int_equal(faccessat(dir, "d0.test", F_OK, 0), -1);
	assert_int_equal(unlinkat(dir, "new.test", 0), 0);
	for (int i = 1; i < STS_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		assert_int_equal(unlinkat(dir, name, 0), 0);
	}
	sts_policy_unref(lasts);
	sts_policy_unref(ends);
	sts_store_free(store);
	close(dir);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_policies),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_fits),
	    cmocka_unit_test(test_store),
	    cmocka_unit_test(test_store_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
