/* SPDX-License-Identifier: MIT
 * The sending half of the client: one function for each command. All of them go
 * through write_line, which lets no argument carry a line end; only the text of
 * a message goes past it, through the dot-stuffing encoder.
 */
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/client_internal.h"

#define PIECE 65536u       /* bytes of text read and written at a time */
#define COMMAND_LINE_MAX 512 /* RFC 5321 section 4.5.3.1.4, with CRLF */

/* The one formatter (an argument with CR or LF would be a command of its own).
 * Addresses and names were parsed before they got here, so this is a bug. */
static void write_line(struct client *c, const char *format, ...) ATTR_PRINTF(2, 3);
static void write_line(struct client *c, const char *format, ...)
{
	struct buf line = {0};
	va_list args;
	va_list again;
	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n < 0)
		bug("bad format");
	/* in one go: growing would leave copies of a password behind */
	char *to = buf_room(&line, (size_t)n + 2);
	vsnprintf(to, (size_t)n + 1, format, args);
	va_end(args);
	line.len = (size_t)n;
	if (memchr(line.data, '\r', line.len) || memchr(line.data, '\n', line.len) ||
	    memchr(line.data, '\0', line.len))
		bug("a line end within an SMTP command");
	buf_add(&line, "\r\n", 2);
	conn_write(c->conn, line.data, line.len);
	buf_wipe(&line);
}

enum client_state client_send_ehlo(struct client *c)
{
	/* what was said before TLS may have been said by anybody */
	c->offers = (struct client_offers){0};
	write_line(c, "EHLO %s", c->hostname);
	return STATE_WAIT;
}

enum client_state client_send_helo(struct client *c)
{
	write_line(c, "HELO %s", c->hostname);
	return STATE_WAIT;
}

enum client_state client_send_starttls(struct client *c)
{
	write_line(c, "STARTTLS");
	return STATE_WAIT;
}

bool client_tls_is_checked(const struct client *c)
{
	return c->tls == CLIENT_TLS_VERIFY || c->tls == CLIENT_TLS_IMPLICIT ||
	       c->tls == CLIENT_TLS_DANE;
}

/* The certificate must be valid and carry the name (or address) we went for. */
static int demand_name(SSL *ssl, const char *name, bool is_address)
{
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (is_address)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	return SSL_set1_host(ssl, name);
}

/* The records decide; their base is the name in SNI, too (RFC 7672 section 8.1). A
 * certificate below a DANE-TA may also carry the name of the domain (3.2.2). */
static int demand_dane(struct client *c, SSL *ssl)
{
	int taken = 0;
	if (SSL_dane_enable(ssl, c->dane->base) != 1)
		return -1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	for (size_t i = 0; i < c->dane->count; i++) {
		const struct dane_record *r = &c->dane->records[i];
		taken += SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, r->data,
			     r->len) == 1;
	}
	if (c->domain && *c->domain && SSL_add1_host(ssl, c->domain) != 1)
		return -1;
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return taken ? 0 : -1;
}

static int set_up(struct client *c, SSL *ssl)
{
	struct conn_address a;
	if (c->tls == CLIENT_TLS_DANE)
		return demand_dane(c, ssl);
	/* "[192.0.2.1]" of a recipient's domain is no name (RFC 6066 section 3): strict
	 * receivers refuse the handshake for it */
	const char *name = c->name[0] == '[' ? c->address : c->name;
	bool is_address = conn_address_parse(&a, name, 0) == 0;
	if (!is_address && SSL_set_tlsext_host_name(ssl, name) != 1)
		return -1;
	bool checked = client_tls_is_checked(c);
	SSL_set_verify(ssl, checked ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (checked || c->observe)
		return demand_name(ssl, name, is_address) == 1 ? 0 : -1;
	return 0;
}

enum client_state client_send_handshake(struct client *c)
{
	struct why why = {0};
	SSL *ssl = SSL_new(c->ctx);
	if (!ssl)
		return client_lost(c, WHY_LOCAL, "TLS: no memory for a session");
	if (set_up(c, ssl) != 0) {
		SSL_free(ssl);
		return client_lost(c, WHY_PERM, "TLS: \"%s\" can not be the name of a host",
		    c->name);
	}
	if (c->sessions)
		tls_sessions_use(c->sessions, ssl, c->session_key);
	if (conn_start_ssl(c->conn, ssl, false, &why) != 0)
		return client_lost(c, WHY_TEMP, "%s", why.text);
	return STATE_WAIT;
}

bool client_plain_is_short(const struct client *c)
{
	size_t raw = 2 + strlen(c->user) + strlen(c->password);
	size_t encoded = (raw + 2) / 3 * 4;
	return strlen("AUTH PLAIN ") + encoded + 2 <= COMMAND_LINE_MAX;
}

static void write_plain(struct client *c, const char *before)
{
	struct buf answer = {0};
	buf_room(&answer, 2 * (4 + strlen(c->user) + strlen(c->password)));
	auth_plain(&answer, c->user, c->password);
	write_line(c, "%s%s", before, buf_text(&answer));
	buf_wipe(&answer);
}

enum client_state client_send_auth_plain(struct client *c)
{
	write_plain(c, "AUTH PLAIN ");
	return STATE_WAIT;
}

enum client_state client_send_auth_ask(struct client *c)
{
	write_line(c, "AUTH PLAIN");
	return STATE_WAIT;
}

enum client_state client_send_auth_answer(struct client *c)
{
	write_plain(c, "");
	return STATE_WAIT;
}

enum client_state client_send_auth_login(struct client *c)
{
	write_line(c, "AUTH LOGIN");
	return STATE_WAIT;
}

static enum client_state write_base64(struct client *c, const char *text)
{
	struct buf answer = {0};
	buf_room(&answer, 2 * (4 + strlen(text)));
	text_base64(&answer, span_text(text));
	write_line(c, "%s", buf_text(&answer));
	buf_wipe(&answer);
	return STATE_WAIT;
}

enum client_state client_send_user(struct client *c)
{
	return write_base64(c, c->user);
}

enum client_state client_send_password(struct client *c)
{
	return write_base64(c, c->password);
}

/* DSN parameters, for a receiver that knows them. */
static const char *dsn_of(const struct client *c, const char *parameters)
{
	return c->offers.dsn && parameters ? parameters : "";
}

static void write_rcpt(struct client *c, size_t i)
{
	const struct client_message *m = c->message;
	write_line(c, "RCPT TO:<%s>%s", m->recipients[i],
	    dsn_of(c, m->rcpt_dsn ? m->rcpt_dsn[i] : NULL));
}

static void write_mail(struct client *c)
{
	const struct client_message *m = c->message;
	char size[32] = "";
	if (c->offers.size)
		snprintf(size, sizeof(size), " SIZE=%llu", (unsigned long long)m->size);
	write_line(c, "MAIL FROM:<%s>%s%s%s%s%s", m->sender, size,
	    m->eightbit ? " BODY=8BITMIME" : "", m->smtputf8 ? " SMTPUTF8" : "",
	    m->require_tls ? " REQUIRETLS" : "",
	    dsn_of(c, m->mail_dsn));
}

/* With pipelining all commands up to DATA leave together (RFC 2920); the
 * connection sends once, at the end of the turn. */
enum client_state client_send_mail(struct client *c)
{
	c->at = 0;
	write_mail(c);
	if (!c->offers.pipelining)
		return STATE_WAIT;
	for (size_t i = 0; i < c->count; i++)
		write_rcpt(c, i);
	write_line(c, "DATA");
	c->ahead = c->count + 1;
	return STATE_WAIT;
}

enum client_state client_send_rcpt(struct client *c)
{
	write_rcpt(c, c->at);
	return STATE_WAIT;
}

enum client_state client_send_data(struct client *c)
{
	write_line(c, "DATA");
	return STATE_WAIT;
}

/* Read a piece from the owner, write it. -1: it can not be read. */
static int write_piece(struct client *c, struct buf *out)
{
	const struct client_message *m = c->message;
	struct buf raw = {0};
	uint64_t left = m->size - c->text_at;
	size_t want = left < PIECE ? (size_t)left : PIECE;
	ssize_t n = m->read(m->arg, c->text_at, buf_room(&raw, want), want);
	if (n > 0 && (size_t)n <= want) {
		c->text_at += (size_t)n;
		body_encode(&c->encoder, raw.data, (size_t)n, out);
	}
	buf_free(&raw);
	return n > 0 && (size_t)n <= want ? 0 : -1;
}

/* One piece for each time that the connection has run empty. */
enum client_state client_send_text(struct client *c)
{
	struct buf out = {0};
	enum client_state next = STATE_WAIT;
	if (c->text_at < c->message->size && write_piece(c, &out) != 0) {
		buf_free(&out);
		return client_lost(c, WHY_LOCAL, "the text of the message can not be read at "
						 "byte %llu of %llu",
		    (unsigned long long)c->text_at, (unsigned long long)c->message->size);
	}
	if (c->text_at == c->message->size) {
		body_encoder_finish(&c->encoder, &out);
		next = STATE_END;
	}
	conn_write(c->conn, out.data, out.len);
	buf_free(&out);
	return next;
}

enum client_state client_send_dot(struct client *c)
{
	write_line(c, ".");
	return STATE_WAIT;
}

enum client_state client_send_rset(struct client *c)
{
	write_line(c, "RSET");
	return STATE_WAIT;
}

void client_send_quit(struct client *c)
{
	write_line(c, "QUIT");
}
