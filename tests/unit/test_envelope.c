/* SPDX-License-Identifier: MIT
 * Envelopes there and back; what can not be stored; damage at each byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "queue/envelope.h"
#include "relayd/base/mem.h"

static char *recipients[] = {(char *)(uintptr_t)"a@example.net",
	(char *)(uintptr_t)"\"b c\"@example.net", (char *)(uintptr_t)"\xc3\xa9@example.net"};

static struct envelope sample(void)
{
	return (struct envelope){.arrived_ms = 1764000000123,
		.sender = (char *)(uintptr_t)"postmaster@example.jp",
		.sender_was = (char *)(uintptr_t)"apache@localhost",
		.sender_reason = (char *)(uintptr_t)"no domain of ours",
		.from_was = (char *)(uintptr_t)"root",
		.domain = (char *)(uintptr_t)"example.jp",
		.client = (char *)(uintptr_t)"unix:33",
		.user = NULL,
		.message_id = (char *)(uintptr_t)"<1@x>",
		.entry = (char *)(uintptr_t)"shop",
		.script = (char *)(uintptr_t)"33:mail.php",
		.priority = CONF_PRIORITY_BULK,
		.eightbit = true, .report = true,
		.recipients = recipients, .recipient_count = 3};
}

static void test_there_and_back(void **state)
{
	(void)state;
	struct envelope e = sample();
	struct envelope back;
	struct buf stored = {0};
	struct why why;
	assert_int_equal(envelope_check(&e, &why), 0);
	envelope_write(&e, &stored);
	assert_int_equal(envelope_read(&back, span_buf(&stored), &why), 0);
	assert_true(back.arrived_ms == e.arrived_ms);
	assert_string_equal(back.sender, e.sender);
	assert_string_equal(back.sender_was, e.sender_was);
	assert_string_equal(back.sender_reason, e.sender_reason);
	assert_string_equal(back.from_was, e.from_was);
	assert_string_equal(back.domain, e.domain);
	assert_string_equal(back.client, e.client);
	assert_string_equal(back.user, "");
	assert_string_equal(back.message_id, e.message_id);
	assert_string_equal(back.entry, "shop");
	assert_string_equal(back.script, "33:mail.php");
	assert_int_equal(back.priority, CONF_PRIORITY_BULK);
	assert_true(back.eightbit && back.report && !back.smtputf8);
	assert_int_equal(back.recipient_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(back.recipients[i], recipients[i]);
	envelope_free(&back);
	buf_free(&stored);
}

static struct envelope_dsn dsn[] = {
	{ENVELOPE_NOTIFY_SUCCESS | ENVELOPE_NOTIFY_DELAY, (char *)(uintptr_t)"rfc822;a@example.net"},
	{ENVELOPE_NOTIFY_NEVER, NULL}, {0, NULL}};

static struct envelope sample_with_dsn(void)
{
	struct envelope e = sample();
	e.ret = ENVELOPE_RET_HDRS;
	e.envid = (char *)(uintptr_t)"QQ+2B1";
	e.dsn = dsn;
	return e;
}

static void test_dsn_there_and_back(void **state)
{
	(void)state;
	struct envelope e = sample_with_dsn();
	struct envelope back;
	struct buf stored = {0};
	envelope_write(&e, &stored);
	assert_int_equal(stored.data[0], 2);
	assert_int_equal(envelope_read(&back, span_buf(&stored), NULL), 0);
	assert_int_equal(back.ret, ENVELOPE_RET_HDRS);
	assert_string_equal(back.envid, "QQ+2B1");
	assert_string_equal(back.dsn[0].orcpt, "rfc822;a@example.net");
	assert_string_equal(back.dsn[1].orcpt, "");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(envelope_notify(&back, i), dsn[i].notify);
	envelope_free(&back);
	buf_free(&stored);
}

/* What older programs can read too is written whenever it says all. */
static void test_nothing_asked_is_version_1(void **state)
{
	(void)state;
	struct envelope_dsn nothing[3] = {{0}};
	struct envelope e = sample();
	struct buf plain = {0};
	struct buf stored = {0};
	envelope_write(&e, &plain);
	assert_int_equal(plain.data[0], 1);
	e.dsn = nothing;
	e.envid = (char *)(uintptr_t)"";
	envelope_write(&e, &stored);
	assert_true(span_equal(span_buf(&plain), span_buf(&stored)));
	buf_free(&plain);
	buf_free(&stored);
}

/* What a message does not have takes no room, and an envelope that was stored
 * before these fields were known is read as one without them. */
static void test_later_fields(void **state)
{
	(void)state;
	struct envelope e = sample();
	struct envelope back;
	struct buf with = {0};
	struct buf without = {0};
	envelope_write(&e, &with);
	e.entry = NULL;
	e.priority = CONF_PRIORITY_URGENT;
	e.script = (char *)(uintptr_t)"";
	envelope_write(&e, &without);
	assert_int_equal(with.len - without.len, 3 + 4 + 3 + 11);
	assert_int_equal(envelope_read(&back, span_buf(&without), NULL), 0);
	assert_string_equal(back.entry, "");
	assert_string_equal(back.script, "");
	assert_int_equal(back.priority, CONF_PRIORITY_URGENT);
	envelope_free(&back);
	/* in another order, or twice, they were not written by us */
	buf_add(&without, "\2\1\0x\1\1\0y", 8);
	assert_int_equal(envelope_read(&back, span_buf(&without), NULL), -1);
	buf_free(&with);
	buf_free(&without);
}

static void test_texts_for_people(void **state)
{
	(void)state;
	struct envelope e = sample();
	struct envelope back;
	struct buf stored = {0};
	char *large = mem_alloc(10001);
	memset(large, 'x', 10000);
	large[10000] = '\0';
	e.from_was = (char *)(uintptr_t)"a\r\nBcc: b\x7f\t";
	e.sender_reason = large;
	envelope_write(&e, &stored);
	assert_int_equal(envelope_read(&back, span_buf(&stored), NULL), 0);
	assert_string_equal(back.from_was, "a??Bcc: b??");
	assert_int_equal(strlen(back.sender_reason), ENVELOPE_TEXT_MAX);
	envelope_free(&back);
	buf_free(&stored);
	mem_free(large);
}

static void expect_refused(struct envelope *e, const char *text)
{
	struct why why = {0};
	assert_int_equal(envelope_check(e, &why), -1);
	if (!strstr(why.text, text))
		fail_msg("got \"%s\", expected \"%s\"", why.text, text);
}

static void test_refused(void **state)
{
	(void)state;
	struct envelope e = sample();
	char *one[1] = {(char *)(uintptr_t)"a\nb@example.net"};
	char large[ENVELOPE_TEXT_MAX + 2];
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	e.recipients = one;
	e.recipient_count = 1;
	expect_refused(&e, "recipient with a control character");
	one[0] = (char *)(uintptr_t)"";
	expect_refused(&e, "empty recipient");
	one[0] = large;
	expect_refused(&e, "recipient of 4097 bytes");
	e.recipient_count = 0;
	expect_refused(&e, "0 recipients");
	e.recipient_count = ENVELOPE_RECIPIENTS_MAX + 1;
	expect_refused(&e, "100001 recipients");
	e = sample();
	e.sender = (char *)(uintptr_t)"a\r@x";
	expect_refused(&e, "envelope sender with a control character");
	e = sample();
	e.envid = (char *)(uintptr_t)"a RET=FULL";
	expect_refused(&e, "ENVID");
	struct envelope_dsn bad[3] = {{0}};
	e = sample();
	e.dsn = bad;
	bad[2].orcpt = (char *)(uintptr_t)"rfc822;a\nb";
	expect_refused(&e, "ORCPT");
	bad[2].orcpt = NULL;
	bad[1].notify = ENVELOPE_NOTIFY_NEVER | ENVELOPE_NOTIFY_DELAY;
	expect_refused(&e, "NOTIFY");
}

/* Cut or changed anywhere: an error or another valid envelope, never more. (Cut in
 * front of a later text it is one without it: that is for the record's CRC.) */
static void damage(const struct envelope *e)
{
	struct envelope back;
	struct buf stored = {0};
	struct why why;
	envelope_write(e, &stored);
	for (size_t n = 0; n < stored.len; n++)
		assert_int_equal(envelope_read(&back, (struct span){stored.data, n}, &why), -1);
	for (size_t i = 0; i < stored.len; i++) {
		for (int change = 1; change < 256; change <<= 1) {
			stored.data[i] ^= (char)change;
			if (envelope_read(&back, span_buf(&stored), &why) == 0) {
				assert_int_equal(envelope_check(&back, &why), 0);
				envelope_free(&back);
			} else {
				assert_null(back.recipients);
				assert_null(back.dsn);
			}
			stored.data[i] ^= (char)change;
		}
	}
	buf_add_byte(&stored, 'x');
	assert_int_equal(envelope_read(&back, span_buf(&stored), &why), -1);
	buf_free(&stored);
}

static void test_damage(void **state)
{
	(void)state;
	struct envelope e = sample();
	e.entry = e.script = NULL;
	damage(&e);
	e = sample_with_dsn();
	e.entry = e.script = NULL;
	damage(&e);
}

static void add_recipient(struct envelope *e, const char *address, const char *orcpt,
    unsigned notify)
{
	size_t n = e->recipient_count++;
	e->recipients = mem_resize(e->recipients, n + 1, sizeof(*e->recipients));
	e->dsn = mem_resize(e->dsn, n + 1, sizeof(*e->dsn));
	e->recipients[n] = mem_text(address);
	e->dsn[n] = (struct envelope_dsn){notify, orcpt ? mem_text(orcpt) : NULL};
}

/* Who is named twice gets it once; who asks for other reports is named anew. */
static void test_unique(void **state)
{
	(void)state;
	struct envelope e = {0};
	add_recipient(&e, "b@example.net", NULL, 0);
	add_recipient(&e, "a@example.net", NULL, 0);
	add_recipient(&e, "b@example.net", NULL, 0);
	add_recipient(&e, "A@example.net", NULL, 0);
	add_recipient(&e, "a@example.net", "rfc822;x@y", 0);
	add_recipient(&e, "a@example.net", NULL, ENVELOPE_NOTIFY_NEVER);
	add_recipient(&e, "b@example.net", "", 0);
	add_recipient(&e, "a@example.net", "rfc822;x@y", 0);
	envelope_unique(&e);
	static const char *const left[] = {"b@example.net", "a@example.net", "A@example.net",
		"a@example.net", "a@example.net"};
	assert_int_equal(e.recipient_count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(e.recipients[i], left[i]);
	assert_string_equal(e.dsn[3].orcpt, "rfc822;x@y");
	assert_int_equal(e.dsn[4].notify, ENVELOPE_NOTIFY_NEVER);
	envelope_free(&e);
	for (int i = 0; i < 3; i++)
		add_recipient(&e, "a@example.net", NULL, 0);
	mem_free(e.dsn);
	e.dsn = NULL;
	envelope_unique(&e);
	assert_int_equal(e.recipient_count, 1);
	envelope_free(&e);
	envelope_unique(&e); /* none at all */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_dsn_there_and_back),
		cmocka_unit_test(test_nothing_asked_is_version_1),
		cmocka_unit_test(test_later_fields),
		cmocka_unit_test(test_texts_for_people),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_unique),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
