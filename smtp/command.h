/* SPDX-License-Identifier: MIT
 * SMTP command lines (RFC 5321 section 4.1.1 and its extensions). Pure: spans
 * point into the line. What is wrong with a line is said as the exact reply.
 */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include <stdint.h>

#include "smtp/address.h"
#include "smtp/reply.h"

enum command_verb {
	COMMAND_HELO,
	COMMAND_EHLO,
	COMMAND_MAIL,
	COMMAND_RCPT,
	COMMAND_DATA,
	COMMAND_BDAT,
	COMMAND_RSET,
	COMMAND_NOOP,
	COMMAND_VRFY,
	COMMAND_EXPN,
	COMMAND_HELP,
	COMMAND_QUIT,
	COMMAND_STARTTLS,
	COMMAND_AUTH,
	COMMAND_FOREIGN, /* no SMTP at all: HTTP, a header field, binary */
	COMMAND_UNKNOWN,
};

struct command {
	enum command_verb verb;
	struct span argument; /* behind verb and one space, trailing white space cut */
};

/* Split LINE (without CRLF). FOREIGN is what begins with a method of HTTP, with a word that
 * has a colon, or with a byte that is no letter. Any other line with NUL or other controls
 * is UNKNOWN. */
void command_parse(struct span line, struct command *c);

/* Which parameters are understood here; what was not offered is 555. */
struct command_offers {
	bool size, eightbit, smtputf8, auth, dsn, require_tls;
	uint64_t max_size; /* 0: no limit; over it: 552 5.3.4 */
};

enum command_ret { COMMAND_RET_NONE, COMMAND_RET_FULL, COMMAND_RET_HDRS };

/* NOTIFY of RFC 3461 section 4.1; NEVER stands alone. */
#define COMMAND_NOTIFY_SUCCESS 1u
#define COMMAND_NOTIFY_FAILURE 2u
#define COMMAND_NOTIFY_DELAY 4u
#define COMMAND_NOTIFY_NEVER 8u

struct command_mail {
	struct address from;
	bool smtputf8;
	enum command_ret ret;
	bool require_tls;  /* RFC 8689 */
	struct span envid; /* xtext as it came, valid; empty: not given */
};

struct command_rcpt {
	struct address to;
	unsigned notify;   /* bits; 0: not given */
	struct span orcpt; /* type;xtext as it came, valid; empty: not given */
};

struct command_bdat {
	uint64_t size; /* of the chunk; at most 2^40 */
	bool last;
};

/* Parse the argument of MAIL / RCPT / BDAT. -1: REPLY says why (501, 552, 553,
 * 555 with enhanced code), nothing else is set. SMTPUTF8 (for rcpt) is whether
 * MAIL asked for it; DSN whether that is offered. */
int command_parse_mail(struct span argument, const struct command_offers *offers,
    struct command_mail *mail, struct reply *reply) ATTR_MUST_CHECK;
int command_parse_rcpt(struct span argument, bool smtputf8, bool dsn,
    struct command_rcpt *rcpt, struct reply *reply) ATTR_MUST_CHECK;
int command_parse_bdat(struct span argument, struct command_bdat *bdat, struct reply *reply)
    ATTR_MUST_CHECK;

/* A domain or address literal as EHLO/HELO gives it; lenient as the world is
 * (underscores, bare names), but printable and at most 255 bytes. */
bool command_helo_is_valid(struct span argument);

#endif
