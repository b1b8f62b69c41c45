/* SPDX-License-Identifier: MIT
 * The PROXY header: both versions, cut anywhere, and what is none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "smtp/proxy.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\xc0\0\x02\x01" "\xc6\x33\x64\x01" "\xdc\x04\0\x19"
#define SIX "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" "\xdc\x04\0\x19"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"
#define BYTES(text) text, sizeof(text) - 1

static const struct row {
	const char *bytes;
	size_t n;
	enum proxy_result result;
	const char *client; /* NULL: the balancer itself */
} rows[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n"), PROXY_DONE, "192.0.2.1"},
    {BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 56324 25\r\n"), PROXY_DONE, "2001:db8::1"},
    {BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 56324 25\r\n"), PROXY_DONE, "192.0.2.1"},
    {BYTES("PROXY UNKNOWN\r\n"), PROXY_DONE, NULL},
    {BYTES("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), PROXY_DONE, NULL},
    {BYTES(V2 "\x21\x11\0\x0c" FOUR), PROXY_DONE, "192.0.2.1"},
    {BYTES(V2 "\x21\x21\0\x24" SIX), PROXY_DONE, "2001:db8::1"},
    {BYTES(V2 "\x21\x21\0\x24" MAPPED MAPPED "\xdc\x04\0\x19"), PROXY_DONE, "192.0.2.1"},
    {BYTES(V2 "\x21\x11\0\x0f" FOUR "\x04\0\0"), PROXY_DONE, "192.0.2.1"}, /* TLVs */
    {BYTES(V2 "\x20\0\0\0"), PROXY_DONE, NULL},
    {BYTES(V2 "\x20\x11\0\x0c" FOUR), PROXY_DONE, NULL},
    {BYTES(V2 "\x21\0\0\0"), PROXY_DONE, NULL},
    {BYTES("EHLO client.example.jp\r\n"), PROXY_BAD, NULL},
    {BYTES("proxy TCP4 192.0.2.1 198.51.100.1 56324 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 1\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1  198.51.100.1 56324 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP6 192.0.2.1 198.51.100.1 56324 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP6 fe80::1%lo fe80::2 56324 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.256 198.51.100.1 56324 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY TCP4 192.0.2.1\0 198.51.100.1 1 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n"), PROXY_BAD, NULL},
    {BYTES("PROXY\r\n         "), PROXY_BAD, NULL},
    {BYTES(V2 "\x11\x11\0\x0c" FOUR), PROXY_BAD, NULL},
    {BYTES(V2 "\x22\x11\0\x0c" FOUR), PROXY_BAD, NULL},
    {BYTES(V2 "\x21\x12\0\x0c" FOUR), PROXY_BAD, NULL},
    {BYTES(V2 "\x21\x31\0\0"), PROXY_BAD, NULL},
    {BYTES(V2 "\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\0"), PROXY_BAD, NULL},
    {BYTES(V2 "\x21\x21\0\x0c" FOUR), PROXY_BAD, NULL},
    {BYTES(V2 "\x21\x11\x02\x19"), PROXY_BAD, NULL}, /* longer than there may be */
    {BYTES("\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c" FOUR), PROXY_BAD, NULL},
};

/* As from the wire, STEP bytes at a time at most; what was taken is in USED. */
static enum proxy_result feed(const struct row *row, size_t step, size_t *used,
    struct proxy_header *header)
{
	unsigned char held[PROXY_MAX];
	enum proxy_result result;
	size_t more;
	*used = 0;
	while ((result = proxy_parse(held, *used, &more, header)) == PROXY_MORE) {
		size_t n = more < step ? more : step;
		assert_true(more > 0 && *used + more <= sizeof(held));
		if (n > row->n - *used)
			n = row->n - *used;
		if (n == 0)
			return PROXY_MORE;
		memcpy(held + *used, row->bytes + *used, n);
		*used += n;
	}
	return result;
}

static void headers_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step < 600; step = step * 2 + 1) {
			struct proxy_header header;
			char text[CONN_ADDRESS_TEXT];
			size_t used;
			if (feed(&rows[i], step, &used, &header) != rows[i].result)
				fail_msg("row %zu in steps of %zu", i, step);
			if (rows[i].result != PROXY_DONE)
				continue;
			assert_int_equal(used, rows[i].n); /* nothing of the client's */
			assert_int_equal(header.own, rows[i].client == NULL);
			if (!rows[i].client)
				continue;
			assert_string_equal(conn_address_text(&header.client, text), rows[i].client);
			assert_int_equal(conn_address_port(&header.client), 56324);
		}
}

static void a_line_without_end(void **state)
{
	(void)state;
	char text[200] = "PROXY UNKNOWN ";
	struct proxy_header header;
	size_t used;
	memset(text + strlen(text), 'x', sizeof(text) - strlen(text));
	assert_int_equal(feed(&(struct row){text, sizeof(text), PROXY_BAD, NULL}, 600, &used, &header),
	    PROXY_BAD);
	assert_int_equal(used, 107);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(headers_in_any_pieces),
	    cmocka_unit_test(a_line_without_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
