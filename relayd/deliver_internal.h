/* SPDX-License-Identifier: MIT
 * What deliver.c (an attempt's beginning), route.c (by which sources and smarthosts it may
 * go), way.c (one after the other), way_result.c (what came of one), host.c (which host),
 * send.c (the dialogue) and settle.c (what the answers mean) share.
 */
#ifndef RELAYD_DELIVER_INTERNAL_H
#define RELAYD_DELIVER_INTERNAL_H

#include "relayd/deliver.h"
#include "relayd/plain_hosts.h"
#include "relayd/report.h"
#include "smtp/client.h"
#include "smtp/mx.h"
#include "smtp/reuse.h"

struct deliver {
	struct deliver_options options;
	struct settings *settings;
	struct schedule *schedule;
	struct reuse *reuse;
	struct tls_sessions *sessions;
	struct plain_hosts *plain_hosts; /* whose STARTTLS is broken */
	struct history *history;
	struct attempt *attempts; /* utlist */
	struct look_up *look_ups; /* utlist: ahead of attempts */
	size_t running;
	bool stopping;
};

enum tried_state {
	TRIED_OPEN,      /* not tried on this host yet */
	TRIED_SENT,      /* in the transaction under way */
	TRIED_DELIVERED,
	TRIED_LATER,     /* another host, or another day */
	TRIED_FAILED,    /* for good */
};

/* One recipient of the batch. */
struct tried {
	uint32_t index;      /* in the envelope */
	const char *address; /* the envelope's */
	enum tried_state state;
	struct verdict verdict;
	unsigned code;
	char status[12];
	char found[12];      /* expired: the status of what is told, "" none */
	struct buf text;     /* of the reply, or why there is none */
	char mx[256];        /* who said it */
	const char *stage;   /* where, a literal */
	int64_t said_ms;     /* and when, steady clock; 0: it was not tried, or is not known */
	enum wait_cause waits; /* expired without an answer: for this it was not tried */
	bool answered;       /* by a reply, not by a failure of ours or the network */
	bool heard;          /* a host of this way has said what stands here */
	bool rests;          /* LATER, and no other host or way is asked in this attempt */
	bool lacking;        /* the host lacks what the message needs: no reply, but final */
	bool awaited;        /* a host before was not lacking: it may take it another day */
	bool relayed;        /* DELIVERED, to a host that will not report it: we do */
	struct buf dsn;      /* parameters of its RCPT */
};

/* What the hosts of one way have said; its path hears of it when that is over. */
struct way_result {
	unsigned weight;      /* of the worst verdict; 0: none */
	struct verdict worst;
	enum verdict_stage stage;
	struct buf reply;     /* code in front */
	size_t delivered;     /* recipients */
	size_t answers;       /* of all: its host has spoken to us */
	size_t silences;      /* and without any, before a recipient was named */
	size_t ours;          /* and failures of this machine */
	int family;
};

/* Where an attempt stands among the ways of its route (way.c). */
struct way {
	const struct conf_route *route; /* for its TLS level; NULL: the list is not a route's */
	const struct conf_via *list;    /* the entries: of the client, else of the route */
	size_t count;
	struct conf_via bound;     /* that of a message which leaves by one source only, */
	int family;                /* in one family, 0 either */
	size_t via;             /* the entry that is tried */
	size_t held;            /* the first one that is held; via_count: none */
	struct mx_host *found;  /* of the destination, whatever the source; NULL: not known */
	size_t found_count;
	struct reputation_way path; /* provider NULL: none was asked yet */
	struct buf name;        /* of a smarthost's path */
	bool taken;             /* it may go, and the path has not heard of its end */
	bool probe;
	bool unresolved;        /* its smarthost's name has no hosts at the moment */
	bool switching;         /* recipients wait for a way after one that was tried */
	int64_t until_ms;       /* no way goes before; 0: none has said so */
	size_t waits_for;       /* the entry that said so, */
	struct permit permit;   /* and how */
	unsigned incident;      /* of the first that is held, or has met a block; 0 none */
	bool pacing;            /* that is soon */
	bool stopped;           /* by that, between two transactions; */
	bool blocked;           /* and since the path is held */
	bool busy;              /* some way is not held, but has to wait */
	struct way_result result;
};

/* What the host under way has to show (host.c), and what it has shown. */
struct level {
	const char *wanted;  /* for the log: "may", "dane", ... */
	enum client_tls tls; /* what that comes to */
	struct dane_set dane;
	struct dane_query *query; /* of its records, under way */
	bool observed;       /* a policy that is only tested: what would it say? */
	char key[64];        /* connections of equal keys are equally safe */
	char reached[96];    /* protocol and cipher; "" in the clear */
	const char *verified;
};

/* One attempt at one batch: one message, one destination, one host at a time. */
struct attempt {
	struct deliver *deliver;
	struct settings *settings;
	struct batch *batch;
	struct timer timer;  /* begin: not inside the schedule's call */
	int64_t started_ms;
	bool expired;        /* no attempt at all: the message's time is over */

	/* what is sent, and to whom */
	uint64_t id;
	struct envelope envelope;
	struct buf mail_dsn;
	struct tried *tried;
	size_t tried_count;
	size_t first_open;   /* none before it is TRIED_OPEN */

	/* by which way (go in way.c begins a new one) */
	struct way way;
	const struct conf_source *source;       /* by which we go out; NULL for a smarthost */
	const struct conf_smarthost *smarthost; /* NULL for direct delivery */
	struct mx_query *query;
	struct mx_host *hosts;
	size_t host_count;
	size_t host;         /* the one being tried */
	size_t sessions;     /* hosts that took a transaction */
	size_t culprits;     /* recipients whose RCPT has ended a connection */
	size_t room;         /* recipients that a transaction has held; 0: no limit was met */

	/* the host under way */
	struct level level;
	struct sts_query *sts_query;
	struct sts_policy *sts; /* of the recipients' domain; NULL: none, or not known */
	bool sts_known;
	bool plain;          /* TLS failed on this host: once more without */
	bool reused;         /* the connection has carried a transaction before */
	bool reached;        /* some host came as far as MAIL */
	struct client *client;

	/* the transaction under way */
	struct spool_reader *reader; /* of the content; NULL: there is none */
	struct client_message message;
	const char **addresses; /* its recipients, */
	const char **dsn;       /* their parameters, */
	size_t *sent;           /* and which tried[] they are */
	size_t sent_count;

	/* the end */
	bool has_results;    /* of recipients that are done; */
	struct spool_wait written; /* they are, and the attempt ends */

	struct attempt *prev;
	struct attempt *next;
};

/* settle.c */

/* A recipient has its result from the host under way (RESULT), or from us
 * before any host was asked (code 0, status and text as given). */
void settle_reply(struct attempt *attempt, struct tried *tried,
    const struct client_result *result);
void settle_local(struct attempt *attempt, struct tried *tried, enum verdict_stage stage,
    bool permanent, const char *status, const char *text);

/* Does a rule say of this reply that it is our address or domain that shall wait, and
 * not only that the connection is over? */
bool settle_blames_us(const struct attempt *attempt, const struct client_result *result);

/* The receiver had no room for it in this transaction (RFC 5321 section 4.5.3.1.10). */
bool settle_is_over_count(const struct tried *tried);

/* Nobody is left to ask: write down results, report failures, end the attempt. */
void settle(struct attempt *attempt);

/* settle_report.c */

/* Tell the sender of all recipients that have failed, or were relayed, and of which it
 * wants to hear. False: there are none, and nothing is called; else DONE follows. */
bool settle_report(struct attempt *attempt, enum bounce_kind kind, report_done *done);

/* The delay notice for MESSAGE is due. */
void settle_delay_notice(struct deliver *deliver, struct message *message);

/* route.c */

#define ROUTE_SMARTHOST "smarthost:" /* in front of its name; no domain has a colon there */

/* The name under which mail for RECIPIENT shares fate and limits. */
void route_destination(const struct conf *conf, const struct envelope *envelope,
    const char *recipient, struct buf *name);

/* Is that the name of a smarthost's, and no domain? */
bool route_is_smarthost(const char *destination);

/* The route and the entries to try, into WAY; no list: nothing fits. */
void route_list(struct way *way, const struct conf *conf, const struct envelope *envelope,
    const char *recipient);

/* way.c */

/* reroute.c: have the routes changed since the batch was made? Then its recipients are
 * in batches anew, and the attempt, which was none, is over (true). */
bool way_reroute(struct attempt *attempt);

/* Find the route and its first way that goes, then the hosts; put the batch off
 * when none goes. */
void way_choose(struct attempt *attempt);

/* Between two transactions of this way: its path hears of the one that is over and is asked
 * for the next. False: not now. */
bool way_goes_on(struct attempt *attempt);

/* When it said so: from when on (steady clock, ms)? 0: it did not. */
int64_t way_resumes(const struct attempt *attempt);

/* The last host has answered: the path hears of it. Whom a block has met goes the
 * next way, in the same attempt; when nobody does, it is settled. */
void way_over(struct attempt *attempt);

/* Has a connection carried as many messages as the provider likes? */
bool way_is_worn(const struct attempt *attempt, unsigned transactions);

/* The attempt ends: what was taken goes back, or is reported. */
void way_clear(struct attempt *attempt);

struct reputation *way_reputation(const struct attempt *attempt);

/* way_result.c */

/* By this reply, by one to MAIL before, or by offers that are not enough for the message:
 * the host has spoken, and it was not just the network or its TLS that failed. */
bool way_has_spoken(enum verdict_stage stage, const struct client_result *result);

/* It is this machine that has failed. */
bool way_is_ours(const struct client_result *result);

/* A recipient has its result from a host of this way. */
void way_note(struct attempt *attempt, const struct tried *tried, enum verdict_stage stage,
    const struct client_result *result);

/* The path under way hears what its hosts have said. */
void way_report(struct attempt *attempt);

/* May this recipient's mail go the next way at once? */
bool way_may_switch(const struct attempt *attempt, const struct tried *tried);

/* waiting.c: nobody is asked now, for PERMIT has let PATH's mail not go: remember that of
 * each recipient that is left. */
void waiting_note(
    const struct attempt *attempt, const struct reputation_way *path, const struct permit *permit);
bool waiting_is_untried(const struct history_entry *last); /* and no more is known of it */
/* Where there were attempts and no answer is known. */
#define WAITING_FORGOTTEN                                                                          \
	"what was answered is not known any more, as after a restart of this mail server"

/* look_up.c */

/* The name by which a host at PORT would be ourselves. NULL: we do not listen there, so
 * whoever answers is another server, which may well have this machine's name. */
const char *look_up_own_name(const struct conf *conf, uint16_t port);

struct mx_query *look_up_domain(const struct deliver *deliver, const struct conf *conf,
    const char *domain, mx_done *done, void *arg);
struct mx_query *look_up_smarthost(const struct deliver *deliver, const struct conf *conf,
    const struct conf_smarthost *smarthost, mx_done *done, void *arg);

/* The schedule's question before it starts anything; ARG is the deliver. */
bool look_up_ahead(void *arg, struct destination *destination);
void look_up_cancel_all(struct deliver *deliver);

/* host.c */

/* Try HOSTS[host]: find out what it has to show, then take a connection that waits
 * for mail like this, or a new one. May end in attempt_host_failed. */
void attempt_next_host(struct attempt *attempt);

/* What makes two connections alike, into KEY. */
void host_key(const struct attempt *attempt, char *key, size_t size);

/* Its STARTTLS does not work: for a while it is not tried again where TLS need not be. */
void host_is_broken(const struct attempt *attempt);

/* Keep for the log what the client's connection has come to. */
void host_note_tls(struct attempt *attempt);

/* host_note.c: count for the TLS report of the domain that a connection is up, that
 * TLS has kept it from that, or that a host was not even asked. */
void host_note_session(struct attempt *attempt);
void host_note_failure(struct attempt *attempt, const struct client_result *result);
void host_note_refusal(struct attempt *attempt, const char *type, const char *failure,
    const char *detail);

void host_clear(struct attempt *attempt); /* look-ups under way end */

/* send.c */

/* What the client of a host under way calls. */
extern const struct client_handler attempt_client_handler;

/* Will another host be asked, should the one under way not take the message? */
bool attempt_has_next_host(const struct attempt *attempt);

/* HOSTS[host] can not be used, for WHY, without having been asked: the next one's
 * turn, or the end of this way. Kind PERM (its text begins with an enhanced status
 * code) is the end for these recipients, if no other host may take them. */
void attempt_host_failed(struct attempt *attempt, const struct why *why);

/* deliver.c */

/* All recipients that have no result yet get this one, and it is over. */
void attempt_end_all(struct attempt *attempt, enum verdict_stage stage, bool permanent,
    const char *status, const char *text);

/* What is to be sent can not be read (WHY): this is no attempt any more. A damaged message
 * (kind PERM) is set aside, and nothing will ever come of it. */
void attempt_end_unread(struct attempt *attempt, const struct why *why);

/* May another transaction, host or way follow? Not when we stop, nor when the message was
 * deleted or held meanwhile: what has begun ends as it ends, and that is all. */
bool attempt_may_go_on(const struct attempt *attempt);

void attempt_free(struct attempt *attempt);

/* deliver_queue.c */

/* The spool is to remember the present state of MESSAGE. */
void message_note_state(struct deliver *deliver, struct message *message);

#endif
