/* SPDX-License-Identifier: MIT
 * relay-sendmail's connection: a Unix socket or TCP, with or without TLS, bytes out
 * and lines in, each wait with a deadline. It blocks: there is one message and
 * nothing else to do, so neither libevent nor conn.c is needed, which keeps the
 * program small enough to be linked statically.
 */
#ifndef RELAYD_SENDMAIL_LINK_H
#define RELAYD_SENDMAIL_LINK_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"
#include "relayd/base/why.h"

struct sendmail_link {
	int fd;
	SSL *ssl; /* NULL: plain */
	bool loopback; /* nobody can listen in: a Unix socket, or an address of this machine */
	struct buf in;   /* what was read ahead */
	size_t taken;    /* bytes of IN that link_line has handed out */
};

/* DEADLINE is a time of clock_mono_ms. All: 0, or -1 with WHY. */
int sendmail_link_unix(struct sendmail_link *link, const char *path, struct why *why)
    ATTR_MUST_CHECK;
/* Each address of HOST gets a share of the time. */
int sendmail_link_tcp(struct sendmail_link *link, const char *host, const char *port,
    int64_t deadline, struct why *why) ATTR_MUST_CHECK;

/* Turn to TLS and verify HOST. Nothing may have been read ahead. CA_FILE: NULL, the
 * system's certificates. */
int sendmail_link_tls(struct sendmail_link *link, const char *host, const char *ca_file,
    int64_t deadline, struct why *why) ATTR_MUST_CHECK;

int sendmail_link_write(struct sendmail_link *link, struct span s, int64_t deadline,
    struct why *why) ATTR_MUST_CHECK;

/* One line without its CRLF (or LF), valid until the next call. */
int sendmail_link_line(struct sendmail_link *link, struct span *line, int64_t deadline,
    struct why *why) ATTR_MUST_CHECK;

/* What is there, at most N bytes; waits when nothing is. 0: the other side closed. */
int64_t sendmail_link_read(struct sendmail_link *link, char *to, size_t n, int64_t deadline,
    struct why *why) ATTR_MUST_CHECK;

/* The same without waiting, as much as goes at once. 0: nothing now, poll for EVENTS; of
 * reading with no EVENTS: the other side closed. */
int64_t sendmail_link_write_some(
    struct sendmail_link *link, struct span s, short *events, struct why *why) ATTR_MUST_CHECK;
int64_t sendmail_link_read_some(
    struct sendmail_link *link, char *to, size_t n, short *events, struct why *why) ATTR_MUST_CHECK;

/* Would link_read return without waiting, whatever poll says? */
bool sendmail_link_has_input(const struct sendmail_link *link);

void sendmail_link_close(struct sendmail_link *link);

#endif
