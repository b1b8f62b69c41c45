/* SPDX-License-Identifier: MIT
 * Verdicts: by the rules that are shipped, and by structure. Runs in the source tree,
 * where the rules lie.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "queue/rules.h"
#include "queue/verdict_text.h"

#define SHIPPED "conf/replies.conf"
#define MINUTE (60 * INT64_C(1000))
#define HOUR (60 * MINUTE)

static struct verdict_rules *shipped;

static struct verdict judge(const struct verdict_rules *rules, const char *reply,
    enum verdict_stage stage, const char *mx)
{
	struct verdict_text text;
	verdict_text_parse(&text, span_text(reply));
	text.input.stage = stage;
	text.input.mx = mx;
	struct verdict verdict = verdict_judge(rules, &text.input);
	verdict_text_clear(&text);
	return verdict;
}

#define ANY VERDICT_STAGE_UNKNOWN
#define DNS VERDICT_STAGE_DNS
#define BANNER VERDICT_STAGE_BANNER
#define EHLO VERDICT_STAGE_EHLO
#define AUTH VERDICT_STAGE_AUTH
#define MAIL VERDICT_STAGE_MAIL
#define RCPT VERDICT_STAGE_RCPT
#define END VERDICT_STAGE_END

static const struct {
	const char *reply;
	enum verdict_stage stage;
	const char *mx;
	enum verdict_class klass;
	enum verdict_scope scope;
	enum verdict_action action;
	int64_t wait_ms;
} judged[] = {
    /* the same code, four meanings */
    {"550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example.org", RCPT,
	"", VERDICT_IP_BLOCKED, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"550 5.7.1 Unable to relay", RCPT, "", VERDICT_RELAY_DENIED, VERDICT_SCOPE_DESTINATION,
	VERDICT_BOUNCE, 0},
    {"550 5.7.1 <a@example.net>: Recipient address rejected: User unknown", RCPT, "",
	VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS, 0},
    {"550 5.7.1 DMARC policy of example.org", END, "", VERDICT_AUTH_FAILED,
	VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN, 0},
    /* the incidents that this was built for */
    {"550 5.7.606 Access denied, banned sending IP [192.0.2.1]. AS(1430)", RCPT,
	"example-jp.mail.protection.outlook.com", VERDICT_IP_BLOCKED, VERDICT_SCOPE_IP,
	VERDICT_HOLD, 0},
    {"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using gmo-rbl.jp; Poor "
     "Reputation Sender",
	BANNER, "mx1.onamae.ne.jp", VERDICT_IP_BLOCKED, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"550-5.7.1 [192.0.2.1] this message is likely suspicious due to the\n550-5.7.1 very low "
     "reputation of the sending IP\n550 5.7.1 address.",
	END, "aspmx.l.google.com", VERDICT_REPUTATION, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", MAIL,
	"mta5.am0.yahoodns.net", VERDICT_REPUTATION, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    /* unknown users: dead only when it was said to RCPT */
    {"550 5.1.1 User unknown", RCPT, "", VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT,
	VERDICT_SUPPRESS, 0},
    {"550 5.1.1 User unknown", ANY, "", VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT,
	VERDICT_SUPPRESS, 0},
    {"550 5.1.1 User unknown", END, "", VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT,
	VERDICT_BOUNCE, 0},
    {"450 4.1.1 User unknown", RCPT, "", VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT,
	VERDICT_RETRY, 0},
    {"550 Unknown user a@docomo.ne.jp", END, "mfsmax.docomo.ne.jp", VERDICT_UNKNOWN_RECIPIENT,
	VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE, 0},
    {"550 Unknown user a@docomo.ne.jp", RCPT, "mfsmax.docomo.ne.jp", VERDICT_UNKNOWN_RECIPIENT,
	VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS, 0},
    {"550 Requested action not taken: mailbox unavailable", MAIL, "", VERDICT_POLICY,
	VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    /* to MAIL, whatever the words: nobody was named yet but the sender */
    {"550 5.7.0 Local Policy Violation", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD,
	0},
    {"550 5.7.1 Denied by policy", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"554 5.7.1 Relay access denied", MAIL, "", VERDICT_RELAY_DENIED, VERDICT_SCOPE_IP,
	VERDICT_HOLD, 0},
    {"550 5.7.1 message content rejected", MAIL, "", VERDICT_CONTENT, VERDICT_SCOPE_IP,
	VERDICT_HOLD, 0},
    {"550 5.7.0 Local Policy Violation", RCPT, "", VERDICT_POLICY, VERDICT_SCOPE_MESSAGE,
	VERDICT_BOUNCE, 0},
    {"554 5.7.1 <a@example.org>: Sender address rejected: not wanted here", MAIL, "",
	VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE, 0},
    {"550 5.1.7 No such domain", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN,
	VERDICT_BOUNCE, 0},
    {"552 Message size exceeds fixed limit", MAIL, "", VERDICT_TOO_LARGE, VERDICT_SCOPE_MESSAGE,
	VERDICT_BOUNCE, 0},
    {"553 5.6.7 Must declare SMTPUTF8 to send unicode address", MAIL, "", VERDICT_PROTOCOL,
	VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE, 0},
    /* to MAIL, of the sender: it is no block of ours */
    {"501 Invalid MAIL FROM address provided", MAIL, "", VERDICT_PROTOCOL,
	VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE, 0},
    {"501 Bad address syntax", MAIL, "", VERDICT_PROTOCOL, VERDICT_SCOPE_SENDER_DOMAIN,
	VERDICT_BOUNCE, 0},
    {"501 <foo>: sender address must contain a domain", MAIL, "", VERDICT_PROTOCOL,
	VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE, 0},
    {"553 mailbox name not allowed", MAIL, "", VERDICT_PROTOCOL, VERDICT_SCOPE_SENDER_DOMAIN,
	VERDICT_BOUNCE, 0},
    {"501 MAIL FROM:<> not allowed", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN,
	VERDICT_BOUNCE, 0},
    {"550 5.7.1 <>: mail from <> is rejected here", RCPT, "", VERDICT_POLICY,
	VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE, 0},
    {"554 Message rejected: Email address is not verified. The following identities failed the "
     "check in region US-EAST-1: a@example.jp",
	END, "", VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE, 0},
    /* to MAIL, of us: with those codes as well */
    {"501 5.7.1 your host is blocked", MAIL, "", VERDICT_IP_BLOCKED, VERDICT_SCOPE_IP, VERDICT_HOLD,
	0},
    {"501 5.7.1 we want no mail of yours", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD,
	0},
    {"501 Your host is blocked", MAIL, "", VERDICT_IP_BLOCKED, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"501 not authorized", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"501 qwertz 192.0.2.1", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"553 we want no mail of yours", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"550 Mail from 192.0.2.1 not allowed", MAIL, "", VERDICT_IP_BLOCKED, VERDICT_SCOPE_IP,
	VERDICT_HOLD, 0},
    {"550 MAIL FROM:<> rejected: 192.0.2.1 is blocked", MAIL, "", VERDICT_IP_BLOCKED,
	VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"550 5.7.606 Access denied, banned sending IP [192.0.2.1]", MAIL, "", VERDICT_IP_BLOCKED,
	VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"550 Your region is blocked", MAIL, "", VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    /* times in the text */
    {"450 4.7.1 Greylisted, try again in 300 seconds", RCPT, "", VERDICT_GREYLISTED,
	VERDICT_SCOPE_RECIPIENT, VERDICT_RETRY_SAME, 310 * 1000},
    {"451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP "
     "reputation. (S775)",
	MAIL, "example.olc.protection.outlook.com", VERDICT_REPUTATION, VERDICT_SCOPE_IP,
	VERDICT_SLOW, 30 * MINUTE},
    {"550 Ip frequency limited", END, "mx3.qq.com", VERDICT_RATE_LIMITED, VERDICT_SCOPE_IP,
	VERDICT_SLOW, HOUR},
    /* other languages */
    {"550 Postfach des Empf\xc3\xa4ngers ist voll", RCPT, "", VERDICT_MAILBOX_FULL,
	VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE, 0},
    {"550 Destinataire inconnu", RCPT, "", VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT,
	VERDICT_SUPPRESS, 0},
    {"550 \xe6\x94\xb6\xe4\xbb\xb6\xe4\xba\xba\xe4\xb8\x8d\xe5\xad\x98\xe5\x9c\xa8", RCPT, "",
	VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS, 0},
    /* names and encryption */
    {"450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]", RCPT, "",
	VERDICT_RDNS, VERDICT_SCOPE_IP, VERDICT_HOLD, 0},
    {"530 5.7.0 Must issue a STARTTLS command first", MAIL, "", VERDICT_TLS_REQUIRED,
	VERDICT_SCOPE_CONNECTION, VERDICT_RETRY, 0},
    {"250 2.0.0 taken", END, "", VERDICT_OTHER, VERDICT_SCOPE_NONE, VERDICT_DELIVERED, 0},
    /* what we found in DNS has no receiver's words, however the domain is called */
    {"550 5.1.10 blacklist.test takes no mail (it publishes a null MX)", DNS, "", VERDICT_ROUTING,
	VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE, 0},
    {"550 5.1.2 dnsbl.spamhaus.test: no such domain", DNS, "", VERDICT_ROUTING,
	VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE, 0},
    {"550 5.1.2 example.net has no mail server with an IPv4 address", DNS, "", VERDICT_ROUTING,
	VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE, 0},
};

static void test_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(judged) / sizeof(judged[0]); i++) {
		struct verdict v = judge(shipped, judged[i].reply, judged[i].stage, judged[i].mx);
		if (v.klass != judged[i].klass || v.scope != judged[i].scope ||
		    v.action != judged[i].action || v.wait_ms != judged[i].wait_ms)
			fail_msg("\"%s\": %s %s %s %lld, rule %s", judged[i].reply,
			    verdict_class_name(v.klass), verdict_scope_name(v.scope),
			    verdict_action_name(v.action), (long long)v.wait_ms, v.rule);
	}
}

static void test_details(void **state)
{
	struct verdict v;
	(void)state;
	v = judge(shipped, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", RCPT, "");
	assert_string_equal(v.rule, "microsoft-banned-ip");
	assert_string_equal(v.provider, "microsoft365");
	assert_int_equal(v.ladder_count, 3);
	assert_int_equal(v.ladder[0], HOUR);
	assert_int_equal(v.ladder[2], 24 * HOUR);
	assert_non_null(strstr(v.help, "sender.office.com"));
	assert_true(v.known);
	assert_int_equal(v.family, 0);
	v = judge(shipped, "550 5.7.25 [2001:db8::1] has no PTR record", MAIL, "mx.example.net");
	assert_int_equal(v.klass, VERDICT_RDNS);
	assert_int_equal(v.family, AF_INET6);
	assert_string_equal(v.provider, "");
	/* a code of one provider means nothing at another one */
	v = judge(shipped, "550 5.7.606 nothing that is known", RCPT, "aspmx.l.google.com");
	assert_string_not_equal(v.rule, "microsoft-banned-ip");
	v = judge(shipped, "550 qwertz", RCPT, "");
	assert_string_equal(v.rule, "structure");
	assert_false(v.known);
}

/* What a smarthost has against our account is ours to mend; what it says of a recipient or
 * message is as true as from anybody. */
static const struct {
	const char *reply;
	enum verdict_stage stage;
	enum verdict_class klass;
	enum verdict_scope scope;
	enum verdict_action action;
} of_smarthost[] = {
    {"550 5.7.1 Relaying denied", RCPT, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"454 4.7.1 Relay access denied", RCPT, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"530 5.7.0 Authentication required", MAIL, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"530 5.7.0 Authentication required", RCPT, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"550 authentication required", MAIL, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"550 5.7.1 Authentication required", RCPT, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"530 Please log in first", RCPT, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"535 5.7.8 no", AUTH, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_HOLD},
    {"535 5.7.139 user is locked by your organization's policy", AUTH, VERDICT_POLICY,
	VERDICT_SCOPE_US, VERDICT_HOLD},
    {"534 5.7.14 Please log in with a browser and then try again", AUTH, VERDICT_POLICY,
	VERDICT_SCOPE_US, VERDICT_HOLD},
    {"454 4.7.0 Temporary authentication failure", AUTH, VERDICT_SERVER_BUSY,
	VERDICT_SCOPE_DESTINATION, VERDICT_RETRY},
    {"530 5.7.0 Must issue a STARTTLS command first", MAIL, VERDICT_TLS_REQUIRED,
	VERDICT_SCOPE_CONNECTION, VERDICT_RETRY},
    {"550 5.1.1 User unknown", RCPT, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT,
	VERDICT_SUPPRESS},
    {"550 5.7.1 refused by local policy", RCPT, VERDICT_POLICY, VERDICT_SCOPE_MESSAGE,
	VERDICT_BOUNCE},
    {"250 2.0.0 taken", END, VERDICT_OTHER, VERDICT_SCOPE_NONE, VERDICT_DELIVERED},
};

static void test_smarthost(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(of_smarthost) / sizeof(of_smarthost[0]); i++) {
		struct verdict_text text;
		verdict_text_parse(&text, span_text(of_smarthost[i].reply));
		text.input.stage = of_smarthost[i].stage;
		text.input.smarthost = true;
		struct verdict v = verdict_judge(shipped, &text.input);
		if (v.klass != of_smarthost[i].klass || v.scope != of_smarthost[i].scope ||
		    v.action != of_smarthost[i].action)
			fail_msg("\"%s\": %s %s %s, rule %s", of_smarthost[i].reply,
			    verdict_class_name(v.klass), verdict_scope_name(v.scope),
			    verdict_action_name(v.action), v.rule);
		if (v.scope == VERDICT_SCOPE_US)
			assert_non_null(strstr(v.help, "our account"));
		verdict_text_clear(&text);
	}
	struct verdict mx = judge(shipped, "550 5.7.1 Authentication required", RCPT, "");
	assert_int_equal(mx.action, VERDICT_BOUNCE);
	mx = judge(shipped, "550 5.7.1 Relaying denied", RCPT, "");
	assert_int_equal(mx.action, VERDICT_BOUNCE);
}

static const struct {
	unsigned code;
	unsigned char klass;
	unsigned short subject, detail;
	enum verdict_stage stage;
	enum verdict_class class;
	enum verdict_scope scope;
	enum verdict_action action;
} structure[] = {
    {550, 0, 0, 0, VERDICT_STAGE_CONNECT, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {554, 5, 1, 1, BANNER, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {550, 5, 7, 1, EHLO, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {550, 5, 7, 1, MAIL, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {550, 5, 1, 1, MAIL, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {550, 5, 2, 2, MAIL, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {553, 5, 1, 8, MAIL, VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE},
    {501, 0, 0, 0, MAIL, VERDICT_PROTOCOL, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE},
    {501, 0, 0, 0, EHLO, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {501, 5, 7, 1, MAIL, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {553, 0, 0, 0, MAIL, VERDICT_POLICY, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {552, 5, 3, 4, MAIL, VERDICT_TOO_LARGE, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {550, 5, 7, 25, MAIL, VERDICT_RDNS, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {550, 5, 1, 1, RCPT, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS},
    {550, 5, 1, 1, END, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {550, 5, 2, 1, RCPT, VERDICT_RECIPIENT_DISABLED, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {552, 5, 2, 2, RCPT, VERDICT_MAILBOX_FULL, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {552, 0, 0, 0, RCPT, VERDICT_RATE_LIMITED, VERDICT_SCOPE_MESSAGE, VERDICT_RETRY},
    {552, 5, 3, 4, RCPT, VERDICT_TOO_LARGE, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {552, 0, 0, 0, END, VERDICT_TOO_LARGE, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {550, 0, 0, 0, RCPT, VERDICT_OTHER, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {550, 5, 7, 1, RCPT, VERDICT_POLICY, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {554, 5, 0, 0, END, VERDICT_OTHER, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {535, 5, 7, 8, VERDICT_STAGE_AUTH, VERDICT_POLICY, VERDICT_SCOPE_US, VERDICT_RETRY},
    {451, 4, 7, 1, RCPT, VERDICT_SERVER_BUSY, VERDICT_SCOPE_RECIPIENT, VERDICT_RETRY},
    {421, 0, 0, 0, BANNER, VERDICT_SERVER_BUSY, VERDICT_SCOPE_DESTINATION, VERDICT_RETRY},
    {452, 4, 5, 3, RCPT, VERDICT_RATE_LIMITED, VERDICT_SCOPE_MESSAGE, VERDICT_RETRY},
    {452, 4, 2, 2, RCPT, VERDICT_MAILBOX_FULL, VERDICT_SCOPE_RECIPIENT, VERDICT_RETRY},
    /* what we found ourselves */
    {554, 5, 7, 30, MAIL, VERDICT_PROTOCOL, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {550, 5, 1, 2, DNS, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {550, 5, 1, 10, DNS, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {550, 5, 4, 4, DNS, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {550, 5, 4, 6, DNS, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {0, 0, 0, 0, DNS, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_RETRY},
    {0, 0, 0, 0, VERDICT_STAGE_CONNECT, VERDICT_SERVER_BUSY, VERDICT_SCOPE_CONNECTION,
	VERDICT_RETRY},
};

/* With rules that do not know the words, and without any. */
static void test_structure(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(structure) / sizeof(structure[0]); i++) {
		struct verdict_input in = {.stage = structure[i].stage,
		    .code = structure[i].code,
		    .klass = structure[i].klass,
		    .subject = structure[i].subject,
		    .detail = structure[i].detail,
		    .text = span_text("qwertz"),
		    .mx = ""};
		struct verdict v = verdict_judge(NULL, &in);
		if (v.klass != structure[i].class || v.scope != structure[i].scope ||
		    v.action != structure[i].action)
			fail_msg("row %zu: %s %s %s", i, verdict_class_name(v.klass),
			    verdict_scope_name(v.scope), verdict_action_name(v.action));
		assert_string_equal(v.rule, "structure");
		assert_false(v.known);
	}
}

/* Only what MAIL has said, the sender and the message's size and form, may be refused before a
 * recipient is named. */
static bool ends_too_early(const struct verdict *v, enum verdict_stage stage)
{
	if (v->action != VERDICT_BOUNCE && v->action != VERDICT_SUPPRESS)
		return false;
	return stage != MAIL ||
	       (v->scope != VERDICT_SCOPE_SENDER_DOMAIN && v->klass != VERDICT_TOO_LARGE &&
		   v->klass != VERDICT_PROTOCOL);
}

/* Whatever a reply says: what is about us suppresses nobody and ends no message, and
 * nobody is judged who was not named yet. All replies of the rules, at each stage. */
static void test_safe(void **state)
{
	(void)state;
	for (size_t i = 0; i < shipped->rule_count; i++)
		for (size_t k = 0; k < shipped->rules[i].example_count; k++)
			for (int stage = VERDICT_STAGE_UNKNOWN; stage <= VERDICT_STAGE_END; stage++) {
				const struct rule_example *e = &shipped->rules[i].examples[k];
				struct verdict v = judge(
				    shipped, e->reply, (enum verdict_stage)stage, e->mx ? e->mx : "");
				bool early = stage >= VERDICT_STAGE_CONNECT && stage <= VERDICT_STAGE_MAIL;
				if (v.scope == VERDICT_SCOPE_IP &&
				    (v.action == VERDICT_BOUNCE || v.action == VERDICT_SUPPRESS))
					fail_msg("\"%s\" ends the mail, rule %s", e->reply, v.rule);
				if (v.action == VERDICT_SUPPRESS &&
				    (e->reply[0] != '5' || (stage != RCPT && stage != ANY)))
					fail_msg("\"%s\" suppresses at stage %d", e->reply, stage);
				if (early && ends_too_early(&v, (enum verdict_stage)stage))
					fail_msg("\"%s\" ends it at stage %d: %s", e->reply, stage,
					    v.rule);
				if (early && (v.klass == VERDICT_UNKNOWN_RECIPIENT ||
						 v.klass == VERDICT_RECIPIENT_DISABLED))
					fail_msg("\"%s\" at stage %d: %s", e->reply, stage, v.rule);
			}
}

/* Each rule of ours can be reached: its own examples are judged by it. */
static void test_examples(void **state)
{
	(void)state;
	assert_true(shipped->rule_count > 100);
	for (size_t i = 0; i < shipped->rule_count; i++)
		assert_true(shipped->rules[i].example_count > 0);
}

static void test_hostile(void **state)
{
	static char reply[200000];
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		memset(reply, byte, sizeof(reply));
		memcpy(reply, "550 ", 4);
		struct verdict_text text;
		verdict_text_parse(&text, (struct span){reply, sizeof(reply)});
		text.input.mx = "";
		struct verdict v = verdict_judge(shipped, &text.input);
		assert_int_not_equal(v.action, VERDICT_SUPPRESS);
		verdict_text_clear(&text);
	}
	for (size_t i = 4; i < sizeof(reply); i++)
		reply[i] = "550-\n<@:]user unknown \xc3\x28%s\t"[i % 27];
	struct verdict_text text;
	verdict_text_parse(&text, (struct span){reply, sizeof(reply)});
	verdict_judge(shipped, &text.input);
	verdict_text_clear(&text);
}

static void test_text(void **state)
{
	struct verdict_text text;
	(void)state;
	assert_true(verdict_text_parse(&text, span_text("550-5.7.1 first\r\n550-5.7.1\n550 5.7.1 last\n")));
	assert_int_equal(text.input.code, 550);
	assert_int_equal(text.input.klass, 5);
	assert_int_equal(text.input.subject, 7);
	assert_int_equal(text.input.detail, 1);
	assert_string_equal(buf_text(&text.text), "first\n\nlast");
	verdict_text_clear(&text);
	assert_true(verdict_text_parse(&text, span_text("550 4.2.2 mixed")));
	assert_int_equal(text.input.klass, 0);
	assert_string_equal(buf_text(&text.text), "4.2.2 mixed");
	verdict_text_clear(&text);
	assert_true(verdict_text_parse(&text, span_text("421")));
	assert_int_equal(text.input.code, 421);
	verdict_text_clear(&text);
	assert_false(verdict_text_parse(&text, span_text("timed out")));
	assert_int_equal(text.input.code, 0);
	assert_string_equal(buf_text(&text.text), "timed out");
	verdict_text_clear(&text);
	assert_false(verdict_text_parse(&text, span_text("")));
	verdict_text_clear(&text);
}

static const struct {
	const char *mx;
	const char *provider;
} providers[] = {
    {"aspmx.l.google.com", "google"},
    {"ASPMX.L.GOOGLE.COM.", "google"},
    {"example-jp.mail.protection.outlook.com", "microsoft365"},
    {"outlook-com.olc.protection.outlook.com", "outlook.com"},
    {"mta7.am0.yahoodns.net", "yahoo"},
    {"mx1.mail.yahoo.co.jp", "yahoo-japan"},
    {"mx01.mail.icloud.com", "icloud"},
    {"mfsmax.docomo.ne.jp", "docomo"},
    {"lsean.au.com", "au"},
    {"mx.softbank.ne.jp", "softbank"},
    {"mx0a-00000000.pphosted.com", "proofpoint"},
    {"eu-smtp-inbound-1.mimecast.com", "mimecast"},
    {"d1.ess.barracudanetworks.com", "barracuda"},
    {"mx.example.net", ""},
    {"google.com.example.net", ""},
    {"notgoogle.com", ""},
    {"", ""},
};

static void test_providers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
		const struct provider *p = verdict_provider(shipped, providers[i].mx);
		assert_string_equal(p->id, providers[i].provider);
		if (*p->id)
			assert_true(p->connections > 0 && p->messages_per_connection > 0 &&
				    p->per_minute > 0);
		else
			assert_true(p->connections == 0);
	}
	assert_string_equal(verdict_provider(NULL, "aspmx.l.google.com")->id, "");
}

static void test_names(void **state)
{
	(void)state;
	for (int i = 0; i <= VERDICT_OTHER; i++) {
		enum verdict_class klass;
		assert_true(verdict_class_parse(
		    span_text(verdict_class_name((enum verdict_class)i)), &klass));
		assert_int_equal(klass, i);
	}
	for (int i = 0; i <= VERDICT_SUPPRESS; i++) {
		enum verdict_action action;
		assert_true(verdict_action_parse(
		    span_text(verdict_action_name((enum verdict_action)i)), &action));
		assert_int_equal(action, i);
	}
	enum verdict_stage stage = VERDICT_STAGE_UNKNOWN;
	assert_true(verdict_stage_parse(span_text("EOD"), &stage));
	assert_int_equal(stage, VERDICT_STAGE_END);
	assert_false(verdict_stage_parse(span_text("lunch"), &stage));
}

static int load(void **state)
{
	const char *const files[] = {SHIPPED};
	struct buf errors = {0};
	(void)state;
	shipped = verdict_load(files, 1, &errors);
	if (!shipped)
		fprintf(stderr, "%s", buf_text(&errors));
	buf_free(&errors);
	return shipped ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	verdict_free(shipped);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_judged),
	    cmocka_unit_test(test_details),
	    cmocka_unit_test(test_smarthost),
	    cmocka_unit_test(test_structure),
	    cmocka_unit_test(test_safe),
	    cmocka_unit_test(test_examples),
	    cmocka_unit_test(test_hostile),
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_providers),
	    cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, load, unload);
}
