/* SPDX-License-Identifier: MIT
 * Where removal from a block list is asked for, and in which words: entries of rule
 * files (conf/delist.conf, and the user's own before it), read and checked with the
 * rules. An entry fits an incident by the reply's text, the provider, the rule or the
 * class; the first one that fits counts, and the last one, without conditions, fits all.
 *
 * Steps and texts are templates: "{ip}" and the like are filled in from the incident.
 * Pure: who fills in and sends is relayd/delist.c.
 */
#ifndef QUEUE_DELIST_H
#define QUEUE_DELIST_H

#include "queue/verdict.h"
#include "relayd/base/texts.h"

enum delist_language { DELIST_ENGLISH, DELIST_JAPANESE };
#define DELIST_LANGUAGES 2

/* What a template may name, in the order of delist_names. */
enum delist_name {
	DELIST_IP,   /* the address that is listed */
	DELIST_EHLO, /* the name that it says */
	DELIST_PTR,  /* the name that its PTR record says */
	DELIST_PROVIDER,
	DELIST_LIST,    /* the entry's name */
	DELIST_LIST_JA, /* as a Japanese text has it */
	DELIST_PORTAL,
	DELIST_MAIL,
	DELIST_REPLY,     /* the last raw reply, escaped */
	DELIST_RECIPIENT, /* domain of the recipient that it was about */
	DELIST_SENDER,    /* sender's domain, for a verdict about one */
	DELIST_FIRST,     /* times of the first and the last reply */
	DELIST_LAST,
	DELIST_MET,      /* messages that met the block */
	DELIST_WAITING,  /* that wait now */
	DELIST_REROUTED, /* that went another way */
	DELIST_NUMBER,   /* of the incident */
	DELIST_CONTACT,  /* mail address of the administrator */
	DELIST_NAMES
};
extern const char *const delist_names[DELIST_NAMES];

struct delist_words {
	struct texts steps;
	char *text; /* NULL: that of the entry for all */
};

struct delist {
	char *id;
	char *name;      /* of the list or provider, for people */
	char *name_ja;   /* where that is another one in Japanese; "": name */
	char *portal;    /* URL, "" none */
	char *mail;      /* the mailbox that takes requests, "" none */
	char *subject;   /* template, "" the usual one */
	bool from_listed; /* requests count only when they come from the listed address */
	bool japanese;   /* its people read Japanese */
	int64_t wait_ms; /* until an answer is to be expected; 0: nothing known */
	struct delist_words words[DELIST_LANGUAGES];
	/* conditions; none of a kind: all fit */
	struct texts replies; /* pieces of the reply's text */
	struct texts providers;
	struct texts rules;
	unsigned classes; /* bit per enum verdict_class; 0: any */
	const char *file;
	unsigned line;
};

/* What an incident is about. All texts may be "". */
struct delist_about {
	const char *provider;
	const char *rule;
	const char *reply;
	enum verdict_class klass;
};

/* The entry for it; NULL: none fits, since no file has any. */
const struct delist *delist_find(const struct verdict_rules *rules,
    const struct delist_about *about);

/* The text to send in that language: the entry's own, else that of the entry for all. */
const char *delist_text(const struct verdict_rules *rules, const struct delist *entry,
    enum delist_language language);
const char *delist_subject(const struct verdict_rules *rules, const struct delist *entry);

/* Append TEMPLATE with the names filled in; "{{" is a brace. What is no template any
 * more (it was checked when it was read) stays as it is. */
void delist_fill(struct buf *out, const char *template,
    const char *const values[DELIST_NAMES]);

/* Is all that stands in braces known? False: BAD is what is not. */
bool delist_check(const char *template, struct span *bad);

#endif
