/* SPDX-License-Identifier: MIT
 * The receiving half of the client: what a complete reply leads to. Each
 * function reports what there is to report and returns the next state; there
 * is no way out of one without a state.
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/client_internal.h"

/* The connection is over */

static struct client_result this_reply(const struct client *c)
{
	return (struct client_result){client_stage_of(c), &c->reply, NULL};
}

static void report(struct client *c, size_t i, const struct client_result *result)
{
	if (c->gone || c->reported[i])
		return;
	c->reported[i] = true;
	c->unreported--;
	c->handler->recipient(c->arg, i, result);
}

static enum client_state over(struct client *c, enum client_stage stage, enum why_kind kind,
    const char *format, va_list args) ATTR_PRINTF(4, 0);
static enum client_state over(struct client *c, enum client_stage stage, enum why_kind kind,
    const char *format, va_list args)
{
	char text[sizeof(c->why.text)];
	vsnprintf(text, sizeof(text), format, args);
	why_set(&c->why, kind, "%s", text);
	c->end = (struct client_result){stage, NULL, &c->why};
	return STATE_OVER;
}

enum client_state client_give_up(struct client *c, enum client_stage stage, enum why_kind kind,
    const char *format, ...)
{
	va_list args;
	va_start(args, format);
	enum client_state next = over(c, stage, kind, format, args);
	va_end(args);
	c->quit = true;
	return next;
}

enum client_state client_lost(struct client *c, enum why_kind kind, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	enum client_state next = over(c, client_stage_of(c), kind, format, args);
	va_end(args);
	return next;
}

enum client_state client_refused(struct client *c)
{
	c->end = this_reply(c);
	if (c->state == STATE_RCPT && !c->reported[c->at]) {
		c->ended_by_rcpt = true; /* the others may have had a good answer */
		report(c, c->at, &c->end);
	}
	/* after 421 the receiver closes; within a text QUIT would be text */
	c->quit = c->reply.code != 421 && c->state != STATE_TEXT && !conn_unsent(c->conn);
	return STATE_OVER;
}

enum client_state client_out_of_turn(struct client *c)
{
	struct buf text = {0};
	reply_summary(&c->reply, &text, 80);
	enum client_state next = client_lost(c, WHY_TEMP,
	    "the receiver answered out of turn: \"%s\" (expected %s)", buf_text(&text),
	    client_awaits(c));
	buf_free(&text);
	return next;
}

void client_report_rest(struct client *c, const struct client_result *result)
{
	for (size_t i = 0; i < c->count; i++)
		report(c, i, result);
}

static void report_rest_this(struct client *c)
{
	struct client_result result = this_reply(c);
	client_report_rest(c, &result);
}

/* From the greeting to readiness */

static enum client_state prepare(struct client *c);

static bool loops_back(const struct client *c)
{
	struct span word = span_buf(&c->reply.text);
	size_t n = 0;
	while (n < word.n && (unsigned char)word.p[n] > ' ')
		n++;
	word.n = n;
	return c->own_name && span_is_nocase(word, c->own_name);
}

static enum client_state give_up_loop(struct client *c)
{
	return client_give_up(c, client_stage_of(c), WHY_PERM,
	    "mails loop back to myself: %s[%s] calls itself %s", c->name, c->address,
	    c->own_name);
}

enum client_state client_greeted(struct client *c)
{
	return loops_back(c) ? give_up_loop(c) : STATE_EHLO;
}

static void take_size(struct client *c, struct span value)
{
	uint64_t n;
	c->offers.size = true;
	if (span_number(value, INT64_MAX, &n))
		c->offers.max_size = n;
}

static void take_auth(struct client *c, struct span list)
{
	enum auth_mechanism best = auth_choose(list);
	c->offers.auth_keyword = true;
	/* some offer it twice, the second time in the old form "AUTH=" */
	if (best == AUTH_PLAIN || c->offers.auth == AUTH_NONE)
		c->offers.auth = best;
}

static void take_keyword(struct client *c, struct span line)
{
	size_t n = 0;
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t' && line.p[n] != '=')
		n++;
	struct span word = {line.p, n};
	size_t skip = n < line.n ? n + 1 : n;
	struct span value = span_trim((struct span){line.p + skip, line.n - skip});
	if (span_is_nocase(word, "PIPELINING"))
		c->offers.pipelining = true;
	else if (span_is_nocase(word, "8BITMIME"))
		c->offers.eightbit = true;
	else if (span_is_nocase(word, "SMTPUTF8"))
		c->offers.smtputf8 = true;
	else if (span_is_nocase(word, "REQUIRETLS"))
		c->offers.require_tls = true;
	else if (span_is_nocase(word, "STARTTLS"))
		c->offers.starttls = true;
	else if (span_is_nocase(word, "DSN"))
		c->offers.dsn = true;
	else if (span_is_nocase(word, "SIZE"))
		take_size(c, value);
	else if (span_is_nocase(word, "AUTH"))
		take_auth(c, value);
}

/* All lines but the first, which is the receiver's name. The reply's own bounds
 * (lines kept, bytes of a line) bound this. */
static void take_offers(struct client *c)
{
	struct span rest = span_buf(&c->reply.text);
	span_cut(&rest, '\n');
	while (rest.n)
		take_keyword(c, span_trim(span_cut(&rest, '\n')));
}

enum client_state client_ehlo_accepted(struct client *c)
{
	if (loops_back(c))
		return give_up_loop(c);
	take_offers(c);
	return prepare(c);
}

/* Does a refusal of EHLO speak of the command alone (RFC 5321 sections 3.2 and 4.1.4)?
 * Receivers use any 5xx for that; an enhanced code tells those apart that mean us. */
static bool is_about_ehlo(const struct reply *reply)
{
	unsigned code = reply->code;
	if (code == 500 || code == 502 || code == 504)
		return true;
	return code >= 500 && (reply->enhanced.klass == 0 || reply->enhanced.subject == 5);
}

enum client_state client_ehlo_refused(struct client *c)
{
	return is_about_ehlo(&c->reply) ? STATE_HELO : client_refused(c);
}

enum client_state client_helo_accepted(struct client *c)
{
	return loops_back(c) ? give_up_loop(c) : prepare(c);
}

static bool is_loopback(const struct conn_address *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->addr;
	switch (a->addr.ss_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	default:
		return false;
	}
}

static enum client_state prepare_auth(struct client *c)
{
	if (!c->tls_text && !is_loopback(conn_peer(c->conn)))
		return client_give_up(c, CLIENT_AUTH, WHY_LOCAL,
		    "AUTH would send the password in the clear to %s: set its tls to "
		    "\"encrypt\", \"verify\" or \"implicit\"", c->name);
	switch (c->offers.auth) {
	case AUTH_PLAIN:
		return client_plain_is_short(c) ? STATE_AUTH_PLAIN : STATE_AUTH_ASK;
	case AUTH_LOGIN:
		return STATE_AUTH_LOGIN;
	case AUTH_NONE:
		break;
	}
	return client_give_up(c, CLIENT_AUTH, WHY_TEMP, "%s offers %s, expected PLAIN or LOGIN",
	    c->name, c->offers.auth_keyword ? "no AUTH mechanism that we speak" : "no AUTH");
}

/* TLS is settled, one way or the other. */
static enum client_state prepare_rest(struct client *c)
{
	return c->user ? prepare_auth(c) : STATE_IDLE;
}

static enum client_state prepare(struct client *c)
{
	if (c->tls == CLIENT_TLS_NONE || c->tls_text)
		return prepare_rest(c);
	if (c->offers.starttls)
		return STATE_STARTTLS;
	if (c->tls == CLIENT_TLS_MAY)
		return prepare_rest(c);
	return client_give_up(c, CLIENT_TLS, WHY_TEMP,
	    "TLS is required and %s does not offer STARTTLS", c->name);
}

enum client_state client_starttls_accepted(struct client *c)
{
	(void)c;
	return STATE_HANDSHAKE;
}

enum client_state client_starttls_refused(struct client *c)
{
	return c->tls == CLIENT_TLS_MAY ? prepare_rest(c) : client_refused(c);
}

static const char *verified_by(const struct client *c, SSL *ssl)
{
	uint8_t usage = 0;
	if (!client_tls_is_checked(c))
		return "no";
	if (c->tls != CLIENT_TLS_DANE)
		return "authority";
	/* not known of a session that was resumed; it was verified when it began */
	if (SSL_get0_dane_tlsa(ssl, &usage, NULL, NULL, NULL, NULL) < 0)
		return "dane";
	return usage == 3 ? "dane-ee" : "dane-ta";
}

enum client_state client_secured(struct client *c)
{
	SSL *ssl = conn_ssl(c->conn);
	struct buf text = {0};
	size_t n;
	/* the handshake has failed already when the certificate is not good; but
	 * nothing less than this result is a checked one */
	c->verify_error = SSL_get_verify_result(ssl);
	if (client_tls_is_checked(c) && c->verify_error != X509_V_OK)
		return client_lost(c, WHY_TEMP, "TLS: the certificate of %s is not valid", c->name);
	buf_addf(&text, "%s %s%s", SSL_get_version(ssl), SSL_get_cipher_name(ssl),
	    SSL_session_reused(ssl) ? " resumed" : "");
	mem_free(c->tls_text);
	c->tls_text = buf_take(&text, &n);
	c->verified = verified_by(c, ssl);
	if (!SSL_get0_peer_certificate(ssl))
		c->verify_error = X509_V_ERR_UNSPECIFIED;
	return c->tls == CLIENT_TLS_IMPLICIT ? STATE_BANNER : STATE_EHLO;
}

enum client_state client_auth_asked(struct client *c)
{
	(void)c;
	return STATE_AUTH_ANSWER;
}

enum client_state client_login_asked(struct client *c)
{
	(void)c;
	return STATE_AUTH_USER;
}

enum client_state client_user_asked(struct client *c)
{
	(void)c;
	return STATE_AUTH_PASSWORD;
}

enum client_state client_auth_accepted(struct client *c)
{
	mem_wipe(c->password, strlen(c->password));
	return STATE_IDLE;
}

/* The transaction */

/* It ends before a text was sent. */
static enum client_state abandon(struct client *c)
{
	return c->open ? STATE_RSET : STATE_IDLE;
}

enum client_state client_mail_accepted(struct client *c)
{
	c->open = true;
	return STATE_RCPT;
}

/* What went out with MAIL is still answered: go on, and take it in. */
enum client_state client_mail_refused(struct client *c)
{
	report_rest_this(c);
	return c->ahead ? STATE_RCPT : abandon(c);
}

static enum client_state next_recipient(struct client *c)
{
	if (++c->at < c->count)
		return STATE_RCPT;
	/* without one to write to, DATA is only waited for, not sent */
	return c->unreported || c->ahead ? STATE_DATA : abandon(c);
}

enum client_state client_rcpt_accepted(struct client *c)
{
	return next_recipient(c);
}

enum client_state client_rcpt_refused(struct client *c)
{
	struct client_result result = this_reply(c);
	report(c, c->at, &result);
	return next_recipient(c);
}

enum client_state client_data_accepted(struct client *c)
{
	if (c->unreported == 0)
		return STATE_EMPTY; /* RFC 2920 section 3.1: it waits for a text now */
	c->text_at = 0;
	body_encoder_init(&c->encoder);
	return STATE_TEXT;
}

enum client_state client_data_refused(struct client *c)
{
	report_rest_this(c);
	return abandon(c);
}

enum client_state client_delivered(struct client *c)
{
	if (conn_unsent(c->conn))
		return client_out_of_turn(c); /* it has not even seen the end */
	report_rest_this(c);
	c->open = false;
	return STATE_IDLE;
}

enum client_state client_end_refused(struct client *c)
{
	/* an early reply: who knows how the receiver takes what is still to come */
	if (conn_unsent(c->conn))
		return client_refused(c);
	report_rest_this(c);
	c->open = false;
	return STATE_IDLE;
}

enum client_state client_empty_answered(struct client *c)
{
	c->open = false;
	return STATE_IDLE;
}

enum client_state client_reset(struct client *c)
{
	c->open = false;
	return STATE_IDLE;
}

/* All recipients have their results, and this is none: who knows what state the receiver is in. */
enum client_state client_reset_refused(struct client *c)
{
	struct buf text = {0};
	reply_summary(&c->reply, &text, 80);
	enum client_state next = client_give_up(c, CLIENT_MAIL, WHY_TEMP,
	    "%s refused RSET: \"%s\"", c->name, buf_text(&text));
	buf_free(&text);
	return next;
}
