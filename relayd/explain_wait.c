/* SPDX-License-Identifier: MIT
 * The words for mail that this server keeps back: whoever reads them shall not look for
 * the cause at a receiver that was not asked.
 */
#include "relayd/explain.h"

static const struct {
	const char *name;
	const char *failure;
	const char *so_far;
	const char *remedy;
} words[] = {
    [WAIT_NONE] = {"", "", "", ""},
    [WAIT_BY_HAND] = {"by-hand",
	"The administrator of this mail server holds all mail to the receiving side back, and "
	"your message's time was over before that ended. The receiving side was not asked.",
	"The administrator of this server holds the path to that provider by hand. Nothing is "
	"wrong with the message or its recipient.",
	"Open the path when its mail may go again: until then nothing of it is tried."},
    [WAIT_BLOCKED] = {"blocked",
	"The receiving side has refused mail from this mail server, which holds its mail for it "
	"since then. Your message and the recipient's address are not the cause.",
	"This server holds its mail for that provider, which has refused it. Nothing is wrong "
	"with the message or its recipient.",
	"Nothing: a probe asks now and then whether mail is taken again."},
    [WAIT_DOMAIN] = {"domain",
	"The receiving side has refused mail of your domain, and this mail server holds such "
	"mail for it since then.",
	"This server holds mail of the sender's domain for that provider, which has refused it.",
	"See the incident; a probe asks now and then whether mail is taken again."},
    [WAIT_TROUBLE] = {"trouble",
	"This mail server had trouble with the receiving side and paused its mail for it, until "
	"your message's time was over. This message was not tried.",
	"This server pauses its mail for that provider after trouble with it. Nothing is wrong "
	"with the message or its recipient.",
	"Nothing unless it lasts: it goes when the pause is over."},
    [WAIT_START] = {"start",
	"This mail server was refused by the receiving side before and sends to it little by "
	"little. Your message's time was over before its turn came.",
	"This server was refused by that provider before and sends to it little by little.",
	"Nothing: it goes when its turn comes."},
    [WAIT_BUDGET] = {"budget",
	"This mail server limits by itself how much it sends in an hour, since its address is "
	"new to receivers. Your message's time was over before its turn came. The receiving "
	"side was not asked.",
	"The sending address is in its warm-up, and what this server lets it send to that "
	"provider in an hour is used up.",
	"Nothing: it goes when its turn comes. The limit is that of reputation.warmup_start and "
	"the source's since."},
    [WAIT_RATE] = {"rate",
	"This mail server limits by itself how much it sends to the receiving side at a time. "
	"Your message's time was over before its turn came.",
	"This server sends to that provider only so much at a time.",
	"Nothing: it goes when its turn comes."},
    [WAIT_UNKNOWN] = {"unknown",
	"This mail server has kept its mail for the receiving side back, until your message's "
	"time was over.",
	"This server keeps its mail for that provider back. Why is not known any more, as "
	"after a restart of relayd.",
	"Look for its provider in `relayctl reputation`."},
};

const char *explain_wait_name(enum wait_cause cause)
{
	return words[cause].name;
}

const char *explain_wait_failure(enum wait_cause cause)
{
	return words[cause].failure;
}

const char *explain_wait_so_far(enum wait_cause cause)
{
	return words[cause].so_far;
}

const char *explain_wait_remedy(enum wait_cause cause)
{
	return words[cause].remedy;
}
