/* SPDX-License-Identifier: MIT
 * The request line of the control socket, and the selection in it: what parses
 * has a command, words that are strings, and ids that were written there.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/control_words.h"
#include "relayd/selection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_selection(const struct control_words *w)
{
	struct selection s;
	struct why why = {0};
	if (selection_parse(&s, w->argv, w->argc, &why) == 0) {
		if (s.count > w->argc || (s.count > 0) != s.named)
			bug("ids from nowhere");
		if (s.older_ms < 0)
			bug("an age under zero");
		if (s.named && (s.all || s.domain || s.sender))
			bug("ids and conditions");
	} else if (!why.text[0]) {
		bug("refused without a reason");
	}
	selection_clear(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_words w;
	struct why why = {0};
	struct span line = {(const char *)data, size};
	if (control_words_parse(&w, line, &why) == 0) {
		if (w.command >= CMD_COUNT)
			bug("no command");
		for (size_t i = 0; i < w.argc; i++)
			if (strlen(w.argv[i]) > size)
				bug("a word from nowhere");
		check_selection(&w);
	} else if (!why.text[0]) {
		bug("refused without a reason");
	}
	control_words_clear(&w);
	return 0;
}
