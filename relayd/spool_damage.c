/* SPDX-License-Identifier: MIT */
#include "relayd/spool_damage.h"

#include <string.h>

#include "queue/message.h"
#include "relayd/base/clock.h"
#include "relayd/base/log.h"

/* Senders of ours have a colon in theirs, providers' ways a provider. What is kept where it
 * was, and not lost, is another incident. */
#define SOURCE "spool"
#define SOURCE_KEPT "spool-kept"

static void log_damage(const struct damage *damage)
{
	struct log_line line;
	char id[MESSAGE_ID_TEXT];
	log_begin(&line, LOG_LEVEL_ERROR, "damage");
	if (damage->id)
		log_add_text(&line, "id", message_id_text(damage->id, id));
	log_add_text(&line, "file", damage->file);
	log_add_text(&line, "text", damage->text);
	log_end(&line);
}

static void open_incident(
    struct reputation *reputation, const char *path, const struct damage *damage)
{
	struct buf text = {0};
	struct buf help = {0};
	bool kept = damage->kind == DAMAGE_KEPT;
	buf_addf(&text, "%s: %s", damage->file, damage->text);
	if (kept)
		buf_add_text(&help,
		    "nothing was thrown away: do what the log's damage lines say, and "
		    "close the incident when a start of relayd says it no more");
	else
		buf_addf(&help,
		    "ask the senders of the messages that the log's damage lines name to send them "
		    "again, and look what the kernel's log says of the disk; close the incident when "
		    "that is done. What could not be read is kept under %s/damaged",
		    path);
	struct incident_cause cause = {
	    .source = kept ? SOURCE_KEPT : SOURCE,
	    .provider = "",
	    .klass = VERDICT_OTHER,
	    .rule = "spool-damage",
	    .help = buf_text(&help),
	    .text = buf_text(&text),
	    .message_id = damage->id,
	};
	incident_open(reputation, &cause, clock_steady_ms());
	buf_free(&text);
	buf_free(&help);
}

void spool_damage_tell(struct reputation *reputation, const char *path, const struct damage *damage)
{
	log_damage(damage);
	if (damage->kind != DAMAGE_FOREIGN)
		open_incident(reputation, path, damage);
}

bool spool_damage_is(const struct incident *incident)
{
	return !incident->provider[0] && (strcmp(incident->source, SOURCE) == 0 ||
					     strcmp(incident->source, SOURCE_KEPT) == 0);
}
