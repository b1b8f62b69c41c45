/* SPDX-License-Identifier: MIT
 * DKIM: messages of all odd shapes are signed with an RSA and an Ed25519 key and
 * verified by dkim_check; what can not be signed soundly is refused; key files
 * that must not be used are refused; a reload takes effect; 1000 signatures leave
 * nothing behind (ASan says so at the end). With RELAYD_DKIM_OUT=FOLDER in the
 * environment the signed messages and the DNS records of their keys are written
 * there, for verifiers that others have written (tests/e2e/test_dkim_verifiers.py).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dkim/internal.h"
#include "dkim/keys.h"
#include "dkim/sign.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

#define DOMAIN "example.jp"
#define FROM "From: Taro <taro@example.jp>\r\n"
#define PLAIN FROM "To: b@example.net\r\nSubject: test\r\nDate: Sat, 21 Nov 2026 10:00:00 +0900\r\n"

static char folder[] = "/tmp/relayd-dkim-XXXXXX";
static struct dkim_signer *signer;
static struct dkim_keys *keys;

/* -- helpers ------------------------------------------------------------------ */

static char *path(const char *name)
{
	struct buf b = {0};
	buf_addf(&b, "%s/%s", folder, name);
	return buf_take(&b, NULL);
}

static void file_write(const char *name, mode_t mode, const char *data, size_t n)
{
	char *p = path(name);
	unlink(p);
	int fd = open(p, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	mem_free(p);
}

static void key_write(const char *name, unsigned bits)
{
	struct buf pem = {0};
	struct buf record = {0};
	struct why why = {0};
	assert_int_equal(dkim_key_new(bits, &pem, &record, &why), 0);
	file_write(name, 0600, pem.data, pem.len);
	mem_wipe(pem.data, pem.len);
	buf_free(&pem);
	buf_free(&record);
}

static struct dkim_keys *load(const char *domain, const char *selector, const char *file,
    struct why *why)
{
	char *p = path(file);
	struct conf_dkim_key key = {mem_text(selector), p};
	struct conf_domain conf = {mem_text(domain), NULL, &key, 1};
	struct dkim_keys *set = dkim_keys_load(&conf, 1, why);
	mem_free(key.selector);
	mem_free(conf.name);
	mem_free(p);
	return set;
}

/* A body in memory, handed out in pieces of at most STEP bytes. */
struct text_body {
	struct span text;
	size_t step;
};

static ssize_t text_read(void *arg, uint64_t offset, char *to, size_t n)
{
	struct text_body *body = arg;
	if (body->step && n > body->step)
		n = body->step;
	assert_true(offset + n <= body->text.n);
	memcpy(to, body->text.p + offset, n);
	return (ssize_t)n;
}

static int sign_with(struct dkim_signer *with, const struct dkim_keys *set, struct span header,
    struct text_body *body, struct buf *out, struct why *why)
{
	struct dkim_input input = {.header = header,
	    .body_size = body->text.n,
	    .read = text_read,
	    .arg = body,
	    .wall_ms = INT64_C(1795000000123)};
	return dkim_sign_message(with, set, DOMAIN, &input, out, why);
}

static int sign(struct span header, struct span body, struct buf *out, struct why *why)
{
	struct text_body text = {body, 0};
	return sign_with(signer, keys, header, &text, out, why);
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

static int check(const struct buf *message, const char *selector, struct why *why)
{
	char *file = path(selector);
	int result = dkim_check(span_buf(message), file, selector, why);
	mem_free(file);
	return result;
}

static void repeat(struct buf *b, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_add_text(b, text);
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
		char *file = path(selectors[i]);
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

static int setup(void **state)
{
	(void)state;
	struct why why = {0};
	if (!mkdtemp(folder))
		return -1;
	key_write("rsa", 2048);
	key_write("ed", 0);
	char *rsa = path("rsa");
	char *ed = path("ed");
	char names[2][4] = {"rsa", "ed"};
	struct conf_dkim_key two[] = {{names[0], rsa}, {names[1], ed}};
	char domain[] = DOMAIN;
	struct conf_domain conf = {domain, NULL, two, 2};
	if (!dkim_start(&why))
		print_message("no shortcut: %s\n", why.text);
	keys = dkim_keys_load(&conf, 1, &why);
	if (!keys)
		print_message("keys: %s\n", why.text);
	mem_free(rsa);
	mem_free(ed);
	signer = dkim_signer_new();
	out_records();
	return keys ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	static const char *const names[] = {"rsa", "ed", "bad", "again", "fifo", "rfc"};
	dkim_signer_free(signer);
	dkim_keys_unref(keys);
	dkim_stop();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *p = path(names[i]);
		unlink(p);
		mem_free(p);
	}
	return rmdir(folder);
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

/* Sign, check both, then see that changes are noticed. */
static void assert_signs(const char *name, struct span header, struct span body)
{
	struct buf signature = {0};
	struct buf message = {0};
	struct why why = {0};
	if (sign(header, body, &signature, &why))
		fail_msg("%s: %s", name, why.text);
	assert_form(span_buf(&signature));
	whole(&message, &signature, header, body);
	if (check(&message, "rsa", &why) || check(&message, "ed", &why))
		fail_msg("%s: %s", name, why.text);
	out_write(name, &message);

	buf_add_text(&message, "x\r\n");
	assert_int_equal(check(&message, "rsa", &why), -1);
	assert_int_equal(check(&message, "ed", &why), -1);
	buf_clear(&message);
	buf_add(&message, signature.data, signature.len);
	buf_add_text(&message, "subject: another\r\n");
	buf_add(&message, header.p, header.n);
	buf_add_text(&message, "\r\n");
	buf_add(&message, body.p, body.n);
	assert_int_equal(check(&message, "rsa", &why), -1);
	assert_int_equal(check(&message, "ed", &why), -1);
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
    {"two-of-all", FROM FROM "To: a@b\r\nTo: c@d\r\nSubject: 1\r\nsubject: 2\r\n", "x\r\n"},
    {"two-with-others-between", FROM "To: a@b\r\nX-A: 1\r\nCc: e@f\r\nTo: c@d\r\n", "x\r\n"},
    {"eai", "From: \xe5\xa4\xaa\xe9\x83\x8e@example.jp\r\nSubject: \xe4\xb8\xad\r\n", "x\r\n"},
    {"raw-iso-2022-jp-subject", FROM "Subject: \x1b$B$\"$$\x1b(B\r\n", "x\r\n"},
    {"other-control", FROM "Subject: a\x01" "b\x7f\x1c" "c\r\n", "x\r\n"},
    {"older-signature",
	"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from; bh=; b=abc\r\n" PLAIN,
	"x\r\n"},
    {"malformed-older-signature", "DKIM-Signature: nonsense;;=\r\n" PLAIN, "x\r\n"},
    {"lists",
	PLAIN "List-Id: <a.example.jp>\r\nList-Unsubscribe: <https://example.jp/u>\r\n"
	      "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: a:b:c:d\r\n",
	"x\r\n"},
    {"mime",
	PLAIN "MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n"
	      "Content-Transfer-Encoding: 8bit\r\nReply-To: c@example.jp\r\n"
	      "In-Reply-To: <a@b>\r\nReferences: <a@b>\r\n <c@d>\r\nSender: d@example.jp\r\n",
	"x\r\n"},
    {"resent", PLAIN "Resent-From: a@b\r\nResent-To: c@d\r\nResent-Date: x\r\n", "x\r\n"},
    {"trace-fields", "Received: by x\r\nReturn-Path: <a@b>\r\nBcc: x@y\r\n" PLAIN, "x\r\n"},
    {"space-before-colon", FROM "Subject : a\r\nTo  : b@c\r\n", "x\r\n"},
    {"long-name-unsigned", PLAIN "X-Odd!#$%&'*+-./^_`{|}~;Name: 1\r\n", "x\r\n"},
};

static void test_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++)
		assert_signs(sound[i].name, span_text(sound[i].header),
		    span_text(sound[i].body));
}

static void test_large(void **state)
{
	(void)state;
	struct buf header = {0};
	struct buf body = {0};
	struct span small = span_text("x\r\n");

	repeat(&header, "Received: from a by b\r\n", 1000);
	buf_add_text(&header, PLAIN);
	assert_signs("many-received", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, FROM "Subject: ");
	repeat(&header, "0123456789 ", 10000);
	buf_add_text(&header, "\r\n");
	assert_signs("long-line-in-header", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, FROM "To: a@b");
	repeat(&header, ",\r\n\tsomebody@example.net", 5000);
	buf_add_text(&header, "\r\n");
	assert_signs("many-recipients", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, PLAIN);
	repeat(&header, "List-Unsubscribe: <https://example.jp/a>\r\n", 3000);
	repeat(&header, "Resent-Message-ID: <a@b>\r\n", 3000);
	assert_signs("many-of-a-list-field", span_buf(&header), small);

	buf_clear(&header);
	buf_add_text(&header, FROM);
	repeat(&header, "To: a@b\r\n", 64);
	assert_signs("many-to", span_buf(&header), small);

	repeat(&body, "0123456789", 20000);
	buf_add_text(&body, "\r\n");
	assert_signs("long-line-in-body", span_text(PLAIN), span_buf(&body));

	buf_clear(&body);
	repeat(&body, "0123456789 abcdefghijklmnop\r\n", 50000);
	assert_signs("large-body", span_text(PLAIN), span_buf(&body));

	buf_clear(&body);
	repeat(&body, "\r\n", 40000);
	buf_add_text(&body, "end");
	assert_signs("many-blank-lines", span_text(PLAIN), span_buf(&body));
	buf_free(&header);
	buf_free(&body);
}

#define T(text) text, sizeof(text) - 1

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
    {T("From: a@b\r\nS\xc3\xbc" "b: x\r\n"), T("x\r\n"), "a byte that no field name"},
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
		assert_int_equal(sign_with(signer, keys, header, &text, &out, &why), -1);
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
	repeat(&header, "x", 257);
	buf_add_text(&header, ": 1\r\n");
	assert_refuses(span_buf(&header), span_text("x\r\n"), "name of over 256 bytes");
	buf_clear(&header);
	repeat(&header, "To: a@b\r\n", 700);
	buf_add_text(&header, FROM);
	assert_refuses(span_buf(&header), span_text("x\r\n"), "700 To fields");
	buf_clear(&header);
	buf_add_text(&header, FROM);
	repeat(&header, "Content-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n", 64);
	repeat(&header, "Content-Type: a/b\r\nMessage-ID: <a@b>\r\nReply-To: a@b\r\n", 64);
	assert_refuses(span_buf(&header), span_text("x\r\n"), "bytes in h=");
	body.len = (8 << 20) + 1;
	memset(buf_room(&body, body.len) - body.len, 'x', body.len);
	struct text_body text = {span_buf(&body), 0};
	struct buf out = {0};
	struct why why = {0};
	assert_int_equal(sign_with(signer, keys, span_text(PLAIN), &text, &out, &why), -1);
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
		    sign_with(signer, keys, span_text(PLAIN), &text, &out, &why), 0);
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
	assert_int_equal(dkim_sign_message(signer, keys, DOMAIN, &input, &out, &why), -1);
	assert_non_null(strstr(why.text, "it ends at byte 0 of 10"));
	input.read = read_error;
	assert_int_equal(dkim_sign_message(signer, keys, DOMAIN, &input, &out, &why), -1);
	assert_non_null(strstr(why.text, "error at byte 1 of 10"));
	input.body_size = UINT64_MAX;
	assert_int_equal(dkim_sign_message(signer, keys, DOMAIN, &input, &out, &why), -1);
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
	assert_int_equal(dkim_sign_message(signer, keys, "other.jp", &input, &none, &why), 0);
	assert_int_equal(none.len, 0);
	assert_true(dkim_keys_has(keys, "example.jp"));
	assert_false(dkim_keys_has(keys, "a.example.jp"));
	assert_false(dkim_keys_has(keys, ""));
	buf_free(&out);
}

/* The example of RFC 8463 appendix A: an outside witness for dkim_check. */
static void test_rfc8463(void **state)
{
	(void)state;
	static const char pem[] =
	    "-----BEGIN " "PRIVATE KEY-----\n"
	    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
	    "-----END " "PRIVATE KEY-----\n";
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
	char *file = path("rfc");
	file_write("rfc", 0600, T(pem));
	assert_int_equal(dkim_key_record(file, &record, &why), 0);
	assert_string_equal(buf_text(&record),
	    "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
	if (dkim_check(span_text(message), file, "brisbane", &why))
		fail_msg("%s", why.text);
	assert_int_equal(dkim_check(span_text(message), file, "test", &why), -1);
	buf_free(&record);
	mem_free(file);
}

/* -- keys --------------------------------------------------------------------- */

static void assert_load_fails(const char *expected)
{
	struct why why = {0};
	struct dkim_keys *set = load(DOMAIN, "s", "bad", &why);
	assert_null(set);
	if (!strstr(why.text, expected) || !strstr(why.text, DOMAIN) ||
	    !strstr(why.text, "/bad"))
		fail_msg("\"%s\" does not say \"%s\" and where", why.text, expected);
}

static void pkey_write(EVP_PKEY *key, const EVP_CIPHER *cipher)
{
	char *p = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	assert_non_null(key);
	assert_int_equal(
	    PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, cipher ? "pw" : NULL,
		cipher ? 2 : 0, NULL, NULL),
	    1);
	long n = BIO_get_mem_data(bio, &p);
	file_write("bad", 0600, p, (size_t)n);
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static void test_key_files(void **state)
{
	(void)state;
	assert_load_fails("No such file");
	file_write("bad", 0644, T("x"));
	assert_load_fails("mode is 0644");
	assert_load_fails("chmod 0600");
	file_write("bad", 0640, T("x"));
	assert_load_fails("mode is 0640");
	file_write("bad", 0600, T(""));
	assert_load_fails("not a private key");
	file_write("bad", 0600, T("-----BEGIN " "PRIVATE KEY-----\nAAAA\n"));
	assert_load_fails("not a private key");
	struct buf large = {0};
	repeat(&large, "0123456789abcdef", 4097);
	file_write("bad", 0600, large.data, large.len);
	assert_load_fails("over 64 KiB");
	buf_free(&large);
	pkey_write(EVP_EC_gen("P-256"), NULL);
	assert_load_fails("neither an RSA nor an Ed25519");
	pkey_write(EVP_RSA_gen(768), NULL);
	assert_load_fails("RSA key of 768 bits");
	pkey_write(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_aes_128_cbc());
	assert_load_fails("encrypted");
	char *bad = path("bad");
	unlink(bad);
	assert_int_equal(mkfifo(bad, 0600), 0);
	assert_load_fails("not a regular file");
	unlink(bad);
	mem_free(bad);
}

static void test_key_names(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "a b", "a;b", "a\r\nb", "s\xc3\xa9l", "a:b"};
	struct why why = {0};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(load(DOMAIN, bad[i], "rsa", &why));
		assert_non_null(strstr(why.text, "is not a DNS name"));
	}
	char *file = path("rsa");
	char domain[] = DOMAIN;
	char names[6][4] = {"a", "b", "c", "d", "e", "a"};
	struct conf_dkim_key many[6];
	for (size_t i = 0; i < 6; i++)
		many[i] = (struct conf_dkim_key){names[i], file};
	struct conf_domain conf[] = {{domain, NULL, many, 5}, {domain, NULL, many + 5, 1}};
	assert_null(dkim_keys_load(conf, 1, &why));
	assert_non_null(strstr(why.text, "more than 4 DKIM keys"));
	conf[0].dkim_count = 3;
	assert_null(dkim_keys_load(conf, 2, &why));
	assert_non_null(strstr(why.text, "selector a twice"));
	struct dkim_keys *none = dkim_keys_load(NULL, 0, &why);
	assert_non_null(none);
	assert_false(dkim_keys_has(none, DOMAIN));
	dkim_keys_unref(dkim_keys_ref(none));
	dkim_keys_unref(none);
	mem_free(file);
}

/* RSA keys come in other PEM forms too, and with text around. */
static void test_key_forms(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf out = {0};
	char *p = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_PKEY *key = EVP_RSA_gen(1024);
	assert_true(BIO_puts(bio, "Made by hand\n") > 0);
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL,
			     NULL),
	    1);
	long n = BIO_get_mem_data(bio, &p);
	file_write("bad", 0400, p, (size_t)n);
	struct dkim_keys *set = load(DOMAIN, "s", "bad", &why);
	if (!set)
		fail_msg("%s", why.text);
	struct text_body body = {span_text("x\r\n"), 0};
	assert_int_equal(sign_with(signer, set, span_text(PLAIN), &body, &out, &why), 0);
	buf_add_text(&out, PLAIN "\r\nx\r\n");
	assert_int_equal(dkim_check_key(span_buf(&out), key, "s", &why), 0);
	EVP_PKEY_free(key);
	BIO_free(bio);
	buf_free(&out);
	dkim_keys_unref(set);
}

/* A new set under old names: the next signature uses the new key. */
static void test_reload(void **state)
{
	(void)state;
	struct why why = {0};
	struct text_body body = {span_text("x\r\n"), 0};
	struct dkim_keys *set = NULL;
	for (int i = 0; i < 3; i++) {
		struct buf out = {0};
		key_write("again", i % 2 ? 0 : 2048);
		dkim_keys_unref(set);
		set = load(DOMAIN, "again", "again", &why);
		assert_non_null(set);
		assert_int_equal(
		    sign_with(signer, set, span_text(PLAIN), &body, &out, &why), 0);
		buf_add_text(&out, PLAIN "\r\nx\r\n");
		if (check(&out, "again", &why))
			fail_msg("%s", why.text);
		buf_free(&out);
	}
	dkim_keys_unref(set);
}

static void test_key_new(void **state)
{
	(void)state;
	struct why why = {0};
	struct buf pem = {0};
	struct buf record = {0};
	assert_int_equal(dkim_key_new(1024, &pem, &record, &why), -1);
	assert_int_equal(dkim_key_new(2049, &pem, &record, &why), -1);
	assert_int_equal(pem.len + record.len, 0);
	assert_int_equal(dkim_key_new(3072, &pem, &record, &why), 0);
	assert_true(span_starts_nocase(span_buf(&pem), "-----BEGIN PRIVATE KEY-----\n"));
	assert_true(span_starts_nocase(span_buf(&record), "v=DKIM1; k=rsa; p=MIIBojANBgkqhki"));
	struct buf zone = {0};
	dkim_record_zone("s1", DOMAIN, buf_text(&record), &zone);
	assert_true(
	    span_starts_nocase(span_buf(&zone), "s1._domainkey.example.jp. IN TXT ( \"v="));
	size_t joined = 0;
	size_t run = 0;
	bool inside = false;
	for (const char *c = strchr(zone.data, '('); *c; c++) {
		if (*c == '"') {
			inside = !inside;
			run = 0;
		} else if (inside) {
			assert_int_equal(*c, record.data[joined]);
			joined++;
			assert_true(++run <= 255);
		}
	}
	assert_int_equal(joined, record.len);
	assert_string_equal(zone.data + zone.len - 4, "\" )\n");
	buf_free(&zone);
	mem_wipe(pem.data, pem.len);
	buf_free(&pem);
	buf_free(&record);
}

/* -- the shortcut ------------------------------------------------------------- */

static void sign_many(struct dkim_signer *with, int count)
{
	struct why why = {0};
	struct text_body body = {span_text("x\r\n"), 0};
	struct buf out = {0};
	for (int i = 0; i < count; i++) {
		buf_clear(&out);
		if (sign_with(with, keys, span_text(PLAIN), &body, &out, &why))
			fail_msg("%s", why.text);
	}
	buf_add_text(&out, PLAIN "\r\nx\r\n");
	if (check(&out, "rsa", &why) || check(&out, "ed", &why))
		fail_msg("%s", why.text);
	buf_free(&out);
}

/* The packaged library passes the self-test, and neither 1000 signatures with each
 * key nor a second self-test leave anything behind. */
static void test_shortcut(void **state)
{
	(void)state;
	struct why why = {0};
	assert_true(dkim_shortcut.on);
	sign_many(signer, 1000);
	assert_true(dkim_start(&why));
	sign_many(signer, 3);
}

/* The packaged library never frees an Ed25519 key that it has decoded itself, so
 * LeakSanitizer, where it is linked in, has to look away. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void test_plain_way(void **state)
{
	(void)state;
	struct why why = {0};
	dkim_stop();
	if (__lsan_disable)
		__lsan_disable();
	struct dkim_signer *plain = dkim_signer_new();
	sign_many(plain, 3);
	dkim_signer_free(plain);
	if (__lsan_enable)
		__lsan_enable();
	assert_true(dkim_start(&why));
}

static void *thread_run(void *arg)
{
	(void)arg;
	struct dkim_signer *own = dkim_signer_new();
	sign_many(own, 50);
	dkim_signer_free(own);
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	pthread_t thread[4];
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, thread_run, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
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
	    cmocka_unit_test(test_key_files),
	    cmocka_unit_test(test_key_names),
	    cmocka_unit_test(test_key_forms),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_key_new),
	    cmocka_unit_test(test_shortcut),
	    cmocka_unit_test(test_plain_way),
	    cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
