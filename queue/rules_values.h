/* SPDX-License-Identifier: MIT
 * Values of rule files, checked: each function says what is wrong with file, line
 * and rule, and counts it. Used by those who read rule files.
 */
#ifndef QUEUE_RULES_VALUES_H
#define QUEUE_RULES_VALUES_H

#include "queue/rules.h"

struct reading {
	struct verdict_rules *rules;
	struct rule *rule;   /* NULL: a provider, or the file itself */
	struct delist *delist; /* NULL: no such entry */
	const char *file;
	const char *name;    /* of the rule or provider, as it may be shown; "" not known yet */
	struct buf *errors;
	size_t faults;
};

/* Something is wrong at SETTING (NULL: at the rule). */
void reading_fault(struct reading *r, const config_setting_t *setting, const char *format, ...)
    ATTR_PRINTF(3, 4);

/* The string of SETTING, an empty span and a fault when it is none. */
struct span reading_text(struct reading *r, const config_setting_t *setting);
bool reading_id(struct reading *r, const config_setting_t *setting, char **to);
void reading_plain(struct reading *r, const config_setting_t *setting, char **to);
void reading_duration(struct reading *r, const config_setting_t *setting, int64_t *ms);
void reading_count(struct reading *r, const config_setting_t *setting, int64_t *to);
void reading_names(
    struct reading *r, const config_setting_t *setting, char ***names, size_t *count);
void reading_phrases(
    struct reading *r, const config_setting_t *setting, struct rule_group *group);

/* Call TAKE for SETTING itself when it is a string, else for each of its items. */
void reading_each(struct reading *r, const config_setting_t *setting,
    void (*take)(struct reading *r, const config_setting_t *item));

struct reading_key {
	const char *name;
	void (*take)(struct reading *r, const config_setting_t *setting); /* NULL: the id */
	bool needed;
};

/* Read GROUP, of a kind that people call WHAT ("a rule"), by its COUNT keys, in their
 * order; its id comes before all else, for the faults of the others. A key that is
 * missing or not known is a fault. */
void reading_group(struct reading *r, const config_setting_t *group,
    const struct reading_key *keys, size_t count, const char *what, char **id);

/* "550", "55x", "5xx" / "5.7.1", "x.7.26", "5.7.606-649", "5.1.*". */
bool rule_code_parse(struct span text, struct rule_code *code);
bool rule_enhanced_parse(struct span text, struct rule_enhanced *enhanced);

#endif
