/* SPDX-License-Identifier: MIT
 * Whose name a message carries: one case for each story of people whose mail
 * was lost over its sender, then each mode, each way a From: can be wrong, and
 * the words of the refusals.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/return_path.h"

static struct conf_domain domains[] = {
    {.name = (char *)"example.jp", .return_path = (char *)"bounce@example.jp"},
    {.name = (char *)"shop.test", .return_path = (char *)"postmaster@shop.test"},
    {.name = (char *)"xn--wgv71a119e.jp", .return_path = (char *)"postmaster@xn--wgv71a119e.jp"},
};

static struct conf conf;

static int reset(void **state)
{
	(void)state;
	memset(&conf, 0, sizeof(conf));
	conf.domains = domains;
	conf.domain_count = sizeof(domains) / sizeof(domains[0]);
	conf.return_path.default_domain = (char *)"example.jp";
	return 0;
}

/* What is expected; NULL for a reason means unchanged. */
struct row {
	const char *story;
	const char *sender;
	const char *header;
	const char *new_sender;
	const char *sender_reason;
	const char *new_from; /* NULL: unchanged */
	const char *from_reason;
	const char *domain; /* NULL: not ours */
};

static int decide(const char *sender, const char *text, struct return_path *result,
    struct why *why)
{
	struct address a;
	size_t used = 0;
	struct header h;
	if (!address_parse_path(span_text(sender), true, &a, &used))
		fail_msg("the test's sender %s can not be parsed", sender);
	if (header_parse(span_text(text), &h, why) != 0)
		fail_msg("the test's header can not be parsed: %s", why->text);
	int rc = return_path_decide(&conf, &a, &h, NULL, result, why);
	header_free(&h);
	return rc;
}

static void same(const struct row *row, const char *what, const char *is, const char *should)
{
	if (!is != !should || (is && strcmp(is, should) != 0))
		fail_msg("%s: %s is '%s', expected '%s'", row->story, what, is ? is : "NULL",
		    should ? should : "NULL");
}

static void check_row(const struct row *row)
{
	struct return_path result;
	struct why why = {0};
	if (decide(row->sender, row->header, &result, &why) != 0)
		fail_msg("%s: refused: %s", row->story, why.text);
	same(row, "sender", buf_text(&result.sender), row->new_sender);
	same(row, "sender_reason", result.sender_reason, row->sender_reason);
	same(row, "from", result.from.len ? buf_text(&result.from) : NULL, row->new_from);
	same(row, "from_reason", result.from_reason, row->from_reason);
	same(row, "domain", result.domain ? result.domain->name : NULL, row->domain);
	return_path_free(&result);
}

#define CHECK(rows) \
	for (size_t i_ = 0; i_ < sizeof(rows) / sizeof((rows)[0]); i_++) \
	check_row(&(rows)[i_])

static void refused(const char *sender, const char *header, const char *words)
{
	struct return_path result;
	struct why why = {0};
	if (decide(sender, header, &result, &why) != -1)
		fail_msg("not refused: %s", header);
	return_path_free(&result);
	assert_int_equal(why.kind, WHY_PERM);
	if (!strstr(why.text, words))
		fail_msg("'%s' does not say '%s'", why.text, words);
}

static void test_stories(void **state)
{
	static const struct row rows[] = {
	    {"docomo, au and SoftBank drop apache@localhost.localdomain",
		"<apache@localhost.localdomain>", "From: Shop <info@shop.test>\r\n",
		"postmaster@shop.test", "localhost", NULL, NULL, "shop.test"},
	    {"the bounce that went to phpuser@hosting.example, which nobody reads",
		"<phpuser@hosting.example>", "From: \"Yamada\" <yamada@example.jp>\r\n",
		"bounce@example.jp", "local-name", NULL, NULL, "example.jp"},
	    {"the same at a host with a real name of the provider",
		"<phpuser@www1234.hosting.ne.jp>", "From: yamada@example.jp\r\n",
		"bounce@example.jp", "foreign", NULL, NULL, "example.jp"},
	    {"Gmail: likely unsolicited until Return-Path is of the sender's own domain",
		"<noreply@vps.hoster.net>", "From: Shop <order@shop.test>\r\n",
		"postmaster@shop.test", "foreign", NULL, NULL, "shop.test"},
	    {"a right sender stays as it is", "<bounce+1@example.jp>",
		"From: news@example.jp\r\n", "bounce+1@example.jp", NULL, NULL, NULL,
		"example.jp"},
	    {"cron: From: root (Cron Daemon)", "<root@web01>", "From: root (Cron Daemon)\r\n",
		"bounce@example.jp", "local-name", "bounce@example.jp (Cron Daemon)",
		"no-domain", "example.jp"},
	    {"WordPress on a machine without a name",
		"<www-data@web01>", "From: My Blog <wordpress@localhost>\r\n",
		"bounce@example.jp", "local-name", "My Blog <bounce@example.jp>", "localhost",
		"example.jp"},
	    {"mail() without From:", "<www-data@localhost.localdomain>",
		"To: a@b.org\r\nSubject: x\r\n", "bounce@example.jp", "localhost",
		"bounce@example.jp", "missing", "example.jp"},
	    {"a report keeps its null sender", "<>",
		"From: MAILER-DAEMON@localhost.localdomain (Mail Delivery System)\r\n", "", NULL,
		"bounce@example.jp (Mail Delivery System)", "localhost", "example.jp"},
	};
	(void)state;
	CHECK(rows);
}

static void test_repair_sender(void **state)
{
	static const struct row rows[] = {
	    {"no domain", "<root>", "From: a@shop.test\r\n", "postmaster@shop.test", "no-domain",
		NULL, NULL, "shop.test"},
	    {"a literal", "<root@[192.0.2.1]>", "From: a@shop.test\r\n", "postmaster@shop.test",
		"literal", NULL, NULL, "shop.test"},
	    {"IPv6 literal", "<root@[IPv6:2001:db8::1]>", "From: a@shop.test\r\n",
		"postmaster@shop.test", "literal", NULL, NULL, "shop.test"},
	    {"localhost", "<root@localhost>", "From: a@shop.test\r\n", "postmaster@shop.test",
		"localhost", NULL, NULL, "shop.test"},
	    {"localhost6", "<root@LOCALHOST6.localdomain6>", "From: a@shop.test\r\n",
		"postmaster@shop.test", "localhost", NULL, NULL, "shop.test"},
	    {".localdomain", "<root@web.localdomain>", "From: a@shop.test\r\n",
		"postmaster@shop.test", "localhost", NULL, NULL, "shop.test"},
	    {".local", "<root@mac.local>", "From: a@shop.test\r\n", "postmaster@shop.test",
		"local-name", NULL, NULL, "shop.test"},
	    {".internal", "<root@ip-10-0-0-1.ec2.internal>", "From: a@shop.test\r\n",
		"postmaster@shop.test", "local-name", NULL, NULL, "shop.test"},
	    {"a host below a domain of ours", "<www-data@Web01.Example.JP>",
		"From: a@shop.test\r\n", "www-data@Web01.Example.JP", NULL, NULL, NULL,
		"shop.test"},
	    {"not below, though it ends alike", "<a@notexample.jp>", "From: a@example.jp\r\n",
		"bounce@example.jp", "foreign", NULL, NULL, "example.jp"},
	    {"U-labels are compared as A-labels", "<a@\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.jp>",
		"From: a@XN--WGV71A119E.jp\r\n", "a@\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.jp",
		NULL, NULL, NULL, "xn--wgv71a119e.jp"},
	    {"a host with an underscore", "<www@web_01.example.jp>", "From: a@example.jp\r\n",
		"www@web_01.example.jp", NULL, NULL, NULL, "example.jp"},
	};
	(void)state;
	CHECK(rows);
}

static void test_modes(void **state)
{
	static const struct row always[] = {
	    {"always, right sender", "<a@example.jp>", "From: a@example.jp\r\n",
		"bounce@example.jp", "always", NULL, NULL, "example.jp"},
	    {"always, From decides", "<a@example.jp>", "From: a@shop.test\r\n",
		"postmaster@shop.test", "always", NULL, NULL, "shop.test"},
	    {"always, the same already", "<bounce@example.jp>", "From: a@example.jp\r\n",
		"bounce@example.jp", NULL, NULL, NULL, "example.jp"},
	    {"always, a report", "<>", "From: a@example.jp\r\n", "", NULL, NULL, NULL,
		"example.jp"},
	};
	static const struct row masquerade[] = {
	    {"masquerade a host", "<www-data@web01.example.jp>", "From: a@example.jp\r\n",
		"www-data@example.jp", "masquerade", NULL, NULL, "example.jp"},
	    {"masquerade no domain", "<root>", "From: Root <root>\r\n", "root@example.jp",
		"masquerade", "Root <root@example.jp>", "no-domain", "example.jp"},
	    {"masquerade quoted", "<\"a b\"@web01>", "From: a@shop.test\r\n",
		"\"a b\"@shop.test", "masquerade", NULL, NULL, "shop.test"},
	    {"masquerade the same", "<a@shop.test>", "From: a@shop.test\r\n", "a@shop.test",
		NULL, NULL, NULL, "shop.test"},
	    {"masquerade a report", "<>", "From: a@web01\r\n", "", NULL, "a@example.jp",
		"local-name", "example.jp"},
	};
	static const struct row off[] = {
	    {"off", "<apache@localhost>", "From: a@example.jp\r\n", "apache@localhost", NULL,
		NULL, NULL, "example.jp"},
	    {"off makes a missing From", "<apache@localhost>", "To: b@b.org\r\n",
		"apache@localhost", NULL, "bounce@example.jp", "missing", "example.jp"},
	};
	(void)state;
	conf.return_path.mode = CONF_RETURN_PATH_ALWAYS;
	CHECK(always);
	conf.return_path.mode = CONF_RETURN_PATH_MASQUERADE;
	CHECK(masquerade);
	conf.return_path.mode = CONF_RETURN_PATH_OFF;
	CHECK(off);
	refused("<a@example.jp>", "From: www-data@web01\r\n", "www-data@web01 is not in a domain");
}

static void test_from(void **state)
{
	static const struct row rows[] = {
	    {"the sender's domain mends From:", "<bounce@shop.test>",
		"From: \"Shop, Tokyo\" <www-data@web01>\r\n", "bounce@shop.test", NULL,
		"\"Shop, Tokyo\" <postmaster@shop.test>", "local-name", "shop.test"},
	    {"encoded word kept", "<a@example.jp>",
		"From: =?UTF-8?B?5pel5pys?=\r\n <apache@localhost.localdomain>\r\n",
		"a@example.jp", NULL, "=?UTF-8?B?5pel5pys?= <bounce@example.jp>", "localhost",
		"example.jp"},
	    {"several, the first decides", "<a@example.jp>",
		"From: a@shop.test, b@example.jp\r\n", "a@example.jp", NULL, NULL, NULL,
		"shop.test"},
	    {"several, one of them broken", "<a@example.jp>",
		"From: A <a@shop.test>, B <b@web01>\r\n", "a@example.jp", NULL,
		"A <a@shop.test>, B <bounce@example.jp>", "local-name", "shop.test"},
	    {"several, all broken", "<a@example.jp>", "From: a@x.local, b\r\n", "a@example.jp",
		NULL, "bounce@example.jp, bounce@example.jp", "local-name", "example.jp"},
	    {"empty", "<a@example.jp>", "From:\r\n", "a@example.jp", NULL, "a@example.jp",
		"missing", "example.jp"},
	    {"missing, sender of ours", "<a@web.shop.test>", "Subject: x\r\n",
		"a@web.shop.test", NULL, "a@web.shop.test", "missing", "shop.test"},
	    {"missing, null sender", "<>", "Subject: x\r\n", "", NULL, "bounce@example.jp",
		"missing", "example.jp"},
	    {"no header at all", "<a@example.jp>", "\r\nbody\r\n", "a@example.jp", NULL,
		"a@example.jp", "missing", "example.jp"},
	};
	(void)state;
	CHECK(rows);
}

/* Display names that people write, and what they parse as. */
static void test_from_names(void **state)
{
	static const struct row rows[] = {
	    {"an @ in the display name", "<a@example.jp>",
		"From: info@example.jp <info@example.jp>\r\n", "a@example.jp", NULL,
		"\"info@example.jp\" <info@example.jp>", "syntax", "example.jp"},
	    {"comma in the display name", "<a@example.jp>",
		"From: Shop Co., Ltd. <www-data@web01>\r\n", "a@example.jp", NULL,
		"\"Shop Co., Ltd.\" <bounce@example.jp>", "syntax", "example.jp"},
	    {"comma that makes a list of local users", "<a@example.jp>",
		"From: Shop, Tokyo <a@shop.test>\r\n", "a@example.jp", NULL,
		"\"Shop, Tokyo\" <a@shop.test>", "syntax", "shop.test"},
	    {"colon that makes a group", "<a@example.jp>", "From: Shop: \\o/ <a@shop.test>\r\n",
		"a@example.jp", NULL, "\"Shop: \\\\o/\" <a@shop.test>", "syntax", "shop.test"},
	    {"an @ in what looks like a group", "<a@example.jp>",
		"From: Shop: ceo@other.jp <a@shop.test>\r\n", "a@example.jp", NULL,
		"\"Shop: ceo@other.jp\" <a@shop.test>", "syntax", "shop.test"},
	    {"an @ in a group's name", "<a@example.jp>", "From: ceo@other.jp: <a@shop.test>\r\n",
		"a@example.jp", NULL, "\"ceo@other.jp:\" <a@shop.test>", "syntax", "shop.test"},
	    {"an @ in what looks like a list", "<a@example.jp>",
		"From: Tokyo, ceo@other.jp <a@shop.test>\r\n", "a@example.jp", NULL,
		"\"Tokyo, ceo@other.jp\" <a@shop.test>", "syntax", "shop.test"},
	    {"an @ in brackets", "<a@example.jp>", "From: [ceo@other.jp,] <a@shop.test>\r\n",
		"a@example.jp", NULL, "\"[ceo@other.jp,]\" <a@shop.test>", "syntax", "shop.test"},
	    {"wide space in Shift_JIS", "<a@example.jp>",
		"From: \x95\x5c\x81@\x95\x5c <a@shop.test>\r\n", "a@example.jp", NULL, NULL, NULL,
		"shop.test"},
	    {"brackets", "<a@example.jp>", "From: [Shop] Tokyo <a@shop.test>\r\n", "a@example.jp",
		NULL, "\"[Shop] Tokyo\" <a@shop.test>", "syntax", "shop.test"},
	    {"comma behind an encoded word", "<a@example.jp>",
		"From: =?UTF-8?B?5pel?=, Inc. <a@shop.test>\r\n", "a@example.jp", NULL,
		"=?UTF-8?B?5pel?=  Inc. <a@shop.test>", "syntax", "shop.test"},
	    {"raw UTF-8 name kept", "<a@example.jp>",
		"From: \xe6\x97\xa5\xe6\x9c\xac <a@web01>\r\n", "a@example.jp", NULL,
		"\xe6\x97\xa5\xe6\x9c\xac <bounce@example.jp>", "local-name", "example.jp"},
	    {"raw ISO-2022-JP is left alone", "<a@example.jp>",
		"From: \x1b$B%7%g%C%W\x1b(B <a@example.jp>\r\n", "a@example.jp", NULL, NULL, NULL,
		"example.jp"},
	    {"raw ISO-2022-JP, broken address", "<a@example.jp>",
		"From: \x1b$B%7%g%C%W\x1b(B <root@web01>\r\n", "a@example.jp", NULL,
		"\x1b$B%7%g%C%W\x1b(B <bounce@example.jp>", "local-name", "example.jp"},
	    {"a comment in the name is none of it", "<a@example.jp>",
		"From: Shop (Tokyo) <a@example.jp>\r\n", "a@example.jp", NULL, NULL, NULL,
		"example.jp"},
	    {"empty address", "<>", "From: MAILER-DAEMON <>\r\n", "", NULL,
		"MAILER-DAEMON <bounce@example.jp>", "no-domain", "example.jp"},
	    {"empty group", "<a@example.jp>", "From: nobody:;\r\n", "a@example.jp", NULL,
		"a@example.jp", "missing", "example.jp"},
	    {"folded", "<a@example.jp>", "From: Shop\r\n\t<a@web01>\r\n", "a@example.jp", NULL,
		"Shop\t<bounce@example.jp>", "local-name", "example.jp"},
	};
	(void)state;
	CHECK(rows);
}

/* Specials in a name are in order within its encoded words and comments. */
static void test_from_words(void **state)
{
	static const struct row rows[] = {
	    {"specials in an encoded word", "<a@example.jp>",
		"From: =?UTF-8?Q?M=C3=BCller,_J=C3=B6rg?= <a@shop.test>\r\n", "a@example.jp", NULL,
		NULL, NULL, "shop.test"},
	    {"an @ in an encoded word", "<a@example.jp>",
		"From: =?UTF-8?Q?info@shop.test?= <a@shop.test>\r\n", "a@example.jp", NULL, NULL,
		NULL, "shop.test"},
	    {"a colon in an encoded word", "<a@example.jp>",
		"From: =?UTF-8?Q?Shop:_[1]?= x <a@shop.test>\r\n", "a@example.jp", NULL, NULL, NULL,
		"shop.test"},
	    {"specials in an encoded word, broken address", "<a@example.jp>",
		"From: =?UTF-8?Q?M=C3=BCller,_J=C3=B6rg?= <www@localhost>\r\n", "a@example.jp",
		NULL, "=?UTF-8?Q?M=C3=BCller,_J=C3=B6rg?= <bounce@example.jp>", "localhost",
		"example.jp"},
	    {"specials in and behind an encoded word", "<a@example.jp>",
		"From: =?u?Q?M,_J?=, =?u?Q?x@y?= @ Co. <a@shop.test>\r\n", "a@example.jp", NULL,
		"=?u?Q?M,_J?=  =?u?Q?x@y?=   Co. <a@shop.test>", "syntax", "shop.test"},
	    {"a word that is none", "<a@example.jp>",
		"From: =?u?Q?x@other.jp,z?= <a@shop.test>\r\n", "a@example.jp", NULL,
		"\"=?u?Q?x@other.jp,z?=\" <a@shop.test>", "syntax", "shop.test"},
	    {"specials in a comment", "<a@example.jp>",
		"From: Foo (Sales, Tokyo: a@b \\) ) <a@shop.test>\r\n", "a@example.jp", NULL, NULL,
		NULL, "shop.test"},
	    {"a comment beside an encoded word", "<a@example.jp>",
		"From: =?UTF-8?B?5pel5pys?= (x@y), Inc. <a@shop.test>\r\n", "a@example.jp", NULL,
		"=?UTF-8?B?5pel5pys?= (x@y)  Inc. <a@shop.test>", "syntax", "shop.test"},
	    {"a comment without an end", "<a@example.jp>",
		"From: =?u?Q?x?= (Tokyo <a@shop.test>\r\n", "a@example.jp", NULL,
		"=?u?Q?x?=  Tokyo <a@shop.test>", "syntax", "shop.test"},
	};
	(void)state;
	CHECK(rows);
}

static void test_refused(void **state)
{
	(void)state;
	refused("<a@example.jp>", "From: app@gmail.com\r\n",
	    "the From: address app@gmail.com is not in a domain this relay sends for"
	    " (example.jp, shop.test, xn--wgv71a119e.jp); set From: to an address of yours and"
	    " put the visitor's address in Reply-To:");
	refused("<a@example.jp>", "From: a@example.jp, app@gmail.com\r\n", "app@gmail.com");
	refused("<>", "From: app@gmail.com\r\n", "app@gmail.com");
	refused("<a@example.jp>", "From: a@example.jp\r\nfrom: b@example.jp\r\n",
	    "has 2 From: fields");
	refused("<a@example.jp>", "From: My Shop\r\n", "\"My Shop\" can not be read");
	refused("<a@example.jp>", "From: a@b@example.jp\r\n", "can not be read");
	refused("<a@example.jp>", "From: visitor@gmail.com <info@gmail.com>\r\n",
	    "info@gmail.com is not in");
	refused("<a@example.jp>", "From: \x1b[31m\xff <a b>\r\n", "\\x1b[31m\\xff");
	conf.domain_count = 1;
	refused("<a@example.jp>", "From: app@gmail.com\r\n", "(example.jp);");
}

/* What we would read as an encoded word, and others as an address that is not ours. */
static void test_refused_hidden(void **state)
{
	(void)state;
	refused(
	    "<a@example.jp>", "From: =?x?q?<ceo@other.jp>?= <a@example.jp>\r\n", "can not be read");
	refused("<a@example.jp>", "From: =?UTF-8?B?<ceo@other.jp>?= <a@example.jp>\r\n",
	    "can not be read");
	refused("<a@example.jp>", "From: =?a?b?<ceo@other.jp>,?= <a@example.jp>\r\n",
	    "ceo@other.jp is not in");
	refused("<a@example.jp>",
	    "From: =?a?q?\"?= \"<ceo@other.jp>\" =?a?q?\"?= <a@example.jp>\r\n", "can not be read");
	refused("<a@example.jp>", "From: \"ceo\"@other.jp <a@example.jp>\r\n", "can not be read");
	refused("<a@example.jp>", "From: A <a@example.jp>, ceo@other.jp <b@example.jp>\r\n",
	    "can not be read");
	refused("<a@example.jp>", "From: \x1b$B<ceo@other.jp>\x1b(B <a@example.jp>\r\n",
	    "ceo@other.jp is not in");
	refused("<a@example.jp>", "From: \x0e<CEO@OTHER.JP>\x0f <www@web01>\r\n",
	    "CEO@OTHER.JP is not in");
	refused(
	    "<a@example.jp>", "From: \x0e<ceo@other.jp>\x0f <a@example.jp>\r\n", "can not be read");
	refused("<a@example.jp>", "From: \x1b(B \"x) <ceo@other.jp>\" <a@example.jp>\r\n",
	    "ceo@other.jp is not in");
	refused("<a@example.jp>", "From: [\" ]\"<ceo@other.jp>\" <a@example.jp>\r\n",
	    "can not be read");
}

/* The longest address must leave room for what to do about it. */
static void test_refused_long(void **state)
{
	static struct conf_domain many[] = {
	    {.name = (char *)"a-rather-long-name.of-a-shop-in-tokyo.example.jp"},
	    {.name = (char *)"example.org"}};
	(void)state;
	conf.domains = many;
	conf.domain_count = 2;
	many[0].return_path = many[1].return_path = (char *)"postmaster@example.org";
	refused("<a@example.org>", "From: app@gmail.com\r\n", "shop-in-tokyo.ex..., ...); set From:");
	char header[400] = "From: ";
	memset(header + 6, 'a', 60);
	header[66] = '@';
	for (size_t i = 0; i < 180; i++)
		header[67 + i] = i % 60 == 59 ? '.' : 'b';
	memcpy(header + 247, "com\r\n", 6);
	refused("<a@example.jp>", header, "visitor's address in Reply-To:");
}

/* A From: that must be mended is written anew, and a word that fills a line could
 * only be folded within itself, so that it would read otherwise. */
static void test_refused_wide_word(void **state)
{
	char header[1200] = "From: ";
	(void)state;
	memset(header + 6, 'x', 1000);
	memcpy(header + 1006, " <www@web01>\r\n", 15);
	refused("<a@example.jp>", header, "a word of more than 900 bytes");
	/* one that needs no mending keeps its bytes */
	memcpy(header + 1006, " <a@example.jp>\r\n", 18);
	struct row row = {.story = "left alone",
	    .sender = "<a@example.jp>",
	    .header = header,
	    .new_sender = "a@example.jp",
	    .domain = "example.jp"};
	check_row(&row);
}

/* With the address between them mended two brackets come so near that they enclose it. */
static void test_refused_beyond_mending(void **state)
{
	char header[300] = "From: [a: ";
	(void)state;
	memset(header + 10, 'b', 250);
	memcpy(header + 260, ",\xff: c]<>\r\n", 11);
	refused("<a@example.jp>", header, "can not be read");
}

/* More than anybody can mean, though the header section may hold it, is not read at all. */
static void test_refused_long_field(void **state)
{
	static const char *const pieces[] = {"=?x", "=?u?q?", "=?u?q?x", "(x)", "x "};
	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf header = {0};
		buf_add_text(&header, "From: ");
		while (header.len < 65000)
			buf_add_text(&header, pieces[i]);
		buf_add_text(&header, " <a@example.jp>\r\n");
		struct row row = {.story = "as long as it may be",
		    .sender = "<a@example.jp>",
		    .header = buf_text(&header),
		    .new_sender = "a@example.jp",
		    .domain = "example.jp"};
		check_row(&row);
		buf_clear(&header);
		buf_add_text(&header, "From: ");
		while (header.len < 65600)
			buf_add_text(&header, pieces[i]);
		buf_add_text(&header, " <a@example.jp>\r\n");
		refused("<a@example.jp>", buf_text(&header), "over 65536 bytes long");
		conf.domain_count = 0;
		refused("<a@example.jp>", buf_text(&header), "over 65536 bytes long");
		(void)reset(NULL);
		buf_free(&header);
	}
}

static void test_pass(void **state)
{
	static const struct row rows[] = {
	    {"passed unsigned", "<app@gmail.com>", "From: app@gmail.com\r\n",
		"bounce@example.jp", "foreign", NULL, NULL, NULL},
	    {"passed, sender of ours", "<a@shop.test>", "From: app@gmail.com\r\n",
		"a@shop.test", NULL, NULL, NULL, NULL},
	    {"broken is still mended", "<a@shop.test>", "From: app@web01\r\n", "a@shop.test",
		NULL, "postmaster@shop.test", "local-name", "shop.test"},
	};
	(void)state;
	conf.foreign_from = CONF_FOREIGN_FROM_PASS;
	CHECK(rows);
	conf.return_path.mode = CONF_RETURN_PATH_OFF;
	static const struct row off[] = {
	    {"off and pass", "<root>", "From: root@web01\r\n", "root", NULL, NULL, NULL, NULL},
	};
	CHECK(off);
}

/* A local part of any length is kept, as long as it and the new domain make an address. */
static void test_masquerade_long(void **state)
{
	char sender[400] = "<";
	struct row row = {.story = "a long local part",
	    .sender = sender,
	    .header = "From: a@example.jp\r\n",
	    .sender_reason = "masquerade",
	    .domain = "example.jp"};
	char kept[400];
	(void)state;
	conf.return_path.mode = CONF_RETURN_PATH_MASQUERADE;
	memset(sender + 1, 'l', ADDRESS_MAX - strlen("@example.jp"));
	memcpy(kept, sender + 1, sizeof(kept) - 1);
	strcat(kept, "@example.jp");
	strcat(sender, "@x>");
	row.new_sender = kept;
	check_row(&row);
	strcpy(strchr(sender, '@'), "l@x>");
	row.new_sender = "bounce@example.jp";
	check_row(&row);
}

/* Bounces go to another domain of ours: a mended From: stays in the one that signs. */
static void test_bounces_elsewhere(void **state)
{
	static struct conf_domain two[] = {
	    {.name = (char *)"example.jp", .return_path = (char *)"bounce@mail.example.jp"},
	    {.name = (char *)"mail.example.jp", .return_path = (char *)"bounce@mail.example.jp"},
	};
	static const struct row rows[] = {
	    {"both broken", "<apache@localhost>", "From: Shop <apache@localhost>\r\n",
		"bounce@mail.example.jp", "localhost", "Shop <postmaster@example.jp>",
		"localhost", "example.jp"},
	    {"missing", "<apache@localhost>", "To: a@b.org\r\n", "bounce@mail.example.jp",
		"localhost", "postmaster@example.jp", "missing", "example.jp"},
	};
	(void)state;
	conf.domains = two;
	conf.domain_count = 2;
	CHECK(rows);
}

/* Nothing is configured: nothing can be mended, nothing is refused. */
static void test_no_domains(void **state)
{
	static const struct row rows[] = {
	    {"foreign", "<app@gmail.com>", "From: app@gmail.com\r\n", "app@gmail.com", NULL,
		NULL, NULL, NULL},
	    {"broken", "<root@localhost>", "From: root\r\n", "root@localhost", NULL, NULL, NULL,
		NULL},
	    {"unreadable", "<a@b.org>", "From: a b c\r\n", "a@b.org", NULL, NULL, NULL, NULL},
	    {"missing", "<a@b.org>", "To: c@b.org\r\n", "a@b.org", NULL, "a@b.org", "missing",
		NULL},
	    {"missing, null", "<>", "To: c@b.org\r\n", "", NULL, NULL, NULL, NULL},
	};
	(void)state;
	conf.domain_count = 0;
	conf.return_path.default_domain = (char *)"";
	for (int mode = CONF_RETURN_PATH_REPAIR; mode <= CONF_RETURN_PATH_OFF; mode++) {
		conf.return_path.mode = (enum conf_return_path_mode)mode;
		CHECK(rows);
	}
	refused("<a@b.org>", "From: a@b.org\r\nFrom: a@b.org\r\n", "2 From: fields");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_stories, reset),
	    cmocka_unit_test_setup(test_repair_sender, reset),
	    cmocka_unit_test_setup(test_modes, reset),
	    cmocka_unit_test_setup(test_from, reset),
	    cmocka_unit_test_setup(test_from_names, reset),
	    cmocka_unit_test_setup(test_from_words, reset),
	    cmocka_unit_test_setup(test_refused, reset),
	    cmocka_unit_test_setup(test_refused_hidden, reset),
	    cmocka_unit_test_setup(test_refused_long, reset),
	    cmocka_unit_test_setup(test_refused_wide_word, reset),
	    cmocka_unit_test_setup(test_refused_beyond_mending, reset),
	    cmocka_unit_test_setup(test_refused_long_field, reset),
	    cmocka_unit_test_setup(test_pass, reset),
	    cmocka_unit_test_setup(test_masquerade_long, reset),
	    cmocka_unit_test_setup(test_bounces_elsewhere, reset),
	    cmocka_unit_test_setup(test_no_domains, reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
