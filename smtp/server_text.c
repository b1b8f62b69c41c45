/* SPDX-License-Identifier: MIT
 * The server's text: DATA and BDAT. Octets go through the decoder to the
 * handler piece by piece. A text with a fault, and a chunk that is refused,
 * are read to their end all the same, since the client can not stop and what
 * follows must not be taken for commands; nothing of them is kept.
 */
#include <inttypes.h>

#include "smtp/server_internal.h"

/* Octets decoded at a time. A repaired newline is two octets for one, so the
 * handler gets at most twice as much. */
#define PIECE 32768

void server_text_begin(struct server *s, bool dots)
{
	const struct body_limits limits = {
	    .size = (uint64_t)s->options.limits->message_size,
	    .line = (uint64_t)s->options.limits->text_line,
	    .repair_bare = s->options.bare_newline == CONF_BARE_REPAIR,
	};
	body_decoder_init(&s->decoder, &limits, dots);
}

static void set_too_big(const struct server *s, struct reply *reply)
{
	reply_set(reply, 552, "5.3.4", "The message is over %" PRId64 " bytes (limits.message_size)",
	    s->options.limits->message_size);
}

static void set_fault(const struct server *s, struct reply *reply)
{
	switch (s->decoder.fault) {
	case BODY_FINE:
		break;
	case BODY_BARE_NEWLINE:
		reply_set(reply, 550, "5.6.11", "The message has a CR or LF alone; lines end with CRLF");
		break;
	case BODY_LONG_LINE:
		reply_set(reply, 554, "5.6.0",
		    "The message has a line of over %" PRId64 " bytes (limits.text_line)",
		    s->options.limits->text_line);
		break;
	case BODY_NUL:
		reply_set(reply, 550, "5.6.0", "The message has a NUL byte");
		break;
	case BODY_TOO_BIG:
		set_too_big(s, reply);
		break;
	}
}

static void say_fault(struct server *s)
{
	struct reply reply = {0};
	set_fault(s, &reply);
	server_reply(s, &reply);
	reply_free(&reply);
}

static void refuse(struct server *s, const struct reply *reply)
{
	server_refused(s, NOBODY, NOBODY, reply);
}

/* The transaction ends here, while its client has more to send. */
static void give_up(struct server *s)
{
	struct reply reply = {0};
	if (!s->open)
		return;
	set_fault(s, &reply);
	refuse(s, &reply);
	server_forget(s);
	reply_free(&reply);
}

/* What the decoder made goes to the handler; with a fault nothing does. */
static void hand_over(struct server *s, struct buf *text)
{
	if (s->decoder.fault != BODY_FINE) {
		give_up(s);
	} else if (text->len && !s->handler->text(s->arg, span_buf(text))) {
		server_pause(s);
	}
	buf_free(text);
}

/* Decode up to MAX of the octets that wait into TEXT. Result: how many it took. */
static size_t decode(struct server *s, uint64_t max, struct buf *text)
{
	struct span in = conn_peek(s->conn);
	if (in.n > max)
		in.n = (size_t)max;
	if (in.n > PIECE)
		in.n = PIECE;
	size_t used = body_decode(&s->decoder, in.p, in.n, text);
	conn_drop(s->conn, used);
	server_progress(s, used);
	return used;
}

/* The last octet was read. */
static void complete(struct server *s)
{
	if (s->state == SERVER_END) /* the handler has shut it meanwhile */
		return;
	server_resume(s); /* nothing is left to be paused */
	s->messages++;
	if (s->decoder.fault != BODY_FINE) {
		say_fault(s);
		server_enter(s, SERVER_READY);
		return;
	}
	s->open = false;
	server_enter(s, SERVER_OWED);
	s->handler->end(s->arg);
}

bool server_take_text(struct server *s)
{
	struct buf text = {0};
	if (decode(s, UINT64_MAX, &text) == 0)
		return false;
	hand_over(s, &text);
	if (s->decoder.ended)
		complete(s);
	return true;
}

static void end_chunk(struct server *s)
{
	if (s->chunk_last) {
		complete(s);
	} else if (s->decoder.fault != BODY_FINE) {
		say_fault(s);
		server_enter(s, SERVER_BROKEN);
	} else {
		server_say(s, 250, "2.0.0", "Chunk taken");
		server_enter(s, SERVER_BDAT);
	}
}

bool server_take_chunk(struct server *s)
{
	struct buf text = {0};
	size_t used = decode(s, s->chunk_left, &text);
	bool ended = s->chunk_left == used;
	s->chunk_left -= used;
	if (ended && s->chunk_last) /* here, for it may add the last CRLF */
		body_decoder_finish(&s->decoder, &text);
	hand_over(s, &text);
	if (ended)
		end_chunk(s);
	return ended || used > 0;
}

bool server_take_refused(struct server *s)
{
	if (s->chunk_left > 0) {
		size_t n = conn_peek(s->conn).n;
		if (n > s->chunk_left)
			n = (size_t)s->chunk_left;
		conn_drop(s->conn, n);
		server_progress(s, n);
		s->chunk_left -= n;
		return n > 0;
	}
	buf_add(&s->out, s->late.data, s->late.len);
	buf_free(&s->late);
	server_enter(s, s->after);
	return true;
}

/* Why a chunk is not taken in this state, as a reply; false: it is. */
static bool refusal(struct server *s, const struct command_bdat *bdat, struct reply *reply)
{
	uint64_t limit = (uint64_t)s->options.limits->message_size;
	if (s->state == SERVER_MAIL) {
		reply_set(reply, 554, "5.5.1", "No valid recipients");
		return true;
	}
	if (s->state != SERVER_RCPT && s->state != SERVER_BDAT) {
		reply_set(reply, 503, "5.5.1", "%s", server_order_text(s));
		/* behind a chunk that failed they were on their way: that was one mistake */
		s->errors += s->state != SERVER_BROKEN && !server_is_behind_refusal(s);
		return true;
	}
	uint64_t before = s->state == SERVER_BDAT ? s->decoder.size : 0;
	if (limit && (before > limit || bdat->size > limit - before)) {
		set_too_big(s, reply);
	} else {
		reply_set(reply, 250, "2.0.0", "Ok");
		if (s->state == SERVER_BDAT || s->handler->data(s->arg, reply))
			return false;
	}
	refuse(s, reply);
	return true;
}

/* Where a refused chunk leaves the session. A transaction of which a part is
 * missing may never be completed by the chunks behind it, which a client that
 * pipelines has sent already. */
static enum server_state state_after_refusal(struct server *s, bool last)
{
	if (s->state == SERVER_START || s->state == SERVER_READY)
		return s->state;
	server_forget(s);
	return last ? SERVER_READY : SERVER_BROKEN;
}

enum server_state server_chunk_begin(struct server *s, const struct command *c)
{
	struct command_bdat bdat;
	struct reply reply = {0};
	enum server_state next = SERVER_CHUNK;
	if (command_parse_bdat(c->argument, &bdat, &reply) != 0) {
		/* how much text follows is not known: go on, and it would be run as commands */
		server_reply(s, &reply);
		refuse(s, &reply);
		next = SERVER_END;
	} else if (refusal(s, &bdat, &reply)) {
		bool hang_up = reply.code == 421;
		reply_print(&reply, &s->late);
		s->after = state_after_refusal(s, bdat.last);
		if (hang_up)
			s->after = SERVER_END;
		s->chunk_left = bdat.size;
		next = SERVER_REFUSED;
	} else {
		if (s->state == SERVER_RCPT)
			server_text_begin(s, false);
		s->chunk_left = bdat.size;
		s->chunk_last = bdat.last;
	}
	reply_free(&reply);
	return next;
}
