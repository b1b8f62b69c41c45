/* SPDX-License-Identifier: MIT
 * Files of rules: a user's before those that are shipped, what is said of broken ones,
 * and expressions that run too long. Runs in the source tree, where the rules lie.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue/rules.h"
#include "queue/verdict_text.h"

#define SHIPPED "conf/replies.conf"
#define MINUTE (60 * INT64_C(1000))
#define DNS VERDICT_STAGE_DNS
#define RCPT VERDICT_STAGE_RCPT

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

static const struct {
	const char *text;
	const char *error; /* part of it */
} broken[] = {
    {"rules = (", "x.conf:1: syntax error"},
    {"rules = (\n{ id = \"a\"\n", "x.conf:3: syntax error"},
    {"other = 1;", "x.conf:1: \"other\" is not known here"},
    {"rules = 1;", "x.conf:1: rules: expected a list"},
    {"rules = ( 1 );", "rules: expected groups"},
    {"\n\nrules = ( { code = \"550\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"x.conf:3: has no id"},
    {"providers = ( { mx = [ \"*.x.jp\" ]; } );\nrules = ( { id = \"a\"; provider = \"p\"; code = \"550\";"
     " category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: there is no provider p"},
    {"rules = ( { id = \"A b\"; code = \"550\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"id: \"A b\": expected small letters"},
    {"rules = ( { id = \"a\"; code = \"550\"; examples = [ \"550 x\" ]; } );",
	"rule a: has no category"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; } );", "rule a: has no examples"},
    {"rules = ( { id = \"a\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: has no condition"},
    {"rules = ( { id = \"a\";\n code = \"250\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"x.conf:2: rule a: code: expected"},
    {"rules = ( { id = \"a\"; enhanced = \"5.7\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: enhanced: expected"},
    {"rules = ( { id = \"a\"; stage = \"later\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: stage: expected"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"bad\"; examples = [ \"550 x\" ]; } );",
	"rule a: category: expected ip-blocked"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; scope = \"none\"; examples = [ \"550 x\" ]; } );",
	"rule a: scope: expected"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; action = \"delete\"; examples = [ \"550 x\" ]; } );",
	"rule a: action: expected"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"ip-blocked\"; action = \"suppress\"; examples = [ \"550 x\" ]; } );",
	"rule a: action suppress: only"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; wait = \"soon\"; examples = [ \"550 x\" ]; } );",
	"rule a: wait: \"soon\": expected a time"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; ladder = [ \"1h\", \"\" ]; examples = [ \"550 x\" ]; } );",
	"rule a: ladder: \"\": expected a time"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; txt = \"x\"; examples = [ \"550 x\" ]; } );",
	"rule a: \"txt\" is no key of a rule"},
    {"rules = ( { id = \"a\"; text = [ \"a*b\" ]; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: the phrase \"a*b\" has a * within"},
    {"rules = ( { id = \"a\"; text = [ \"\" ]; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: an empty phrase"},
    {"rules = ( { id = \"a\"; code = 550; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: code: expected a text in quotes"},
    {"rules = ( { id = \"a\"; regex = \"(\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: regex: missing closing parenthesis"},
    {"rules = ( { id = \"a\"; regex = \"(a)\\\\1\"; category = \"policy\"; examples = [ \"550 aa\" ]; } );",
	"rule a: regex: references such as"},
    {"rules = ( { id = \"a\"; provider = \"nobody\"; code = \"550\"; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: there is no provider nobody"},
    /* examples */
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\";\n examples = [ \"451 x\" ]; } );",
	"rule a: the example \"451 x\" does not fit"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; examples = [ \"550 x\" ]; not_examples = [ \"550 y\" ]; } );",
	"rule a: the example \"550 y\" fits, although"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; examples = [ \"no code\" ]; } );",
	"does not begin with a code"},
    {"rules = ( { id = \"a\"; code = \"5xx\"; category = \"policy\"; examples = [ \"550 x\" ]; },\n"
     "{ id = \"b\"; code = \"550\"; category = \"content\"; examples = [ \"550 x\" ]; } );",
	"x.conf:2: rule b: the example \"550 x\" is taken by rule a, which stands before it (line 1)"},
    {"rules = ( { id = \"a\"; code = \"550\"; category = \"policy\"; examples = [ \"550 x\" ]; },\n"
     "{ id = \"a\"; code = \"551\"; category = \"content\"; examples = [ \"551 x\" ]; } );",
	"x.conf:2: rule a: the id stands on line 1 already"},
    /* providers */
    {"providers = ( { id = \"p\"; } );", "a provider needs an id and mx"},
    {"providers = ( { id = \"p\"; mx = [ \"*.p\" ]; connections = 0; } );",
	"connections: expected a number"},
    {"providers = ( { id = \"p\"; mx = [ \"*.p\" ]; speed = 1; } );",
	"\"speed\" is no key of a provider"},
    {"providers = ( { id = \"p\"; mx = [ \"*.p\" ];\n connections = 4294967297; } );",
	"x.conf:2: connections: 4294967297 is too large a number"},
    {"providers = ( { id = \"p\"; mx = [ \"mx.*.example.com\" ]; } );",
	"mx: \"mx.*.example.com\": expected a host name"},
    {"providers = ( { id = \"p\"; mx = [ \"*.p\",\n\"two words\" ]; } );",
	"x.conf:2: mx: \"two words\": expected a host name"},
    {"providers = ( { id = \"p\"; mx = [ \"mx.example.com.\" ]; } );", "without a dot at its end"},
    {"rules = ( { id = \"a\"; mx = [ \"a\\x01b\" ]; category = \"policy\"; examples = [ \"550 x\" ]; } );",
	"rule a: mx: \"a\\x01b\": expected a host name"},
    {"rules = ( );\n@include \"/etc/passwd\"\n", "x.conf:2: @include is not known"},
};

/* A number that wraps is told once, with what the file says. */
static void test_wrapped(void **state)
{
	(void)state;
	struct verdict_rules *rules = rules_new();
	struct buf errors = {0};
	static const char text[] =
	    "providers = ( { id = \"p\"; mx = [ \"*.p\" ]; per_minute = 99999999999; } );";
	assert_int_equal(rules_read(rules, span_text(text), "x.conf", &errors), -1);
	assert_string_equal(buf_text(&errors), "x.conf:1: per_minute: 99999999999 is too large a "
					       "number, expected at most 2147483647\n");
	buf_free(&errors);
	verdict_free(rules);
}

/* What is said of @include, and what only looks like one, includes nothing. */
static void test_include_in_comments(void **state)
{
	(void)state;
	struct verdict_rules *rules = rules_new();
	struct buf errors = {0};
	static const char text[] =
	    "# @include \"/nonexistent\"\n/*\n@include \"/nonexistent\"\n*/\n"
	    "rules = ( { id = \"a\"; text = [ \"\n@include \\\"x\" ]; category = \"policy\";\n"
	    "examples = [ \"550 @include \\\"x\" ]; } );\n";
	assert_int_equal(rules_read(rules, span_text(text), "x.conf", &errors), 0);
	assert_string_equal(buf_text(&errors), "");
	assert_int_equal(rules->rule_count, 1);
	buf_free(&errors);
	verdict_free(rules);
}

static void test_broken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct verdict_rules *rules = rules_new();
		struct buf errors = {0};
		int result = rules_read(rules, span_text(broken[i].text), "x.conf", &errors);
		if (rules_finish(rules, &errors) < 0)
			result = -1;
		assert_int_equal(result, -1);
		if (!strstr(buf_text(&errors), broken[i].error))
			fail_msg("row %zu: \"%s\"", i, buf_text(&errors));
		buf_free(&errors);
		verdict_free(rules);
	}
}

/* A rule that names the stage is meant for what we found in DNS. */
static void test_dns_rule(void **state)
{
	static const char text[] =
	    "rules = ( { id = \"any\"; text = [ \"no such domain\" ]; category = \"ip-blocked\";"
	    " examples = [ \"550 no such domain\" ]; },"
	    "{ id = \"dns\"; stage = \"dns\"; text = [ \"no such domain\" ];"
	    " category = \"routing\"; action = \"retry\";"
	    " examples = [ \"550 5.1.2 x.jp: no such domain\" ]; } );";
	struct buf errors = {0};
	struct verdict_rules *rules = rules_new();
	(void)state;
	assert_int_equal(rules_read(rules, span_text(text), "x.conf", &errors), 0);
	assert_int_equal(rules_finish(rules, &errors), 0);
	assert_string_equal(judge(rules, "550 5.1.2 x.jp: no such domain", DNS, "").rule, "dns");
	assert_string_equal(judge(rules, "550 5.1.2 x.jp: no such domain", RCPT, "").rule, "any");
	verdict_free(rules);
	buf_free(&errors);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void test_files(void **state)
{
	char folder[] = "/tmp/test-verdict-XXXXXX";
	char own[64], bad[64];
	struct buf errors = {0};
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(own, sizeof(own), "%s/own.conf", folder);
	snprintf(bad, sizeof(bad), "%s/bad.conf", folder);
	write_file(own, "rules = ( { id = \"our-partner\"; mx = [ \"*.partner.example\" ];"
			" text = \"user unknown\"; category = \"greylisted\"; wait = \"7m\";"
			" examples = ( { reply = \"550 user unknown\"; mx = \"mx.partner.example\"; } ); } );");
	write_file(bad, "rules = ( { id = \"x\"; } );");
	const char *const good[] = {own, SHIPPED};
	struct verdict_rules *rules = verdict_load(good, 2, &errors);
	assert_string_equal(buf_text(&errors), "");
	assert_non_null(rules);
	struct verdict v = judge(rules, "550 5.1.1 User unknown", RCPT, "mx.partner.example");
	assert_string_equal(v.rule, "our-partner");
	assert_int_equal(v.wait_ms, 7 * MINUTE);
	v = judge(rules, "550 5.1.1 User unknown", RCPT, "mx.example.net");
	assert_string_not_equal(v.rule, "our-partner");
	verdict_free(rules);
	const char *const wrong[] = {bad, "/nonexistent/replies.conf", SHIPPED};
	assert_null(verdict_load(wrong, 3, &errors));
	assert_non_null(strstr(buf_text(&errors), "bad.conf:1: rule x: has no category"));
	assert_non_null(strstr(buf_text(&errors), "/nonexistent/replies.conf: can not be read"));
	buf_free(&errors);
	unlink(own);
	unlink(bad);
	rmdir(folder);
}

/* Expressions that would run for years end, and the rule then does not fit. */
static void test_regex(void **state)
{
	static const char text[] =
	    "rules = ( { id = \"slow\"; code = \"550\"; regex = \"(a+)+$\"; category = \"policy\";"
	    " examples = [ \"550 aaa\" ]; },"
	    "{ id = \"next\"; code = \"551\"; regex = \"^b.*(c|d)\"; category = \"content\";"
	    " examples = [ \"551 B x C\" ]; } );";
	static char reply[4000];
	struct buf errors = {0};
	struct verdict_rules *rules = rules_new();
	(void)state;
	assert_int_equal(rules_read(rules, span_text(text), "x.conf", &errors), 0);
	assert_int_equal(rules_finish(rules, &errors), 0);
	memset(reply, 'a', sizeof(reply) - 2);
	memcpy(reply, "550 ", 4);
	reply[400] = '!';
	struct verdict v = judge(rules, reply, RCPT, "");
	assert_string_equal(v.rule, "structure");
	v = judge(rules, "551 b\nd", RCPT, "");
	assert_string_equal(v.rule, "next");
	verdict_free(rules);
	buf_free(&errors);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_broken),
	    cmocka_unit_test(test_wrapped),
	    cmocka_unit_test(test_include_in_comments),
	    cmocka_unit_test(test_dns_rule),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_regex),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
