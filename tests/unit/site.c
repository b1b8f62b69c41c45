/* SPDX-License-Identifier: MIT
 * The provider of site.h, on conn.
 */
#include "tests/unit/site.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/conn.h"
#include "relayd/base/mem.h"

#define SITE_LINE_MAX 4096
#define SITE_INPUT_MAX 65536

const char site_reset[] = "reset";
const char site_silent[] = "silent";

struct site_session {
	struct site *site;
	struct conn *conn;
	struct site_mail mail;
	bool in_text;
	bool mute;
	struct site_session *prev;
	struct site_session *next;
};

static void session_end(struct site_session *s)
{
	DL_DELETE(s->site->sessions, s);
	s->site->silent -= s->mute;
	conn_close(s->conn);
	mem_free(s);
}

static void say(struct site_session *s, const char *text)
{
	for (const char *end; *text; text = end + (*end == '\n')) {
		end = strchrnul(text, '\n');
		conn_write(s->conn, text, (size_t)(end - text));
		conn_write(s->conn, "\r\n", 2);
	}
}

static const char *ask(struct site *site, const char *source, const struct site_mail *mail,
    enum site_stage stage, const char *argument)
{
	struct site_ask question = {
	    .site = site,
	    .stage = stage,
	    .source = source,
	    .sender = mail ? mail->sender : "",
	    .argument = argument,
	    .now_ms = clock_mono_ms() - site->opened_ms,
	};
	return site->script ? site->script(&question) : NULL;
}

/* What the script wants, or the USUAL answer. False: the session is over. YES: the
 * usual thing was said. */
static bool answer(struct site_session *s, enum site_stage stage, const char *argument,
    const char *usual, bool *yes)
{
	const char *text = ask(s->site, s->mail.source, &s->mail, stage, argument);
	*yes = text == NULL;
	if (text == site_silent) {
		s->site->silent += !s->mute;
		s->mute = true;
	} else if (text == site_reset) {
		session_end(s);
		return false;
	} else {
		say(s, text ? text : usual);
	}
	return true;
}

/* What stands between < and >. */
static void take_address(struct span line, char *to, size_t size)
{
	const char *from = memchr(line.p, '<', line.n);
	const char *end = memchr(line.p, '>', line.n);
	size_t n = from && end > from ? (size_t)(end - from - 1) : 0;
	snprintf(to, size, "%.*s", (int)n, from ? from + 1 : "");
}

static bool on_rcpt(struct site_session *s, struct span line)
{
	char address[256];
	size_t n = strlen(s->mail.recipients);
	bool yes;
	take_address(line, address, sizeof(address));
	if (!answer(s, SITE_RCPT, address, "250 2.1.5 ok", &yes))
		return false;
	if (yes)
		snprintf(s->mail.recipients + n, sizeof(s->mail.recipients) - n, "%s%s",
		    n ? " " : "", address);
	return true;
}

static bool on_end(struct site_session *s)
{
	struct site *site = s->site;
	bool yes;
	s->in_text = false;
	if (!answer(s, SITE_END, "", "250 2.0.0 taken", &yes))
		return false;
	if (yes) {
		s->mail.at_ms = clock_mono_ms() - site->opened_ms;
		site->mails = mem_resize(site->mails, site->mail_count + 1, sizeof(s->mail));
		site->mails[site->mail_count++] = s->mail;
	}
	return true;
}

static bool begins(struct span line, const char *verb)
{
	size_t n = strlen(verb);
	return line.n >= n && strncasecmp(line.p, verb, n) == 0;
}

/* False: the session is over. */
static bool on_line(struct site_session *s, struct span line)
{
	bool yes;
	if (s->in_text && line.n == 1 && *line.p == '.')
		return on_end(s);
	if (s->in_text) {
		buf_add(&s->site->text, line.p, line.n);
		buf_add_byte(&s->site->text, '\n');
		return true;
	}
	if (begins(line, "RCPT"))
		return on_rcpt(s, line);
	if (begins(line, "MAIL")) {
		take_address(line, s->mail.sender, sizeof(s->mail.sender));
		s->mail.recipients[0] = '\0';
		return answer(s, SITE_MAIL, "", "250 2.1.0 ok", &yes);
	}
	if (begins(line, "DATA")) {
		s->in_text = s->mail.recipients[0] != '\0';
		buf_clear(&s->site->text);
		say(s, s->in_text ? "354 go on" : "554 5.5.1 no valid recipients");
	} else if (begins(line, "EHLO")) {
		say(s, "250-site.test\n250-PIPELINING\n250 8BITMIME");
	} else if (begins(line, "QUIT")) {
		session_end(s);
		return false;
	} else {
		say(s, "250 2.0.0 ok");
	}
	return true;
}

static void on_event(struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct site_session *s = arg;
	struct span line;
	(void)why;
	s->site->activity++;
	if (event == CONN_CLOSED || event == CONN_FAILED) {
		session_end(s);
		return;
	}
	while (event == CONN_INPUT && conn_line(conn, SITE_LINE_MAX, &line) == CONN_LINE)
		if (!s->mute && !on_line(s, line))
			return;
}

static void hang_up(int fd)
{
	struct linger linger = {1, 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static void on_connection(evutil_socket_t listener, short what, void *arg)
{
	struct site *site = arg;
	struct conn_address peer = {.len = sizeof(peer.addr)};
	char source[CONN_ADDRESS_TEXT];
	(void)what;
	int fd = accept4(listener, (struct sockaddr *)&peer.addr, &peer.len,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	site->activity++;
	site->connections++;
	conn_address_text(&peer, source);
	const char *text = ask(site, source, NULL, SITE_CONNECT, "");
	if (text == site_reset) {
		hang_up(fd);
		return;
	}
	struct site_session *s = mem_zero(sizeof(*s));
	s->site = site;
	s->mute = text == site_silent;
	site->silent += s->mute;
	snprintf(s->mail.source, sizeof(s->mail.source), "%s", source);
	s->conn = conn_accept(site->loop, fd, SITE_INPUT_MAX, on_event, s);
	DL_APPEND(site->sessions, s);
	if (!s->mute)
		say(s, text ? text : "220 site.test ESMTP");
}

void site_open(struct site *site, struct loop *loop, const char *address, uint16_t port,
    site_script *script)
{
	struct conn_address at;
	int yes = 1;
	*site = (struct site){.loop = loop, .script = script, .opened_ms = clock_mono_ms()};
	if (conn_address_parse(&at, address, port) != 0)
		bug("no address to listen at");
	site->listener = socket(at.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(site->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(site->listener, (struct sockaddr *)&at.addr, at.len) != 0 ||
	    listen(site->listener, 128) != 0)
		bug("can not listen");
	site->event = event_new(loop_base(loop), site->listener, EV_READ | EV_PERSIST,
	    on_connection, site);
	event_add(site->event, NULL);
}

void site_close(struct site *site)
{
	while (site->sessions)
		session_end(site->sessions);
	event_free(site->event);
	close(site->listener);
	mem_free(site->mails);
	buf_free(&site->text);
}

size_t site_count(const struct site *site, const char *source)
{
	size_t n = 0;
	for (size_t i = 0; i < site->mail_count; i++)
		n += strcmp(site->mails[i].source, source) == 0;
	return n;
}

uint16_t site_free_port(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t n = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&any, n) != 0 ||
	    getsockname(fd, (struct sockaddr *)&any, &n) != 0)
		bug("no port is free");
	close(fd);
	return ntohs(any.sin_port);
}
