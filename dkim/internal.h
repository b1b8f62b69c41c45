/* SPDX-License-Identifier: MIT
 * What the files of dkim/ share and nobody else needs: decoded keys, the set of
 * keys from inside, the shortcut that answers libopendkim's call for a key, and
 * the strict reading of a header section.
 */
#ifndef DKIM_INTERNAL_H
#define DKIM_INTERNAL_H

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dkim/keys.h"
#include "dkim/sign.h"
#include "relayd/base/text.h"

/* One message gets at most so many signatures. */
#define DKIM_KEYS_PER_DOMAIN 4

enum dkim_key_type { DKIM_KEY_RSA, DKIM_KEY_ED25519 };
#define DKIM_KEY_TYPES 2

/* -- pem.c: private keys in files and as text -------------------------------- */

/* Read FILE and check it: a regular file for its owner only, one unencrypted
 * private key of a usable type and size. Result: free with EVP_PKEY_free. */
EVP_PKEY *dkim_pem_read(const char *file, struct why *why);

/* Decode TEXT in CONTEXT (NULL: the thread's default one). */
EVP_PKEY *dkim_pem_decode(struct span text, OSSL_LIB_CTX *context, struct why *why);

/* Append KEY as PKCS#8 PEM. OUT is grown in one step, so that no copy of the
 * secret is left behind; wipe it after use. */
int dkim_pem_print(EVP_PKEY *key, struct buf *out, struct why *why) ATTR_MUST_CHECK;

/* Its type, and whether it may sign at all (type, size). */
int dkim_pem_type(
    EVP_PKEY *key, enum dkim_key_type *type, struct why *why) ATTR_MUST_CHECK;

/* Make a key: BITS of RSA, 0 for Ed25519. NULL: why. */
EVP_PKEY *dkim_pem_make(unsigned bits, struct why *why);

/* -- record.c ---------------------------------------------------------------- */

int dkim_record_print(EVP_PKEY *key, struct buf *record, struct why *why) ATTR_MUST_CHECK;

/* -- keys.c: a set from inside ----------------------------------------------- */

struct dkim_key {
	char *domain; /* keys are sorted by it, then by selector */
	char *selector;
	enum dkim_key_type type;
	char *pem; /* clean PKCS#8, begins with "-----"; wiped when freed */
};

struct dkim_keys {
	uint64_t serial; /* never used twice, so a decoded key is never mixed up */
	size_t count;
	struct dkim_key *key;
};

/* An empty set with room for COUNT keys, and the next key of it. */
struct dkim_keys *dkim_keys_new(size_t count);
int dkim_keys_add(struct dkim_keys *keys, const char *domain, const char *selector,
    EVP_PKEY *key, struct why *why) ATTR_MUST_CHECK;

/* First of the COUNT keys of DOMAIN (its index), COUNT 0 when there is none. */
size_t dkim_keys_find(const struct dkim_keys *keys, const char *domain, size_t *count);

/* -- shortcut.c -------------------------------------------------------------- */

/* How libopendkim treats the reference that it is handed: measured, not known. */
struct dkim_shortcut {
	bool on;
	bool drops[DKIM_KEY_TYPES]; /* dkim_free gives the reference back */
};

/* Set by the self-test while there is no other thread, read by all. */
extern struct dkim_shortcut dkim_shortcut;

/* What libopendkim gets as key text; its length is bounded. */
#define DKIM_SHORTCUT_TEXT 64
void dkim_shortcut_text(char text[DKIM_SHORTCUT_TEXT], uint64_t serial, size_t index);

/* From now on, in this thread, who asks PEM_read_bio_PrivateKey for TEXT gets
 * KEY. Both must live until the withdrawal. */
void dkim_shortcut_offer(const char *text, EVP_PKEY *key, enum dkim_key_type type);

/* End of that. Result: how often KEY was asked for. */
unsigned dkim_shortcut_withdraw(void);

/* -- sign.c ------------------------------------------------------------------ */

/* Use KEY for the key INDEX of the set KEYS; the signer takes one reference.
 * Only the self-test does it, to count references of a key it can watch. */
void dkim_signer_seed(struct dkim_signer *signer, const struct dkim_keys *keys,
    size_t index, EVP_PKEY *key);

/* -- check.c ----------------------------------------------------------------- */

/* dkim_check with a key that is decoded already. */
int dkim_check_key(struct span message, EVP_PKEY *key, const char *selector,
    struct why *why) ATTR_MUST_CHECK;

/* -- fields.c ---------------------------------------------------------------- */

/* The fields that are signed even when absent, so that nobody can add one later
 * (NULL ends the list). */
extern const char *const dkim_fields_oversigned[];

/* Check SECTION and count what is to be signed in it. */
#define DKIM_FIELD_NAMES 34
struct dkim_fields {
	struct span section;
	unsigned left[DKIM_FIELD_NAMES]; /* fields of each name still to come */
};
int dkim_fields_open(
    struct dkim_fields *fields, struct span section, struct why *why) ATTR_MUST_CHECK;

/* The next field to sign, without its final CRLF. False: that was all. */
bool dkim_fields_next(struct dkim_fields *fields, struct span *field);

/* Is a body fit to be signed: CRLF line ends only, no NUL, no endless line.
 * Pieces as they come; a zeroed struct to begin with. */
struct dkim_body {
	uint64_t line; /* bytes since the last line end */
	bool cr;       /* the last byte was a CR, the LF must follow */
	bool open;     /* the last line has no end yet */
};
int dkim_body_check(
    struct dkim_body *body, const char *p, size_t n, struct why *why) ATTR_MUST_CHECK;
int dkim_body_end(const struct dkim_body *body, struct why *why) ATTR_MUST_CHECK;

#endif
