/* SPDX-License-Identifier: MIT
 * The TLS half of conn.c: SSL_read and SSL_write straight on the socket. An
 * SSL may need to write in order to read and the other way round; the flags
 * *_wants_* say so and conn.c waits for that event. Certificates are judged
 * by the owner (conn_ssl), or by the SSL_CTX when it demands verification.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "relayd/base/conn_internal.h"
#include "relayd/base/mem.h"

#define RECORD_MAX 16384

int conn_tls_attach(struct conn *conn, SSL *ssl, bool server, struct why *why)
{
	ERR_clear_error();
	/* idle connections give their 32 KiB of buffers back; a retried write may
	 * find its bytes moved, since the evbuffer joins its chains */
	SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
			      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_set_fd(ssl, conn->fd) != 1)
		return why_set(why, WHY_LOCAL, "TLS: no memory for the socket");
	if (server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	conn->ssl = ssl;
	return 0;
}

static void explain(struct conn *conn, const char *doing, int error, struct why *why)
{
	char peer[CONN_ADDRESS_TEXT];
	conn_address_text(&conn->peer, peer);
	unsigned long code = ERR_peek_error();
	if (code == 0) {
		why_errno(why, WHY_TEMP, error, "TLS %s %s", doing, peer);
		return;
	}
	const char *reason = ERR_reason_error_string(code);
	long verified = SSL_get_verify_result(conn->ssl);
	if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED &&
	    verified != X509_V_OK)
		reason = X509_verify_cert_error_string(verified);
	why_set(why, WHY_TEMP, "TLS %s %s: %s (error %lx)", doing, peer,
	    reason ? reason : "unknown error", code);
}

/* What RESULT of an SSL call means. OTHER is set when the call waits for the
 * direction that is not its own (OTHER_ERROR). */
static enum conn_io judge(struct conn *conn, int result, int other_error, bool *other,
    const char *doing, struct why *why)
{
	int error = errno;
	*other = false;
	if (result > 0)
		return IO_OK;
	int kind = SSL_get_error(conn->ssl, result);
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
		*other = kind == other_error;
		return IO_WAIT;
	}
	/* many peers just close: their protocol says where the end is */
	bool cut =
	    ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ||
	    (kind == SSL_ERROR_SYSCALL && error == 0 && ERR_peek_error() == 0);
	if (kind == SSL_ERROR_ZERO_RETURN || cut)
		return IO_EOF;
	explain(conn, doing, error, why);
	return IO_FAIL;
}

static void prepare(void)
{
	/* what an earlier call on another connection has left would be taken for ours */
	ERR_clear_error();
	errno = 0;
}

enum conn_io conn_tls_shake(struct conn *conn, struct why *why)
{
	prepare();
	int result = SSL_do_handshake(conn->ssl);
	enum conn_io io = judge(conn, result, SSL_ERROR_WANT_WRITE,
	    &conn->shake_wants_write, "handshake with", why);
	if (io != IO_EOF)
		return io;
	char peer[CONN_ADDRESS_TEXT];
	why_set(why, WHY_TEMP, "TLS handshake with %s: the peer closed the connection",
	    conn_address_text(&conn->peer, peer));
	return IO_FAIL;
}

enum conn_io conn_tls_read(
    struct conn *conn, void *p, size_t size, size_t *n, struct why *why)
{
	prepare();
	int result = SSL_read_ex(conn->ssl, p, size, n);
	return judge(conn, result, SSL_ERROR_WANT_WRITE, &conn->read_wants_write,
	    "read from", why);
}

enum conn_io conn_tls_write(struct conn *conn, struct why *why)
{
	size_t n = evbuffer_get_length(conn->out);
	size_t done = 0;
	if (n > RECORD_MAX)
		n = RECORD_MAX;
	/* one record, not one for each small piece */
	unsigned char *p = evbuffer_pullup(conn->out, (ev_ssize_t)n);
	if (!p)
		bug("out of memory for output");
	prepare();
	int result = SSL_write_ex(conn->ssl, p, n, &done);
	enum conn_io io = judge(
	    conn, result, SSL_ERROR_WANT_READ, &conn->write_wants_read, "write to", why);
	if (io == IO_OK)
		evbuffer_drain(conn->out, done);
	if (io == IO_EOF) {
		why_set(why, WHY_TEMP, "TLS write: the peer closed the connection");
		io = IO_FAIL;
	}
	return io;
}

void conn_tls_goodbye(struct conn *conn)
{
	prepare();
	SSL_shutdown(conn->ssl);
	ERR_clear_error();
}
