/* SPDX-License-Identifier: MIT
 * `relayctl log`: the last lines of the daemon, and with -f those that come. A
 * follower that does not keep up loses lines and never slows the daemon.
 */
#include <string.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/control_internal.h"

#define KEPT 500
#define KEPT_OF_FOLLOWER 10 /* to begin with */

struct control_log {
	struct control *control;
	char *lines[KEPT];
	uint64_t count; /* ever; the line with number N is at N % KEPT */
};

/* As it stands in the log: printable, and what is escaped in it is so once. */
static void send_line(struct request *r, const char *line)
{
	json_t *value = json_string(line);
	/* a long one may have been cut within a character */
	request_row(r, json_pack("{s:o}", "line", value ? value : json_safe(span_text(line))));
}

static void send_newest(struct request *r)
{
	const struct control_log *log = control_log_of(r->control);
	if (request_has_room(r))
		send_line(r, log->lines[(log->count - 1) % KEPT]);
}

static void on_line(struct span line, void *arg)
{
	struct control_log *log = arg;
	char **place = &log->lines[log->count % KEPT];
	mem_free(*place);
	*place = span_dup(line);
	log->count++;
	control_each_follower(log->control, send_newest);
}

struct control_log *control_log_new(struct control *control)
{
	struct control_log *log = mem_zero(sizeof(*log));
	log->control = control;
	log_tap(on_line, log);
	return log;
}

void control_log_free(struct control_log *log)
{
	log_tap(NULL, NULL);
	for (size_t i = 0; i < KEPT; i++)
		mem_free(log->lines[i]);
	mem_free(log);
}

static bool log_page(struct request *r)
{
	const struct control_log *log = control_log_of(r->control);
	uint64_t oldest = log->count > KEPT ? log->count - KEPT : 0;
	if (r->log_at < oldest)
		r->log_at = oldest; /* overtaken */
	if (r->log_at >= log->count)
		return false;
	send_line(r, log->lines[r->log_at++ % KEPT]);
	return true;
}

static void follow(struct request *r)
{
	const struct control_log *log = control_log_of(r->control);
	r->log_at = log->count > KEPT_OF_FOLLOWER ? log->count - KEPT_OF_FOLLOWER : 0;
	while (log_page(r))
		;
	r->following = true;
	conn_deadline(r->conn, -1);
}

void control_log(struct request *r)
{
	bool on = r->argc == 1 && strcmp(r->argv[0], "-f") == 0;
	if (r->argc > 0 && !on) {
		request_misused(r, "log takes -f or nothing");
		return;
	}
	request_ok(r);
	if (on)
		follow(r);
	else
		request_pages(r, log_page);
}
