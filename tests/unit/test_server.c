/* SPDX-License-Identifier: MIT
 * The server against a client that plays a script: each tests/dialog/server
 * file is one test, played three times: bytes sent at once, one by one and in
 * pieces of seven. The clock is a fake one. A line of a script begins with:
 *
 *	#         a comment
 *	%         KEY [VALUE]: an option, before the first other line (set_option)
 *	C: TEXT   the client sends TEXT and CRLF
 *	C> TEXT   the client sends TEXT with \r \n \0 \\ \xHH taken as bytes
 *	C* N TEXT the same N times, in one go
 *	S: TEXT   the next line of the server begins with TEXT
 *	S-        the server has said nothing (more)
 *	!         the server has closed, having said nothing more
 *	@ N       N seconds pass (@ N ms: milliseconds)
 *	= TEXT    the handler was told exactly this next (see server_peer.c)
 *	=~ TEXT   the same, after any number of pieces of text: how much is handed on
 *	          before a fault is seen depends on how it arrives
 *	+ ACTION  answer CODE ENHANCED TEXT | login ok/refused/put off | resume | shut | tls | eof | gone |
 *	          reset | stall | read | bounded (little waits to be sent) | drained
 *	          (forget what was said) | absent TEXT | lines N (so many were said) |
 *	          idle | busy | mark | segment (all since the mark came in one piece)
 *
 * Nothing that was said, and no event but `abort` and `closed` of the last
 * line's closing, may be left over at the end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "smtp/tls.h"
#include "smtp/tls_server.h"
#include "tests/unit/server_peer.h"

#define SCRIPTS "tests/dialog/server"
#define SPLIT_MAX 3000 /* more bytes than this are not sent one by one */
#define HELD_MAX (128 << 10)

static SSL_CTX *server_ctx;

struct script {
	const char *file;
	int line;
	size_t split;
	bool opened;
	struct peer peer;
};

static void fail_at(const struct script *s, const char *format, ...) ATTR_PRINTF(2, 3);
static void fail_at(const struct script *s, const char *format, ...)
{
	char text[2000];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fail_msg("%s:%d (split %zu): %s", s->file, s->line, s->split, text);
}

static bool set_number(struct peer *p, const char *key, int64_t value)
{
	struct conf_limits *l = &p->limits;
	struct {
		const char *key;
		int64_t *at;
	} keys[] = {
	    {"message_size", &l->message_size}, {"text_line", &l->text_line},
	    {"command_line", &l->command_line}, {"recipients", &l->recipients},
	    {"errors", &l->errors}, {"messages", &l->messages_per_connection},
	    {"session_total", &l->session_total}, {"data_total", &l->data_total},
	};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, key) == 0) {
			*keys[i].at = value;
			return true;
		}
	return false;
}

static void set_option(struct script *s, const char *key, const char *value)
{
	struct peer *p = &s->peer;
	if (strcmp(key, "later") == 0)
		p->later = true;
	else if (strcmp(key, "pause") == 0)
		p->pause = true;
	else if (strcmp(key, "shut") == 0)
		p->shut = true;
	else if (strcmp(key, "shut_text") == 0)
		p->shut_text = true;
	else if (strcmp(key, "repair") == 0)
		p->options.bare_newline = CONF_BARE_REPAIR;
	else if (strcmp(key, "tls") == 0)
		p->options.tls = server_ctx;
	else if (strcmp(key, "tls_now") == 0)
		p->options.tls = server_ctx, p->options.tls_now = true;
	else if (strcmp(key, "auth") == 0)
		p->options.auth = true;
	else if (strcmp(key, "auth_clear") == 0)
		p->options.auth = p->options.auth_clear = true;
	else if (strcmp(key, "login_later") == 0)
		p->login_later = true;
	else if (strcmp(key, "refusals") == 0)
		p->refusals = true;
	else if (strcmp(key, "whole") == 0) /* splitting changes what happens */
		s->split = 0;
	else if (strcmp(key, "answer_code") == 0)
		p->answer_code = (unsigned)strtoul(value, NULL, 10);
	else if (!set_number(p, key, strtoll(value, NULL, 10)))
		fail_at(s, "no option %s", key);
}

static void unescape(struct script *s, const char *text, struct buf *out)
{
	for (const char *c = text; *c; c++) {
		unsigned hex;
		if (*c != '\\')
			buf_add_byte(out, *c);
		else if (*++c == 'r')
			buf_add_byte(out, '\r');
		else if (*c == 'n')
			buf_add_byte(out, '\n');
		else if (*c == '0')
			buf_add_byte(out, '\0');
		else if (*c == '\\')
			buf_add_byte(out, '\\');
		else if (*c == 'x' && sscanf(c + 1, "%2x", &hex) == 1)
			buf_add_byte(out, (char)hex), c += 2;
		else
			fail_at(s, "bad escape");
	}
}

static void send_text(struct script *s, char kind, const char *text)
{
	struct buf one = {0};
	struct buf all = {0};
	char *rest = NULL;
	unsigned long times = kind == '*' ? strtoul(text, &rest, 10) : 1;
	if (kind == ':')
		buf_addf(&one, "%s\r\n", text);
	else
		unescape(s, rest ? rest + 1 : text, &one);
	for (unsigned long i = 0; i < times; i++)
		buf_add(&all, one.data, one.len);
	s->peer.split = all.len > SPLIT_MAX && s->split ? 999 : s->split;
	peer_send(&s->peer, all.data, all.len);
	buf_free(&one);
	buf_free(&all);
}

/* Take a line off the start of B into LINE. False: there is none. */
static bool take_line(struct buf *b, char *line, size_t size)
{
	char *end = b->len ? memchr(b->data, '\n', b->len) : NULL;
	if (!end)
		return false;
	size_t n = (size_t)(end - b->data);
	size_t keep = n && b->data[n - 1] == '\r' ? n - 1 : n;
	snprintf(line, size, "%.*s", (int)keep, b->data);
	buf_drop(b, n + 1);
	return true;
}

static void expect_line(struct script *s, const char *text)
{
	char line[1024];
	peer_settle(&s->peer);
	if (!take_line(&s->peer.got, line, sizeof(line)))
		fail_at(s, "the server said nothing (more)%s, not: %s",
		    s->peer.eof ? " and closed" : "", text);
	if (strncmp(line, text, strlen(text)) != 0)
		fail_at(s, "the server said: %s", line);
}

static void expect_event(struct script *s, bool skip_text, const char *text)
{
	char line[1024];
	bool any;
	peer_settle(&s->peer);
	peer_note_text(&s->peer);
	do
		any = take_line(&s->peer.events, line, sizeof(line));
	while (any && skip_text && strncmp(line, "text ", 5) == 0);
	if (!any)
		fail_at(s, "no event, not: %s", text);
	if (strcmp(line, text) != 0)
		fail_at(s, "the event was: %s", line);
}

static void expect_silence(struct script *s)
{
	peer_settle(&s->peer);
	if (s->peer.got.len)
		fail_at(s, "the server said: %s", buf_text(&s->peer.got));
}

static void expect_close(struct script *s)
{
	expect_silence(s);
	if (!s->peer.eof)
		fail_at(s, "the server did not close");
	if (s->peer.reset)
		fail_at(s, "the server closed with a reset");
}

static void pass_time(struct script *s, const char *text)
{
	char *unit;
	long long n = strtoll(text, &unit, 10);
	peer_settle(&s->peer);
	clock_advance(strcmp(unit, " ms") == 0 ? n : n * 1000);
	peer_settle(&s->peer);
}

static void answer(struct script *s, const char *text)
{
	unsigned code;
	char enhanced[16];
	char words[100];
	if (sscanf(text, "%u %15s %99[^\n]", &code, enhanced, words) != 3)
		fail_at(s, "answer what?");
	peer_settle(&s->peer);
	peer_answer(&s->peer, code, enhanced, words);
}

/* What is done to the session by its owner. */
static bool act_owner(struct script *s, const char *action)
{
	struct peer *p = &s->peer;
	bool known = true;
	if (!p->server)
		fail_at(s, "the session is over");
	p->calling = true;
	if (strncmp(action, "answer ", 7) == 0)
		answer(s, action + 7);
	else if (strcmp(action, "login ok") == 0)
		server_login(p->server, SERVER_LOGIN_OK);
	else if (strcmp(action, "login refused") == 0)
		server_login(p->server, SERVER_LOGIN_REFUSED);
	else if (strcmp(action, "login put off") == 0)
		server_login(p->server, SERVER_LOGIN_LATER);
	else if (strcmp(action, "resume") == 0)
		server_resume(p->server);
	else if (strcmp(action, "shut") == 0)
		server_shut(p->server, "4.3.2", "shutting down");
	else if (strcmp(action, "bounded") == 0)
		assert_true(conn_unsent(p->conn) > 0 && conn_unsent(p->conn) <= 70000);
	else
		known = false;
	p->calling = false;
	return known;
}

static void take_lines(struct script *s, long count)
{
	char line[1024];
	long n = 0;
	while (take_line(&s->peer.got, line, sizeof(line)))
		n++;
	if (n != count)
		fail_at(s, "the server said %ld lines", n);
}

static void act(struct script *s, const char *action)
{
	struct peer *p = &s->peer;
	peer_settle(p);
	if (strcmp(action, "tls") == 0)
		peer_shake(p);
	else if (strcmp(action, "eof") == 0)
		shutdown(p->fd, SHUT_WR);
	else if (strcmp(action, "gone") == 0 || strcmp(action, "reset") == 0)
		peer_close(p, action[0] == 'r');
	else if (strcmp(action, "stall") == 0)
		p->stalled = true;
	else if (strcmp(action, "read") == 0)
		p->stalled = false;
	else if (strcmp(action, "drained") == 0)
		buf_clear(&p->got);
	else if (strncmp(action, "absent ", 7) == 0)
		assert_null(strstr(buf_text(&p->got), action + 7));
	else if (strncmp(action, "lines ", 6) == 0)
		take_lines(s, strtol(action + 6, NULL, 10));
	else if (strcmp(action, "mark") == 0)
		p->segments = 0;
	else if (strcmp(action, "segment") == 0)
		assert_int_equal(p->segments, 1);
	else if (!act_owner(s, action))
		fail_at(s, "no action %s", action);
	peer_settle(p);
}

static void play_line(struct script *s, char *line)
{
	char kind = line[0] && strchr("CS", line[0]) ? line[1] : '\0';
	char *text = strchr(line, ' ');
	text = text ? text + 1 : line + strlen(line);
	if (line[0] == '%') {
		char *value = strchr(text, ' ');
		if (value)
			*value++ = '\0';
		set_option(s, text, value ? value : "");
		return;
	}
	if (!s->opened)
		peer_open(&s->peer);
	s->opened = true;
	if (line[0] == 'C')
		send_text(s, kind, text);
	else if (line[0] == 'S' && kind == ':')
		expect_line(s, text);
	else if (line[0] == 'S' && kind == '-')
		expect_silence(s);
	else if (line[0] == '!')
		expect_close(s);
	else if (line[0] == '@')
		pass_time(s, text);
	else if (line[0] == '=')
		expect_event(s, line[1] == '~', text);
	else if (line[0] == '+')
		act(s, text);
	else
		fail_at(s, "not a line of a script: %s", line);
}

static void check_rest(struct script *s)
{
	char line[1024];
	expect_silence(s);
	if (s->peer.held > HELD_MAX)
		fail_at(s, "the session held %zu bytes", s->peer.held);
	peer_note_text(&s->peer);
	while (take_line(&s->peer.events, line, sizeof(line)))
		if (strcmp(line, "abort") != 0 && strcmp(line, "closed") != 0)
			fail_at(s, "an event is left over: %s", line);
}

static void play(const char *path, size_t split)
{
	struct script s = {.file = path, .split = split};
	char line[2048];
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	clock_fake(1800000000000);
	peer_init(&s.peer);
	while (fgets(line, sizeof(line), file)) {
		s.line++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			play_line(&s, line);
	}
	fclose(file);
	assert_true(s.opened);
	check_rest(&s);
	peer_end(&s.peer);
}

static void test_script(void **state)
{
	const char *path = *state;
	play(path, 0);
	play(path, 1);
	play(path, 7);
}

/* Junk commands cost linear time: 200,000 are done, and each is answered. */
static void test_many_commands(void **state)
{
	(void)state;
	struct peer p;
	clock_fake(1800000000000);
	peer_init(&p);
	p.limits.errors = 1000000;
	peer_open(&p);
	struct buf junk = {0};
	size_t lines = 0;
	for (int i = 0; i < 100000; i++)
		buf_add_text(&junk, "\r\nNOOP\r\n");
	peer_send(&p, junk.data, junk.len);
	peer_settle(&p);
	for (size_t i = 0; i < p.got.len; i++)
		lines += p.got.data[i] == '\n';
	assert_int_equal(lines, 200001);
	buf_free(&junk);
	peer_end(&p);
}

/* A message larger than all buffers, in DATA, with the handler pausing after
 * each piece. */
static void test_big_paused(void **state)
{
	(void)state;
	struct peer p;
	clock_fake(1800000000000);
	peer_init(&p);
	p.limits.message_size = 10 * 1000 * 1000;
	p.pause = true;
	peer_open(&p);
	const char *head = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";
	peer_send(&p, head, strlen(head));
	struct buf text = {0};
	for (int i = 0; i < 50000; i++)
		buf_addf(&text, "line %07d of a message that is big\r\n", i);
	size_t at = 0;
	while (at < text.len || p.text.len < text.len) {
		ssize_t n = send(p.fd, text.data + at, text.len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		at += n > 0 ? (size_t)n : 0;
		peer_settle(&p);
		server_resume(p.server);
		peer_settle(&p);
	}
	assert_int_equal(p.text.len, text.len);
	assert_memory_equal(p.text.data, text.data, text.len);
	server_resume(p.server);
	peer_send(&p, ".\r\nQUIT\r\n", 9);
	peer_settle(&p);
	assert_true(p.eof);
	assert_int_equal(p.closed, 1);
	buf_free(&text);
	peer_end(&p);
}

static void make_server_ctx(void)
{
	char folder[] = "/tmp/test_server.XXXXXX";
	char path[100];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/both.pem", folder);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"relay.example", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	PEM_write_X509(file, x);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	struct why why = {0};
	struct tls_faults faults = {0};
	server_ctx = tls_server_new(&why);
	assert_non_null(server_ctx);
	assert_int_equal(tls_server_add(server_ctx, path, path, &faults), 0);
	unlink(path);
	rmdir(folder);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int is_script(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);
	return n > 4 && strcmp(entry->d_name + n - 4, ".dlg") == 0;
}

static struct dirent **found;
static int found_count;

/* A test for each script, then those in C. */
static struct CMUnitTest *list_tests(size_t *count)
{
	static const struct CMUnitTest others[] = {
	    cmocka_unit_test(test_many_commands),
	    cmocka_unit_test(test_big_paused),
	};
	size_t other_count = sizeof(others) / sizeof(others[0]);
	found_count = scandir(SCRIPTS, &found, is_script, alphasort);
	if (found_count <= 0)
		bug("no scripts; run this from the project's folder");
	struct CMUnitTest *tests = mem_array((size_t)found_count + other_count, sizeof(*tests));
	for (int i = 0; i < found_count; i++) {
		struct buf path = {0};
		buf_addf(&path, SCRIPTS "/%s", found[i]->d_name);
		tests[i] = (struct CMUnitTest){.name = found[i]->d_name, .test_func = test_script,
		    .initial_state = buf_take(&path, NULL)};
	}
	memcpy(tests + found_count, others, sizeof(others));
	*count = (size_t)found_count + other_count;
	return tests;
}

/* All scripts, or those that are named. */
int main(int argc, char **argv)
{
	size_t count;
	make_server_ctx();
	for (int i = 1; i < argc; i++)
		play(argv[i], 0), play(argv[i], 1), play(argv[i], 7);
	if (argc > 1)
		return 0;
	struct CMUnitTest *tests = list_tests(&count);
	int failed = _cmocka_run_group_tests("server", tests, count, NULL, NULL);
	for (int i = 0; i < found_count; i++) {
		mem_free(tests[i].initial_state);
		free(found[i]);
	}
	free(found);
	mem_free(tests);
	SSL_CTX_free(server_ctx);
	return failed;
}
