/* SPDX-License-Identifier: MIT
 * A restart changes nothing: one reputation runs through, another is thrown away
 * and built anew from its dump every now and then, a third from its events only,
 * as after kill -9. All are asked and told the same, at random.
 */
#include "tests/unit/reputation_kit.h"

#include <string.h>
#include <sys/socket.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define OPERATIONS 4000
#define FLIGHT 6

static const char *const sources[] = {"ip1", "ip2", "smarthost:ses"};
static const char *const providers[] = {"google", "microsoft", "mx.example"};
static const char *const domains[] = {"", "example.jp", "example.org"};
static const char *const dates[] = {"", "2026-11-15", "2025-01-01"};

struct flight {
	struct reputation_way way;
	struct permit permit;
};

struct twins {
	struct paths through; /* never restarted */
	struct paths again;
	struct flight flights[FLIGHT];
	size_t count;
	int64_t now;
	uint64_t messages;
	uint32_t calm; /* the higher, the less trouble */
};

#define AT_THE_DOOR 13000 /* queue/turn.h: how long a claim lasts */

static void pick_way(struct reputation_way *way)
{
	static const int families[] = {0, AF_INET, AF_INET6};
	uint32_t source = random_below(3);
	memset(way, 0, sizeof(*way));
	way->source = sources[source];
	way->since = dates[source];
	way->provider = providers[random_below(3)];
	way->sender_domain = domains[random_below(3)];
	way->family = families[random_below(3)];
	way->urgent = random_below(4) == 0;
}

static void check_same(struct permit a, struct permit b)
{
	assert_int_equal(a.answer, b.answer);
	assert_int_equal(a.at_ms, b.at_ms);
	assert_int_equal(a.family, b.family);
	assert_int_equal(a.stage, b.stage);
}

static void ask_both(struct twins *t)
{
	struct flight f;
	pick_way(&f.way);
	f.permit = reputation_ask(t->through.r, &f.way, t->now);
	check_same(f.permit, reputation_ask(t->again.r, &f.way, t->now));
	if (f.permit.answer == PERMIT_GO || f.permit.answer == PERMIT_PROBE)
		t->flights[t->count++] = f;
}

/* Each kind of trouble now and then, silence more often, since it takes several. */
static bool pick_verdict(const struct twins *t, struct verdict *v,
    struct reputation_report *report)
{
	static const int64_t ladder[] = {11 * MINUTE, 33 * MINUTE, 55 * MINUTE};
	static const struct verdict *const kinds[] = {&paths_blocked, &paths_slow,
	    &paths_greylisted, &paths_unknown_user, &paths_content, &paths_dmarc};
	uint32_t what = random_below(t->calm);
	if (what >= 12)
		return false;
	*v = *kinds[what % 6];
	if (v->action == VERDICT_HOLD && random_below(3) == 0)
		v->family = AF_INET6;
	if (v->action == VERDICT_HOLD && random_below(3) == 0) {
		v->klass = VERDICT_RDNS;
		v->ladder = ladder;
		v->ladder_count = 3;
	}
	if (v->action == VERDICT_SLOW && random_below(3) == 0) {
		v->klass = VERDICT_REPUTATION;
		v->wait_ms = 7 * MINUTE;
	}
	report->silence = what >= 6;
	if (report->silence) {
		v->action = VERDICT_RETRY;
		v->scope = VERDICT_SCOPE_CONNECTION;
		v->known = false;
	}
	return true;
}

static void report_both(struct twins *t)
{
	struct flight f = t->flights[--t->count];
	struct verdict v;
	struct reputation_report report = {
	    .stage = VERDICT_STAGE_MAIL + random_below(4),
	    .reply = "reply",
	    .recipient_domain = "customer.example",
	    .message_id = ++t->messages,
	    .family = f.permit.family ? f.permit.family : AF_INET6,
	    .probe = f.permit.answer == PERMIT_PROBE,
	};
	if (random_below(20) == 0) {
		reputation_give_back(t->through.r, &f.way, report.probe);
		reputation_give_back(t->again.r, &f.way, report.probe);
		return;
	}
	report.verdict = pick_verdict(t, &v, &report) ? &v : NULL;
	report.delivered = !report.verdict || random_below(4) == 0;
	reputation_report(t->through.r, &f.way, &report, t->now);
	reputation_report(t->again.r, &f.way, &report, t->now);
}

static void administrate_both(struct twins *t)
{
	static bool (*const acts[])(struct reputation *, const char *, const char *, int64_t) = {
	    reputation_hold, reputation_open, reputation_reset, reputation_probe_now};
	size_t act = random_below(4);
	const char *provider = providers[random_below(3)];
	const char *source = random_below(2) ? sources[random_below(3)] : NULL;
	if (act == 0 && random_below(2))
		return;
	bool one = acts[act](t->through.r, provider, source, t->now);
	assert_int_equal(one, acts[act](t->again.r, provider, source, t->now));
}

static void step(struct twins *t)
{
	uint32_t what = random_below(100);
	if (what < 50 && t->count < FLIGHT)
		ask_both(t);
	else if (t->count)
		report_both(t);
	if (what == 99)
		administrate_both(t);
	t->now += what < 60 ? random_below(3000) : 0;
	if (what == 98)
		t->now += random_below(90) * MINUTE;
}

static void compare_dumps(const struct twins *t)
{
	struct buf one = {0};
	struct buf two = {0};
	paths_dump(&t->through, &one);
	paths_dump(&t->again, &two);
	assert_string_equal(buf_text(&one), buf_text(&two));
	buf_free(&one);
	buf_free(&two);
}

static void run(uint64_t seed)
{
	struct twins t = {.now = T0, .calm = seed % 2 ? 60 : 15};
	random_fix(seed);
	paths_open(&t.through);
	paths_open(&t.again);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		step(&t);
		if (t.count == 0 && random_below(12) == 0) {
			t.now += AT_THE_DOOR; /* nobody stands there after a restart */
			paths_restart(&t.again);
			compare_dumps(&t);
		}
	}
	paths_close(&t.through);
	paths_close(&t.again);
}

static void test_restart(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		run(seed);
}

/* ---- kill -9: what the events tell ---- */

struct crash {
	const struct paths *survivor;
	int64_t now;
	unsigned checked;
};

/* What was learnt little by little may be ten seconds old, but no hold, no step of
 * a ladder, no count of a budget is lost. */
static void check_view(void *arg, const struct path_view *was)
{
	struct crash *c = arg;
	struct path_view is;
	assert_true(paths_view(c->survivor, was->source, was->provider, c->now, &is));
	assert_int_equal(is.state, was->state);
	assert_int_equal(is.ipv6_closed, was->ipv6_closed);
	assert_int_equal(is.warm_day, was->warm_day);
	assert_int_equal(is.budget_used, was->budget_used);
	if (was->state == PATH_HELD)
		assert_int_equal(is.until_ms, was->until_ms);
	if (was->state == PATH_HELD)
		c->checked++;
}

static void same_incident(void *arg, const struct incident *was)
{
	struct crash *c = arg;
	const struct incident *is = incident_find(c->survivor->r, was->number);
	assert_non_null(is);
	assert_string_equal(is->source, was->source);
	assert_string_equal(is->provider, was->provider);
	assert_int_equal(is->open, was->open);
	assert_int_equal(is->met, was->met);
	assert_int_equal(is->next_probe_ms, was->next_probe_ms);
	assert_int_equal(is->reply_count, was->reply_count);
}

static void test_kill(void **state)
{
	struct twins t = {.now = T0, .calm = 30};
	struct crash c = {.survivor = &t.again};
	(void)state;
	random_fix(7);
	paths_open(&t.through);
	paths_open(&t.again);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		step(&t);
		if (t.count || random_below(20))
			continue;
		/* built from events, then compared with the one that ran through, and
		 * then made equal again, so that both go on alike */
		paths_crash(&t.again);
		c.now = t.now;
		reputation_each(t.through.r, t.now, check_view, &c);
		incident_each(t.through.r, same_incident, &c);
		t.now += AT_THE_DOOR;
		paths_copy(&t.again, &t.through);
	}
	assert_true(c.checked > 20);
	paths_close(&t.through);
	paths_close(&t.again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_restart),
	    cmocka_unit_test(test_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
