/* SPDX-License-Identifier: MIT
 * Incidents: one per matter, what they hold, when the administrator is told, and
 * that their numbers mean the same after a restart.
 */
#include "tests/unit/reputation_kit.h"

#include <stdio.h>
#include <string.h>

static void report(struct paths *kit, const struct reputation_way *way, const struct verdict *v,
    uint64_t message, const char *reply, int64_t now_ms)
{
	struct permit permit = reputation_ask(kit->r, way, now_ms);
	struct reputation_report r = {
	    .verdict = v,
	    .stage = VERDICT_STAGE_RCPT,
	    .reply = reply,
	    .recipient_domain = "customer.example",
	    .message_id = message,
	    .probe = permit.answer == PERMIT_PROBE,
	};
	reputation_report(kit->r, way, &r, now_ms);
}

static void count(void *arg, const struct incident *incident)
{
	unsigned *counts = arg;
	counts[incident->open ? 1 : 0]++;
}

static void test_what_it_holds(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	report(kit, &way, &paths_blocked, 7, "550 5.7.606 \x1b[2J banned", T0);
	const struct incident *i = incident_find(kit->r, 1);
	assert_non_null(i);
	assert_int_equal(i->number, 1);
	assert_string_equal(i->source, "ip1");
	assert_string_equal(i->provider, "microsoft");
	assert_int_equal(i->klass, VERDICT_IP_BLOCKED);
	assert_string_equal(i->rule, "banned-ip");
	assert_string_equal(i->help, "https://delist.example/");
	assert_string_equal(i->sender_domain, "");
	assert_int_equal(i->first_ms, T0);
	assert_int_equal(i->last_ms, T0);
	assert_int_equal(i->next_probe_ms, T0 + 15 * MINUTE);
	assert_true(i->open);
	assert_int_equal(i->met, 1);
	assert_int_equal(i->reply_count, 1);
	assert_string_equal(i->replies[0].text, "550 5.7.606 \\x1b[2J banned");
	assert_string_equal(i->replies[0].domain, "customer.example");
	assert_int_equal(i->replies[0].stage, VERDICT_STAGE_RCPT);
	assert_null(incident_find(kit->r, 2));
}

/* Updated by each verdict about the same matter; the last five replies. */
static void test_one_per_matter(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	int64_t now = T0;
	char reply[32];
	for (unsigned n = 1; n <= 8; n++) {
		snprintf(reply, sizeof(reply), "550 number %u", n);
		report(kit, &way, &paths_blocked, n / 2, reply, now);
		now = paths_ask(kit, &way, now, PERMIT_HELD).at_ms;
		if (n % 2)
			paths_restart(kit);
		else
			paths_crash(kit);
	}
	const struct incident *i = incident_find(kit->r, 1);
	assert_null(incident_find(kit->r, 2));
	assert_int_equal(i->first_ms, T0);
	assert_int_equal(i->next_probe_ms, now);
	assert_int_equal(i->reply_count, 5);
	assert_string_equal(i->replies[0].text, "550 number 8");
	assert_string_equal(i->replies[4].text, "550 number 4");
	/* others: by source, provider, class */
	way.source = "ip2";
	report(kit, &way, &paths_blocked, 9, "550", now);
	way.provider = "google";
	report(kit, &way, &paths_blocked, 9, "550", now);
	assert_string_equal(incident_find(kit->r, 2)->source, "ip2");
	assert_string_equal(incident_find(kit->r, 3)->provider, "google");
	assert_null(incident_find(kit->r, 4));
}

/* The same message twice has met it once. */
static void test_met(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	report(kit, &way, &paths_blocked, 5, "550", T0);
	report(kit, &way, &paths_blocked, 5, "550", T0 + 15 * MINUTE);
	report(kit, &way, &paths_blocked, 6, "550", T0 + 75 * MINUTE);
	assert_int_equal(incident_find(kit->r, 1)->met, 2);
}

static void test_rerouted(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	struct reputation_way none = paths_way("ip2", "microsoft");
	incident_rerouted(kit->r, &way); /* no such path */
	report(kit, &way, &paths_blocked, 5, "550", T0);
	for (int n = 0; n < 3; n++)
		incident_rerouted(kit->r, &way);
	incident_rerouted(kit->r, &none);
	paths_crash(kit);
	incident_rerouted(kit->r, &way);
	assert_int_equal(incident_find(kit->r, 1)->rerouted, 4);
	assert_int_equal(incident_find(kit->r, 1)->met, 1);
}

/* Told once; told again only when it was quiet for a day. */
static void test_notices(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	int64_t now = T0;
	report(kit, &way, &paths_blocked, 1, "550", now);
	assert_int_equal(kit->incidents, 1);
	incident_noticed(kit->r, 1);
	paths_crash(kit);
	assert_true(incident_find(kit->r, 1)->noticed);
	now += 15 * MINUTE;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", now);
	assert_false(incident_find(kit->r, 1)->open);
	report(kit, &way, &paths_blocked, 2, "550", now);
	assert_true(incident_find(kit->r, 1)->open);
	assert_int_equal(kit->incidents, 1);
	now += 2 * HOUR;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", now);
	now += 2 * DAY;
	report(kit, &way, &paths_blocked, 3, "550", now);
	assert_int_equal(kit->incidents, 2);
	assert_int_equal(kit->last_incident, 1);
	assert_false(incident_find(kit->r, 1)->noticed);
}

/* What was last met by a clock that was a year fast was not met just now. */
static void test_notice_after_a_wrong_clock(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	report(kit, &way, &paths_blocked, 1, "550", T0 + 365 * DAY);
	incident_noticed(kit->r, 1);
	assert_true(reputation_open(kit->r, "microsoft", "ip1", T0 + 365 * DAY));
	paths_restart(kit);
	report(kit, &way, &paths_blocked, 2, "550", T0);
	assert_int_equal(kit->incidents, 2);
	assert_false(incident_find(kit->r, 1)->noticed);
}

/* A rate limit is everyday; bad reputation is not, even if it only slows. */
static void test_slow_ones(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct verdict v = paths_slow;
	report(kit, &way, &paths_slow, 1, "421 4.7.28 rate", T0);
	assert_int_equal(kit->incidents, 0);
	v.klass = VERDICT_REPUTATION;
	report(kit, &way, &v, 2, "421 4.7.0 low reputation", T0 + 10 * MINUTE);
	assert_int_equal(kit->incidents, 1);
	assert_true(incident_find(kit->r, 1)->open);
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", T0 + 2 * HOUR);
	assert_int_equal(paths_state(kit, "ip1", "google", T0 + 2 * HOUR), PATH_OPEN);
	assert_false(incident_find(kit->r, 1)->open);
}

/* Slowed in vain: five refusals in a row with ever longer waits are a block. */
static void test_slowed_in_vain(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	int64_t now = T0;
	for (unsigned n = 1; n <= 5; n++) {
		report(kit, &way, &paths_slow, n, "421 4.7.28 rate", now);
		if (n < 5)
			now = paths_ask(kit, &way, now, PERMIT_WAIT).at_ms;
	}
	paths_ask(kit, &way, now, PERMIT_HELD);
	assert_int_equal(kit->incidents, 1);
	assert_int_equal(incident_find(kit->r, 1)->klass, VERDICT_RATE_LIMITED);
}

/* A sender's domain is one matter for all sources. */
static void test_sender_domains(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct reputation_way ip2 = paths_way("ip2", "google");
	way.sender_domain = ip2.sender_domain = "example.jp";
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_ask(kit, &ip2, T0, PERMIT_GO);
	paths_report(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550 5.7.26", false, T0);
	paths_report(kit, &ip2, &paths_dmarc, VERDICT_STAGE_END, "550 5.7.26", false, T0);
	way.sender_domain = "example.org";
	report(kit, &way, &paths_dmarc, 3, "550 5.7.26", T0);
	assert_int_equal(incident_find(kit->r, 1)->met, 2);
	assert_string_equal(incident_find(kit->r, 2)->sender_domain, "example.org");
	assert_null(incident_find(kit->r, 3));
	assert_true(reputation_open(kit->r, "google", "example.jp", T0));
	assert_false(incident_find(kit->r, 1)->open);
	assert_true(incident_find(kit->r, 2)->open);
}

/* An old one that is written again does not make its number the last. */
static void test_numbers_go_on(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct reputation_way other = paths_way("ip1", "b");
	report(kit, &way, &paths_blocked, 1, "550", T0);
	report(kit, &other, &paths_blocked, 2, "550", T0);
	incident_noticed(kit->r, 1);
	paths_crash(kit);
	way.provider = "c";
	report(kit, &way, &paths_blocked, 3, "550", T0);
	assert_string_equal(incident_find(kit->r, 3)->provider, "c");
	assert_string_equal(incident_find(kit->r, 2)->provider, "b");
}

static void test_close(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	report(kit, &way, &paths_blocked, 1, "550", T0);
	assert_false(incident_close(kit->r, 2, T0));
	assert_true(incident_close(kit->r, 1, T0));
	paths_crash(kit);
	assert_false(incident_find(kit->r, 1)->open);
	paths_ask(kit, &way, T0, PERMIT_HELD); /* the path is not opened by that */
}

/* A sender of ours who is stopped has an incident like a provider's, without a path. */
static void test_without_a_path(void **state)
{
	struct paths *kit = *state;
	struct incident_cause cause = {.source = "login:web1", .provider = "",
	    .klass = VERDICT_RATE_LIMITED, .rule = "brake-rate", .help = "change its password",
	    .text = "300 messages\x1b in an hour", .message_id = 1};
	struct reputation_way way = paths_way("login:web1", "google");
	assert_false(incident_end(kit->r, &cause, T0));
	assert_int_equal(incident_open(kit->r, &cause, T0), 1);
	assert_int_equal(kit->incidents, 1);
	incident_noticed(kit->r, 1);
	for (cause.message_id = 2; cause.message_id <= 9; cause.message_id++)
		assert_int_equal(incident_open(kit->r, &cause, T0 + 1), 1);
	cause.message_id = 9;
	assert_int_equal(incident_open(kit->r, &cause, T0 + MINUTE), 1);
	assert_int_equal(kit->incidents, 1); /* told once */
	paths_crash(kit);
	const struct incident *i = incident_find(kit->r, 1);
	assert_string_equal(i->source, "login:web1");
	assert_string_equal(i->help, "change its password");
	assert_string_equal(i->replies[1].text, "300 messages\\x1b in an hour");
	assert_int_equal(i->met, 9);
	assert_int_equal(i->last_ms, T0 + MINUTE);
	assert_true(i->open && i->noticed);
	/* it has nothing to do with a path that bears the same name */
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", T0);
	assert_true(reputation_open(kit->r, "google", NULL, T0));
	assert_true(incident_find(kit->r, 1)->open);
	cause.klass = VERDICT_UNKNOWN_RECIPIENT;
	assert_int_equal(incident_open(kit->r, &cause, T0), 2);
	assert_true(incident_end(kit->r, &cause, T0));
	assert_false(incident_end(kit->r, &cause, T0));
	paths_crash(kit);
	assert_false(incident_find(kit->r, 2)->open);
	assert_true(incident_find(kit->r, 1)->open);
}

/* A thousand are kept, open ones before closed ones; numbers go on. */
static void test_bounded(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "first");
	char name[32];
	way.provider = name;
	for (unsigned n = 1; n <= 1500; n++) {
		snprintf(name, sizeof(name), "p%u", n);
		report(kit, &way, &paths_blocked, n, "550", T0);
		if (n % 3)
			reputation_open(kit->r, name, NULL, T0);
	}
	unsigned counts[2] = {0};
	incident_each(kit->r, count, counts);
	assert_int_equal(counts[0] + counts[1], 1000);
	assert_int_equal(counts[1], 500);
	assert_non_null(incident_find(kit->r, 1500));
	assert_non_null(incident_find(kit->r, 3));
	assert_null(incident_find(kit->r, 1));
	paths_restart(kit);
	snprintf(name, sizeof(name), "one more");
	report(kit, &way, &paths_blocked, 1, "550", T0);
	assert_non_null(incident_find(kit->r, 1501));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, paths_setup, paths_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_what_it_holds),
	    TEST(test_one_per_matter),
	    TEST(test_met),
	    TEST(test_rerouted),
	    TEST(test_notices),
	    TEST(test_notice_after_a_wrong_clock),
	    TEST(test_slow_ones),
	    TEST(test_slowed_in_vain),
	    TEST(test_sender_domains),
	    TEST(test_numbers_go_on),
	    TEST(test_close),
	    TEST(test_without_a_path),
	    TEST(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
