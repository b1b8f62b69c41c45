/* SPDX-License-Identifier: MIT
 * What does an answer mean? From code, enhanced code, stage, text and the
 * receiver's name to scope x class x action, by rules that are data
 * (conf/replies.conf, and the user's own before them). What no rule knows is
 * judged by its structure, on the safe side: a verdict about our IP, network or
 * name never becomes one about a recipient.
 *
 * Words are found in one pass of a multi-pattern matcher, so time is linear in
 * the reply however many rules there are; a rule's regular expression runs only
 * where all else fits, under a step limit.
 */
#ifndef QUEUE_VERDICT_H
#define QUEUE_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

enum verdict_stage {
	VERDICT_STAGE_UNKNOWN,
	VERDICT_STAGE_DNS,
	VERDICT_STAGE_CONNECT,
	VERDICT_STAGE_BANNER,
	VERDICT_STAGE_EHLO,
	VERDICT_STAGE_TLS,
	VERDICT_STAGE_AUTH,
	VERDICT_STAGE_MAIL,
	VERDICT_STAGE_RCPT,
	VERDICT_STAGE_DATA,
	VERDICT_STAGE_END,
};

/* What the refusal is about: what must be held back. */
enum verdict_scope {
	VERDICT_SCOPE_NONE, /* delivered */
	VERDICT_SCOPE_IP,
	VERDICT_SCOPE_SENDER_DOMAIN,
	VERDICT_SCOPE_MESSAGE,
	VERDICT_SCOPE_RECIPIENT,
	VERDICT_SCOPE_CONNECTION,
	VERDICT_SCOPE_DESTINATION,
	VERDICT_SCOPE_US, /* our configuration or software */
};

/* The eighteen categories of replies. */
enum verdict_class {
	VERDICT_IP_BLOCKED,
	VERDICT_REPUTATION,
	VERDICT_RATE_LIMITED,
	VERDICT_GREYLISTED,
	VERDICT_AUTH_FAILED,
	VERDICT_RDNS,
	VERDICT_CONTENT,
	VERDICT_POLICY,
	VERDICT_UNKNOWN_RECIPIENT,
	VERDICT_MAILBOX_FULL,
	VERDICT_RECIPIENT_DISABLED,
	VERDICT_RELAY_DENIED,
	VERDICT_TOO_LARGE,
	VERDICT_PROTOCOL,
	VERDICT_TLS_REQUIRED,
	VERDICT_SERVER_BUSY,
	VERDICT_ROUTING,
	VERDICT_OTHER,
};

enum verdict_action {
	VERDICT_DELIVERED,
	VERDICT_RETRY,       /* later, by the ladder or `wait_ms` */
	VERDICT_RETRY_SAME,  /* later, from the same source (greylisting) */
	VERDICT_SLOW,        /* the path slows down; the mail waits */
	VERDICT_HOLD,        /* the path is held, the mail kept or rerouted */
	VERDICT_HOLD_DOMAIN, /* sender domain x provider is held; what to mend is said */
	VERDICT_BOUNCE,
	VERDICT_SUPPRESS,    /* bounce, and the recipient is dead */
};

struct verdict_input {
	enum verdict_stage stage;
	unsigned code;        /* 0: no reply */
	unsigned char klass;  /* enhanced code; 0: none */
	unsigned short subject, detail;
	struct span text;     /* all lines joined by \n, without codes */
	const char *mx;       /* name of the host, "" unknown */
	bool smarthost;       /* it relays for us, and so has no domains of its own */
	bool names_ip;        /* the text has an IP address; found when judged by rules */
};

struct verdict {
	enum verdict_class klass;
	enum verdict_scope scope;
	enum verdict_action action;
	int64_t wait_ms;       /* the reply's or the rule's; 0: by the ladder */
	const int64_t *ladder; /* of probes, for HOLD; NULL: the usual one */
	size_t ladder_count;
	const char *rule;      /* id; "structure" when no rule knew it */
	const char *provider;  /* "" none */
	const char *help;      /* where to ask, "" nothing known */
	int family;            /* AF_INET6 when only that family is meant; 0: both */
	bool known;            /* a rule fired; settle.c: or nobody had to say it */
};

struct verdict_rules;

/* Read the rules: files in order, the first rule that fits wins, so users' files
 * stand before ours (relayd/rules.h knows which files there are). Every rule's own
 * examples are run. NULL: ERRORS lists all faults, a line each with file, line and
 * rule id; the caller keeps the rules it has. */
struct verdict_rules *verdict_load(const char *const *files, size_t count, struct buf *errors);
void verdict_free(struct verdict_rules *rules);

/* Judge. Strings of the result live as long as RULES. RULES may be NULL: by
 * structure only. Of the text, the first 8 KiB count. RULES hold scratch memory, so
 * one thread at a time. */
struct verdict verdict_judge(const struct verdict_rules *rules, const struct verdict_input *input);

/* The provider whose MX pattern fits NAME, "" none; its limits. */
struct provider {
	const char *id;
	int64_t connections, messages_per_connection, per_minute; /* 0: no limit known */
};
const struct provider *verdict_provider(const struct verdict_rules *rules, const char *mx);

const char *verdict_class_name(enum verdict_class klass);   /* "ip-blocked" */
const char *verdict_scope_name(enum verdict_scope scope);   /* "ip", "domain", ... */
const char *verdict_action_name(enum verdict_action action);
const char *verdict_stage_name(enum verdict_stage stage); /* "" unknown */
bool verdict_class_parse(struct span name, enum verdict_class *klass);
bool verdict_scope_parse(struct span name, enum verdict_scope *scope);
bool verdict_action_parse(struct span name, enum verdict_action *action);
bool verdict_stage_parse(struct span name, enum verdict_stage *stage); /* also "eod" */

#endif
