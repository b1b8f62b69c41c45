/* SPDX-License-Identifier: MIT
 * What a file of the drop folder says, which any local user may have written: what can be
 * sent, what never will be and why, and what of it its sender gets back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/drop_file.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NAME "new.test"
#define ENVELOPE "MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nDATA\n"
#define MIB (1u << 20)

static char path[] = "/tmp/test-drop-XXXXXX";
static int folder = -1;
static struct conf *conf;

static int make_folder(void **state)
{
	struct conf_errors errors = {0};
	(void)state;
	conf =
	    conf_parse("limits = { recipients = 2; message_size = \"1M\"; text_line = \"1000B\"; };"
		       "spool = { big_message = \"64K\"; };",
		"t", &errors);
	if (!conf)
		print_message("%s", buf_text(&errors.text));
	conf_errors_free(&errors);
	if (!conf || !mkdtemp(path))
		return -1;
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? -1 : 0;
}

static int remove_folder(void **state)
{
	(void)state;
	conf_free(conf);
	close(folder);
	return rmdir(path);
}

static void write_bytes(const char *name, const char *bytes, size_t n)
{
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static void read_name(const char *name, struct drop_file *file)
{
	struct why why = {0};
	if (drop_file_read(folder, name, conf, file, &why) < 0)
		fail_msg("%s", why.text);
}

static void read_bytes(const char *bytes, size_t n, struct drop_file *file)
{
	write_bytes(NAME, bytes, n);
	read_name(NAME, file);
	assert_int_equal(unlinkat(folder, NAME, 0), 0);
}

static void expect_reply(const struct drop_file *file, unsigned code, const char *text)
{
	char enhanced[12];
	struct buf said = {0};
	buf_addf(&said, "%s %s", enhanced_text(&file->reply.enhanced, enhanced),
	    buf_text(&file->reply.text));
	if (file->reply.code != code || !strstr(buf_text(&said), text))
		fail_msg("%u %s, expected %u %s", file->reply.code, buf_text(&said), code, text);
	buf_free(&said);
}

/* ---- what can be sent ---- */

static void test_taken(void **state)
{
	static const char *const texts[] = {
	    ENVELOPE "Subject: x\r\n\r\n..dot\r\n.\r\n",
	    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n",
	    "mail from:<a@b.example> SIZE=10\nrcpt to:<c@d.example>\ndata\nSubject: x\r\n\r\n..dot\r\n.\r\n",
	};
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct drop_file file;
		read_bytes(texts[i], strlen(texts[i]), &file);
		assert_int_equal(file.reply.code, 0);
		assert_true(file.whole);
		assert_int_equal(file.owner, geteuid());
		assert_string_equal(file.envelope.sender, "a@b.example");
		assert_int_equal(file.envelope.recipient_count, 1);
		assert_string_equal(file.envelope.recipients[0], "c@d.example");
		assert_string_equal(buf_text(&file.message), "Subject: x\r\n\r\n.dot\r\n");
		drop_file_free(&file);
	}
}

static void test_what_is_asked_of_reports(void **state)
{
	struct drop_file file;
	static const char text[] =
	    "MAIL FROM:<\xc3\xbc@b.example> SMTPUTF8 RET=HDRS ENVID=x1\n"
	    "RCPT TO:<c@d.example> NOTIFY=NEVER\nRCPT TO:<\xc3\xbc@d.example>\nDATA\n.\r\n";
	(void)state;
	read_bytes(text, strlen(text), &file);
	assert_int_equal(file.reply.code, 0);
	assert_true(file.envelope.smtputf8);
	assert_string_equal(file.envelope.envid, "x1");
	assert_int_equal(file.envelope.recipient_count, 2);
	assert_int_not_equal(
	    envelope_notify(&file.envelope, 0), envelope_notify(&file.envelope, 1));
	assert_int_equal(file.message.len, 0);
	drop_file_free(&file);
}

/* ---- what is no transaction ---- */

#define EXPECTED "5.5.2 MAIL, RCPT lines and DATA are expected"

static void test_no_envelope(void **state)
{
	static const char *const texts[] = {
	    "",
	    "\n",
	    "MAIL FROM:<a@b.example>",
	    "MAIL FROM:<a@b.example>\n",
	    "MAIL FROM:<a@b.example>\nDATA\nx\n.\n",
	    "RCPT TO:<c@d.example>\nMAIL FROM:<a@b.example>\nDATA\n.\n",
	    "MAIL FROM:<a@b.example>\nMAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nDATA\n.\n",
	    "EHLO c\n" ENVELOPE ".\n",
	    "MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nRSET\nDATA\n.\n",
	    "MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nDATA",
	};
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct drop_file file;
		read_bytes(texts[i], strlen(texts[i]), &file);
		expect_reply(&file, 501, EXPECTED);
		assert_null(file.envelope.sender); /* nobody is written to */
		assert_false(file.whole);
		drop_file_free(&file);
	}
}

static void test_commands_that_are_refused(void **state)
{
	static const struct {
		const char *text;
		unsigned code;
	} rows[] = {
	    {"MAIL FROM:a@b.example\n", 501},
	    {"MAIL FROM:<a@b.example> SIZE=2000000\n", 552},
	    {"MAIL FROM:<a@b.example> FUTURE=1\n", 555},
	    {"MAIL FROM:<a@b.example>\nRCPT TO:c@d.example\n", 501},
	    {"MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example> FUTURE=1\n", 555},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct drop_file file;
		read_bytes(rows[i].text, strlen(rows[i].text), &file);
		expect_reply(&file, rows[i].code, "");
		assert_null(file.envelope.sender);
		drop_file_free(&file);
	}
}

static void test_a_line_too_long(void **state)
{
	struct drop_file file;
	struct buf text = {0};
	(void)state;
	buf_add_text(&text, "MAIL FROM:<a@b.example>");
	for (int64_t i = 0; i <= conf->limits.command_line; i++)
		buf_add_byte(&text, ' ');
	buf_add_text(&text, "\nRCPT TO:<c@d.example>\nDATA\n.\n");
	read_bytes(text.data, text.len, &file);
	expect_reply(&file, 501, EXPECTED);
	drop_file_free(&file);
	buf_free(&text);
}

/* ---- who can not be sent to ---- */

/* The whole of it is read: its sender is told, about that one, and gets it back. */
static void test_recipient_that_is_none(void **state)
{
	struct drop_file file;
	static const char text[] = "MAIL FROM:<a@b.example>\nRCPT TO:<root@localhost>\n"
				   "RCPT TO:<c@d.example>\nDATA\nx\r\n.\r\n";
	(void)state;
	read_bytes(text, strlen(text), &file);
	expect_reply(&file, 550, "5.1.2 root@localhost: no mail leaves for a domain without a dot");
	assert_int_equal(file.envelope.recipient_count, 2);
	assert_string_equal(file.envelope.recipients[0], "root@localhost");
	assert_true(file.whole);
	drop_file_free(&file);
}

static void test_too_many_recipients(void **state)
{
	struct drop_file file;
	static const char text[] = "MAIL FROM:<a@b.example>\nRCPT TO:<1@d.example>\n"
				   "RCPT TO:<2@d.example>\nRCPT TO:<3@d.example>\nDATA\nx\n.\n";
	(void)state;
	read_bytes(text, strlen(text), &file);
	expect_reply(&file, 554, "5.5.3 more recipients than limits.recipients");
	assert_int_equal(file.envelope.recipient_count, 2);
	drop_file_free(&file);
}

/* ---- the text ---- */

static void test_texts(void **state)
{
	static const struct {
		const char *text;
		const char *said;
		bool whole;
	} rows[] = {
	    {ENVELOPE "a\n", "5.6.0 the file ends before its final dot", false},
	    {ENVELOPE "", "5.6.0 the file ends before its final dot", false},
	    {ENVELOPE "a\n.", "5.6.0 the file ends before its final dot", false},
	    {ENVELOPE "a\r\n.\r\nb\r\n", "5.6.0 the text breaks a limit or a line end", true},
	    {ENVELOPE "a\r\n.\r\n\n", "5.6.0 the text breaks a limit or a line end", true},
	    {ENVELOPE "a\nb\r\n.\r\n", "5.6.0 the text breaks a limit or a line end", false},
	    /* as on the wire, where such a dot may smuggle */
	    {ENVELOPE "a\n.\n", "5.6.0 the file ends before its final dot", false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct drop_file file;
		read_bytes(rows[i].text, strlen(rows[i].text), &file);
		expect_reply(&file, 554, rows[i].said);
		assert_string_equal(file.envelope.sender, "a@b.example"); /* who is told */
		assert_int_equal(file.whole, rows[i].whole);
		drop_file_free(&file);
	}
}

static void add_text(struct buf *b, size_t lines, size_t length)
{
	buf_clear(b);
	buf_add_text(b, ENVELOPE);
	for (size_t i = 0; i < lines; i++) {
		memset(buf_room(b, length), 'x', length);
		b->len += length;
		buf_add_text(b, "\r\n");
	}
	buf_add_text(b, ".\r\n");
}

static void test_texts_too_large(void **state)
{
	struct drop_file file;
	struct buf text = {0};
	(void)state;
	add_text(&text, 1, 2000); /* a line */
	read_bytes(text.data, text.len, &file);
	expect_reply(&file, 554, "5.6.0 the text breaks a limit");
	assert_false(file.whole);
	drop_file_free(&file);
	add_text(&text, MIB / 100, 100); /* a text */
	read_bytes(text.data, text.len, &file);
	expect_reply(&file, 554, "5.6.0 the text breaks a limit");
	drop_file_free(&file);
	add_text(&text, 3 * MIB / 100, 100); /* a file: it is not read to its end */
	read_bytes(text.data, text.len, &file);
	expect_reply(&file, 552, "5.3.4 the message is over limits.message_size");
	assert_string_equal(file.envelope.sender, "a@b.example");
	assert_false(file.whole);
	drop_file_free(&file);
	buf_free(&text);
}

/* ---- what is no file ---- */

static void expect_none(unsigned code, const char *said)
{
	struct drop_file file;
	read_name(NAME, &file);
	expect_reply(&file, code, said);
	assert_null(file.envelope.sender);
	drop_file_free(&file);
}

static void test_files_that_are_none(void **state)
{
	(void)state;
	expect_none(550, "5.6.0 open: No such file or directory");
	assert_int_equal(symlinkat("/etc/passwd", folder, NAME), 0);
	expect_none(550, "5.6.0 open: Too many levels of symbolic links");
	unlinkat(folder, NAME, 0);
	assert_int_equal(mkfifoat(folder, NAME, 0600), 0);
	expect_none(550, "5.6.0 not a plain file with one name");
	unlinkat(folder, NAME, 0);
	assert_int_equal(mkdirat(folder, NAME, 0700), 0);
	expect_none(550, "5.6.0 not a plain file with one name");
	unlinkat(folder, NAME, AT_REMOVEDIR);
	/* another name of somebody's file */
	write_bytes(NAME, ENVELOPE ".\n", strlen(ENVELOPE ".\n"));
	assert_int_equal(linkat(folder, NAME, folder, "new.other", 0), 0);
	expect_none(550, "5.6.0 not a plain file with one name");
	unlinkat(folder, "new.other", 0);
	unlinkat(folder, NAME, 0);
}

/* We lack something: it stays for the next look. */
static void test_no_descriptor(void **state)
{
	struct drop_file file;
	struct why why = {0};
	struct rlimit limit;
	(void)state;
	write_bytes(NAME, ENVELOPE "x\r\n.\r\n", strlen(ENVELOPE "x\r\n.\r\n"));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int result = drop_file_read(folder, NAME, conf, &file, &why);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(result, -1);
	assert_int_equal(why.kind, WHY_TEMP);
	assert_int_equal(file.reply.code, 0);
	drop_file_free(&file);
	read_name(NAME, &file);
	assert_int_equal(file.reply.code, 0);
	drop_file_free(&file);
	unlinkat(folder, NAME, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_taken),
	    cmocka_unit_test(test_what_is_asked_of_reports),
	    cmocka_unit_test(test_no_envelope),
	    cmocka_unit_test(test_commands_that_are_refused),
	    cmocka_unit_test(test_a_line_too_long),
	    cmocka_unit_test(test_recipient_that_is_none),
	    cmocka_unit_test(test_too_many_recipients),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_texts_too_large),
	    cmocka_unit_test(test_files_that_are_none),
	    cmocka_unit_test(test_no_descriptor),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
