/* SPDX-License-Identifier: MIT
 * relay-catcher: takes every message and keeps it in a folder, for trying
 * relayd without a single byte leaving the machine. Not a mail server: it
 * listens on loopback only and delivers nothing.
 *
 * Each message becomes NNNNNN.eml, behind those of earlier runs: Return-Path and
 * Delivered-To lines for the envelope, then the content as it arrived.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "smtp/server.h"

#define PIECE_MAX (128 * 1024 * 1024)
#define ACCEPT_AGAIN_MS 100 /* after running out of descriptors */

struct catcher {
	struct loop *loop;
	int folder;
	int listener;
	struct event *event; /* of the listener */
	struct timer again;  /* accepting is paused */
	unsigned count;      /* the number of the last message */
	struct conf_limits limits;
};

struct session {
	struct catcher *catcher;
	struct server *server;
	struct buf text;
};

static bool on_mail(void *arg, const struct command_mail *mail, struct reply *reply)
{
	struct session *s = arg;
	(void)reply;
	buf_clear(&s->text);
	buf_addf(&s->text, "Return-Path: <%.*s>\r\n", (int)mail->from.text.n, mail->from.text.p);
	return true;
}

static bool on_rcpt(void *arg, const struct command_rcpt *rcpt, struct reply *reply)
{
	struct session *s = arg;
	(void)reply;
	buf_addf(&s->text, "Delivered-To: %.*s\r\n", (int)rcpt->to.text.n, rcpt->to.text.p);
	return true;
}

static bool on_data(void *arg, struct reply *reply)
{
	(void)arg;
	(void)reply;
	return true;
}

static bool on_text(void *arg, struct span piece)
{
	struct session *s = arg;
	if (s->text.len + piece.n <= PIECE_MAX)
		buf_add(&s->text, piece.p, piece.n);
	return true;
}

/* Under its final name only when it is whole, so that a reader of the folder
 * never sees half a message. */
static int keep(struct catcher *c, const struct buf *text, char *name, size_t size)
{
	char part[32];
	snprintf(name, size, "%06u.eml", ++c->count);
	snprintf(part, sizeof(part), "%06u.part", c->count);
	int fd = openat(c->folder, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	size_t done = 0;
	while (done < text->len) {
		ssize_t n = write(fd, text->data + done, text->len - done);
		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (done < text->len)
		return -1;
	return renameat(c->folder, part, c->folder, name);
}

static void on_end(void *arg)
{
	struct session *s = arg;
	struct reply reply = {0};
	char name[32];
	if (keep(s->catcher, &s->text, name, sizeof(name)) == 0)
		reply_set(&reply, 250, "2.0.0", "kept as %s", name);
	else
		reply_set(&reply, 451, "4.3.0", "could not be kept: %s", strerror(errno));
	server_answer(s->server, &reply);
	reply_free(&reply);
	buf_free(&s->text);
}

static void on_abort(void *arg)
{
	struct session *s = arg;
	buf_free(&s->text);
}

static void on_closed(void *arg)
{
	struct session *s = arg;
	buf_free(&s->text);
	mem_free(s);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	static const struct server_handler handler = {.mail = on_mail, .rcpt = on_rcpt,
	    .data = on_data, .text = on_text, .end = on_end, .abort = on_abort,
	    .closed = on_closed};
	struct catcher *c = arg;
	(void)what;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* the same connection would be reported for ever */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			event_del(c->event);
			timer_start(&c->again, ACCEPT_AGAIN_MS);
		}
		return;
	}
	struct session *s = mem_zero(sizeof(*s));
	struct server_options options = {.hostname = "catcher.invalid", .limits = &c->limits};
	s->catcher = c;
	struct conn *conn = conn_accept(c->loop, fd, 65536, NULL, NULL);
	s->server = server_new(conn, &options, &handler, s);
}

static int open_listener(uint16_t *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(*port)};
	socklen_t len = sizeof(addr);
	int on = 1;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 128) < 0)
		return -1;
	getsockname(fd, (struct sockaddr *)&addr, &len);
	*port = ntohs(addr.sin_port);
	return fd;
}

/* The highest number of what is in the folder; -1: it can not be read. */
static int count_kept(const char *folder, unsigned *count)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	uint64_t number;
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		struct span name = span_text(entry->d_name);
		struct span digits = span_cut(&name, '.');
		if (span_number(digits, UINT32_MAX, &number) && number > *count)
			*count = (unsigned)number;
	}
	closedir(dir);
	return 0;
}

static void accept_again(void *arg)
{
	struct catcher *c = arg;
	loop_event_add(c->event);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct catcher *c = arg;
	(void)number;
	(void)what;
	loop_stop(c->loop);
}

static void serve(struct catcher *c)
{
	signal(SIGPIPE, SIG_IGN);
	c->loop = loop_new();
	c->limits = (struct conf_limits){.message_size = PIECE_MAX, .text_line = PIECE_MAX,
	    .command_line = 4096, .recipients = 100000, .errors = 100, .command_timeout = 300000,
	    .data_timeout = 300000, .data_total = 3600000, .session_total = 7200000};
	struct event_base *base = loop_base(c->loop);
	timer_init(&c->again, c->loop, accept_again, c);
	c->event = loop_event_new(c->loop, c->listener, EV_READ | EV_PERSIST, on_accept, c);
	loop_event_add(c->event);
	event_add(evsignal_new(base, SIGTERM, on_signal, c), NULL);
	event_add(evsignal_new(base, SIGINT, on_signal, c), NULL);
	loop_run(c->loop);
}

int main(int argc, char **argv)
{
	static struct catcher catcher;
	uint64_t port = 0;
	const char *folder = NULL;
	bool good = true;
	int option;
	while ((option = getopt(argc, argv, "p:d:")) != -1) {
		if (option == 'd')
			folder = optarg;
		else if (option != 'p' || !span_number(span_text(optarg), 65535, &port))
			good = false;
	}
	if (!good || !folder || optind != argc) {
		fputs("usage: relay-catcher -d FOLDER [-p PORT]\n"
		      "keeps every message that comes to 127.0.0.1 port PORT (default: any free one)\n",
		    stderr);
		return EX_USAGE;
	}
	uint16_t number = (uint16_t)port;
	catcher.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (catcher.folder < 0 || count_kept(folder, &catcher.count) < 0) {
		fprintf(stderr, "relay-catcher: folder %s: %s\n", folder, strerror(errno));
		return EX_OSERR;
	}
	catcher.listener = open_listener(&number);
	if (catcher.listener < 0) {
		fprintf(stderr, "relay-catcher: 127.0.0.1 port %u: %s\n", number, strerror(errno));
		return EX_OSERR;
	}
	printf("relay-catcher: listening on 127.0.0.1 port %u\n", number);
	fflush(stdout);
	serve(&catcher);
	return EX_OK;
}
