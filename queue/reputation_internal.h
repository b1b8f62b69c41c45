/* SPDX-License-Identifier: MIT
 * What reputation.c (asking), reputation_report.c (reports and moves),
 * reputation_admin.c, reputation_store.c (lines) and incident.c share. Not for
 * anybody else.
 */
#ifndef QUEUE_REPUTATION_INTERNAL_H
#define QUEUE_REPUTATION_INTERNAL_H

#include "queue/path.h"
#include "queue/reputation.h"
#include "queue/sender_hold.h"
#include "queue/unknown.h"
#include "relayd/base/hash.h"

#define REPUTATION_PATHS_MAX 50000
#define REPUTATION_SOURCE_MAX 128   /* bytes of a name; longer ones are cut */
#define REPUTATION_PROVIDER_MAX 300
#define REPUTATION_DOMAIN_MAX 255
#define REPUTATION_SAVE_MS 10000 /* what grows little by little is written that often */
#define INCIDENTS_MAX 1000
#define INCIDENT_REPLY_MAX 500

/* All paths to one provider. */
struct path_provider {
	UT_hash_handle hh;
	char *name;
	struct path *paths; /* by next */
};

struct incident_entry {
	struct incident incident; /* first: its public face */
	UT_hash_handle hh;        /* by number */
	UT_hash_handle hk;        /* by key */
	char *key;
	uint64_t last_message;
};

struct reputation {
	struct reputation_options options;
	struct path *paths;
	struct path *oldest; /* all paths, least recently used first */
	struct path_provider *providers;
	struct sender_hold *holds;
	struct unknown *unknown;
	struct incident_entry *by_number;
	struct incident_entry *by_key;
	unsigned last_number;
	void (*on_incident)(void *arg, const struct incident *incident);
	void *on_incident_arg;
	void (*on_opened)(void *arg, unsigned number);
	void *on_opened_arg;
};

/* ---- look-up (reputation.c) ---- */

struct path *reputation_find_path(struct reputation *r, const char *source,
    const char *provider);
struct path *reputation_get_path(struct reputation *r, const char *source,
    const char *provider); /* made if need be */
struct sender_hold *reputation_find_hold(const struct reputation *r, const char *domain,
    const char *provider);
struct sender_hold *reputation_get_hold(struct reputation *r, const char *domain,
    const char *provider);

/* ---- lines (reputation_store.c): written to options.event ---- */

void reputation_save_path(struct reputation *r, struct path *p, int64_t now_ms);
void reputation_save_used(struct reputation *r, const struct path *p);
void reputation_save_hold(struct reputation *r, const struct sender_hold *h);
void reputation_save_unknown(struct reputation *r, const struct unknown *u);
void reputation_save_incident(struct reputation *r, const struct incident *incident);
void reputation_save_reply(struct reputation *r, const struct incident *incident);
void reputation_save_counts(struct reputation *r, const struct incident *incident);

/* ---- incidents (incident.c) ---- */

struct incident_about {
	const char *source;
	const char *provider;
	const char *sender_domain; /* "" unless the verdict is about it */
	enum verdict_class klass;
	unsigned family;
	const char *rule;
	const char *help;
	int64_t next_probe_ms;
};

/* A verdict: open, reopen or update its incident. Result: its number. */
unsigned incident_meet(struct reputation *r, const struct incident_about *about,
    const struct reputation_report *report, int64_t now_ms);
void incident_set_probe(struct reputation *r, unsigned number, int64_t probe_ms);

/* The path (FAMILY 0) or its IPv6 is open again; the domain is. */
void incident_path_opened(struct reputation *r, const struct path *p, unsigned family);
void incident_domain_opened(struct reputation *r, const struct sender_hold *h);
/* The path (FAMILY 0) or its IPv6 is probed next at PROBE_MS, 0: never by itself. */
void incident_path_probed(
    struct reputation *r, const struct path *p, unsigned family, int64_t probe_ms);

/* From the store: the entry with that number, made if need be; say so when its
 * names have been read. */
struct incident_entry *incident_entry_get(struct reputation *r, unsigned number);
struct incident_entry *incident_entry_find(const struct reputation *r, unsigned number);
void incident_entry_named(struct reputation *r, struct incident_entry *e);
/* Takes the texts of REPLY over. False: it is there already. */
bool incident_add_reply(struct incident *incident, const struct incident_reply *reply);
void incident_reply_clear(struct incident_reply *reply);
void incident_free_all(struct reputation *r);

#endif
