/* SPDX-License-Identifier: MIT
 * The rules of verdicts in memory, shared by those who read them (rules_read.c),
 * try their examples (rules_check.c) and judge by them (verdict.c). Not for others.
 *
 * A rule fits when each of its conditions does. Conditions on text are groups of
 * phrases of which one must occur; all the phrases of all rules are sought at once
 * (queue/words.h), so that a rule only looks at bits.
 */
#ifndef QUEUE_RULES_H
#define QUEUE_RULES_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <libconfig.h>
#include <pcre2.h>

#include "queue/delist.h"
#include "queue/verdict.h"
#include "queue/words.h"

#define RULES_MAX 2000            /* rules in all files */
#define RULES_REFERENCES_MAX 20000 /* phrases in all conditions */
#define RULES_ITEMS_MAX 400       /* of one list */
#define RULES_FILE_MAX (4 << 20)  /* bytes */
#define RULES_LADDER_MAX 8
#define RULES_REGEX_MAX 500       /* bytes of an expression */
#define RULES_REGEX_STEPS 1000    /* backtracking steps of one run */
#define RULES_REGEX_TEXT 512      /* bytes of a reply that expressions see */
#define RULES_REGEX_NS 100000     /* of CPU for one reply; then no other one runs */

struct rule_code {
	unsigned low, high;
};

struct rule_enhanced {
	unsigned char klass; /* 0: any */
	int subject;         /* -1: any */
	int low, high;       /* of the detail */
};

struct rule_group {
	unsigned *phrases;
	size_t count;
};

struct rule_example {
	char *reply;
	char *mx; /* NULL: none */
	enum verdict_stage stage;
	unsigned line;
	bool fits; /* false: this reply must not fit */
};

struct rule {
	char *id;
	const char *file; /* of struct verdict_rules */
	unsigned line;
	char *help;       /* NULL: none */
	char *provider;   /* NULL: none */

	struct rule_code *codes;
	size_t code_count;
	struct rule_enhanced *enhanced;
	size_t enhanced_count;
	unsigned stages; /* bit per enum verdict_stage; 0: any */
	struct texts mx;
	struct rule_group *groups;
	size_t group_count;
	struct rule_group without; /* none of these may occur */
	pcre2_code *regex;

	enum verdict_class klass;
	enum verdict_scope scope;
	bool has_scope;
	int action[2];            /* of a 4xx, of a 5xx; -1: the usual one of the class */
	int64_t wait_ms;
	int64_t ladder[RULES_LADDER_MAX];
	size_t ladder_count;
	int family;

	struct rule_example *examples;
	size_t example_count;
};

struct rule_provider {
	struct provider limits;
	char *id;
	struct texts mx;
};

struct verdict_rules {
	struct rule *rules;
	size_t rule_count;
	struct rule_provider *providers;
	size_t provider_count;
	struct delist *delists;
	size_t delist_count;
	struct texts files; /* names */
	size_t references; /* to phrases */
	struct words *words;
	pcre2_compile_context *compile;
	pcre2_match_context *match;
	pcre2_match_data *match_data; /* scratch: one reply is judged at a time */
};

/* A reply made ready for the rules. */
struct rule_reply {
	const struct verdict_input *input;
	struct verdict_input seen;   /* with an enhanced code out of the text, if need be */
	const char *provider;        /* "" none */
	struct plain plain;
	struct words_set found;
	int64_t regex_ns; /* of CPU that expressions have left */
};

struct verdict_rules *rules_new(void);

/* Add the rules and providers of a file's text. NAME is for errors. Result: 0, or
 * -1 when ERRORS has got lines ("name:12: rule x: ..."). */
int rules_read(struct verdict_rules *rules, struct span text, const char *name,
    struct buf *errors) ATTR_MUST_CHECK;

/* After the last file: build the automaton, try the examples. */
int rules_finish(struct verdict_rules *rules, struct buf *errors) ATTR_MUST_CHECK;

/* Take one rule apart (rules_read.c calls it for each). */
void rules_error(struct buf *errors, const char *file, unsigned line, const char *rule,
    const char *format, ...) ATTR_PRINTF(5, 6);
int rules_read_rule(struct verdict_rules *rules, const config_setting_t *group,
    const char *file, struct buf *errors) ATTR_MUST_CHECK;

/* The same for an entry of `delist` (delist_read.c); after the last file, whether the
 * entries are complete. */
int delist_read(struct verdict_rules *rules, const config_setting_t *group, const char *file,
    struct buf *errors) ATTR_MUST_CHECK;
int delist_finish(const struct verdict_rules *rules, struct buf *errors) ATTR_MUST_CHECK;
void delist_clear(struct delist *entry);

void rules_prepare(const struct verdict_rules *rules, const struct verdict_input *input,
    struct rule_reply *reply);
bool rules_fit(const struct verdict_rules *rules, const struct rule *rule,
    struct rule_reply *reply);
void rule_clear(struct rule *rule);

#endif
