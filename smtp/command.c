/* SPDX-License-Identifier: MIT
 * Command lines into structs. Replies are fixed texts: nothing that a client
 * sent is said back to it.
 */
#include "smtp/command.h"

#include <inttypes.h>
#include <string.h>

#include "smtp/xtext.h"

#define AUTH_MAX 500 /* bytes of MAIL's AUTH=, RFC 4954 section 5 */

static const char *const verbs[] = {
    [COMMAND_HELO] = "HELO",
    [COMMAND_EHLO] = "EHLO",
    [COMMAND_MAIL] = "MAIL",
    [COMMAND_RCPT] = "RCPT",
    [COMMAND_DATA] = "DATA",
    [COMMAND_BDAT] = "BDAT",
    [COMMAND_RSET] = "RSET",
    [COMMAND_NOOP] = "NOOP",
    [COMMAND_VRFY] = "VRFY",
    [COMMAND_EXPN] = "EXPN",
    [COMMAND_HELP] = "HELP",
    [COMMAND_QUIT] = "QUIT",
    [COMMAND_STARTTLS] = "STARTTLS",
    [COMMAND_AUTH] = "AUTH",
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span skip_blanks(struct span s)
{
	while (s.n && is_blank(s.p[0]))
		s.p++, s.n--;
	return s;
}

/* Cut the bytes up to the next blank (or C) off the start of *S. */
static struct span take_until(struct span *s, char c)
{
	struct span word = {s->p, 0};
	while (word.n < s->n && !is_blank(s->p[word.n]) && s->p[word.n] != c)
		word.n++;
	s->p += word.n, s->n -= word.n;
	return word;
}

/* A tab is a blank here, all other controls are refused. */
static bool has_controls(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] < 32 && s.p[i] != '\t') || s.p[i] == 127)
			return true;
	return false;
}

static bool is_letter(char c)
{
	int lower = text_lower_byte(c);
	return lower >= 'a' && lower <= 'z';
}

/* A web page, or a server that fetches what it is told to, can be made to send us HTTP
 * (or a TLS handshake) with commands behind: what is of another protocol is not only
 * unknown, its sender must not be listened to any more. A method that is not listed here
 * has a Host field in the next line. */
static bool is_foreign(struct span line)
{
	static const char *const methods[] = {
	    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PRI"};
	struct span rest = skip_blanks(line);
	struct span word = take_until(&rest, ' ');
	if (word.n == 0)
		return false;
	if (!is_letter(word.p[0]) || memchr(word.p, ':', word.n))
		return true;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (span_is_nocase(word, methods[i]))
			return true;
	return false;
}

void command_parse(struct span line, struct command *c)
{
	struct span rest = line;
	while (rest.n && is_blank(rest.p[rest.n - 1]))
		rest.n--;
	*c = (struct command){is_foreign(rest) ? COMMAND_FOREIGN : COMMAND_UNKNOWN, rest};
	if (has_controls(rest))
		return;
	struct span verb = take_until(&rest, ' ');
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (span_is_nocase(verb, verbs[i]))
			c->verb = (enum command_verb)i;
	if (rest.n)
		rest.p++, rest.n--;
	c->argument = rest;
}

static int refuse(
    struct reply *reply, unsigned code, const char *enhanced, const char *text)
{
	reply_set(reply, code, enhanced, "%s", text);
	return -1;
}

/* "FROM:" or "TO:", then a path. REST is what follows the path. */
static int take_path(struct span *rest, const char *keyword, struct address *a)
{
	struct span s = skip_blanks(*rest);
	size_t used;
	if (!span_starts_nocase(s, keyword))
		return -1;
	s.p += strlen(keyword), s.n -= strlen(keyword);
	s = skip_blanks(s);
	*rest = s;
	if (s.n == 0)
		return -1;
	if (!address_parse_path(s, true, a, &used) ||
	    (used < s.n && !is_blank(s.p[used])))
		return 0;
	/* scripts that talk SMTP by hand leave out the <>; a word that is no full address then
	 * is the first parameter behind an address that is missing */
	if (s.p[0] != '<' && a->form == ADDRESS_LOCAL && !span_is_nocase(a->local, "postmaster"))
		return 0;
	*rest = (struct span){s.p + used, s.n - used};
	return 1;
}

struct parameter {
	struct span name;
	struct span value;
	bool has_value;
};

static bool is_name_byte(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9') || c == '-';
}

/* The next parameter: 1, none left: 0, malformed: -1 (RFC 5321 section 4.1.2). */
static int take_parameter(struct span *rest, struct parameter *p)
{
	*rest = skip_blanks(*rest);
	if (rest->n == 0)
		return 0;
	*p = (struct parameter){.name = take_until(rest, '=')};
	if (p->name.n == 0 || p->name.p[0] == '-')
		return -1;
	for (size_t i = 0; i < p->name.n; i++)
		if (!is_name_byte(p->name.p[i]))
			return -1;
	if (rest->n && rest->p[0] == '=') {
		rest->p++, rest->n--;
		p->has_value = true;
		p->value = take_until(rest, ' ');
		if (p->value.n == 0)
			return -1;
	}
	return 1;
}

/* MAIL's parameters while they are read. */
struct mail_parse {
	const struct command_offers *offers;
	struct command_mail mail;
	struct reply *reply;
	unsigned seen; /* bits by index into parameters[] */
};

/* RFC 1870 section 3: 20 digits at most, which may be more than any number here holds. */
static bool is_size(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0 && s.n <= 20;
}

static int take_size(struct mail_parse *m, const struct parameter *p)
{
	uint64_t max = m->offers->max_size;
	uint64_t size;
	if (!is_size(p->value))
		return refuse(m->reply, 501, "5.5.4", "Syntax: SIZE=digits, 20 at most");
	if (max && !span_number(p->value, max, &size)) {
		reply_set(m->reply, 552, "5.3.4",
		    "The message is over %" PRIu64 " bytes (limits.message_size)", max);
		return -1;
	}
	return 0;
}

/* What a text really holds is seen when it has come; nobody relies on this. */
static int take_body(struct mail_parse *m, const struct parameter *p)
{
	if (span_is_nocase(p->value, "7BIT") || span_is_nocase(p->value, "8BITMIME"))
		return 0;
	if (span_is_nocase(p->value, "BINARYMIME"))
		return refuse(m->reply, 555, "5.5.4", "BODY=BINARYMIME is not supported");
	return refuse(m->reply, 501, "5.5.4", "Syntax: BODY=7BIT or BODY=8BITMIME");
}

static int take_smtputf8(struct mail_parse *m, const struct parameter *p)
{
	if (p->has_value)
		return refuse(m->reply, 501, "5.5.4", "SMTPUTF8 takes no value");
	m->mail.smtputf8 = true;
	return 0;
}

/* Who submitted it first, in somebody else's words: nobody here relies on it. */
static int take_auth(struct mail_parse *m, const struct parameter *p)
{
	if (span_is(p->value, "<>") ||
	    (p->value.n <= AUTH_MAX && xtext_is_valid(p->value, true)))
		return 0;
	return refuse(m->reply, 501, "5.5.4", "Syntax: AUTH=mailbox in xtext");
}

/* RFC 3461 section 4.3: how much of the message a report brings back. */
static int take_ret(struct mail_parse *m, const struct parameter *p)
{
	if (span_is_nocase(p->value, "FULL"))
		m->mail.ret = COMMAND_RET_FULL;
	else if (span_is_nocase(p->value, "HDRS"))
		m->mail.ret = COMMAND_RET_HDRS;
	else
		return refuse(m->reply, 501, "5.5.4", "Syntax: RET=FULL or RET=HDRS");
	return 0;
}

/* Section 4.4: the sender's own number of this transaction. */
static int take_envid(struct mail_parse *m, const struct parameter *p)
{
	if (p->value.n > XTEXT_ENVID_MAX || !xtext_is_valid(p->value, false))
		return refuse(m->reply, 501, "5.5.4", "Syntax: ENVID=xtext of 100 bytes at most");
	m->mail.envid = p->value;
	return 0;
}

/* RFC 8689 section 3: onward by verified TLS, or not at all. */
static int take_require_tls(struct mail_parse *m, const struct parameter *p)
{
	if (p->has_value)
		return refuse(m->reply, 501, "5.5.4", "REQUIRETLS takes no value");
	m->mail.require_tls = true;
	return 0;
}

static const struct {
	const char *name;
	int (*take)(struct mail_parse *m, const struct parameter *p);
} parameters[] = {
    {"SIZE", take_size},
    {"BODY", take_body},
    {"SMTPUTF8", take_smtputf8},
    {"AUTH", take_auth},
    {"RET", take_ret},
    {"ENVID", take_envid},
    {"REQUIRETLS", take_require_tls},
};

static bool is_offered(const struct command_offers *o, size_t parameter)
{
	const bool offered[] = {
	    o->size, o->eightbit, o->smtputf8, o->auth, o->dsn, o->dsn, o->require_tls};
	return offered[parameter];
}

static int refuse_parameter(struct reply *reply)
{
	return refuse(reply, 555, "5.5.4", "Parameter not recognized");
}

static int take_mail_parameter(struct mail_parse *m, const struct parameter *p)
{
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
		if (!span_is_nocase(p->name, parameters[i].name))
			continue;
		if (!is_offered(m->offers, i))
			break;
		if (m->seen & 1u << i)
			return refuse(m->reply, 501, "5.5.4", "Parameter given twice");
		m->seen |= 1u << i;
		return parameters[i].take(m, p);
	}
	return refuse_parameter(m->reply);
}

int command_parse_mail(struct span argument, const struct command_offers *offers,
    struct command_mail *mail, struct reply *reply)
{
	struct mail_parse m = {.offers = offers, .reply = reply};
	struct parameter p;
	int more;
	int path = take_path(&argument, "FROM:", &m.mail.from);
	if (path < 0)
		return refuse(reply, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
	if (path == 0)
		return refuse(
		    reply, 501, "5.1.7", "Bad sender address syntax, expected <user@domain>");
	while ((more = take_parameter(&argument, &p)) > 0)
		if (take_mail_parameter(&m, &p) < 0)
			return -1;
	if (more < 0)
		return refuse(reply, 501, "5.5.4", "Bad parameter syntax");
	if (m.mail.from.utf8 && !m.mail.smtputf8)
		return refuse(reply, 553, "5.6.7", "Non-ASCII address needs SMTPUTF8");
	*mail = m.mail;
	return 0;
}

/* NOTIFY, RFC 3461 section 4.1: NEVER, or a list of the others. */
static int take_notify(struct span value, struct command_rcpt *rcpt, struct reply *reply)
{
	static const char *const words[] = {"SUCCESS", "FAILURE", "DELAY", "NEVER"};
	unsigned bits = 0;
	for (bool more = true; more;) {
		const char *comma = value.n ? memchr(value.p, ',', value.n) : NULL;
		struct span word = {value.p, comma ? (size_t)(comma - value.p) : value.n};
		unsigned bit = 0;
		for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			bit |= span_is_nocase(word, words[i]) ? 1u << i : 0;
		more = comma != NULL;
		if (!bit || (bits && (bit | bits) & COMMAND_NOTIFY_NEVER))
			return refuse(reply, 501, "5.5.4",
			    "Syntax: NOTIFY=NEVER or a list of SUCCESS, FAILURE, DELAY");
		bits |= bit;
		if (more)
			value = (struct span){comma + 1, value.n - word.n - 1};
	}
	rcpt->notify = bits;
	return 0;
}

static int take_orcpt(struct span value, bool utf8, struct command_rcpt *rcpt, struct reply *reply)
{
	if (!xtext_is_orcpt(value, utf8))
		return refuse(reply, 501, "5.5.4", "Syntax: ORCPT=type;address in xtext");
	rcpt->orcpt = value;
	return 0;
}

static int take_rcpt_parameter(const struct parameter *p, bool utf8, struct command_rcpt *rcpt,
    struct reply *reply)
{
	bool notify = span_is_nocase(p->name, "NOTIFY");
	if (!notify && !span_is_nocase(p->name, "ORCPT"))
		return refuse_parameter(reply);
	if (notify ? rcpt->notify != 0 : rcpt->orcpt.n != 0)
		return refuse(reply, 501, "5.5.4", "Parameter given twice");
	return notify ? take_notify(p->value, rcpt, reply)
		      : take_orcpt(p->value, utf8, rcpt, reply);
}

int command_parse_rcpt(struct span argument, bool smtputf8, bool dsn, struct command_rcpt *rcpt,
    struct reply *reply)
{
	struct command_rcpt found = {0};
	struct parameter p;
	int more;
	int path = take_path(&argument, "TO:", &found.to);
	if (path < 0)
		return refuse(reply, 501, "5.5.4", "Syntax: RCPT TO:<address>");
	if (path == 0 || found.to.form == ADDRESS_NULL)
		return refuse(
		    reply, 501, "5.1.3", "Bad recipient address syntax, expected <user@domain>");
	while ((more = take_parameter(&argument, &p)) > 0) {
		if (!dsn)
			return refuse_parameter(reply);
		if (take_rcpt_parameter(&p, smtputf8, &found, reply) < 0)
			return -1;
	}
	if (more < 0)
		return refuse(reply, 501, "5.5.4", "Bad parameter syntax");
	if (found.to.utf8 && !smtputf8)
		return refuse(reply, 553, "5.6.7", "Non-ASCII address needs SMTPUTF8");
	*rcpt = found;
	return 0;
}

int command_parse_bdat(
    struct span argument, struct command_bdat *bdat, struct reply *reply)
{
	struct command_bdat found = {0};
	struct span rest = skip_blanks(argument);
	struct span size = take_until(&rest, ' ');
	rest = skip_blanks(rest);
	struct span last = take_until(&rest, ' ');
	found.last = span_is_nocase(last, "LAST");
	if (!span_number(size, UINT64_C(1) << 40, &found.size) ||
	    (last.n && !found.last) || skip_blanks(rest).n)
		return refuse(reply, 501, "5.5.4", "Syntax: BDAT size [LAST]");
	*bdat = found;
	return 0;
}

bool command_helo_is_valid(struct span argument)
{
	for (size_t i = 0; i < argument.n; i++) {
		char c = argument.p[i];
		/* it ends up in Received, where these would begin something else */
		if (c < 33 || c > 126 || strchr("()<>\"\\;,@", c))
			return false;
	}
	return argument.n > 0 && argument.n <= ADDRESS_DOMAIN_MAX;
}
