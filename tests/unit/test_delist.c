/* SPDX-License-Identifier: MIT
 * Removal from lists: which entry fits, what is wrong with a file, how templates are
 * filled in, which address of ours is meant, and that what we ship is complete.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queue/delist.h"
#include "relayd/delist.h"

static const char *const shipped[] = {"conf/delist.conf", "conf/replies.conf"};

static struct verdict_rules *load_shipped(void)
{
	struct buf errors = {0};
	struct verdict_rules *rules = verdict_load(shipped, 2, &errors);
	assert_string_equal(buf_text(&errors), "");
	assert_non_null(rules);
	buf_free(&errors);
	return rules;
}

static const char *entry(const struct verdict_rules *rules, const char *provider,
    const char *reply, enum verdict_class klass)
{
	struct delist_about about = {provider, "x", reply, klass};
	return delist_find(rules, &about)->id;
}

/* Lists before providers, providers before the rest. */
static void test_which_one(void **state)
{
	struct verdict_rules *rules = load_shipped();
	(void)state;
	static const char *const cases[][3] = {
	    {"microsoft365", "550 5.7.606 banned sending IP [192.0.2.1]", "microsoft365-portal"},
	    {"microsoft365", "550 5.7.1 blocked using Spamhaus", "spamhaus"},
	    {"outlook.com", "550 5.7.1 on our block list (S3150)", "outlook.com"},
	    {"google", "550 5.7.1 very low reputation", "google"},
	    {"yahoo", "421 [TSS04]", "yahoo"},
	    {"yahoo-japan", "553 VS98-IP0 deferred", "yahoo-japan"},
	    {"icloud", "554 not accepting connections", "icloud"},
	    {"gmo", "554 blocked using gmo-rbl.jp", "gmo-rbl"},
	    {"mx.small.test", "450 blocked using gmo-rbl.jp", "gmo-rbl"},
	    {"docomo", "", "docomo"},
	    {"au", "", "au"},
	    {"softbank", "421", "softbank"},
	    {"mx.a.test", "b.barracudacentral.org", "barracuda-list"},
	    {"mx.a.test", "www.spamcop.net/bl.shtml", "spamcop"},
	    {"mx.a.test", "dnsbl-1.uceprotect.net", "uceprotect"},
	    {"mx.a.test", "dnsbl.justspam.org", "justspam"},
	    {"mx.a.test", "see https://ipcheck.proofpoint.com/?ip=192.0.2.1", "proofpoint"},
	    {"mimecast", "550 csi.mimecast.org Poor Reputation Sender", "mimecast-list"},
	    {"t-online", "554 (BL)", "t-online"},
	    {"gmo", "550 5.7.606 see https://sender.office.com/", "microsoft365-named"},
	    {"mx.a.test", "550 go away", "any"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(entry(rules, cases[i][0], cases[i][1], VERDICT_IP_BLOCKED),
		    cases[i][2]);
	assert_string_equal(entry(rules, "google", "", VERDICT_AUTH_FAILED), "authentication");
	assert_string_equal(entry(rules, "google", "", VERDICT_RDNS), "rdns");
	assert_string_equal(entry(rules, "microsoft365", "", VERDICT_AUTH_FAILED), "authentication");
	struct delist_about banned = {"microsoft365", "microsoft-banned-sender-ip", "",
	    VERDICT_IP_BLOCKED};
	assert_string_equal(delist_find(rules, &banned)->id, "microsoft365");
	assert_null(delist_find(NULL, &banned));
	verdict_free(rules);
}

/* All that is shipped can be said in both languages, whatever the incident. */
static void test_shipped_texts(void **state)
{
	static const char *const providers[] = {"microsoft365", "outlook.com", "google", "yahoo",
	    "yahoo-japan", "icloud", "gmo", "docomo", "au", "softbank", "proofpoint", "mimecast",
	    "barracuda", "cisco", "symantec", "trendmicro", "gmx", "t-online", "comcast", "att",
	    "qq", "mail.ru", "facebook", "nifty", "sakura", "xserver", "other"};
	const char *values[DELIST_NAMES];
	struct verdict_rules *rules = load_shipped();
	(void)state;
	for (size_t i = 0; i < DELIST_NAMES; i++)
		values[i] = "VALUE";
	for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
		struct delist_about about = {providers[i], "x", "", VERDICT_IP_BLOCKED};
		const struct delist *d = delist_find(rules, &about);
		for (int l = 0; l < DELIST_LANGUAGES; l++) {
			struct buf text = {0};
			assert_true(d->words[l].steps.count > 0);
			delist_fill(&text, delist_text(rules, d, (enum delist_language)l), values);
			assert_non_null(strstr(buf_text(&text), "VALUE"));
			assert_null(strchr(buf_text(&text), '{'));
			buf_free(&text);
		}
		assert_true(strlen(delist_subject(rules, d)) > 0);
	}
	verdict_free(rules);
}

/* What FILE's text is told of. */
static void load_bad(const char *text, const char *wanted)
{
	char name[] = "/tmp/relayd-test-XXXXXX";
	struct buf errors = {0};
	const char *const files[] = {name};
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	struct verdict_rules *rules = verdict_load(files, 1, &errors);
	unlink(name);
	if (!strstr(buf_text(&errors), wanted))
		fail_msg("%s\nis told as: %s\nwanted: %s", text, buf_text(&errors), wanted);
	assert_null(rules);
	buf_free(&errors);
}

#define STEPS "steps_en = [ \"a\" ]; steps_ja = [ \"b\" ]; "

#define LAST "subject = \"s\"; text_en = \"e\"; text_ja = \"j\"; "
#define X100                                                                                       \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                                       \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X1000 X100 X100 X100 X100 X100 X100 X100 X100 X100 X100

/* Values that an entry can not have, and what is said. */
static const char *const wrong[][2] = {
    {"text_en = \"\";", ":2: rule x: expected a text of UTF-8, 1 to 6000 bytes"},
    {"text_en = \"" X1000 X1000 X1000 X1000 X1000 X1000 "x\";", "expected a text of UTF-8"},
    {"text_en = \"\xff\";", ":2: rule x: expected a text of UTF-8"},
    {"text_en = \"a\x7f\";", ":2: rule x: expected a text of UTF-8"},
    {"text_en = \"a\\n\xc3\xbc\\t\";", ":2: rule x: expected a text of UTF-8"},
    {"subject = \"a\\nb\";", ":2: rule x: expected a text of UTF-8, 1 to 6000 bytes, on one line"},
    {"subject = \"\xc3\xbc\";", ":2: rule x: subject: expected plain ASCII"},
    {"portal = \"\";", ":2: rule x: portal: expected \"https://...\""},
    {"portal = \"www.example.org\";", ":2: rule x: portal: expected \"https://...\""},
    {"mail = \"@example.org\";", ":2: rule x: mail: expected an address"},
    {"mail = \"a@\";", ":2: rule x: mail: expected an address"},
    {"mail = \"<a@b>\";", ":2: rule x: mail: expected an address"},
    {"mail = \"\xc3\xbc@b\";", ":2: rule x: mail: expected an address"},
    {"reply = [ \"a\", \"\" ];", ":2: rule x: reply: an empty text"},
    {"provider = [ \"A\" ];", ":2: rule x: provider: \"A\": expected small letters"},
    {"category = [ \"bad\" ];", ":2: rule x: category: expected ip-blocked"},
    {"steps_en = [ \"a\" ];", ":2: duplicate setting name"},
    /* the last one has to fit whatever comes */
    {"provider = [ \"google\" ]; " LAST,
	": rule x: the last delist entry has to fit all incidents"},
    {"rule = [ \"r\" ]; " LAST, ": rule x: the last delist entry has to fit all incidents"},
    {"category = [ \"policy\" ]; " LAST, ": rule x: the last delist entry has to fit all"},
    {"text_en = \"e\"; text_ja = \"j\";", ": rule x: the last delist entry has to fit all"},
    {"subject = \"s\"; text_ja = \"j\";", ": rule x: the last delist entry has to fit all"},
    {"subject = \"s\"; text_en = \"e\";", ": rule x: the last delist entry has to fit all"},
};

static void test_many_entries(void **state)
{
	(void)state;
	struct buf text = {0};
	buf_add_text(&text, "delist = (");
	for (unsigned i = 0; i < 501; i++)
		buf_addf(
		    &text, "%s\n{ id = \"x%u\"; name = \"x\"; " STEPS LAST "}", i ? "," : "", i);
	buf_add_text(&text, ");");
	load_bad(buf_text(&text), ":502: rule x500: more than 500 delist entries");
	buf_free(&text);
}

static void test_faults(void **state)
{
	(void)state;
	load_bad("delist = (\n{ name = \"x\"; " STEPS "} );", ":2: has no id");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; steps_en = [ \"a\" ]; } );",
	    ":1: rule x: has no steps_ja");
	load_bad("delist = ( { id = \"x\"; name = \"x\";\n" STEPS "colour = \"red\"; } );",
	    ":2: rule x: \"colour\" is no key of a delist entry");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "\ntext_en = \"{nothing}\"; } );",
	    ":2: rule x: {nothing} is no name that is known here");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "text_en = \"{ip\"; } );",
	    "is no name that is known here");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "text_en = \"a\\tb\"; } );",
	    "expected a text of UTF-8");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "mail = \"nobody\"; } );",
	    "mail: expected an address");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "from_listed = 1; } );",
	    "from_listed: expected true or false");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "wait = \"soon\"; } );",
	    "a time of 1s to 7d");
	load_bad("delist = ( { id = \"x\"; name = \"x\"; " STEPS "reply = [ \"y\" ]; } );",
	    "the last delist entry has to fit all incidents");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct buf text = {0};
		buf_addf(&text, "delist = ( { id = \"x\"; name = \"x\"; " STEPS "\n%s } );",
		    wrong[i][0]);
		load_bad(buf_text(&text), wrong[i][1]);
		buf_free(&text);
	}
	load_bad("delist = { };", "delist: expected a list");
	load_bad("delist = ( 1 );", "delist: expected groups");
}

static void test_templates(void **state)
{
	const char *values[DELIST_NAMES];
	struct buf out = {0};
	struct span bad;
	(void)state;
	for (size_t i = 0; i < DELIST_NAMES; i++)
		values[i] = "";
	values[DELIST_IP] = "192.0.2.1";
	values[DELIST_REPLY] = "{ip} {{";
	delist_fill(&out, "{ip}: {{ip} {reply} {nothing} {", values);
	/* what a peer wrote is never filled in a second time */
	assert_string_equal(buf_text(&out), "192.0.2.1: {ip} {ip} {{ {nothing} {");
	assert_true(delist_check("{ip} {{x} }", &bad));
	assert_false(delist_check("a {IP} b", &bad));
	assert_true(span_is(bad, "{IP}"));
	buf_free(&out);
}

static bool address_in(
    const char *ipv4, const char *ipv6, unsigned family, const char *reply, const char *wanted)
{
	struct conf_source source = {.name = (char *)(uintptr_t)"ip1",
	    .ipv4 = (char *)(uintptr_t)ipv4, .ipv6 = (char *)(uintptr_t)ipv6};
	struct conf conf = {.sources = &source, .source_count = 1};
	struct incident i = {.source = (char *)(uintptr_t)"ip1", .family = family,
	    .reply_count = 1};
	char address[DELIST_ADDRESS];
	int used;
	i.replies[0].text = (char *)(uintptr_t)reply;
	bool sure = delist_address(&conf, &i, address, &used);
	assert_string_equal(address, wanted);
	assert_int_equal(used, !wanted[0] ? 0 : strchr(wanted, ':') ? AF_INET6 : AF_INET);
	return sure;
}

static void check_address(
    const char *ipv4, const char *ipv6, unsigned family, const char *reply, const char *wanted)
{
	assert_true(address_in(ipv4, ipv6, family, reply, wanted));
}

/* Nothing that a list could be asked about. */
static void check_no_address(
    const char *ipv4, unsigned family, const char *reply, const char *wanted)
{
	assert_false(address_in(ipv4, "", family, reply, wanted));
}

static void test_addresses(void **state)
{
	(void)state;
	check_address("198.51.100.7", "", 0, "550 banned sending IP [198.51.100.7]. x", "198.51.100.7");
	/* that of ours, whatever else is named */
	check_address("198.51.100.7", "", 0, "550 8.8.8.8 says 198.51.100.7.", "198.51.100.7");
	check_address("9.9.9.9", "2606:4700::7", 0, "550 no", "9.9.9.9");
	check_address("198.51.100.7", "2001:db8::7", 0, "550 [2001:DB8:0::7] no", "2001:DB8:0::7");
	check_address("9.9.9.9", "2606:4700::7", AF_INET6, "550 no", "2606:4700::7");
	/* behind NAT, or not bound: what they see */
	check_address("10.0.0.5", "", 0, "550 5.7.606 [8.8.4.4]", "8.8.4.4");
	check_address("", "", 0, "550 5.7.606 [8.8.4.4]", "8.8.4.4");
	check_address("", "", 0, "550 from 8.8.4.4: see https://list.test/ip/8.8.4.4", "8.8.4.4");
	check_address("", "", AF_INET6, "550 8.8.4.4 says [2606:4700::7 14]", "2606:4700::7");
	check_address("10.0.0.5", "", 0, "550 [10.0.0.5]", "10.0.0.5");
	check_no_address("", 0, "550 5.7.606 10:20:30 999.1.1.1 a.b", "");
	check_no_address("", 0, "550 banned sending IP [192.0.2.1]", "");  /* nobody's */
	check_no_address("", 0, "550 8.8.8.8 says 8.8.4.4 is listed", ""); /* which one? */
	check_no_address("", AF_INET6, "550 [8.8.4.4]", "");
	check_no_address("10.0.0.5", 0, "550 no", "10.0.0.5");
}

static void test_ptr_names(void **state)
{
	struct buf name = {0};
	(void)state;
	delist_ptr_name("192.0.2.7", &name);
	assert_string_equal(buf_text(&name), "7.2.0.192.in-addr.arpa");
	buf_clear(&name);
	delist_ptr_name("2001:db8::7", &name);
	assert_string_equal(buf_text(&name), "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
					     "8.b.d.0.1.0.0.2.ip6.arpa");
	buf_clear(&name);
	delist_ptr_name("", &name);
	assert_int_equal(name.len, 0);
	buf_free(&name);
}

static void check_words(const struct verdict_rules *rules, const char *provider,
    enum delist_language language, const char *wanted)
{
	struct conf_source source = {
	    .name = (char *)(uintptr_t) "ip1", .hostname = (char *)(uintptr_t) "relay.example.jp"};
	struct conf conf = {.sources = &source,
	    .source_count = 1,
	    .return_path = {.default_domain = (char *)(uintptr_t) "example.jp"},
	    .notify = {.mail = (char *)(uintptr_t) ""}};
	struct incident i = {.source = (char *)(uintptr_t) "ip1",
	    .provider = (char *)(uintptr_t)provider,
	    .klass = VERDICT_IP_BLOCKED,
	    .rule = (char *)(uintptr_t) "",
	    .sender_domain = (char *)(uintptr_t) ""};
	const struct delist *entry = delist_of(rules, &i);
	struct delist_facts facts;
	struct buf text = {0};
	delist_facts(&facts, &conf, entry, &i, "192.0.2.1", "(none)", 1);
	delist_fill(&text, delist_text(rules, entry, language), facts.values);
	if (!strstr(buf_text(&text), wanted))
		fail_msg("no \"%s\" in:\n%s", wanted, buf_text(&text));
	buf_free(&text);
	delist_facts_clear(&facts);
}

/* A list whose name is a phrase has one for each language. */
static void test_names_of_lists(void **state)
{
	struct verdict_rules *rules = load_shipped();
	(void)state;
	check_words(rules, "mx.a.test", DELIST_ENGLISH, "from the receiving side.");
	check_words(rules, "mx.a.test", DELIST_JAPANESE, "貴社の受信拒否リスト からの解除");
	check_words(rules, "sakura", DELIST_JAPANESE, "貴社の受信拒否リスト からの解除");
	check_words(rules, "docomo", DELIST_JAPANESE, "NTT docomo からの解除");
	verdict_free(rules);
}

static void test_bound(void **state)
{
	struct conf_source source = {.name = (char *)(uintptr_t)"ip 1"};
	struct conf conf = {.sources = &source, .source_count = 1};
	const struct conf_source *found;
	struct buf client = {0};
	int family;
	(void)state;
	delist_bind(&client, "ip 1", AF_INET6);
	assert_true(delist_bound(&conf, buf_text(&client), &found, &family));
	assert_ptr_equal(found, &source);
	assert_int_equal(family, AF_INET6);
	assert_true(delist_bound(&conf, "delist gone 0", &found, &family));
	assert_null(found);
	assert_false(delist_bound(&conf, "delist", &found, &family));
	assert_false(delist_bound(&conf, "192.0.2.7", &found, &family));
	buf_free(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_which_one),
	    cmocka_unit_test(test_shipped_texts),
	    cmocka_unit_test(test_many_entries),
	    cmocka_unit_test(test_faults),
	    cmocka_unit_test(test_templates),
	    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_ptr_names),
	    cmocka_unit_test(test_names_of_lists),
	    cmocka_unit_test(test_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
