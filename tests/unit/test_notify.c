/* SPDX-License-Identifier: MIT
 * Telling of an incident: what has been done is not done again while the rest is tried.
 * Helper and intake are played, in place of relayd/helper.c and relayd/intake.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/paths.h"

#define MINUTE INT64_C(60000)
#define BEGAN INT64_C(1795219200000)

static struct {
	struct loop *loop;
	bool busy;         /* the helper takes no command */
	unsigned code;     /* intake's answer */
	unsigned first;    /* times that the command was asked for, for incident 1 */
	unsigned commands; /* that were run */
	unsigned mails;    /* that were submitted */
} played;

/* ---- relayd/helper.h ---- */

void helper_watch(struct helper *helper, struct loop *loop,
    void (*fn)(void *arg, enum helper_event event, unsigned number, int value), void *arg)
{
	(void)helper;
	(void)loop;
	(void)fn;
	(void)arg;
}

void helper_unwatch(struct helper *helper)
{
	(void)helper;
}

const char *helper_command(const struct helper *helper)
{
	(void)helper;
	return "/etc/relayd/on-incident";
}

enum helper_answer helper_run(struct helper *helper, unsigned number, struct span input)
{
	(void)helper;
	played.first += number == 1;
	assert_true(input.n > 0);
	if (played.busy)
		return HELPER_BUSY;
	played.commands++;
	return HELPER_TAKEN;
}

/* ---- relayd/intake.h ---- */

struct submitted {
	intake_done *done;
	void *arg;
};

static void answer(void *arg)
{
	struct submitted *s = arg;
	struct reply reply = {0};
	reply_set(&reply, played.code, NULL, "played");
	s->done(s->arg, &reply, 1);
	reply_free(&reply);
	mem_free(s);
}

void intake_submit(struct intake *intake, struct envelope *e, struct span message,
    intake_done *done, void *arg)
{
	struct submitted *s = mem_zero(sizeof(*s));
	(void)intake;
	(void)message;
	played.mails++;
	envelope_free(e);
	*s = (struct submitted){done, arg};
	loop_defer(played.loop, answer, s);
}

/* ---- the paths around it ---- */

static char folder[64];
static struct settings *settings;
static struct paths *paths;

static int begin(void **state)
{
	(void)state;
	char name[128];
	struct conf_errors errors = {0};
	struct why why = {0};
	clock_fake(BEGAN);
	log_open(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	snprintf(folder, sizeof(folder), "/tmp/relayd-notify-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(name, sizeof(name), "%s/relayd.conf", folder);
	FILE *f = fopen(name, "w");
	assert_non_null(f);
	fprintf(f, "hostname = \"relay.example.jp\";\nuser = \"\";\nlisten = ();\n"
	    "domains = ( { name = \"example.jp\"; } );\nspool = \"%s\";\n"
	    "notify = { mail = \"root@admin.test\"; };\n", folder);
	fclose(f);
	setenv("RELAYD_REPLIES", "conf/replies.conf", 1);
	settings = settings_load(name, &errors);
	if (!settings)
		fail_msg("%s", buf_text(&errors.text));
	memset(&played, 0, sizeof(played));
	played.loop = loop_new();
	paths = paths_new(played.loop, NULL, NULL, settings, &why);
	if (!paths)
		fail_msg("%s", why.text);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int end(void **state)
{
	(void)state;
	paths_free(paths);
	settings_unref(settings);
	loop_free(played.loop);
	return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void ring(void *arg)
{
	*(bool *)arg = true;
}

static void let_pass(int64_t ms)
{
	struct timer alarm;
	bool over = false;
	timer_init(&alarm, played.loop, ring, &over);
	timer_start(&alarm, ms);
	while (!over)
		loop_turn(played.loop, true);
}

static void open_incident(void)
{
	struct incident_cause cause = {.source = "login:web1", .provider = "",
	    .klass = VERDICT_RATE_LIMITED, .rule = "brake-rate", .help = "", .text = "too many"};
	assert_int_equal(incident_open(paths_reputation(paths), &cause, clock_steady_ms()), 1);
}

static bool is_noticed(void)
{
	const struct incident *i = incident_find(paths_reputation(paths), 1);
	assert_non_null(i);
	return i->noticed;
}

static void test_the_command_runs_once_while_the_mail_waits(void **state)
{
	(void)state;
	played.code = 452;
	open_incident();
	let_pass(5 * MINUTE + 1);
	assert_int_equal(played.mails, 6);
	assert_int_equal(played.commands, 1);
	assert_false(is_noticed());
	played.code = 250;
	let_pass(2 * MINUTE);
	assert_int_equal(played.mails, 7);
	assert_int_equal(played.commands, 1);
	assert_true(is_noticed());
}

static void test_no_mail_goes_before_the_command_has_run(void **state)
{
	(void)state;
	played.code = 250;
	played.busy = true;
	open_incident();
	let_pass(2 * MINUTE);
	assert_int_equal(played.mails, 0);
	assert_false(is_noticed());
	played.busy = false;
	let_pass(MINUTE + 1);
	assert_int_equal(played.mails, 1);
	assert_int_equal(played.commands, 1);
	assert_true(is_noticed());
}

/* Others that fail meanwhile do not put it off. */
static void test_it_is_tried_again_whatever_fails_behind_it(void **state)
{
	(void)state;
	char who[16];
	struct incident_cause cause = {.source = who,
	    .provider = "",
	    .klass = VERDICT_RATE_LIMITED,
	    .rule = "brake-rate",
	    .help = "",
	    .text = "too many"};
	played.busy = true;
	open_incident();
	for (unsigned n = 2; n <= 11; n++) {
		let_pass(MINUTE / 2);
		snprintf(who, sizeof(who), "login:web%u", n);
		incident_open(paths_reputation(paths), &cause, clock_steady_ms());
	}
	let_pass(1);
	assert_int_equal(played.first, 6); /* at once, and each minute since */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_the_command_runs_once_while_the_mail_waits, begin, end),
	    cmocka_unit_test_setup_teardown(
		test_no_mail_goes_before_the_command_has_run, begin, end),
	    cmocka_unit_test_setup_teardown(
		test_it_is_tried_again_whatever_fails_behind_it, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
