/* SPDX-License-Identifier: MIT
 * Replies that no rule knew: which ones are of one kind, how they are counted and
 * kept, and that neither a hostile receiver nor a restart upsets the table.
 */
#include "tests/unit/reputation_kit.h"

#include <stdio.h>
#include <string.h>

#include "queue/unknown.h"

static const struct verdict guess = {.klass = VERDICT_POLICY, .scope = VERDICT_SCOPE_MESSAGE,
    .action = VERDICT_BOUNCE, .rule = "structure", .provider = "", .help = ""};

static const struct {
	const char *reply;
	const char *kind;
} kinds[] = {
    {"550 5.7.1 No thanks", "550 5.7.1 No thanks"},
    {"550 5.7.1 [192.0.2.17] is not welcome", "550 5.7.1 [#.#.#.#] is not welcome"},
    {"451 try in 300 seconds", "451 try in # seconds"},
    {"550 <user.name@example.com>: no", "550 <address> no"},
    {"554 id 3f1e8si1234567pjk: no", "554 id <id> no"},
    {"550 see https://a.example.com/e/5/x", "550 see https://a.example.com/e/#/x"},
    {"550 one\r\n550 two  three", "550 one # two three"},
    {"550 \x1b[2J \xff", "550 \\x1b[#J \\xff"},
    {"550", "550"},
    {"550/5.7.1 no", "#/#.#.# no"},
    {"5507 55 no", "5507 # no"},
    {"550 5.7.1 5.7.1 no", "550 5.7.1 #.#.# no"},
    {"550-5.7.1-55555 no", "#-#.#.#-# no"},
    {"550 2001:db8:0:0:1::7 no", "550 <id> no"},
    {"550 aaaaaaaaaaaaaa no", "550 aaaaaaaaaaaaaa no"},
    {"\t550\r\n", "550"},
    {"", ""},
    {"   ", ""},
};

static void test_kinds(void **state)
{
	struct buf out = {0};
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		buf_clear(&out);
		unknown_mask(&out, span_text(kinds[i].reply));
		assert_string_equal(buf_text(&out), kinds[i].kind);
	}
	buf_free(&out);
}

/* Whatever its length, and if it is one word. */
static void test_long_ones(void **state)
{
	struct buf long_one = {0};
	struct buf out = {0};
	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_add_text(&long_one, i % 2 ? "x" : "\x01");
	unknown_mask(&out, span_buf(&long_one));
	assert_in_range(out.len, 240, 4 * 240 + 3);
	assert_null(memchr(out.data, '\x01', out.len));
	buf_clear(&long_one);
	buf_clear(&out);
	for (int i = 0; i < 300; i++)
		buf_addf(&long_one, "%c ", 'a' + i % 26);
	unknown_mask(&out, span_buf(&long_one));
	assert_int_equal(out.len, 240 + 3);
	assert_string_equal(out.data + 240, "...");
	buf_free(&long_one);
	buf_free(&out);
}

static void see(struct paths *kit, const char *reply, int64_t now)
{
	reputation_unknown(kit->r, "google", VERDICT_STAGE_RCPT, span_text(reply), &guess, now);
}

static void last(void *arg, const struct unknown *u)
{
	*(const struct unknown **)arg = u;
}

static void count(void *arg, const struct unknown *u)
{
	(void)u;
	++*(unsigned *)arg;
}

static void test_counted_and_kept(void **state)
{
	struct paths kit;
	const struct unknown *u = NULL;
	unsigned n = 0;
	(void)state;
	paths_open(&kit);
	for (int i = 0; i < 4; i++)
		see(&kit, i % 2 ? "550 5.7.1 wait 7 s" : "550 5.7.1 wait 19 s", T0 + i);
	reputation_unknown(kit.r, "google", VERDICT_STAGE_END, span_text("550 5.7.1 wait 7 s"),
	    &guess, T0);
	see(&kit, "550 5.7.1 wait 8 s", T0 + 9);
	paths_restart(&kit);
	reputation_each_unknown(kit.r, last, &u);
	reputation_each_unknown(kit.r, count, &n);
	assert_int_equal(n, 2);
	assert_string_equal(u->text, "550 5.7.1 wait # s");
	assert_string_equal(u->provider, "google");
	assert_int_equal(u->stage, VERDICT_STAGE_RCPT);
	assert_int_equal(u->klass, VERDICT_POLICY);
	assert_int_equal(u->scope, VERDICT_SCOPE_MESSAGE);
	assert_int_equal(u->action, VERDICT_BOUNCE);
	assert_int_equal(u->count, 5);
	assert_int_equal(u->first_ms, T0);
	assert_int_equal(u->last_ms, T0 + 9);
	/* a crash may cost the last few of many */
	paths_close(&kit);
	paths_open(&kit);
	for (int i = 0; i < 5; i++)
		see(&kit, "550 no", T0 + i);
	paths_crash(&kit);
	reputation_each_unknown(kit.r, last, &u);
	assert_int_equal(u->count, 4);
	paths_close(&kit);
}

static void test_bounded(void **state)
{
	struct paths kit;
	char reply[40];
	const struct unknown *u = NULL;
	unsigned n = 0;
	(void)state;
	paths_open(&kit);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(reply, sizeof(reply), "550 %c%c%c", 'a' + i / 400, 'a' + i / 20 % 20,
		    'a' + i % 20);
		see(&kit, reply, T0 + i);
		see(&kit, "550 always", T0 + i);
	}
	reputation_each_unknown(kit.r, count, &n);
	assert_int_equal(n, UNKNOWN_MAX);
	reputation_each_unknown(kit.r, last, &u);
	assert_int_equal(u->count, 2000);
	paths_close(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kinds),
	    cmocka_unit_test(test_long_ones),
	    cmocka_unit_test(test_counted_and_kept),
	    cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
