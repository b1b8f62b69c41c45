/* SPDX-License-Identifier: MIT
 * A hostile receiver: two transactions against any bytes, on a fake clock. It
 * must end in `done` or `failed`, each recipient has exactly one result before
 * `done`, and what leaves is SMTP lines up to the text.
 *
 * The first byte of the input says which options the client has; 0xff splits
 * the rest: at each the receiver waits for a turn before it sends on. At
 * the end it closes, or (by the first byte) goes silent.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "smtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WITH_AUTH 1u
#define WITH_TLS 2u
#define WITH_8BIT 4u
#define WITH_SILENCE 8u
#define WITH_BIG 16u
#define RECIPIENTS 3
#define TURNS_MAX 20000

struct run {
	struct client *client; /* NULL: over */
	struct client_message message;
	unsigned results[RECIPIENTS];
	unsigned sent;
	bool ended_by_rcpt; /* a recipient has had the end of the connection for an answer */
};

static SSL_CTX *ctx;
static int listener = -1;
static struct conn_address address;
static struct loop *loop;
static const struct conf_delivery limits = {
    .connect_timeout = 30000,
    .banner_timeout = 300000,
    .command_timeout = 300000,
    .data_timeout = 120000,
    .block_timeout = 180000,
    .end_timeout = 600000,
    .transaction_total = 3600000,
};

static ssize_t read_text(void *arg, uint64_t offset, char *to, size_t n)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		to[i] = "..abcd\r\n"[(offset + i) % 8];
	return (ssize_t)n;
}

static void begin(struct run *run)
{
	run->sent++;
	memset(run->results, 0, sizeof(run->results));
	client_send(run->client, &run->message);
}

static void check_result(const struct client_result *result)
{
	if (!result->reply == !result->why)
		bug("a result with both reply and reason, or none");
	if (result->reply && (!result->reply->complete || result->reply->code < 200))
		bug("a result with half a reply");
	if (result->why && (result->why->kind == WHY_NONE || !*result->why->text))
		bug("a result without a reason");
	if (!client_stage_name(result->stage))
		bug("no such stage");
}

static void on_ready(void *arg)
{
	struct run *run = arg;
	if (run->sent)
		bug("ready twice");
	begin(run);
}

static void on_recipient(void *arg, size_t i, const struct client_result *result)
{
	struct run *run = arg;
	check_result(result);
	if (!run->sent || i >= RECIPIENTS || run->results[i]++)
		bug("a recipient that is none, or has two results");
	run->ended_by_rcpt |=
	    result->stage == CLIENT_RCPT && result->reply && result->reply->code == 421;
}

static void on_done(void *arg)
{
	struct run *run = arg;
	for (size_t i = 0; i < RECIPIENTS; i++)
		if (run->results[i] != 1)
			bug("done without all results");
	if (run->sent < 2) {
		begin(run);
		return;
	}
	client_close(run->client);
	run->client = NULL;
}

static void on_failed(void *arg, const struct client_result *result, bool idle)
{
	struct run *run = arg;
	bool all = run->sent > 0;
	check_result(result);
	for (size_t i = 0; i < RECIPIENTS; i++)
		all = all && run->results[i] == 1;
	if (idle != (all && !run->ended_by_rcpt))
		bug("idle is not what it says");
	run->client = NULL;
}

static const struct client_handler handler = {on_ready, on_recipient, on_done, on_failed};

static void prepare(void)
{
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&address.addr;
	clock_fake(1800000000000);
	ctx = SSL_CTX_new(TLS_client_method());
	loop = loop_new();
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	un->sun_family = AF_UNIX; /* the kernel chooses an abstract name */
	if (bind(listener, (struct sockaddr *)un, sizeof(sa_family_t)) != 0 ||
	    listen(listener, 4) != 0)
		bug("no socket");
	address.len = sizeof(address.addr);
	getsockname(listener, (struct sockaddr *)un, &address.len);
}

/* Take what the client says, without a look: it may be in TLS. */
static bool swallow(int fd)
{
	static char space[65536];
	ssize_t n;
	bool any = false;
	while ((n = read(fd, space, sizeof(space))) > 0)
		any = true;
	return any;
}

static void play(struct run *run, int fd, const uint8_t *data, size_t size, bool silent)
{
	bool open = true;
	for (int i = 0; run->client && i < TURNS_MAX; i++) {
		bool heard = open && swallow(fd);
		if (size) {
			const uint8_t *split = memchr(data, 0xff, size);
			size_t n = split ? (size_t)(split - data) : size;
			ssize_t sent = n ? send(fd, data, n, MSG_NOSIGNAL) : 0;
			size_t used = sent > 0 ? (size_t)sent : 0;
			if (used == n && split)
				used++;
			data += used, size -= used;
		} else if (open && !silent && !heard) {
			close(fd);
			open = false;
		}
		/* time passes only when the receiver has nothing more to say */
		loop_turn(loop, !size && !heard);
	}
	if (run->client)
		bug("no end");
	if (open)
		close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const recipients[RECIPIENTS] = {"a@x.example", "b@x.example",
	    "c@x.example"};
	if (size == 0)
		return 0;
	if (!loop)
		prepare();
	unsigned flags = data[0];
	struct run run = {.message = {.sender = "s@y.example", .recipients = recipients,
			      .recipient_count = RECIPIENTS, .read = read_text}};
	run.message.size = flags & WITH_BIG ? 300000 : 40;
	run.message.eightbit = flags & WITH_8BIT;
	struct client_options options = {
	    .to = address,
	    .name = "mx.x.example",
	    .hostname = "relay.y.example",
	    .own_name = "relay.y.example",
	    .user = flags & WITH_AUTH ? "user" : NULL,
	    .password = "password",
	    .limits = &limits,
	    .tls = flags & WITH_TLS ? CLIENT_TLS_MAY : CLIENT_TLS_NONE,
	    .ctx = ctx,
	};
	run.client = client_new(loop, &options, &handler, &run);
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		bug("the client does not connect");
	play(&run, fd, data + 1, size - 1, flags & WITH_SILENCE);
	/* the client's QUIT and its memory */
	for (int i = 0; i < 10 && loop_turn(loop, true); i++)
		;
	return 0;
}
