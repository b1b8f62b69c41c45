/* SPDX-License-Identifier: MIT
 * TLSA records from a zone: each with a length of two bytes before it. Whatever is
 * called usable OpenSSL takes, and nothing else.
 */
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/mem.h"
#include "smtp/dane.h"
#include "smtp/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void offer(const struct dane_set *set)
{
	static SSL_CTX *ctx;
	struct why why;
	if (!ctx)
		ctx = tls_dane_new(&why);
	SSL *ssl = SSL_new(ctx);
	if (!ssl || SSL_dane_enable(ssl, set->base) != 1)
		bug("no session for DANE");
	for (size_t i = 0; i < set->count; i++) {
		const struct dane_record *r = &set->records[i];
		if (SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, r->data, r->len) != 1)
			bug("a usable record that is not taken");
	}
	SSL_free(ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer answer = {.status = DNS_OK, .secure = true, .records = records};
	struct dane_set set;
	size_t at = 0;
	while (at + 2 <= size && answer.count < DNS_RECORDS_MAX) {
		size_t n = (size_t)data[at] << 8 | data[at + 1];
		at += 2;
		n = n < size - at ? n : size - at;
		records[answer.count++] = (struct dns_record){.data = data + at, .len = n};
		at += n;
	}
	dane_set_read(&set, "mx.example.org", &answer);
	if (set.count > answer.count)
		bug("more records than there were");
	offer(&set);
	dane_set_free(&set);
	return 0;
}
