/* SPDX-License-Identifier: MIT
 * Does a rule fit a reply? Cheap questions first; a regular expression last, with
 * a limit of steps, and of runs per reply.
 */
#include "queue/rules.h"

#include <string.h>
#include <time.h>

#include "conf/conf.h"
#include "relayd/base/mem.h"

struct verdict_rules *rules_new(void)
{
	struct verdict_rules *rules = mem_zero(sizeof(*rules));
	rules->words = words_new();
	rules->compile = pcre2_compile_context_create(NULL);
	rules->match = pcre2_match_context_create(NULL);
	rules->match_data = pcre2_match_data_create(1, NULL);
	if (!rules->compile || !rules->match || !rules->match_data)
		bug("no memory for regular expressions");
	pcre2_set_max_pattern_length(rules->compile, RULES_REGEX_MAX);
	pcre2_set_parens_nest_limit(rules->compile, 20);
	pcre2_set_match_limit(rules->match, RULES_REGEX_STEPS);
	pcre2_set_depth_limit(rules->match, RULES_REGEX_STEPS);
	pcre2_set_heap_limit(rules->match, 256);
	return rules;
}

void rule_clear(struct rule *rule)
{
	for (size_t i = 0; i < rule->group_count; i++)
		mem_free(rule->groups[i].phrases);
	for (size_t i = 0; i < rule->example_count; i++) {
		mem_free(rule->examples[i].reply);
		mem_free(rule->examples[i].mx);
	}
	texts_clear(&rule->mx);
	pcre2_code_free(rule->regex);
	mem_free(rule->without.phrases);
	mem_free(rule->groups);
	mem_free(rule->examples);
	mem_free(rule->codes);
	mem_free(rule->enhanced);
	mem_free(rule->provider);
	mem_free(rule->help);
	mem_free(rule->id);
	*rule = (struct rule){0};
}

void verdict_free(struct verdict_rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->rule_count; i++)
		rule_clear(&rules->rules[i]);
	for (size_t i = 0; i < rules->provider_count; i++) {
		texts_clear(&rules->providers[i].mx);
		mem_free(rules->providers[i].id);
	}
	texts_clear(&rules->files);
	for (size_t i = 0; i < rules->delist_count; i++)
		delist_clear(&rules->delists[i]);
	mem_free(rules->delists);
	mem_free(rules->rules);
	mem_free(rules->providers);
	words_free(rules->words);
	pcre2_match_data_free(rules->match_data);
	pcre2_match_context_free(rules->match);
	pcre2_compile_context_free(rules->compile);
	mem_free(rules);
}

/* Can PATTERN fit at all? Names differ most before their last label, and a hundred
 * patterns are asked for each reply. */
static bool ends_alike(const char *pattern, const char *mx, size_t n)
{
	size_t m = strlen(pattern);
	for (size_t back = 5; back <= 7; back++)
		if (m > back + 1 && n > back &&
		    text_lower_byte(pattern[m - back]) != text_lower_byte(mx[n - back]))
			return false;
	return true;
}

static bool mx_fits(const struct texts *patterns, const char *mx)
{
	size_t n = strlen(mx);
	if (n && mx[n - 1] == '.')
		n--;
	for (size_t i = 0; i < patterns->count; i++)
		if (ends_alike(patterns->list[i], mx, n) &&
		    conf_pattern_fits(patterns->list[i], mx, n))
			return true;
	return false;
}

const struct provider *verdict_provider(const struct verdict_rules *rules, const char *mx)
{
	static const struct provider none = {.id = ""};
	if (!rules || !mx || !*mx)
		return &none;
	for (size_t i = 0; i < rules->provider_count; i++)
		if (mx_fits(&rules->providers[i].mx, mx))
			return &rules->providers[i].limits;
	return &none;
}

static bool take_number(struct span *s, unsigned max, unsigned *value)
{
	size_t n = 0;
	*value = 0;
	while (n < s->n && n < 4 && s->p[n] >= '0' && s->p[n] <= '9')
		*value = *value * 10 + (unsigned)(s->p[n++] - '0');
	s->p += n, s->n -= n;
	return n > 0 && n < 4 && *value <= max;
}

/* "#5.1.1" somewhere in the text: the way of qmail, and of gateways before it. */
static void enhanced_in(struct span text, struct verdict_input *seen)
{
	unsigned klass, subject, detail;
	for (size_t i = 0; i + 5 < text.n; i++) {
		struct span s = {text.p + i + 1, text.n - i - 1};
		if (text.p[i] != '#' || !take_number(&s, 5, &klass) || s.n < 2 || *s.p != '.')
			continue;
		s.p++, s.n--;
		if (klass != seen->code / 100 || !take_number(&s, 999, &subject) || s.n < 2 ||
		    *s.p != '.')
			continue;
		s.p++, s.n--;
		if (!take_number(&s, 999, &detail))
			continue;
		seen->klass = (unsigned char)klass;
		seen->subject = (unsigned short)subject;
		seen->detail = (unsigned short)detail;
		return;
	}
}

void rules_prepare(const struct verdict_rules *rules, const struct verdict_input *input,
    struct rule_reply *reply)
{
	reply->input = input;
	reply->seen = *input;
	if (reply->seen.text.n > PLAIN_MAX)
		reply->seen.text.n = PLAIN_MAX;
	if (!reply->seen.mx)
		reply->seen.mx = "";
	if (reply->seen.klass == 0)
		enhanced_in(reply->seen.text, &reply->seen);
	reply->provider = verdict_provider(rules, reply->seen.mx)->id;
	reply->regex_ns = RULES_REGEX_NS;
	plain_make(&reply->plain, reply->seen.text);
	reply->seen.names_ip = reply->plain.marks & (PLAIN_IP | PLAIN_IP6);
	words_find(rules->words, &reply->plain, &reply->found);
}

static bool code_fits(const struct rule *rule, unsigned code)
{
	for (size_t i = 0; i < rule->code_count; i++)
		if (code >= rule->codes[i].low && code <= rule->codes[i].high)
			return true;
	return rule->code_count == 0;
}

static bool enhanced_fits(const struct rule *rule, const struct verdict_input *in)
{
	for (size_t i = 0; i < rule->enhanced_count; i++) {
		const struct rule_enhanced *e = &rule->enhanced[i];
		if (in->klass && (e->klass == 0 || e->klass == in->klass) &&
		    (e->subject < 0 || e->subject == in->subject) && in->detail >= e->low &&
		    in->detail <= e->high)
			return true;
	}
	return rule->enhanced_count == 0;
}

static bool any_found(const struct rule_group *group, const struct words_set *found)
{
	for (size_t i = 0; i < group->count; i++)
		if (words_has(found, group->phrases[i]))
			return true;
	return false;
}

static bool words_fit(const struct rule *rule, const struct words_set *found)
{
	for (size_t i = 0; i < rule->group_count; i++)
		if (!any_found(&rule->groups[i], found))
			return false;
	return !any_found(&rule->without, found);
}

/* A provider's rule is not for the servers of another one. Who the server is may
 * be unknown, or it may be a gateway that passes on what the provider said. */
static bool host_fits(const struct rule *rule, const struct rule_reply *reply)
{
	if (rule->mx.count && !mx_fits(&rule->mx, reply->seen.mx))
		return false;
	return !rule->provider || !*reply->provider || strcmp(rule->provider, reply->provider) == 0;
}

/* Before any recipient was named no answer is about one, whatever words it has:
 * "mailbox unavailable" to MAIL is a verdict about us. And what is refused to AUTH is our
 * login: "disabled by the administrator" is said of it, and not of a message. In DNS no server
 * speaks at all: its findings are ours, and only a rule that names the stage is for them. */
static bool stage_fits(const struct rule *rule, const struct verdict_input *in)
{
	enum verdict_stage stage = in->stage;
	if (rule->stages)
		return rule->stages & 1U << stage;
	if (stage == VERDICT_STAGE_DNS || (stage == VERDICT_STAGE_AUTH && in->code >= 500))
		return false;
	if (stage < VERDICT_STAGE_CONNECT || stage > VERDICT_STAGE_MAIL)
		return true;
	return rule->klass != VERDICT_UNKNOWN_RECIPIENT && rule->klass != VERDICT_MAILBOX_FULL &&
	       rule->klass != VERDICT_RECIPIENT_DISABLED;
}

/* CPU time, not the clock's: a busy machine must not change a verdict. */
static int64_t cpu_ns(void)
{
	struct timespec t = {0};
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* The limit of steps ends what explodes, the short text what is merely quadratic,
 * and the budget is for many rules with an expression each. */
static bool regex_fits(
    const struct verdict_rules *rules, const struct rule *rule, struct rule_reply *reply)
{
	struct span text = reply->seen.text;
	if (!rule->regex)
		return true;
	if (reply->regex_ns <= 0)
		return false;
	int64_t began = cpu_ns();
	bool cut = text.n > RULES_REGEX_TEXT;
	if (cut)
		text.n = RULES_REGEX_TEXT;
	int result = pcre2_match(rule->regex, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, 0,
	    cut ? PCRE2_NOTEOL : 0, rules->match_data, rules->match);
	reply->regex_ns -= cpu_ns() - began;
	return result >= 0;
}

bool rules_fit(
    const struct verdict_rules *rules, const struct rule *rule, struct rule_reply *reply)
{
	const struct verdict_input *in = &reply->seen;
	return code_fits(rule, in->code) && enhanced_fits(rule, in) && stage_fits(rule, in) &&
	       words_fit(rule, &reply->found) && host_fits(rule, reply) &&
	       regex_fits(rules, rule, reply);
}
