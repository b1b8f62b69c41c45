/* SPDX-License-Identifier: MIT
 * The conversation with the daemon: one line out, a status line and rows back.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/conf.h"
#include "relayd/base/buf.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"
#include "relayd/ctl.h"

#define WHY_SHOWN 3 /* messages in full: about a screen */

/* How the rows of a command are shown. */
struct output {
	const struct ctl *ctl;
	struct ctl_table table;
	size_t rows;
	int status;  /* the worst so far */
	bool ended;  /* the answer's last line has come */
};

/* Without a file the default one; but who names a file must not be taken to another
 * daemon because of a mistake in it. NULL: it was said why. */
static char *socket_path(const struct ctl *ctl)
{
	struct conf_errors errors = {0};
	if (ctl->socket)
		return mem_text(ctl->socket);
	char *path = conf_find_control(ctl->file, &errors);
	if (!path && ctl->file_given)
		fprintf(stderr, "%srelayctl: so its daemon's socket is not known; give it with -s\n",
		    buf_text(&errors.text));
	else if (!path)
		path = mem_text(CONF_CONTROL);
	conf_errors_free(&errors);
	return path;
}

static const char *advice(int error)
{
	return error == EACCES || error == EPERM
	    ? "root may ask, and the groups that control_group and control_look_group name"
	    : "is relayd running, and with this socket? (-f, -s)";
}

static FILE *connect_daemon(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
	} else {
		memcpy(addr.sun_path, path, strlen(path) + 1);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return fdopen(fd, "r+");
	}
	fprintf(stderr, "relayctl: %s: %s; %s\n", path, strerror(errno), advice(errno));
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* The words as a request. NULL: one of them can not be said in JSON, and without it the
 * others would ask for something else. */
static json_t *make_request(const struct ctl *ctl)
{
	json_t *words = json_array();
	for (size_t i = 0; i < ctl->word_count; i++) {
		if (json_array_append_new(words, json_string(ctl->words[i])) == 0)
			continue;
		struct buf safe = {0};
		text_escape(&safe, span_text(ctl->words[i]), 200);
		fprintf(stderr,
		    "relayctl: \"%s\" is not UTF-8, expected words in UTF-8; nothing was "
		    "asked of the daemon\n",
		    buf_text(&safe));
		buf_free(&safe);
		json_decref(words);
		return NULL;
	}
	return words;
}

/* The daemon may have closed already, with a reason that is still to be read. */
static void ask(json_t *request, FILE *daemon)
{
	signal(SIGPIPE, SIG_IGN);
	json_dumpf(request, daemon, JSON_COMPACT);
	fputc('\n', daemon);
	fflush(daemon);
	clearerr(daemon);
	signal(SIGPIPE, SIG_DFL);
}

static void print_base64(const char *text)
{
	struct buf bytes = {0};
	if (text_unbase64(&bytes, span_text(text)))
		fwrite(bytes.data, 1, bytes.len, stdout);
	buf_free(&bytes);
}

static void print_error(struct output *out, const json_t *row, const char *error)
{
	const char *id = json_string_value(json_object_get(row, "id"));
	fprintf(stderr, "relayctl: %s%s%s\n", id ? id : "", id ? ": " : "", error);
	if (out->status < CTL_PROBLEM)
		out->status = CTL_PROBLEM;
}

static void print_row(struct output *out, const char *line, const json_t *row)
{
	const char *base64 = json_string_value(json_object_get(row, "base64"));
	const char *text = json_string_value(json_object_get(row, "line"));
	const char *error = json_string_value(json_object_get(row, "error"));
	out->rows++;
	if (error)
		print_error(out, row, error);
	if (out->ctl->json) {
		fputs(line, stdout);
	} else if (base64) {
		print_base64(base64);
	} else if (text) {
		puts(text);
		fflush(stdout);
	} else if (out->ctl->command == CMD_WHY && !error) {
		if (out->rows <= WHY_SHOWN)
			ctl_why(row, out->rows == 1);
	} else if (out->ctl->command == CMD_DELIST && json_object_get(row, "steps_en")) {
		ctl_delist(row);
	} else if (!error) {
		ctl_table_add(&out->table, row);
	}
}

static void print_status(struct output *out, const json_t *status)
{
	const char *error = json_string_value(json_object_get(status, "error"));
	if (json_is_true(json_object_get(status, "ok")))
		return;
	fprintf(stderr, "relayctl: %s\n", error ? error : "the daemon's answer makes no sense");
	out->status = json_is_true(json_object_get(status, "usage")) ? CTL_USAGE : CTL_PROBLEM;
}

static void read_answer(struct output *out, FILE *daemon)
{
	char *line = NULL;
	size_t size = 0;
	size_t lines = 0;
	while (!out->ended && getline(&line, &size, daemon) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		out->ended = json_is_true(json_object_get(row, "end"));
		if (lines++ == 0)
			print_status(out, row);
		else if (!out->ended)
			print_row(out, line, row);
		json_decref(row);
		/* nobody reads what we print: no need to go on */
		if (ferror(stdout))
			break;
	}
	mem_free(line);
	if (out->ended || ferror(stdout))
		return;
	fputs(lines ? "relayctl: the daemon ended in the middle of its answer\n"
		    : "relayctl: the daemon closed the connection without an answer\n",
	    stderr);
	out->status = CTL_PROBLEM;
}

/* An address or a domain was taken for that of recipients; it may be the sender's. */
static void print_no_why(const char *what)
{
	bool is_name = strspn(what, "0123456789abcdefABCDEF") != strlen(what);
	printf("No mail %s%s is in the queue:\n"
	       "it was delivered, returned, deleted or never came in.\n"
	       "The log has a line for each attempt, and for what was deleted.\n",
	    is_name ? "to " : "of the number ", what);
	if (is_name)
		printf("For mail from there:\n  relayctl queue list --sender %s\n", what);
}

/* Commands with nothing to show say so instead of an empty table. */
static void print_nothing(const struct ctl *ctl)
{
	static const char *const said[CMD_COUNT] = {
	    [CMD_QUEUE_LIST] = "The queue is empty.",
	    [CMD_QUEUE_HOLD] = "No message fits.",
	    [CMD_QUEUE_RELEASE] = "No message fits.",
	    [CMD_QUEUE_RETRY] = "No message fits.",
	    [CMD_QUEUE_DELETE] = "No message fits.",
	    [CMD_DESTINATIONS] = "No mail waits for a destination.",
	    [CMD_REPUTATION] = "Nothing was sent by any path so far.",
	    [CMD_REPUTATION_UNKNOWN] = "Rules knew every reply so far.",
	    [CMD_INCIDENTS] = "There is no incident.",
	    [CMD_BRAKE] = "Nobody has sent anything within a day.",
	};
	if (ctl->command == CMD_WHY)
		print_no_why(ctl->argv[0]);
	else if (ctl->command == CMD_QUEUE_LIST && ctl->argc)
		puts(said[CMD_QUEUE_HOLD]);
	else if (said[ctl->command])
		puts(said[ctl->command]);
}

static void print_more(const struct output *out)
{
	if (out->ctl->command != CMD_WHY || out->ctl->json || out->rows <= WHY_SHOWN)
		return;
	printf("\nand %zu more; see them with relayctl queue list --domain %s\n",
	    out->rows - WHY_SHOWN, out->ctl->argv[0]);
}

static int talk(const struct ctl *ctl, json_t *request, FILE *daemon)
{
	struct output out = {.ctl = ctl};
	ctl_table_init(&out.table, command_table[ctl->command].columns);
	ask(request, daemon);
	read_answer(&out, daemon);
	if (!ctl->json && out.status == CTL_OK && out.rows == 0)
		print_nothing(ctl);
	print_more(&out);
	ctl_table_print(&out.table);
	ctl_table_clear(&out.table);
	return out.status;
}

int ctl_ask(const struct ctl *ctl)
{
	json_t *request = make_request(ctl);
	if (!request)
		return CTL_USAGE;
	char *path = socket_path(ctl);
	FILE *daemon = path ? connect_daemon(path) : NULL;
	int status = daemon ? talk(ctl, request, daemon) : CTL_PROBLEM;
	if (daemon)
		fclose(daemon);
	mem_free(path);
	json_decref(request);
	return status;
}
