/* SPDX-License-Identifier: MIT
 * TLS on connections, version 1.3 and 1.2: STARTTLS and its abuse, bounds,
 * the ways to an end, resumption; and random traffic with TLS and without.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "tests/unit/ends.h"

static SSL_CTX *server_ctx;
static SSL_CTX *client_ctx;

static SSL_CTX *make_ctx(const SSL_METHOD *method, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	return ctx;
}

static void add_certificate(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"relay.example", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_sign(x, key, EVP_sha256());
	assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void make_contexts(int version)
{
	server_ctx = make_ctx(TLS_server_method(), version);
	client_ctx = make_ctx(TLS_client_method(), version);
	add_certificate(server_ctx);
}

static int begin_tls13(void **state)
{
	make_contexts(TLS1_3_VERSION);
	return ends_begin(state);
}

static int begin_tls12(void **state)
{
	make_contexts(TLS1_2_VERSION);
	return ends_begin(state);
}

static int finish_tls(void **state)
{
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	return ends_finish(state);
}

static void start_tls(struct end *end, bool server)
{
	struct why why = {0};
	int result = conn_start_tls(end->conn, server ? server_ctx : client_ctx, server,
	    server ? NULL : "relay.example", &why);
	assert_int_equal(result, 0);
}

static void open_tls(struct end *c, struct end *s)
{
	ends_open(c, s);
	start_tls(s, true);
	start_tls(c, false);
	end_wait(c, 'S');
	end_wait(s, 'S');
	ends_settle();
	assert_string_equal(end_trace(c), "S");
	assert_string_equal(end_trace(s), "S");
	buf_clear(&c->trace);
	buf_clear(&s->trace);
}

static void server_starttls(struct end *end, enum conn_event event)
{
	struct span line;
	if (event != CONN_INPUT || conn_line(end->conn, 512, &line) != CONN_LINE)
		return;
	if (!span_is(line, "STARTTLS")) {
		conn_write(end->conn, "secret\r\n", 8);
		return;
	}
	conn_write(end->conn, "220 go ahead\r\n", 14);
	start_tls(end, true);
	conn_write(end->conn, "greeting\r\n", 10); /* must not leave in the clear */
}

static void client_starttls(struct end *end, enum conn_event event)
{
	struct span line;
	if (event != CONN_INPUT || conn_ssl(end->conn) ||
	    conn_line(end->conn, 512, &line) != CONN_LINE)
		return;
	assert_true(span_is(line, "220 go ahead"));
	assert_false(conn_has_input(end->conn));
	start_tls(end, false);
	conn_write(end->conn, "EHLO\r\n", 6);
}

static void test_starttls(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	s.then = server_starttls;
	c.then = client_starttls;
	assert_null(conn_ssl(s.conn));
	conn_write(c.conn, "STARTTLS\r\n", 10);
	ends_settle();
	assert_non_null(conn_ssl(s.conn));
	assert_string_equal(
	    SSL_get_servername(conn_ssl(s.conn), TLSEXT_NAMETYPE_host_name),
	    "relay.example");
	end_assert_line(&c, CONN_LINE, "greeting");
	end_assert_line(&c, CONN_LINE, "secret");
	assert_string_equal(end_trace(&s), "ISDID");
	conn_close(c.conn);
	c.conn = NULL;
	ends_settle();
	assert_string_equal(end_trace(&s), "ISDIDC");
	end_clear(&c);
	end_clear(&s);
}

/* CVE-2011-0411: commands sent in the clear behind STARTTLS. */
static void test_injection(void **state)
{
	(void)state;
	struct end s;
	struct why why = {0};
	int fd = end_open_raw(&s);
	ends_raw_write(fd, "STARTTLS\r\nMAIL FROM:<evil@example>\r\n");
	ends_settle();
	end_assert_line(&s, CONN_LINE, "STARTTLS");
	assert_int_equal(conn_start_tls(s.conn, server_ctx, true, NULL, &why), -1);
	assert_int_equal(why.kind, WHY_PERM);
	assert_non_null(strstr(why.text, "in the clear"));
	assert_null(conn_ssl(s.conn));
	end_clear(&s);
	close(fd);
	/* the same bytes later: the handshake chokes on them, they are no input */
	fd = end_open_raw(&s);
	start_tls(&s, true);
	ends_raw_write(fd, "MAIL FROM:<evil@example>\r\n");
	ends_run_dry();
	assert_string_equal(end_trace(&s), "F");
	assert_int_equal(s.why.kind, WHY_TEMP);
	assert_non_null(strstr(s.why.text, "TLS handshake with 127.0.0.1"));
	assert_false(conn_has_input(s.conn));
	close(fd);
	end_clear(&s);
}

static void test_tls_twice(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	struct why why = {0};
	open_tls(&c, &s);
	assert_int_equal(conn_start_tls(s.conn, server_ctx, true, NULL, &why), -1);
	assert_non_null(strstr(why.text, "already"));
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_bulk(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 4 << 20;
	char *bytes = ends_pattern(size);
	open_tls(&c, &s);
	s.then = end_take_all;
	c.then = end_take_all;
	for (size_t i = 0; i < 20000; i++)
		conn_write(s.conn, bytes + i * 10, 10);
	conn_write(c.conn, bytes, size);
	end_wait(&c, 'D');
	ends_settle();
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	assert_int_equal(c.got.len, 200000);
	assert_memory_equal(c.got.data, bytes, c.got.len);
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

/* Decrypted bytes make no socket event: none may be forgotten. */
static void test_tls_bounded_input(void **state)
{
	(void)state;
	struct end c;
	struct end s = {0};
	size_t size = 100000;
	char *bytes = ends_pattern(size);
	int fd = end_open_raw(&c);
	s.conn = conn_accept(ends_loop, fd, 1000, end_handle, &s);
	start_tls(&s, true);
	start_tls(&c, false);
	end_wait(&s, 'S');
	conn_write(c.conn, bytes, size);
	ends_settle();
	for (int i = 0; i < 10; i++) {
		conn_pause(s.conn);
		end_take_all(&s, CONN_INPUT);
		ends_settle();
		assert_false(conn_peek(s.conn).n);
		conn_resume(s.conn);
		ends_settle();
		assert_true(conn_peek(s.conn).n > 0 && conn_peek(s.conn).n <= 1000);
	}
	s.then = end_take_all;
	end_take_all(&s, CONN_INPUT);
	ends_settle();
	assert_int_equal(s.got.len, size);
	assert_memory_equal(s.got.data, bytes, size);
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_finish(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_tls(&c, &s);
	conn_write(c.conn, "unread", 6);
	ends_settle();
	conn_write(s.conn, "421 bye\r\n", 9);
	conn_finish(s.conn, 5000);
	s.conn = NULL;
	int64_t start = clock_mono_ms();
	ends_settle();
	end_assert_line(&c, CONN_LINE, "421 bye");
	assert_string_equal(end_trace(&c), "DIC");
	assert_true(SSL_get_shutdown(conn_ssl(c.conn)) & SSL_RECEIVED_SHUTDOWN);
	end_clear(&c);
	ends_run_dry();
	assert_true(clock_mono_ms() - start < 100);
	end_clear(&s);
}

/* Most SMTP peers just close; that is an end, not a failure. */
static void test_tls_cut(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_tls(&c, &s);
	conn_write(c.conn, "QUIT\r\n", 6);
	ends_settle();
	shutdown(SSL_get_fd(conn_ssl(c.conn)), SHUT_WR);
	ends_settle();
	assert_string_equal(end_trace(&s), "IC");
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_peer_leaves(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	start_tls(&s, true);
	ends_settle();
	close(fd);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "F");
	assert_non_null(strstr(s.why.text, "closed the connection"));
	end_clear(&s);
	fd = end_open_raw(&s);
	conn_write(s.conn, "STARTTLS\r\n", 10);
	start_tls(&s, false);
	ends_reset(fd);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "F");
	end_clear(&s);
}

static void test_tls_unverified(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	ends_open(&c, &s);
	SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
	start_tls(&s, true);
	start_tls(&c, false);
	ends_run_dry();
	SSL_CTX_set_verify(client_ctx, SSL_VERIFY_NONE, NULL);
	assert_string_equal(end_trace(&c), "F");
	assert_non_null(strstr(c.why.text, "self-signed"));
	assert_true(end_told(&s, 'F'));
	end_clear(&c);
	end_clear(&s);
}

static void test_tls_handshake_deadline(void **state)
{
	(void)state;
	struct end s;
	int fd = end_open_raw(&s);
	start_tls(&s, true);
	conn_deadline(s.conn, 30000);
	ends_run_dry();
	assert_string_equal(end_trace(&s), "X");
	conn_finish(s.conn, 1000); /* in the middle of the handshake */
	ends_run_dry();
	s.conn = NULL;
	close(fd);
	end_clear(&s);
}

static void test_tls_refused_while_sending(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	size_t size = 8 << 20;
	char *bytes = ends_pattern(size);
	open_tls(&c, &s);
	conn_pause(s.conn);
	conn_write(c.conn, bytes, size);
	ends_settle();
	conn_write(s.conn, "554 go away\r\n", 13);
	end_wait(&s, 'D');
	conn_close(s.conn);
	s.conn = NULL;
	ends_run_dry();
	assert_int_equal(end_trace(&c)[strlen(end_trace(&c)) - 1], 'F');
	end_assert_line(&c, CONN_LINE, "554 go away");
	mem_free(bytes);
	end_clear(&c);
	end_clear(&s);
}

/* A session of a connection that was closed in order may be used again. */
static void test_tls_resumption(void **state)
{
	(void)state;
	struct end c;
	struct end s;
	open_tls(&c, &s);
	conn_write(s.conn, "x", 1);
	ends_settle();
	SSL_SESSION *session = SSL_get1_session(conn_ssl(c.conn));
	assert_true(SSL_SESSION_is_resumable(session));
	end_clear(&c);
	end_clear(&s);
	ends_settle();
	assert_true(SSL_SESSION_is_resumable(session));
	ends_open(&c, &s);
	start_tls(&s, true);
	SSL *ssl = SSL_new(client_ctx);
	struct why why;
	SSL_set_session(ssl, session);
	assert_int_equal(conn_start_ssl(c.conn, ssl, false, &why), 0);
	end_wait(&c, 'S');
	assert_true(SSL_session_reused(ssl));
	SSL_SESSION_free(session);
	end_clear(&c);
	end_clear(&s);
}

/* One side of random traffic: writes, takes some, pauses and resumes. */
struct player {
	struct end end;
	struct buf sent;
	size_t budget;
};

static void play(struct player *player)
{
	static char bytes[40000];
	struct conn *conn = player->end.conn;
	size_t n = random_below(2) ? random_below(100) : random_below(sizeof(bytes));
	if (n > player->budget)
		n = player->budget;
	random_bytes(bytes, n);
	conn_write(conn, bytes, n);
	buf_add(&player->sent, bytes, n);
	player->budget -= n;
	if (random_below(4) == 0)
		conn_pause(conn);
	if (random_below(3) == 0)
		conn_resume(conn);
	struct span s = conn_peek(conn);
	size_t some = s.n ? random_below((uint32_t)s.n + 1) : 0;
	buf_add(&player->end.got, s.p, some);
	conn_drop(conn, some);
}

static void random_traffic(bool tls, uint64_t seed)
{
	struct player p[2] = {0};
	random_fix(seed);
	p[0].end.conn = conn_connect(ends_loop, &ends_listening, NULL,
	    1 + random_below(30000), end_handle, &p[0].end);
	p[1].end.conn = conn_accept(
	    ends_loop, ends_take_peer(), 1 + random_below(30000), end_handle, &p[1].end);
	end_wait(&p[0].end, 'O');
	if (tls) {
		start_tls(&p[0].end, false);
		start_tls(&p[1].end, true);
	}
	p[0].budget = p[1].budget = 300000;
	while (p[0].budget || p[1].budget) {
		play(&p[random_below(2)]);
		loop_turn(ends_loop, false);
	}
	for (int i = 0; i < 2; i++) {
		p[i].end.then = end_take_all;
		end_take_all(&p[i].end, CONN_INPUT);
		conn_resume(p[i].end.conn);
	}
	for (int i = 0;
	     i < 50000 && (p[0].end.got.len < 300000 || p[1].end.got.len < 300000); i++)
		loop_turn(ends_loop, true);
	for (int i = 0; i < 2; i++) {
		assert_true(span_equal(span_buf(&p[i].end.got), span_buf(&p[!i].sent)));
		buf_free(&p[!i].sent);
	}
	end_clear(&p[0].end);
	end_clear(&p[1].end);
}

static void test_random_clear(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++)
		random_traffic(false, seed);
}

static void test_random_tls(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++)
		random_traffic(true, seed);
}

#define TLS(test)                                                                        \
	cmocka_unit_test_setup_teardown(test, begin_tls13, finish_tls),                  \
	    cmocka_unit_test_setup_teardown(test, begin_tls12, finish_tls)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_random_clear, ends_begin, ends_finish),
	    TLS(test_starttls),
	    TLS(test_injection),
	    TLS(test_tls_twice),
	    TLS(test_tls_bulk),
	    TLS(test_tls_bounded_input),
	    TLS(test_tls_finish),
	    TLS(test_tls_cut),
	    TLS(test_tls_peer_leaves),
	    TLS(test_tls_unverified),
	    TLS(test_tls_handshake_deadline),
	    TLS(test_tls_refused_while_sending),
	    TLS(test_tls_resumption),
	    TLS(test_random_tls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
