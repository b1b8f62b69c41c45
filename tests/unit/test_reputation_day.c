/* SPDX-License-Identifier: MIT
 * A mixed day in simulated time: 100,000 messages to 12 providers over two sources,
 * of which three providers block or throttle at times. No message may bounce of
 * it, and mail to the healthy providers must not notice.
 */
#include "tests/unit/reputation_kit.h"

#include <string.h>

#include "relayd/base/heap.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define MESSAGES 100000
#define PROVIDERS 12
#define SOURCES 2
#define LATENCY 400

enum trouble { HEALTHY, BLOCKS, THROTTLES, RESETS };

/* From FROM to TO hours it has its trouble; BLOCKS and RESETS with ip1 only. */
static const struct provider_day {
	const char *name;
	enum trouble trouble;
	int from;
	int to;
	unsigned share; /* of the mail */
} days[PROVIDERS] = {
    {"google", HEALTHY, 0, 0, 30},
    {"microsoft", BLOCKS, 9, 14, 20},
    {"yahoo", THROTTLES, 0, 24, 10},
    {"yahoo.co.jp", HEALTHY, 0, 0, 10},
    {"docomo", HEALTHY, 0, 0, 8},
    {"au", RESETS, 12, 18, 6},
    {"softbank", HEALTHY, 0, 0, 4},
    {"icloud", HEALTHY, 0, 0, 4},
    {"gmo", HEALTHY, 0, 0, 3},
    {"proofpoint", HEALTHY, 0, 0, 2},
    {"mx.example.jp", HEALTHY, 0, 0, 2},
    {"mx.example.com", HEALTHY, 0, 0, 1},
};

static const char *const sources[SOURCES] = {"ip1", "ip2"};

struct mail {
	struct heap_node due;
	unsigned provider;
	int64_t arrived;
	size_t source;  /* of the transaction under way */
	bool running;
	bool probe;
	unsigned attempts;
};

struct total {
	unsigned delivered, deferred, delayed; /* delayed: over five minutes */
	unsigned by_second; /* source */
	int64_t worst;
};

struct day {
	struct paths kit;
	struct heap heap;
	struct mail *mails;
	struct total totals[PROVIDERS];
	bool trouble;
	int64_t minute[PROVIDERS][SOURCES];
	unsigned in_minute[PROVIDERS][SOURCES];
};

static unsigned pick_provider(void)
{
	uint32_t n = random_below(100);
	unsigned i = 0;
	while (n >= days[i].share)
		n -= days[i++].share;
	return i;
}

/* What the provider does with a transaction from that source. */
static enum trouble provider_says(struct day *day, unsigned i, size_t source, int64_t now)
{
	int64_t hour = (now - T0) / HOUR;
	const struct provider_day *p = &days[i];
	if (!day->trouble || hour < p->from || hour >= p->to)
		return HEALTHY;
	if (p->trouble == THROTTLES) {
		if (day->minute[i][source] != now / MINUTE)
			day->in_minute[i][source] = 0;
		day->minute[i][source] = now / MINUTE;
		return ++day->in_minute[i][source] > 5 ? THROTTLES : HEALTHY;
	}
	return source == 0 ? p->trouble : HEALTHY;
}

/* The first way that is open; short waits are waited out. */
static void start(struct day *day, struct mail *m, int64_t now)
{
	int64_t first = INT64_MAX;
	for (size_t s = 0; s < SOURCES; s++) {
		struct reputation_way way = paths_way(sources[s], days[m->provider].name);
		struct permit permit = reputation_ask(day->kit.r, &way, now);
		if (permit.answer == PERMIT_GO || permit.answer == PERMIT_PROBE) {
			m->running = true;
			m->source = s;
			m->probe = permit.answer == PERMIT_PROBE;
			heap_add(&day->heap, &m->due, now + LATENCY);
			return;
		}
		first = permit.at_ms < first ? permit.at_ms : first;
		if (permit.answer == PERMIT_WAIT && permit.at_ms - now <= 10 * SECOND)
			break;
	}
	heap_add(&day->heap, &m->due, first);
}

static void delivered(struct day *day, const struct mail *m, int64_t now)
{
	struct total *t = &day->totals[m->provider];
	int64_t delay = now - m->arrived;
	t->delivered++;
	t->deferred += m->attempts;
	t->by_second += m->source == 1;
	t->delayed += delay > 5 * MINUTE;
	t->worst = delay > t->worst ? delay : t->worst;
}

static void end(struct day *day, struct mail *m, int64_t now)
{
	static const struct verdict reset = {.klass = VERDICT_SERVER_BUSY,
	    .scope = VERDICT_SCOPE_CONNECTION,
	    .action = VERDICT_RETRY,
	    .rule = "structure",
	    .provider = "",
	    .help = ""};
	enum trouble says = provider_says(day, m->provider, m->source, now);
	static const struct verdict *const verdicts[] = {NULL, &paths_blocked, &paths_slow, &reset};
	struct reputation_way way = paths_way(sources[m->source], days[m->provider].name);
	struct reputation_report report = {
	    .verdict = verdicts[says],
	    .stage = says == RESETS ? VERDICT_STAGE_CONNECT : VERDICT_STAGE_MAIL,
	    .reply = says == RESETS ? "" : "reply",
	    .recipient_domain = "example.com",
	    .delivered = says == HEALTHY,
	    .probe = m->probe,
	    .silence = says == RESETS,
	};
	reputation_report(day->kit.r, &way, &report, now);
	m->running = false;
	if (says == HEALTHY) {
		delivered(day, m, now);
		return;
	}
	m->attempts++;
	heap_add(&day->heap, &m->due, now + (says == RESETS ? 2 * MINUTE : 0));
}

static void day_run(struct day *day, bool trouble)
{
	memset(day, 0, sizeof(*day));
	paths_open(&day->kit);
	random_fix(42);
	day->trouble = trouble;
	day->mails = mem_array(MESSAGES, sizeof(*day->mails));
	for (size_t i = 0; i < MESSAGES; i++) {
		struct mail *m = &day->mails[i];
		heap_node_init(&m->due);
		m->provider = pick_provider();
		m->arrived = T0 + (int64_t)random_below(24 * 3600 * 1000);
		heap_add(&day->heap, &m->due, m->arrived);
	}
	for (struct heap_node *node; (node = heap_first(&day->heap));) {
		struct mail *m = heap_owner(node, struct mail, due);
		int64_t now = node->key;
		heap_remove(&day->heap, node);
		assert_true(now < T0 + 3 * DAY);
		if (m->running)
			end(day, m, now);
		else
			start(day, m, now);
	}
}

static void day_clear(struct day *day)
{
	heap_free(&day->heap);
	mem_free(day->mails);
	paths_close(&day->kit);
}

static void test_day(void **state)
{
	struct day calm;
	struct day bad;
	unsigned sum = 0;
	(void)state;
	day_run(&calm, false);
	day_run(&bad, true);
	print_message("%-15s %9s %8s %8s %9s %9s\n", "provider", "delivered", "refused",
	    "over 5m", "by ip2", "worst s");
	for (unsigned i = 0; i < PROVIDERS; i++) {
		const struct total *t = &bad.totals[i];
		sum += t->delivered;
		print_message("%-15s %9u %8u %8u %9u %9.1f%s\n", days[i].name, t->delivered,
		    t->deferred, t->delayed, t->by_second, (double)t->worst / 1000,
		    days[i].trouble ? "  in trouble" : "");
		assert_true(t->worst < (days[i].trouble ? 30 * MINUTE : MINUTE));
		assert_int_equal(t->delivered, calm.totals[i].delivered);
		if (!days[i].trouble)
			assert_int_equal(t->worst, calm.totals[i].worst);
		assert_true(t->deferred * 50 <= t->delivered);
	}
	assert_int_equal(sum, MESSAGES); /* bounced: none */
	day_clear(&calm);
	day_clear(&bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_day),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
