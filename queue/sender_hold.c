/* SPDX-License-Identifier: MIT */
#include "queue/sender_hold.h"

#include <string.h>

#define AGAIN_MS (15 * INT64_C(60000)) /* after a probe that said nothing */
#define SLOW_MS (30 * INT64_C(60000))  /* "slower" without a time */

static const int64_t usual[] = {PATH_HOUR, 4 * PATH_HOUR, PATH_DAY};

struct permit sender_hold_ask(struct sender_hold *h, int64_t now_ms)
{
	struct permit permit = {.answer = PERMIT_GO, .at_ms = now_ms};
	if (!h->held)
		return permit;
	if (h->until_ms > now_ms + PATH_WAIT_LIMIT)
		h->until_ms = now_ms + PATH_WAIT_LIMIT; /* the clock was set back */
	bool probing = h->probing && now_ms - h->probing_ms < PATH_STALE;
	permit.answer = probing || now_ms < h->until_ms ? PERMIT_DOMAIN_HELD : PERMIT_PROBE;
	if (permit.answer == PERMIT_DOMAIN_HELD)
		permit.at_ms = now_ms < h->until_ms ? h->until_ms : now_ms + PATH_MINUTE;
	permit.spread = (struct permit_spread){PATH_INTERVAL, 2, true};
	permit.stage = h->stage;
	permit.incident = h->incident;
	return permit;
}

static void set_ladder(struct sender_hold *h, const int64_t *ladder, size_t count)
{
	memset(h->ladder, 0, sizeof(h->ladder));
	for (size_t i = 0; i < count && i < PATH_LADDER; i++)
		h->ladder[i] = ladder[i] < 1000 ? 1000 : ladder[i];
}

static int64_t wait_of(const struct sender_hold *h, const struct verdict *verdict)
{
	unsigned last = 0;
	while (last + 1 < PATH_LADDER && h->ladder[last + 1])
		last++;
	int64_t wait = h->ladder[h->step < last ? h->step : last];
	if (verdict->action == VERDICT_SLOW)
		wait = verdict->wait_ms > 0 ? verdict->wait_ms : SLOW_MS;
	else if (verdict->wait_ms > wait)
		wait = verdict->wait_ms;
	return wait < PATH_WAIT_LIMIT ? wait : PATH_WAIT_LIMIT;
}

void sender_hold_refused(struct sender_hold *h, const struct verdict *verdict,
    enum verdict_stage stage, bool probe, int64_t now_ms)
{
	if (h->held && !probe)
		return; /* it was under way when the first one came */
	bool again = h->held || (h->opened_ms && now_ms - h->opened_ms < PATH_DAY);
	if (!again)
		h->step = 0;
	else if (verdict->action != VERDICT_SLOW && h->step + 1 < PATH_LADDER)
		h->step++;
	if (verdict->ladder && verdict->ladder_count)
		set_ladder(h, verdict->ladder, verdict->ladder_count);
	else if (!h->ladder[0])
		set_ladder(h, usual, sizeof(usual) / sizeof(usual[0]));
	h->held = true;
	h->stage = stage;
	h->until_ms = now_ms + wait_of(h, verdict);
}

void sender_hold_open(struct sender_hold *h, int64_t now_ms)
{
	h->held = false;
	h->opened_ms = now_ms;
	h->until_ms = 0;
	h->incident = 0;
}

void sender_hold_again(struct sender_hold *h, int64_t now_ms)
{
	h->until_ms = now_ms + AGAIN_MS;
}
