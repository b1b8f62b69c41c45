/* SPDX-License-Identifier: MIT */
#include "queue/delist.h"

#include <string.h>

#include "queue/rules.h"

const char *const delist_names[DELIST_NAMES] = {
    [DELIST_IP] = "ip",
    [DELIST_EHLO] = "ehlo",
    [DELIST_PTR] = "ptr",
    [DELIST_PROVIDER] = "provider",
    [DELIST_LIST] = "list",
    [DELIST_LIST_JA] = "list_ja",
    [DELIST_PORTAL] = "portal",
    [DELIST_MAIL] = "mail",
    [DELIST_REPLY] = "reply",
    [DELIST_RECIPIENT] = "recipient_domain",
    [DELIST_SENDER] = "sender_domain",
    [DELIST_FIRST] = "first",
    [DELIST_LAST] = "last",
    [DELIST_MET] = "met",
    [DELIST_WAITING] = "waiting",
    [DELIST_REROUTED] = "rerouted",
    [DELIST_NUMBER] = "number",
    [DELIST_CONTACT] = "contact",
};

/* ---- which one? ---- */

static bool is_among(const char *value, const struct texts *names)
{
	for (size_t i = 0; i < names->count; i++)
		if (span_is_nocase(span_text(value), names->list[i]))
			return true;
	return names->count == 0;
}

static bool has_piece(const char *text, const struct texts *pieces)
{
	for (size_t i = 0; i < pieces->count; i++)
		if (span_find_nocase(span_text(text), pieces->list[i]))
			return true;
	return pieces->count == 0;
}

static bool fits(const struct delist *d, const struct delist_about *about)
{
	return has_piece(about->reply, &d->replies) && is_among(about->provider, &d->providers) &&
	       is_among(about->rule, &d->rules) &&
	       (!d->classes || d->classes >> about->klass & 1u);
}

const struct delist *delist_find(const struct verdict_rules *rules,
    const struct delist_about *about)
{
	for (size_t i = 0; rules && i < rules->delist_count; i++)
		if (fits(&rules->delists[i], about))
			return &rules->delists[i];
	return NULL;
}

static const struct delist *for_all(const struct verdict_rules *rules)
{
	return rules->delist_count ? &rules->delists[rules->delist_count - 1] : NULL;
}

const char *delist_text(const struct verdict_rules *rules, const struct delist *entry,
    enum delist_language language)
{
	if (!entry->words[language].text)
		entry = for_all(rules);
	const char *text = entry ? entry->words[language].text : NULL;
	return text ? text : "";
}

const char *delist_subject(const struct verdict_rules *rules, const struct delist *entry)
{
	const struct delist *all = entry->subject[0] ? entry : for_all(rules);
	return all ? all->subject : "";
}

/* ---- templates ---- */

/* The name in the braces that AT begins with; DELIST_NAMES: none. END: behind them. */
static size_t name_at(const char *at, const char **end)
{
	const char *close = strchr(at, '}');
	struct span name = {at + 1, close ? (size_t)(close - at) - 1 : 0};
	size_t i = 0;
	while (i < DELIST_NAMES && !(close && span_is(name, delist_names[i])))
		i++;
	*end = close ? close + 1 : at + 1;
	return i;
}

void delist_fill(struct buf *out, const char *template,
    const char *const values[DELIST_NAMES])
{
	const char *end;
	for (const char *p = template; *p;) {
		size_t plain = strcspn(p, "{");
		buf_add(out, p, plain);
		p += plain;
		if (!*p)
			break;
		size_t name = p[1] == '{' ? DELIST_NAMES : name_at(p, &end);
		if (name < DELIST_NAMES) {
			buf_add_text(out, values[name]);
			p = end;
		} else {
			buf_add_byte(out, '{');
			p += p[1] == '{' ? 2 : 1;
		}
	}
}

bool delist_check(const char *template, struct span *bad)
{
	const char *end;
	for (const char *p = template; (p = strchr(p, '{')); p = end) {
		end = p + 2;
		if (p[1] != '{' && name_at(p, &end) == DELIST_NAMES) {
			*bad = (struct span){p, (size_t)(end - p)};
			return false;
		}
	}
	return true;
}
