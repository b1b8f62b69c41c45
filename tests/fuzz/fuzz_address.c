/* SPDX-License-Identifier: MIT
 * Addresses, mailboxes and domain names of any bytes: what passes is clean, lies
 * within the input, and passes again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct span part, struct span whole)
{
	if (part.p < whole.p || part.n > whole.n ||
	    (size_t)(part.p - whole.p) > whole.n - part.n)
		bug("a view outside of the input");
}

static void check_clean(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			bug("a control byte in an address");
	if (!span_is_utf8(s))
		bug("an address that is not UTF-8");
}

static void check_address(const struct address *a, struct span in)
{
	struct address again;
	check_within(a->text, in);
	check_within(a->local, a->text);
	check_clean(a->text);
	if (a->text.n > ADDRESS_MAX)
		bug("too long");
	if (a->utf8 == span_is_ascii(a->text))
		bug("utf8 is wrong");
	if (a->form == ADDRESS_NULL) {
		if (a->text.n)
			bug("a null address with text");
		return;
	}
	if (!address_parse(a->text, &again) || again.form != a->form ||
	    !span_equal(again.text, a->text) || !span_equal(again.domain, a->domain))
		bug("an address does not pass again");
	if (a->form != ADDRESS_LOCAL && a->local.n + 1 + a->domain.n != a->text.n)
		bug("parts do not make the whole");
	if (a->form == ADDRESS_DOMAIN && a->domain.p[a->domain.n - 1] == '.')
		bug("a trailing dot is left");
}

static void check_path(struct span in, bool lenient)
{
	struct address a;
	size_t used = SIZE_MAX;
	if (!address_parse_path(in, lenient, &a, &used)) {
		if (used != SIZE_MAX)
			bug("used was changed");
		return;
	}
	if (used == 0 || used > in.n || (!lenient && in.p[used - 1] != '>'))
		bug("bad length of a path");
	check_address(&a, in);
}

static void check_mailboxes(struct span in)
{
	struct mailbox m;
	size_t at = 0;
	size_t before = 0;
	enum mailbox_result result;
	while ((result = mailbox_next(in, &at, &m)) == MAILBOX_FOUND) {
		if (at <= before || at > in.n)
			bug("no way forward");
		before = at;
		check_within(m.whole, in);
		check_within(m.display, m.whole);
		check_within(m.spec, m.whole);
		check_address(&m.address, in);
		check_within(m.address.text, m.spec);
		(void)mailbox_has_bare_at(m.display);
	}
	if (at != in.n || mailbox_next(in, &at, &m) != MAILBOX_END)
		bug("not at the end");
}

static void check_plain(struct span in)
{
	struct buf lines = {0};
	struct address a;
	mailbox_plain(in, &lines);
	struct span rest = span_buf(&lines);
	while (mailbox_plain_next(&rest, &a))
		if (domain_scan(a.domain) != a.domain.n)
			bug("a plain domain that is no name");
	if (rest.n)
		bug("a line without a plain address");
	buf_free(&lines);
}

static void check_domain(struct span in)
{
	struct buf ascii = {0};
	struct buf again = {0};
	if (domain_scan(in) > in.n)
		bug("a name longer than its text");
	(void)domain_is_broken(in);
	if (domain_is_valid(in) && domain_scan(in) != in.n)
		bug("valid but no name");
	if (domain_to_ascii(in, &ascii)) {
		if (ascii.len == 0 || ascii.len > ADDRESS_DOMAIN_MAX ||
		    !span_is_ascii(span_buf(&ascii)))
			bug("bad ASCII name");
		if (!domain_to_ascii(span_buf(&ascii), &again) ||
		    !span_equal(span_buf(&ascii), span_buf(&again)))
			bug("an ASCII name changes");
	} else if (ascii.len) {
		bug("something was added for nothing");
	}
	buf_free(&ascii);
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {(const char *)data, size};
	struct address a;
	check_path(in, false);
	check_path(in, true);
	if (address_parse(in, &a))
		check_address(&a, in);
	if (address_route(in) > size)
		bug("a route longer than its text");
	check_mailboxes(in);
	check_plain(in);
	check_domain(in);
	return 0;
}
