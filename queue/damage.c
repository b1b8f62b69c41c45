/* SPDX-License-Identifier: MIT
 * Setting damaged bytes aside: written under a name of their own, synced, then
 * given the final name, so that a final name is always whole.
 */
#include "queue/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/spool_internal.h"
#include "queue/spool_io.h"
#include "relayd/base/mem.h"

#define PIECE (256u << 10)
#define SENDER_MAX 200 /* bytes of it that are shown */

void damage_list_free(struct damage_list *list)
{
	mem_free(list->all);
	*list = (struct damage_list){0};
}

void damage_list_add(struct damage_list *list, enum damage_kind kind, uint64_t id, const char *file,
    const char *format, ...)
{
	list->all = mem_resize(list->all, list->count + 1, sizeof(*list->all));
	struct damage *d = &list->all[list->count++];
	*d = (struct damage){.kind = kind, .id = id};
	snprintf(d->file, sizeof(d->file), "%s", file);
	va_list args;
	va_start(args, format);
	vsnprintf(d->text, sizeof(d->text), format, args);
	va_end(args);
}

struct damage_piece damage_piece(
    const struct walk *walk, uint32_t number, const char *what, uint64_t id)
{
	return (struct damage_piece){.source = &walk->source,
	    .number = number,
	    .from = walk->from,
	    .to = walk->to,
	    .what = what,
	    .id = id};
}

struct damage_piece damage_record(const struct walk *walk, uint32_t number, const char *what)
{
	struct damage_piece piece = damage_piece(walk, number, what, walk->record.id);
	if (walk->record.type == RECORD_MESSAGE)
		piece.meta = walk->meta;
	return piece;
}

static int copy(int fd, const struct walk_source *source, uint64_t from, uint64_t to)
{
	char *piece = mem_alloc(PIECE);
	int result = 0;
	for (uint64_t at = from; at < to && result == 0; at += PIECE) {
		size_t n = to - at < PIECE ? (size_t)(to - at) : PIECE;
		errno = walk_read_anyway(source, at, piece, n);
		result = errno ? -1 : spool_io_write_bytes(fd, piece, n, at - from);
	}
	mem_free(piece);
	return result == 0 ? spool_io.fsync(fd) : -1;
}

/* Copy it to NAME, by way of a name that nobody takes for whole. -1 with errno. */
static int save(int dir, const char *name, const struct damage_piece *piece)
{
	char part[72];
	snprintf(part, sizeof(part), "%s.part", name);
	int fd = spool_io_open(dir, part, O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return -1;
	int result = copy(fd, piece->source, piece->from, piece->to);
	int error = errno;
	close(fd);
	if (result == 0 && spool_io.renameat(dir, part, dir, name) == 0)
		return spool_io.fsync(dir);
	if (result == 0)
		error = errno;
	spool_io.unlinkat(dir, part, 0); /* on a full disk it would take room that is needed */
	errno = error;
	return -1;
}

/* "; message 0123456789abcdef from <a@example.jp> to 3 recipients" */
static void add_message(struct buf *out, const struct damage_piece *piece)
{
	struct record_message m;
	struct envelope envelope = {0};
	if (piece->id)
		buf_addf(out, "; message %016llx", (unsigned long long)piece->id);
	if (piece->meta.n && record_read_message(&m, piece->meta) &&
	    envelope_read(&envelope, m.envelope, NULL) == 0) {
		buf_add_text(out, " from <");
		text_escape(out, span_text(envelope.sender), SENDER_MAX);
		buf_addf(out, "> to %zu recipient%s", envelope.recipient_count,
		    envelope.recipient_count == 1 ? "" : "s");
	}
	envelope_free(&envelope);
}

int damage_set_aside(int dir, const struct damage_piece *piece, struct damage_list *list)
{
	char name[64];
	struct stat st;
	unsigned long long from = piece->from;
	unsigned long long to = piece->to;
	snprintf(name, sizeof(name), "%016x-%08llx-%08llx", piece->number, from, to);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0; /* known since an earlier start */
	if (save(dir, name, piece) != 0)
		return -1;
	struct buf text = {0};
	buf_addf(
	    &text, "segment %016x, bytes %llu to %llu: %s", piece->number, from, to, piece->what);
	add_message(&text, piece);
	damage_list_add(list, DAMAGE_SAVED, piece->id, name, "%s", buf_text(&text));
	buf_free(&text);
	return 0;
}

void damage_keep(const struct damage_piece *piece, int error, struct damage_list *list)
{
	char name[SEGMENT_NAME];
	struct buf text = {0};
	buf_addf(&text, "bytes %llu to %llu: ", (unsigned long long)piece->from,
	    (unsigned long long)piece->to);
	if (piece->what)
		buf_addf(&text, "%s, and damaged/ does not take it: ", piece->what);
	else
		buf_add_text(&text, "they can not be read now: ");
	buf_addf(&text,
	    "%s. The segment is kept as it is, and what stands there is not in the "
	    "queue: %s, then restart relayd",
	    strerror(error),
	    writer_is_no_space(error) ? "make room on the disk" : "look at the disk");
	add_message(&text, piece);
	damage_list_add(list, DAMAGE_KEPT, piece->id,
	    segment_name(name, piece->number, SEGMENT_LOG), "%s", buf_text(&text));
	buf_free(&text);
}

int damage_move_big(int dir, int big_dir, const char *name, const char *what,
    struct damage_list *list)
{
	char to[64];
	snprintf(to, sizeof(to), "big-%.32s", name);
	if (spool_io.renameat(big_dir, name, dir, to) != 0)
		return errno == ENOENT ? 0 : -1;
	if (spool_io.fsync(dir) != 0)
		return -1;
	damage_list_add(
	    list, DAMAGE_SAVED, strtoull(name, NULL, 16), to, "%s; message %.32s", what, name);
	return 0;
}
