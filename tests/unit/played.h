/* SPDX-License-Identifier: MIT
 * The queue's real parts (schedule, delivery, ways, verdicts by the real rules, paths)
 * where the dialogue, the disk and the DNS are played: in place of smtp/client.c,
 * queue/spool.c, relayd/intake.c and smtp/dns.c, which the linker then leaves in their
 * archives. For hundreds of thousands of messages; to be included once in a program.
 *
 * A message is its number and lies in PLAYED.mails; a provider is what played_says()
 * of the test answers. Sources are ip1 (127.0.0.11) and ip2 (127.0.0.12).
 */
#ifndef TESTS_UNIT_PLAYED_H
#define TESTS_UNIT_PLAYED_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#define FAKE_DNS
#include "tests/unit/fake_dns.h"

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/deliver.h"
#include "smtp/client.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define PLAYED_BEGAN (INT64_C(1795219200) * SECOND) /* 2026-11-21 00:00 UTC */

struct played_mail {
	char to[48];
	int64_t arrives_ms; /* all times since the beginning */
	int64_t done_ms;    /* -1: waits */
	unsigned attempts;  /* transactions */
	bool bounced;
	bool by_second;     /* ip2 delivered it */
};

static struct played {
	char folder[64];
	struct loop *loop;
	struct settings *settings;
	struct dns dns;
	struct paths *paths;
	struct deliver *deliver;
	struct stats stats;
	struct played_mail *mails; /* by arrival; number i has the id i + 1 */
	size_t mail_count;
	size_t arrived;
	struct timer arrival;
	int64_t latency_ms; /* of a transaction, and of a connection */
	size_t waiting;
	size_t reports;
	size_t notices;
	size_t opens; /* attempts that began */
	struct spool_wait *waits;
} played;

static int64_t played_now(void)
{
	return clock_steady_ms() - PLAYED_BEGAN;
}

/* The test's: what provider MX says to mail from SOURCE at STAGE (CONNECT, BANNER for
 * its greeting, or MAIL to END); NULL for yes, played_reset for a TCP reset. One that
 * begins with 421 ends the connection. MAIL is asked once a transaction. */
static const char *played_says(const char *mx, const char *source, enum client_stage stage);
static const char played_reset[] = "reset";

/* ---- smtp/client.h ---- */

struct client {
	struct loop *loop;
	const struct client_handler *handler;
	void *arg;
	const struct client_message *message;
	struct timer timer;
	char mx[256];
	char source[CONN_ADDRESS_TEXT];
	char address[CONN_ADDRESS_TEXT];
	unsigned transactions;
};

const char *client_stage_name(enum client_stage stage)
{
	static const char *const names[] = {
	    "connect", "banner", "ehlo", "tls", "auth", "mail", "rcpt", "data", "end"};
	return names[stage];
}

static void played_free(void *client)
{
	mem_free(client);
}

void client_close(struct client *c)
{
	timer_stop(&c->timer);
	loop_defer(c->loop, played_free, c);
}

/* TEXT is what came at STAGE, to all recipients, or to nobody yet. */
static void played_fail(struct client *c, enum client_stage stage, const char *text)
{
	struct why why = {0};
	struct reply reply = {0};
	struct client_result result = {.stage = stage};
	const struct client_handler *handler = c->handler;
	void *arg = c->arg;
	if (text == played_reset) {
		why_set(&why, WHY_TEMP, "connect to %s: Connection reset by peer", c->address);
		result.why = &why;
	} else {
		if (reply_take_line(&reply, span_text(text)) != 1)
			bug("a reply of the test that is none");
		result.reply = &reply;
	}
	client_close(c);
	handler->failed(arg, &result, false);
	reply_free(&reply);
}

static void played_connect(void *arg)
{
	struct client *c = arg;
	const char *text = played_says(c->mx, c->source, CLIENT_BANNER);
	if (text)
		played_fail(c, CLIENT_BANNER, text);
	else
		c->handler->ready(c->arg);
}

struct client *client_new(struct loop *loop, const struct client_options *options,
    const struct client_handler *handler, void *arg)
{
	struct client *c = mem_zero(sizeof(*c));
	c->loop = loop;
	c->handler = handler;
	c->arg = arg;
	snprintf(c->mx, sizeof(c->mx), "%s", options->name);
	conn_address_text(&options->to, c->address);
	conn_address_text(&options->from, c->source);
	timer_init(&c->timer, loop, played_connect, c);
	timer_start(&c->timer, played.latency_ms / 4);
	return c;
}

struct client_info client_info(const struct client *c)
{
	return (struct client_info){.pipelining = true, .eightbit = true, .tls_text = "",
	    .address = c->address, .name = c->mx, .transactions = c->transactions};
}

static struct played_mail *played_mail(uint64_t id)
{
	if (id == 0 || id > played.mail_count)
		bug("a message that nobody has sent");
	return &played.mails[id - 1];
}

static void played_note(const struct client *c, bool taken)
{
	/* the reader that the attempt gave us is the mail (spool_reader_open) */
	struct played_mail *m = c->message->arg;
	m->attempts++;
	m->by_second |= taken && strcmp(c->source, "127.0.0.12") == 0;
}

static void played_transact(void *arg)
{
	static const enum client_stage stages[] = {CLIENT_MAIL, CLIENT_RCPT, CLIENT_END};
	struct client *c = arg;
	struct reply reply = {0};
	struct client_result result = {.stage = CLIENT_END, .reply = &reply};
	const char *text = NULL;
	for (size_t i = 0; i < 3 && !text; i++) {
		result.stage = stages[i];
		text = played_says(c->mx, c->source, stages[i]);
	}
	played_note(c, !text);
	if (text && (text == played_reset || strncmp(text, "421", 3) == 0)) {
		played_fail(c, result.stage, text);
		return;
	}
	if (reply_take_line(&reply, span_text(text ? text : "250 2.0.0 taken")) != 1)
		bug("a reply of the test that is none");
	for (size_t i = 0; i < c->message->recipient_count; i++)
		c->handler->recipient(c->arg, i, &result);
	reply_free(&reply);
	c->handler->done(c->arg);
}

void client_send(struct client *c, const struct client_message *message)
{
	c->message = message;
	c->transactions++;
	timer_stop(&c->timer);
	timer_init(&c->timer, c->loop, played_transact, c);
	timer_start(&c->timer, played.latency_ms);
}

void client_set_handler(struct client *c, const struct client_handler *handler, void *arg)
{
	c->handler = handler;
	c->arg = arg;
}

bool client_is_committed(const struct client *c)
{
	(void)c;
	return false;
}

/* ---- queue/spool.h ---- */

static void played_envelope(const struct played_mail *m, struct envelope *e)
{
	*e = (struct envelope){.arrived_ms = PLAYED_BEGAN + m->arrives_ms,
	    .sender = mem_text("taro@example.jp"), .sender_was = mem_text(""),
	    .sender_reason = mem_text(""), .from_was = mem_text(""),
	    .domain = mem_text("example.jp"), .client = mem_text("test"), .user = mem_text(""),
	    .message_id = mem_text(""), .recipients = mem_array(1, sizeof(char *)),
	    .recipient_count = 1};
	e->recipients[0] = mem_text(m->to);
}

int spool_read_envelope(struct spool *spool, uint64_t id, struct spool_place place,
    struct envelope *e, struct why *why)
{
	(void)spool;
	(void)place;
	(void)why;
	played_envelope(played_mail(id), e);
	return 0;
}

struct spool_reader *spool_reader_open(struct spool *spool, uint64_t id, struct spool_place place,
    struct why *why)
{
	(void)spool;
	(void)place;
	(void)why;
	played.opens++;
	return (struct spool_reader *)(void *)played_mail(id);
}

uint64_t spool_reader_size(const struct spool_reader *r)
{
	(void)r;
	return 4;
}

ssize_t spool_reader_read(void *reader, uint64_t offset, char *to, size_t n)
{
	(void)reader;
	if (n > 4 - offset)
		n = (size_t)(4 - offset);
	memcpy(to, &"\r\n\r\n"[offset], n);
	return (ssize_t)n;
}

bool spool_reader_damaged(const struct spool_reader *r)
{
	(void)r;
	return false;
}

void spool_reader_close(struct spool_reader *r)
{
	(void)r;
}

void spool_note_result(struct spool *spool, uint64_t id, uint32_t recipient,
    enum spool_outcome outcome)
{
	struct played_mail *m = played_mail(id);
	(void)spool;
	assert_int_equal(recipient, 0);
	assert_int_equal(m->done_ms, -1);
	m->done_ms = played_now();
	m->bounced = outcome != SPOOL_DELIVERED;
	played.waiting--;
}

void spool_note_state(struct spool *spool, uint64_t id, const struct spool_state *state)
{
	(void)spool;
	(void)id;
	(void)state;
}

void spool_note_end(struct spool *spool, uint64_t id, struct spool_place place)
{
	(void)spool;
	(void)id;
	(void)place;
}

static void played_written(void *arg)
{
	(void)arg;
	while (played.waits) {
		struct spool_wait *wait = played.waits;
		spool_await_cancel(wait);
		wait->fn(wait->arg);
	}
}

void spool_await_notes(struct spool *spool, struct spool_wait *wait, void (*fn)(void *arg),
    void *arg)
{
	(void)spool;
	*wait = (struct spool_wait){.fn = fn, .arg = arg, .task = (struct note_task *)(void *)wait};
	DL_APPEND(played.waits, wait);
	loop_defer(played.loop, played_written, NULL);
}

void spool_await_cancel(struct spool_wait *wait)
{
	if (wait->task)
		DL_DELETE(played.waits, wait);
	wait->task = NULL;
}

/* ---- relayd/intake.h: reports and notices end here ---- */

struct played_submit {
	intake_done *done;
	void *arg;
};

static void played_submitted(void *arg)
{
	struct played_submit *s = arg;
	struct reply reply = {0};
	reply_set(&reply, 250, "2.0.0", "taken");
	s->done(s->arg, &reply, 1);
	reply_free(&reply);
	mem_free(s);
}

void intake_submit(struct intake *intake, struct envelope *e, struct span message,
    intake_done *done, void *arg)
{
	struct played_submit *s = mem_zero(sizeof(*s));
	(void)intake;
	(void)message;
	if (strcmp(e->client, "report") == 0)
		played.reports++;
	else
		played.notices++;
	envelope_free(e);
	*e = (struct envelope){0};
	*s = (struct played_submit){done, arg};
	loop_defer(played.loop, played_submitted, s);
}

/* ---- the whole ---- */

static void played_arrive(void *arg)
{
	struct spool_place place = {1, 64};
	struct envelope e;
	(void)arg;
	for (; played.arrived < played.mail_count; played.arrived++) {
		struct played_mail *m = &played.mails[played.arrived];
		if (m->arrives_ms > played_now()) {
			timer_start(&played.arrival, m->arrives_ms - played_now());
			return;
		}
		uint64_t id = played.arrived + 1;
		m->done_ms = -1;
		played.waiting++;
		played_envelope(m, &e);
		deliver_add(played.deliver, id, place, &e, 1000, NULL, NULL);
		envelope_free(&e);
	}
}

static void played_write_conf(const char *name, const char *via)
{
	FILE *f = fopen(name, "w");
	assert_non_null(f);
	fprintf(f,
	    "hostname = \"relay.example.jp\";\nuser = \"\";\nlisten = ();\n"
	    "domains = ( { name = \"example.jp\"; } );\n"
	    "sources = ( { name = \"ip1\"; ipv4 = \"127.0.0.11\"; },\n"
	    "            { name = \"ip2\"; ipv4 = \"127.0.0.12\"; } );\n"
	    "routes = ( { match = \"*\"; via = [ %s ]; } );\n"
	    "spool = \"%s\";\ndelivery = { allow_private = true; starttls = false; };\n"
	    "queue = { delay_notice = \"0s\"; };\n"
	    "notify = { mail = \"root@admin.test\"; };\n",
	    via, played.folder);
	fclose(f);
}

/* HOSTS end with a domain NULL. MAILS (with to and arrives_ms, sorted by that) are
 * the test's; they arrive as time goes on. */
static void played_open(const char *via, const struct fake_host *hosts,
    struct played_mail *mails, size_t count)
{
	char name[128];
	struct conf_errors errors = {0};
	struct why why = {0};
	bool memory = access("/dev/shm", W_OK) == 0;
	played = (struct played){.mails = mails, .mail_count = count, .latency_ms = 300};
	clock_fake(PLAYED_BEGAN);
	random_fix(7);
	log_open(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	snprintf(played.folder, sizeof(played.folder), "%s/relayd-played-XXXXXX",
	    memory ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(played.folder));
	snprintf(name, sizeof(name), "%s/relayd.conf", played.folder);
	played_write_conf(name, via);
	setenv("RELAYD_REPLIES", "conf/replies.conf", 1);
	played.settings = settings_load(name, &errors);
	if (!played.settings)
		fail_msg("%s", buf_text(&errors.text));
	buf_free(&errors.text);
	played.loop = loop_new();
	played.dns = (struct dns){.loop = played.loop, .hosts = hosts};
	while (hosts[played.dns.count].domain)
		played.dns.count++;
	played.paths = paths_new(played.loop, NULL, NULL, played.settings, &why);
	if (!played.paths)
		fail_msg("%s", why.text);
	struct deliver_options out = {.loop = played.loop, .dns = &played.dns,
	    .stats = &played.stats, .paths = played.paths};
	played.deliver = deliver_new(&out, played.settings);
	timer_init(&played.arrival, played.loop, played_arrive, NULL);
	timer_start(&played.arrival, 0);
}

static int played_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void played_close(void)
{
	timer_stop(&played.arrival);
	deliver_free(played.deliver);
	paths_free(played.paths);
	settings_unref(played.settings);
	loop_free(played.loop);
	nftw(played.folder, played_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static void played_alarm(void *arg)
{
	*(bool *)arg = true;
}

/* Until that time since the beginning. */
static void played_until(int64_t ms)
{
	struct timer alarm;
	bool over = false;
	timer_init(&alarm, played.loop, played_alarm, &over);
	timer_start(&alarm, ms - played_now());
	while (!over)
		loop_turn(played.loop, true);
}

#endif
