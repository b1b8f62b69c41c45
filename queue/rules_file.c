/* SPDX-License-Identifier: MIT
 * A rule file as a whole: its syntax, the list of providers, the list of rules.
 */
#include <string.h>

#include "conf/scan.h"
#include "queue/rules_values.h"
#include "relayd/base/mem.h"

static void read_limits(
    struct reading *r, const config_setting_t *setting, struct rule_provider *provider)
{
	const char *key = config_setting_name(setting);
	if (strcmp(key, "mx") == 0)
		reading_names(r, setting, &provider->mx);
	else if (strcmp(key, "connections") == 0)
		reading_count(r, setting, &provider->limits.connections);
	else if (strcmp(key, "messages_per_connection") == 0)
		reading_count(r, setting, &provider->limits.messages_per_connection);
	else if (strcmp(key, "per_minute") == 0)
		reading_count(r, setting, &provider->limits.per_minute);
	else if (strcmp(key, "id") == 0)
		reading_id(r, setting, &provider->id);
	else
		reading_fault(r, setting, "\"%s\" is no key of a provider", key);
}

static void read_provider(struct reading *r, const config_setting_t *group)
{
	struct verdict_rules *rules = r->rules;
	if (!config_setting_is_group(group)) {
		reading_fault(r, group, "providers: expected groups { id = ..; mx = [ .. ]; }");
		return;
	}
	rules->providers = mem_resize(
	    rules->providers, rules->provider_count + 1, sizeof(*rules->providers));
	struct rule_provider *provider = &rules->providers[rules->provider_count++];
	*provider = (struct rule_provider){0};
	for (int i = 0; i < config_setting_length(group); i++)
		read_limits(r, config_setting_get_elem(group, (unsigned)i), provider);
	if (!provider->id || provider->mx.count == 0)
		reading_fault(r, group, "a provider needs an id and mx = [ \"*.example.com\" ]");
	/* a faulty one stays in the list while the other faults are sought */
	if (!provider->id)
		provider->id = mem_text("");
	provider->limits.id = provider->id;
}

static void read_rule(struct reading *r, const config_setting_t *group)
{
	if (!config_setting_is_group(group))
		reading_fault(r, group, "rules: expected groups { id = ..; ... }");
	else if (r->rules->rule_count == RULES_MAX)
		reading_fault(r, group, "more than %d rules", RULES_MAX);
	else if (rules_read_rule(r->rules, group, r->file, r->errors) < 0)
		r->faults++;
}

static void read_delist(struct reading *r, const config_setting_t *group)
{
	if (!config_setting_is_group(group))
		reading_fault(r, group, "delist: expected groups { id = ..; ... }");
	else if (delist_read(r->rules, group, r->file, r->errors) < 0)
		r->faults++;
}

static void read_list(struct reading *r, const config_setting_t *list,
    void (*read)(struct reading *r, const config_setting_t *item))
{
	if (!config_setting_is_list(list)) {
		reading_fault(r, list, "%s: expected a list ( { .. }, { .. } )",
		    config_setting_name(list));
		return;
	}
	for (int i = 0; i < config_setting_length(list) && r->faults < 100; i++)
		read(r, config_setting_get_elem(list, (unsigned)i));
}

static void read_tree(struct reading *r, const config_t *config)
{
	const config_setting_t *root = config_root_setting(config);
	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *setting = config_setting_get_elem(root, (unsigned)i);
		const char *name = config_setting_name(setting);
		if (strcmp(name, "providers") == 0)
			read_list(r, setting, read_provider);
		else if (strcmp(name, "rules") == 0)
			read_list(r, setting, read_rule);
		else if (strcmp(name, "delist") == 0)
			read_list(r, setting, read_delist);
		else
			reading_fault(r, setting, "\"%s\" is not known here; expected rules, "
				"providers or delist", name);
	}
}

static void syntax_fault(struct reading *r, const config_t *config)
{
	rules_error(r->errors, r->file, (unsigned)config_error_line(config), NULL,
	    "%s; look for a missing quote, comma or ; here or on the line before",
	    config_error_text(config));
	r->faults++;
}

/* Faults are told by the line of the file, and an included one has lines of its own. */
static bool includes(struct reading *r, struct span text)
{
	unsigned line = scan_include(text);
	if (!line)
		return false;
	rules_error(r->errors, r->file, line, NULL,
	    "@include is not known in rule files; put the other file beside this one");
	r->faults++;
	return true;
}

static void tell_numbers(struct reading *r)
{
	struct conf_errors errors = {0};
	if (r->numbers.count == 0)
		return;
	r->faults += r->numbers.count;
	report_finish(&r->numbers, &errors);
	buf_add_text(r->errors, buf_text(&errors.text));
	conf_errors_free(&errors);
}

/* TEXT ends with a NUL. */
static void read_text(struct reading *r, struct span text, config_t *config)
{
	if (config_read_string(config, text.p) == CONFIG_FALSE) {
		syntax_fault(r, config);
		return;
	}
	r->numbers.file = r->file;
	scan_numbers(&r->numbers, NULL, text);
	read_tree(r, config);
	tell_numbers(r);
}

int rules_read(
    struct verdict_rules *rules, struct span text, const char *name, struct buf *errors)
{
	struct reading r = {.rules = rules, .name = "", .errors = errors};
	config_t config;
	texts_add(&rules->files, mem_text(name));
	r.file = rules->files.list[rules->files.count - 1];
	if (text.n > RULES_FILE_MAX || memchr(text.p, '\0', text.n)) {
		reading_fault(&r, NULL, text.n > RULES_FILE_MAX ? "is larger than 4 MiB"
								  : "is no text: it has a NUL byte");
		return -1;
	}
	char *copy = mem_copy(text.p, text.n);
	config_init(&config);
	if (!includes(&r, text))
		read_text(&r, (struct span){copy, text.n}, &config);
	config_destroy(&config);
	mem_free(copy);
	return r.faults ? -1 : 0;
}
