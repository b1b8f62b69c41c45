/* SPDX-License-Identifier: MIT
 * What a file of the drop folder says: one transaction as a client would say it: MAIL,
 * RCPT lines, DATA, text with dots, the final dot. Any local user may have written it,
 * so it is checked as strictly as the wire.
 */
#ifndef RELAYD_DROP_FILE_H
#define RELAYD_DROP_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "queue/envelope.h"
#include "smtp/reply.h"

struct drop_file {
	uid_t owner;
	int64_t written_ms;       /* wall clock: by its mtime, if that is within queue.lifetime */
	struct envelope envelope; /* sender, recipients, reports; no sender: it has none */
	struct buf message;       /* header, empty line, body; of one that is refused what came
	                             before the fault */
	bool whole;               /* nothing of it is missing */
	struct reply reply;       /* code 0: it can be taken; else why it never will be */
};

/* Read NAME in FOLDER (a descriptor): FILE->reply says what to think of it. -1: it can not
 * be read at the moment (WHY). Free FILE in both cases. */
int drop_file_read(int folder, const char *name, const struct conf *conf, struct drop_file *file,
    struct why *why) ATTR_MUST_CHECK;
void drop_file_free(struct drop_file *file);

#endif
