/* SPDX-License-Identifier: MIT
 * A file is written as tmp.RANDOM, synced, and renamed to new.RANDOM, which is when
 * relayd begins to see it. The folder can be written but not listed by everybody,
 * and the names can not be guessed: the file can be read by whoever knows it.
 *
 *	crash while writing    tmp.* stays, the caller saw no success
 *	crash before rename    the same
 *	crash after rename     new.* may be there or not, the caller saw no success
 *	success                new.* is on disk
 */
#include "relayd/sendmail_drop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "smtp/body.h"

#define PIECE 65536
/* relayd's limits as they are unless configured otherwise: what is over them would be
 * refused there, when only a report can still tell its sender */
#define RECIPIENTS_MAX 1000
#define SIZE_MAX_BYTES (25u << 20)
#define LINE_MAX_BYTES (1u << 20)

struct dropping {
	int folder;
	int fd;
	char hidden[40];
	char final[40];
	struct buf out;
	struct why *why;
};

static int flush(struct dropping *d)
{
	size_t at = 0;
	while (at < d->out.len) {
		ssize_t n = write(d->fd, d->out.data + at, d->out.len - at);
		if (n < 0 && errno != EINTR)
			return why_errno(d->why, WHY_TEMP, errno, "write");
		if (n > 0)
			at += (size_t)n;
	}
	buf_clear(&d->out);
	return 0;
}

static void add_envelope(struct dropping *d, const struct sendmail_job *job)
{
	bool utf8 = job->to->utf8 || job->sender_utf8;
	buf_addf(&d->out, "MAIL FROM:<%s>%s", job->sender, utf8 ? " SMTPUTF8" : "");
	sendmail_dsn_print_mail(job->dsn, &d->out);
	for (size_t i = 0; i < job->to->count; i++) {
		buf_addf(&d->out, "\r\nRCPT TO:<%s>", job->to->list[i]);
		sendmail_dsn_print_rcpt(job->dsn, &d->out);
	}
	buf_add_text(&d->out, "\r\nDATA\r\n");
}

static int add_text(struct dropping *d, const struct sendmail_message *m)
{
	struct body_encoder encoder;
	char *piece = mem_alloc(PIECE);
	uint64_t at = 0;
	int64_t n = 0;
	int result = 0;
	body_encoder_init(&encoder);
	body_encode(&encoder, m->head.data, m->head.len, &d->out);
	while (result == 0 && (n = sendmail_store_read(&m->body, at, piece, PIECE, d->why)) > 0) {
		body_encode(&encoder, piece, (size_t)n, &d->out);
		at += (uint64_t)n;
		result = flush(d);
	}
	body_encoder_finish(&encoder, &d->out);
	mem_free(piece);
	return n < 0 || result < 0 ? -1 : flush(d);
}

/* The folder itself can only be synced by who may read it. Syncing the file again
 * after its rename does the same: its inode has changed with it, and the journal
 * can not keep one without the other. */
static int publish(struct dropping *d)
{
	if (fsync(d->fd) < 0)
		return why_errno(d->why, WHY_TEMP, errno, "fsync");
	if (renameat(d->folder, d->hidden, d->folder, d->final) < 0)
		return why_errno(d->why, WHY_TEMP, errno, "rename");
	if (fsync(d->fd) == 0)
		return 0;
	why_errno(d->why, WHY_TEMP, errno, "fsync");
	unlinkat(d->folder, d->final, 0);
	return -1;
}

static int open_hidden(struct dropping *d)
{
	unsigned char bytes[16];
	struct buf hex = {0};
	random_bytes(bytes, sizeof(bytes));
	text_hex(&hex, (struct span){(const char *)bytes, sizeof(bytes)});
	snprintf(d->hidden, sizeof(d->hidden), "tmp.%.32s", buf_text(&hex));
	snprintf(d->final, sizeof(d->final), "new.%.32s", buf_text(&hex));
	buf_free(&hex);
	d->fd = openat(d->folder, d->hidden, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (d->fd < 0)
		return why_errno(d->why, WHY_TEMP, errno, "no file can be made there");
	/* relayd is another user, and the caller's umask says nothing about it */
	if (fchmod(d->fd, 0644) < 0)
		return why_errno(d->why, WHY_TEMP, errno, "fchmod");
	return 0;
}

static int fits(const struct sendmail_job *job, struct why *why)
{
	if (job->to->count > RECIPIENTS_MAX)
		return why_set(why, WHY_TEMP,
		    "over %d recipients, which only relayd itself may take", RECIPIENTS_MAX);
	if (job->message->head.len + job->message->body.size > SIZE_MAX_BYTES)
		return why_set(why, WHY_TEMP, "the message is over %u MiB", SIZE_MAX_BYTES >> 20);
	if (job->message->longest_line > LINE_MAX_BYTES)
		return why_set(why, WHY_TEMP, "a line is over %u MiB", LINE_MAX_BYTES >> 20);
	return 0;
}

int sendmail_drop(const char *folder, const struct sendmail_job *job, struct why *why)
{
	struct dropping d = {.folder = -1, .fd = -1, .why = why};
	int result = fits(job, why);
	if (result == 0) {
		d.folder = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		result = d.folder < 0 ? why_errno(why, WHY_TEMP, errno, "open") : open_hidden(&d);
	}
	if (result == 0) {
		add_envelope(&d, job);
		result = add_text(&d, job->message);
	}
	if (result == 0)
		result = publish(&d);
	if (result < 0 && d.fd >= 0)
		unlinkat(d.folder, d.hidden, 0);
	if (d.fd >= 0)
		close(d.fd);
	if (d.folder >= 0)
		close(d.folder);
	buf_free(&d.out);
	return result;
}
