/* SPDX-License-Identifier: MIT */
#include "queue/verdict_structure.h"

#include "queue/backoff.h"

/* What RFC 3463 says of a subject and detail. DETAIL -1: any other one. The
 * action is that of a 5xx; a 4xx is tried again. */
static const struct meaning {
	int subject;
	int detail;
	enum verdict_class klass;
	enum verdict_scope scope;
	enum verdict_action action;
} meanings[] = {
    {1, 1, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS},
    {1, 6, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS},
    {1, 10, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_SUPPRESS},
    {1, 2, VERDICT_ROUTING, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {1, 7, VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE},
    {1, 8, VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_BOUNCE},
    {1, -1, VERDICT_UNKNOWN_RECIPIENT, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {2, 1, VERDICT_RECIPIENT_DISABLED, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {2, 2, VERDICT_MAILBOX_FULL, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {2, 3, VERDICT_TOO_LARGE, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {2, -1, VERDICT_OTHER, VERDICT_SCOPE_RECIPIENT, VERDICT_BOUNCE},
    {3, 4, VERDICT_TOO_LARGE, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {3, 0, VERDICT_OTHER, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {3, -1, VERDICT_SERVER_BUSY, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {4, 4, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {4, 6, VERDICT_ROUTING, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    {4, 5, VERDICT_SERVER_BUSY, VERDICT_SCOPE_DESTINATION, VERDICT_RETRY},
    {4, -1, VERDICT_SERVER_BUSY, VERDICT_SCOPE_DESTINATION, VERDICT_BOUNCE},
    /* too many recipients: with fewer it goes */
    {5, 3, VERDICT_RATE_LIMITED, VERDICT_SCOPE_MESSAGE, VERDICT_RETRY},
    {5, 0, VERDICT_OTHER, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {5, -1, VERDICT_PROTOCOL, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {6, -1, VERDICT_PROTOCOL, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {7, 10, VERDICT_TLS_REQUIRED, VERDICT_SCOPE_CONNECTION, VERDICT_RETRY},
    {7, 25, VERDICT_RDNS, VERDICT_SCOPE_IP, VERDICT_HOLD},
    {7, 20, VERDICT_AUTH_FAILED, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN},
    {7, 21, VERDICT_AUTH_FAILED, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN},
    {7, 22, VERDICT_AUTH_FAILED, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN},
    {7, 23, VERDICT_AUTH_FAILED, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN},
    {7, 26, VERDICT_AUTH_FAILED, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN},
    {7, 27, VERDICT_POLICY, VERDICT_SCOPE_SENDER_DOMAIN, VERDICT_HOLD_DOMAIN},
    /* RFC 8689's, which is ours too when a host lacks REQUIRETLS; Gmail's has a rule */
    {7, 30, VERDICT_PROTOCOL, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
    {7, -1, VERDICT_POLICY, VERDICT_SCOPE_MESSAGE, VERDICT_BOUNCE},
};

static const struct meaning *meaning_of(const struct verdict_input *in)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].subject == in->subject &&
		    (meanings[i].detail == in->detail || meanings[i].detail < 0))
			return &meanings[i];
	return NULL;
}

/* Before any recipient was named, a refusal is about who we are. */
static bool is_before_recipients(enum verdict_stage stage)
{
	return stage == VERDICT_STAGE_CONNECT || stage == VERDICT_STAGE_BANNER ||
	       stage == VERDICT_STAGE_EHLO || stage == VERDICT_STAGE_MAIL;
}

/* No reply: the network, DNS, a timeout, or something that is not SMTP. */
static void judge_silence(const struct verdict_input *in, struct verdict *v)
{
	v->klass = in->stage == VERDICT_STAGE_DNS ? VERDICT_ROUTING : VERDICT_SERVER_BUSY;
	v->scope = in->stage == VERDICT_STAGE_DNS ? VERDICT_SCOPE_DESTINATION
						  : VERDICT_SCOPE_CONNECTION;
	if (in->stage == VERDICT_STAGE_TLS)
		v->klass = VERDICT_TLS_REQUIRED;
	v->action = VERDICT_RETRY;
}

static void judge_temporary(const struct verdict_input *in, struct verdict *v)
{
	const struct meaning *m = in->klass == 4 ? meaning_of(in) : NULL;
	bool telling = m && in->subject != 7 && m->klass != VERDICT_OTHER;
	v->klass = telling ? m->klass : VERDICT_SERVER_BUSY;
	v->scope = in->stage == VERDICT_STAGE_RCPT ? VERDICT_SCOPE_RECIPIENT
						   : VERDICT_SCOPE_DESTINATION;
	/* too many recipients is about the transaction, not about the one that was too much */
	if (m && (m->scope == VERDICT_SCOPE_SENDER_DOMAIN || m->klass == VERDICT_RATE_LIMITED))
		v->scope = m->scope;
	v->action = VERDICT_RETRY;
}

/* A code that says more than the stage does, although nobody was named yet: our
 * host's name, the sender's domain, the form or size of what we said. Never one
 * that speaks of a recipient. */
static bool is_clear_early(enum verdict_stage stage, const struct meaning *m)
{
	if (!m)
		return false;
	if (stage != VERDICT_STAGE_MAIL)
		return m->scope == VERDICT_SCOPE_IP || m->klass == VERDICT_TLS_REQUIRED;
	return m->scope == VERDICT_SCOPE_IP || m->scope == VERDICT_SCOPE_SENDER_DOMAIN ||
	       m->klass == VERDICT_TLS_REQUIRED || m->klass == VERDICT_TOO_LARGE ||
	       m->klass == VERDICT_PROTOCOL;
}

/* "Syntax error in parameters or arguments" (RFC 5321 section 4.2.2), and the only argument
 * so far was the sender's address. 553, "mailbox name not allowed", is said of hosts, too. */
static bool is_bad_sender(const struct verdict_input *in)
{
	return in->stage == VERDICT_STAGE_MAIL && in->code == 501 && !in->klass && !in->names_ip;
}

/* The few plain codes that say something by themselves (RFC 5321 section 4.2.2, RFC
 * 7504); most are used for anything. */
static enum verdict_class class_of_code(unsigned code)
{
	switch (code) {
	case 502:
	case 503:
	case 555:
		return VERDICT_PROTOCOL;
	case 552:
		return VERDICT_TOO_LARGE;
	case 556:
		return VERDICT_ROUTING;
	default:
		return VERDICT_OTHER;
	}
}

static void judge_permanent(const struct verdict_input *in, struct verdict *v)
{
	const struct meaning *m = in->klass == 5 ? meaning_of(in) : NULL;
	if (in->stage == VERDICT_STAGE_DNS) {
		/* found by ourselves: 5.1.10 is a null MX here, and no unknown user */
		v->klass = VERDICT_ROUTING;
		v->scope = VERDICT_SCOPE_DESTINATION;
		v->action = VERDICT_BOUNCE;
	} else if (in->stage == VERDICT_STAGE_AUTH || in->stage == VERDICT_STAGE_TLS) {
		/* a smarthost does not know us, or TLS is broken: ours to mend */
		v->klass = in->stage == VERDICT_STAGE_TLS ? VERDICT_TLS_REQUIRED : VERDICT_POLICY;
		v->scope = VERDICT_SCOPE_US;
		v->action = VERDICT_RETRY;
	} else if (is_bad_sender(in)) {
		v->klass = VERDICT_PROTOCOL;
		v->scope = VERDICT_SCOPE_SENDER_DOMAIN;
		v->action = VERDICT_BOUNCE;
	} else if (is_before_recipients(in->stage) && !is_clear_early(in->stage, m)) {
		v->klass = VERDICT_POLICY;
		v->scope = VERDICT_SCOPE_IP;
		v->action = VERDICT_HOLD;
	} else if (!m && in->code == 552 && in->stage == VERDICT_STAGE_RCPT) {
		/* RFC 821's code for too many recipients: 452 is meant (RFC 5321 section
		 * 4.5.3.1.10) */
		v->klass = VERDICT_RATE_LIMITED;
		v->scope = VERDICT_SCOPE_MESSAGE;
		v->action = VERDICT_RETRY;
	} else if (m) {
		v->klass = m->klass;
		v->scope = m->scope;
		v->action = m->action;
		/* "no such user" after the text is a filter's answer more often than not */
		if (m->action == VERDICT_SUPPRESS && in->stage != VERDICT_STAGE_RCPT &&
		    in->stage != VERDICT_STAGE_UNKNOWN)
			v->action = VERDICT_BOUNCE;
	} else {
		v->klass = class_of_code(in->code);
		v->scope = v->klass == VERDICT_ROUTING ? VERDICT_SCOPE_DESTINATION
						       : VERDICT_SCOPE_MESSAGE;
		v->action = VERDICT_BOUNCE;
	}
}

struct verdict verdict_by_structure(const struct verdict_input *in)
{
	struct verdict v = {.rule = "structure", .provider = "", .help = ""};
	if (in->code >= 200 && in->code < 300) {
		v.klass = VERDICT_OTHER;
		v.scope = VERDICT_SCOPE_NONE;
		v.action = VERDICT_DELIVERED;
	} else if (in->code >= 500) {
		judge_permanent(in, &v);
	} else if (in->code >= 400) {
		judge_temporary(in, &v);
	} else {
		judge_silence(in, &v);
	}
	if (v.action == VERDICT_RETRY && in->code >= 400 && !backoff_from_text(in->text, &v.wait_ms))
		v.wait_ms = 0;
	return v;
}
