/* SPDX-License-Identifier: MIT
 * The queue by way of relayctl, found beside this program or where it is installed,
 * never by $PATH. It runs with the caller's rights, and the daemon judges those.
 */
#include "relayd/sendmail_queue.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relayd/base/buf.h"

#define WORDS_MAX 8
#define NOT_FOUND 127 /* status of a child that found no relayctl */

static void add_flush(const struct sendmail_options *options, const char **words, int n)
{
	words[n++] = "retry";
	if (options->flush == 'R')
		words[n++] = "--domain";
	else if (options->flush == 'S')
		words[n++] = "--sender";
	words[n] = options->flush == 'f' ? "--all" : options->flush_what;
}

/* The folder of this program, without a slash at its end. */
static void own_folder(struct buf *folder)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
	const char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
	if (slash)
		buf_add(folder, path, (size_t)(slash - path));
}

/* Become relayctl; comes back where there is none. */
static void become(const char *const *words)
{
	struct buf own = {0};
	own_folder(&own);
	const char *const folders[] = {buf_text(&own), "/usr/local/bin", "/usr/local/sbin",
	    "/usr/bin", "/usr/sbin"};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		struct buf path = {0};
		buf_addf(&path, "%s/relayctl", folders[i]);
		execv(path.data, (char *const *)words);
		buf_free(&path);
	}
	buf_free(&own);
}

/* Callers of sendmail know the statuses of sysexits.h, relayctl has its own. */
static int run(const char *const *words, struct sendmail_report *report)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		become(words);
		_exit(NOT_FOUND);
	}
	if (child < 0)
		return sendmail_fail(report, EX_OSERR, "fork: %s", strerror(errno));
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return sendmail_fail(report, EX_OSERR, "relayctl: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return EX_OK;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
		return EX_OK; /* a reader that has seen enough (mailq | head) */
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return sendmail_fail(report, EX_UNAVAILABLE, "relayctl is not installed");
	return sendmail_fail(report, EX_UNAVAILABLE, "relayctl could not do it (status %d)",
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int sendmail_queue(const struct sendmail_config *config, const struct sendmail_options *options,
    struct sendmail_report *report)
{
	const char *words[WORDS_MAX] = {"relayctl"};
	int n = 1;
	if (config->host)
		return sendmail_fail(report, EX_UNAVAILABLE,
		    "the queue is at %s, where relayctl can show it", config->host);
	if (config->control) {
		words[n++] = "-s";
		words[n++] = config->control;
	}
	words[n++] = "queue";
	if (options->mode == SENDMAIL_FLUSH)
		add_flush(options, words, n);
	else
		words[n] = "list";
	return run(words, report);
}
