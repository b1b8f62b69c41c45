/* SPDX-License-Identifier: MIT
 * The record that asks for TLS reports: where they go is one plain address, or a host
 * and a path without anything that ends a line or a header.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/tlsrpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text)
{
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p >= 127)
			bug("a place with an odd byte");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = mem_copy(data, size);
	struct dns_record one = {.data = (const unsigned char *)copy, .len = size};
	struct dns_answer answer = {.status = DNS_OK, .records = &one, .count = 1};
	struct tlsrpt_record record;
	if (tlsrpt_record_read(&record, &answer) != (record.count > 0))
		bug("a record without a place");
	for (size_t i = 0; i < record.count; i++) {
		const struct tlsrpt_rua *r = &record.rua[i];
		check(r->is_mail ? r->mail : r->host);
		check(r->is_mail ? r->mail : r->path);
		if (r->is_mail ? !strchr(r->mail, '@') : r->path[0] != '/' || strchr(r->host, '@'))
			bug("a place that is none");
	}
	tlsrpt_record_free(&record);
	mem_free(copy);
	return 0;
}
