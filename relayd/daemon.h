/* SPDX-License-Identifier: MIT
 * The daemon as a whole: its parts, brought up in order, reloaded, shut down.
 */
#ifndef RELAYD_DAEMON_H
#define RELAYD_DAEMON_H

#include "relayd/deliver.h"
#include "relayd/intake.h"
#include "relayd/listen.h"
#include "relayd/settings.h"
#include "relayd/stats.h"

struct control;
struct drop;
struct helper;

#define DAEMON_FIXED 12 /* keys that no reload changes */

struct daemon {
	const char *file;
	struct loop *loop;
	struct settings *settings;
	char *fixed[DAEMON_FIXED]; /* what those keys have been since the start */
	struct listen *listen;
	struct spool *spool;
	struct pool *signers;
	struct login *login;
	struct dns *dns;
	struct https *https;
	struct sts *sts;
	struct tls_reports *reports;
	struct intake *intake;
	struct paths *paths;
	struct brake_watch *brake;
	struct deliver *deliver;
	struct control *control;
	struct drop *drop;
	struct helper *helper;
	struct stats stats;
	struct timer patience; /* of a shutdown */
	struct timer daily;
	bool can_sign; /* libopendkim has been tried out */
	bool stopping;
};

/* Bring everything up, and give up all privileges on the way. SETTINGS and HELPER
 * (forked, not begun) are taken over. -1: WHY; the process then ends. */
int daemon_start(struct daemon *daemon, const char *file, struct settings *settings,
    struct helper *helper, struct why *why) ATTR_MUST_CHECK;

/* Load the file again: completely, or not at all. -1: ERRORS; the old one stays
 * in force. What the new one is warned of, and what of it counts with the next start
 * only, is logged, and told to WARN (one line each, inside this call; NULL: nobody). */
int daemon_reload(struct daemon *daemon, void (*warn)(void *arg, const char *text), void *arg,
    struct conf_errors *errors) ATTR_MUST_CHECK;

/* Begin an orderly end: the loop stops by itself, after five seconds at most. */
void daemon_stop(struct daemon *daemon);

/* After the loop has ended. */
void daemon_end(struct daemon *daemon);

#endif
