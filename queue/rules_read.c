/* SPDX-License-Identifier: MIT
 * Reads rule files: libconfig's tree against a table of keys. All faults of a file
 * are told, not only the first; a file with a fault is of no use as a whole.
 */
#include <sys/socket.h>

#include "queue/rules_values.h"
#include "relayd/base/mem.h"

static void take_code(struct reading *r, const config_setting_t *item, void *to)
{
	struct rule_code code;
	struct rule *rule = to;
	struct span text = reading_text(r, item);
	if (!rule_code_parse(text, &code)) {
		reading_fault(r, item, "code: expected \"550\", \"45x\", \"5xx\" and the like");
		return;
	}
	rule->codes = mem_resize(rule->codes, rule->code_count + 1, sizeof(code));
	rule->codes[rule->code_count++] = code;
}

static void take_enhanced(struct reading *r, const config_setting_t *item, void *to)
{
	struct rule_enhanced enhanced;
	struct rule *rule = to;
	struct span text = reading_text(r, item);
	if (!rule_enhanced_parse(text, &enhanced)) {
		reading_fault(r, item, "enhanced: expected \"5.7.1\", \"x.7.26\" (any class), "
				       "\"5.7.606-649\", \"5.1.*\" and the like");
		return;
	}
	rule->enhanced = mem_resize(rule->enhanced, rule->enhanced_count + 1, sizeof(enhanced));
	rule->enhanced[rule->enhanced_count++] = enhanced;
}

static bool stage_parse(struct reading *r, const config_setting_t *item, enum verdict_stage *stage)
{
	struct span text = reading_text(r, item);
	if (span_is(text, "unknown")) {
		*stage = VERDICT_STAGE_UNKNOWN;
		return true;
	}
	if (text.n && verdict_stage_parse(text, stage))
		return true;
	reading_fault(r, item, "stage: expected connect, banner, ehlo, tls, auth, mail, rcpt, data, "
			       "end, dns or unknown");
	return false;
}

static void take_stage(struct reading *r, const config_setting_t *item, void *to)
{
	enum verdict_stage stage;
	if (stage_parse(r, item, &stage))
		*(unsigned *)to |= 1U << stage;
}

static void add_group(struct reading *r, const config_setting_t *setting, void *to)
{
	struct rule *rule = to;
	rule->groups = mem_resize(rule->groups, rule->group_count + 1, sizeof(*rule->groups));
	struct rule_group *group = &rule->groups[rule->group_count++];
	*group = (struct rule_group){0};
	reading_phrases(r, setting, group);
}

/* [ "a", "b" ]: one of them; ( [ "a", "b" ], [ "c" ] ): one of each. */
static void take_text(struct reading *r, const config_setting_t *setting, void *to)
{
	if (config_setting_is_list(setting))
		reading_each(r, setting, add_group, to);
	else
		add_group(r, setting, to);
}

static void take_regex(struct reading *r, const config_setting_t *setting, void *to)
{
	struct rule *rule = to;
	int error = 0;
	PCRE2_SIZE at = 0;
	PCRE2_UCHAR text[160];
	struct span pattern = reading_text(r, setting);
	if (rule->regex)
		return;
	rule->regex = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
	    PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &at,
	    r->rules->compile);
	if (!rule->regex) {
		pcre2_get_error_message(error, text, sizeof(text));
		reading_fault(r, setting, "regex: %s, at byte %zu of it", (const char *)text, at + 1);
		return;
	}
	uint32_t references = 0;
	pcre2_pattern_info(rule->regex, PCRE2_INFO_BACKREFMAX, &references);
	if (references)
		reading_fault(r, setting, "regex: references such as \\1 are not allowed (they are slow)");
	/* never compiled to machine code: that does not count the steps of possessive
	 * loops, and needs memory that is writable and executable */
}

static void take_category(struct reading *r, const config_setting_t *setting, void *to)
{
	if (!verdict_class_parse(reading_text(r, setting), to))
		reading_fault(r, setting, "category: expected ip-blocked, reputation, rate-limited, "
		    "greylisted, auth-failed, rdns, content, policy, unknown-recipient, mailbox-full, "
		    "recipient-disabled, relay-denied, too-large, protocol, tls-required, "
		    "server-busy, routing or other");
}

static void take_scope(struct reading *r, const config_setting_t *setting, void *to)
{
	struct rule *rule = to;
	rule->has_scope = true;
	if (!verdict_scope_parse(reading_text(r, setting), &rule->scope) ||
	    rule->scope == VERDICT_SCOPE_NONE)
		reading_fault(r, setting, "scope: expected ip, domain, message, recipient, connection, "
					  "destination or us");
}

static void take_action(struct reading *r, const config_setting_t *setting, void *to)
{
	enum verdict_action action;
	if (verdict_action_parse(reading_text(r, setting), &action) && action != VERDICT_DELIVERED)
		*(int *)to = (int)action;
	else
		reading_fault(r, setting, "%s: expected retry, retry-same-source, slow, hold, "
					  "hold-domain, bounce or suppress", config_setting_name(setting));
}

/* For both kinds of reply, but for one that has an action of its own. */
static void take_actions(struct reading *r, const config_setting_t *setting, void *to)
{
	int *actions = to;
	int action = -1;
	take_action(r, setting, &action);
	for (int i = 0; i < 2; i++)
		if (actions[i] < 0)
			actions[i] = action;
}

static void take_step(struct reading *r, const config_setting_t *item, void *to)
{
	struct rule *rule = to;
	if (rule->ladder_count == RULES_LADDER_MAX)
		reading_fault(r, item, "ladder: more than %d steps", RULES_LADDER_MAX);
	else
		reading_duration(r, item, &rule->ladder[rule->ladder_count++]);
}

static void take_family(struct reading *r, const config_setting_t *setting, void *to)
{
	struct span text = reading_text(r, setting);
	if (span_is(text, "ipv6"))
		*(int *)to = AF_INET6;
	else if (span_is(text, "ipv4"))
		*(int *)to = AF_INET;
	else
		reading_fault(r, setting, "family: expected ipv4 or ipv6");
}

/* An example is a reply, or { reply = ..; stage = ..; mx = ..; }. */
static void add_example(struct reading *r, const config_setting_t *item, struct rule *rule,
    bool fits)
{
	struct rule_example e = {.fits = fits, .line = (unsigned)config_setting_source_line(item)};
	const config_setting_t *reply = item;
	if (config_setting_is_group(item)) {
		const config_setting_t *stage = config_setting_get_member(item, "stage");
		const config_setting_t *mx = config_setting_get_member(item, "mx");
		int known = 1 + (stage != NULL) + (mx != NULL);
		reply = config_setting_get_member(item, "reply");
		if (!reply || config_setting_length(item) != known) {
			reading_fault(r, item, "an example has a reply, and may have stage and mx");
			return;
		}
		if (stage)
			(void)stage_parse(r, stage, &e.stage);
		if (mx)
			e.mx = span_dup(reading_text(r, mx));
	}
	e.reply = span_dup(reading_text(r, reply));
	rule->examples = mem_resize(rule->examples, rule->example_count + 1, sizeof(e));
	rule->examples[rule->example_count++] = e;
}

static void take_example(struct reading *r, const config_setting_t *item, void *to)
{
	add_example(r, item, to, true);
}

static void take_not_example(struct reading *r, const config_setting_t *item, void *to)
{
	add_example(r, item, to, false);
}

#define RULE(member) offsetof(struct rule, member)
static const struct reading_key keys[] = {
    {"id", reading_id, RULE(id), READING_NEEDED},
    {"provider", reading_id, RULE(provider), 0},
    {"mx", reading_names, RULE(mx), 0},
    {"code", take_code, 0, READING_EACH},
    {"enhanced", take_enhanced, 0, READING_EACH},
    {"stage", take_stage, RULE(stages), READING_EACH},
    {"text", take_text, 0, 0},
    {"without", reading_phrases, RULE(without), 0},
    {"regex", take_regex, 0, 0},
    {"category", take_category, RULE(klass), READING_NEEDED},
    {"scope", take_scope, 0, 0},
    {"action_4xx", take_action, RULE(action[0]), 0},
    {"action_5xx", take_action, RULE(action[1]), 0},
    {"action", take_actions, RULE(action), 0},
    {"wait", reading_duration, RULE(wait_ms), 0},
    {"ladder", take_step, 0, READING_EACH},
    {"family", take_family, RULE(family), 0},
    {"help", reading_plain, RULE(help), 0},
    {"examples", take_example, 0, READING_EACH | READING_NEEDED},
    {"not_examples", take_not_example, 0, READING_EACH},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static void check_rule(struct reading *r, const config_setting_t *group, const struct rule *rule)
{
	if (!rule->mx.count && !rule->code_count && !rule->enhanced_count && !rule->group_count &&
	    !rule->regex && !rule->stages)
		reading_fault(r, group, "has no condition, so it would fit each reply");
	/* what we are must not become a verdict about somebody else */
	for (int i = 0; i < 2; i++)
		if (rule->action[i] == VERDICT_SUPPRESS && rule->klass != VERDICT_UNKNOWN_RECIPIENT &&
		    rule->klass != VERDICT_RECIPIENT_DISABLED && rule->klass != VERDICT_MAILBOX_FULL)
			reading_fault(r, group, "action suppress: only a verdict about a recipient "
						"(unknown-recipient, recipient-disabled, mailbox-full) may suppress it");
}

int rules_read_rule(struct verdict_rules *rules, const config_setting_t *group, const char *file,
    struct buf *errors)
{
	struct rule rule = {
	    .file = file,
	    .line = (unsigned)config_setting_source_line(group),
	    .action = {-1, -1},
	};
	struct reading r = {.rules = rules, .file = file, .name = "", .errors = errors};
	reading_group(&r, group, keys, KEYS, "a rule", &rule);
	check_rule(&r, group, &rule);
	if (r.faults) {
		rule_clear(&rule);
		return -1;
	}
	rules->rules = mem_resize(rules->rules, rules->rule_count + 1, sizeof(rule));
	rules->rules[rules->rule_count++] = rule;
	return 0;
}
