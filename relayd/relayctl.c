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

/* Print the commands that begin with these words. Result: how many there are. */
static size_t print_commands(FILE *to, const char *const *words, size_t count)
{
	size_t found = 0;
	for (int i = 0; i < CMD_COUNT; i++) {
		if (!command_begins(&command_table[i], words, count))
			continue;
		print_command(to, &command_table[i]);
		found++;
	}
	return found;
}

static void help(FILE *to)
{
	fputs(USAGE "\n\n", to);
	print_commands(to, NULL, 0);
	fputs(
	    "\n--json (one JSON object a line) may stand anywhere, -f and -s only before the command;\n"
	    "--version, -V: print the version\n",
	    to);
	fputs("\nexit status: 0 done, 1 found a problem, 2 wrong usage\n", to);
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int misused(const char *what, const char *option)
{
	fprintf(stderr, "relayctl: %s %s; relayctl --help shows what there is\n" USAGE "\n", what, option);
	return -1;
}

/* Take --json out of the words, wherever it stands among them. */
static void take_json(struct ctl *ctl, char **words, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], "--json") == 0)
			ctl->json = true;
		else
			words[kept++] = words[i];
	ctl->words = (const char *const *)words;
	ctl->word_count = kept;
}

static bool is_version(const char *word)
{
	return strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0;
}

/* Options stand before the command; --json also behind it. */
static int take_options(struct ctl *ctl, int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1] && !is_help(argv[i]) &&
	       !is_version(argv[i]);
	     i++) {
		bool socket = strcmp(argv[i], "-s") == 0;
		bool file = strcmp(argv[i], "-f") == 0;
		if (strcmp(argv[i], "--json") == 0)
			ctl->json = true;
		else if (!socket && !file)
			return misused("there is no option", argv[i]);
		else if (i + 1 == argc)
			return misused("a path is missing behind", argv[i]);
		else if (socket)
			ctl->socket = argv[++i];
		else
			ctl->file = argv[++i], ctl->file_given = true;
	}
	take_json(ctl, argv + i, argc > i ? (size_t)(argc - i) : 0);
	if (ctl->word_count)
		return 0;
	help(stderr);
	return -1;
}

/* Behind a command -s and -f would be taken for its arguments (log has a -f of its own). */
static int check_place(const struct ctl *ctl)
{
	for (size_t i = 0; i < ctl->argc; i++)
		if (strcmp(ctl->argv[i], "-s") == 0 ||
		    (strcmp(ctl->argv[i], "-f") == 0 && ctl->command != CMD_LOG))
			return misused("before the command stands", ctl->argv[i]);
	return 0;
}

/* "queue" alone: what can follow it. */
static int unknown(const struct ctl *ctl)
{
	bool begun = false;
	for (int i = 0; i < CMD_COUNT; i++)
		begun = begun || command_begins(&command_table[i], ctl->words, 1);
	fprintf(stderr, "relayctl: there is no command \"%s%s%s\"; %s\n", ctl->words[0],
	    begun && ctl->word_count > 1 ? " " : "", begun && ctl->word_count > 1 ? ctl->words[1] : "",
	    begun ? "there are:" : "relayctl --help shows them\n" USAGE);
	if (begun)
		print_commands(stderr, ctl->words, 1);
	return CTL_USAGE;
}

/* `help` or --help before a command, or --help behind one. */
static bool asks_for_help(struct ctl *ctl)
{
	bool before = is_help(ctl->words[0]) || strcmp(ctl->words[0], "help") == 0;
	if (before)
		ctl->words++;
	else if (!is_help(ctl->words[ctl->word_count - 1]))
		return false;
	ctl->word_count--;
	return true;
}

/* The commands that begin so; else the one that has these words as its arguments. */
static int help_with(const struct ctl *ctl)
{
	size_t used;
	if (ctl->word_count == 0) {
		help(stdout);
		return CTL_OK;
	}
	if (print_commands(stdout, ctl->words, ctl->word_count) > 0)
		return CTL_OK;
	int command = command_find(ctl->words, ctl->word_count, &used);
	if (command < 0 || !command_table[command].usage[0])
		return unknown(ctl);
	print_command(stdout, &command_table[command]);
	return CTL_OK;
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
	if (take_options(&ctl, argc, argv) < 0)
		return CTL_USAGE;
	if (is_version(ctl.words[0])) {
		puts("relayctl " RELAYD_VERSION);
		return finish(CTL_OK);
	}
	if (asks_for_help(&ctl))
		return finish(help_with(&ctl));
	int command = command_find(ctl.words, ctl.word_count, &used);
	if (command < 0)
		return unknown(&ctl);
	ctl.command = (enum command_id)command;
	ctl.argv = ctl.words + used;
	ctl.argc = ctl.word_count - used;
	if (check_place(&ctl) < 0)
		return CTL_USAGE;
	int status =
	    command_table[command].rights == RIGHTS_LOCAL ? ctl_local(&ctl) : ctl_ask(&ctl);
	return finish(status);
}
