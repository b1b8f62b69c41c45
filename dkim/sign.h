/* SPDX-License-Identifier: MIT
 * Bytes in, DKIM-Signature fields out (RFC 6376, RFC 8463), by libopendkim.
 * relaxed/relaxed, no l=, From, To, Subject, Date and so on oversigned. What
 * libopendkim gets wrong (bare CR, NUL, long names, thousands of fields,
 * missing final CRLF) is kept away from it here, whoever the caller is.
 */
#ifndef DKIM_SIGN_H
#define DKIM_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dkim/keys.h"
#include "relayd/base/text.h"

/* Per worker thread: decoded keys and an OpenSSL library context of its own.
 * Made and freed in that thread (pool begin and end). */
struct dkim_signer;
struct dkim_signer *dkim_signer_new(void);
void dkim_signer_free(struct dkim_signer *signer);

/* A message as it will leave. */
struct dkim_input {
	struct span header; /* the section, CRLF line ends, without the empty line */
	uint64_t body_size;
	/* Copy up to N bytes of the body from OFFSET; result: copied, -1: error. */
	ssize_t (*read)(void *arg, uint64_t offset, char *to, size_t n);
	void *arg;
	int64_t wall_ms; /* for t= */
};

/* Sign with all keys of DOMAIN (exact name) in KEYS. Appends one
 * "DKIM-Signature: ...CRLF" per key to OUT. -1: WHY; OUT unchanged.
 * No key for the domain: 0 and nothing is appended.
 * What can not be signed (WHY_PERM; WHY_LOCAL is a fault on our side): bare CR or LF or
 * NUL anywhere, VT or FF in the header, a field without colon or From, a field name over
 * 256 bytes, dozens of the same field, a body line over 8 MiB. A missing CRLF at the end
 * of the body is hashed as if it were there: the caller sends it with one. */
int dkim_sign_message(struct dkim_signer *signer, const struct dkim_keys *keys,
    const char *domain, const struct dkim_input *input, struct buf *out,
    struct why *why) ATTR_MUST_CHECK;

/* Check a signature of our own making: the first DKIM-Signature field of MESSAGE
 * with that selector against the public half of the private key in FILE. For `relayctl
 * dkim test` and the demonstration; not a verifier of mail from outside. 0: it holds. It
 * shares no code with the signing side. */
int dkim_check(struct span message, const char *key_file, const char *selector,
    struct why *why) ATTR_MUST_CHECK;

#endif
