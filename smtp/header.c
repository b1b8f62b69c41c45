/* SPDX-License-Identifier: MIT
 * Cutting the header section into fields. Nothing is decoded and nothing
 * copied but what header_unfold is asked for.
 */
#include "smtp/header.h"

#include <string.h>
#include <time.h>

#include "relayd/base/mem.h"

#define FIELDS_STEP 32 /* room for fields is made in these steps, doubling */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The line at the start of S with its CRLF; 0: S holds no whole line. A bare LF
 * is part of the line, and found by check_bytes. */
static size_t line_size(struct span s)
{
	const char *p = s.p;
	const char *end = s.p + s.n;
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		if (p > s.p && p[-1] == '\r')
			return (size_t)(p - s.p) + 1;
		p++;
	}
	return 0;
}

/* The field at the start of S, of one line or several: its bytes. */
static size_t field_size(struct span s)
{
	size_t size = line_size(s);
	while (size && size < s.n && is_blank(s.p[size])) {
		size_t more = line_size((struct span){s.p + size, s.n - size});
		if (more == 0)
			break;
		size += more;
	}
	return size;
}

/* Bytes of "Name" and of "Name:" with white space in between (obsolete, RFC 5322
 * section 4.5, and still sent). False: no field begins here. */
static bool scan_name(struct span line, size_t *name, size_t *colon)
{
	size_t i = 0;
	while (i < line.n && line.p[i] > 32 && line.p[i] < 127 && line.p[i] != ':')
		i++;
	*name = i;
	while (i < line.n && is_blank(line.p[i]))
		i++;
	*colon = i + 1;
	return *name > 0 && i < line.n && line.p[i] == ':';
}

bool header_byte_is_allowed(char c)
{
	return (unsigned char)c >= 32 || c == '\t' || c == '\x1b' || c == '\x0e' || c == '\x0f';
}

static int check_bytes(const struct header_field *f, struct why *why)
{
	/* CRLF before white space is a fold, and the last CRLF is no part of the value */
	for (size_t i = 0; i < f->value.n; i++) {
		char c = f->value.p[i];
		if (c == '\r' && i + 1 < f->value.n && f->value.p[i + 1] == '\n') {
			i++;
		} else if (!header_byte_is_allowed(c)) {
			struct buf name = {0};
			text_escape(&name, f->name, 40);
			why_set(why, WHY_PERM, "control byte 0x%02x in header field %s",
			    (unsigned char)c, buf_text(&name));
			buf_free(&name);
			return -1;
		}
	}
	return 0;
}

/* Read the field at the start of S. 1: done, 0: there is none, -1: refused. */
static int take_field(struct span s, struct header_field *f, struct why *why)
{
	size_t name;
	size_t colon;
	if (!scan_name(s, &name, &colon))
		return 0;
	size_t size = field_size(s);
	if (size < colon + 2)
		return 0;
	if (name > HEADER_NAME_MAX)
		return why_set(why, WHY_PERM,
		    "header field name of %zu bytes, at most %d are taken", name,
		    HEADER_NAME_MAX);
	f->name = (struct span){s.p, name};
	f->whole = (struct span){s.p, size};
	f->value = (struct span){s.p + colon, size - colon - 2};
	return check_bytes(f, why) < 0 ? -1 : 1;
}

static struct header_field *add_field(struct header *h, size_t *room)
{
	if (h->count == *room) {
		*room = *room ? *room * 2 : FIELDS_STEP;
		h->fields = mem_resize(h->fields, *room, sizeof(h->fields[0]));
	}
	return &h->fields[h->count++];
}

/* "From " as mailbox files begin messages; some programs pass it on. Only as the
 * very first line: it is in no field then, and so is not sent on. */
static size_t skip_mbox_line(struct span message)
{
	if (!span_starts_nocase(message, "From ") &&
	    !span_starts_nocase(message, ">From "))
		return 0;
	size_t name;
	size_t colon;
	return scan_name(message, &name, &colon) ? 0 : line_size(message);
}

static int parse_fields(struct span message, struct header *h, struct why *why)
{
	size_t room = 0;
	size_t at = skip_mbox_line(message);
	struct header_field f;
	int more;
	while ((more = take_field(
		    (struct span){message.p + at, message.n - at}, &f, why)) > 0) {
		if (h->count == HEADER_FIELDS_MAX)
			return why_set(why, WHY_PERM, "more than %d header fields",
			    HEADER_FIELDS_MAX);
		*add_field(h, &room) = f;
		at += f.whole.n;
	}
	if (h->count == 0)
		at = 0; /* then that was no mailbox line either */
	h->size = at;
	h->body_start = at;
	if (message.n - at >= 2 && message.p[at] == '\r' && message.p[at + 1] == '\n')
		h->body_start = at + 2;
	return more;
}

int header_parse(struct span message, struct header *h, struct why *why)
{
	*h = (struct header){0};
	if (parse_fields(message, h, why) == 0)
		return 0;
	header_free(h);
	return -1;
}

void header_free(struct header *h)
{
	mem_free(h->fields);
	*h = (struct header){0};
}

const struct header_field *header_find(
    const struct header *h, const char *name, size_t nth)
{
	for (size_t i = 0; i < h->count; i++)
		if (span_is_nocase(h->fields[i].name, name) && nth-- == 0)
			return &h->fields[i];
	return NULL;
}

size_t header_count(const struct header *h, const char *name)
{
	size_t count = 0;
	for (size_t i = 0; i < h->count; i++)
		count += span_is_nocase(h->fields[i].name, name);
	return count;
}

size_t header_end(struct span s, size_t *from)
{
	while (*from < s.n) {
		const char *lf = memchr(s.p + *from, '\n', s.n - *from);
		if (!lf)
			break;
		size_t i = (size_t)(lf - s.p);
		*from = i + 1;
		if ((i == 1 && s.p[0] == '\r') ||
		    (i >= 3 && memcmp(lf - 3, "\r\n\r", 3) == 0))
			return i + 1;
	}
	*from = s.n;
	return 0;
}

void header_unfold(struct span value, struct buf *out)
{
	char *to = buf_room(out, value.n);
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] != '\r' && value.p[i] != '\n' &&
		    (n || !is_blank(value.p[i])))
			to[n++] = value.p[i];
	while (n && is_blank(to[n - 1]))
		n--;
	to[n] = '\0';
	out->len += n;
}

void header_date(struct buf *out, int64_t wall_ms)
{
	/* not strftime: the names are English whatever the locale is */
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
	    "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm = {0};
	if (!localtime_r(&seconds, &tm))
		bug("a time that no calendar has");
	long offset = tm.tm_gmtoff / 60;
	unsigned minutes = (unsigned)(offset < 0 ? -offset : offset);
	buf_addf(out, "%s, %d %s %04d %02d:%02d:%02d %c%02u%02u", days[tm.tm_wday % 7],
	    tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}
