/* SPDX-License-Identifier: MIT
 * Requests of the control socket: lines into words and commands, words into
 * selections, selections against messages.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "exact.h"
#include "relayd/base/mem.h"
#include "relayd/control_words.h"
#include "relayd/selection.h"
#include "schedule_kit.h"

#define NOW INT64_C(1795000000000)

static void test_good_lines(void **state)
{
	static const struct {
		const char *line;
		enum command_id command;
		size_t argc;
	} table[] = {
	    {"[\"status\"]", CMD_STATUS, 0},
	    {" [ \"queue\" , \"list\" ] ", CMD_QUEUE_LIST, 0},
	    {"[\"queue\",\"list\",\"--domain\",\"a.test\"]", CMD_QUEUE_LIST, 2},
	    {"[\"queue\",\"delete\",\"0123456789abcdef\"]", CMD_QUEUE_DELETE, 1},
	    {"[\"why\",\"\\u00e9@a.test\"]", CMD_WHY, 1},
	    {"[\"log\",\"-f\"]", CMD_LOG, 1},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct control_words w;
		struct why why = {0};
		struct span line = exact(table[i].line);
		assert_int_equal(control_words_parse(&w, line, &why), 0);
		assert_int_equal(w.command, table[i].command);
		assert_int_equal(w.argc, table[i].argc);
		control_words_clear(&w);
		exact_free(line);
	}
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *line;
		const char *why;
	} table[] = {
	    {"", "JSON array"},
	    {"status", "JSON array"},
	    {"GET / HTTP/1.1", "JSON array"},
	    {"[]", "JSON array"},
	    {"{}", "JSON array"},
	    {"null", "JSON array"},
	    {"[\"status\"", "JSON array"},
	    {"[\"status\"] x", "JSON array"},
	    {"[1]", "JSON array"},
	    {"[\"queue\",null]", "JSON array"},
	    {"[[\"status\"]]", "JSON array"},
	    {"[\"sta\\u0000tus\"]", "JSON array"},
	    {"[\"\xff\"]", "JSON array"},
	    {"[\"\"]", "no command \"\""},
	    {"[\"queue\"]", "no command \"queue\""},
	    {"[\"queue list\"]", "no command \"queue list\""},
	    {"[\"Status\"]", "no command"},
	    {"[\"statusx\"]", "no command"},
	    {"[\"status\",\"now\"]", "takes no arguments"},
	    {"[\"reload\",\"--all\"]", "takes no arguments"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct control_words w;
		struct why why = {0};
		struct span line = exact(table[i].line);
		assert_int_equal(control_words_parse(&w, line, &why), -1);
		if (!strstr(why.text, table[i].why))
			fail_msg("%s: %s", table[i].line, why.text);
		control_words_clear(&w);
		exact_free(line);
	}
}

/* Nested deeply, or with too many words: refused, not followed. */
static void test_large_lines(void **state)
{
	struct control_words w;
	struct why why = {0};
	struct buf line = {0};
	(void)state;
	for (int i = 0; i < 60000; i++)
		buf_add_byte(&line, '[');
	assert_int_equal(control_words_parse(&w, span_buf(&line), &why), -1);
	control_words_clear(&w);
	buf_clear(&line);
	buf_add_text(&line, "[\"why\"");
	for (int i = 0; i < CONTROL_WORDS_MAX; i++)
		buf_add_text(&line, ",\"\"");
	buf_add_text(&line, "]");
	assert_int_equal(control_words_parse(&w, span_buf(&line), &why), -1);
	control_words_clear(&w);
	buf_free(&line);
}

/* ---- selections ---- */

static void test_selections(void **state)
{
	static const struct {
		const char *words[4];
		const char *why; /* NULL: it is good */
		bool empty;
		size_t ids;
	} table[] = {
	    {{NULL}, NULL, true, 0},
	    {{"--all"}, NULL, false, 0},
	    {{"--domain", "a.test"}, NULL, false, 0},
	    {{"--sender", ""}, NULL, false, 0},
	    {{"--older", "2h"}, NULL, false, 0},
	    {{"--sender", "a@b", "--older", "1d"}, "needs a value", false, 0},
	    {{"0123456789abcdef"}, NULL, false, 1},
	    {{"0123456789abcdef", "FFFFFFFFFFFFFFFF", "0000000000000000"}, NULL, false, 3},
	    {{"--domain"}, "--domain needs a value", false, 0},
	    {{"--older", "soon"}, "duration", false, 0},
	    {{"--older", "-1h"}, "duration", false, 0},
	    {{"--older", "0s"}, "duration", false, 0},
	    {{"--oldest", "2h"}, "--oldest is not known", false, 0},
	    {{"a.test"}, "is not a queue id", false, 0},
	    {{""}, "is not a queue id", false, 0},
	    {{"0123456789abcdef", "--all"}, "not both", false, 0},
	    {{"--domain", "a.test", "0123456789abcdef"}, "not both", false, 0},
	    {{"--all", "--older", "2h"}, "--all", false, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct selection s;
		struct why why = {0};
		size_t argc = 0;
		while (argc < 3 && table[i].words[argc])
			argc++;
		int result = selection_parse(&s, table[i].words, argc, &why);
		assert_int_equal(result, table[i].why ? -1 : 0);
		if (table[i].why && !strstr(why.text, table[i].why))
			fail_msg("row %d: %s", (int)i, why.text);
		if (!table[i].why) {
			assert_int_equal(selection_is_empty(&s), table[i].empty);
			assert_int_equal(s.count, table[i].ids);
		}
		selection_clear(&s);
	}
}

/* A message from a@example.jp to two domains, one of them behind a smarthost. */
static const struct {
	struct selection s;
	bool fits;
} fits[] = {
    {{.all = true}, true},
    {{.domain = "one.test"}, true},
    {{.domain = "ONE.test"}, true},
    {{.domain = "two.test"}, true},
    {{.domain = "one.test."}, true},
    {{.domain = "one.test.."}, false},
    {{.domain = "u1@one.test"}, true},
    {{.domain = "u1@one.test."}, true},
    {{.domain = "u2@one.test"}, false},
    {{.domain = "smarthost:s"}, true},
    {{.domain = "three.test"}, false},
    {{.domain = "ne.test"}, false},
    {{.domain = "done.test"}, false}, /* that recipient has its result */
    {{.sender = "a@example.jp"}, true},
    {{.sender = "A@EXAMPLE.jp"}, true},
    {{.sender = "a@example.jp."}, true},
    {{.sender = "example.jp"}, true},
    {{.sender = "EXAMPLE.jp."}, true},
    {{.sender = "ample.jp"}, false},
    {{.sender = "jp"}, false},
    {{.sender = ""}, false},
    {{.sender = "<>"}, false},
    {{.sender = "."}, false},
    {{.older_ms = 3600000}, true},
    {{.older_ms = 3600001}, false},
    {{.domain = "one.test", .sender = "b@example.jp"}, false},
    {{.domain = "one.test", .sender = "a@example.jp", .older_ms = 1}, true},
};

static void test_fits(void **state)
{
	static char *recipients[] = {"u1@one.test", "u2@two.test", "u3@done.test"};
	static char sender[] = "a@example.jp";
	struct envelope e = {.sender = sender, .recipients = recipients, .recipient_count = 3};
	struct kit kit;
	(void)state;
	kit_init(&kit);
	struct message *m =
	    kit_add(&kit, 1, (const char *const[]){"one.test", "smarthost:s", "done.test", NULL});
	m->arrived_ms = NOW - 3600000;
	/* the third one is done */
	kit.took_ms = -1;
	kit_run(&kit, 0);
	for (struct batch *b = m->batches; b; b = b->next_of_message)
		if (batch_recipient(b, 0) == 2) {
			schedule_recipient_done(kit.schedule, b, 2);
			schedule_finish(kit.schedule, b, SCHEDULE_WORKED, 0);
			break;
		}
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
		if (selection_fits(&fits[i].s, m, &e, NOW) != fits[i].fits)
			fail_msg("row %d", (int)i);
		if (fits[i].fits)
			assert_true(selection_may_fit(&fits[i].s, m, NOW));
	}
	kit_clear(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good_lines),
	    cmocka_unit_test(test_bad_lines),
	    cmocka_unit_test(test_large_lines),
	    cmocka_unit_test(test_selections),
	    cmocka_unit_test(test_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
