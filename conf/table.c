/* SPDX-License-Identifier: MIT
 * The table of keys. To add a key: a field in conf.h and a row here.
 */
#include "conf/table.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* A timeout may be short, since tests and impatient people exist, but not 0. */
#define WAIT_MIN INT64_C(100)

static const char *const words_listen_tls[] = {"none", "starttls", "implicit", NULL};
static const char *const words_smarthost_tls[] = {"may", "none", "encrypt", "verify",
    "implicit", NULL};
static const char *const words_priority[] = {"normal", "urgent", "bulk", NULL};
static const char *const words_route_tls[] = {"may", "none", "encrypt", "verify", "dane", "sts",
    NULL};
static const char *const words_mode[] = {"repair", "always", "masquerade", "off", NULL};
static const char *const words_foreign[] = {"refuse", "pass", NULL};
static const char *const words_received[] = {"show", "hide", NULL};
static const char *const words_sandbox[] = {"kill", "log", "off", NULL};
static const char *const words_newline[] = {"refuse", "repair", NULL};
static const char *const words_log[] = {"stderr", "syslog", "journal", NULL};
static const char *const words_level[] = {"error", "warn", "info", "debug", NULL};

#define AT(member) .offset = offsetof(struct conf, member)
#define IN(type, member) .offset = offsetof(struct conf_##type, member)
#define MANY(member, number) \
	.offset = offsetof(struct conf, member), .count = offsetof(struct conf, number)
#define ITEMS(type) .item = sizeof(struct conf_##type)
#define RANGE(low, high) .min = (low), .max = (high)

const struct table_row table_rows[] = {
    {"hostname", TABLE_TEXT, AT(hostname), .syntax = &syntax_host,
	.standard_says = "the machine's name", .sample = "relay.example.jp",
	.sentence = "The name given in EHLO, banners and Received fields; it should match the "
		    "PTR record of the sending address."},
    {"user", TABLE_TEXT, TABLE_EMPTY, AT(user), .syntax = &syntax_name, .standard = "relayd",
	.sentence = "The user to become when started as root; empty: stay as started."},
    {"sandbox", TABLE_ENUM, AT(sandbox), .words = words_sandbox, .standard = "kill",
	.sentence = "What becomes of the process when it makes a system call that it has no use "
		    "for: it ends; the audit log tells (to find out what is missing); or nothing, "
		    "and it may write anywhere, too."},
    {"control", TABLE_TEXT, AT(control), .syntax = &syntax_socket,
	.standard = CONF_CONTROL,
	.sentence = "The Unix socket that relayctl talks to."},
    {"control_group", TABLE_TEXT, TABLE_EMPTY, AT(control_group), .syntax = &syntax_name,
	.standard = "", .standard_says = "none", .sample = "mailadmin",
	.sentence = "The group whose members may do all that relayctl does, as root may."},
    {"control_look_group", TABLE_TEXT, TABLE_EMPTY, AT(control_look_group),
	.syntax = &syntax_name, .standard = "", .standard_says = "the daemon's own group",
	.sample = "mailwatch",
	.sentence = "The group whose members may look (status, queue list and show, why, "
		    "reputation, log), but change nothing and read no message."},
    {"drop", TABLE_TEXT, AT(drop), .syntax = &syntax_path,
	.standard_says = "beside the spool, its name with -drop behind", .sample = "/var/spool/relayd-drop",
	.sentence = "The folder where relay-sendmail leaves messages while the daemon does not "
		    "run; one that is not /var/spool/relayd-drop has to be named in "
		    "/etc/relayd/sendmail.conf too."},
    {"users", TABLE_TEXT, AT(users), .syntax = &syntax_path, .standard = "/etc/relayd/users",
	.sentence = "The file of those who may log in, kept by relayctl user; mode 0600."},
    {"log", TABLE_TEXT, AT(log), .words = words_log, .standard = "stderr",
	.sentence = "Where log lines go."},
    {"log_level", TABLE_TEXT, AT(log_level), .words = words_level, .standard = "info",
	.sentence = "The least important lines that are kept."},
    {"workers", TABLE_NUMBER, AT(workers), RANGE(0, 64), .standard = "0",
	.sentence = "Threads that sign; 0: one per processor."},
    {"foreign_from", TABLE_ENUM, AT(foreign_from), .words = words_foreign,
	.standard = "refuse",
	.sentence = "What becomes of a message whose From names a domain that is not in "
		    "domains: nothing here can sign for it."},
    {"received", TABLE_ENUM, AT(received), .words = words_received, .standard = "show",
	.sentence = "Whether the Received field of this relay tells the client's address."},
    {"bare_newline", TABLE_ENUM, AT(bare_newline), .words = words_newline,
	.standard = "refuse",
	.sentence = "What becomes of a message with line ends that are not CRLF; messages "
		    "from relay-sendmail are always repaired."},

    {"listen", TABLE_LIST, TABLE_EMPTY, MANY(listen, listen_count), ITEMS(listen),
	.standard_says = "127.0.0.1 port 25, and " CONF_SUBMIT " for relay-sendmail",
	.sentence = "Where clients connect. A list of your own replaces both of the default: keep "
		    "the socket in it, or relay-sendmail has only the drop folder, and whoever "
		    "sends hears of no error."},
    {"listen.address", TABLE_TEXT, TABLE_REQUIRED, IN(listen, address),
	.syntax = &syntax_listen, .sample = "0.0.0.0",
	.sentence = "A numeric address (0.0.0.0 and :: are all), or the absolute path of a "
		    "Unix socket."},
    {"listen.port", TABLE_NUMBER, IN(listen, port), RANGE(1, 65535),
	.standard_says = "465 with tls = \"implicit\", else 25; none for a Unix socket",
	.sample = "587", .sentence = "The TCP port."},
    {"listen.tls", TABLE_ENUM, IN(listen, tls), .words = words_listen_tls, .standard = "none",
	.sample = "starttls",
	.sentence = "No TLS, TLS on the client's wish, or TLS from the first byte."},
    {"listen.auth", TABLE_FLAG, IN(listen, auth), .standard = "false", .sample = "true",
	.sentence = "Offer login; away from the loopback only with TLS."},
    {"listen.proxy", TABLE_NETWORKS, TABLE_EMPTY, IN(listen, proxy),
	.count = offsetof(struct conf_listen, proxy_count), .syntax = &syntax_balancer,
	.standard = "",
	.sentence = "Balancers, that tell whose connection they pass on with a PROXY header "
		    "(version 1 or 2). With some, nobody else is spoken to here, and where the "
		    "header names no client (a health check), none is trusted."},

    {"trusted_networks", TABLE_NETWORKS, TABLE_EMPTY, MANY(trusted_networks, trusted_count),
	.syntax = &syntax_trusted, .standard = "127.0.0.0/8 ::1",
	.sentence = "Who may relay without login. Never a network that strangers are in."},

    {"tls", TABLE_GROUP, .sentence = "The certificate that listeners show."},
    {"tls.certificate", TABLE_TEXT, TABLE_EMPTY, AT(tls.certificate), .syntax = &syntax_path,
	.standard = "", .sample = "/etc/relayd/tls/fullchain.pem",
	.sentence = "PEM file with the certificate and its chain."},
    {"tls.key", TABLE_TEXT, TABLE_EMPTY, AT(tls.key), .syntax = &syntax_path, .standard = "",
	.sample = "/etc/relayd/tls/key.pem",
	.sentence = "PEM file with its private key, mode 0600."},
    {"tls.client_ca", TABLE_TEXT, TABLE_EMPTY, AT(tls.client_ca), .syntax = &syntax_path,
	.standard = "", .sample = "/etc/relayd/tls/clients.pem",
	.sentence = "PEM file with the authorities that have signed the certificates of "
		    "clients, where these are known by name."},
    {"certificates", TABLE_LIST, TABLE_EMPTY, MANY(certificates, certificate_count),
	ITEMS(certificate), .standard_says = "none",
	.sentence = "More certificates: one with a key of the other kind (RSA, ECDSA) for the "
		    "same name, or some for other names, which clients choose by SNI."},
    {"certificates.certificate", TABLE_TEXT, TABLE_REQUIRED, IN(certificate, certificate),
	.syntax = &syntax_path, .sample = "/etc/relayd/tls/rsa.pem",
	.sentence = "PEM file with the certificate and its chain."},
    {"certificates.key", TABLE_TEXT, TABLE_REQUIRED, IN(certificate, key),
	.syntax = &syntax_path, .sample = "/etc/relayd/tls/rsa.key",
	.sentence = "PEM file with its private key, mode 0600."},

    {"domains", TABLE_LIST, TABLE_EMPTY, MANY(domains, domain_count), ITEMS(domain),
	.standard_says = "none", .sentence = "The domains whose mail is sent from here."},
    {"domains.name", TABLE_TEXT, TABLE_REQUIRED, IN(domain, name), .syntax = &syntax_host,
	.sample = "example.jp", .sentence = "The domain; names below it belong to it."},
    {"domains.return_path", TABLE_TEXT, IN(domain, return_path), .syntax = &syntax_mail,
	.standard_says = "postmaster@ the domain", .sample = "bounce@example.jp",
	.sentence = "The envelope sender where one is set or repaired; somebody should read "
		    "it. Its domain is what SPF is checked for."},
    {"domains.dkim", TABLE_LIST, TABLE_EMPTY, IN(domain, dkim),
	.count = offsetof(struct conf_domain, dkim_count), ITEMS(dkim_key),
	.standard_says = "none: messages are not signed",
	.sentence = "The keys that sign, each of them every message (an RSA and an Ed25519 "
		    "key, say)."},
    {"domains.dkim.selector", TABLE_TEXT, TABLE_REQUIRED, IN(dkim_key, selector),
	.syntax = &syntax_label, .sample = "r2026",
	.sentence = "The name of the key in the DNS, before \"._domainkey\"."},
    {"domains.dkim.key", TABLE_TEXT, TABLE_REQUIRED, IN(dkim_key, key),
	.syntax = &syntax_path, .sample = "/etc/relayd/dkim/example.jp.r2026.key",
	.sentence = "PEM file with the private key, mode 0600."},

    {"return_path", TABLE_GROUP, .sentence = "What is done to envelope senders."},
    {"return_path.mode", TABLE_ENUM, AT(return_path.mode), .words = words_mode,
	.standard = "repair",
	.sentence = "Mend those that nobody can answer to, set all to the domain's own, "
		    "rewrite the domain only, or leave all as they are."},
    {"return_path.default_domain", TABLE_TEXT, TABLE_EMPTY, AT(return_path.default_domain),
	.syntax = &syntax_host, .standard_says = "the first of domains", .sample = "example.jp",
	.sentence = "The domain of messages that do not show one of ours."},

    {"sources", TABLE_LIST, TABLE_EMPTY, MANY(sources, source_count), ITEMS(source),
	.standard_says = "one, \"default\", bound to no address",
	.sentence = "The addresses to send from. Each has a reputation of its own."},
    {"sources.name", TABLE_TEXT, TABLE_REQUIRED, IN(source, name), .syntax = &syntax_name,
	.sample = "ip1", .sentence = "What routes, logs and relayctl call it."},
    {"sources.ipv4", TABLE_TEXT, TABLE_EMPTY, IN(source, ipv4), .syntax = &syntax_ipv4,
	.standard = "", .sample = "192.0.2.10",
	.sentence = "Its IPv4 address. With neither ipv4 nor ipv6 the system chooses."},
    {"sources.ipv6", TABLE_TEXT, TABLE_EMPTY, IN(source, ipv6), .syntax = &syntax_ipv6,
	.standard = "", .sample = "2001:db8::10", .sentence = "Its IPv6 address."},
    {"sources.hostname", TABLE_TEXT, IN(source, hostname), .syntax = &syntax_host,
	.standard_says = "hostname", .sample = "relay.example.jp",
	.sentence = "The EHLO name of this source; it should match the PTR record."},
    {"sources.since", TABLE_TEXT, TABLE_EMPTY, IN(source, since), .syntax = &syntax_date,
	.standard = "", .sample = "2026-11-01",
	.sentence = "The day on which it began to send: warm-up counts from here; empty: it "
		    "is warm."},

    {"smarthosts", TABLE_LIST, TABLE_EMPTY, MANY(smarthosts, smarthost_count),
	ITEMS(smarthost), .standard_says = "none",
	.sentence = "Relays of others, for routes to fall back on. One that refuses our login or "
		    "relays nothing for us is held, with an incident, and the next of via is "
		    "taken; a reload tries it again."},
    {"smarthosts.name", TABLE_TEXT, TABLE_REQUIRED, IN(smarthost, name),
	.syntax = &syntax_name, .sample = "ses",
	.sentence = "What routes, logs and relayctl call it."},
    {"smarthosts.host", TABLE_TEXT, TABLE_REQUIRED, IN(smarthost, host),
	.syntax = &syntax_peer, .sample = "smtp.example.net",
	.sentence = "Its name (MX records are not asked for) or numeric address."},
    {"smarthosts.port", TABLE_NUMBER, IN(smarthost, port), RANGE(1, 65535),
	.standard_says = "465 with tls = \"implicit\", else 587", .sample = "587",
	.sentence = "Its TCP port."},
    {"smarthosts.tls", TABLE_ENUM, IN(smarthost, tls), .words = words_smarthost_tls,
	.standard = "may", .standard_says = "\"verify\" with user, else \"may\"",
	.sample = "verify",
	.sentence = "STARTTLS if offered, never, always, always with a certificate for host, "
		    "or TLS from the first byte with such a certificate."},
    {"smarthosts.user", TABLE_TEXT, TABLE_EMPTY, IN(smarthost, user), .standard = "",
	.sample = "relay@example.jp", .sentence = "Log in as; empty: no login."},
    {"smarthosts.password_file", TABLE_TEXT, TABLE_EMPTY, IN(smarthost, password_file),
	.syntax = &syntax_path, .standard = "", .sample = "/etc/relayd/ses.password",
	.sentence = "The file whose first line is the password, mode 0600."},

    {"routes", TABLE_LIST, TABLE_EMPTY, MANY(routes, route_count), ITEMS(route),
	.standard_says = "everything by the first source",
	.sentence = "Which way a message goes: the first that fits recipient and sender. What "
		    "none fits goes back to its sender after queue.lifetime, so the last one "
		    "should be for all (match = \"*\")."},
    {"routes.match", TABLE_TEXT, TABLE_REQUIRED, IN(route, match), .syntax = &syntax_pattern,
	.sample = "*",
	.sentence = "The recipient's domain: all, one, or those below one (*.example.org)."},
    {"routes.sender", TABLE_TEXT, IN(route, sender), .syntax = &syntax_pattern,
	.standard = "*",
	.sentence = "The sender's domain, likewise. Of mail without a sender it is our domain "
		    "in From:, of our reports first of all the domain that they go to."},
    {"routes.tls", TABLE_ENUM, IN(route, tls), .words = words_route_tls, .standard = "may",
	.sentence = "What mail hosts need for this mail: TLS if offered (and always as they "
		    "publish by DANE or MTA-STS), none, any TLS, a certificate of a known "
		    "authority, fitting TLSA records, or an MTA-STS policy. Mail waits "
		    "where that is not met."},
    {"routes.via", TABLE_TEXTS, TABLE_REQUIRED, IN(route, via_names),
	.count = offsetof(struct conf_route, via_count), .syntax = &syntax_name,
	.sample = "ip1 ses",
	.sentence = "Names of sources and smarthosts; the first that is not held is used."},

    {"clients", TABLE_LIST, TABLE_EMPTY, MANY(clients, client_count), ITEMS(client),
	.standard_says = "none",
	.sentence = "What a login, or the hosts of a network, may do: the entry of the login, "
		    "else the first one with the host; who is in none may do what everybody "
		    "may."},
    {"clients.name", TABLE_TEXT, TABLE_REQUIRED, IN(client, name), .syntax = &syntax_name,
	.sample = "shop", .sentence = "What logs, incidents and relayctl call it."},
    {"clients.login", TABLE_TEXT, TABLE_EMPTY, IN(client, login), .standard = "",
	.sample = "shop@example.jp", .sentence = "Who is logged in as this; empty: by network."},
    {"clients.certificates", TABLE_TEXTS, TABLE_EMPTY, IN(client, certificates),
	.count = offsetof(struct conf_client, certificate_count), .standard = "",
	.sentence = "Who shows one of these is logged in, without a password: \"sha256:\" and "
		    "the fingerprint, or a name in one that tls.client_ca has signed."},
    {"clients.networks", TABLE_NETWORKS, TABLE_EMPTY, IN(client, networks),
	.count = offsetof(struct conf_client, network_count), .syntax = &syntax_network,
	.standard = "",
	.sentence = "Hosts, when there is no login; relaying needs trusted_networks besides."},
    {"clients.domains", TABLE_TEXTS, TABLE_EMPTY, IN(client, domains),
	.count = offsetof(struct conf_client, domain_count), .syntax = &syntax_host,
	.standard_says = "all domains", .sample = "example.jp",
	.sentence = "The domains it may send as, with what is under them."},
    {"clients.from", TABLE_TEXTS, TABLE_EMPTY, IN(client, from),
	.count = offsetof(struct conf_client, from_count), .syntax = &syntax_mail,
	.standard_says = "any in its domains", .sample = "shop@example.jp",
	.sentence = "The addresses it may have in From."},
    {"clients.messages_per_hour", TABLE_NUMBER, IN(client, messages_per_hour),
	RANGE(0, 1000000000), .standard = "0",
	.sentence = "More than this is held, and an incident says so (see brake; hosts are "
		    "counted one by one); 0: no limit of its own."},
    {"clients.unknown_share", TABLE_NUMBER, IN(client, unknown_share), RANGE(0, 100),
	.standard = "0",
	.sentence = "Percent of recipients that do not exist, from where its mail is held; 0: "
		    "no limit of its own."},
    {"clients.priority", TABLE_ENUM, IN(client, priority), .words = words_priority,
	.standard = "normal",
	.sentence = "Whose mail goes first where not all can go: urgent, normal, bulk."},
    {"clients.via", TABLE_TEXTS, TABLE_EMPTY, IN(client, via_names),
	.count = offsetof(struct conf_client, via_count), .syntax = &syntax_name,
	.standard_says = "by routes", .sample = "ip1",
	.sentence = "Sources and smarthosts for its mail, whatever routes say."},

    {"brake", TABLE_GROUP,
	.sentence = "From where mail of one of our senders is held, so that it does not burn "
		    "the address; an incident says so, and nobody else is touched."},
    {"brake.client_messages_per_hour", TABLE_NUMBER, AT(brake.client_messages_per_hour),
	RANGE(0, 1000000000), .standard = "0", .sample = "1000",
	.sentence = "Messages of one client address (of IPv6 a /64) or local user; 0: no limit."},
    {"brake.login_messages_per_hour", TABLE_NUMBER, AT(brake.login_messages_per_hour),
	RANGE(0, 1000000000), .standard = "0", .sample = "500",
	.sentence = "Messages of one login; 0: no limit."},
    {"brake.script_messages_per_hour", TABLE_NUMBER, AT(brake.script_messages_per_hour),
	RANGE(0, 1000000000), .standard = "0", .sample = "100",
	.sentence = "Messages of one PHP script (X-PHP-Originating-Script) of a client or "
		    "login; 0: no limit."},
    {"brake.unknown_share", TABLE_NUMBER, AT(brake.unknown_share), RANGE(0, 100),
	.standard = "0", .sample = "30",
	.sentence = "Percent of a day's recipients that do not exist, from where mail of "
		    "their client, login or script is held; 0: no limit."},
    {"brake.minimum", TABLE_NUMBER, AT(brake.minimum), RANGE(1, 1000000), .standard = "20",
	.sentence = "Of fewer recipients in a day no share is taken."},

    {"spool", TABLE_GROUP, TABLE_SHORT,
	.sentence = "Where waiting messages are kept; spool = \"/path\" is short for the path "
		    "alone."},
    {"spool.path", TABLE_TEXT, AT(spool.path), .syntax = &syntax_path,
	.standard = "/var/spool/relayd", .sentence = "The folder, on a local disk."},
    {"spool.segment_size", TABLE_SIZE, AT(spool.segment_size), RANGE(64 * KIB, GIB),
	.standard = "64M", .sentence = "Size of one file of the log, written out when made."},
    {"spool.big_message", TABLE_SIZE, AT(spool.big_message), RANGE(4 * KIB, 512 * MIB),
	.standard = "1M",
	.sentence = "Messages from this size on get a file of their own; at most half a "
		    "segment."},
    {"spool.spare_segments", TABLE_NUMBER, AT(spool.spare_segments), RANGE(1, 64),
	.standard = "2", .sentence = "Empty segments that are kept ready."},
    {"spool.free_space", TABLE_SIZE, AT(spool.free_space), RANGE(0, 1024 * GIB),
	.standard = "64M", .sentence = "With less free disk than this, messages get 452."},
    {"spool.memory", TABLE_SIZE, AT(spool.memory), RANGE(0, 64 * GIB), .standard = "0B",
	.sentence = "Memory for the texts of all clients on their way in. Beyond it they go to "
		    "disk at once; 0: an eighth of the machine's, 16M to 1G."},

    {"auth", TABLE_GROUP, .sentence = "How logins are checked, and guessing is slowed."},
    {"auth.failures", TABLE_NUMBER, AT(auth.failures), RANGE(1, 100), .standard = "5",
	.sentence = "Failed logins in a row, of an address or for a user, that bring a ban."},
    {"auth.ban", TABLE_DURATION, AT(auth.ban), RANGE(6 * SECOND, DAY), .standard = "10m",
	.sentence = "How long it lasts, and how quiet it must be after it until the failures are "
		    "forgotten; till then one more brings the next."},
    {"auth.delay", TABLE_DURATION, AT(auth.delay), RANGE(0, 30 * SECOND), .standard = "1s",
	.sentence = "The reply to a failed login waits this long for each failure in a row, up to "
		    "five times as long."},
    {"auth.cache", TABLE_DURATION, AT(auth.cache), RANGE(0, HOUR), .standard = "1m",
	.sentence = "For how long a password that was right is not hashed again; 0: always."},
    {"auth.queue", TABLE_NUMBER, AT(auth.queue), RANGE(1, 10000), .standard = "200",
	.sentence = "Logins that wait to be checked; more get 454."},
    {"auth.workers", TABLE_NUMBER, AT(auth.workers), RANGE(1, 64), .standard = "2",
	.sentence = "Threads that hash passwords, each with 16M of memory while it does."},

    {"limits", TABLE_GROUP, .sentence = "What a client may do."},
    {"limits.message_size", TABLE_SIZE, AT(limits.message_size), RANGE(1 * KIB, GIB),
	.standard = "25M", .sentence = "The largest message."},
    {"limits.header_size", TABLE_SIZE, AT(limits.header_size), RANGE(1 * KIB, 64 * MIB),
	.standard = "1M", .sentence = "All header fields of a message together."},
    {"limits.text_line", TABLE_SIZE, AT(limits.text_line), RANGE(1000, 8 * MIB),
	.standard = "1M",
	.sentence = "The longest line of a message; at most 8M, which can be signed."},
    {"limits.command_line", TABLE_SIZE, AT(limits.command_line), RANGE(512, 64 * KIB),
	.standard = "4K", .sentence = "The longest command; login may take 12288 bytes."},
    {"limits.recipients", TABLE_NUMBER, AT(limits.recipients), RANGE(1, 100000),
	.standard = "1000", .sentence = "Recipients of one message."},
    {"limits.errors", TABLE_NUMBER, AT(limits.errors), RANGE(1, 10000), .standard = "20",
	.sentence = "Refused commands, after which a session gets 421."},
    {"limits.hops", TABLE_NUMBER, AT(limits.hops), RANGE(1, 1000), .standard = "100",
	.sentence = "Received fields that show a loop."},
    {"limits.connections", TABLE_NUMBER, AT(limits.connections), RANGE(1, 100000),
	.standard = "2000", .sentence = "Connections of all clients."},
    {"limits.connections_per_client", TABLE_NUMBER, AT(limits.connections_per_client),
	RANGE(1, 100000), .standard = "100", .sentence = "Connections of one address."},
    {"limits.messages_per_connection", TABLE_NUMBER, AT(limits.messages_per_connection),
	RANGE(0, 1000000000), .standard = "0",
	.sentence = "Messages in one connection; 0: no limit."},
    {"limits.connections_per_minute", TABLE_NUMBER, AT(limits.connections_per_minute),
	RANGE(0, 1000000), .standard = "0",
	.sentence = "Connections that one address may begin within a minute; 0: no limit."},
    {"limits.messages_per_minute", TABLE_NUMBER, AT(limits.messages_per_minute),
	RANGE(0, 1000000), .standard = "0",
	.sentence = "Messages that one address may begin within a minute, before it gets 450; "
		    "0: no limit."},
    {"limits.queue_messages", TABLE_NUMBER, AT(limits.queue_messages), RANGE(1, 100000000),
	.standard = "2000000", .sentence = "Waiting messages, from where on new ones get 452."},
    {"limits.command_timeout", TABLE_DURATION, AT(limits.command_timeout),
	RANGE(WAIT_MIN, DAY), .standard = "5m", .sentence = "Longest pause between commands."},
    {"limits.data_timeout", TABLE_DURATION, AT(limits.data_timeout), RANGE(WAIT_MIN, DAY),
	.standard = "3m", .sentence = "Longest pause within a message."},
    {"limits.data_total", TABLE_DURATION, AT(limits.data_total), RANGE(WAIT_MIN, 7 * DAY),
	.standard = "1h", .sentence = "Longest time for one message."},
    {"limits.session_total", TABLE_DURATION, AT(limits.session_total),
	RANGE(WAIT_MIN, 30 * DAY), .standard = "2h", .sentence = "Longest session."},

    {"queue", TABLE_GROUP, .sentence = "How long and how eagerly delivery is tried."},
    {"queue.lifetime", TABLE_DURATION, AT(queue.lifetime), RANGE(SECOND, 90 * DAY),
	.standard = "5d", .sentence = "A message that waited this long is returned."},
    {"queue.delay_notice", TABLE_DURATION, AT(queue.delay_notice), RANGE(0, 90 * DAY),
	.standard = "4h", .sentence = "The sender is told of a delay after this; 0: never."},
    {"queue.bounce_lifetime", TABLE_DURATION, AT(queue.bounce_lifetime),
	RANGE(SECOND, 90 * DAY), .standard = "1d",
	.sentence = "A report of ours that waited this long is given up."},
    {"queue.backoff", TABLE_DURATIONS, MANY(queue.backoff, queue.backoff_count),
	RANGE(WAIT_MIN, 7 * DAY), .standard = "2m 5m 10m 20m 40m 1h 2h",
	.sentence = "The pauses between attempts; the last one repeats."},
    {"queue.window_start", TABLE_NUMBER, AT(queue.window_start), RANGE(1, 1000),
	.standard = "2", .sentence = "Connections to a destination at first."},
    {"queue.window_max", TABLE_NUMBER, AT(queue.window_max), RANGE(1, 1000),
	.standard = "20", .sentence = "Connections to a destination when all goes well."},
    {"queue.connections", TABLE_NUMBER, AT(queue.connections), RANGE(1, 20000),
	.standard = "200", .sentence = "Outgoing connections in all."},

    {"reputation", TABLE_GROUP,
	.sentence = "How paths (a source or smarthost, and a provider) are treated by what is "
		    "learnt of them."},
    {"reputation.probes", TABLE_DURATIONS, MANY(reputation.probes, reputation.probe_count),
	RANGE(SECOND, 7 * DAY), .standard = "15m 1h 4h 24h",
	.sentence = "When a held path is tried with one message, at most 8 steps; the last one "
		    "repeats. Rules may name others."},
    {"reputation.hold_max", TABLE_DURATION, AT(queue.hold_max), RANGE(0, 90 * DAY),
	.standard = "3d",
	.sentence = "Mail that waits for a held path lives so much longer than queue.lifetime."},
    {"reputation.window_start", TABLE_NUMBER, AT(reputation.window_start), RANGE(1, 1000),
	.standard = "2", .sentence = "Transactions at a time on a path that nothing is known of."},
    {"reputation.warmup_start", TABLE_NUMBER, AT(reputation.warmup_start), RANGE(1, 1000000),
	.standard = "20",
	.sentence = "Messages an hour that a new source (sources.since) may send to one provider "
		    "on its first day."},
    {"reputation.warmup_growth", TABLE_NUMBER, AT(reputation.warmup_growth), RANGE(0, 900),
	.standard = "40", .sentence = "How many percent more each day."},
    {"reputation.warmup_days", TABLE_NUMBER, AT(reputation.warmup_days), RANGE(0, 365),
	.standard = "30", .sentence = "Days after which a source is warm; 0: no warm-up."},
    {"reputation.warmup_idle", TABLE_DURATION, AT(reputation.warmup_idle),
	RANGE(0, 3650 * DAY), .standard = "30d",
	.sentence = "A source that sent nothing to a provider for so long starts again; 0: "
		    "never."},

    {"delivery", TABLE_GROUP, .sentence = "How messages are handed to other servers."},
    {"delivery.port", TABLE_NUMBER, AT(delivery.port), RANGE(1, 65535), .standard = "25",
	.sentence = "The port of mail exchangers; another one only in tests."},
    {"delivery.connect_timeout", TABLE_DURATION, AT(delivery.connect_timeout),
	RANGE(WAIT_MIN, HOUR), .standard = "30s", .sentence = "For the connection."},
    {"delivery.banner_timeout", TABLE_DURATION, AT(delivery.banner_timeout),
	RANGE(WAIT_MIN, HOUR), .standard = "5m", .sentence = "For the greeting."},
    {"delivery.command_timeout", TABLE_DURATION, AT(delivery.command_timeout),
	RANGE(WAIT_MIN, HOUR), .standard = "5m", .sentence = "For the reply to a command."},
    {"delivery.data_timeout", TABLE_DURATION, AT(delivery.data_timeout),
	RANGE(WAIT_MIN, HOUR), .standard = "2m", .sentence = "For the reply to DATA."},
    {"delivery.block_timeout", TABLE_DURATION, AT(delivery.block_timeout),
	RANGE(WAIT_MIN, HOUR), .standard = "3m", .sentence = "For a piece of the message."},
    {"delivery.end_timeout", TABLE_DURATION, AT(delivery.end_timeout), RANGE(WAIT_MIN, HOUR),
	.standard = "10m",
	.sentence = "For the reply to the whole message; shorter ones make duplicates."},
    {"delivery.transaction_total", TABLE_DURATION, AT(delivery.transaction_total),
	RANGE(WAIT_MIN, 7 * DAY), .standard = "1h",
	.sentence = "Longest time for a message and its recipients up to the end of the text, "
		    "and a second more for each 8K of it."},
    {"delivery.reuse_idle", TABLE_DURATION, AT(delivery.reuse_idle), RANGE(0, 5 * MINUTE),
	.standard = "5s", .sentence = "How long a connection waits for more messages."},
    {"delivery.reuse_messages", TABLE_NUMBER, AT(delivery.reuse_messages), RANGE(1, 100000),
	.standard = "50", .sentence = "Messages in one connection."},
    {"delivery.recipients", TABLE_NUMBER, AT(delivery.recipients), RANGE(1, 10000),
	.standard = "100", .sentence = "Recipients in one transaction."},
    {"delivery.starttls", TABLE_FLAG, AT(delivery.starttls), .standard = "true",
	.sentence = "Use TLS where it is offered."},
    {"delivery.dane", TABLE_FLAG, AT(delivery.dane), .standard = "true",
	.sentence = "Demand the certificates that receivers publish in signed TLSA records."},
    {"delivery.mta_sts", TABLE_FLAG, AT(delivery.mta_sts), .standard = "true",
	.sentence = "Fetch and keep the MTA-STS policies of receivers; TLSA records win."},
    {"delivery.mta_sts_port", TABLE_NUMBER, AT(delivery.mta_sts_port), RANGE(1, 65535),
	.standard = "443", .sentence = "The port of policy servers; another one only in tests."},
    {"delivery.tls_reports", TABLE_FLAG, AT(delivery.tls_reports), .standard = "true",
	.sentence = "Tell domains that ask for it (TLSRPT) how TLS to them went."},
    {"delivery.tls_report_interval", TABLE_DURATION, AT(delivery.tls_report_interval),
	RANGE(SECOND, 7 * DAY), .standard = "1d",
	.sentence = "How often; a day is what they expect."},
    {"delivery.allow_private", TABLE_FLAG, AT(delivery.allow_private), .standard = "false",
	.sentence = "Deliver to mail exchangers at private and loopback addresses."},
    {"delivery.ipv4", TABLE_FLAG, AT(delivery.ipv4), .standard = "true",
	.sentence = "Deliver over IPv4."},
    {"delivery.ipv6", TABLE_FLAG, AT(delivery.ipv6), .standard = "true",
	.sentence = "Deliver over IPv6."},

    {"dns", TABLE_GROUP, .sentence = "Whom names are asked of."},
    {"dns.servers", TABLE_TEXTS, TABLE_EMPTY, MANY(dns.servers, dns.server_count),
	.syntax = &syntax_server, .standard = "", .standard_says = "those of resolv.conf",
	.sample = "127.0.0.1@53",
	.sentence = "Resolvers, best one on this machine. Public ones are refused by block "
		    "lists."},
    {"dns.timeout", TABLE_DURATION, AT(dns.timeout), RANGE(WAIT_MIN, 5 * MINUTE),
	.standard = "10s", .sentence = "For one look-up with all its retries."},
    {"dns.dnssec", TABLE_FLAG, AT(dns.dnssec), .standard = "true",
	.sentence = "Check signatures; off by itself where the servers strip them."},
    {"dns.trust_anchor_file", TABLE_TEXT, AT(dns.trust_anchor_file), .syntax = &syntax_path,
	.standard = "/usr/share/dns/root.key",
	.sentence = "The keys of the root zone, from Debian's dns-root-data; another file "
		    "only in tests."},

    {"notify", TABLE_GROUP, .sentence = "Who is told of an incident."},
    {"notify.mail", TABLE_TEXT, TABLE_EMPTY, AT(notify.mail), .syntax = &syntax_mail,
	.standard = "", .sample = "admin@example.jp",
	.sentence = "An address, best one that does not depend on this relay."},
    {"notify.command", TABLE_TEXT, TABLE_EMPTY, AT(notify.command), .syntax = &syntax_path,
	.standard = "", .sample = "/etc/relayd/on-incident",
	.sentence = "A program, run for each incident, which it gets as JSON on its standard "
		    "input; changed by a restart only."},
};

const size_t table_size = sizeof(table_rows) / sizeof(table_rows[0]);
