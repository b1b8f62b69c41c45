/* SPDX-License-Identifier: MIT
 * The client against a receiver that plays a script: each tests/dialog/client
 * file is one test. The clock is a fake one. A line of a script begins with:
 *
 *	#        a comment
 *	S: TEXT  the receiver sends TEXT and CRLF
 *	S> TEXT  the receiver sends TEXT with \r \n \\ \xHH taken as bytes
 *	S* N T   the receiver sends T (as in S>) N times
 *	C: TEXT  the client sends this line next
 *	C*       the client sends the message's text and the final dot next
 *	E        the client has closed (and sent nothing more)
 *	T        the receiver does its side of a TLS handshake; TF: in vain
 *	!        the receiver closes; R: with a reset
 *	@ N      N seconds pass
 *	= TEXT   the handler was told this next (a pattern as of fnmatch)
 *	+ TEXT   the owner does this:
 *	   set KEY VALUE     before connecting: see set_option
 *	   connect           make the client
 *	   text LINE         a line of the message's text (default: one of 5 bytes)
 *	   send KEY=VALUE..  begin a transaction: see set_message
 *	   on EVENT ACTION   close | send, from within the next EVENT
 *	   info              appends an event that tells client_info
 *	   close
 *
 * No event may be left over at the end, each recipient gets its result exactly
 * once, the handler is never called from within a call of the owner, and whatever
 * comes, the client holds no more than 128 KiB.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "relayd/base/clock.h"
#include "relayd/base/conn_internal.h"
#include "relayd/base/mem.h"
#include "smtp/client_internal.h"
#include "tests/unit/receiver.h"

#define SCRIPTS "tests/dialog/client"
#define RECIPIENTS_MAX 300
#define HELD_MAX (128 << 10)

struct bench {
	const char *file;
	int line;
	struct loop *loop;
	struct client *client;
	bool inside; /* a call of ours into the client */
	struct receiver receiver;
	/* owner */
	struct client_options options;
	struct conf_delivery limits;
	struct buf user, password, name, hostname, address;
	bool trusted;
	enum receiver_room room;
	char on_event[16];
	char on_action[16];
	/* message */
	struct client_message message;
	struct buf sender, list, text;
	char *recipients[RECIPIENTS_MAX];
	unsigned results[RECIPIENTS_MAX];
	uint64_t unreadable_at;
	unsigned reads;
	/* events, one line each */
	struct buf events;
};

#define check(b, what, ...) \
	do { \
		if (!(what)) { \
			print_error("%s:%d: ", (b)->file, (b)->line); \
			print_error(__VA_ARGS__); \
			print_error("\n"); \
			fail(); \
		} \
	} while (0)

/* What has come, what waits to be sent, what is kept of a reply. */
static void check_held(void *arg)
{
	struct bench *b = arg;
	if (!b->client || !b->client->conn)
		return;
	const struct conn *conn = b->client->conn;
	size_t held = evbuffer_get_length(conn->in) + evbuffer_get_length(conn->out) +
	    b->client->reply.text.cap;
	check(b, held <= HELD_MAX, "the client holds %zu bytes", held);
}

/* The owner */

static void add_result(struct bench *b, const struct client_result *r)
{
	static const char *const kinds[] = {"none", "temp", "perm", "local"};
	buf_addf(&b->events, "%s ", client_stage_name(r->stage));
	check(b, !r->reply != !r->why, "a result has either a reply or a reason");
	if (r->reply)
		reply_summary(r->reply, &b->events, 400);
	else
		buf_addf(&b->events, "%s %s", kinds[r->why->kind], r->why->text);
	buf_add_byte(&b->events, '\n');
}

static void begin_send(struct bench *b)
{
	memset(b->results, 0, sizeof(b->results));
	b->inside = true;
	client_send(b->client, &b->message);
	b->inside = false;
}

static void close_client(struct bench *b)
{
	b->inside = true;
	client_close(b->client);
	b->inside = false;
	b->client = NULL;
}

static void act_on(struct bench *b, const char *event)
{
	if (strcmp(b->on_event, event) != 0)
		return;
	b->on_event[0] = '\0';
	if (strcmp(b->on_action, "send") == 0) {
		begin_send(b);
		return;
	}
	close_client(b);
	/* the owner may forget the message at once */
	for (size_t i = 0; i < b->message.recipient_count; i++) {
		mem_free(b->recipients[i]);
		b->recipients[i] = NULL;
	}
	memset(&b->message, 0, sizeof(b->message));
}

static void on_ready(void *arg)
{
	struct bench *b = arg;
	check(b, !b->inside && b->client, "called from within, or after the end");
	buf_add_text(&b->events, "ready\n");
	act_on(b, "ready");
}

static void on_recipient(void *arg, size_t i, const struct client_result *result)
{
	struct bench *b = arg;
	check(b, !b->inside && b->client, "called from within, or after the end");
	check(b, i < b->message.recipient_count, "no such recipient");
	check(b, b->results[i]++ == 0, "recipient %zu has two results", i);
	buf_addf(&b->events, "recipient %zu ", i);
	add_result(b, result);
	act_on(b, "recipient");
}

static void on_done(void *arg)
{
	struct bench *b = arg;
	check(b, !b->inside && b->client, "called from within, or after the end");
	for (size_t i = 0; i < b->message.recipient_count; i++)
		check(b, b->results[i] == 1, "recipient %zu has no result", i);
	buf_add_text(&b->events, "done\n");
	act_on(b, "done");
}

static void on_failed(void *arg, const struct client_result *result, bool idle)
{
	struct bench *b = arg;
	check(b, !b->inside && b->client, "called from within, or after the end");
	buf_addf(&b->events, "failed %s", idle ? "idle " : "");
	add_result(b, result);
	b->client = NULL;
}

static const struct client_handler handler = {
    .ready = on_ready,
    .recipient = on_recipient,
    .done = on_done,
    .failed = on_failed,
};

static ssize_t read_text(void *arg, uint64_t offset, char *to, size_t n)
{
	struct bench *b = arg;
	b->reads++;
	if (offset >= b->unreadable_at)
		return -1;
	if (n > b->unreadable_at - offset)
		n = (size_t)(b->unreadable_at - offset);
	assert_true(offset < b->message.size && n > 0 && n <= b->message.size - offset);
	for (size_t i = 0; i < n; i++) {
		uint64_t at = offset + i;
		if (b->text.len)
			to[i] = b->text.data[at];
		else /* lines of 64 bytes, some with a dot in front */
			to[i] = at % 64 == 62 ? '\r' : at % 64 == 63 ? '\n' : at % 192 ? 'x' : '.';
	}
	return (ssize_t)n;
}

static void set_option(struct bench *b, const char *key, const char *value)
{
	static const char *const levels[] = {"none", "may", "encrypt", "verify", "implicit"};
	struct {
		const char *key;
		struct buf *to;
	} texts[] = {{"user", &b->user}, {"password", &b->password}, {"name", &b->name},
	    {"hostname", &b->hostname}, {"address", &b->address}};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (strcmp(key, texts[i].key) == 0) {
			buf_clear(texts[i].to);
			buf_add_text(texts[i].to, value);
			return;
		}
	if (strcmp(key, "trusted") == 0) {
		b->trusted = strcmp(value, "yes") == 0;
		return;
	}
	if (strcmp(key, "room") == 0) {
		b->room = *value == 's'   ? RECEIVER_SMALL
			  : *value == 'f' ? RECEIVER_FULL
					  : RECEIVER_CLOSED;
		return;
	}
	check(b, strcmp(key, "tls") == 0, "unknown option %s", key);
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		if (strcmp(value, levels[i]) == 0) {
			b->options.tls = (enum client_tls)i;
			return;
		}
	check(b, false, "unknown level %s", value);
}

static void make_context(struct bench *b)
{
	b->options.ctx = SSL_CTX_new(TLS_client_method());
	if (b->trusted)
		X509_STORE_add_cert(SSL_CTX_get_cert_store(b->options.ctx), receiver_certificate());
}

static void do_connect(struct bench *b)
{
	receiver_open(&b->receiver, b->loop, buf_text(&b->address), b->room, &b->options.to);
	b->receiver.turned = check_held;
	b->receiver.arg = b;
	if (b->options.tls != CLIENT_TLS_NONE)
		make_context(b);
	b->options.name = buf_text(&b->name);
	b->options.hostname = buf_text(&b->hostname);
	b->options.own_name = buf_text(&b->hostname);
	b->options.user = buf_text(&b->user);
	b->options.password = buf_text(&b->password);
	b->options.limits = &b->limits;
	b->inside = true;
	b->client = client_new(b->loop, &b->options, &handler, b);
	b->inside = false;
}

static void add_recipient(struct bench *b, struct span address)
{
	size_t *count = &b->message.recipient_count;
	assert_true(*count < RECIPIENTS_MAX);
	mem_free(b->recipients[*count]);
	b->recipients[(*count)++] = span_dup(address);
}

static void set_recipients(struct bench *b, const char *list)
{
	b->message.recipient_count = 0;
	long many = strtol(list, NULL, 10); /* a number: that many made-up ones */
	for (long i = 0; i < many; i++) {
		char text[64];
		snprintf(text, sizeof(text), "r%ld@example.org", i);
		add_recipient(b, span_text(text));
	}
	while (!many && *list) {
		size_t n = strcspn(list, ",");
		add_recipient(b, (struct span){list, n});
		list += n + (list[n] == ',');
	}
}

static void set_message(struct bench *b, char *words)
{
	struct client_message *m = &b->message;
	m->size = b->text.len;
	for (char *w; (w = strsep(&words, " "));) {
		if (strncmp(w, "to=", 3) == 0) {
			set_recipients(b, w + 3);
		} else if (strncmp(w, "from=", 5) == 0) {
			buf_clear(&b->sender);
			buf_add_text(&b->sender, w + 5);
		} else if (strncmp(w, "size=", 5) == 0) {
			m->size = strtoull(w + 5, NULL, 10);
			buf_free(&b->text);
		} else if (strncmp(w, "unreadable=", 11) == 0) {
			b->unreadable_at = strtoull(w + 11, NULL, 10);
		} else if (strcmp(w, "dsn") == 0) {
			static const char *const dsn[] = {" NOTIFY=NEVER", "",
			    " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@example.org"};
			m->mail_dsn = " RET=HDRS ENVID=QQ1";
			m->rcpt_dsn = dsn;
			check(b, m->recipient_count == 3, "dsn is for three recipients");
		} else if (strcmp(w, "8bit") == 0) {
			m->eightbit = true;
		} else if (strcmp(w, "utf8") == 0) {
			m->smtputf8 = true;
		} else {
			check(b, false, "send what? %s", w);
		}
	}
	m->sender = buf_text(&b->sender);
	m->recipients = (const char *const *)b->recipients;
	m->read = read_text;
	m->arg = b;
}

static void tell_info(struct bench *b)
{
	struct client_info i = client_info(b->client);
	buf_addf(&b->events, "info%s%s%s%s size=%llu tls=%s transactions=%u %s[%s]\n",
	    i.pipelining ? " pipelining" : "", i.eightbit ? " 8bitmime" : "",
	    i.smtputf8 ? " smtputf8" : "", i.starttls ? " starttls" : "",
	    (unsigned long long)i.max_size, i.tls ? i.tls_text : "no", i.transactions, i.name,
	    i.address);
}

static void owner(struct bench *b, char *text)
{
	char *verb = strsep(&text, " ");
	if (strcmp(verb, "set") == 0) {
		char *key = strsep(&text, " ");
		set_option(b, key, text);
	} else if (strcmp(verb, "connect") == 0) {
		do_connect(b);
	} else if (strcmp(verb, "text") == 0) {
		buf_addf(&b->text, "%s\r\n", text);
	} else if (strcmp(verb, "send") == 0) {
		set_message(b, text);
		begin_send(b);
	} else if (strcmp(verb, "on") == 0) {
		snprintf(b->on_event, sizeof(b->on_event), "%s", strsep(&text, " "));
		snprintf(b->on_action, sizeof(b->on_action), "%s", text);
	} else if (strcmp(verb, "info") == 0) {
		tell_info(b);
	} else {
		check(b, strcmp(verb, "close") == 0, "unknown action %s", verb);
		close_client(b);
	}
}

/* The receiver */

static void unescape(struct buf *out, const char *p)
{
	for (; *p; p++) {
		if (*p != '\\') {
			buf_add_byte(out, *p);
			continue;
		}
		p++;
		if (*p == 'x') {
			char hex[3] = {p[1], p[2], 0};
			buf_add_byte(out, (char)strtol(hex, NULL, 16));
			p += 2;
		} else {
			buf_add_byte(out, *p == 'r' ? '\r' : *p == 'n' ? '\n' : *p);
		}
	}
}

static void server_send(struct bench *b, char kind, const char *text)
{
	struct buf bytes = {0};
	long times = 1;
	if (kind == '*')
		times = strtol(text, (char **)&text, 10);
	if (kind == ':')
		buf_addf(&bytes, "%s\r\n", text);
	else
		unescape(&bytes, text + (kind == '*'));
	while (times-- > 0 && b->client)
		check(b, receiver_send(&b->receiver, bytes.data, bytes.len),
		    "the client does not read");
	buf_free(&bytes);
}

static void expect_line(struct bench *b, const char *text)
{
	struct buf line = {0};
	check(b, receiver_line(&b->receiver, &line),
	    "the client sends no line but \"%s\", events: %s", buf_text(&b->receiver.in),
	    buf_text(&b->events));
	check(b, strcmp(buf_text(&line), text) == 0, "the client sends \"%s\", expected \"%s\"",
	    buf_text(&line), text);
	buf_free(&line);
}

/* Take the lines that have come off the dots. True: the final one was there. */
static bool take_text(struct bench *b, struct buf *text)
{
	struct buf *in = &b->receiver.in;
	size_t used = 0;
	bool ended = false;
	char *end;
	while (!ended && used < in->len && (end = memchr(in->data + used, '\n', in->len - used))) {
		char *p = in->data + used;
		used = (size_t)(end + 1 - in->data);
		ended = p[0] == '.' && p[1] == '\r';
		size_t dot = p[0] == '.';
		if (!ended)
			buf_add(text, p + dot, (size_t)(end + 1 - p) - dot);
	}
	buf_drop(in, used);
	return ended;
}

static void expect_text(struct bench *b)
{
	struct buf text = {0};
	bool ended = take_text(b, &text);
	for (int i = 0; i < RECEIVER_PATIENCE && !ended; i++) {
		size_t before = text.len;
		receiver_turn(&b->receiver, i);
		receiver_read(&b->receiver);
		ended = take_text(b, &text);
		if (text.len != before)
			i = 0;
	}
	check(b, ended, "the client does not send the final dot");
	check(b, text.len == b->message.size, "the text has %zu bytes", text.len);
	char *want = mem_alloc(text.len + 1);
	if (text.len)
		read_text(b, 0, want, text.len);
	assert_memory_equal(buf_text(&text), want, text.len);
	mem_free(want);
	buf_free(&text);
}

static void expect_end(struct bench *b)
{
	check(b, receiver_end(&b->receiver), "the client does not close");
	check(b, b->receiver.in.len == 0, "the client sends \"%s\" before its end",
	    buf_text(&b->receiver.in));
}

static void expect_event(struct bench *b, const char *pattern)
{
	char *end = NULL;
	for (int i = 0; i < RECEIVER_PATIENCE && !end; i++) {
		end = b->events.len ? memchr(b->events.data, '\n', b->events.len) : NULL;
		if (!end)
			receiver_turn(&b->receiver, i);
	}
	check(b, end, "nothing is told, expected \"%s\"", pattern);
	*end = '\0';
	check(b, fnmatch(pattern, b->events.data, 0) == 0, "told \"%s\", expected \"%s\"",
	    b->events.data, pattern);
	buf_drop(&b->events, (size_t)(end + 1 - b->events.data));
}

/* What we sent has arrived and was looked at, and the client is stuck with its
 * text if it has any. */
static void come_to_rest(struct bench *b)
{
	int quiet = 0;
	for (int i = 0; i < RECEIVER_PATIENCE && quiet < 3; i++) {
		unsigned reads = b->reads;
		bool busy = receiver_has_unacked(&b->receiver);
		receiver_turn(&b->receiver, i);
		quiet = busy || reads != b->reads ? 0 : quiet + 1;
	}
}

/* Scripts */

static void step(struct bench *b, char *line)
{
	char *text = line + strcspn(line, " ");
	text += *text == ' ';
	if (strchr("SCET!R", line[0]) && b->receiver.fd < 0)
		check(b, receiver_accept(&b->receiver), "the client does not connect");
	switch (line[0]) {
	case 'S':
		server_send(b, line[1], text);
		return;
	case 'C':
		line[1] == '*' ? expect_text(b) : expect_line(b, text);
		return;
	case 'E':
		expect_end(b);
		return;
	case 'T':
		/* TLS 1.3: the server may be done before the client judges it */
		check(b, receiver_handshake(&b->receiver) || line[1] == 'F', "no TLS");
		return;
	case '!':
	case 'R':
		receiver_hang_up(&b->receiver, line[0] == 'R');
		return;
	case '@':
		come_to_rest(b);
		clock_advance(strtoll(text, NULL, 10) * 1000);
		return;
	case '=':
		expect_event(b, text);
		return;
	case '+':
		owner(b, text);
		return;
	default:
		check(b, false, "unknown step");
	}
}

static void set_up(struct bench *b)
{
	b->receiver.fd = -1;
	b->loop = loop_new();
	b->unreadable_at = UINT64_MAX;
	b->limits = (struct conf_delivery){
	    .connect_timeout = 30000,
	    .banner_timeout = 300000,
	    .command_timeout = 300000,
	    .data_timeout = 120000,
	    .block_timeout = 180000,
	    .end_timeout = 600000,
	    .transaction_total = 3600000,
	};
	set_option(b, "address", "127.0.0.1");
	set_option(b, "name", "mx.example.org");
	set_option(b, "hostname", "relay.example.jp");
	buf_add_text(&b->sender, "a@example.jp");
}

static void tear_down(struct bench *b)
{
	for (int i = 0; i < 5; i++)
		loop_turn(b->loop, false);
	check(b, b->events.len == 0, "left over: %s", buf_text(&b->events));
	if (b->client)
		close_client(b);
	loop_free(b->loop);
	receiver_close(&b->receiver);
	SSL_CTX_free(b->options.ctx);
	struct buf *bufs[] = {&b->user, &b->password, &b->name, &b->hostname,
	    &b->address, &b->sender, &b->list, &b->text, &b->events};
	for (size_t i = 0; i < sizeof(bufs) / sizeof(*bufs); i++)
		buf_free(bufs[i]);
	for (size_t i = 0; i < RECIPIENTS_MAX; i++)
		mem_free(b->recipients[i]);
}

static void test_script(void **state)
{
	struct bench b = {.file = *state};
	char line[4096];
	FILE *f = fopen(b.file, "re");
	assert_non_null(f);
	set_up(&b);
	while (fgets(line, sizeof(line), f)) {
		b.line++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			step(&b, line);
	}
	fclose(f);
	tear_down(&b);
}

static int is_script(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);
	return n > 4 && strcmp(entry->d_name + n - 4, ".dlg") == 0;
}

/* All scripts, or those that are named. */
int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	int count = argc > 1 ? argc - 1 : scandir(SCRIPTS, &entries, is_script, alphasort);
	if (count <= 0) {
		fprintf(stderr, "no scripts in " SCRIPTS "; run this from the top folder\n");
		return 1;
	}
	struct CMUnitTest *tests = mem_array((size_t)count, sizeof(*tests));
	for (int i = 0; i < count; i++) {
		struct buf path = {0};
		size_t n;
		if (entries)
			buf_addf(&path, SCRIPTS "/%s", entries[i]->d_name);
		else
			buf_add_text(&path, argv[i + 1]);
		char *file = buf_take(&path, &n);
		tests[i] = (struct CMUnitTest){file, test_script, NULL, NULL, file};
	}
	clock_fake(1800000000000);
	int failed = _cmocka_run_group_tests("client", tests, (size_t)count, NULL, NULL);
	for (int i = 0; i < count; i++) {
		mem_free(tests[i].initial_state);
		free(entries ? entries[i] : NULL);
	}
	free(entries);
	mem_free(tests);
	receiver_forget();
	return failed;
}
