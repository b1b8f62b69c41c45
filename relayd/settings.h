/* SPDX-License-Identifier: MIT
 * What a configuration turns into once it is in force: the conf, its keys, rules
 * and TLS contexts, counted. Who works under it holds a reference, so a reload
 * never pulls a table from under a session or an attempt.
 */
#ifndef RELAYD_SETTINGS_H
#define RELAYD_SETTINGS_H

#include <openssl/ssl.h>

#include "conf/conf.h"
#include "dkim/keys.h"
#include "queue/verdict.h"
#include "relayd/base/log.h"

struct settings {
	struct conf *conf;
	struct dkim_keys *keys;
	struct verdict_rules *rules;
	SSL_CTX *server_tls; /* NULL: no certificate */
	SSL_CTX *client_tls; /* opportunistic; these three NULL: not wanted so far */
	SSL_CTX *client_tls_verify;
	SSL_CTX *client_tls_dane;
	unsigned refs;
};

/* Read FILE and all that it names, and the rules. NULL: ERRORS (empty before) lists every
 * fault of all of them. */
struct settings *settings_load(const char *file, struct conf_errors *errors);
/* Log each fault as a line of its own, at LEVEL, WHAT in front. */
void settings_log_errors(enum log_level level, const char *what,
    const struct conf_errors *errors);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings *settings); /* NULL is fine */

/* May a policy be fetched, or a report be posted? Both are about hosts that DNS names, so
 * not where all mail goes to smarthosts. */
bool settings_want_https(const struct settings *settings);

/* The context for a delivery: opportunistic, for certificates of known authorities, for
 * DANE. Made when first wanted: OpenSSL takes two megabytes before its first
 * connection, the authorities another one. NULL: WHY says what is wrong. */
SSL_CTX *settings_client_may(struct settings *settings, struct why *why);
SSL_CTX *settings_client_verify(struct settings *settings, struct why *why);
SSL_CTX *settings_client_dane(struct settings *settings, struct why *why);

/* What works, but not well or not for long: a name that receivers refuse, no domains, no
 * socket for relay-sendmail, a source that is still to begin, a route that is never taken,
 * a certificate that ends within three weeks. One line of text each, for people. */
void settings_warn(const struct settings *settings, void (*fn)(void *arg, const char *text),
    void *arg);

/* The same of what is only looked at when the configuration is loaded: entries of
 * clients that come to nothing, since another one is for the same login, the users' file
 * does not have it, or what they may have in From is refused. Reads that file. */
void settings_warn_of_clients(const struct settings *settings,
    void (*fn)(void *arg, const char *text), void *arg);

/* What only a start would find: a group that this machine does not have, and the user,
 * whom only root becomes: for anybody else that is a warning. A reload does not ask, since
 * it changes neither. */
void settings_check_machine(const struct settings *settings, struct conf_errors *errors);
void settings_warn_of_machine(const struct settings *settings,
    void (*fn)(void *arg, const char *text), void *arg);

/* What a long life asks for, once a day: settings_warn, and new keys for tickets. */
void settings_renew(const struct settings *settings, void (*fn)(void *arg, const char *text),
    void *arg);

#endif
