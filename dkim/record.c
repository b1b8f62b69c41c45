/* SPDX-License-Identifier: MIT
 * The public half of a key as DNS wants it: the value of the TXT record and a
 * line for a zone file.
 */
#include <openssl/err.h>
#include <openssl/x509.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "relayd/base/why.h"

#define TXT_STRING_MAX 255 /* RFC 1035 section 3.3 */

/* Ed25519: the 32 bytes as they are (RFC 8463 section 4); RSA: the
 * SubjectPublicKeyInfo (RFC 6376 section 3.6.1). */
int dkim_record_print(EVP_PKEY *key, struct buf *record, struct why *why)
{
	enum dkim_key_type type;
	unsigned char raw[32];
	size_t raw_size = sizeof(raw);
	unsigned char *der = NULL;
	if (dkim_pem_type(key, &type, why))
		return -1;
	if (type == DKIM_KEY_ED25519) {
		if (EVP_PKEY_get_raw_public_key(key, raw, &raw_size) != 1)
			bug("an Ed25519 key without public half");
		buf_add_text(record, "v=DKIM1; k=ed25519; p=");
		text_base64(record, (struct span){(const char *)raw, raw_size});
		return 0;
	}
	int n = i2d_PUBKEY(key, &der);
	ERR_clear_error();
	if (n <= 0)
		return why_set(why, WHY_LOCAL, "OpenSSL can not print the public key");
	buf_add_text(record, "v=DKIM1; k=rsa; p=");
	text_base64(record, (struct span){(const char *)der, (size_t)n});
	OPENSSL_free(der);
	return 0;
}

int dkim_key_new(
    unsigned bits, struct buf *private_pem, struct buf *record, struct why *why)
{
	if (bits && bits != 2048 && bits != 3072 && bits != 4096)
		return why_set(why, WHY_PERM,
		    "new RSA keys have 2048, 3072 or 4096 bits, not %u", bits);
	EVP_PKEY *key = dkim_pem_make(bits, why);
	if (!key)
		return -1;
	int result = dkim_record_print(key, record, why);
	if (!result)
		result = dkim_pem_print(key, private_pem, why);
	EVP_PKEY_free(key);
	return result;
}

int dkim_key_record(const char *file, struct buf *record, struct why *why)
{
	EVP_PKEY *key = dkim_pem_read(file, why);
	if (!key)
		return -1;
	int result = dkim_record_print(key, record, why);
	EVP_PKEY_free(key);
	return result;
}

void dkim_record_zone(
    const char *selector, const char *domain, const char *record, struct buf *out)
{
	struct span rest = span_text(record);
	buf_addf(out, "%s._domainkey.%s. IN TXT (", selector, domain);
	do {
		size_t n = rest.n > TXT_STRING_MAX ? TXT_STRING_MAX : rest.n;
		buf_add_text(out, " \"");
		for (size_t i = 0; i < n; i++) {
			if (rest.p[i] == '"' || rest.p[i] == '\\')
				buf_add_byte(out, '\\');
			buf_add_byte(out, rest.p[i]);
		}
		buf_add_byte(out, '"');
		rest.p += n;
		rest.n -= n;
	} while (rest.n);
	buf_add_text(out, " )\n");
}
