/* SPDX-License-Identifier: MIT
 * The record's owner decides where our reports go, so an address is taken only when
 * it is a plain one, and a URL only when it is https and without user, fragment or
 * odd bytes.
 */
#include "smtp/tlsrpt.h"

#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/address.h"

#define RUA_BYTES_MAX 500

static bool is_graphic(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 127)
			return false;
	return s.n > 0 && s.n <= RUA_BYTES_MAX;
}

/* "mailto:reports@example.org"; no headers ("?"), no encoding. */
static bool read_mail(struct tlsrpt_rua *rua, struct span s)
{
	struct address address;
	if (memchr(s.p, '%', s.n) || memchr(s.p, '?', s.n) || !address_parse(s, &address) ||
	    address.form != ADDRESS_DOMAIN)
		return false;
	rua->is_mail = true;
	rua->mail = span_dup(s);
	return true;
}

/* "127.1", "10.0x1.": a name for DNS, which nobody has, and for libcurl an address that we have
 * not judged. No top-level domain begins with a digit. */
static bool ends_in_number(struct span s)
{
	if (s.n && s.p[s.n - 1] == '.')
		s.n--;
	const char *dot = s.n ? memrchr(s.p, '.', s.n) : NULL;
	return dot && dot + 1 < s.p + s.n && dot[1] >= '0' && dot[1] <= '9';
}

static bool is_host(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		int c = text_lower_byte(s.p[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
			return false;
	}
	return s.n > 0 && s.n <= 253 && memchr(s.p, '.', s.n) && s.p[0] != '.' && s.p[0] != '-' &&
	       !ends_in_number(s);
}

static bool read_url(struct tlsrpt_rua *rua, struct span s)
{
	const char *slash = memchr(s.p, '/', s.n);
	struct span path = {slash, slash ? s.n - (size_t)(slash - s.p) : 0};
	struct span place = {s.p, s.n - path.n};
	uint64_t port = 443;
	struct span host = span_cut(&place, ':');
	if (place.n && (!span_number(place, 65535, &port) || port == 0))
		return false;
	if (!is_host(host) || (path.n && memchr(path.p, '#', path.n)))
		return false;
	rua->host = span_dup(host);
	text_lower(rua->host, host.n);
	rua->port = (uint16_t)port;
	rua->path = path.n ? span_dup(path) : mem_text("/");
	return true;
}

static void add_rua(struct tlsrpt_record *record, struct span s)
{
	static const char mail[] = "mailto:";
	static const char url[] = "https://";
	struct tlsrpt_rua rua = {0};
	bool good = false;
	if (record->count == TLSRPT_RUA_MAX || !is_graphic(s))
		return;
	if (span_starts_nocase(s, mail))
		good = read_mail(&rua, (struct span){s.p + sizeof(mail) - 1, s.n - (sizeof(mail) - 1)});
	else if (span_starts_nocase(s, url))
		good = read_url(&rua, (struct span){s.p + sizeof(url) - 1, s.n - (sizeof(url) - 1)});
	if (good)
		record->rua[record->count++] = rua;
}

static void read_fields(struct tlsrpt_record *record, struct span s)
{
	while (s.n) {
		struct span field = span_trim(span_cut(&s, ';'));
		struct span key = span_trim(span_cut(&field, '='));
		if (!span_is(key, "rua"))
			continue;
		while (field.n)
			add_rua(record, span_trim(span_cut(&field, ',')));
		return;
	}
}

static bool announces(const struct dns_record *r, struct span *fields)
{
	struct span s = {(const char *)r->data, r->len};
	struct span version = span_cut(&s, ';');
	*fields = s;
	return span_is(span_trim(version), "v=TLSRPTv1");
}

bool tlsrpt_record_read(struct tlsrpt_record *record, const struct dns_answer *answer)
{
	struct span fields = {NULL, 0};
	size_t found = 0;
	*record = (struct tlsrpt_record){0};
	if (answer->status != DNS_OK)
		return false;
	for (size_t i = 0; i < answer->count; i++) {
		struct span one;
		if (announces(&answer->records[i], &one)) {
			fields = one;
			found++;
		}
	}
	if (found == 1)
		read_fields(record, fields);
	return record->count > 0;
}

void tlsrpt_record_free(struct tlsrpt_record *record)
{
	for (size_t i = 0; i < record->count; i++) {
		mem_free(record->rua[i].mail);
		mem_free(record->rua[i].host);
		mem_free(record->rua[i].path);
	}
	*record = (struct tlsrpt_record){0};
}
