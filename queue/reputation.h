/* SPDX-License-Identifier: MIT
 * Paths and what they have earned. A path is a way out (a source, or a
 * smarthost) to one provider (a group of receivers that share a fate: Google
 * with all custom domains on it, else the set of MX hosts). Verdicts move it:
 *
 *	warming  a young source: a budget per hour that grows by its age
 *	open     window and rate grow a little with each success
 *	slowed   a verdict has cut them, until a time
 *	held     a verdict about our IP: nothing goes but a probe now and then
 *
 *	warming/open --rate, reputation--> slowed --time, successes--> open
 *	any --ip verdict, or silence that only this source meets--> held
 *	held --probe answered well--> slowed (slow start 1, 2, 4, ...) --> open
 *	held --probe refused--> held, next step of the ladder
 *	slowed --five refusals in a row, each after a longer wait--> held
 *	any --silence, and nobody else was ever answered--> slowed for 5 minutes, so
 *		that another way is tried; is that one answered, held
 *
 * Verdicts about a recipient or a message never move a path; a path's state
 * never says anything about a recipient. A verdict about the sender's domain
 * holds the pair (sender domain, provider) and no IP (one that only says "slower",
 * for the time it names and without an incident). Per address family: an
 * IPv6 verdict closes only IPv6 to that provider.
 *
 * Pure: time comes in as an argument (steady clock, ms), changes go out as
 * events, small and idempotent, to a store that survives a restart (store.h).
 * The loop asks before each transaction and reports after it.
 */
#ifndef QUEUE_REPUTATION_H
#define QUEUE_REPUTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "queue/verdict.h"

struct reputation;

enum path_state { PATH_WARMING, PATH_OPEN, PATH_SLOWED, PATH_HELD };
const char *path_state_name(enum path_state state);

struct reputation_options {
	int64_t ladder[8];      /* of probes: 15 m, 1 h, 4 h, 24 h; the last repeats */
	size_t ladder_count;
	double warmup_start;    /* messages an hour on day 0: 20 */
	double warmup_growth;   /* a day: 1.4 */
	unsigned warmup_days;   /* 30 */
	unsigned idle_days;     /* 30 without mail start the warm-up again */
	double window_start;    /* concurrent transactions of a new path: 2 */
	/* One line of text per change of state, budget or incident; written down by
	 * the caller. reputation_replay takes them back in the same order. */
	void (*event)(void *arg, const char *line);
	void *arg;
};

struct reputation *reputation_new(const struct reputation_options *options);
void reputation_free(struct reputation *reputation);
/* Reload. What is held already keeps its ladder; event and arg stay as well. */
void reputation_set_options(struct reputation *reputation,
    const struct reputation_options *options);
/* One stored line. False: not one of ours (it is skipped). */
bool reputation_replay(struct reputation *reputation, struct span line);
/* The whole state as lines, to begin a new store file with. */
void reputation_dump(const struct reputation *reputation,
    void (*line)(void *arg, const char *line), void *arg);

/* ---- asking ---- */

struct reputation_way {
	const char *source;        /* name of a source, or "smarthost:NAME" */
	const char *since;         /* of the source, "YYYY-MM-DD" or "" */
	const struct provider *limits; /* of the provider; NULL: the usual ones */
	const char *provider;      /* id, or the name that stands for an MX set */
	const char *sender_domain; /* d= of the message, "" none */
	int family;                /* AF_INET, AF_INET6, 0 either */
	bool urgent;               /* transactional: before others when a budget is short */
	bool bulk;                 /* behind others then */
};

enum permit_answer {
	PERMIT_GO,    /* one transaction; report it with reputation_report */
	PERMIT_PROBE, /* the same, and it decides about a held path: one message only */
	PERMIT_WAIT,  /* window, rate or budget is used up: ask again at AT */
	PERMIT_HELD,  /* the path is held, next probe at AT */
	PERMIT_DOMAIN_HELD, /* (sender domain, provider) is held until AT: no other source helps */
};

/* How many may come from AT on: FIRST in an interval, in the next ones as many each,
 * or (GROWS) twice as many as in the one before. first 0: at AT itself. */
struct permit_spread {
	int64_t interval_ms;
	unsigned first;
	bool grows;
};

struct permit {
	enum permit_answer answer;
	int64_t at_ms;
	int family; /* AF_INET when IPv6 to this provider is closed, else as asked */
	enum verdict_stage stage; /* PROBE: how far it has to get to say anything */
	unsigned incident; /* HELD, DOMAIN_HELD: what about; 0 none (held by hand) */
	struct permit_spread spread; /* of those who wait; see reputation_turn */
};

/* May one message go now? GO and PROBE take a slot of the window and one of the
 * budget, given back or used up by reputation_report. WAIT with AT some seconds
 * ahead is pacing; further ahead (a budget, a wait that was named), another way
 * may be asked. */
struct permit reputation_ask(struct reputation *reputation, const struct reputation_way *way,
    int64_t now_ms);

/* PERMIT said no, and one more message waits for that: when shall it ask again? The
 * first one at PERMIT's time (the probe's, the next hour's), the others behind it as a
 * slow start or the budget will let them go, so that they do not all come at once. */
int64_t reputation_turn(struct reputation *reputation, const struct reputation_way *way,
    const struct permit *permit);

/* Nobody waits for a turn any more: the next one is the first again. */
void reputation_forget_turns(struct reputation *reputation, const struct reputation_way *way);

/* What keeps mail back. */
enum wait_cause {
	WAIT_NONE,
	WAIT_BY_HAND, /* the path is held by hand */
	WAIT_BLOCKED, /* it is held, for the provider has refused us */
	WAIT_DOMAIN,  /* the sender's domain is held there */
	WAIT_TROUBLE, /* it pauses, after silence or a refusal */
	WAIT_START,   /* it was held, and opens little by little */
	WAIT_BUDGET,  /* this hour's of a young source is used up */
	WAIT_RATE,    /* so many at a time, or a minute */
	WAIT_UNKNOWN, /* never a result: for who has forgotten it */
};

/* For what does WAY's mail wait, since PERMIT said no at NOW_MS? LAST: what the path has
 * met last, escaped, "" nothing; valid until its next report. */
enum wait_cause reputation_wait_cause(struct reputation *reputation,
    const struct reputation_way *way, const struct permit *permit, int64_t now_ms,
    const char **last);

/* ---- reporting ---- */

struct reputation_report {
	const struct verdict *verdict; /* the worst of the transaction; NULL: all delivered */
	enum verdict_stage stage;
	const char *reply;      /* raw text, code in front; "" none */
	const char *recipient_domain;
	uint64_t message_id;
	size_t delivered;       /* recipients */
	int family;             /* that was used; 0 none or unknown */
	bool probe;             /* the answer was PERMIT_PROBE */
	bool silence;           /* reset, timeout or close without a reply */
};
/* Several silences in a row are one block only when they lie more than 5 s
 * apart: a hiccup of the network breaks all connections at once. May call the
 * function given to reputation_on_incident, and options.event. Result: the incident
 * of what the verdict is about, 0 none. */
unsigned reputation_report(struct reputation *reputation, const struct reputation_way *way,
    const struct reputation_report *report, int64_t now_ms);

/* Nothing was tried after all: the slot goes back. PROBE: the answer was
 * PERMIT_PROBE, so another message may be the probe. */
void reputation_give_back(struct reputation *reputation, const struct reputation_way *way,
    bool probe);

/* ---- the administrator ---- */

/* SOURCE NULL: all of them, and (but for hold) all sender domains that are held
 * there; SOURCE may also name one such sender domain. False: no such path.
 * hold: until it is opened, without probes. open: with a slow start. reset: as
 * if nothing was ever learnt. probe_now: a held path or domain is probed next. */
bool reputation_hold(struct reputation *reputation, const char *provider, const char *source,
    int64_t now_ms);
bool reputation_open(struct reputation *reputation, const char *provider, const char *source,
    int64_t now_ms);
bool reputation_reset(struct reputation *reputation, const char *provider, const char *source,
    int64_t now_ms);
bool reputation_probe_now(struct reputation *reputation, const char *provider,
    const char *source, int64_t now_ms);

struct path_view {
	const char *source, *provider;
	enum path_state state;
	bool ipv6_closed;
	double window;
	double per_minute;      /* 0: no limit known */
	unsigned warm_day, warm_days; /* warm_days 0: not warming; the first day is 0 */
	unsigned budget_used, budget; /* this hour; 0: none */
	unsigned running;
	int64_t until_ms;       /* of slowed; next probe of held; 0 none */
	unsigned incident;      /* that holds it; 0 none */
	const char *last_rule;  /* of the last verdict, "" none */
	const char *last_reply; /* escaped */
	int64_t last_ms;
};
void reputation_each(const struct reputation *reputation, int64_t now_ms,
    void (*fn)(void *arg, const struct path_view *view), void *arg);

struct domain_view {
	const char *sender_domain, *provider;
	int64_t until_ms;  /* next probe */
	unsigned incident; /* its number, 0 none */
};
/* The pairs (sender domain, provider) that are held. */
void reputation_each_domain(const struct reputation *reputation,
    void (*fn)(void *arg, const struct domain_view *view), void *arg);

/* ---- replies that no rule knew ---- */

struct unknown; /* queue/unknown.h */

/* REPLY (raw, code in front) was judged by its structure alone, as VERDICT says. */
void reputation_unknown(struct reputation *reputation, const char *provider,
    enum verdict_stage stage, struct span reply, const struct verdict *verdict, int64_t now_ms);
/* Their kinds, the one seen last at the end. */
void reputation_each_unknown(const struct reputation *reputation,
    void (*fn)(void *arg, const struct unknown *unknown), void *arg);

/* ---- incidents: one per (source, provider, class) ----
 *
 * A verdict about IPv6 only has an incident of its own, and so has each sender
 * domain (for all sources together). One that comes back has its old number; it
 * is told again only when it was quiet for a day. It is closed when the path
 * reopens; the last 1000 are kept. */

#define INCIDENT_REPLIES 5

struct incident_reply {
	int64_t when_ms; /* wall clock of the caller's now */
	char *text;      /* escaped and cut */
	char *domain;
	enum verdict_stage stage;
};

struct incident {
	unsigned number;
	char *source, *provider;
	enum verdict_class klass;
	char *rule, *help;     /* escaped when printed, not here */
	char *sender_domain;   /* for a verdict about a domain, else "" */
	unsigned family;       /* AF_INET6 when only that family is meant; 0: both */
	int64_t first_ms, last_ms, next_probe_ms;
	uint64_t met;          /* messages that met it */
	uint64_t rerouted;     /* of them and later ones, sent another way */
	int64_t asked_ms;      /* removal was asked for, 0: not; */
	char *asked_of;        /* of whom */
	bool open;
	bool noticed;          /* the administrator was told */
	struct incident_reply replies[INCIDENT_REPLIES]; /* newest first */
	size_t reply_count;
};

/* Called from reputation_report for a new incident (NOTICED is false); the caller
 * tells the administrator and then calls incident_noticed. After a restart, walk
 * incident_each for open ones that nobody was told of. */
void reputation_on_incident(struct reputation *reputation,
    void (*fn)(void *arg, const struct incident *incident), void *arg);
void incident_noticed(struct reputation *reputation, unsigned number);

/* Called from reputation_report when a probe has opened what the incident NUMBER was
 * about: mail that waits for it may come back, as slowly as the path starts. It may
 * not call back. */
void reputation_on_opened(struct reputation *reputation,
    void (*fn)(void *arg, unsigned number), void *arg);

/* What is no provider's verdict, and so has no path: a sender of ours who was
 * stopped, above all. */
struct incident_cause {
	const char *source;   /* "login:web1", "client:192.0.2.7", "script:mail.php" */
	const char *provider; /* "" none */
	enum verdict_class klass;
	const char *rule;     /* a short name of what was exceeded; 64 bytes count */
	const char *help;     /* what the administrator can do, a sentence */
	const char *text;     /* what happened; escaped and cut like a reply */
	uint64_t message_id;  /* 0: none in particular */
};

/* Open the incident of (source, provider, class), open it again, or note that it
 * goes on; the function given to reputation_on_incident is called as for others,
 * and it is stored as they are. May be called for each message: what comes within
 * ten seconds is only counted. Result: its number. */
unsigned incident_open(struct reputation *reputation, const struct incident_cause *cause,
    int64_t now_ms);
/* It is over. False: there is none that is open. */
bool incident_end(struct reputation *reputation, const struct incident_cause *cause,
    int64_t now_ms);

void incident_rerouted(struct reputation *reputation, const struct reputation_way *way);
/* Removal was asked OF somebody who may take WAIT_MS: noted, and the path is probed
 * when that is over, neither before nor after. False: no such incident. */
bool incident_asked(struct reputation *reputation, unsigned number, const char *of,
    int64_t wait_ms, int64_t now_ms);
const struct incident *incident_find(const struct reputation *reputation, unsigned number);
bool incident_close(struct reputation *reputation, unsigned number, int64_t now_ms);
void incident_each(const struct reputation *reputation,
    void (*fn)(void *arg, const struct incident *incident), void *arg);

#endif
