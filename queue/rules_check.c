/* SPDX-License-Identifier: MIT
 * What is wrong between rules, once all files are read: names used twice, unknown
 * providers, and examples that do not fit their rule, or fit one before it.
 */
#include "queue/rules.h"
#include "queue/verdict_text.h"

#include <string.h>

static bool provider_known(const struct verdict_rules *rules, const char *id)
{
	for (size_t i = 0; i < rules->provider_count; i++)
		if (strcmp(rules->providers[i].id, id) == 0)
			return true;
	return false;
}

/* An id may stand in two files: the first is the one that is used. */
static size_t check_names(const struct verdict_rules *rules, size_t at, struct buf *errors)
{
	const struct rule *rule = &rules->rules[at];
	size_t faults = 0;
	for (size_t i = 0; i < at; i++)
		if (rules->rules[i].file == rule->file && strcmp(rules->rules[i].id, rule->id) == 0) {
			rules_error(errors, rule->file, rule->line, rule->id,
			    "the id stands on line %u already", rules->rules[i].line);
			faults++;
		}
	if (rule->provider && !provider_known(rules, rule->provider)) {
		rules_error(errors, rule->file, rule->line, rule->id, "there is no provider %s",
		    rule->provider);
		faults++;
	}
	return faults;
}

static void example_error(const struct rule *rule, const struct rule_example *example,
    struct buf *errors, const char *what)
{
	struct buf shown = {0};
	text_escape_utf8(&shown, span_text(example->reply), 60);
	rules_error(errors, rule->file, example->line, rule->id, "the example \"%s\" %s",
	    buf_text(&shown), what);
	buf_free(&shown);
}

/* The rule of the same file that stands before and takes the reply; NULL: none. */
static const struct rule *taken_before(
    const struct verdict_rules *rules, const struct rule *rule, struct rule_reply *reply)
{
	for (const struct rule *r = rules->rules; r < rule; r++)
		if (r->file == rule->file && rules_fit(rules, r, reply))
			return r;
	return NULL;
}

static enum verdict_stage first_stage(const struct rule *rule)
{
	unsigned stage = VERDICT_STAGE_UNKNOWN;
	while (rule->stages && !(rule->stages & 1U << stage))
		stage++;
	return (enum verdict_stage)stage;
}

static bool check_example(const struct verdict_rules *rules, const struct rule *rule,
    const struct rule_example *example, struct buf *errors)
{
	struct verdict_text text;
	struct rule_reply reply;
	bool good = false;
	if (!verdict_text_parse(&text, span_text(example->reply))) {
		example_error(rule, example, errors, "does not begin with a code of 400 to 599");
		verdict_text_clear(&text);
		return false;
	}
	text.input.stage = example->stage ? example->stage : first_stage(rule);
	text.input.mx = example->mx ? example->mx : "";
	rules_prepare(rules, &text.input, &reply);
	const struct rule *other = example->fits ? taken_before(rules, rule, &reply) : NULL;
	if (rules_fit(rules, rule, &reply) != example->fits) {
		example_error(rule, example, errors,
		    example->fits ? "does not fit" : "fits, although it should not");
	} else if (other) {
		char what[160];
		snprintf(what, sizeof(what), "is taken by rule %s, which stands before it (line %u)",
		    other->id, other->line);
		example_error(rule, example, errors, what);
	} else {
		good = true;
	}
	verdict_text_clear(&text);
	return good;
}

int rules_finish(struct verdict_rules *rules, struct buf *errors)
{
	struct why why = {0};
	size_t faults = 0;
	for (size_t i = 0; i < rules->rule_count; i++)
		faults += check_names(rules, i, errors);
	if (words_build(rules->words, &why) < 0) {
		rules_error(errors, rules->files.count ? rules->files.list[0] : "rules", 0, NULL, "%s",
		    why.text);
		return -1;
	}
	for (size_t i = 0; i < rules->rule_count; i++)
		for (size_t k = 0; k < rules->rules[i].example_count; k++)
			if (!check_example(rules, &rules->rules[i], &rules->rules[i].examples[k], errors))
				faults++;
	faults += delist_finish(rules, errors) < 0;
	return faults ? -1 : 0;
}
