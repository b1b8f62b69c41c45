/* SPDX-License-Identifier: MIT
 * What a sender asks of reports (RFC 3461): from the client's parameters into the
 * envelope, from there into those for the next hop, and the question whether a
 * report is wanted.
 */
#ifndef RELAYD_DSN_H
#define RELAYD_DSN_H

#include <stdbool.h>
#include <stddef.h>

#include "queue/envelope.h"
#include "smtp/command.h"

/* Keep RET and ENVID; call it once. */
void dsn_take_mail(struct envelope *envelope, const struct command_mail *mail);

/* Keep NOTIFY and ORCPT of the recipient that was added last; call it for each. */
void dsn_take_recipient(struct envelope *envelope, const struct command_rcpt *rcpt);

/* Append the parameters for MAIL, and for RCPT of recipient I, each with a space in
 * front; nothing where nothing was asked. */
void dsn_print_mail(const struct envelope *envelope, struct buf *out);
void dsn_print_recipient(const struct envelope *envelope, size_t i, struct buf *out);

/* Is the report that WHAT (one bit of ENVELOPE_NOTIFY_) stands for wanted for recipient
 * I? Who says nothing hears of failures and delays. */
bool dsn_is_wanted(const struct envelope *envelope, size_t i, unsigned what);

/* "type; address" and the sender's number as people write them, for a report; ""
 * where nothing was said. */
void dsn_print_original(const struct envelope *envelope, size_t i, struct buf *out);
void dsn_print_envid(const struct envelope *envelope, struct buf *out);

#endif
