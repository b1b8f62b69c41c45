/* SPDX-License-Identifier: MIT
 * Reads the entries of `delist` lists, key by key, and checks them: file, line, entry
 * and what is wrong, as for rules.
 */
#include <string.h>

#include "queue/rules_values.h"
#include "relayd/base/mem.h"

#define TEXT_MAX 6000
#define ENTRIES_MAX 500

/* ---- values ---- */

static bool is_template(struct reading *r, const config_setting_t *setting, struct span text)
{
	struct span bad;
	struct buf shown = {0};
	if (delist_check(text.p, &bad))
		return true;
	text_escape_utf8(&shown, bad, 40);
	reading_fault(r, setting, "%s is no name that is known here, such as {ip} or {reply}; "
				  "write {{ for a brace", buf_text(&shown));
	buf_free(&shown);
	return false;
}

/* A template of one line or, LINES, of several. */
static char *read_template(struct reading *r, const config_setting_t *setting, bool lines)
{
	struct span text = reading_text(r, setting);
	bool good = text.n && text.n <= TEXT_MAX && span_is_utf8(text);
	for (size_t i = 0; i < text.n; i++)
		good = good && ((unsigned char)text.p[i] >= ' ' || (lines && text.p[i] == '\n')) &&
		       text.p[i] != 0x7f;
	if (!good)
		reading_fault(r, setting, "expected a text of UTF-8, 1 to %d bytes%s", TEXT_MAX,
		    lines ? "" : ", on one line");
	else if (is_template(r, setting, text))
		return span_dup(text);
	return mem_text("");
}

static void add_text(char ***list, size_t *count, char *text)
{
	*list = mem_resize(*list, *count + 1, sizeof(**list));
	(*list)[(*count)++] = text;
}

static void replace(char **to, char *text)
{
	mem_free(*to);
	*to = text;
}

static void take_line(struct reading *r, const config_setting_t *setting, char **to)
{
	reading_plain(r, setting, to);
	if (!*to)
		*to = mem_text("");
}

/* ---- keys ---- */

static void take_name(struct reading *r, const config_setting_t *setting)
{
	take_line(r, setting, &r->delist->name);
}

static void take_portal(struct reading *r, const config_setting_t *setting)
{
	take_line(r, setting, &r->delist->portal);
	if (!span_starts_nocase(span_text(r->delist->portal), "http"))
		reading_fault(r, setting, "portal: expected \"https://...\"");
}

static void take_mail(struct reading *r, const config_setting_t *setting)
{
	take_line(r, setting, &r->delist->mail);
	const char *mail = r->delist->mail;
	const char *at = strchr(mail, '@');
	if (!at || at == mail || !at[1] || strpbrk(mail, " <>\"") || !span_is_ascii(span_text(mail)))
		reading_fault(r, setting, "mail: expected an address, \"removal@example.org\"");
}

static void take_subject(struct reading *r, const config_setting_t *setting)
{
	replace(&r->delist->subject, read_template(r, setting, false));
	if (!span_is_ascii(span_text(r->delist->subject)))
		reading_fault(r, setting, "subject: expected plain ASCII");
}

static void take_flag(struct reading *r, const config_setting_t *setting, bool *to)
{
	if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
		reading_fault(r, setting, "%s: expected true or false", config_setting_name(setting));
	*to = config_setting_get_bool(setting) == CONFIG_TRUE;
}

static void take_from_listed(struct reading *r, const config_setting_t *setting)
{
	take_flag(r, setting, &r->delist->from_listed);
}

static void take_japanese(struct reading *r, const config_setting_t *setting)
{
	take_flag(r, setting, &r->delist->japanese);
}

static void take_wait(struct reading *r, const config_setting_t *setting)
{
	reading_duration(r, setting, &r->delist->wait_ms);
}

static void add_step(struct reading *r, const config_setting_t *item, enum delist_language language)
{
	struct delist_words *words = &r->delist->words[language];
	add_text(&words->steps, &words->step_count, read_template(r, item, false));
}

static void add_step_en(struct reading *r, const config_setting_t *item)
{
	add_step(r, item, DELIST_ENGLISH);
}

static void add_step_ja(struct reading *r, const config_setting_t *item)
{
	add_step(r, item, DELIST_JAPANESE);
}

static void take_steps_en(struct reading *r, const config_setting_t *setting)
{
	reading_each(r, setting, add_step_en);
}

static void take_steps_ja(struct reading *r, const config_setting_t *setting)
{
	reading_each(r, setting, add_step_ja);
}

static void take_text_en(struct reading *r, const config_setting_t *setting)
{
	replace(&r->delist->words[DELIST_ENGLISH].text, read_template(r, setting, true));
}

static void take_text_ja(struct reading *r, const config_setting_t *setting)
{
	replace(&r->delist->words[DELIST_JAPANESE].text, read_template(r, setting, true));
}

static void add_reply(struct reading *r, const config_setting_t *item)
{
	char *text = NULL;
	reading_plain(r, item, &text);
	if (text)
		add_text(&r->delist->replies, &r->delist->reply_count, text);
	else
		reading_fault(r, item, "reply: an empty text");
}

static void add_provider(struct reading *r, const config_setting_t *item)
{
	char *id = NULL;
	if (reading_id(r, item, &id))
		add_text(&r->delist->providers, &r->delist->provider_count, id);
}

static void add_rule(struct reading *r, const config_setting_t *item)
{
	char *id = NULL;
	if (reading_id(r, item, &id))
		add_text(&r->delist->rules, &r->delist->rule_count, id);
}

static void add_category(struct reading *r, const config_setting_t *item)
{
	enum verdict_class klass;
	if (verdict_class_parse(reading_text(r, item), &klass))
		r->delist->classes |= 1u << klass;
	else
		reading_fault(r, item, "category: expected ip-blocked, reputation, auth-failed and "
				       "the like, as for rules");
}

static void take_reply(struct reading *r, const config_setting_t *setting)
{
	reading_each(r, setting, add_reply);
}

static void take_provider(struct reading *r, const config_setting_t *setting)
{
	reading_each(r, setting, add_provider);
}

static void take_rule(struct reading *r, const config_setting_t *setting)
{
	reading_each(r, setting, add_rule);
}

static void take_category(struct reading *r, const config_setting_t *setting)
{
	reading_each(r, setting, add_category);
}

static const struct reading_key keys[] = {
    {"id", NULL, true},
    {"name", take_name, true},
    {"reply", take_reply, false},
    {"provider", take_provider, false},
    {"rule", take_rule, false},
    {"category", take_category, false},
    {"portal", take_portal, false},
    {"mail", take_mail, false},
    {"from_listed", take_from_listed, false},
    {"japanese", take_japanese, false},
    {"wait", take_wait, false},
    {"subject", take_subject, false},
    {"steps_en", take_steps_en, true},
    {"steps_ja", take_steps_ja, true},
    {"text_en", take_text_en, false},
    {"text_ja", take_text_ja, false},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* ---- an entry ---- */

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(texts[i]);
	mem_free(texts);
}

void delist_clear(struct delist *d)
{
	for (size_t i = 0; i < DELIST_LANGUAGES; i++) {
		free_texts(d->words[i].steps, d->words[i].step_count);
		mem_free(d->words[i].text);
	}
	free_texts(d->replies, d->reply_count);
	free_texts(d->providers, d->provider_count);
	free_texts(d->rules, d->rule_count);
	mem_free(d->id);
	mem_free(d->name);
	mem_free(d->portal);
	mem_free(d->mail);
	mem_free(d->subject);
	*d = (struct delist){0};
}

int delist_read(struct verdict_rules *rules, const config_setting_t *group, const char *file,
    struct buf *errors)
{
	struct delist entry = {
	    .name = mem_text(""),
	    .portal = mem_text(""),
	    .mail = mem_text(""),
	    .subject = mem_text(""),
	    .file = file,
	    .line = (unsigned)config_setting_source_line(group),
	};
	struct reading r = {.rules = rules, .delist = &entry, .file = file, .name = "",
	    .errors = errors};
	reading_group(&r, group, keys, KEYS, "a delist entry", &entry.id);
	if (rules->delist_count == ENTRIES_MAX)
		reading_fault(&r, group, "more than %d delist entries", ENTRIES_MAX);
	if (r.faults) {
		delist_clear(&entry);
		return -1;
	}
	rules->delists = mem_resize(rules->delists, rules->delist_count + 1, sizeof(entry));
	rules->delists[rules->delist_count++] = entry;
	return 0;
}

/* Somebody has to answer for what no other entry fits. */
int delist_finish(const struct verdict_rules *rules, struct buf *errors)
{
	if (rules->delist_count == 0)
		return 0;
	const struct delist *last = &rules->delists[rules->delist_count - 1];
	if (!last->reply_count && !last->provider_count && !last->rule_count && !last->classes &&
	    last->subject[0] && last->words[DELIST_ENGLISH].text &&
	    last->words[DELIST_JAPANESE].text)
		return 0;
	rules_error(errors, last->file, last->line, last->id,
	    "the last delist entry has to fit all incidents (no reply, provider, rule or "
	    "category) and needs subject, text_en and text_ja");
	return -1;
}
