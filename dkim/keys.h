/* SPDX-License-Identifier: MIT
 * The DKIM keys of a configuration, read and checked, and the way they are kept
 * decoded. libopendkim takes PEM text and decodes it anew for each message,
 * which costs more than the signature; so each worker decodes a key once, and
 * PEM_read_bio_PrivateKey, as libopendkim calls it, is answered from there
 * (see keys.c for the proof at start that this is safe with the library that
 * is installed; if not, the plain way is used and said).
 */
#ifndef DKIM_KEYS_H
#define DKIM_KEYS_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "relayd/base/buf.h"
#include "relayd/base/why.h"

/* A set of keys, immutable, shared by loop and workers. */
struct dkim_keys;

/* Read all keys of DOMAINS, whose names are all different, as are the selectors of each;
 * those without a name, selector or file were refused before and are passed over. Files
 * are read now, so privileges may be dropped after. NULL: ERRORS names each place, file
 * and fault (not a private key, RSA under 1024 bits, neither RSA nor Ed25519, readable
 * by others; more than four keys of a domain). */
struct dkim_keys *dkim_keys_load(
    const struct conf_domain *domains, size_t count, struct conf_errors *errors);
void dkim_keys_free(struct dkim_keys *keys); /* wipes the PEM text; NULL is fine */

/* Has the domain (exact name) any key? */
bool dkim_keys_has(const struct dkim_keys *keys, const char *domain);
bool dkim_keys_any(const struct dkim_keys *keys); /* or does none at all have one? */

/* Once, before any worker has signed: initialise libopendkim and test the shortcut by
 * signing and verifying with OpenSSL, reference counts included. Result: true
 * when the shortcut is in use; false: the plain way, WHY says why. */
bool dkim_start(struct why *why);
void dkim_stop(void);

/* Make a new key: PEM text of the private key into PRIVATE, the value of the
 * DNS TXT record ("v=DKIM1; k=rsa; p=...") into RECORD. BITS: RSA size, 0 for
 * Ed25519. */
int dkim_key_new(unsigned bits, struct buf *private_pem, struct buf *record,
    struct why *why) ATTR_MUST_CHECK;

/* The DNS record of the private key in FILE, as above. */
int dkim_key_record(
    const char *file, struct buf *record, struct why *why) ATTR_MUST_CHECK;

/* RECORD as a zone file line for SELECTOR._domainkey.DOMAIN, split into
 * strings of at most 255 bytes. */
void dkim_record_zone(
    const char *selector, const char *domain, const char *record, struct buf *out);

#endif
