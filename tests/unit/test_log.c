/* SPDX-License-Identifier: MIT
 * Log lines: one line each whatever the values hold, levels, targets, tap.
 * What is written to stderr is read back through a pipe.
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
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/log_syslog.h"

static int old_stderr;
static int out[2];
static char text[8192];

static void begin(void)
{
	assert_int_equal(pipe2(out, O_NONBLOCK | O_CLOEXEC), 0);
	old_stderr = dup(STDERR_FILENO);
	dup2(out[1], STDERR_FILENO);
}

/* What was logged since begin. */
static const char *written(void)
{
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	ssize_t n = read(out[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(out[0]);
	close(out[1]);
	return text;
}

static void one_value(struct span value)
{
	struct log_line line;
	log_begin(&line, LOG_LEVEL_INFO, "e");
	log_add(&line, "k", value);
	log_end(&line);
}

static void test_values(void **state)
{
#define ROW(value, shown)                                                                \
	{                                                                                \
		{value, sizeof(value) - 1}, shown                                        \
	}
	static const struct {
		struct span value;
		const char *shown;
	} rows[] = {
	    ROW("plain", "plain"),
	    ROW("", "\"\""),
	    ROW("two words", "\"two words\""),
	    ROW("a=b", "\"a=b\""),
	    ROW("say \"hi\"", "\"say \\\"hi\\\"\""),
	    ROW("a\nerror fake=1", "\"a\\x0aerror fake=1\""),
	    ROW("\0\x1b[0m", "\\x00\\x1b[0m"),
	    ROW("back\\slash", "back\\x5cslash"),
	    ROW("\xe6\x97\xa5", "\xe6\x97\xa5"),
	    ROW("\xff", "\\xff"),
	};
	(void)state;
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_INFO);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		one_value(rows[i].value);
		char expected[200] = "<6>info e k=";
		strncat(expected, rows[i].shown, 100);
		strncat(expected, "\n", 2);
		assert_string_equal(written(), expected);
	}
}

static void test_line(void **state)
{
	(void)state;
	struct log_line line;
	clock_fake(1800000000123);
	log_open(LOG_TO_STDERR, LOG_LEVEL_INFO);
	begin();
	log_begin(&line, LOG_LEVEL_WARN, "attempt");
	log_add_text(&line, "id", "4A");
	log_add_number(&line, "ms", INT64_MIN);
	log_add_text(&line, "none", NULL);
	log_end(&line);
	assert_string_equal(written(), "2027-01-15T08:00:00.123Z warn attempt id=4A "
				       "ms=-9223372036854775808 none=\"\"\n");
}

static void test_cut(void **state)
{
	(void)state;
	char many[5000];
	memset(many, 'x', sizeof(many));
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_INFO);
	begin();
	one_value((struct span){many, sizeof(many)});
	assert_int_equal(strlen(written()), strlen("<6>info e k=\n") + 600);
	assert_string_equal(text + strlen(text) - 4, "...\n");
	begin();
	log_text(LOG_LEVEL_INFO, "%.*s", (int)sizeof(many), many);
	assert_in_range(strlen(written()), 1000, 1050);
	assert_string_equal(text + strlen(text) - 4, "...\n");
	memset(many, 1, sizeof(many));
	begin();
	log_text(LOG_LEVEL_INFO, "%.1020s", many);
	assert_in_range(strlen(written()), 3990, 4020);
	assert_string_equal(text + strlen(text) - 8, "\\x01...\n");
}

/* It is the bytes that are shown which are counted, and none is torn. */
static void test_cut_between_escapes(void **state)
{
	static const struct {
		const char *unit;
		size_t shown;
	} rows[] = {{"\"", 2}, {"\\", 4}, {"\x01", 4}, {"\xff", 4}, {"\xe6\x97\xa5", 3}, {"x y", 3}};
	(void)state;
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_INFO);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t shift = 0; shift < 4; shift++) {
			struct buf value = {0};
			buf_add(&value, "zzz", shift);
			for (int k = 0; k < 600; k++)
				buf_add_text(&value, rows[i].unit);
			begin();
			one_value(span_buf(&value));
			buf_free(&value);
			const char *shown = written() + strlen("<6>info e k=");
			size_t n = strlen(shown) - 1;
			assert_in_range(n, 596, 600);
			if (shown[0] == '"') {
				assert_int_equal(shown[n - 1], '"');
				shown++;
				n -= 2;
			}
			assert_memory_equal(shown + n - 3, "...", 3);
			if (rows[i].unit[1] != ' ')
				assert_int_equal((n - 3 - shift) % rows[i].shown, 0);
		}
}

/* What has no room is left out whole, and a short key behind it is there. */
static void test_more_keys_than_fit(void **state)
{
	(void)state;
	char many[500];
	char key[16];
	struct log_line line;
	memset(many, 'x', sizeof(many));
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_INFO);
	begin();
	log_begin(&line, LOG_LEVEL_INFO, "e");
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		log_add(&line, key, (struct span){many, sizeof(many)});
	}
	log_add_number(&line, "last", 1);
	log_end(&line);
	assert_in_range(strlen(written()), 3500, 4020);
	assert_non_null(strstr(text, " k6=xxx"));
	assert_null(strstr(text, " k7="));
	assert_non_null(strstr(text, "xx last=1 ...\n"));
}

static void test_text(void **state)
{
	(void)state;
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_DEBUG);
	begin();
	log_text(LOG_LEVEL_ERROR, "two\nlines of %d", 1);
	log_text(LOG_LEVEL_DEBUG, "fine");
	assert_string_equal(written(), "<3>error two\\x0alines of 1\n<7>debug fine\n");
}

static void collect(struct span line, void *arg)
{
	struct buf *b = arg;
	buf_add(b, line.p, line.n);
	buf_add_byte(b, '|');
}

static void test_levels_and_tap(void **state)
{
	(void)state;
	struct buf tapped = {0};
	clock_fake(1800000000123);
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_WARN);
	log_tap(collect, &tapped);
	begin();
	log_text(LOG_LEVEL_INFO, "dropped");
	log_text(LOG_LEVEL_WARN, "kept");
	struct log_line line;
	log_begin(&line, LOG_LEVEL_DEBUG, "dropped");
	log_add_text(&line, "k", "v");
	log_end(&line);
	log_tap(NULL, NULL);
	log_text(LOG_LEVEL_ERROR, "untapped");
	assert_string_equal(written(), "<4>warn kept\n<3>error untapped\n");
	assert_string_equal(buf_text(&tapped), "2027-01-15T08:00:00.123Z warn kept|");
	buf_free(&tapped);
}

/* With its time wherever the lines themselves go, once. */
static void test_tap_has_times(void **state)
{
	static const enum log_target targets[] = {LOG_TO_STDERR, LOG_TO_JOURNAL};
	(void)state;
	clock_fake(1800000000123);
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct buf tapped = {0};
		log_open(targets[i], LOG_LEVEL_INFO);
		log_tap(collect, &tapped);
		begin();
		one_value((struct span){"v", 1});
		log_tap(NULL, NULL);
		written();
		assert_string_equal(buf_text(&tapped), "2027-01-15T08:00:00.123Z info e k=v|");
		buf_free(&tapped);
	}
}

static void test_level_changes(void **state)
{
	(void)state;
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_INFO);
	begin();
	log_set_level(log_level_named("debug"));
	log_text(LOG_LEVEL_DEBUG, "kept");
	log_set_level(log_level_named("error"));
	log_text(LOG_LEVEL_WARN, "dropped");
	assert_string_equal(written(), "<7>debug kept\n");
}

/* Nobody reads stderr any more, and writing to it would wait: lines are lost,
 * the program goes on, and who reads again is told how many. */
static void test_full_pipe(void **state)
{
	char drained[65536];
	(void)state;
	begin();
	assert_int_equal(fcntl(out[1], F_SETFL, 0), 0);
	log_open(LOG_TO_JOURNAL, LOG_LEVEL_INFO);
	for (int i = 0; i < 100000; i++)
		log_text(LOG_LEVEL_INFO, "a line that nobody reads");
	while (read(out[0], drained, sizeof(drained)) > 0)
		;
	log_text(LOG_LEVEL_INFO, "read again");
	const char *shown = written();
	assert_non_null(strstr(shown, " lines of this log were lost"));
	assert_non_null(strstr(shown, "read again"));
}

/* ---- syslog ---- */

static char socket_path[64];

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static const char *received(int fd)
{
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static int say(const char *line)
{
	return log_syslog(socket_path, LOG_WARNING, span_text(line));
}

/* What it gets, that it need not read, and that it may go and come back. */
static void test_syslog(void **state)
{
	(void)state;
	char folder[] = "/tmp/relayd-log-XXXXXX";
	char expected[128];
	assert_non_null(mkdtemp(folder));
	snprintf(socket_path, sizeof(socket_path), "%s/log", folder);
	setenv("TZ", "Asia/Tokyo", 1);
	tzset();
	clock_fake(1800000000123);
	assert_int_equal(say("nobody is there"), -1);
	int fd = listen_at(socket_path);
	assert_int_equal(say("warn a=1"), 0);
	snprintf(expected, sizeof(expected), "<20>Jan 15 17:00:00 relayd[%d]: warn a=1", (int)getpid());
	assert_string_equal(received(fd), expected);
	int sent = 0;
	while (sent < 100000 && say("not read") == 0)
		sent++;
	assert_in_range(sent, 1, 99999);
	while (recv(fd, text, sizeof(text), 0) > 0)
		sent--;
	assert_int_equal(sent, 0);
	assert_int_equal(say("read again"), 0);
	close(fd);
	assert_int_equal(say("it has gone"), -1);
	fd = listen_at(socket_path);
	assert_int_equal(say("it is back"), 0);
	assert_non_null(strstr(received(fd), "it is back"));
	close(fd);
	fd = listen_at(socket_path);
	assert_int_equal(say("started again"), 0);
	assert_non_null(strstr(received(fd), "started again"));
	close(fd);
	log_syslog_close();
	unlink(socket_path);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_cut_between_escapes),
	    cmocka_unit_test(test_more_keys_than_fit),
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_levels_and_tap),
	    cmocka_unit_test(test_tap_has_times),
	    cmocka_unit_test(test_level_changes),
	    cmocka_unit_test(test_full_pipe),
	    cmocka_unit_test(test_syslog),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
