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

/* ---- keys ---- */

/* A line that is "" where it is left out. */
static void take_line(struct reading *r, const config_setting_t *setting, void *to)
{
	char **line = to;
	reading_plain(r, setting, line);
	if (!*line)
		*line = mem_text("");
}

static void take_portal(struct reading *r, const config_setting_t *setting, void *to)
{
	char **portal = to;
	take_line(r, setting, portal);
	if (!span_starts_nocase(span_text(*portal), "http"))
		reading_fault(r, setting, "portal: expected \"https://...\"");
}

static void take_mail(struct reading *r, const config_setting_t *setting, void *to)
{
	take_line(r, setting, to);
	const char *mail = *(char **)to;
	const char *at = strchr(mail, '@');
	if (!at || at == mail || !at[1] || strpbrk(mail, " <>\"") || !span_is_ascii(span_text(mail)))
		reading_fault(r, setting, "mail: expected an address, \"removal@example.org\"");
}

static void take_subject(struct reading *r, const config_setting_t *setting, void *to)
{
	char **subject = to;
	mem_free(*subject);
	*subject = read_template(r, setting, false);
	if (!span_is_ascii(span_text(*subject)))
		reading_fault(r, setting, "subject: expected plain ASCII");
}

static void take_flag(struct reading *r, const config_setting_t *setting, void *to)
{
	if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
		reading_fault(r, setting, "%s: expected true or false", config_setting_name(setting));
	*(bool *)to = config_setting_get_bool(setting) == CONFIG_TRUE;
}

static void take_text(struct reading *r, const config_setting_t *setting, void *to)
{
	char **text = to;
	mem_free(*text);
	*text = read_template(r, setting, true);
}

static void add_step(struct reading *r, const config_setting_t *item, void *to)
{
	texts_add(to, read_template(r, item, false));
}

static void add_reply(struct reading *r, const config_setting_t *item, void *to)
{
	char *text = NULL;
	reading_plain(r, item, &text);
	if (text)
		texts_add(to, text);
	else
		reading_fault(r, item, "reply: an empty text");
}

static void add_id(struct reading *r, const config_setting_t *item, void *to)
{
	char *id = NULL;
	reading_id(r, item, &id);
	if (id)
		texts_add(to, id);
}

static void add_category(struct reading *r, const config_setting_t *item, void *to)
{
	enum verdict_class klass;
	if (verdict_class_parse(reading_text(r, item), &klass))
		*(unsigned *)to |= 1u << klass;
	else
		reading_fault(r, item, "category: expected ip-blocked, reputation, auth-failed and "
				       "the like, as for rules");
}

#define ENTRY(member) offsetof(struct delist, member)
static const struct reading_key keys[] = {
    {"id", reading_id, ENTRY(id), READING_NEEDED},
    {"name", take_line, ENTRY(name), READING_NEEDED},
    {"name_ja", take_line, ENTRY(name_ja), 0},
    {"reply", add_reply, ENTRY(replies), READING_EACH},
    {"provider", add_id, ENTRY(providers), READING_EACH},
    {"rule", add_id, ENTRY(rules), READING_EACH},
    {"category", add_category, ENTRY(classes), READING_EACH},
    {"portal", take_portal, ENTRY(portal), 0},
    {"mail", take_mail, ENTRY(mail), 0},
    {"from_listed", take_flag, ENTRY(from_listed), 0},
    {"japanese", take_flag, ENTRY(japanese), 0},
    {"wait", reading_duration, ENTRY(wait_ms), 0},
    {"subject", take_subject, ENTRY(subject), 0},
    {"steps_en", add_step, ENTRY(words[DELIST_ENGLISH].steps), READING_EACH | READING_NEEDED},
    {"steps_ja", add_step, ENTRY(words[DELIST_JAPANESE].steps), READING_EACH | READING_NEEDED},
    {"text_en", take_text, ENTRY(words[DELIST_ENGLISH].text), 0},
    {"text_ja", take_text, ENTRY(words[DELIST_JAPANESE].text), 0},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* ---- an entry ---- */

void delist_clear(struct delist *d)
{
	for (size_t i = 0; i < DELIST_LANGUAGES; i++) {
		texts_clear(&d->words[i].steps);
		mem_free(d->words[i].text);
	}
	texts_clear(&d->replies);
	texts_clear(&d->providers);
	texts_clear(&d->rules);
	mem_free(d->id);
	mem_free(d->name);
	mem_free(d->name_ja);
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
	    .name_ja = mem_text(""),
	    .portal = mem_text(""),
	    .mail = mem_text(""),
	    .subject = mem_text(""),
	    .file = file,
	    .line = (unsigned)config_setting_source_line(group),
	};
	struct reading r = {.rules = rules, .file = file, .name = "", .errors = errors};
	reading_group(&r, group, keys, KEYS, "a delist entry", &entry);
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
	if (!last->replies.count && !last->providers.count && !last->rules.count && !last->classes &&
	    last->subject[0] && last->words[DELIST_ENGLISH].text &&
	    last->words[DELIST_JAPANESE].text)
		return 0;
	rules_error(errors, last->file, last->line, last->id,
	    "the last delist entry has to fit all incidents (no reply, provider, rule or "
	    "category) and needs subject, text_en and text_ja");
	return -1;
}
