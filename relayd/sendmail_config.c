/* SPDX-License-Identifier: MIT
 * Reading sendmail.conf. A key that is not known, or a file that others may read
 * though it holds a password, is an error: both are found out only when mail
 * does not arrive, else.
 */
#include "relayd/sendmail_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/buf.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"
#include "smtp/address.h"

#define FILE_MAX 65536
#define TIMEOUT_MAX 3600

#ifndef RELAYD_SUBMIT
#define RELAYD_SUBMIT "/run/relayd/submit.sock"
#endif
#ifndef RELAYD_DROP
#define RELAYD_DROP "/var/spool/relayd-drop"
#endif

struct reading {
	struct sendmail_config *config;
	const char *file;
	bool is_private; /* the file's mode is 0600 or less */
	char *password_file;
	bool has_port;
	bool has_tls;
	struct why *why;
};

/* FILE into OUT. 0 read, 1 there is none, -1: WHY. MODE: its permission bits. A file
 * of somebody else than the caller and root is not obeyed. */
static int read_file(const char *file, struct buf *out, mode_t *mode, struct why *why)
{
	struct stat st = {0};
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 1;
	if (fd < 0 || fstat(fd, &st) < 0) {
		why_errno(why, WHY_LOCAL, errno, "%.150s", file);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*mode = st.st_mode & 07777;
	int result = 0;
	ssize_t n = 0;
	if (st.st_uid != 0 && st.st_uid != getuid())
		result = why_set(why, WHY_LOCAL, "%.150s: it belongs to somebody else (uid %u)", file,
		    (unsigned)st.st_uid);
	else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		result = why_set(why, WHY_LOCAL, "%.150s: not a plain file of at most %d bytes", file,
		    FILE_MAX);
	/* room for all of it at once, so that no copy of a password is left behind */
	else if ((n = read(fd, buf_room(out, FILE_MAX), FILE_MAX)) < 0)
		result = why_errno(why, WHY_LOCAL, errno, "%.150s", file);
	if (n > 0) {
		out->len = (size_t)n;
		out->data[n] = '\0';
		/* it would hide the rest of the file */
		if (memchr(out->data, '\0', out->len))
			result = why_set(why, WHY_LOCAL, "%.150s: holds a NUL byte, expected a text file",
			    file);
	}
	close(fd);
	return result;
}

/* ---- one setting ---- */

static int wrong(struct reading *r, const config_setting_t *s, const char *text)
{
	struct buf key = {0};
	text_escape(&key, span_text(config_setting_name(s)), 60);
	why_set(r->why, WHY_LOCAL, "%.100s:%u: %s: %s", r->file, config_setting_source_line(s),
	    buf_text(&key), text);
	buf_free(&key);
	return -1;
}

static int take_number(struct reading *r, const config_setting_t *s, long long low,
    long long high, long long *value)
{
	int type = config_setting_type(s);
	*value = config_setting_get_int64(s);
	if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) || *value < low || *value > high) {
		char text[80];
		snprintf(text, sizeof(text),
		    "a number from %lld to %lld without quotes is expected", low, high);
		return wrong(r, s, text);
	}
	return 0;
}

static int take_port(struct reading *r, const config_setting_t *s)
{
	long long value;
	struct buf text = {0};
	if (take_number(r, s, 1, 65535, &value) < 0)
		return -1;
	buf_addf(&text, "%lld", value);
	r->config->port = buf_take(&text, NULL);
	r->has_port = true;
	return 0;
}

static int take_timeout(struct reading *r, const config_setting_t *s)
{
	long long value;
	if (take_number(r, s, 1, TIMEOUT_MAX, &value) < 0)
		return -1;
	r->config->timeout_ms = value * 1000;
	return 0;
}

static int take_tls(struct reading *r, const config_setting_t *s)
{
	const char *value = config_setting_get_string(s);
	r->has_tls = true;
	if (value && strcmp(value, "none") == 0)
		r->config->tls = SENDMAIL_TLS_NONE;
	else if (value && strcmp(value, "starttls") == 0)
		r->config->tls = SENDMAIL_TLS_STARTTLS;
	else if (value && strcmp(value, "implicit") == 0)
		r->config->tls = SENDMAIL_TLS_IMPLICIT;
	else
		return wrong(r, s, "\"starttls\", \"implicit\" or \"none\" is expected");
	return 0;
}

/* Where the text of a key goes; NULL: it is none. */
static char **place_of(struct reading *r, const char *key)
{
	struct sendmail_config *c = r->config;
	const struct {
		const char *key;
		char **place;
	} places[] = {
	    {"host", &c->host}, {"ca_file", &c->ca_file}, {"user", &c->user},
	    {"password", &c->password}, {"password_file", &r->password_file},
	    {"from_domain", &c->from_domain}, {"from", &c->from}, {"socket", &c->socket},
	    {"control", &c->control}, {"drop", &c->drop},
	};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strcmp(key, places[i].key) == 0)
			return places[i].place;
	return NULL;
}

static bool is_path(const char *key)
{
	static const char *const keys[] = {"ca_file", "password_file", "socket", "control", "drop"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

/* "relay.example.jp:587", as other programs take it, would be a name that is not found. */
static bool has_port(const char *host)
{
	struct in6_addr address;
	return strpbrk(host, ":[]") && inet_pton(AF_INET6, host, &address) != 1;
}

/* A text that can not be meant; NULL: it can. */
static const char *what_is_wrong(const char *key, const char *value)
{
	/* the same file is read by a shell at home and by a web server in its own folder */
	if (is_path(key) && value[0] != '/')
		return "expected an absolute path (\"/...\"; neither ~ nor the folder of the caller "
		       "counts)";
	if (strcmp(key, "host") == 0 && has_port(value))
		return "expected a name or a numeric address without brackets; port is a key of its own";
	return NULL;
}

static int take_setting(struct reading *r, const config_setting_t *s)
{
	const char *key = config_setting_name(s);
	if (strcmp(key, "port") == 0)
		return take_port(r, s);
	if (strcmp(key, "timeout") == 0)
		return take_timeout(r, s);
	if (strcmp(key, "tls") == 0)
		return take_tls(r, s);
	char **place = place_of(r, key);
	const char *value = config_setting_get_string(s);
	if (!place)
		return wrong(r, s, "there is no such key");
	if (!value || !value[0])
		return wrong(r, s, "a text in quotes is expected");
	if (strcmp(key, "password") == 0 && !r->is_private)
		return wrong(r, s, "others may read this file; chmod 600 it, or use password_file");
	const char *fault = what_is_wrong(key, value);
	if (fault)
		return wrong(r, s, fault);
	*place = mem_text(value);
	return 0;
}

/* ---- all of it ---- */

static int take_password_file(struct reading *r)
{
	struct buf text = {0};
	mode_t mode = 0;
	int got = read_file(r->password_file, &text, &mode, r->why);
	if (got > 0)
		why_set(r->why, WHY_LOCAL, "password_file %.150s does not exist", r->password_file);
	else if (got == 0 && (mode & 077))
		got = why_set(r->why, WHY_LOCAL,
		    "password_file %.150s: others may read it; chmod 600 it", r->password_file);
	if (got == 0) {
		size_t n = strcspn(buf_text(&text), "\r\n");
		if (n == 0)
			got = why_set(r->why, WHY_LOCAL, "password_file %.150s: its first line is empty",
			    r->password_file);
		else
			r->config->password = mem_copy(text.data, n);
	}
	buf_wipe(&text);
	return got == 0 ? 0 : -1;
}

static int check(struct reading *r)
{
	struct sendmail_config *c = r->config;
	struct span domain = span_text(c->from_domain);
	if (c->password && r->password_file)
		return why_set(r->why, WHY_LOCAL, "%.100s: password and password_file exclude each other",
		    r->file);
	if (r->password_file && take_password_file(r) < 0)
		return -1;
	if (!c->user != !c->password)
		return why_set(r->why, WHY_LOCAL, "%.100s: user and password (or password_file) belong "
		    "together", r->file);
	if ((c->user || c->ca_file || r->has_port || r->has_tls) && !c->host)
		return why_set(r->why, WHY_LOCAL, "%.100s: %s without a host", r->file,
		    c->user ? "user" : c->ca_file ? "ca_file" : r->has_port ? "port" : "tls");
	if (c->host && c->socket)
		return why_set(r->why, WHY_LOCAL, "%.100s: host and socket exclude each other", r->file);
	/* each side would wait for the other to speak */
	if (c->port && strcmp(c->port, "465") == 0 && c->tls != SENDMAIL_TLS_IMPLICIT)
		return why_set(r->why, WHY_LOCAL,
		    "%.100s: port 465 speaks TLS from the first byte on; "
		    "expected tls = \"implicit\" with it",
		    r->file);
	if (c->from_domain && (!span_is_ascii(domain) || domain_scan(domain) != domain.n))
		return why_set(r->why, WHY_LOCAL, "%.100s: from_domain is not a domain name", r->file);
	return 0;
}

static int bad_syntax(struct reading *r, const config_t *tree)
{
	const char *text = config_error_text(tree);
	return why_set(r->why, WHY_LOCAL, "%.100s:%d: %s%s", r->file, config_error_line(tree), text,
	    strcmp(text, "syntax error") == 0 ? "; expected lines like host = \"relay.example.jp\";"
					      : "");
}

static int parse(struct reading *r, const char *text)
{
	config_t tree;
	config_init(&tree);
	int result = 0;
	if (!config_read_string(&tree, text))
		result = bad_syntax(r, &tree);
	config_setting_t *root = config_root_setting(&tree);
	for (int i = 0; result == 0 && i < config_setting_length(root); i++)
		result = take_setting(r, config_setting_get_elem(root, (unsigned)i));
	config_destroy(&tree);
	return result == 0 ? check(r) : -1;
}

static void fill(struct sendmail_config *c)
{
	static const char *const ports[] = {[SENDMAIL_TLS_NONE] = "25",
	    [SENDMAIL_TLS_STARTTLS] = "587", [SENDMAIL_TLS_IMPLICIT] = "465"};
	if (!c->port)
		c->port = mem_text(ports[c->tls]);
	if (!c->socket)
		c->socket = mem_text(RELAYD_SUBMIT);
	/* a folder of this machine is of no use to a relay elsewhere */
	if (!c->drop && !c->host)
		c->drop = mem_text(RELAYD_DROP);
}

/* 0 read, 1 there is none, -1: WHY. */
static int read_one(struct sendmail_config *config, const char *file, struct why *why)
{
	struct buf text = {0};
	mode_t mode = 0;
	*config = (struct sendmail_config){.tls = SENDMAIL_TLS_STARTTLS, .timeout_ms = 300000};
	int result = read_file(file, &text, &mode, why);
	if (result == 0) {
		struct reading r = {.config = config, .file = file, .is_private = !(mode & 077),
		    .why = why};
		result = parse(&r, buf_text(&text));
		mem_free(r.password_file);
	}
	buf_wipe(&text);
	if (result >= 0)
		fill(config);
	else
		sendmail_config_free(config);
	return result;
}

int sendmail_config_read(struct sendmail_config *config, const char *file, struct why *why)
{
	int result = read_one(config, file, why);
	if (result <= 0)
		return result;
	sendmail_config_free(config);
	return why_set(why, WHY_LOCAL, "%.150s does not exist", file);
}

/* An empty one is none. */
static const char *environment(const char *name)
{
	const char *value = secure_getenv(name);
	return value && value[0] ? value : NULL;
}

static void replace(char **text, const char *name)
{
	const char *value = environment(name);
	if (!value)
		return;
	mem_free(*text);
	*text = mem_text(value);
}

/* $HOME may be another user's: servers keep that of root who started them, and sudo
 * keeps that of its caller. The file in it is not meant for us then. */
static bool is_callers(const char *file)
{
	struct stat st;
	return stat(file, &st) == 0 && (st.st_uid == getuid() || st.st_uid == 0);
}

int sendmail_config_load(struct sendmail_config *config, const char *home, struct why *why)
{
	struct buf file = {0};
	int result = 1;
	*config = (struct sendmail_config){0};
	if (home && home[0] == '/') {
		buf_addf(&file, "%s/.relay-sendmail.conf", home);
		if (is_callers(buf_text(&file)))
			result = read_one(config, buf_text(&file), why);
		buf_free(&file);
	}
	if (result > 0) {
		sendmail_config_free(config);
		result = read_one(config, SENDMAIL_SYSTEM_FILE, why);
	}
	if (result < 0)
		return -1;
	config->is_default = result > 0 && !environment("RELAY_SENDMAIL_SOCKET");
	if (environment("RELAY_SENDMAIL_SOCKET")) {
		/* this one message goes to that socket, whatever the file says */
		mem_free(config->host);
		config->host = NULL;
		fill(config);
	}
	replace(&config->socket, "RELAY_SENDMAIL_SOCKET");
	replace(&config->drop, "RELAY_SENDMAIL_DROP");
	return 0;
}

void sendmail_config_free(struct sendmail_config *config)
{
	if (config->password)
		mem_wipe(config->password, strlen(config->password));
	char *texts[] = {config->host, config->port, config->ca_file, config->user,
	    config->password, config->from_domain, config->from, config->socket, config->control,
	    config->drop};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		mem_free(texts[i]);
	*config = (struct sendmail_config){0};
}
