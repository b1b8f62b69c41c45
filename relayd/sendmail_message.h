/* SPDX-License-Identifier: MIT
 * A message as programs on this machine write it, made one that can be sent: line
 * ends become CRLF, recipients are taken out of the header, Bcc is removed, a
 * missing From is added. Everything else of the header is relayd's work.
 */
#ifndef RELAYD_SENDMAIL_MESSAGE_H
#define RELAYD_SENDMAIL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/sendmail_report.h"
#include "relayd/sendmail_store.h"

#define SENDMAIL_RECIPIENTS_MAX 10000
#define SENDMAIL_HEADER_MAX (1 << 20)
#define SENDMAIL_SIZE_MAX (100u << 20)

/* Envelope recipients: bare addresses without duplicates, each fit for RCPT. */
struct sendmail_recipients {
	char **list;
	size_t count;
	bool utf8;          /* one of them needs SMTPUTF8 */
	const char *domain; /* what a bare local part gets; NULL: relayd decides */
};

/* Add the addresses of a header field, or of an argument (WHERE says which, for the
 * report). All of it must be understood: EX_OK or EX_DATAERR. */
int sendmail_recipients_add(struct sendmail_recipients *to, struct span list, const char *where,
    struct sendmail_report *report) ATTR_MUST_CHECK;
/* An argument: as above, and no control byte may be in it, not even a fold. */
int sendmail_recipients_argument(struct sendmail_recipients *to, const char *word,
    struct sendmail_report *report) ATTR_MUST_CHECK;
void sendmail_recipients_unique(struct sendmail_recipients *to);
void sendmail_recipients_free(struct sendmail_recipients *to);

struct sendmail_message {
	struct buf head; /* CRLF; as it came, then as it is sent, with the empty line */
	struct sendmail_store body;
	bool eightbit;
	size_t longest_line;
};

/* Read FD up to its end (without IGNORE_DOTS: or up to a line of one dot). EX_OK,
 * or EX_DATAERR, EX_IOERR, EX_TEMPFAIL with a line in REPORT. */
int sendmail_message_read(struct sendmail_message *message, int fd, bool ignore_dots,
    struct sendmail_report *report) ATTR_MUST_CHECK;
void sendmail_message_free(struct sendmail_message *message);

struct sendmail_from {
	const char *address; /* bare */
	const char *name;    /* any bytes; NULL: none */
};

/* Rebuild the header section HEAD (CRLF) into OUT, with the empty line at its end;
 * Bcc and Resent-Bcc are left out, From is added where there is none. TO: NULL, or
 * gets the recipients of -t. Pure. */
int sendmail_header_build(struct span head, const struct sendmail_from *from,
    struct sendmail_recipients *to, struct buf *out, struct sendmail_report *report)
    ATTR_MUST_CHECK;

/* "NAME <ADDRESS>" with NAME quoted or encoded (RFC 2047) as it needs: one line or
 * folded ones, whatever NAME holds. */
void sendmail_from_print(const struct sendmail_from *from, struct buf *out);

#endif
