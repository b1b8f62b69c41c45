/* SPDX-License-Identifier: MIT
 * The client's dialogue: what MAIL, RCPT, DATA and the text are answered, and how
 * they fill a submission. Where the text is complete intake.c takes over.
 */
#include "relayd/intake_internal.h"

#include <utlist.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "smtp/tls_server.h"
#include "relayd/dsn.h"

bool intake_has_room(const struct intake *intake, const struct conf *conf, struct reply *reply)
{
	if (spool_is_full(intake->options.spool)) {
		reply_set(reply, 452, "4.3.1", "the spool's disk is full, try again later");
		return false;
	}
	if (intake->options.queued(intake->options.arg) >= (size_t)conf->limits.queue_messages) {
		reply_set(reply, 452, "4.3.2", "the queue is full (limits.queue_messages), try again later");
		return false;
	}
	return true;
}

static const char *login_of_certificate(const struct conf *conf, SSL *ssl)
{
	for (size_t i = 0; i < conf->client_count; i++)
		for (size_t k = 0; k < conf->clients[i].certificate_count; k++)
			if (tls_client_is(ssl, conf->clients[i].certificates[k]))
				return conf->clients[i].login;
	return NULL;
}

/* A certificate does what a password does, and counts where there was none. */
static const char *user_of(struct session *session, const struct server_info *info)
{
	struct log_line line;
	if (info->user || !info->ssl || session->certificate_seen)
		return info->user ? info->user : session->certificate_login;
	session->certificate_seen = true;
	session->certificate_login = login_of_certificate(session->settings->conf, info->ssl);
	if (session->certificate_login) {
		log_begin(&line, LOG_LEVEL_INFO, "auth");
		log_add_text(&line, "result", "ok");
		log_add_text(&line, "client", session->client);
		log_add_text(&line, "user", session->certificate_login);
		log_add_text(&line, "mechanism", "certificate");
		log_end(&line);
	}
	return session->certificate_login;
}

static bool on_mail(void *arg, const struct command_mail *mail, struct reply *reply)
{
	struct session *session = arg;
	struct intake *intake = session->intake;
	struct server_info info = server_info(session->server);
	const char *user = user_of(session, &info);
	if (session->auth && !session->peer.trusted && !user) {
		reply_set(reply, 530, "5.7.0", "log in first (AUTH%s)", info.tls ? "" : ", with TLS");
		return false;
	}
	if (!intake_has_room(intake, session->settings->conf, reply))
		return false;
	if (!session->peer.may_send(session->peer.arg)) {
		reply_set(reply, 450, "4.7.1",
		    "too many messages from you within a minute (limits.messages_per_minute)");
		return false;
	}
	struct submission *sub = submission_new(intake, session->settings, random_u64());
	sub->session = session;
	sub->envelope.sender = span_dup(mail->from.text);
	sub->envelope.client = mem_text(session->client);
	sub->envelope.user = mem_text(user ? user : "");
	sub->envelope.smtputf8 = mail->smtputf8;
	sub->envelope.require_tls = mail->require_tls;
	dsn_take_mail(&sub->envelope, mail);
	buf_add_text(&sub->protocol, info.protocol);
	buf_add(&sub->helo, info.helo.p, info.helo.n);
	session->submission = sub;
	return true;
}

/* Where a recipient without domain (<postmaster>, cron's <root>) is: the default domain.
 * Without one (no domains at all) only the postmaster is somewhere, as RFC 5321 section
 * 4.5.1 demands: at our host. "": nowhere. */
static const char *home_of(const struct conf *conf, struct span local)
{
	if (conf->return_path.default_domain[0])
		return conf->return_path.default_domain;
	return span_is_nocase(local, "postmaster") ? conf->hostname : "";
}

int intake_add_recipient(const struct conf *conf, struct envelope *e, const struct address *to,
    struct reply *reply)
{
	const char *ours = home_of(conf, to->local);
	struct buf text = {0};
	if (to->form == ADDRESS_DOMAIN && !memchr(to->domain.p, '.', to->domain.n)) {
		reply_set(reply, 550, "5.1.2",
		    "no mail leaves for a domain without a dot; use a full domain name");
		return -1;
	}
	if (to->form == ADDRESS_LOCAL && !ours[0]) {
		reply_set(reply, 550, "5.1.3",
		    "a recipient without domain needs return_path.default_domain to be set");
		return -1;
	}
	buf_add(&text, to->text.p, to->text.n);
	if (to->form == ADDRESS_LOCAL)
		buf_addf(&text, "@%s", ours);
	envelope_add_recipient(e, buf_take(&text, NULL));
	e->smtputf8 |= to->utf8;
	return 0;
}

static bool on_rcpt(void *arg, const struct command_rcpt *rcpt, struct reply *reply)
{
	struct session *session = arg;
	struct submission *sub = session->submission;
	if (!session->peer.trusted && !sub->envelope.user[0]) {
		reply_set(reply, 554, "5.7.1",
		    session->peer.unnamed
			? "relay access denied: the PROXY header of %s names no client, and nobody has "
			  "logged in"
			: "relay access denied: %s is not in trusted_networks and has not logged in",
		    session->client);
		return false;
	}
	if (intake_add_recipient(session->settings->conf, &sub->envelope, &rcpt->to, reply) < 0)
		return false;
	dsn_take_recipient(&sub->envelope, rcpt);
	return true;
}

static bool on_data(void *arg, struct reply *reply)
{
	struct session *session = arg;
	return intake_has_room(session->intake, session->settings->conf, reply);
}

static bool on_text(void *arg, struct span piece)
{
	struct session *session = arg;
	return submission_text(session->submission, piece);
}

static void on_refused(void *arg, struct span from, struct span to, const struct reply *reply)
{
	struct session *session = arg;
	if (!from.p && session->submission)
		from = span_text(session->submission->envelope.sender);
	session_log_refusal(session, from, to, reply);
}

static void on_abort(void *arg)
{
	struct session *session = arg;
	submission_free(session->submission);
	session->submission = NULL;
}

static void on_end(void *arg)
{
	struct session *session = arg;
	submission_end(session->submission);
}

/* ---- login ---- */

static void on_judged(void *arg, enum server_login verdict)
{
	struct session *session = arg;
	session->login = NULL;
	server_login(session->server, verdict);
}

static void on_login(void *arg, const struct server_claim *claim)
{
	struct session *session = arg;
	session->login = login_begin(session->intake->options.login, claim, session->client,
	    on_judged, session);
}

static void on_keys(void *arg, const char *user, struct auth_keys *keys)
{
	struct session *session = arg;
	login_keys(session->intake->options.login, user, keys);
}

static void on_closed(void *arg)
{
	struct session *session = arg;
	struct intake *intake = session->intake;
	/* a message whose answer is owed goes on without its client */
	if (session->submission)
		session->submission->session = NULL;
	if (session->login)
		login_cancel(session->login);
	DL_DELETE(intake->sessions, session);
	intake->session_count--;
	session->peer.over(session->peer.arg);
	settings_unref(session->settings);
	mem_free(session->client);
	mem_free(session);
}

void intake_session(struct intake *intake, struct conn *conn, const struct conf_listen *listen,
    const struct intake_peer *peer)
{
	static const struct server_handler handler = {
	    .mail = on_mail,
	    .rcpt = on_rcpt,
	    .data = on_data,
	    .text = on_text,
	    .end = on_end,
	    .refused = on_refused,
	    .abort = on_abort,
	    .login = on_login,
	    .keys = on_keys,
	    .closed = on_closed,
	};
	const struct conf *conf = intake->settings->conf;
	struct session *session = mem_zero(sizeof(*session));
	session->intake = intake;
	session->settings = settings_ref(intake->settings);
	session->peer = *peer;
	session->auth = listen->auth;
	session->client = mem_text(peer->client);
	session->peer.client = session->client;
	DL_APPEND(intake->sessions, session);
	intake->session_count++;
	struct server_options options = {
	    .hostname = conf->hostname,
	    .limits = &conf->limits,
	    .bare_newline = conf->bare_newline,
	    .tls = listen->tls == CONF_LISTEN_TLS_NONE ? NULL : intake->settings->server_tls,
	    .tls_now = listen->tls == CONF_LISTEN_TLS_IMPLICIT,
	    .auth = listen->auth,
	    .auth_clear = listen->tls == CONF_LISTEN_TLS_NONE,
	};
	session->server = server_new(conn, &options, &handler, session);
}

void intake_shut(struct intake *intake)
{
	struct session *session;
	DL_FOREACH (intake->sessions, session)
		server_shut(session->server, "4.3.2", "relayd is shutting down");
}

size_t intake_sessions(const struct intake *intake)
{
	return intake->session_count;
}
