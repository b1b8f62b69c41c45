/* SPDX-License-Identifier: MIT
 * relayctl: the command line of the control commands. What they are stands in
 * command_table.c; this finds the row and asks the daemon, or does it here.
 */
#include <stdio.h>
#include <string.h>

#include "relayd/ctl.h"

#ifndef RELAYD_CONF
#define RELAYD_CONF "/etc/relayd/relayd.conf"
#endif

static void help(FILE *to)
{
	fputs("usage: relayctl [--json] [-f CONFIGURATION] [-s SOCKET] COMMAND\n\n", to);
	for (int i = 0; i < CMD_COUNT; i++) {
		const struct command_row *row = &command_table[i];
		fprintf(to, "  %s%s%s\n        %s\n", row->words, row->usage[0] ? " " : "", row->usage,
		    row->sentence);
	}
	fputs("\nexit status: 0 done, 1 found a problem, 2 wrong usage\n", to);
}

/* Options stand before the command; --json also behind it. */
static int take_options(struct ctl *ctl, int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (strcmp(argv[i], "--json") == 0)
			ctl->json = true;
		else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
			ctl->socket = argv[++i];
		else if (strcmp(argv[i], "-f") == 0 && i + 1 < argc)
			ctl->file = argv[++i];
		else
			return -1;
	}
	if (argc > i && strcmp(argv[argc - 1], "--json") == 0)
		ctl->json = true, argc--;
	ctl->words = (const char *const *)argv + i;
	ctl->word_count = (size_t)(argc - i);
	return ctl->word_count ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.file = RELAYD_CONF};
	size_t used = 0;
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		help(stdout);
		return CTL_OK;
	}
	if (take_options(&ctl, argc, argv) < 0) {
		help(stderr);
		return CTL_USAGE;
	}
	int command = command_find(ctl.words, ctl.word_count, &used);
	if (command < 0) {
		fprintf(stderr, "relayctl: there is no command \"%s\"; see relayctl --help\n",
		    ctl.words[0]);
		return CTL_USAGE;
	}
	ctl.command = (enum command_id)command;
	ctl.argv = ctl.words + used;
	ctl.argc = ctl.word_count - used;
	if (command_table[command].rights == RIGHTS_LOCAL)
		return ctl_local(&ctl);
	return ctl_ask(&ctl);
}
