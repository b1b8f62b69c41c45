/* SPDX-License-Identifier: MIT
 * relay-sendmail's dialogue, with a relay that is played by another process.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/sendmail_submit.h"

/* One that says all of TEXT to who comes, whatever he says, and waits for his end. */
static pid_t play_relay(const char *path, const char *text)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	pid_t pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		char heard[4096];
		int fd = accept(listener, NULL, NULL);
		bool said = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
		while (read(fd, heard, sizeof(heard)) > 0)
			;
		_exit(said ? 0 : 1);
	}
	close(listener);
	return pid;
}

/* A temporary file that can not be read has nothing to do with the relay: its word is
 * not awaited then. */
static void test_a_text_that_can_not_be_read(void **state)
{
	(void)state;
	char path[64];
	char *to = mem_text("user@dest.test");
	struct sendmail_recipients recipients = {.list = &to, .count = 1};
	struct sendmail_message message = {.body.size = 100};
	struct sendmail_dsn dsn = {0};
	struct sendmail_job job = {.sender = "", .to = &recipients, .message = &message,
	    .hostname = "localhost", .dsn = &dsn};
	struct sendmail_config config = {.socket = path, .timeout_ms = 30000};
	struct sendmail_report report = {0};
	struct buf said = {0};
	bool reached = true;
	int status = 0;
	snprintf(path, sizeof(path), "/tmp/test-submit-%d.sock", (int)getpid());
	message.body.file = open("/dev/null", O_WRONLY | O_CLOEXEC);
	buf_add_text(&message.head, "Subject: x\r\n\r\n");
	pid_t relay = play_relay(path,
	    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n451 4.3.0 early\r\n");
	assert_int_equal(sendmail_submit(&config, &job, &reached, &said, &report), EX_TEMPFAIL);
	if (reached || !strstr(buf_text(&report.text), "Bad file descriptor"))
		fail_msg("reached: %d, said: %s", reached, buf_text(&report.text));
	assert_int_equal(waitpid(relay, &status, 0), relay);
	assert_int_equal(status, 0);
	unlink(path);
	close(message.body.file);
	buf_free(&message.head);
	sendmail_report_free(&report);
	buf_free(&said);
	mem_free(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_text_that_can_not_be_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
