/* SPDX-License-Identifier: MIT */
#include "relayd/brake_who.h"

#include <netinet/in.h>
#include <string.h>

#include "relayd/base/conn.h"

#define FILE_MAX 80 /* bytes of a script's name that count */
#define UID_DIGITS 10

static const char *const kind_names[] = {
    [BRAKE_LOGIN] = "login",
    [BRAKE_CLIENT] = "client",
    [BRAKE_SCRIPT] = "script",
};

const char *brake_kind_name(enum brake_kind kind)
{
	return kind_names[kind];
}

static void add_client(const char *client, struct buf *out)
{
	struct conn_address a;
	char text[CONN_ADDRESS_TEXT];
	if (conn_address_parse(&a, client, 0) == 0 && a.addr.ss_family == AF_INET6) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)&a.addr;
		memset(six->sin6_addr.s6_addr + 8, 0, 8);
		buf_addf(out, "%s/64", conn_address_text(&a, text));
	} else if (strncmp(client, "drop:", 5) == 0) {
		buf_addf(out, "unix:%s", client + 5);
	} else {
		buf_add_text(out, client);
	}
}

bool brake_who(const struct envelope *e, enum brake_kind kind, struct buf *who)
{
	const char *login = e->user ? e->user : "";
	const char *script = e->script ? e->script : "";
	const char *client = e->client ? e->client : "";
	bool has = kind == BRAKE_LOGIN ? login[0] : kind == BRAKE_SCRIPT ? script[0] : client[0];
	struct buf name = {0};
	if (!has || e->report)
		return false;
	buf_addf(&name, "%s:", kind_names[kind]);
	if (kind == BRAKE_SCRIPT)
		buf_addf(&name, "%s@", script);
	if (kind == BRAKE_LOGIN || (kind == BRAKE_SCRIPT && login[0]))
		buf_add_text(&name, login);
	else
		add_client(client, &name);
	buf_add(who, name.data, name.len < BRAKE_NAME_MAX ? name.len : BRAKE_NAME_MAX);
	buf_free(&name);
	return true;
}

bool brake_who_is(const struct envelope *e, const char *who)
{
	struct buf name = {0};
	bool is = false;
	for (unsigned kind = 0; kind < BRAKE_KINDS && !is; kind++) {
		buf_clear(&name);
		is = brake_who(e, (enum brake_kind)kind, &name) &&
		     strcmp(buf_text(&name), who) == 0;
	}
	buf_free(&name);
	return is;
}

bool brake_who_kind(const char *who, enum brake_kind *kind)
{
	for (unsigned i = 0; i < BRAKE_KINDS; i++) {
		size_t n = strlen(kind_names[i]);
		if (strncmp(who, kind_names[i], n) == 0 && who[n] == ':' && who[n + 1]) {
			*kind = (enum brake_kind)i;
			return true;
		}
	}
	return false;
}

/* ---- the script ---- */

static size_t count_digits(struct span s)
{
	size_t n = 0;
	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	return n;
}

/* The file's name ends at "(LINE) : eval()'d code", which would make a sender of each
 * line of a hacked file. */
static struct span cut_file(struct span file)
{
	const char *eval = span_find_nocase(file, ") : ");
	if (eval) {
		size_t n = (size_t)(eval - file.p);
		while (n && file.p[n - 1] >= '0' && file.p[n - 1] <= '9')
			n--;
		if (n && file.p[n - 1] == '(')
			file.n = n - 1;
	}
	if (file.n > FILE_MAX)
		file.n = FILE_MAX;
	return span_trim(file);
}

bool brake_script_parse(struct span value, struct buf *script)
{
	struct span s = span_trim(value);
	size_t digits = count_digits(s);
	if (digits == 0 || digits > UID_DIGITS || digits == s.n || s.p[digits] != ':')
		return false;
	struct span file = cut_file((struct span){s.p + digits + 1, s.n - digits - 1});
	if (file.n == 0)
		return false;
	buf_add(script, s.p, digits + 1);
	for (size_t i = 0; i < file.n; i++) {
		unsigned char c = (unsigned char)file.p[i];
		/* a name to be typed: no blanks, no quotes */
		bool plain = c > 32 && c < 127 && !strchr("\"'\\`$", c);
		buf_add_byte(script, plain ? file.p[i] : '_');
	}
	return true;
}

/* ---- codes ---- */

uint8_t brake_code(enum brake_kind kind, enum brake_cause cause)
{
	if (cause == BRAKE_FREE)
		return 0;
	return (uint8_t)(1 + (unsigned)kind * 2 + (cause == BRAKE_UNKNOWN));
}

void brake_code_text(uint8_t code, const struct envelope *e, struct buf *text)
{
	unsigned kind = (code - 1u) / 2;
	if (code == 0 || kind >= BRAKE_KINDS)
		return;
	struct buf who = {0};
	if (brake_who(e, (enum brake_kind)kind, &who))
		text_escape(text, span_buf(&who), BRAKE_NAME_MAX);
	else
		buf_add_text(text, kind_names[kind]);
	buf_add_text(text, (code - 1) % 2 ? " writes to too many recipients that do not exist"
					  : " has sent more than its messages per hour");
	buf_free(&who);
}
