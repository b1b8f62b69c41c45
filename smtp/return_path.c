/* SPDX-License-Identifier: MIT
 * Whose name does a message carry? First the From: header is examined, since
 * it names the domain that signs; the envelope sender then follows it, so
 * that SPF and DKIM stand for the same name (DMARC alignment).
 *
 * A broken From: is mended with the domain of the envelope sender when that is
 * one of ours, else with default_domain: on a machine with many sites the
 * program behind the sender is more likely right than the default.
 */
#include "smtp/return_path.h"

#include <string.h>

#define WORD_MAX 900 /* of a mended From:; a line has room for 998 */
#define FROM_MAX 65536         /* bytes; it is read in the loop, which others wait for */
#define FROM_MAILBOXES_MAX 100 /* more in one From: are refused */
#define SHOWN_VALUE_MAX 56     /* bytes of a field shown in a refusal */
#define SHOWN_DOMAINS_MAX 40   /* likewise for the list of our domains */

enum fault {
	FAULT_NONE,
	FAULT_NO_DOMAIN,
	FAULT_LITERAL,
	FAULT_LOCALHOST,
	FAULT_LOCAL_NAME,
	FAULT_FOREIGN, /* a name that may well work, but is not ours */
};

static const char *const fault_names[] = {
    [FAULT_NONE] = NULL,
    [FAULT_NO_DOMAIN] = "no-domain",
    [FAULT_LITERAL] = "literal",
    [FAULT_LOCALHOST] = "localhost",
    [FAULT_LOCAL_NAME] = "local-name",
    [FAULT_FOREIGN] = "foreign",
};

/* What an address is to us. */
struct finding {
	enum fault fault;
	const struct conf_domain *domain; /* FAULT_NONE only */
};

struct decision {
	const struct conf *conf;
	const struct address *sender;
	const struct conf_domain *home; /* what a broken From: is mended with */
	const char *author;             /* and by which address of it; NULL: the usual one */
	struct return_path *result;
};

static const struct conf_domain *domain_of_ours(const struct conf *conf, struct span name)
{
	struct buf ascii = {0};
	if (span_is_ascii(name)) {
		buf_add(&ascii, name.p, name.n);
		text_lower(ascii.data, ascii.len);
	} else if (!domain_to_ascii(name, &ascii)) {
		buf_free(&ascii);
		return NULL;
	}
	const struct conf_domain *domain =
	    conf_domain_of(conf->domains, conf->domain_count, buf_text(&ascii), ascii.len);
	buf_free(&ascii);
	return domain;
}

static bool is_localhost(struct span name)
{
	return span_starts_nocase(name, "localhost") ||
	       span_is_under(name, span_text("localhost")) ||
	       span_is_under(name, span_text("localdomain"));
}

/* Ours comes first: who has configured example.test wants it to work, though
 * nobody else can use such a name. */
static struct finding examine(const struct conf *conf, const struct address *a)
{
	if (a->form == ADDRESS_LITERAL)
		return (struct finding){.fault = FAULT_LITERAL};
	if (a->form != ADDRESS_DOMAIN || a->domain.n == 0)
		return (struct finding){.fault = FAULT_NO_DOMAIN};
	const struct conf_domain *domain = domain_of_ours(conf, a->domain);
	if (domain)
		return (struct finding){.domain = domain};
	if (!domain_is_broken(a->domain))
		return (struct finding){.fault = FAULT_FOREIGN};
	if (is_localhost(a->domain))
		return (struct finding){.fault = FAULT_LOCALHOST};
	return (struct finding){.fault = FAULT_LOCAL_NAME};
}

static const struct conf_domain *default_domain(const struct conf *conf)
{
	if (conf->domain_count == 0)
		return NULL;
	const char *name = conf->return_path.default_domain;
	const struct conf_domain *domain =
	    name ? conf_domain_of(conf->domains, conf->domain_count, name, strlen(name)) : NULL;
	return domain ? domain : &conf->domains[0];
}

static bool is_ours(const struct conf *conf, const struct address *a)
{
	return a->form == ADDRESS_DOMAIN && examine(conf, a).fault == FAULT_NONE;
}

/* Append what stands in for the envelope sender A: an address of DOMAIN, or the one that
 * its bounces are to come to. */
static void add_sender(const struct conf *conf, const struct address *a,
    const struct conf_domain *domain, struct buf *out)
{
	bool keep_local = conf->return_path.mode == CONF_RETURN_PATH_MASQUERADE && a->local.n > 0 &&
	                  a->local.n + 1 + strlen(domain->name) <= ADDRESS_MAX;
	if (!keep_local) {
		buf_add_text(out, domain->return_path);
		return;
	}
	buf_add(out, a->local.p, a->local.n);
	buf_add_byte(out, '@');
	buf_add_text(out, domain->name);
}

/* Append what stands in for A in From:, which has to be in the domain that signs: its
 * return_path may be elsewhere. */
static void add_author(const struct decision *d, const struct address *a, struct buf *out)
{
	const struct conf_domain *home = d->home;
	const char *at = strrchr(home->return_path, '@');
	if (d->author)
		buf_add_text(out, d->author);
	else if (d->conf->return_path.mode == CONF_RETURN_PATH_MASQUERADE ||
		 (at && domain_of_ours(d->conf, span_text(at + 1)) == home))
		add_sender(d->conf, a, home, out);
	else
		buf_addf(out, "postmaster@%s", home->name);
}

/* "example.jp, example.org, ..." for a refusal. */
static void add_our_domains(const struct conf *conf, struct buf *out)
{
	size_t start = out->len;
	for (size_t i = 0; i < conf->domain_count; i++) {
		const char *name = conf->domains[i].name;
		if (i > 0 && out->len - start + strlen(name) > SHOWN_DOMAINS_MAX) {
			buf_add_text(out, ", ...");
			return;
		}
		if (i > 0)
			buf_add_text(out, ", ");
		text_escape(out, span_text(name), SHOWN_DOMAINS_MAX);
	}
}

static int refuse_foreign(const struct conf *conf, struct span address, struct why *why)
{
	struct buf shown = {0};
	struct buf ours = {0};
	text_escape(&shown, address, SHOWN_VALUE_MAX);
	add_our_domains(conf, &ours);
	why_set(why, WHY_PERM,
	    "the From: address %s is not in a domain this relay sends for (%s); set From: to"
	    " an address of yours and put the visitor's address in Reply-To:",
	    buf_text(&shown), buf_text(&ours));
	buf_free(&shown);
	buf_free(&ours);
	return -1;
}

static int refuse_unreadable(const struct decision *d, struct span value, struct why *why)
{
	struct buf shown = {0};
	text_escape(&shown, value, SHOWN_VALUE_MAX);
	why_set(why, WHY_PERM,
	    "the From: field \"%s\" can not be read as an address; write it as"
	    " \"Your Name\" <you@%.*s>",
	    buf_text(&shown), SHOWN_DOMAINS_MAX, d->home->name);
	buf_free(&shown);
	return -1;
}

/* What to do with one address of From:. MEND: it is to be replaced. */
static int judge(const struct decision *d, const struct address *a, struct finding *finding,
    bool *mend, struct why *why)
{
	*finding = examine(d->conf, a);
	*mend = false;
	if (finding->fault == FAULT_NONE)
		return 0;
	if (finding->fault != FAULT_FOREIGN &&
	    d->conf->return_path.mode != CONF_RETURN_PATH_OFF) {
		*mend = true;
		finding->domain = d->home;
		return 0;
	}
	if (d->conf->foreign_from == CONF_FOREIGN_FROM_PASS)
		return 0;
	return refuse_foreign(d->conf, a->text, why);
}

/* No From: at all: the envelope sender speaks, if it is one of ours, and nobody was named. */
static void make_from(struct decision *d)
{
	struct return_path *result = d->result;
	bool ours = is_ours(d->conf, d->sender) && !d->author;
	if (ours || (!d->home && d->sender->form == ADDRESS_DOMAIN))
		buf_add(&result->from, d->sender->text.p, d->sender->text.n);
	else if (d->home)
		add_author(d, d->sender, &result->from);
	else
		return;
	result->from_reason = "missing";
	result->domain = d->home;
}

/* Copy VALUE with its broken addresses replaced. What could be read is judged
 * even when a later part can not be read. */
static enum mailbox_result mend_list(struct decision *d, struct span value, size_t *count,
    bool *refused, struct why *why)
{
	struct return_path *result = d->result;
	struct mailbox m;
	enum mailbox_result found;
	size_t at = 0;
	size_t copied = 0;
	while ((found = mailbox_next(value, &at, &m)) == MAILBOX_FOUND) {
		struct finding finding;
		bool mend;
		if (++*count > FROM_MAILBOXES_MAX)
			return MAILBOX_BAD;
		*refused = judge(d, &m.address, &finding, &mend, why) != 0;
		if (*refused)
			return found;
		if (mailbox_has_bare_at(m.display))
			return MAILBOX_BAD;
		if (*count == 1)
			result->domain = finding.domain;
		if (!mend)
			continue;
		if (!result->from_reason)
			result->from_reason = fault_names[finding.fault];
		size_t place = (size_t)(m.spec.p - value.p);
		buf_add(&result->from, value.p + copied, place - copied);
		add_author(d, &m.address, &result->from);
		copied = place + m.spec.n;
	}
	if (result->from_reason)
		buf_add(&result->from, value.p + copied, value.n - copied);
	return found;
}

static bool holds_any(struct span s, const char *bytes)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] && strchr(bytes, s.p[i]))
			return true;
	return false;
}

/* The encoded word or the comment at the start of a name, in which specials are in order.
 * COMMENTS is cleared at one without an end, behind which there is none to be looked for. */
static size_t scan_kept(struct span s, bool *comments)
{
	size_t n = mailbox_encoded_word(s, false);
	if (n || s.p[0] != '(' || !*comments)
		return n;
	n = mailbox_comment(s);
	*comments = n > 0;
	return n;
}

/* Append the specials of a name that stand for themselves. */
static void add_specials(struct buf *out, struct span name)
{
	bool comments = true;
	for (size_t i = 0; i < name.n; i++) {
		size_t n = scan_kept((struct span){name.p + i, name.n - i}, &comments);
		if (n)
			i += n - 1;
		else if (name.p[i] && strchr(",;:@[]\\", name.p[i]))
			buf_add_byte(out, name.p[i]);
	}
}

static void add_quoted(struct buf *out, struct span s)
{
	buf_add_byte(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			buf_add_byte(out, '\\');
		buf_add_byte(out, s.p[i]);
	}
	buf_add_byte(out, '"');
}

/* A display name that stood bare in the field. As a quoted string, but within
 * one an encoded word would not be decoded: then specials beside it are left out. */
static void add_display(struct buf *out, struct span s)
{
	size_t start = out->len;
	bool encoded = false;
	bool comments = true;
	for (size_t i = 0; i < s.n; i++) {
		size_t n = scan_kept((struct span){s.p + i, s.n - i}, &comments);
		if (n) {
			encoded |= s.p[i] == '=';
			buf_add(out, s.p + i, n);
			i += n - 1;
		} else {
			buf_add_byte(out, strchr("()[]:;@\\,", s.p[i]) ? ' ' : s.p[i]);
		}
	}
	if (encoded)
		return;
	out->len = start;
	add_quoted(out, s);
}

static bool holds_control(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] < 32 && s.p[i] != '\t') || s.p[i] == 127)
			return true;
	return false;
}

/* Cut "anything <address>" in two. Only when there is one pair of brackets, no
 * quote that could pair otherwise, and each byte means itself (in ISO-2022-JP
 * and Shift_JIS the second byte of a character can be any of these). */
static bool cut_loose(struct span value, struct span *display, struct address *a)
{
	const char *open = value.n ? memchr(value.p, '<', value.n) : NULL;
	if (!open || value.p[value.n - 1] != '>' || holds_control(value) || !span_is_utf8(value))
		return false;
	*display = span_trim((struct span){value.p, (size_t)(open - value.p)});
	struct span path = {open, value.n - (size_t)(open - value.p)};
	if (holds_any(*display, "\">"))
		return false;
	size_t used = 0;
	return address_parse_path(path, false, a, &used) && used == path.n &&
	       !holds_any(a->domain, "<");
}

/* An encoded word in which others could read an address. */
static bool holds_odd_word(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		struct span rest = {s.p + i, s.n - i};
		if (mailbox_encoded_word(rest, true) && !mailbox_encoded_word(rest, false))
			return true;
	}
	return false;
}

/* Is VALUE one address whose name needs quotes? The name may look like a list
 * of local users ("Shop, Tokyo <shop@example.jp>") or a group; only one that
 * has both an @ and a comma, not in an encoded word, is more likely a list. */
static bool is_loose(struct span value)
{
	struct span display;
	struct address a;
	struct buf found = {0};
	if (!cut_loose(value, &display, &a))
		return false;
	add_specials(&found, display);
	struct span specials = span_buf(&found);
	bool list = holds_any(specials, "@") && holds_any(specials, ",;:");
	bool loose = specials.n && (!list || holds_odd_word(display));
	buf_free(&found);
	return loose;
}

/* The display name of many a web form holds an @, a comma or a bracket without
 * quotes: `info@example.jp <info@example.jp>`, `[Shop] Co., Ltd. <a@example.jp>`.
 * Large receivers refuse that, so the name is quoted here. */
static int mend_syntax(struct decision *d, struct span value, struct why *why)
{
	struct return_path *result = d->result;
	struct span display;
	struct address a;
	if (!cut_loose(value, &display, &a))
		return refuse_unreadable(d, value, why);
	struct finding finding;
	bool mend;
	if (judge(d, &a, &finding, &mend, why) != 0)
		return -1;
	buf_clear(&result->from);
	result->domain = finding.domain;
	result->from_reason = "syntax";
	if (display.n > 0) {
		add_display(&result->from, display);
		buf_add_byte(&result->from, ' ');
	}
	buf_add_byte(&result->from, '<');
	if (mend)
		add_author(d, &a, &result->from);
	else
		buf_add(&result->from, a.text.p, a.text.n);
	buf_add_byte(&result->from, '>');
	return 0;
}

/* With the address mended, the name before it may be one that needs quotes. */
static int mend_display(struct decision *d, struct why *why)
{
	struct buf mended = d->result->from;
	if (!is_loose(span_buf(&mended)))
		return 0;
	d->result->from = (struct buf){0};
	int result = mend_syntax(d, span_buf(&mended), why);
	buf_free(&mended);
	return result;
}

static int decide_value(struct decision *d, struct span value, struct why *why)
{
	size_t count = 0;
	bool refused = false;
	if (is_loose(value))
		return mend_syntax(d, value, why);
	enum mailbox_result end = mend_list(d, value, &count, &refused, why);
	if (refused)
		return -1;
	if (end == MAILBOX_BAD)
		return mend_syntax(d, value, why);
	if (count == 0)
		make_from(d); /* an empty group, or only a comment */
	return d->result->from_reason ? mend_display(d, why) : 0;
}

/* What VALUE was mended to has to be right now: it is what others will read. -1: it is not,
 * and VALUE is beyond mending. */
static int check_mended(const struct decision *d, struct span value, struct why *why)
{
	struct return_path again = {0};
	struct decision second = *d;
	second.result = &again;
	int result = decide_value(&second, span_buf(&d->result->from), why);
	if (result < 0 || again.from_reason)
		result = refuse_unreadable(d, value, why);
	return_path_free(&again);
	return result;
}

static int decide_written(struct decision *d, struct span value, struct why *why)
{
	int result = decide_value(d, value, why);
	return result == 0 && d->result->from_reason ? check_mended(d, value, why) : result;
}

/* Who takes the bytes of unencoded Japanese for themselves may find another address. */
static int check_plain(const struct decision *d, struct span value, struct why *why)
{
	struct buf lines = {0};
	struct address a;
	int result = 0;
	if (d->conf->foreign_from == CONF_FOREIGN_FROM_PASS)
		return 0;
	mailbox_plain(value, &lines);
	struct span rest = span_buf(&lines);
	while (result == 0 && mailbox_plain_next(&rest, &a))
		if (examine(d->conf, &a).fault == FAULT_FOREIGN)
			result = refuse_foreign(d->conf, a.text, why);
	buf_free(&lines);
	return result;
}

static int decide_from(struct decision *d, const struct header *header, struct why *why)
{
	size_t fields = header_count(header, "From");
	if (fields > 1)
		return why_set(why, WHY_PERM,
		    "the message has %zu From: fields where one is allowed; the program that made"
		    " it and a library of it may each have added one",
		    fields);
	struct buf value = {0};
	if (fields == 1) {
		struct span from = header_find(header, "From", 0)->value;
		if (from.n > FROM_MAX)
			return why_set(
			    why, WHY_PERM, "the From: field is over %d bytes long", FROM_MAX);
		header_unfold(from, &value);
	}
	int result = 0;
	if (value.len == 0)
		make_from(d);
	else if (d->home)
		result = decide_written(d, span_buf(&value), why);
	if (result == 0 && d->home)
		result = check_plain(
		    d, span_buf(d->result->from_reason ? &d->result->from : &value), why);
	buf_free(&value);
	return result;
}

static void decide_sender(struct decision *d)
{
	struct return_path *result = d->result;
	const struct address *sender = d->sender;
	enum conf_return_path_mode mode = d->conf->return_path.mode;
	const struct conf_domain *home = result->domain ? result->domain : default_domain(d->conf);
	if (sender->form == ADDRESS_NULL)
		return;
	const char *reason = NULL;
	if (mode == CONF_RETURN_PATH_REPAIR)
		reason = fault_names[examine(d->conf, sender).fault];
	else if (mode == CONF_RETURN_PATH_ALWAYS)
		reason = "always";
	else if (mode == CONF_RETURN_PATH_MASQUERADE)
		reason = "masquerade";
	if (!reason || !home) {
		buf_add(&result->sender, sender->text.p, sender->text.n);
		return;
	}
	add_sender(d->conf, sender, home, &result->sender);
	if (!span_equal(span_buf(&result->sender), sender->text))
		result->sender_reason = reason;
}

/* A word that fills a line can only be folded within itself, and then reads
 * otherwise: an address, or the end of an encoded name, may be cut in two. */
static bool has_wide_word(struct span value)
{
	size_t word = 0;
	for (size_t i = 0; i < value.n; i++) {
		bool space = value.p[i] == ' ' || value.p[i] == '\t';
		word = space ? 0 : word + 1;
		if (word > WORD_MAX)
			return true;
	}
	return false;
}

/* What a broken From: is mended with: the domain of AUTHOR, if it is ours, else that of the
 * envelope sender, else the default one. */
static void choose_home(struct decision *d, const char *author)
{
	const char *at = author ? strrchr(author, '@') : NULL;
	d->home = at ? domain_of_ours(d->conf, span_text(at + 1)) : NULL;
	if (d->home)
		d->author = author;
	else
		d->home = is_ours(d->conf, d->sender) ? examine(d->conf, d->sender).domain
						      : default_domain(d->conf);
}

int return_path_decide(const struct conf *conf, const struct address *sender,
    const struct header *header, const char *author, struct return_path *result,
    struct why *why)
{
	memset(result, 0, sizeof(*result));
	struct decision d = {.conf = conf, .sender = sender, .result = result};
	choose_home(&d, author);
	if (decide_from(&d, header, why) != 0)
		return -1;
	if (has_wide_word(span_buf(&result->from)))
		return why_set(why, WHY_PERM,
		    "the From: field needs mending and holds a word of more than %d bytes",
		    WORD_MAX);
	decide_sender(&d);
	return 0;
}

void return_path_free(struct return_path *result)
{
	buf_free(&result->sender);
	buf_free(&result->from);
}

const struct conf_domain *return_path_domain(const struct conf *conf, const struct header *header)
{
	const struct header_field *field = header_find(header, "From", 0);
	const struct conf_domain *domain = NULL;
	struct buf value = {0};
	struct mailbox m;
	size_t at = 0;
	if (!field)
		return NULL;
	header_unfold(field->value, &value);
	if (mailbox_next(span_buf(&value), &at, &m) == MAILBOX_FOUND)
		domain = examine(conf, &m.address).domain;
	buf_free(&value);
	return domain;
}
