/* SPDX-License-Identifier: MIT
 * One message through libopendkim, once for all keys of its domain: fields and
 * body are read and checked here, libopendkim only hashes and signs. Each signer
 * belongs to a thread, with an OpenSSL library context of its own, because the
 * threads would else queue for the locks of the common one.
 */
#include "dkim/sign.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stddef.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "relayd/base/why.h"

#include <opendkim/dkim.h>

#define PIECE_SIZE 65536
#define BODY_MAX (UINT64_C(1) << 30)
#define FIELD_NAME "DKIM-Signature: "

struct dkim_signer {
	OSSL_LIB_CTX *context;
	OSSL_LIB_CTX *before; /* what this thread used until now */
	DKIM_LIB *lib;
	uint64_t serial; /* of the set that the decoded keys belong to */
	size_t count;
	EVP_PKEY **decoded;
	char piece[PIECE_SIZE];
};

/* What libopendkim has allocated for a message. It forgets some of it, so all
 * that is left goes with the message; and it holds PEM text in the plain way, so
 * it is wiped. */
struct block {
	struct block *next;
	struct block *prev;
	size_t size;
	max_align_t data[];
};

/* One message on its way through libopendkim, once per key. */
struct pass {
	struct dkim_signer *signer;
	const struct dkim_keys *keys;
	size_t first; /* of its keys in the set */
	size_t count;
	DKIM *handle[DKIM_KEYS_PER_DOMAIN];
	struct block *blocks;
};

static void *block_new(void *closure, size_t size)
{
	struct pass *pass = closure;
	if (size > SIZE_MAX / 2)
		return NULL;
	struct block *block = mem_alloc(sizeof(*block) + size);
	block->size = size;
	block->prev = NULL;
	block->next = pass->blocks;
	if (block->next)
		block->next->prev = block;
	pass->blocks = block;
	return block->data;
}

static void block_free(void *closure, void *p)
{
	struct pass *pass = closure;
	if (!p)
		return;
	struct block *block =
	    (struct block *)(void *)((char *)p - offsetof(struct block, data));
	if (block->next)
		block->next->prev = block->prev;
	if (block->prev)
		block->prev->next = block->next;
	else
		pass->blocks = block->next;
	mem_wipe(block->data, block->size);
	mem_free(block);
}

struct dkim_signer *dkim_signer_new(void)
{
	struct dkim_signer *signer = mem_zero(sizeof(*signer));
	const char *const *oversigned = dkim_fields_oversigned;
	signer->context = OSSL_LIB_CTX_new();
	if (!signer->context)
		bug("no OpenSSL library context");
	signer->before = OSSL_LIB_CTX_set0_default(signer->context);
	signer->lib = dkim_init(block_new, block_free);
	if (!signer->lib)
		bug("libopendkim does not start");
	/* Which fields are signed is not said: it gets no others. */
	if (dkim_options(signer->lib, DKIM_OP_SETOPT, DKIM_OPTS_OVERSIGNHDRS,
		(void *)(uintptr_t)oversigned, sizeof(oversigned)) != DKIM_STAT_OK)
		bug("libopendkim refuses the list of oversigned fields");
	return signer;
}

static void decoded_drop(struct dkim_signer *signer)
{
	for (size_t i = 0; i < signer->count; i++)
		EVP_PKEY_free(signer->decoded[i]);
	mem_free(signer->decoded);
	signer->decoded = NULL;
	signer->count = 0;
	signer->serial = 0;
}

void dkim_signer_free(struct dkim_signer *signer)
{
	if (!signer)
		return;
	decoded_drop(signer);
	dkim_close(signer->lib);
	OSSL_LIB_CTX_set0_default(signer->before);
	OSSL_LIB_CTX_free(signer->context);
	mem_wipe(signer->piece, sizeof(signer->piece));
	mem_free(signer);
}

/* Whoever reloads makes a new set, and its serial empties the cache. */
static void signer_adopt(struct dkim_signer *signer, const struct dkim_keys *keys)
{
	if (signer->serial == keys->serial)
		return;
	decoded_drop(signer);
	signer->decoded = mem_array(keys->count, sizeof(EVP_PKEY *));
	signer->count = keys->count;
	signer->serial = keys->serial;
}

void dkim_signer_seed(
    struct dkim_signer *signer, const struct dkim_keys *keys, size_t index, EVP_PKEY *key)
{
	signer_adopt(signer, keys);
	EVP_PKEY_free(signer->decoded[index]);
	signer->decoded[index] = key;
}

static EVP_PKEY *signer_key(struct dkim_signer *signer, const struct dkim_keys *keys,
    size_t index, struct why *why)
{
	signer_adopt(signer, keys);
	if (!signer->decoded[index])
		signer->decoded[index] = dkim_pem_decode(
		    span_text(keys->key[index].pem), signer->context, why);
	return signer->decoded[index];
}

static int library_fault(
    DKIM *handle, DKIM_STAT status, const char *step, struct why *why)
{
	struct buf shown = {0};
	const char *detail = handle ? dkim_geterror(handle) : NULL;
	text_escape(&shown, span_text(detail), 120);
	why_set(why, WHY_LOCAL, "libopendkim fails at %s: %s%s%s", step,
	    dkim_getresultstr(status), shown.len ? ": " : "", buf_text(&shown));
	buf_free(&shown);
	return -1;
}

/* One handle per key. Their key text is a mark that is answered in shortcut.c,
 * or the PEM text that libopendkim decodes each time anew. */
static int pass_open(struct pass *pass, const struct dkim_input *input, struct why *why)
{
	/* 0 means now to libopendkim, 1 is as good for a clock that is so wrong */
	uint64_t seconds = input->wall_ms < 1000 ? 1 : (uint64_t)input->wall_ms / 1000;
	DKIM_STAT status = dkim_options(pass->signer->lib, DKIM_OP_SETOPT,
	    DKIM_OPTS_FIXEDTIME, &seconds, sizeof(seconds));
	if (status != DKIM_STAT_OK)
		return library_fault(NULL, status, "t=", why);
	for (size_t i = 0; i < pass->count; i++) {
		const struct dkim_key *key = &pass->keys->key[pass->first + i];
		char mark[DKIM_SHORTCUT_TEXT];
		dkim_shortcut_text(mark, pass->keys->serial, pass->first + i);
		dkim_sigkey_t text = (dkim_sigkey_t)(dkim_shortcut.on ? mark : key->pem);
		pass->handle[i] = dkim_sign(pass->signer->lib, (const u_char *)"", pass,
		    text, (const u_char *)key->selector, (const u_char *)key->domain,
		    DKIM_CANON_RELAXED, DKIM_CANON_RELAXED,
		    key->type == DKIM_KEY_RSA ? DKIM_SIGN_RSASHA256
					      : DKIM_SIGN_ED25519SHA256,
		    -1, &status);
		if (!pass->handle[i])
			return library_fault(NULL, status, "its start", why);
	}
	return 0;
}

static void pass_close(struct pass *pass)
{
	for (size_t i = 0; i < pass->count; i++)
		if (pass->handle[i])
			dkim_free(pass->handle[i]);
	while (pass->blocks)
		block_free(pass, pass->blocks->data);
}

static int pass_header(struct pass *pass, struct dkim_fields *fields, struct why *why)
{
	struct span field;
	DKIM_STAT status;
	while (dkim_fields_next(fields, &field)) {
		u_char *p = (u_char *)(uintptr_t)field.p; /* it is copied, not changed */
		for (size_t i = 0; i < pass->count; i++) {
			status = dkim_header(pass->handle[i], p, field.n);
			if (status != DKIM_STAT_OK)
				return library_fault(
				    pass->handle[i], status, "a field", why);
		}
	}
	for (size_t i = 0; i < pass->count; i++) {
		status = dkim_eoh(pass->handle[i]);
		if (status != DKIM_STAT_OK)
			return library_fault(pass->handle[i], status, "the header", why);
	}
	return 0;
}

static int pass_piece(struct pass *pass, char *p, size_t n, struct why *why)
{
	for (size_t i = 0; i < pass->count; i++) {
		DKIM_STAT status = dkim_body(pass->handle[i], (u_char *)p, n);
		if (status != DKIM_STAT_OK)
			return library_fault(pass->handle[i], status, "the body", why);
	}
	return 0;
}

static int pass_body(struct pass *pass, const struct dkim_input *input, struct why *why)
{
	struct dkim_body body = {0};
	char *piece = pass->signer->piece;
	uint64_t at = 0;
	if (input->body_size > BODY_MAX)
		return why_set(
		    why, WHY_PERM, "can not be DKIM-signed: body is over 1 GiB");
	while (at < input->body_size) {
		uint64_t left = input->body_size - at;
		size_t want = left < PIECE_SIZE ? (size_t)left : PIECE_SIZE;
		ssize_t n = input->read(input->arg, at, piece, want);
		if (n <= 0 || (size_t)n > want)
			return why_set(why, WHY_LOCAL,
			    "the body can not be read for signing: %s at byte %llu of "
			    "%llu",
			    n < 0 ? "error" : "it ends", (unsigned long long)at,
			    (unsigned long long)input->body_size);
		if (dkim_body_check(&body, piece, (size_t)n, why) ||
		    pass_piece(pass, piece, (size_t)n, why))
			return -1;
		at += (uint64_t)n;
	}
	if (dkim_body_end(&body, why))
		return -1;
	static char end[] = "\r\n";
	return body.open ? pass_piece(pass, end, 2, why) : 0;
}

/* It goes into a message as it is: one field, folded, printable. */
static bool signature_is_field(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool fold = s.p[i] == '\r' && s.n - i > 2 && s.p[i + 1] == '\n' &&
			    s.p[i + 2] == '\t';
		if (fold)
			i += 2;
		else if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	}
	return s.n != 0;
}

/* What a signature that fails half-way has done to the reference count was not
 * measured, so its key is given up, not freed: a leak is better than a crash. */
static void key_abandon(struct pass *pass, size_t i)
{
	pass->signer->decoded[pass->first + i] = NULL;
}

static int pass_sign(struct pass *pass, size_t i, struct why *why)
{
	const struct dkim_key *key = &pass->keys->key[pass->first + i];
	char mark[DKIM_SHORTCUT_TEXT];
	if (!dkim_shortcut.on) {
		DKIM_STAT status = dkim_eom(pass->handle[i], NULL);
		if (status != DKIM_STAT_OK)
			return library_fault(
			    pass->handle[i], status, "the signature", why);
		return 0;
	}
	EVP_PKEY *decoded = signer_key(pass->signer, pass->keys, pass->first + i, why);
	if (!decoded)
		return -1;
	dkim_shortcut_text(mark, pass->keys->serial, pass->first + i);
	dkim_shortcut_offer(mark, decoded, key->type);
	DKIM_STAT status = dkim_eom(pass->handle[i], NULL);
	unsigned asked = dkim_shortcut_withdraw();
	if (status == DKIM_STAT_OK && asked == 1)
		return 0;
	if (asked)
		key_abandon(pass, i);
	return library_fault(pass->handle[i], status, "the signature", why);
}

static int pass_print(struct pass *pass, size_t i, struct buf *out, struct why *why)
{
	u_char *p = NULL;
	size_t n = 0;
	if (pass_sign(pass, i, why))
		return -1;
	DKIM_STAT status =
	    dkim_getsighdr_d(pass->handle[i], sizeof(FIELD_NAME) - 1, &p, &n);
	if (status != DKIM_STAT_OK)
		return library_fault(pass->handle[i], status, "printing", why);
	struct span field = {(const char *)p, n};
	if (!signature_is_field(field))
		return why_set(why, WHY_LOCAL,
		    "libopendkim made a signature that is no header field");
	buf_add_text(out, FIELD_NAME);
	buf_add(out, field.p, field.n);
	buf_add_text(out, "\r\n");
	return 0;
}

static int pass_run(
    struct pass *pass, const struct dkim_input *input, struct buf *out, struct why *why)
{
	struct dkim_fields fields;
	if (dkim_fields_open(&fields, input->header, why) ||
	    pass_open(pass, input, why) || pass_header(pass, &fields, why) ||
	    pass_body(pass, input, why))
		return -1;
	for (size_t i = 0; i < pass->count; i++)
		if (pass_print(pass, i, out, why))
			return -1;
	return 0;
}

int dkim_sign_message(struct dkim_signer *signer, const struct dkim_keys *keys,
    const char *domain, const struct dkim_input *input, struct buf *out, struct why *why)
{
	struct pass pass = {.signer = signer, .keys = keys};
	struct buf made = {0};
	pass.first = dkim_keys_find(keys, domain, &pass.count);
	if (!pass.count)
		return 0;
	if (pass.count > DKIM_KEYS_PER_DOMAIN)
		bug("more keys for a domain than were let in");
	int result = pass_run(&pass, input, &made, why);
	pass_close(&pass);
	ERR_clear_error(); /* else the next user of OpenSSL in this thread finds ours */
	if (!result)
		buf_add(out, made.data, made.len);
	buf_free(&made);
	return result;
}
