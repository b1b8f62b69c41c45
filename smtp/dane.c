/* SPDX-License-Identifier: MIT
 * TLSA records: read, judged, and looked up. The ways of a look-up:
 *
 *	addresses secure		TLSA of where the CNAMEs end, then of the name
 *	addresses not, CNAME followed	CNAME of the name; secure: TLSA of the name
 *
 * The second is a name in a signed zone that leads into an unsigned one: the
 * zone may still publish records for it under the name itself.
 */
#include "smtp/dane.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relayd/base/mem.h"

#define NAME_ROOM 300 /* "_65535._tcp." and a name */
#define NAMES 2
#define FIELDS 3 /* bytes: usage, selector, matching type */

enum usage { USAGE_TA = 2, USAGE_EE = 3 };
enum selector { SELECTOR_CERTIFICATE, SELECTOR_KEY };
enum matching { MATCHING_FULL, MATCHING_SHA256, MATCHING_SHA512 };

struct dane_query {
	struct dns *dns;
	struct dns_query *lookup;
	char names[NAMES][256]; /* that may have records, best first */
	size_t name_count;
	size_t at;
	uint16_t port;
	dane_done *done;
	void *arg;
};

/* Whole DER, nothing behind it: else OpenSSL refuses the record later. */
static bool is_der(unsigned char selector, const unsigned char *data, size_t len)
{
	const unsigned char *p = data;
	bool good;
	if (selector == SELECTOR_CERTIFICATE) {
		X509 *certificate = d2i_X509(NULL, &p, (long)len);
		good = certificate && X509_get0_pubkey(certificate);
		X509_free(certificate);
	} else {
		EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)len);
		good = key != NULL;
		EVP_PKEY_free(key);
	}
	return good && p == data + len;
}

bool dane_record_read(struct dane_record *r, const unsigned char *data, size_t len)
{
	if (len < 4)
		return false;
	*r = (struct dane_record){data[0], data[1], data[2], data + FIELDS, len - FIELDS};
	if (r->usage != USAGE_TA && r->usage != USAGE_EE)
		return false;
	if (r->selector != SELECTOR_CERTIFICATE && r->selector != SELECTOR_KEY)
		return false;
	switch (r->matching) {
	case MATCHING_FULL:
		return is_der(r->selector, r->data, r->len);
	case MATCHING_SHA256:
		return r->len == 32;
	case MATCHING_SHA512:
		return r->len == 64;
	default:
		return false;
	}
}

/* A record as it came: its three small fields stand before its data. */
static struct span whole(const struct dane_record *r)
{
	return (struct span){(const char *)r->data - FIELDS, r->len + FIELDS};
}

static int compare(const void *left, const void *right)
{
	struct span a = whole(left);
	struct span b = whole(right);
	int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static void make_digest(struct dane_set *set)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct buf all = {0};
	struct buf text = {0};
	for (size_t i = 0; i < set->count; i++) {
		struct span record = whole(&set->records[i]);
		buf_add(&all, record.p, record.n);
	}
	if (EVP_Digest(buf_text(&all), all.len, digest, NULL, EVP_sha256(), NULL) != 1)
		bug("no SHA-256");
	text_hex(&text, (struct span){(const char *)digest, 16});
	memcpy(set->digest, buf_text(&text), sizeof(set->digest));
	buf_free(&all);
	buf_free(&text);
}

void dane_set_read(struct dane_set *set, const char *base, const struct dns_answer *answer)
{
	struct dane_record record;
	size_t n = 0;
	*set = (struct dane_set){0};
	snprintf(set->base, sizeof(set->base), "%s", base);
	for (size_t i = 0; i < answer->count; i++)
		n += answer->records[i].len;
	set->bytes = mem_alloc(n + 1);
	set->records = mem_array(answer->count + 1, sizeof(*set->records));
	n = 0;
	for (size_t i = 0; i < answer->count; i++) {
		unsigned char *copy = set->bytes + n;
		if (!dane_record_read(&record, answer->records[i].data, answer->records[i].len))
			continue;
		memcpy(copy, answer->records[i].data, answer->records[i].len);
		n += answer->records[i].len;
		record.data = copy + FIELDS;
		set->records[set->count++] = record;
	}
	/* resolvers turn the list for each answer: the same set is to look the same */
	qsort(set->records, set->count, sizeof(*set->records), compare);
	make_digest(set);
}

void dane_set_free(struct dane_set *set)
{
	mem_free(set->records);
	mem_free(set->bytes);
	*set = (struct dane_set){0};
}

bool dane_may_apply(const struct mx_host *host)
{
	return host->secure || (host->mx_secure && host->canonical[0]);
}

static void report(struct dane_query *q, const struct dane_answer *answer)
{
	q->done(answer, q->arg);
	mem_free(q);
}

static void report_set(struct dane_query *q, const struct dns_answer *records)
{
	struct dane_set set;
	dane_set_read(&set, q->names[q->at], records);
	report(q, &(struct dane_answer){
	    .status = set.count ? DANE_USABLE : DANE_UNUSABLE, .set = &set});
	dane_set_free(&set);
}

static void on_tlsa(const struct dns_answer *answer, void *arg);

static void ask_next(struct dane_query *q)
{
	char name[NAME_ROOM];
	if (q->at == q->name_count) {
		report(q, &(struct dane_answer){.status = DANE_NONE});
		return;
	}
	snprintf(name, sizeof(name), "_%u._tcp.%s", q->port, q->names[q->at]);
	q->lookup = dns_ask(q->dns, name, DNS_TLSA, on_tlsa, q);
}

static void on_tlsa(const struct dns_answer *answer, void *arg)
{
	struct dane_query *q = arg;
	q->lookup = NULL;
	switch (answer->status) {
	case DNS_OK:
		if (answer->secure) {
			report_set(q, answer);
			return;
		}
		break;
	case DNS_TEMP:
	case DNS_BOGUS:
		report(q, &(struct dane_answer){.status = DANE_TEMP, .text = answer->text});
		return;
	case DNS_NO_DATA:
	case DNS_NO_NAME:
	case DNS_BAD_NAME:
		break;
	}
	q->at++;
	ask_next(q);
}

static void on_alias(const struct dns_answer *answer, void *arg)
{
	struct dane_query *q = arg;
	q->lookup = NULL;
	if (answer->status == DNS_TEMP || answer->status == DNS_BOGUS) {
		report(q, &(struct dane_answer){.status = DANE_TEMP, .text = answer->text});
		return;
	}
	if (answer->status != DNS_OK || !answer->secure)
		q->at = q->name_count;
	ask_next(q);
}

static void add_name(struct dane_query *q, const char *name)
{
	if (q->name_count && strcmp(q->names[0], name) == 0)
		return;
	snprintf(q->names[q->name_count++], sizeof(q->names[0]), "%s", name);
}

struct dane_query *dane_find(struct dns *dns, const struct mx_host *host, uint16_t port,
    dane_done *done, void *arg)
{
	struct dane_query *q = mem_zero(sizeof(*q));
	q->dns = dns;
	q->port = port;
	q->done = done;
	q->arg = arg;
	if (host->secure && host->canonical[0])
		add_name(q, host->canonical);
	add_name(q, host->name);
	if (host->secure)
		ask_next(q);
	else
		q->lookup = dns_ask(dns, host->name, DNS_CNAME, on_alias, q);
	return q;
}

void dane_cancel(struct dane_query *q)
{
	if (!q)
		return;
	dns_cancel(q->lookup);
	mem_free(q);
}
