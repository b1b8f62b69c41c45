/* SPDX-License-Identifier: MIT */
#include "relayd/drop_return.h"

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/dsn.h"
#include "smtp/address.h"
#include "smtp/header.h"
#include "smtp/return_path.h"

/* A domain that is not ours in From: may be the very reason of the refusal; then only the
 * envelope sender counts. */
static void repair(const struct conf *conf, const struct address *sender, struct span message,
    struct buf *to)
{
	struct conf own = *conf; /* whatever the mode: a report has to arrive */
	struct header header = {0};
	struct header none = {0};
	struct return_path path = {0};
	struct why why;
	own.return_path.mode = CONF_RETURN_PATH_REPAIR;
	bool repaired = header_parse(message, &header, NULL) == 0 &&
			return_path_decide(&own, sender, &header, NULL, &path, &why) == 0;
	if (!repaired) {
		return_path_free(&path);
		repaired = return_path_decide(&own, sender, &none, NULL, &path, &why) == 0;
	}
	if (repaired)
		buf_add(to, path.sender.data, path.sender.len);
	return_path_free(&path);
	header_free(&header);
}

static bool is_wanted(const struct envelope *e)
{
	for (size_t i = 0; i < e->recipient_count; i++)
		if (dsn_is_wanted(e, i, ENVELOPE_NOTIFY_FAILURE))
			return true;
	return false;
}

bool drop_return_address(const struct conf *conf, const struct drop_file *file, struct buf *to)
{
	const struct envelope *e = &file->envelope;
	struct address sender;
	if (!e->sender || !e->sender[0] || !is_wanted(e))
		return false;
	if (conf->domain_count && address_parse(span_text(e->sender), &sender))
		repair(conf, &sender, span_buf(&file->message), to);
	if (to->len == 0)
		buf_add_text(to, conf->notify.mail);
	return to->len > 0;
}

/* Who sent it has been told 0, and may have no other copy: all of it, unless that can
 * not go back, or shall not (RFC 3461 section 4.3, RFC 8689 section 5). */
static void fill_returned(struct report *report, const struct drop_file *file)
{
	const struct envelope *e = &file->envelope;
	bool may = file->whole && e->ret != ENVELOPE_RET_HDRS && !e->require_tls;
	struct span message = span_buf(&file->message);
	size_t scanned = 0;
	size_t body = header_end(message, &scanned);
	if (may && bounce_can_hold(message))
		report->content = message;
	else
		report->header = (struct span){message.p, body >= 2 ? body - 2 : message.n};
}

/* Recipient I, and in ORIGINAL the ORCPT that belongs to it. */
static struct bounce_recipient recipient_of(const struct envelope *e, size_t i,
    const struct reply *reply, const char *status, struct buf *original)
{
	dsn_print_original(e, i, original);
	return (struct bounce_recipient){
	    .address = e->recipients[i],
	    .original = buf_text(original),
	    .status = status,
	    .mx = "",
	    .code = reply->code,
	    .reply = buf_text(&reply->text),
	    .reason = "relayd could not be reached when this message was sent, and refused it "
		      "when it took it in later. It was sent to nobody: mend what is said below, "
		      "and send it again.",
	    .last_attempt_ms = clock_wall_ms(),
	};
}

void drop_return_send(struct daemon *d, uint64_t id, const struct drop_file *file,
    const struct reply *reply, const char *to, report_done *done, void *arg)
{
	struct envelope e = file->envelope; /* but for whom the report goes to */
	struct bounce_recipient *list = mem_array(e.recipient_count, sizeof(*list));
	struct buf *originals = mem_array(e.recipient_count, sizeof(*originals));
	struct report report = {
	    .kind = BOUNCE_FAILED, .message_id = id, .envelope = &e, .recipients = list};
	char status[12] = "5.0.0";
	fill_returned(&report, file);
	if (reply->enhanced.klass)
		enhanced_text(&reply->enhanced, status);
	e.sender = mem_text(to);
	e.domain = mem_text("");
	/* it was never taken: what its sender knows is when he left it */
	e.arrived_ms = clock_steady_ms() - (clock_wall_ms() - file->written_ms);
	for (size_t i = 0; i < e.recipient_count; i++)
		if (dsn_is_wanted(&e, i, ENVELOPE_NOTIFY_FAILURE))
			list[report.recipient_count++] =
			    recipient_of(&e, i, reply, status, &originals[i]);
	report_send(d->intake, d->settings->conf, &d->stats, &report, done, arg);
	for (size_t i = 0; i < e.recipient_count; i++)
		buf_free(&originals[i]);
	mem_free(originals);
	mem_free(list);
	mem_free(e.sender);
	mem_free(e.domain);
}
