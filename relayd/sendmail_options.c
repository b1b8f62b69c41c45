/* SPDX-License-Identifier: MIT
 * Options by hand instead of getopt(3): some take a value only when it is joined
 * to them, which differs between the programs whose options these are.
 *
 * Options end at the first argument that is none, or at "--". A recipient that
 * begins with "-" is only taken behind "--": before it, it was meant as an option
 * by whoever managed to get it into somebody's command line.
 */
#include "relayd/sendmail_options.h"

#include <string.h>

#define PLAIN "cGiImnsStTUvx"          /* take no value */
#define VALUED "AbBCDeFfhLMNoOpRrVX"   /* take one, joined or as the next argument */
#define JOINED "dEJqQ"                 /* take one if it is joined */

const char sendmail_usage[] =
    "usage: relay-sendmail [-t] [-i] [-f SENDER] [-F NAME] [-v] [--] RECIPIENT...\n"
    "       relay-sendmail -bs | -bp | -q\n\n"
    "Hands a message on standard input to relayd. Of the other options of sendmail\n"
    "those that make sense for a message are taken and ignored.\n\n"
    "  -t        recipients are in To, Cc and Bcc (Resent-To... if there are any)\n"
    "  -i, -oi   a line with a single dot does not end the message\n"
    "  -f, -r    envelope sender; \"\" is the null sender\n"
    "  -F        full name, for a message without From\n"
    "  -N WHEN   report on delivery: never, or a list of success, failure, delay\n"
    "  -R WHAT   what a report of failure brings back: full or hdrs\n"
    "  -V ID     your own number of the message, which reports quote\n"
    "  -bs       SMTP on standard input and output\n"
    "  -bp       list the queue (as mailq)       -q  try the queue now\n"
    "  -v        say what the relay answered\n\n"
    "exit status: 0 queued; else nothing was sent, but for 75: 64 usage, 65 message or\n"
    "address, 67 no such recipient, 69 refused, 71 system, 74 input or output, 75 try again\n"
    "later (what broke off at its very end may or may not have been taken, and is said to),\n"
    "77 not allowed, 78 configuration\n";

struct parse {
	struct sendmail_options *options;
	struct sendmail_report *report;
	char **argv;
	int argc;
	int at;
};

static int take_mode(struct parse *p, const char *value)
{
	char mode = value[0] && !value[1] ? value[0] : '?';
	switch (mode) {
	case 'm':
		p->options->mode = SENDMAIL_SEND;
		return EX_OK;
	case 's':
		p->options->mode = SENDMAIL_SMTP;
		return EX_OK;
	case 'p':
		p->options->mode = SENDMAIL_LIST;
		return EX_OK;
	case 'i':
		p->options->mode = SENDMAIL_NOTHING;
		return EX_OK;
	default:
		return sendmail_fail(p->report, EX_USAGE,
		    "-b%s is not offered: this program hands messages to relayd (-bm, -bs, -bp)",
		    sendmail_shown(span_text(value)));
	}
}

static int take_flush(struct parse *p, const char *value)
{
	struct sendmail_options *o = p->options;
	if (value[0] >= '0' && value[0] <= '9') {
		o->mode = SENDMAIL_NOTHING; /* an interval: the daemon has its own times */
		return EX_OK;
	}
	o->mode = SENDMAIL_FLUSH;
	o->flush = value[0] ? value[0] : 'f';
	o->flush_what = value[0] ? value + 1 : "";
	if (o->flush == 'f' && !o->flush_what[0])
		return EX_OK;
	if (memchr("IRS", o->flush, 3) && o->flush_what[0])
		return EX_OK;
	return sendmail_fail(p->report, EX_USAGE, "-q%s is not known; -q, -qIid, -qRdomain and "
	    "-qSsender are", sendmail_shown(span_text(value)));
}

static int take_plain(struct parse *p, char letter)
{
	if (letter == 't')
		p->options->header_recipients = true;
	else if (letter == 'i')
		p->options->ignore_dots = true;
	else if (letter == 'v')
		p->options->verbose = true;
	else if (letter == 'I')
		p->options->mode = SENDMAIL_NOTHING;
	return EX_OK;
}

static int take_report(struct parse *p, char letter, const char *value)
{
	struct sendmail_dsn *dsn = &p->options->dsn;
	const char *shown = sendmail_shown(span_text(value));
	if (letter == 'N' && !sendmail_dsn_notify(dsn, value))
		return sendmail_fail(p->report, EX_USAGE, "-N %s: give never, or a list of "
		    "success, failure, delay with commas", shown);
	if (letter == 'R' && !sendmail_dsn_ret(dsn, value))
		return sendmail_fail(p->report, EX_USAGE, "-R %s: give full or hdrs", shown);
	if (letter == 'V' && !sendmail_dsn_envid(dsn, value))
		return sendmail_fail(p->report, EX_USAGE, "-V %s: give at most 100 printable "
		    "characters", shown);
	return EX_OK;
}

static int take_valued(struct parse *p, char letter, const char *value)
{
	struct sendmail_options *o = p->options;
	struct span v = span_text(value);
	if (letter == 'f' || letter == 'r')
		o->sender = value;
	else if (letter == 'F')
		o->name = value;
	else if (letter == 'N' || letter == 'R' || letter == 'V')
		return take_report(p, letter, value);
	else if (letter == 'b')
		return take_mode(p, value);
	else if (letter == 'q')
		return take_flush(p, value);
	else if (letter == 'o' && span_is(v, "i"))
		o->ignore_dots = true;
	else if (letter == 'O' && (span_is_nocase(v, "IgnoreDots") ||
				      span_is_nocase(v, "IgnoreDots=true")))
		o->ignore_dots = true;
	return EX_OK;
}

/* One argument "-abc": letters until one takes the rest as its value. */
static int take_argument(struct parse *p)
{
	for (const char *at = p->argv[p->at] + 1; *at; at++) {
		int status;
		if (strchr(PLAIN, *at)) {
			status = take_plain(p, *at);
		} else if (strchr(JOINED, *at) || (strchr(VALUED, *at) && at[1])) {
			return take_valued(p, *at, at + 1);
		} else if (strchr(VALUED, *at) && p->at + 1 < p->argc) {
			return take_valued(p, *at, p->argv[++p->at]);
		} else if (strchr(VALUED, *at)) {
			return sendmail_fail(p->report, EX_USAGE, "option -%c needs a value", *at);
		} else {
			return sendmail_fail(p->report, EX_USAGE,
			    "option -%s is not known; see relay-sendmail --help",
			    sendmail_shown((struct span){at, 1}));
		}
		if (status != EX_OK)
			return status;
	}
	return EX_OK;
}

static int check_recipients(struct parse *p)
{
	for (int i = p->at; i < p->argc; i++)
		if (p->argv[i][0] == '-')
			return sendmail_fail(p->report, EX_USAGE,
			    "\"%s\" behind a recipient is no option; for a recipient that begins "
			    "with \"-\" write -- first", sendmail_shown(span_text(p->argv[i])));
	return EX_OK;
}

static int take_all(struct parse *p)
{
	struct sendmail_options *o = p->options;
	for (; p->at < p->argc && p->argv[p->at][0] == '-' && p->argv[p->at][1]; p->at++) {
		const char *argument = p->argv[p->at];
		if (strcmp(argument, "--help") == 0)
			o->mode = SENDMAIL_HELP;
		else if (strcmp(argument, "--version") == 0)
			o->mode = SENDMAIL_VERSION;
		if (o->mode == SENDMAIL_HELP || o->mode == SENDMAIL_VERSION)
			return EX_OK;
		if (strcmp(argument, "--") == 0) {
			p->at++;
			return EX_OK;
		}
		if (take_argument(p) != EX_OK)
			return p->report->status;
	}
	return check_recipients(p);
}

static enum sendmail_mode mode_of_name(const char *name)
{
	const char *slash = strrchr(name, '/');
	if (slash)
		name = slash + 1;
	if (strcmp(name, "mailq") == 0)
		return SENDMAIL_LIST;
	return strcmp(name, "newaliases") == 0 ? SENDMAIL_NOTHING : SENDMAIL_SEND;
}

int sendmail_options_parse(struct sendmail_options *options, int argc, char **argv,
    struct sendmail_report *report)
{
	struct parse p = {.options = options, .report = report, .argv = argv, .argc = argc, .at = 1};
	*options = (struct sendmail_options){.mode = SENDMAIL_SEND};
	if (argc < 1) /* execve allows it */
		return sendmail_fail(report, EX_USAGE, "no arguments, not even a name");
	options->mode = mode_of_name(argv[0]);
	if (take_all(&p) != EX_OK)
		return report->status;
	if (options->mode == SENDMAIL_HELP || options->mode == SENDMAIL_VERSION)
		return EX_OK;
	options->recipients = argv + p.at;
	options->recipient_count = (size_t)(argc - p.at);
	if (options->mode == SENDMAIL_SEND && !options->header_recipients &&
	    options->recipient_count == 0)
		return sendmail_fail(report, EX_USAGE,
		    "no recipients: give some as arguments, or -t to take those of the message");
	return EX_OK;
}

void sendmail_options_free(struct sendmail_options *options)
{
	sendmail_dsn_free(&options->dsn);
}
