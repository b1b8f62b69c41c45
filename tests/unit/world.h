/* SPDX-License-Identifier: MIT
 * The relay's own parts put together as the daemon does it (intake, spool, queue,
 * paths, delivery, notices) on the fake clock, between providers that are scripts
 * (site.h) and a DNS that is a table (fake_dns.h). Days pass in milliseconds.
 */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include "relayd/deliver.h"
#include "relayd/helper.h"
#include "tests/unit/fake_dns.h"
#include "tests/unit/site.h"

#define WORLD_SECOND INT64_C(1000)
#define WORLD_MINUTE (60 * WORLD_SECOND)
#define WORLD_HOUR (60 * WORLD_MINUTE)
#define WORLD_DAY (24 * WORLD_HOUR)

#define WORLD_IP1 "127.0.0.11" /* the sources ip1 and ip2 */
#define WORLD_IP2 "127.0.0.12"
#define WORLD_SITES 8

/* Domains and who takes their mail; "admin.test" (to whom notices go) and the
 * smarthost "smart" are always there. */
struct world_site {
	const char *domain;
	const char *mx;
	site_script *script;
};

struct world {
	char folder[64];
	uint16_t port;
	struct loop *loop;
	struct settings *settings;
	struct helper *helper;
	struct spool *spool;
	struct pool *signers;
	struct dns dns;
	struct fake_host hosts[WORLD_SITES];
	char addresses[WORLD_SITES][16];
	struct site sites[WORLD_SITES]; /* in the order given */
	size_t site_count;
	struct site admin;
	struct site smart;
	struct intake *intake;
	struct paths *paths;
	struct deliver *deliver;
	struct stats stats;
	int64_t began_ms;
	size_t accepted;
	int told;          /* what notify.command was given can be read here */
	void *arg;         /* of the test's own */
};

/* VIA as in the configuration ("\"ip1\", \"ip2\""), MORE settings at its end. */
void world_open(struct world *w, const struct world_site *sites, const char *via,
    const char *more);
void world_close(struct world *w);

/* All that the daemon keeps in memory is lost, and found again on disk. */
void world_restart(struct world *w);

/* A message that is accepted; RECIPIENTS end with NULL. */
void world_send_to(struct world *w, const char *sender, const char *const *recipients);
void world_send(struct world *w, const char *recipient);

int64_t world_now(const struct world *w);
void world_run(struct world *w, int64_t ms);

/* Until CONDITION holds; a failure when that takes longer than MS. */
void world_until(struct world *w, bool (*condition)(struct world *w), int64_t ms);
bool world_is_empty(struct world *w); /* nothing waits any more */

/* The state of a path; PATH_OPEN where there is none. */
enum path_state world_state(struct world *w, const char *source, const char *provider);

/* The text that notify.command got next, awaited in real time. */
void world_told(struct world *w, struct buf *text);

#endif
