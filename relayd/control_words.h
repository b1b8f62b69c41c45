/* SPDX-License-Identifier: MIT
 * The request line of the control socket, taken apart: JSON, words, command.
 * Pure. Who may say it is not decided here.
 */
#ifndef RELAYD_CONTROL_WORDS_H
#define RELAYD_CONTROL_WORDS_H

#include <jansson.h>

#include "relayd/base/text.h"
#include "relayd/base/why.h"
#include "relayd/command_table.h"

#define CONTROL_WORDS_MAX 10000

struct control_words {
	json_t *json;      /* the array that the words live in */
	const char **argv; /* behind the command's own words */
	size_t argc;
	enum command_id command;
};

/* LINE without its line end. -1: WHY, for the client to read. Clear it in both
 * cases. */
int control_words_parse(struct control_words *words, struct span line, struct why *why)
    ATTR_MUST_CHECK;
void control_words_clear(struct control_words *words);

#endif
