/* SPDX-License-Identifier: MIT
 * relay-sendmail: what PHP, cron, mailx and all the others call to send a message.
 * It reads it, makes it one that can be sent, and hands it to relayd; while relayd
 * is down, to the drop folder. It needs no rights and gives up those it is started
 * with. Exit status 0 means that the message is on disk, at relayd or in the folder.
 */
#include <fcntl.h>
#include <nss.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/sendmail_config.h"
#include "relayd/sendmail_drop.h"
#include "relayd/sendmail_message.h"
#include "relayd/sendmail_options.h"
#include "relayd/sendmail_queue.h"
#include "relayd/sendmail_submit.h"
#include "smtp/address.h"

/* Everything that one call works with. */
struct call {
	struct sendmail_options options;
	struct sendmail_config config;
	struct sendmail_report report;
	struct sendmail_message message;
	struct sendmail_recipients to;
	char *login;   /* of the caller; "uid1000" for one without a name */
	char *home;    /* NULL: not known */
	char *hostname;
	char *sender;  /* envelope sender, bare */
	bool sender_utf8;
	bool wrong_usage; /* say how it is called */
	struct buf said;
};

/* ---- who calls ---- */

static void learn_user(struct call *c)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *home = secure_getenv("HOME");
	struct address a;
	struct buf name = {0};
	if (pw && address_parse(span_text(pw->pw_name), &a) && a.form == ADDRESS_LOCAL)
		buf_add_text(&name, pw->pw_name);
	else
		buf_addf(&name, "uid%u", (unsigned)getuid());
	c->login = buf_take(&name, NULL);
	if ((!home || !home[0]) && pw)
		home = pw->pw_dir;
	c->home = mem_text(home);
}

static void learn_hostname(struct call *c)
{
	char name[256] = "";
	if (gethostname(name, sizeof(name) - 1) < 0)
		name[0] = '\0';
	struct span s = span_text(name);
	c->hostname = mem_text(s.n && span_is_ascii(s) && domain_scan(s) == s.n ? name : "localhost");
}

static const char *own_domain(const struct call *c)
{
	return c->config.from_domain ? c->config.from_domain : c->hostname;
}

/* ---- the sender ---- */

static int bad_sender(struct call *c, const char *text)
{
	return sendmail_fail(&c->report, EX_DATAERR, "sender \"%s\" is not an address",
	    sendmail_shown(span_text(text)));
}

/* What -f holds, or the configuration: one address, perhaps with a name around it.
 * Control bytes are never in an address, so no command can hide in it. */
static int take_sender(struct call *c, const char *text)
{
	struct sendmail_recipients one = {.domain = own_domain(c)};
	struct sendmail_report quiet = {0};
	struct span s = span_trim(span_text(text));
	if (s.n == 0 || span_is(s, "<>")) {
		c->sender = mem_text("");
		return EX_OK;
	}
	if (sendmail_recipients_argument(&one, text, &quiet) == EX_OK && one.count == 1) {
		c->sender = mem_text(one.list[0]);
		c->sender_utf8 = one.utf8;
	} else {
		bad_sender(c, text);
	}
	sendmail_recipients_free(&one);
	sendmail_report_free(&quiet);
	return c->report.status;
}

static int find_sender(struct call *c)
{
	if (c->options.sender)
		return take_sender(c, c->options.sender);
	return take_sender(c, c->config.from ? c->config.from : c->login);
}

/* ---- the message ---- */

static int find_recipients(struct call *c)
{
	c->to.domain = c->config.from_domain;
	for (size_t i = 0; i < c->options.recipient_count; i++)
		if (sendmail_recipients_argument(&c->to, c->options.recipients[i], &c->report) !=
		    EX_OK)
			return c->report.status;
	return EX_OK;
}

static int read_message(struct call *c)
{
	struct buf own = {0};
	struct buf head = {0};
	buf_addf(&own, "%s@%s", c->login, own_domain(c));
	struct sendmail_from from = {.address = c->sender[0] ? c->sender : buf_text(&own),
	    .name = c->options.name ? c->options.name : secure_getenv("NAME")};
	int status = sendmail_message_read(&c->message, STDIN_FILENO, c->options.ignore_dots,
	    &c->report);
	if (status == EX_OK)
		status = sendmail_header_build(span_buf(&c->message.head), &from,
		    c->options.header_recipients ? &c->to : NULL, &head, &c->report);
	buf_free(&c->message.head);
	c->message.head = head;
	buf_free(&own);
	if (status == EX_OK && c->to.count == 0)
		status = sendmail_fail(&c->report, EX_DATAERR,
		    "no recipients: there is no address in To, Cc or Bcc");
	return status;
}

/* On a host without relayd a file of the caller's was to say where one is, and its name, its
 * folder or its owner is another one. */
static int blame_configuration(struct call *c)
{
	bool known = c->home && c->home[0] == '/';
	if (!c->config.is_default)
		return c->report.status;
	return sendmail_fail(&c->report, EX_TEMPFAIL,
	    "no configuration was read: there is neither .relay-sendmail.conf of yours in %s nor "
	    "%s, and without one a relayd on this machine is meant",
	    known ? sendmail_shown(span_text(c->home)) : "a home that is known",
	    SENDMAIL_SYSTEM_FILE);
}

/* Nobody answered: leave it where relayd will find it. What could not be reached is
 * only worth a word if that does not work either. */
static int drop_instead(struct call *c, const struct sendmail_job *job)
{
	struct why why = {0};
	if (!c->config.drop)
		return c->report.status;
	if (sendmail_drop(c->config.drop, job, &why) < 0) {
		sendmail_fail(&c->report, EX_TEMPFAIL,
		    "drop folder %s: %s; the message was not "
		    "sent, try again later",
		    c->config.drop, why.text);
		return blame_configuration(c);
	}
	buf_clear(&c->report.text);
	buf_addf(&c->said, "relayd does not answer; the message waits in %s", c->config.drop);
	return c->report.status = EX_OK;
}

static int send_message(struct call *c)
{
	bool reached = false;
	if (find_sender(c) != EX_OK || find_recipients(c) != EX_OK || read_message(c) != EX_OK)
		return c->report.status;
	sendmail_recipients_unique(&c->to);
	struct sendmail_job job = {.sender = c->sender, .sender_utf8 = c->sender_utf8, .to = &c->to,
	    .message = &c->message, .hostname = c->hostname, .dsn = &c->options.dsn};
	int status = sendmail_submit(&c->config, &job, &reached, &c->said, &c->report);
	if (status != EX_OK && !reached)
		status = drop_instead(c, &job);
	if (status == EX_OK && c->options.verbose)
		fprintf(stderr, "relay-sendmail: %s\n", buf_text(&c->said));
	return status;
}

/* ---- the call ---- */

static int run_mode(struct call *c)
{
	switch (c->options.mode) {
	case SENDMAIL_SEND:
		return send_message(c);
	case SENDMAIL_SMTP:
		return sendmail_proxy(&c->config, c->hostname, &c->report);
	case SENDMAIL_LIST:
	case SENDMAIL_FLUSH:
		return sendmail_queue(&c->config, &c->options, &c->report);
	case SENDMAIL_NOTHING:
	case SENDMAIL_HELP:
	case SENDMAIL_VERSION:
		break;
	}
	return EX_OK;
}

static int run(struct call *c, int argc, char **argv)
{
	struct why why = {0};
	if (sendmail_options_parse(&c->options, argc, argv, &c->report) != EX_OK) {
		c->wrong_usage = true;
		return c->report.status;
	}
	if (c->options.mode == SENDMAIL_HELP)
		fputs(sendmail_usage, stdout);
	if (c->options.mode == SENDMAIL_VERSION)
		puts("relay-sendmail " RELAYD_VERSION);
	if (c->options.mode >= SENDMAIL_NOTHING)
		return EX_OK;
	learn_user(c);
	learn_hostname(c);
	if (sendmail_config_load(&c->config, c->home, &why) < 0)
		return sendmail_fail(&c->report, EX_CONFIG, "%s", why.text);
	return run_mode(c);
}

static void print_report(const struct sendmail_report *report)
{
	struct span rest = span_buf(&report->text);
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');
		fprintf(stderr, "relay-sendmail: %.*s\n", (int)line.n, line.p);
	}
}

/* How it is called: what stands before the first empty line. */
static void print_usage_lines(void)
{
	fprintf(stderr, "%.*s\n", (int)(strstr(sendmail_usage, "\n\n") - sendmail_usage),
	    sendmail_usage);
}

static void call_free(struct call *c)
{
	sendmail_config_free(&c->config);
	sendmail_options_free(&c->options);
	sendmail_message_free(&c->message);
	sendmail_recipients_free(&c->to);
	sendmail_report_free(&c->report);
	mem_free(c->login);
	mem_free(c->home);
	mem_free(c->hostname);
	mem_free(c->sender);
	buf_free(&c->said);
}

/* A caller may have closed 0, 1 or 2, installed this with another user's rights, or
 * left any signal ignored or not. */
static int prepare(void)
{
	/* what is opened first takes the lowest number that is free; a chroot may have no
	 * /dev/null, and need none. Reading from what was closed fails as before: it is no
	 * empty message. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDWR) != fd)
			return -1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error to report, not to die of */
	signal(SIGCHLD, SIG_DFL); /* how relayctl ends is told only to who has not ignored it */
	if (setresgid(getgid(), getgid(), getgid()) < 0 ||
	    setresuid(getuid(), getuid(), getuid()) < 0)
		return -1;
#ifdef RELAYD_STATIC
	/* no modules of a C library that may be another one than ours */
	__nss_configure_lookup("passwd", "files");
	__nss_configure_lookup("hosts", "files dns");
#endif
	return 0;
}

int main(int argc, char **argv)
{
	struct call call = {0};
	if (prepare() < 0)
		return EX_OSERR;
	int status = run(&call, argc, argv);
	if (status != EX_OK)
		print_report(&call.report);
	if (call.wrong_usage)
		print_usage_lines();
	call_free(&call);
	return status;
}
