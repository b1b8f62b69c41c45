/* SPDX-License-Identifier: MIT
 * A batch was made by the routes that were in force when its message came or was
 * loaded. When those have changed meanwhile its destination's name says nothing
 * any more: "smarthost:x" would be looked up as a domain. So before an attempt its
 * recipients go to where the present routes send them.
 */
#include <string.h>

#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/deliver_internal.h"

static bool has_moved(const struct attempt *a, const struct buf *names)
{
	const char *old = destination_name(a->batch->destination);
	for (size_t i = 0; i < a->tried_count; i++)
		if (strcmp(buf_text(&names[i]), old) != 0)
			return true;
	return false;
}

static void move(struct attempt *a, const struct buf *names)
{
	struct schedule *schedule = a->deliver->schedule;
	struct batch *batch = a->batch;
	char id[MESSAGE_ID_TEXT];
	const char **by_index = mem_array(a->envelope.recipient_count, sizeof(*by_index));
	for (size_t i = 0; i < a->tried_count; i++)
		by_index[a->tried[i].index] = buf_text(&names[i]);
	log_text(LOG_LEVEL_INFO, "message %s: the routes have changed, it leaves %s for %s",
	    message_id_text(a->id, id), destination_name(batch->destination),
	    buf_text(&names[0]));
	attempt_free(a);
	schedule_reroute(schedule, batch, by_index);
	mem_free(by_index);
}

bool way_reroute(struct attempt *a)
{
	size_t count = a->tried_count;
	struct buf *names = mem_array(count, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		route_destination(a->settings->conf, &a->envelope, a->tried[i].address, &names[i]);
	bool moved = has_moved(a, names);
	if (moved)
		move(a, names);
	for (size_t i = 0; i < count; i++)
		buf_free(&names[i]);
	mem_free(names);
	return moved;
}
