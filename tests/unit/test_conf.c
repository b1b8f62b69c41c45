/* SPDX-License-Identifier: MIT
 * The configuration: defaults, printing, the sample, includes, files, and the
 * questions asked of it for every message. Mistakes are test_conf_mistakes.c's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A configuration that must be right. */
static struct conf *good(const char *text)
{
	struct conf_errors errors = {0};
	struct conf *conf = conf_parse(text, "t", &errors);
	if (!conf)
		fail_msg("%s\n%s", text, buf_text(&errors.text));
	assert_int_equal(errors.count, 0);
	conf_errors_free(&errors);
	return conf;
}

static void defaults(void **state)
{
	(void)state;
	struct conf *c = good("");
	assert_string_equal(c->file, "t");
	assert_true(*c->hostname);
	assert_string_equal(c->user, "relayd");
	assert_string_equal(c->control, "/run/relayd/control.sock");
	assert_string_equal(c->drop, "/var/spool/relayd-drop");
	assert_string_equal(c->log, "stderr");
	assert_string_equal(c->log_level, "info");
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[0].address, "127.0.0.1");
	assert_int_equal(c->listen[0].port, 25);
	assert_string_equal(c->listen[1].address, "/run/relayd/submit.sock");
	assert_int_equal(c->listen[1].port, 0);
	assert_int_equal(c->trusted_count, 2);
	assert_string_equal(c->tls.certificate, "");
	assert_int_equal(c->domain_count, 0);
	assert_string_equal(c->return_path.default_domain, "");
	assert_int_equal(c->return_path.mode, CONF_RETURN_PATH_REPAIR);
	assert_int_equal(c->source_count, 1);
	assert_string_equal(c->sources[0].name, "default");
	assert_string_equal(c->sources[0].hostname, c->hostname);
	assert_int_equal(c->route_count, 1);
	assert_ptr_equal(c->routes[0].via[0].source, &c->sources[0]);
	assert_null(c->routes[0].via[0].smarthost);
	assert_int_equal(c->limits.message_size, 25 << 20);
	assert_int_equal(c->limits.command_line, 4096);
	assert_int_equal(c->limits.queue_messages, 2000000);
	assert_int_equal(c->queue.lifetime, 5 * 86400 * 1000);
	assert_int_equal(c->queue.backoff_count, 7);
	assert_int_equal(c->queue.backoff[6], 2 * 3600 * 1000);
	assert_int_equal(c->delivery.port, 25);
	assert_true(c->delivery.starttls && c->delivery.ipv4 && c->delivery.ipv6);
	assert_false(c->delivery.allow_private);
	assert_int_equal(c->spool.segment_size, 64 << 20);
	assert_int_equal(c->dns.server_count, 0);
	assert_true(c->dns.dnssec);
	assert_string_equal(c->notify.mail, "");
	conf_free(c);
}

static void values(void **state)
{
	(void)state;
	struct conf *c = good(
	    "hostname = \"Relay.Example.JP\"; user = \"\"; spool = \"/s\"; workers = 0x2;\n"
	    "listen = ( { address = \"::1\"; port = 465L; auth = true; },\n"
	    "           { address = \"/run/x.sock\"; auth = false } )\n"
	    "domains = ( { name = \"Example.JP\"; },\n"
	    "  { name = \"\xe4\xbe\x8b\xe3\x81\x88.jp\"; return_path = "
	    "\"B@mail.EXAMPLE.jp\"; } );\n"
	    "sources = ( { name = \"ip1\"; ipv4 = \"192.0.2.1\"; since = \"2024-02-29\"; } );\n"
	    "smarthosts = ( { name = \"a\"; host = \"Mx.Example\"; tls = \"implicit\"; },\n"
	    "  { name = \"b\"; host = \"192.0.2.9\"; } );\n"
	    "routes = ( { match = \"*.Example.org\"; via = [ \"ip1\", \"b\" ]; } );\n"
	    "queue = { lifetime = \"1h30m\"; backoff = [ \"1s\" ]; delay_notice = \"0\"; };\n"
	    "foreign_from = \"pass\"; received = \"hide\"; bare_newline = \"repair\";\n");
	assert_string_equal(c->hostname, "relay.example.jp");
	assert_string_equal(c->user, "");
	assert_string_equal(c->spool.path, "/s");
	assert_string_equal(c->drop, "/s-drop");
	assert_int_equal(c->workers, 2);
	assert_int_equal(c->listen[0].port, 465);
	assert_true(c->listen[0].auth);
	assert_string_equal(c->domains[0].return_path, "postmaster@example.jp");
	assert_string_equal(c->domains[1].name, "xn--r8jz45g.jp");
	assert_string_equal(c->domains[1].return_path, "B@mail.example.jp");
	assert_string_equal(c->return_path.default_domain, "example.jp");
	assert_string_equal(c->sources[0].hostname, "relay.example.jp");
	assert_int_equal(c->smarthosts[0].port, 465);
	assert_int_equal(c->smarthosts[1].port, 587);
	assert_int_equal(c->smarthosts[1].tls, CONF_TLS_MAY);
	assert_string_equal(c->smarthosts[1].password, "");
	assert_string_equal(c->routes[0].match, "*.example.org");
	assert_string_equal(c->routes[0].sender, "*");
	assert_ptr_equal(c->routes[0].via[0].source, &c->sources[0]);
	assert_ptr_equal(c->routes[0].via[1].smarthost, &c->smarthosts[1]);
	assert_int_equal(c->queue.lifetime, 5400 * 1000);
	assert_int_equal(c->queue.backoff_count, 1);
	assert_int_equal(c->queue.delay_notice, 0);
	assert_int_equal(c->foreign_from, CONF_FOREIGN_FROM_PASS);
	assert_int_equal(c->received, CONF_RECEIVED_HIDE);
	assert_int_equal(c->bare_newline, CONF_BARE_REPAIR);
	conf_free(c);
}

static void an_empty_list_is_not_the_default(void **state)
{
	(void)state;
	struct conf *c = good("listen = ( ); trusted_networks = [ ];");
	assert_int_equal(c->listen_count, 0);
	assert_int_equal(c->trusted_count, 0);
	conf_free(c);
}

/* print(parse(print(x))) == print(x) */
static void comes_back(const char *text)
{
	struct buf first = {0};
	struct buf second = {0};
	struct conf *conf = good(text);
	conf_print(conf, &first);
	struct conf *again = good(buf_text(&first));
	conf_print(again, &second);
	assert_string_equal(buf_text(&first), buf_text(&second));
	conf_free(conf);
	conf_free(again);
	buf_free(&first);
	buf_free(&second);
}

static void printed_comes_back(void **state)
{
	(void)state;
	comes_back("");
	comes_back("listen = ( ); trusted_networks = [ ]; user = \"\"; dns = { servers = [ "
		   "\"::1@53\", \"127.0.0.1\" ]; };");
	comes_back("spool = \"/with \\\"quotes\\\" and \\\\ and \xe4\xbe\x8b\";");
	comes_back("domains = ( { name = \"a.jp\"; }, { name = \"b.jp\"; } );\n"
		   "return_path = { mode = \"masquerade\"; default_domain = \"b.jp\"; };\n"
		   "sources = ( { name = \"x\"; since = \"2026-01-31\"; }, { name = \"y\"; } );\n"
		   "smarthosts = ( { name = \"s\"; host = \"h\"; tls = \"none\"; } );\n"
		   "routes = ( { match = \"a.jp\"; sender = \"*.b.jp\"; "
		   "via = [ \"y\", \"s\" ]; },\n"
		   "  { match = \"*\"; via = [ \"x\" ]; } );\n"
		   "queue = { lifetime = \"90m\"; backoff = [ \"1500ms\", \"1h1s\" ]; };");
	/* quotes and backslashes are kept as they are */
	struct conf *c = good("spool = \"/a\\\"b\\\\c\";");
	assert_string_equal(c->spool.path, "/a\"b\\c");
	conf_free(c);
}

static void read_all(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "r");
	size_t n;
	assert_non_null(file);
	while ((n = fread(buf_room(out, 4096), 1, 4096, file)) > 0)
		out->len += n;
	fclose(file);
	buf_add(out, "", 0);
}

static void the_sample_is_the_one_of_the_table(void **state)
{
	(void)state;
	struct buf made = {0};
	struct buf kept = {0};
	conf_print_sample(&made);
	read_all("conf/relayd.conf", &kept);
	assert_string_equal(buf_text(&made), buf_text(&kept));
	comes_back(buf_text(&made));
	buf_free(&made);
	buf_free(&kept);
}

/* With its keys commented in, only files that are not here may be missing. */
static void the_sample_is_right(void **state)
{
	(void)state;
	struct buf sample = {0};
	struct buf text = {0};
	struct conf_errors errors = {0};

	conf_print_sample(&sample);
	for (const char *p = buf_text(&sample); *p; p++) {
		bool begins = p == sample.data || p[-1] == '\n';
		if (!(begins && *p == '#' && p[1] != ' '))
			buf_add_byte(&text, *p);
	}
	assert_null(conf_parse(buf_text(&text), "t", &errors));
	size_t missing = 0;
	for (const char *p = buf_text(&errors.text); (p = strstr(p, "can not be found")); p++)
		missing++;
	if (errors.count != 8 || missing != 8)
		fail_msg("%s", buf_text(&errors.text));
	buf_free(&sample);
	buf_free(&text);
	conf_errors_free(&errors);
}

static void a_client_is_found_by_login_or_network(void **state)
{
	(void)state;
	static const unsigned char inside[] = {10, 1, 2, 3}, outside[] = {11, 1, 2, 3};
	struct conf_errors errors = {0};
	struct conf *conf = conf_parse("clients = ( { name = \"shop\"; login = \"s@a.test\"; },"
	    " { name = \"lan\"; networks = [ \"10.0.0.0/8\" ]; via = [ \"default\" ]; },"
	    " { name = \"late\"; login = \"late@a.test\"; },"
	    " { name = \"rest\"; networks = [ \"0.0.0.0/0\", \"::/0\" ]; } );",
	    "t", &errors);
	assert_non_null(conf);
	const struct conf_client *all = conf->clients;
	/* a login says more than the host it comes from, in whatever order they stand */
	assert_ptr_equal(conf_client_of(all, 3, "late@a.test", AF_INET, inside), &all[2]);
	assert_ptr_equal(conf_client_of(all, 2, "s@a.test", AF_INET, outside), &all[0]);
	assert_ptr_equal(conf_client_of(all, 2, "x", AF_INET, inside), &all[1]);
	assert_ptr_equal(conf_client_of(all, 2, NULL, AF_INET, inside), &all[1]);
	assert_null(conf_client_of(all, 2, NULL, AF_INET, outside));
	assert_null(conf_client_of(all, 2, "S@a.test", AF_INET, outside));
	assert_null(conf_client_of(all, 2, NULL, 0, NULL));
	/* it says what they may do, not that they may relay: so it may be everybody */
	assert_ptr_equal(conf_client_of(all, 4, NULL, AF_INET, outside), &all[3]);
	assert_ptr_equal(all[1].via[0].source, &conf->sources[0]);
	conf_free(conf);
}

static void the_manual_has_every_key(void **state)
{
	(void)state;
	static const char *const keys[] = {"hostname", "listen.port", "domains.dkim.key",
	    "return_path.mode", "routes.via", "limits.message_size", "queue.backoff",
	    "delivery.allow_private", "spool.path", "dns.dnssec", "notify.command"};
	struct buf out = {0};
	conf_print_manual(&out);
	for (size_t i = 0; i < COUNT(keys); i++) {
		struct buf line = {0};
		buf_addf(&line, ".TP\n.B %s\n", keys[i]);
		assert_non_null(strstr(buf_text(&out), buf_text(&line)));
		buf_free(&line);
	}
	assert_non_null(strstr(buf_text(&out), "(size from \"1K\" to \"1G\"; default: \"25M\")"));
	buf_free(&out);
}

/* A group's keys stand together, below it. */
static void the_manual_keeps_groups_together(void **state)
{
	(void)state;
	struct buf out = {0};
	struct buf seen = {0}; /* " listen listen listen" */
	struct span last = {NULL, 0};
	conf_print_manual(&out);
	struct span rest = span_buf(&out);
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');
		if (!span_starts_nocase(line, ".B "))
			continue;
		struct span head = {line.p + 3, line.n - 3};
		head = span_cut(&head, '.');
		struct buf word = {0};
		buf_addf(&word, " %.*s ", (int)head.n, head.p);
		if (!span_equal(head, last) && strstr(buf_text(&seen), buf_text(&word)))
			fail_msg("%.*s stands apart from its group", (int)line.n, line.p);
		buf_add_text(&seen, buf_text(&word));
		buf_free(&word);
		last = head;
	}
	assert_non_null(strstr(buf_text(&seen), " spool "));
	buf_free(&seen);
	buf_free(&out);
}

/* Files in a folder of their own. */

struct folder {
	char path[64];
};

static char *in_folder(const struct folder *folder, const char *name)
{
	struct buf b = {0};
	buf_addf(&b, "%s/%s", folder->path, name);
	return buf_take(&b, NULL);
}

static void put(const struct folder *folder, const char *name, const char *text, size_t n,
    mode_t mode)
{
	char *path = in_folder(folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), (ssize_t)n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	mem_free(path);
}

static void put_text(const struct folder *folder, const char *name, const char *text)
{
	put(folder, name, text, strlen(text), 0600);
}

static const char *const folder_files[] = {"relayd.conf", "inc/a.conf", "key.pem", "open.pem",
    "cert.pem", "password", "empty", "program"};

static int make_folder(void **state)
{
	struct folder *folder = mem_zero(sizeof(*folder));
	snprintf(folder->path, sizeof(folder->path), "/tmp/relayd-test-XXXXXX");
	if (!mkdtemp(folder->path))
		return -1;
	char *inc = in_folder(folder, "inc");
	int made = mkdir(inc, 0700);
	mem_free(inc);
	*state = folder;
	return made;
}

static int remove_folder(void **state)
{
	struct folder *folder = *state;
	for (size_t i = 0; i < COUNT(folder_files); i++) {
		char *path = in_folder(folder, folder_files[i]);
		unlink(path);
		mem_free(path);
	}
	char *inc = in_folder(folder, "inc");
	rmdir(inc);
	mem_free(inc);
	int removed = rmdir(folder->path);
	mem_free(folder);
	return removed;
}

/* Load relayd.conf of the folder; its name is taken off the messages. */
static struct conf *load(const struct folder *folder, struct buf *said)
{
	struct conf_errors errors = {0};
	char *path = in_folder(folder, "relayd.conf");
	struct conf *conf = conf_load(path, &errors);
	const char *text = buf_text(&errors.text);
	const char *found;
	while ((found = strstr(text, folder->path))) {
		buf_add(said, text, (size_t)(found - text));
		text = found + strlen(folder->path);
	}
	buf_add_text(said, text);
	assert_true(!conf == (errors.count > 0));
	mem_free(path);
	conf_errors_free(&errors);
	return conf;
}

static void load_bad(const struct folder *folder, const char *expected)
{
	struct buf said = {0};
	assert_null(load(folder, &said));
	assert_string_equal(buf_text(&said), expected);
	buf_free(&said);
}

static void includes_are_beside_the_file(void **state)
{
	const struct folder *folder = *state;
	struct buf said = {0};
	put_text(folder, "relayd.conf", "@include \"inc/a.conf\"\nuser = \"u\";\n");
	put_text(folder, "inc/a.conf", "\nworkers = 3;\n");
	struct conf *conf = load(folder, &said);
	assert_string_equal(buf_text(&said), "");
	assert_int_equal(conf->workers, 3);
	conf_free(conf);
	buf_free(&said);

	put_text(folder, "relayd.conf", "@include \"inc/a.conf\"\nuser = 1;\n");
	put_text(folder, "inc/a.conf", "\nworkers = 4294967299;\nlog = \"x\";\n");
	load_bad(folder, "/relayd.conf:2: user: is a number, expected a name in quotes\n"
			 "/inc/a.conf:2: workers: 4294967299 is too large a number, expected at "
			 "most 2147483647\n"
			 "/inc/a.conf:3: log: \"x\": expected one of \"stderr\", \"syslog\", "
			 "\"journal\"\n");
	put_text(folder, "inc/a.conf", "\n\nlog = stderr;\n");
	load_bad(folder, "/inc/a.conf:3: syntax error: \"stderr\" needs quotes around it, as all "
			 "texts, sizes and durations do\n");
	put_text(folder, "relayd.conf", "@include \"relayd.conf\"\n");
	assert_null(load(folder, &said));
	assert_non_null(strstr(buf_text(&said), "include file nesting too deep"));
	buf_free(&said);
}

static void odd_files_are_refused(void **state)
{
	const struct folder *folder = *state;
	struct conf_errors errors = {0};
	load_bad(folder, "/relayd.conf: can not be opened: No such file or directory\n");
	assert_null(conf_load("/dev/zero", &errors));
	assert_string_equal(buf_text(&errors.text), "/dev/zero: is not a regular file\n");
	conf_errors_free(&errors);
	put(folder, "relayd.conf", "user = \"u\";\n\0workers = 99;", 25, 0600);
	load_bad(folder, "/relayd.conf:2: holds a NUL byte, expected a text file\n");
	char *path = in_folder(folder, "relayd.conf");
	assert_int_equal(truncate(path, (16 << 20) + 1), 0);
	mem_free(path);
	load_bad(folder, "/relayd.conf: is larger than 16777216 bytes\n");
}

/* What is said of the folder's relayd.conf where only its socket is asked for. */
static void expect_control(const struct folder *folder, const char *control, const char *said)
{
	struct conf_errors errors = {0};
	char *path = in_folder(folder, "relayd.conf");
	char *found = conf_find_control(path, &errors);
	if (control)
		assert_string_equal(found, control);
	else
		assert_null(found);
	assert_int_equal(errors.count, said ? 1 : 0);
	if (said)
		assert_non_null(strstr(buf_text(&errors.text), said));
	mem_free(found);
	mem_free(path);
	conf_errors_free(&errors);
}

/* relayctl needs no more of the file, and finds it whatever else is wrong there. */
static void the_control_socket_is_found(void **state)
{
	const struct folder *folder = *state;
	expect_control(folder, NULL, "can not be opened: No such file or directory");
	put_text(folder, "relayd.conf", "workers = 99999;\ncontrol = \"/c\";\n");
	expect_control(folder, "/c", NULL);
	put_text(folder, "relayd.conf", "");
	expect_control(folder, CONF_CONTROL, NULL);
	put_text(folder, "relayd.conf", "control = 5;");
	expect_control(folder, CONF_CONTROL, NULL);
	put_text(folder, "relayd.conf", "control = /c;");
	expect_control(folder, NULL, ":1: syntax error");
}

static void put_secrets(const struct folder *folder)
{
	put_text(folder, "key.pem", "k");
	put(folder, "open.pem", "k", 1, 0644);
	put(folder, "cert.pem", "c", 1, 0644);
	put(folder, "password", "secret word\r\nrest\n", 18, 0600);
	put(folder, "empty", "\n", 1, 0600);
	put(folder, "program", "#!/bin/sh\n", 10, 0700);
}

static void private_secrets_are_taken(void **state)
{
	const struct folder *folder = *state;
	struct buf text = {0};
	struct buf said = {0};
	const char *f = folder->path;

	put_secrets(folder);
	buf_addf(&text,
	    "tls = { certificate = \"%s/cert.pem\"; key = \"%s/key.pem\"; };\n"
	    "listen = ( { address = \"0.0.0.0\"; port = 587; tls = \"starttls\"; "
	    "auth = true; } );\n"
	    "domains = ( { name = \"a.jp\"; dkim = ( { selector = \"2026\"; "
	    "key = \"%s/key.pem\"; } ); } );\n"
	    "smarthosts = ( { name = \"s\"; host = \"h\"; user = \"u\"; password_file = "
	    "\"%s/password\"; } );\n"
	    "notify = { command = \"%s/program\"; };\n",
	    f, f, f, f, f);
	put_text(folder, "relayd.conf", buf_text(&text));
	struct conf *conf = load(folder, &said);
	assert_string_equal(buf_text(&said), "");
	assert_string_equal(conf->smarthosts[0].password, "secret word");
	assert_int_equal(conf->smarthosts[0].tls, CONF_TLS_VERIFY);
	assert_int_equal(conf->domains[0].dkim_count, 1);
	struct buf printed = {0};
	conf_print(conf, &printed);
	assert_null(strstr(buf_text(&printed), "secret word"));
	buf_free(&printed);
	conf_free(conf);
	buf_free(&text);
	buf_free(&said);
}

static void secrets_must_be_private(void **state)
{
	const struct folder *folder = *state;
	struct buf text = {0};
	const char *f = folder->path;

	put_secrets(folder);
	buf_addf(&text,
	    "tls = { certificate = \"%s\";\n key = \"%s/open.pem\"; };\n"
	    "domains = ( { name = \"a.jp\"; dkim = ( { selector = \"s\"; key = \"%s/none\"; } ); } "
	    ");\n"
	    "smarthosts = ( { name = \"s\"; host = \"h\"; user = \"u\"; password_file = "
	    "\"%s/empty\";\n tls = \"may\"; } );\n"
	    "notify = { command = \"%s/cert.pem\"; };\n",
	    f, f, f, f, f);
	put_text(folder, "relayd.conf", buf_text(&text));
	load_bad(folder,
	    "/relayd.conf:1: tls.certificate: \"\": is not a regular file\n"
	    "/relayd.conf:2: tls.key: \"/open.pem\": is open to others than its owner (mode "
	    "0644); do: chmod 0600 /open.pem\n"
	    "/relayd.conf:3: domains.dkim.key: \"/none\": can not be found: No such file or "
	    "directory\n"
	    "/relayd.conf:4: smarthosts.password_file: \"/empty\": has an empty first line, "
	    "expected the password\n"
	    "/relayd.conf:5: smarthosts.tls: the password could cross the network in the clear, "
	    "expected \"verify\", \"implicit\" or \"encrypt\"\n"
	    "/relayd.conf:6: notify.command: \"/cert.pem\": is not a program that can be run; "
	    "do: chmod +x /cert.pem\n");
	buf_free(&text);
}

/* The questions asked for every message. */

static void the_longest_domain_wins(void **state)
{
	(void)state;
	static const char *const table[][2] = {
	    {"example.jp", "example.jp"},
	    {"EXAMPLE.jp", "example.jp"},
	    {"www.example.jp", "example.jp"},
	    {"mail.example.jp", "mail.example.jp"},
	    {"a.b.mail.example.jp", "mail.example.jp"},
	    {"xmail.example.jp", "example.jp"},
	    {"badexample.jp", NULL},
	    {"jp", NULL},
	    {".jp", NULL},
	    {"", NULL},
	};
	struct conf *c =
	    good("domains = ( { name = \"example.jp\"; }, { name = \"mail.example.jp\"; } );");
	for (size_t i = 0; i < COUNT(table); i++) {
		const struct conf_domain *d = conf_domain_of(c->domains, c->domain_count,
		    table[i][0], strlen(table[i][0]));
		assert_true(!d == !table[i][1]);
		if (d)
			assert_string_equal(d->name, table[i][1]);
	}
	assert_null(conf_domain_of(NULL, 0, "example.jp", 10));
	conf_free(c);
}

static void patterns_fit(void **state)
{
	(void)state;
	static const struct {
		const char *pattern;
		const char *domain;
		bool fits;
	} table[] = {
	    {"*", "example.org", true},
	    {"*", "", true},
	    {"*", "[192.0.2.1]", true},
	    {"example.org", "EXAMPLE.org", true},
	    {"example.org", "a.example.org", false},
	    {"example.org", "", false},
	    {"*.example.org", "a.example.org", true},
	    {"*.example.org", "A.b.Example.ORG", true},
	    {"*.example.org", "example.org", false},
	    {"*.example.org", ".example.org", false},
	    {"*.example.org", "aexample.org", false},
	    {"*.example.org", "", false},
	};
	for (size_t i = 0; i < COUNT(table); i++)
		if (conf_pattern_fits(table[i].pattern, table[i].domain,
			strlen(table[i].domain)) != table[i].fits)
			fail_msg("%s %s", table[i].pattern, table[i].domain);
}

static void networks_hold(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		bool held;
	} table[] = {
	    {"10.1.2.3", true},	      {"11.1.2.3", false},    {"192.0.2.127", true},
	    {"192.0.2.128", false},   {"::ffff:10.9.9.9", true}, {"::ffff:11.9.9.9", false},
	    {"2001:db8:7::1", true},  {"2001:db8:8::", false}, {"::1", false},
	    {"172.16.0.1", true},     {"172.16.0.2", false},  {"::10.0.0.1", false},
	};
	struct conf *c = good("trusted_networks = [ \"10.0.0.0/8\", \"192.0.2.0/25\", "
			      "\"2001:db8::/45\", \"::ffff:172.16.0.1\" ];");
	for (size_t i = 0; i < COUNT(table); i++) {
		unsigned char a[16];
		int family = strchr(table[i].address, ':') ? AF_INET6 : AF_INET;
		assert_int_equal(inet_pton(family, table[i].address, a), 1);
		if (conf_network_holds(c->trusted_networks, c->trusted_count, family, a) !=
		    table[i].held)
			fail_msg("%s", table[i].address);
	}
	conf_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(values),
	    cmocka_unit_test(an_empty_list_is_not_the_default),
	    cmocka_unit_test(printed_comes_back),
	    cmocka_unit_test(the_sample_is_the_one_of_the_table),
	    cmocka_unit_test(the_sample_is_right),
	    cmocka_unit_test(a_client_is_found_by_login_or_network),
	    cmocka_unit_test(the_manual_has_every_key),
	    cmocka_unit_test(the_manual_keeps_groups_together),
	    cmocka_unit_test_setup_teardown(
		includes_are_beside_the_file, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(odd_files_are_refused, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(
		the_control_socket_is_found, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(private_secrets_are_taken, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(secrets_must_be_private, make_folder, remove_folder),
	    cmocka_unit_test(the_longest_domain_wins),
	    cmocka_unit_test(patterns_fit),
	    cmocka_unit_test(networks_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
