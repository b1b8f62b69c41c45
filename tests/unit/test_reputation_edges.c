/* SPDX-License-Identifier: MIT
 * Reports that come late, named waits, evidence that is weak, clocks that were set
 * back: what is easily got wrong about paths.
 */
#include "tests/unit/reputation_kit.h"

#include <string.h>
#include <sys/socket.h>

static const struct verdict unknown_retry = {.klass = VERDICT_SERVER_BUSY,
    .scope = VERDICT_SCOPE_DESTINATION,
    .action = VERDICT_RETRY,
    .rule = "structure",
    .provider = "",
    .help = ""};

static struct verdict waiting(const struct verdict *v, int64_t wait_ms)
{
	struct verdict named = *v;
	named.wait_ms = wait_ms;
	return named;
}

static void block(struct paths *kit, const struct reputation_way *way, int64_t now_ms)
{
	paths_send(kit, way, &paths_blocked, VERDICT_STAGE_RCPT, "550 banned", now_ms);
}

/* ---- waits that a reply names ---- */

static void test_named_waits(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct verdict v = waiting(&paths_blocked, 2 * HOUR);
	paths_send(kit, &way, &v, VERDICT_STAGE_MAIL, "550", T0);
	assert_int_equal(paths_ask(kit, &way, T0, PERMIT_HELD).at_ms, T0 + 2 * HOUR);
	/* a throttled probe: not open, not worse either */
	v = waiting(&paths_slow, 40 * MINUTE);
	int64_t now = T0 + 2 * HOUR;
	paths_send(kit, &way, &v, VERDICT_STAGE_MAIL, "421", now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + 40 * MINUTE);
	way.provider = "b";
	v = waiting(&paths_slow, 25 * MINUTE);
	paths_send(kit, &way, &v, VERDICT_STAGE_MAIL, "421", T0);
	assert_int_equal(paths_ask(kit, &way, T0, PERMIT_WAIT).at_ms, T0 + 25 * MINUTE);
	way.provider = "c";
	way.family = AF_INET6;
	v = waiting(&paths_blocked, 3 * HOUR);
	v.family = AF_INET6;
	paths_send(kit, &way, &v, VERDICT_STAGE_MAIL, "550", T0);
	assert_int_equal(paths_ask(kit, &way, T0, PERMIT_HELD).at_ms, T0 + 3 * HOUR);
}

/* ---- reports from before ---- */

static void test_late_reports(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct verdict v6 = paths_blocked;
	v6.family = way.family = AF_INET6;
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_report(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", false, T0);
	paths_report(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", false, T0 + SECOND);
	assert_int_equal(paths_ask(kit, &way, T0 + SECOND, PERMIT_HELD).at_ms, T0 + HOUR);
	way = paths_way("ip1", "b");
	way.sender_domain = "example.jp";
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_report(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550", false, T0);
	paths_report(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550", false, T0 + SECOND);
	int64_t at = paths_ask(kit, &way, T0 + SECOND, PERMIT_DOMAIN_HELD).at_ms;
	assert_int_equal(at, T0 + HOUR);
	/* held by hand meanwhile: nothing new for the administrator */
	way = paths_way("ip1", "c");
	unsigned before = kit->incidents;
	paths_ask(kit, &way, T0, PERMIT_GO);
	assert_true(reputation_hold(kit->r, "c", NULL, T0));
	paths_report(kit, &way, &paths_blocked, VERDICT_STAGE_MAIL, "550", false, T0);
	assert_int_equal(kit->incidents, before);
}

/* Delivered to some and "slower" for the others: it counts for the limit. */
static void test_delivered_in_part(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct reputation_report report = {.verdict = &paths_slow, .stage = VERDICT_STAGE_RCPT,
	    .reply = "452 4.7.0 too many", .recipient_domain = "a.example", .delivered = 3};
	struct path_view view;
	for (int i = 0; i < 19; i++)
		paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", T0);
	paths_ask(kit, &way, T0, PERMIT_GO);
	reputation_report(kit->r, &way, &report, T0);
	assert_true(paths_view(kit, "ip1", "a", T0, &view));
	assert_true(view.per_minute > 17.9 && view.per_minute < 18.1); /* 90 % of 20 */
}

/* ---- evidence ---- */

/* One of three is silent like us, but one is answered: it is us two. */
static void test_silence_of_two_in_three(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "au");
	struct reputation_way ip2 = paths_way("ip2", "au");
	struct reputation_way ip3 = paths_way("ip3", "au");
	for (int i = 1; i <= 3; i++) {
		paths_silence(kit, &ip1, T0 + i * MINUTE);
		if (i == 1)
			paths_send(kit, &ip3, NULL, VERDICT_STAGE_END, "250", T0 + 70 * SECOND);
		if (i == 2)
			paths_silence(kit, &ip2, T0 + i * MINUTE);
	}
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 3 * MINUTE), PATH_HELD);
}

static void test_weak_evidence(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "au");
	struct reputation_way ip2 = paths_way("ip2", "au");
	struct reputation_way ses = paths_way("smarthost:ses", "google");
	/* a silence of hours ago, an answer now: two different times */
	for (int i = 1; i <= 3; i++)
		paths_silence(kit, &ip1, T0 + i * MINUTE);
	paths_send(kit, &ip2, NULL, VERDICT_STAGE_END, "250", T0 + 3 * HOUR);
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 3 * HOUR), PATH_SLOWED);
	/* a smarthost that falls silent is broken; nobody blocks our IP */
	paths_send(kit, &ses, NULL, VERDICT_STAGE_END, "250", T0);
	for (int i = 1; i <= 3; i++)
		paths_silence(kit, &ses, T0 + i * MINUTE);
	assert_int_equal(paths_state(kit, "smarthost:ses", "google", T0 + 3 * MINUTE),
	    PATH_SLOWED);
	assert_int_equal(kit->incidents, 0);
}

/* A 421 that a rule knows is no silence; one before MAIL is no answer either. */
static void test_known_421(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "a");
	struct reputation_way ip2 = paths_way("ip2", "a");
	struct verdict known = unknown_retry;
	known.known = true;
	paths_send(kit, &ip1, NULL, VERDICT_STAGE_END, "250", T0);
	for (int i = 1; i <= 5; i++)
		paths_send(kit, &ip1, &known, VERDICT_STAGE_BANNER, "421 busy", T0 + i * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "a", T0 + 5 * MINUTE), PATH_OPEN);
	ip1.provider = ip2.provider = "b";
	for (int i = 1; i <= 3; i++) {
		paths_silence(kit, &ip1, T0 + i * MINUTE);
		paths_send(kit, &ip2, &known, VERDICT_STAGE_BANNER, "421 busy", T0 + i * MINUTE);
	}
	assert_int_equal(paths_state(kit, "ip1", "b", T0 + 3 * MINUTE), PATH_SLOWED);
}

/* ---- probes ---- */

static void test_probes(void **state)
{
	static const int64_t own[] = {HOUR, 3 * HOUR};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct verdict v = paths_blocked;
	int64_t now = T0;
	v.ladder = own;
	v.ladder_count = 2;
	paths_send(kit, &way, &v, VERDICT_STAGE_RCPT, "550 banned", now);
	now += HOUR;
	/* a temporary error that no rule knows may still be the block */
	paths_send(kit, &way, &unknown_retry, VERDICT_STAGE_RCPT, "451 later", now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + 5 * MINUTE);
	now += 5 * MINUTE;
	/* silence steps on, by the ladder that the hold came with */
	paths_silence(kit, &way, now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + 3 * HOUR);
	now += 3 * HOUR;
	/* a verdict about IPv6 closes IPv6 and says nothing about the rest */
	v = paths_blocked;
	v.family = AF_INET6;
	paths_send(kit, &way, &v, VERDICT_STAGE_RCPT, "550 no PTR", now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + 5 * MINUTE);
	now += 5 * MINUTE;
	struct permit permit = paths_ask(kit, &way, now, PERMIT_PROBE);
	assert_int_equal(permit.family, AF_INET);
	paths_report(kit, &way, NULL, VERDICT_STAGE_END, "250", true, now);
	/* open again: one at a time, and waits begin anew; IPv6 has its own incident */
	struct path_view view;
	assert_true(paths_view(kit, "ip1", "a", now, &view));
	assert_true(view.window < 1.01);
	assert_true(view.ipv6_closed);
	assert_false(incident_find(kit->r, 1)->open);
	assert_true(incident_find(kit->r, 2)->open);
}

static void test_waits_begin_anew(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	int64_t now = T0;
	for (int i = 0; i < 5; i++) {
		paths_send(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "421", now);
		now += HOUR;
	}
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", now); /* the probe */
	paths_send(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "421", now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_WAIT).at_ms, now + MINUTE);
}

static void test_domain_probes(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	int64_t now = T0 + HOUR;
	way.sender_domain = "example.jp";
	block(kit, &way, T0);
	assert_true(reputation_open(kit->r, "a", "ip1", T0));
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550", T0);
	/* DMARC speaks at the end: a refused recipient is no proof */
	struct permit permit = paths_ask(kit, &way, now, PERMIT_PROBE);
	assert_int_equal(permit.stage, VERDICT_STAGE_END);
	paths_report(kit, &way, &paths_unknown_user, VERDICT_STAGE_RCPT, "550", true, now);
	int64_t at = paths_ask(kit, &way, now, PERMIT_DOMAIN_HELD).at_ms;
	assert_int_equal(at, now + 15 * MINUTE);
	paths_ask(kit, &way, at, PERMIT_PROBE);
	paths_ask(kit, &way, at + 10 * MINUTE, PERMIT_DOMAIN_HELD);
	reputation_give_back(kit->r, &way, false); /* the slot, but the probe is lost */
	paths_ask(kit, &way, at + HOUR, PERMIT_PROBE);
	/* "slower" does not step on */
	struct verdict v = paths_slow;
	v.scope = VERDICT_SCOPE_SENDER_DOMAIN;
	now = at + HOUR;
	paths_report(kit, &way, &v, VERDICT_STAGE_END, "421", true, now);
	paths_ask(kit, &way, now, PERMIT_DOMAIN_HELD);
	now += 30 * MINUTE;
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550", now);
	at = paths_ask(kit, &way, now, PERMIT_DOMAIN_HELD).at_ms;
	assert_int_equal(at, now + 4 * HOUR);
}

/* ---- clocks, turns, the administrator ---- */

static void test_clock_set_back(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct verdict v6 = paths_blocked;
	int64_t future = T0 + 3650 * DAY;
	paths_send(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "421", future);
	assert_true(paths_ask(kit, &way, T0, PERMIT_WAIT).at_ms <= T0 + 30 * DAY);
	way.provider = "b";
	v6.family = way.family = AF_INET6;
	paths_send(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", future);
	assert_true(paths_ask(kit, &way, T0, PERMIT_HELD).at_ms <= T0 + 30 * DAY);
	way = paths_way("ip1", "c");
	way.sender_domain = "example.jp";
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550", future);
	assert_true(paths_ask(kit, &way, T0, PERMIT_DOMAIN_HELD).at_ms <= T0 + 30 * DAY);
	static const struct provider paced = {.id = "d", .per_minute = 6};
	way = paths_way("ip1", "d");
	way.limits = &paced;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", future);
	assert_true(paths_ask(kit, &way, T0, PERMIT_WAIT).at_ms <= T0 + 10 * SECOND);
}

/* A slow start whose interval began in a time that has not come yet. */
static void test_clock_set_back_in_a_slow_start(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	int64_t future = T0 + 365 * DAY;
	block(kit, &way, future);
	future = paths_ask(kit, &way, future, PERMIT_HELD).at_ms;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", future);
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", future);
	paths_restart(kit);
	assert_true(paths_ask(kit, &way, T0, PERMIT_WAIT).at_ms <= T0 + 5 * MINUTE);
	paths_ask(kit, &way, T0 + 5 * MINUTE, PERMIT_GO);
}

/* Who comes half a second late for each turn still gets the whole rate. */
static void test_late_for_each_turn(void **state)
{
	static const struct provider paced = {.id = "a", .per_minute = 60};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	unsigned sent = 0;
	way.limits = &paced;
	for (int64_t now = T0; now < T0 + 10 * MINUTE;) {
		struct permit permit = reputation_ask(kit->r, &way, now);
		if (permit.answer == PERMIT_GO) {
			paths_report(kit, &way, NULL, VERDICT_STAGE_END, "250", false, now);
			sent++;
		} else {
			now = permit.at_ms + 500;
		}
	}
	assert_in_range(sent, 590, 602);
}

static void test_by_hand(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct verdict v6 = paths_blocked;
	block(kit, &way, T0);
	assert_true(reputation_hold(kit->r, "a", "ip1", T0));
	paths_ask(kit, &way, T0 + 10 * DAY, PERMIT_HELD); /* no probes any more */
	assert_true(reputation_open(kit->r, "a", "ip1", T0));
	assert_false(incident_find(kit->r, 1)->open);
	v6.family = AF_INET6;
	paths_send(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", T0);
	way.family = AF_INET6;
	paths_ask(kit, &way, T0 + 5 * MINUTE, PERMIT_HELD);
	assert_true(reputation_probe_now(kit->r, "a", "ip1", T0 + 5 * MINUTE));
	paths_ask(kit, &way, T0 + 5 * MINUTE, PERMIT_GO);
	reputation_give_back(kit->r, &way, false);
	paths_send(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", T0 + 10 * MINUTE);
	paths_ask(kit, &way, T0 + 15 * MINUTE, PERMIT_HELD);
	assert_true(reputation_open(kit->r, "a", "ip1", T0 + 15 * MINUTE));
	paths_ask(kit, &way, T0 + 15 * MINUTE, PERMIT_GO);
	assert_false(incident_find(kit->r, 2)->open);
}

static void note_opened(void *arg, unsigned number)
{
	*(unsigned *)arg = number;
}

/* Where there is nothing but IPv6, what waits for it waits for its incident. */
static void test_ipv6_alone(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct reputation_report report = {.reply = "250",
	    .recipient_domain = "",
	    .stage = VERDICT_STAGE_END,
	    .delivered = 1,
	    .family = AF_INET6};
	struct verdict v6 = paths_blocked;
	unsigned opened = 0;
	way.family = v6.family = AF_INET6;
	paths_send(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", T0);
	paths_crash(kit);
	reputation_on_opened(kit->r, note_opened, &opened);
	assert_int_equal(paths_ask(kit, &way, T0 + MINUTE, PERMIT_HELD).incident, 1);
	paths_ask(kit, &way, T0 + HOUR, PERMIT_GO);
	assert_int_equal(paths_ask(kit, &way, T0 + HOUR, PERMIT_HELD).incident, 1);
	reputation_report(kit->r, &way, &report, T0 + HOUR);
	assert_int_equal(opened, 1);
	assert_false(incident_find(kit->r, 1)->open);
	paths_ask(kit, &way, T0 + HOUR, PERMIT_GO);
}

/* What the incident says of the next probe follows what was done by hand. */
static void test_next_probe_by_hand(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct verdict v6 = paths_blocked;
	block(kit, &way, T0);
	assert_int_equal(incident_find(kit->r, 1)->next_probe_ms, T0 + 15 * MINUTE);
	assert_true(reputation_hold(kit->r, "a", "ip1", T0));
	assert_int_equal(incident_find(kit->r, 1)->next_probe_ms, 0); /* there is none */
	paths_crash(kit);
	assert_int_equal(incident_find(kit->r, 1)->next_probe_ms, 0);
	way.provider = "b";
	way.family = v6.family = AF_INET6;
	paths_send(kit, &way, &v6, VERDICT_STAGE_MAIL, "550", T0);
	assert_int_equal(incident_find(kit->r, 2)->next_probe_ms, T0 + HOUR);
	paths_ask(kit, &way, T0 + HOUR, PERMIT_GO); /* a trial that never comes back */
	assert_true(reputation_probe_now(kit->r, "b", "ip1", T0 + HOUR + MINUTE));
	assert_int_equal(incident_find(kit->r, 2)->next_probe_ms, T0 + HOUR + MINUTE);
	paths_ask(kit, &way, T0 + HOUR + MINUTE, PERMIT_GO);
}

/* One probe by hand that is refused, or says nothing, is the only one. */
static void test_held_by_hand_and_probed(void **state)
{
	static const enum verdict_stage stages[] = {VERDICT_STAGE_RCPT, VERDICT_STAGE_BANNER};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250", T0);
	assert_true(reputation_hold(kit->r, "a", "ip1", T0));
	int64_t now = T0;
	for (int i = 0; i < 2; i++, now += 2 * DAY) {
		assert_true(reputation_probe_now(kit->r, "a", "ip1", now));
		paths_ask(kit, &way, now, PERMIT_PROBE);
		paths_report(
		    kit, &way, i ? &unknown_retry : &paths_blocked, stages[i], "550", true, now);
		paths_ask(kit, &way, now + DAY, PERMIT_HELD);
		assert_int_equal(incident_find(kit->r, 1)->next_probe_ms, 0);
	}
	assert_true(reputation_probe_now(kit->r, "a", "ip1", now));
	paths_ask(kit, &way, now, PERMIT_PROBE);
	paths_report(kit, &way, NULL, VERDICT_STAGE_END, "250", true, now);
	paths_ask(kit, &way, now, PERMIT_GO);
	assert_false(incident_find(kit->r, 1)->open);
}

/* Its success says nothing against what the administrator has decided since. */
static void test_held_by_hand_during_a_probe(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	block(kit, &way, T0);
	paths_ask(kit, &way, T0 + DAY, PERMIT_PROBE);
	assert_true(reputation_hold(kit->r, "a", "ip1", T0 + DAY));
	paths_report(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", true, T0 + DAY + SECOND);
	paths_ask(kit, &way, T0 + 2 * DAY, PERMIT_HELD);
	assert_int_equal(paths_state(kit, "ip1", "a", T0 + 2 * DAY), PATH_HELD);
}

static void assert_waits_for(struct paths *kit, const struct reputation_way *way, int64_t now_ms,
    enum permit_answer answer, enum wait_cause cause, const char *says)
{
	const char *last = NULL;
	struct permit permit = paths_ask(kit, way, now_ms, answer);
	assert_int_equal(reputation_wait_cause(kit->r, way, &permit, now_ms, &last), cause);
	assert_string_equal(last, says);
}

/* Only some of it is the receiver's doing. */
static void test_what_mail_waits_for(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	assert_waits_for(kit, &way, T0, PERMIT_GO, WAIT_NONE, "");
	assert_waits_for(kit, &way, T0, PERMIT_GO, WAIT_NONE, "");
	assert_waits_for(kit, &way, T0, PERMIT_WAIT, WAIT_RATE, ""); /* two at a time */
	paths_report(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "450 slower", false, T0);
	paths_report(kit, &way, &paths_slow, VERDICT_STAGE_MAIL, "450 slower", false, T0);
	assert_waits_for(kit, &way, T0, PERMIT_WAIT, WAIT_TROUBLE, "450 slower");
	assert_true(reputation_hold(kit->r, "a", "ip1", T0));
	assert_waits_for(kit, &way, T0, PERMIT_HELD, WAIT_BY_HAND, "450 slower");
	assert_true(reputation_open(kit->r, "a", "ip1", T0)); /* with a slow start */
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0 + SECOND);
	assert_waits_for(kit, &way, T0 + 2 * SECOND, PERMIT_WAIT, WAIT_START, "450 slower");
	way = paths_way("ip1", "b");
	block(kit, &way, T0);
	assert_waits_for(kit, &way, T0, PERMIT_HELD, WAIT_BLOCKED, "550 banned");
	way = paths_way("ip1", "c");
	way.sender_domain = "example.jp";
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550 dmarc", T0);
	assert_waits_for(kit, &way, T0, PERMIT_DOMAIN_HELD, WAIT_DOMAIN, "");
	way = paths_way("ip3", "d");
	way.since = "2026-11-21";
	for (unsigned i = 0; i < 16; i++) /* the others are for urgent mail */
		paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	assert_waits_for(kit, &way, T0, PERMIT_WAIT, WAIT_BUDGET, "");
}

static void test_what_silence_has_said(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "a");
	struct reputation_report report = {.reply = "connect: Connection refused",
	    .silence = true,
	    .recipient_domain = "dest.test",
	    .stage = VERDICT_STAGE_CONNECT};
	for (int i = 0; i < 3; i++) {
		paths_ask(kit, &way, T0 + i * MINUTE, PERMIT_GO);
		reputation_report(kit->r, &way, &report, T0 + i * MINUTE);
	}
	assert_waits_for(kit, &way, T0 + 2 * MINUTE + SECOND, PERMIT_WAIT, WAIT_TROUBLE,
	    "connect: Connection refused");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, paths_setup, paths_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_named_waits),
	    TEST(test_late_reports),
	    TEST(test_delivered_in_part),
	    TEST(test_silence_of_two_in_three),
	    TEST(test_weak_evidence),
	    TEST(test_known_421),
	    TEST(test_probes),
	    TEST(test_waits_begin_anew),
	    TEST(test_domain_probes),
	    TEST(test_clock_set_back),
	    TEST(test_clock_set_back_in_a_slow_start),
	    TEST(test_late_for_each_turn),
	    TEST(test_by_hand),
	    TEST(test_ipv6_alone),
	    TEST(test_next_probe_by_hand),
	    TEST(test_held_by_hand_and_probed),
	    TEST(test_held_by_hand_during_a_probe),
	    TEST(test_what_mail_waits_for),
	    TEST(test_what_silence_has_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
