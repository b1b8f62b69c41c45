/* SPDX-License-Identifier: MIT */
#include "relayd/explain.h"

#include <string.h>

static const struct {
	const char *failure;
	const char *remedy;
	const char *so_far; /* while it is tried again; NULL: the same as at the end */
} words[] = {
    [VERDICT_IP_BLOCKED] =
	{"The receiving side refuses mail from this mail server's address. Your message and the "
	 "recipient's address are not the cause.",
	    "Ask for removal from the list that the reply names; the mail waits or goes another way.",
	    NULL},
    [VERDICT_REPUTATION] =
	{"The receiving side does not trust this mail server or your domain enough at the moment.",
	    "Send less for some days, and only to people who expect it; check SPF, DKIM and DMARC.",
	    NULL},
    [VERDICT_RATE_LIMITED] =
	{"The receiving side takes only so many messages at a time and this one was too much.",
	    "Nothing to do: relayd slows down by itself.", NULL},
    [VERDICT_GREYLISTED] =
	{"The receiving side asks unknown senders to come back later, and it did not take the message "
	 "when we came back.",
	    "Nothing to do: it is tried again from the same address.",
	    "The receiving side asks unknown senders to come back later."},
    [VERDICT_AUTH_FAILED] =
	{"The receiving side could not confirm that this mail server may send for your domain (SPF, "
	 "DKIM or DMARC).",
	    "Compare the domain's SPF, DKIM and DMARC records in the DNS with what they should be: SPF "
	    "names the sending addresses, and DKIM is what `relayctl dkim record` prints.",
	    NULL},
    [VERDICT_RDNS] =
	{"The receiving side does not accept the name of this mail server's address (reverse DNS).",
	    "Make the PTR record of the sending address and the host name agree.", NULL},
    [VERDICT_CONTENT] =
	{"The receiving side judged the content of the message to be unwanted or dangerous. Look at "
	 "links and attachments, and write to the person in another way.",
	    "Look at the message with `relayctl queue cat ID`; one sender may be compromised.",
	    NULL},
    [VERDICT_POLICY] = {"The receiving side refuses this message by a rule of its own.",
	"The reply is all that is known; the receiving administrator can say more.", NULL},
    [VERDICT_UNKNOWN_RECIPIENT] = {"There is no such mailbox. Check the address for typing errors.",
	"Remove the address from your lists.",
	"The receiving side says that it can not find the mailbox at the moment."},
    [VERDICT_MAILBOX_FULL] =
	{"The recipient's mailbox is full. Tell the person in another way, or send it again later.",
	    "Nothing to do.", "The recipient's mailbox is full."},
    [VERDICT_RECIPIENT_DISABLED] = {"The recipient's mailbox exists but is switched off.",
	"Remove the address from your lists.", NULL},
    [VERDICT_RELAY_DENIED] =
	{"The host that should take mail for this domain says that the domain is not its own. The "
	 "recipient's side has to mend its DNS.",
	    "Check the MX records of the recipient's domain.", NULL},
    [VERDICT_TOO_LARGE] =
	{"The message is larger than the receiving side accepts. Send a link instead of the file.",
	    "Nothing to do.", NULL},
    [VERDICT_PROTOCOL] = {"The receiving side did not understand the message or how it was sent.",
	"If several receivers say so, the sending program makes broken messages.", NULL},
    [VERDICT_TLS_REQUIRED] = {"The receiving side wants encryption and it could not be set up.",
	"See the TLS part of the attempt's log line.", NULL},
    [VERDICT_SERVER_BUSY] =
	{"The receiving side had trouble of its own for the whole time that the message was tried.",
	    "Nothing to do unless it lasts: it is tried again.",
	    "The receiving side has trouble of its own at the moment, or can not be reached."},
    [VERDICT_ROUTING] =
	{"No mail server could be found or reached for this domain. Check the part behind the @.",
	    "Check the MX records of the recipient's domain.",
	    "No mail server could be found for this domain so far."},
    [VERDICT_OTHER] = {"The receiving side refused the message without saying why.",
	"The reply is all that is known.",
	"The receiving side did not take the message so far, and does not say why."},
};

const char *explain_failure(enum verdict_class klass)
{
	return words[klass].failure;
}

const char *explain_so_far(enum verdict_class klass)
{
	return words[klass].so_far ? words[klass].so_far : words[klass].failure;
}

const char *explain_remedy(enum verdict_class klass)
{
	return words[klass].remedy;
}

bool explain_smarthost(enum verdict_stage stage, unsigned code, const char *name,
    struct buf *meaning, struct buf *remedy)
{
	static const struct {
		const char *trouble;
		const char *keys;
		bool any_answer; /* else only where there was none */
	} rows[] = {
	    [VERDICT_STAGE_DNS] = {"could not be looked up in the DNS", "host", false},
	    [VERDICT_STAGE_CONNECT] = {"could not be reached", "host and port", false},
	    [VERDICT_STAGE_BANNER] = {"did not greet as a mail server does", "host and port",
		false},
	    [VERDICT_STAGE_EHLO] = {"did not answer as a mail server does", "host and port", false},
	    [VERDICT_STAGE_TLS] = {"could not be spoken to in TLS", "port and tls", true},
	    [VERDICT_STAGE_AUTH] = {"did not let this server log in", "user and password_file",
		true},
	};
	if (stage >= sizeof(rows) / sizeof(rows[0]) || !rows[stage].trouble ||
	    (code && !rows[stage].any_answer))
		return false;
	buf_addf(meaning, "The smarthost %s %s.", name, rows[stage].trouble);
	buf_addf(remedy, "Check %s of smarthost %s in the configuration, and whether it is up.",
	    rows[stage].keys, name);
	return true;
}

const struct explain_own *explain_own(enum verdict_stage stage, const char *status)
{
	/* only where TLS has to be it is what ends an attempt */
	static const struct explain_own tls = {
	    "Your message may go to the receiving side over safe encryption only, and that could not "
	    "be set up with its mail server. Such is the setting of this mail server, or what the "
	    "receiving domain publishes.",
	    "This mail may go over safe encryption only, by tls of its route or what the domain "
	    "publishes (DANE, MTA-STS), and that could not be set up with its mail server.",
	    "The answer says what is missing. If the receiver can not do better, give its domain a "
	    "route of its own in the configuration that demands less.",
	};
	static const struct explain_own route = {
	    "This mail server is not set up to send from your address to this recipient, so nobody "
	    "was asked. Its administrator can mend that.",
	    "No entry of routes in the configuration is for this recipient and sender, so nobody is "
	    "asked.",
	    "Add one with match = \"*\" at the end of routes, then do: relayctl reload.",
	};
	if (strcmp(status, EXPLAIN_NO_ROUTE) == 0 && stage == VERDICT_STAGE_DNS)
		return &route;
	return stage == VERDICT_STAGE_TLS ? &tls : NULL;
}

const char *explain_finding(enum verdict_class klass, const char *status)
{
	static const struct {
		const char *status;
		const char *words;
	} forms[] = {
	    {"5.6.3",
		"The message has 8-bit text, and the receiving mail server takes 7-bit text only "
		"(it does not offer 8BITMIME). Send it again with the text encoded as "
		"quoted-printable or base64 (Content-Transfer-Encoding); in a program that "
		"writes its mails itself this has to be set there."},
	    {"5.6.7",
		"An address or a header field of the message has letters outside of ASCII, and the "
		"receiving mail server does not take those (it does not offer SMTPUTF8). Use an "
		"address in ASCII letters, and encode names and the subject (RFC 2047)."},
	    {"5.3.4",
		"The message is larger than the receiving mail server says it takes. Send a link "
		"instead of the file."},
	    {"5.7.30",
		"The message shall go over verified TLS all the way (REQUIRETLS), and no mail server "
		"of the recipient's domain can be trusted with that. Ask the recipient for another "
		"address, or send it without this demand."},
	};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (strcmp(status, forms[i].status) == 0)
			return forms[i].words;
	if (klass == VERDICT_SERVER_BUSY)
		return "The receiving mail server could not be reached, or gave no answer, for the "
		       "whole time that the message was tried.";
	return explain_failure(klass);
}
