/* SPDX-License-Identifier: MIT
 * Rule files that are odd or too large: each value that can not be is told with its line,
 * and nothing grows without end. What a rule means is test_verdict.c's business.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>

#include "queue/rules_values.h"
#include "queue/verdict_text.h"
#include "relayd/base/mem.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* All that a rule needs but a condition, and with one. */
#define RULE(keys)                                                                                 \
	"rules = ( { id = \"a\"; category = \"policy\"; examples = [ \"550 x\" ];\n" keys " } );"
#define WITH(keys) RULE("code = \"550\"; " keys)
#define PROVIDER(keys) "providers = ( { id = \"p\"; mx = [ \"*.p\" ];\n" keys " } );"
#define X100                                                                                       \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                                       \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X301 X100 X100 X100 "x"

/* Read TEXT. Result: what is wrong with it, "" for nothing; free it. */
static char *read_rules(struct span text, size_t *count)
{
	struct verdict_rules *rules = rules_new();
	struct buf errors = {0};
	int result = rules_read(rules, text, "x.conf", &errors);
	assert_int_equal(result<0, errors.len> 0);
	if (count)
		*count = rules->rule_count;
	verdict_free(rules);
	char *said = mem_text(buf_text(&errors));
	buf_free(&errors);
	return said;
}

static const char *const faults[][2] = {
    {"providers = ( 1 );", "x.conf:1: providers: expected groups"},
    {PROVIDER("connections = 1000001;"), "x.conf:2: connections: expected a number, 1 to 1000000"},
    {PROVIDER("connections = -1;"), "x.conf:2: connections: expected a number"},
    {PROVIDER("connections = 0L;"), "x.conf:2: connections: expected a number"},
    {PROVIDER("connections = 1.5;"), "x.conf:2: connections: expected a number"},
    {"providers = ( { id = \"p\"; mx = \"*.p\"; } );",
	"x.conf:1: mx: expected a list of host names"},
    {"providers = ( { id = \"p\"; mx = [ ]; } );", "x.conf:1: mx: expected a list of host names"},
    {WITH("mx = ( \"\" );"), "x.conf:2: rule a: mx: \"\": expected a host name"},
    {WITH("mx = ( 5 );"), "x.conf:2: rule a: an item of a list: expected a text in quotes"},
    {WITH("provider = \"\";"), "x.conf:2: rule a: provider: \"\": expected small letters"},
    {WITH("provider = \"" X100 "\";"), "(at most 64)"},
    {WITH("help = \"" X301 "\";"), "expected a line of at most 300 bytes of UTF-8"},
    {WITH("help = \"a\\nb\";"), "x.conf:2: rule a: help: \"a\\x0ab\": expected a line"},
    {WITH("help = \"a\x7f\";"), "x.conf:2: rule a: help: \"a\\x7f\": expected a line"},
    {WITH("help = \"\xff\";"), "x.conf:2: rule a: help: \"\\xff\": expected a line"},
    {WITH("wait = \"999ms\";"), "x.conf:2: rule a: wait: \"999ms\": expected a time of 1s to 7d"},
    {WITH("wait = \"8d\";"), "x.conf:2: rule a: wait: \"8d\": expected a time of 1s to 7d"},
    {WITH("ladder = [ ];"), "x.conf:2: rule a: ladder: expected 1 to 400 items, not 0"},
    {WITH("ladder = [ \"1s\", \"2s\", \"3s\", \"4s\", \"5s\", \"6s\", \"7s\", \"8s\", \"9s\" ];"),
	"x.conf:2: rule a: ladder: more than 8 steps"},
    {RULE("stage = ( ( \"mail\" ), [ ] );"), "x.conf:2: rule a: stage: expected connect"},
    {RULE("text = ( [ \"b\" ], ( ) );"), "x.conf:2: rule a: expected phrases"},
    {RULE("text = ( );"), "x.conf:2: rule a: text: expected 1 to 400 items, not 0"},
    {RULE("text = { a = \"b\"; };"), "x.conf:2: rule a: expected phrases"},
    {RULE("text = [ ];"), "x.conf:2: rule a: expected phrases"},
    {WITH("without = { };"), "x.conf:2: rule a: expected phrases"},
    {WITH("without = 5;"), "x.conf:2: rule a: without: expected a text in quotes"},
    {WITH("family = \"ipv5\";"), "x.conf:2: rule a: family: expected ipv4 or ipv6"},
    {WITH("scope = 1;"), "x.conf:2: rule a: scope: expected a text in quotes"},
    {WITH("action = \"delivered\";"), "x.conf:2: rule a: action: expected retry"},
    {WITH("action_5xx = \"suppress\";"),
	"rule a: action suppress: only a verdict about a recipient"},
    {WITH("not_examples = ( { stage = \"mail\"; } );"), "x.conf:2: rule a: an example has a reply"},
    {WITH("not_examples = ( { reply = \"550\"; code = \"1\"; } );"),
	"x.conf:2: rule a: an example has a reply"},
};

static void test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(faults); i++) {
		size_t count;
		char *said = read_rules(span_text(faults[i][0]), &count);
		if (!strstr(said, faults[i][1]))
			fail_msg(
			    "%s\nis told as: %s\nwanted: %s", faults[i][0], said, faults[i][1]);
		assert_int_equal(count, 0);
		mem_free(said);
	}
}

static const char *const fine[] = {
    WITH("family = \"ipv4\";"),
    WITH("ladder = \"1s\";"),
    WITH("wait = \"7d\";"),
    WITH("action = \"slow\"; action_4xx = \"retry\";"),
    WITH("without = \"one\";"),
    WITH("not_examples = ( { reply = \"550 y\"; stage = \"unknown\"; mx = \"a.p\"; } );"),
    RULE("text = \"one\";"),
    RULE("text = ( \"one\", [ \"two\", \"three\" ] );"),
    RULE("regex = \"a+\";"),
    RULE("stage = [ \"mail\", \"unknown\" ];"),
};

static void test_fine(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(fine); i++) {
		size_t count;
		char *said = read_rules(span_text(fine[i]), &count);
		assert_string_equal(said, "");
		assert_int_equal(count, 1);
		mem_free(said);
	}
}

static void test_family(void **state)
{
	(void)state;
	struct verdict_rules *rules = rules_new();
	struct buf errors = {0};
	const char *text =
	    "rules = ( { id = \"four\"; family = \"ipv4\"; code = \"550\"; category = "
	    "\"policy\"; examples = [ \"550\" ]; }, { id = \"six\"; family = \"ipv6\"; "
	    "code = \"551\"; category = \"policy\"; examples = [ \"551\" ]; } );";
	assert_int_equal(rules_read(rules, span_text(text), "x.conf", &errors), 0);
	assert_int_equal(rules->rules[0].family, AF_INET);
	assert_int_equal(rules->rules[1].family, AF_INET6);
	verdict_free(rules);
	buf_free(&errors);
}

/* ---- bounds ---- */

/* What is said of TEXT, which is emptied, has WANTED once. */
static void bad_once(struct buf *text, const char *wanted)
{
	char *said = read_rules((struct span){buf_text(text), text->len}, NULL);
	const char *first = strstr(said, wanted);
	if (!first || strstr(first + 1, wanted))
		fail_msg("%.2000s\nwanted once: %s", said, wanted);
	mem_free(said);
	buf_clear(text);
}

static void add_phrases(struct buf *text, const char *id, unsigned count)
{
	buf_addf(
	    text, "{ id = \"%s\"; category = \"policy\"; examples = [ \"550\" ]; text = [", id);
	for (unsigned i = 0; i < count; i++)
		buf_addf(text, "%s\"p%u\"", i ? "," : "", i);
	buf_add_text(text, "]; }");
}

static void test_too_many(void **state)
{
	(void)state;
	struct buf text = {0};
	char id[20];
	buf_add_text(&text, "rules = (");
	add_phrases(&text, "a", 401);
	buf_add_text(&text, ");");
	bad_once(&text, "rule a: expected phrases, [ \"one\", \"or another\" ], 1 to 400 of them");
	buf_add_text(&text, "rules = (");
	for (unsigned i = 0; i < 51; i++) {
		snprintf(id, sizeof(id), "r%u", i);
		buf_add_text(&text, i ? ",\n" : "\n");
		add_phrases(&text, id, 400);
	}
	buf_add_text(&text, ");");
	bad_once(&text, "x.conf:52: rule r50: more than 20000 phrases in all rules");
	buf_add_text(&text, "rules = (");
	for (unsigned i = 0; i < 2001; i++)
		buf_addf(&text,
		    "%s\n{ id = \"r%u\"; code = \"550\"; category = \"policy\"; "
		    "examples = [ \"550\" ]; }",
		    i ? "," : "", i);
	buf_add_text(&text, ");");
	bad_once(&text, "x.conf:2002: more than 2000 rules");
	buf_addf(&text, "rules = ( { id = \"a\"; code = [");
	for (unsigned i = 0; i < 401; i++)
		buf_addf(&text, "%s\"550\"", i ? "," : "");
	buf_add_text(&text, "]; } );");
	bad_once(&text, "rule a: code: expected 1 to 400 items, not 401");
	buf_free(&text);
}

/* A hundred faults say enough. */
static void test_faults_are_bounded(void **state)
{
	(void)state;
	struct buf text = {0};
	buf_add_text(&text, "rules = (");
	for (unsigned i = 0; i < 101; i++)
		buf_addf(&text, "%s\n%u", i ? "," : "", i);
	buf_add_text(&text, ");");
	char *said = read_rules(span_buf(&text), NULL);
	assert_non_null(strstr(said, "x.conf:101: "));
	assert_null(strstr(said, "x.conf:102: "));
	mem_free(said);
	/* in one group there can be more: then their lines are */
	buf_clear(&text);
	buf_add_text(&text, "providers = ( { id = \"p\"; mx = [ \"*.p\" ];");
	for (unsigned i = 0; i < 10000; i++)
		buf_addf(&text, "\nk%u = 1;", i);
	buf_add_text(&text, "} );");
	said = read_rules(span_buf(&text), NULL);
	assert_in_range(strlen(said), 64 << 10, (64 << 10) + 500);
	mem_free(said);
	buf_free(&text);
}

static void test_no_text(void **state)
{
	static const char nul[] = "rules = ( );\0";
	struct buf text = {0};
	(void)state;
	char *said = read_rules((struct span){nul, sizeof(nul) - 1}, NULL);
	assert_string_equal(said, "x.conf: is no text: it has a NUL byte\n");
	mem_free(said);
	memset(buf_room(&text, (4 << 20) + 1), ' ', (4 << 20) + 1);
	text.len = 4 << 20;
	said = read_rules(span_buf(&text), NULL);
	assert_string_equal(said, "");
	mem_free(said);
	text.len++;
	said = read_rules(span_buf(&text), NULL);
	assert_string_equal(said, "x.conf: is larger than 4 MiB\n");
	mem_free(said);
	buf_free(&text);
}

/* ---- codes ---- */

static void test_codes(void **state)
{
	static const struct {
		const char *text;
		unsigned low, high; /* 0: refused */
	} rows[] = {
	    {"550", 550, 550},
	    {"55x", 550, 559},
	    {"4xx", 400, 499},
	    {"599", 599, 599},
	    {"399", 0, 0},
	    {"600", 0, 0},
	    {"6xx", 0, 0},
	    {"x50", 0, 0},
	    {"5x0", 0, 0},
	    {"5X0", 0, 0},
	    {"55", 0, 0},
	    {"5500", 0, 0},
	    {"", 0, 0},
	    {"5 0", 0, 0},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rule_code code;
		bool good = rule_code_parse(span_text(rows[i].text), &code);
		assert_int_equal(good, rows[i].low != 0);
		if (!good)
			continue;
		assert_int_equal(code.low, rows[i].low);
		assert_int_equal(code.high, rows[i].high);
	}
}

static void test_enhanced_codes(void **state)
{
	static const struct {
		const char *text;
		int klass, subject, low, high; /* klass -1: refused */
	} rows[] = {
	    {"5.7.1", 5, 7, 1, 1},
	    {"x.7.26", 0, 7, 26, 26},
	    {"5.7.606-649", 5, 7, 606, 649},
	    {"4.1.*", 4, 1, 0, 999},
	    {"5.*.1", 5, -1, 1, 1},
	    {"x.*.*", 0, -1, 0, 999},
	    {"5.7.9-1", -1, 0, 0, 0},
	    {"5.7", -1, 0, 0, 0},
	    {"5", -1, 0, 0, 0},
	    {"", -1, 0, 0, 0},
	    {"3.7.1", -1, 0, 0, 0},
	    {"6.7.1", -1, 0, 0, 0},
	    {"a.7.1", -1, 0, 0, 0},
	    {"5.1000.1", -1, 0, 0, 0},
	    {"5.a.1", -1, 0, 0, 0},
	    {"5.7.1000", -1, 0, 0, 0},
	    {"5.7.a-1", -1, 0, 0, 0},
	    {"5.7.1-", -1, 0, 0, 0},
	    {"5.7.1-1000", -1, 0, 0, 0},
	    {"5.7.1.1", -1, 0, 0, 0},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rule_enhanced e;
		bool good = rule_enhanced_parse(span_text(rows[i].text), &e);
		if (good != (rows[i].klass >= 0))
			fail_msg("%s is %s", rows[i].text, good ? "taken" : "refused");
		if (!good)
			continue;
		assert_int_equal(e.klass, rows[i].klass);
		assert_int_equal(e.subject, rows[i].subject);
		assert_int_equal(e.low, rows[i].low);
		assert_int_equal(e.high, rows[i].high);
	}
}

/* ---- replies ---- */

static void test_codes_of_replies(void **state)
{
	static const struct {
		const char *reply;
		unsigned code, klass, subject, detail;
		const char *text;
	} rows[] = {
	    {"550", 550, 0, 0, 0, ""},
	    {"550\t5.7.1\tno", 550, 5, 7, 1, "no"},
	    {"550 5.7.1: no", 550, 5, 7, 1, ": no"},
	    {"550 5.7.1", 550, 5, 7, 1, ""},
	    {"  550-5.7.606 no\r\n550 5.7.606\r\n", 550, 5, 7, 606, "no\n"},
	    /* none of the reply's class, or none at all */
	    {"550 4.7.1 no", 550, 0, 0, 0, "4.7.1 no"},
	    {"550 55.7.1 no", 550, 0, 0, 0, "55.7.1 no"},
	    {"550 5", 550, 0, 0, 0, "5"},
	    {"550 5 7", 550, 0, 0, 0, "5 7"},
	    {"550 5.", 550, 0, 0, 0, "5."},
	    {"550 5.7", 550, 0, 0, 0, "5.7"},
	    {"550 5.7 no", 550, 0, 0, 0, "5.7 no"},
	    {"550 5.7.", 550, 0, 0, 0, "5.7."},
	    {"550 5.7.x", 550, 0, 0, 0, "5.7.x"},
	    {"550 5.7.1x", 550, 0, 0, 0, "5.7.1x"},
	    {"550 5.7.1234 no", 550, 0, 0, 0, "5.7.1234 no"},
	    /* lines that say another one than the first */
	    {"550-5.7.1 a\n550-5.7.2 b\n550 5.1.1 c", 550, 5, 7, 1, "a\n5.7.2 b\n5.1.1 c"},
	    {"550-5.7.1 a\n450 4.7.1 b\nc", 550, 5, 7, 1, "a\n450 4.7.1 b\nc"},
	    /* no code */
	    {"199 a", 0, 0, 0, 0, "199 a"},
	    {"600 a", 0, 0, 0, 0, "600 a"},
	    {"55 a", 0, 0, 0, 0, "55 a"},
	    {"5500 a", 0, 0, 0, 0, "5500 a"},
	    {"550a", 0, 0, 0, 0, "550a"},
	    {"55000 a", 0, 0, 0, 0, "55000 a"},
	    {"\n550 a", 0, 0, 0, 0, "\n550 a"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct verdict_text text;
		bool has_code = verdict_text_parse(&text, span_text(rows[i].reply));
		const struct verdict_input *in = &text.input;
		if (in->code != rows[i].code || in->klass != rows[i].klass ||
		    in->subject != rows[i].subject || in->detail != rows[i].detail ||
		    strcmp(buf_text(&text.text), rows[i].text) != 0)
			fail_msg("%s: %u %u.%u.%u \"%s\"", rows[i].reply, in->code,
			    (unsigned)in->klass, (unsigned)in->subject, (unsigned)in->detail,
			    buf_text(&text.text));
		assert_int_equal(has_code, rows[i].code != 0);
		verdict_text_clear(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_faults),
	    cmocka_unit_test(test_fine),
	    cmocka_unit_test(test_family),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_faults_are_bounded),
	    cmocka_unit_test(test_no_text),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_enhanced_codes),
	    cmocka_unit_test(test_codes_of_replies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
