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

static void print_command(FILE *to, const struct command_row *row)
{
	fprintf(to, "  %s%s%s\n        %s\n", row->words, row->usage[0] ? " " : "", row->usage,
	    row->sentence);
}

#define USAGE "usage: relayctl [--json] [-f CONFIGURATION] [-s SOCKET] COMMAND"

static void help(FILE *to)
{
	fputs(USAGE "\n\n", to);
	for (int i = 0; i < CMD_COUNT; i++)
		print_command(to, &command_table[i]);
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

/* "queue" alone: what can follow it. */
static int unknown(const struct ctl *ctl)
{
	size_t n = strlen(ctl->words[0]);
	bool begun = false;
	for (int i = 0; i < CMD_COUNT; i++)
		begun = begun || (strncmp(command_table[i].words, ctl->words[0], n) == 0 &&
				     command_table[i].words[n] == ' ');
	fprintf(stderr, "relayctl: there is no command \"%s%s%s\"; %s\n", ctl->words[0],
	    begun && ctl->word_count > 1 ? " " : "", begun && ctl->word_count > 1 ? ctl->words[1] : "",
	    begun ? "there are:" : "relayctl --help shows them\n" USAGE);
	for (int i = 0; begun && i < CMD_COUNT; i++)
		if (strncmp(command_table[i].words, ctl->words[0], n) == 0)
			print_command(stderr, &command_table[i]);
	return CTL_USAGE;
}

/* What was printed must have arrived: a copy of a message on a full disk is none. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("relayctl: output");
	return CTL_PROBLEM;
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
	if (command < 0)
		return unknown(&ctl);
	ctl.command = (enum command_id)command;
	ctl.argv = ctl.words + used;
	ctl.argc = ctl.word_count - used;
	int status =
	    command_table[command].rights == RIGHTS_LOCAL ? ctl_local(&ctl) : ctl_ask(&ctl);
	return finish(status);
}
