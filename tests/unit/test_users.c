/* SPDX-License-Identifier: MIT
 * The users' file: what a line may be, what is said of a broken one, what is told
 * of users who are not there, and passwords.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <crypt.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/users.h"

#define HASH "$y$j9T$sPVDpuDnagxx5Gf68W.Wh/$kK3k99.lFyO4RnrFvtUU0VfK77Ra3ezOAgPgyM0PtL8"
#define SCRYPT "$7$CU..../....sPVDpuDnagxx5Gf68W.Wh/$ciJ7x1QedqID3l7Olqv3XKBhbm0h7U5Zc/G4/TUs6T9"
#define KEY "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
#define KEYS "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY
#define KEYS_OF(salt, stored, server) "SCRAM-SHA-256$4096:" salt "$" stored ":" server
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define KEY33 "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qYA" /* of 33 bytes */
#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256 X64 X64 X64 X64
#define SECRET ":secret:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define NAME64 X64

static struct users *parse(const char *text)
{
	struct buf errors = {0};
	struct users *users = users_parse(span_text(text), "FILE", &errors);
	assert_string_equal(buf_text(&errors), "");
	buf_free(&errors);
	return users;
}

static void test_good(void **state)
{
	(void)state;
	struct users *users = parse("# comment\n\n" SECRET "bob:" HASH ":" KEYS "\nal@b.example:" SCRYPT
				    "\n\xe5\x90\x8d:" HASH "\n" NAME64 NAME64 ":" HASH);
	assert_int_equal(users_count(users), 4);
	const struct user *bob = users_find(users, "bob");
	assert_string_equal(bob->hash, HASH);
	assert_true(bob->has_keys);
	assert_int_equal(bob->keys.iterations, 4096);
	assert_string_equal(bob->keys.stored, KEY);
	assert_false(users_find(users, "al@b.example")->has_keys);
	assert_non_null(users_find(users, "\xe5\x90\x8d"));
	assert_null(users_find(users, "BOB"));
	assert_null(users_find(users, ""));
	assert_string_equal(users_at(users, 1)->name, "al@b.example");
	users_free(users);
	users_free(parse(""));
}

static const struct {
	const char *line;
	const char *said;
} broken[] = {
    {"bob", "expected a yescrypt"},
    {"bob:", "expected a yescrypt"},
    {"bob:$1$abc$defdefdefdefdefdefdef", "expected a yescrypt"},
    {"bob:$y$j9T$*LOCKED*xxxxxxxxxxxxxx", "expected a yescrypt"},
    {"bob:!" HASH, "expected a yescrypt"},
    {"bob:" HASH " ", "expected a yescrypt"},
    {"bob:" HASH "\r", "expected a yescrypt"},
    {"b b:" HASH, "a space"},
    {"b\tb:" HASH, "control character"},
    {"b\xff:" HASH, "not UTF-8"},
    {NAME64 NAME64 "x:" HASH, "129 bytes"},
    {"bob:" HASH ":x", "expected SCRAM-SHA-256"},
    {"bob:" HASH ":" KEYS ":", "expected SCRAM-SHA-256"},
    {"bob:" HASH ":SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY,
	"expected SCRAM"},
    {"bob:" HASH ":SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY,
	"expected SCRAM"},
    {"bob:" HASH ":SCRAM-SHA-256$10000001:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY,
	"expected"},
    {"bob:" HASH ":SCRAM-SHA-256$4096:AAAA$" KEY ":" KEY, "expected SCRAM"},
    {"bob:" HASH ":SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:" KEY,
	"expected SCRAM"},
    {"bob:" HASH ":SCRAM-SHA-256$4k:" SALT "$" KEY ":" KEY, "expected SCRAM"},
    {"bob:" HASH ":" KEYS_OF("W22ZaJ0S=NY7soEsUEjb6gQ=", KEY, KEY), "expected SCRAM"},
    {"bob:" HASH ":" KEYS_OF(X256, KEY, KEY), "expected SCRAM"},
    {"bob:" HASH ":" KEYS_OF(SALT, KEY33, KEY), "expected SCRAM"},
    {"bob:" HASH ":" KEYS_OF(SALT, KEY, KEY33), "expected SCRAM"},
    {"bob:" HASH ":" KEYS_OF(SALT, KEY, "AAAA"), "expected SCRAM"},
    {"bob:" HASH ":" KEYS_OF(SALT, KEY, KEY "AAAA"), "expected SCRAM"},
    {"bob:$y$" X256 X64 X64, "expected a yescrypt"},
    {"bob:$y$j9T$xxxxxxxxxxxxxxxxxx\xc3\xa9", "expected a yescrypt"},
    {"bob:$7$j9T$xxxxxxxxxxxxxxxxxx\\", "expected a yescrypt"},
    {"bob:$7$j9T$xxxxxxxxxxxxxxxxxx;", "expected a yescrypt"},
    {"b\x7f"
     "b:" HASH,
	"control character"},
    {"ann:" HASH, "there already"},
    {":" X64 "xxxxxxxx", "hexadecimal"},
    {":secret:", "hexadecimal"},
    {":secret:00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg",
	"hexadecimal"},
    {":other:00", "hexadecimal"},
};

static void test_broken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct buf text = {0};
		struct buf errors = {0};
		buf_addf(&text, "ann:" HASH "\n%s\n", broken[i].line);
		assert_null(users_parse(span_buf(&text), "FILE", &errors));
		assert_int_equal(strncmp(buf_text(&errors), "FILE:2: ", 8), 0);
		if (!strstr(buf_text(&errors), broken[i].said))
			fail_msg("%s: %s", broken[i].line, buf_text(&errors));
		buf_free(&text);
		buf_free(&errors);
	}
}

/* What the command line says is judged as what stands in the file. */
static void test_names(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
	    {"", "the name has 0 bytes, expected 1 to 128"},
	    {NAME64 NAME64 "x", "the name has 129 bytes, expected 1 to 128"},
	    {"#bob", "the name begins with #, which begins a comment"},
	    {"b:b", "the name holds a colon"},
	    {"b b", "the name holds a space"},
	    {"b\nb", "the name holds a control character"},
	    {"b\xc3", "the name is not UTF-8"},
	};
	struct why why = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(users_check_name(rows[i][0], &why), -1);
		assert_string_equal(why.text, rows[i][1]);
	}
	assert_int_equal(users_check_name("b#b", &why), 0);
	assert_int_equal(users_check_name(NAME64 NAME64, &why), 0);
}

static void test_a_name_with_nul(void **state)
{
	(void)state;
	static const char text[] = "bob\0"
				   "by:" HASH "\n";
	struct buf errors = {0};
	assert_null(users_parse((struct span){text, sizeof(text) - 1}, "FILE", &errors));
	assert_string_equal(buf_text(&errors), "FILE:1: the name holds a NUL\n");
	buf_free(&errors);
}

/* A file as a site with many mailboxes has it: each is there, in its order. */
static void test_many(void **state)
{
	(void)state;
	struct buf text = {0};
	char name[20];
	for (unsigned i = 0; i < 3000; i++)
		buf_addf(&text, "user%u@a.example:" HASH "\n", i);
	struct users *users = parse(buf_text(&text));
	assert_int_equal(users_count(users), 3000);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "user%u@a.example", i);
		assert_string_equal(users_at(users, i)->name, name);
		assert_ptr_equal(users_find(users, name), users_at(users, i));
	}
	assert_null(users_find(users, "user3000@a.example"));
	users_free(users);
	buf_free(&text);
}

/* Each one is named, up to a hundred. */
static void test_many_broken(void **state)
{
	(void)state;
	struct buf text = {0};
	struct buf errors = {0};
	for (int i = 0; i < 150; i++)
		buf_add_text(&text, "bob\n");
	assert_null(users_parse(span_buf(&text), "FILE", &errors));
	assert_non_null(strstr(buf_text(&errors), "FILE:100: "));
	assert_null(strstr(buf_text(&errors), "FILE:101: "));
	assert_non_null(strstr(buf_text(&errors), "50 more"));
	buf_free(&text);
	buf_free(&errors);
}

static void test_keys(void **state)
{
	(void)state;
	struct users *one = parse(SECRET "bob:" HASH ":" KEYS "\nplain:" HASH "\n");
	struct users *two = parse("bob:" HASH ":" KEYS "\n" SECRET);
	struct auth_keys a;
	struct auth_keys b;
	users_keys(one, "bob", &a);
	assert_string_equal(a.stored, KEY);
	/* nobody, and one without keys: of the same form, always the same */
	const char *const names[] = {"nobody", "plain", "", "bob "};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		users_keys(one, names[i], &a);
		users_keys(two, names[i], &b);
		assert_int_equal(a.iterations, 4096);
		assert_int_equal(strlen(a.salt), 24);
		assert_int_equal(strlen(a.stored), 44);
		assert_string_equal(a.salt, b.salt);
		assert_string_equal(a.stored, b.stored);
		assert_string_not_equal(a.stored, a.server);
		users_keys(one, names[(i + 1) % 4], &b);
		assert_string_not_equal(a.salt, b.salt);
	}
	users_free(one);
	users_free(two);
	/* the first one has none to go by */
	one = parse("plain:" SCRYPT "\nbob:" HASH ":" KEYS "\n");
	users_keys(one, "nobody", &a);
	assert_int_equal(a.iterations, 65536);
	assert_string_equal(users_dummy_hash(one), SCRYPT);
	users_free(one);
}

static void test_password(void **state)
{
	(void)state;
	struct crypt_data *scratch = mem_zero(sizeof(*scratch));
	struct buf line = {0};
	struct why why = {0};
	assert_int_equal(users_make_line("bob", "caf\xc3\xa9 au lait", &line, &why), 0);
	struct users *users = parse(buf_text(&line));
	const struct user *bob = users_find(users, "bob");
	assert_true(users_password_fits("caf\xc3\xa9 au lait", bob->hash, scratch));
	assert_true(users_password_fits("cafe\xcc\x81 au lait", bob->hash, scratch)); /* typed elsewhere */
	assert_false(users_password_fits("cafe au lait", bob->hash, scratch));
	assert_false(users_password_fits("", bob->hash, scratch));
	assert_true(users_password_fits("secret-of-scrypt", SCRYPT, scratch));
	assert_false(users_password_fits("secret-of-scrypT", SCRYPT, scratch));
	users_free(users);
	users = parse("");
	assert_false(users_password_fits("anything", users_dummy_hash(users), scratch));
	users_free(users);
	/* longer than crypt(3) takes */
	char *big = mem_zero(10000);
	memset(big, 'x', 9999);
	assert_false(users_password_fits(big, HASH, scratch));
	assert_int_equal(users_make_line("bob", big, &line, &why), -1);
	mem_free(big);
	buf_free(&line);
	mem_free(scratch);
}

static void test_file(void **state)
{
	(void)state;
	char folder[] = "/tmp/test_users.XXXXXX";
	char path[100];
	struct buf errors = {0};
	struct stat st;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/users", folder);
	struct users *users = users_load(path, &st, &errors);
	assert_int_equal(users_count(users), 0);
	assert_int_equal(st.st_ino, 0);
	users_free(users);
	FILE *file = fopen(path, "w");
	fputs("bob:" HASH "\n", file);
	fclose(file);
	chmod(path, 0644);
	assert_null(users_load(path, &st, &errors));
	assert_non_null(strstr(buf_text(&errors), "mode 0644); do: chmod 0600 "));
	chmod(path, 0600);
	users = users_load(path, &st, &errors);
	assert_int_equal(users_count(users), 1);
	users_free(users);
	unlink(path);
	buf_clear(&errors);
	assert_null(users_load(folder, &st, &errors));
	assert_non_null(strstr(buf_text(&errors), "not a regular file"));
	rmdir(folder);
	buf_free(&errors);
}

/* Load what is at PATH, which can not be done. */
static void load_bad(const char *path, const char *wanted)
{
	struct buf errors = {0};
	struct stat st = {.st_ino = 1};
	assert_null(users_load(path, &st, &errors));
	if (strncmp(buf_text(&errors), path, strlen(path)) != 0 ||
	    !strstr(buf_text(&errors), wanted))
		fail_msg("%s\nis told as: %s\nwanted: %s", path, buf_text(&errors), wanted);
	buf_free(&errors);
}

static void test_files_that_are_none(void **state)
{
	(void)state;
	char folder[] = "/tmp/test_users.XXXXXX";
	char path[100];
	char below[110];
	struct buf text = {0};
	struct stat st;
	struct why why = {0};
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/users", folder);
	snprintf(below, sizeof(below), "%s/users", path);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	load_bad(below, "can not be read by user id ");
	assert_int_equal(ftruncate(fd, USERS_FILE_MAX + 1), 0); /* a hole */
	close(fd);
	load_bad(path, "has more than 67108864 bytes");
	snprintf(below, sizeof(below), "%s/link", folder);
	assert_int_equal(symlink(path, below), 0);
	assert_int_equal(users_read(below, O_NOFOLLOW, &st, &text, &why), -1);
	assert_non_null(strstr(why.text, "can not be read"));
	assert_int_equal(text.len, 0);
	unlink(below);
	unlink(path);
	rmdir(folder);
}

/* Who does not ask when it was changed gets the users all the same. */
static void test_load_alone(void **state)
{
	(void)state;
	struct buf errors = {0};
	struct users *users = users_load("/nonexistent/users", NULL, &errors);
	assert_non_null(users);
	assert_int_equal(users_count(users), 0);
	users_free(users);
	users_free(NULL);
	buf_free(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_broken),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_a_name_with_nul),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_many_broken),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_password),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_files_that_are_none),
	    cmocka_unit_test(test_load_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
