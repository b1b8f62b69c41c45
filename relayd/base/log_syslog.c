/* SPDX-License-Identifier: MIT
 * The system's log: see log_syslog.h.
 */
#include "relayd/base/log_syslog.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "relayd/base/buf.h"
#include "relayd/base/clock.h"

static int connected = -1;

void log_syslog_close(void)
{
	if (connected >= 0)
		close(connected);
	connected = -1;
}

static int find(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (connected >= 0)
		return 0;
	if (strlen(path) >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, strlen(path) + 1);
	connected = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connected < 0)
		return -1;
	if (connect(connected, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	log_syslog_close();
	return -1;
}

static int send_once(const char *path, const struct buf *line)
{
	if (find(path) < 0)
		return -1;
	ssize_t n = send(connected, line->data, line->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n == (ssize_t)line->len ? 0 : -1;
}

/* The log reads the time of day in the machine's own zone. */
static void add_head(struct buf *b, int priority)
{
	char text[32];
	struct tm tm;
	time_t seconds = (time_t)(clock_wall_ms() / 1000);
	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%b %e %H:%M:%S", &tm);
	buf_addf(b, "<%d>%s relayd[%d]: ", LOG_MAIL | priority, text, (int)getpid());
}

int log_syslog(const char *path, int priority, struct span line)
{
	struct buf whole = {0};
	bool had = connected >= 0;
	add_head(&whole, priority);
	buf_add(&whole, line.p, line.n);
	int result = send_once(path, &whole);
	/* it has gone since the last line, and may be back */
	if (result < 0 && had && errno != EAGAIN && errno != ENOBUFS) {
		log_syslog_close();
		result = send_once(path, &whole);
	}
	buf_free(&whole);
	return result;
}
