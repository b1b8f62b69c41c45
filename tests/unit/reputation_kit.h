/* SPDX-License-Identifier: MIT
 * For tests of the reputation: one with the usual options, short names for ways
 * and verdicts, the lines of its events, and what a view shows.
 */
#ifndef TESTS_UNIT_REPUTATION_KIT_H
#define TESTS_UNIT_REPUTATION_KIT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "queue/reputation.h"
#include "relayd/base/buf.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define T0 (INT64_C(1795219200) * SECOND) /* 2026-11-21 00:00 UTC */

struct paths {
	struct reputation *r;
	struct buf lines; /* every event, with \n behind */
	unsigned incidents; /* calls of on_incident */
	unsigned last_incident;
};

void paths_open(struct paths *kit);
void paths_close(struct paths *kit);
/* The same for cmocka: one on the heap for each test. */
int paths_setup(void **state);
int paths_teardown(void **state);

/* Throw it away and build it anew: from its dump / from its events. */
void paths_restart(struct paths *kit);
void paths_crash(struct paths *kit);
void paths_dump(const struct paths *kit, struct buf *out);
/* Make KIT what FROM is (by its dump); its own events stay. */
void paths_copy(struct paths *kit, const struct paths *from);

struct reputation_way paths_way(const char *source, const char *provider);

/* Verdicts about our IP. */
extern const struct verdict paths_blocked; /* HOLD, the usual ladder */
extern const struct verdict paths_slow;    /* SLOW, rate-limited, no time */
extern const struct verdict paths_greylisted;
extern const struct verdict paths_unknown_user;
extern const struct verdict paths_content;
extern const struct verdict paths_dmarc; /* HOLD_DOMAIN */

/* Ask, and check the answer. Result: the permit. */
struct permit paths_ask(struct paths *kit, const struct reputation_way *way, int64_t now_ms,
    enum permit_answer wanted);

/* A transaction: ask (GO or PROBE, as the answer is) and report. V NULL: delivered. */
void paths_send(struct paths *kit, const struct reputation_way *way, const struct verdict *v,
    enum verdict_stage stage, const char *reply, int64_t now_ms);
/* The report alone. */
void paths_report(struct paths *kit, const struct reputation_way *way, const struct verdict *v,
    enum verdict_stage stage, const char *reply, bool probe, int64_t now_ms);
void paths_silence(struct paths *kit, const struct reputation_way *way, int64_t now_ms);

/* False: there is no such path. */
bool paths_view(const struct paths *kit, const char *source, const char *provider, int64_t now_ms,
    struct path_view *view);
enum path_state paths_state(const struct paths *kit, const char *source, const char *provider,
    int64_t now_ms);

#endif
