/* SPDX-License-Identifier: MIT */
#include "relayd/dsn.h"

#include "relayd/base/mem.h"
#include "smtp/xtext.h"

_Static_assert(COMMAND_NOTIFY_SUCCESS == ENVELOPE_NOTIFY_SUCCESS &&
	COMMAND_NOTIFY_FAILURE == ENVELOPE_NOTIFY_FAILURE &&
	COMMAND_NOTIFY_DELAY == ENVELOPE_NOTIFY_DELAY &&
	COMMAND_NOTIFY_NEVER == ENVELOPE_NOTIFY_NEVER, "the bits are the same");

/* ---- in ---- */

void dsn_take_mail(struct envelope *e, const struct command_mail *mail)
{
	static const enum envelope_ret rets[] = {
	    [COMMAND_RET_NONE] = ENVELOPE_RET_NONE,
	    [COMMAND_RET_FULL] = ENVELOPE_RET_FULL,
	    [COMMAND_RET_HDRS] = ENVELOPE_RET_HDRS,
	};
	e->ret = rets[mail->ret];
	if (mail->envid.n)
		e->envid = span_dup(mail->envid);
}

/* The array grows as that of the recipients does. */
static size_t room_for(size_t count)
{
	size_t room = 1;
	while (room < count)
		room *= 2;
	return room;
}

void dsn_take_recipient(struct envelope *e, const struct command_rcpt *rcpt)
{
	size_t count = e->recipient_count;
	struct buf orcpt = {0};
	if (!e->dsn && !rcpt->notify && rcpt->orcpt.n == 0)
		return;
	if (!e->dsn)
		e->dsn = mem_array(room_for(count), sizeof(*e->dsn));
	else if (room_for(count) != room_for(count - 1))
		e->dsn = mem_resize(e->dsn, room_for(count), sizeof(*e->dsn));
	xtext_print_orcpt(rcpt->orcpt, &orcpt);
	e->dsn[count - 1] = (struct envelope_dsn){rcpt->notify, buf_take(&orcpt, NULL)};
}

/* ---- out ---- */

void dsn_print_mail(const struct envelope *e, struct buf *out)
{
	if (e->ret != ENVELOPE_RET_NONE)
		buf_addf(out, " RET=%s", e->ret == ENVELOPE_RET_FULL ? "FULL" : "HDRS");
	if (span_text(e->envid).n)
		buf_addf(out, " ENVID=%s", e->envid);
}

void dsn_print_recipient(const struct envelope *e, size_t i, struct buf *out)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {
	    {ENVELOPE_NOTIFY_NEVER, "NEVER"},
	    {ENVELOPE_NOTIFY_SUCCESS, "SUCCESS"},
	    {ENVELOPE_NOTIFY_FAILURE, "FAILURE"},
	    {ENVELOPE_NOTIFY_DELAY, "DELAY"},
	};
	unsigned bits = envelope_notify(e, i);
	const char *before = " NOTIFY=";
	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
		if (bits & words[w].bit) {
			buf_addf(out, "%s%s", before, words[w].word);
			before = ",";
		}
	if (e->dsn && span_text(e->dsn[i].orcpt).n)
		buf_addf(out, " ORCPT=%s", e->dsn[i].orcpt);
}

/* ---- reports ---- */

bool dsn_is_wanted(const struct envelope *e, size_t i, unsigned what)
{
	unsigned bits = envelope_notify(e, i);
	return (bits ? bits : ENVELOPE_NOTIFY_FAILURE | ENVELOPE_NOTIFY_DELAY) & what;
}

void dsn_print_original(const struct envelope *e, size_t i, struct buf *out)
{
	struct span orcpt = span_text(e->dsn ? e->dsn[i].orcpt : NULL);
	size_t type = 0;
	while (type < orcpt.n && orcpt.p[type] != ';')
		type++;
	if (type == orcpt.n)
		return;
	buf_add(out, orcpt.p, type);
	buf_add_text(out, "; ");
	struct span address = {orcpt.p + type + 1, orcpt.n - type - 1};
	if (!xtext_decode(address, out))
		buf_add(out, address.p, address.n);
}

void dsn_print_envid(const struct envelope *e, struct buf *out)
{
	if (!xtext_decode(span_text(e->envid), out))
		buf_add_text(out, e->envid ? e->envid : "");
}
