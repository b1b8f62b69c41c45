/* SPDX-License-Identifier: MIT */
#include "relayd/command_table.h"

#include <string.h>

#define SELECT "ID... | --domain D | --sender S | --who WHO | --older AGE | --all"

const struct command_row command_table[CMD_COUNT] = {
    [CMD_STATUS] = {"status", "", "what the daemon is doing, in numbers", RIGHTS_LOOK, "what value"},
    [CMD_RELOAD] = {"reload", "",
	"load the configuration again, completely or not at all; says what it warns of",
	RIGHTS_CHANGE, "warning"},
    [CMD_LOG] = {"log", "[-f]", "the daemon's last log lines; -f: and those that come", RIGHTS_LOOK,
	"line"},
    [CMD_QUEUE_LIST] = {"queue list", "[" SELECT "]", "messages that wait, oldest first",
	RIGHTS_LOOK, "id age size state next from to last"},
    [CMD_QUEUE_SHOW] = {"queue show", "ID", "all that is known of a message", RIGHTS_LOOK,
	"what value"},
    [CMD_QUEUE_CAT] = {"queue cat", "ID", "the message as it will be sent", RIGHTS_CHANGE, ""},
    [CMD_QUEUE_HOLD] = {"queue hold", SELECT, "keep messages back until they are released",
	RIGHTS_CHANGE, "id result to"},
    [CMD_QUEUE_RELEASE] = {"queue release", SELECT, "end a hold", RIGHTS_CHANGE, "id result to"},
    [CMD_QUEUE_RETRY] = {"queue retry", SELECT, "try messages now, whatever their next time was",
	RIGHTS_CHANGE, "id result to"},
    [CMD_QUEUE_DELETE] = {"queue delete", SELECT, "remove messages; nobody is told",
	RIGHTS_CHANGE, "id result to"},
    [CMD_DESTINATIONS] = {"destinations", "", "where mail waits to go, and how wide the window is",
	RIGHTS_LOOK, "destination waiting ready running held window paused"},
    [CMD_WHY] = {"why", "ID | ADDRESS | DOMAIN",
	"where mail is, what was answered and means, what happens next, what to do", RIGHTS_LOOK,
	"id to state next said"},
    [CMD_CONFIG_CHECK] = {"config check", "[FILE]", "say all that is wrong with a configuration",
	RIGHTS_LOCAL, ""},
    [CMD_CONFIG_SHOW] = {"config show", "[FILE]", "the effective configuration, defaults filled in",
	RIGHTS_LOCAL, ""},
    [CMD_DKIM_NEW] = {"dkim new", "DOMAIN SELECTOR [--ed25519 | --bits N] [--dir FOLDER]",
	"make a key and print its DNS record", RIGHTS_LOCAL, ""},
    [CMD_DKIM_RECORD] = {"dkim record", "DOMAIN SELECTOR KEYFILE",
	"print the DNS record of a key", RIGHTS_LOCAL, ""},
    [CMD_DKIM_TEST] = {"dkim test", "SELECTOR KEYFILE [MESSAGE]",
	"check the signature of a message that relayd made; it may have the line ends of Unix",
	RIGHTS_LOCAL, ""},
    [CMD_USER_ADD] = {"user add", "NAME [--generate]",
	"let somebody log in; the password is asked for, read from a pipe, or made and printed",
	RIGHTS_LOCAL, ""},
    [CMD_USER_PASSWD] = {"user passwd", "NAME [--generate]", "give a user another password",
	RIGHTS_LOCAL, ""},
    [CMD_USER_REMOVE] = {"user remove", "NAME", "let a user log in no more", RIGHTS_LOCAL, ""},
    [CMD_USER_LIST] = {"user list", "", "who may log in", RIGHTS_LOCAL, "user hash scram"},
    [CMD_EXPLAIN] = {"reputation explain", "REPLY | - [--stage S] [--mx NAME] [--smarthost]",
	"which rule judges a reply (or a log line that quotes one), and what follows from it",
	RIGHTS_LOCAL, ""},
    [CMD_REPUTATION_HOLD] = {"reputation hold", "PROVIDER [SOURCE]",
	"send nothing by a path, and probe nothing, until it is opened", RIGHTS_CHANGE, ""},
    [CMD_REPUTATION_OPEN] = {"reputation open", "PROVIDER [SOURCE | SENDER-DOMAIN]",
	"end a hold now, with a slow start", RIGHTS_CHANGE, ""},
    [CMD_REPUTATION_RESET] = {"reputation reset", "PROVIDER [SOURCE | SENDER-DOMAIN]",
	"forget all that was learnt of a path", RIGHTS_CHANGE, ""},
    [CMD_REPUTATION_PROBE] = {"reputation probe", "PROVIDER [SOURCE | SENDER-DOMAIN]",
	"try a held path with one message now", RIGHTS_CHANGE, ""},
    [CMD_REPUTATION_UNKNOWN] = {"reputation unknown", "",
	"replies that no rule knew, and as what they were judged", RIGHTS_LOOK,
	"count age stage provider judged reply"},
    [CMD_REPUTATION] = {"reputation", "", "paths to providers and sender domains held there",
	RIGHTS_LOOK, "provider source state window rate budget running waiting last next"},
    [CMD_INCIDENTS_SHOW] = {"incidents show", "N", "all that is known of an incident", RIGHTS_LOOK,
	"what value"},
    [CMD_INCIDENTS_CLOSE] = {"incidents close", "N", "an incident is over; its path stays as it is",
	RIGHTS_CHANGE, ""},
    [CMD_INCIDENTS] = {"incidents", "", "blocks that our mail has met, open ones and the last closed",
	RIGHTS_LOOK, "number state provider source class age met rerouted last"},
    [CMD_DELIST] = {"delist", "N [--send [--to ADDRESS] [--subject TEXT] [--again] | --asked]",
	"how removal from a list is asked for; --send: ask by mail, --asked: it was done by hand",
	RIGHTS_LOOK, "number result to probe_s"},
    [CMD_BRAKE_RELEASE] = {"brake release", "WHO",
	"forget what was counted of a sender: its new mail goes; what is held stays",
	RIGHTS_CHANGE, ""},
    [CMD_BRAKE] = {"brake", "",
	"logins, clients and scripts: messages of the hour, unknown recipients, whose mail is held",
	RIGHTS_LOOK, "who kind held since hour unknown recipients"},
    [CMD_COMPLETION] = {"completion", "", "print the completion for bash", RIGHTS_LOCAL, ""},
    [CMD_MANUAL] = {"manual", "", "print the manual's section on commands", RIGHTS_LOCAL, ""},
};

/* How many of ARGV's first words are all the words of ROW; 0: not this one. */
static size_t fits(const char *words, const char *const *argv, size_t argc)
{
	size_t n = 0;
	while (*words) {
		size_t len = strcspn(words, " ");
		if (n == argc || strlen(argv[n]) != len || memcmp(argv[n], words, len) != 0)
			return 0;
		words += len;
		words += *words == ' ';
		n++;
	}
	return n;
}

bool command_begins(const struct command_row *row, const char *const *words, size_t count)
{
	const char *rest = row->words;
	for (size_t i = 0; i < count; i++) {
		size_t len = strcspn(rest, " ");
		if (!len || strlen(words[i]) != len || memcmp(words[i], rest, len) != 0)
			return false;
		rest += len;
		rest += *rest == ' ';
	}
	return true;
}

int command_find(const char *const *argv, size_t argc, size_t *used)
{
	for (int i = 0; i < CMD_COUNT; i++) {
		*used = fits(command_table[i].words, argv, argc);
		if (*used)
			return i;
	}
	return -1;
}
