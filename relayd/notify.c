/* SPDX-License-Identifier: MIT */
#include "relayd/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/explain.h"
#include "smtp/header.h"

#define COMMANDS_MAX 8
#define COMMAND_MS 60000 /* then it is killed */
#define LOOK_MS 200
#define TEXT_MAX 2000    /* of any one text */

struct program {
	pid_t pid; /* 0: free */
	int64_t until_ms;
};

struct notify {
	struct notify_options options;
	struct program commands[COMMANDS_MAX];
	struct timer timer; /* runs while a command does */
};

static void look(void *arg);

struct notify *notify_new(const struct notify_options *options)
{
	struct notify *n = mem_zero(sizeof(*n));
	n->options = *options;
	timer_init(&n->timer, options->loop, look, n);
	return n;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	timer_stop(&n->timer);
	mem_free(n);
}

/* ---- as JSON ---- */

static json_t *json_text(const char *text)
{
	struct buf safe = {0};
	text_escape(&safe, span_text(text), TEXT_MAX);
	json_t *value = json_string(buf_text(&safe));
	buf_free(&safe);
	return value;
}

/* One that no provider made (a sender of ours was stopped) brings its own advice. */
static const char *advice(const struct incident *i)
{
	return i->provider[0] ? explain_remedy(i->klass) : i->help;
}

static json_t *replies_json(const struct incident *i)
{
	json_t *list = json_array();
	for (size_t n = 0; n < i->reply_count; n++)
		json_array_append_new(list,
		    json_pack("{s:I,s:o,s:s}", "when_ms", (json_int_t)i->replies[n].when_ms,
			"domain", json_text(i->replies[n].domain), "text", i->replies[n].text));
	return list;
}

json_t *notify_json(const struct incident *i)
{
	return json_pack("{s:I,s:b,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:o}",
	    "number", (json_int_t)i->number, "open", (int)i->open, "source", json_text(i->source),
	    "provider", json_text(i->provider), "class", verdict_class_name(i->klass),
	    "sender_domain", json_text(i->sender_domain), "rule", json_text(i->rule),
	    "help", json_text(i->help), "do", json_text(advice(i)), "family",
	    i->family ? "ipv6" : "", "first_ms", (json_int_t)i->first_ms, "last_ms",
	    (json_int_t)i->last_ms, "next_probe_ms", (json_int_t)i->next_probe_ms, "met",
	    (json_int_t)i->met, "rerouted", (json_int_t)i->rerouted, "replies", replies_json(i));
}

/* ---- the command ---- */

/* A file in memory: no reader can make us wait, whatever it does. -1: errno. */
static int open_input(const struct incident *i)
{
	json_t *json = notify_json(i);
	char *text = json_dumps(json, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;
	int fd = memfd_create("incident", MFD_CLOEXEC);
	json_decref(json);
	if (fd >= 0 && (!text || write(fd, text, n) != (ssize_t)n || write(fd, "\n", 1) != 1 ||
			   lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		fd = -1;
	}
	free(text);
	return fd;
}

/* Nothing of ours goes over: neither descriptors nor how we take signals. 0: it
 * runs; else the error. */
static int spawn(const char *program, int input, pid_t *pid)
{
	extern char **environ;
	char *argv[] = {(char *)(uintptr_t)program, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t all;
	sigset_t none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes,
	    POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	int error = posix_spawn_file_actions_adddup2(&files, input, 0);
	if (!error)
		error = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(&files, 1, 2);
	if (!error)
		error = posix_spawn_file_actions_addclosefrom_np(&files, 3);
	if (!error)
		error = posix_spawn(pid, program, &files, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return error;
}

/* True: it runs, or can not ever run (which the log says). */
static bool run_command(struct notify *n, const char *program, const struct incident *i)
{
	struct program *free_one = NULL;
	for (size_t k = 0; k < COMMANDS_MAX; k++)
		if (!n->commands[k].pid)
			free_one = &n->commands[k];
	if (!free_one)
		return false;
	int input = open_input(i);
	int error = input < 0 ? errno : spawn(program, input, &free_one->pid);
	if (input >= 0)
		close(input);
	if (error) {
		free_one->pid = 0;
		log_text(LOG_LEVEL_ERROR, "notify.command %s could not be run for incident %u: %s",
		    program, i->number, strerror(error));
		return true;
	}
	free_one->until_ms = clock_mono_ms() + COMMAND_MS;
	timer_start(&n->timer, LOOK_MS);
	return true;
}

static void ended(const struct program *c, int status)
{
	if (WIFSIGNALED(status))
		log_text(LOG_LEVEL_WARN, "notify.command (process %d) was ended by signal %d",
		    (int)c->pid, WTERMSIG(status));
	else if (WEXITSTATUS(status))
		log_text(LOG_LEVEL_WARN, "notify.command (process %d) ended with status %d",
		    (int)c->pid, WEXITSTATUS(status));
}

static void look(void *arg)
{
	struct notify *n = arg;
	bool any = false;
	for (size_t k = 0; k < COMMANDS_MAX; k++) {
		struct program *c = &n->commands[k];
		int status = 0;
		if (!c->pid)
			continue;
		pid_t gone = waitpid(c->pid, &status, WNOHANG);
		if (gone != 0) {
			if (gone > 0)
				ended(c, status);
			c->pid = 0;
			continue;
		}
		any = true;
		if (clock_mono_ms() >= c->until_ms)
			kill(-c->pid, SIGKILL); /* it leads a session: its children too */
	}
	if (any)
		timer_start(&n->timer, LOOK_MS);
}

/* ---- the mail ---- */

struct mail {
	struct notify *notify;
	unsigned number;
};

static void submitted(void *arg, const struct reply *reply, uint64_t id)
{
	struct mail *mail = arg;
	struct notify_options *options = &mail->notify->options;
	(void)id;
	if (reply->code != 250) {
		struct buf text = {0};
		reply_summary(reply, &text, 200);
		log_text(LOG_LEVEL_WARN, "the mail about incident %u could not be queued: %s",
		    mail->number, buf_text(&text));
		buf_free(&text);
	}
	options->told(options->arg, mail->number, reply->code == 250);
	mem_free(mail);
}

static void add_field(struct buf *out, const char *name, const char *value)
{
	struct buf safe = {0};
	text_escape(&safe, span_text(value), 500);
	if (safe.len)
		buf_addf(out, "%s: %s\r\n", name, buf_text(&safe));
	buf_free(&safe);
}

static void write_header(struct buf *out, const struct conf *conf, const struct incident *i)
{
	const char *domain = conf->return_path.default_domain[0] ? conf->return_path.default_domain
								  : conf->hostname;
	buf_addf(out, "From: MAILER-DAEMON@%s\r\nTo: %s\r\nDate: ", domain, conf->notify.mail);
	header_date(out, clock_wall_ms());
	buf_addf(out, "\r\nMessage-ID: <incident-%u-%016" PRIx64 "@%s>\r\n", i->number,
	    random_u64(), domain);
	buf_addf(out, "Subject: relayd: incident %u: %s\r\n", i->number,
	    verdict_class_name(i->klass));
	buf_add_text(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
			  "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
}

static void write_body(struct buf *out, const struct incident *i)
{
	buf_add_text(out, i->provider[0]
		? "A provider refuses our mail. It waits, or leaves another way.\r\n\r\n"
		: "Mail of one of our own senders is held back.\r\n\r\n");
	add_field(out, "Provider", i->provider);
	add_field(out, "Source", i->source);
	add_field(out, "Sender domain", i->sender_domain);
	add_field(out, "Class", verdict_class_name(i->klass));
	add_field(out, "Rule", i->rule);
	if (i->provider[0])
		add_field(out, "Help", i->help);
	add_field(out, "What to do", advice(i));
	for (size_t n = 0; n < i->reply_count; n++)
		buf_addf(out, "%s: %.900s\r\n", i->provider[0] ? "Reply" : "Cause",
		    i->replies[n].text);
	buf_addf(out, "\r\nSee relayctl incidents show %u\r\n", i->number);
}

static void send_mail(struct notify *n, const struct conf *conf, const struct incident *i)
{
	struct buf message = {0};
	write_header(&message, conf, i);
	write_body(&message, i);
	struct envelope envelope = {
	    .sender = mem_text(""),
	    .client = mem_text("incident"),
	    .user = mem_text(""),
	    .report = true,
	    .recipients = mem_array(1, sizeof(char *)),
	    .recipient_count = 1,
	};
	envelope.recipients[0] = mem_text(conf->notify.mail);
	struct mail *mail = mem_zero(sizeof(*mail));
	mail->notify = n;
	mail->number = i->number;
	intake_submit(n->options.intake, &envelope, span_buf(&message), submitted, mail);
	buf_free(&message);
}

void notify_incident(struct notify *n, const struct conf *conf, const struct incident *i)
{
	bool ran = !conf->notify.command[0] || run_command(n, conf->notify.command, i);
	if (ran && conf->notify.mail[0])
		send_mail(n, conf, i);
	else
		n->options.told(n->options.arg, i->number, ran);
}
