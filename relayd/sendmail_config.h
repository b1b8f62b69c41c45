/* SPDX-License-Identifier: MIT
 * Where relay-sendmail takes its messages: the local socket, or a relay elsewhere
 * with TLS and a password. ~/.relay-sendmail.conf or, if there is none,
 * /etc/relayd/sendmail.conf; libconfig syntax, both optional:
 *
 *	host = "relay.example.jp";     # no host: the socket of this machine
 *	port = 587;                    # default: 465 implicit, 587 starttls, 25 none
 *	tls = "starttls";              # starttls | implicit | none
 *	ca_file = "/home/u/ca.pem";    # default: the system's certificates
 *	user = "web@example.jp";
 *	password = "...";              # or password_file; such files have mode 0600
 *	from_domain = "example.jp";    # for addresses without one
 *	from = "web@example.jp";       # envelope sender when no -f is given
 *	socket = "/run/relayd/submit.sock";
 *	control = "/run/relayd/control.sock";
 *	drop = "/var/spool/relayd-drop";
 *	timeout = 300;                 # seconds to wait for an answer
 */
#ifndef RELAYD_SENDMAIL_CONFIG_H
#define RELAYD_SENDMAIL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/why.h"

enum sendmail_tls { SENDMAIL_TLS_NONE, SENDMAIL_TLS_STARTTLS, SENDMAIL_TLS_IMPLICIT };

#define SENDMAIL_SYSTEM_FILE "/etc/relayd/sendmail.conf"

struct sendmail_config {
	bool is_default; /* no file was read, nor was a socket in the environment */
	char *host; /* NULL: the socket */
	char *port; /* decimal */
	enum sendmail_tls tls;
	char *ca_file; /* NULL: the system's */
	char *user;    /* NULL: no AUTH */
	char *password;
	char *from_domain; /* NULL: not set */
	char *from;        /* NULL: not set */
	char *socket;
	char *control; /* NULL: relayctl knows */
	char *drop;    /* NULL: no drop folder (HOST is set and no drop is) */
	int64_t timeout_ms;
};

/* Read FILE. -1: WHY has file, line and what is wrong; CONFIG is empty. */
int sendmail_config_read(struct sendmail_config *config, const char *file, struct why *why)
    ATTR_MUST_CHECK;

/* One of the files above (HOME: whose; NULL: only the system's), or defaults; then
 * RELAY_SENDMAIL_SOCKET and RELAY_SENDMAIL_DROP of the environment (not of a program
 * with more rights than its caller). */
int sendmail_config_load(struct sendmail_config *config, const char *home, struct why *why)
    ATTR_MUST_CHECK;

void sendmail_config_free(struct sendmail_config *config);

#endif
