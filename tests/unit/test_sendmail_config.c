/* SPDX-License-Identifier: MIT
 * sendmail.conf: what its keys mean, which mistakes are told, whose files are obeyed,
 * and what the environment changes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/buf.h"
#include "relayd/base/mem.h"
#include "relayd/sendmail_config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SYSTEM_FILE "/etc/relayd/sendmail.conf"
#define SOMEBODY_ELSE 4242

static char folder[] = "/tmp/test-sendmail-XXXXXX";
static char path[100];   /* of the file */
static char secret[100]; /* of the one with a password */

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/.relay-sendmail.conf", folder);
	snprintf(secret, sizeof(secret), "%s/secret", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static void write_bytes(const char *file, const char *text, size_t n, mode_t mode)
{
	FILE *f = fopen(file, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fchmod(fileno(f), mode), 0);
	assert_int_equal(fclose(f), 0);
}

/* Read TEXT as a file of MODE. Result: what was wrong, NULL: nothing. */
static char *read_conf(const char *text, mode_t mode, struct sendmail_config *config)
{
	struct why why = {0};
	write_bytes(path, text, strlen(text), mode);
	int result = sendmail_config_read(config, path, &why);
	unlink(path);
	return result < 0 ? mem_text(why.text) : NULL;
}

/* It must be refused with SAID, after the name of the file. */
static void bad(const char *text, mode_t mode, const char *wanted)
{
	struct sendmail_config c;
	char *said = read_conf(text, mode, &c);
	if (!said || !strstr(said, wanted))
		fail_msg("%s\nsaid '%s', expected '%s'", text, said ? said : "nothing", wanted);
	assert_null(c.password);
	assert_null(c.socket);
	mem_free(said);
}

static void test_values(void **state)
{
	struct sendmail_config c;
	(void)state;
	assert_null(read_conf("host = \"relay.example.jp\"; user = \"u\"; password = \"p\";\n"
			      "from_domain = \"example.jp\"; timeout = 5;",
	    0600, &c));
	assert_string_equal(c.host, "relay.example.jp");
	assert_string_equal(c.port, "587");
	assert_int_equal(c.tls, SENDMAIL_TLS_STARTTLS);
	assert_string_equal(c.user, "u");
	assert_string_equal(c.password, "p");
	assert_string_equal(c.from_domain, "example.jp");
	assert_int_equal(c.timeout_ms, 5000);
	assert_null(c.drop);
	sendmail_config_free(&c);
	assert_null(read_conf("host = \"h\"; tls = \"implicit\";", 0644, &c));
	assert_int_equal(c.tls, SENDMAIL_TLS_IMPLICIT);
	assert_string_equal(c.port, "465");
	sendmail_config_free(&c);
	assert_null(read_conf("host = \"2001:db8::1\"; tls = \"implicit\"; port = 465;", 0644, &c));
	assert_string_equal(c.host, "2001:db8::1");
	sendmail_config_free(&c);
	assert_null(read_conf("host = \"h\"; tls = \"none\"; drop = \"/d\";", 0644, &c));
	assert_int_equal(c.tls, SENDMAIL_TLS_NONE);
	assert_string_equal(c.port, "25");
	assert_string_equal(c.drop, "/d");
	sendmail_config_free(&c);
	assert_null(read_conf("host = \"h\"; tls = \"starttls\"; port = 2525L; ca_file = \"/ca\"; "
			      "from = \"web@example.jp\"; timeout = 3600;",
	    0644, &c));
	assert_int_equal(c.tls, SENDMAIL_TLS_STARTTLS);
	assert_string_equal(c.port, "2525");
	assert_string_equal(c.ca_file, "/ca");
	assert_string_equal(c.from, "web@example.jp");
	assert_int_equal(c.timeout_ms, 3600000);
	sendmail_config_free(&c);
}

static void test_this_machine(void **state)
{
	struct sendmail_config c;
	(void)state;
	assert_null(read_conf("", 0644, &c));
	assert_null(c.host);
	assert_non_null(c.socket);
	assert_non_null(c.drop);
	assert_null(c.control);
	assert_int_equal(c.timeout_ms, 300000);
	sendmail_config_free(&c);
	assert_null(read_conf("socket = \"/s\"; control = \"/c\"; drop = \"/d\";", 0644, &c));
	assert_string_equal(c.socket, "/s");
	assert_string_equal(c.control, "/c");
	assert_string_equal(c.drop, "/d");
	sendmail_config_free(&c);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *said;
	} cases[] = {
	    {"host = \"h\"; user = \"u\";\npassword = \"p\";", 0644,
		":2: password: others may read"},
	    {"host = \"h\"; user = \"u\"; password = \"p\";", 0640, "chmod 600"},
	    {"host = \"h\"; user = \"u\";", 0600, "belong together"},
	    {"host = \"h\"; password = \"p\";", 0600, "belong together"},
	    {"host = \"h\"; user = \"u\"; password_file = \"/nonexistent\";", 0600,
		"password_file /nonexistent does not exist"},
	    {"host = \"h\"; user = \"u\"; password_file = \"/dev/null\";", 0600,
		"/dev/null: not a plain file"},
	    {"host = \"h\"; user = \"u\"; password = \"p\"; password_file = \"/x\";", 0600,
		"password and password_file exclude each other"},
	    {"\nhosts = \"h\";", 0600, ":2: hosts: there is no such key"},
	    {"relay : { host = \"h\"; };", 0600, ":1: relay: there is no such key"},
	    {"host = 5;", 0600, ":1: host: a text in quotes"},
	    {"host = [ \"h\" ];", 0600, ":1: host: a text in quotes"},
	    {"host = \"\";", 0600, "a text in quotes"},
	    {"host = \"h\"; port = 0;", 0600, ":1: port: a number from 1 to 65535"},
	    {"host = \"h\"; port = 65536;", 0600, "from 1 to 65535"},
	    {"host = \"h\"; port = 4294967321L;", 0600, "from 1 to 65535"},
	    {"host = \"h\"; port = \"587\";", 0600, "a number"},
	    {"host = \"h\"; port = 25.0;", 0600, "a number"},
	    {"host = \"h\"; tls = \"off\";", 0600, "\"starttls\""},
	    {"host = \"h\"; tls = true;", 0600, "\"starttls\""},
	    {"timeout = 0;", 0600, "a number from 1 to 3600"},
	    {"timeout = 3601;", 0600, "a number from 1 to 3600"},
	    {"timeout = \"5m\";", 0600, "a number"},
	    {"user = \"u\"; password = \"p\";", 0600, ": user without a host"},
	    {"ca_file = \"/ca\";", 0600, ": ca_file without a host"},
	    {"port = 25;", 0600, ": port without a host"},
	    {"tls = \"none\";", 0600, ": tls without a host"},
	    {"host = \"h\"; socket = \"/s\";", 0600, "exclude each other"},
	    {"from_domain = \"a b\";", 0600, "from_domain is not a domain name"},
	    {"from_domain = \"\xc3\xbc.example\";", 0600, "from_domain is not a domain name"},
	    {"from_domain = \"example.jp.\";", 0600, "from_domain is not a domain name"},
	    {"host = h", 0600,
		":1: syntax error; expected lines like host = \"relay.example.jp\";"},
	    {"host = \"h\";\nhost = \"i\";", 0600, ":2: duplicate setting name"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		bad(cases[i].text, cases[i].mode, cases[i].said);
}

/* What is right in the files of other programs, or in a shell. */
static void test_habits(void **state)
{
	static const struct {
		const char *text;
		const char *said;
	} cases[] = {
	    {"host = \"h:587\";",
		":1: host: expected a name or a numeric address without "
		"brackets; port is a key of its own"},
	    {"host = \"[2001:db8::1]\";", ":1: host: expected a name"},
	    {"host = \"h\"; port = \"587\";", "from 1 to 65535 without quotes is expected"},
	    {"host = \"h\"; port = 465;",
		"port 465 speaks TLS from the first byte on; "
		"expected tls = \"implicit\" with it"},
	    {"host = \"h\"; tls = \"starttls\"; port = 465;", "expected tls = \"implicit\""},
	    {"host = \"h\"; user = \"u\";\npassword_file = \"~/secret\";",
		":2: password_file: expected an absolute path (\"/...\"; neither ~ nor the folder "
		"of the caller counts)"},
	    {"host = \"h\"; ca_file = \"ca.pem\";", ":1: ca_file: expected an absolute path"},
	    {"socket = \"submit.sock\";", ":1: socket: expected an absolute path"},
	    {"control = \"c\";", ":1: control: expected an absolute path"},
	    {"drop = \"./d\";", ":1: drop: expected an absolute path"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		bad(cases[i].text, 0600, cases[i].said);
}

/* The password of TEXT in a file of MODE, or what is said. */
static void check_secret(const char *text, mode_t mode, const char *password, const char *said)
{
	struct sendmail_config c;
	struct buf conf = {0};
	buf_addf(&conf, "host = \"h\"; user = \"u\"; password_file = \"%s\";", secret);
	write_bytes(secret, text, strlen(text), mode);
	if (said) {
		bad(buf_text(&conf), 0644, said);
	} else {
		assert_null(read_conf(buf_text(&conf), 0644, &c));
		assert_string_equal(c.password, password);
		sendmail_config_free(&c);
	}
	unlink(secret);
	buf_free(&conf);
}

static void test_password_file(void **state)
{
	(void)state;
	check_secret("a b \n", 0600, "a b ", NULL);
	check_secret("first\r\nsecond\n", 0400, "first", NULL);
	check_secret("no line end", 0600, "no line end", NULL);
	check_secret("p\n", 0640, NULL, "others may read it; chmod 600 it");
	check_secret("p\n", 0604, NULL, "others may read it; chmod 600 it");
	check_secret("\np\n", 0600, NULL, "its first line is empty");
	check_secret("", 0600, NULL, "its first line is empty");
}

static void expect_refused(const char *file, const char *wanted)
{
	struct sendmail_config c;
	struct why why = {0};
	assert_int_equal(sendmail_config_read(&c, file, &why), -1);
	if (!strstr(why.text, file) || !strstr(why.text, wanted))
		fail_msg("%s\nsaid '%s', expected '%s'", file, why.text, wanted);
	assert_null(c.socket);
}

static void test_files_that_are_none(void **state)
{
	char below[120];
	(void)state;
	expect_refused(path, "does not exist");
	expect_refused(folder, "not a plain file of at most 65536 bytes");
	write_bytes(path, "", 0, 0600);
	snprintf(below, sizeof(below), "%s/below", path);
	expect_refused(below, "does not exist");
	assert_int_equal(truncate(path, 65537), 0);
	expect_refused(path, "not a plain file of at most 65536 bytes");
	unlink(path);
	assert_int_equal(symlink(path, path), 0);
	expect_refused(path, "Too many levels of symbolic links");
	unlink(path);
}

/* What stands behind a NUL would be nobody's setting, and nobody would be told. */
static void test_nul(void **state)
{
	static const char text[] = "timeout = 5;\n\0host = \"h\";\n";
	struct buf conf = {0};
	(void)state;
	write_bytes(path, text, sizeof(text) - 1, 0600);
	expect_refused(path, ": holds a NUL byte");
	write_bytes(secret, "a\0b\n", 4, 0600);
	buf_addf(&conf, "host = \"h\"; user = \"u\"; password_file = \"%s\";", secret);
	bad(buf_text(&conf), 0644, "/secret: holds a NUL byte");
	unlink(secret);
	unlink(path);
	buf_free(&conf);
}

/* ---- which of them ---- */

static void load(struct sendmail_config *c, const char *home)
{
	struct why why = {0};
	if (sendmail_config_load(c, home, &why) < 0)
		fail_msg("%s", why.text);
}

/* Not HOME's, so it is what no file says. */
static void expect_defaults(const char *home)
{
	struct sendmail_config c;
	load(&c, home);
	assert_null(c.host);
	assert_null(c.from_domain);
	assert_int_equal(c.timeout_ms, 300000);
	assert_non_null(c.socket);
	sendmail_config_free(&c);
}

static void test_whose_file(void **state)
{
	struct sendmail_config c;
	struct why why = {0};
	(void)state;
	if (access(SYSTEM_FILE, F_OK) == 0)
		skip(); /* it would be read */
	expect_defaults(NULL);
	expect_defaults("");
	expect_defaults(folder);
	write_bytes(path, "host = \"h\";", 11, 0644);
	load(&c, folder);
	assert_string_equal(c.host, "h");
	sendmail_config_free(&c);
	expect_defaults(folder + 1); /* relative to where the caller happens to be */
	write_bytes(path, "hosts = \"h\";", 12, 0644);
	assert_int_equal(sendmail_config_load(&c, folder, &why), -1);
	assert_non_null(strstr(why.text, "/.relay-sendmail.conf:1: hosts: there is no such key"));
	unlink(path);
}

/* A caller with another's $HOME is not sent where that one's mail goes. */
static void test_somebody_elses_file(void **state)
{
	(void)state;
	if (geteuid() != 0 || access(SYSTEM_FILE, F_OK) == 0)
		skip(); /* only root can give a file away */
	write_bytes(path, "host = \"h\";", 11, 0644);
	assert_int_equal(chown(path, SOMEBODY_ELSE, SOMEBODY_ELSE), 0);
	expect_defaults(folder);
	expect_refused(path, "it belongs to somebody else (uid 4242)");
	unlink(path);
}

static void load_with(struct sendmail_config *c, const char *socket, const char *drop)
{
	setenv("RELAY_SENDMAIL_SOCKET", socket, 1);
	setenv("RELAY_SENDMAIL_DROP", drop, 1);
	load(c, folder);
	unsetenv("RELAY_SENDMAIL_SOCKET");
	unsetenv("RELAY_SENDMAIL_DROP");
}

static void test_environment(void **state)
{
	struct sendmail_config c;
	(void)state;
	write_bytes(path, "host = \"h\";", 11, 0644);
	load_with(&c, "/s", "");
	assert_null(c.host);
	assert_string_equal(c.socket, "/s");
	assert_non_null(c.drop); /* that of this machine */
	sendmail_config_free(&c);
	load_with(&c, "/s", "/d");
	assert_string_equal(c.drop, "/d");
	sendmail_config_free(&c);
	/* an empty one is none */
	load_with(&c, "", "");
	assert_non_null(c.host);
	assert_null(c.drop);
	sendmail_config_free(&c);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_this_machine),
	    cmocka_unit_test(test_mistakes),
	    cmocka_unit_test(test_habits),
	    cmocka_unit_test(test_password_file),
	    cmocka_unit_test(test_files_that_are_none),
	    cmocka_unit_test(test_nul),
	    cmocka_unit_test(test_whose_file),
	    cmocka_unit_test(test_somebody_elses_file),
	    cmocka_unit_test(test_environment),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
