/* SPDX-License-Identifier: MIT
 * relayctl user: who may log in. Works on the file alone; a daemon that runs reads
 * it at the next login.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "conf/conf.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "relayd/base/text.h"
#include "relayd/ctl.h"
#include "relayd/users_file.h"

/* 20 of 32 letters that nobody takes for one another: 100 bits. */
#define MADE_LENGTH 20
static const char made_letters[] = "abcdefghijkmnpqrstuvwxyz23456789";

#define CTRL_C 3

struct place {
	char *file;
	char *owner;
};

/* Which file it is, and whose, stands in the configuration. */
static int find_place(const struct ctl *ctl, struct place *place)
{
	struct conf_errors errors = {0};
	struct conf *conf = conf_load(ctl->file, &errors);
	if (conf) {
		place->file = mem_text(conf->users);
		place->owner = mem_text(conf->user);
	} else {
		fputs(buf_text(&errors.text), stderr);
	}
	conf_free(conf);
	conf_errors_free(&errors);
	return conf ? 0 : -1;
}

static void place_clear(struct place *place)
{
	mem_free(place->file);
	mem_free(place->owner);
}

/* ---- the password ---- */

/* One line without its end, byte by byte: what stands behind it is not ours. */
static int read_line(struct buf *line, struct why *why)
{
	char c = '\0';
	ssize_t n;
	buf_room(line, USERS_PASSWORD_MAX + 2);
	while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
		if (c == CTRL_C)
			return why_set(why, WHY_PERM, "given up; nothing was changed");
		if (line->len > USERS_PASSWORD_MAX || c == '\0')
			return why_set(why, WHY_PERM,
			    "the password is a line of at most %d bytes without NUL", USERS_PASSWORD_MAX);
		buf_add_byte(line, c);
	}
	if (n < 0)
		return why_errno(why, WHY_LOCAL, errno, "standard input");
	if (line->len && line->data[line->len - 1] == '\r')
		line->data[--line->len] = '\0';
	return 0;
}

/* From the terminal, which does not show it. */
static int ask_once(const char *prompt, struct buf *line, struct why *why)
{
	struct termios old;
	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return why_errno(why, WHY_LOCAL, errno, "the terminal");
	struct termios silent = old;
	/* ^C ends the line instead of this program: the terminal is set back first */
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ISIG);
	silent.c_lflag |= ECHONL;
	silent.c_cc[VEOL] = CTRL_C;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) < 0)
		return why_errno(why, WHY_LOCAL, errno, "the terminal");
	fputs(prompt, stderr);
	int result = read_line(line, why);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	return result;
}

static int ask_twice(struct buf *password, struct why *why)
{
	struct buf again = {0};
	int result = ask_once("Password: ", password, why);
	if (result == 0)
		result = users_check_password(buf_text(password), why);
	if (result == 0)
		result = ask_once("Again: ", &again, why);
	if (result == 0 && !span_equal(span_buf(password), span_buf(&again)))
		result = why_set(why, WHY_PERM, "the two passwords differ; nothing was changed");
	buf_wipe(&again);
	return result;
}

static void make_password(struct buf *password)
{
	unsigned char bytes[MADE_LENGTH];
	buf_room(password, MADE_LENGTH);
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		buf_add_byte(password, made_letters[bytes[i] % 32]);
	mem_wipe(bytes, sizeof(bytes));
}

static int get_password(bool generate, struct buf *password, struct why *why)
{
	if (generate) {
		make_password(password);
		return 0;
	}
	return isatty(STDIN_FILENO) ? ask_twice(password, why) : read_line(password, why);
}

/* ---- commands ---- */

/* Other lines of the file may be broken: that is told in any case. */
static int change_file(const struct place *place, enum users_change change, const char *name,
    const char *line, struct why *why)
{
	struct buf broken = {0};
	int result =
	    users_file_change(place->file, change, name, line, place->owner, &broken, why);
	fputs(buf_text(&broken), stderr);
	if (result == 0 && broken.len)
		fprintf(stderr,
		    "relayctl: %s is changed, but not in force until these lines are mended\n",
		    place->file);
	buf_free(&broken);
	return result;
}

static int set_password(const struct ctl *ctl, const struct place *place, const char *name,
    bool generate)
{
	struct buf password = {0};
	struct buf line = {0};
	struct why why = {0};
	enum users_change change = ctl->command == CMD_USER_ADD ? USERS_ADD : USERS_REPLACE;
	int result = users_check_name(name, &why);
	if (result == 0)
		result = get_password(generate, &password, &why);
	if (result == 0)
		result = users_make_line(name, buf_text(&password), &line, &why);
	if (result == 0)
		result = change_file(place, change, name, buf_text(&line), &why);
	if (result == 0 && generate && ctl->json)
		ctl_print_json(
		    json_pack("{s:s,s:s}", "user", name, "password", buf_text(&password)));
	else if (result == 0 && generate)
		printf("%s\n", buf_text(&password));
	buf_wipe(&password);
	buf_wipe(&line);
	return result < 0 ? ctl_complain(&why) : CTL_OK;
}

/* NAME and --generate, in any order. NULL: that is not what was given. */
static const char *take_name(const struct ctl *ctl, bool *generate)
{
	const char *name = NULL;
	for (size_t i = 0; i < ctl->argc; i++) {
		const char *word = ctl->argv[i];
		bool option = strcmp(word, "--generate") == 0 && ctl->command != CMD_USER_REMOVE;
		if (option ? *generate : name || word[0] == '-')
			return NULL;
		if (option)
			*generate = true;
		else
			name = word;
	}
	return name;
}

static int change_user(const struct ctl *ctl, const struct place *place)
{
	bool generate = false;
	struct why why = {0};
	const char *name = take_name(ctl, &generate);
	if (!name)
		return ctl_usage(ctl);
	if (ctl->command != CMD_USER_REMOVE)
		return set_password(ctl, place, name, generate);
	if (change_file(place, USERS_REMOVE, name, NULL, &why) < 0)
		return ctl_complain(&why);
	return CTL_OK;
}

static json_t *user_row(const struct user *user)
{
	struct buf scram = {0};
	if (user->has_keys)
		buf_addf(&scram, "SHA-256, %u iterations", (unsigned)user->keys.iterations);
	json_t *row = json_pack("{s:s,s:s,s:s}", "user", user->name, "hash",
	    user->hash[1] == 'y' ? "yescrypt" : "scrypt", "scram",
	    user->has_keys ? buf_text(&scram) : "no");
	buf_free(&scram);
	return row;
}

static void print_users(const struct ctl *ctl, const struct users *users)
{
	struct ctl_table table;
	ctl_table_init(&table, command_table[ctl->command].columns);
	for (size_t i = 0; i < users_count(users); i++) {
		json_t *row = user_row(users_at(users, i));
		if (ctl->json) {
			ctl_print_json(row);
			continue;
		}
		ctl_table_add(&table, row);
		json_decref(row);
	}
	ctl_table_print(&table);
	ctl_table_clear(&table);
}

static int list(const struct ctl *ctl, const struct place *place)
{
	struct buf errors = {0};
	if (ctl->argc)
		return ctl_usage(ctl);
	struct users *users = users_load(place->file, NULL, &errors);
	if (users)
		print_users(ctl, users);
	fputs(buf_text(&errors), stderr);
	buf_free(&errors);
	users_free(users);
	return users ? CTL_OK : CTL_PROBLEM;
}

int ctl_user(const struct ctl *ctl)
{
	struct place place = {0};
	int status = CTL_PROBLEM;
	if (find_place(ctl, &place) == 0)
		status = ctl->command == CMD_USER_LIST ? list(ctl, &place) : change_user(ctl, &place);
	place_clear(&place);
	return status;
}
