/* SPDX-License-Identifier: MIT
 * The configuration as the rest of the program sees it: plain structs, all
 * defaults filled in, all names resolved and checked. It is read-only once
 * loaded; a reload makes a new one and swaps. Functions take the part they
 * need, not all of it.
 *
 * Strings are NUL-terminated, owned by the conf, never NULL unless it says so.
 * Durations are milliseconds, sizes bytes.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/attr.h"
#include "relayd/base/buf.h"
#include "relayd/base/why.h"

enum conf_listen_tls { CONF_LISTEN_TLS_NONE, CONF_LISTEN_TLS_STARTTLS, CONF_LISTEN_TLS_IMPLICIT };

struct conf_listen {
	char *address; /* numeric IPv4/IPv6, or the absolute path of a Unix socket */
	int64_t port;  /* 25; 465 with CONF_LISTEN_TLS_IMPLICIT; 0 for a Unix socket */
	enum conf_listen_tls tls;
	bool auth;     /* offer AUTH here */
	struct conf_network *proxy; /* balancers, whose PROXY header tells the client */
	size_t proxy_count;         /* 0: clients come by themselves */
};

/* A network, parsed. */
struct conf_network {
	char *text;
	int family; /* AF_INET or AF_INET6 */
	unsigned char address[16];
	unsigned bits;
};

/* The *_at here are FILE:LINE of that key, for whoever looks into what it names. */
struct conf_tls {
	char *certificate; /* "" when none */
	char *key;
	char *client_ca;   /* who may have signed certificates of clients; "" nobody */
	char *certificate_at;
	char *key_at;
	char *client_ca_at;
};

/* One more certificate beside that of struct conf_tls. */
struct conf_certificate {
	char *certificate;
	char *key;
	char *certificate_at;
	char *key_at;
};

struct conf_dkim_key {
	char *selector;
	char *key; /* path of the PEM file */
	char *key_at;
};

struct conf_domain {
	char *name;        /* lower case, A-label form */
	char *return_path; /* default: postmaster@name */
	struct conf_dkim_key *dkim;
	size_t dkim_count;
};

enum conf_return_path_mode {
	CONF_RETURN_PATH_REPAIR,
	CONF_RETURN_PATH_ALWAYS,
	CONF_RETURN_PATH_MASQUERADE,
	CONF_RETURN_PATH_OFF,
};

enum conf_foreign_from { CONF_FOREIGN_FROM_REFUSE, CONF_FOREIGN_FROM_PASS };

struct conf_return_path {
	enum conf_return_path_mode mode;
	char *default_domain; /* default: the first of domains; "" when there is none */
};

struct conf_source {
	char *name;
	char *ipv4; /* "" when none: then IPv4 is not bound (if ipv6 is "" too) */
	char *ipv6;
	char *hostname; /* EHLO name; default: the global hostname */
	char *since;    /* "YYYY-MM-DD" or "" : warm-up counts from here */
};

enum conf_smarthost_tls { CONF_TLS_MAY, CONF_TLS_NONE, CONF_TLS_ENCRYPT, CONF_TLS_VERIFY,
	CONF_TLS_IMPLICIT };

struct conf_smarthost {
	char *name;
	char *host; /* a name (A/AAAA, no MX) or a numeric address */
	int64_t port; /* 587; 465 with CONF_TLS_IMPLICIT */
	enum conf_smarthost_tls tls; /* MAY; VERIFY when there is a user */
	char *user; /* "" : no AUTH */
	char *password_file;
	char *password; /* what the file held, "" when none; wiped on free */
};

/* One entry of a route's via: exactly one of the two is set. */
struct conf_via {
	const struct conf_source *source;
	const struct conf_smarthost *smarthost;
};

/* What a receiver's host has to offer and show before it gets a message. */
enum conf_route_tls {
	CONF_LEVEL_MAY,     /* what it offers, unverified; what it publishes is kept */
	CONF_LEVEL_NONE,    /* no TLS */
	CONF_LEVEL_ENCRYPT, /* TLS, verified where it publishes how */
	CONF_LEVEL_VERIFY,  /* a certificate of a known authority for the host's name */
	CONF_LEVEL_DANE,    /* TLSA records that fit, RFC 7672 */
	CONF_LEVEL_STS,     /* an MTA-STS policy that is met, RFC 8461 */
};

struct conf_route {
	char *match;  /* recipient domain: "*", "example.org", "*.example.org" */
	char *sender; /* sender domain, same forms; default "*" */
	enum conf_route_tls tls; /* of hosts that DNS names; smarthosts have their own */
	char **via_names;
	struct conf_via *via;
	size_t via_count;
};

enum conf_priority { CONF_PRIORITY_NORMAL, CONF_PRIORITY_URGENT, CONF_PRIORITY_BULK };

/* Who may do what: one login, or the hosts of some networks. The first entry
 * that fits counts; who is in none may do what everybody may. */
struct conf_client {
	char *name;     /* what logs, incidents and relayctl call it */
	char *login;    /* "" : by network. With certificates it is NAME where not given */
	char **certificates; /* who shows one of these is logged in: "sha256:HEX", or a
	                        name in one that tls.client_ca has signed */
	size_t certificate_count;
	struct conf_network *networks; /* of them each is in trusted_networks, or logs in */
	size_t network_count;
	char **domains; /* it may send as these and what is under them; none: all of ours */
	size_t domain_count;
	char **from;    /* and with these addresses in From; none: any in its domains */
	size_t from_count;
	int64_t messages_per_hour; /* 0: no limit */
	int64_t unknown_share;     /* percent of recipients that nobody knows; 0: no limit */
	enum conf_priority priority;
	char **via_names; /* the way of its mail, before routes; none: by routes */
	struct conf_via *via;
	size_t via_count;
};

/* From where mail of one of our senders is held; rates and shares of 0: no limit. An
 * entry of clients may have its own. */
struct conf_brake {
	int64_t client_messages_per_hour; /* of an address (IPv6: a /64), a local user */
	int64_t login_messages_per_hour;
	int64_t script_messages_per_hour; /* by X-PHP-Originating-Script */
	int64_t unknown_share; /* percent of recipients that nobody knows */
	int64_t minimum;       /* 20: of fewer recipients in a day no share is taken */
};

enum conf_bare_newline { CONF_BARE_REFUSE, CONF_BARE_REPAIR };
enum conf_sandbox { CONF_SANDBOX_KILL, CONF_SANDBOX_LOG, CONF_SANDBOX_OFF };
enum conf_received { CONF_RECEIVED_SHOW, CONF_RECEIVED_HIDE };

/* What a client of ours may do. */
struct conf_limits {
	int64_t message_size;     /* 25M */
	int64_t header_size;      /* 1M: all header fields of a message together */
	int64_t text_line;        /* 1M: longest line of message text */
	int64_t command_line;     /* 4096; AUTH lines may have 12288 */
	int64_t recipients;       /* 1000 per message */
	int64_t errors;           /* 20: then 421 */
	int64_t hops;             /* 100 Received fields: then 554 5.4.6 */
	int64_t connections;      /* 2000 in all */
	int64_t connections_per_client; /* 100 */
	int64_t messages_per_connection; /* 0: no limit */
	int64_t connections_per_minute;  /* of one client; 0: no limit */
	int64_t messages_per_minute;     /* of one client; 0: no limit */
	int64_t queue_messages;   /* 2000000: then 452 */
	int64_t command_timeout;  /* 5m: idle between commands */
	int64_t data_timeout;     /* 3m: longest pause within DATA */
	int64_t data_total;       /* 1h: whole DATA */
	int64_t session_total;    /* 2h */
};

struct conf_queue {
	int64_t lifetime;        /* 5d */
	int64_t delay_notice;    /* 4h; 0: never */
	int64_t bounce_lifetime; /* 1d: of reports that we send */
	int64_t *backoff;        /* 2m 5m 10m 20m 40m 1h 2h; the last one repeats */
	size_t backoff_count;
	int64_t hold_max;        /* 3d beyond lifetime, for what waits for a held path;
	                            reputation.hold_max in the file */
	int64_t window_start;    /* 2: concurrent connections to a destination at first */
	int64_t window_max;      /* 20 */
	int64_t connections;     /* 200 outgoing in all */
};

#define CONF_PROBES_MAX 8

/* What is done to paths by what is learnt of them (queue/reputation.h). */
struct conf_reputation {
	int64_t *probes;         /* 15m 1h 4h 24h; the last one repeats */
	size_t probe_count;      /* at most CONF_PROBES_MAX */
	int64_t window_start;    /* 2 transactions at a time on a new path */
	int64_t warmup_start;    /* 20 messages an hour on the first day */
	int64_t warmup_growth;   /* 40 % more each day */
	int64_t warmup_days;     /* 30; 0: no warm-up */
	int64_t warmup_idle;     /* 30d without mail start it again; 0: nothing does */
};

/* What we do as an SMTP client. RFC 5321 4.5.3.2 gives the minima. */
struct conf_delivery {
	int64_t port;              /* 25; tests use another */
	int64_t connect_timeout;   /* 30s */
	int64_t banner_timeout;    /* 5m */
	int64_t command_timeout;   /* 5m: EHLO, MAIL, RCPT, RSET, STARTTLS, AUTH */
	int64_t data_timeout;      /* 2m: reply to DATA */
	int64_t block_timeout;     /* 3m: each piece of the message to be taken */
	int64_t end_timeout;       /* 10m: reply to the final dot */
	int64_t transaction_total; /* 1h: MAIL to the final dot, but for the size of the text */
	int64_t reuse_idle;        /* 5s: a connection waits that long for more mail */
	int64_t reuse_messages;    /* 50 messages per connection */
	int64_t recipients;        /* 100 per transaction */
	bool starttls;             /* true: use it where it is offered */
	bool dane;                 /* true: keep what TLSA records say */
	bool mta_sts;              /* true: and what MTA-STS policies say */
	int64_t mta_sts_port;      /* 443; tests use another */
	bool tls_reports;          /* true: to domains that ask for them */
	int64_t tls_report_interval; /* 1d */
	bool allow_private;        /* false: refuse MX at private or loopback addresses */
	bool ipv4, ipv6;           /* true, true */
};

struct conf_spool {
	char *path;
	int64_t segment_size;   /* 64M */
	int64_t big_message;    /* 1M: from here on a file of its own */
	int64_t spare_segments; /* 2 kept ready */
	int64_t free_space;     /* 64M: under this much free disk, 452 */
	int64_t memory;         /* of all texts on their way in; 0: as the machine gives */
};

struct conf_dns {
	char **servers; /* "127.0.0.1@53"; none: those of resolv.conf */
	size_t server_count;
	int64_t timeout; /* 10s for one look-up */
	bool dnssec;     /* true; off by itself where the servers strip it */
	char *trust_anchor_file; /* of the root zone; another one in tests */
};

struct conf_notify {
	char *mail;    /* "" : none */
	char *command; /* "" : none */
};

/* How logins are checked, and guesses slowed. */
struct conf_auth {
	int64_t failures; /* 5: of an address or a user in a row, then a ban */
	int64_t ban;      /* 10m */
	int64_t delay;    /* 1s for each failure in a row, at most five times */
	int64_t cache;    /* 1m: a right password is not hashed again; 0: always */
	int64_t queue;    /* 200 passwords waiting to be hashed */
	int64_t workers;  /* 2 threads that hash */
};

struct conf {
	char *file;     /* where it was read from */
	char *hostname; /* default: the machine's name */
	char *user;     /* "relayd"; used when started as root; "" : do not change */
	enum conf_sandbox sandbox;
	char *control;
	char *control_group;      /* "": none */
	char *control_look_group; /* "": the daemon's own */
	char *drop;     /* drop folder for relay-sendmail; default SPOOL-drop, beside
	                   the spool, which nobody else may enter */
	char *users;    /* the file of logins and their password hashes */
	char *log;      /* "stderr" | "syslog" | "journal" */
	char *log_level;
	struct conf_listen *listen;
	size_t listen_count;
	struct conf_network *trusted_networks;
	size_t trusted_count;
	struct conf_tls tls;
	struct conf_certificate *certificates;
	size_t certificate_count;
	struct conf_domain *domains;
	size_t domain_count;
	struct conf_return_path return_path;
	enum conf_foreign_from foreign_from; /* From: a domain that is not ours */
	enum conf_received received;
	enum conf_bare_newline bare_newline;
	struct conf_source *sources; /* default: one, "default", unbound */
	size_t source_count;
	struct conf_smarthost *smarthosts;
	size_t smarthost_count;
	struct conf_route *routes; /* default: everything via the first source */
	size_t route_count;
	struct conf_client *clients;
	size_t client_count;
	struct conf_auth auth;
	struct conf_brake brake;
	struct conf_limits limits;
	struct conf_queue queue;
	struct conf_reputation reputation;
	struct conf_delivery delivery;
	struct conf_spool spool;
	struct conf_dns dns;
	struct conf_notify notify;
	int64_t workers; /* signing threads; 0: one per processor */
};

/* Every mistake of a configuration, in the order of the file; a file with more
 * than 200 of them gets a last line that says how many are not shown. Behind them
 * what is wrong with the contents of the files that it names. */
struct conf_errors {
	struct buf text; /* one line each: FILE:LINE: KEY: what is wrong, what was expected */
	size_t count;
};
/* One more: AT is FILE:LINE or FILE, SAID a line without its end. */
void conf_errors_add(struct conf_errors *errors, const char *at, const char *key,
    const char *said);
void conf_errors_free(struct conf_errors *errors);

/* Read, check and complete FILE. NULL: ERRORS says all that is wrong with it
 * (unknown key with the nearest name, wrong type, out of range, unreadable
 * key file, a name that nothing defines, ...). Free with conf_free. */
struct conf *conf_load(const char *file, struct conf_errors *errors);

/* The same for who goes on to look for mistakes, and uses nothing of it: a file with some
 * gives what is good of it. What was refused is "" or the default, a file that can not be
 * read "". NULL: the syntax is broken. */
struct conf *conf_load_partly(const char *file, struct conf_errors *errors);

/* The same as conf_load from text; FILE is the name for messages, and its folder where an
 * @include starts. Key, certificate and password files are looked at as well.
 * Used by tests and fuzz. */
struct conf *conf_parse(const char *text, const char *file, struct conf_errors *errors);

/* The control socket that FILE names, whatever else is wrong in it or may not be read by
 * who asks; free with mem_free. NULL: FILE itself is not to be read, ERRORS says why. */
char *conf_find_control(const char *file, struct conf_errors *errors);

#define CONF_CONTROL "/run/relayd/control.sock" /* the default of it */
#define CONF_SUBMIT "/run/relayd/submit.sock"   /* where relay-sendmail connects */

void conf_free(struct conf *conf);

/* The effective configuration, every key, in the syntax of the file: what
 * `relayd -T` prints. It parses to an equal configuration. Secrets: the path
 * of the password file only. */
void conf_print(const struct conf *conf, struct buf *out);
/* What one key of it comes to, "dns" or "auth.workers"; of a group all of it. */
void conf_print_key(const struct conf *conf, const char *path, struct buf *out);

/* The commented sample (all keys, commented out, so that it parses to the
 * defaults) and, in man(7) macros from its .SH on, the section of the man page
 * that explains the keys; both from the table. */
void conf_print_sample(struct buf *out);
void conf_print_manual(struct buf *out);

/* The configured domain that NAME is or is under (the longest one); NULL: none. */
const struct conf_domain *conf_domain_of(const struct conf_domain *domains, size_t count,
    const char *name, size_t n);

/* The domain of mail that we write ourselves: the default one, else our host. */
const char *conf_own_domain(const struct conf *conf);

/* The entry of clients for a session that is logged in as LOGIN (NULL: it is not)
 * from that address (FAMILY 0: a Unix socket): that of the login, wherever it stands,
 * else the first one that has the address; NULL: none. */
const struct conf_client *conf_client_of(const struct conf_client *clients, size_t count,
    const char *login, int family, const void *address);

/* The entry of that name; NULL: none (any more). */
const struct conf_client *conf_client_named(const struct conf_client *clients, size_t count,
    const char *name);

/* Does a route pattern ("*", "example.org", "*.example.org") fit DOMAIN? */
bool conf_pattern_fits(const char *pattern, const char *domain, size_t n);

/* Is the address (FAMILY AF_INET/AF_INET6, network order; IPv4 in IPv6 is
 * taken as IPv4) in one of the networks? */
bool conf_network_holds(const struct conf_network *networks, size_t count, int family,
    const void *address);

#endif
