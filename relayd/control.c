/* SPDX-License-Identifier: MIT */
#include "relayd/control.h"

#include <errno.h>
#include <event2/event.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"

#define REQUEST_MAX 65536
#define WORDS_MAX 10000
#define REQUESTS_MAX 64
#define UNSENT_MAX (256 * 1024)
#define REQUEST_MS 60000

struct control {
	struct daemon *daemon;
	char *path;
	int fd;
	struct event *event;
	struct request *requests;
	size_t count;
};

/* ---- answers ---- */

static void request_free(void *arg)
{
	struct request *r = arg;
	selection_clear(&r->selection);
	json_decref(r->words);
	mem_free(r->argv);
	mem_free(r);
}

static bool anybody_follows(const struct control *control)
{
	const struct request *r;
	DL_FOREACH (control->requests, r)
		if (r->following)
			return true;
	return false;
}

static void request_drop(struct request *r)
{
	struct control *control = r->control;
	DL_DELETE(control->requests, r);
	control->count--;
	timer_stop(&r->timer);
	if (!anybody_follows(control))
		log_tap(NULL, NULL);
	loop_defer(r->daemon->loop, request_free, r);
}

static void send_json(struct request *r, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text) {
		conn_write(r->conn, text, strlen(text));
		conn_write(r->conn, "\n", 1);
		mem_free(text);
	}
	json_decref(value);
}

void request_ok(struct request *r)
{
	r->answered = true;
	send_json(r, json_pack("{s:b}", "ok", 1));
}

void request_row(struct request *r, json_t *row)
{
	send_json(r, row);
}

void request_end(struct request *r)
{
	conn_finish(r->conn, REQUEST_MS);
	request_drop(r);
}

void request_fail(struct request *r, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!r->answered)
		send_json(r, json_pack("{s:b,s:o}", "ok", 0, "error", json_safe(span_text(text))));
	request_end(r);
}

bool request_has_room(const struct request *r)
{
	return conn_unsent(r->conn) < UNSENT_MAX;
}

json_t *json_safe(struct span text)
{
	struct buf safe = {0};
	text_escape_utf8(&safe, text, 65536);
	json_t *value = json_stringn(buf_text(&safe), safe.len);
	buf_free(&safe);
	return value ? value : json_string("");
}

void request_fact(struct request *r, const char *name, json_t *value)
{
	request_row(r, json_pack("{s:s,s:o}", "what", name, "value", value));
}

/* ---- small commands ---- */

static void add_number(struct request *r, const char *name, uint64_t value)
{
	request_fact(r, name, json_integer((json_int_t)value));
}

static void command_status(struct request *r)
{
	struct daemon *d = r->daemon;
	struct schedule_stats queue = schedule_stats(deliver_schedule(d->deliver));
	struct spool_stats spool = spool_stats(d->spool);
	request_ok(r);
	request_fact(r, "version", json_string(RELAYD_VERSION));
	add_number(r, "uptime_s", (uint64_t)(clock_wall_ms() - d->stats.started_ms) / 1000);
	add_number(r, "queue_messages", queue.messages);
	add_number(r, "queue_waiting", queue.waiting);
	add_number(r, "queue_ready", queue.ready);
	add_number(r, "queue_running", queue.running);
	add_number(r, "queue_held", queue.held);
	add_number(r, "destinations", queue.destinations);
	add_number(r, "accepted", d->stats.accepted);
	add_number(r, "refused", d->stats.refused);
	add_number(r, "signed", d->stats.signed_messages);
	add_number(r, "delivered", d->stats.delivered);
	add_number(r, "deferred", d->stats.deferred);
	add_number(r, "bounced", d->stats.bounced);
	add_number(r, "reports", d->stats.reports);
	add_number(r, "connections_now", listen_connections(d->listen));
	add_number(r, "connections", d->stats.connections);
	add_number(r, "connections_refused", d->stats.connections_refused);
	request_fact(r, "spool_full", json_boolean(spool_is_full(d->spool)));
	add_number(r, "spool_segments", spool.segments);
	add_number(r, "spool_bytes", spool.bytes);
	add_number(r, "spool_live_bytes", spool.live_bytes);
	add_number(r, "spool_syncs", spool.syncs);
	add_number(r, "spool_carried", spool.carried);
	add_number(r, "spool_damaged", spool.damaged);
	request_fact(r, "dnssec", json_boolean(dns_is_validating(d->dns)));
	request_end(r);
}

static void command_reload(struct request *r)
{
	struct conf_errors errors = {0};
	if (daemon_reload(r->daemon, &errors) == 0) {
		request_ok(r);
		request_end(r);
	} else {
		log_text(LOG_LEVEL_ERROR, "reload failed, the old configuration stays in force: %s",
		    buf_text(&errors.text));
		send_json(r, json_pack("{s:b,s:s}", "ok", 0, "error",
				 "the old configuration stays in force"));
		/* the mistakes as rows, one a line */
		struct span rest = span_buf(&errors.text);
		while (rest.n) {
			const char *end = memchr(rest.p, '\n', rest.n);
			size_t n = end ? (size_t)(end - rest.p) : rest.n;
			request_row(r, json_pack("{s:o}", "line", json_safe((struct span){rest.p, n})));
			n += end != NULL;
			rest.p += n;
			rest.n -= n;
		}
		request_end(r);
	}
	conf_errors_free(&errors);
}

/* A follower that does not keep up loses lines, never slows the daemon. */
static void on_log_line(struct span line, void *arg)
{
	struct control *control = arg;
	struct request *r;
	DL_FOREACH (control->requests, r)
		if (r->following && request_has_room(r))
			request_row(r, json_pack("{s:o}", "line", json_safe(line)));
}

static void command_log(struct request *r)
{
	request_ok(r);
	r->following = true;
	conn_deadline(r->conn, -1);
	log_tap(on_log_line, r->control);
}

/* ---- rights ---- */

static bool is_member(uid_t uid, gid_t gid, gid_t wanted)
{
	const struct passwd *user = getpwuid(uid);
	const struct group *group = getgrgid(wanted);
	if (gid == wanted)
		return true;
	if (!user || !group)
		return false;
	for (char **name = group->gr_mem; *name; name++)
		if (strcmp(*name, user->pw_name) == 0)
			return true;
	return false;
}

static bool may(const struct request *r, enum command_rights rights)
{
	uid_t uid;
	gid_t gid;
	if (conn_peer_user(r->conn, &uid, &gid) < 0)
		return false;
	if (uid == 0 || uid == geteuid())
		return true;
	return rights == RIGHTS_LOOK && is_member(uid, gid, getegid());
}

/* ---- requests ---- */

static void run_command(struct request *r)
{
	switch (r->command) {
	case CMD_STATUS:
		command_status(r);
		break;
	case CMD_RELOAD:
		command_reload(r);
		break;
	case CMD_LOG:
		command_log(r);
		break;
	case CMD_QUEUE_LIST:
	case CMD_QUEUE_HOLD:
	case CMD_QUEUE_RELEASE:
	case CMD_QUEUE_RETRY:
	case CMD_QUEUE_DELETE:
	case CMD_WHY:
		control_queue(r);
		break;
	case CMD_QUEUE_SHOW:
		control_show(r);
		break;
	case CMD_QUEUE_CAT:
		control_cat(r);
		break;
	case CMD_DESTINATIONS:
		control_destinations(r);
		break;
	case CMD_CONFIG_CHECK:
	case CMD_CONFIG_SHOW:
	case CMD_DKIM_NEW:
	case CMD_DKIM_RECORD:
	case CMD_DKIM_TEST:
	case CMD_EXPLAIN:
	case CMD_COMPLETION:
	case CMD_MANUAL:
	case CMD_COUNT:
		request_fail(r, "relayctl does this by itself");
		break;
	}
}

/* The words as a C array. -1: not an array of one to WORDS_MAX strings. */
static int take_words(struct request *r, struct span line)
{
	r->words = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	size_t count = json_array_size(r->words);
	if (count == 0 || count > WORDS_MAX)
		return -1;
	r->argv = mem_array(count, sizeof(*r->argv));
	for (size_t i = 0; i < count; i++) {
		r->argv[i] = json_string_value(json_array_get(r->words, i));
		if (!r->argv[i])
			return -1;
	}
	r->argc = count;
	return 0;
}

static void take_request(struct request *r, struct span line)
{
	size_t used = 0;
	if (take_words(r, line) < 0) {
		request_fail(r, "a request is a JSON array of words on one line");
		return;
	}
	int command = command_find(r->argv, r->argc, &used);
	if (command < 0) {
		request_fail(r, "there is no command \"%s\"", r->argv[0]);
		return;
	}
	r->command = (enum command_id)command;
	memmove(r->argv, r->argv + used, (r->argc - used) * sizeof(*r->argv));
	r->argc -= used;
	if (!may(r, command_table[command].rights))
		request_fail(r, "\"%s\" is for %s", command_table[command].words,
		    command_table[command].rights == RIGHTS_LOOK
			? "root, the daemon's user and members of its group"
			: "root and the daemon's user");
	else
		run_command(r);
}

static void on_conn(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct request *r = arg;
	struct span line;
	(void)why;
	if (event == CONN_INPUT && !r->words) {
		switch (conn_line(conn, REQUEST_MAX - 2, &line)) {
		case CONN_LINE:
		case CONN_LINE_BARE:
			take_request(r, line);
			return;
		case CONN_LINE_MORE:
			return;
		case CONN_LINE_LONG:
			request_fail(r, "the request is too long");
			return;
		}
	}
	if (event == CONN_DRAINED || event == CONN_INPUT)
		return; /* the pager looks by itself */
	/* a client that has only closed its sending side still reads */
	if (event == CONN_CLOSED && r->words && !r->following)
		return;
	conn_close(conn);
	request_drop(r);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	struct control *control = arg;
	(void)what;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (control->count >= REQUESTS_MAX) {
		close(fd);
		return;
	}
	struct request *r = mem_zero(sizeof(*r));
	r->control = control;
	r->daemon = control->daemon;
	timer_init(&r->timer, control->daemon->loop, NULL, r);
	r->conn = conn_accept(control->daemon->loop, fd, REQUEST_MAX, on_conn, r);
	conn_deadline(r->conn, REQUEST_MS);
	DL_APPEND(control->requests, r);
	control->count++;
}

/* ---- socket ---- */

static int open_socket(const char *path, struct why *why)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	if (strlen(path) >= sizeof(addr.sun_path))
		return why_set(why, WHY_PERM, "control: %s: the path is too long", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "control: socket");
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, 0660) < 0 ||
	    listen(fd, 16) < 0) {
		why_errno(why, WHY_LOCAL, errno, "control: %s", path);
		close(fd);
		return -1;
	}
	return fd;
}

struct control *control_new(struct daemon *daemon, struct why *why)
{
	const char *path = daemon->settings->conf->control;
	int fd = open_socket(path, why);
	if (fd < 0)
		return NULL;
	struct control *control = mem_zero(sizeof(*control));
	control->daemon = daemon;
	control->path = mem_text(path);
	control->fd = fd;
	return control;
}

void control_start(struct control *control)
{
	control->event = event_new(loop_base(control->daemon->loop), control->fd,
	    EV_READ | EV_PERSIST, on_accept, control);
	event_add(control->event, NULL);
}

void control_free(struct control *control)
{
	while (control->requests) {
		struct request *r = control->requests;
		conn_close(r->conn);
		request_drop(r);
	}
	if (control->event)
		event_free(control->event);
	close(control->fd);
	unlink(control->path);
	mem_free(control->path);
	mem_free(control);
}
