/* SPDX-License-Identifier: MIT
 * DKIM: messages of all odd shapes are signed with an RSA and an Ed25519 key and
 * verified by dkim_check; what can not be signed soundly is refused, and says so.
 * With RELAYD_DKIM_OUT=FOLDER in the environment the signed messages and the DNS
 * records of their keys are written there, for verifiers that others have written
 * (tests/e2e/test_dkim_verifiers.py).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "tests/unit/dkim_fixture.h"

static int sign(struct span header, struct span body, struct buf *out, struct why *why)
{
	struct text_body text = {body, 0};
	return dk_sign(dk_signer, dk_keys, header, &text, out, why);
}

static void whole(struct buf *message, const struct buf *signature, struct span header,
    struct span body)
{
	buf_clear(message);
	buf_add(message, signature->data, signature->len);
	buf_add(message, header.p, header.n);
	buf_add_text(message, "\r\n");
	buf_add(message, body.p, body.n);
	if (body.n && body.p[body.n - 1] != '\n')
		buf_add_text(message, "\r\n");
}

static void out_write(const char *name, const struct buf *message)
{
	const char *to = getenv("RELAYD_DKIM_OUT");
	if (!to)
		return;
	struct buf file = {0};
	buf_addf(&file, "%s/%s.eml", to, name);
	FILE *f = fopen(buf_text(&file), "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(message->data, 1, message->len, f), message->len);
	assert_int_equal(fclose(f), 0);
	buf_free(&file);
}

static void out_records(void)
{
	const char *to = getenv("RELAYD_DKIM_OUT");
	static const char *const selectors[] = {"rsa", "ed"};
	struct buf text = {0};
	if (!to)
		return;
	for (size_t i = 0; i < 2; i++) {
		struct why why = {0};
		char *file = dk_path(selectors[i]);
		buf_addf(&text, "%s._domainkey." DOMAIN ". ", selectors[i]);
		assert_int_equal(dkim_key_record(file, &text, &why), 0);
		buf_add_text(&text, "\n");
		mem_free(file);
	}
	struct buf file = {0};
	buf_addf(&file, "%s/records", to);
	FILE *f = fopen(buf_text(&file), "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
	assert_int_equal(fclose(f), 0);
	buf_free(&file);
	buf_free(&text);
}

/* -- signing ------------------------------------------------------------------ */

/* What a signature looks like on the wire. */
static void assert_form(struct span s)
{
	assert_true(span_starts_nocase(s, "DKIM-Signature: v=1; a="));
	assert_true(s.n > 2 && !memcmp(s.p + s.n - 2, "\r\n", 2));
	assert_null(memchr(s.p, '\0', s.n));
	size_t line = 0;
	for (size_t i = 0; i < s.n; i++) {
		line = s.p[i] == '\n' ? 0 : line + (s.p[i] != '\r');
		assert_true(line <= 78);
		if (s.p[i] == '\n' && i + 1 < s.n)
			assert_true(s.p[i + 1] == '\t' || s.p[i + 1] == 'D');
	}
}

/* How many fields of a header section have NAME. */
static size_t count_fields(struct span header, const char *name)
{
	size_t found = 0;
	while (header.n) {
		struct span line = span_cut(&header, '\n');
		found += span_is_nocase(span_trim(span_cut(&line, ':')), name);
	}
	return found;
}

/* How often NAME stands in h= of SIGNATURE. */
static size_t count_signed(struct span signature, const char *name)
{
	const char *h = strstr(signature.p, "h=");
	while (h && strchr("\t ;", h[-1]) == NULL)
		h = strstr(h + 1, "h=");
	assert_true(h && h < signature.p + signature.n);
	struct span list = {h + 2, (size_t)(signature.p + signature.n - h) - 2};
	list = span_cut(&list, ';');
	size_t found = 0;
	while (list.n) {
		struct span one = span_cut(&list, ':');
		while (one.n && strchr("\r\n\t ", one.p[0])) {
			one.p++;
			one.n--;
		}
		while (one.n && strchr("\r\n\t ", one.p[one.n - 1]))
			one.n--;
		found += span_is_nocase(one, name);
	}
	return found;
}

/* RFC 6376, 8.15: what is named once more than it is there can not be added. */
static void assert_oversigns(const char *what, struct span signatures, struct span header)
{
	static const char *const names[] = {"From", "Reply-To", "To", "Cc", "Subject", "Date",
	    "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"};
	const char *second = strstr(signatures.p + 1, "DKIM-Signature:");
	assert_non_null(second);
	size_t first = (size_t)(second - signatures.p);
	struct span each[] = {{signatures.p, first}, {second, signatures.n - first}};
	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
			size_t there = count_fields(header, names[k]);
			size_t named = count_signed(each[i], names[k]);
			if (named != there + 1)
				fail_msg("%s: %s stands %zu times in h=, %zu times in the header",
				    what, names[k], named, there);
		}
}

/* Sign, check both, then see that changes are noticed. */
static void assert_signs(const char *name, struct span header, struct span body)
{
	struct buf signature = {0};
	struct buf message = {0};
	struct why why = {0};
	if (sign(header, body, &signature, &why))
		fail_msg("%s: %s", name, why.text);
	assert_form(span_buf(&signature));
	assert_oversigns(name, span_buf(&signature), header);
	whole(&message, &signature, header, body);
	if (dk_check(&message, "rsa", &why) || dk_check(&message, "ed", &why))
		fail_msg("%s: %s", name, why.text);
	out_write(name, &message);

	buf_add_text(&message, "x\r\n");
	assert_int_equal(dk_check(&message, "rsa", &why), -1);
	assert_int_equal(dk_check(&message, "ed", &why), -1);
	buf_clear(&message);
	buf_add(&message, signature.data, signature.len);
	buf_add_text(&message, "subject: another\r\n");
	buf_add(&message, header.p, header.n);
	buf_add_text(&message, "\r\n");
	buf_add(&message, body.p, body.n);
	assert_int_equal(dk_check(&message, "rsa", &why), -1);
	assert_int_equal(dk_check(&message, "ed", &why), -1);
	buf_free(&message);
	buf_free(&signature);
}

static const struct {
	const char *name;
	const char *header;
	const char *body;
} sound[] = {
    {"plain", PLAIN, "Hello\r\n"},
    {"only-from", FROM, "Hello\r\n"},
    {"empty-body", PLAIN, ""},
    {"body-of-one-crlf", PLAIN, "\r\n"},
    {"body-of-blank-lines", PLAIN, "\r\n\r\n\r\n"},
    {"body-of-spaces", PLAIN, "  \t \r\n \r\n"},
    {"trailing-blank-lines", PLAIN, "a\r\n\r\n\r\n\r\n\r\n\r\n"},
    {"no-final-crlf", PLAIN, "a\r\nb"},
    {"space-at-end-without-crlf", PLAIN, "a\r\nb  "},
    {"one-byte", PLAIN, "."},
    {"leading-dots", PLAIN, ".\r\n..\r\n.a\r\n"},
    {"leading-spaces", PLAIN, " a\r\n\tb\r\n  c  d \t e  \r\n"},
    {"blank-lines-inside", PLAIN, "\r\n\r\na\r\n\r\n \r\nb\r\n"},
    {"form-feed-in-body", PLAIN, "a\fb\r\n\v \r\n\f\r\n"},
    {"eight-bit-body", PLAIN, "\xe3\x81\x82\xa0\x85\xff\x80\r\n"},
    {"iso-2022-jp", PLAIN, "\x1b$B$\"\x1b(B \r\n"},
    {"folded", FROM "Subject: a\r\n b\r\n\tc  \r\n   d\r\n", "x\r\n"},
    {"fold-of-white-space", FROM "Subject: a\r\n \r\n\t\r\n b\r\n", "x\r\n"},
    {"fold-at-start", FROM "Subject:\r\n a\r\n", "x\r\n"},
    {"fold-at-end", FROM "Subject: a\r\n \r\n", "x\r\n"},
    {"empty-values", FROM "Subject:\r\nCc: \r\nTo:\t\r\n", "x\r\n"},
    {"no-space-after-colon", "From:a@example.jp\r\nSubject:x\r\n", "x\r\n"},
    {"case", "FROM: a@example.jp\r\nsUBJECT: X\r\nMESSAGE-id: <a@b>\r\n", "x\r\n"},
    {"colons-and-semicolons", FROM "Subject: a:b;c=d; b=e\r\n", "x\r\n"},
    {"two-of-all", FROM FROM "To: a@b\r\nTo: c@d\r\nSubject: 1\r\nsubject: 2\r\n",
	"x\r\n"},
    {"two-with-others-between", FROM "To: a@b\r\nX-A: 1\r\nCc: e@f\r\nTo: c@d\r\n",
	"x\r\n"},
    {"eai", "From: \xe5\xa4\xaa\xe9\x83\x8e@example.jp\r\nSubject: \xe4\xb8\xad\r\n",
	"x\r\n"},
    {"raw-iso-2022-jp-subject", FROM "Subject: \x1b$B$\"$$\x1b(B\r\n", "x\r\n"},
    {"other-control",
	FROM "Subject: a\x01"
	     "b\x7f\x1c"
	     "c\r\n",
	"x\r\n"},
    {"older-signature",
	"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from; bh=; "
	"b=abc\r\n" PLAIN,
	"x\r\n"},
    {"malformed-older-signature", "DKIM-Signature: nonsense;;=\r\n" PLAIN, "x\r\n"},
    {"lists",
	PLAIN
	"List-Id: <a.example.jp>\r\nList-Unsubscribe: <https://example.jp/u>\r\n"
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: a:b:c:d\r\n",
	"x\r\n"},
    {"mime",
	PLAIN
	"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n"
	"Content-Transfer-Encoding: 8bit\r\nReply-To: c@example.jp\r\n"
	"In-Reply-To: <a@b>\r\nReferences: <a@b>\r\n <c@d>\r\nSender: d@example.jp\r\n",
	"x\r\n"},
    {"resent", PLAIN "Resent-From: a@b\r\nResent-To: c@d\r\nResent-Date: x\r\n", "x\r\n"},
    {"trace-fields", "Received: by x\r\nReturn-Path: <a@b>\r\nBcc: x@y\r\n" PLAIN,
	"x\r\n"},
    {"space-before-colon", FROM "Subject : a\r\nTo  : b@c\r\n", "x\r\n"},
    {"long-name-unsigned", PLAIN "X-Odd!#$%&'*+-./^_`{|}~;Name: 1\r\n", "x\r\n"},
};

static void test_sound(void **state)
{
	(void)state;
	out_records();
	for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++)
		assert_signs(
		    sound[i].name, span_text(sound[i].header), span_text(sound[i].body));
}

static void test_large(void **state)
{
	(void)state;
	struct buf header = {0};
	struct buf body = {0};
	struct span small = span_text("x\r\n");

	dk_repeat(&header, "Received: from a by b\r\n", 1000);
	buf_add_text(&header, PLAIN);
	assert_signs("many-received", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, FROM "Subject: ");
	dk_repeat(&header, "0123456789 ", 10000);
	buf_add_text(&header, "\r\n");
	assert_signs("long-line-in-header", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, FROM "To: a@b");
	dk_repeat(&header, ",\r\n\tsomebody@example.net", 5000);
	buf_add_text(&header, "\r\n");
	assert_signs("many-recipients", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, PLAIN);
	dk_repeat(&header, "List-Unsubscribe: <https://example.jp/a>\r\n", 3000);
	dk_repeat(&header, "Resent-Message-ID: <a@b>\r\n", 3000);
	assert_signs("many-of-a-list-field", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, FROM);
	dk_repeat(&header, "To: a@b\r\n", 64);
	assert_signs("many-to", span_buf(&header), small);

	dk_repeat(&body, "0123456789", 20000);
	buf_add_text(&body, "\r\n");
	assert_signs("long-line-in-body", span_text(PLAIN), span_buf(&body));

	buf_clear(&body);
	dk_repeat(&body, "0123456789 abcdefghijklmnop\r\n", 50000);
	assert_signs("large-body", span_text(PLAIN), span_buf(&body));

	buf_clear(&body);
	dk_repeat(&body, "\r\n", 40000);
	buf_add_text(&body, "end");
	assert_signs("many-blank-lines", span_text(PLAIN), span_buf(&body));
	buf_free(&header);
	buf_free(&body);
}

static const struct {
	const char *header;
	size_t header_size;
	const char *body;
	size_t body_size;
	const char *why; /* what it must say */
} refused[] = {
    {T(PLAIN), T("a\rb\r\n"), "body has a CR without LF"},
    {T(PLAIN), T("a\nb\r\n"), "body has a LF without CR"},
    {T(PLAIN), T("a\n"), "body has a LF without CR"},
    {T(PLAIN), T("\n"), "body has a LF without CR"},
    {T(PLAIN), T("a\r"), "body has a CR without LF"},
    {T(PLAIN), T("\r"), "body has a CR without LF"},
    {T(PLAIN), T("a\r\r\n"), "body has a CR without LF"},
    {T(PLAIN), T("a\r\n\r"), "body has a CR without LF"},
    {T(PLAIN), T("a\0b\r\n"), "body has a NUL"},
    {T(""), T("x\r\n"), "no From"},
    {T("To: a@b\r\n"), T("x\r\n"), "no From"},
    {T("X-From: a@b\r\nFro: b\r\n"), T("x\r\n"), "no From"},
    {T("From: a@b"), T("x\r\n"), "no CRLF at its end"},
    {T("From: a@b\r\nTo"), T("x\r\n"), "no CRLF at its end"},
    {T("From: a@b\n"), T("x\r\n"), "a LF without CR"},
    {T("From: a@b\nTo: c\r\n"), T("x\r\n"), "a LF without CR"},
    {T("From: a@b\rTo: c\r\n"), T("x\r\n"), "a CR without LF"},
    {T("From: a@b\r\r\n"), T("x\r\n"), "a CR without LF"},
    {T("From: a@b\r\nX: a\0b\r\n"), T("x\r\n"), "a NUL"},
    {T("From: a@b\r\nSubject: a\vb\r\n"), T("x\r\n"), "a vertical tab or form feed"},
    {T("From: a@b\r\nSubject: a\fb\r\n"), T("x\r\n"), "a vertical tab or form feed"},
    {T("From: a@b\r\nno colon\r\n"), T("x\r\n"), "a line without colon"},
    {T("From: a@b\r\n\r\nTo: x\r\n"), T("x\r\n"), "a line without colon"},
    {T(" From: a@b\r\n"), T("x\r\n"), "a byte that no field name may have"},
    {T("From x Mon 10:00\r\nFrom: a@b\r\n"), T("x\r\n"), "a byte that no field name"},
    {T("From: a@b\r\nS\xc3\xbc"
       "b: x\r\n"),
	T("x\r\n"), "a byte that no field name"},
    {T("From: a@b\r\nTo\t: b@c\r\n"), T("x\r\n"), "a byte that no field name"},
    {T("From: a@b\r\n: x\r\n"), T("x\r\n"), "a field without name"},
};

static void assert_refuses(struct span header, struct span body, const char *expected)
{
	struct buf out = {0};
	struct why why = {0};
	/* in one piece, and byte by byte so that each fault is on an edge */
	for (size_t step = 0; step < 2; step++) {
		struct text_body text = {body, step};
		buf_add_text(&out, "kept");
		assert_int_equal(
		    dk_sign(dk_signer, dk_keys, header, &text, &out, &why), -1);
		if (!strstr(why.text, expected))
			fail_msg("\"%s\" does not say \"%s\"", why.text, expected);
		assert_int_equal(why.kind, WHY_PERM);
		assert_string_equal(buf_text(&out), "kept");
		buf_clear(&out);
	}
	buf_free(&out);
}

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_refuses((struct span){refused[i].header, refused[i].header_size},
		    (struct span){refused[i].body, refused[i].body_size}, refused[i].why);
	struct buf header = {0};
	struct buf body = {0};
	buf_add_text(&header, FROM);
	dk_repeat(&header, "x", 257);
	buf_add_text(&header, ": 1\r\n");
	assert_refuses(span_buf(&header), span_text("x\r\n"), "name of over 256 bytes");
	buf_clear(&header);
	dk_repeat(&header, "To: a@b\r\n", 700);
	buf_add_text(&header, FROM);
	assert_refuses(span_buf(&header), span_text("x\r\n"), "700 To fields");
	buf_clear(&header);
	buf_add_text(&header, FROM);
	dk_repeat(
	    &header, "Content-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n", 64);
	dk_repeat(
	    &header, "Content-Type: a/b\r\nMessage-ID: <a@b>\r\nReply-To: a@b\r\n", 64);
	assert_refuses(span_buf(&header), span_text("x\r\n"), "bytes in h=");
	body.len = (8 << 20) + 2;
	memset(buf_room(&body, body.len) - body.len, 'x', body.len);
	struct text_body text = {span_buf(&body), 0};
	struct buf out = {0};
	struct why why = {0};
	assert_int_equal(
	    dk_sign(dk_signer, dk_keys, span_text(PLAIN), &text, &out, &why), -1);
	assert_non_null(strstr(why.text, "a line of over 8 MiB"));
	buf_free(&out);
	buf_free(&header);
	buf_free(&body);
}

/* However the body comes, the signatures are the same. */
static void test_pieces(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf first = {0};
	struct span body = span_text(" a \r\n\r\n\tb\r\n \r\nc  d\r\n\r\n");
	for (size_t step = 0; step < 8; step++) {
		struct buf out = {0};
		struct text_body text = {body, step};
		assert_int_equal(
		    dk_sign(dk_signer, dk_keys, span_text(PLAIN), &text, &out, &why), 0);
		if (!step)
			buf_add(&first, out.data, out.len);
		assert_string_equal(buf_text(&out), buf_text(&first));
		buf_free(&out);
	}
	buf_free(&first);
}

static ssize_t read_nothing(void *arg, uint64_t offset, char *to, size_t n)
{
	(void)arg;
	(void)offset;
	(void)to;
	(void)n;
	return 0;
}

static ssize_t read_error(void *arg, uint64_t offset, char *to, size_t n)
{
	(void)arg;
	(void)to;
	(void)n;
	return offset ? -1 : (ssize_t)(to[0] = 'x', 1);
}

static void test_read_faults(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf out = {0};
	struct dkim_input input = {
	    .header = span_text(PLAIN), .body_size = 10, .read = read_nothing};
	assert_int_equal(
	    dkim_sign_message(dk_signer, dk_keys, DOMAIN, &input, &out, &why), -1);
	assert_non_null(strstr(why.text, "it ends at byte 0 of 10"));
	input.read = read_error;
	assert_int_equal(
	    dkim_sign_message(dk_signer, dk_keys, DOMAIN, &input, &out, &why), -1);
	assert_non_null(strstr(why.text, "error at byte 1 of 10"));
	input.body_size = UINT64_MAX;
	assert_int_equal(
	    dkim_sign_message(dk_signer, dk_keys, DOMAIN, &input, &out, &why), -1);
	assert_non_null(strstr(why.text, "over 1 GiB"));
	assert_int_equal(out.len, 0);
}

static void test_tags(void **state)
{
	(void)state;
	struct buf out = {0};
	struct why why = {0};
	assert_int_equal(sign(span_text(PLAIN), span_text("x\r\n"), &out, &why), 0);
	assert_non_null(strstr(out.data, "t=1795000000;"));
	assert_non_null(strstr(out.data, "c=relaxed/relaxed; d=example.jp; s="));
	assert_null(strstr(out.data, "l="));
	struct dkim_input input = {.header = span_text(PLAIN)};
	struct buf none = {0};
	assert_int_equal(
	    dkim_sign_message(dk_signer, dk_keys, "other.jp", &input, &none, &why), 0);
	assert_int_equal(none.len, 0);
	assert_true(dkim_keys_has(dk_keys, "example.jp"));
	assert_false(dkim_keys_has(dk_keys, "a.example.jp"));
	assert_false(dkim_keys_has(dk_keys, ""));
	buf_free(&out);
}

/* The example of RFC 8463 appendix A: an outside witness for dkim_check. */
static void test_rfc8463(void **state)
{
	(void)state;
	static const char pem[] =
	    "-----BEGIN "
	    "PRIVATE KEY-----\n"
	    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
	    "-----END "
	    "PRIVATE KEY-----\n";
	static const char message[] =
	    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
	    " d=football.example.com; i=@football.example.com;\r\n"
	    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
	    " subject : date : message-id : from : subject : date;\r\n"
	    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
	    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
	    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
	    "From: Joe SixPack <joe@football.example.com>\r\n"
	    "To: Suzie Q <suzie@shopping.example.net>\r\n"
	    "Subject: Is dinner ready?\r\n"
	    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
	    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
	    "\r\n"
	    "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
	struct why why = {0};
	struct buf record = {0};
	char *file = dk_path("rfc");
	dk_write("rfc", 0600, T(pem));
	assert_int_equal(dkim_key_record(file, &record, &why), 0);
	assert_string_equal(buf_text(&record),
	    "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
	if (dkim_check(span_text(message), file, "brisbane", &why))
		fail_msg("%s", why.text);
	assert_int_equal(dkim_check(span_text(message), file, "test", &why), -1);
	buf_free(&record);
	mem_free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sound),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_pieces),
	    cmocka_unit_test(test_read_faults),
	    cmocka_unit_test(test_tags),
	    cmocka_unit_test(test_rfc8463),
	};
	return cmocka_run_group_tests(tests, dk_setup, dk_teardown);
}
