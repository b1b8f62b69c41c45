/* SPDX-License-Identifier: MIT
 * A store of any bytes: what is taken from it can be asked, reported to, and
 * comes back from its own dump unchanged.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "queue/reputation.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW (INT64_C(1795219200) * 1000)
#define HOUR (INT64_C(3600) * 1000)

static struct reputation *make(void)
{
	struct reputation_options options = {
	    .ladder = {900000, HOUR, 4 * HOUR, 24 * HOUR},
	    .ladder_count = 4,
	    .warmup_start = 20,
	    .warmup_growth = 1.4,
	    .warmup_days = 30,
	    .idle_days = 30,
	    .window_start = 2,
	};
	return reputation_new(&options);
}

static void replay(struct reputation *r, const char *p, size_t n)
{
	while (n) {
		const char *end = memchr(p, '\n', n);
		struct span line = {p, end ? (size_t)(end - p) : n};
		reputation_replay(r, line);
		n -= line.n + (end ? 1 : 0);
		p += line.n + (end ? 1 : 0);
	}
}

static void keep(void *arg, const char *line)
{
	if (strchr(line, '\n'))
		bug("a line with a line end in it");
	for (const char *p = line; *p; p++)
		if ((*p < 32 && *p != '\t') || *p == 127)
			bug("a control byte in a line");
	buf_add_text(arg, line);
	buf_add_byte(arg, '\n');
}

/* A dump is all that a restart has: nothing may be lost on the way. */
static void check_round(struct reputation *r)
{
	struct buf one = {0};
	struct buf two = {0};
	struct reputation *again = make();
	reputation_dump(r, keep, &one);
	replay(again, buf_text(&one), one.len);
	reputation_dump(again, keep, &two);
	if (strcmp(buf_text(&one), buf_text(&two)) != 0)
		bug("a dump does not come back");
	reputation_free(again);
	buf_free(&one);
	buf_free(&two);
}

static void use(struct reputation *r, const struct reputation_way *way, int64_t now)
{
	static const int64_t ladder[] = {1, INT64_MAX};
	struct verdict v = {.klass = VERDICT_IP_BLOCKED, .scope = VERDICT_SCOPE_IP,
	    .action = VERDICT_HOLD, .rule = "r", .provider = "", .help = "h"};
	struct reputation_report report = {.reply = "421 no", .recipient_domain = "d.example",
	    .stage = VERDICT_STAGE_MAIL, .delivered = 1};
	for (unsigned i = 0; i < 12; i++) {
		struct permit permit = reputation_ask(r, way, now);
		bool go = permit.answer == PERMIT_GO || permit.answer == PERMIT_PROBE;
		if (!go && permit.at_ms <= now)
			bug("ask again at once, for ever");
		report.probe = permit.answer == PERMIT_PROBE;
		report.verdict = i % 3 ? &v : NULL;
		v.action = i % 2 ? VERDICT_SLOW : i % 4 ? VERDICT_HOLD : VERDICT_HOLD_DOMAIN;
		v.ladder = i % 5 ? NULL : ladder;
		v.ladder_count = 2;
		v.wait_ms = i % 7 ? 0 : INT64_MAX;
		if (go)
			reputation_report(r, way, &report, now);
		now = go ? now + 1000 : permit.at_ms;
	}
}

static void use_all(void *arg, const struct path_view *view)
{
	struct buf *names = arg;
	buf_add(names, view->source, strlen(view->source) + 1);
	buf_add(names, view->provider, strlen(view->provider) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reputation *r = make();
	struct buf names = {0};
	if (size > 100000)
		size = 100000;
	replay(r, (const char *)data, size);
	check_round(r);
	reputation_each(r, NOW, use_all, &names);
	for (size_t at = 0; at < names.len && at < 1000;) {
		struct reputation_way way = {.source = names.data + at, .since = "2026-11-01",
		    .sender_domain = "example.jp"};
		at += strlen(way.source) + 1;
		way.provider = names.data + at;
		at += strlen(way.provider) + 1;
		use(r, &way, NOW);
	}
	check_round(r);
	reputation_free(r);
	buf_free(&names);
	return 0;
}
