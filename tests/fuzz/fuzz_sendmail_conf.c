/* SPDX-License-Identifier: MIT
 * sendmail.conf of any bytes: it is refused with a reason and leaves nothing behind, or
 * all that relay-sendmail goes by is there and in bounds. Includes are left out, since
 * they would open whatever file the input names.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "relayd/base/text.h"
#include "relayd/sendmail_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets the text it was reading when it meets a syntax error:
 * some bytes for each refused file, and none of ours. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void check(bool fine, const char *what)
{
	if (!fine)
		bug(what);
}

static void check_refused(const struct sendmail_config *c, const struct why *why)
{
	static const struct sendmail_config empty;
	check(why->text[0], "refused without a reason");
	check(c->host == empty.host && c->port == empty.port && c->tls == empty.tls &&
		  c->ca_file == empty.ca_file && c->user == empty.user &&
		  c->password == empty.password && c->from_domain == empty.from_domain &&
		  c->from == empty.from && c->socket == empty.socket &&
		  c->control == empty.control && c->drop == empty.drop &&
		  c->timeout_ms == empty.timeout_ms,
	    "refused, but something stayed");
}

static void check_taken(const struct sendmail_config *c, bool is_private)
{
	uint64_t port;
	check(c->port && span_number(span_text(c->port), 65535, &port) && port > 0, "a wrong port");
	check(c->timeout_ms >= 1000 && c->timeout_ms <= 3600000, "a wrong timeout");
	check(c->socket && c->socket[0], "no socket");
	check(c->host || (c->drop && !c->user && !c->ca_file), "a relay without a host");
	check(!c->user == !c->password, "half of a login");
	check(is_private || !c->password, "a password that others may read");
	check(!c->from_domain || span_is_ascii(span_text(c->from_domain)), "a wrong domain");
}

static void read_as(const uint8_t *data, size_t size, mode_t mode)
{
	struct sendmail_config c;
	struct why why = {0};
	char path[40];
	int fd = memfd_create("sendmail.conf", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || fchmod(fd, mode) < 0)
		bug("no file in memory");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (sendmail_config_read(&c, path, &why) < 0)
		check_refused(&c, &why);
	else
		check_taken(&c, mode == 0600);
	sendmail_config_free(&c);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a password from another file would be no fault of a file that others may read */
	if (memmem(data, size, "@include", 8) || memmem(data, size, "password_file", 13))
		return 0;
	read_as(data, size, 0600);
	read_as(data, size, 0644);
	return 0;
}
