/* SPDX-License-Identifier: MIT
 * The stories that this relay was made for, from the message's acceptance to its
 * delivery: what GMO, Microsoft, Gmail and the carriers answer to an address whose
 * neighbours have sent spam. Nothing may bounce, and somebody must be told.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#define FAKE_DNS
#include "tests/unit/fake_dns.h"
#include "tests/unit/world.h"

#include "relayd/base/buf.h"

#define MINUTE WORLD_MINUTE
#define HOUR WORLD_HOUR
#define DAY WORLD_DAY

static const char gmo[] = "554 5.7.1 Service unavailable; Client host [127.0.0.11] blocked using "
			  "gmo-rbl.jp; Poor Reputation Sender";
static const char microsoft[] = "550 5.7.606 Access denied, banned sending IP [127.0.0.11]. To "
				"request removal from this list please visit "
				"https://sender.office.com/ and follow the directions. AS(1430)";
static const char google[] =
    "550-5.7.1 [127.0.0.11] Gmail has detected that this message is likely\n"
    "550-5.7.1 suspicious due to the very low reputation of the sending IP\n"
    "550-5.7.1 address. To best protect our users from spam, the message has\n"
    "550 5.7.1 been blocked.";
static const char unsolicited[] =
    "550-5.7.1 [127.0.0.12] Our system has detected that this message is\n"
    "550-5.7.1 likely unsolicited mail. To reduce the amount of spam sent to\n"
    "550-5.7.1 Gmail, this message has been blocked.\n"
    "550 5.7.1 https://support.google.com/mail/?p=UnsolicitedMessageError";

static bool is_from(const struct site_ask *ask, const char *source)
{
	return strcmp(ask->source, source) == 0;
}

/* ---- what must hold in the end ---- */

static const struct incident *incident(struct world *w, unsigned number)
{
	return incident_find(paths_reputation(w->paths), number);
}

static size_t notices(const struct world *w)
{
	size_t n = 0;
	for (size_t i = 0; i < w->admin.mail_count; i++)
		n += strcmp(w->admin.mails[i].recipients, "root@admin.test") == 0;
	return n;
}

/* The first one came within a minute of the verdict at MET_MS. */
static void assert_told(const struct world *w, int64_t met_ms, size_t count)
{
	assert_int_equal(notices(w), count);
	assert_in_range(w->admin.mails[0].at_ms, met_ms, met_ms + MINUTE);
}

static void assert_whole(struct world *w)
{
	assert_true(world_is_empty(w));
	assert_int_equal(w->stats.bounced, 0);
}

static bool has_incident(struct world *w)
{
	return incident(w, 1) != NULL;
}

/* ---- GMO answers the connection itself ---- */

static const char *gmo_says(const struct site_ask *ask)
{
	return ask->stage == SITE_CONNECT && is_from(ask, WORLD_IP1) ? gmo : NULL;
}

static const struct world_site at_gmo[] = {{"gmo.test", "mx1.gmoserver.jp", gmo_says}, {0}};

static void test_banner_second_source(void **state)
{
	struct world w;
	struct buf told = {0};
	(void)state;
	world_open(&w, at_gmo, "\"ip1\", \"ip2\"", "");
	world_send(&w, "one@gmo.test");
	world_until(&w, has_incident, MINUTE);
	world_told(&w, &told);
	assert_non_null(strstr(buf_text(&told), "\"rule\":\"gmo-listed\""));
	assert_non_null(strstr(buf_text(&told), "gmo-rbl.jp"));
	world_run(&w, MINUTE);
	world_send(&w, "two@gmo.test");
	world_run(&w, MINUTE);
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP2), 2);
	assert_in_range(w.sites[0].mails[0].at_ms, 0, MINUTE);
	assert_int_equal(w.sites[0].connections, 3); /* the second one did not ask ip1 */
	assert_int_equal(world_state(&w, "ip1", "gmo"), PATH_HELD);
	assert_int_equal(incident(&w, 1)->rerouted, 2);
	assert_null(incident(&w, 2));
	assert_told(&w, 0, 1);
	buf_free(&told);
	world_close(&w);
}

/* ---- helpers for blocks that end ---- */

/* While ip1 is blocked: until that hour, by what the script of the site says. */
static int64_t lifted_ms;

static const char *gmo_says_for_hours(const struct site_ask *ask)
{
	return ask->now_ms < lifted_ms ? gmo_says(ask) : NULL;
}

static const struct world_site at_gmo_for_hours[] = {
    {"gmo.test", "mx1.gmoserver.jp", gmo_says_for_hours}, {0}};

static void send_many(struct world *w, size_t count, const char *domain)
{
	char address[64];
	for (size_t i = 0; i < count; i++) {
		snprintf(address, sizeof(address), "user%zu@%s", i, domain);
		world_send(w, address);
	}
}

/* Only one way: the mail waits, the path is probed, and all of it leaves in the end
 * by the source that was blocked. */
static void test_banner_lifted(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = 5 * HOUR;
	world_open(&w, at_gmo_for_hours, "\"ip1\"", "queue = { delay_notice = \"0s\"; };\n");
	send_many(&w, 40, "gmo.test");
	world_run(&w, 4 * HOUR);
	assert_int_equal(w.sites[0].mail_count, 0);
	assert_in_range(w.sites[0].connections, 2, 4); /* the first, and the ladder 1 h, 4 h */
	assert_int_equal(world_state(&w, "ip1", "gmo"), PATH_HELD);
	world_until(&w, world_is_empty, 6 * HOUR);
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP1), 40);
	assert_false(incident(&w, 1)->open);
	assert_told(&w, 0, 1);
	world_close(&w);
}

/* The block is longer than a message lives: its clock stands still meanwhile. */
static void test_banner_longer_than_the_lifetime(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = 7 * DAY;
	world_open(&w, at_gmo_for_hours, "\"ip1\"", "queue = { delay_notice = \"0s\"; };\n");
	send_many(&w, 3, "gmo.test");
	world_run(&w, 6 * DAY + 12 * HOUR);
	world_restart(&w);
	world_until(&w, world_is_empty, 36 * HOUR);
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP1), 3);
	world_close(&w);
}

static const struct world_site at_gmo_for_ever[] = {{"gmo.test", "mx1.gmoserver.jp", gmo_says},
    {"example.jp", "mx.example.jp", NULL}, {0}};

/* Three days beyond its life it ends, and the sender reads that it is not the
 * recipient's fault. */
static void test_banner_for_ever(void **state)
{
	struct world w;
	(void)state;
	world_open(&w, at_gmo_for_ever, "\"ip1\"", "queue = { delay_notice = \"0s\"; };\n");
	world_send(&w, "user@gmo.test");
	world_run(&w, 7 * DAY + 22 * HOUR);
	assert_int_equal(w.stats.bounced, 0);
	world_run(&w, 4 * HOUR);
	assert_true(world_is_empty(&w));
	assert_int_equal(w.sites[1].mail_count, 1);
	const char *text = buf_text(&w.sites[1].text);
	assert_non_null(strstr(text, "gmo-rbl.jp"));
	assert_non_null(strstr(text, "refuses mail from this mail server's address."));
	world_close(&w);
}

/* ---- Microsoft, at RCPT ---- */

static const char *microsoft_says(const struct site_ask *ask)
{
	return ask->stage == SITE_RCPT && is_from(ask, WORLD_IP1) ? microsoft : NULL;
}

static const struct world_site at_microsoft[] = {
    {"one.test", "one-test.mail.protection.outlook.com", microsoft_says},
    {"two.test", "two-test.mail.protection.outlook.com", microsoft_says}, {0}};

static void test_rcpt_second_source(void **state)
{
	struct world w;
	(void)state;
	world_open(&w, at_microsoft, "\"ip1\", \"ip2\"", "");
	world_send_to(&w, "apache@localhost.localdomain",
	    (const char *const[]){"a@one.test", "b@one.test", "c@one.test", NULL});
	world_run(&w, MINUTE);
	/* a custom domain at the same provider shares the path */
	world_send(&w, "d@two.test");
	world_run(&w, MINUTE);
	assert_whole(&w);
	assert_string_equal(w.sites[0].mails[0].recipients, "a@one.test b@one.test c@one.test");
	assert_string_equal(w.sites[0].mails[0].sender, "bounce@example.jp");
	assert_string_equal(w.sites[0].mails[0].source, WORLD_IP2);
	assert_int_equal(w.sites[0].mail_count, 1);
	assert_string_equal(w.sites[1].mails[0].source, WORLD_IP2);
	assert_int_equal(w.sites[1].connections, 1);
	assert_int_equal(world_state(&w, "ip1", "microsoft365"), PATH_HELD);
	assert_string_equal(incident(&w, 1)->rule, "microsoft-banned-ip");
	assert_non_null(strstr(incident(&w, 1)->replies[0].text, "550 5.7.606 Access denied"));
	assert_told(&w, 0, 1);
	world_close(&w);
}

static const char *microsoft_says_for_hours(const struct site_ask *ask)
{
	return ask->now_ms < lifted_ms ? microsoft_says(ask) : NULL;
}

static const struct world_site at_microsoft_for_hours[] = {
    {"one.test", "one-test.mail.protection.outlook.com", microsoft_says_for_hours}, {0}};

static void test_rcpt_lifted(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = 26 * HOUR;
	world_open(&w, at_microsoft_for_hours, "\"ip1\"", "queue = { delay_notice = \"0s\"; };\n");
	send_many(&w, 10, "one.test");
	world_run(&w, 20 * HOUR);
	world_restart(&w);
	world_until(&w, world_is_empty, 2 * DAY);
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP1), 10);
	assert_false(incident(&w, 1)->open);
	assert_told(&w, 0, 1);
	world_close(&w);
}

/* ---- Gmail, at the end of DATA ---- */

/* The first address has a bad name, the second a new one: until the sender is one of
 * the domain's own, it is not believed. */
static const char *google_says(const struct site_ask *ask)
{
	if (ask->stage != SITE_END)
		return NULL;
	if (is_from(ask, WORLD_IP1))
		return google;
	return strstr(ask->sender, "@example.jp") ? NULL : unsolicited;
}

static const struct world_site at_google[] = {{"gmail.test", "aspmx.l.google.com", google_says},
    {0}};

static void test_end_second_source(void **state)
{
	struct world w;
	(void)state;
	world_open(&w, at_google, "\"ip1\", \"ip2\"", "");
	world_send_to(&w, "apache@localhost.localdomain",
	    (const char *const[]){"a@gmail.test", "b@gmail.test", NULL});
	world_run(&w, MINUTE);
	assert_whole(&w);
	assert_int_equal(w.sites[0].mail_count, 1);
	assert_string_equal(w.sites[0].mails[0].source, WORLD_IP2);
	assert_string_equal(w.sites[0].mails[0].recipients, "a@gmail.test b@gmail.test");
	assert_int_equal(world_state(&w, "ip1", "google"), PATH_HELD);
	assert_told(&w, 0, 1);
	world_close(&w);
}

/* Both addresses are refused, each in its own words. */
static const char *google_says_no(const struct site_ask *ask)
{
	if (ask->stage != SITE_END || ask->now_ms >= lifted_ms)
		return NULL;
	return is_from(ask, WORLD_IP1) ? google : unsolicited;
}

static const struct world_site at_google_that_says_no[] = {
    {"gmail.test", "aspmx.l.google.com", google_says_no}, {0}};

static void test_end_smarthost(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = INT64_MAX;
	world_open(&w, at_google_that_says_no, "\"ip1\", \"ip2\", \"smart\"", "");
	world_send(&w, "a@gmail.test");
	world_run(&w, MINUTE);
	assert_whole(&w);
	assert_int_equal(w.sites[0].mail_count, 0);
	assert_int_equal(w.smart.mail_count, 1);
	assert_string_equal(w.smart.mails[0].recipients, "a@gmail.test");
	assert_told(&w, 0, 1);
	world_close(&w);
}

/* No smarthost: it waits until one of the two is believed. */
static void test_end_lifted(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = 10 * HOUR;
	world_open(&w, at_google_that_says_no, "\"ip1\", \"ip2\"",
	    "queue = { delay_notice = \"0s\"; };\n");
	send_many(&w, 3, "gmail.test");
	world_run(&w, 9 * HOUR);
	assert_int_equal(w.sites[0].mail_count, 0);
	world_until(&w, world_is_empty, DAY);
	assert_whole(&w);
	assert_int_equal(w.sites[0].mail_count, 3);
	assert_told(&w, 0, 1);
	world_close(&w);
}

/* ---- a carrier that resets ---- */

static const char *carrier_resets(const struct site_ask *ask)
{
	return ask->stage == SITE_CONNECT && ask->now_ms < lifted_ms &&
	    is_from(ask, WORLD_IP1) ? site_reset : NULL;
}

static const struct world_site at_carrier[] = {
    {"carrier.test", "mx.ezweb.ne.jp", carrier_resets}, {0}};

static void test_reset_second_source(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = INT64_MAX;
	world_open(&w, at_carrier, "\"ip1\", \"ip2\"", "");
	for (int i = 0; i < 6; i++) {
		world_send(&w, "a@carrier.test");
		world_run(&w, MINUTE);
	}
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP2), 6);
	assert_int_equal(world_state(&w, "ip1", "au"), PATH_HELD);
	assert_string_equal(incident(&w, 1)->rule, "silence");
	assert_int_equal(notices(&w), 1);
	world_close(&w);
}

/* Mail flowed an hour ago, then resets: that is a block, too. */
static const char *carrier_resets_later(const struct site_ask *ask)
{
	return ask->now_ms >= HOUR / 2 ? carrier_resets(ask) : NULL;
}

static const struct world_site at_carrier_later[] = {
    {"carrier.test", "mx.ezweb.ne.jp", carrier_resets_later}, {0}};

static void test_reset_lifted(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = 6 * HOUR;
	world_open(&w, at_carrier_later, "\"ip1\"", "queue = { delay_notice = \"0s\"; };\n");
	world_send(&w, "first@carrier.test");
	world_run(&w, HOUR);
	send_many(&w, 5, "carrier.test");
	world_run(&w, 2 * HOUR);
	assert_int_equal(world_state(&w, "ip1", "au"), PATH_HELD);
	assert_int_equal(notices(&w), 1);
	world_until(&w, world_is_empty, DAY);
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP1), 6);
	assert_false(incident(&w, 1)->open);
	world_close(&w);
}

/* The same with a host that says nothing at all. */
static const char *carrier_is_silent(const struct site_ask *ask)
{
	return carrier_resets(ask) ? site_silent : NULL;
}

static const struct world_site at_silent_carrier[] = {
    {"carrier.test", "mx.ezweb.ne.jp", carrier_is_silent}, {0}};

static void test_silence_second_source(void **state)
{
	struct world w;
	(void)state;
	lifted_ms = INT64_MAX;
	world_open(&w, at_silent_carrier, "\"ip1\", \"ip2\"", "");
	for (int i = 0; i < 5; i++) {
		world_send(&w, "a@carrier.test");
		world_run(&w, 10 * MINUTE);
	}
	world_until(&w, world_is_empty, HOUR);
	assert_whole(&w);
	assert_int_equal(site_count(&w.sites[0], WORLD_IP2), 5);
	assert_int_equal(world_state(&w, "ip1", "au"), PATH_HELD);
	assert_int_equal(notices(&w), 1);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_banner_second_source),
	    cmocka_unit_test(test_banner_lifted),
	    cmocka_unit_test(test_banner_longer_than_the_lifetime),
	    cmocka_unit_test(test_banner_for_ever),
	    cmocka_unit_test(test_rcpt_second_source),
	    cmocka_unit_test(test_rcpt_lifted),
	    cmocka_unit_test(test_end_second_source),
	    cmocka_unit_test(test_end_smarthost),
	    cmocka_unit_test(test_end_lifted),
	    cmocka_unit_test(test_reset_second_source),
	    cmocka_unit_test(test_reset_lifted),
	    cmocka_unit_test(test_silence_second_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
