/* SPDX-License-Identifier: MIT
 * A list of texts that are its own. An all-zero one is empty.
 */
#ifndef RELAYD_BASE_TEXTS_H
#define RELAYD_BASE_TEXTS_H

#include <stddef.h>

struct texts {
	char **list;
	size_t count;
};

void texts_add(struct texts *texts, char *text); /* taken over */
void texts_clear(struct texts *texts);

#endif
