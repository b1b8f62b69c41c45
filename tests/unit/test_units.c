/* SPDX-License-Identifier: MIT
 * Durations and sizes: what parses, what is refused, and that the printed
 * text is the shortest one and parses to the same value.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "conf/units.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static const struct {
	const char *text;
	int64_t value; /* -1: refused */
} durations[] = {
    {"0", 0},
    {"0s", 0},
    {"1ms", 1},
    {"90s", 90 * SECOND},
    {"5m", 5 * MINUTE},
    {"2h", 2 * HOUR},
    {"5d", 5 * DAY},
    {"1w", 7 * DAY},
    {"1h30m", 90 * MINUTE},
    {"1w2d3h4m5s6ms", 9 * DAY + 3 * HOUR + 4 * MINUTE + 5 * SECOND + 6},
    {"1h90m", 150 * MINUTE},
    {"05m", 5 * MINUTE},
    {"3650d", 3650 * DAY},
    {"3651d", -1},
    {"3650d1ms", -1},
    {"315360000001ms", -1},
    {"99999999999999999999999s", -1},
    {"18446744073709551616ms", -1},
    {"9223372036854775807w", -1},
    {"", -1},
    {"5", -1},
    {"00", -1},
    {"m", -1},
    {"-5m", -1},
    {"+5m", -1},
    {"5 m", -1},
    {" 5m", -1},
    {"5m ", -1},
    {"5M", -1},
    {"5min", -1},
    {"1.5h", -1},
    {"30m1h", -1},
    {"5m5m", -1},
    {"1h30", -1},
    {"5y", -1},
    {"0x5m", -1},
};

static void durations_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		int64_t ms = -1;
		bool good = units_parse_duration(span_text(durations[i].text), &ms);
		if (good != (durations[i].value >= 0) || ms != durations[i].value)
			fail_msg("\"%s\": %d, %lld", durations[i].text, good, (long long)ms);
	}
}

static const struct {
	const char *text;
	int64_t value;
} sizes[] = {
    {"0", 0},
    {"0M", 0},
    {"1B", 1},
    {"64K", 65536},
    {"25M", 25 << 20},
    {"1G", 1 << 30},
    {"1024T", INT64_C(1) << 50},
    {"1025T", -1},
    {"1125899906842624B", INT64_C(1) << 50},
    {"1125899906842625B", -1},
    {"18446744073709551617B", -1},
    {"17179869184G", -1},
    {"", -1},
    {"25", -1},
    {"M", -1},
    {"25m", -1},
    {"25MB", -1},
    {"25 M", -1},
    {"-1K", -1},
    {"1.5M", -1},
    {"1M1K", -1},
    {"0x10K", -1},
};

static void sizes_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int64_t bytes = -1;
		bool good = units_parse_size(span_text(sizes[i].text), &bytes);
		if (good != (sizes[i].value >= 0) || bytes != sizes[i].value)
			fail_msg("\"%s\": %d, %lld", sizes[i].text, good, (long long)bytes);
	}
}

static void bytes_behind_a_nul_count(void **state)
{
	(void)state;
	int64_t value = -1;
	assert_false(units_parse_duration((struct span){"5m\0", 3}, &value));
	assert_false(units_parse_size((struct span){"5M\0", 3}, &value));
	assert_int_equal(value, -1);
}

static const struct {
	int64_t value;
	const char *text;
} shortest[] = {
    {0, "0"},
    {1, "1ms"},
    {1500, "1500ms"}, /* "1s500ms" is longer */
    {SECOND, "1s"},
    {90 * SECOND, "90s"},
    {MINUTE, "1m"},
    {61 * SECOND, "61s"},
    {90 * MINUTE, "90m"},
    {HOUR + SECOND, "1h1s"},
    {7 * DAY, "1w"},
    {8 * DAY, "8d"},
    {14 * DAY, "2w"},
    {DAY + SECOND, "1d1s"},
    {3650 * DAY, "3650d"},
};

static void durations_print_shortest(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(shortest) / sizeof(shortest[0]); i++) {
		struct buf b = {0};
		units_print_duration(&b, shortest[i].value);
		assert_string_equal(buf_text(&b), shortest[i].text);
		buf_free(&b);
	}
}

static void sizes_print(void **state)
{
	(void)state;
	static const int64_t values[] = {0, 1000, 1024, 1536, 25 << 20, INT64_C(1) << 50};
	static const char *const texts[] = {"0", "1000B", "1K", "1536B", "25M", "1024T"};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct buf b = {0};
		units_print_size(&b, values[i]);
		assert_string_equal(buf_text(&b), texts[i]);
		buf_free(&b);
	}
}

/* A walk over values of all magnitudes: what is printed parses to the value. */
static void printed_values_parse_back(void **state)
{
	(void)state;
	for (int64_t v = 1; v <= INT64_C(3650) * DAY; v += v / 97 + 1) {
		struct buf b = {0};
		int64_t back = -1;
		units_print_duration(&b, v);
		assert_true(units_parse_duration(span_buf(&b), &back));
		assert_true(back == v);
		buf_clear(&b);
		units_print_size(&b, v);
		assert_true(units_parse_size(span_buf(&b), &back));
		assert_true(back == v);
		buf_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations_parse),
	    cmocka_unit_test(sizes_parse),
	    cmocka_unit_test(bytes_behind_a_nul_count),
	    cmocka_unit_test(durations_print_shortest),
	    cmocka_unit_test(sizes_print),
	    cmocka_unit_test(printed_values_parse_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
