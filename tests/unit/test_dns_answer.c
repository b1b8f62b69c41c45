/* SPDX-License-Identifier: MIT
 * Record data as a hostile zone would write it, given to dns_read directly:
 * a name server of the test could not send all of this through libunbound.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "smtp/dns_internal.h"

#define MAX 200

static char *data[MAX + 1];
static int lengths[MAX + 1];
static size_t count;
static struct dns_reading reading;

static void add(const char *p, size_t n)
{
	assert_true(count < MAX);
	data[count] = (char *)p;
	lengths[count++] = (int)n;
}

#define ADD(text) add(text, sizeof(text) - 1)

static struct ub_result result(void)
{
	data[count] = NULL;
	return (struct ub_result){
	    .data = data, .len = lengths, .havedata = count > 0, .ttl = 300, .secure = 1};
}

static enum dns_status read_all(enum dns_type type)
{
	struct ub_result r = result();
	dns_read(&reading, "a.org", type, 0, &r);
	assert_true((reading.answer.status == DNS_OK) == (reading.answer.count > 0));
	assert_true((reading.answer.status == DNS_OK) == (reading.answer.text == NULL));
	return reading.answer.status;
}

static int begin(void **state)
{
	(void)state;
	count = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	dns_reading_free(&reading);
	memset(&reading, 0, sizeof(reading));
	return 0;
}

static void test_mx_names(void **state)
{
	(void)state;
	ADD("");
	ADD("\0");
	ADD("\0\1");                     /* no name */
	ADD("\0\1\1a");                  /* no root label */
	ADD("\0\1\5abc\0");              /* a label over the end */
	ADD("\0\1\xc0\0");               /* a compression pointer */
	ADD("\0\1\100aaaa\0");           /* a label of 64 */
	ADD("\0\1\1a\0\0");              /* bytes behind the root */
	ADD("\0\1\3a\0b\0");             /* NUL */
	ADD("\0\1\3a\r\n\0");            /* line end */
	ADD("\0\1\3a.b\0");              /* a dot within a label */
	ADD("\0\1\3a\xc3\xa9\0");        /* not ASCII */
	ADD("\0\1\2<>\0");
	ADD("\1\2\2MX\3a_-\0");          /* the good one */
	assert_int_equal(read_all(DNS_MX), DNS_OK);
	assert_int_equal(reading.answer.count, 1);
	assert_int_equal(reading.records[0].preference, 0x102);
	assert_string_equal(reading.records[0].name, "mx.a_-");
}

static void test_longest_name(void **state)
{
	(void)state;
	static char wire[300];
	size_t n = 2;
	for (int i = 0; i < 3; i++) {
		wire[n] = 63;
		memset(wire + n + 1, 'X', 63);
		n += 64;
	}
	wire[n] = 61;
	memset(wire + n + 1, 'Y', 61);
	n += 62;
	wire[n++] = 0;
	add(wire, n);
	assert_int_equal(read_all(DNS_MX), DNS_OK);
	assert_int_equal(strlen(reading.records[0].name), 253);
	dns_reading_free(&reading);
	/* one byte more than a name may have */
	count = 0;
	wire[2 + 3 * 64] = 62;
	wire[n - 1] = 'Y';
	wire[n++] = 0;
	add(wire, n);
	assert_int_equal(read_all(DNS_MX), DNS_TEMP);
}

static void test_addresses(void **state)
{
	(void)state;
	ADD("\1\2\3");
	ADD("\1\2\3\4\5");
	ADD("");
	assert_int_equal(read_all(DNS_A), DNS_TEMP);
	dns_reading_free(&reading);
	assert_int_equal(read_all(DNS_AAAA), DNS_TEMP);
	dns_reading_free(&reading);
	ADD("\1\2\3\4");
	lengths[0] = -1;
	assert_int_equal(read_all(DNS_A), DNS_OK);
	assert_int_equal(reading.answer.count, 1);
}

static void test_texts(void **state)
{
	(void)state;
	ADD("\4abc");       /* too short */
	ADD("\2ab\5cd");    /* the second one */
	ADD("");
	ADD("\0\0\1x\0");
	ADD("\3a\0b");
	assert_int_equal(read_all(DNS_TXT), DNS_OK);
	assert_int_equal(reading.answer.count, 2);
	assert_int_equal(reading.records[0].len, 1);
	assert_memory_equal(reading.records[0].data, "x", 1);
	assert_int_equal(reading.records[1].len, 3);
	assert_memory_equal(reading.records[1].data, "a\0b", 3);
	dns_reading_free(&reading);
	count = 0;
	ADD("\0"); /* an empty string is a record */
	assert_int_equal(read_all(DNS_TXT), DNS_OK);
	assert_int_equal(reading.records[0].len, 0);
	dns_reading_free(&reading);
	count = 0;
	ADD("\3\1\1");
	assert_int_equal(read_all(DNS_TLSA), DNS_TEMP);
}

static void test_bounds(void **state)
{
	(void)state;
	static char big[40000];
	for (size_t i = 0; i < MAX; i++)
		ADD("\1\2\3\4");
	assert_int_equal(read_all(DNS_A), DNS_OK);
	assert_int_equal(reading.answer.count, DNS_RECORDS_MAX);
	dns_reading_free(&reading);
	count = 0;
	for (int i = 0; i < 5; i++)
		add(big, sizeof(big));
	assert_int_equal(read_all(DNS_TLSA), DNS_OK);
	assert_int_equal(reading.answer.count, 1); /* 64 KB in all */
	assert_int_equal(reading.records[0].len, sizeof(big));
}

/* Of more MX records than are kept, the best ones are, wherever they stand. */
static void test_best_mx(void **state)
{
	static char rows[MAX][6];
	(void)state;
	for (int i = 0; i < MAX; i++) {
		int preference = MAX - i; /* the best one last */
		const char row[6] = {(char)(preference >> 8), (char)preference, 1, 'a', 0, 0};
		memcpy(rows[i], row, sizeof(row));
		add(rows[i], 5);
	}
	assert_int_equal(read_all(DNS_MX), DNS_OK);
	assert_int_equal(reading.answer.count, DNS_RECORDS_MAX);
	bool kept[MAX + 1] = {false};
	for (size_t i = 0; i < reading.answer.count; i++)
		kept[reading.answer.records[i].preference] = true;
	for (int i = 1; i <= MAX; i++)
		assert_int_equal(kept[i], i <= DNS_RECORDS_MAX);
}

static void test_status(void **state)
{
	(void)state;
	ADD("\1\2\3\4");
	struct ub_result r = result();
	r.bogus = 1; /* with rcode 0 and the forged data */
	r.secure = 0;
	r.why_bogus = (char *)"no\r\nsignature";
	dns_read(&reading, "a.org", DNS_A, 0, &r);
	assert_int_equal(reading.answer.status, DNS_BOGUS);
	assert_int_equal(reading.answer.count, 0);
	assert_string_equal(reading.answer.text, "a.org A: no\\x0d\\x0asignature");
	dns_reading_free(&reading);
	r = result();
	r.nxdomain = 1; /* with data: a CNAME to nowhere */
	r.rcode = 3;
	dns_read(&reading, "a.org", DNS_A, 0, &r);
	assert_int_equal(reading.answer.status, DNS_NO_NAME);
	assert_int_equal(reading.answer.count, 0);
	dns_reading_free(&reading);
	dns_read(&reading, "a.org", DNS_A, UB_SERVFAIL, NULL);
	assert_int_equal(reading.answer.status, DNS_TEMP);
	dns_reading_free(&reading);
	r = result();
	r.ttl = -5;
	r.canonname = (char *)"A.ORG.";
	dns_read(&reading, "a.org", DNS_A, 0, &r);
	assert_int_equal(reading.answer.ttl, 0);
	assert_true(reading.answer.secure);
	assert_null(reading.answer.canonical);
	dns_reading_free(&reading);
	r.rcode = 77;
	dns_read(&reading, "a.org", DNS_A, 0, &r);
	assert_string_equal(reading.answer.text, "a.org A: an error code");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_mx_names, begin, end),
	    cmocka_unit_test_setup_teardown(test_longest_name, begin, end),
	    cmocka_unit_test_setup_teardown(test_addresses, begin, end),
	    cmocka_unit_test_setup_teardown(test_texts, begin, end),
	    cmocka_unit_test_setup_teardown(test_bounds, begin, end),
	    cmocka_unit_test_setup_teardown(test_best_mx, begin, end),
	    cmocka_unit_test_setup_teardown(test_status, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
