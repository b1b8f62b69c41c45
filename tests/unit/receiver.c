/* SPDX-License-Identifier: MIT
 * The receiver of receiver.h.
 */
#include "tests/unit/receiver.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "relayd/base/mem.h"

static EVP_PKEY *key;
static X509 *certificate;

static void set_room(struct receiver *r, enum receiver_room room, const struct conn_address *to)
{
	int few = 536;
	switch (room) {
	case RECEIVER_USUAL:
		return;
	case RECEIVER_SMALL:
		setsockopt(r->listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
		setsockopt(r->listener, IPPROTO_TCP, TCP_MAXSEG, &few, sizeof(few));
		return;
	case RECEIVER_FULL:
		listen(r->listener, 0);
		for (int i = 0; i < 2; i++) {
			r->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			connect(r->fillers[i], (const struct sockaddr *)&to->addr, to->len);
		}
		return;
	case RECEIVER_CLOSED:
		close(r->listener);
		r->listener = -1;
		return;
	}
}

void receiver_open(struct receiver *r, struct loop *loop, const char *address,
    enum receiver_room room, struct conn_address *to)
{
	*r = (struct receiver){.loop = loop, .fillers = {-1, -1}, .fd = -1};
	if (conn_address_parse(to, address, 0) != 0)
		bug("no address to listen at");
	r->listener = socket(to->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(r->listener, (struct sockaddr *)&to->addr, to->len) != 0 ||
	    listen(r->listener, 4) != 0)
		bug("can not listen");
	to->len = sizeof(to->addr);
	getsockname(r->listener, (struct sockaddr *)&to->addr, &to->len);
	set_room(r, room, to);
}

void receiver_close(struct receiver *r)
{
	int fds[] = {r->fd, r->listener, r->fillers[0], r->fillers[1]};
	SSL_free(r->ssl);
	buf_free(&r->in);
	for (size_t i = 0; r->loop && i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	r->loop = NULL;
}

void receiver_turn(struct receiver *r, int i)
{
	loop_turn(r->loop, false);
	if (r->turned)
		r->turned(r->arg);
	if (i > 20) /* the kernel has put it off */
		poll(NULL, 0, 1);
}

bool receiver_accept(struct receiver *r)
{
	for (int i = 0; i < RECEIVER_PATIENCE && r->fd < 0; i++) {
		receiver_turn(r, i);
		r->fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	return r->fd >= 0;
}

static ssize_t receive(struct receiver *r, char *to, size_t n)
{
	if (!r->ssl)
		return read(r->fd, to, n);
	ERR_clear_error();
	int got = SSL_read(r->ssl, to, (int)n);
	if (got > 0)
		return got;
	int kind = SSL_get_error(r->ssl, got);
	errno = EAGAIN;
	return kind == SSL_ERROR_WANT_READ ? -1 : 0;
}

void receiver_read(struct receiver *r)
{
	for (;;) {
		ssize_t n = receive(r, buf_room(&r->in, 65536), 65536);
		if (n > 0)
			r->in.len += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			r->ended = true;
		if (n <= 0)
			return;
	}
}

bool receiver_send(struct receiver *r, const char *p, size_t n)
{
	for (int i = 0; i < RECEIVER_PATIENCE && n; i++) {
		ssize_t sent;
		if (r->ssl)
			sent = SSL_write(r->ssl, p, (int)n);
		else
			sent = send(r->fd, p, n, MSG_NOSIGNAL);
		if (sent > 0) {
			p += sent, n -= (size_t)sent;
			i = 0;
		} else if (!r->ssl && errno != EAGAIN) {
			return true; /* the client is gone: what it tells is looked at */
		}
		if (n)
			receiver_turn(r, i);
	}
	return n == 0;
}

bool receiver_line(struct receiver *r, struct buf *line)
{
	char *end = NULL;
	for (int i = 0; i < RECEIVER_PATIENCE; i++) {
		end = r->in.len ? memchr(r->in.data, '\n', r->in.len) : NULL;
		if (end || r->ended)
			break;
		receiver_turn(r, i);
		receiver_read(r);
	}
	if (!end || end == r->in.data || end[-1] != '\r')
		return false;
	size_t n = (size_t)(end - r->in.data);
	buf_clear(line);
	buf_add(line, r->in.data, n - 1);
	buf_drop(&r->in, n + 1);
	return true;
}

bool receiver_end(struct receiver *r)
{
	for (int i = 0; i < RECEIVER_PATIENCE && !r->ended; i++) {
		receiver_turn(r, i);
		receiver_read(r);
	}
	return r->ended;
}

bool receiver_has_unacked(struct receiver *r)
{
	int unacked = 0;
	return r->fd >= 0 && ioctl(r->fd, SIOCOUTQ, &unacked) == 0 && unacked > 0;
}

bool receiver_handshake(struct receiver *r)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (SSL_CTX_use_certificate(ctx, receiver_certificate()) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		bug("no certificate");
	SSL_CTX_set_num_tickets(ctx, 0);
	r->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(r->ssl, r->fd);
	int result = 0;
	for (int i = 0; i < RECEIVER_PATIENCE && result != 1; i++) {
		ERR_clear_error();
		result = SSL_accept(r->ssl);
		if (result != 1 && SSL_get_error(r->ssl, result) != SSL_ERROR_WANT_READ)
			return false;
		receiver_turn(r, i);
	}
	return result == 1;
}

void receiver_hang_up(struct receiver *r, bool reset)
{
	struct linger linger = {1, 0};
	if (reset)
		setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(r->fd);
	r->fd = -1;
}

X509 *receiver_certificate(void)
{
	if (certificate)
		return certificate;
	key = EVP_EC_gen("P-256");
	X509 *x = certificate = X509_new();
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	/* by the real clock, which OpenSSL looks at */
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
	    "DNS:mx.example.org,IP:127.0.0.1");
	X509_add_ext(x, names, -1);
	X509_EXTENSION_free(names);
	if (X509_sign(x, key, EVP_sha256()) <= 0)
		bug("can not sign a certificate");
	return certificate;
}

void receiver_forget(void)
{
	X509_free(certificate);
	EVP_PKEY_free(key);
	certificate = NULL;
	key = NULL;
}
