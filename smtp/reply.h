/* SPDX-License-Identifier: MIT
 * SMTP replies (RFC 5321 section 4.2, RFC 2034, RFC 3463): those we send, and
 * those we get. What comes in is bounded and hostile: text is kept cut, and is
 * never written anywhere without text_escape.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/text.h"

/* Bytes of a reply line taken off the wire. RFC 5321 says 512, and whoever answers the
 * final dot with more has taken the message: it must not be sent again for that. */
#define REPLY_LINE_MAX 65535
#define REPLY_LINES_MAX 4096  /* lines of one reply, EHLO's included; few are kept */
#define REPLY_KEEP_LINE 512   /* bytes of a line that are kept */
#define REPLY_KEEP_LINES 64   /* lines that are kept */

/* Enhanced status code, RFC 3463; klass 0: none. */
struct enhanced {
	unsigned char klass;    /* 2, 4 or 5 */
	unsigned short subject; /* 0 to 999 */
	unsigned short detail;
};

struct reply {
	unsigned code;         /* 200 to 599; 0: none yet */
	struct enhanced enhanced; /* of the first line that has one matching the code's class */
	struct buf text;       /* lines joined by \n, without codes and this enhanced code; raw bytes */
	unsigned lines;        /* taken so far, kept or not */
	bool complete;
};

/* Ours: set code, enhanced code ("5.7.1", or NULL for none; its class is made
 * that of the code) and text, which may hold \n for several lines. CR, NUL and
 * other controls in it become '?'. */
void reply_set(struct reply *reply, unsigned code, const char *enhanced, const char *format, ...)
    ATTR_PRINTF(4, 5);

/* Append it in wire form, each line with code (and enhanced code) and CRLF;
 * lines are cut at 500 bytes, controls are '?'. */
void reply_print(const struct reply *reply, struct buf *out);

/* Theirs: feed one line without its CRLF. Result: 1 when the reply is complete,
 * 0 when more lines follow, -1 when this is not SMTP (no three digits, wrong
 * separator, another code than before, too many lines). A line fed to a complete
 * reply begins the next one. Of many lines the first and the last are kept. */
int reply_take_line(struct reply *reply, struct span line);

void reply_clear(struct reply *reply); /* ready for the next one, memory kept */
void reply_free(struct reply *reply);

/* "5.7.1" at the start of S. Result: bytes it took, 0 when there is none. */
size_t enhanced_parse(struct span s, struct enhanced *e);
/* Print into BUF of at least 12 bytes: "5.7.1", or "" for none. Result: BUF. */
const char *enhanced_text(const struct enhanced *e, char *buf);

/* One line for logs and people: "550 5.7.1 text text", \n shown as " / ",
 * everything else escaped, at most MAX bytes of text. */
void reply_summary(const struct reply *reply, struct buf *out, size_t max);

#endif
