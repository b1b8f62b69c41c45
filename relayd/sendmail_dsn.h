/* SPDX-License-Identifier: MIT
 * -N, -R and -V of relay-sendmail: what the caller asks of reports (RFC 3461), as the
 * parameters that MAIL and RCPT get where the relay offers DSN.
 */
#ifndef RELAYD_SENDMAIL_DSN_H
#define RELAYD_SENDMAIL_DSN_H

#include <stdbool.h>

#include "relayd/base/buf.h"

struct sendmail_dsn {
	struct buf notify; /* "never", "failure,delay": empty, not asked */
	struct buf ret;    /* "full", "hdrs" */
	struct buf envid;  /* xtext */
};

/* Take the value of an option; the last one counts. False: it can not be meant. */
bool sendmail_dsn_notify(struct sendmail_dsn *dsn, const char *value);
bool sendmail_dsn_ret(struct sendmail_dsn *dsn, const char *value);
bool sendmail_dsn_envid(struct sendmail_dsn *dsn, const char *value);

/* Append the parameters with a space before each; nothing where nothing was asked. */
void sendmail_dsn_print_mail(const struct sendmail_dsn *dsn, struct buf *out);
void sendmail_dsn_print_rcpt(const struct sendmail_dsn *dsn, struct buf *out);

void sendmail_dsn_free(struct sendmail_dsn *dsn);

#endif
