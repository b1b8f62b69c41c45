/* SPDX-License-Identifier: MIT
 * The words for verdicts, as rules, logs and `relayctl` write them.
 */
#include "queue/verdict.h"

static const char *const classes[] = {
    [VERDICT_IP_BLOCKED] = "ip-blocked",
    [VERDICT_REPUTATION] = "reputation",
    [VERDICT_RATE_LIMITED] = "rate-limited",
    [VERDICT_GREYLISTED] = "greylisted",
    [VERDICT_AUTH_FAILED] = "auth-failed",
    [VERDICT_RDNS] = "rdns",
    [VERDICT_CONTENT] = "content",
    [VERDICT_POLICY] = "policy",
    [VERDICT_UNKNOWN_RECIPIENT] = "unknown-recipient",
    [VERDICT_MAILBOX_FULL] = "mailbox-full",
    [VERDICT_RECIPIENT_DISABLED] = "recipient-disabled",
    [VERDICT_RELAY_DENIED] = "relay-denied",
    [VERDICT_TOO_LARGE] = "too-large",
    [VERDICT_PROTOCOL] = "protocol",
    [VERDICT_TLS_REQUIRED] = "tls-required",
    [VERDICT_SERVER_BUSY] = "server-busy",
    [VERDICT_ROUTING] = "routing",
    [VERDICT_OTHER] = "other",
};

static const char *const scopes[] = {
    [VERDICT_SCOPE_NONE] = "none",
    [VERDICT_SCOPE_IP] = "ip",
    [VERDICT_SCOPE_SENDER_DOMAIN] = "domain",
    [VERDICT_SCOPE_MESSAGE] = "message",
    [VERDICT_SCOPE_RECIPIENT] = "recipient",
    [VERDICT_SCOPE_CONNECTION] = "connection",
    [VERDICT_SCOPE_DESTINATION] = "destination",
    [VERDICT_SCOPE_US] = "us",
};

static const char *const actions[] = {
    [VERDICT_DELIVERED] = "delivered",
    [VERDICT_RETRY] = "retry",
    [VERDICT_RETRY_SAME] = "retry-same-source",
    [VERDICT_SLOW] = "slow",
    [VERDICT_HOLD] = "hold",
    [VERDICT_HOLD_DOMAIN] = "hold-domain",
    [VERDICT_BOUNCE] = "bounce",
    [VERDICT_SUPPRESS] = "suppress",
};

const char *verdict_class_name(enum verdict_class klass)
{
	return classes[klass];
}

const char *verdict_scope_name(enum verdict_scope scope)
{
	return scopes[scope];
}

const char *verdict_action_name(enum verdict_action action)
{
	return actions[action];
}

static int find_name(const char *const *names, size_t count, struct span name)
{
	for (size_t i = 0; i < count; i++)
		if (span_is_nocase(name, names[i]))
			return (int)i;
	return -1;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool verdict_class_parse(struct span name, enum verdict_class *klass)
{
	int i = find_name(classes, COUNT(classes), name);
	if (i >= 0)
		*klass = (enum verdict_class)i;
	return i >= 0;
}

bool verdict_scope_parse(struct span name, enum verdict_scope *scope)
{
	int i = find_name(scopes, COUNT(scopes), name);
	if (i >= 0)
		*scope = (enum verdict_scope)i;
	return i >= 0;
}

bool verdict_action_parse(struct span name, enum verdict_action *action)
{
	int i = find_name(actions, COUNT(actions), name);
	if (i >= 0)
		*action = (enum verdict_action)i;
	return i >= 0;
}

static const char *const stages[] = {
    [VERDICT_STAGE_UNKNOWN] = "",
    [VERDICT_STAGE_DNS] = "dns",
    [VERDICT_STAGE_CONNECT] = "connect",
    [VERDICT_STAGE_BANNER] = "banner",
    [VERDICT_STAGE_EHLO] = "ehlo",
    [VERDICT_STAGE_TLS] = "tls",
    [VERDICT_STAGE_AUTH] = "auth",
    [VERDICT_STAGE_MAIL] = "mail",
    [VERDICT_STAGE_RCPT] = "rcpt",
    [VERDICT_STAGE_DATA] = "data",
    [VERDICT_STAGE_END] = "end",
};

const char *verdict_stage_name(enum verdict_stage stage)
{
	return stages[stage];
}

bool verdict_stage_parse(struct span name, enum verdict_stage *stage)
{
	/* "end of data" is what others call it */
	int i = span_is_nocase(name, "eod") ? VERDICT_STAGE_END
					    : find_name(stages, COUNT(stages), name);
	if (i >= 0)
		*stage = (enum verdict_stage)i;
	return i >= 0;
}
