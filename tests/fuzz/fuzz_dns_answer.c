/* SPDX-License-Identifier: MIT
 * Record data from a zone: one byte of type, one of flags, then records of a
 * length byte each. Names that come out are host names, texts stay inside.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/dns_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS 120

static void check(const struct dns_answer *answer)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	unsigned sum = 0;
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *r = &answer->records[i];
		if (strspn(r->name, allowed) != strlen(r->name) || strlen(r->name) > 253)
			bug("a name that is none");
		for (size_t k = 0; k < r->len; k++)
			sum += r->data[k];
	}
	if ((answer->status == DNS_OK) != (answer->count > 0) || sum == UINT32_MAX)
		bug("records and status do not agree");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = {
	    DNS_A, DNS_AAAA, DNS_MX, DNS_PTR, DNS_TXT, DNS_TLSA};
	char *records[RECORDS + 1] = {0};
	int lengths[RECORDS + 1];
	size_t count = 0;
	if (size < 2)
		return 0;
	enum dns_type type = types[data[0] % 6];
	struct ub_result result = {.data = records, .len = lengths, .havedata = 1};
	result.rcode = data[1] & 1 ? 2 : 0;
	result.bogus = data[1] & 2;
	for (size_t at = 2; at < size && count < RECORDS; count++) {
		size_t n = data[at++];
		if (n > size - at)
			n = size - at;
		records[count] = mem_copy(data + at, n);
		lengths[count] = (int)n;
		at += n;
	}
	struct dns_reading reading;
	dns_read(&reading, "example.org", type, 0, &result);
	check(&reading.answer);
	dns_reading_free(&reading);
	for (size_t i = 0; i < count; i++)
		mem_free(records[i]);
	return 0;
}
