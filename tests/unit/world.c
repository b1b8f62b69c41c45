/* SPDX-License-Identifier: MIT
 * The world of world.h.
 */
#include "tests/unit/world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dkim/sign.h"
#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define BEGAN (INT64_C(1795219200) * 1000) /* 2026-11-21 00:00 UTC */
#define PATIENCE 40                        /* turns without a jump while a dialogue goes on */
#define TOLD_MS 10000

/* ---- the configuration ---- */

static void write_file(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(name, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(name, mode), 0);
}

static void write_command(struct world *w)
{
	char name[128];
	struct buf text = {0};
	snprintf(name, sizeof(name), "%s/told", w->folder);
	assert_int_equal(mkfifo(name, 0600), 0);
	w->told = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(w->told >= 0);
	buf_addf(&text, "#!/bin/sh\nexec cat 1<>%s\n", name);
	snprintf(name, sizeof(name), "%s/on-incident", w->folder);
	write_file(name, buf_text(&text), 0700);
	buf_free(&text);
}

static void write_conf(struct world *w, const char *via, const char *more)
{
	char name[128];
	struct buf text = {0};
	buf_addf(&text,
	    "hostname = \"relay.example.jp\";\nuser = \"\";\n"
	    "listen = ();\n"
	    "domains = ( { name = \"example.jp\"; return_path = \"bounce@example.jp\"; } );\n"
	    "sources = ( { name = \"ip1\"; ipv4 = \"" WORLD_IP1 "\"; },\n"
	    "            { name = \"ip2\"; ipv4 = \"" WORLD_IP2 "\"; } );\n"
	    "smarthosts = ( { name = \"smart\"; host = \"127.0.1.2\"; port = %u; tls = \"none\"; } );\n"
	    "routes = ( { match = \"*\"; via = [ %s ]; } );\n",
	    w->port, via);
	buf_addf(&text,
	    "spool = { path = \"%s/spool\"; segment_size = \"1M\"; big_message = \"256K\";\n"
	    "          free_space = \"0\"; };\n"
	    "delivery = { port = %u; allow_private = true; starttls = false; };\n"
	    "notify = { mail = \"root@admin.test\"; command = \"%s/on-incident\"; };\n%s",
	    w->folder, w->port, w->folder, more);
	snprintf(name, sizeof(name), "%s/relayd.conf", w->folder);
	write_file(name, buf_text(&text), 0600);
	buf_free(&text);
}

static void load_settings(struct world *w)
{
	char name[128];
	struct conf_errors errors = {0};
	setenv("RELAYD_REPLIES", "conf/replies.conf", 1);
	snprintf(name, sizeof(name), "%s/relayd.conf", w->folder);
	w->settings = settings_load(name, &errors);
	if (!w->settings)
		fail_msg("%s", buf_text(&errors.text));
	buf_free(&errors.text);
}

/* ---- the daemon's parts ---- */

static void enter_queue(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t size, const struct spool_state *state)
{
	struct world *w = arg;
	deliver_add(w->deliver, id, place, envelope, size, state, NULL);
}

static void recovered(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t size, const struct spool_state *state,
    const unsigned char *done)
{
	struct world *w = arg;
	deliver_add(w->deliver, id, place, envelope, size, state, done);
}

static size_t queued(void *arg)
{
	struct world *w = arg;
	return schedule_stats(deliver_schedule(w->deliver)).messages;
}

static bool live(void *arg, uint64_t id, struct spool_live *now, struct buf *done)
{
	struct world *w = arg;
	return deliver_is_live(w->deliver, id, now, done);
}

static void moved(void *arg, uint64_t id, struct spool_place place)
{
	struct world *w = arg;
	deliver_moved(w->deliver, id, place);
}

static void *signer_begin(void *arg)
{
	(void)arg;
	return dkim_signer_new();
}

static void signer_end(void *signer)
{
	dkim_signer_free(signer);
}

/* While there is no thread. */
static void start_helper(struct world *w)
{
	struct why why = {0};
	struct helper_start begin = {.command = w->settings->conf->notify.command, .user = ""};
	w->helper = helper_fork(&why);
	if (!w->helper || helper_begin(w->helper, &begin, &why) < 0)
		fail_msg("%s", why.text);
}

static void start(struct world *w)
{
	struct why why = {0};
	struct spool_reports reports = {.live = live, .moved = moved, .arg = w};
	struct pool_options signers = {
	    .name = "sign", .threads = 1, .begin = signer_begin, .end = signer_end};
	w->spool = spool_open(w->loop, &w->settings->conf->spool, &reports, &why);
	if (!w->spool)
		fail_msg("%s", why.text);
	w->signers = pool_new(w->loop, &signers);
	struct intake_options in = {.loop = w->loop, .spool = w->spool, .signers = w->signers,
	    .stats = &w->stats, .enter = enter_queue, .queued = queued, .arg = w};
	w->intake = intake_new(&in, w->settings);
	w->paths = paths_new(w->loop, w->intake, w->helper, w->settings, &why);
	if (!w->paths)
		fail_msg("%s", why.text);
	struct deliver_options out = {.loop = w->loop, .spool = w->spool, .dns = &w->dns,
	    .intake = w->intake, .stats = &w->stats, .paths = w->paths};
	w->deliver = deliver_new(&out, w->settings);
	if (spool_recover(w->spool, recovered, w, &why) < 0)
		fail_msg("%s", why.text);
}

static void stop(struct world *w)
{
	deliver_free(w->deliver);
	paths_free(w->paths);
	pool_free(w->signers);
	spool_close(w->spool);
	intake_free(w->intake);
}

void world_restart(struct world *w)
{
	stop(w);
	start(w);
}

/* ---- life ---- */

static void open_sites(struct world *w, const struct world_site *sites)
{
	w->hosts[0] = (struct fake_host){"admin.test", "mx.admin.test", "127.0.1.1"};
	site_open(&w->admin, w->loop, "127.0.1.1", w->port, NULL);
	site_open(&w->smart, w->loop, "127.0.1.2", w->port, NULL);
	w->dns = (struct dns){.loop = w->loop, .hosts = w->hosts, .count = 1};
	for (size_t i = 0; sites[i].domain; i++) {
		assert_true(i + 1 < WORLD_SITES);
		snprintf(w->addresses[i], sizeof(w->addresses[i]), "127.0.2.%u", (unsigned)i + 1);
		w->hosts[w->dns.count++] =
		    (struct fake_host){sites[i].domain, sites[i].mx, w->addresses[i]};
		site_open(&w->sites[i], w->loop, w->addresses[i], w->port, sites[i].script);
		w->sites[i].arg = w;
		w->site_count++;
	}
}

void world_open(struct world *w, const struct world_site *sites, const char *via,
    const char *more)
{
	bool memory = access("/dev/shm", W_OK) == 0;
	*w = (struct world){.began_ms = BEGAN};
	clock_fake(BEGAN);
	random_fix(7);
	log_open(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	snprintf(w->folder, sizeof(w->folder), "%s/relayd-world-XXXXXX",
	    memory ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(w->folder));
	w->port = site_free_port();
	write_command(w);
	write_conf(w, via, more);
	load_settings(w);
	start_helper(w);
	w->loop = loop_new();
	open_sites(w, sites);
	start(w);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void world_close(struct world *w)
{
	stop(w);
	helper_free(w->helper);
	settings_unref(w->settings);
	for (size_t i = 0; i < w->site_count; i++)
		site_close(&w->sites[i]);
	site_close(&w->admin);
	site_close(&w->smart);
	loop_free(w->loop);
	close(w->told);
	nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- time ---- */

int64_t world_now(const struct world *w)
{
	return clock_steady_ms() - w->began_ms;
}

static size_t activity(const struct world *w)
{
	size_t n = w->admin.activity + w->smart.activity + deliver_running(w->deliver);
	for (size_t i = 0; i < w->site_count; i++)
		n += w->sites[i].activity;
	return n;
}

/* Does the relay wait for somebody who is about to answer? */
static bool is_talking(const struct world *w)
{
	size_t silent = w->admin.silent + w->smart.silent;
	for (size_t i = 0; i < w->site_count; i++)
		silent += w->sites[i].silent;
	return deliver_running(w->deliver) > 0 && w->dns.open == 0 && silent == 0;
}

/* The clock jumps only when no dialogue is going on: a busy kernel may deliver bytes
 * late, and that is no reason for a time-out. */
static void turn(struct world *w)
{
	size_t before = activity(w);
	for (int i = 0; i < PATIENCE && is_talking(w); i++) {
		loop_turn(w->loop, false);
		if (activity(w) != before)
			return;
		if (i > 8)
			poll(NULL, 0, 1);
	}
	loop_turn(w->loop, true);
}

static void on_alarm(void *arg)
{
	*(bool *)arg = true;
}

static bool never(struct world *w)
{
	(void)w;
	return false;
}

static bool run_until(struct world *w, bool (*condition)(struct world *w), int64_t ms)
{
	struct timer alarm;
	bool over = false;
	timer_init(&alarm, w->loop, on_alarm, &over);
	timer_start(&alarm, ms);
	while (!over && !condition(w))
		turn(w);
	timer_stop(&alarm);
	return !over;
}

void world_run(struct world *w, int64_t ms)
{
	run_until(w, never, ms);
}

void world_until(struct world *w, bool (*condition)(struct world *w), int64_t ms)
{
	if (!run_until(w, condition, ms))
		fail_msg("not reached within %d s", (int)(ms / 1000));
}

bool world_is_empty(struct world *w)
{
	return queued(w) == 0;
}

/* ---- mail ---- */

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct world *w = arg;
	(void)id;
	assert_int_equal(reply->code, 250);
	w->accepted++;
}

void world_send_to(struct world *w, const char *sender, const char *const *recipients)
{
	static const char text[] =
	    "From: taro@example.jp\r\nSubject: hello\r\n\r\nThe text.\r\n";
	struct envelope e = {.sender = mem_text(sender), .client = mem_text("test"),
	    .user = mem_text("")};
	while (recipients[e.recipient_count])
		e.recipient_count++;
	e.recipients = mem_array(e.recipient_count, sizeof(*e.recipients));
	for (size_t i = 0; i < e.recipient_count; i++)
		e.recipients[i] = mem_text(recipients[i]);
	size_t wanted = w->accepted + 1;
	intake_submit(w->intake, &e, span_text(text), submitted, w);
	while (w->accepted < wanted)
		turn(w);
}

void world_send(struct world *w, const char *recipient)
{
	world_send_to(w, "taro@example.jp", (const char *const[]){recipient, NULL});
}

/* ---- looking ---- */

struct wanted {
	const char *source;
	const char *provider;
	enum path_state state;
};

static void compare(void *arg, const struct path_view *view)
{
	struct wanted *wanted = arg;
	if (strcmp(view->source, wanted->source) == 0 &&
	    strcmp(view->provider, wanted->provider) == 0)
		wanted->state = view->state;
}

enum path_state world_state(struct world *w, const char *source, const char *provider)
{
	struct wanted wanted = {source, provider, PATH_OPEN};
	reputation_each(paths_reputation(w->paths), clock_steady_ms(), compare, &wanted);
	return wanted.state;
}

void world_told(struct world *w, struct buf *text)
{
	struct pollfd fd = {.fd = w->told, .events = POLLIN};
	buf_clear(text);
	while (!text->len || text->data[text->len - 1] != '\n') {
		if (poll(&fd, 1, TOLD_MS) <= 0)
			fail_msg("notify.command was not run");
		ssize_t n = read(w->told, buf_room(text, 4096), 4096);
		assert_true(n > 0);
		text->len += (size_t)n;
	}
}
