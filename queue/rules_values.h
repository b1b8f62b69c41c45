/* SPDX-License-Identifier: MIT
 * Values of rule files, checked: each function says what is wrong with file, line
 * and rule, and counts it. Used by those who read rule files.
 */
#ifndef QUEUE_RULES_VALUES_H
#define QUEUE_RULES_VALUES_H

#include "conf/report.h"
#include "queue/rules.h"

struct reading {
	struct verdict_rules *rules;
	const char *file;
	const char *name;    /* of the rule or provider, as it may be shown; "" not known yet */
	struct buf *errors;
	size_t faults;
	struct report numbers; /* those of the file that libconfig has wrapped */
};

/* Something is wrong at SETTING (NULL: with the file). */
void reading_fault(struct reading *r, const config_setting_t *setting, const char *format, ...)
    ATTR_PRINTF(3, 4);

/* The string of SETTING, an empty span and a fault when it is none. */
struct span reading_text(struct reading *r, const config_setting_t *setting);

/* Read SETTING into what TO points to. */
typedef void reading_take(struct reading *r, const config_setting_t *setting, void *to);
reading_take reading_id;       /* char ** */
reading_take reading_plain;    /* char **, NULL for "" */
reading_take reading_duration; /* int64_t *, ms */
reading_take reading_count;    /* int64_t * */
reading_take reading_names;    /* struct texts */
reading_take reading_phrases;  /* struct rule_group */

/* TAKE for each item of SETTING; for SETTING itself when it is a single value. */
void reading_each(struct reading *r, const config_setting_t *setting, reading_take *take,
    void *to);

struct reading_key {
	const char *name;
	reading_take *take;
	size_t offset; /* of what it is read into, in the struct of the group */
	unsigned flags;
};
enum { READING_NEEDED = 1, READING_EACH = 2 };

/* Read GROUP, of a kind that people call WHAT ("a rule"), into the struct at BASE by its
 * COUNT keys, in their order. The first is its id, named in the faults of the others. A
 * key that is missing or not known is a fault. */
void reading_group(struct reading *r, const config_setting_t *group,
    const struct reading_key *keys, size_t count, const char *what, void *base);

/* "550", "55x", "5xx" / "5.7.1", "x.7.26", "5.7.606-649", "5.1.*". */
bool rule_code_parse(struct span text, struct rule_code *code);
bool rule_enhanced_parse(struct span text, struct rule_enhanced *enhanced);

#endif
