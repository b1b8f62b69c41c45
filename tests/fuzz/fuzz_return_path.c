/* SPDX-License-Identifier: MIT
 * Sender and header of a submission: decide and fix up, then look at what
 * would leave. Input: a byte of settings, the envelope sender to the first
 * LF, then the header (LF is taken as CRLF, CR is dropped, as smtp/body.c
 * would have it).
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/fixup.h"
#include "smtp/return_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf_domain domains[] = {
    {.name = (char *)"example.jp", .return_path = (char *)"bounce@example.jp"},
    {.name = (char *)"xn--wgv71a119e.jp", .return_path = (char *)"postmaster@xn--wgv71a119e.jp"},
};

static void must(bool good, const char *text)
{
	if (!good)
		bug(text);
}

static bool ends_ours(const struct buf *b)
{
	struct span s = span_buf(b);
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == '@')
			return conf_domain_of(domains, 2, s.p + i, s.n - i) != NULL;
	return false;
}

/* What would leave: whole lines, no empty one, one From:, nothing hidden. */
static void check_section(const struct buf *out, bool ours)
{
	struct header h;
	struct why why;
	for (size_t i = 0; i < out->len; i++) {
		char c = out->data[i];
		must(c != '\r' || out->data[i + 1] == '\n', "bare CR");
		must(c != '\n' || (i > 0 && out->data[i - 1] == '\r'), "bare LF");
	}
	must(out->len > 2 && memcmp(out->data + out->len - 2, "\r\n", 2) == 0, "cut line");
	must(header_parse(span_buf(out), &h, &why) == 0, "a section that can not be read");
	must(h.size == out->len, "a line that is no field");
	must(header_count(&h, "Received") > 0 && header_count(&h, "Date") > 0 &&
	     header_count(&h, "Message-ID") > 0, "a field is missing");
	must(header_count(&h, "Bcc") == 0 && header_count(&h, "Return-Path") == 0 &&
	     header_count(&h, "Resent-Bcc") == 0, "a field is left");
	must(!ours || header_count(&h, "From") == 1, "not one From:");
	header_free(&h);
}

/* Fixing up turns control bytes into spaces, which may mean something else. */
static bool holds_control(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] < 32 && (!s.p[i] || !strchr("\t\r\n\x1b", s.p[i]))) || s.p[i] == 127)
			return true;
	return false;
}

/* What was mended once is right: the same decision changes nothing more. */
static void check_again(const struct conf *conf, const struct return_path *first,
    const struct buf *section)
{
	struct header h;
	struct why why;
	struct address sender = {0};
	struct return_path again;
	size_t used = 0;
	if (first->sender.len > 0)
		must(address_parse_path(span_buf(&first->sender), true, &sender, &used),
		    "a sender that can not be read");
	must(header_parse(span_buf(section), &h, &why) == 0, "unreadable section");
	must(return_path_decide(conf, &sender, &h, NULL, &again, &why) == 0, "refused the second time");
	must(!again.from_reason, "mended a second time");
	must(again.domain == first->domain, "another domain the second time");
	must(span_equal(span_buf(&again.sender), span_buf(&first->sender)), "another sender");
	return_path_free(&again);
	header_free(&h);
}

static void run(const struct conf *conf, const struct address *sender, struct span message)
{
	struct header h;
	struct why why = {0};
	struct return_path result;
	struct buf out = {0};
	if (header_parse(message, &h, &why) != 0)
		return;
	if (return_path_decide(conf, sender, &h, NULL, &result, &why) == 0) {
		bool ours = conf->domain_count > 0;
		must(sender->form != ADDRESS_NULL || result.sender.len == 0, "a report's sender");
		must(!result.sender_reason || ends_ours(&result.sender), "a foreign replacement");
		must((result.from_reason == NULL) == (result.from.len == 0), "a reason for nothing");
		struct fixup f = {.hostname = "relay.example.jp",
		    .id = "5f3a",
		    .domain = result.domain ? result.domain->name : NULL,
		    .helo = message,
		    .client = "2001:db8::1",
		    .protocol = "ESMTP",
		    .recipient = buf_text(&result.sender),
		    .from = span_buf(&result.from)};
		fixup_header(&f, &h, &out);
		check_section(&out, ours);
		if (ours && !holds_control(message))
			check_again(conf, &result, &out);
	} else {
		must(why.kind == WHY_PERM && why.text[0], "refused without a reason");
		must(!strpbrk(why.text, "\r\n\x1b"), "a control byte in a reason");
	}
	return_path_free(&result);
	header_free(&h);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address sender;
	size_t used = 0;
	const uint8_t *end = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
	if (!end)
		return 0;
	struct span path = {(const char *)data + 1, (size_t)(end - data) - 1};
	if (!address_parse_path(path, true, &sender, &used))
		return 0;
	struct conf conf = {.domains = domains, .domain_count = data[0] & 16 ? 0 : 2};
	conf.return_path.mode = (enum conf_return_path_mode)(data[0] & 3);
	conf.return_path.default_domain = (char *)(data[0] & 16 ? "" : "example.jp");
	conf.foreign_from = data[0] & 8 ? CONF_FOREIGN_FROM_PASS : CONF_FOREIGN_FROM_REFUSE;
	struct buf message = {0};
	for (const uint8_t *p = end + 1; p < data + size; p++) {
		if (*p == '\n')
			buf_add_text(&message, "\r\n");
		else if (*p != '\r')
			buf_add_byte(&message, (char)*p);
	}
	if (message.len > 0 && message.data[message.len - 1] != '\n')
		buf_add_text(&message, "\r\n");
	run(&conf, &sender, span_buf(&message));
	buf_free(&message);
	return 0;
}
