/* SPDX-License-Identifier: MIT
 * The connection: sockets do not block, poll waits. A TLS session may have to read
 * in order to write and the other way round, so every call says itself what it
 * waits for. Deadlines are for the whole of a step: a peer that sends a byte now
 * and then gains nothing.
 */
#include "relayd/sendmail_link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "smtp/reply.h"
#include "smtp/tls.h"

#define PIECE 16384

/* Where systems keep the certificates they trust; a statically linked program may
 * run on another one than it was made for. */
static const char *const ca_files[] = {"/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

static int wait_for(int fd, short events, int64_t deadline, struct why *why)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int64_t left = deadline - clock_mono_ms();
		if (left <= 0)
			return why_set(why, WHY_TEMP, "no answer in time");
		int ready = poll(&p, 1, left > 1000000 ? 1000000 : (int)left);
		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return why_errno(why, WHY_LOCAL, errno, "poll");
	}
}

/* ---- opening ---- */

int sendmail_link_unix(struct sendmail_link *link, const char *path, struct why *why)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	*link = (struct sendmail_link){.fd = -1, .loopback = true};
	if (strlen(path) >= sizeof(addr.sun_path))
		return why_set(why, WHY_LOCAL, "%.120s: the path is too long for a socket", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* EAGAIN: its queue of connections is full, which no daemon lets last */
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		why_errno(why, WHY_TEMP, errno, "%.120s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	link->fd = fd;
	return 0;
}

static bool is_loopback(const struct sockaddr *addr)
{
	const struct sockaddr_in *four = (const void *)addr;
	const struct sockaddr_in6 *six = (const void *)addr;
	if (addr->sa_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	return addr->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static int connect_one(const struct addrinfo *a, int64_t deadline, struct why *why)
{
	int error = 0;
	socklen_t len = sizeof(error);
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why_errno(why, WHY_TEMP, errno, "socket");
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	error = errno;
	if (error == EINPROGRESS) {
		if (wait_for(fd, POLLOUT, deadline, why) < 0) {
			close(fd);
			return -1;
		}
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	}
	if (error == 0)
		return fd;
	close(fd);
	return why_errno(why, WHY_TEMP, error, "connect");
}

int sendmail_link_tcp(struct sendmail_link *link, const char *host, const char *port,
    int64_t deadline, struct why *why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list = NULL;
	int64_t left = 0;
	*link = (struct sendmail_link){.fd = -1};
	int error = getaddrinfo(host, port, &hints, &list);
	if (error == EAI_NONAME || error == EAI_ADDRFAMILY) {
		/* with nothing but loopback ADDRCONFIG hides all */
		hints.ai_flags = 0;
		error = getaddrinfo(host, port, &hints, &list);
	}
	if (error)
		return why_set(why, WHY_TEMP, "%.100s: %s", host, gai_strerror(error));
	for (struct addrinfo *a = list; a; a = a->ai_next)
		left++;
	for (struct addrinfo *a = list; a && link->fd < 0; a = a->ai_next, left--) {
		int64_t now = clock_mono_ms();
		link->fd = connect_one(a, now + (deadline - now) / left, why);
		link->loopback = is_loopback(a->ai_addr);
	}
	freeaddrinfo(list);
	if (link->fd < 0)
		return why_prefix(why, "%.100s port %s", host, port);
	return 0;
}

void sendmail_link_close(struct sendmail_link *link)
{
	SSL_free(link->ssl);
	if (link->fd >= 0)
		close(link->fd);
	buf_free(&link->in);
	*link = (struct sendmail_link){.fd = -1};
}

/* ---- TLS ---- */

/* What went wrong in an SSL call; 0: call again behind EVENTS, -1: WHY. */
static int judge(struct sendmail_link *link, int result, short *events, struct why *why)
{
	int error = errno;
	int kind = SSL_get_error(link->ssl, result);
	*events = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return 0;
	unsigned long code = ERR_peek_error();
	long verified = SSL_get_verify_result(link->ssl);
	if (kind == SSL_ERROR_ZERO_RETURN || (code == 0 && error == 0))
		return why_set(why, WHY_TEMP, "TLS: the connection was closed");
	if (code == 0)
		return why_errno(why, WHY_TEMP, error, "TLS");
	const char *reason = ERR_reason_error_string(code);
	if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
		reason = X509_verify_cert_error_string(verified);
	return why_set(why, WHY_TEMP, "TLS: %s", reason ? reason : "unknown error");
}

/* Who names an authority trusts that one, and no longer each that the system trusts. It may
 * be an intermediate one, or the relay's own certificate. */
static int trust_only(SSL_CTX *ctx, const char *ca_file, struct why *why)
{
	X509_STORE *store = X509_STORE_new();
	if (!store || X509_STORE_load_file(store, ca_file) != 1) {
		X509_STORE_free(store);
		return why_set(why, WHY_LOCAL,
		    "ca_file %.150s: no PEM certificates can be read there", ca_file);
	}
	SSL_CTX_set_cert_store(ctx, store);
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

static SSL_CTX *make_context(const char *ca_file, struct why *why)
{
	SSL_CTX *ctx = tls_client_new(1, why);
	if (ctx && ca_file && trust_only(ctx, ca_file, why) < 0) {
		SSL_CTX_free(ctx);
		ctx = NULL;
	}
	if (!ctx)
		return NULL;
	for (size_t i = 0; !ca_file && i < sizeof(ca_files) / sizeof(ca_files[0]); i++)
		if (access(ca_files[i], R_OK) == 0 &&
		    SSL_CTX_load_verify_locations(ctx, ca_files[i], NULL) == 1)
			break;
	ERR_clear_error();
	return ctx;
}

/* A name is sent in SNI and must be in the certificate; an address only the latter. */
static bool set_name(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
		return true;
	ERR_clear_error();
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int sendmail_link_tls(struct sendmail_link *link, const char *host, const char *ca_file,
    int64_t deadline, struct why *why)
{
	/* in the clear behind the reply to STARTTLS anybody may have put it */
	if (link->in.len > link->taken)
		return why_set(why, WHY_TEMP, "data in the clear behind the reply to STARTTLS");
	SSL_CTX *ctx = make_context(ca_file, why);
	if (!ctx)
		return -1;
	link->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx); /* the session holds it */
	if (!link->ssl || !set_name(link->ssl, host) || SSL_set_fd(link->ssl, link->fd) != 1)
		return why_set(why, WHY_LOCAL, "OpenSSL can not set up a session for %.100s", host);
	for (;;) {
		ERR_clear_error();
		errno = 0;
		short events;
		int result = SSL_connect(link->ssl);
		if (result == 1)
			return 0;
		if (judge(link, result, &events, why) < 0 ||
		    wait_for(link->fd, events, deadline, why) < 0)
			return why_prefix(why, "%.80s", host);
	}
}

/* ---- bytes ---- */

int64_t sendmail_link_write_some(
    struct sendmail_link *link, struct span s, short *events, struct why *why)
{
	errno = 0;
	*events = POLLOUT;
	if (link->ssl) {
		ERR_clear_error();
		int n = SSL_write(link->ssl, s.p, (int)(s.n < PIECE ? s.n : PIECE));
		return n > 0 ? n : judge(link, n, events, why);
	}
	ssize_t n = send(link->fd, s.p, s.n, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return why_errno(why, WHY_TEMP, errno, "sending");
}

int sendmail_link_write(struct sendmail_link *link, struct span s, int64_t deadline,
    struct why *why)
{
	while (s.n) {
		short events;
		int64_t n = sendmail_link_write_some(link, s, &events, why);
		if (n < 0 || (n == 0 && wait_for(link->fd, events, deadline, why) < 0))
			return -1;
		s.p += n, s.n -= (size_t)n;
	}
	return 0;
}

int64_t sendmail_link_read_some(
    struct sendmail_link *link, char *to, size_t n, short *events, struct why *why)
{
	errno = 0;
	*events = 0;
	if (link->ssl) {
		ERR_clear_error();
		int got = SSL_read(link->ssl, to, (int)(n < PIECE ? n : PIECE));
		if (got > 0)
			return got;
		if (SSL_get_error(link->ssl, got) == SSL_ERROR_ZERO_RETURN)
			return 0;
		return judge(link, got, events, why);
	}
	ssize_t got = recv(link->fd, to, n, 0);
	if (got >= 0)
		return got;
	if (errno != EAGAIN && errno != EINTR)
		return why_errno(why, WHY_TEMP, errno, "receiving");
	*events = POLLIN;
	return 0;
}

int64_t sendmail_link_read(struct sendmail_link *link, char *to, size_t n, int64_t deadline,
    struct why *why)
{
	for (;;) {
		short events;
		int64_t got = sendmail_link_read_some(link, to, n, &events, why);
		if (got || !events)
			return got;
		if (wait_for(link->fd, events, deadline, why) < 0)
			return -1;
	}
}

bool sendmail_link_has_input(const struct sendmail_link *link)
{
	return link->in.len > link->taken || (link->ssl && SSL_pending(link->ssl) > 0);
}

int sendmail_link_line(struct sendmail_link *link, struct span *line, int64_t deadline,
    struct why *why)
{
	buf_drop(&link->in, link->taken);
	link->taken = 0;
	for (;;) {
		char *lf = link->in.len ? memchr(link->in.data, '\n', link->in.len) : NULL;
		if (lf) {
			*line = (struct span){link->in.data, (size_t)(lf - link->in.data)};
			link->taken = line->n + 1;
			if (line->n && line->p[line->n - 1] == '\r')
				line->n--;
			return 0;
		}
		if (link->in.len > REPLY_LINE_MAX)
			return why_set(why, WHY_TEMP, "a reply line of more than %d bytes",
			    REPLY_LINE_MAX);
		int64_t got = sendmail_link_read(link, buf_room(&link->in, PIECE), PIECE, deadline, why);
		if (got == 0)
			return why_set(why, WHY_TEMP, "the connection was closed");
		if (got < 0)
			return -1;
		link->in.len += (size_t)got;
		link->in.data[link->in.len] = '\0';
	}
}
