/* SPDX-License-Identifier: MIT
 * Thousands of domains whose name servers do not answer, beside ones that do: what can
 * not be looked up takes no connection away from what can be delivered.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define FAKE_DNS
#include "tests/unit/fake_dns.h"
#include "tests/unit/world.h"

#include "relayd/base/mem.h"

#define DEAD 2000 /* ten times queue.connections */

static const struct world_site good[] = {
    {"good.test", "mx.good.test", NULL}, {"more.test", "mx.more.test", NULL}, {0}};

/* One message to a recipient in each of DEAD domains. */
static void send_to_the_dead(struct world *w)
{
	const char **recipients = mem_array(DEAD + 1, sizeof(*recipients));
	for (size_t i = 0; i < DEAD; i++) {
		char text[64];
		snprintf(text, sizeof(text), "user@d%zu.silent", i);
		recipients[i] = mem_text(text);
	}
	world_send_to(w, "taro@example.jp", recipients);
	for (size_t i = 0; i < DEAD; i++)
		free((void *)(uintptr_t)recipients[i]);
	mem_free(recipients);
}

static bool one_is_delivered(struct world *w)
{
	return w->sites[0].mail_count == 1;
}

static bool ten_are_delivered(struct world *w)
{
	return w->sites[1].mail_count == 10 && deliver_running(w->deliver) == 0;
}

static void test_beside_the_dead(void **state)
{
	struct world w;
	(void)state;
	world_open(&w, good, "\"ip1\"", "");
	send_to_the_dead(&w);
	world_send(&w, "user@good.test");
	world_until(&w, one_is_delivered, WORLD_SECOND);
	for (int i = 0; i < 10; i++)
		world_send(&w, "user@more.test");
	world_until(&w, ten_are_delivered, WORLD_SECOND);
	assert_int_equal(w.dns.silent, DEAD);
	struct schedule_stats stats = schedule_stats(deliver_schedule(w.deliver));
	assert_int_equal(stats.running, 0);
	assert_int_equal(stats.ready, DEAD);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_beside_the_dead),
	};
	return cmocka_run_group_tests_name("scenario_dead", tests, NULL, NULL);
}
