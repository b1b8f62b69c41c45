/* SPDX-License-Identifier: MIT
 * A reply as other programs quote it: a line of Postfix's or Exim's log, a bounce. What
 * stands around the reply often says where in the session it was, and whose it is.
 */
#include <string.h>

#include "relayd/base/text.h"
#include "relayd/ctl.h"

/* "550 " or "550-", of a refusal */
static bool is_code(const char *p)
{
	return (*p == '4' || *p == '5') && strspn(p, "0123456789") == 3 &&
	       (p[3] == ' ' || p[3] == '-');
}

/* The first one behind the colon of "said: ", the semicolon of "smtp; " or "<<< ". */
static const char *find_reply(const char *text)
{
	for (const char *p = text; (p = strpbrk(p, ":;<")) != NULL;) {
		p++;
		if (is_code(p + strspn(p, " ")))
			return p + strspn(p, " ");
	}
	return NULL;
}

static const char *stage_of(const char *text)
{
	static const struct {
		const char *words;
		const char *stage;
	} known[] = {
	    {"refused to talk to me:", "banner"}, {"in reply to EHLO", "ehlo"},
	    {"in reply to HELO", "ehlo"}, {"in reply to MAIL FROM", "mail"},
	    {"in reply to RCPT TO", "rcpt"}, {"in reply to DATA", "data"},
	    {"in reply to end of DATA", "end"}, {"after initial connection:", "banner"},
	    {"after EHLO", "ehlo"}, {"after HELO", "ehlo"}, {"after MAIL FROM:", "mail"},
	    {"after RCPT TO:", "rcpt"}, {"after DATA:", "data"},
	    {"after pipelined end of data:", "end"}, {"after end of data:", "end"},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(text, known[i].words))
			return known[i].stage;
	return NULL;
}

/* "host NAME[ADDRESS]", before the reply. */
static void find_host(const char *text, const char *end, struct buf *mx)
{
	const char *at = strstr(text, "host ");
	if (!at || at >= end)
		return;
	at += strlen("host ");
	size_t n = strcspn(at, " []:<");
	if (at[n] == '[' || at[n] == ' ')
		buf_add(mx, at, n);
}

bool ctl_quote_find(const char *text, struct ctl_quote *quote)
{
	*quote = (struct ctl_quote){0};
	const char *start = find_reply(text);
	if (is_code(text + strspn(text, " ")) || !start)
		return false;
	const char *end = strstr(start, " (in reply to ");
	buf_add(&quote->reply, start, end ? (size_t)(end - start) : strlen(start));
	quote->stage = stage_of(text);
	find_host(text, start, &quote->mx);
	return true;
}

void ctl_quote_clear(struct ctl_quote *quote)
{
	buf_free(&quote->reply);
	buf_free(&quote->mx);
}
