/* SPDX-License-Identifier: MIT
 * Exit statuses and lines of relay-sendmail.
 */
#include "relayd/sendmail_report.h"

#include <stdarg.h>
#include <stdio.h>

#include "relayd/base/mem.h"

#define SHOWN_MAX 200

int sendmail_fail(struct sendmail_report *report, int status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0)
		bug("bad format of a report");
	char *text = buf_room(&report->text, (size_t)n + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)n + 1, format, args);
	va_end(args);
	report->text.len += (size_t)n;
	buf_add_byte(&report->text, '\n');
	if (report->status == EX_OK || report->status == EX_TEMPFAIL)
		report->status = status;
	return report->status;
}

int sendmail_reply_status(const struct reply *reply, bool recipient)
{
	const struct enhanced *e = &reply->enhanced;
	if (reply->code < 500)
		return EX_TEMPFAIL;
	if (e->klass == 0)
		return recipient && (reply->code == 550 || reply->code == 553) ? EX_NOUSER
									       : EX_UNAVAILABLE;
	if (e->subject == 7)
		return EX_NOPERM;
	if (e->subject == 1)
		return EX_NOUSER;
	/* 5.5.2 syntax, 5.5.3 too many recipients, 5.3.4 too big: all about what is sent */
	if (e->subject == 6 || (e->subject == 5 && (e->detail == 2 || e->detail == 3)) ||
	    (e->subject == 3 && e->detail == 4))
		return EX_DATAERR;
	return EX_UNAVAILABLE;
}

const char *sendmail_shown(struct span s)
{
	static struct buf shown;
	buf_clear(&shown);
	text_escape_utf8(&shown, s, SHOWN_MAX);
	return buf_text(&shown);
}

void sendmail_report_free(struct sendmail_report *report)
{
	buf_free(&report->text);
}
