/* SPDX-License-Identifier: MIT
 * A session with relayd up to where MAIL can be sent: connection, greeting, TLS,
 * AUTH. With TLS configured nothing is sent in the clear, and no password goes to
 * whom nobody has verified.
 */
#include <inttypes.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/sendmail_submit.h"
#include "smtp/auth.h"

#define REPLY_SHOWN 400
#define QUIT_MS 2000

static int64_t soon(const struct sendmail_session *s)
{
	return clock_mono_ms() + s->config->timeout_ms;
}

static const char *peer_name(const struct sendmail_session *s)
{
	return s->config->host ? s->config->host : s->config->socket;
}

static int broken(struct sendmail_session *s, const struct why *why)
{
	sendmail_fail(s->report, EX_TEMPFAIL, "%s: %s", peer_name(s), why->text);
	return -1;
}

int sendmail_session_write(struct sendmail_session *s, struct span bytes)
{
	struct why why = {0};
	return sendmail_link_write(&s->link, bytes, soon(s), &why) < 0 ? broken(s, &why) : 0;
}

int sendmail_session_reply(struct sendmail_session *s)
{
	struct why why = {0};
	struct span line;
	int64_t deadline = soon(s);
	int more = 0;
	reply_clear(&s->reply);
	while (more == 0) {
		if (sendmail_link_line(&s->link, &line, deadline, &why) < 0)
			return broken(s, &why);
		more = reply_take_line(&s->reply, line);
	}
	if (more > 0)
		return 0;
	why_set(&why, WHY_TEMP, "what it says is not SMTP");
	return broken(s, &why);
}

int sendmail_session_refused(struct sendmail_session *s, const char *what, bool recipient)
{
	struct buf text = {0};
	int status = sendmail_reply_status(&s->reply, recipient);
	s->refused |= s->reply.code != 421;
	reply_summary(&s->reply, &text, REPLY_SHOWN);
	sendmail_fail(s->report, status, "%s: %s", what, buf_text(&text));
	buf_free(&text);
	return -1;
}

int sendmail_session_command(struct sendmail_session *s, struct span bytes, unsigned wanted,
    const char *what)
{
	if (sendmail_session_write(s, bytes) < 0 || sendmail_session_reply(s) < 0)
		return -1;
	return s->reply.code / 100 == wanted ? 0 : sendmail_session_refused(s, what, false);
}

/* ---- greeting ---- */

static void note_extension(struct sendmail_session *s, struct span line)
{
	const char *space = line.n ? memchr(line.p, ' ', line.n) : NULL;
	struct span word = {line.p, space ? (size_t)(space - line.p) : line.n};
	s->pipelining |= span_is_nocase(word, "PIPELINING");
	s->eightbit |= span_is_nocase(word, "8BITMIME");
	s->smtputf8 |= span_is_nocase(word, "SMTPUTF8");
	s->size |= span_is_nocase(word, "SIZE");
	s->dsn |= span_is_nocase(word, "DSN");
	s->starttls |= span_is_nocase(word, "STARTTLS");
	if (span_is_nocase(word, "AUTH") && space) {
		buf_clear(&s->auth);
		buf_add(&s->auth, space + 1, line.n - word.n - 1);
	}
}

static int say_ehlo(struct sendmail_session *s)
{
	struct buf command = {0};
	buf_addf(&command, "EHLO %s\r\n", s->hostname);
	int result = sendmail_session_command(s, span_buf(&command), 2, peer_name(s));
	buf_free(&command);
	if (result < 0)
		return -1;
	s->greeted = true;
	s->pipelining = s->eightbit = s->smtputf8 = s->size = s->starttls = s->dsn = false;
	buf_clear(&s->auth);
	/* the first line is its name */
	const char *at = strchr(buf_text(&s->reply.text), '\n');
	while (at) {
		const char *end = strchr(++at, '\n');
		note_extension(s, (struct span){at, end ? (size_t)(end - at) : strlen(at)});
		at = end;
	}
	return 0;
}

static int start_tls(struct sendmail_session *s)
{
	struct why why = {0};
	const struct sendmail_config *c = s->config;
	if (c->tls == SENDMAIL_TLS_STARTTLS) {
		if (!s->starttls) {
			why_set(&why, WHY_TEMP, "it does not offer STARTTLS; nothing is sent in the "
			    "clear (tls = \"none\" would allow it)");
			return broken(s, &why);
		}
		if (sendmail_session_command(s, span_text("STARTTLS\r\n"), 2, "STARTTLS") < 0)
			return -1;
	}
	if (sendmail_link_tls(&s->link, c->host, c->ca_file, soon(s), &why) < 0) {
		sendmail_fail(s->report, why.kind == WHY_LOCAL ? EX_CONFIG : EX_TEMPFAIL, "%s",
		    why.text);
		return -1;
	}
	return 0;
}

/* ---- AUTH ---- */

static int send_secret(struct sendmail_session *s, const char *before, const struct buf *base64,
    unsigned wanted)
{
	struct buf line = {0};
	buf_room(&line, strlen(before) + base64->len + 2);
	buf_addf(&line, "%s", before);
	buf_add(&line, base64->data, base64->len);
	buf_add(&line, "\r\n", 2);
	int result = sendmail_session_command(s, span_buf(&line), wanted, "login");
	buf_wipe(&line);
	return result;
}

static int auth_login(struct sendmail_session *s)
{
	const char *words[] = {s->config->user, s->config->password};
	int result = sendmail_session_command(s, span_text("AUTH LOGIN\r\n"), 3, "login");
	for (size_t i = 0; i < 2 && result == 0; i++) {
		struct buf base64 = {0};
		buf_room(&base64, strlen(words[i]) / 3 * 4 + 4);
		text_base64(&base64, span_text(words[i]));
		result = send_secret(s, "", &base64, i == 0 ? 3 : 2);
		buf_wipe(&base64);
	}
	return result;
}

static int auth_plain_now(struct sendmail_session *s)
{
	struct buf base64 = {0};
	auth_plain(&base64, s->config->user, s->config->password);
	int result = send_secret(s, "AUTH PLAIN ", &base64, 2);
	buf_wipe(&base64);
	return result;
}

static int log_in(struct sendmail_session *s)
{
	if (!s->link.ssl && !s->link.loopback) {
		sendmail_fail(s->report, EX_CONFIG, "%s: no password is sent in the clear; set tls",
		    peer_name(s));
		return -1;
	}
	switch (auth_choose(span_buf(&s->auth))) {
	case AUTH_PLAIN:
		return auth_plain_now(s);
	case AUTH_LOGIN:
		return auth_login(s);
	case AUTH_NONE:
		break;
	}
	sendmail_fail(s->report, EX_UNAVAILABLE, "%s: it offers neither AUTH PLAIN nor AUTH LOGIN",
	    peer_name(s));
	return -1;
}

/* ---- opening and closing ---- */

static int connect_relay(struct sendmail_session *s)
{
	struct why why = {0};
	const struct sendmail_config *c = s->config;
	int result = c->host ? sendmail_link_tcp(&s->link, c->host, c->port, soon(s), &why)
			     : sendmail_link_unix(&s->link, c->socket, &why);
	if (result < 0)
		sendmail_fail(s->report, EX_TEMPFAIL, "no connection to relayd: %s", why.text);
	return result;
}

static int greet_relay(struct sendmail_session *s)
{
	bool remote = s->config->host != NULL;
	if (remote && s->config->tls == SENDMAIL_TLS_IMPLICIT && start_tls(s) < 0)
		return -1;
	if (sendmail_session_reply(s) < 0)
		return -1;
	if (s->reply.code / 100 != 2)
		return sendmail_session_refused(s, peer_name(s), false);
	if (say_ehlo(s) < 0)
		return -1;
	if (remote && s->config->tls == SENDMAIL_TLS_STARTTLS &&
	    (start_tls(s) < 0 || say_ehlo(s) < 0))
		return -1;
	return remote && s->config->user ? log_in(s) : 0;
}

int sendmail_session_open(struct sendmail_session *s, const struct sendmail_config *config,
    const char *hostname, bool greet, struct sendmail_report *report)
{
	*s = (struct sendmail_session){.config = config, .hostname = hostname, .report = report,
	    .link = {.fd = -1}};
	if (connect_relay(s) < 0 || ((greet || config->host) && greet_relay(s) < 0))
		return report->status;
	return EX_OK;
}

void sendmail_session_close(struct sendmail_session *s)
{
	struct why why;
	struct span line;
	int64_t deadline = clock_mono_ms() + QUIT_MS;
	/* best effort: its reply changes nothing, but who leaves before it comes looks
	 * like a broken connection */
	if (s->greeted &&
	    sendmail_link_write(&s->link, span_text("QUIT\r\n"), deadline, &why) == 0 &&
	    sendmail_link_line(&s->link, &line, deadline, &why) == 0)
		s->greeted = false;
	sendmail_link_close(&s->link);
	reply_free(&s->reply);
	buf_free(&s->auth);
}
