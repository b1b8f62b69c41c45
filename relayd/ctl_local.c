/* SPDX-License-Identifier: MIT
 * The commands that relayctl does by itself: configuration, DKIM keys, rules.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "dkim/keys.h"
#include "dkim/sign.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"
#include "relayd/ctl.h"
#include "relayd/settings.h"
#include "smtp/address.h"

#define MESSAGE_MAX (64 * 1024 * 1024)

int ctl_usage(const struct ctl *ctl)
{
	const struct command_row *row = &command_table[ctl->command];
	fprintf(stderr, "usage: relayctl %s %s\n", row->words, row->usage);
	return CTL_USAGE;
}

int ctl_complain(const struct why *why)
{
	fprintf(stderr, "relayctl: %s\n", why->text);
	return CTL_PROBLEM;
}

void ctl_print_json(json_t *row)
{
	if (!row || json_dumpf(row, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) < 0)
		fputs("relayctl: what is not UTF-8 can not be shown as JSON\n", stderr);
	putchar('\n');
	json_decref(row);
}

/* ---- configuration ---- */

/* LINES of errors, as --json shows them: {"file":,"good":false,"mistakes":[...]} */
static void print_mistakes(const char *file, struct span lines)
{
	json_t *mistakes = json_array();
	while (lines.n) {
		struct span line = span_cut(&lines, '\n');
		json_array_append_new(mistakes, json_stringn_nocheck(line.p, line.n));
	}
	ctl_print_json(json_pack("{s:s,s:b,s:o}", "file", file, "good", 0, "mistakes", mistakes));
}

static void keep_warning(void *arg, const char *text)
{
	json_array_append_new(arg, json_string(text));
}

static void print_good(const struct ctl *ctl, const char *file, const struct settings *settings)
{
	json_t *warnings = json_array();
	settings_warn(settings, keep_warning, warnings);
	settings_warn_of_clients(settings, keep_warning, warnings);
	settings_warn_of_machine(settings, keep_warning, warnings);
	if (ctl->json) {
		ctl_print_json(json_pack("{s:s,s:b,s:o}", "file", file, "good", 1, "warnings", warnings));
		return;
	}
	for (size_t i = 0; i < json_array_size(warnings); i++)
		fprintf(stderr, "warning: %s\n", json_string_value(json_array_get(warnings, i)));
	printf("%s: the configuration is good\n", file);
	json_decref(warnings);
}

static void print_configuration(const struct ctl *ctl, const char *file, const struct conf *conf)
{
	struct buf text = {0};
	conf_print(conf, &text);
	if (ctl->json)
		ctl_print_json(json_pack("{s:s,s:s}", "file", file, "text", buf_text(&text)));
	else
		fputs(buf_text(&text), stdout);
	buf_free(&text);
}

static int config(const struct ctl *ctl)
{
	const char *file = ctl->argc == 1 ? ctl->argv[0] : ctl->file;
	struct conf_errors errors = {0};
	if (ctl->argc > 1)
		return ctl_usage(ctl);
	struct settings *settings = settings_load(file, &errors);
	if (settings && ctl->command == CMD_CONFIG_CHECK)
		settings_check_machine(settings, &errors);
	int status = errors.count ? CTL_PROBLEM : CTL_OK;
	if (errors.count && ctl->json)
		print_mistakes(file, span_buf(&errors.text));
	else if (errors.count)
		fputs(buf_text(&errors.text), stderr);
	else if (ctl->command == CMD_CONFIG_SHOW)
		print_configuration(ctl, file, settings->conf);
	else
		print_good(ctl, file, settings);
	conf_errors_free(&errors);
	settings_unref(settings);
	return status;
}

/* ---- DKIM ---- */

static void print_record(const char *selector, const char *domain, const char *record)
{
	struct buf zone = {0};
	dkim_record_zone(selector, domain, record, &zone);
	printf("Put this TXT record into the DNS of %s:\n\n"
	       "  name:  %s._domainkey.%s\n  value: %s\n\n"
	       "As lines of a zone file, in strings of at most 255 bytes:\n\n%s\n",
	    domain, selector, domain, record, buf_text(&zone));
	buf_free(&zone);
}

/* A new file that nobody else can read, never over an old one; root makes it
 * the daemon's. */
static int write_key(const char *path, const struct buf *pem, const char *user, struct why *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST)
		return why_set(why, WHY_LOCAL, "%s is there already; a new key takes another selector, and "
					       "relayctl dkim record prints the record of this one", path);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "%s", path);
	const struct passwd *owner = geteuid() == 0 ? getpwnam(user) : NULL;
	ssize_t n = write(fd, pem->data, pem->len);
	if (n >= 0)
		errno = ENOSPC; /* if that was not all */
	bool good = n == (ssize_t)pem->len && fsync(fd) == 0;
	if (good && owner)
		good = fchown(fd, owner->pw_uid, owner->pw_gid) == 0;
	int error = errno;
	close(fd);
	if (good)
		return 0;
	unlink(path);
	return why_errno(why, WHY_LOCAL, error, "%s", path);
}

/* Who can read it is what matters, so it is said whom it belongs to. */
static void print_place(const char *path)
{
	struct stat st;
	const struct passwd *owner = stat(path, &st) == 0 ? getpwuid(st.st_uid) : NULL;
	printf("The private key is in %s, and belongs to %s\n\n", path,
	    owner ? owner->pw_name : "a user without a name");
}

/* RECORD of a key for people, or as one object with the same; FILE: a new key's, or NULL. */
static void show_record(const struct ctl *ctl, const char *selector, const char *domain,
    const char *record, const char *file)
{
	if (ctl->json) {
		struct buf name = {0};
		struct buf zone = {0};
		buf_addf(&name, "%s._domainkey.%s", selector, domain);
		dkim_record_zone(selector, domain, record, &zone);
		ctl_print_json(json_pack("{s:s*,s:s,s:s,s:s}", "file", file, "name", buf_text(&name),
		    "value", record, "zone", buf_text(&zone)));
		buf_free(&name);
		buf_free(&zone);
		return;
	}
	if (file)
		print_place(file);
	print_record(selector, domain, record);
	/* mail that waits was signed when it came in, and is checked when it arrives */
	if (file)
		printf("Then add to the domain in relayd.conf, once the record can be seen:\n\n"
		       "  dkim = ( { selector = \"%s\"; key = \"%s\"; } );\n\n"
		       "and then: relayctl reload. Where it takes the place of an old one, leave the old "
		       "record\nin the DNS for as long as mail can wait (queue.lifetime and "
		       "reputation.hold_max).\n",
		    selector, file);
}

struct new_key {
	const char *domain;
	const char *selector;
	const char *folder;
	uint64_t bits;
};

static int parse_new_key(const struct ctl *ctl, struct new_key *key)
{
	*key = (struct new_key){.folder = "/etc/relayd/dkim", .bits = 2048};
	for (size_t i = 0; i < ctl->argc; i++) {
		const char *word = ctl->argv[i];
		bool more = i + 1 < ctl->argc;
		if (strcmp(word, "--ed25519") == 0)
			key->bits = 0;
		else if (strcmp(word, "--dir") == 0 && more)
			key->folder = ctl->argv[++i];
		else if (strcmp(word, "--bits") == 0 && more) {
			/* 0 would be read as ed25519 */
			if (!span_number(span_text(ctl->argv[++i]), 8192, &key->bits) || !key->bits)
				return -1;
		} else if (word[0] == '-')
			return -1;
		else if (!key->domain)
			key->domain = word;
		else if (!key->selector)
			key->selector = word;
		else
			return -1;
	}
	return key->domain && key->selector ? 0 : -1;
}

/* Both become part of a DNS name, and of a new key's file name. A mistake in one would make
 * a record that nobody looks up. */
static int check_names(const char *domain, const char *selector, struct why *why)
{
	struct span d = span_text(domain);
	struct span s = span_text(selector);
	const char *tail = strstr(selector, "._domainkey");
	if (!span_is_ascii(d) || !domain_is_valid(d))
		return why_set(why, WHY_PERM,
		    "\"%s\": expected a domain like example.jp, of letters, "
		    "digits, hyphens and dots, without a dot at its end (other letters as xn--...)",
		    domain);
	if (tail && tail > selector)
		return why_set(why, WHY_PERM,
		    "\"%s\": expected the selector alone, that is \"%.*s\"", selector,
		    (int)(tail - selector), selector);
	if (!span_is_ascii(s) || domain_scan(s) != s.n || !s.n || strchr(selector, '_'))
		return why_set(why, WHY_PERM,
		    "\"%s\": expected a selector like r2026, of letters, "
		    "digits, hyphens and dots, without a dot at its end",
		    selector);
	return 0;
}

static char *daemon_user(const struct ctl *ctl)
{
	struct conf_errors errors = {0};
	struct conf *conf = conf_load(ctl->file, &errors);
	char *user = mem_text(conf && conf->user[0] ? conf->user : "relayd");
	conf_free(conf);
	conf_errors_free(&errors);
	return user;
}

/* The configuration takes no relative path; an absolute one stays as it was given. */
static void make_absolute(struct buf *path)
{
	char *real = buf_text(path)[0] == '/' ? NULL : realpath(buf_text(path), NULL);
	if (!real)
		return;
	buf_clear(path);
	buf_add_text(path, real);
	mem_free(real);
}

static int dkim_new(const struct ctl *ctl)
{
	struct new_key key;
	struct buf pem = {0};
	struct buf record = {0};
	struct buf path = {0};
	struct why why = {0};
	if (parse_new_key(ctl, &key) < 0)
		return ctl_usage(ctl);
	if (check_names(key.domain, key.selector, &why) < 0) {
		ctl_complain(&why);
		return ctl_usage(ctl);
	}
	char *user = daemon_user(ctl);
	buf_addf(&path, "%s/%s.%s.key", key.folder, key.domain, key.selector);
	int result = dkim_key_new((unsigned)key.bits, &pem, &record, &why);
	if (result == 0)
		result = write_key(buf_text(&path), &pem, user, &why);
	make_absolute(&path);
	if (result == 0)
		show_record(ctl, key.selector, key.domain, buf_text(&record), buf_text(&path));
	buf_wipe(&pem);
	buf_free(&record);
	buf_free(&path);
	mem_free(user);
	return result < 0 ? ctl_complain(&why) : CTL_OK;
}

static int dkim_record(const struct ctl *ctl)
{
	struct buf record = {0};
	struct why why = {0};
	if (ctl->argc != 3)
		return ctl_usage(ctl);
	if (check_names(ctl->argv[0], ctl->argv[1], &why) < 0) {
		ctl_complain(&why);
		return ctl_usage(ctl);
	}
	int result = dkim_key_record(ctl->argv[2], &record, &why);
	if (result == 0)
		show_record(ctl, ctl->argv[1], ctl->argv[0], buf_text(&record), NULL);
	buf_free(&record);
	return result < 0 ? ctl_complain(&why) : CTL_OK;
}

static int read_all(const char *path, struct buf *out, struct why *why)
{
	FILE *file = path ? fopen(path, "re") : stdin;
	if (!file)
		return why_errno(why, WHY_LOCAL, errno, "%s", path);
	size_t n;
	do {
		n = fread(buf_room(out, 65536), 1, 65536, file);
		out->len += n;
	} while (n && out->len < MESSAGE_MAX);
	int error = ferror(file) ? errno : 0;
	if (path)
		fclose(file);
	if (error)
		return why_errno(why, WHY_LOCAL, error, "%s", path ? path : "standard input");
	if (out->len >= MESSAGE_MAX)
		return why_set(why, WHY_PERM, "the message is longer than 64 MiB");
	return 0;
}

/* A message that was saved on Unix has LF where CRLF was signed. One with both is left as
 * it is: there the difference may be what is wrong with it. */
static void restore_crlf(struct buf *message)
{
	struct buf out = {0};
	struct span rest = span_buf(message);
	if (memmem(rest.p, rest.n, "\r\n", 2))
		return;
	while (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		struct span line = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
		size_t whole = line.n + (end != NULL);
		buf_add(&out, line.p, line.n);
		if (end)
			buf_add_text(&out, "\r\n");
		rest = (struct span){rest.p + whole, rest.n - whole};
	}
	buf_free(message);
	*message = out;
}

static int dkim_test(const struct ctl *ctl)
{
	struct buf message = {0};
	struct why why = {0};
	if (ctl->argc < 2 || ctl->argc > 3)
		return ctl_usage(ctl);
	int result = read_all(ctl->argc == 3 ? ctl->argv[2] : NULL, &message, &why);
	restore_crlf(&message);
	if (result == 0)
		result = dkim_check(span_buf(&message), ctl->argv[1], ctl->argv[0], &why);
	buf_free(&message);
	if (ctl->json)
		ctl_print_json(json_pack("{s:s,s:b,s:s*}", "selector", ctl->argv[0], "good", result == 0,
		    "why", result < 0 ? why.text : NULL));
	else if (result == 0)
		printf("the signature with selector %s is good\n", ctl->argv[0]);
	else
		ctl_complain(&why);
	return result < 0 ? CTL_PROBLEM : CTL_OK;
}

/* ---- completion ---- */

static int completion(void)
{
	puts("_relayctl() {\n"
	     "\tlocal words=() i cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase \"${COMP_WORDS[i]}\" in\n"
	     "\t\t-f | -s) i=$((i + 1)) ;;\n"
	     "\t\t--json) ;;\n"
	     "\t\t*) words+=(\"${COMP_WORDS[i]}\") ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tCOMPREPLY=()\n"
	     "\t((i > COMP_CWORD)) && return\n"
	     "\tcase \"${words[*]}\" in");
	puts("\t'') COMPREPLY=($(compgen -W '");
	for (int i = 0; i < CMD_COUNT; i++) {
		const char *words = command_table[i].words;
		size_t first = strcspn(words, " ");
		/* those that begin alike stand together */
		if (!i || strncmp(words, command_table[i - 1].words, first) != 0)
			printf("%.*s ", (int)first, words);
	}
	puts("' -- \"$cur\"));;");
	for (int i = 0; i < CMD_COUNT; i++) {
		const char *words = command_table[i].words;
		size_t first = strcspn(words, " ");
		if (!words[first] || (i && strncmp(words, command_table[i - 1].words, first + 1) == 0))
			continue;
		printf("\t'%.*s') COMPREPLY=($(compgen -W '", (int)first, words);
		for (int k = i; k < CMD_COUNT; k++)
			if (strncmp(command_table[k].words, words, first + 1) == 0)
				printf("%s ", command_table[k].words + first + 1);
		puts("' -- \"$cur\"));;");
	}
	/* files where nothing else fits: of -f, of config check */
	puts("\tesac\n}\ncomplete -o default -F _relayctl relayctl");
	return CTL_OK;
}

/* The rows as tagged paragraphs of man(7). */
static int manual(void)
{
	for (int i = 0; i < CMD_COUNT; i++) {
		const struct command_row *row = &command_table[i];
		printf(".TP\n.B %s%s%s\n%s.\n", row->words, row->usage[0] ? " " : "", row->usage,
		    row->sentence);
	}
	return CTL_OK;
}

int ctl_local(const struct ctl *ctl)
{
	switch ((int)ctl->command) {
	case CMD_CONFIG_CHECK:
	case CMD_CONFIG_SHOW:
		return config(ctl);
	case CMD_DKIM_NEW:
		return dkim_new(ctl);
	case CMD_DKIM_RECORD:
		return dkim_record(ctl);
	case CMD_DKIM_TEST:
		return dkim_test(ctl);
	case CMD_USER_ADD:
	case CMD_USER_PASSWD:
	case CMD_USER_REMOVE:
	case CMD_USER_LIST:
		return ctl_user(ctl);
	case CMD_EXPLAIN:
		return ctl_explain(ctl);
	case CMD_COMPLETION:
		return completion();
	case CMD_MANUAL:
		return manual();
	default:
		return ctl_usage(ctl);
	}
}
