/* SPDX-License-Identifier: MIT
 * relayd: the command line and the signals.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "relayd/base/log.h"
#include "relayd/bounds.h"
#include "relayd/daemon.h"
#include "relayd/helper.h"
#include "relayd/privileges.h"
#include "relayd/service.h"

#ifndef RELAYD_CONF
#define RELAYD_CONF "/etc/relayd/relayd.conf"
#endif

static void usage(FILE *to)
{
	fputs("usage: relayd [-f FILE] [-t | -T | -s | -m | -V | -h]\n"
	      "  -f FILE  use this configuration (default " RELAYD_CONF ")\n"
	      "  -t       check the configuration, say all that is wrong with it, and end\n"
	      "  -T       print the effective configuration, defaults filled in\n"
	      "  -s       print a commented sample\n"
	      "  -m       print the section of the manual page on the configuration\n"
	      "  -V       print the version (--version)\n"
	      "  -h       print this (--help)\n"
	      "relayd runs in the foreground; a service manager puts it into the background.\n",
	    to);
}

/* What was printed must have arrived: a sample on a full disk is none. */
static int finish(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EX_OK;
	perror("relayd: output");
	return EX_IOERR;
}

static int print(void (*fn)(struct buf *out))
{
	struct buf text = {0};
	fn(&text);
	fputs(buf_text(&text), stdout);
	buf_free(&text);
	return finish();
}

static void open_log(const struct conf *conf)
{
	static const struct {
		const char *name;
		enum log_target target;
	} targets[] = {{"stderr", LOG_TO_STDERR}, {"syslog", LOG_TO_SYSLOG},
	    {"journal", LOG_TO_JOURNAL}};
	enum log_target target = LOG_TO_STDERR;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		if (strcmp(conf->log, targets[i].name) == 0)
			target = targets[i].target;
	log_open(target, log_level_named(conf->log_level));
}

static void on_terminate(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	daemon_stop(arg);
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
	struct daemon *daemon = arg;
	struct conf_errors errors = {0};
	(void)number;
	(void)what;
	if (daemon_reload(daemon, NULL, NULL, &errors) < 0)
		settings_log_errors(LOG_LEVEL_ERROR,
		    "reload failed, the old configuration stays in force", &errors);
	conf_errors_free(&errors);
}

static void catch_signal(struct daemon *daemon, int number, event_callback_fn fn)
{
	loop_event_add(loop_event_new(daemon->loop, number, EV_SIGNAL | EV_PERSIST, fn, daemon));
}

static void hold_signals(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(how, &set, NULL);
}

/* Whoever starts it must hear why it does not, though he reads no log, or nobody
 * takes its lines. */
static void say_failure(const struct conf *conf, const char *text)
{
	log_text(LOG_LEVEL_ERROR, "%s", text);
	if (strcmp(conf->log, "syslog") != 0)
		return;
	log_open(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	log_text(LOG_LEVEL_ERROR, "%s", text);
}

static int serve(const char *file, struct settings *settings, struct helper *helper)
{
	static struct daemon daemon;
	struct why why = {0};
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* RLIMIT_FSIZE: a write that fails, as with a full disk */
	hold_signals(SIG_BLOCK); /* until there is somebody to take them */
	open_log(settings->conf);
	if (daemon_start(&daemon, file, settings, helper, &why) < 0) {
		say_failure(settings->conf, why.text);
		return why.kind == WHY_PERM ? EX_CONFIG : EX_OSERR;
	}
	catch_signal(&daemon, SIGTERM, on_terminate);
	catch_signal(&daemon, SIGINT, on_terminate);
	catch_signal(&daemon, SIGHUP, on_hangup);
	hold_signals(SIG_UNBLOCK);
	loop_run(daemon.loop);
	daemon_end(&daemon);
	return EX_OK;
}

/* The option letter that says what to do; 0: serve. -1: a wrong command line. */
static int parse_arguments(int argc, char **argv, const char **file)
{
	static const struct option words[] = {
	    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	int mode = 0;
	int option;
	while ((option = getopt_long(argc, argv, "f:tTsmVh", words, NULL)) != -1) {
		if (option == '?')
			return -1;
		if (option == 'f')
			*file = optarg;
		else
			mode = option;
	}
	if (optind == argc)
		return mode;
	fprintf(stderr, "relayd: what is \"%s\"?\n", argv[optind]);
	return -1;
}

static void print_mistakes(struct conf_errors *errors)
{
	fputs(buf_text(&errors->text), stderr);
	fprintf(stderr, "relayd: %zu mistake%s in the configuration\n", errors->count,
	    errors->count == 1 ? "" : "s");
	conf_errors_free(errors);
}

static struct settings *load(const char *file)
{
	struct conf_errors errors = {0};
	struct settings *settings = settings_load(file, &errors);
	if (!settings)
		print_mistakes(&errors);
	return settings;
}

static void print_warning(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "warning: %s\n", text);
}

static int check(const char *file, const struct settings *settings)
{
	struct conf_errors errors = {0};
	settings_check_machine(settings, &errors);
	if (errors.count) {
		print_mistakes(&errors);
		return EX_CONFIG;
	}
	settings_warn(settings, print_warning, NULL);
	settings_warn_of_clients(settings, print_warning, NULL);
	settings_warn_of_machine(settings, print_warning, NULL);
	printf("%s: the configuration is good\n", file);
	return finish();
}

static int show(const struct conf *conf)
{
	struct buf text = {0};
	conf_print(conf, &text);
	fputs(buf_text(&text), stdout);
	buf_free(&text);
	return finish();
}

static int with_configuration(int mode, const char *file)
{
	struct settings *settings = load(file);
	if (!settings)
		return EX_CONFIG;
	int status = mode == 'T' ? show(settings->conf) : check(file, settings);
	settings_unref(settings);
	return status;
}

/* Descriptors 0 to 2 exist: what is opened later must not be taken for them. */
static void fill_standard(void)
{
	int fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = open("/dev/null", O_RDWR);
	if (fd >= 0)
		close(fd);
}

/* The helper comes first: it shall hold none of the secrets that are read. */
static int run(const char *file)
{
	struct why why = {0};
	service_begin();
	fill_standard();
	privileges_hide();
	bounds_raise();
	struct helper *helper = helper_fork(&why);
	if (!helper) {
		fprintf(stderr, "relayd: %s\n", why.text);
		return EX_OSERR;
	}
	struct settings *settings = load(file);
	if (settings)
		return serve(file, settings, helper);
	helper_free(helper);
	return EX_CONFIG;
}

int main(int argc, char **argv)
{
	const char *file = RELAYD_CONF;
	switch (parse_arguments(argc, argv, &file)) {
	case 'h':
		usage(stdout);
		return finish();
	case 'V':
		puts("relayd " RELAYD_VERSION);
		return finish();
	case 's':
		return print(conf_print_sample);
	case 'm':
		return print(conf_print_manual);
	case 't':
		return with_configuration('t', file);
	case 'T':
		return with_configuration('T', file);
	case 0:
		return run(file);
	default:
		usage(stderr);
		return EX_USAGE;
	}
}
