/* SPDX-License-Identifier: MIT
 * mailq and -q: what they ask is relayctl's to say.
 */
#ifndef RELAYD_SENDMAIL_QUEUE_H
#define RELAYD_SENDMAIL_QUEUE_H

#include "relayd/sendmail_config.h"
#include "relayd/sendmail_options.h"
#include "relayd/sendmail_report.h"

/* Become relayctl with the words that OPTIONS mean. Returns only when that fails. */
int sendmail_queue(const struct sendmail_config *config, const struct sendmail_options *options,
    struct sendmail_report *report) ATTR_MUST_CHECK;

#endif
