/* SPDX-License-Identifier: MIT
 * A request is ["queue","list","--domain","example.com"]: no quoting rules of
 * our own, and jansson bounds the depth and refuses bytes that are no UTF-8.
 */
#include "relayd/control_words.h"

#include <string.h>

#include "relayd/base/mem.h"

static int take_words(struct control_words *w, struct span line)
{
	w->json = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	size_t count = json_array_size(w->json);
	if (count == 0 || count > CONTROL_WORDS_MAX)
		return -1;
	w->argv = mem_array(count, sizeof(*w->argv));
	for (size_t i = 0; i < count; i++) {
		w->argv[i] = json_string_value(json_array_get(w->json, i));
		if (!w->argv[i])
			return -1;
	}
	w->argc = count;
	return 0;
}

int control_words_parse(struct control_words *w, struct span line, struct why *why)
{
	size_t used = 0;
	*w = (struct control_words){.command = CMD_COUNT};
	if (take_words(w, line) < 0)
		return why_set(why, WHY_PERM, "a request is a JSON array of words on one line");
	int command = command_find(w->argv, w->argc, &used);
	if (command < 0)
		return why_set(why, WHY_PERM, "there is no command \"%s\"", w->argv[0]);
	w->command = (enum command_id)command;
	w->argc -= used;
	memmove(w->argv, w->argv + used, w->argc * sizeof(*w->argv));
	const struct command_row *row = &command_table[command];
	if (w->argc && !row->usage[0])
		return why_set(why, WHY_PERM,
		    "\"%s\" takes no arguments, and there is no \"%s %s\"; see relayctl help",
		    row->words, row->words, w->argv[0]);
	return 0;
}

void control_words_clear(struct control_words *w)
{
	json_decref(w->json);
	mem_free(w->argv);
	*w = (struct control_words){0};
}
