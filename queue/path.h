/* SPDX-License-Identifier: MIT
 * One path's arithmetic: how many transactions at a time, how many a minute,
 * when a held one is probed and how it comes back. Pure: no other path, no
 * incident, no clock. Used by reputation.c.
 *
 *	window   additive increase (1/window a success), halved by a refusal
 *	rate     unknown until a refusal; then what was accepted in the minute before
 *		 it is the ceiling, and the rate starts anew at 90 % of it. It comes
 *		 back to the ceiling fast at first and slowly near it, stays there for
 *		 long and then feels its way beyond ever faster, in case the limit has
 *		 risen: a cubic curve, driven by mail that was accepted and not by
 *		 time that has passed, so that an idle path does not forget.
 *	wait     after a refusal: the time the reply names, else 1, 2, 4, ... min
 *	held     nothing but one probe at a time, at the steps of a ladder
 *	allow    after a good probe: 1, 2, 4, ... transactions per interval
 */
#ifndef QUEUE_PATH_H
#define QUEUE_PATH_H

#include "queue/reputation.h"
#include "queue/turn.h"
#include "relayd/base/hash.h"

#define PATH_MINUTE 60000
#define PATH_HOUR (60 * INT64_C(60000))
#define PATH_DAY (24 * PATH_HOUR)

#define PATH_WINDOW_MAX 20    /* where the provider says nothing */
#define PATH_RATE_MAX 6000.0  /* a minute: beyond that no limit is known */
#define PATH_RATE_MIN 0.1
#define PATH_CUT 0.9          /* of the ceiling */
#define PATH_TOO_MUCH 0.97    /* of the rate that was refused: the curve is flat below it */
#define PATH_CUT_AGAIN 0.85   /* and more of it, when that was not enough */
#define PATH_CURVE_MS 1200000 /* of sending at the rate, from the cut to the ceiling */
#define PATH_WAIT_MAX PATH_HOUR
#define PATH_REFUSALS 5       /* in a row, each after a longer wait: a block */
#define PATH_INTERVAL 300000  /* of the slow start */
#define PATH_ALLOW_MAX 128    /* a slow start that got this far is over */
#define PATH_SILENCES 3       /* in a row */
#define PATH_HICCUP 5000      /* silences closer than this are one */
#define PATH_SILENCE_WAIT 300000
#define PATH_RECENT PATH_HOUR
#define PATH_STALE (30 * PATH_MINUTE) /* a probe without a report is lost */
#define PATH_LADDER 8
#define PATH_SLOT 5000 /* of the minute's count */
#define PATH_SLOTS 12
#define PATH_WAIT_LIMIT (30 * PATH_DAY) /* no time that anybody names is longer */

struct path_provider; /* reputation_internal.h */

/* Those who ask in vain are given times: how many were, from which time on. */
struct path_turns {
	int64_t from_ms;
	unsigned given;
};

/* The next one's time, FROM_MS for the first; evenly within an interval. */
int64_t path_turn(struct path_turns *turns, int64_t from_ms, struct permit_spread spread);

struct path {
	UT_hash_handle hh; /* by key: source TAB provider */
	char *key;
	char *source;   /* owned, as it is stored */
	char *provider;
	struct path *older; /* least recently used first */
	struct path *newer;
	struct path *next; /* of the same provider */
	struct path_provider *group;

	double window;
	double rate;    /* learned, a minute; 0: no limit known */
	double ceiling; /* the rate at the last refusal */
	double sent_ms; /* sending at the rate since then: where on the curve we are */
	int64_t refused_ms;
	unsigned refusals; /* in a row */
	int64_t turn_ms;   /* the next transaction's turn, by the rate */
	int64_t minute_slot;
	int64_t minute[PATH_SLOTS]; /* accepted, by time / PATH_SLOT % PATH_SLOTS */

	bool slowed;
	int64_t until_ms; /* nothing goes before */

	bool held;
	bool by_hand; /* until the administrator opens it: no probes but one that he asks for */
	unsigned step;
	int64_t ladder[PATH_LADDER]; /* ends with the first 0 */
	int64_t probe_ms;
	enum verdict_class hold_class;
	enum verdict_stage hold_stage; /* how far a probe has to get */

	unsigned allow; /* slow start: transactions per interval; 0: not starting */
	unsigned allow_used;
	bool allow_worked; /* one was accepted in this interval */
	int64_t allow_ms;  /* its begin */

	int64_t v6_until; /* IPv6 is closed until then; 0: open */
	unsigned v6_step;
	int64_t v6_opened_ms;
	unsigned v6_incident; /* that closed it */

	unsigned silences; /* in a row */
	int64_t silent_ms; /* first and last of them */
	int64_t silent_last_ms;
	int64_t answered_ms; /* the provider let us speak to it */

	unsigned warm_back; /* days lost to refusals */
	int64_t warm_back_ms;
	int64_t warm_from_ms; /* instead of the source's date, after idle days */
	int64_t used_hour;    /* since 1970 */
	unsigned used;        /* of that hour's budget, without those running */
	int64_t sent_last_ms;

	/* not among what path_reset forgets */
	char *since; /* of the source, as of the last ask */
	char *last_rule;
	char *last_reply;
	int64_t last_ms;
	unsigned incident; /* that holds it; 0 none */

	/* not stored: nothing runs after a restart */
	unsigned running;
	bool probing;
	int64_t probing_ms;
	bool v6_trial;
	int64_t v6_trial_ms;
	struct path_turns turns[TURN_RANKS]; /* of those who wait, by rank */
	struct turn_claim claim;
	int64_t crowd_ms; /* when the last of those who wait for a moment asks again */
	int64_t saved_ms; /* when its line was last written */
	uint64_t saved_mark;
};

/* What the provider allows at most, whatever we learn. */
struct path_limits {
	double window;
	double per_minute; /* 0: no limit known */
};
struct path_limits path_limits(const struct provider *provider);

/* As new: nothing learnt. Names, hash links and what runs stay. */
void path_reset(struct path *p, double window);

/* May one go now, budget apart? Takes nothing. */
struct permit path_ask(struct path *p, struct path_limits limits, int64_t now_ms);
void path_take(struct path *p, struct path_limits limits, bool probe, int64_t now_ms);

/* It was not used / it is over. */
void path_give_back(struct path *p, bool probe);
void path_leave(struct path *p, bool probe);

/* It was accepted, at least in part: the minute's count only. */
void path_accepted(struct path *p, int64_t now_ms);

/* The provider let us speak to it: no silence. */
void path_answered(struct path *p, int64_t now_ms);

/* A transaction was accepted, and nothing was said against us. */
void path_worked(struct path *p, struct path_limits limits, int64_t now_ms);

/* "Slower": cut it. False: it is cut already, this one was under way then. */
bool path_refused(struct path *p, struct path_limits limits, int64_t wait_ms, int64_t now_ms);

/* Hold it; LADDER ends with the first 0. Held already: only IS_PROBE steps on. */
struct path_hold {
	const int64_t *ladder;
	size_t ladder_count;
	int64_t wait_ms; /* named by the reply; 0 none */
	enum verdict_class klass;
	enum verdict_stage stage;
	bool is_probe;
};
void path_hold(struct path *p, const struct path_hold *hold, int64_t now_ms);

/* The probe says nothing: try again soon, on the same step. */
void path_probe_again(struct path *p, int64_t after_ms, int64_t now_ms);

/* The block is gone: slow start. */
void path_reopen(struct path *p, int64_t now_ms);

/* No reply at all. True: often enough in a row to ask whether it is us. */
bool path_silent(struct path *p, int64_t now_ms);

/* Which family may be used. AF_UNSPEC (0) asked and IPv6 closed: AF_INET. -1: only
 * IPv6 was asked for, and it is closed. TRIAL: this one decides about IPv6. */
int path_family(struct path *p, int family, int64_t now_ms, bool *trial);
void path_close_v6(struct path *p, const struct verdict *verdict, int64_t now_ms);

/* Accepted in the last minute. */
unsigned path_minute(const struct path *p, int64_t now_ms);

/* The rate in force: what was learned and what the provider says; 0 none. */
double path_rate(const struct path *p, struct path_limits limits);

/* A number that changes when the path moves (not with each success). */
uint64_t path_mark(const struct path *p);

/* Nothing that would be missed: not held, not slowed, no learnt limit. */
bool path_is_plain(const struct path *p);

#endif
