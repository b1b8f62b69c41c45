/* SPDX-License-Identifier: MIT
 * The socket, who asks and whether he may, the form of answers, and pages: a
 * long answer is made piece by piece over loop turns as its reader takes it, so
 * that neither a million rows nor a reader who sleeps costs anybody anything.
 */
#include "relayd/control.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"
#include "relayd/local_socket.h"
#include "relayd/service.h"

#define BACKLOG 16
#define REQUEST_MAX 65536
#define REQUESTS_MAX 64
#define REQUESTS_PER_USER 16 /* of one who may not do all */
#define UNSENT_MAX (256 * 1024)
#define REQUEST_MS 60000
#define STALLED_MS (10 * 60 * 1000) /* a reader that takes nothing is given up */
#define LOOK_MS 50                  /* for room, where nothing tells of it (a half-closed client) */
#define PAGE_MS 5                   /* of a turn for one request */
#define ACCEPT_AGAIN_MS 1000        /* after running out of descriptors */

struct control {
	struct daemon *daemon;
	char *path;
	int fd;
	bool passed; /* by the service manager, whose the path is */
	struct event *event;
	struct control_rights rights;
	struct timer again; /* accepting is paused */
	struct control_log *log;
	struct request *requests;
	struct request *leaving; /* answered: what is unsent still costs memory and a descriptor */
	size_t count;            /* of both */
};

/* ---- answers ---- */

static void request_clear(void *arg)
{
	struct request *r = arg;
	selection_clear(&r->selection);
	control_words_clear(&r->words);
	mem_free(r->rows);
	r->rows = NULL;
	json_decref(r->list);
	r->list = NULL;
}

/* Its connection is closed. In the turn of that it may still be cleared. */
static void request_gone(void *arg)
{
	struct request *r = arg;
	if (r->control) {
		DL_DELETE(r->control->leaving, r);
		r->control->count--;
	}
	loop_defer(r->daemon->loop, mem_free, r);
}

static void request_drop(struct request *r)
{
	struct control *control = r->control;
	DL_DELETE(control->requests, r);
	DL_APPEND(control->leaving, r);
	timer_stop(&r->timer);
	spool_reader_close(r->reader);
	r->reader = NULL;
	control_delist_gone(r);
	control_queue_over(r);
	loop_defer(r->daemon->loop, request_clear, r);
}

struct control_log *control_log_of(const struct control *control)
{
	return control->log;
}

void control_each_follower(struct control *control, void (*fn)(struct request *request))
{
	struct request *r;
	DL_FOREACH (control->requests, r)
		if (r->following)
			fn(r);
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

/* The last line tells a whole answer from one that was cut. */
void request_end(struct request *r)
{
	send_json(r, json_pack("{s:b}", "end", 1));
	conn_finish(r->conn, REQUEST_MS);
	request_drop(r);
}

static void ATTR_PRINTF(3, 0)
fail(struct request *r, bool misused, const char *format, va_list args)
{
	char text[512];
	vsnprintf(text, sizeof(text), format, args);
	if (r->answered)
		send_json(r, json_pack("{s:o}", "error", json_safe(span_text(text))));
	else
		send_json(r, json_pack("{s:b,s:b,s:o}", "ok", 0, "usage", misused, "error",
				 json_safe(span_text(text))));
	request_end(r);
}

void request_fail(struct request *r, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fail(r, false, format, args);
	va_end(args);
}

void request_misused(struct request *r, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fail(r, true, format, args);
	va_end(args);
}

/* ---- pages ---- */

static void next_page(void *arg)
{
	struct request *r = arg;
	int64_t began = clock_mono_ms();
	bool more = true;
	if (request_has_room(r)) {
		r->moved_ms = began;
	} else if (began - r->moved_ms > STALLED_MS) {
		conn_close(r->conn);
		request_drop(r);
		return;
	}
	while (more && request_has_room(r) && clock_mono_ms() - began < PAGE_MS)
		more = r->page(r);
	if (more)
		timer_start(&r->timer, request_has_room(r) ? 0 : LOOK_MS);
	else
		request_end(r);
}

void request_pages(struct request *r, bool (*page)(struct request *request))
{
	r->page = page;
	r->moved_ms = clock_mono_ms();
	conn_deadline(r->conn, -1);
	timer_init(&r->timer, r->daemon->loop, next_page, r);
	timer_start(&r->timer, 0);
}

static bool list_page(struct request *r)
{
	if (r->row_at == json_array_size(r->list))
		return false;
	request_row(r, json_incref(json_array_get(r->list, r->row_at++)));
	return true;
}

void request_list(struct request *r)
{
	request_ok(r);
	request_pages(r, list_page);
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

/* ---- the log ---- */

void control_log_change(struct log_line *line, enum command_id command, uid_t uid)
{
	log_begin(line, LOG_LEVEL_INFO, "admin");
	log_add_text(line, "action", command_table[command].words);
	log_add_number(line, "uid", uid);
}

/* ---- rights ---- */

bool request_may(const struct request *r, enum command_rights rights)
{
	return r->peer.full || (rights == RIGHTS_LOOK && r->peer.look);
}

/* ---- requests ---- */

/* Those that are not here relayctl does by itself. */
static void (*const commands[CMD_COUNT])(struct request *r) = {
    [CMD_STATUS] = control_status,
    [CMD_RELOAD] = control_reload,
    [CMD_LOG] = control_log,
    [CMD_QUEUE_LIST] = control_queue,
    [CMD_QUEUE_HOLD] = control_queue,
    [CMD_QUEUE_RELEASE] = control_queue,
    [CMD_QUEUE_RETRY] = control_queue,
    [CMD_QUEUE_DELETE] = control_queue,
    [CMD_WHY] = control_queue,
    [CMD_QUEUE_SHOW] = control_show,
    [CMD_QUEUE_CAT] = control_cat,
    [CMD_DESTINATIONS] = control_destinations,
    [CMD_REPUTATION] = control_reputation,
    [CMD_REPUTATION_UNKNOWN] = control_unknown,
    [CMD_REPUTATION_HOLD] = control_path_change,
    [CMD_REPUTATION_OPEN] = control_path_change,
    [CMD_REPUTATION_RESET] = control_path_change,
    [CMD_REPUTATION_PROBE] = control_path_change,
    [CMD_INCIDENTS] = control_incidents,
    [CMD_INCIDENTS_SHOW] = control_incident,
    [CMD_INCIDENTS_CLOSE] = control_incident,
    [CMD_DELIST] = control_delist,
    [CMD_BRAKE] = control_brake,
    [CMD_BRAKE_RELEASE] = control_brake_release,
};

static void run_command(struct request *r)
{
	if (commands[r->command])
		commands[r->command](r);
	else
		request_fail(r, "relayctl does this by itself");
}

static void take_request(struct request *r, struct span line)
{
	struct why why = {0};
	if (control_words_parse(&r->words, line, &why) < 0) {
		request_misused(r, "%s", why.text);
		return;
	}
	r->command = r->words.command;
	r->argv = r->words.argv;
	r->argc = r->words.argc;
	const struct command_row *row = &command_table[r->command];
	if (!request_may(r, row->rights))
		request_fail(r, "\"%s\" is for root, the daemon's user and members of %s",
		    row->words, row->rights == RIGHTS_LOOK
			? "control_group and control_look_group" : "control_group");
	else
		run_command(r);
}

static void on_conn(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct request *r = arg;
	struct span line;
	(void)why;
	if (event == CONN_INPUT && !r->words.json) {
		switch (conn_line(conn, REQUEST_MAX - 2, &line)) {
		case CONN_LINE:
		case CONN_LINE_BARE:
			take_request(r, line);
			return;
		case CONN_LINE_MORE:
			return;
		case CONN_LINE_LONG:
			request_misused(r, "the request is longer than %d bytes", REQUEST_MAX - 2);
			return;
		}
	}
	if (event == CONN_DRAINED && r->page)
		timer_start(&r->timer, 0);
	if (event == CONN_DRAINED || event == CONN_INPUT)
		return;
	/* a client that has only closed its sending side still reads */
	if (event == CONN_CLOSED && r->page)
		return;
	conn_close(conn);
	request_drop(r);
}

static void refuse(int fd)
{
	static const char text[] = "{\"ok\":false,\"error\":\"too many requests at once, try again\"}\n"
				   "{\"end\":true}\n";
	ssize_t n = send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n; /* he sees the end in any case */
	close(fd);
}

/* Who may not do all can not keep those out who may. */
static bool is_over(const struct control *control, const struct control_peer *peer)
{
	const struct request *r;
	size_t count = 0;
	DL_FOREACH (control->requests, r)
		count += !r->peer.full && r->peer.uid == peer->uid;
	DL_FOREACH (control->leaving, r)
		count += !r->peer.full && r->peer.uid == peer->uid;
	if (!peer->full && (count >= REQUESTS_PER_USER || control->count >= REQUESTS_MAX / 2))
		return true;
	return control->count >= REQUESTS_MAX;
}

static void accept_again(void *arg)
{
	struct control *control = arg;
	loop_event_add(control->event);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	struct control *control = arg;
	(void)what;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* out of descriptors: the same connection would be reported for ever */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			event_del(control->event);
			timer_start(&control->again, ACCEPT_AGAIN_MS);
		}
		return;
	}
	struct control_peer peer = control_rights_peer(&control->rights, fd);
	if (is_over(control, &peer)) {
		refuse(fd);
		return;
	}
	struct request *r = mem_zero(sizeof(*r));
	r->control = control;
	r->peer = peer;
	r->daemon = control->daemon;
	timer_init(&r->timer, control->daemon->loop, NULL, r);
	r->conn = conn_accept(control->daemon->loop, fd, REQUEST_MAX, on_conn, r);
	conn_set_gone(r->conn, request_gone, r);
	conn_deadline(r->conn, REQUEST_MS);
	DL_APPEND(control->requests, r);
	control->count++;
}

/* ---- socket ---- */

static int open_socket(const char *path, const struct control_rights *rights, struct why *why)
{
	int fd = local_socket_listen(path, 0660, BACKLOG, why);
	if (fd < 0)
		return why_prefix(why, "control");
	if (control_rights_admit(rights, path, why) < 0) {
		close(fd);
		unlink(path);
		return -1;
	}
	return fd;
}

struct control *control_new(struct daemon *daemon, struct why *why)
{
	const char *path = daemon->settings->conf->control;
	struct control_rights rights;
	if (control_rights_find(&rights, daemon->settings->conf, why) < 0)
		return NULL;
	int fd = service_socket(path, 0);
	bool passed = fd >= 0;
	if (!passed)
		fd = open_socket(path, &rights, why);
	if (fd < 0)
		return NULL;
	struct control *control = mem_zero(sizeof(*control));
	control->daemon = daemon;
	control->path = mem_text(path);
	control->fd = fd;
	control->passed = passed;
	control->rights = rights;
	timer_init(&control->again, daemon->loop, accept_again, control);
	control->log = control_log_new(control);
	return control;
}

void control_start(struct control *control)
{
	control->event = loop_event_new(control->daemon->loop, control->fd,
	    EV_READ | EV_PERSIST, on_accept, control);
	loop_event_add(control->event);
}

void control_free(struct control *control)
{
	while (control->requests) {
		struct request *r = control->requests;
		conn_close(r->conn);
		request_drop(r);
	}
	while (control->leaving) {
		struct request *r = control->leaving;
		DL_DELETE(control->leaving, r);
		r->control = NULL;
		conn_close(r->conn);
	}
	timer_stop(&control->again);
	if (control->event)
		event_free(control->event);
	control_log_free(control->log);
	close(control->fd);
	if (!control->passed)
		unlink(control->path);
	mem_free(control->path);
	mem_free(control);
}
