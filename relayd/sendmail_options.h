/* SPDX-License-Identifier: MIT
 * The command line of relay-sendmail: the union of what Postfix, Sendmail and
 * OpenSMTPD take, so that every caller's arguments are cut at the right places.
 * Most mean nothing here and are passed over. No option names a file: what -X,
 * -C, -O and -o bring is not used, whatever it is.
 */
#ifndef RELAYD_SENDMAIL_OPTIONS_H
#define RELAYD_SENDMAIL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/sendmail_dsn.h"
#include "relayd/sendmail_report.h"

enum sendmail_mode {
	SENDMAIL_SEND,    /* -bm: a message on standard input */
	SENDMAIL_SMTP,    /* -bs: a dialogue on standard input and output */
	SENDMAIL_LIST,    /* -bp, mailq: show the queue */
	SENDMAIL_FLUSH,   /* -q: try the queue now */
	SENDMAIL_NOTHING, /* -bi, newaliases: there are no aliases */
	SENDMAIL_HELP,
	SENDMAIL_VERSION,
};

struct sendmail_options {
	enum sendmail_mode mode;
	bool header_recipients; /* -t */
	bool ignore_dots;       /* -i: a line of one dot is text */
	bool verbose;           /* -v */
	const char *sender;     /* -f, -r; NULL: not given; "" or "<>": the null sender */
	const char *name;       /* -F; NULL: not given */
	struct sendmail_dsn dsn; /* -N, -R, -V */
	char flush;             /* with FLUSH: 'f' everything, 'I' an id, 'R' a domain, 'S' a sender */
	const char *flush_what;
	char **recipients;      /* within ARGV */
	size_t recipient_count;
};

/* Read ARGV, its name included (mailq and newaliases are modes). EX_OK, or EX_USAGE
 * with a line in REPORT. */
int sendmail_options_parse(struct sendmail_options *options, int argc, char **argv,
    struct sendmail_report *report) ATTR_MUST_CHECK;
void sendmail_options_free(struct sendmail_options *options); /* what they hold */

extern const char sendmail_usage[];

#endif
