/* SPDX-License-Identifier: MIT
 * Nothing is followed, nothing is opened that could block. What is refused is read as far
 * as it makes sense, so that its sender can be told.
 */
#include "relayd/drop_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/dsn.h"
#include "relayd/intake.h"
#include "smtp/body.h"
#include "smtp/command.h"

#define ENVELOPE_MAX (1 << 20)
#define PIECE 65536
#define ADDRESS_SHOWN 80

/* The first reason counts. */
static void refuse(struct drop_file *file, unsigned code, const char *enhanced, const char *text)
{
	if (file->reply.code == 0)
		reply_set(&file->reply, code, enhanced, "%s", text);
}

/* ---- bytes ---- */

/* We lack something; else the file itself is at fault: a link, a socket, a mode
 * that keeps us out. */
static bool may_pass(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR ||
	       error == EIO;
}

static int read_bytes(int fd, size_t most, struct buf *content, struct why *why)
{
	while (content->len < most) {
		ssize_t n = read(fd, buf_room(content, PIECE), PIECE);
		if (n < 0)
			return why_errno(why, WHY_TEMP, errno, "read");
		if (n == 0)
			break;
		content->len += (size_t)n;
	}
	return 0;
}

/* Some file systems keep any number of seconds that a user has set. */
static int64_t to_ms(const struct timespec *t)
{
	if (t->tv_sec < 0)
		return 0;
	return t->tv_sec < INT64_MAX / 2000 ? t->tv_sec * INT64_C(1000) + t->tv_nsec / 1000000
	                                    : INT64_MAX / 2;
}

/* Of one that is too large as much as an envelope may have. It can grow meanwhile. */
static int read_open(int fd, size_t max, struct drop_file *file, struct buf *content,
    struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		refuse(file, 550, "5.6.0", "not a plain file with one name");
		return 0;
	}
	file->owner = st.st_uid;
	file->written_ms = to_ms(&st.st_mtim);
	bool large = st.st_size > (off_t)max;
	int result = read_bytes(fd, large ? ENVELOPE_MAX : max + 1, content, why);
	if (large || content->len > max)
		refuse(file, 552, "5.3.4", "the message is over limits.message_size");
	return result;
}

static int read_content(int folder, const char *name, size_t max, struct drop_file *file,
    struct buf *content, struct why *why)
{
	struct why open_failed = {0};
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && may_pass(errno))
		return why_errno(why, WHY_TEMP, errno, "open");
	if (fd < 0) {
		why_errno(&open_failed, WHY_PERM, errno, "open");
		refuse(file, 550, "5.6.0", open_failed.text);
		return 0;
	}
	int result = read_open(fd, max, file, content, why);
	close(fd);
	return result;
}

/* ---- the transaction ---- */

/* The next line of S without its line end; false at its end. */
static bool next_line(struct span *s, struct span *line)
{
	const char *end = s->n ? memchr(s->p, '\n', s->n) : NULL;
	if (!end)
		return false;
	*line = (struct span){s->p, (size_t)(end - s->p)};
	s->n -= line->n + 1;
	s->p = end + 1;
	if (line->n && line->p[line->n - 1] == '\r')
		line->n--;
	return true;
}

/* Its sender was not there to hear the reply: it has to name whom it is about. */
static void refuse_recipient(struct drop_file *file, const struct address *to,
    const struct reply *reply)
{
	char enhanced[12];
	struct buf text = {0};
	text_escape(&text, to->text, ADDRESS_SHOWN);
	buf_addf(&text, ": %s", buf_text(&reply->text));
	refuse(file, reply->code, enhanced_text(&reply->enhanced, enhanced), buf_text(&text));
	buf_free(&text);
}

/* One that can not be sent to refuses the message, and stands in the envelope for the
 * report. False: this is no RCPT line. */
static bool take_rcpt(const struct conf *conf, struct span argument, struct drop_file *file)
{
	struct envelope *e = &file->envelope;
	struct command_rcpt rcpt;
	struct reply reply = {0};
	if (command_parse_rcpt(argument, e->smtputf8, true, &rcpt, &file->reply) < 0)
		return false;
	if (e->recipient_count >= (size_t)conf->limits.recipients) {
		refuse(file, 554, "5.5.3", "more recipients than limits.recipients");
		return true;
	}
	if (intake_add_recipient(conf, e, &rcpt.to, &reply) < 0) {
		refuse_recipient(file, &rcpt.to, &reply);
		envelope_add_recipient(e, span_dup(rcpt.to.text));
		e->smtputf8 |= rcpt.to.utf8;
	}
	dsn_take_recipient(e, &rcpt);
	reply_free(&reply);
	return true;
}

static bool take_mail(const struct conf *conf, struct span argument, struct drop_file *file)
{
	struct envelope *e = &file->envelope;
	struct command_offers offers = {.size = true, .eightbit = true, .smtputf8 = true,
	    .dsn = true, .max_size = (uint64_t)conf->limits.message_size};
	struct command_mail mail;
	if (command_parse_mail(argument, &offers, &mail, &file->reply) < 0)
		return false;
	e->sender = span_dup(mail.from.text);
	e->smtputf8 = mail.smtputf8;
	dsn_take_mail(e, &mail);
	return true;
}

/* The commands up to DATA. TEXT becomes what follows. False: they are not there. */
static bool take_envelope(const struct conf *conf, struct span *text, struct drop_file *file)
{
	const struct envelope *e = &file->envelope;
	struct command c;
	struct span line;
	bool good = true;
	while (good && next_line(text, &line) && line.n <= (size_t)conf->limits.command_line) {
		command_parse(line, &c);
		if (c.verb == COMMAND_DATA && e->recipient_count)
			return true;
		if (c.verb == COMMAND_MAIL && !e->sender)
			good = take_mail(conf, c.argument, file);
		else if (c.verb == COMMAND_RCPT && e->sender)
			good = take_rcpt(conf, c.argument, file);
		else
			break;
	}
	refuse(file, 501, "5.5.2", "MAIL, RCPT lines and DATA are expected");
	return false;
}

static void take_text(const struct conf_limits *limits, struct span text, struct drop_file *file)
{
	struct body_limits body = {.size = (uint64_t)limits->message_size,
	    .line = (uint64_t)limits->text_line};
	struct body_decoder decoder;
	body_decoder_init(&decoder, &body, true);
	size_t used = body_decode(&decoder, text.p, text.n, &file->message);
	file->whole = decoder.ended && decoder.fault == BODY_FINE;
	if (!decoder.ended)
		refuse(file, 554, "5.6.0", "the file ends before its final dot");
	else if (decoder.fault != BODY_FINE || used < text.n)
		refuse(file, 554, "5.6.0", "the text breaks a limit or a line end");
}

/* Its owner may have set any time, and a clock may have been wrong. */
static void bound_time(struct drop_file *file, int64_t lifetime)
{
	int64_t now = clock_wall_ms();
	if (file->written_ms > now)
		file->written_ms = now;
	if (file->written_ms < now - lifetime)
		file->written_ms = now - lifetime;
}

int drop_file_read(int folder, const char *name, const struct conf *conf, struct drop_file *file,
    struct why *why)
{
	struct buf content = {0};
	size_t max = (size_t)conf->limits.message_size + ENVELOPE_MAX;
	*file = (struct drop_file){.written_ms = clock_wall_ms()};
	int result = read_content(folder, name, max, file, &content, why);
	bound_time(file, conf->queue.lifetime);
	struct span text = span_buf(&content);
	if (result == 0 && take_envelope(conf, &text, file))
		take_text(&conf->limits, text, file);
	else
		envelope_free(&file->envelope);
	buf_free(&content);
	return result;
}

void drop_file_free(struct drop_file *file)
{
	envelope_free(&file->envelope);
	buf_free(&file->message);
	reply_free(&file->reply);
}
