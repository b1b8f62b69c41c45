/* SPDX-License-Identifier: MIT
 * From libunbound's result to our answer. Pure. Record data comes from
 * whoever owns the zone, so each length is checked, host names may hold only
 * what a host name can, and a record that breaks a rule is left out.
 */
#include <netinet/in.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/base/text.h"
#include "smtp/dns_internal.h"

#define LABEL_MAX 63
#define NAME_MAX_TEXT 253
#define BYTES_MAX 65535 /* of TXT and TLSA data in one answer; DNS itself has no more */

static const char *type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_CNAME:
		return "CNAME";
	case DNS_PTR:
		return "PTR";
	case DNS_MX:
		return "MX";
	case DNS_TXT:
		return "TXT";
	case DNS_AAAA:
		return "AAAA";
	case DNS_TLSA:
		return "TLSA";
	}
	return "?";
}

bool dns_name_is_valid(const char *name)
{
	size_t n = strlen(name);
	if (n > 0 && name[n - 1] == '.')
		n--;
	if (n == 0 || n > NAME_MAX_TEXT)
		return false;
	size_t label = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c == '.' && label == 0)
			return false;
		label = c == '.' ? 0 : label + 1;
		/* the backslash would start an escape of libunbound's */
		if (label > LABEL_MAX || c <= 32 || c >= 127 || c == '\\' || c == '"')
			return false;
	}
	return label > 0;
}

static bool is_host_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* A wire name that fills P exactly, to text: lower case, no trailing dot, ""
 * for the root. OUT has 256 bytes; a wire name of 255 gives at most 253. */
static bool read_name(const unsigned char *p, size_t n, char *out)
{
	size_t at = 0;
	size_t len = 0;
	if (n == 0 || n > 255)
		return false;
	while (at < n && p[at] != 0) {
		size_t label = p[at++];
		if (label > LABEL_MAX || label >= n - at) /* >=: the root must follow */
			return false;
		if (len > 0)
			out[len++] = '.';
		for (size_t i = 0; i < label; i++) {
			if (!is_host_byte(p[at + i]))
				return false;
			out[len++] = (char)text_lower_byte(p[at + i]);
		}
		at += label;
	}
	out[len] = '\0';
	return at + 1 == n;
}

static bool read_address(struct dns_record *r, int family, const unsigned char *p, size_t n)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	if (n != (family == AF_INET ? sizeof(sin.sin_addr) : sizeof(sin6.sin6_addr)))
		return false;
	if (family == AF_INET) {
		memcpy(&sin.sin_addr, p, n);
		memcpy(&r->address.addr, &sin, sizeof(sin));
		r->address.len = sizeof(sin);
	} else {
		memcpy(&sin6.sin6_addr, p, n);
		memcpy(&r->address.addr, &sin6, sizeof(sin6));
		r->address.len = sizeof(sin6);
	}
	return true;
}

static bool read_mx(struct dns_record *r, const unsigned char *p, size_t n)
{
	if (n < 3)
		return false;
	r->preference = (uint16_t)(p[0] << 8 | p[1]);
	return read_name(p + 2, n - 2, r->name);
}

/* Strings of a length byte each, joined as SPF and DKIM want it. */
static bool read_txt(struct buf *bytes, const unsigned char *p, size_t n)
{
	size_t at = 0;
	while (at < n) {
		size_t len = p[at++];
		if (len > n - at)
			return false;
		buf_add(bytes, p + at, len);
		at += len;
	}
	return n > 0;
}

/* BYTES may move while it grows: len is set here, data when all are read. */
static bool read_bytes(struct dns_reading *reading, struct dns_record *r, enum dns_type type,
    const unsigned char *p, size_t n)
{
	size_t before = reading->bytes.len;
	bool good = before + n <= BYTES_MAX;
	if (good && type == DNS_TXT)
		good = read_txt(&reading->bytes, p, n);
	else if (good && n > 3) /* usage, selector, matching type, and something behind */
		buf_add(&reading->bytes, p, n);
	else
		good = false;
	if (!good)
		reading->bytes.len = before;
	r->len = reading->bytes.len - before;
	return good;
}

static bool read_record(struct dns_reading *reading, struct dns_record *r, enum dns_type type,
    const unsigned char *p, size_t n)
{
	switch (type) {
	case DNS_A:
		return read_address(r, AF_INET, p, n);
	case DNS_AAAA:
		return read_address(r, AF_INET6, p, n);
	case DNS_MX:
		return read_mx(r, p, n);
	case DNS_CNAME:
	case DNS_PTR:
		return read_name(p, n, r->name);
	case DNS_TXT:
	case DNS_TLSA:
		return read_bytes(reading, r, type, p, n);
	}
	return false;
}

/* Where the next record goes: behind the others, or, for an MX when these are as many
 * as are kept, over the worst one. NULL: it is worse itself. The worst is looked for
 * anew each time: an answer of 64 KB has 4,000 records at most. */
static struct dns_record *place_for(struct dns_reading *reading, const struct dns_record *r,
    enum dns_type type)
{
	size_t count = reading->answer.count;
	struct dns_record *worst = &reading->records[0];
	if (count < DNS_RECORDS_MAX)
		return &reading->records[reading->answer.count++];
	if (type != DNS_MX)
		return NULL;
	for (size_t i = 1; i < count; i++)
		if (reading->records[i].preference > worst->preference)
			worst = &reading->records[i];
	return r->preference < worst->preference ? worst : NULL;
}

/* Result: how many there were, malformed ones included. */
static size_t read_records(struct dns_reading *reading, enum dns_type type,
    const struct ub_result *result)
{
	struct dns_answer *answer = &reading->answer;
	size_t seen = 0;
	size_t offset = 0;
	reading->records = mem_array(DNS_RECORDS_MAX, sizeof(*reading->records));
	for (; result->data[seen] && (answer->count < DNS_RECORDS_MAX || type == DNS_MX); seen++) {
		struct dns_record r = {0};
		const unsigned char *p = (const unsigned char *)result->data[seen];
		int n = result->len[seen];
		if (n < 0 || !read_record(reading, &r, type, p, (size_t)n))
			continue;
		struct dns_record *to = place_for(reading, &r, type);
		if (to)
			*to = r;
	}
	for (size_t i = 0; i < answer->count && (type == DNS_TXT || type == DNS_TLSA); i++) {
		struct dns_record *r = &reading->records[i];
		r->data = (const unsigned char *)buf_text(&reading->bytes) + offset;
		offset += r->len;
	}
	answer->records = reading->records;
	return seen;
}

static bool is_other_name(const char *name, const char *canonical)
{
	struct span a = span_text(name);
	struct span b = span_text(canonical);
	if (a.n > 0 && a.p[a.n - 1] == '.')
		a.n--;
	if (b.n > 0 && b.p[b.n - 1] == '.')
		b.n--;
	return b.n > 0 && !span_equal_nocase(a, b);
}

static void read_canonical(struct dns_reading *reading, const char *name, const char *canonical)
{
	struct span to = span_text(canonical);
	if (!is_other_name(name, canonical))
		return;
	if (to.p[to.n - 1] == '.')
		to.n--;
	buf_add(&reading->canonical, to.p, to.n);
	text_lower(reading->canonical.data, to.n);
	reading->answer.canonical = buf_text(&reading->canonical);
}

static const char *rcode_name(int rcode)
{
	static const char *const names[] = {"no error", "FORMERR", "SERVFAIL", "NXDOMAIN",
	    "NOTIMP", "REFUSED"};
	return rcode >= 0 && rcode < 6 ? names[rcode] : "an error code";
}

void dns_read_failure(struct dns_reading *reading, const char *name, enum dns_type type,
    enum dns_status status, const char *text)
{
	reading->answer.status = status;
	text_escape(&reading->text, span_text(name), NAME_MAX_TEXT);
	buf_addf(&reading->text, " %s: ", type_name(type));
	text_escape(&reading->text, span_text(text), 200);
	reading->answer.text = buf_text(&reading->text);
}

static void read_data(struct dns_reading *reading, const char *name, enum dns_type type,
    const struct ub_result *result)
{
	size_t seen = read_records(reading, type, result);
	if (reading->answer.count > 0)
		reading->answer.status = DNS_OK;
	else if (seen > 0)
		dns_read_failure(reading, name, type, DNS_TEMP,
		    "all records are malformed; expected host names of letters, digits and"
		    " hyphens");
	else
		dns_read_failure(reading, name, type, DNS_NO_DATA, "no such record");
}

void dns_read(struct dns_reading *reading, const char *name, enum dns_type type, int error,
    const struct ub_result *result)
{
	memset(reading, 0, sizeof(*reading));
	if (error != 0 || !result) {
		dns_read_failure(reading, name, type, DNS_TEMP, ub_strerror(error));
		return;
	}
	/* first: a bogus answer carries rcode 0 and the forged data */
	if (result->bogus) {
		dns_read_failure(reading, name, type, DNS_BOGUS,
		    result->why_bogus ? result->why_bogus : "DNSSEC validation failed");
		return;
	}
	reading->answer.secure = result->secure != 0;
	reading->answer.ttl = result->ttl > 0 ? (uint32_t)result->ttl : 0;
	if (result->canonname)
		read_canonical(reading, name, result->canonname);
	if (result->nxdomain)
		dns_read_failure(reading, name, type, DNS_NO_NAME, "NXDOMAIN, no such name");
	else if (result->rcode != 0)
		dns_read_failure(reading, name, type, DNS_TEMP, rcode_name(result->rcode));
	else if (!result->havedata || !result->data || !result->len)
		dns_read_failure(reading, name, type, DNS_NO_DATA, "no such record");
	else
		read_data(reading, name, type, result);
}

void dns_reading_free(struct dns_reading *reading)
{
	mem_free(reading->records);
	buf_free(&reading->bytes);
	buf_free(&reading->text);
	buf_free(&reading->canonical);
}
