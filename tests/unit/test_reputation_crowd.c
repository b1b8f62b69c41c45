/* SPDX-License-Identifier: MIT
 * A thousand destinations behind one path (custom domains at one provider): each asks
 * again when it was told to, and that must not become a thousand questions a second.
 */
#include "tests/unit/reputation_kit.h"

#include "relayd/base/mem.h"

#define CROWD 1000
#define TICK 10

struct crowd {
	struct paths kit;
	int64_t again_ms[CROWD]; /* when each of them asks */
	size_t asked;
	size_t went;
	int64_t waited_ms; /* the longest that one was told to wait */
};

/* From T0 to T0 + MS, in ticks; who goes stays under way. */
static void run(struct crowd *c, const struct reputation_way *way, int64_t from_ms, int64_t to_ms)
{
	for (int64_t now = from_ms; now < to_ms; now += TICK)
		for (size_t i = 0; i < CROWD; i++) {
			if (c->again_ms[i] > now)
				continue;
			struct permit permit = reputation_ask(c->kit.r, way, now);
			c->asked++;
			c->went += permit.answer == PERMIT_GO;
			c->again_ms[i] = permit.answer == PERMIT_GO ? INT64_MAX : permit.at_ms;
			if (permit.answer == PERMIT_WAIT && permit.at_ms - now > c->waited_ms)
				c->waited_ms = permit.at_ms - now;
		}
}

static void open_crowd(struct crowd *c)
{
	*c = (struct crowd){0};
	paths_open(&c->kit);
	for (size_t i = 0; i < CROWD; i++)
		c->again_ms[i] = T0;
}

static void test_window_is_full(void **state)
{
	struct crowd *c = mem_zero(sizeof(*c));
	struct reputation_way way = paths_way("ip1", "provider");
	(void)state;
	open_crowd(c);
	run(c, &way, T0, T0 + 30 * SECOND);
	size_t under_way = c->went;
	assert_in_range(under_way, 1, 100);
	assert_true(c->asked < CROWD + 31 * 110); /* 30,000 when each asks each second */
	/* under ten seconds: who waits longer looks for another way */
	assert_true(c->waited_ms < 10 * SECOND);
	/* a place that becomes free is taken at once nevertheless */
	for (int k = 0; k < 20; k++) {
		int64_t now = T0 + (30 + k) * SECOND;
		reputation_give_back(c->kit.r, &way, false);
		run(c, &way, now, now + SECOND / 10);
		assert_true(c->went > under_way + (size_t)k);
		run(c, &way, now + SECOND / 10, now + SECOND);
	}
	paths_close(&c->kit);
	mem_free(c);
}

/* What is urgent does not stand in that line, and a few do not make one. */
static void test_few_and_urgent(void **state)
{
	struct crowd *c = mem_zero(sizeof(*c));
	struct reputation_way way = paths_way("ip1", "provider");
	(void)state;
	open_crowd(c);
	run(c, &way, T0, T0 + 10 * SECOND);
	way.urgent = true;
	assert_true(paths_ask(&c->kit, &way, T0 + 10 * SECOND, PERMIT_WAIT).at_ms <=
		    T0 + 11 * SECOND);
	way.urgent = false;
	way.provider = "quiet";
	while (reputation_ask(c->kit.r, &way, T0).answer == PERMIT_GO)
		;
	assert_true(paths_ask(&c->kit, &way, T0, PERMIT_WAIT).at_ms <= T0 + 11 * SECOND / 10);
	paths_close(&c->kit);
	mem_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_window_is_full),
	    cmocka_unit_test(test_few_and_urgent),
	};
	return cmocka_run_group_tests_name("reputation_crowd", tests, NULL, NULL);
}
