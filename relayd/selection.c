/* SPDX-License-Identifier: MIT
 * Only recipients that still wait count: a message that has been delivered to
 * everybody at a domain is no longer one for that domain.
 */
#include "relayd/selection.h"

#include <string.h>

#include "conf/units.h"
#include "queue/schedule.h"
#include "relayd/base/mem.h"
#include "relayd/brake_who.h"
#include "smtp/address.h"

void selection_clear(struct selection *s)
{
	mem_free(s->ids);
	*s = (struct selection){0};
}

void selection_add(struct selection *s, uint64_t id)
{
	if ((s->count & (s->count - 1)) == 0)
		s->ids = mem_resize(s->ids, s->count ? s->count * 2 : 1, sizeof(*s->ids));
	s->ids[s->count++] = id;
}

bool selection_is_empty(const struct selection *s)
{
	return !s->named && !s->all && !s->domain && !s->sender && !s->who && !s->older_ms;
}

/* VALUE: NULL when there is none. Twice the same would be one of two things, too. */
static int take_option(struct selection *s, const char *option, const char *value,
    struct why *why)
{
	bool older = strcmp(option, "--older") == 0;
	const char **text = strcmp(option, "--domain") == 0 ? &s->domain
			    : strcmp(option, "--sender") == 0 ? &s->sender
			    : strcmp(option, "--who") == 0    ? &s->who
							      : NULL;
	if (!older && !text)
		return why_set(why, WHY_PERM,
		    "%s is not known here; there are --domain, --sender, --who, --older and --all",
		    option);
	if (!value)
		return why_set(why, WHY_PERM, "%s needs a value", option);
	if (text ? *text != NULL : s->older_ms != 0)
		return why_set(why, WHY_PERM, "%s can be given once only", option);
	if (text)
		*text = value;
	else if (!units_parse_duration(span_text(value), &s->older_ms) || s->older_ms <= 0)
		return why_set(why, WHY_PERM, "--older takes a duration like 2h, not \"%s\"", value);
	return 0;
}

static int take_id(struct selection *s, const char *word, struct why *why)
{
	uint64_t id;
	if (!message_id_parse(span_text(word), &id))
		return why_set(why, WHY_PERM, "\"%s\" is not a queue id (16 hex digits)", word);
	s->named = true;
	selection_add(s, id);
	return 0;
}

int selection_parse(struct selection *s, const char *const *argv, size_t argc, struct why *why)
{
	*s = (struct selection){0};
	for (size_t i = 0; i < argc; i++) {
		const char *word = argv[i];
		int result;
		if (strcmp(word, "--all") == 0) {
			s->all = true;
			continue;
		}
		if (strncmp(word, "--", 2) != 0)
			result = take_id(s, word, why);
		else
			result = take_option(s, word, i + 1 < argc ? argv[i + 1] : NULL, why), i++;
		if (result < 0)
			return -1;
	}
	/* "delete ID --all" is one of two things, and the wrong one is not undone */
	if (s->named && (s->all || s->domain || s->sender || s->who || s->older_ms))
		return why_set(why, WHY_PERM, "give ids, or say which messages, not both");
	if (s->all && (s->domain || s->sender || s->who || s->older_ms))
		return why_set(why, WHY_PERM, "--all does not go with other conditions");
	return 0;
}

/* An address or a domain as it was typed, without the dot that may end it; "<>" is "". */
static struct span typed(const char *text)
{
	struct span s = span_text(text);
	if (span_is(s, "<>"))
		s.n = 0;
	s.n -= s.n > 1 && s.p[s.n - 1] == '.';
	return s;
}

/* The same domain? Who wrote it may have done so in letters or as xn--. */
static bool is_same_domain(struct span a, struct span b)
{
	struct buf one = {0};
	struct buf other = {0};
	bool same = span_equal_nocase(a, b);
	if (!same && (!span_is_ascii(a) || !span_is_ascii(b)))
		same = domain_to_ascii(a, &one) && domain_to_ascii(b, &other) &&
		       span_equal(span_buf(&one), span_buf(&other));
	buf_free(&one);
	buf_free(&other);
	return same;
}

/* Is ADDRESS the one that was asked for, or at the domain? */
static bool is_at(const char *address, const char *asked)
{
	const char *at = strrchr(address, '@');
	const char *asked_at = strrchr(asked, '@');
	if (!at)
		return span_equal_nocase(span_text(address), typed(asked));
	if (!asked_at)
		return is_same_domain(span_text(at + 1), typed(asked));
	return span_equal_nocase((struct span){address, (size_t)(at - address)},
		   (struct span){asked, (size_t)(asked_at - asked)}) &&
	       is_same_domain(span_text(at + 1), typed(asked_at + 1));
}

bool selection_names(const struct selection *s, const struct batch *batch,
    const char *recipient)
{
	return is_same_domain(span_text(destination_name(batch->destination)), typed(s->domain)) ||
	       is_at(recipient, s->domain);
}

static bool has_recipient(const struct selection *s, const struct message *m,
    const struct envelope *e)
{
	for (const struct batch *b = m->batches; b; b = b->next_of_message)
		for (uint32_t i = 0; i < b->count; i++)
			if (selection_names(s, b, e->recipients[batch_recipient(b, i)]))
				return true;
	return false;
}

bool selection_may_fit(const struct selection *s, const struct message *m, int64_t now_ms)
{
	if (s->older_ms && now_ms - m->arrived_ms < s->older_ms)
		return false;
	if (!s->domain || !span_is_ascii(span_text(s->domain)))
		return true;
	const char *at = strrchr(s->domain, '@');
	struct span domain = typed(at ? at + 1 : s->domain);
	for (const struct batch *b = m->batches; b; b = b->next_of_message) {
		struct span name = span_text(destination_name(b->destination));
		/* behind a smarthost or in other letters the envelope has to tell */
		if (span_equal_nocase(name, domain) || span_starts_nocase(name, "smarthost:") ||
		    span_find_nocase(name, "xn--") || !span_is_ascii(name))
			return true;
	}
	return false;
}

bool selection_fits(const struct selection *s, const struct message *m, const struct envelope *e,
    int64_t now_ms)
{
	if (!selection_may_fit(s, m, now_ms))
		return false;
	if (s->sender && !is_at(e->sender, s->sender))
		return false;
	if (s->who && !brake_who_is(e, s->who))
		return false;
	return !s->domain || has_recipient(s, m, e);
}
