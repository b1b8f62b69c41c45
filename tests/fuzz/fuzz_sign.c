/* SPDX-License-Identifier: MIT
 * A message of any bytes: signing it never crashes, and what is signed verifies
 * with both keys by dkim_check, or it is refused and the output is untouched. Its
 * own signatures, if it has any, do not verify. The
 * first byte says in what pieces the body comes; the header ends at the first
 * empty line.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "relayd/base/why.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DOMAIN "example.jp"

static struct dkim_signer *signer;
static struct dkim_keys *keys;
static EVP_PKEY *rsa;
static EVP_PKEY *ed;

static void prepare(void)
{
	struct why why = {0};
	if (!dkim_start(&why))
		bug(why.text);
	/* small, for speed; its size changes nothing that is tested here */
	rsa = dkim_pem_make(1024, &why);
	ed = dkim_pem_make(0, &why);
	keys = dkim_keys_new(2);
	if (!rsa || !ed || dkim_keys_add(keys, DOMAIN, "ed", ed, &why) ||
	    dkim_keys_add(keys, DOMAIN, "rsa", rsa, &why))
		bug(why.text);
	signer = dkim_signer_new();
}

struct body {
	struct span text;
	size_t step;
};

static ssize_t body_read(void *arg, uint64_t offset, char *to, size_t n)
{
	struct body *body = arg;
	if (body->step && n > body->step)
		n = body->step;
	memcpy(to, body->text.p + offset, n);
	return (ssize_t)n;
}

/* Header and body of S; the empty line belongs to neither. */
static void split(struct span s, struct span *header, struct span *body)
{
	const char *end = s.n ? memmem(s.p, s.n, "\r\n\r\n", 4) : NULL;
	*header = s;
	*body = (struct span){NULL, 0};
	if (!end)
		return;
	header->n = (size_t)(end - s.p) + 2;
	body->p = end + 4;
	body->n = s.n - header->n - 2;
}

static void verify(struct buf *message, struct span header, struct span body)
{
	struct why why = {0};
	buf_add(message, header.p, header.n);
	buf_add_text(message, "\r\n");
	buf_add(message, body.p, body.n);
	if (body.n && body.p[body.n - 1] != '\n')
		buf_add_text(message, "\r\n");
	if (dkim_check_key(span_buf(message), rsa, "rsa", &why) ||
	    dkim_check_key(span_buf(message), ed, "ed", &why))
		bug(why.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span header;
	struct buf message = {0};
	struct why why = {0};
	struct body body = {.step = 0};
	if (!keys)
		prepare();
	if (!size)
		return 0;
	body.step = data[0] & 7;
	struct span whole = {(const char *)data + 1, size - 1};
	if (!dkim_check_key(whole, ed, "ed", &why))
		bug("a forged signature verifies");
	split(whole, &header, &body.text);
	struct dkim_input input = {.header = header,
	    .body_size = body.text.n,
	    .read = body_read,
	    .arg = &body,
	    .wall_ms = data[0] * INT64_C(10000000000)};
	if (!dkim_sign_message(signer, keys, DOMAIN, &input, &message, &why))
		verify(&message, header, body.text);
	else if (message.len || !why.text[0])
		bug("refused, but there is output or no reason");
	buf_free(&message);
	return 0;
}
