/* SPDX-License-Identifier: MIT */
#include "relayd/policy.h"

#include <netinet/in.h>
#include <string.h>

#include "relayd/base/conn.h"

#define SHOWN_ADDRESS_MAX 60 /* bytes, in a refusal */
#define SHOWN_LIST_MAX 60

const struct conf_client *policy_entry(const struct conf *conf, const char *user,
    const char *client)
{
	struct conn_address a;
	const void *address = NULL;
	int family = conn_address_parse(&a, client, 0) < 0 ? 0 : a.addr.ss_family;
	if (family == AF_INET)
		address = &((const struct sockaddr_in *)(const void *)&a.addr)->sin_addr;
	else if (family == AF_INET6)
		address = &((const struct sockaddr_in6 *)(const void *)&a.addr)->sin6_addr;
	return conf_client_of(conf->clients, conf->client_count, user[0] ? user : NULL, family,
	    address);
}

/* ---- the check ---- */

static bool is_domain_allowed(const struct conf_client *entry, struct span domain)
{
	struct buf ascii = {0};
	bool allowed = false;
	if (!domain_to_ascii(domain, &ascii)) {
		buf_clear(&ascii);
		buf_add(&ascii, domain.p, domain.n);
	}
	for (size_t i = 0; i < entry->domain_count && !allowed; i++)
		allowed = span_is_under(span_buf(&ascii), span_text(entry->domains[i]));
	buf_free(&ascii);
	return allowed;
}

static bool is_from_allowed(const struct conf_client *entry, const struct address *a)
{
	for (size_t i = 0; i < entry->from_count; i++)
		if (span_is_nocase(a->text, entry->from[i]))
			return true;
	return false;
}

static void add_list(struct buf *out, char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i && out->len + strlen(list[i]) > SHOWN_LIST_MAX) {
			buf_add_text(out, ", ...");
			return;
		}
		buf_addf(out, "%s%s", i ? ", " : "", list[i]);
	}
}

static int refuse(const struct conf_client *entry, const char *what, struct span address,
    bool from, struct why *why)
{
	struct buf shown = {0};
	struct buf list = {0};
	text_escape(&shown, address, SHOWN_ADDRESS_MAX);
	if (from)
		add_list(&list, entry->from, entry->from_count);
	else
		add_list(&list, entry->domains, entry->domain_count);
	why_set(why, WHY_PERM, "the %s %s is not what client \"%s\" may send as, which is %s", what,
	    buf_text(&shown), entry->name, buf_text(&list));
	buf_free(&shown);
	buf_free(&list);
	return -1;
}

static int check_mailbox(const struct conf_client *entry, const struct address *a,
    struct why *why)
{
	/* a literal, a local part alone and <> are in no domain */
	bool domain = a->form == ADDRESS_DOMAIN && is_domain_allowed(entry, a->domain);
	if (entry->domain_count && !domain)
		return refuse(entry, "From: address", a->text, false, why);
	if (entry->from_count && !is_from_allowed(entry, a))
		return refuse(entry, "From: address", a->text, true, why);
	return 0;
}

/* Who takes the bytes of unencoded Japanese for themselves may find another address. */
static int check_plain(const struct conf_client *entry, struct span value, struct why *why)
{
	struct buf lines = {0};
	struct address a;
	int result = 0;
	mailbox_plain(value, &lines);
	struct span rest = span_buf(&lines);
	while (result == 0 && mailbox_plain_next(&rest, &a))
		result = check_mailbox(entry, &a, why);
	buf_free(&lines);
	return result;
}

static int check_from(const struct conf_client *entry, struct span value, struct why *why)
{
	struct mailbox m;
	size_t at = 0;
	size_t count = 0;
	enum mailbox_result found;
	while ((found = mailbox_next(value, &at, &m)) == MAILBOX_FOUND) {
		count++;
		if (check_mailbox(entry, &m.address, why) < 0)
			return -1;
		if (mailbox_has_bare_at(m.display))
			break;
	}
	if (found != MAILBOX_END || count == 0)
		return refuse(entry, "From: field", value, !entry->domain_count, why);
	return check_plain(entry, value, why);
}

static int check_sender(const struct conf_client *entry, const struct return_path *path,
    struct why *why)
{
	struct address sender;
	struct span text = span_buf(&path->sender);
	if (!entry->domain_count || text.n == 0 || path->sender_reason)
		return 0;
	if (address_parse(text, &sender) && sender.form == ADDRESS_DOMAIN &&
	    is_domain_allowed(entry, sender.domain))
		return 0;
	return refuse(entry, "envelope sender", text, false, why);
}

static int check(const struct conf_client *entry, const struct header *header,
    const struct return_path *path, struct why *why)
{
	const struct header_field *field = header_find(header, "From", 0);
	struct buf from = {0};
	if (path->from.len)
		buf_add(&from, path->from.data, path->from.len);
	else if (field)
		header_unfold(field->value, &from);
	int result = check_from(entry, span_buf(&from), why);
	buf_free(&from);
	return result < 0 ? -1 : check_sender(entry, path, why);
}

/* A From: that is mended or made has to be one that ENTRY may send as: the envelope sender
 * where it is one, else the first. Nothing: what is usual is. */
static void add_author(const struct conf *conf, const struct conf_client *entry,
    const struct address *sender, struct buf *out)
{
	const char *name = entry->domain_count ? entry->domains[0] : "";
	const struct conf_domain *home =
	    conf_domain_of(conf->domains, conf->domain_count, name, strlen(name));
	struct why why;
	if (!entry->from_count && home && is_domain_allowed(entry, span_text(home->name)))
		return;
	if (check_mailbox(entry, sender, &why) == 0)
		buf_add(out, sender->text.p, sender->text.n);
	else if (entry->from_count)
		buf_add_text(out, entry->from[0]);
	else
		buf_addf(out, "postmaster@%s", name);
}

int policy_decide(const struct conf *conf, const struct conf_client *entry,
    const struct address *sender, const struct header *header, struct return_path *result,
    struct why *why)
{
	struct buf author = {0};
	if (!entry || (!entry->domain_count && !entry->from_count))
		return return_path_decide(conf, sender, header, NULL, result, why);
	struct conf own = *conf; /* the same, but for whose name a repair gives */
	if (entry->domain_count)
		own.return_path.default_domain = entry->domains[0];
	add_author(conf, entry, sender, &author);
	int decided = return_path_decide(&own, sender, header, author.len ? buf_text(&author) : NULL,
	    result, why);
	buf_free(&author);
	return decided < 0 ? -1 : check(entry, header, result, why);
}
