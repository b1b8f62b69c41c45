/* SPDX-License-Identifier: MIT
 * A provider with a mind of its own: an SMTP receiver in the loop of the relay that
 * is tested, which asks a script what to say at each stage, by the address that the
 * mail comes from and the time. It keeps a line for each message that it took.
 */
#ifndef TESTS_UNIT_SITE_H
#define TESTS_UNIT_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/loop.h"

enum site_stage { SITE_CONNECT, SITE_MAIL, SITE_RCPT, SITE_END };

/* What a script may answer beside the text of a reply (lines parted by \n) and NULL,
 * which is the usual one. */
extern const char site_reset[];  /* a TCP reset */
extern const char site_silent[]; /* never a word again */

struct site;
struct site_ask {
	struct site *site;
	enum site_stage stage;
	const char *source;   /* the address that it comes from */
	const char *sender;   /* from MAIL on */
	const char *argument; /* of RCPT: the recipient */
	int64_t now_ms;       /* since the site was opened */
};
typedef const char *site_script(const struct site_ask *ask);

struct site_mail {
	char source[64];
	char sender[128];
	char recipients[256]; /* parted by spaces */
	int64_t at_ms;        /* since the site was opened */
};

struct site_session;
struct site {
	struct loop *loop;
	site_script *script;
	void *arg; /* the script's */
	int listener;
	struct event *event;
	int64_t opened_ms;
	struct site_session *sessions;
	size_t connections;
	size_t silent; /* sessions that were told nothing */
	struct site_mail *mails;
	size_t mail_count;
	struct buf text; /* of the last message */
	size_t activity; /* counts on with all that happens */
};

/* Listen at ADDRESS; PORT 0: any. SCRIPT may be NULL and may be changed later. */
void site_open(struct site *site, struct loop *loop, const char *address, uint16_t port,
    site_script *script);
void site_close(struct site *site);

/* How many of its messages came from SOURCE. */
size_t site_count(const struct site *site, const char *source);

/* A port that is free at all loopback addresses. */
uint16_t site_free_port(void);

#endif
