/* SPDX-License-Identifier: MIT
 * Limits per client: connections, rates within the minute, who is forgotten.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "relayd/clients.h"

static const struct conf_limits wide = {.connections = 1000, .connections_per_client = 100};

static void connections_of_one_and_of_all(void **state)
{
	(void)state;
	struct clients *c = clients_new();
	struct conf_limits limits = {.connections = 3, .connections_per_client = 2};
	assert_null(clients_enter(c, "a", &limits, 0));
	assert_null(clients_enter(c, "a", &limits, 0));
	assert_non_null(strstr(clients_enter(c, "a", &limits, 0), "from you"));
	assert_null(clients_enter(c, "b", &limits, 0));
	assert_non_null(strstr(clients_enter(c, "d", &limits, 0), "here"));
	clients_leave(c, "a", false);
	assert_null(clients_enter(c, "d", &limits, 0));
	assert_int_equal(clients_connections(c), 3);
	clients_free(c);
}

static void rates_begin_anew_each_minute(void **state)
{
	(void)state;
	struct clients *c = clients_new();
	struct conf_limits limits = wide;
	limits.connections_per_minute = 2;
	limits.messages_per_minute = 3;
	for (int64_t minute = 0; minute < 3; minute++) {
		int64_t now = 1000 + minute * 60000;
		for (int i = 0; i < 2; i++) {
			assert_null(clients_enter(c, "a", &limits, now));
			clients_leave(c, "a", false);
		}
		assert_non_null(strstr(clients_enter(c, "a", &limits, now + 59999), "minute"));
		for (int i = 0; i < 3; i++)
			assert_true(clients_send(c, "a", &limits, now + 100));
		assert_false(clients_send(c, "a", &limits, now + 59999));
		assert_true(clients_send(c, "b", &limits, now + 100));
	}
	clients_free(c);
}

static void a_connection_outlives_its_minute(void **state)
{
	(void)state;
	struct clients *c = clients_new();
	assert_null(clients_enter(c, "a", &wide, 0));
	for (int64_t i = 1; i < 100; i++) { /* others come and go */
		char key[20];
		snprintf(key, sizeof(key), "b%d", (int)i);
		assert_null(clients_enter(c, key, &wide, i * 60000));
		clients_leave(c, key, false);
	}
	assert_true(clients_known(c) <= 3);
	clients_leave(c, "a", false);
	assert_int_equal(clients_connections(c), 0);
	clients_free(c);
}

static void a_flood_of_addresses_is_forgotten(void **state)
{
	(void)state;
	struct clients *c = clients_new();
	for (int i = 0; i < 50000; i++) {
		char key[20];
		snprintf(key, sizeof(key), "k%d", i);
		assert_null(clients_enter(c, key, &wide, 5));
		clients_leave(c, key, false);
	}
	assert_true(clients_known(c) <= 20000);
	clients_free(c);
}

static void who_is_one_client(void **state)
{
	(void)state;
	static const struct {
		const char *address, *key;
	} rows[] = {{"192.0.2.1", "192.0.2.1"}, {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
	    {"2001:db8:1:2::1", "2001:db8:1:2::"}};
	for (size_t i = 0; i < 3; i++) {
		struct conn_address a;
		char key[CONN_ADDRESS_TEXT];
		assert_int_equal(conn_address_parse(&a, rows[i].address, 25), 0);
		clients_key(&a, 0, key);
		assert_string_equal(key, rows[i].key);
	}
}

/* Who says goodbye and comes again at once is not refused for the one that is just ending;
 * who stays behind each goodbye is. */
static void test_parting(void **state)
{
	(void)state;
	const struct conf_limits limits = {.connections = 10, .connections_per_client = 2};
	struct clients *c = clients_new();
	for (int i = 0; i < 2; i++)
		assert_null(clients_enter(c, "a", &limits, 0));
	assert_non_null(clients_enter(c, "a", &limits, 0));
	for (int i = 0; i < 2; i++) {
		clients_part(c, "a");
		assert_null(clients_enter(c, "a", &limits, 0));
	}
	clients_part(c, "a");
	assert_non_null(strstr(clients_enter(c, "a", &limits, 0), "from you"));
	assert_int_equal(clients_connections(c), 4);
	clients_leave(c, "a", true);
	assert_null(clients_enter(c, "a", &limits, 0));
	clients_leave(c, "a", false);
	for (int i = 0; i < 2; i++)
		clients_leave(c, "a", true);
	clients_leave(c, "a", false);
	assert_int_equal(clients_connections(c), 0);
	clients_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parting),
	    cmocka_unit_test(connections_of_one_and_of_all),
	    cmocka_unit_test(rates_begin_anew_each_minute),
	    cmocka_unit_test(a_connection_outlives_its_minute),
	    cmocka_unit_test(a_flood_of_addresses_is_forgotten),
	    cmocka_unit_test(who_is_one_client),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
