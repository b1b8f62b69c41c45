/* SPDX-License-Identifier: MIT
 * conn_line over a socket, the input cut into pieces as its first bytes say.
 * Whatever the pieces, the lines must be those that a plain search in the
 * whole input finds. Line limit and input bound come from the input too.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayd/base/buf.h"
#include "relayd/base/conn.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD 6 /* limit, bound, four sizes of pieces */
#define SIZE_MOST 2048

struct run {
	struct conn *conn;
	size_t limit;
	struct buf found;
};

static void note(struct run *run, enum conn_line kind, struct span line)
{
	buf_addf(&run->found, "%d %zu:", (int)kind, line.n);
	buf_add(&run->found, line.p, line.n);
}

static void take_lines(
    struct conn *conn, enum conn_event event, const struct why *why, void *arg)
{
	struct run *run = arg;
	(void)why;
	if (event != CONN_INPUT)
		return;
	for (;;) {
		struct span line = {0};
		enum conn_line kind = conn_line(conn, run->limit, &line);
		if (kind == CONN_LINE_MORE)
			return;
		note(run, kind, line);
		for (size_t left = kind == CONN_LINE_LONG ? run->limit : 0; left;) {
			size_t n = conn_peek(conn).n;
			n = n < left ? n : left;
			conn_drop(conn, n);
			left -= n;
		}
	}
}

static void expect(struct run *run, const char *p, size_t n)
{
	while (n) {
		size_t most = n < run->limit ? n : run->limit;
		const char *lf = memchr(p, '\n', most);
		if (!lf && n < run->limit)
			return;
		size_t len = lf ? (size_t)(lf - p) : run->limit;
		struct span line = {p, lf ? len : 0};
		bool crlf = lf && len && p[len - 1] == '\r';
		if (crlf)
			line.n--;
		bool bare = !crlf || memchr(p, '\r', line.n);
		note(run, !lf ? CONN_LINE_LONG : bare ? CONN_LINE_BARE : CONN_LINE, line);
		len += lf ? 1 : 0;
		p += len;
		n -= len;
	}
}

static void feed(struct run *run, const uint8_t *head, const uint8_t *p, size_t n)
{
	int pair[2];
	struct loop *loop = loop_new();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		abort();
	size_t bound = run->limit + head[1];
	run->conn = conn_accept(loop, pair[0], bound, take_lines, run);
	for (size_t i = 0; n; i++) {
		size_t piece = 1u + head[2 + i % 4];
		piece = piece < n ? piece : n;
		if (write(pair[1], p, piece) != (ssize_t)piece)
			abort();
		p += piece;
		n -= piece;
		/* with a full input a turn may read a single byte */
		for (size_t turns = 0; turns <= piece; turns++)
			loop_turn(loop, false);
	}
	conn_close(run->conn);
	close(pair[1]);
	loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEAD || size > SIZE_MOST)
		return 0;
	struct run real = {.limit = 1u + data[0] % 100};
	struct run model = {.limit = real.limit};
	feed(&real, data, data + HEAD, size - HEAD);
	expect(&model, (const char *)data + HEAD, size - HEAD);
	if (!span_equal(span_buf(&real.found), span_buf(&model.found)))
		abort();
	buf_free(&real.found);
	buf_free(&model.found);
	return 0;
}
