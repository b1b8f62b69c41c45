/* SPDX-License-Identifier: MIT
 * Paths and how verdicts move them: holds and probes, sender domains, families,
 * silence, what never moves a path, restarts in every state.
 */
#include "tests/unit/reputation_kit.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char banned[] = "550 5.7.606 Access denied, banned sending IP [192.0.2.10]";

static void test_new_path_is_open(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	assert_int_equal(paths_state(kit, "ip1", "google", T0), PATH_OPEN);
	assert_int_equal(kit->incidents, 0);
}

static void test_ip_verdict_holds_at_once(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	struct reputation_way other = paths_way("ip2", "microsoft");
	struct reputation_way elsewhere = paths_way("ip1", "google");
	struct path_view view;
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, T0);
	struct permit permit = paths_ask(kit, &way, T0, PERMIT_HELD);
	assert_int_equal(permit.at_ms, T0 + 15 * MINUTE);
	paths_ask(kit, &other, T0, PERMIT_GO);
	paths_ask(kit, &elsewhere, T0, PERMIT_GO);
	assert_true(paths_view(kit, "ip1", "microsoft", T0, &view));
	assert_int_equal(view.state, PATH_HELD);
	assert_int_equal(view.until_ms, T0 + 15 * MINUTE);
	assert_string_equal(view.last_rule, "banned-ip");
	assert_string_equal(view.last_reply, banned);
	assert_int_equal(kit->incidents, 1);
}

static void test_one_probe_at_a_time(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	int64_t now = T0;
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, now);
	paths_ask(kit, &way, now + 15 * MINUTE - 1, PERMIT_HELD);
	now += 15 * MINUTE;
	struct permit permit = paths_ask(kit, &way, now, PERMIT_PROBE);
	assert_int_equal(permit.stage, VERDICT_STAGE_RCPT);
	permit = paths_ask(kit, &way, now, PERMIT_HELD);
	assert_true(permit.at_ms > now);
	reputation_give_back(kit->r, &way, true);
	paths_ask(kit, &way, now, PERMIT_PROBE);
	paths_ask(kit, &way, now + MINUTE, PERMIT_HELD);
	/* a probe that nobody ever reports does not hold the path for ever */
	paths_ask(kit, &way, now + HOUR, PERMIT_PROBE);
}

/* Each failing probe takes the next step; the last one repeats. */
static void test_ladder(void **state)
{
	static const int64_t steps[] = {15 * MINUTE, HOUR, 4 * HOUR, DAY, DAY, DAY};
	static const int64_t own[] = {HOUR, 2 * HOUR};
	static const int64_t own_steps[] = {HOUR, 2 * HOUR, 2 * HOUR};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	struct verdict v = paths_blocked;
	int64_t now = T0;
	for (size_t i = 0; i < 6; i++) {
		paths_send(kit, &way, &v, VERDICT_STAGE_RCPT, banned, now);
		assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + steps[i]);
		now += steps[i];
		paths_restart(kit);
	}
	v.ladder = own;
	v.ladder_count = 2;
	way = paths_way("ip1", "other");
	for (size_t i = 0; i < 3; i++) {
		paths_send(kit, &way, &v, VERDICT_STAGE_RCPT, banned, now);
		assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + own_steps[i]);
		now += own_steps[i];
		paths_crash(kit);
	}
}

/* After a good probe 1, 2, 4, ... messages per interval of 5 minutes. */
static void test_slow_start(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	int64_t now = T0;
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, now);
	now += 15 * MINUTE;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", now);
	assert_int_equal(paths_state(kit, "ip1", "microsoft", now), PATH_SLOWED);
	for (unsigned allow = 1; allow <= 128; allow *= 2) {
		if (allow == 16)
			paths_restart(kit);
		for (unsigned i = 0; i < allow; i++)
			paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", now);
		assert_int_equal(paths_ask(kit, &way, now, PERMIT_WAIT).at_ms, now + 5 * MINUTE);
		now += 5 * MINUTE;
	}
	for (unsigned i = 0; i < 300; i++)
		paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", now);
	assert_int_equal(paths_state(kit, "ip1", "microsoft", now), PATH_OPEN);
	assert_false(incident_find(kit->r, kit->last_incident)->open);
}

/* A block that comes back during the slow start goes on where it was. */
static void test_back_in_slow_start(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, T0);
	int64_t now = T0 + 15 * MINUTE;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", now);
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + HOUR);
	assert_int_equal(kit->last_incident, 1); /* the same one, reopened */
	assert_true(incident_find(kit->r, 1)->open);
}

/* What is no answer about the block neither opens the path nor steps on. */
static void test_probe_that_says_nothing(void **state)
{
	static const struct verdict busy = {.klass = VERDICT_SERVER_BUSY,
	    .scope = VERDICT_SCOPE_DESTINATION,
	    .action = VERDICT_RETRY,
	    .rule = "structure",
	    .provider = "",
	    .help = ""};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_END, "550 low reputation", T0);
	int64_t now = T0 + 15 * MINUTE;
	paths_send(kit, &way, &busy, VERDICT_STAGE_BANNER, "451 busy", now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + 5 * MINUTE);
	now += 5 * MINUTE;
	/* the block comes at the end: a refused recipient is no proof */
	paths_send(kit, &way, &paths_unknown_user, VERDICT_STAGE_RCPT, "550 5.1.1", now);
	assert_int_equal(paths_ask(kit, &way, now, PERMIT_HELD).at_ms, now + 5 * MINUTE);
	now += 5 * MINUTE;
	paths_send(kit, &way, &paths_content, VERDICT_STAGE_END, "554 content", now);
	assert_int_equal(paths_state(kit, "ip1", "google", now), PATH_SLOWED);
}

/* What was under way when the path was held does not step on or open it. */
static void test_reports_from_before_the_hold(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "microsoft");
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_ask(kit, &way, T0, PERMIT_GO);
	paths_report(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, false, T0);
	paths_report(kit, &way, &paths_blocked, VERDICT_STAGE_RCPT, banned, false, T0 + SECOND);
	assert_int_equal(paths_ask(kit, &way, T0 + SECOND, PERMIT_HELD).at_ms, T0 + 15 * MINUTE);
	assert_int_equal(incident_find(kit->r, 1)->met, 2);
	paths_report(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", false, T0 + 2 * SECOND);
	paths_ask(kit, &way, T0 + 2 * SECOND, PERMIT_HELD);
}

static const struct verdict *const harmless[] = {
    &paths_greylisted,
    &paths_unknown_user,
    &paths_content,
};

/* Verdicts about a recipient or message never move a path, whatever their action. */
static void test_recipients_and_messages_move_nothing(void **state)
{
	static const enum verdict_action actions[] = {VERDICT_RETRY, VERDICT_SLOW, VERDICT_HOLD,
	    VERDICT_BOUNCE, VERDICT_SUPPRESS};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	for (size_t i = 0; i < 3 * 5; i++) {
		struct verdict v = *harmless[i % 3];
		v.action = actions[i / 3];
		for (int n = 0; n < 20; n++)
			paths_send(kit, &way, &v, VERDICT_STAGE_RCPT, "550 no", T0 + n);
		struct path_view view;
		assert_true(paths_view(kit, "ip1", "google", T0, &view));
		assert_int_equal(view.state, PATH_OPEN);
		assert_true(view.window > 1.99 && view.window < 2.01);
		assert_true(!(view.per_minute > 0));
	}
	assert_int_equal(kit->incidents, 0);
}

/* ---- silence ---- */

static void test_silence_while_another_source_is_answered(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "au");
	struct reputation_way ip2 = paths_way("ip2", "au");
	paths_silence(kit, &ip1, T0);
	paths_silence(kit, &ip1, T0 + MINUTE);
	paths_send(kit, &ip2, NULL, VERDICT_STAGE_END, "250 ok", T0 + MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + MINUTE), PATH_OPEN);
	paths_silence(kit, &ip1, T0 + 2 * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 2 * MINUTE), PATH_HELD);
	const struct incident *incident = incident_find(kit->r, 1);
	assert_int_equal(incident->klass, VERDICT_IP_BLOCKED);
	assert_string_equal(incident->rule, "silence");
	/* a probe that is answered opens it */
	paths_restart(kit);
	paths_send(kit, &ip1, &paths_unknown_user, VERDICT_STAGE_RCPT, "550", T0 + 17 * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 17 * MINUTE), PATH_SLOWED);
}

/* A provider that the rules list, with limits of its own. */
static const struct provider listed = {.id = "listed", .connections = 5};

static void test_silence_after_an_answer(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "au");
	way.limits = &listed;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	for (int i = 1; i <= 3; i++)
		paths_silence(kit, &way, T0 + 30 * MINUTE + i * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 33 * MINUTE), PATH_HELD);
}

/* A small host that goes silent is down, and costs no incident. */
static void test_silence_of_a_small_host(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "mx.small.example");
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	for (int i = 1; i <= 3; i++)
		paths_silence(kit, &way, T0 + 30 * MINUTE + i * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "mx.small.example", T0 + 33 * MINUTE), PATH_SLOWED);
	assert_int_equal(kit->incidents, 0);
}

/* Nobody was ever answered: a dead provider, not our IP. The path pauses, so that
 * the caller tries another way; if that one is answered, it was our IP. */
static void test_silence_of_a_dead_provider(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "au");
	struct reputation_way ip2 = paths_way("ip2", "au");
	int64_t now = T0;
	for (int i = 0; i < 3; i++)
		paths_silence(kit, &ip1, now += MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "au", now), PATH_SLOWED);
	paths_ask(kit, &ip1, now, PERMIT_WAIT);
	for (int i = 0; i < 10; i++) {
		now += 10 * MINUTE;
		paths_silence(kit, &ip1, now);
		paths_silence(kit, &ip2, now);
	}
	assert_int_equal(paths_state(kit, "ip1", "au", now), PATH_SLOWED);
	assert_int_equal(paths_state(kit, "ip2", "au", now), PATH_SLOWED);
	assert_int_equal(kit->incidents, 0);
	now += 10 * MINUTE;
	paths_send(kit, &ip2, NULL, VERDICT_STAGE_END, "250 ok", now);
	assert_int_equal(paths_state(kit, "ip1", "au", now), PATH_HELD);
	assert_int_equal(paths_state(kit, "ip2", "au", now), PATH_OPEN);
	assert_int_equal(kit->incidents, 1);
	assert_string_equal(incident_find(kit->r, 1)->source, "ip1");
}

/* Both sources fall silent at once after a good time: the provider is down. */
static void test_silence_of_all_sources(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "au");
	struct reputation_way ip2 = paths_way("ip2", "au");
	paths_send(kit, &ip1, NULL, VERDICT_STAGE_END, "250 ok", T0);
	paths_send(kit, &ip2, NULL, VERDICT_STAGE_END, "250 ok", T0);
	for (int i = 1; i <= 3; i++) {
		paths_silence(kit, &ip1, T0 + i * MINUTE);
		paths_silence(kit, &ip2, T0 + i * MINUTE);
	}
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 3 * MINUTE), PATH_SLOWED);
	assert_int_equal(paths_state(kit, "ip2", "au", T0 + 3 * MINUTE), PATH_SLOWED);
}

/* All connections break in the same second: one silence. An answer ends the row. */
static void test_hiccup(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "au");
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	for (int i = 0; i < 5; i++)
		paths_silence(kit, &way, T0 + SECOND + i * 10);
	paths_silence(kit, &way, T0 + MINUTE);
	paths_send(kit, &way, &paths_greylisted, VERDICT_STAGE_RCPT, "450", T0 + 2 * MINUTE);
	paths_silence(kit, &way, T0 + 3 * MINUTE);
	paths_silence(kit, &way, T0 + 4 * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 4 * MINUTE), PATH_OPEN);
}

/* What a smarthost says or does not say is no evidence about a provider. */
static void test_silence_and_smarthosts(void **state)
{
	struct paths *kit = *state;
	struct reputation_way ip1 = paths_way("ip1", "au");
	struct reputation_way ses = paths_way("smarthost:ses", "au");
	for (int i = 1; i <= 4; i++) {
		if (i < 4)
			paths_silence(kit, &ip1, T0 + i * MINUTE);
		paths_send(kit, &ses, NULL, VERDICT_STAGE_END, "250 ok", T0 + i * MINUTE);
	}
	assert_int_equal(paths_state(kit, "ip1", "au", T0 + 4 * MINUTE), PATH_SLOWED);
	for (int i = 5; i < 10; i++)
		paths_silence(kit, &ses, T0 + i * HOUR);
	assert_int_equal(paths_state(kit, "smarthost:ses", "au", T0 + 9 * HOUR), PATH_SLOWED);
	assert_int_equal(kit->incidents, 0);
}

/* An unknown 421 before we could say a word counts like a reset. */
static void test_mute_421(void **state)
{
	static const struct verdict busy = {.klass = VERDICT_SERVER_BUSY,
	    .scope = VERDICT_SCOPE_DESTINATION,
	    .action = VERDICT_RETRY,
	    .rule = "structure",
	    .provider = "",
	    .help = ""};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "softbank");
	way.limits = &listed;
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	for (int i = 1; i <= 3; i++)
		paths_send(kit, &way, &busy, VERDICT_STAGE_BANNER, "421", T0 + i * MINUTE);
	assert_int_equal(paths_state(kit, "ip1", "softbank", T0 + 3 * MINUTE), PATH_HELD);
}

/* ---- IPv6 ---- */

static void test_ipv6_only(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct verdict v = paths_blocked;
	struct path_view view;
	v.family = AF_INET6;
	v.klass = VERDICT_RDNS;
	paths_send(kit, &way, &v, VERDICT_STAGE_END, "550 5.7.1 IPv6 guidelines", T0);
	assert_int_equal(paths_ask(kit, &way, T0, PERMIT_GO).family, AF_INET);
	assert_true(paths_view(kit, "ip1", "google", T0, &view));
	assert_true(view.ipv6_closed);
	assert_int_equal(view.state, PATH_OPEN);
	way.family = AF_INET6;
	assert_int_equal(paths_ask(kit, &way, T0, PERMIT_HELD).at_ms, T0 + HOUR);
	assert_int_equal(incident_find(kit->r, 1)->family, AF_INET6);
	paths_restart(kit);
	/* then one at a time tries it */
	way.family = 0;
	assert_int_equal(paths_ask(kit, &way, T0 + HOUR, PERMIT_GO).family, 0);
	assert_int_equal(paths_ask(kit, &way, T0 + HOUR, PERMIT_GO).family, AF_INET);
	paths_report(kit, &way, &v, VERDICT_STAGE_END, "550 5.7.1 IPv6", false, T0 + HOUR);
	way.family = AF_INET6;
	assert_int_equal(paths_ask(kit, &way, T0 + HOUR, PERMIT_HELD).at_ms, T0 + 5 * HOUR);
	paths_ask(kit, &way, T0 + 5 * HOUR, PERMIT_GO);
	struct reputation_report report = {.reply = "250 ok", .recipient_domain = "",
	    .delivered = 1, .family = AF_INET6};
	reputation_report(kit->r, &way, &report, T0 + 5 * HOUR);
	paths_ask(kit, &way, T0 + 5 * HOUR, PERMIT_GO);
	assert_false(incident_find(kit->r, 1)->open);
}

static void test_ipv6_ladder(void **state)
{
	static const int64_t steps[] = {HOUR, 4 * HOUR, DAY, DAY};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct verdict v = paths_blocked;
	int64_t now = T0;
	v.family = way.family = AF_INET6;
	for (size_t i = 0; i < 4; i++) {
		paths_send(kit, &way, &v, VERDICT_STAGE_MAIL, "550 no PTR", now);
		int64_t at = paths_ask(kit, &way, now, PERMIT_HELD).at_ms;
		assert_int_equal(at, now + steps[i]);
		now = at;
		paths_restart(kit);
	}
}

/* ---- sender domains ---- */

static void test_sender_domain(void **state)
{
	static const int64_t steps[] = {HOUR, 4 * HOUR, DAY, DAY};
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct reputation_way ip2 = paths_way("ip2", "google");
	struct reputation_way other = paths_way("ip1", "google");
	struct reputation_way elsewhere = paths_way("ip1", "yahoo");
	int64_t now = T0;
	way.sender_domain = ip2.sender_domain = elsewhere.sender_domain = "example.jp";
	other.sender_domain = "example.org";
	for (size_t i = 0; i < 4; i++) {
		paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550 5.7.26 DMARC", now);
		int64_t at = paths_ask(kit, &way, now, PERMIT_DOMAIN_HELD).at_ms;
		assert_int_equal(at, now + steps[i]);
		paths_ask(kit, &ip2, now, PERMIT_DOMAIN_HELD);
		paths_send(kit, &other, NULL, VERDICT_STAGE_END, "250 ok", now);
		paths_send(kit, &elsewhere, NULL, VERDICT_STAGE_END, "250 ok", now);
		assert_int_equal(paths_state(kit, "ip1", "google", now), PATH_OPEN);
		now = at;
		if (i % 2)
			paths_restart(kit);
		else
			paths_crash(kit);
	}
	paths_ask(kit, &ip2, now, PERMIT_PROBE);
	paths_ask(kit, &way, now, PERMIT_DOMAIN_HELD);
	paths_report(kit, &ip2, NULL, VERDICT_STAGE_END, "250 ok", true, now);
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", now);
	assert_int_equal(kit->incidents, 4); /* nobody said incident_noticed */
	assert_null(incident_find(kit->r, 2));
	assert_false(incident_find(kit->r, 1)->open);
	assert_string_equal(incident_find(kit->r, 1)->sender_domain, "example.jp");
}

/* Without a domain there is nothing to hold, and the path is not at fault. */
static void test_no_sender_domain(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550 5.7.26 DMARC", T0);
	paths_ask(kit, &way, T0, PERMIT_GO);
}

/* A rate limit of the domain holds the pair for its time, without an incident. */
static void test_slow_sender_domain(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct verdict v = paths_slow;
	v.scope = VERDICT_SCOPE_SENDER_DOMAIN;
	v.wait_ms = 10 * MINUTE;
	way.sender_domain = "example.jp";
	paths_send(kit, &way, &v, VERDICT_STAGE_END, "421 4.7.28 DKIM domain", T0);
	assert_int_equal(paths_ask(kit, &way, T0, PERMIT_DOMAIN_HELD).at_ms, T0 + 10 * MINUTE);
	assert_int_equal(kit->incidents, 0);
	assert_int_equal(paths_state(kit, "ip1", "google", T0), PATH_OPEN);
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0 + 10 * MINUTE);
	paths_ask(kit, &way, T0 + 10 * MINUTE, PERMIT_GO);
}

/* ---- the administrator ---- */

static void test_hold_and_open_by_hand(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct reputation_way ip2 = paths_way("ip2", "google");
	assert_false(reputation_hold(kit->r, "google", NULL, T0));
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	paths_send(kit, &ip2, NULL, VERDICT_STAGE_END, "250 ok", T0);
	assert_true(reputation_hold(kit->r, "Google", "ip1", T0));
	paths_crash(kit);
	paths_ask(kit, &way, T0 + 30 * DAY, PERMIT_HELD);
	paths_ask(kit, &ip2, T0, PERMIT_GO);
	assert_true(reputation_open(kit->r, "google", NULL, T0));
	paths_ask(kit, &way, T0, PERMIT_GO);
	assert_int_equal(paths_state(kit, "ip1", "google", T0), PATH_SLOWED);
	assert_true(reputation_reset(kit->r, "google", "ip1", T0));
	assert_int_equal(paths_state(kit, "ip1", "google", T0), PATH_OPEN);
	assert_false(reputation_open(kit->r, "google", "ip3", T0));
}

static void test_probe_now(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	way.sender_domain = "example.jp";
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_BANNER, "554 no", T0);
	paths_ask(kit, &way, T0, PERMIT_HELD);
	assert_true(reputation_probe_now(kit->r, "google", NULL, T0));
	paths_send(kit, &way, NULL, VERDICT_STAGE_END, "250 ok", T0);
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, "550 5.7.26", T0);
	paths_ask(kit, &way, T0 + 5 * MINUTE, PERMIT_DOMAIN_HELD);
	assert_true(reputation_probe_now(kit->r, "google", "example.jp", T0 + 5 * MINUTE));
	paths_ask(kit, &way, T0 + 5 * MINUTE, PERMIT_PROBE);
	reputation_give_back(kit->r, &way, true);
	assert_true(reputation_open(kit->r, "google", "example.jp", T0));
	paths_ask(kit, &way, T0 + 15 * MINUTE, PERMIT_GO);
}

/* ---- odd things ---- */

/* A clock that was set back must not close a path for ever. */
static void test_clock_set_back(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_BANNER, "554 no", T0 + 3650 * DAY);
	struct permit permit = paths_ask(kit, &way, T0, PERMIT_HELD);
	assert_true(permit.at_ms <= T0 + 30 * DAY);
}

static void test_reports_without_asking(void **state)
{
	struct paths *kit = *state;
	struct reputation_way way = paths_way("ip1", "google");
	struct path_view view;
	paths_report(kit, &way, NULL, VERDICT_STAGE_END, "250", true, T0);
	reputation_give_back(kit->r, &way, true);
	assert_true(paths_view(kit, "ip1", "google", T0, &view));
	assert_int_equal(view.running, 0);
	way.source = "ip2";
	reputation_give_back(kit->r, &way, false);
	assert_false(paths_view(kit, "ip2", "google", T0, &view));
}

/* Names from outside: long, with tabs, control bytes, backslashes. */
static void test_odd_names(void **state)
{
	struct paths *kit = *state;
	char name[2000];
	memset(name, 'x', sizeof(name));
	memcpy(name, "a\tb\\c\nd=\xff", 9);
	name[sizeof(name) - 1] = '\0';
	struct reputation_way way = paths_way(name, name);
	way.sender_domain = name;
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_BANNER, name, T0);
	paths_ask(kit, &way, T0, PERMIT_HELD);
	paths_restart(kit);
	paths_ask(kit, &way, T0, PERMIT_HELD);
	paths_crash(kit);
	way.source = "ip1";
	paths_send(kit, &way, &paths_dmarc, VERDICT_STAGE_END, name, T0);
	paths_restart(kit);
	paths_ask(kit, &way, T0, PERMIT_DOMAIN_HELD);
}

static void test_bounded(void **state)
{
	struct paths *kit = *state;
	struct path_view view;
	struct reputation_way way = paths_way("ip1", "blocked");
	paths_send(kit, &way, &paths_blocked, VERDICT_STAGE_BANNER, "554 no", T0);
	for (unsigned i = 0; i < 51000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "mx%u.example", i);
		way.provider = name;
		paths_ask(kit, &way, T0 + i, PERMIT_GO);
		reputation_give_back(kit->r, &way, false);
	}
	assert_false(paths_view(kit, "ip1", "mx0.example", T0, &view));
	assert_true(paths_view(kit, "ip1", "mx50999.example", T0, &view));
	assert_int_equal(paths_state(kit, "ip1", "blocked", T0), PATH_HELD);
	/* nobody asks for them for days: they go, two or three with each that is asked */
	way.provider = "one";
	for (unsigned i = 0; i < 60000; i++) {
		paths_ask(kit, &way, T0 + 3 * DAY + i, PERMIT_GO);
		reputation_give_back(kit->r, &way, false);
	}
	assert_false(paths_view(kit, "ip1", "mx50999.example", T0, &view));
	assert_int_equal(paths_state(kit, "ip1", "blocked", T0), PATH_HELD);
}

static const char *const bad_lines[] = {
    "",
    "path",
    "path\t",
    "path\tsource=ip1",
    "path\tsource=ip1\tprovider=",
    "path\tsource=ip1\tprovider=p\twindow=-1",
    "path\tsource=ip1\tprovider=p\twindow=nan",
    "path\tsource=ip1\tprovider=p\twindow=1e999",
    "path\tsource=ip1\tprovider=p\twindow=",
    "path\tsource=ip1\tprovider=p\tprobe=99999999999999999999",
    "path\tsource=ip1\tprovider=p\tstep=8",
    "path\tsource=ip1\tprovider=p\tladder=1,2,3,4,5,6,7,8,9",
    "path\tsource=ip1\tprovider=p\tclass=none",
    "path\tsource=ip1\tprovider=p\theld=2",
    "path\tsource=ip1\tprovider=p\treply=\\x0",
    "path\tsource=ip1\tprovider=p\treply=\\",
    "path\tsource=ip1\tprovider=p\treply=\\x00",
    "path\tsource=ip1\tprovider=p\tno equals sign",
    "paths\tsource=ip1\tprovider=p",
    "incident\tsource=ip1",
    "incident\tnumber=0",
    "reply\tnumber=7\ttext=of nothing",
    "count\tnumber=7\tmet=1",
    "domain\tdomain=\tprovider=p",
};

static void test_bad_lines(void **state)
{
	struct paths *kit = *state;
	for (size_t i = 0; i < sizeof(bad_lines) / sizeof(bad_lines[0]); i++)
		if (reputation_replay(kit->r, span_text(bad_lines[i])))
			fail_msg("taken: \"%s\"", bad_lines[i]);
	/* of a newer program */
	assert_true(reputation_replay(kit->r,
	    span_text("path\tsource=ip1\tprovider=p\tcolour=blue\twindow=3.5")));
	struct path_view view;
	assert_true(paths_view(kit, "ip1", "p", T0, &view));
	assert_true(view.window > 3.49 && view.window < 3.51);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, paths_setup, paths_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_new_path_is_open),
	    TEST(test_ip_verdict_holds_at_once),
	    TEST(test_one_probe_at_a_time),
	    TEST(test_ladder),
	    TEST(test_slow_start),
	    TEST(test_back_in_slow_start),
	    TEST(test_probe_that_says_nothing),
	    TEST(test_reports_from_before_the_hold),
	    TEST(test_recipients_and_messages_move_nothing),
	    TEST(test_silence_while_another_source_is_answered),
	    TEST(test_silence_after_an_answer),
	    TEST(test_silence_of_a_small_host),
	    TEST(test_silence_of_a_dead_provider),
	    TEST(test_silence_of_all_sources),
	    TEST(test_hiccup),
	    TEST(test_silence_and_smarthosts),
	    TEST(test_mute_421),
	    TEST(test_ipv6_only),
	    TEST(test_ipv6_ladder),
	    TEST(test_sender_domain),
	    TEST(test_no_sender_domain),
	    TEST(test_slow_sender_domain),
	    TEST(test_hold_and_open_by_hand),
	    TEST(test_probe_now),
	    TEST(test_clock_set_back),
	    TEST(test_reports_without_asking),
	    TEST(test_odd_names),
	    TEST(test_bounded),
	    TEST(test_bad_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
